"""Built-in descriptions whose cameras have formats of their own: trees as the data sets have them, damage, URLs."""

import gzip
import io
import json
import struct
import uuid
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import OpenEXR
import pytest
from numpy.typing import NDArray
from PIL import Image
from remote_caches import upload

from depthvar.datasets import DepthSource, open_source
from depthvar.datasets.errors import ParameterError, SourceError
from depthvar.datasets.source import tables
from depthvar.datasets.source.catalogue import find_description
from depthvar.datasets.source.numbers import NumbersRule, read_table

H, W = 12, 16
NEAR = (1 + np.arange(H * W).reshape(H, W) / 64).astype(np.float32)  # exact in half floats too
FAR = NEAR[::-1] * 2
Tree = dict[str, bytes]
Frames = dict[str, tuple[NDArray[np.float32], list[float]]]


def colmap_map(depth: NDArray[np.float32]) -> bytes:
    return b"%d&%d&1&" % (W, H) + depth.astype("<f4").tobytes()


def hdf5(depth: NDArray[np.float32]) -> bytes:
    file = io.BytesIO()
    with h5py.File(file, "w") as content:
        content["depth"] = depth
    return file.getvalue()


def half_exr(depth: NDArray[np.float32], folder: Path) -> bytes:
    path = folder / "a.exr"
    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    OpenEXR.File(header, {"Y": depth.astype(np.float16)}).write(str(path))
    return path.read_bytes()


