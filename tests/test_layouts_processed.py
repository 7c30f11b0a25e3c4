"""Data sets as CUT3R, DUSt3R, MASt3R, Pi3, MoGe and TartanAir store them: what is written is what is read.

The paths, keys and codes are those of the pipelines' loaders and preprocessing scripts, and not of our descriptions.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image, PngImagePlugin
from processed import (
    FAR,
    UNKNOWN,
    Array,
    Camera,
    K,
    above,
    below,
    constant,
    exr,
    grey,
    json_matrix,
    made,
    matrix,
    npy,
    npy_double,
    npy_half,
    npy_matrix,
    npz,
    npz_list,
    picture,
    png16,
    png_float,
    red,
    tiled,
)

from depthvar.datasets import DepthSource, SourceError, open_source

SIZE = 8, 96
Pixels = Sequence[tuple[float, ...]]
"""Of each pixel: what is stored, what each mask stores, the expected depth in metres (or the unit of the scene)."""
Writer = Callable[[Path, Array], None]

HOLES: Pixels = [(0, UNKNOWN), (-1, UNKNOWN), (np.nan, UNKNOWN)]
PLAIN: Pixels = [*HOLES, (np.inf, UNKNOWN), (0.001, 0.001), (2.3, 2.3), (64999.5, 64999.5), (65536, 65536)]
SCENE: Pixels = [*PLAIN, (1e-9, 1e-9), (1e9, 1e9)]
MILLIMETRES: Pixels = [(0, UNKNOWN), (1, 0.001), (1234, 1.234), (65534, 65.534), (65535, UNKNOWN)]
SKY_1000: Pixels = [*HOLES, (2.3, 2.3), (999.9, 999.9), (below(1000), below(1000)), (1000, FAR), (1000.1, FAR)]
SKY_1000 = [*SKY_1000, (65535, FAR), (np.inf, FAR)]
SKY_80: Pixels = [*HOLES, (np.inf, UNKNOWN), (2.3, 2.3), (80, 80), (80.5, 80.5), (10000, 10000)]  # above 80 far, kept
BELOW_200: Pixels = [*HOLES, (np.inf, UNKNOWN), (2.3, 2.3), (200, 200), (above(200), UNKNOWN), (1e4, UNKNOWN)]
SKY_MASK: Pixels = [  # depth, sky mask
    *[(2.3, 0, 2.3), (2.3, 126, 2.3), (2.3, 127, FAR), (2.3, 255, FAR), (0, 255, FAR), (np.nan, 127, FAR)],
    *[(0, 0, UNKNOWN), (200, 126, 200), (above(200), 126, UNKNOWN), (1e4, 127, FAR), (np.inf, 0, UNKNOWN)],
]
TARTANAIR = (
    "tartanair tartanair-pi3 hospital-sample abandonedfactory abandonedfactory_night amusement carwelding endofworld "
    "gascola hospital japanesealley neighborhood ocean office office2 oldtown seasidetown seasonsforest "
    "seasonsforest_winter soulcity westerndesert"
)


class Layout(NamedTuple):
    """A row of the table: where the files of a data set lie, what they hold, and what is read from them."""

    names: str  # all, separated by blanks
    depth: str  # path of the depth files; {} is the frame
    write: Writer
    pixels: Pixels
    image: str
    camera: Camera
    sequence: str = ""
    frames: tuple[str, ...] = ("00000", "00001")
    masks: tuple[tuple[str, Writer], ...] = ()
    metric: bool = True
    max_depth: float | None = None
    size: tuple[int, int] = SIZE


def in_folders(name: str, sequence: str, pixels: Pixels = PLAIN, image: str = "png", metric: bool = True) -> Layout:
    """Return the layout that most processed data sets have: depth, rgb and cam, with K in an npz per frame."""
    below = f"{sequence}/" if sequence else ""
    return Layout(
        *(name, f"{below}depth/{{}}.npy", npy, pixels, f"{below}rgb/{{}}.{image}"),
        *(npz(f"{below}cam/{{}}.npz", "intrinsics"), sequence),
        metric=metric,
    )


def side_by_side(names: str, sequence: str, pixels: Pixels, metric: bool) -> Layout:
    """Return DUSt3R's layout: EXR, JPEG and npz of one name in the folder of the sequence."""
    paths = (f"{sequence}/{{}}{suffix}" for suffix in (".exr", ".jpg"))
    camera = npz(f"{sequence}/{{}}.npz", "intrinsics")
    return Layout(names, next(paths), exr, pixels, next(paths), camera, sequence, metric=metric)


