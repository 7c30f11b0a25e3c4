"""Speed and memory of what computes σ² on a device, for a batch of frames (``kernel.py --device`` calls it).

Pixels are those of the full frames, also where all strides are computed. ``ms`` is the time of a call from Python,
``graph_ms`` that of the same call in a CUDA graph: what the device needs. ``of_a_copy`` is the time of a copy of the
depth on this device in this run as a part of that. Memory is in maps of the batch, the result included.
"""

import importlib
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from baseline import unfold_sort
from machine import machine
from torch import Tensor
from torch_memory import PeakBytes

from depthvar.precompute import Difference, KernelParams, sigma_z2

STRIDES = (1, 2, 3, 4, 6, 8)
LONG = 2.0  # seconds that one figure may take
AT_ONCE = 8  # frames that unfold+sort has memory for


def report(frames: list[Any], camera: tuple[float, ...], device: str, batch: int, repeats: int) -> dict[str, Any]:
    """Return the figures of a batch of frames (H, W), repeated as often as needed."""
    z = torch.from_numpy(np.stack([frames[i % len(frames)] for i in range(batch)])).to(device)
    k = torch.tensor(camera, device=device)
    copy = torch.empty_like(z)
    copied = median_seconds(in_graph(lambda: copy.copy_(z), z), z.device, repeats)
    found: dict[str, Any] = {
        "benchmark": "kernel on a device",
        "machine": machine(device),
        "batch": list(z.shape),
        "repeats": repeats,
        "copy_gigabytes_per_s": 2 * z.nbytes / copied / 1e9,
        "estimators": {},
    }
    for name, params in estimators().items():
        want = sigma_z2(z, k, params, engine="torch")
        found["estimators"][name] = {
            way: row(call, z, want, copied, repeats) for way, call in ways(z, k, camera, params).items()
        }
    return found


def estimators() -> dict[str, Any]:
    """Return what is measured: the range with every window, and the difference."""
    return {f"range, window {window}": KernelParams(window=window) for window in (3, 5, 7)} | {
        "difference": Difference()
    }


def ways(z: Tensor, k: Tensor, camera: tuple[float, ...], params: Any) -> dict[str, Callable[[], Any]]:
    """Return all that computes σ², or for other libraries the two quantiles of it, on the device of z."""
    engine = "depthvar.precompute.kernel.triton_engine"
    found: dict[str, Callable[[], Any]] = {
        "triton": lambda: sigma_z2(z, k, params, engine="triton"),
        "triton, all strides": lambda: importlib.import_module(engine).sigma_z2_strides(z, k, STRIDES, params),
        "torch": lambda: sigma_z2(z, k, params, engine="torch"),
    }
    if isinstance(params, KernelParams):
        found["unfold_sort"] = lambda: torch.cat([unfold_sort(some, camera, params) for some in z.split(AT_ONCE)])
        found |= other_libraries(z, params.window) if z.is_cuda else {}
    return found


def other_libraries(z: Tensor, window: int) -> dict[str, Callable[[], Any]]:
    """Return the range of depth, without rays and masks, by CuPy and cuCIM, which need not be installed.

    cuCIM has it for integers only, so it gets millimetres.
    """
    millimetres = (z * 1000).to(torch.uint16)

    def cupyx() -> None:
        ndimage, images = importlib.import_module("cupyx.scipy.ndimage"), importlib.import_module("cupy").from_dlpack(z)
        for percentile in (5, 95):
            ndimage.percentile_filter(images, percentile, size=(1, window, window))

    def cucim() -> None:
        cupy, rank = importlib.import_module("cupy"), importlib.import_module("cucim.skimage.filters.rank")
        for image in cupy.from_dlpack(millimetres):
            rank.gradient_percentile(image, cupy.ones((window, window), bool), p0=0.05, p1=0.95)

    return {"cupyx percentile_filter, twice": cupyx, "cucim rank.gradient_percentile": cucim}


def row(call: Callable[[], Any], z: Tensor, want: Tensor, copied: float, repeats: int) -> dict[str, Any]:
    """Return the figures of one way, or why there are none; a way that computes σ² has to agree with ``want``."""
    try:
        got = call()
    except Exception as error:  # of any library: not installed, no such function, no memory
        return {"not_measured": f"{type(error).__name__}: {error}".partition("\n")[0]}
    if isinstance(got, Tensor):
        torch.testing.assert_close(got, want, rtol=1e-3, atol=0)
    called = seconds = median_seconds(call, z.device, repeats)
    graph = {}
    if isinstance(got, (Tensor, list)) and z.is_cuda:
        seconds = median_seconds(in_graph(call, z), z.device, repeats)
        graph = {"graph_ms": seconds * 1e3}
    return {
        "ms": called * 1e3,
        **graph,
        "megapixels_per_s": z.numel() / seconds / 1e6,
        "of_a_copy": copied / seconds,
        "peak_extra_maps": peak_bytes(call, z) / z.nbytes,
    }


def in_graph(call: Callable[[], Any], z: Tensor) -> Callable[[], Any]:
    """Return what replays a call as a CUDA graph; the call itself where z is on no GPU."""
    if not z.is_cuda:
        return call
    call()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        kept = call()

    def replay(kept: Any = kept) -> None:
        graph.replay()

    return replay


def median_seconds(call: Callable[[], Any], device: torch.device, repeats: int) -> float:
    """Return the median time of a call, on a GPU between events of its stream, after two that are not timed.

    Slow calls are repeated less often.
    """
    seconds: list[float] = []
    while len(seconds) < 3 or (len(seconds) < repeats + 2 and sum(seconds) < LONG):
        if device.type == "cuda":
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            call()
            end.record()
            end.synchronize()
            seconds.append(start.elapsed_time(end) / 1e3)
        else:
            began = time.perf_counter()
            call()
            seconds.append(time.perf_counter() - began)
    return statistics.median(seconds[2:])


def peak_bytes(call: Callable[[], Any], z: Tensor) -> int:
    """Return the most that a call's tensors, its result included, take at once."""
    if not z.is_cuda:
        with PeakBytes(z) as memory:
            call()
        return memory.peak
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    call()
    return torch.cuda.max_memory_allocated() - before
