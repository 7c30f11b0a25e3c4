"""Data sets as CUT3R, DUSt3R, MASt3R, UFM and TartanAir store them: what is written is what is read.

The paths, keys and codes are those of the pipelines' loaders and preprocessing scripts, not of our descriptions.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from layouts import INF, NAN, Truth, check_layout, k_matrix, picture
from processed import (
    DOUBLES,
    EXR,
    EXR_UINT,
    FLOATS,
    GREY,
    HALVES,
    JPEG,
    PNG16,
    PNG_FLOAT,
    RED,
    SHORTS,
    SIZE,
    WriteCameras,
    WriteMap,
    above,
    below,
    constant,
    json_matrix,
    npy_matrix,
    npz,
    npz_list,
    tiled,
)

from depthvar.datasets import SourceError, open_source
from depthvar.datasets.source.catalogue import find_description

Pixels = Sequence[tuple[float, ...]]
"""Of each pixel: what is stored, what each mask stores, and the expected depth in metres (or the unit of the scene)."""
UNKNOWN, FAR = 0, INF
LARGEST = float(np.finfo(np.float32).max)
WRITERS = {".npy": FLOATS, ".png": PNG16, ".exr": EXR}

HOLES: Pixels = [(0, UNKNOWN), (-1, UNKNOWN), (NAN, UNKNOWN), (2.3, 2.3)]
PLAIN: Pixels = [*HOLES, (INF, UNKNOWN), (0.001, 0.001), (65535, 65535), (1e9, 1e9)]
MM: Pixels = [(0, UNKNOWN), (1, 0.001), (1234, 1.234), (65534, 65.534), (65535, UNKNOWN)]
CM: Pixels = [(0, UNKNOWN), (1, 0.01), (12345, 123.45), (65499, 654.99), (65500, FAR), (65535, FAR)]
FROM_1000: Pixels = [*HOLES, (999.9, 999.9), (below(1000), below(1000)), (1000, FAR), (1000.1, FAR), (INF, FAR)]
UP_TO_1000: Pixels = [*HOLES, (999.9, 999.9), (1000, 1000), (above(1000), UNKNOWN), (INF, UNKNOWN)]
UP_TO_200: Pixels = [*HOLES, (200, 200), (above(200), UNKNOWN), (1e4, UNKNOWN), (INF, UNKNOWN)]
BELOW_20: Pixels = [*HOLES, (19.9, 19.9), (below(20), below(20)), (20, UNKNOWN), (20.1, UNKNOWN), (INF, UNKNOWN)]
KEN_BURNS: Pixels = [(0, UNKNOWN), (2300, 2.3), (20000, 20), (above(20000), UNKNOWN), (INF, UNKNOWN)]
ODYSSEY: Pixels = [*HOLES, *[(each, each) for each in (1 / 65.535, 65534 / 65.535, below(1000))], (1000, FAR)]
# What is deeper than max_depth is far, and keeps its depth.
SKY_80: Pixels = [(0, UNKNOWN), (NAN, UNKNOWN), (2.5, 2.5), (80, 80), (80.5, 80.5), (10000, 10000)]
BACKGROUND: Pixels = [*HOLES, (200, 200), (above(200), above(200)), (1e4, 1e4)]
SKY_MASK: Pixels = [  # depth and sky mask: a pixel of the sky is far, whatever its depth
    *[(2.3, 0, 2.3), (2.3, 126, 2.3), (2.3, 127, FAR), (2.3, 255, FAR), (0, 255, FAR), (NAN, 127, FAR)],
    *[(0, 0, UNKNOWN), (200, 126, 200), (above(200), 126, UNKNOWN), (1e4, 127, FAR), (INF, 0, UNKNOWN)],
]
MAP_FREE: Pixels = [
    *[(2.3, 0, 2.3), (2.3, 126, 2.3), (2.3, 127, FAR), (0, 255, FAR), (-1, 0, UNKNOWN), (NAN, 0, UNKNOWN)],
    *[(400, 0, 400), (above(400), 126, UNKNOWN), (500, 127, FAR), (INF, 0, UNKNOWN)],
]
DL3DV: Pixels = [  # depth, sky mask and outlier mask, which comes last
    *[(2.3, 0, 0, 2.3), (2.3, 126, 126, 2.3), (2.3, 127, 0, FAR), (0, 255, 0, FAR), (2.3, 0, 127, UNKNOWN)],
    *[(2.3, 255, 255, UNKNOWN), (0, 0, 0, UNKNOWN), (NAN, 0, 0, UNKNOWN), (INF, 0, 0, UNKNOWN)],
    *[(1e6, 0, 0, 1e6), (INF, 127, 126, FAR)],
]


class Layout(NamedTuple):
    """A row of the table: where the files of a data set lie, what they hold, and what is read from them."""

    names: str  # all, separated by blanks
    folder: str  # of a sequence; the paths are below it
    depth: str  # path; {} is the frame
    pixels: Pixels
    image: str
    cameras: WriteCameras
    frames: tuple[str, str] = ("00000", "00001")
    masks: tuple[tuple[str, WriteMap], ...] = ()
    metric: bool = True
    max_depth: float = LARGEST
    size: tuple[int, int] = SIZE
    write: WriteMap | None = None  # None: by the suffix
    sequence: str = ""  # where it is not the folder

    @property
    def writer(self) -> WriteMap:
        return self.write or WRITERS[self.depth[-4:]]

    def below(self, path: str, frame: str) -> str:
        """Return a path of a frame relative to the root."""
        return str(Path(self.folder, path.format(frame)))


def three_folders(name: str, folder: str, pixels: Pixels = PLAIN, suffix: str = "png", metric: bool = True) -> Layout:
    """Return the layout of most data sets of CUT3R."""
    return Layout(name, folder, "depth/{}.npy", pixels, f"rgb/{{}}.{suffix}", CAM, metric=metric)


def one_folder(names: str, folder: str, pixels: Pixels, frames: tuple[str, str] = ("00000000", "00000001")) -> Layout:
    """Return DUSt3R's layout, in scene units."""
    return Layout(names, folder, "{}.exr", pixels, "{}.jpg", SAME_NAME, frames, metric=False)