LAYOUTS = [
    # depth, rgb, cam
    in_folders("bedlam-cut3r", "Training/20221010_3-10_500_batch01hand_zoom_suburb_d_seq_000001", BELOW_200),
    in_folders("dynamic-replica-cut3r", "train/009850-3_obj_source/left"),
    in_folders("eden-cut3r", "0001"),
    in_folders("hoi4d-cut3r", "ZY20210800001"),
    in_folders("irs-cut3r", "Home_AMCHome", BELOW_200),
    in_folders("matterport3d-cut3r", "17DRP5sb8fy"),
    in_folders("smartportraits-cut3r", "000"),
    in_folders("spring-cut3r", "0001"),
    in_folders(
        *("mvs-synth-cut3r", "0000"),
        [*HOLES, (np.inf, UNKNOWN), (2.3, 2.3), (999.9, 999.9), (1000, 1000), (above(1000), UNKNOWN)],
        image="jpg",
        metric=False,
    ),
    in_folders(  # the raw code ends at 1000 m, which means: at least that
        *("pointodyssey-cut3r", "train/cnb_dlab_0215_3rd"),
        [
            *HOLES,
            (1000 / 65535, 1000 / 65535),
            (65534 / 65.535, 65534 / 65.535),
            (below(1000), below(1000)),
            (1000, FAR),
        ],
        image="jpg",
    ),
    in_folders(
        *("uasol-cut3r", "Acantilado"),
        [*HOLES, (np.inf, UNKNOWN), (2.3, 2.3), (19.999, 19.999), (below(20), below(20)), (20, UNKNOWN), (21, UNKNOWN)],
    ),
    in_folders("synscapes-cut3r", "", SKY_MASK)._replace(masks=(("sky_mask/{}.png", grey),)),
    in_folders("synscapes-cut3r", "", SKY_MASK)._replace(masks=(("sky_mask/{}.png", red),)),
    in_folders("urbansyn-cut3r", "", SKY_MASK)._replace(masks=(("sky_mask/{}.png", grey),)),
    in_folders("urbansyn-cut3r", "", SKY_MASK)._replace(masks=(("sky_mask/{}.png", red),)),
    Layout(
        *("mapfree-cut3r", "s00000/dense0/depth/{}.npy", npy),
        [
            *[(2.3, 0, 2.3), (2.3, 126, 2.3), (2.3, 127, FAR), (0, 255, FAR), (np.nan, 0, UNKNOWN)],
            *[(400, 0, 400), (above(400), 126, UNKNOWN), (500, 127, FAR), (np.inf, 0, UNKNOWN), (-1, 0, UNKNOWN)],
        ],
        *("s00000/dense0/rgb/{}.jpg", npz("s00000/dense0/cam/{}.npz", "intrinsic"), "s00000/dense0"),
        frames=("frame_00000", "frame_00005"),
        masks=(("s00000/dense0/sky_mask/{}.jpg", grey),),
    ),
    Layout(  # the outlier mask comes last, and takes away the sky too
        *("dl3dv-cut3r", "1K/0a1b2c/dense/depth/{}.npy", npy),
        [
            *[(2.3, 0, 0, 2.3), (2.3, 126, 126, 2.3), (2.3, 127, 0, FAR), (0, 255, 0, FAR), (2.3, 0, 127, UNKNOWN)],
            *[(2.3, 255, 255, UNKNOWN), (0, 0, 0, UNKNOWN), (np.nan, 0, 0, UNKNOWN), (np.inf, 0, 0, UNKNOWN)],
            *[(1e6, 0, 0, 1e6), (np.inf, 127, 126, FAR)],
        ],
        *("1K/0a1b2c/dense/rgb/{}.png", npz("1K/0a1b2c/dense/cam/{}.npz", "intrinsic"), "1K/0a1b2c"),
        frames=("frame_00001", "frame_00002"),
        masks=(("1K/0a1b2c/dense/sky_mask/{}.png", grey), ("1K/0a1b2c/dense/outlier_mask/{}.png", grey)),
        metric=False,
    ),
    Layout(  # mm
        *("3d-ken-burns-cut3r", "asdf-flying/depth/{}.exr", exr),
        [*HOLES, (1, 0.001), (2300, 2.3), (20000, 20), (above(20000), UNKNOWN), (np.inf, UNKNOWN)],
        *("asdf-flying/rgb/{}.png", npz("asdf-flying/cam/{}.npz", "intrinsics"), "asdf-flying"),
        metric=False,
    ),
    *[
        Layout(
            *("scannet-cut3r", "scans_train/scene0000_00/depth/{}.png", png16, MILLIMETRES),
            "scans_train/scene0000_00/color/{}.jpg",
            npz("scans_train/scene0000_00/cam/{}.npz", "intrinsics", rank),
            "scans_train/scene0000_00",
        )
        for rank in (3, 4)
    ],
    # one folder
    Layout(
        *("hypersim-cut3r", "ai_001_001/cam_00/{}_depth.npy", npy, PLAIN, "ai_001_001/cam_00/{}_rgb.png"),
        *(npz("ai_001_001/cam_00/{}_cam.npz", "intrinsics"), "ai_001_001/cam_00", ("000000", "000001")),
    ),
    Layout(
        *("tartanair-cut3r tartanair-mast3r", "hospital/Easy/P000/{}_depth.npy", npy, SKY_1000),
        "hospital/Easy/P000/{}_rgb.png",
        *(npz("hospital/Easy/P000/{}_cam.npz", "camera_intrinsics"), "hospital/Easy/P000", ("000000", "000001")),
    ),
    *[
        Layout(  # float64 where NumPy 2 divided, float32 before
            *("unrealstereo4k-cut3r unrealstereo4k-mast3r", "00000/1/{}_depth.npy", write, SKY_1000),
            *("00000/1/{}_rgb.png", npz("00000/1/{}.npz", "intrinsics"), "00000/1"),
        )
        for write in (npy, npy_double)
    ],
    Layout(  # cm; 65535 is the sky
        *("virtual-kitti-2-cut3r", "Scene01/15-deg-left/Camera_0/{}_depth.png", png16),
        [(0, UNKNOWN), (1, 0.01), (12345, 123.45), (65499, 654.99), (65500, FAR), (65535, FAR)],
        "Scene01/15-deg-left/Camera_0/{}_rgb.jpg",
        npz("Scene01/15-deg-left/Camera_0/{}_cam.npz", "camera_intrinsics"),
        "Scene01/15-deg-left/Camera_0",
    ),
    Layout(
        *("wildrgbd-dust3r wildrgbd-cut3r", "apple/scenes/scene_000/depth/{}.png", png16, MILLIMETRES),
        "apple/scenes/scene_000/rgb/{}.jpg",
        npz("apple/scenes/scene_000/metadata/{}.npz", "camera_intrinsics"),
        "apple/scenes/scene_000",
    ),
    side_by_side("blendedmvs-dust3r blendedmvs-cut3r", "000000000000000000000000", SCENE, metric=False),
    side_by_side("megadepth-dust3r megadepth-cut3r", "0000/0", SCENE, metric=False)._replace(
        frames=("5008984_74a994ce1c_o.jpg", "99_b.jpg"),  # an image is 99_b.jpg.jpg, its depth 99_b.jpg.exr
    ),
    side_by_side(
        "waymo-dust3r waymo-cut3r", "segment-10017090168044687777_6380_000_6400_000", PLAIN, metric=True
    )._replace(
        frames=("000_1", "001_1"),  # frame and camera
        sequence="segment-10017090168044687777_6380_000_6400_000/1",
    ),
    side_by_side(
        *("staticthings3d-dust3r", "TRAIN/A/0000/left"),  # background, above 200, keeps its depth
        [*HOLES, (np.inf, UNKNOWN), (2.3, 2.3), (200, 200), (above(200), above(200)), (1e4, 1e4)],
        metric=False,
    )._replace(image="TRAIN/A/0000/left/{}_final.jpg", frames=("0006", "0007"), max_depth=200),
    Layout(
        *("habitat-dust3r", "hm3d/00000-kfPV7w3FaU5/{}_depth.exr", exr, PLAIN, "hm3d/00000-kfPV7w3FaU5/{}.jpeg"),
        json_matrix("hm3d/00000-kfPV7w3FaU5/{}_camera_params.json", "camera_intrinsics"),
        *("hm3d/00000-kfPV7w3FaU5", ("00000000_1", "00000000_2")),
    ),
    Layout(
        *("tav2-wb", "AbandonedCable/depth/{}.exr", exr, PLAIN, "AbandonedCable/images/{}.png"),
        *(npy_matrix("AbandonedCable/camera_params/{}.npy"), "AbandonedCable", ("00000021_0", "00000021_1")),
    ),
    # K in a list of images
    Layout(
        *("arkitscenes-dust3r arkitscenes-cut3r", "Training/40753679/lowres_depth/{}.png", png16, MILLIMETRES),
        "Training/40753679/vga_wide/{}.jpg",
        npz_list("Training/40753679/scene_metadata.npz", ".png", lambda k: [96, 8, *k]),
        *("Training/40753679", ("40753679_6791.111", "40753679_6791.211")),
    ),
    Layout(
        *("arkitscenes-highres-cut3r", "Validation/41069021/highres_depth/{}.png", png16, MILLIMETRES),
        "Validation/41069021/vga_wide/{}.jpg",
        npz_list("Validation/41069021/scene_metadata.npz", ".png", lambda k: [96, 8, *k]),
        *("Validation/41069021", ("41069021_305.392", "41069021_305.492")),
    ),
    Layout(
        *("scannetpp-dust3r scannetpp-cut3r", "00777c41d4/depth/{}.png", png16, MILLIMETRES),
        *("00777c41d4/images/{}.jpg", npz_list("00777c41d4/scene_metadata.npz", "", matrix)),
        *("00777c41d4", ("DSC00001", "frame_000000")),
    ),
    # TartanAir, raw
    *[
        Layout(
            *(TARTANAIR, f"{folder}Easy/P000/depth_left/{{}}_left_depth.npy", write, SKY_80),
            *(f"{folder}Easy/P000/image_left/{{}}_left.png", constant(320, 320, 320, 240)),
            *(f"{folder}Easy/P000", ("000000", "000001")),
            max_depth=80,
            size=(480, 640),
        )
        for folder, write in (("", npy), ("hospital/hospital/", npy))
    ],
    Layout(
        *("tartanair-v2", "AbandonedCable/Data_easy/P000/depth_lcam_front/{}_lcam_front_depth.png", png_float, SKY_80),
        "AbandonedCable/Data_easy/P000/image_lcam_front/{}_lcam_front.png",
        *(constant(320, 320, 320, 320), "AbandonedCable/Data_easy/P000", ("000000", "000001")),
        max_depth=80,
        size=(640, 640),
    ),
    Layout(
        *("tartanair-v2-cameras", "CarWelding/Data_hard/P001/depth_rcam_top/{}_rcam_top_depth.png", png_float, SKY_80),
        "CarWelding/Data_hard/P001/image_rcam_top/{}_rcam_top.png",
        *(constant(320, 320, 320, 320), "CarWelding/Data_hard/P001/r/top", ("000000", "000001")),
        max_depth=80,
        size=(640, 640),
    ),
    Layout(
        *("tartanair-shibuya", "RoadCrossing03/depth_1/{}.npy", npy_half),
        [*HOLES, (np.inf, UNKNOWN), (2.5, 2.5), (80, 80), (80.5, 80.5), (10000, 10000)],
        "RoadCrossing03/image_1/{}.png",
        constant(772.5483399593904, 772.5483399593904, 320, 180),
        *("RoadCrossing03/1", ("000000", "000001")),
        max_depth=80,
        size=(360, 640),
    ),
]


