"""How long the texts are, what a limit cuts off, and what the vocabulary cannot spell."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..tokenization import CHUNK, BertTokenizer
from .splits import EXAMPLES, Finding, Split, printable

CUTS = (64, 128, 256, 512)
BARS = 40


def lengths_of(split: Split, tokenizer: BertTokenizer | None, max_length: int) -> tuple[dict[str, Any], list[Finding]]:
    """The distribution of lengths, in words; with a tokenizer in tokens, and what is cut and what it cannot spell."""
    if tokenizer is None:
        lengths = np.array([sum(len(text.split()) for text in split.pair(place)) for place in range(len(split))])
        return {"unit": "words", **_distribution(lengths)}, []
    counts, special, unknown, words = _count_tokens(split, tokenizer)
    lengths = np.array(counts)
    cut = np.flatnonzero(lengths > max_length).tolist() if split.is_cut else []
    findings = [
        *split.finding(
            f"longer than {max_length} tokens, so cut",
            cut,
            "raise --max-length, or see to it that what matters comes first",
            examples=[split.excerpt(place, tokens=counts[place]) for place in cut[:EXAMPLES]],
        ),
        *split.finding(
            "words that the vocabulary cannot spell",
            list(unknown),
            "to the model they are all the same word, [UNK]",
            examples=[split.excerpt(place, found=" ".join(unknown[place])) for place in list(unknown)[:EXAMPLES]],
        ),
    ]
    tokens = int(lengths.sum())
    missing = [word for found in unknown.values() for word in found]
    figures = {
        "unit": "tokens",
        **_distribution(lengths),
        "cut": {str(limit): float((lengths > limit).mean()) for limit in sorted({*CUTS, max_length})},
        "tokens_lost": float(np.maximum(lengths - max_length, 0).sum() / max(tokens, 1)),
        "tokens_per_word": (tokens - special) / max(words, 1),
        "unknown_share": len(missing) / max(tokens - special, 1),
        "unknown_words": dict(Counter(missing).most_common(20)),
    }
    return figures, findings


def _count_tokens(split: Split, tokenizer: BertTokenizer) -> tuple[list[int], int, dict[int, list[str]], int]:
    """The tokens of each row, how many of all are special, the words of each row that became [UNK], and all words."""
    counts: list[int] = []
    unknown: dict[int, list[str]] = {}
    special = words = 0
    for start in range(0, len(split), CHUNK):
        chunk = slice(start, start + CHUNK)
        texts_b = None if split.texts_b is None else split.texts_b[chunk]
        encoding = tokenizer(split.texts[chunk], texts_b, return_offsets_mapping=True)
        for row, ids in enumerate(encoding["input_ids"]):
            counts.append(len(ids))
            sides, offsets = encoding.sequence_ids(row), encoding["offset_mapping"][row]
            special += sides.count(None)
            words += len(set(zip(sides, encoding.word_ids(row), strict=True))) - 1  # special tokens: (None, None)
            texts = split.pair(start + row)
            missing = [
                printable(texts[side][first:last])
                for token, side, (first, last) in zip(ids, sides, offsets, strict=True)
                if token == tokenizer.unk_token_id and side is not None
            ]
            if missing:
                unknown[start + row] = missing
    return counts, special, unknown, words


def _distribution(lengths: NDArray[np.int64]) -> dict[str, Any]:
    """Figures of whole numbers. In the histogram, the last bar holds all longer ones, too: at most one in 200."""
    points = {f"p{point}": float(np.percentile(lengths, point)) for point in (50, 95, 99)}
    top = int(np.percentile(lengths, 99.5))
    width = top // BARS + 1  # a whole number, or some bars would have more lengths than others
    edges = np.arange(0, top + width + 1, width)
    heights, _ = np.histogram(np.minimum(lengths, top), bins=edges)
    return {
        "mean": float(lengths.mean()), **points, "most": int(lengths.max()),
        "histogram": {"edges": edges.tolist(), "rows": heights.tolist()},
    }  # fmt: skip
