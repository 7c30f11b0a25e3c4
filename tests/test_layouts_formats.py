"""Data sets whose numbers depend on a text, a scale or a list next to the depth: what is written is what is read."""

from pathlib import Path

import numpy as np
import pytest
from layouts import INF, NAN, Truth, as_json, check_layout, k_matrix, new, picture
from packed_trees import write_images
from PIL import Image, PngImagePlugin
from processed import FLOATS, GREY, PNG16, SIZE, camera, npz, tiled

from depthvar.datasets import SourceError, open_source


@pytest.mark.parametrize("name", ["co3d-dust3r", "co3d-cut3r"])
def test_co3d_is_scaled_by_the_largest_depth_of_a_frame(name: str, tmp_path: Path) -> None:
    tree, codes, sequence = {}, (0, 1, 30000, 65534, 65535), "apple/110_13051_23361"
    for index, largest in enumerate((8.0, 21.5)):
        frame = f"frame{index:06}"
        k, key = camera(index), f"{sequence}/depths/{frame}.jpg.geometric.png"
        PNG16(tmp_path, key, tiled(codes))
        GREY(tmp_path, f"{sequence}/masks/{frame}.png", np.zeros(SIZE))  # all background, whose depth is kept
        arrays = {"camera_intrinsics": k_matrix(k), "maximum_depth": np.float32(largest), "camera_pose": np.eye(4)}
        np.savez(new(tmp_path, f"{sequence}/images/{frame}.npz"), **arrays)
        image = picture(tmp_path, f"{sequence}/images/{frame}.jpg")
        depth = tiled([code / 65535 * largest for code in codes]).astype(np.float32)
        tree[key] = Truth(depth, k, sequence, image, metric=False)
    check_layout(name, tmp_path, tree)
    for none in (0.0, NAN):
        np.savez(tmp_path / f"{sequence}/images/{frame}.npz", **{**arrays, "maximum_depth": none})
        with pytest.raises(SourceError, match=r"frame000001.npz: \[scale\]: expected a number above 0, got"):
            open_source(name, tmp_path).read(key)


def test_omniobject3d_is_divided_by_the_scale_of_its_object(tmp_path: Path) -> None:
    tree, scales = {}, {"anise_001": 0.25, "antique_002": 2.0}
    as_json(tmp_path, "scale.json", scales)
    for name, scale in scales.items():
        FLOATS(tmp_path, f"{name}/depth/000.npy", tiled([0, -1, NAN, INF, 500]))
        (k,) = npz("cam/{}.npz", "intrinsics")(tmp_path / name, ["000"])
        depth = tiled([0, 0, 0, 0, 0.5 / scale]).astype(np.float32)
        tree[f"{name}/depth/000.npy"] = Truth(depth, k, name, picture(tmp_path, f"{name}/rgb/000.png"))
    check_layout("omniobject3d-cut3r", tmp_path, tree)


@pytest.mark.parametrize(("name", "file"), [("moge", "depth.png"), ("moge-completed", "depth_completed.png")])
def test_moge_has_logarithmic_codes_and_normalised_intrinsics(name: str, file: str, tmp_path: Path) -> None:
    # 65533 = 13 · 5041, so from near = 1 to far = 2^13 these codes are powers of 2.
    codes, depth = (0, 1, 1 + 5041, 1 + 3 * 5041, 65534, 65535), np.array([0, 1, 2, 8, 8192, INF])
    tree, plain = {}, {"near": "1.0", "far": "8192.0"}
    texts = [plain, {"near": "0.5", "far": "4096"}, plain | {"unit": "4"}]
    for index, (text, factor) in enumerate(zip(texts, (1, 0.5, 4), strict=True)):
        folder, info = f"folder1/instance{index}", PngImagePlugin.PngInfo()
        for key, value in text.items():
            info.add_text(key, value)
        Image.fromarray(tiled(codes).astype(np.uint16)).save(new(tmp_path, f"{folder}/{file}"), pnginfo=info)
        as_json(tmp_path, f"{folder}/meta.json", {"intrinsics": [[0.625 + index, 0, 0.5], [0, 7.5, 0.25], [0, 0, 1]]})
        metres, image = tiled(list(depth * factor)).astype(np.float32), picture(tmp_path, f"{folder}/image.jpg")
        k = (60.0 + 96 * index, 60.0, 48.0, 2.0)  # of 96×8
        tree[f"{folder}/{file}"] = Truth(metres, k, "folder1", image, metric=False)
    check_layout(name, tmp_path, tree)


def test_mapillary_planet_scale_depth(tmp_path: Path) -> None:
    tree = {}
    photos = {"train": {"__epk-nlU2UVQ7bBPQKbiA": 0.625, "0b.c": 1.25}, "val": {"__eA1Z6W5hlzKYvgheyoXg": 0.75}}
    for split, focal in photos.items():
        as_json(tmp_path, f"{split}.json", {name: {"focal": f} for name, f in focal.items()})
        for name, f in focal.items():
            PNG16(tmp_path, f"{split}/{name}.png", tiled([0, 1, 12345, 65535]))
            metres, image = (
                tiled([0, 0.01, 123.45, 655.35]).astype(np.float32),
                picture(tmp_path, f"{split}/{name}.jpg"),
            )
            tree[f"{split}/{name}.png"] = Truth(metres, (f * 96, f * 96, 48, 4), split, image)
    check_layout("mpsd", tmp_path, tree)


def test_a_folder_of_your_own(tmp_path: Path) -> None:
    for index in range(2):
        PNG16(tmp_path, f"depth/{index}.png", tiled([0, 1, 1234, 65535]))
        FLOATS(tmp_path, f"room/{index}.npy", tiled([2.3, 0, NAN, 1e4]))
    source = open_source("folder", tmp_path, intrinsics=[60, 61, 48, 4])
    assert source.keys() == ["depth/0.png", "depth/1.png"]
    expected = tiled([0, 0.001, 1.234, 0]).astype(np.float32)
    np.testing.assert_array_equal(source.read("depth/1.png").depth, expected)
    assert source.image_path("depth/1.png") is None
    assert source.sequence("depth/1.png") == ""
    source = open_source("folder", tmp_path, intrinsics=[60, 61, 48, 4], pattern="{sequence}/{frame}.npy")
    assert source.keys() == ["room/0.npy", "room/1.npy"]
    frame = source.read("room/1.npy")
    np.testing.assert_array_equal(frame.depth, tiled([2.3, 0, 0, 1e4]).astype(np.float32))
    assert frame.intrinsics.tolist() == [60, 61, 48, 4]


@pytest.mark.parametrize(
    ("name", "units"),
    [("kitti-unik3d", 256), ("hypersim-unik3d", 1000), ("taskonomy-unik3d", 512), ("megadepth-unik3d", 50)],
)
def test_each_unit_of_unik3d(tmp_path: Path, name: str, units: int) -> None:
    tree = write_images(tmp_path / "data")  # which is of the second
    for key, (_, depth, _) in tree.frames.items():
        stored = np.rint(depth * 1000)
        np.testing.assert_array_equal(
            open_source(name, tree.root).read(key).depth, np.float32(stored) / np.float32(units)
        )