def check(source: DepthSource, root: Path, key: str, depth: Array, camera: K, image: str, sequence: str) -> None:
    """Assert that a frame is read as it was written, to the last bit."""
    frame = source.read(key)
    assert frame.depth.dtype == np.float32
    np.testing.assert_array_equal(frame.depth, depth.astype(np.float32))
    np.testing.assert_array_equal(source.intrinsics(key), camera)
    np.testing.assert_array_equal(frame.intrinsics, camera)
    assert source.shape(key) == depth.shape
    assert source.sequence(key) == sequence
    assert source.image_path(key) == str(root / image)
    assert (root / image).is_file()


@pytest.mark.parametrize("row", LAYOUTS, ids=lambda row: row.names.split()[0])
def test_a_layout_is_read_as_it_was_written(row: Layout, tmp_path: Path) -> None:
    columns = [tiled(column, row.size) for column in zip(*row.pixels, strict=True)]
    for frame in row.frames:
        for (path, write), values in zip(((row.depth, row.write), *row.masks), columns[:-1], strict=True):
            write(tmp_path / path.format(frame), values)
        picture(tmp_path / row.image.format(frame), row.size)
    cameras = row.camera(tmp_path, row.frames)
    keys = [row.depth.format(frame) for frame in row.frames]
    for name in row.names.split():
        source = open_source(name, tmp_path)
        assert set(source.description.names) == set(row.names.split())
        assert source.description.depth.metric == row.metric
        assert source.max_depth == row.max_depth
        assert source.keys() == sorted(keys)
        for frame, key, camera in zip(row.frames, keys, cameras, strict=True):
            check(source, tmp_path, key, columns[-1], camera, row.image.format(frame), row.sequence)


