"""ROUGE: how far a summary's words, pairs of words and order agree with a person's summary.

Lin 2004, "ROUGE: A Package for Automatic Evaluation of Summaries". The numbers are those of Google's package
`rouge-score` without stemming, the field's reference in Python, which the tests compare with: as a dependency it would
bring NLTK along, for fifty lines. Like it, this counts only the letters a to z and digits as words.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

NO_WORD = re.compile(r"[^a-z0-9]+")


class Score(NamedTuple):
    """From 0 to 1 each."""

    precision: float
    recall: float
    f1: float


def words(text: str) -> list[str]:
    """The words that are compared, in lower case."""
    return NO_WORD.sub(" ", text.lower()).split()


def ngrams(sequence: Sequence[str], size: int) -> Counter[tuple[str, ...]]:
    """How often every run of `size` words occurs."""
    return Counter(tuple(sequence[at : at + size]) for at in range(len(sequence) - size + 1))


def rouge_n(summary: str, reference: str, size: int) -> Score:
    """ROUGE-N: the runs of `size` words that both have, each as often as in the one that has it less often."""
    ours, theirs = (ngrams(words(text), size) for text in (summary, reference))
    return score((ours & theirs).total(), ours.total(), theirs.total())


def rouge_l(summary: str, reference: str) -> Score:
    """ROUGE-L, on the whole texts: the most words that both have in the same order, with or without others between."""
    ours, theirs = words(summary), words(reference)
    return score(longest_common_subsequence(ours, theirs), len(ours), len(theirs))


def rouge(summary: str, reference: str) -> dict[str, float]:
    """The three F1 that papers report: rouge1, rouge2 and rougeL."""
    return {
        "rouge1": rouge_n(summary, reference, 1).f1,
        "rouge2": rouge_n(summary, reference, 2).f1,
        "rougeL": rouge_l(summary, reference).f1,
    }


def score(shared: int, ours: int, theirs: int) -> Score:
    """Precision, recall and F1 out of three counts; 0 where there is nothing to share."""
    if not shared:
        return Score(0.0, 0.0, 0.0)
    precision, recall = shared / ours, shared / theirs
    return Score(precision, recall, 2 * precision * recall / (precision + recall))


def longest_common_subsequence(one: Sequence[str], other: Sequence[str]) -> int:
    """Its length. The textbook fills a table with a row for each word of `one` and a column for each word of `other`.

    From one column to the next, a row rises by one or not at all: so the bits of one whole number hold it, 0 where it
    rises, and one addition makes the next row, since its carries push every rise to the left, as far as the next word
    that both have (Hyyro 2004, "Bit-Parallel LCS-length Computation Revisited").
    """
    places: dict[str, int] = {}
    for column, word in enumerate(other):
        places[word] = places.get(word, 0) | 1 << column
    level = row = (1 << len(other)) - 1
    for word in one:
        both = row & places.get(word, 0)
        row = (row + both) | (row - both)
    return (~row & level).bit_count()
