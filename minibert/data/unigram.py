"""How well one can guess a token without looking at its context: the line that a language model has to get below."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .shards import Corpus


def unigram_entropy(corpus: Corpus) -> float:
    """The entropy of the tokens' frequencies, in nats: the cross-entropy of guessing every token by frequency alone.

    -sum of p(token) log p(token) over the vocabulary (Shannon 1948, "A Mathematical Theory of Communication", section
    6). A model under training gets near this loss soon, by learning which tokens are frequent, and may stay there for a
    while: every further gain has to come from the context.
    """
    counts = token_counts(corpus)
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log(shares)).sum())


def token_counts(corpus: Corpus) -> NDArray[np.int64]:
    """How often each token of the vocabulary stands in a corpus, (vocab,) int64."""
    counts = np.zeros(corpus.manifest.vocab_size, dtype=np.int64)
    for shard in corpus.shards:
        first, last = shard.sentences[shard.documents[[0, -1]]].tolist()  # the tokens of this split
        counts += np.bincount(shard.tokens[first:last], minlength=len(counts))  # (tokens) -> (vocab)
    return counts
