"""PyTorch's own `scaled_dot_product_attention`, on the padded rectangle.

PyTorch takes the fastest kernel that fits: on CUDA flash attention when the batch has no padding, else memory-efficient
or cuDNN attention with the mask; on the CPU its flash kernel, or, with attention dropout, the plain matrix products.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from ..packing import Layout


def sdpa_attention(
    query: Tensor, key: Tensor, value: Tensor, queries: Layout, keys: Layout, dropout: float = 0.0
) -> tuple[Tensor, None]:
    """The same function as `eager_attention`, by the kernels above: no probabilities are returned."""
    query = queries.pad(query).transpose(1, 2)  # (queries, heads, head_dim) -> (batch, heads, query_seq, head_dim)
    key = keys.pad(key).transpose(1, 2)  # (tokens, heads, head_dim) -> (batch, heads, seq, head_dim)
    value = keys.pad(value).transpose(1, 2)  # (tokens, heads, head_dim) -> (batch, heads, seq, head_dim)
    mask = None if keys.mask is None else keys.mask[:, None, None, :]  # (batch, seq) -> (batch, 1, 1, seq)
    context = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=dropout)
    return queries.pack(context.transpose(1, 2)), None  # -> (queries, heads, head_dim)
