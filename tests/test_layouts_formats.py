"""Data sets whose numbers depend on a text, a scale or a list next to the depth: what is written is what is read."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin
from processed import FAR, SIZE, UNKNOWN, camera, check, grey, made, matrix, npy, npz, picture, png16, tiled

from depthvar.datasets import SourceError, open_source


@pytest.mark.parametrize("name", ["co3d-dust3r", "co3d-cut3r"])
def test_co3d_is_scaled_by_the_largest_depth_of_a_frame(name: str, tmp_path: Path) -> None:
    folder, codes = tmp_path / "apple/110_13051_23361", (0, 1, 30000, 65534, 65535)
    largest = {"frame000001": 8.0, "frame000002": 21.5, "frame000003": 0.0, "frame000004": np.nan}
    for index, frame in enumerate(largest):
        png16(folder / f"depths/{frame}.jpg.geometric.png", tiled(codes, SIZE))
        picture(folder / f"images/{frame}.jpg", SIZE)
        grey(folder / f"masks/{frame}.png", np.zeros(SIZE))  # all background, whose depth is kept
        arrays = {"camera_intrinsics": matrix(camera(index)), "maximum_depth": np.float32(largest[frame])}
        np.savez(folder / f"images/{frame}.npz", camera_pose=np.eye(4), **arrays)
    source = open_source(name, tmp_path)
    assert source.description.names == ("co3d-dust3r", "co3d-cut3r")
    assert not source.description.depth.metric
    keys = [f"apple/110_13051_23361/depths/{frame}.jpg.geometric.png" for frame in largest]
    assert source.keys() == keys
    for index, (frame, most) in enumerate(list(largest.items())[:2]):
        image, depth = f"apple/110_13051_23361/images/{frame}.jpg", [code / 65535 * most for code in codes]
        check(source, keys[index], tiled(depth, SIZE), camera(index), image, "apple/110_13051_23361")
    for key in keys[2:]:
        with pytest.raises(SourceError, match=r"frame00000[34].npz: \[scale\]: expected a number above 0, got"):
            source.read(key)


def test_omniobject3d_is_divided_by_the_scale_of_its_object(tmp_path: Path) -> None:
    scales = {"anise_001": 0.25, "antique_002": 2.0}
    (tmp_path / "scale.json").write_text(json.dumps(scales))
    for name, scale in scales.items():
        npy(tmp_path / f"{name}/depth/000.npy", tiled([0, -1, np.nan, np.inf, 500], SIZE))
        picture(tmp_path / f"{name}/rgb/000.png", SIZE)
        (k,) = npz("cam/{}.npz", "intrinsics")(tmp_path / name, ["000"])
        depth = tiled([UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN, 0.5 / scale], SIZE)
        check(
            open_source("omniobject3d-cut3r", tmp_path), f"{name}/depth/000.npy", depth, k, f"{name}/rgb/000.png", name
        )


@pytest.mark.parametrize(("name", "file"), [("moge", "depth.png"), ("moge-completed", "depth_completed.png")])
def test_moge_has_logarithmic_codes_and_normalised_intrinsics(name: str, file: str, tmp_path: Path) -> None:
    # 65533 = 13 · 5041, so from near = 1 to far = 2^13 these codes are powers of 2.
    codes, depth = (0, 1, 1 + 5041, 1 + 3 * 5041, 65534, 65535), np.array([UNKNOWN, 1, 2, 8, 8192, FAR])
    texts = [
        {"near": "1.0", "far": "8192.0"},
        {"near": "0.5", "far": "4096"},
        {"near": "1", "far": "8192", "unit": "4"},
    ]
    for index, (text, factor) in enumerate(zip(texts, (1, 0.5, 4), strict=True)):
        folder, info = tmp_path / f"folder1/instance{index}", PngImagePlugin.PngInfo()
        for key, value in text.items():
            info.add_text(key, value)
        Image.fromarray(tiled(codes, SIZE).astype(np.uint16)).save(made(folder / file), pnginfo=info)
        picture(folder / "image.jpg", SIZE)
        k = [[0.625 + index, 0, 0.5], [0, 7.5, 0.25], [0, 0, 1]]
        (folder / "meta.json").write_text(json.dumps({"intrinsics": k}))
        source, image = open_source(name, tmp_path), f"folder1/instance{index}/image.jpg"
        pixels = (60.0 + 96 * index, 60.0, 48.0, 2.0)
        check(source, f"folder1/instance{index}/{file}", tiled(list(depth * factor), SIZE), pixels, image, "folder1")
    assert len(source) == 3
    assert not source.description.depth.metric


def test_mapillary_planet_scale_depth(tmp_path: Path) -> None:
    photos = {"train": {"__epk-nlU2UVQ7bBPQKbiA": 0.625, "0b.c": 1.25}, "val": {"__eA1Z6W5hlzKYvgheyoXg": 0.75}}
    for split, focal in photos.items():
        (tmp_path / f"{split}.json").write_text(json.dumps({name: {"focal": f} for name, f in focal.items()}))
        for name in focal:
            png16(tmp_path / f"{split}/{name}.png", tiled([0, 1, 12345, 65535], SIZE))
            picture(tmp_path / f"{split}/{name}.jpg", (24, 288))
    source = open_source("mpsd", tmp_path)
    assert len(source) == 3
    for split, focal in photos.items():
        for name, f in focal.items():
            depth, k = tiled([UNKNOWN, 0.01, 123.45, 655.35], SIZE), (f * 96, f * 96, 48.0, 4.0)
            check(source, f"{split}/{name}.png", depth, k, f"{split}/{name}.jpg", split)


def test_a_folder_of_your_own(tmp_path: Path) -> None:
    for index in range(2):
        png16(tmp_path / f"depth/{index}.png", tiled([0, 1, 1234, 65535], SIZE))
        npy(tmp_path / f"room/{index}.npy", tiled([2.3, 0, np.nan, 1e4], SIZE))
    source = open_source("folder", tmp_path, intrinsics=[60, 61, 48, 4])
    assert source.keys() == ["depth/0.png", "depth/1.png"]
    expected = tiled([UNKNOWN, 0.001, 1.234, UNKNOWN], SIZE).astype(np.float32)
    np.testing.assert_array_equal(source.read("depth/1.png").depth, expected)
    assert source.image_path("depth/1.png") is None
    assert source.sequence("depth/1.png") == ""
    source = open_source("folder", tmp_path, intrinsics=[60, 61, 48, 4], pattern="{sequence}/{frame}.npy")
    assert source.keys() == ["room/0.npy", "room/1.npy"]
    frame = source.read("room/1.npy")
    np.testing.assert_array_equal(frame.depth, tiled([2.3, UNKNOWN, UNKNOWN, 1e4], SIZE).astype(np.float32))
    assert frame.intrinsics.tolist() == [60, 61, 48, 4]
