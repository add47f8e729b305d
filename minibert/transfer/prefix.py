"""Prefix tuning (Li & Liang 2021): in every block, some trained keys and values that every token can look at.

As if each sentence began with a few words whose meaning is learnt, a different one in each block. The keys and values
are trained themselves, not made by a second network, as Liu et al. 2022 ("P-Tuning v2") do for understanding tasks.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ..attention import Attention
from ..errors import InputError
from ..model import BertBlock, BertModel
from ..packing import Layout


class BlockPrefix(nn.Module):
    """The keys and values of one block: each (length, heads, head_dim)."""

    def __init__(self, length: int, heads: int, head_dim: int, deviation: float) -> None:
        super().__init__()
        self.key = nn.Parameter(torch.empty(length, heads, head_dim).normal_(std=deviation))
        self.value = nn.Parameter(torch.empty(length, heads, head_dim).normal_(std=deviation))

    def attend(
        self,
        attend: Attention,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        queries: Layout,
        keys: Layout,
        dropout: float,
    ) -> tuple[Tensor, Tensor | None]:
        """`attend`, with the prefix in front of every sentence's own keys and values."""
        longer = _longer(keys, len(self.key))
        key, value = (_in_front(new, own, keys, longer) for new, own in ((self.key, key), (self.value, value)))
        return attend(query, key, value, queries, longer, dropout)


@lru_cache(maxsize=1)  # all blocks ask for the same, and a GPU is waited for to make it
def _longer(layout: Layout, length: int) -> Layout:
    """The layout of rows that have `length` tokens more in front. Rows without tokens stay so."""
    mask = layout.mask
    if mask is None:
        mask = torch.ones(layout.batch, layout.seq, dtype=torch.bool, device=layout.cu_seqlens.device)
    front = mask.any(dim=1, keepdim=True).expand(-1, length)  # (batch, seq) -> (batch, length)
    return Layout.from_mask(torch.cat([front, mask], dim=1))  # -> (batch, length + seq)


def _in_front(prefix: Tensor, packed: Tensor, layout: Layout, longer: Layout) -> Tensor:
    rows = layout.pad(packed)  # (tokens, heads, head_dim) -> (batch, seq, heads, head_dim)
    front = prefix.to(packed.dtype).expand(layout.batch, -1, -1, -1)  # -> (batch, length, heads, head_dim)
    # (batch, length + seq, heads, head_dim) -> (tokens + prefixes, heads, head_dim)
    return longer.pack(torch.cat([front, rows], dim=1))


@dataclass(frozen=True)
class Prefix:
    """length: keys and values in each block. Raises `InputError` below 1."""

    length: int = 16
    method: ClassVar[str] = "prefix"
    changes_the_function: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.length < 1:
            raise InputError(f"A prefix has a length of at least 1: found {self.length}.")

    def add_to(self, bert: BertModel) -> None:
        config, example = bert.config, bert.embeddings.word_embeddings.weight
        for block in bert.blocks:
            assert isinstance(block, BertBlock)
            prefix = BlockPrefix(self.length, config.num_attention_heads, config.head_dim, config.initializer_range)
            block.attention.add_module("prefix", prefix.to(example))
            block.attention.register_forward_pre_hook(_with_prefix)


def _with_prefix(attention: nn.Module, inputs: Any) -> Any:
    hidden, queries, keys, attend = inputs
    prefix = attention.get_submodule("prefix")
    assert isinstance(prefix, BlockPrefix)
    return hidden, queries, keys, partial(prefix.attend, attend)
