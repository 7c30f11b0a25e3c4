"""Data sets that a class of readers/ reads: their frames, what shows a change, workers, and whole runs."""

import json
import multiprocessing
import os
import pickle
import shutil
import sys
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import fsspec
import h5py
import numpy as np
import pytest
import zarr
from click.testing import CliRunner
from packed_trees import (
    TREES,
    H,
    Tree,
    W,
    codes,
    grey,
    put,
    read_depth,
    write_sequences,
    write_unrealstereo4k,
    write_zarr,
)

from depthvar.datasets import DepthSource, SigmaCache, open_source
from depthvar.datasets.errors import DescriptionError, MissingLibraryError, SourceError
from depthvar.precompute import run, sigma_z2, validate
from depthvar.precompute.cli.main import main

CAMERA = [30, 31, 15.5, 11.5]


@pytest.fixture(params=TREES)
def tree(request: pytest.FixtureRequest, tmp_path: Path) -> Tree:
    return TREES[request.param](tmp_path / "data")


def opened(tree: Tree) -> DepthSource:
    return open_source(tree.dataset, tree.root)


def age(root: Path) -> None:
    """Give all files a time that is old enough to be trusted."""
    for path in root.rglob("*"):
        os.utime(path, (1.6e9, 1.6e9))


def message_of(tree: Tree, key: str, dataset: str = "") -> str:
    """Return the one line that reading a frame ends with."""
    with pytest.raises(SourceError) as caught:
        open_source(dataset or tree.dataset, tree.root).read(key)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_frames_are_what_was_written(tree: Tree) -> None:
    source = opened(tree)
    assert source.keys() == sorted(tree.frames)
    for key, (sequence, depth, camera) in tree.frames.items():
        frame = source.read(key)
        np.testing.assert_array_equal(frame.depth, depth, strict=True)
        assert frame.intrinsics.tolist() == source.intrinsics(key).tolist() == camera
        assert (source.sequence(key), source.shape(key), source.stored(key).shape) == (sequence, (H, W), (H, W))


def test_intrinsics_of_the_user_come_first(tree: Tree) -> None:
    source = open_source(tree.dataset, tree.root, intrinsics=[50, 51, 15, 11])
    assert [source.read(key).intrinsics.tolist() for key in source.keys()] == [[50, 51, 15, 11]] * len(source)


def test_a_change_of_a_file_shows_in_the_frames_that_are_read_from_it(tree: Tree) -> None:
    age(tree.root)
    source = opened(tree)
    seen: dict[Path, set[str]] = {}
    before = {key: source.stat(key) for key in tree.frames}
    assert before == {key: opened(tree).stat(key) for key in tree.frames}
    for path in (path for path in tree.root.rglob("*") if path.is_file()):
        os.utime(path, (1.7e9, 1.7e9))
        seen[path] = {key for key in tree.frames if source.stat(key).hash63 != before[key].hash63}
        os.utime(path, (1.6e9, 1.6e9))
    assert set(tree.frames) == set().union(*seen.values())
    relative = {str(path.relative_to(tree.root)): keys for path, keys in seen.items()}
    if tree.dataset == "unrealstereo4k":
        left, right = "00000/Disp0/00000.npy", "00000/Disp1/00000.npy"
        assert relative[left] == {left}
        assert relative["00000/Extrinsics1/00000.txt"] == {left, right}
        assert relative["00000/Extrinsics1/00001.txt"] == set()
    elif tree.dataset == "hypersim-unik3d":
        assert relative["pack_0.hdf5"] == set(tree.frames)
        assert relative["pack_1.hdf5"] == {key for key in tree.frames if key.startswith("pack_1")}
    elif tree.dataset == "zarr":
        room = {f"a/room/depth/{index:06}" for index in range(3)}
        sharded = (tree.root / "a/room/depth/zarr.json").exists()
        chunk = "a/room/depth/c/1/0/0" if sharded else "a/room/depth/1.0.0"
        assert relative[chunk] == {f"a/room/depth/{2 if sharded else 1:06}"}
        assert relative["a/room/intrinsics/c/1/0" if sharded else "a/room/intrinsics/1.0"] == room
        assert relative["depth/c/1/2/0" if sharded else "depth/1.2.0"] == {"depth/000001"}
        assert not any(keys for path, keys in relative.items() if "colour" in path)


