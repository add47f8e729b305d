"""Compile the hand-written kernels for a GPU that need not be there, and tell what became of each, a line of JSON each.

    python tests/compile_kernels.py 90 bfloat16 64

for compute capability 9.0, a dtype and a width of heads. TRITON_INTERPRET must not be set.
"""

from __future__ import annotations

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
from triton.backends.nvidia import compiler
from triton.compiler import ASTSource

from minibert.attention import triton_kernels
from minibert.attention.triton import _constants
from minibert.packing import Layout

KERNELS = triton_kernels.forward_kernel, triton_kernels.query_gradient_kernel, triton_kernels.key_value_gradient_kernel
POINTERS = {"bfloat16": "*bf16", "float16": "*fp16", "float32": "*fp32"}
FIXED = {
    "seed": "i64", "scale": "fp32", "dropout": "fp32", "log_sums": "*fp32", "sums": "*fp32",
    "query_ends": "*i32", "key_ends": "*i32",
}  # fmt: skip
OF_DTYPE = "query", "key", "value", "context", "gradient", "query_gradient", "key_gradient", "value_gradient"


def compile_kernel(kernel: Any, capability: int, dtype: str, head_dim: int, dropout: float) -> dict[str, Any]:
    """As `triton_attention` would have it compiled for long sentences."""
    layout = Layout.from_mask(torch.ones(1, 512))
    constants = _constants(torch.empty(1, 1, head_dim, dtype=getattr(torch, dtype)), layout, layout, dropout)
    options = {name: constants.pop(name) for name in ("num_stages", "num_warps")}
    types = FIXED | dict.fromkeys(OF_DTYPE, POINTERS[dtype]) | dict.fromkeys(constants, "constexpr")
    names = kernel.arg_names
    signature = {name: types.get(name, "i32") for name in names}
    # As at run time, pointers, and strides in numbers, are seen to be multiples of 16.
    even = [
        name
        for name in names
        if signature[name].startswith("*") or (name.endswith(("_token", "_head")) and head_dim % 16 == 0)
    ]
    source = ASTSource(
        kernel,
        signature,
        {(names.index(name),): value for name, value in constants.items()},
        {(names.index(name),): [["tt.divisibility", 16]] for name in even},
    )
    compiled = triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)
    with tempfile.NamedTemporaryFile(suffix=".cubin") as cubin:
        cubin.write(compiled.asm["cubin"])
        cubin.flush()
        tool = Path(compiler.__file__).parent / "bin" / "cuobjdump"
        code = subprocess.run([tool, "-res-usage", "-sass", cubin.name], capture_output=True, text=True, check=True)
    return {
        "kernel": kernel.fn.__name__,
        "dropout": dropout,
        "registers": int(re.findall(r"REG:(\d+)", code.stdout)[0]),
        "spilled": int(re.findall(r"STACK:(\d+)", code.stdout)[0]),  # bytes a thread
        "shared": compiled.metadata.shared,  # bytes a program
        "instructions": len(re.findall(r"^\s+/\*[0-9a-f]{4,}\*/\s+[^/]", code.stdout, re.MULTILINE)),
        "matrix_units": sorted(set(re.findall(r"mma\.sync|wgmma\.mma_async", compiled.asm["ptx"]))),
    }


if __name__ == "__main__":
    for dropout in (0.0, 0.1):
        for kernel in KERNELS:
            print(json.dumps(compile_kernel(kernel, int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), dropout)))
