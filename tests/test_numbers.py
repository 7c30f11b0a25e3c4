"""Numbers of a frame from the files of data sets: every kind as it is downloaded, and what can be wrong with it."""

import gzip
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import scipy.io
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from depthvar.datasets.errors import DepthVarError, ParameterError, SourceError
from depthvar.datasets.source import names
from depthvar.datasets.source.arrays import read_mat
from depthvar.datasets.source.camera import CameraRule, camera_from
from depthvar.datasets.source.containers import HEAD_BYTES, RemoteFile
from depthvar.datasets.source.names import Names, bare
from depthvar.datasets.source.numbers import NumbersRule, Table, read_table

K = [[525.0, 0, 319.5], [0, 520, 239.5], [0, 0, 1]]
NINE = [525.0, 0, 319.5, 0, 520, 239.5, 0, 0, 1]


GZIP = gzip.compress(b'{"a": 1}' * 99, mtime=0)  # equal in every process of pytest-xdist


def table(path: Path, content: Any = None, **fields: Any) -> Table:
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    fields["key"] = tuple(fields.get("key", "").split("|")) if fields.get("key") else ()
    return read_table(path, NumbersRule(path.name, **fields))


def saved(save: Callable[..., object], *values: Any, **options: Any) -> bytes:
    file = io.BytesIO()
    save(file, *values, **options)
    return file.getvalue()


def refused(act: Callable[[], object], message: str) -> None:
    with pytest.raises(DepthVarError, match=message) as caught:
        act()
    assert str(caught.value).isprintable()


# --- text

KITTI = """calib_time: 09-Jan-2012 13:57:47
corner_dist: 9.950000e-02
S_00: 1.392000e+03 5.120000e+02
P_rect_02: 7.215377e+02 0.000000e+00 6.095593e+02 4.485728e+01 0.000000e+00 7.215377e+02 1.728540e+02 2.163791e-01 \
0.000000e+00 0.000000e+00 1.000000e+00 2.745884e-03
"""
MIDDLEBURY = """cam0=[3997.684 0 1176.728; 0 3997.684 1011.728; 0 0 1]
cam1=[3997.684 0 1307.839; 0 3997.684 1011.728; 0 0 1]
doffs=131.111
baseline=193.001
width=2964
height=1988
ndisp=280
isint=0
"""
SCANNET = """axisAlignment = 0.945519 0.325568 0.000000 -5.384390 -0.325568 0.945519
colorHeight = 968
depthHeight = 480
fx_depth = 577.590698
fy_depth = 578.729797
mx_depth = 318.905426
my_depth = 242.683609
sceneType = Apartment
"""
MATTERPORT = """dataset matterport
n_images 4
depth_directory undistorted_depth_images

intrinsics_matrix 1075.43 0 629.75  0 1075.84 522.61  0 0 1
scan 0f37bd_d0_0.png 0f37bd_i0_0.jpg 0.46 -0.13 0.87 -1.2 -0.88 -0.06 0.46 2.0 0 0 0 1
scan 0f37bd_d0_1.png 0f37bd_i0_1.jpg 0.47 -0.13 0.87 -1.2 -0.88 -0.06 0.46 2.0 0 0 0 1

intrinsics_matrix 1076.43 0 630.75  0 1076.84 523.61  0 0 1
scan 0f37bd_d1_0.png 0f37bd_i1_0.jpg 0.48 -0.13 0.87 -1.2 -0.88 -0.06 0.46 2.0 0 0 0 1
"""
MVSNET = """extrinsic
0.970263 0.00747983 0.241939 -191.02
-0.0147429 0.999493 0.0282234 3.28832
-0.241605 -0.030951 0.969881 22.5401
0.0 0.0 0.0 1.0

intrinsic
2892.33 0 823.205
0 2883.18 619.072
0 0 1

425 2.5
"""
VKITTI2 = """frame cameraID K[0,0] K[1,1] K[0,2] K[1,2]
0 0 725.0087 725.0087 620.5 187
0 1 726.0087 725.0087 620.5 187
1 0 727.0087 725.0087 620.5 187
1 1 728.0087 725.0087 620.5 187
"""
UNREAL = """960 0 960 0 960 540 0 0 1
1 0 0 0 0 1 0 0.1 0 0 1 0
"""
COLMAP = """# Camera list with one line of data per camera:
#   CAMERA_ID, MODEL, WIDTH, HEIGHT, PARAMS[]
1 PINHOLE 6048 4032 3411.42 3410.02 3041.29 2014.07
2 PINHOLE 6048 4032 3412.42 3410.02 3041.29 2014.07
"""


