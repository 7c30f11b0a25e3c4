"""The read cache: what a reader keeps of an object store on the local disk, and never wrongly."""

import errno
import logging
import multiprocessing
import os
import pickle
import random
import re
import signal
import time
import uuid
from pathlib import Path

import numpy as np
import pytest
import s3fs
from children import Frames
from object_servers import Proxy
from pages import ROOT, blocks
from tiny_data import TinyData
from torch.utils.data import DataLoader

from depthvar.datasets.cache.codec import pack_shard, with_crc
from depthvar.datasets.cache.format import MapLayout
from depthvar.datasets.cache.pinned import PinnedShard
from depthvar.datasets.cache.read_cache import BLOCK, COUNTS, ReadCache
from depthvar.datasets.cache.remote_store import RemoteStore
from depthvar.datasets.cache.sigma_cache import SigmaCache
from depthvar.datasets.cache.store import LocalStore
from depthvar.datasets.errors import CacheError, ParameterError
from depthvar.precompute.pipeline import execute
from depthvar.precompute.pipeline import run as pipeline

VIEW = [40 / 1.45, 40 / 1.45, 10.5, 7.5], (16, 22)  # of a frame of 24×32, between strides 1 and 2


@pytest.fixture
def url(proxy: Proxy, tiny: TinyData) -> str:
    """A cache of the tiny data, behind the proxy."""
    url = f"s3://bucket/{uuid.uuid4().hex}/sigma_Z2.zarr"
    for job in (tiny.job(cache=url), tiny.job()):
        list(pipeline.run(job, execute.serial))
    return url


