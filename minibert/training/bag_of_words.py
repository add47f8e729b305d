"""A third pretraining task: the pooler tells which words its text has (Ma et al. 2024, "Drop your Decoder", section 3).

Masked words never ask anything of [CLS], and next sentences ask it, through the pooler, for the topic. So neither need
keep what a classifier, which reads the pooler, may want to know of the words. This task asks for them, and adds no
weights: the head that guesses masked words reads the pooler, too, and its one guess is for all words of the text at
once. A model without pooler, which learns no pairs, is asked at [CLS] itself.

What differs from the paper: frequent words count less, for nearly every text has them; and there it is always [CLS].
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..losses import full_precision

FREQUENT = 1e-4  # of the tokens: from this share on, a token counts less


def word_weights(counts: NDArray[np.int64], ignored: Sequence[int]) -> Tensor:
    """What finding each token of the vocabulary counts: (vocab,) float32, from 0 to 1.

    counts: (vocab,) how often each stands in the corpus. ignored: ids that count nothing, such as [CLS]. The weight is
    the share of a word's places that word2vec keeps (Mikolov et al. 2013, "Distributed Representations", section 2.3).
    """
    shares = counts / max(1, counts.sum())
    weights = np.sqrt(FREQUENT / np.maximum(shares, FREQUENT))
    weights[list(ignored)] = 0
    return torch.from_numpy(weights.astype(np.float32))


def bag_of_words_loss(logits: Tensor, input_ids: Tensor, cu_seqlens: Tensor, weights: Tensor) -> Tensor:
    """The cross-entropy of guessing a word of the text, in nats, summed over the texts: a number.

    logits: (batch, vocab), the guess of each text. input_ids: (tokens,), without masks. cu_seqlens: (batch + 1,), where
    the texts begin and end among them. weights: (vocab,); a text of words without weight costs nothing.
    """
    texts = torch.arange(len(logits), device=logits.device)
    # -> (tokens); the number of tokens is told, for a GPU would have to be asked for it
    of_text = texts.repeat_interleave(cu_seqlens.diff(), output_size=len(input_ids))
    log_probabilities = full_precision(logits).log_softmax(dim=1)
    bag = torch.zeros_like(log_probabilities)
    bag[of_text, input_ids] = weights[input_ids]  # a word that occurs twice counts once
    shares = bag / bag.sum(dim=1, keepdim=True).clamp(min=torch.finfo(bag.dtype).tiny)
    return -(shares * log_probabilities).sum()  # (batch, vocab) -> ()