@pytest.mark.parametrize("name", ["co3d-dust3r", "co3d-cut3r"])
def test_co3d_is_scaled_by_the_largest_depth_of_a_frame(name: str, tmp_path: Path) -> None:
    folder, codes = tmp_path / "apple/110_13051_23361", (0, 1, 30000, 65534, 65535)
    for index, largest in ((1, 8.0), (2, 21.5)):
        k = (60.0 + index, 61.0, 45.0, 3.5)
        png16(folder / f"depths/frame{index:06}.jpg.geometric.png", tiled(codes, SIZE))
        picture(folder / f"images/frame{index:06}.jpg", SIZE)
        grey(folder / f"masks/frame{index:06}.png", np.zeros(SIZE))  # all background, whose depth is kept
        arrays = {"camera_intrinsics": matrix(k), "maximum_depth": np.float32(largest), "camera_pose": np.eye(4)}
        np.savez(folder / f"images/frame{index:06}.npz", **arrays)
        source, key = open_source(name, tmp_path), f"apple/110_13051_23361/depths/frame{index:06}.jpg.geometric.png"
        image, sequence = f"apple/110_13051_23361/images/frame{index:06}.jpg", "apple/110_13051_23361"
        check(source, tmp_path, key, tiled([code / 65535 * largest for code in codes], SIZE), k, image, sequence)
    assert not source.description.depth.metric
    assert source.description.names == ("co3d-dust3r", "co3d-cut3r")


