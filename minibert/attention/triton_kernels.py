"""Flash attention as GPU programs in Triton, for packed sentences. `flash_by_hand.py` has the same algorithm in torch.

Triton compiles a function into a GPU kernel; each running copy of it, a *program*, works on whole tiles: it loads them
from the GPU's large, slow memory, and what it computes stays in registers and shared memory until `tl.store`. Thousands
of programs run side by side. Here each one has a tile of one head of one sentence, which it finds by its two numbers:

    program_id(0)  which sentence and which head (first, because only the first number may be above 65,535)
    program_id(1)  which tile of the sentence, from its beginning; sentences that end before it have nothing to do there

What a GPU adds to the algorithm:

- Sentence b is the tokens ends[b] : ends[b + 1] of the packed matrix (`cu_seqlens`), so there is no padding: the last
  tile of a sentence may stick out, and masks keep what lies outside from being read, counted or written.
- Matrix units multiply tiles of at least 16 x 16 x 16, with sides that are powers of two. Narrower heads are filled up
  with zeros, which change no dot product.
- Products of bfloat16 and float16 are summed in float32, and so are the softmax sums; float32 is multiplied as it is
  ("ieee"), not rounded to TensorFloat-32, which is faster and too coarse to equal the other implementations.
- The GPU has an instruction for 2^x and none for e^x, so scores are multiplied by log2(e) once, and all exponents and
  logarithms here are to base 2.
- Dropout needs a random number for each pair of query and key, and the same again in the backward pass, which meets the
  pairs in other tiles. A counter-based generator (Philox: Salmon et al. 2011, "Parallel Random Numbers: As Easy as
  1, 2, 3") needs no state to be stored: it is a function of a seed and a counter, here of (key, query, head).
- The forward pass and the gradient of queries run over keys; the gradients of keys and values over queries. Two kernels
  for the backward pass compute the scores twice; one would have to add into memory that other programs add into too, in
  an order that changes from run to run.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def load_tile(tensor, rows, row_count, columns, row_stride, HEAD_DIM: tl.constexpr):
    """Some tokens of one head, (rows, columns); zeros outside the sentence and beyond the width of the head."""
    inside = (rows[:, None] < row_count) & (columns[None, :] < HEAD_DIM)
    return tl.load(tensor + rows[:, None] * row_stride + columns[None, :], mask=inside, other=0.0)


@triton.jit
def store_tile(tensor, tile, rows, row_count, columns, row_stride, HEAD_DIM: tl.constexpr):
    inside = (rows[:, None] < row_count) & (columns[None, :] < HEAD_DIM)
    tl.store(tensor + rows[:, None] * row_stride + columns[None, :], tile, mask=inside)


@triton.jit
def drop(weights, queries, keys, head, seed, dropout):
    """Dropout of a tile: zero with probability `dropout`, the others larger to make up for it.

    queries and keys: (queries, 1) and (1, keys), or the other way round, as the tile has them. Queries are counted
    through the whole batch and keys through the sentence, so that no two pairs share a counter.
    """
    # Seven rounds are the fewest that pass the tests in the paper named above; its ten have a margin that costs time.
    random, _, _, _ = tl.philox(seed, keys, queries, head, 0, n_rounds=7)
    kept = random >= tl.cast(dropout * 4294967296.0, tl.uint32)  # `random` is any whole number below 2^32
    return tl.where(kept, weights * (1 / (1 - dropout)), 0.0)


@triton.jit
def score_tile(query, key, keys, key_count, scale):
    """Scores (queries, keys) to base 2; -inf for keys outside the sentence, so that their exponential is 0."""
    scores = tl.dot(query, tl.trans(key), input_precision="ieee") * (scale * 1.4426950408889634)  # log2(e)
    return tl.where(keys[None, :] < key_count, scores, float("-inf"))


@triton.jit(do_not_specialize=["seed"])
def forward_kernel(
    query, key, value, context, log_sums, query_ends, key_ends,
    query_token, query_head, key_token, key_head, value_token, value_head, context_token, context_head,
    heads, scale, dropout, seed,
    HEAD_DIM: tl.constexpr, WIDTH: tl.constexpr, QUERY_TILE: tl.constexpr, KEY_TILE: tl.constexpr,
    DROPOUT: tl.constexpr,
):  # fmt: skip
    """context and log_sums (queries, heads) for one tile of queries. X_token, X_head: strides, in numbers."""
    sentence, head = tl.program_id(0) // heads, tl.program_id(0) % heads
    first_query, first_key = tl.load(query_ends + sentence), tl.load(key_ends + sentence)
    query_count = tl.load(query_ends + sentence + 1) - first_query
    key_count = tl.load(key_ends + sentence + 1) - first_key
    if tl.program_id(1) * QUERY_TILE >= query_count:
        return
    query += first_query.to(tl.int64) * query_token + head * query_head
    key += first_key.to(tl.int64) * key_token + head * key_head
    value += first_key.to(tl.int64) * value_token + head * value_head
    context += first_query.to(tl.int64) * context_token + head * context_head
    log_sums += first_query.to(tl.int64) * heads + head

    columns = tl.arange(0, WIDTH)
    queries = tl.program_id(1) * QUERY_TILE + tl.arange(0, QUERY_TILE)
    query_tile = load_tile(query, queries, query_count, columns, query_token, HEAD_DIM)
    largest = tl.full((QUERY_TILE,), float("-inf"), tl.float32)
    total = tl.zeros((QUERY_TILE,), tl.float32)
    gathered = tl.zeros((QUERY_TILE, WIDTH), tl.float32)
    for start in range(0, key_count, KEY_TILE):
        keys = start + tl.arange(0, KEY_TILE)
        key_tile = load_tile(key, keys, key_count, columns, key_token, HEAD_DIM)
        value_tile = load_tile(value, keys, key_count, columns, value_token, HEAD_DIM)
        scores = score_tile(query_tile, key_tile, keys, key_count, scale)
        new_largest = tl.maximum(largest, tl.max(scores, 1))
        shrink = tl.exp2(largest - new_largest)
        weights = tl.exp2(scores - new_largest[:, None])
        total = total * shrink + tl.sum(weights, 1)  # of all keys: dropout comes after softmax
        if DROPOUT:
            weights = drop(weights, first_query + queries[:, None], keys[None, :], head, seed, dropout)
        products = tl.dot(weights.to(value_tile.dtype), value_tile, input_precision="ieee")
        gathered = gathered * shrink[:, None] + products
        largest = new_largest
    store_tile(context, gathered / total[:, None], queries, query_count, columns, context_token, HEAD_DIM)
    tl.store(log_sums + queries * heads, largest + tl.log2(total), mask=queries < query_count)


@triton.jit(do_not_specialize=["seed"])
def query_gradient_kernel(
    query, key, value, gradient, log_sums, sums, query_gradient, query_ends, key_ends,
    query_token, query_head, key_token, key_head, value_token, value_head, gradient_token, gradient_head,
    heads, scale, dropout, seed,
    HEAD_DIM: tl.constexpr, WIDTH: tl.constexpr, QUERY_TILE: tl.constexpr, KEY_TILE: tl.constexpr,
    DROPOUT: tl.constexpr,
):  # fmt: skip
    """The gradient of one tile of queries. `gradient`: of context; query_gradient has its strides."""
    sentence, head = tl.program_id(0) // heads, tl.program_id(0) % heads
    first_query, first_key = tl.load(query_ends + sentence), tl.load(key_ends + sentence)
    query_count = tl.load(query_ends + sentence + 1) - first_query
    key_count = tl.load(key_ends + sentence + 1) - first_key
    if tl.program_id(1) * QUERY_TILE >= query_count:
        return
    query += first_query.to(tl.int64) * query_token + head * query_head
    key += first_key.to(tl.int64) * key_token + head * key_head
    value += first_key.to(tl.int64) * value_token + head * value_head
    gradient += first_query.to(tl.int64) * gradient_token + head * gradient_head
    query_gradient += first_query.to(tl.int64) * gradient_token + head * gradient_head
    log_sums += first_query.to(tl.int64) * heads + head
    sums += first_query.to(tl.int64) * heads + head

    columns = tl.arange(0, WIDTH)
    queries = tl.program_id(1) * QUERY_TILE + tl.arange(0, QUERY_TILE)
    query_tile = load_tile(query, queries, query_count, columns, query_token, HEAD_DIM)
    gradient_tile = load_tile(gradient, queries, query_count, columns, gradient_token, HEAD_DIM)
    log_sum = tl.load(log_sums + queries * heads, mask=queries < query_count, other=float("inf"))
    row_sum = tl.load(sums + queries * heads, mask=queries < query_count, other=0.0)
    result = tl.zeros((QUERY_TILE, WIDTH), tl.float32)
    for start in range(0, key_count, KEY_TILE):
        keys = start + tl.arange(0, KEY_TILE)
        key_tile = load_tile(key, keys, key_count, columns, key_token, HEAD_DIM)
        value_tile = load_tile(value, keys, key_count, columns, value_token, HEAD_DIM)
        scores = score_tile(query_tile, key_tile, keys, key_count, scale)
        probabilities = tl.exp2(scores - log_sum[:, None])
        weight_gradient = tl.dot(gradient_tile, tl.trans(value_tile), input_precision="ieee")
        if DROPOUT:
            weight_gradient = drop(weight_gradient, first_query + queries[:, None], keys[None, :], head, seed, dropout)
        score_gradient = probabilities * (weight_gradient - row_sum[:, None])
        result += tl.dot(score_gradient.to(key_tile.dtype), key_tile, input_precision="ieee")
    store_tile(query_gradient, result * scale, queries, query_count, columns, gradient_token, HEAD_DIM)


@triton.jit(do_not_specialize=["seed"])
def key_value_gradient_kernel(
    query, key, value, gradient, log_sums, sums, key_gradient, value_gradient, query_ends, key_ends,
    query_token, query_head, key_token, key_head, value_token, value_head, gradient_token, gradient_head,
    heads, scale, dropout, seed,
    HEAD_DIM: tl.constexpr, WIDTH: tl.constexpr, QUERY_TILE: tl.constexpr, KEY_TILE: tl.constexpr,
    DROPOUT: tl.constexpr,
):  # fmt: skip
    """The gradients of one tile of keys and values; these two have the strides of `gradient`, that of context."""
    sentence, head = tl.program_id(0) // heads, tl.program_id(0) % heads
    first_query, first_key = tl.load(query_ends + sentence), tl.load(key_ends + sentence)
    query_count = tl.load(query_ends + sentence + 1) - first_query
    key_count = tl.load(key_ends + sentence + 1) - first_key
    if tl.program_id(1) * KEY_TILE >= key_count:
        return
    query += first_query.to(tl.int64) * query_token + head * query_head
    key += first_key.to(tl.int64) * key_token + head * key_head
    value += first_key.to(tl.int64) * value_token + head * value_head
    gradient += first_query.to(tl.int64) * gradient_token + head * gradient_head
    key_gradient += first_key.to(tl.int64) * gradient_token + head * gradient_head
    value_gradient += first_key.to(tl.int64) * gradient_token + head * gradient_head
    log_sums += first_query.to(tl.int64) * heads + head
    sums += first_query.to(tl.int64) * heads + head

    columns = tl.arange(0, WIDTH)
    keys = tl.program_id(1) * KEY_TILE + tl.arange(0, KEY_TILE)
    key_tile = load_tile(key, keys, key_count, columns, key_token, HEAD_DIM)
    value_tile = load_tile(value, keys, key_count, columns, value_token, HEAD_DIM)
    key_result = tl.zeros((KEY_TILE, WIDTH), tl.float32)
    value_result = tl.zeros((KEY_TILE, WIDTH), tl.float32)
    for start in range(0, query_count, QUERY_TILE):
        queries = start + tl.arange(0, QUERY_TILE)
        query_tile = load_tile(query, queries, query_count, columns, query_token, HEAD_DIM)
        gradient_tile = load_tile(gradient, queries, query_count, columns, gradient_token, HEAD_DIM)
        log_sum = tl.load(log_sums + queries * heads, mask=queries < query_count, other=0.0)
        row_sum = tl.load(sums + queries * heads, mask=queries < query_count, other=0.0)
        # Turned, (keys, queries), as the last two products take it: each thread has what it needs of it at hand. So it
        # is queries outside the sentence that get probability 0. Keys outside it have rows that are not stored.
        scores = score_tile(key_tile, query_tile, queries, query_count, scale)
        probabilities = tl.exp2(scores - log_sum[None, :])
        weights = probabilities
        weight_gradient = tl.dot(value_tile, tl.trans(gradient_tile), input_precision="ieee")
        if DROPOUT:
            weights = drop(weights, first_query + queries[None, :], keys[:, None], head, seed, dropout)
            weight_gradient = drop(weight_gradient, first_query + queries[None, :], keys[:, None], head, seed, dropout)
        score_gradient = probabilities * (weight_gradient - row_sum[None, :])
        value_result += tl.dot(weights.to(value_tile.dtype), gradient_tile, input_precision="ieee")
        key_result += tl.dot(score_gradient.to(query_tile.dtype), query_tile, input_precision="ieee")
    store_tile(key_gradient, key_result * scale, keys, key_count, columns, gradient_token, HEAD_DIM)
    store_tile(value_gradient, value_result, keys, key_count, columns, gradient_token, HEAD_DIM)
