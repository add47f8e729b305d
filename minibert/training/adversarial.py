"""Adversarial training (Goodfellow et al. 2015), as Miyato, Dai & Goodfellow (2017) do it for text.

The gradient tells where the vectors of the words would have to go for the loss to grow most. After each step's own
passes there are second ones with the vectors a little further that way, and their gradients are added: so what is
learnt about a word must also hold close to it. It costs as much again.

In the paper each sentence has its own small shift. Here, as is usual for BERT ("FGM"), the rows of the table of words
are moved, for all the sentences of a step at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from ..errors import InputError
from ..model import BertPreTrainedModel


def check_words_learn(model: BertPreTrainedModel) -> None:
    """Raises `InputError` if the table of words is frozen: then it has no gradient that could tell the direction."""
    if not model.base_model.embeddings.word_embeddings.weight.requires_grad:
        raise InputError("Adversarial training moves the word embeddings, which are frozen here: choose one.")


@contextmanager
def words_moved(model: BertPreTrainedModel, epsilon: float) -> Iterator[None]:
    """Within the block, the table of words is moved along its gradient, by the Euclidean length `epsilon` in all."""
    words = model.base_model.embeddings.word_embeddings.weight
    assert words.grad is not None
    kept = words.detach().clone()
    with torch.no_grad():
        shortest = torch.finfo(words.dtype).tiny  # where nothing is left to learn, the gradient may be 0
        words.addcmul_(words.grad, epsilon / words.grad.norm().clamp_min(shortest))
    try:
        yield
    finally:
        with torch.no_grad():
            words.copy_(kept)