V1_NAMES = (
    "tartanair tartanair-pi3 hospital-sample abandonedfactory abandonedfactory_night amusement carwelding endofworld "
    "gascola hospital japanesealley neighborhood ocean office office2 oldtown seasidetown seasonsforest "
    "seasonsforest_winter soulcity westerndesert"
)
V1, V2 = constant(320, 320, 320, 240), constant(320, 320, 320, 320)
SHIBUYA = constant(772.5483399593904, 772.5483399593904, 320, 180)
CAM, CAM_4X4 = npz("cam/{}.npz", "intrinsics"), npz("cam/{}.npz", "intrinsics", rank=4)
COLMAP = npz("cam/{}.npz", "intrinsic")
SAME_NAME, BY_NAME = npz("{}.npz", "intrinsics"), npz("{}_cam.npz", "intrinsics")
OF_CAMERA = npz("{}_cam.npz", "camera_intrinsics")
APPLE = npz_list("scene_metadata.npz", ".png", lambda k: [96, 8, *k])  # w h fx fy cx cy
MESH = npz_list("scene_metadata.npz", "", k_matrix)
SKY = "sky_mask/{}.png"
SIX_DIGITS = "000000", "000001"
PHOTOS = "5008984_74a994ce1c_o.jpg", "99_b.jpg"  # whose depth is 99_b.jpg.exr
SEGMENT = "segment-10017090168044687777_6380_000_6400_000"