def held(folder: Path) -> int:
    """Bytes of the entries on the disk, and of what a dead process was writing, in whole blocks."""
    return sum(-(-os.path.getsize(path) // BLOCK) * BLOCK for path in entries(folder))


def entries(folder: Path) -> list[Path]:
    return [path for path in folder.glob("*/*") if path.is_file()]


def maps(reader: SigmaCache, tiny: TinyData) -> None:
    """Every map and a view of every frame are those of the local cache."""
    here = SigmaCache(tiny.job().cache)
    for key in here.keys():
        np.testing.assert_array_equal(reader.read(key), here.read(key))
        np.testing.assert_array_equal(reader.sample(key, *VIEW), here.sample(key, *VIEW))


def of_maps(proxy: Proxy) -> int:
    """Requests for maps; the others read an index, by a range that counts from the end, or bookkeeping."""
    reads = [(path, span) for method, path, span in proxy.seen if method == "GET"]
    return sum(bool(re.search(r"/sigma_Z2(_s\d)?/c\.", path)) and "=-" not in span for path, span in reads)


def test_maps_are_read_once_whatever_process_reads_them_again(
    url: str, proxy: Proxy, tiny: TinyData, tmp_path: Path
) -> None:
    maps(SigmaCache(url, read_cache=tmp_path / "kept"), tiny)
    assert of_maps(proxy) == 16  # two levels of eight frames
    proxy.seen.clear()
    reader = pickle.loads(pickle.dumps(SigmaCache(url, read_cache=tmp_path / "kept")))
    maps(reader, tiny)
    keys = reader.keys() * 3
    here = SigmaCache(tiny.job().cache)
    for way in ("fork", "spawn"):
        loader = DataLoader(Frames(reader, keys), batch_size=None, num_workers=2, multiprocessing_context=way)
        for key, values in zip(keys, loader, strict=True):
            np.testing.assert_array_equal(values.numpy(), here.read(key))
    assert of_maps(proxy) == 0
    assert proxy.seen


def test_the_lines_of_the_documentation(url: str, proxy: Proxy, tiny: TinyData, tmp_path: Path) -> None:
    (code,) = blocks((ROOT / "docs" / "object-stores.md").read_text(), "python")
    names: dict[str, SigmaCache] = {}
    lines = code.replace("s3://bucket/hospital/sigma_Z2.zarr", url).replace("/scratch/sigma", str(tmp_path / "kept"))
    assert url in lines
    assert str(tmp_path) in lines
    exec(lines, names)
    maps(names["cache"], tiny)
    assert entries(tmp_path / "kept")


def test_what_is_damaged_torn_or_gone_is_read_again(url: str, proxy: Proxy, tiny: TinyData, tmp_path: Path) -> None:
    maps(SigmaCache(url, read_cache=tmp_path / "kept"), tiny)
    kept = sorted(entries(tmp_path / "kept"))
    assert len(kept) == 16
    for number, path in enumerate(kept):
        content = path.read_bytes()
        if number % 4 == 0:
            path.write_bytes(content[: len(content) // 2])
        elif number % 4 == 1:
            path.write_bytes(b"")
        elif number % 4 == 2:
            path.write_bytes(content[:20] + bytes([content[20] ^ 1]) + content[21:])
        else:
            path.unlink()
    for requests in (16, 0):
        proxy.seen.clear()
        maps(SigmaCache(url, read_cache=tmp_path / "kept"), tiny)
        assert of_maps(proxy) == requests


def test_a_shard_that_is_written_again_is_read_again(url: str, tiny: TinyData, tmp_path: Path) -> None:
    maps(SigmaCache(url, read_cache=tmp_path / "kept"), tiny)
    tiny.write("a/P0", "001", np.full((24, 32), 3, np.float32))
    for job in (tiny.job(cache=url), tiny.job()):
        list(pipeline.run(job, execute.serial))
    maps(SigmaCache(url, read_cache=tmp_path / "kept"), tiny)


class OneShard(RemoteStore):
    """A server with one object, and its ETag."""

    def __init__(self, content: bytes) -> None:
        self.url, self.content, self.requests = "s3://bucket/x.zarr", content, 0

    def get_tagged(self, path: str, start: int = 0, stop: int | None = None) -> tuple[bytes | None, str | None]:
        self.requests += 1
        return self.content[start:stop], str(hash(self.content))


def test_chunks_of_another_object_at_the_same_place_are_not_mixed_up(tmp_path: Path) -> None:
    layout, cache = MapLayout(24, 32, 2, 1), ReadCache(str(tmp_path), 100 * BLOCK)
    for first in (0, 2, 0):
        chunks = [chunk(first), chunk(first + 1)]
        store = OneShard(pack_shard([chunks[:1], chunks[1:]], layout))
        shard = PinnedShard(store, "c.0.0.0", layout.index_bytes, cache)
        for _ in range(2):  # both chunks at once, and each alone
            assert shard.get(0, 2 * len(chunks[0])) == b"".join(chunks)
            assert shard.get(0, len(chunks[0])) == chunks[0]
            assert shard.get(len(chunks[0]), 2 * len(chunks[0])) == chunks[1]
        assert store.requests <= 2  # the index, and the first time the chunks


def test_a_chunk_that_is_damaged_on_the_server_is_not_kept(
    url: str, proxy: Proxy, tiny: TinyData, tmp_path: Path
) -> None:
    fs = s3fs.S3FileSystem()
    path = f"{url}/b/sigma_Z2/c.0.0.0"
    content = bytearray(fs.cat_file(path))
    content[20] ^= 1
    fs.pipe_file(path, bytes(content))
    for _ in range(2):
        proxy.seen.clear()
        with pytest.raises(CacheError, match="CRC32C does not match"):
            SigmaCache(url, read_cache=tmp_path).read("b/depth/000.npy")
        assert of_maps(proxy) > 0


CHUNK = 3 * BLOCK - 100


def chunk(number: int) -> bytes:
    return with_crc(random.Random(number).randbytes(CHUNK))


def fill(folder: str, limit: int, first: int) -> None:
    cache = ReadCache(folder, limit)
    for number in range(first, first + 100):
        cache.put(chunk(number), number)
        found = cache.get(random.randrange(first, first + 100))
        assert found is None or len(found) == CHUNK + 4


@pytest.mark.parametrize("killed", [False, True])
def test_many_processes_never_hold_more_than_the_limit(tmp_path: Path, killed: bool) -> None:
    limit = 20 * 3 * BLOCK
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=fill, args=(str(tmp_path), limit, 70 * n)) for n in range(4)]
    for process in processes:
        process.start()
    most = 0
    while any(process.is_alive() for process in processes):
        most = max(most, _held_while_written(tmp_path))
        if killed and most > limit // 8:  # soon, before they have ended
            for process in processes[:2]:
                process.kill()
            killed = False
        time.sleep(0.001)
    assert not killed  # it has been done
    assert limit // 2 < held(tmp_path) <= limit
    assert most <= limit
    assert all(process.exitcode in (0, -signal.SIGKILL) for process in processes)
    cache = ReadCache(str(tmp_path), limit)
    found = [number for number in range(400) if (data := cache.get(number)) is not None and data == chunk(number)]
    assert len(found) >= 10


def _held_while_written(folder: Path) -> int:
    """What is held at one moment: the lock of the cache is taken."""
    cache = ReadCache(str(folder), 1)
    with cache._counted():
        return held(folder)


def test_the_oldest_entries_go_first(tmp_path: Path) -> None:
    cache = ReadCache(str(tmp_path), 400 * BLOCK)
    for number in range(2000):
        cache.put(with_crc(bytes([number % 251] * 10)), number)
    kept = [number for number in range(2000) if cache.get(number) is not None]
    assert 300 < len(kept) <= 400
    assert np.mean(kept) > 1500


def test_more_than_the_limit_is_not_kept(tmp_path: Path) -> None:
    cache = ReadCache(str(tmp_path), 2 * BLOCK)
    cache.put(chunk(1), 1)
    assert cache.get(1) is None
    assert entries(tmp_path) == []


@pytest.mark.parametrize("content", [b"", b"x" * 2052, b"\xff" * 3000])
def test_a_damaged_count_is_made_again(tmp_path: Path, content: bytes) -> None:
    limit = 10 * 3 * BLOCK
    cache = ReadCache(str(tmp_path), limit)
    for number in range(8):
        cache.put(chunk(number), number)
    (tmp_path / COUNTS).write_bytes(content)
    for number in range(8, 30):
        cache.put(chunk(number), number)
        assert held(tmp_path) <= limit
    assert cache.get(29) == chunk(29)


def test_a_full_disk_costs_one_warning(
    url: str, tiny: TinyData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    write = os.pwrite

    def full(file: int, data: bytes, offset: int) -> int:
        if len(data) > 2000:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(file, data, offset)

    monkeypatch.setattr(os, "pwrite", full)
    with caplog.at_level(logging.WARNING, "depthvar"):
        maps(SigmaCache(url, read_cache=tmp_path / "kept"), tiny)
    assert [record.getMessage() for record in caplog.records] == [
        "read_cache: [Errno 28] No space left on device; what is not kept there is read from the server each time"
    ]
    assert entries(tmp_path / "kept") == []


def test_a_disk_that_fills_up_while_an_entry_is_written_leaves_none(
    url: str, tiny: TinyData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    reader = SigmaCache(url, read_cache=tmp_path / "kept")
    reader.keys()
    monkeypatch.setattr(os, "replace", full)
    with caplog.at_level(logging.WARNING, "depthvar"):
        maps(reader, tiny)
    assert len(caplog.records) == 1
    assert "No space left on device" in caplog.text
    assert entries(tmp_path / "kept") == []


def test_a_folder_that_cannot_be_is_one_clear_error(url: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    message = rf"^read_cache: {tmp_path}/file/x: cannot be created: Not a directory; name a folder on the local disk"
    with pytest.raises(CacheError, match=message):
        SigmaCache(url, read_cache=tmp_path / "file" / "x").keys()


@pytest.mark.parametrize("path", ["here.zarr", "gs://bucket/x.zarr", "memory://x.zarr"])
def test_a_read_cache_needs_etags(path: str) -> None:
    with pytest.raises(ParameterError, match=rf"^read_cache: expected a cache at s3://…, .* got {path}; leave it out"):
        SigmaCache(path, read_cache="/scratch")


@pytest.mark.parametrize("size", [0, -1, float("nan"), float("inf"), "10", True])
def test_a_size_is_a_number_above_0(size: object) -> None:
    with pytest.raises(ParameterError, match=r"^read_cache_gb: expected gigabytes, above 0, got"):
        SigmaCache("s3://bucket/x.zarr", read_cache="/scratch", read_cache_gb=size)  # type: ignore[arg-type]


def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    cache = ReadCache(str(tmp_path / "kept"), 100 * BLOCK)
    (tmp_path / "elsewhere").mkdir()
    for number in range(256):
        (tmp_path / "kept" / f"{number:02x}").symlink_to(tmp_path / "elsewhere")
    cache.put(chunk(1), 1)
    assert list((tmp_path / "elsewhere").iterdir()) == []
    assert list(LocalStore(str(tmp_path / "elsewhere")).list()) == []
