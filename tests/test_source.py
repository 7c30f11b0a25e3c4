"""A source lists the frames that its layout describes, and reads them one at a time."""

import os
import pickle
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from file_access import accesses
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from depthvar.datasets import DepthSource, open_source
from depthvar.datasets.errors import DescriptionError, SourceError
from depthvar.datasets.source.description import Description
from depthvar.datasets.source.templates import path_pattern

DATA = Path(__file__).parent / "data"
CAMERA = [525.0, 525.0, 319.5, 239.5]
SMALL = [525.0, 525.0, 1.0, 0.0]  # the camera of a frame of 1×3
SIZE = (480, 640)
SUMMARY = {"summary": "a data set", "names": ["mine"], "intrinsics": {"constant": CAMERA}}


def describe(path: str, **tables: Any) -> Description:
    return Description.from_dict({**SUMMARY, "files": {"depth": path}, **tables}, "mine.toml")


def save(path: Path, value: float = 2.0, shape: tuple[int, int] = (3, 4)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, np.full(shape, value, np.float32))
    return path


@pytest.fixture
def hospital(tmp_path: Path) -> DepthSource:
    """Three frames of two sequences in TartanAir's layout, and files that are none."""
    for name in ("Easy/P001/depth_left/000000", "Easy/P000/depth_left/000001", "Easy/P000/depth_left/000000"):
        save(tmp_path / f"{name}_left_depth.npy", shape=SIZE)
        save(tmp_path / f"{name}_right_depth.npy")
    for name in ("Easy/P000/depth_right/000000_left_depth.npy", "depth_left/000000_left_depth.npy"):
        save(tmp_path / name)
    for hidden in (".trash/P000", "Easy/.hidden", "sigma_Z2.zarr/Easy"):
        save(tmp_path / hidden / "depth_left/000000_left_depth.npy")
    save(tmp_path / "Easy/P000/depth_left/._000000_left_depth.npy")
    (tmp_path / "Easy/P000/depth_left/folder_left_depth.npy").mkdir()
    return open_source("hospital", tmp_path)


KEYS = [
    "Easy/P000/depth_left/000000_left_depth.npy",
    "Easy/P000/depth_left/000001_left_depth.npy",
    "Easy/P001/depth_left/000000_left_depth.npy",
]


def test_keys_are_sorted_and_match_the_layout(hospital: DepthSource) -> None:
    assert hospital.keys() == KEYS
    assert len(hospital) == 3
    assert [hospital.sequence(key) for key in KEYS] == ["Easy/P000", "Easy/P000", "Easy/P001"]
    hospital.keys().clear()
    assert hospital.keys() == KEYS


def test_a_frame_is_decoded(hospital: DepthSource) -> None:
    frame = hospital.read(KEYS[1])
    assert (frame.key, frame.max_depth, hospital.max_depth) == (KEYS[1], 80, 80)
    assert frame.intrinsics.tolist() == [320, 320, 320, 240]
    np.testing.assert_array_equal(frame.depth, np.full(SIZE, 2, np.float32))
    assert hospital[1].key == hospital[-2].key == KEYS[1]
    assert [frame.key for frame in hospital] == KEYS
    assert hospital.shape(KEYS[1]) == SIZE


NAMES = st.sampled_from(["a", "depth", "b.zarr", ".c", "0.png", "1.npy", "x_0.png", ".2.png", "back\\slash.png"])
U16 = {"dtype": "uint16", "units_per_metre": 1000}
TEMPLATES = st.sampled_from(
    [
        "depth/{frame}.png",
        "{sequence}/depth/{frame}.png",
        "{sequence}/{frame}.npy",
        "a/{sequence}/x_{frame}.png",
        "{frame}.png",
        "{frame}/depth",
        "{sequence}/{frame}/0.png",
    ]
)