@pytest.mark.parametrize(
    ("content", "fields", "key", "row", "expected"),
    [
        (KITTI, {}, "S_00", None, [1392, 512]),
        (MIDDLEBURY, {}, "cam0", None, [3997.684, 0, 1176.728, 0, 3997.684, 1011.728, 0, 0, 1]),
        (MIDDLEBURY, {}, "doffs", None, [131.111]),
        (MIDDLEBURY, {}, "baseline", None, [193.001]),
        (SCANNET, {}, "fx_depth|fy_depth|mx_depth|my_depth", None, [577.590698, 578.729797, 318.905426, 242.683609]),
        (
            MATTERPORT,
            {"row": "{f}"},
            "intrinsics_matrix",
            "0f37bd_d0_0",
            [1075.43, 0, 629.75, 0, 1075.84, 522.61, 0, 0, 1],
        ),
        (
            MATTERPORT,
            {"row": "{f}"},
            "intrinsics_matrix",
            "0f37bd_d0_1.png",
            [1075.43, 0, 629.75, 0, 1075.84, 522.61, 0, 0, 1],
        ),
        (
            MATTERPORT,
            {"row": "{f}"},
            "intrinsics_matrix",
            "0f37bd_i1_0",
            [1076.43, 0, 630.75, 0, 1076.84, 523.61, 0, 0, 1],
        ),
        (MVSNET, {}, "intrinsic", None, [2892.33, 0, 823.205, 0, 2883.18, 619.072, 0, 0, 1]),
        (
            MVSNET.replace("1\n\n425", "1\n425"),
            {},
            "intrinsic",
            None,
            [2892.33, 0, 823.205, 0, 2883.18, 619.072, 0, 0, 1],
        ),
        (
            MVSNET.replace("\n2892", "\n\n2892").replace("\n", "\r\n"),
            {},
            "intrinsic",
            None,
            [2892.33, 0, 823.205, 0, 2883.18, 619.072, 0, 0, 1],
        ),
        (VKITTI2, {"row": "{frame} {camera}"}, "", "0 1", [726.0087, 725.0087, 620.5, 187]),
        (VKITTI2, {"row": "{frame} {camera}"}, "", "00001 1", [728.0087, 725.0087, 620.5, 187]),
        (VKITTI2.partition("\n")[2], {"row": "{frame} {camera}"}, "", "00000 0", [725.0087, 725.0087, 620.5, 187]),
        (UNREAL, {}, "line 1", None, [960, 0, 960, 0, 960, 540, 0, 0, 1]),
        (UNREAL, {}, "line 00002", None, [1, 0, 0, 0, 0, 1, 0, 0.1, 0, 0, 1, 0]),
        ("# comment\n\n" + UNREAL, {}, "line 1", None, [960, 0, 960, 0, 960, 540, 0, 0, 1]),
        (COLMAP, {"row": "2 PINHOLE"}, "", "2 PINHOLE", [6048, 4032, 3412.42, 3410.02, 3041.29, 2014.07]),
        ("a.png,1,2\nb.png,3,4\n", {"row": "{f}"}, "", "b", [3, 4]),
        ("K:\n1 2\n3 4\nD: 5", {}, "K", None, [1, 2, 3, 4]),
        ("fx: 525 # px\nfx: 525\n", {}, "fx", None, [525]),
        ("256 192 212.027 212.027 127.933 95.9333", {}, "", None, [256, 192, 212.027, 212.027, 127.933, 95.9333]),
        (KITTI.encode("utf-16"), {}, "S_00", None, [1392, 512]),
        (
            b"\xef\xbb\xbf" + MIDDLEBURY.encode(),
            {},
            "cam0|doffs",
            None,
            [3997.684, 0, 1176.728, 0, 3997.684, 1011.728, 0, 0, 1, 131.111],
        ),
    ],
)
def test_text(tmp_path: Path, content: Any, fields: Any, key: str, row: str | None, expected: list[float]) -> None:
    read = table(tmp_path / "K.txt", content, key=key, **fields)
    got = read.numbers(tuple(key.split("|")) if key else (), row)
    assert got.tolist() == expected
    assert got.dtype == np.float64


def test_a_camera_of_a_pincam_and_of_kitti(tmp_path: Path) -> None:
    pincam = table(tmp_path / "41069021_1234.567.pincam", "1920 1440 1597.41 1597.41 952.73 716.27\n")
    rule = CameraRule(None, NumbersRule("{frame}.pincam"), ("w", "h", "fx", "fy", "cx", "cy"))
    got = camera_from(pincam.numbers((), None), rule, (192, 256))
    np.testing.assert_allclose(got, [1597.41 / 7.5, 1597.41 / 7.5, 953.23 / 7.5 - 0.5, 716.77 / 7.5 - 0.5])
    kitti = table(tmp_path / "calib_cam_to_cam.txt", KITTI, key="P_rect_02")
    rule = CameraRule(None, NumbersRule("calib_cam_to_cam.txt", ("P_rect_02",)))
    assert camera_from(kitti.numbers(("P_rect_02",), None), rule).tolist() == [721.5377, 721.5377, 609.5593, 172.854]


