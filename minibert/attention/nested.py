"""Attention on torch's nested ("jagged") tensors: without padding, in any precision, and with dropout.

A nested tensor is a packed matrix that knows where each row ends, so `scaled_dot_product_attention` gives it the same
fused kernels as a rectangle: on CUDA flash attention in bfloat16 and float16, memory-efficient attention in float32.
On the CPU, and in float64, torch takes the rows apart and multiplies plain matrices: exact, and slow.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..packing import Layout


def nested_attention(
    query: Tensor, key: Tensor, value: Tensor, queries: Layout, keys: Layout, dropout: float = 0.0
) -> tuple[Tensor, None]:
    """The same function as `eager_attention`; each of query, key and value is copied once, to lie in one piece."""
    if not query.numel():
        return query, None  # nobody asks, which torch takes for a mistake
    rows = _rows(query, queries), _rows(key, keys), _rows(value, keys)
    context = F.scaled_dot_product_attention(*rows, dropout_p=dropout)
    # (batch, heads, any length, head_dim) -> (batch, any length, heads, head_dim) -> (queries, heads, head_dim)
    return context.transpose(1, 2).values(), None


def _rows(packed: Tensor, layout: Layout) -> Tensor:
    """(tokens, heads, head_dim) -> (batch, heads, any length, head_dim)

    The lengths' bounds are told, so that nobody waits for the GPU to find them. That 1 may not be the shortest does no
    harm: torch only asks whether it is 0, since its kernels once could not read empty rows.
    """
    rows = torch.nested.nested_tensor_from_jagged(packed.contiguous(), layout.ends, min_seqlen=1, max_seqlen=layout.seq)
    return rows.transpose(1, 2)  # (batch, any length, heads, head_dim) -> (batch, heads, any length, head_dim)