def test_omniobject3d_is_divided_by_the_scale_of_its_object(tmp_path: Path) -> None:
    scales = {"anise_001": 0.25, "antique_002": 2.0}
    (tmp_path / "scale.json").write_text(json.dumps(scales))
    for index, (name, scale) in enumerate(scales.items()):
        layout = in_folders("omniobject3d-cut3r", name, [*HOLES, (np.inf, UNKNOWN), (500.0, 0.5 / scale)])
        stored, expected = (tiled(column, SIZE) for column in zip(*layout.pixels, strict=True))
        npy(tmp_path / f"{name}/depth/000.npy", stored)
        picture(tmp_path / f"{name}/rgb/000.png", SIZE)
        camera = layout.camera(tmp_path, ["000"])[0]
        source = open_source("omniobject3d-cut3r", tmp_path)
        assert len(source) == index + 1
        check(source, tmp_path, f"{name}/depth/000.npy", expected, camera, f"{name}/rgb/000.png", name)


@pytest.mark.parametrize(("name", "file"), [("moge", "depth.png"), ("moge-completed", "depth_completed.png")])
def test_moge_has_logarithmic_codes_and_normalised_intrinsics(name: str, file: str, tmp_path: Path) -> None:
    # 65533 = 13 · 5041, so these codes are exact powers of 2 from near = 1 to far = 2^13
    codes = (0, 1, 1 + 5041, 1 + 3 * 5041, 65534, 65535)
    depth = np.array([UNKNOWN, 1, 2, 8, 8192, FAR])
    meta = {"intrinsics": [[0.625, 0, 0.5], [0, 7.5, 0.25], [0, 0, 1]]}
    texts = [
        {"near": "1.0", "far": "8192.0"},
        {"near": "0.5", "far": "4096"},
        {"near": "1", "far": "8192", "unit": "4"},
    ]
    for index, (text, factor) in enumerate(zip(texts, (1, 0.5, 4), strict=True)):
        info = PngImagePlugin.PngInfo()
        for key, value in text.items():
            info.add_text(key, value)
        folder = tmp_path / f"folder1/instance{index}"
        Image.fromarray(tiled(codes, SIZE).astype(np.uint16)).save(made(folder / file), pnginfo=info)
        picture(folder / "image.jpg", SIZE)
        (folder / "meta.json").write_text(json.dumps(meta))
        source, key = open_source(name, tmp_path), f"folder1/instance{index}/{file}"
        image, camera = f"folder1/instance{index}/image.jpg", (60.0, 60.0, 48.0, 2.0)
        check(source, tmp_path, key, tiled(list(depth * factor), SIZE), camera, image, "folder1")
    assert len(source) == 3
    assert not source.description.depth.metric


