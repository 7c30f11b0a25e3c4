"""A fault of the machine (memory, threads, permission) is never called damage, and costs nothing that is stored."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from numcodecs import blosc
from tiny_data import TinyData

from depthvar.datasets.cache.sigma_cache import SigmaCache
from depthvar.datasets.cache.store import LocalStore
from depthvar.datasets.errors import CacheError, DamagedError
from depthvar.precompute.cli.main import main
from depthvar.precompute.pipeline import execute, worker
from depthvar.precompute.pipeline import run as pipeline
from depthvar.precompute.validation.validate import validate

KEY = "b/depth/001.npy"
NO_MEMORY = MemoryError("Unable to allocate 96 MiB")
FAULTS = [NO_MEMORY, ImportError("a codec is missing"), OSError(errno.EIO, os.strerror(errno.EIO))]


@pytest.fixture
def cache(tiny: TinyData) -> Path:
    list(pipeline.run(tiny.job(), execute.serial))
    return Path(tiny.job().cache)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def failing(error: BaseException, where: str = "") -> Callable[..., None]:
    def fail(*arguments: object, **options: object) -> None:
        raise error

    return fail


PLACES = {
    "the decoder": (blosc, "decompress"),
    "a checksum": ("depthvar.datasets.cache.codec.check_crc", None),
    "an array": ("depthvar.datasets.cache.codec.np.empty", None),
    "JSON": ("depthvar.datasets.cache.metadata.json.loads", None),
    "reading": (LocalStore, "get"),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: type(fault).__name__)
def test_validate_and_clear_change_nothing_and_a_reader_does_not_call_it_damage(
    cache: Path, monkeypatch: pytest.MonkeyPatch, place: str, fault: Exception
) -> None:
    before = contents(cache)
    expected = SigmaCache(cache).read(KEY)
    target, name = PLACES[place]
    with monkeypatch.context() as patch:
        if name is None:
            patch.setattr(target, failing(fault))
        else:
            patch.setattr(target, name, failing(fault))
        acts: list[Callable[[], object]] = [
            lambda: validate(cache, recompute=0, clear=True),
            lambda: SigmaCache(cache).read(KEY),
        ]
        for act in acts:
            with pytest.raises(type(fault)) as caught:
                act()
            assert not isinstance(caught.value, DamagedError)
            assert "damage" not in str(caught.value)
    assert contents(cache) == before
    np.testing.assert_array_equal(SigmaCache(cache).read(KEY), expected)
    assert validate(cache, recompute=0).findings == []


def test_what_the_decoder_rejects_is_damage(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    error = RuntimeError("error during blosc decompression: -1")
    monkeypatch.setattr(blosc, "decompress", failing(error))
    with pytest.raises(DamagedError, match="error during blosc decompression"):
        SigmaCache(cache).read(KEY)
    assert len(validate(cache, recompute=0).findings) == 24  # every map


@pytest.mark.parametrize("command", [["validate", "--clear"], ["info"], ["run"]])
def test_the_command_line_prints_one_line(
    cache: Path, tiny: TinyData, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    before = contents(cache)
    monkeypatch.setattr(LocalStore, "get", failing(NO_MEMORY))
    words = ["--dataset", str(tiny.toml), "--strides", "1,2,3"] if command == ["run"] else [str(cache)]
    result = CliRunner().invoke(main, [*command, *words])
    assert result.exit_code == 1
    assert result.stderr == (
        "error: not enough memory (Unable to allocate 96 MiB); nothing was changed by that: use fewer threads\n"
    )
    assert contents(cache) == before


def test_a_fault_while_a_shard_is_written_is_an_error_and_removes_nothing(
    cache: Path, tiny: TinyData, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No chunk is deleted because the machine could not read or write it."""
    os.utime(tiny.root / "b/depth/001.npy", (1, 1))
    (tiny.root / "b/camera/001.txt").write_text("41 40 16 12")
    removed: list[str] = []
    with monkeypatch.context() as patch:
        patch.setattr(worker, "encode_map", failing(NO_MEMORY))
        patch.setattr(LocalStore, "delete", lambda store, path: removed.append(path))
        with pytest.raises(MemoryError):
            list(pipeline.run(tiny.job(), execute.serial))
    assert removed == []
    assert len(SigmaCache(cache).keys()) == 8
    list(pipeline.run(tiny.job(), execute.serial))
    assert validate(cache, tiny.source(), full=True).findings == []


def test_a_missing_permission_is_told_with_the_file(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.open

    def fail(path: object, *arguments: object) -> object:
        if str(path).endswith("b/sigma_Z2/c.0.0.0"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return real(path, *arguments)  # type: ignore[call-overload]

    monkeypatch.setattr(os, "open", fail)
    with pytest.raises(CacheError, match=r"b/sigma_Z2/c.0.0.0: cannot be read: Permission denied; fix that and try ag"):
        SigmaCache(cache).read(KEY)
