"""Flash attention, the algorithm, in plain torch: for one head of one sentence. Read it before `triton_kernels.py`.

`eager.py` writes down the whole matrix of scores, one number for each query and key, three times over: scores,
probabilities, and the same after dropout. The products themselves are quick; carrying those matrices to memory and back
is what takes the time, and the room they need grows with the square of the length. Flash attention (Dao et al. 2022,
"FlashAttention: Fast and Memory-Efficient Exact Attention with IO-Awareness"; Dao 2023, "FlashAttention-2") never
writes them down, and is exact. Three ideas make that possible:

tiling           The scores are worked out in tiles, some queries by some keys, small enough to stay in the fast memory
                 that a GPU has beside its arithmetic units. A tile is used at once and forgotten.
online softmax   softmax needs the sum over all keys, and a tile knows only its own. So the sums so far are carried on
                 (Milakov & Gimelshein 2018): when a tile brings a larger score than any before, what was summed up
                 relative to the old maximum is scaled down to the new one.
recomputation    The backward pass needs the probabilities again. It works them out a second time, tile by tile, from
                 query, key and one number a query: the logarithm of its sum. Arithmetic is cheaper than memory.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def flash_forward(query: Tensor, key: Tensor, value: Tensor, tile: int = 16) -> tuple[Tensor, Tensor]:
    """softmax(QKᵀ / √d) V for one head of one sentence, and log Σ exp(scores) of each query.

    query (queries, head_dim), key and value (tokens, head_dim), at least one token; returns (queries, head_dim) and
    (queries,). FlashAttention-2, algorithm 1.
    """
    contexts, log_sums = [], []
    for query_tile in query.split(tile):
        largest = query.new_full((len(query_tile),), -math.inf)
        total = torch.zeros_like(largest)
        context = torch.zeros_like(query_tile)
        for key_tile, value_tile in zip(key.split(tile), value.split(tile), strict=True):
            scores = query_tile @ key_tile.T / math.sqrt(query.shape[1])  # -> (tile_queries, tile_keys)
            new_largest = largest.maximum(scores.amax(dim=1))  # (tile_queries, tile_keys) -> (tile_queries)
            shrink = torch.exp(largest - new_largest)
            weights = torch.exp(scores - new_largest.unsqueeze(1))
            total = total * shrink + weights.sum(dim=1)
            products = weights @ value_tile  # (tile_queries, tile_keys) -> (tile_queries, head_dim)
            context = context * shrink.unsqueeze(1) + products
            largest = new_largest
        contexts.append(context / total.unsqueeze(1))  # the division waits until all keys were seen
        log_sums.append(largest + total.log())
    return torch.cat(contexts), torch.cat(log_sums)  # of (tile_queries, ...) -> (queries, ...)


def flash_backward(
    query: Tensor, key: Tensor, value: Tensor, context: Tensor, log_sums: Tensor, gradient: Tensor, tile: int = 16
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of query, key and value from that of context. FlashAttention-2, algorithm 2.

    The derivative of softmax is p (dp - Σ p dp). The sum runs over all keys, which no tile has; but it equals the dot
    product of context and its gradient, which is there before the first tile.
    """
    scale = 1 / math.sqrt(query.shape[1])
    sums = (context * gradient).sum(dim=1)  # (queries, head_dim) -> (queries)
    query_gradient, key_gradient, value_gradient = (torch.zeros_like(tensor) for tensor in (query, key, value))
    for first_key in range(0, len(key), tile):
        of_keys = slice(first_key, first_key + tile)
        for first_query in range(0, len(query), tile):
            of_queries = slice(first_query, first_query + tile)
            scores = query[of_queries] @ key[of_keys].T * scale  # -> (tile_queries, tile_keys)
            probabilities = torch.exp(scores - log_sums[of_queries].unsqueeze(1))
            probability_gradient = gradient[of_queries] @ value[of_keys].T  # -> (tile_queries, tile_keys)
            score_gradient = probabilities * (probability_gradient - sums[of_queries].unsqueeze(1)) * scale
            value_gradient[of_keys] += probabilities.T @ gradient[of_queries]  # -> (tile_keys, head_dim)
            key_gradient[of_keys] += score_gradient.T @ query[of_queries]  # -> (tile_keys, head_dim)
            query_gradient[of_queries] += score_gradient @ key[of_keys]  # -> (tile_queries, head_dim)
    return query_gradient, key_gradient, value_gradient