@pytest.mark.parametrize(
    ("content", "fields", "key", "row", "message"),
    [
        (
            KITTI,
            {},
            "P_rect_2",
            None,
            r"^expected a line that begins with 'P_rect_2', got none .did you mean P_rect_02",
        ),
        (KITTI, {}, "calib_time", None, "^expected numbers of 'calib_time', got the text '09-Jan-2012'"),
        (KITTI + "S_00: 1 2", {}, "S_00", None, "^expected one line that begins with 'S_00', got 2 with other numbers"),
        (MATTERPORT, {}, "intrinsics_matrix", None, "expected one line that begins with 'intrinsics_matrix', got 2"),
        (
            MATTERPORT,
            {"row": "{f}"},
            "intrinsics_matrix",
            "0f37bd_d9_0",
            r"named '0f37bd_d9_0', found none in .*mean 0f37bd_d1_0",
        ),
        (
            MATTERPORT,
            {"row": "{f}"},
            "intrinsics_matrix",
            "n_images",
            "'intrinsics_matrix' above 'n_images 4', got none",
        ),
        (VKITTI2, {"row": "{f} {c}"}, "", "2 0", "^expected a row named '2 0', found none in 5 rows"),
        (VKITTI2, {"row": "{f}"}, "", "00001", "^expected one row named '00001', got 2 with different numbers"),
        (VKITTI2, {"row": "{f} {c}"}, "", "frame cameraID", r"^expected numbers of 'the row', got the text 'K'"),
        (UNREAL, {}, "line 3", None, "^expected 'line 3', got 2 lines"),
        (UNREAL, {}, "line 0", None, "^expected 'line 0', got 2 lines"),
        (MVSNET.replace("2892", "x"), {}, "intrinsic", None, "^expected numbers of 'intrinsic', got none"),
        (b"K: \xff\xfe\xfd", {}, "K", None, "^expected numbers of 'K', got binary data"),
        (b"K: 1 \x1b[2J", {}, "K", None, "^expected numbers of 'K', got "),
    ],
)
def test_text_without_the_numbers(
    tmp_path: Path, content: Any, fields: Any, key: str, row: str | None, message: str
) -> None:
    read = table(tmp_path / "K.txt", content, key=key, **fields)
    refused(lambda: read.numbers((key,) if key else (), row), message)


# --- JSON

WAI = {
    "scene_name": "s",
    "frames": [
        {"frame_name": f"{n:06d}", "fl_x": 500 + n, "fl_y": 500.5, "cx": 320, "cy": 240, "w": 640, "h": 480}
        for n in range(3)
    ],
}
CO3D = [
    {
        "sequence_name": name,
        "frame_number": n,
        "image": {"path": f"apple/{name}/images/frame{n:06d}.jpg", "size": [480, 640]},
        "depth": {"scale_adjustment": 1.5 + n},
        "viewpoint": {"focal_length": [2.0 + n, 2.5], "principal_point": [0.0, -0.1]},
    }
    for name in ("110_13051", "189_20393")
    for n in range(1, 3)
]
NERFSTUDIO = {
    "fl_x": 600.0,
    "fl_y": 601,
    "cx": 300,
    "cy": 200,
    "frames": [{"file_path": "images/DSC1.JPG", "depth": 3}],
}


@pytest.mark.parametrize(
    ("value", "fields", "key", "row", "expected"),
    [
        ({"camera_intrinsics": K}, {}, "camera_intrinsics", None, NINE),  # Habitat
        ({"f_x": 1, "f_y": 2.5, "c_x": 3, "c_y": 4}, {}, "f_x|f_y|c_x|c_y", None, [1, 2.5, 3, 4]),  # MVS-Synth
        ({"a": {"b": [[1, 2], [3, 4]]}}, {}, "a.b.1", None, [3, 4]),
        ({"a": {"b": [[1, 2], [3, 4]]}}, {}, "a.b.1.0", None, [3]),
        ({"s/0001.jpg": {"K": K}}, {}, "s/0001.jpg.K", None, NINE),  # names with points
        ({"a.b": {"c": 1}, "a": {"b.c": 2}}, {}, "a.b.c", None, [1]),
        (K, {}, "", None, NINE),
        ({"apple_001": 123.5}, {}, "apple_001", None, [123.5]),  # OmniObject3D
        (WAI, {"rows": "frames", "row_name": "frame_name", "row": "{f}"}, "w|h|fl_x", "000001", [640, 480, 501]),
        (WAI, {"rows": "frames", "row_name": "frame_name", "row": "{f}"}, "fl_x", "2", [502]),
        (WAI, {"rows": "frames", "row": "{f}"}, "fl_x", "0002", [502]),  # by index
        (
            CO3D,
            {"rows": ".", "row_name": "image.path", "row": "{f}"},
            "viewpoint.focal_length|viewpoint.principal_point",
            "apple/189_20393/images/frame000002.jpg",
            [4, 2.5, 0, -0.1],
        ),
        (
            CO3D,
            {"rows": ".", "row_name": "sequence_name frame_number", "row": "{s} {f}"},
            "depth.scale_adjustment",
            "189_20393 000002",
            [3.5],
        ),
        (NERFSTUDIO, {}, "fl_x|fl_y|cx|cy", None, [600, 601, 300, 200]),
        (NERFSTUDIO, {"rows": "frames", "row_name": "file_path", "row": "{f}"}, "depth", "DSC1", [3]),
        ({"a/1.png": K, "a/2.png": [1]}, {"rows": ".", "row": "{f}"}, "", "0001", NINE),  # records by name
        ({"x": {"1": {"K": K}}}, {"rows": "x", "row": "{f}"}, "K", "00001", NINE),
    ],
)
def test_json(tmp_path: Path, value: Any, fields: Any, key: str, row: str | None, expected: list[float]) -> None:
    text = json.dumps(value).encode()
    for suffix, content in ((".json", text), (".json.gz", gzip.compress(text)), (".jgz", gzip.compress(text))):
        read = table(tmp_path / f"K{suffix}", content, key=key, **fields)
        assert read.numbers(tuple(key.split("|")) if key else (), row).tolist() == expected


