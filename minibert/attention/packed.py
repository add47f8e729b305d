"""Attention without padding: the fastest exact way for packed sentences that the device has.

On CUDA, torch's `varlen_attn`: one flash kernel for all sentences, told by cu_seqlens where each begins. It computes in
bfloat16 and float16 alone and has no dropout. With dropout and in float32 nested tensors take its place, and the log
says once what dropout costs; in float64, for heads of other widths than 8, 16, 24, ..., and under `torch.compile`, the
padded rectangle of `sdpa`.

On the CPU, sentence by sentence, unless the rectangle is nearly full or all sentences are short. torch has a flash
kernel there as well; where plain matrix products are faster, with dropout and in bfloat16, attention is written out.
"""

from __future__ import annotations

import logging
import math
from functools import lru_cache, partial
from importlib.util import find_spec

import torch
import torch.nn.functional as F
from torch import Tensor

from ..dropout import drop, dropout_mask
from ..packing import Layout
from ..recomputation import keep_recipe
from .eager import eager_attention
from .nested import nested_attention
from .sdpa import sdpa_attention

# What things cost on a CPU, in the time of one score (one query with one key): one more call, and a score that may be
# padding, with the copies to and from the rectangle. Fitted to one layer of BERT-base: in float32 on one thread of an
# AMD EPYC (Zen 3), 800 to 1400 and 1.5 to 4, for inference and training with and without dropout; with bfloat16 units
# (Zen 4), where scores are cheaper and calls are not, on two threads. Where the rule errs, the two ways are close;
# `python -m minibert.bench attention` shows what it gains.
COSTS = 1000, 2.0
BF16_COSTS = 5000, 1.2  # of attention written out
FLASH_PAYS = 64, 512  # keys: up to the one forward, above the other always, torch's flash kernel is as fast in bfloat16
# torch keeps this function to itself, so another version may not have it.
HAS_BF16_UNITS = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)()

HAS_VARLEN = find_spec("torch.nn.attention.varlen") is not None  # from torch 2.10

log = logging.getLogger("minibert")


def packed_attention(
    query: Tensor, key: Tensor, value: Tensor, queries: Layout, keys: Layout, dropout: float = 0.0
) -> tuple[Tensor, None]:
    """The same function as `eager_attention`, exact, without computing on padding where the device allows it."""
    if query.device.type == "cuda":
        if fits_varlen(query):
            if not dropout:
                from torch.nn.attention.varlen import varlen_attn

                ends = queries.cu_seqlens, keys.cu_seqlens
                context: Tensor = varlen_attn(query, key, value, *ends, queries.seq, keys.seq)  # type: ignore[assignment]
                return context, None
            _tell_once(dropout)
        if fits_nested(query) and not torch.compiler.is_compiling():
            return nested_attention(query, key, value, queries, keys, dropout)
    if query.device.type == "cpu":
        return attend_on_cpu(query, key, value, queries, keys, dropout), None
    return sdpa_attention(query, key, value, queries, keys, dropout)


def auto_attention(
    query: Tensor, key: Tensor, value: Tensor, queries: Layout, keys: Layout, dropout: float = 0.0
) -> tuple[Tensor, None]:
    """As `packed_attention`, but padded where that would take nested tensors, until they are measured on a GPU."""
    if query.device.type == "cuda" and (dropout or not fits_varlen(query)):
        if fits_varlen(query):
            _tell_once(dropout)
        return sdpa_attention(query, key, value, queries, keys, dropout)
    return packed_attention(query, key, value, queries, keys, dropout)


def attend_on_cpu(query: Tensor, key: Tensor, value: Tensor, queries: Layout, keys: Layout, dropout: float) -> Tensor:
    """Sentence by sentence or as a rectangle, by torch's flash kernel or written out: whatever is fastest."""
    by_hand = bool(dropout) or flash_is_slow(query, keys.seq)
    call, padded_score = BF16_COSTS if by_hand and has_bf16_units(query) else COSTS
    if by_hand or keys.mask is not None:
        query_lengths, lengths = queries.cu_seqlens.diff().tolist(), keys.cu_seqlens.diff().tolist()
        rectangle = padded_score * keys.batch * queries.seq * keys.seq
        if rectangle > sum(asked * length + call for asked, length in zip(query_lengths, lengths, strict=True)):
            return attend_one_by_one(query, key, value, query_lengths, lengths, by_hand, dropout)
    padded = eager_attention if by_hand else sdpa_attention
    return padded(query, key, value, queries, keys, dropout)[0]


