"""Compile for an H100 what the Triton engine would launch there, without a GPU; print what each needs, as JSON.

In a process of its own, since Triton compiles or interprets: run with TRITON_INTERPRET=0.
"""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.runtime import JITFunction, driver

from depthvar.precompute import Difference, KernelParams
from depthvar.precompute.kernel.triton_engine import sigma_z2_strides

CUOBJDUMP = Path(triton.__path__[0]) / "backends/nvidia/bin/cuobjdump"


class H100:
    """The driver of a GPU that is not there: enough to compile."""

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, device: int) -> int:
        return 0

    def get_current_target(self) -> GPUTarget:
        return GPUTarget("cuda", 90, 32)


launched: list[tuple[str, Any]] = []
launch = JITFunction.run


def compile_only(program: Any, *given: Any, grid: Any, warmup: bool, **options: Any) -> None:
    """Stand in for a launch."""
    compiled = launch(program, *given, grid=grid, warmup=True, **options)
    if all(compiled is not other for _, other in launched):
        launched.append((program.__name__, compiled))


def needs(compiled: Any) -> dict[str, int]:
    """Return registers of a thread, and bytes that do not fit into them."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as binary:
        binary.write(compiled.asm["cubin"])
        binary.flush()
        command = [CUOBJDUMP, "-res-usage", binary.name]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    registers, stack, local = (int(re.search(rf"{what}:(\d+)", said)[1]) for what in ("REG", "STACK", "LOCAL"))  # type: ignore[index]
    return {"registers": registers, "spilled": stack + local}


def main() -> None:
    """Compile every window, with and without components, masks and steps; a frame and a batch, and all dtypes."""
    driver.set_active(H100())
    JITFunction.run = compile_only
    frame, batch = torch.ones(1, 48, 160), torch.ones(3, 48, 160, dtype=torch.bfloat16)
    for params in (Difference(), *(KernelParams(window=window) for window in (3, 5, 7))):
        sigma_z2_strides(frame, torch.full((4,), 50.0), (1,), params)
        sigma_z2_strides(
            batch, torch.full((3, 4), 50.0), (1,), params, batch > 0, components=isinstance(params, KernelParams)
        )
    for quantised in (Difference(0.01), KernelParams(quantisation_step=0.01)):
        sigma_z2_strides(frame, torch.full((4,), 50.0), (1,), quantised)
    sigma_z2_strides(frame.half(), torch.full((4,), 50.0), (2,), KernelParams(window=7), frame > 0)
    json.dump([{"program": name} | needs(compiled) for name, compiled in launched], sys.stdout)


if __name__ == "__main__":
    main()