FRAMES = {"rows": "frames", "row_name": "name", "row": "{f}"}


def named(*rows: str) -> dict[str, Any]:
    return {"frames": [{"name": row, "f": number} for number, row in enumerate(rows)]}


@pytest.mark.parametrize(
    ("value", "fields", "key", "row", "message"),
    [
        ({"intrinsics": K}, {}, "intrinsic", None, r"^expected 'intrinsic', got a table without it .*mean intrinsics"),
        ({"a": {"b": 1}}, {}, "a.c", None, "^expected 'c', got a table without it"),
        ({"a": [1]}, {}, "a.1", None, "^expected something at '1', got a list of 1"),
        ({"a": 5}, {}, "a.b", None, "^expected something at 'b', got 5"),
        ({"a": "525"}, {}, "a", None, "^expected numbers of 'a', got '525'"),
        ({"a": True}, {}, "a", None, "^expected numbers of 'a', got True"),
        ({"a": None}, {}, "a", None, "^expected numbers of 'a', got null"),
        ({"a": [1, {"b": 2}]}, {}, "a", None, "^expected numbers of 'a', got a table"),
        ({"a": []}, {}, "a", None, "^expected numbers of 'a', got none"),
        ({"a": 10**400}, {}, "a", None, "^expected numbers of 'a', got int too large to convert to float"),
        (named("a", "b"), FRAMES, "f", "c", "^expected a row named 'c', found none in 2 rows"),
        (named("a", "a"), FRAMES, "f", "a", "named 'a', got 2 with different numbers: give more of its name in row$"),
        (named("s/1.png", "t/1.png"), FRAMES, "f", "1", "^expected one row named '1', got 2"),
        ({"frames": [1, 2]}, {"rows": "frames", "row": "{f}"}, "", "2", "^expected a row from 0 to 1, got '2'"),
        ({"frames": [1, 2]}, {"rows": "frames", "row": "{f}"}, "", "-1", "^expected the number of a row, got '-1'"),
    ],
)
def test_json_without_the_numbers(
    tmp_path: Path, value: Any, fields: Any, key: str, row: str | None, message: str
) -> None:
    read = table(tmp_path / "K.json", json.dumps(value), key=key, **fields)
    refused(lambda: read.numbers((key,) if key else (), row), message)


def test_rows_with_equal_numbers_are_one(tmp_path: Path) -> None:
    value = {"frames": [{"name": "a", "f": [1, 2]}, {"name": "a", "f": [1, 2]}]}
    assert table(tmp_path / "K.json", json.dumps(value), key="f", **FRAMES).numbers(("f",), "a").tolist() == [1, 2]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("K.json", b'{"a": [1, 2', "K.json: cannot parse JSON .*; fetch the file again$"),
        ("K.json", b"[" * 100_000, "K.json: cannot parse JSON .*; fetch the file again$"),
        ("K.json", b"\x80\x81", "K.json: cannot parse JSON .*; fetch the file again$"),
        ("K.json", b"\x89PNG\r\n", "K.json: expected JSON, got a PNG; does the description name the file of these"),
        ("K.json", b"", "K.json: the file is empty"),
        (
            "K.jgz",
            gzip.compress(b'{"a": 1}' * 99, mtime=0)[:-20],
            "K.jgz: cannot unpack gzip .*; fetch the file again$",
        ),
        (
            "K.jgz",
            gzip.compress(b'{"a": 1}', mtime=0)[:-8] + bytes(8),
            "K.jgz: cannot unpack gzip .*; fetch the file again$",
        ),
        ("K.json.gz", b"\x1f\x8bnothing", "K.json.gz: cannot unpack gzip .*; fetch the file again$"),
        ("K.csv", b"\x1f\x8bnothing", "K.csv: expected CSV, got a gzip archive; does the description"),
        ("K.csv", b"a,b\n1,2\n3", "K.csv: expected 2 columns, as in the header, got 1: .3.; fetch the file again$"),
        ("K.csv", b'a,b\n1,"2', "K.csv: cannot parse CSV .*; fetch the file again$"),
        ("K.npz", b"PK\x03\x04", "K.npz: cannot read npz .*; fetch the file again$"),
        ("K.npz", b"a b", "K.npz: expected an npz file, got other bytes; does the description"),
        ("K.mat", b"MATLAB 5.0 MAT-file" + bytes(300), "K.mat: cannot decode a mat file .*; fetch the file again$"),
        ("K.mat", b"\x89PNG\r\n\x1a\n", "K.mat: expected a mat file, got a PNG; does the description"),
        ("K.txt", b"PK\x03\x04", "K.txt: expected text, got a zip archive, as .npz is; does the description"),
    ],
)
def test_files_that_are_damaged_or_foreign(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    with pytest.raises(SourceError, match=message) as caught:
        table(tmp_path / name, content, key="a")
    assert str(caught.value).isprintable()


def test_a_json_list_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"K.json: expected a list of records at 'a', got 5; correct rows"):
        table(tmp_path / "K.json", '{"a": 5}', key="b", rows="a", row="{f}")
    with pytest.raises(SourceError, match=r"K.json: expected 'name', got a table without it"):
        table(tmp_path / "K.json", '{"a": [{}]}', key="b", rows="a", row="{f}", row_name="name")


