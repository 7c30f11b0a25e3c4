"""Keys of frames, paths and URLs: what they name, and what names nothing is refused in one line."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from doors import CAMERA, DEPTH, NFC, NFD, refusal
from tiny_data import TinyData

from depthvar.datasets import open_source
from depthvar.datasets.cache.sigma_cache import SigmaCache
from depthvar.datasets.errors import FrameNotFoundError
from depthvar.precompute.pipeline import execute
from depthvar.precompute.pipeline import run as pipeline


@pytest.fixture
def here(tiny: TinyData, monkeypatch: pytest.MonkeyPatch) -> SigmaCache:
    """The cache of a data set in tiny/, seen from the folder above, by a relative path."""
    (tiny.root / "b").rename(tiny.root / NFD)
    list(pipeline.run(tiny.job(), execute.serial))
    monkeypatch.chdir(tiny.root.parent)
    return SigmaCache("tiny/sigma_Z2.zarr")


KEY = "a/P0/depth/001.npy"


@pytest.mark.parametrize(
    "key",
    [
        KEY, Path(KEY), np.str_(KEY), f"./{KEY}", f"{KEY}/", "a//P0/depth/./001.npy",
        f"tiny/{KEY}", Path("tiny", KEY), f"./tiny/{KEY}", f"tiny//{KEY}",
        "{root}/" + KEY, "{root}//" + KEY, "{root}/a/../" + KEY, "{root}/../tiny/" + KEY,
    ],
)  # fmt: skip
def test_ways_to_name_a_frame_of_a_cache(key: Any, here: SigmaCache, tiny: TinyData) -> None:
    expected = here.read(KEY)
    given = key.format(root=tiny.root) if isinstance(key, str) else key
    np.testing.assert_array_equal(here.read(given), expected)
    assert here.relative_key(given) == KEY


@pytest.mark.parametrize(
    ("key", "message"),
    [
        (KEY.encode(), "key: expected a str or a Path, got bytes"),
        ([KEY], r"key: expected a str or a Path, got list .*; pass one key; annotate views before they are collated"),
        (None, "key: expected a str or a Path, got NoneType None"),
        (3, "key: expected a str or a Path, got int 3"),
        ("", "frame '' is not in the cache.*keys look like"),
        ("/", "/: not below the root tiny; pass root="),
        ("/etc/passwd", "not below the root tiny; pass root="),
        ("../tiny/x.npy", "is not in the cache"),
        ("a/../" + KEY, "is not in the cache"),
        (KEY.replace("/", "\\"), "is not in the cache"),
        (f"{KEY}\n", "is not in the cache"),
        ("." + KEY, "is not in the cache"),
        ("a" * 5000, "is not in the cache"),
        (f"other/{KEY}", "is not in the cache"),
    ],
)
def test_what_names_no_frame_of_a_cache(key: Any, message: str, here: SigmaCache) -> None:
    refusal(lambda: here.read(key), message)


def test_a_key_as_it_is_listed_comes_before_a_path_below_the_root(
    tiny: TinyData, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = tiny.write("tiny/b", "000", 3 * DEPTH)
    list(pipeline.run(tiny.job(), execute.serial))
    monkeypatch.chdir(tiny.root.parent)
    cache = SigmaCache("tiny/sigma_Z2.zarr")
    assert inner == "tiny/b/depth/000.npy"
    assert cache.relative_key(inner) == inner
    assert cache.relative_key(f"tiny/{inner}") == inner
    assert cache.relative_key("tiny/a/P0/depth/000.npy") == "a/P0/depth/000.npy"
    assert not np.array_equal(cache.read(inner), cache.read("b/depth/000.npy"))
    np.testing.assert_array_equal(cache.read(f"tiny/tiny/{inner}"[5:]), cache.read(inner))


def test_links_are_resolved_for_no_path_that_lies_below_the_root(
    here: SigmaCache, tiny: TinyData, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = SigmaCache(tiny.root / "sigma_Z2.zarr")
    resolved: list[Path] = []
    resolve = Path.resolve
    monkeypatch.setattr(Path, "resolve", lambda path, *rest: (resolved.append(path), resolve(path, *rest))[1])
    assert cache.relative_key(tiny.root / KEY) == KEY
    assert resolved == []
    (tiny.root.parent / "link").symlink_to(tiny.root)
    assert cache.relative_key(tiny.root.parent / "link" / KEY) == KEY
    assert resolved != []  # or the test could not fail


def test_one_name_in_two_unicode_forms_is_one_frame(here: SigmaCache) -> None:
    listed, typed = (f"{name}/depth/001.npy" for name in (NFD, NFC))
    assert listed in here.keys()
    assert typed not in here.keys()
    for _ in range(2):
        np.testing.assert_array_equal(here.read(typed), here.read(listed))
    np.testing.assert_array_equal(here.intrinsics(f"tiny/{typed}"), here.intrinsics(listed))
    with pytest.raises(FrameNotFoundError, match="is not in the cache"):
        here.read(f"{NFC}/depth/777.npy")


def test_two_names_that_differ_in_their_unicode_form_stay_two(tiny: TinyData) -> None:
    keys = [tiny.write(name, "000", scale * DEPTH) for name, scale in ((NFC, 1), (NFD, 2))]
    list(pipeline.run(tiny.job(), execute.serial))
    cache = SigmaCache(tiny.job().cache)
    with pytest.raises(FrameNotFoundError):
        cache.read(f"{NFC}/depth/777.npy")  # after which it knows all spellings
    for key, scale in zip(keys, (1, 2), strict=True):
        np.testing.assert_array_equal(cache.read(key), scale**2 * cache.read(keys[0]))


def test_a_name_in_another_unicode_form_is_named_where_files_are_read(tiny: TinyData, tmp_path: Path) -> None:
    (tiny.root / "b").rename(tiny.root / NFD)
    source = tiny.source()
    for read in (source.read, source.stat, source.shape):
        refusal(
            lambda read=read: read(f"{NFC}/depth/000.npy"), "it is there with the same characters in NFD: pass the name"
        )
    (tmp_path / NFD).mkdir()
    np.save(tmp_path / NFD / "0.npy", DEPTH)
    typed = open_source("folder", tmp_path, intrinsics=CAMERA, pattern=f"{NFC}/{{frame}}.npy")
    refusal(typed.keys, rf"found {NFD}/0.npy, which has these characters in another Unicode form: write the pattern")
    refusal(
        lambda: open_source("folder", tmp_path / NFC, intrinsics=CAMERA), "no such folder .it is there with the same"
    )


@pytest.mark.parametrize(
    ("key", "message"),
    [
        (b"a/P0/depth/000.npy", "key: expected a str or a Path, got bytes"),
        (["a/P0/depth/000.npy"], "key: expected a str or a Path, got list"),
        (None, "key: expected a str or a Path, got NoneType"),
        ("/etc/passwd", "expected the key of a frame of tiny, a path like '{sequence}/depth/{frame}.npy'"),
        ("a/../b/depth/000.npy", "expected the key of a frame of tiny"),
        ("b/depth/000.npy/", "expected the key of a frame of tiny"),
        ("b\\depth\\000.npy", "expected the key of a frame of tiny"),
        ("", "expected the key of a frame of tiny"),
        ("b/depth/0\n.npy", r"no such file|cannot be read .No such file"),
        (f"b/depth/{'0' * 5000}.npy", "File name too long"),
    ],
)
def test_what_names_no_frame_of_a_source(key: Any, message: str, tiny: TinyData) -> None:
    source = tiny.source()
    for method in (source.read, source.stat, source.shape, source.intrinsics):
        refusal(lambda method=method: method(key), message)
    assert source.read(Path("b/depth/000.npy")).key == "b/depth/000.npy"


@pytest.mark.parametrize("index", ["0", 0.0, slice(0, 1), None])
def test_a_frame_has_a_whole_number(index: Any, tiny: TinyData) -> None:
    assert tiny.source()[np.int64(1)].key == tiny.source().keys()[1]
    with pytest.raises(TypeError, match="cannot be interpreted as an integer"):
        tiny.source()[index]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"dataset": None}, "dataset: expected a name or a path, got None"),
        ({"dataset": ""}, "dataset: expected a name or a path, got ''"),
        ({"root": ""}, "root: expected a name or a path, got ''"),
        ({"root": b"/tmp"}, "root: expected a name or a path, got b'/tmp'"),
        ({"root": "/etc/passwd"}, "a file, not a folder"),
        ({"pattern": ""}, "depth: expected one line of text; got ''"),
        ({"pattern": 7}, "depth: expected one line of text; got 7"),
    ],
)
def test_what_opens_no_source(arguments: dict[str, Any], message: str, tmp_path: Path) -> None:
    given = {"dataset": "folder", "root": tmp_path, "intrinsics": CAMERA} | arguments
    refusal(lambda: open_source(**given), message)


@pytest.mark.parametrize("path", ["", None, b"x.zarr", 3])
def test_what_is_no_path_of_a_cache(path: Any) -> None:
    refusal(lambda: SigmaCache(path), "cache: expected a folder or a URL, got")


def test_ways_to_name_a_cache(here: SigmaCache, tiny: TinyData, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tiny.root.parent))
    for path in (
        "tiny/sigma_Z2.zarr/",
        Path("tiny/sigma_Z2.zarr"),
        f"file://{tiny.root}/sigma_Z2.zarr",
        "~/tiny/sigma_Z2.zarr",
    ):
        np.testing.assert_array_equal(SigmaCache(path).read(tiny.root / KEY), here.read(KEY))
