"""A cache in an object store on loopback against the local disk: requests of a run and of a sample, samples a second.

    python benchmarks/object_store.py [--server seaweedfs] [--milliseconds 20]
    python benchmarks/object_store.py --data         for runs that read their depth from the store

Writes JSON to stdout. The server is moto's by default; a delay before each request stands for a network.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from latency import far_away
from torch.utils.data import DataLoader, Dataset

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "helpers"))
import object_servers
from tiny_data import TinyData, make_depth

from depthvar.datasets import SigmaCache, open_source
from depthvar.precompute.pipeline import execute
from depthvar.precompute.pipeline import run as pipeline

FRAMES, SHARD, SIZE, VIEW = 128, 16, (480, 640), 224
EPOCHS = 3


class Views(Dataset[Any]):
    """Views of 224×224 at 1.45 native pixels a pixel (two strides), or at 2 (one)."""

    def __init__(self, cache: SigmaCache, keys: list[str], scale: float) -> None:
        self.cache, self.keys, self.scale = cache, keys, scale

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, index: int) -> Any:
        focal, centre = 500 / self.scale, (VIEW - 1) / 2
        return self.cache.sample(self.keys[index], [focal, focal, centre, centre], (VIEW, VIEW))


def rates(path: str, workers: int, scale: float, read_cache: Path | None = None) -> list[float]:
    """Return the samples a second of each epoch, the first one with what a worker reads once, and a cold read cache."""
    cache = SigmaCache(path, read_cache=read_cache)
    loader = DataLoader(
        Views(cache, cache.keys(), scale),
        batch_size=8,
        num_workers=workers,
        persistent_workers=workers > 0,
        shuffle=True,
    )
    found = []
    for _ in range(EPOCHS):
        began = time.perf_counter()
        count = sum(len(batch) for batch in loader)
        found.append(round(count / (time.perf_counter() - began), 1))
    return found


def from_store(data: TinyData, port: int, proxy: object_servers.Proxy) -> dict[str, Any]:
    """Return the rates of runs that read depth from the disk and from the store, and the requests of the latter."""
    import s3fs

    os.environ |= object_servers.environment(port)
    url, fs = "s3://bucket/data", s3fs.S3FileSystem()
    for path in data.root.rglob("room/*/*.*"):
        fs.pipe_file(f"{url}/{path.relative_to(data.root)}", path.read_bytes())
    seconds: dict[str, list[float]] = {}
    for _ in range(3):
        for name, root, threads in (("disk", data.root, 2), ("store", url, 2), ("store, 8 threads", url, 8)):
            job = data.job(source=open_source(str(data.toml), root), cache=str(data.root / "x.zarr"))
            began = time.perf_counter()
            list(pipeline.run(job, execute.in_threads(threads), overwrite=True))
            seconds.setdefault(name, []).append(time.perf_counter() - began)
    s3fs.S3FileSystem.clear_instance_cache()
    os.environ |= object_servers.environment(proxy.port)
    requests = {}
    for name in ("first run", "nothing to do"):
        proxy.seen.clear()
        job = data.job(source=open_source(str(data.toml), url), cache=str(data.root / "counted.zarr"))
        list(pipeline.run(job, execute.serial))
        lists = sum("list-type" in path for _, path, _ in proxy.seen)
        requests[name] = {"lists": lists, "objects_read": len(proxy.seen) - lists}
    rates = {name: round(FRAMES / statistics.median(each), 1) for name, each in seconds.items()}
    return {"frames_per_second_reading_from": rates, "requests": requests}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--server", choices=["moto", "seaweedfs"], default="moto")
    parser.add_argument("--milliseconds", type=float, default=0)
    parser.add_argument("--data", action="store_true", help="the depth is in the store, not the cache")
    options = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        (folder / "server").mkdir()
        data = TinyData(folder / "data", SHARD)
        for index in range(FRAMES):
            data.write("room", f"{index:04}", make_depth(*SIZE, index), fx=500)
        for path in data.root.rglob("*.*"):
            os.utime(path, (time.time() - 60,) * 2)
        near = stack.enter_context(getattr(object_servers, options.server)(folder / "server"))
        port = stack.enter_context(far_away(near, options.milliseconds / 1000)) if options.milliseconds else near
        proxy = stack.enter_context(object_servers.Proxy(near))
        result: dict[str, Any] = vars(options) | {"frames": FRAMES, "shard_frames": SHARD, "size": SIZE}
        if options.data:
            print(json.dumps(result | from_store(data, port, proxy), indent=1))
            return
        seconds: dict[str, list[float]] = {"disk": [], "store": []}
        for repeat in range(3):
            for name, cache in (("disk", data.job().cache), ("store", f"s3://bucket/{repeat}/x.zarr")):
                os.environ |= object_servers.environment(port)
                began = time.perf_counter()
                list(pipeline.run(data.job(cache=cache), execute.in_threads(2), overwrite=name == "disk"))
                seconds[name].append(time.perf_counter() - began)
        result["frames_per_second"] = {name: round(FRAMES / statistics.median(s), 1) for name, s in seconds.items()}
        result["loader"] = {
            f"scale {scale}, {workers} workers": {"disk": rates(data.job().cache, workers, scale)}
            | {"store": rates("s3://bucket/0/x.zarr", workers, scale)}
            | {"store, read cache": rates("s3://bucket/0/x.zarr", workers, scale, folder / f"{scale}, {workers}")}
            for scale in (1.45, 2)
            for workers in (0, 2)
        }
        import s3fs

        s3fs.S3FileSystem.clear_instance_cache()
        os.environ |= object_servers.environment(proxy.port)
        list(pipeline.run(data.job(cache="s3://bucket/counted/x.zarr"), execute.serial))
        written = [path for method, path, _ in proxy.seen if method == "PUT" and "/c." in path]
        result["requests"] = {"run": len(proxy.seen), "shards": FRAMES // SHARD, "puts_of_shards": len(written)}
        proxy.seen.clear()
        list(pipeline.run(data.job(cache="s3://bucket/counted/x.zarr"), execute.serial))
        result["requests"]["run_with_nothing_to_do"] = len(proxy.seen)
        for scale in (1.45, 2):
            cache = SigmaCache("s3://bucket/counted/x.zarr")
            views = Views(cache, cache.keys(), scale)
            proxy.seen.clear()
            for epoch in ("first", "later"):
                for index in range(FRAMES):
                    np.asarray(views[index])
                result["requests"][f"per_sample_scale_{scale}_{epoch}"] = round(len(proxy.seen) / FRAMES, 2)
                proxy.seen.clear()
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
