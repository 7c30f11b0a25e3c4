"""Read every array of a cache with another reader: python read.py READER CACHE OUT PATH...

Writes the values to OUT (npz, by path), and prints shapes, dtypes and dimension names as JSON.
"""

import json
import sys
from typing import Any

import numpy as np


def by_tensorstore(cache: str, path: str) -> tuple[Any, list[str]]:
    import tensorstore

    array = tensorstore.open({"driver": "zarr3", "kvstore": {"driver": "file", "path": f"{cache}/{path}"}}).result()
    return array.read().result(), list(array.domain.labels)


def by_zarrs(cache: str, path: str) -> tuple[Any, list[str]]:
    import zarr

    zarr.config.set({"codec_pipeline.path": "zarrs.ZarrsCodecPipeline"})
    array = zarr.open_array(cache, path=path, mode="r")
    pipeline = type(array._async_array.codec_pipeline).__name__
    if pipeline != "ZarrsCodecPipeline":
        raise SystemExit(f"expected zarrs' pipeline, got {pipeline}")
    return array[:], list(array.metadata.dimension_names)


def by_xarray(cache: str, path: str) -> tuple[Any, list[str]]:
    import xarray

    group, _, name = path.rpartition("/")
    array = xarray.open_zarr(cache, group=group, consolidated=False, chunks=None)[name]
    return array.values, list(array.dims)


def main() -> None:
    reader, cache, out, *paths = sys.argv[1:]
    read = {"tensorstore": by_tensorstore, "zarrs": by_zarrs, "xarray": by_xarray}[reader]
    found = {path: read(cache, path) for path in paths}
    np.savez(out, **{path: values for path, (values, _) in found.items()})
    print(json.dumps({path: names for path, (_, names) in found.items()}))


if __name__ == "__main__":
    main()
