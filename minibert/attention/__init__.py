"""Attention, the one part of BERT in which tokens meet: several implementations of one function.

    context, probabilities = attend(query, key, value, queries, keys, dropout)

query (queries, heads, head_dim), key and value (tokens, heads, head_dim) are packed; `queries` and `keys` are their
layouts (the same object, unless only the [CLS] tokens ask); `dropout` is the probability to drop an attention weight, 0
outside training. context has the shape of query. probabilities, (batch, heads, query_seq, seq), is what the eager
implementation can show; the fused ones never hold it in memory and return None.

`eager` is the definition, which all others are tested against.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from ..errors import InputError
from ..packing import Layout
from .eager import eager_attention
from .sdpa import sdpa_attention

Attention = Callable[[Tensor, Tensor, Tensor, Layout, Layout, float], tuple[Tensor, "Tensor | None"]]

IMPLEMENTATIONS: dict[str, Attention] = {
    "eager": eager_attention,
    "sdpa": sdpa_attention,
    "auto": sdpa_attention,  # exact for every device, dtype and dropout, and never slower than eager
}


def get_attention(name: str) -> Attention:
    """The implementation of that name. Raises `InputError` naming those that there are."""
    if name not in IMPLEMENTATIONS:
        raise InputError(
            f"There is no attention implementation '{name}'. There are {', '.join(sorted(IMPLEMENTATIONS))}."
        )
    return IMPLEMENTATIONS[name]


__all__ = ["IMPLEMENTATIONS", "Attention", "eager_attention", "get_attention", "sdpa_attention"]