LAYOUTS = [
    three_folders("bedlam-cut3r", "Training/20221010_3-10_500_batch01hand_zoom_suburb_d_seq_000001", UP_TO_200),
    three_folders("dynamic-replica-cut3r", "train/009850-3_obj_source/left"),
    three_folders("eden-cut3r", "0001"),
    three_folders("hoi4d-cut3r", "ZY20210800001"),
    three_folders("irs-cut3r", "Home_AMCHome", UP_TO_200),
    three_folders("matterport3d-cut3r", "17DRP5sb8fy"),
    three_folders("mvs-synth-cut3r", "0000", UP_TO_1000, "jpg", metric=False),
    three_folders("pointodyssey-cut3r", "train/dancing", ODYSSEY, "jpg"),
    three_folders("smartportraits-cut3r", "000"),
    three_folders("spring-cut3r", "0001"),
    three_folders("uasol-cut3r", "Acantilado", BELOW_20),
    three_folders("synscapes-cut3r", "", SKY_MASK)._replace(masks=((SKY, GREY),)),
    three_folders("synscapes-cut3r", "", SKY_MASK)._replace(masks=((SKY, RED),)),
    three_folders("urbansyn-cut3r", "", SKY_MASK)._replace(masks=((SKY, GREY),)),
    three_folders("urbansyn-cut3r", "", SKY_MASK)._replace(masks=((SKY, RED),)),
    three_folders("3d-ken-burns-cut3r", "asdf-flying", KEN_BURNS, metric=False)._replace(depth="depth/{}.exr"),
    three_folders("mapfree-cut3r", "s00000/dense0", MAP_FREE, "jpg")._replace(
        cameras=COLMAP, masks=(("sky_mask/{}.jpg", JPEG),), frames=("frame_00000", "frame_00005")
    ),
    three_folders("dl3dv-cut3r", "1K/0a1b2c/dense", DL3DV, metric=False)._replace(
        cameras=COLMAP, masks=((SKY, GREY), ("outlier_mask/{}.png", GREY)), sequence="1K/0a1b2c"
    ),
    Layout("scannet-cut3r", "scans_train/scene0000_00", "depth/{}.png", MM, "color/{}.jpg", CAM),
    Layout("scannet-cut3r", "scans_test/scene0707_00", "depth/{}.png", MM, "color/{}.jpg", CAM_4X4),
    Layout("hypersim-cut3r", "ai_001_001/cam_00", "{}_depth.npy", PLAIN, "{}_rgb.png", BY_NAME, SIX_DIGITS),
    *[  # NumPy 2 makes float64 of what was float32 with NumPy 1
        Layout(
            *("unrealstereo4k-cut3r unrealstereo4k-mast3r", "00000/1"),
            *("{}_depth.npy", FROM_1000, "{}_rgb.png", SAME_NAME),
            write=write,
        )
        for write in (FLOATS, DOUBLES)
    ],
    Layout("virtual-kitti-2-cut3r", "Scene01/clone/Camera_0", "{}_depth.png", CM, "{}_rgb.jpg", OF_CAMERA),
    Layout(
        *("tartanair-cut3r tartanair-mast3r", "hospital/Easy/P000"),
        *("{}_depth.npy", FROM_1000, "{}_rgb.png", OF_CAMERA, SIX_DIGITS),
    ),
    Layout(
        *("wildrgbd-dust3r wildrgbd-cut3r", "apple/scenes/scene_000"),
        *("depth/{}.png", MM, "rgb/{}.jpg", npz("metadata/{}.npz", "camera_intrinsics")),
    ),
    one_folder("blendedmvs-dust3r blendedmvs-cut3r", "000000000000000000000000", PLAIN),
    one_folder("megadepth-dust3r megadepth-cut3r", "0000/0", PLAIN, PHOTOS),
    one_folder("staticthings3d-dust3r", "TRAIN/A/0000/left", BACKGROUND)._replace(image="{}_final.jpg", max_depth=200),
    one_folder("waymo-dust3r waymo-cut3r", SEGMENT, PLAIN, ("000_1", "001_1"))._replace(
        metric=True, sequence=f"{SEGMENT}/1"
    ),
    Layout(
        *("habitat-dust3r", "hm3d/00000-kfPV7w3FaU5", "{}_depth.exr", PLAIN, "{}.jpeg"),
        *(json_matrix("{}_camera_params.json", "camera_intrinsics"), ("00000000_1", "00000000_2")),
    ),
    Layout(
        *("arkitscenes-dust3r arkitscenes-cut3r", "Training/40753679", "lowres_depth/{}.png", MM, "vga_wide/{}.jpg"),
        *(APPLE, ("40753679_6791.111", "40753679_6791.211")),
    ),
    Layout(
        *("arkitscenes-highres-cut3r", "Validation/41069021", "highres_depth/{}.png", MM, "vga_wide/{}.jpg"),
        *(APPLE, ("41069021_305.392", "41069021_305.492")),
    ),
    Layout(
        *("scannetpp-dust3r scannetpp-cut3r", "00777c41d4", "depth/{}.png", MM, "images/{}.jpg"),
        *(MESH, ("DSC00001", "frame_000000")),
    ),
    Layout(
        *("tav2-wb", "AbandonedCable", "depth/{}.exr", PLAIN, "images/{}.png"),
        *(npy_matrix("camera_params/{}.npy"), ("00000021_0", "00000021_1")),
    ),
    *[  # the second as Pi3 has it
        Layout(
            *(V1_NAMES, folder, "depth_left/{}_left_depth.npy", SKY_80, "image_left/{}_left.png", V1, SIX_DIGITS),
            max_depth=80,
            size=(480, 640),
        )
        for folder in ("Easy/P000", "hospital/hospital/Easy/P000")
    ],
    Layout(
        *("tartanair-v2", "AbandonedCable/Data_easy/P000", "depth_lcam_front/{}_lcam_front_depth.png", SKY_80),
        *("image_lcam_front/{}_lcam_front.png", V2, SIX_DIGITS),
        max_depth=80,
        size=(640, 640),
        write=PNG_FLOAT,
    ),
    Layout(
        *("tartanair-v2-cameras", "CarWelding/Data_hard/P001", "depth_rcam_top/{}_rcam_top_depth.png", SKY_80),
        *("image_rcam_top/{}_rcam_top.png", V2, SIX_DIGITS),
        max_depth=80,
        size=(640, 640),
        write=PNG_FLOAT,
        sequence="CarWelding/Data_hard/P001/r/top",
    ),
    Layout(
        *("tartanair-shibuya", "RoadCrossing03", "depth_1/{}.npy", SKY_80, "image_1/{}.png", SHIBUYA, SIX_DIGITS),
        max_depth=80,
        size=(360, 640),
        write=HALVES,
        sequence="RoadCrossing03/1",
    ),
]
STEPS = {  # metres, by the codes that the data set began with; 0: none is the same everywhere
    "matterport3d-cut3r": 1 / 4000,
    "pointodyssey-cut3r": 1000 / 65535,
    "uasol-cut3r": 0.001,
    "scannet-cut3r": 0.001,
    "scannetpp-dust3r": 0.001,
    "arkitscenes-dust3r": 0.001,
    "arkitscenes-highres-cut3r": 0.001,
    "wildrgbd-dust3r": 0.001,
    "virtual-kitti-2-cut3r": 0.01,
    "mpsd": 0.01,
    "bedlam-cut3r": 0,
    "tartanair": 0,
    "tartanair-v2": 0,
}


