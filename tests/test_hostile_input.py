"""Data sets and caches made by others: nothing outside them is read or written, nothing of them is executed."""

import io
import json
import os
import pickle
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from click.testing import CliRunner
from PIL import Image
from tiny_data import TinyData, make_depth

from depthvar.datasets import open_source
from depthvar.datasets.cache.attributes import seal
from depthvar.datasets.cache.format import decode_keys, encode_keys
from depthvar.datasets.cache.sigma_cache import SigmaCache
from depthvar.datasets.errors import CacheError, DescriptionError, SourceError
from depthvar.datasets.source.camera import read_intrinsics
from depthvar.datasets.source.catalogue import find_description
from depthvar.datasets.source.decode import DepthRule, read_shape, read_stored
from depthvar.datasets.source.description import Description
from depthvar.datasets.source.masks import read_mask
from depthvar.datasets.source.templates import stays_below
from depthvar.precompute.cli.main import main
from depthvar.precompute.pipeline import execute
from depthvar.precompute.pipeline import run as pipeline
from depthvar.precompute.pipeline.lock import writer_lock
from depthvar.precompute.report.info import cache_info
from depthvar.precompute.validation.validate import validate

METRES = DepthRule("npy", ("float32",), 1.0)
MILLIMETRES = DepthRule("png", ("uint16",), 1000.0)
OUTSIDE = ["../x", "a/../../x", "/etc/passwd", "a//b", "a/./b", "..", "", "a\\b", "a\nb", "a\x1b[2J", "a\x9b"]


@pytest.fixture
def cache(tiny: TinyData) -> Path:
    list(pipeline.run(tiny.job(), execute.serial))
    return Path(tiny.job().cache)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("path", OUTSIDE)
def test_a_path_that_leaves_its_folder_is_refused_everywhere(path: str) -> None:
    assert not stays_below(path)
    if path:  # an unused row has no key
        with pytest.raises(CacheError, match=r"here: damaged \(expected keys below the root of the data set"):
            decode_keys(encode_keys([path], 64), "here")
    for section, fields in (
        ("files", {"depth": f"{path}/{{frame}}.npy"}),
        ("masks", [{"file": f"{path}/{{frame}}.npy"}]),
        ("files", {"depth": "{frame}.npy", "image": f"{path}/{{frame}}.png"}),
        ("intrinsics", {"file": f"{path}/camera.txt"}),
    ):
        tables = {"summary": "s", "names": ["n"], "files": {"depth": "{frame}.npy"}, section: fields}
        with pytest.raises(DescriptionError, match=r"expected (a path relative to the root|one line of text)"):
            Description.from_dict(tables, "here")


@pytest.mark.parametrize("path", ["a", "a/b.npy", "...", "a..b", ".hidden/x", "ü/σ 1.npy", "C:/x", "~/x"])
def test_a_path_that_stays_below(path: str) -> None:
    assert stays_below(path)
    assert decode_keys(encode_keys([path], 64), "here") == [path]


# --- source files


