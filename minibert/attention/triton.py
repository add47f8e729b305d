"""Flash attention by hand on a GPU: packed, in bfloat16, float16 or float32, with dropout. This file calls the kernels.

Read `flash_by_hand.py` for the algorithm and `triton_kernels.py` for the GPU programs. Without a GPU they run in
Triton's interpreter, slowly: set TRITON_INTERPRET=1 before Python starts. Their speed is not measured on a GPU yet.
"""

from __future__ import annotations

import importlib.util
import math
import os
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ..errors import InputError
from ..packing import Layout

DTYPES = (torch.bfloat16, torch.float16, torch.float32)
OLDEST_GPU = (8, 0)  # Triton knows no older ones, and their shared memory is too small for the tiles below
WIDEST_HEAD = 128  # the tiles of wider ones do not fit into the shared memory of most GPUs


def triton_attention(
    query: Tensor, key: Tensor, value: Tensor, queries: Layout, keys: Layout, dropout: float = 0.0
) -> tuple[Tensor, None]:
    """The same function as `eager_attention`, in hand-written kernels. Memory grows with the length, not its square.

    Raises `InputError` without Triton, on a CPU without its interpreter, on a GPU older than Ampere, for heads wider
    than 128 and for other dtypes.
    """
    check_installed()
    check_fit(query)
    if query.device.type == "cpu" and query.dtype == torch.bfloat16:
        # Triton's interpreter multiplies the bit patterns of bfloat16 as if they were whole numbers.
        wide, _ = triton_attention(query.float(), key.float(), value.float(), queries, keys, dropout)
        return wide.bfloat16(), None
    # Drawn on the CPU: nothing waits for the GPU, and `torch.manual_seed` decides.
    seed = int(torch.randint(2**62, (), device="cpu")) if dropout else 0
    context: Tensor = _Flash.apply(query, key, value, queries, keys, dropout, seed)  # type: ignore[no-untyped-call]
    return context, None


def check_installed() -> None:
    """Raise `InputError` if Triton is missing. torch's CUDA builds for Linux bring it along."""
    if importlib.util.find_spec("triton") is None:
        raise InputError(
            "attn_implementation='triton' needs Triton, which is not installed: pip install triton (on Linux), or "
            "choose attn_implementation='packed'."
        )


def check_fit(query: Tensor) -> None:
    """Raise `InputError`, saying what to do, if the kernels cannot run for a query like this."""
    if query.device.type != "cuda" and os.environ.get("TRITON_INTERPRET") != "1":
        raise InputError(
            f"attn_implementation='triton' needs a CUDA device: the model is on {query.device}. Choose "
            "attn_implementation='packed'; or, to step through the kernels, slowly, set TRITON_INTERPRET=1 before "
            "Python starts."
        )
    if query.device.type == "cuda" and torch.cuda.get_device_capability(query.device) < OLDEST_GPU:
        raise InputError(
            "attn_implementation='triton' needs a GPU of compute capability 8.0 (Ampere) or newer, as Triton does: "
            f"found {'.'.join(map(str, torch.cuda.get_device_capability(query.device)))}. Choose "
            "attn_implementation='sdpa' for it."
        )
    if query.dtype not in DTYPES:
        raise InputError(
            f"attn_implementation='triton' computes in bfloat16, float16 and float32: found {query.dtype}. Choose "
            "attn_implementation='sdpa' for it."
        )
    if query.shape[2] > WIDEST_HEAD:
        raise InputError(
            f"attn_implementation='triton' takes heads of at most {WIDEST_HEAD} numbers: found {query.shape[2]}. "
            "Choose attn_implementation='sdpa' for them."
        )


class _Flash(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, query: Tensor, key: Tensor, value: Tensor, queries: Layout, keys: Layout, dropout: float, seed: int
    ) -> Tensor:
        from .triton_kernels import forward_kernel

        query, key, value = _dense_heads(query), _dense_heads(key), _dense_heads(value)
        context = torch.empty(query.shape, dtype=query.dtype, device=query.device)
        log_sums = torch.empty(query.shape[:2], dtype=torch.float32, device=query.device)  # -> (queries, heads)
        heads, head_dim = query.shape[1:]
        numbers = heads, 1 / math.sqrt(head_dim), dropout, seed
        constants = _constants(query, queries, keys, dropout)
        tensors = query, key, value, context, log_sums, queries.cu_seqlens, keys.cu_seqlens
        programs = queries.batch * heads, math.ceil(queries.seq / constants["QUERY_TILE"])
        with torch.cuda.device_of(query):
            forward_kernel[programs](*tensors, *_strides(query, key, value, context), *numbers, **constants)
        ctx.save_for_backward(query, key, value, context, log_sums)
        ctx.rest = queries, keys, numbers, constants
        return context

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        from .triton_kernels import key_value_gradient_kernel, query_gradient_kernel

        query, key, value, context, log_sums = ctx.saved_tensors
        queries, keys, numbers, constants = ctx.rest
        gradient = gradients[0].contiguous()
        sums = (context.float() * gradient.float()).sum(dim=2)  # (queries, heads, head_dim) -> (queries, heads)
        query_gradient, key_gradient, value_gradient = (
            torch.empty(tensor.shape, dtype=tensor.dtype, device=tensor.device) for tensor in (query, key, value)
        )
        inputs = query, key, value, gradient, log_sums, sums
        # All gradients lie as context does. `gradient` itself may have any stride along a dimension of size 1.
        rest = queries.cu_seqlens, keys.cu_seqlens, *_strides(query, key, value, context), *numbers
        rows = queries.batch * query.shape[1]
        with torch.cuda.device_of(query):
            programs = rows, math.ceil(queries.seq / constants["QUERY_TILE"])
            query_gradient_kernel[programs](*inputs, query_gradient, *rest, **constants)
            programs = rows, math.ceil(keys.seq / constants["KEY_TILE"])
            key_value_gradient_kernel[programs](*inputs, key_gradient, value_gradient, *rest, **constants)
        return query_gradient, key_gradient, value_gradient, None, None, None, None


def _dense_heads(tensor: Tensor) -> Tensor:
    """Tokens and heads may lie anywhere; the numbers of one head must lie side by side."""
    return tensor if tensor.stride(2) == 1 else tensor.contiguous()


def _strides(*tensors: Tensor) -> list[int]:
    return [tensor.stride(dim) for tensor in tensors for dim in (0, 1)]


def _constants(query: Tensor, queries: Layout, keys: Layout, dropout: float) -> dict[str, Any]:
    """What the kernels are compiled for: the width of heads, and tiles of which two in flight fit in any such GPU."""
    width = _power_of_two(query.shape[2])
    tile = 64 if query.dtype != torch.float32 else 32 if width <= 64 else 16
    return {
        "HEAD_DIM": query.shape[2],
        "WIDTH": width,
        "QUERY_TILE": min(tile, _power_of_two(queries.seq)),  # no tile of 64 for short sentences
        "KEY_TILE": min(tile, _power_of_two(keys.seq)),
        "DROPOUT": dropout > 0,
        "num_stages": 2,
        "num_warps": 8 if width > 64 else 4,  # of 32 threads, for the numbers of a tile to fit into their registers
    }


def _power_of_two(size: int) -> int:
    """At least as large as `size`, and as 16, the least that the matrix units take."""
    return max(16, 1 << (size - 1).bit_length())