def test_what_is_written_again_is_read_again(tmp_path: Path) -> None:
    tree = write_zarr(tmp_path / "data")
    source, key = opened(tree), "a/room/depth/000001"
    depth, camera = source.read(key).depth, source.intrinsics(key)
    zarr.open_array(f"{tree.root}/a/room/depth")[1] = 7
    zarr.open_array(f"{tree.root}/a/room/intrinsics")[1] = [60, 61, 15, 11]
    again = source.read(key)
    assert (again.depth != depth).all()
    assert (again.depth == 7).all()
    assert (again.intrinsics != camera).all()
    assert again.intrinsics.tolist() == [60, 61, 15, 11]
    zarr.create_array(f"{tree.root}/a/room/depth", data=np.full((1, 6, 8), 3, "f4"), overwrite=True)
    assert source.shape("a/room/depth/000000") == (6, 8)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_read_the_same(tree: Tree, method: str) -> None:
    source, keys = opened(tree), list(tree.frames)
    expected = [read_depth(source, key) for key in keys]  # so a fork inherits what is open
    assert len(pickle.dumps(source)) < 10_000
    with ProcessPoolExecutor(2, multiprocessing.get_context(method)) as pool:
        assert list(pool.map(read_depth, [source] * len(keys), keys, timeout=120)) == expected
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(read_depth, [source] * len(keys) * 5, keys * 5)) == expected * 5


def test_a_whole_run(tree: Tree, tmp_path: Path) -> None:
    age(tree.root)
    cache, options = tmp_path / "sigma.zarr", ["--dataset", tree.dataset, "--root", str(tree.root), "--json"]

    def cli(*arguments: str) -> dict[str, object]:
        result = CliRunner().invoke(main, [*arguments, *options], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        facts: dict[str, object] = json.loads(result.stdout)
        return facts

    command = ["run", "--out", str(cache), "--strides", "1,2"]
    by_workers = ["--workers", "2"] if tree.dataset == "hypersim-unik3d" or (tree.root / "zarr.json").exists() else []
    assert cli(*command, *by_workers)["computed"] == len(tree.frames)
    again = cli(*command)
    assert (again["computed"], again["unchanged"]) == (0, len(tree.frames))
    reader = SigmaCache(cache)
    for key, (_, depth, camera) in tree.frames.items():
        np.testing.assert_allclose(reader.read(key), sigma_z2(depth, camera), rtol=2**-8)
        assert reader.intrinsics(key).tolist() == camera
    report = validate(cache, opened(tree), recompute=len(tree.frames), full=True)
    assert not report.findings
    assert report.recomputed == len(tree.frames)


def test_a_cache_with_depth_is_a_source(tmp_path: Path) -> None:
    tree = write_unrealstereo4k(tmp_path / "data")
    run(opened(tree), tmp_path / "first.zarr", with_depth=True)
    source = open_source("zarr", tmp_path / "first.zarr")
    assert source.keys() == [f"{scene}/{camera}/depth/000000" for scene in ("00000", "00001") for camera in (0, 1)]
    run(source, tmp_path / "second.zarr")
    first, second = SigmaCache(tmp_path / "first.zarr"), SigmaCache(tmp_path / "second.zarr")
    for key, again in zip(tree.frames, source.keys(), strict=True):
        np.testing.assert_array_equal(first.read(key), second.read(again))


@pytest.mark.parametrize("dataset", ["zarr", "kitti-unik3d"])
def test_a_url_is_refused(dataset: str) -> None:
    with pytest.raises(
        DescriptionError, match=f"^memory://x: expected a folder, since {dataset} is not read at a URL: "
    ):
        open_source(dataset, "memory://x")


def test_unrealstereo4k_at_a_url(tmp_path: Path) -> None:
    tree = write_unrealstereo4k(tmp_path / "data")
    remote = open_source(tree.dataset, "memory://unrealstereo4k")
    fsspec.filesystem("memory").put(str(tree.root), "/unrealstereo4k", recursive=True)
    source = remote.holding(list(tree.frames))
    for key, (_, depth, camera) in tree.frames.items():
        np.testing.assert_array_equal(source.read(key).depth, depth)
        assert source.intrinsics(key).tolist() == camera
        assert source.stat(key).has_camera


@pytest.mark.parametrize(("case", "module", "extra"), [("zarr 3", "zarr", "zarr"), ("unik3d images", "h5py", "hdf5")])
def test_a_missing_library_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str, module: str, extra: str
) -> None:
    tree = TREES[case](tmp_path / "data")
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingLibraryError) as caught:
        opened(tree).keys()
    assert str(caught.value).endswith(f"{module}, which is not installed: pip install 'depthvar[{extra}]'")