@pytest.mark.parametrize("row", LAYOUTS, ids=lambda row: row.names.split()[0])
def test_a_layout_is_read_as_it_was_written(row: Layout, tmp_path: Path) -> None:
    folder, tree = tmp_path / row.folder, {}
    *columns, depth = (tiled(column, row.size) for column in zip(*row.pixels, strict=True))
    for frame, camera in zip(row.frames, row.cameras(folder, row.frames), strict=True):
        for (path, write), values in zip(((row.depth, row.writer), *row.masks), columns, strict=True):
            write(folder, path.format(frame), values)
        image = picture(tmp_path, row.below(row.image, frame))
        truth = Truth(depth.astype(np.float32), camera, row.sequence or row.folder, image)
        tree[row.below(row.depth, frame)] = truth._replace(farthest=row.max_depth, metric=row.metric)
    for name in row.names.split():
        check_layout(name, tmp_path, tree)
    assert set(find_description(name).names) == set(row.names.split())
    assert find_description(name).depth.max_depth == (None if row.max_depth == LARGEST else row.max_depth)


REAL = [row for row in LAYOUTS if row.writer in (FLOATS, HALVES, EXR)]
REAL.append(three_folders("omniobject3d-cut3r", "anise_001"))


@pytest.mark.parametrize("row", REAL, ids=lambda row: row.names.split()[0])
def test_whole_numbers_are_not_taken_for_metres(row: Layout, tmp_path: Path) -> None:
    key, write = row.below(row.depth, row.frames[0]), EXR_UINT if row.writer is EXR else SHORTS
    write(tmp_path, key, np.full(row.size, 2300))
    row.cameras(tmp_path / row.folder, row.frames)
    with pytest.raises(SourceError, match=r"expected dtype float\d+.*, got uint(16|32)"):
        open_source(row.names.split()[0], tmp_path).read(key)


@pytest.mark.parametrize(("name", "step"), STEPS.items())
def test_the_quantisation_step(name: str, step: float) -> None:
    assert (find_description(name).depth.quantisation_step or 0) == pytest.approx(step, rel=1e-3)
