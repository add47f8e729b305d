"""The word embeddings, which pretraining reads twice: where the tokens come in, and where words are predicted.

Both give the matrix a gradient. That of the output layer is dense anyway; the one of the few words in the batch, which
torch makes as large, is added to it row by row: on a CPU it saves filling and adding two matrices of the vocabulary's
size in each step, mostly of zeros.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@contextmanager
def read_twice(embedding: nn.Embedding, input_ids: Tensor) -> Iterator[Tensor]:
    """Inside, the embedding looks up these ids, (tokens). Yields its matrix (vocab, hidden), for the output layer."""
    if embedding.weight.device.type != "cpu":  # a GPU fills in no time
        yield embedding.weight
        return
    rows, words = ReadTwice.apply(embedding.weight, input_ids, embedding.padding_idx)  # type: ignore[no-untyped-call]
    handle = embedding.register_forward_hook(lambda *_: rows)
    try:
        yield words
    finally:
        handle.remove()


class ReadTwice(torch.autograd.Function):
    """The matrix and some of its rows, whose gradients become one."""

    @staticmethod
    def forward(ctx: Any, words: Tensor, input_ids: Tensor, padding_idx: int | None) -> tuple[Tensor, Tensor]:
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(input_ids)
        ctx.padding_idx, ctx.vocabulary = padding_idx, len(words)
        return F.embedding(input_ids, words), words.view_as(words)  # (tokens) -> (tokens, hidden)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, of_rows: Tensor | None, of_words: Tensor | None) -> tuple[Tensor | None, None, None]:
        if of_rows is None:
            return of_words, None, None
        (input_ids,) = ctx.saved_tensors
        if of_words is None:
            of_words = of_rows.new_zeros(ctx.vocabulary, of_rows.shape[1])
        padding = (input_ids == ctx.padding_idx).unsqueeze(1)  # (tokens) -> (tokens, 1)
        return of_words.index_add_(0, input_ids, of_rows.masked_fill(padding, 0.0)), None, None
