"""What is stored of frames at every stride, rounded: frame by frame on the CPU, batch by batch on a device."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from depthvar.datasets.cache.format import EDGE, level_name, level_shape
from depthvar.datasets.errors import DepthVarError
from depthvar.datasets.frame import Frame
from depthvar.precompute.kernel.api import Components, Engine, sigma_z2
from depthvar.precompute.kernel.numba_engine import sigma_z2_frame

from .job import Job
from .summary import Stopwatch

if TYPE_CHECKING:
    from torch import Tensor

Levels = Mapping[str, NDArray[np.float32]]  # array -> (N, ceil(H / stride), ceil(W / stride))


def batch_size(job: Job, frames: int) -> int:
    """Return how many of the frames of a shard are computed at once: all on a device, one on the CPU, in its caches."""
    return 1 if job.engine == "numba" else max(1, frames)


def empty_levels(count: int, size: tuple[int, int], job: Job) -> Levels:
    """Return room for the levels of ``count`` frames of (H, W); in pinned memory where a GPU writes into it."""
    shapes = {name: (count, *level_shape(*size, stride)) for name, stride in job.maps.levels.items()}
    if not job.device.startswith("cuda"):
        return {name: np.empty(shape, np.float32) for name, shape in shapes.items()}
    import torch

    return {name: torch.empty(shape, pin_memory=True).numpy() for name, shape in shapes.items()}


def kept_bits(name: str, keepbits: int) -> int:
    """Return to how many bits of mantissa an array is rounded.

    ``edge`` has one more, since σ² goes with its square: so both roundings count the same in σ² of other parameters.
    """
    return min(keepbits + name.startswith(EDGE), 23)


def compute_levels(frames: Sequence[Frame], job: Job, out: Levels, watch: Stopwatch) -> None:
    """Compute what is stored of frames of one size at every stride into the first maps of ``out``.

    Rounded; ``+inf`` where it is unknown or far.
    """
    if job.engine == "numba":
        for i, frame in enumerate(frames):
            for stride in job.strides:
                _compute_frame(frame, stride, job, {name: out[name][i] for name in _names(stride, job)})
        watch.lap("kernel")
        return
    first = 0
    for max_depth, alike in groupby(frames, key=lambda frame: frame.max_depth):
        batch = list(alike)
        _compute_on_device(
            batch, max_depth, job, {name: maps[first : first + len(batch)] for name, maps in out.items()}, watch
        )
        first += len(batch)
    if job.params.compat is not None:  # the original's value there is no information
        for i, frame in enumerate(frames):
            for stride in job.strides:
                out[level_name(stride)][i][~frame.valid[::stride, ::stride]] = np.inf


def _names(stride: int, job: Job) -> list[str]:
    """Return the arrays that the kernel fills at a stride: σ², then what is kept with it."""
    return [level_name(stride), *(level_name(stride, quantity) for quantity in job.keep)]


def _compute_frame(frame: Frame, stride: int, job: Job, out: Levels) -> None:
    depth = np.ascontiguousarray(frame.depth[::stride, ::stride])
    camera = frame.intrinsics / stride  # exact: pixel centres are integers
    if EDGE not in job.keep:
        sigma_z2_frame(depth, camera, job.params, frame.max_depth, out=out[level_name(stride)])
    else:
        found = np.empty((len(Components._fields), *depth.shape), np.float32)
        components = Components(*sigma_z2_frame(depth, camera, job.params, frame.max_depth, out=found))
        out[level_name(stride)][...] = components.sigma_z2
        out[level_name(stride, EDGE)][...] = components.edge
    for name, values in out.items():
        round_mantissas(values.view(np.int32), kept_bits(name, job.keepbits))


def _compute_on_device(frames: list[Frame], max_depth: float | None, job: Job, out: Levels, watch: Stopwatch) -> None:
    """Compute by Triton or torch: one copy of the depth, one call of the kernel per stride, one copy back each.

    Each thread has a stream of its own, so that the copies of one shard overlap with the kernel of another. Where the
    memory of the device does not suffice, the batch is halved.
    """
    import torch

    is_gpu = job.device.startswith("cuda")
    depth = torch.empty((len(frames), *frames[0].depth.shape), pin_memory=is_gpu)
    for i, frame in enumerate(frames):
        depth[i] = torch.from_numpy(frame.depth)
    cameras = torch.from_numpy(np.stack([frame.intrinsics for frame in frames]))
    watch.lap("copy")
    size, first = len(frames), 0
    stream = torch.cuda.Stream(job.device) if is_gpu else None  # type: ignore[no-untyped-call]
    with torch.cuda.stream(stream):
        while first < len(frames):
            part = slice(first, first + size)
            try:
                _launch(
                    depth[part], cameras[part], max_depth, job, {name: maps[part] for name, maps in out.items()}, watch
                )
            except torch.cuda.OutOfMemoryError as error:
                if size == 1:
                    height, width = depth.shape[1:]
                    raise DepthVarError(
                        f"device {job.device}: no memory for one frame of {height}×{width}; free some, use fewer "
                        "--threads, or leave out --device"
                    ) from error
                size = -(-size // 2)
                torch.cuda.empty_cache()
            else:
                first += size


def _launch(
    depth: "Tensor", cameras: "Tensor", max_depth: float | None, job: Job, out: Levels, watch: Stopwatch
) -> None:
    import torch

    def wait(stage: str) -> None:
        if job.device.startswith("cuda"):
            torch.cuda.current_stream(job.device).synchronize()
        watch.lap(stage)

    depth, cameras = (values.to(job.device, non_blocking=True) for values in (depth, cameras))
    wait("copy")
    engine = cast(Engine, job.engine.partition("-")[0])  # the one that the cache records
    found: dict[str, Tensor] = {}
    for stride in job.strides:
        level, camera = depth[:, ::stride, ::stride], cameras / stride
        if EDGE not in job.keep:
            maps = [sigma_z2(level, camera, job.params, max_depth=max_depth, engine=engine)]
        else:
            components = sigma_z2(level, camera, job.params, max_depth=max_depth, return_components=True, engine=engine)
            maps = [components.sigma_z2, components.edge]
        found |= zip(_names(stride, job), maps, strict=True)
    for name, values in found.items():
        round_mantissas(values.view(torch.int32), kept_bits(name, job.keepbits))
    wait("kernel")
    for name, stored in out.items():
        torch.from_numpy(stored).copy_(found[name], non_blocking=True)
    wait("copy")


def round_mantissas(bits: "NDArray[np.int32] | Tensor", keepbits: int) -> None:
    """Round float32 numbers in place to ``keepbits`` bits of mantissa, ties to even.

    To the bit what numcodecs' BitRound returns.

    Args:
        bits: the numbers, viewed as int32; an array (H, W), C contiguous, or a tensor.
        keepbits: 1 to 23.
    """
    dropped = 23 - keepbits
    if dropped and isinstance(bits, np.ndarray):
        from .passes import round_bits

        round_bits(bits, dropped)
    elif dropped:
        bits += (bits >> dropped & 1) + ((1 << dropped - 1) - 1)
        bits &= -(1 << dropped)
