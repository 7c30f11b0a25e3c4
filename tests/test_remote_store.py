"""A cache behind a URL: what fsspec reaches, also by file systems whose clients are bound to one event loop."""

import asyncio
import re
from typing import Any, ClassVar

import fsspec
import numpy as np
import pytest
from fsspec.asyn import AsyncFileSystem
from tiny_data import TinyData, make_depth

from depthvar.datasets.cache.sigma_cache import SigmaCache
from depthvar.datasets.cache.store import open_store
from depthvar.datasets.errors import CacheError
from depthvar.precompute import KernelParams
from depthvar.precompute.pipeline import execute
from depthvar.precompute.pipeline import run as pipeline
from depthvar.precompute.validation.validate import validate


class OneLoop(AsyncFileSystem):  # type: ignore[misc]
    """Objects in memory. As with s3fs, whose session belongs to the loop that made it, another loop is an error."""

    protocol = "oneloop"
    objects: ClassVar[dict[str, bytes]] = {}
    loops: ClassVar[set[int]] = set()

    def _check_loop(self) -> None:
        self.loops.add(id(asyncio.get_running_loop()))
        if len(self.loops) > 1:
            raise RuntimeError("attached to a different loop")

    async def _cat_file(self, path: str, start: int | None = None, end: int | None = None, **_: Any) -> bytes:
        self._check_loop()
        if path not in self.objects:
            raise FileNotFoundError(path)
        return self.objects[path][start:end]

    async def _pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **_: Any) -> None:
        self._check_loop()
        if mode == "create" and path in self.objects:
            raise FileExistsError(path)
        self.objects[path] = bytes(value)

    async def _rm_file(self, path: str, **_: Any) -> None:
        self._check_loop()
        if self.objects.pop(path, None) is None:
            raise FileNotFoundError(path)

    async def _info(self, path: str, **_: Any) -> dict[str, Any]:
        self._check_loop()
        if path in self.objects:
            return {"name": path, "type": "file", "size": len(self.objects[path])}
        if any(name.startswith(f"{path}/") for name in self.objects):
            return {"name": path, "type": "directory", "size": 0}
        raise FileNotFoundError(path)

    async def _ls(self, path: str, detail: bool = True, **_: Any) -> list[Any]:
        self._check_loop()
        inside = {name[len(path) + 1 :].split("/")[0] for name in self.objects if name.startswith(f"{path}/")}
        if not inside:
            raise FileNotFoundError(path)
        found = [await self._info(f"{path}/{name}") for name in sorted(inside)]
        return found if detail else [each["name"] for each in found]


@pytest.fixture(params=["oneloop", "memory"])
def url(request: pytest.FixtureRequest, tiny: TinyData) -> str:
    fsspec.register_implementation("oneloop", OneLoop, clobber=True)
    OneLoop.objects.clear()
    OneLoop.loops.clear()
    return f"{request.param}://bucket/{tiny.root.parent.name}/sigma_Z2.zarr"


def test_a_cache_is_written_read_grown_pruned_checked_and_overwritten(url: str, tiny: TinyData) -> None:
    tiny.shard_frames = 2
    local = tiny.job()
    for job in (local, tiny.job(cache=url)):
        list(pipeline.run(job, execute.in_threads(2)))
    remote, here = SigmaCache(url, root=tiny.root), SigmaCache(local.cache)
    assert remote.keys() == here.keys()
    for key in here.keys():
        np.testing.assert_array_equal(remote.read(tiny.root / key, 2), here.read(key, 2))
        np.testing.assert_array_equal(
            remote.sample(key, (20, 20, 8, 6), (12, 16)), here.sample(key, (20, 20, 8, 6), (12, 16))
        )
    assert next(iter(pipeline.run(tiny.job(cache=url), execute.serial))).compute == 0  # type: ignore[union-attr]
    added = tiny.write("b", "009", make_depth(24, 32, 9))
    (tiny.root / "a/P0/depth/001.npy").unlink()
    list(pipeline.run(tiny.job(cache=url), execute.in_threads(2), prune=True))
    assert remote.read(added).shape == (24, 32)
    report = validate(url, tiny.source(), full=True)
    assert (report.frames, report.findings, report.warnings) == (8, [], [])
    list(pipeline.run(tiny.job(cache=url, params=KernelParams(window=3)), execute.serial, overwrite=True))
    assert SigmaCache(url).params["window"] == 3
    assert validate(url, tiny.root, full=True).findings == []


def test_a_damaged_chunk_is_found_cleared_and_computed_again(url: str, tiny: TinyData) -> None:
    list(pipeline.run(tiny.job(cache=url), execute.serial))
    fs, root = fsspec.core.url_to_fs(url)
    path = f"{root}/b/sigma_Z2/c.0.0.0"
    content = bytearray(fs.cat_file(path))
    content[20] ^= 1
    fs.pipe_file(path, bytes(content))
    with pytest.raises(CacheError, match="CRC32C does not match"):
        SigmaCache(url).read("b/depth/000.npy")
    assert len(validate(url, tiny.root, clear=True).findings) == 1
    list(pipeline.run(tiny.job(cache=url), execute.serial))
    assert validate(url, tiny.root, full=True).findings == []


def test_a_fault_of_the_server_is_one_line_with_the_object_and_no_damage(
    url: str, tiny: TinyData, monkeypatch: pytest.MonkeyPatch
) -> None:
    list(pipeline.run(tiny.job(cache=url), execute.serial))
    fs, _ = fsspec.core.url_to_fs(url, use_listings_cache=False)  # the one that the product uses

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("503\nslow down")

    monkeypatch.setattr(fs, "cat_file", fail)
    with pytest.raises(
        CacheError, match=r"sigma_Z2\.zarr/zarr\.json: cannot be read: 503 slow down; fix that"
    ) as caught:
        SigmaCache(url).keys()
    assert "damage" not in str(caught.value)


def test_a_url_that_nothing_opens_is_one_line() -> None:
    with pytest.raises(CacheError, match=r"nosuch://\*\*\*@bucket/x: expected a folder or a URL that fsspec opens"):
        SigmaCache("nosuch://user:secret@bucket/x").keys()


@pytest.mark.parametrize(
    ("url", "shown", "variable"),
    [
        ("s3://AKIAEXAMPLE:se/cret@bucket/c", "s3://***@bucket/c", "AWS_ACCESS_KEY_ID"),
        ("gs://AKIAEXAMPLE:se/cret@bucket/c", "gs://***@bucket/c", "GOOGLE_APPLICATION_CREDENTIALS"),
        ("az://AKIAEXAMPLE:se/cret@bucket/c", "az://***@bucket/c", "AZURE_STORAGE_CONNECTION_STRING"),
        ("az://bucket/c?sv=2026&sig=s%2Fecret", "az://bucket/c?***", "AZURE_STORAGE_CONNECTION_STRING"),
    ],
)
def test_credentials_in_the_url_of_a_bucket_are_refused(url: str, shown: str, variable: str) -> None:
    message = f"{shown}: expected a bucket, got credentials next to it; give them by {variable}"
    with pytest.raises(CacheError, match=f"^{re.escape(message)}"):
        open_store(url)