def test_keys_of_other_layouts(tree: Tree) -> None:
    source = opened(tree)
    for key in ("", "a", "depth/x", "../depth/000000", "a/../depth/000000", "a.hdf5", "a.hdf5/", "a/b/depth.npy"):
        with pytest.raises(SourceError, match=r"^'.*': expected the key of a frame of .*, a path like '.*'"):
            source.read(key)


def test_an_empty_root_is_one_line(tree: Tree, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match=r"no depth file matches '.*', found no file at all"):
        open_source(tree.dataset, tmp_path / "empty").keys()


POSE = "1 0 0 0 0 1 0 0 0 0 1 0"


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (None, "Extrinsics0/00000.txt: no such file"),
        (["30 0 15.5 0 31 11.5 0 0 1"], "Extrinsics0/00000.txt: expected 'line 2', got 1 lines"),
        (["30 0 15.5 0 31 11.5 0 0 1", "1 2 3"], "expected the 12 numbers of a pose in line 2, got 3"),
        (["30 0 15.5 0 31 11.5 0 0 1", "1 0 0 0 0 1 0 0 0 0 1 x"], "expected numbers of 'line 2', got the text 'x'"),
        (["30 0 15.5 0 31 11.5 0 0 1", "0 -1 0 2 1 0 0 -1 0 0 1 -3.5"], "two cameras with a distance above 0, got 0 m"),
        (["30 0 15.5 0 31 11.5 0 0 1", POSE.replace("0", "nan")], "two cameras with a distance above 0, got nan m"),
    ],
)
def test_wrong_poses_are_one_line(tmp_path: Path, lines: list[str] | None, message: str) -> None:
    tree = write_unrealstereo4k(tmp_path / "data")
    (file := tree.root / "00000/Extrinsics0/00000.txt").unlink()
    if lines is not None:
        file.write_text("\n".join(lines))
    assert message in message_of(tree, "00000/Disp1/00000.npy")


PACK = "Pack.hdf5/s0/d/0.png"
FISHEYE = "Pack.hdf5/s1/d/1.png"


def test_what_is_wrong_with_a_frame_of_unik3d_is_one_line(tmp_path: Path) -> None:
    tree = write_sequences(tmp_path / "data", fisheye=True)
    assert len(opened(tree)) == 3
    assert "Pack.hdf5: 's1/d/1.png': expected a pinhole camera of 4, 9 or 12 numbers" in message_of(tree, FISHEYE)
    assert "expected a pinhole camera" in message_of(tree, "Pack.hdf5/s0/d/9.png")
    with h5py.File(tree.root / "Pack.hdf5", "a") as file:
        del file["s0/d/0.png"]
    assert "'s0/d/0.png': expected a data set 's0/d/0.png', got none" in message_of(tree, PACK)
    for content, message in (
        (grey(codes(1))[:-30], "'s0/d/0.png': cannot decode PNG"),
        (b"\xff\xd8\xff\xe0 a JPEG", "'s0/d/0.png': expected a PNG, got a JPEG"),
        (b"x" * 99, "'s0/d/0.png': expected the signature and header of a PNG"),
    ):
        with h5py.File(tree.root / "Pack.hdf5", "a") as file:
            file.pop("s0/d/0.png", None)
            put(file, "s0/d/0.png", content)
        assert message in message_of(tree, PACK)
    with h5py.File(tree.root / "Pack.hdf5", "a") as file:
        del file["s0/d/0.png"]
        file["s0/d/0.png"] = np.ones((H, W), "u2")
    assert "expected the bytes of a PNG, got uint16 of shape" in message_of(tree, PACK)


@pytest.mark.parametrize("content", ["{", '{"s0": {"depth": ["s0/d/0.png"], "K": []}}', "[1]"])
def test_damaged_lists_are_one_line(tmp_path: Path, content: str) -> None:
    tree = write_sequences(tmp_path / "data")
    with h5py.File(tree.root / "Pack.hdf5", "a") as file:
        del file["sequences_clean.json"]
        put(file, "sequences_clean.json", content)
    assert "Pack.hdf5: cannot decode the lists of an HDF5 file (" in message_of(tree, PACK)
    with pytest.raises(SourceError, match="cannot decode the lists"):
        opened(tree).keys()