class Touch:
    """Leaves a file behind where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_pickles_in_npy_files_are_never_loaded(tmp_path: Path) -> None:
    sign = tmp_path / "loaded"
    values = np.empty((2, 2), object)
    values[:] = Touch(sign)
    np.save(tmp_path / "a.npy", values, allow_pickle=True)
    for read in (lambda path: read_stored(path, METRES), read_intrinsics, lambda path: read_mask(path, (2, 2))):
        with pytest.raises(SourceError, match="pickled objects are never loaded"):
            read(tmp_path / "a.npy")
    (tmp_path / "b.npy").write_bytes(pickle.dumps(Touch(sign)))
    with pytest.raises(SourceError):
        read_stored(tmp_path / "b.npy", METRES)
    assert not sign.exists()
    np.load(tmp_path / "a.npy", allow_pickle=True)
    assert sign.exists()  # or the test could not fail


def huge(tmp_path: Path) -> Iterator[tuple[str, Path, DepthRule, str]]:
    """Yield files of some hundred bytes that claim up to 10^12 pixels."""
    npy, png = tmp_path / "a.npy", tmp_path / "a.png"
    for shape in ((10**6, 10**6), (10**5, 10**5), (2**40, 2**40)):
        header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}}}\n".encode()
        npy.write_bytes(b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header + bytes(100))
        yield "shape", npy, METRES, "expected .* bytes for float32 of shape"
    npy.write_bytes(b"\x93NUMPY\2\0" + struct.pack("<I", 2**32 - 1) + bytes(100))
    yield "header", npy, METRES, "expected an npy header of at most 10000 bytes, got 4294967295"
    for size in ((10**6, 10**6), (13_000, 13_000), (2**32 - 1, 2**32 - 1)):
        file = io.BytesIO()
        Image.fromarray(np.ones((2, 2), np.uint16)).save(file, "png")
        content = bytearray(file.getvalue())
        content[16:24] = struct.pack(">II", *size)
        png.write_bytes(content)
        yield "png", png, MILLIMETRES, "expected a PNG of at least .* bytes for"


def test_a_claim_of_many_pixels_is_refused_before_memory_is_taken(tmp_path: Path) -> None:
    """In a process that may take 64 MiB more than it has."""
    code = (
        "import resource, sys, json\n"
        "from depthvar.datasets.source.decode import DepthRule, read_stored\n"
        "from PIL import Image, PngImagePlugin\n"
        "pages = int(open('/proc/self/statm').read().split()[0])\n"
        "resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + (64 << 20),) * 2)\n"
        "path, container, dtype = sys.argv[1:]\n"
        "try: read_stored(path, DepthRule(container, (dtype,), 1.0))\n"
        "except Exception as error: print(type(error).__name__, error, repr(error.__context__))\n"
    )
    for _, path, rule, message in huge(tmp_path):
        with pytest.raises(SourceError, match=message):
            read_stored(path, rule)
        if sys.platform == "linux":
            ran = subprocess.run(
                [sys.executable, "-c", code, path, rule.container, rule.dtype[0]], capture_output=True, text=True
            )
            assert ran.stdout.startswith("SourceError"), (ran.stdout, ran.stderr)
            assert "Memory" not in ran.stdout


@pytest.mark.parametrize("header", ["-" * 9000 + "1", "(" * 9000, "[" * 150 + "]" * 150, "{'descr': 9, 'shape': ()}"])
def test_an_npy_header_that_exhausts_the_parser(tmp_path: Path, header: str) -> None:
    path = tmp_path / "a.npy"
    path.write_bytes(b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header.encode() + bytes(100))
    with pytest.raises(SourceError, match="malformed npy header"):
        read_shape(path, METRES)


def test_a_pipe_or_a_device_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.npy")
    (tmp_path / "zero.npy").symlink_to("/dev/zero")
    for name in ("pipe.npy", "zero.npy"):
        with pytest.raises(SourceError, match="expected a file, got a pipe or a device"):
            read_shape(tmp_path / name, METRES)


def test_intrinsics_that_are_no_numbers_or_too_many(tmp_path: Path) -> None:
    text, npy = tmp_path / "a.txt", tmp_path / "a.npy"
    text.write_text("1 " * 40_000)
    with pytest.raises(SourceError, match="got more than 65536 bytes; save K"):
        read_intrinsics(text)
    for values in (np.zeros((100, 100)), np.zeros(4, complex), np.array(["40"] * 4), np.zeros(4, "M8[s]")):
        np.save(npy, values)
        with pytest.raises(SourceError, match="expected 4, 9 or 16 numbers"):
            read_intrinsics(npy)
    np.save(npy, np.zeros((2, 2), [("a", "f4")]))
    with pytest.raises(SourceError, match="expected a mask of numbers"):
        read_mask(npy, (2, 2))


@pytest.mark.parametrize(
    "line", [f"units_per_metre = 1{'0' * 400}", "max_depth = nan", "far = [1979-05-27]", "unknown = [[1]]"]
)
def test_numbers_that_no_float_holds(tmp_path: Path, line: str) -> None:
    path = tmp_path / "a.toml"
    path.write_text(f'summary = "s"\nnames = ["n"]\n[files]\ndepth = "{{frame}}.npy"\n[depth]\n{line}\n')
    with pytest.raises(DescriptionError, match="expected a number"):
        find_description(str(path))


def test_a_description_that_is_nested_without_end(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text("a = " + "[" * 10_000)
    with pytest.raises(DescriptionError, match="expected TOML, got something else"):
        find_description(str(path))


def test_control_characters_in_file_names_are_refused(tiny: TinyData) -> None:
    tiny.write("b", "x\n\x1b[2J", make_depth(24, 32, 1))
    with pytest.raises(SourceError, match="expected no control characters in file names") as caught:
        tiny.source().keys()
    assert str(caught.value).isprintable()
    assert r"x\n\x1b[2J.npy" in str(caught.value)


def test_data_may_be_linked_in(tiny: TinyData, tmp_path: Path) -> None:
    """Reading follows symlinks: people keep frames on another disk."""
    elsewhere = tmp_path / "elsewhere"
    (tiny.root / "b").rename(elsewhere)
    (tiny.root / "b").symlink_to(elsewhere)
    list(pipeline.run(tiny.job(), execute.serial))
    assert SigmaCache(tiny.job().cache).read("b/depth/000.npy").shape == (24, 32)
    assert sorted(path.name for path in elsewhere.iterdir()) == ["camera", "depth"]


# --- caches


def edit(path: Path, **changes: object) -> None:
    """Change attributes in a zarr.json, with the right checksum."""
    metadata = json.loads(path.read_text())
    metadata["attributes"] = seal(metadata["attributes"] | changes)
    path.write_text(json.dumps(metadata))


def refused(cache: Path, tiny: TinyData, message: str, *, readable: bool = False, counted: bool = False) -> None:
    """Assert that everything that opens a cache refuses this one, and writes nothing; --clear removes its group.

    With ``readable`` a reader has no use for what is wrong. With ``counted`` it is only in what ``info`` reads of some
    frames: it says that they cannot be read.
    """
    before = contents(tiny.root)
    reads = (lambda: SigmaCache(cache).read("b/depth/000.npy"), lambda: SigmaCache(cache).keys())
    acts = [lambda: list(pipeline.run(tiny.job(), execute.serial))]
    if counted:
        assert cache_info(str(cache))["unreadable"] > 0
    else:
        acts.append(lambda: cache_info(str(cache)))
    for act in acts if readable else (*reads, *acts):
        with pytest.raises(CacheError, match=message):
            act()
    for words in (["info", str(cache)], ["validate", str(cache)], ["validate", "--clear", str(cache)]):
        assert contents(tiny.root) == before
        result = CliRunner().invoke(main, words)
        if counted and words[0] == "info":
            assert result.exit_code == 0
            assert "cannot be read: precompute validate" in result.stdout
            continue
        assert result.exit_code in (1, 3), result
        assert isinstance(result.exception, SystemExit)
    after, group = contents(tiny.root), f"{cache.name}/b/"
    assert [{name: files[name] for name in files if not name.startswith(group)} for files in (before, after)] == [
        {name: before[name] for name in before if not name.startswith(group)}
    ] * 2


@pytest.mark.parametrize("name", ["../../outside", "/outside", "b/../../../outside", "b\n"])
def test_group_names_that_leave_the_cache(cache: Path, tiny: TinyData, name: str) -> None:
    edit(cache / "zarr.json", groups=[name])
    refused(cache, tiny, r"damaged \(groups is")


def test_a_group_name_that_no_folder_can_have(cache: Path, tiny: TinyData) -> None:
    edit(cache / "zarr.json", groups=["a" * 5000])
    refused(cache, tiny, "cannot be read|damaged")


@pytest.mark.parametrize("key", ["../../outside.npy", "/etc/passwd", "b/\x1b[2J.npy"])
def test_keys_that_leave_the_data_set(cache: Path, tiny: TinyData, key: str) -> None:
    array = zarr.open_array(cache / "b/key", mode="r+")
    array[1] = encode_keys([key], array.shape[1])[0]
    refused(cache, tiny, "expected keys below the root of the data set, got .*do not trust this cache", counted=True)


def test_keys_that_are_no_text(cache: Path, tiny: TinyData) -> None:
    zarr.open_array(cache / "b/key", mode="r+")[0] = 255
    refused(cache, tiny, "b.*(utf-8|UTF-8)", counted=True)


@pytest.mark.parametrize("name", ["digest", "key", "intrinsics"])
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("shape", [10**12, 32]),
        ("codecs", [{"name": "bytes"}, {"name": "numcodecs.lzma", "configuration": {}}]),
        ("data_type", "float32"),
        ("chunk_grid", {"name": "regular", "configuration": {"chunk_shape": [1, 1]}}),
    ],
)
def test_metadata_of_bookkeeping_that_asks_for_something_else(
    cache: Path, tiny: TinyData, name: str, field: str, value: Any
) -> None:
    path = cache / "b" / name / "zarr.json"
    metadata = json.loads(path.read_text())
    if field == "shape":
        value = [10**12, *metadata["shape"][1:]]
    expected = SigmaCache(cache).read("b/depth/001.npy")
    path.write_text(json.dumps(metadata | {field: value}))
    if name != "digest":  # a reader has no use for it
        np.testing.assert_array_equal(SigmaCache(cache).read("b/depth/001.npy"), expected)
    refused(cache, tiny, "damaged", readable=name != "digest")


@pytest.mark.parametrize("place", ["b/digest", "b/key"])
def test_metadata_that_zarr_takes_for_nothing(cache: Path, tiny: TinyData, place: str) -> None:
    """Without its version an array is absent to Zarr: its frames would be missed by nobody."""
    path = cache / place / "zarr.json"
    metadata = json.loads(path.read_text())
    del metadata["zarr_format"]
    path.write_text(json.dumps(metadata))
    refused(cache, tiny, "damaged", readable=place == "b/key")


def test_no_codec_is_called_that_metadata_name(cache: Path, tiny: TinyData) -> None:
    expected = SigmaCache(cache).read("b/depth/000.npy")
    path = cache / "b/sigma_Z2/zarr.json"
    path.write_text(path.read_text().replace('"blosc"', '"numcodecs.lzma"'))
    np.testing.assert_array_equal(SigmaCache(cache).read("b/depth/000.npy"), expected)
    refused(cache, tiny, r"b/sigma_Z2: damaged \(codecs: expected", readable=True)


def test_an_array_in_the_place_of_a_group(cache: Path, tiny: TinyData) -> None:
    """Asking a Zarr array whether it holds "digest" would read all 10^12 elements."""
    (cache / "b/zarr.json").unlink()
    zarr.create_array(cache / "b", shape=(10**12,), dtype="u1")
    refused(cache, tiny, "damaged")


@pytest.mark.parametrize("value", [-1.0, -np.inf])
def test_a_negative_variance_is_never_read(cache: Path, value: float) -> None:
    array = zarr.open_array(cache / "b/sigma_Z2", mode="r+")
    values = np.asarray(array[:])
    values[0, 20, 3] = value
    array[:] = values
    with pytest.raises(CacheError, match="stored values are missing, or negative"):
        SigmaCache(cache).read("b/depth/000.npy")


@pytest.mark.parametrize("value", [np.nan, np.inf, -1.0])
def test_intrinsics_that_are_not_finite_are_never_used(cache: Path, value: float) -> None:
    zarr.open_array(cache / "b/intrinsics", mode="r+")[0, 0] = value
    with pytest.raises(CacheError, match="the intrinsics or keys of frames that are done are missing"):
        SigmaCache(cache).intrinsics("b/depth/000.npy")


# --- symlinks


@pytest.mark.parametrize("folder", ["a", "a/P0", "b", "b/digest", "b/sigma_Z2"])
def test_nothing_is_written_through_a_symlink_in_a_cache(
    cache: Path, tiny: TinyData, tmp_path: Path, folder: str
) -> None:
    outside = tmp_path / "outside"
    (cache / folder).rename(outside)
    (cache / folder).symlink_to(outside)
    before = contents(outside)
    edited = "b" if folder.startswith("b") else "a/P0"
    tiny.write(edited, "000", make_depth(24, 32, 77))
    assert SigmaCache(cache).read(f"{edited}/depth/000.npy").shape == (24, 32)  # reading follows it
    for act in (
        lambda: list(pipeline.run(tiny.job(), execute.serial)),
        lambda: validate(str(cache), tiny.root, full=True, clear=True),
    ):
        if folder.startswith("b/sigma_Z2") and act.__code__.co_names[0] == "validate":
            continue  # it removes digests only
        with pytest.raises(CacheError, match="expected folders, got a symlink among them"):
            act()
        assert contents(outside) == before
    list(pipeline.run(tiny.job(), execute.serial, overwrite=True))  # removes the link, and makes a folder
    assert contents(outside) == before
    assert not any(path.is_symlink() for path in cache.rglob("*"))
    assert validate(str(cache), tiny.root, full=True).findings == []


def test_a_cache_that_is_a_symlink_as_a_whole_is_written(cache: Path, tiny: TinyData, tmp_path: Path) -> None:
    cache.rename(tmp_path / "big disk.zarr")
    cache.symlink_to(tmp_path / "big disk.zarr")
    key = tiny.write("b", "005", make_depth(24, 32, 5))
    list(pipeline.run(tiny.job(), execute.serial))
    assert SigmaCache(tmp_path / "big disk.zarr").read(key).shape == (24, 32)


@pytest.mark.parametrize(("name", "part"), [("sigma_Z2.zarr.lock", None), ("sigma_Z2.zarr.lock.1-of-2", (1, 2))])
def test_a_lock_that_is_a_symlink_is_not_followed(tiny: TinyData, name: str, part: tuple[int, int] | None) -> None:
    victim = tiny.root / "victim"
    victim.write_text("precious")
    (tiny.root / name).symlink_to(victim)
    with pytest.raises(CacheError, match="cannot create the lock"), writer_lock(tiny.job().cache, part):
        pass
    assert victim.read_text() == "precious"


def test_the_root_of_a_source_may_be_a_symlink(tiny: TinyData, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tiny.root)
    assert open_source(str(tiny.toml), tmp_path / "link").keys() == tiny.source().keys()


def test_info_is_not_stopped_by_a_symlink_in_circles(cache: Path) -> None:
    before = cache_info(str(cache))["bytes"]
    (cache / "loop").symlink_to("loop")
    assert before <= cache_info(str(cache))["bytes"] < before + 100


def test_text_for_people_steers_no_terminal(tiny: TinyData, tmp_path: Path) -> None:
    cache = tmp_path / "a\x1b[2J\x9b.zarr"
    for words in (["run", "--dataset", str(tiny.toml), "--out", str(cache)], ["info", str(cache)]):
        result = CliRunner().invoke(main, words)
        assert result.exit_code == 0
        assert r"a\x1b[2J\x9b.zarr" in result.stdout
        assert not {*"\x1b\x9b"} & {*result.stdout}