# --- CSV

HYPERSIM = """scene_name,use_camera_physical,settings_output_img_width,settings_output_img_height,\
M_proj_00,M_proj_01,M_proj_02,M_proj_11,M_proj_12
ai_001_001,False,1024,768,1.7320508,0,0,2.3094011,0
ai_001_002,True,1024,768,1.5,0,-0.1,2,0.05
ai_003_001,True,1024,768,1.5,0.2,,2,0.05
"""
PROJECTION = "settings_output_img_width|settings_output_img_height|M_proj_00|M_proj_01|M_proj_02|M_proj_11|M_proj_12"


def test_csv(tmp_path: Path) -> None:
    path = tmp_path / "metadata_camera_parameters.csv"
    read = table(path, HYPERSIM, key=PROJECTION, row="{scene}")
    key = tuple(PROJECTION.split("|"))
    assert read.numbers(key, "ai_001_002").tolist() == [1024, 768, 1.5, 0, -0.1, 2, 0.05]
    rule = CameraRule(None, NumbersRule("a.csv", key), ("w", "h", "p00", "p01", "p02", "p11", "p12"))
    got = camera_from(read.numbers(key, "ai_001_001"), rule, (768, 1024))
    np.testing.assert_allclose(got, [886.81, 886.81, 512, 384], rtol=1e-5)
    refused(lambda: read.numbers(key, "ai_003_001"), "expected numbers of '.*M_proj_12', got the text ''")
    refused(
        lambda: read.numbers(("M_proj_0",), "ai_001_001"), "expected one column 'M_proj_0', got none .did you mean M"
    )
    refused(lambda: read.numbers(key, "ai_001_003"), "expected a row named 'ai_001_003', found none in 3 .* ai_001_00")
    again = table(path, HYPERSIM + "ai_001_001,False,1024,768,9,0,0,2.3094011,0\n", key="M_proj_00", row="{scene}")
    refused(lambda: again.numbers(("M_proj_00",), "ai_001_001"), "expected one row named 'ai_001_001', got 2")
    assert again.numbers(("M_proj_11",), "ai_001_001").tolist() == [2.3094011]  # equal in both


@pytest.mark.parametrize("separator", [",", ";", "\t", ", "])
def test_csv_of_several_names_and_separators(tmp_path: Path, separator: str) -> None:
    text = "frame,camera,fx,fy\n0,left,1,2\n0,right,3,4\n1,left,5,6\n".replace(",", separator)
    read = table(tmp_path / "K.csv", text, row="{frame} {camera}")
    assert read.numbers((), "00001 left").tolist() == [5, 6]
    read = table(tmp_path / "K.csv", text, row="{camera} {frame}", row_name="camera frame", key="fy|fx")
    assert read.numbers(("fy", "fx"), "right 0").tolist() == [4, 3]
    one = table(tmp_path / "K.csv", f"fx{separator}fy\n7{separator}8", key="fy")
    assert one.numbers(("fy",), None).tolist() == [8]
    many = table(tmp_path / "K.csv", text, key="fx")
    refused(lambda: many.numbers(("fx",), None), 'expected one row, got 3: add row = "{frame}" to the description')
    twice = table(tmp_path / "K.csv", "a,b,b\n1,2,3\n", key="b")
    refused(lambda: twice.numbers(("b",), None), "expected one column 'b', got 2")
    with pytest.raises(SourceError, match=r"expected one column 'frames', got none .did you mean frame"):
        table(tmp_path / "K.csv", text, row="{f}", row_name="frames", key="fx")


# --- npz, mat, npy


def npz(path: Path, **values: Any) -> Path:
    np.savez(path, **values)
    return path