def test_mapillary_planet_scale_depth(tmp_path: Path) -> None:
    pixels = [(0, UNKNOWN), (1, 0.01), (12345, 123.45), (65535, 655.35)]
    stored, expected = (tiled(column, SIZE) for column in zip(*pixels, strict=True))
    photos = {"train": {"__epk-nlU2UVQ7bBPQKbiA": 0.625, "0b.c": 1.25}, "val": {"__eA1Z6W5hlzKYvgheyoXg": 0.75}}
    for split, focal in photos.items():
        made(tmp_path / f"{split}.json").write_text(json.dumps({name: {"focal": f} for name, f in focal.items()}))
        for name in focal:
            png16(tmp_path / f"{split}/{name}.png", stored)
            picture(tmp_path / f"{split}/{name}.jpg", (24, 288))
    source = open_source("mpsd", tmp_path)
    assert len(source) == 3
    for split, focal in photos.items():
        for name, f in focal.items():
            camera = (f * 96, f * 96, 48, 4)
            check(source, tmp_path, f"{split}/{name}.png", expected, camera, f"{split}/{name}.jpg", split)


def test_a_folder_of_your_own(tmp_path: Path) -> None:
    for index in range(2):
        stored, expected = (tiled(column, SIZE) for column in zip(*MILLIMETRES, strict=True))
        png16(tmp_path / f"depth/{index}.png", stored)
        npy(tmp_path / f"room/{index}.npy", tiled([2.3, 0, np.nan, 1e4], SIZE))
    source = open_source("folder", tmp_path, intrinsics=[60, 61, 48, 4])
    assert source.keys() == ["depth/0.png", "depth/1.png"]
    np.testing.assert_array_equal(source.read("depth/1.png").depth, expected.astype(np.float32))
    assert source.image_path("depth/1.png") is None
    assert source.sequence("depth/1.png") == ""
    source = open_source("folder", tmp_path, intrinsics=[60, 61, 48, 4], pattern="{sequence}/{frame}.npy")
    assert source.keys() == ["room/0.npy", "room/1.npy"]
    frame = source.read("room/1.npy")
    np.testing.assert_array_equal(frame.depth, tiled([2.3, 0, 0, 1e4], SIZE).astype(np.float32))
    assert frame.intrinsics.tolist() == [60, 61, 48, 4]


@pytest.mark.parametrize("row", [row for row in LAYOUTS if row.write is npy], ids=lambda row: row.names.split()[0])
def test_whole_numbers_are_not_taken_for_metres(row: Layout, tmp_path: Path) -> None:
    key = row.depth.format(row.frames[0])
    np.save(made(tmp_path / key), np.full(row.size, 2300, np.uint16))
    row.camera(tmp_path, row.frames)
    with pytest.raises(SourceError, match=r"expected dtype float32.*, got uint16"):
        open_source(row.names.split()[0], tmp_path).read(key)
