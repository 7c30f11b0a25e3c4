"""Speed and memory of the kernel's engines on real frames; prints one JSON object.

    python benchmarks/kernel.py [--repeats 12]
    python benchmarks/kernel.py --device cuda [--batch 64]

Without ``--device`` every engine gets a frame of 640×480 at a time, with its mask, on one core, and every call gets
newly allocated input and output. With it a batch of frames is on the device, without masks: a share of the time of a
copy is one of the memory's bandwidth. The baseline is what one would write first: ``unfold`` and ``sort``.
"""

import argparse
import json
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import kernel_device
import numpy as np
import torch
from baseline import unfold_sort_sigma_z2
from machine import machine, median_seconds
from numpy.typing import NDArray
from PIL import Image
from torch_memory import PeakBytes

from depthvar.precompute import KernelParams, sigma_z2
from depthvar.precompute.kernel.numba_engine import sigma_z2_frame, warm_up

ROOT = Path(__file__).resolve().parents[1]
FRAMES = sorted((ROOT / "tests" / "data" / "redwood_rgbd" / "depth").glob("*.png"))
CAMERA = (525.0, 525.0, 319.5, 239.5)
VIEW = 224


def load(path: Path) -> NDArray[np.float32]:
    with Image.open(path) as image:
        return np.asarray(image).astype(np.float32) / np.float32(1000)


def engines(params: KernelParams) -> dict[str, Callable[[NDArray[np.float32], NDArray[np.bool_]], Any]]:
    camera = np.array(CAMERA)
    return {
        "numba": lambda z, m: sigma_z2_frame(z, camera, params, valid=m),
        "torch": lambda z, m: sigma_z2(torch.from_numpy(z), camera, params, torch.from_numpy(m)),
        "unfold_sort": lambda z, m: unfold_sort_sigma_z2(z, camera, params, m),
    }


def speed(frames: list[NDArray[np.float32]], params: KernelParams, repeats: int) -> dict[str, Any]:
    """Return the median pixels per second of each engine, each call on a fresh copy of a frame."""
    result: dict[str, Any] = {}
    copies = [(z.copy(), z > 0) for i in range(repeats + 1) for z in (frames[i % len(frames)],)]
    expected = sigma_z2(frames[0], CAMERA, params)
    for name, engine in engines(params).items():
        np.testing.assert_allclose(np.asarray(engine(frames[0], frames[0] > 0)), expected, rtol=1e-3)
        given = iter(copies)
        seconds = median_seconds(lambda engine=engine, given=given: engine(*next(given)), repeats)
        result[name] = {"ms": seconds * 1e3, "megapixels_per_s": frames[0].size / seconds / 1e6}
    for name in ("numba", "torch"):
        result[name]["times_unfold_sort"] = result["unfold_sort"]["ms"] / result[name]["ms"]
    return result


def tensor_memory(frame: NDArray[np.float32], params: KernelParams) -> dict[str, float]:
    """Return the peak of what each torch implementation allocates, its result included, in depth maps."""
    z, mask = torch.from_numpy(frame), torch.from_numpy(frame > 0)
    peaks = {}
    for name, call in {
        "torch": lambda: sigma_z2(z, CAMERA, params, mask),
        "unfold_sort": lambda: unfold_sort_sigma_z2(frame, np.array(CAMERA), params, frame > 0),
    }.items():
        with PeakBytes(z, mask) as memory:
            call()
        peaks[name] = memory.peak / z.nbytes
    return peaks


def numba_memory(params: KernelParams) -> float | None:
    """Return what the CPU engine adds to the process's peak, in depth maps of 4096×4096, its result left out."""
    status = Path("/proc/self/status")
    if not status.exists():
        return None
    side = 4096
    depth, out = np.full((side, side), 2, np.float32), np.ones((side, side), np.float32)
    mask = np.ones((side, side), bool)
    warm_up()

    def peak() -> int:
        return next(int(line.split()[1]) * 1024 for line in status.read_text().splitlines() if "VmHWM" in line)

    before = peak()
    sigma_z2_frame(depth, np.array(CAMERA), params, valid=mask, out=out)
    return (peak() - before) / depth.nbytes


def in_fresh_process(function: Callable[..., Any], *arguments: Any) -> Any:
    """Run a function where no memory that was used before can be used again."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=12, help="fresh allocations per engine")
    parser.add_argument("--device", help="cuda; or cpu, for torch and for Triton's interpreter (TRITON_INTERPRET=1)")
    parser.add_argument("--batch", type=int, default=64, help="frames on the device")
    parser.add_argument("--rows", type=int, help="only the first rows and columns of each, for a test")
    given = parser.parse_args()
    repeats = given.repeats
    frames = [load(path)[: given.rows, : given.rows] for path in FRAMES]
    if given.device:
        print(json.dumps(kernel_device.report(frames, CAMERA, given.device, given.batch, repeats), indent=2))
        return
    torch.set_num_threads(1)
    warm_up()
    report: dict[str, Any] = {
        "benchmark": "kernel",
        "machine": machine(),
        "frames": {"source": "redwood_rgbd", "shape": frames[0].shape, "unknown": float(np.mean(frames[0] == 0))},
        "repeats": repeats,
        "windows": {},
    }
    for window in (3, 5, 7):
        params = KernelParams(window=window)
        report["windows"][window] = speed(frames, params, repeats)
        report["windows"][window]["peak_extra_maps"] = {
            "numba": in_fresh_process(numba_memory, params), **tensor_memory(frames[0], params)
        }  # fmt: skip
    view = np.ascontiguousarray(frames[0][128 : 128 + VIEW, 208 : 208 + VIEW])
    camera = np.array([[525, 0, 111.5], [0, 525, 111.5], [0, 0, 1]])
    mask = view > 0  # a loader has it already
    seconds = median_seconds(lambda: sigma_z2(view, camera, valid=mask), 50 * repeats)
    report["view"] = {"shape": view.shape, "ms": seconds * 1e3}
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