def test_npz(tmp_path: Path) -> None:
    path = npz(
        tmp_path / "frame000001.npz",
        camera_intrinsics=np.array(K, np.float32),
        maximum_depth=np.float32(12.5),
        note="made by a tool",
    )
    read = table(path, key="camera_intrinsics|maximum_depth")
    assert read.numbers(("camera_intrinsics",), None).tolist() == NINE
    assert read.numbers(("maximum_depth",), None).tolist() == [12.5]
    assert read.numbers(("camera_intrinsics", "maximum_depth"), None).tolist() == [*NINE, 12.5]
    of_other = table(path, key="intrinsics")
    refused(lambda: of_other.numbers(("intrinsics",), None), "an array 'intrinsics', got none .*mean camera_intrinsics")
    refused(lambda: table(path, key="note").numbers(("note",), None), "expected numbers of 'note', got dtype <U14")
    of_frame = table(npz(tmp_path / "all.npz", K_1=np.eye(3), K_2=np.array(K)), key="K_{frame}")
    assert of_frame.numbers(("K_2",), None).tolist() == NINE


def test_rows_of_npz_by_index(tmp_path: Path) -> None:
    path = npz(tmp_path / "anno.npz", intrinsics=np.stack([np.eye(3), np.array(K)]), scale=np.array([1.5, 2]))
    read = table(path, key="intrinsics|scale", row="{frame}")  # PointOdyssey
    assert read.numbers(("intrinsics",), "00001").tolist() == NINE
    assert read.numbers(("scale",), "1").tolist() == [2]
    refused(
        lambda: read.numbers(("intrinsics",), "2"), r"expected more than 2 rows of 'intrinsics', got shape \(2, 3, 3\)"
    )
    refused(lambda: read.numbers(("intrinsics",), "a"), "expected the number of a row, got 'a'")


def test_rows_of_npz_by_name(tmp_path: Path) -> None:
    rows = np.array([[1920, 1440, 1600, 1600, 960, 720], [640, 480, 500, 500, 320, 240]])
    path = npz(
        tmp_path / "new_scene_metadata.npz", images=np.array(["41_1234.567.png", "41_1235.000.png"]), intrinsics=rows
    )
    read = table(path, key="intrinsics", rows="images", row="{frame}")  # ARKitScenes
    assert read.numbers(("intrinsics",), "41_1235.000").tolist() == rows[1].tolist()
    refused(lambda: read.numbers(("intrinsics",), "41_1235"), "expected a row named '41_1235', found none in 2 rows")
    path = npz(  # ScanNet++ as DUSt3R has it
        tmp_path / "all_metadata.npz",
        scenes=np.array(["x", "y"]),
        sceneids=np.array([0, 1, 1]),
        images=np.array(["DSC1.JPG", "DSC1.JPG", "DSC2.JPG"]),
        intrinsics=np.stack([np.eye(3), np.array(K), np.eye(3) * 7]),
    )
    read = table(path, key="intrinsics", rows="scenes[sceneids] images", row="{scene} {frame}")
    assert read.numbers(("intrinsics",), "y DSC1").tolist() == NINE
    refused(lambda: table(path, key="intrinsics", rows="names", row="{frame}"), "expected an array 'names', got none")


def test_only_the_arrays_that_are_asked_for_are_read(tmp_path: Path) -> None:
    """A npz may hold pickles, or arrays of any size, next to the numbers."""
    path = npz(tmp_path / "a.npz", K=np.array(K), objects=np.array([{}], object))
    assert table(path, key="K").numbers(("K",), None).tolist() == NINE
    with pytest.raises(SourceError, match=r"expected numbers, got dtype object .pickled objects are never loaded"):
        table(path, key="objects")
    with (
        zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive,
        archive.open("huge.npy", "w", force_zip64=True) as huge,
    ):
        for _ in range(600):
            huge.write(bytes(1 << 20))
    assert table(path, key="K").numbers(("K",), None).tolist() == NINE
    with pytest.raises(
        SourceError, match=r"expected 'huge' of at most 536870912 bytes, got 629145600; save the numbers"
    ):
        table(path, key="huge")


