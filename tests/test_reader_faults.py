"""The machine fails under a reader: that is not called damage, and nobody is told to clear what is whole."""

import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from ten_shards import without_override
from tiny_data import TinyData

from depthvar.datasets.cache.sigma_cache import SigmaCache
from depthvar.datasets.errors import CacheError
from depthvar.precompute.pipeline import execute
from depthvar.precompute.pipeline import run as pipeline

KEY = "b/depth/001.npy"
MAP = "b/sigma_Z2/c.0.0.0"

Prepare = Callable[[SigmaCache], object]


@pytest.fixture
def cache(tiny: TinyData) -> Path:
    list(pipeline.run(tiny.job(), execute.serial))
    return Path(tiny.job().cache)


@contextmanager
def no_more_files() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))  # those that are open stay so
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize(
    ("prepare", "where"),
    [
        (lambda cache: None, "sigma_Z2.zarr/zarr.json"),
        (lambda cache: cache.strides, "sigma_Z2.zarr/b/zarr.json"),
        (lambda cache: cache.keys(), f"sigma_Z2.zarr/{MAP}"),
    ],
    ids=["root", "group", "map"],
)
def test_too_many_open_files(cache: Path, prepare: Prepare, where: str) -> None:
    expected = SigmaCache(cache).read(KEY)
    reader = SigmaCache(cache)
    prepare(reader)
    with no_more_files(), pytest.raises(CacheError) as caught:
        reader.read(KEY)
    message = str(caught.value)
    # The digest is looked at again before a fault is believed, and cannot be read either.
    known = (where, "sigma_Z2.zarr/b/digest/c.0.0")
    assert any(message.endswith(f"{w}: cannot be read: Too many open files; fix that and try again") for w in known)
    assert "clear" not in message
    np.testing.assert_array_equal(reader.read(KEY), expected)


READ_EACH = """
import os, sys
from depthvar.datasets import SigmaCache
cache, key, *parts = sys.argv[1:]
for part in parts:
    path = os.path.join(cache, part)
    bits = os.stat(path).st_mode
    os.chmod(path, 0)
    try:
        SigmaCache(cache).read(key)
    except OSError as error:
        print(type(error).__name__, error)
    else:
        print("read")
    os.chmod(path, bits)
"""


def test_a_part_that_may_not_be_read(cache: Path) -> None:
    parts = ["zarr.json", "b/zarr.json", "b/digest/zarr.json", "b/digest/c.0.0", "b/key/c.0.0", MAP, "b/sigma_Z2"]
    command = [sys.executable, "-c", READ_EACH, str(cache), KEY, *parts]
    process = subprocess.run(command, preexec_fn=without_override, capture_output=True, text=True, check=True)
    assert process.stdout.splitlines() == [
        f"CacheError {cache}/{MAP if part in MAP else part}: cannot be read: Permission denied; fix that and try again"
        for part in parts
    ]


def put_file(path: Path) -> None:
    path.rename(path.with_name("before"))
    path.touch()


def put_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    ("place", "damage"),
    [(MAP, put_folder), (MAP, Path.unlink), (MAP, Path.touch), ("b/sigma_Z2", put_file), ("b/key/c.0.0", put_folder)],
)
def test_what_is_gone_or_of_another_kind_is_damage(cache: Path, place: str, damage: Callable[[Path], None]) -> None:
    if damage is Path.touch:
        (cache / place).write_bytes(b"")
    damage(cache / place)
    for reader in (SigmaCache(cache), SigmaCache(cache)):
        with pytest.raises(CacheError, match=r"damaged \(.*\); `precompute validate --clear`"):
            reader.read(KEY)
