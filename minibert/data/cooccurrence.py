"""Word vectors by counting, without a gradient: tokens that stand near the same others get similar vectors.

A BERT begins with random word embeddings, and needs millions of tokens to find out what a minute of counting tells it:
that "lovely" stands where "charming" does. Three steps make vectors out of counts:

1. Count how often token j stands near token i, nearer ones more.
2. Compare with chance: log p(i, j) / (p(i) p(j)), the pointwise mutual information, and 0 where it is negative (PPMI).
3. Keep what matters: the best approximation of that table by one of rank `size`, from its singular values.

Skip-gram, the heart of word2vec, approximates the same table by gradient descent (Levy & Goldberg 2014, "Neural Word
Embedding as Implicit Matrix Factorization"). Details as in Levy, Goldberg, Dagan 2015, "Improving Distributional
Similarity with Lessons Learned from Word Embeddings".
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm.auto import tqdm

from .shards import Corpus
from .unigram import token_counts

WINDOW = 5  # tokens to either side that are near
MOST_NEIGHBOURS = 12_000  # the most frequent tokens, which are counted as neighbours; all have vectors
ENOUGH_TOKENS = 100_000_000  # that are read of a larger corpus, or up to twice as many
SMOOTHING = 0.75  # power of a neighbour's frequency, so that rare ones do not seem more telling than they are
CHUNK = 1_000_000  # tokens counted at a time


def count_vectors(corpus: Corpus, size: int) -> NDArray[np.float32]:
    """A vector for each token of the vocabulary, (vocab, size) float32. Zeros for one that never stands near another.

    The longer a row, the more telling are the neighbours of its token.
    """
    every = max(1, corpus.tokens // ENOUGH_TOKENS)
    return factors(ppmi(neighbour_counts(Corpus(corpus.folder, corpus.split, corpus.numbers[::every]))), size)


def neighbour_counts(corpus: Corpus) -> NDArray[np.float32]:
    """How often each token stands near each of the most frequent ones, (vocab, neighbours) float32.

    A neighbour at distance d counts 1 / d, as in GloVe (Pennington et al. 2014). That a document may end in between is
    overlooked.
    """
    frequency = token_counts(corpus)
    vocab, neighbours = len(frequency), min(MOST_NEIGHBOURS, len(frequency))
    column = np.full(vocab, -1)  # of each token that counts as a neighbour
    column[np.argsort(-frequency, kind="stable")[:neighbours]] = np.arange(neighbours)
    counts = np.zeros(vocab * neighbours, dtype=np.float32)
    with tqdm(total=int(frequency.sum()), unit="token", unit_scale=True, desc="Counting neighbours") as bar:
        for shard in corpus.shards:
            first, end = shard.sentences[shard.documents[[0, -1]]].tolist()  # the tokens of this split
            for start in range(first, end, CHUNK):
                tokens = shard.tokens[start : min(start + CHUNK, end)].astype(np.int64)
                columns = column[tokens]
                for distance in range(1, min(WINDOW, len(tokens) - 1) + 1):
                    left, right = slice(None, -distance), slice(distance, None)
                    for one, other in ((left, right), (right, left)):
                        counted = columns[other] >= 0
                        pairs = tokens[one][counted] * neighbours + columns[other][counted]
                        found, times = np.unique(pairs, return_counts=True)
                        counts[found] += times / distance
                bar.update(len(tokens))
    return counts.reshape(vocab, neighbours)  # (vocab * neighbours) -> (vocab, neighbours)


def ppmi(counts: NDArray[np.float32]) -> NDArray[np.float32]:
    """log p(token, neighbour) / (p(token) p(neighbour)), or 0 if that is less. The shape stays."""
    tokens = counts.sum(axis=1, keepdims=True)  # (vocab, neighbours) -> (vocab, 1)
    neighbours = counts.sum(axis=0) ** SMOOTHING  # (vocab, neighbours) -> (neighbours,)
    by_chance = tokens * (neighbours / neighbours.sum())  # (vocab, 1) * (neighbours,) -> (vocab, neighbours)
    # In place, for these tables are large. Where nothing is expected nothing was counted: 0 / 1.
    ratio = np.divide(counts, np.where(by_chance > 0, by_chance, 1), out=by_chance)
    return np.log(np.maximum(ratio, 1, out=ratio), out=ratio)


def factors(table: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """U √S of the table's singular value decomposition U S Vᵀ, (vocab, neighbours) -> (vocab, size).

    Only the largest `size` of the singular values are looked for, as in Halko, Martinsson, Tropp 2011, "Finding
    Structure with Randomness". Missing columns, of a table of smaller rank, are 0.
    """
    wanted = min(size + 10, *table.shape)  # a few more than are kept, which makes those more exact
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # so that the same text always makes the same vectors
        # (vocab, neighbours) -> (wanted,), (neighbours, wanted); the largest first
        _, largest, right = torch.svd_lowrank(torch.from_numpy(table), q=wanted, niter=4)
    telling = largest[:size] > 1e-3 * largest[0]
    values, vectors = largest[:size][telling].numpy(), right[:, :size][:, telling].numpy()
    found = table @ vectors / np.sqrt(values)  # U S / √S; (vocab, neighbours) -> (vocab, up to size)
    return np.pad(found, ((0, 0), (0, size - found.shape[1])))  # -> (vocab, size)


def turned(
    vectors: NDArray[np.float32], towards: NDArray[np.float32], weights: NDArray[np.int64]
) -> NDArray[np.float32]:
    """The vectors, turned about the origin all alike, to lie as near as they can to others, (tokens, size) float32.

    Angles between them, and so what they know, stay. The orthogonal Procrustes problem (Schönemann 1966).
    weights: how much each of them counts, (tokens,).
    """
    left, _, right = np.linalg.svd((vectors * weights[:, None]).T @ towards)  # (size, size)
    return vectors @ (left @ right).astype(np.float32)  # (tokens, size) @ (size, size) -> (tokens, size)