def test_a_npz_that_is_cut_or_flipped(tmp_path: Path) -> None:
    content = npz(tmp_path / "a.npz", K=np.array(K)).read_bytes()
    begin = content.index(b"NUMPY")
    for damaged in (content[: len(content) // 2], content[:begin] + bytes([content[begin] ^ 1]) + content[begin + 1 :]):
        with pytest.raises(SourceError, match=r"a.npz: cannot read npz \(.*\); fetch the file again"):
            table(tmp_path / "a.npz", damaged, key="K")
    lying = io.BytesIO()
    np.save(lying, np.zeros(4))
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("K.npy", lying.getvalue().replace(b"(4,)", b"(9,)"))
    with pytest.raises(SourceError, match=r"cannot read npz \(expected 200 bytes for float64 of shape .9,., got 160"):
        table(tmp_path / "a.npz", key="K")


@pytest.mark.parametrize("compress", [False, True])
def test_mat(tmp_path: Path, compress: bool) -> None:
    path = tmp_path / "camera.mat"
    values = {"K_L": np.array(K), "K_R": np.eye(3), "baseline": 0.1, "frames": np.stack([np.eye(3), np.array(K)])}
    scipy.io.savemat(path, {**values, "s": {"a": 1}, "c": np.array([1, "a"], object)}, do_compression=compress)
    read = table(path, key="K_{camera}|baseline")
    assert read.numbers(("K_L",), None).tolist() == NINE
    assert read.numbers(("K_R", "baseline"), None).tolist() == [*np.eye(3).ravel(), 0.1]
    assert table(path, key="frames", row="{frame}").numbers(("frames",), "0001").tolist() == NINE
    refused(lambda: read.numbers(("K_X",), None), "expected an array 'K_X', got none .did you mean K_")
    for name in ("s", "c"):  # text and a cell: variables without numbers do not count
        refused(lambda name=name: table(path, key=name).numbers((name,), None), f"expected an array '{name}', got none")
    refused(lambda: table(path, path.read_bytes()[:400], key="K_L"), "camera.mat: .*; fetch the file again")


MAT_TYPES = ("f8", "f4", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "?")


@given(hnp.arrays(st.sampled_from(MAT_TYPES), hnp.array_shapes(max_dims=3)), st.booleans(), st.text("aK_", max_size=9))
def test_mat_as_scipy_reads_it(values: NDArray[Any], compress: bool, name: str) -> None:
    file = io.BytesIO()
    name = f"a{name}"
    scipy.io.savemat(file, {"before": "text", name: values, "z": 1}, do_compression=compress, oned_as="column")
    arrays, known = read_mat(file, file.getvalue()[:HEAD_BYTES], len(file.getvalue()), [name].__contains__)
    expected = scipy.io.loadmat(io.BytesIO(file.getvalue()), mat_dtype=values.dtype != bool)[name]
    np.testing.assert_array_equal(arrays[name], expected)
    assert known == [name, "z"]
    assert arrays[name].dtype == (np.uint8 if values.dtype == bool else values.dtype)


def test_mat_of_version_7_3_is_read_too(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "K.mat", "w", userblock_size=512) as file:
        file["K_L"] = np.array(K).T  # MATLAB's order
    assert table(tmp_path / "K.mat", key="K_{camera}").numbers(("K_L",), None).tolist() == NINE


def damaged(content: bytes, data: st.DataObject) -> bytes:
    """Return bytes of which some are others, too many, or lost."""
    for _ in range(data.draw(st.integers(1, 3))):
        place, length = data.draw(st.integers(0, len(content))), data.draw(st.sampled_from([0, 1, 4, 10**6]))
        content = content[:place] + data.draw(st.binary(max_size=4)) + content[place + length :]
    return content


WHOLE: dict[str, tuple[bytes, dict[str, Any]]] = {
    "K.npz": (saved(np.savez, K=np.array(K), images=np.array(["1", "2", "3"])), {"key": "K", "rows": "images"}),
    "K.npy": (saved(np.save, np.array(K)), {}),
    "K.mat": (saved(scipy.io.savemat, {"K": np.array(K), "s": {"x": [1, 2]}}), {"key": "K"}),
    "Z.mat": (saved(scipy.io.savemat, {"K": np.array(K), "s": "text"}, do_compression=True), {"key": "K"}),
    "K.json": (json.dumps([{"n": "1", "K": K}, {"n": 2, "K": K}]).encode(), {"key": "K", "rows": ".", "row_name": "n"}),
    "K.jgz": (gzip.compress(json.dumps([K, K, K], indent=1).encode(), mtime=0), {"rows": "."}),
    "K.csv": (b"n;fx;fy\n1;2;3\n2;4;5\n", {"key": "fx"}),
    "cam.txt": (MVSNET.encode(), {"key": "intrinsic", "row": None}),
    "K.conf": (MATTERPORT.encode(), {"key": "intrinsics_matrix"}),
    "intrinsic.txt": (VKITTI2.encode(), {}),
    "K.txt": (b"525 520 319.5 239.5", {"row": None}),
}


@pytest.mark.parametrize("name", WHOLE)
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_damaged_files_are_one_error_or_numbers(tmp_path: Path, name: str, data: st.DataObject) -> None:
    content, fields = WHOLE[name]
    row = {"row": "{f}", **fields}["row"]
    file = damaged(content, data)
    try:
        read = table(tmp_path / name, file, **{"row": "{f}", **fields})
        numbers = read.numbers(tuple(fields.get("key", "").split()), row and "2")
    except DepthVarError as error:
        assert str(error).isprintable()
    else:
        assert numbers.dtype == np.float64
        assert numbers.ndim == 1


def test_rows_of_npy(tmp_path: Path) -> None:
    np.save(tmp_path / "K.npy", np.stack([np.eye(3), np.array(K)]))
    read = table(tmp_path / "K.npy", row="{frame}")
    assert read.numbers((), "000001").tolist() == NINE
    refused(lambda: read.numbers((), "2"), "expected a row from 0 to 1, got '2'")
    with pytest.raises(
        SourceError, match=r"expected 4, 9 or 16 numbers, got float64 of shape \(2, 3, 3\); save K alone"
    ):
        table(tmp_path / "K.npy")


# --- rules


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"file": "a.csv", "key": ("a",), "rows": "b"}, "^rows: a file of CSV has none: remove it$"),
        ({"file": "a.npy", "key": ("a",)}, "^key: a file of .npy has none: remove it$"),
        ({"file": "a.txt", "row_name": "a", "row": "{f}"}, "^row_name: a file of text has none: remove it$"),
        ({"file": "a.npz"}, "^key: missing, the array's name in .npz$"),
        ({"file": "a.MAT"}, "^key: missing, the array's name in .mat$"),
        ({"file": "a.csv"}, "^key: missing, the columns in CSV$"),
        ({"file": "a.json", "row": "{f}"}, "^rows: missing next to row in JSON"),
        ({"file": "a.jgz", "rows": "."}, "^row: missing next to rows or row_name"),
        (
            {"file": "a.npz", "key": ("K",), "rows": "a[b] c", "row": "{f}"},
            "^row: expected as many words as 'a.b. c' has",
        ),
        ({"file": "a.json", "rows": ".", "row_name": "a", "row": "{f} {c}"}, "^row: expected as many words as 'a' has"),
    ],
)
def test_rules_that_a_file_cannot_fulfil(fields: Any, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        NumbersRule(**fields)


def test_too_large_a_file_is_refused_before_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("K.json", "K.csv", "K.conf", "K.npy"):
        with (tmp_path / name).open("wb") as file:
            file.truncate((512 << 20) + 1)  # takes no room
        with pytest.raises(
            SourceError, match=f"{name}: expected a file of at most 536870912 bytes, got 536870913; save"
        ):
            table(tmp_path / name, **({"row": "{f}"} if name.endswith("npy") else {"key": "a"}))
    monkeypatch.setattr("depthvar.datasets.source.tables.MAX_BYTES", 1000)
    with pytest.raises(SourceError, match=r"K.jgz: expected at most 1000 bytes unpacked, got more"):
        table(tmp_path / "K.jgz", gzip.compress(b" " * 2000), key="a")


def test_a_file_at_a_url(tmp_path: Path) -> None:
    """Bytes that are fetched at once, longer than the head that is looked at first."""
    value = {f"{n:06d}": K for n in range(1000)}
    remote = RemoteFile("s3://bucket/K.json", lambda: json.dumps(value).encode())
    read = read_table(remote, NumbersRule("K.json", rows=".", row="{frame}"))
    assert read.numbers((), "999").tolist() == NINE
    gone = RemoteFile("s3://bucket/K.npz", npz(tmp_path / "a.npz", K=np.zeros((99, 99))).read_bytes)
    assert read_table(gone, NumbersRule("K.npz", ("K",))).numbers(("K",), None).size == 99 * 99


# --- names


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a/b/0010.png", "10"),
        ("41069021_1234.567", "41069021_1234.567"),
        ("41069021_1234.567.png", "41069021_1234.567"),
        ("1403636579763555584.png", "1403636579763555584"),
        ("DSC01.JPG", "DSC01"),
        ("00000", "0"),
        ("1.50", "1.5"),
        ("01.0", "1"),
        (".png", ""),
        ("a\\b.exr", "b"),
        ("1.2.3", "1.2.3"),
        ("٣", "٣"),
    ],
)
def test_bare_names(name: str, expected: str) -> None:
    assert bare(name) == expected


