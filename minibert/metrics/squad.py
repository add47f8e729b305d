"""Exact match and F1 of answers cut out of a text, as SQuAD counts them.

Rajpurkar et al. 2016, "SQuAD: 100,000+ Questions for Machine Comprehension of Text", section 6.1; for questions without
an answer Rajpurkar et al. 2018, "Know What You Don't Know". The rules are those of the official script, version 2.0,
which prints the same numbers times 100. That script is no package; it is short enough to be written out here.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache

ARTICLES = re.compile(r"\b(a|an|the)\b")
WITHOUT_PUNCTUATION = str.maketrans("", "", string.punctuation)


@lru_cache(100_000)  # the bootstrap asks a thousand times for the same
def normalize(text: str) -> str:
    """What is left to compare: no capitals, no (ASCII) punctuation, no articles, single spaces."""
    return " ".join(ARTICLES.sub(" ", text.lower().translate(WITHOUT_PUNCTUATION)).split())


def exact_match(answer: str, right: Sequence[str]) -> float:
    """1.0 if the answer is one of the right ones, else 0.0. No answer, "", is right if there is none in the text."""
    return float(normalize(answer) in map(normalize, _gold(right)))


def f1(answer: str, right: Sequence[str]) -> float:
    """From 0 to 1, how far the words agree with the right answer that is nearest."""
    return max(_word_f1(normalize(answer).split(), normalize(text).split()) for text in _gold(right))


def _gold(right: Sequence[str]) -> list[str]:
    """Without answers of which nothing is left to compare; [""] if there are no others."""
    return [text for text in right if normalize(text)] or [""]


def _word_f1(words: list[str], right: list[str]) -> float:
    if not words or not right:
        return float(words == right)
    shared = (Counter(words) & Counter(right)).total()
    precision, recall = shared / len(words), shared / len(right)
    return 2 * precision * recall / (precision + recall) if shared else 0.0
