"""Six broken BERTs for chapter 20. Each part works, has the right shapes, and has one fault. No comment says where.

Work on the symptoms first: the chapter shows each part when its turn has come.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from minibert import BertForPreTraining
from minibert.attention import Attention
from minibert.model import BertBlock
from minibert.packing import Layout


def pretraining_loss(model: BertForPreTraining, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Lab 1. The losses of masked words and of next sentences.

    labels (batch, seq): the right id at masked places, 0 elsewhere. next_sentence_label (batch,): 0 if B follows A.
    """
    criterion = torch.nn.CrossEntropyLoss(ignore_index=0)
    output = model(batch["input_ids"], token_type_ids=batch["token_type_ids"])
    words = output.prediction_logits.flatten(0, 1)  # (batch, seq, vocab) -> (batch * seq, vocab)
    return (
        criterion(words, batch["labels"].flatten()),
        criterion(output.seq_relationship_logits, batch["next_sentence_label"]),
    )


def attention_of_lab_2(
    query: Tensor, key: Tensor, value: Tensor, queries: Layout, keys: Layout, dropout: float = 0.0
) -> tuple[Tensor, Tensor]:
    """Lab 2. Takes and gives what `minibert.attention.eager_attention` does, but for dropout."""
    query = queries.pad(query).transpose(1, 2)  # (queries, heads, head_dim) -> (batch, heads, query_seq, head_dim)
    key = keys.pad(key).transpose(1, 2)  # (tokens, heads, head_dim) -> (batch, heads, seq, head_dim)
    value = keys.pad(value).transpose(1, 2)  # (tokens, heads, head_dim) -> (batch, heads, seq, head_dim)
    scores = query @ key.mT / math.sqrt(query.shape[-1])  # -> (batch, heads, query_seq, seq)
    if keys.mask is not None:
        scores = scores.masked_fill(~keys.mask[:, None, None, :], torch.finfo(scores.dtype).min)
    probabilities = scores.softmax(dim=2)
    return queries.pack((probabilities @ value).transpose(1, 2)), probabilities


def attention_of_lab_3(
    query: Tensor, key: Tensor, value: Tensor, queries: Layout, keys: Layout, dropout: float = 0.0
) -> tuple[Tensor, Tensor]:
    """Lab 3. As in lab 2."""
    query = queries.pad(query).transpose(1, 2)  # (queries, heads, head_dim) -> (batch, heads, query_seq, head_dim)
    key = keys.pad(key).transpose(1, 2)  # (tokens, heads, head_dim) -> (batch, heads, seq, head_dim)
    value = keys.pad(value).transpose(1, 2)  # (tokens, heads, head_dim) -> (batch, heads, seq, head_dim)
    scores = query @ key.mT  # -> (batch, heads, query_seq, seq)
    if keys.mask is not None:
        scores = scores.masked_fill(~keys.mask[:, None, None, :], torch.finfo(scores.dtype).min)
    probabilities = scores.softmax(dim=-1)
    return queries.pack((probabilities @ value).transpose(1, 2)), probabilities


def attention_of_lab_4(
    query: Tensor, key: Tensor, value: Tensor, queries: Layout, keys: Layout, dropout: float = 0.0
) -> tuple[Tensor, Tensor]:
    """Lab 4. As in lab 2."""
    _, heads, head_dim = query.shape
    query = queries.pad(query).reshape(queries.batch, heads, queries.seq, head_dim)
    key = keys.pad(key).reshape(keys.batch, heads, keys.seq, head_dim)
    value = keys.pad(value).reshape(keys.batch, heads, keys.seq, head_dim)
    scores = query @ key.mT / math.sqrt(head_dim)  # -> (batch, heads, query_seq, seq)
    if keys.mask is not None:
        scores = scores.masked_fill(~keys.mask[:, None, None, :], torch.finfo(scores.dtype).min)
    probabilities = scores.softmax(dim=-1)
    context = (probabilities @ value).reshape(queries.batch, queries.seq, heads, head_dim)
    return queries.pack(context), probabilities


def attention_of_lab_5(
    query: Tensor, key: Tensor, value: Tensor, queries: Layout, keys: Layout, dropout: float = 0.0
) -> tuple[Tensor, Tensor]:
    """Lab 5. As in lab 2."""
    query = queries.pad(query).transpose(1, 2)  # (queries, heads, head_dim) -> (batch, heads, query_seq, head_dim)
    key = keys.pad(key).transpose(1, 2)  # (tokens, heads, head_dim) -> (batch, heads, seq, head_dim)
    value = keys.pad(value).transpose(1, 2)  # (tokens, heads, head_dim) -> (batch, heads, seq, head_dim)
    scores = query @ key.mT / math.sqrt(query.shape[-1])  # -> (batch, heads, query_seq, seq)
    probabilities = scores.softmax(dim=-1)
    if keys.mask is not None:
        probabilities = probabilities * keys.mask[:, None, None, :]
    return queries.pack((probabilities @ value).transpose(1, 2)), probabilities


class BlockOfLab6(BertBlock):
    """Lab 6. A `BertBlock` with the same parameters, so that the same checkpoints fit."""

    def forward(self, hidden: Tensor, queries: Layout, keys: Layout, attend: Attention) -> tuple[Tensor, Tensor | None]:
        attended, probabilities = self.attention(self.attention_norm(hidden), queries, keys, attend)
        hidden = queries.select(hidden) + attended
        hidden = hidden + self.feed_forward(self.feed_forward_norm(hidden))
        return hidden, probabilities