@given(st.lists(st.text("ab01.", min_size=1, max_size=6), min_size=1, max_size=20), st.data())
def test_a_name_finds_its_own_rows_first(rows: list[str], data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(rows))
    assert Names(rows).find(name) == [place for place, row in enumerate(rows) if row == name]


@given(st.lists(st.integers(0, 999), min_size=1, unique=True), st.data())
def test_numbers_with_any_zeros_find_each_other(rows: list[int], data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(rows) - 1))
    assert Names([f"img/{row:06d}.png" for row in rows]).find(f"{rows[place]:03d}") == [place]
    assert bare(bare(f"{rows[place]:03d}")) == bare(str(rows[place]))


def test_a_large_file_is_parsed_once_and_a_row_found_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """100,000 rows: finding one looks at no other."""
    count = 100_000
    records = [{"image": {"path": f"s/images/frame{n:06d}.jpg"}, "f": [n, n + 0.5]} for n in range(count)]
    content = gzip.compress(json.dumps(records).encode(), 1)
    read = table(tmp_path / "frame_annotations.jgz", content, key="f", rows=".", row_name="image.path", row="{f}")
    calls = []
    monkeypatch.setattr(names, "bare", lambda name, kept=bare: calls.append(name) or kept(name))
    for n in range(0, count, 997):
        assert read.numbers(("f",), f"s/images/frame{n:06d}.jpg").tolist() == [n, n + 0.5]
    assert calls == []  # found as text
    assert read.numbers(("f",), "frame000007").tolist() == [7, 7.5]
    calls.clear()
    assert read.numbers(("f",), "frame000008.png").tolist() == [8, 8.5]
    assert len(calls) == 1
    compared = []
    monkeypatch.setattr(names, "nearest", lambda name, known: compared.extend(known) or "")
    refused(lambda: read.numbers(("f",), "s/images/frame_00007.jpg"), "found none in 100000 rows")
    assert 0 < len(compared) <= 400  # of all it would take a minute
