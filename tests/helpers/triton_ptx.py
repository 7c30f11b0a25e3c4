"""Compile the programs of the Triton engine for an H100, without a GPU; print what each needs, as JSON.

In a process of its own, since Triton compiles or interprets: run with TRITON_INTERPRET=0.
"""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from depthvar.precompute.kernel import triton_kernels as kernels

PTXAS = Path(triton.__path__[0]) / "backends/nvidia/bin/ptxas"
TYPES = {"cameras": "*fp64", "valid": "*u8", "rays": "*fp32", "out": "*fp32"}
TYPES |= dict.fromkeys(("lambda_prior2", "cap2", "max_depth"), "fp32")


def needs(program: Any, depth: str, **constants: Any) -> dict[str, int]:
    """Return registers of a thread, and bytes that do not fit into them."""
    arguments = [name for name in program.arg_names if name not in constants]
    types = {name: {"depth": f"*{depth}"}.get(name, TYPES.get(name, "i32")) for name in arguments}
    types |= {name: "i64" for name in types if name.endswith("frame_step")}  # as in a large batch
    source = ASTSource(program, types, constexprs=constants)
    compiled = triton.compile(source, target=GPUTarget("cuda", 90, 32), options={"num_warps": 4})
    with tempfile.TemporaryDirectory() as folder:
        ptx = Path(folder) / "program.ptx"
        ptx.write_text(compiled.asm["ptx"])
        command = [PTXAS, "-v", "--gpu-name=sm_90a", ptx, "-o", ptx.with_suffix(".cubin")]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    registers, *spilled = (
        int(re.search(rf"(\d+) {what}", said)[1])  # type: ignore[index]
        for what in ("registers", "bytes stack frame", "bytes spill stores", "bytes spill loads")
    )
    return {"registers": registers, "spilled": sum(spilled)}


def main() -> None:
    """Compile every window, with and without components and masks, and all dtypes."""
    tile: dict[str, Any] = {"ROWS": 32, "COLUMNS": 128}
    found = {"rays": needs(kernels.rays, "fp32", BLOCK=256)}
    for depth, masked in (("fp32", False), ("fp16", True)):
        found[f"difference {depth}"] = needs(kernels.difference, depth, MASKED=masked, ROWS=8, COLUMNS=128)
    for window in (3, 5, 7):
        options = {"WINDOW": window, **tile}
        found[f"{window} contiguous"] = needs(
            kernels.spread, "fp32", MASKED=False, COMPONENTS=False, column_step=1, **options
        )
        found[f"{window} components"] = needs(
            kernels.spread, "bf16", MASKED=True, COMPONENTS=True, column_step=1, mask_column_step=1, **options
        )
    found["7 strided"] = needs(kernels.spread, "fp16", MASKED=True, COMPONENTS=False, **options)
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
