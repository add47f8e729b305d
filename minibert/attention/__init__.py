"""Attention, the one part of BERT in which tokens meet: several implementations of one function.

    context, probabilities = attend(query, key, value, queries, keys, dropout)

query (queries, heads, head_dim), key and value (tokens, heads, head_dim) are packed; `queries` and `keys` are their
layouts (the same object, unless only the [CLS] tokens ask); `dropout` is the probability to drop an attention weight, 0
outside training. context has the shape of query. probabilities, (batch, heads, query_seq, seq), is what the eager
implementation can show; the others return None. A fused kernel never holds it in memory; on a CPU, with dropout and in
bfloat16, attention is written out (see `packed.py`), and it is held.

eager   the definition, which all others are tested against; the only one that can show the probabilities
sdpa    PyTorch's fused kernels on the padded rectangle
packed  without padding, as far as the device has a kernel for it, if need be through nested tensors; else as sdpa
triton  flash attention written by hand, for NVIDIA GPUs: packed, and with dropout
auto    packed, but sdpa in place of nested tensors. It is exact for every device, dtype and dropout; on the CPU it
        chooses by the lengths (see `packed.py`). `python -m minibert.bench attention` shows the figures. Nested tensors
        and triton join the choice once they are measured on a GPU.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from ..errors import InputError
from ..packing import Layout
from .eager import eager_attention
from .packed import auto_attention, packed_attention
from .sdpa import sdpa_attention
from .triton import check_installed, triton_attention

Attention = Callable[[Tensor, Tensor, Tensor, Layout, Layout, float], tuple[Tensor, "Tensor | None"]]

IMPLEMENTATIONS: dict[str, Attention] = {
    "eager": eager_attention,
    "sdpa": sdpa_attention,
    "packed": packed_attention,
    "triton": triton_attention,
    "auto": auto_attention,
}


def get_attention(name: str) -> Attention:
    """The implementation of that name. Raises `InputError` for another name and for a missing Triton."""
    if name not in IMPLEMENTATIONS:
        raise InputError(
            f"There is no attention implementation '{name}'. There are {', '.join(sorted(IMPLEMENTATIONS))}."
        )
    if name == "triton":
        check_installed()
    return IMPLEMENTATIONS[name]


__all__ = ["IMPLEMENTATIONS", "Attention", "get_attention"]