@settings(deadline=None)
@given(st.sets(st.lists(NAMES, min_size=1, max_size=4).map(tuple), max_size=25), TEMPLATES)
def test_listing_is_every_file_that_matches_the_pattern(tree: set[tuple[str, ...]], template: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for parts in sorted(tree, key=len, reverse=True):
            if not (path := root.joinpath(*parts)).exists() and not any(up.is_file() for up in path.parents):
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch()
        files = {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}
        expected = sorted(path for path in files if path_pattern(template).fullmatch(path))
        source = DepthSource("mine", describe(template, depth={"container": "png", **U16}), root)
        if expected:
            assert source.keys() == expected
        else:
            with pytest.raises(SourceError, match="no depth file matches"):
                source.keys()


@settings(deadline=None)
@given(st.lists(st.sampled_from(["..", ".", "", "a", "depth", "/", "\\..\\", "\0", "0.png"]), max_size=5))
def test_no_key_leads_out_of_the_root(parts: list[str]) -> None:
    source = DepthSource("mine", describe("{sequence}/depth/{frame}.png"), "/nowhere")
    key = "/".join([*parts, "depth", "0.png"])
    inside = parts and all(part in ("a", "depth", "0.png") for part in parts)
    if inside:
        assert source.sequence(key) == "/".join(parts)
    else:
        for method in (source.read, source.stat, source.shape, source.sequence, source.intrinsics):
            with pytest.raises(SourceError, match=r"expected the key of a frame of mine, a path like '.sequence."):
                method(key)


def test_symlinks_are_followed_but_not_in_circles(hospital: DepthSource, tmp_path: Path) -> None:
    (tmp_path / "Easy/again").symlink_to(tmp_path)
    (tmp_path / "Easy/P000/self").symlink_to(".")
    (tmp_path / "Hard").symlink_to(tmp_path / "Easy/P001")
    (tmp_path / "Easy/P001/depth_left/gone_left_depth.npy").symlink_to("nothing")
    linked = ["Easy/P001/depth_left/gone_left_depth.npy", "Hard/depth_left/000000_left_depth.npy"]
    assert hospital.keys() == sorted([*KEYS, *linked, "Hard/depth_left/gone_left_depth.npy"])
    with pytest.raises(
        SourceError, match=r"gone_left_depth.npy: cannot be read .No such file.*complete below its root"
    ):
        hospital.stat(linked[0])
    with pytest.raises(SourceError, match=r"gone_left_depth.npy: no such file"):
        hospital.read(linked[0])


def test_pickled_without_its_listing(hospital: DepthSource) -> None:
    before = pickle.dumps(hospital)
    hospital.keys()
    hospital.read(KEYS[0])
    assert pickle.dumps(hospital) == before
    other = pickle.loads(before)
    assert (other.name, other.root, other.description) == (hospital.name, hospital.root, hospital.description)
    np.testing.assert_array_equal(other.read(KEYS[0]).depth, hospital.read(KEYS[0]).depth)


@pytest.fixture
def rich(tmp_path: Path) -> DepthSource:
    """Frames with a mask, their own size and intrinsics for each sequence."""
    for name, focal, shape in (("a", 100, (3, 4)), ("b", 200, (5, 3))):
        for frame in "01":
            save(tmp_path / f"{name}/{frame}_depth.npy", shape=shape)
            np.save(tmp_path / f"{name}/{frame}_mask.npy", np.arange(shape[0] * shape[1]).reshape(shape) > 0)
        (tmp_path / f"{name}/K.txt").write_text(f"{focal} {focal} 2 1")
    (tmp_path / "mine.toml").write_text(
        'summary = "x"\nnames = ["mine"]\n[intrinsics]\nfile = "{sequence}/K.txt"\n'
        '[files]\ndepth = "{sequence}/{frame}_depth.npy"\n[[masks]]\nfile = "{sequence}/{frame}_mask.npy"\n'
    )
    return open_source(str(tmp_path / "mine.toml"))


def test_every_frame_has_its_size_mask_and_intrinsics(rich: DepthSource, tmp_path: Path) -> None:
    assert (rich.name, rich.root, rich.max_depth) == ("mine", tmp_path, None)
    assert [frame.depth.shape for frame in rich] == [(3, 4), (3, 4), (5, 3), (5, 3)]
    assert [rich.shape(frame.key) for frame in rich] == [(3, 4), (3, 4), (5, 3), (5, 3)]
    assert [frame.intrinsics[0] for frame in rich] == [100, 100, 200, 200]
    assert [frame.depth[0, 0] for frame in rich] == [0, 0, 0, 0]
    assert all((frame.depth.ravel()[1:] == 2).all() for frame in rich)


def test_intrinsics_of_a_frame(rich: DepthSource, tmp_path: Path) -> None:
    for number, key in enumerate(rich.keys()):
        np.save(tmp_path / key.replace("_depth.npy", "_K.npy"), np.array([[30 + number, 0, 2], [0, 40, 1], [0, 0, 1]]))
    tables = rich.description.to_dict() | {"intrinsics": {"file": "{sequence}/{frame}_K.npy"}}
    source = DepthSource("mine", Description.from_dict(tables, "x"), tmp_path)
    assert [frame.intrinsics.tolist() for frame in source] == [[30 + number, 40, 2, 1] for number in range(4)]
    (tmp_path / "a/0_K.npy").unlink()
    with pytest.raises(SourceError, match=r"a/0_K.npy: no such file"):
        source.read("a/0_depth.npy")


def test_intrinsics_are_read_again_when_their_file_changes(rich: DepthSource, tmp_path: Path) -> None:
    rich.intrinsics("a/0_depth.npy")[:] = 7  # a copy
    assert rich.intrinsics("a/1_depth.npy").tolist() == [100, 100, 2, 1]
    (tmp_path / "a/K.txt").write_text("101.0 100 2 1")
    assert rich.read("a/0_depth.npy").intrinsics.tolist() == [101, 100, 2, 1]
    (tmp_path / "a/K.txt").write_text("0.5 0.5 0.5 0.5")
    with pytest.raises(SourceError, match=r"a/K.txt: .*look normalised"):
        rich.read("a/0_depth.npy")
    (tmp_path / "a/K.txt").unlink()
    with pytest.raises(SourceError, match=r"a/K.txt: cannot be read"):
        rich.read("a/0_depth.npy")


def test_a_mask_of_another_shape(rich: DepthSource, tmp_path: Path) -> None:
    np.save(tmp_path / "a/0_mask.npy", np.ones((4, 3), bool))
    with pytest.raises(SourceError, match=r"a/0_mask.npy: expected a mask of the shape of the depth \(3, 4\)"):
        rich.read("a/0_depth.npy")


@pytest.mark.parametrize("name", ["0_depth.npy", "0_mask.npy", "K.txt"])
def test_stat_sees_every_file_of_the_frame(rich: DepthSource, tmp_path: Path, name: str) -> None:
    path, key = tmp_path / "a" / name, "a/0_depth.npy"
    before = rich.stat(key)
    assert rich.stat(key) == before
    assert 0 <= before.hash63 < 2**63
    files = [tmp_path / "a" / each for each in ("0_depth.npy", "0_mask.npy", "K.txt")]
    assert before.total_size == sum(file.stat().st_size for file in files)
    assert before.newest_mtime_ns == max(file.stat().st_mtime_ns for file in files)

    newest = before.newest_mtime_ns + 5_000_000_000
    os.utime(path, ns=(newest, newest))
    touched = rich.stat(key)
    assert touched.hash63 != before.hash63
    assert (touched.total_size, touched.newest_mtime_ns) == (before.total_size, newest)

    path.write_bytes(path.read_bytes() + b" ")
    os.utime(path, ns=(newest, newest))
    longer = rich.stat(key)
    assert longer.hash63 not in (before.hash63, touched.hash63)
    assert longer.total_size == before.total_size + 1

    path.unlink()
    with pytest.raises(SourceError, match=f"{name}: cannot be read .No such file"):
        rich.stat(key)


def test_stat_does_not_depend_on_where_the_root_is(rich: DepthSource, tmp_path: Path) -> None:
    before = rich.stat("a/0_depth.npy")
    moved = tmp_path / "moved"
    moved.mkdir()
    (tmp_path / "a").rename(moved / "a")
    assert DepthSource("other", rich.description, moved).stat("a/0_depth.npy") == before


def test_listing_and_stat_of_many_frames_list_each_folder_once_and_open_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "depth"
    folder.mkdir()
    for number in range(200):
        (folder / f"{number:06}.png").touch()
    source = open_source("folder", tmp_path, intrinsics=CAMERA)
    with accesses(tmp_path) as seen:
        assert len({source.stat(key).hash63 for key in source.keys()}) == 200
    assert {event for event, _ in seen} <= {"os.scandir", "os.listdir"}
    assert 1 <= len(seen) == len({path for _, path in seen}) <= 2


def test_folder_takes_its_container_from_the_pattern(tmp_path: Path) -> None:
    millimetres = np.array([[0, 1500, 65535]], np.uint16)
    (tmp_path / "s/depth").mkdir(parents=True)
    Image.fromarray(millimetres).save(tmp_path / "s/depth/0.png")
    for dtype in ("float16", "float32", "float64"):
        np.save(tmp_path / f"{dtype}.npy", np.array([[0, 1.5, np.nan]], dtype))
    matrix = np.array([[525.0, 0, 1], [0, 525, 0], [0, 0, 1]])
    png = open_source("folder", tmp_path, intrinsics=matrix, pattern="{sequence}/depth/{frame}.png")
    npy = open_source("folder", tmp_path, intrinsics=SMALL, pattern="{frame}.npy")
    assert (png.keys(), png.sequence(png.keys()[0])) == (["s/depth/0.png"], "s")
    assert npy.keys() == ["float16.npy", "float32.npy", "float64.npy"]
    assert {npy.sequence(frame.key) for frame in npy} == {""}
    for frame in (*png, *npy):
        assert frame.depth.tolist() == [[0, 1.5, 0]]
        assert frame.intrinsics.tolist() == SMALL
        assert frame.max_depth is None
    coarse = open_source("folder", tmp_path, intrinsics=SMALL, pattern="{frame}.npy", units_per_metre=3, max_depth=9)
    assert coarse[1].depth.tolist() == [[0, 0.5, 0]]
    assert coarse[1].max_depth == coarse.max_depth == 9


def test_real_folder() -> None:
    source = open_source("folder", DATA / "redwood_rgbd", intrinsics=CAMERA)
    assert source.keys()[:2] == ["depth/00000.png", "depth/00001.png"]
    assert source.shape(source.keys()[0]) == source[0].depth.shape == (480, 640)
    assert 0.8 < source[0].valid.mean() < 0.9


def test_the_maximum_depth_can_be_replaced(hospital: DepthSource) -> None:
    assert open_source("hospital", hospital.root, max_depth=float("inf")).max_depth is None
    assert open_source("hospital", hospital.root, max_depth=20)[0].max_depth == 20


def test_the_default_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DEPTHVAR_DATA", raising=False)
    with pytest.raises(SourceError, match=r"hospital: no root: pass --root DIR, or set DEPTHVAR_DATA"):
        open_source("hospital")
    monkeypatch.setenv("DEPTHVAR_DATA", str(tmp_path))
    message = f"{tmp_path}/hospital: no such folder: expected the data set 'hospital' there, laid out as '{{sequence}}"
    with pytest.raises(SourceError, match=f"{re.escape(message)}.*; pass --root DIR$"):
        open_source("hospital")
    with pytest.raises(SourceError, match=r"/scan1: no such folder: .* 'folder' there, .*png'; check --root$"):
        open_source("folder", tmp_path / "scan1", intrinsics=CAMERA)
    (tmp_path / "scan1").touch()
    with pytest.raises(SourceError, match="/scan1: a file, not a folder: expected the data set 'folder' there, laid"):
        open_source("folder", tmp_path / "scan1", intrinsics=CAMERA)
    save(tmp_path / "hospital" / KEYS[0])
    assert open_source("hospital").keys() == KEYS[:1]


def test_a_relative_root_is_the_same_folder_elsewhere(hospital: DepthSource, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(hospital.root)
    source = open_source("hospital", ".")
    monkeypatch.chdir("/")
    assert source.keys() == KEYS


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {},
            "folder: no intrinsics: pass --intrinsics fx,fy,cx,cy in pixels (Python: intrinsics=), or",
        ),
        ({"intrinsics": [500, 500]}, "folder.toml with the options given: [intrinsics] intrinsics: "),
        ({"intrinsics": [0.9, 1.2, 0.5, 0.5]}, "which look normalised"),
        (
            {"intrinsics": CAMERA, "pattern": "{frame}.jpg"},
            "--pattern (Python: pattern=): expected a path ending in one of .npy .npz .png .exr .pfm .tif .tiff .h5 "
            ".hdf5 .dsp5 .mat .dpt .pgm, the formats that are read, got '{frame}.jpg'; convert the files, or write a "
            "Source class (docs/python.md)",
        ),
        ({"intrinsics": CAMERA, "pattern": "{frame}"}, "describe the data in a .toml with [depth] container"),
        ({"intrinsics": CAMERA, "pattern": 3}, "[files] depth: expected one line of text; got 3"),
        ({"intrinsics": CAMERA, "pattern": "depth.png"}, "[files] depth: expected {frame} once"),
        (
            {"intrinsics": CAMERA, "units_per_metre": 0},
            "[depth] units_per_metre: expected a number from 1e-9 to 1e9; got 0",
        ),
        ({"intrinsics": CAMERA, "max_depth": -1.0}, "[depth] max_depth: expected a number of metres above 0 and at"),
    ],
)
def test_an_impossible_option_is_one_line_that_says_so(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(DescriptionError) as caught:
        open_source("folder", tmp_path, **options)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_layout_without_files_says_what_is_there(tmp_path: Path) -> None:
    source = open_source("folder", tmp_path, intrinsics=CAMERA)
    message = f"{tmp_path}: no depth file matches 'depth/{{frame}}.png', found "
    with pytest.raises(SourceError, match=re.escape(message + "no file at all: check --root, or --pattern")):
        source.keys()
    for name in ("sigma_Z2.zarr.lock", "sigma_Z2.zarr.lock.1-of-8", ".DS_Store"):
        (tmp_path / name).touch()
    (tmp_path / "cache").mkdir()
    for name in ("cache/zarr.json", "cache/0.png"):
        (tmp_path / name).touch()
    with pytest.raises(SourceError, match=re.escape(message + "no file at all:")):
        len(source)
    (tmp_path / "notes.txt").touch()
    with pytest.raises(SourceError, match=re.escape(message + "1 .txt, such as notes.txt: check")):
        len(source)
    for number in range(12):
        save(tmp_path / f"raw/{number:02}.npy")
    (tmp_path / "raw/LICENSE").touch()
    found = "12 .npy, 1 .txt, 1 without a suffix, such as raw/00.npy, raw/01.npy, raw/02.npy: check"
    with pytest.raises(SourceError, match=re.escape(message + found)):
        source[0]


def test_a_root_that_went_away(hospital: DepthSource, tmp_path: Path) -> None:
    lost = DepthSource("hospital", hospital.description, tmp_path / "gone")
    with pytest.raises(SourceError, match=r"gone/: cannot be listed .No such file"):
        lost.keys()


def test_a_name_that_is_not_utf8(hospital: DepthSource) -> None:
    (hospital.root / "Easy/P000/depth_left" / os.fsdecode(b"\xc3\xa9\xff_left_depth.npy")).touch()
    with pytest.raises(
        SourceError, match=r"/Easy/P000/depth_left/é\\xff_left_depth.npy: expected a name in UTF-8, got"
    ):
        hospital.keys()


def test_importing_sources_loads_nothing_heavy() -> None:
    heavy = "{'torch', 'numba', 'zarr', 'dask', 'click', 'PIL'} & set(sys.modules)"
    code = f"import sys, depthvar.datasets.source.depth_source; print({heavy}); import PIL; print({heavy})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["set()", "{'PIL'}"]