def test_a_file_that_is_cut_short_is_one_line(tmp_path: Path) -> None:
    tree = write_sequences(tmp_path / "data")
    data = (tree.root / "Pack.hdf5").read_bytes()
    for length in (0, 5, len(data) // 2, len(data) - 1):
        (tree.root / "Pack.hdf5").write_bytes(data[:length])
        assert message_of(tree, PACK).startswith(f"{tree.root}/Pack.hdf5: ")


def test_the_third_word_of_a_list_may_be_another_number(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "nyu.hdf5", "w") as file:
        put(file, "nyu_test.txt", "a.jpg a.png 518.8579\nb.jpg b.png 3\n")
        put(file, "a.png", grey(codes(1000)))
    source = open_source("nyu-v2-unik3d", tmp_path, intrinsics=CAMERA)
    assert source.keys() == ["nyu.hdf5/a.png", "nyu.hdf5/b.png"]
    assert source.read("nyu.hdf5/a.png").depth[0, 0] == 1
    assert open_source("nyu-v2-unik3d", tmp_path, pattern="nyu.hdf5/{frame}", intrinsics=CAMERA).keys() == source.keys()
    assert source.sequence("nyu.hdf5/a.png") == "nyu"


KEY = "a/room/depth/000001"


def test_what_is_wrong_with_a_zarr_group_is_one_line(tmp_path: Path) -> None:
    tree = write_zarr(tmp_path / "data")
    assert "expected a frame from 0 to 2, got 3; list the frames again" in message_of(tree, "a/room/depth/000003")
    assert "a/none/depth: no such file" in message_of(tree, "a/none/depth/000000")
    shard = tree.root / "a/room/depth/c/0/0/0"
    whole = shard.read_bytes()
    shard.write_bytes(whole[: len(whole) // 2])
    assert message_of(tree, KEY).startswith(f"{tree.root}/a/room/depth: cannot decode Zarr (")
    shard.unlink()
    shard.symlink_to(shard.name)  # a fault of the machine is no damage
    with pytest.raises(SourceError, match=r"a/room/depth: cannot be read \(Too many levels of symbolic links\)"):
        opened(tree).stored(KEY)
    shard.unlink()
    shard.write_bytes(whole)
    metadata = tree.root / "a/room/depth/zarr.json"
    for damaged in ("{", "{}", metadata.read_text().replace('"float32"', '"float33"')):
        whole_text = metadata.read_text()
        metadata.write_text(damaged)
        assert f"{tree.root}/a/room/depth: cannot decode Zarr (" in message_of(tree, KEY)
        with pytest.raises(SourceError, match="cannot decode Zarr"):
            opened(tree).keys()
        metadata.write_text(whole_text)
    assert opened(tree).read(KEY).depth.shape == (H, W)


def test_shapes_and_dtypes_of_zarr_arrays(tmp_path: Path) -> None:
    def write(depth: np.ndarray, camera: object = CAMERA) -> Tree:
        shutil.rmtree(tmp_path / "data", ignore_errors=True)
        zarr.create_group(tmp_path / "data", attributes={} if camera is None else {"intrinsics": camera})
        zarr.create_array(f"{tmp_path}/data/depth", data=depth)
        return Tree("zarr", tmp_path / "data", {})

    key, depth = "depth/000000", np.full((2, H, W), 2, np.float32)
    tree = write(depth[0])
    assert "expected shape (height, width), got (32,)" in message_of(tree, key)
    tree = write(depth.astype("c8"))
    assert "expected numbers, got dtype complex64" in message_of(tree, key)
    tree = write((depth * 500).astype("u2"))
    assert "expected dtype float16 or float32 or float64, got uint16, which has no unit" in message_of(tree, key)
    assert (open_source("zarr", tree.root, units_per_metre=500).read(key).depth == 2).all()
    tree = write(depth.astype(">f8"))
    assert (opened(tree).read(key).depth == 2).all()
    for camera, message in (
        (None, "expected intrinsics of shape (4,), (3, 3), (2, 4) or (2, 3, 3), got (0,); pass --intrinsics"),
        ([1, 2, 3], "got (3,)"),
        ([CAMERA] * 3, "got (3, 4)"),
        ("30 31 15 11", "data: expected numbers as attribute intrinsics, got '30 31 15 11'; correct it"),
        ({"fx": 30}, "expected numbers as attribute intrinsics, got {'fx': 30}"),
        ([[1], [2, 3]], "expected numbers as attribute intrinsics, got [[1], [2, 3]]"),
        ([0.9, 0.9, 0.5, 0.5], "which look normalised"),
    ):
        assert message in message_of(write(depth, camera), key)
    assert opened(write(depth, [CAMERA, [40, 41, 16, 12]])).intrinsics("depth/000001").tolist() == [40, 41, 16, 12]


def test_a_chunk_that_was_never_written_holds_the_fill_value(tmp_path: Path) -> None:
    zarr.create_group(tmp_path, attributes={"intrinsics": CAMERA})
    array = zarr.create_array(f"{tmp_path}/depth", shape=(2, H, W), chunks=(1, H, W), dtype="f4")
    array[0] = 2
    source = open_source("zarr", tmp_path)
    before = source.stat("depth/000001")
    assert not source.read("depth/000001").valid.any()
    array[1] = 3
    assert source.read("depth/000001").valid.all()
    assert source.stat("depth/000001") != before


def test_folders_of_stores_by_a_pattern(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_zarr(tmp_path / f"{name}.zarr")
    source = open_source("zarr", tmp_path, pattern="{scan}.zarr/{sequence}/depth")
    assert source.keys()[0] == "one.zarr/a/room/depth/000000"
    assert source.sequence(source.keys()[0]) == "one/a/room"
    assert len(source) == 8
    assert open_source("zarr", tmp_path, pattern="{scan}.zarr/depth").keys()[0] == "one.zarr/depth/000000"


def test_frames_of_a_scene_of_sun_rgbd_share_a_group(tmp_path: Path) -> None:
    millimetres = codes(0, 85)
    for frame in ("NYU0001", "NYU0002"):
        folder = tmp_path / "kv1/NYUdata" / frame
        (folder / "depth").mkdir(parents=True)
        rotated = [[(number << 3 & 0xFFFF) | number >> 13 for number in row] for row in millimetres]
        (folder / "depth" / f"{frame}.png").write_bytes(grey(rotated))
        (folder / "depth_bfx").mkdir()
        (folder / "depth_bfx" / f"{frame}.png").write_bytes(grey(rotated))
        (folder / "intrinsics.txt").write_text("30 0 15.5 0 31 11.5 0 0 1\n")
    source = open_source("sun-rgbd", tmp_path)
    assert source.keys() == [f"kv1/NYUdata/{frame}/depth/{frame}.png" for frame in ("NYU0001", "NYU0002")]
    assert {source.sequence(key) for key in source.keys()} == {"kv1/NYUdata"}
    frame = source.read(source.keys()[1])
    np.testing.assert_array_equal(frame.depth, (np.array(millimetres) / 1000).astype(np.float32))
    assert frame.intrinsics.tolist() == CAMERA
    assert run(source, tmp_path / "sigma.zarr").computed == 2
    assert SigmaCache(tmp_path / "sigma.zarr").read(source.keys()[0]).shape == (H, W)


def test_memory_is_not_allocated_for_what_no_file_holds(tmp_path: Path) -> None:
    tree = write_sequences(tmp_path / "pack")
    with h5py.File(tree.root / "Pack.hdf5", "a") as file:
        file.create_dataset("more.txt", shape=(1 << 40,), dtype="u1", chunks=(1 << 20,))
    assert "cannot decode the lists of an HDF5 file (expected at least" in message_of(tree, PACK)
    attributes = {"intrinsics": CAMERA}
    for number, (shape, chunks) in enumerate((((1, 1 << 16, 1 << 16), (1, H, W)), ((1, H, W), (1 << 12, 1 << 13, W)))):
        zarr.create_group(root := tmp_path / str(number), attributes=attributes)
        zarr.create_array(f"{root}/depth", shape=shape, chunks=chunks, dtype="f4")
        assert "expected at most 2147483648 bytes, got (" in message_of(Tree("zarr", root, {}), "depth/000000")
    tree = write_zarr(tmp_path / "zarr")
    zarr.create_array(f"{tree.root}/a/room/intrinsics", shape=(1 << 30, 4), chunks=(1, 4), dtype="f8", overwrite=True)
    assert "intrinsics: expected at most 2147483648 bytes, got (" in message_of(tree, KEY)