def png(values: NDArray[np.uint16]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(values).save(file, "png")
    return file.getvalue()


def millimetres(depth: NDArray[np.float32]) -> bytes:
    return png(np.rint(depth * 1000).astype(np.uint16))


def half_png(depth: NDArray[np.float32]) -> bytes:
    return png(depth.astype("<f2").view(np.uint16))


def dpt(depth: NDArray[np.float32]) -> bytes:
    return struct.pack("<fii", 202021.25, W, H) + depth.astype("<f4").tobytes()


def as_json(value: Any) -> bytes:
    return json.dumps(value).encode()


def packed(value: Any) -> bytes:
    return gzip.compress(as_json(value), mtime=0)  # equal in every process of pytest-xdist


# --- COLMAP: two cameras, the second of images of twice the size

CAMERAS_TXT = b"""# Camera list with one line of data per camera:
#   CAMERA_ID, MODEL, WIDTH, HEIGHT, PARAMS[]
# Number of cameras: 2
1 PINHOLE 16 12 20 21 8 6
4 SIMPLE_RADIAL 32 24 60 17 12.5 0.1
"""
IMAGES_TXT = b"""# Image list with two lines of data per image:
#   IMAGE_ID, QW, QX, QY, QZ, TX, TY, TZ, CAMERA_ID, NAME
#   POINTS2D[] as (X, Y, POINT3D_ID)
7 1 0 0 0 0 0 0 1 one.jpg
2362.39 248.498 58396 1784.7 268.254 59027 1784.7 268.254 -1
8 0.5 0.5 0.5 0.5 1.5 2 3 4 two.jpg

"""
CAMERAS_BIN = struct.pack("<QIiQQ4dIiQQ4d", 2, 1, 1, 16, 12, 20, 21, 8, 6, 4, 2, 32, 24, 60, 17, 12.5, 0.1)
IMAGES_BIN = (
    struct.pack("<QI7dI8sQ", 2, 7, 1, 0, 0, 0, 0, 0, 0, 1, b"one.jpg", 3)
    + 3 * struct.pack("<ddq", 2362.39, 248.498, 58396)
    + struct.pack("<I7dI8sQ", 8, 0.5, 0.5, 0.5, 0.5, 1.5, 2, 3, 4, b"two.jpg", 0)
)
ONE, TWO = [20, 21, 7.5, 5.5], [30, 30, 8, 5.75]  # 17 / 2 - 0.5 and 12.5 / 2 - 0.5 from the centre of the first pixel


def workspace(sequence: str) -> tuple[Tree, Frames]:
    depth = f"{sequence}/stereo/depth_maps"
    files = {
        f"{sequence}/sparse/cameras.bin": CAMERAS_BIN,
        f"{sequence}/sparse/images.bin": IMAGES_BIN,
        f"{depth}/one.jpg.geometric.bin": colmap_map(NEAR),
        f"{depth}/one.jpg.photometric.bin": colmap_map(FAR),
        f"{depth}/two.jpg.geometric.bin": colmap_map(FAR),
    }
    return files, {f"{depth}/one.jpg.geometric.bin": (NEAR, ONE), f"{depth}/two.jpg.geometric.bin": (FAR, TWO)}


def megadepth(_: Path) -> tuple[Tree, Frames]:
    model, depth = "0001/sparse/manhattan/0", "0001/dense0/depths"
    ordinal = np.where(NEAR < 1.5, np.float32(-1), NEAR)
    files = {
        f"{model}/cameras.txt": CAMERAS_TXT,
        f"{model}/images.txt": IMAGES_TXT,
        f"{depth}/one.h5": hdf5(ordinal),
        f"{depth}/two.h5": hdf5(FAR),
    }
    return files, {f"{depth}/one.h5": (ordinal.clip(0), ONE), f"{depth}/two.h5": (FAR, TWO)}


# --- JSON

WAI = {"h": H, "w": W, "fl_x": 20.0, "fl_y": 21.0, "cx": 7.5, "cy": 5.5}


def wai(folder: Path, depths: str) -> tuple[Tree, Frames]:
    """One scene whose frames share a camera, one with a camera for each."""
    shared = {"scene_name": "a", "shared_intrinsics": True, **WAI, "frames": [{"frame_name": "0"}, {"frame_name": "1"}]}
    own = [{"frame_name": "DSC_1", **WAI}, {"frame_name": "DSC_2", **WAI, "fl_x": 30.0, "cx": 8.0}]
    files = {
        "a/scene_meta.json": as_json(shared),
        "b/scene_meta.json": as_json({"shared_intrinsics": False, "frames": own}),
        f"a/{depths}/1.exr": half_exr(NEAR, folder),
        f"b/{depths}/DSC_1.exr": half_exr(FAR, folder),
        f"b/{depths}/DSC_2.exr": half_exr(NEAR, folder),
    }
    return files, {
        f"a/{depths}/1.exr": (NEAR, [20, 21, 7.5, 5.5]),
        f"b/{depths}/DSC_1.exr": (FAR, [20, 21, 7.5, 5.5]),
        f"b/{depths}/DSC_2.exr": (NEAR, [30, 21, 8, 5.5]),
    }


def nerfstudio(_: Path) -> tuple[Tree, Frames]:
    """The camera at the top of the file, of images of twice the size; one frame has its own focal length."""
    frames = [
        {"file_path": "./images/frame_00001.png", "depth_file_path": "./depths/frame_00001.png"},
        {"file_path": "images/frame_00002.png", "fl_x": 50},
    ]
    top = {"camera_model": "OPENCV", "w": 32, "h": 24, "fl_x": 40, "fl_y": 42, "cx": 15.5, "cy": 11.5, "k1": 0.1}
    files = {
        "scan/transforms.json": as_json({**top, "frames": frames}),
        "scan/depths/frame_00001.png": millimetres(NEAR),
        "scan/depths/frame_00002.png": millimetres(FAR),
    }
    return files, {
        "scan/depths/frame_00001.png": (in_millimetres(NEAR), [20, 21, 7.5, 5.5]),
        "scan/depths/frame_00002.png": (in_millimetres(FAR), [25, 21, 7.5, 5.5]),
    }


def in_millimetres(depth: NDArray[np.float32]) -> NDArray[np.float32]:
    return (np.rint(depth * 1000) / 1000).astype(np.float32)


def wildrgbd(_: Path) -> tuple[Tree, Frames]:
    files: Tree = {}
    for scene, fx, depth in (("scene_000", 20.0, NEAR), ("scene_001", 30.0, FAR)):
        by_columns = [fx, 0, 0, 0, 21.0, 0, 7.5, 5.5, 1]
        files[f"apple/scenes/{scene}/metadata"] = as_json({"w": W, "h": H, "fps": 30, "K": by_columns, "poses": []})
        files[f"apple/scenes/{scene}/depth/00000.png"] = millimetres(depth)
    return files, {
        "apple/scenes/scene_000/depth/00000.png": (in_millimetres(NEAR), [20, 21, 7.5, 5.5]),
        "apple/scenes/scene_001/depth/00000.png": (in_millimetres(FAR), [30, 21, 7.5, 5.5]),
    }


def co3d_pi3(_: Path) -> tuple[Tree, Frames]:
    """Focal lengths in halves of the shorter side (6 pixels), the centre from that of the image, to the left and up."""

    def record(name: str, f: float, p: float) -> dict[str, Any]:
        return {
            "filepath": f"apple/{name}.jpg",
            "R": np.eye(3).tolist(),
            "focal_length": [f, f],
            "principal_point": [p, 0],
        }

    videos = {
        "110_13051_23361": [record("110_13051_23361/images/frame000001", 3, 0), record("x/images/frame000002", 9, 0)],
        "189_20393_38136": [record("189_20393_38136/images/frame000001", 4, 0.25)],
    }
    depth = "apple/{}/depths/frame000001.jpg.geometric.png"
    keys = [depth.format(video) for video in videos]
    files = {"apple_train.jgz": packed(videos), keys[0]: half_png(NEAR), keys[1]: half_png(FAR)}
    return files, {keys[0]: (NEAR, [18, 18, 8, 6]), keys[1]: (FAR, [24, 24, 6.5, 6])}


# --- Sintel


def cam(fx: float) -> bytes:
    return struct.pack("<f9d12d", 202021.25, fx, 0, 7.5, 0, 21, 5.5, 0, 0, 1, *np.eye(4)[:3].ravel())


def sintel(_: Path) -> tuple[Tree, Frames]:
    files = {
        "training/camdata_left/alley_1/frame_0001.cam": cam(20),
        "training/camdata_left/alley_1/frame_0002.cam": cam(30),
        "training/depth/alley_1/frame_0001.dpt": dpt(NEAR),
        "training/depth/alley_1/frame_0002.dpt": dpt(FAR),
    }
    return files, {
        "training/depth/alley_1/frame_0001.dpt": (NEAR, [20, 21, 7.5, 5.5]),
        "training/depth/alley_1/frame_0002.dpt": (FAR, [30, 21, 7.5, 5.5]),
    }


TREES: Mapping[str, Callable[[Path], tuple[Tree, Frames]]] = {
    "colmap": lambda _: workspace("garden"),
    "mapfree": lambda _: workspace("s00000/dense0"),
    "megadepth": megadepth,
    "wai": lambda folder: wai(folder, "depth"),
    "wai-rendered": lambda folder: wai(folder, "rendered_depth"),
    "nerfstudio": nerfstudio,
    "wildrgbd": wildrgbd,
    "co3d-pi3": co3d_pi3,
    "sintel": sintel,
}


def planted(name: str, folder: Path) -> tuple[Path, Frames]:
    """Write the tree of a data set; return its root, and depth and intrinsics by key."""
    files, frames = TREES[name](folder)
    for path, content in files.items():
        (folder / "root" / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / "root" / path).write_bytes(content)
    return folder / "root", frames


@pytest.mark.parametrize("name", TREES)
def test_a_tree_as_the_data_set_has_it(tmp_path: Path, name: str) -> None:
    root, frames = planted(name, tmp_path)
    source = open_source(name, root)
    assert source.keys() == sorted(frames)
    for key, (depth, intrinsics) in frames.items():
        frame = source.read(key)
        np.testing.assert_array_equal(frame.depth, depth)
        np.testing.assert_allclose(frame.intrinsics, intrinsics, rtol=1e-15)


def test_eth3d(tmp_path: Path) -> None:
    """The header of a real model. Depth of the full size would be 98 MB, of which the file here stores nothing."""
    folder = tmp_path / "courtyard"
    for path in ("dslr_calibration_jpg", "ground_truth_depth/dslr_images"):
        (folder / path).mkdir(parents=True)
    lens = "-0.00113 0.0027 0.0009 -0.0004 -0.0009 -0.0013 0.0012 0.0018"
    (folder / "dslr_calibration_jpg/cameras.txt").write_text(
        f"# Camera list with one line of data per camera:\n"
        f"0 THIN_PRISM_FISHEYE 6048 4032 3411.42 3410.02 3041.29 2014.07 {lens}\n"
        f"1 THIN_PRISM_FISHEYE 6048 4032 3429.5 3428.52 3041.94 2014.23 {lens}\n"
    )
    pose = "0.98 0.03 -0.17 0.02 1.5 -0.3 2.1"
    (folder / "dslr_calibration_jpg/images.txt").write_text(
        f"1 {pose} 0 dslr_images/DSC_0286.JPG\n1.5 2.5 -1\n2 {pose} 1 dslr_images/DSC_0287.JPG\n\n"
    )
    key = "courtyard/ground_truth_depth/dslr_images/DSC_028{}.JPG"
    with (tmp_path / key.format(6)).open("wb") as file:
        file.truncate(4032 * 6048 * 4)
    full = open_source("eth3d", tmp_path)
    assert full.shape(key.format(6)) == (4032, 6048)
    assert full.intrinsics(key.format(6)).tolist() == [3411.42, 3410.02, 3040.79, 2013.57]

    (tmp_path / key.format(6)).write_bytes(NEAR.tobytes())
    (tmp_path / key.format(7)).write_bytes(np.where(NEAR > 3, np.inf, NEAR).astype("<f4").tobytes())
    small = DepthSource("eth3d", find_description("eth3d", {"depth": {"shape": [H, W]}}), tmp_path)
    np.testing.assert_array_equal(small.read(key.format(6)).depth, NEAR)
    np.testing.assert_array_equal(small.read(key.format(7)).depth, np.where(NEAR > 3, 0, NEAR))
    expected = [3429.5 * W / 6048, 3428.52 * H / 4032, 3041.94 * W / 6048 - 0.5, 2014.23 * H / 4032 - 0.5]
    np.testing.assert_allclose(small.intrinsics(key.format(7)), expected, rtol=1e-14)


NO_ROW = {  # the file without the frame's row, and what the message says
    "colmap": (
        "garden/sparse/images.bin",
        bytes(8),
        r"sparse/cameras.bin: images.bin next to it: expected a row named",
    ),
    "mapfree": ("s00000/dense0/sparse/images.bin", bytes(8), r"expected a row named 'one.jpg', found none in 0 rows"),
    "megadepth": (
        "0001/sparse/manhattan/0/images.txt",
        b"7 1 0 0 0 0 0 0 1 ones.jpg\n\n",
        r"0/cameras.txt: images.txt next to it: .* 'one.jpg', found none in 1 rows .did you mean ones.jpg",
    ),
    "wai": (
        "a/scene_meta.json",
        as_json({**WAI, "frames": []}),
        "scene_meta.json: expected a row named '1', found none",
    ),
    "wai-rendered": (
        "a/scene_meta.json",
        as_json({"frames": [{"frame_name": "1"}]}),
        "expected 'w', got a table without",
    ),
    "nerfstudio": (
        "scan/transforms.json",
        as_json({"frames": []}),
        "transforms.json: .* named 'frame_00001', found none",
    ),
    "wildrgbd": ("apple/scenes/scene_000/metadata", as_json({"w": 1, "h": 1}), "metadata: expected 'K', got a table"),
    "co3d-pi3": (
        "apple_train.jgz",
        packed({"110_13051_23362": []}),
        "apple_train.jgz: expected '110_13051_23361', got a table without it .did you mean 110_13051_23362",
    ),
}
DAMAGED = {
    "colmap": ("garden/sparse/images.bin", IMAGES_BIN[:-1], r"sparse/images.bin: .*; fetch the file again$"),
    "mapfree": ("s00000/dense0/sparse/cameras.bin", CAMERAS_BIN[:-9], r"cameras.bin: the file ends too early; fetch"),
    "megadepth": (
        "0001/sparse/manhattan/0/cameras.txt",
        CAMERAS_TXT[:-8],
        r"cameras.txt: expected 4 parameters of SIMPLE_RADIAL, got '4 SIMPLE_RADIAL 32 24 60 17 1'; fetch the",
    ),
    "wai": ("a/scene_meta.json", b'{"frames": [', r"scene_meta.json: cannot parse JSON .*; fetch the file again$"),
    "wai-rendered": (
        "a/scene_meta.json",
        b"\x89PNG\r\n",
        "scene_meta.json: expected JSON, got a PNG; does the descript",
    ),
    "nerfstudio": ("scan/transforms.json", b"[]", r"transforms.json: expected something at 'frames', got a list of 0"),
    "wildrgbd": ("apple/scenes/scene_000/metadata", b'{"w": 16, ', r"metadata: cannot parse JSON .*; fetch the file"),
    "co3d-pi3": ("apple_train.jgz", b"\x1f\x8b\x08", r"apple_train.jgz: cannot unpack gzip .*; fetch the file again$"),
    "sintel": (
        "training/camdata_left/alley_1/frame_0001.cam",
        cam(20)[:100],
        r"frame_0001.cam: expected the 172 bytes of a camera of Sintel, got 100; fetch the file again$",
    ),
}


@pytest.mark.parametrize(
    ("name", "path", "content", "message"),
    [
        pytest.param(name, *fault, id=f"{name} {kind}")
        for kind, faults in (("without the row", NO_ROW), ("damaged", DAMAGED))
        for name, fault in faults.items()
    ],
)
def test_a_file_without_the_row_or_damaged(tmp_path: Path, name: str, path: str, content: bytes, message: str) -> None:
    """Keys are of the first frame in order, which needs that file."""
    root, _ = planted(name, tmp_path)
    (root / path).write_bytes(content)
    source = open_source(name, root)
    with pytest.raises(SourceError, match=message) as caught:
        source.read(source.keys()[0])
    assert str(caught.value).startswith(str(root))
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("colmap", "garden/sparse/images.bin"),
        ("colmap", "garden/sparse/cameras.bin"),
        ("wildrgbd", "apple/scenes/scene_000/metadata"),
        ("co3d-pi3", "apple_train.jgz"),
        ("sintel", "training/camdata_left/alley_1/frame_0001.cam"),
    ],
)
def test_a_missing_file(tmp_path: Path, name: str, path: str) -> None:
    root, frames = planted(name, tmp_path)
    source = open_source(name, root)
    (root / path).unlink()
    for ask in (source.stat, source.read):
        with pytest.raises(SourceError, match=f"{path}: .*"):
            ask(min(frames))


