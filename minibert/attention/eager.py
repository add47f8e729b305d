"""Scaled dot-product attention, written out: softmax(QKᵀ / √d) V. The definition."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from ..packing import Layout


def eager_attention(
    query: Tensor, key: Tensor, value: Tensor, queries: Layout, keys: Layout, dropout: float = 0.0
) -> tuple[Tensor, Tensor]:
    """Every query looks at all keys of its own sentence (Vaswani et al. 2017, section 3.2.1).

    query (queries, heads, head_dim), key and value (tokens, heads, head_dim), packed. Returns the context, of query's
    shape, and the attention probabilities (batch, heads, query_seq, seq), before dropout.
    """
    query = queries.pad(query).transpose(1, 2)  # (queries, heads, head_dim) -> (batch, heads, query_seq, head_dim)
    key = keys.pad(key).transpose(1, 2)  # (tokens, heads, head_dim) -> (batch, heads, seq, head_dim)
    value = keys.pad(value).transpose(1, 2)  # (tokens, heads, head_dim) -> (batch, heads, seq, head_dim)

    # Without the division the scores grow with √head_dim, and softmax saturates: one key takes all, gradients vanish.
    scores = query @ key.mT / math.sqrt(query.shape[-1])  # (..., query_seq, head_dim) -> (..., query_seq, seq)
    if keys.mask is not None:
        # The lowest finite number, not -inf: a sentence without any token must not become 0/0.
        padding = ~keys.mask[:, None, None, :]  # (batch, seq) -> (batch, 1, 1, seq)
        scores = scores.masked_fill(padding, torch.finfo(scores.dtype).min)
    probabilities = scores.softmax(dim=-1)

    weights = F.dropout(probabilities, dropout) if dropout else probabilities
    context = (weights @ value).transpose(1, 2)  # (..., query_seq, seq) -> (batch, query_seq, heads, head_dim)
    return queries.pack(context), probabilities