def flash_is_slow(query: Tensor, seq: int) -> bool:
    """Whether torch's flash kernel for CPUs loses to plain matrix products: in bfloat16, if the processor has it.

    Going backward it takes 2 to 4 times as long, forward 1.2 to 1.5 times, from some 64 keys on. Over long texts it
    makes good for it, and takes less memory.
    """
    short, long = FLASH_PAYS
    trained = torch.is_grad_enabled() and query.requires_grad
    return has_bf16_units(query) and (trained or seq > short) and seq <= long


def has_bf16_units(query: Tensor) -> bool:
    """Whether the processor has units for matrix products of these numbers, if they are bfloat16."""
    return HAS_BF16_UNITS and query.dtype == torch.bfloat16


def attend_one_by_one(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    query_lengths: list[int],
    lengths: list[int],
    by_hand: bool,
    dropout: float,
) -> Tensor:
    """Attention for each sentence by itself; nothing is copied on the way in.

    `split` and not slices: the gradient of a slice is a tensor of zeros as large as all tokens, one for each sentence,
    which makes training with short sentences three times as slow.
    """
    query = query.transpose(0, 1).unsqueeze(0)  # (queries, heads, head_dim) -> (1, heads, queries, head_dim)
    key = key.transpose(0, 1).unsqueeze(0)  # (tokens, heads, head_dim) -> (1, heads, tokens, head_dim)
    value = value.transpose(0, 1).unsqueeze(0)  # (tokens, heads, head_dim) -> (1, heads, tokens, head_dim)
    splits = query.split(query_lengths, 2), key.split(lengths, 2), value.split(lengths, 2)
    sentences = list(zip(*splits, strict=True))
    if by_hand:
        contexts = [attend_by_hand(*sentence, dropout) for sentence in sentences]
    else:
        contexts = [F.scaled_dot_product_attention(*sentence) for sentence in sentences]
    context = torch.cat(contexts, dim=2)  # -> (1, heads, queries, head_dim)
    return context.squeeze(0).transpose(0, 1)  # (1, heads, queries, head_dim) -> (queries, heads, head_dim)


def attend_by_hand(query: Tensor, key: Tensor, value: Tensor, dropout: float) -> Tensor:
    """Of one sentence, written out: torch's own way keeps scaled copies of queries and keys for the backward pass."""
    scores = (query @ key.mT).div_(math.sqrt(query.shape[-1]))  # (..., asked, head_dim) -> (..., asked, length)
    probabilities = scores.softmax(dim=-1)
    if not dropout:
        return probabilities @ value  # (..., asked, length) -> (..., asked, head_dim)
    mask = dropout_mask(probabilities, dropout)
    weights = drop(probabilities, mask, dropout)
    with keep_recipe(weights, partial(drop, probabilities, mask, dropout)):
        return weights @ value  # (..., asked, length) -> (..., asked, head_dim)


def fits_varlen(query: Tensor) -> bool:
    """Whether torch's packed CUDA kernel can do this: an Ampere GPU or newer, and heads of 8, 16, ... 256 numbers."""
    return (
        HAS_VARLEN
        and query.dtype in (torch.bfloat16, torch.float16)
        and query.shape[2] in range(8, 257, 8)
        and torch.cuda.get_device_capability(query.device) >= (8, 0)
    )


def fits_nested(query: Tensor) -> bool:
    """Whether torch has fused kernels for nested tensors like this; else it asks the GPU for the length of each row."""
    return query.dtype != torch.float64 and query.shape[2] % 8 == 0


@lru_cache(maxsize=1)
def _tell_once(dropout: float) -> None:
    log.warning(
        "torch's packed attention kernel has no dropout, and the config asks for %g: training takes a slower way, with "
        "'auto' the padded rectangle, which costs the work on padding, with 'packed' nested tensors, which cost a copy "
        "of queries, keys and values. For a packed kernel with dropout, choose attn_implementation='triton'; to train "
        "without it, set attention_probs_dropout_prob=0.",
        dropout,
    )
