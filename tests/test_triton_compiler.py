"""The hand-written kernels before Triton's real compiler, for GPUs that need not be there.

The other tests run them in Triton's interpreter, which takes much that a GPU does not. How fast they are cannot be
learnt here.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

pytest.importorskip("triton.backends.nvidia", reason="Triton's compiler for NVIDIA GPUs is not installed")
pytest.importorskip("triton", minversion="3.3", reason="older versions of Triton are asked in another way")

# The GPUs of compute capability 8.9 have the least shared memory of all that the kernels run on, with those of 8.6.
SHARED_MEMORY = {89: 99 * 1024, 90: 227 * 1024}
MATRIX_UNITS = {89: "mma.sync", 90: "wgmma.mma_async"}
SPILLED = 64  # bytes of a thread that may lie in memory because there is no register left for them


slow = partial(pytest.param, marks=pytest.mark.slow)


@pytest.mark.parametrize("capability", [90, slow(89)])
@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
@pytest.mark.parametrize("head_dim", [64, slow(16), slow(32), slow(40), slow(128)])
def test_kernels_compile_and_fit_into_registers_and_shared_memory(
    capability: int, dtype: str, head_dim: int, tmp_path: Path
):
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment |= {"TRITON_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(Path(__file__).parents[1])}
    words = [sys.executable, str(Path(__file__).with_name("compile_kernels.py")), str(capability), dtype, str(head_dim)]
    run = subprocess.run(words, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    kernels = [json.loads(line) for line in run.stdout.splitlines()]
    assert len(kernels) == 6  # three, with dropout and without
    for kernel in kernels:
        assert kernel["shared"] <= SHARED_MEMORY[capability], kernel
        assert kernel["spilled"] <= SPILLED, kernel
        # Products of float32 are not rounded to what matrix units take.
        assert kernel["matrix_units"] == ([MATRIX_UNITS[capability]] if dtype == "bfloat16" else []), kernel