def test_the_images_of_a_model_belong_to_a_frame(tmp_path: Path) -> None:
    """A change of images.bin changes the frame's stat, and its camera at once, though the table was kept."""
    root, frames = planted("colmap", tmp_path)
    source = open_source("colmap", root)
    key = min(frames)
    before = source.stat(key)
    assert source.intrinsics(key).tolist() == ONE
    swapped = IMAGES_BIN.replace(b"one.jpg", b"xxx.jpg").replace(b"two.jpg", b"one.jpg")
    (root / "garden/sparse/images.bin").write_bytes(swapped)
    assert source.intrinsics(key).tolist() == TWO
    assert source.stat(key) != before


@pytest.mark.parametrize("name", ["colmap", "megadepth", "sintel", "co3d-pi3", "wildrgbd"])
def test_at_a_url(tmp_path: Path, name: str) -> None:
    root, frames = planted(name, tmp_path)
    url = f"memory://bucket/{uuid.uuid4().hex}"
    upload(root, url)
    source = open_source(name, url)
    part = source.holding(list(frames))
    for key, (depth, intrinsics) in frames.items():
        np.testing.assert_array_equal(source.read(key).depth, depth)
        np.testing.assert_array_equal(part.intrinsics(key), source.intrinsics(key))
        np.testing.assert_allclose(source.intrinsics(key), intrinsics, rtol=1e-15)


def test_rows_of_all_videos_are_parsed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file once, and the names of each of its two videos once."""
    root, frames = planted("co3d-pi3", tmp_path)
    source = open_source("co3d-pi3", root)
    calls: Counter[str] = Counter()
    for name in ("read_json", "json_table"):
        whole = getattr(tables, name)
        monkeypatch.setattr(
            tables, name, lambda *given, name=name, whole=whole: (calls.update([name]), whole(*given))[1]
        )
    for key in [*frames, *frames]:
        source.intrinsics(key)
        source._numbers._kept_camera.cache_clear()
    assert calls == {"read_json": 1, "json_table": 2}


# --- names that mean several kinds of file


def test_a_text_of_numbers_may_have_any_name(tmp_path: Path) -> None:
    for name in ("cameras.txt", "K.cam", "metadata"):
        (tmp_path / name).write_text("{20, 21, 7.5, 5.5}")
        assert read_table(tmp_path / name, NumbersRule(name)).numbers((), None).tolist() == ONE
    (tmp_path / "cameras.txt").write_text("K: 20 21 7.5 5.5")
    keyed = NumbersRule("cameras.txt", ("K",))
    assert read_table(tmp_path / "cameras.txt", keyed).numbers(("K",), None).tolist() == ONE
    (tmp_path / "K.cam").write_bytes(b"\0" + cam(20)[1:])  # with another tag it is no camera of Sintel
    with pytest.raises(SourceError, match=r"K.cam: expected a text file of 4, 9 or 16 numbers \(or .npy\), got binary"):
        read_table(tmp_path / "K.cam", NumbersRule("K.cam"))
    with pytest.raises(ParameterError, match=r"^rows: a file of COLMAP has none: remove it$"):
        NumbersRule("sparse/cameras.bin", rows="a", row="{frame}")


@pytest.mark.parametrize(
    ("value", "key", "expected"),
    [
        ({"fx": 1, "frames": [{"n": "a"}]}, "fx", [1]),
        ({"fx": 1, "frames": [{"n": "a", "fx": 2}]}, "fx", [2]),
        ({"K": {"fx": 1}, "frames": [{"n": "a"}]}, "K.fx", [1]),
        ({"K": {"fx": 1}, "frames": [{"n": "a", "K": {"fx": 2}}]}, "K.fx", [2]),
        ({"K": {"fx": 1}, "frames": [{"n": "a", "K": {}}]}, "K.fx", None),  # half a camera is none
        ({"frames": [{"n": "a"}]}, "fx", None),
        ({"frames": {"fx": 1, "rows": [{"n": "a"}]}}, "fx", None),  # not the top of the file
    ],
)
def test_keys_that_a_record_lacks(tmp_path: Path, value: Any, key: str, expected: list[float] | None) -> None:
    rows = "frames.rows" if isinstance(value["frames"], dict) else "frames"
    (tmp_path / "K.json").write_bytes(as_json(value))
    read = read_table(tmp_path / "K.json", NumbersRule("K.json", (key,), rows, "n", "{frame}"))
    if expected is None:
        with pytest.raises(ParameterError, match=r"^expected 'fx', got a table without it"):
            read.numbers((key,), "a")
    else:
        assert read.numbers((key,), "a").tolist() == expected


def test_rows_of_arrays_with_placeholders(tmp_path: Path) -> None:
    np.savez(tmp_path / "K.npz", left_K=np.eye(3), right_K=np.ones((2, 3)), left=["a", "b", "c"], right=["a", "b"])
    rule = NumbersRule("K.npz", ("{side}_K",), "{side}", None, "{frame}")
    read = read_table(tmp_path / "K.npz", rule)
    assert read.numbers(("left_K",), "b", "left").tolist() == [0, 1, 0]
    assert read.numbers(("right_K",), "b", "right").tolist() == [1, 1, 1]
    with pytest.raises(ParameterError, match=r"^expected an array 'middle', got none"):
        read.numbers(("left_K",), "b", "middle")
