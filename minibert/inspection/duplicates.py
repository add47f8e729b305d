"""Texts that stand in a data set more than once: to the letter, or nearly.

*Exact* duplicates differ in capitals, white space and forms of a character (Unicode's NFKC) at most. *Near* duplicates
share at least 80 % of their words: |A ∩ B| / |A ∪ B| ≥ 0.8, the Jaccard similarity of the two sets of words.

Comparing every text with every other would take hours for a hundred thousand of them. Two sets that are so similar
cannot differ in more than a few words, so they must share one of their rarest few: only texts that do are compared
(Bayardo, Ma, Srikant 2007, "Scaling up all pairs similarity search"). That misses none, but among thousands of texts
from one template, of which each would be compared with most others: there the first comparisons must do.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

NEAR = 0.8
MOST_COMPARED = 1000  # other texts, those with the rarest shared words first
ROUNDING = 1e-9  # 0.8 is no exact number in floating point; a whole product must stay one

WordSet = frozenset[str]


def normalize(text: str) -> str:
    """What two texts must have in common to be exact duplicates."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def word_set(text: str, text_b: str = "") -> WordSet:
    """The words of a text, or of a pair, in which the same word on either side counts as two."""
    return frozenset(_words(text)) | {f"{word} in b" for word in _words(text_b)}


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", normalize(text))


def groups(keys: Sequence[str]) -> list[list[int]]:
    """The places of equal keys, for keys that occur twice or more; the largest group first."""
    places: dict[str, list[int]] = defaultdict(list)
    for place, key in enumerate(keys):
        places[key].append(place)
    return sorted((group for group in places.values() if len(group) > 1), key=len, reverse=True)


class Near(NamedTuple):
    """Row `place` is nearly the row `of` of those that were there before it."""

    place: int
    of: int
    similarity: float


class NearIndex:
    """Sets of words, and whether a new one is nearly one of them.

    everything: all sets that will be asked about, for they decide which words are rare.
    """

    def __init__(self, everything: Iterable[WordSet]) -> None:
        counts = Counter(word for words in everything for word in words)
        by_rarity = sorted(counts, key=lambda word: (counts[word], word))
        self._rank = {word: rank for rank, word in enumerate(by_rarity)}
        self._sets: list[WordSet] = []
        self._holders: dict[str, list[int]] = defaultdict(list)  # word -> the sets of whose rarest words it is

    def add(self, words: WordSet) -> None:
        """Sets are numbered from 0 in the order in which they come."""
        for word in self._rarest(words):
            self._holders[word].append(len(self._sets))
        self._sets.append(words)

    def find(self, words: WordSet) -> tuple[int, float] | None:
        """A set that is at least `NEAR` to this one, and how near; None if there is none."""
        seen: set[int] = set()
        least, most = NEAR * len(words) - ROUNDING, len(words) / NEAR + ROUNDING
        for word in self._rarest(words):
            for candidate in self._holders.get(word, ()):
                other = self._sets[candidate]
                if least <= len(other) <= most and candidate not in seen:  # others cannot share enough
                    seen.add(candidate)
                    similarity = jaccard(words, other)
                    if similarity >= NEAR:
                        return candidate, similarity
                    if len(seen) == MOST_COMPARED:
                        return None
        return None

    def _rarest(self, words: WordSet) -> list[str]:
        """So many that two sets which share none of them share fewer than `NEAR` of their words."""
        needed = math.ceil(NEAR * len(words) - ROUNDING)  # words that a similar set must share, at least
        return sorted(words, key=self._rank.__getitem__)[: len(words) - needed + 1]


def jaccard(one: WordSet, other: WordSet) -> float:
    """Shared words as a share of all words of both, which must not be empty."""
    shared = len(one & other)
    return shared / (len(one) + len(other) - shared)


def near_within(sets: Sequence[WordSet]) -> list[Near]:
    """The rows that are nearly an earlier row, each with one such row."""
    index, found = NearIndex(sets), []
    for place, words in enumerate(sets):
        if match := index.find(words):
            found.append(Near(place, *match))
        index.add(words)
    return found


def near_across(sets: Sequence[WordSet], earlier: Sequence[WordSet]) -> list[Near]:
    """The rows of one file that are nearly a row of another, `earlier`, each with one such row."""
    index = NearIndex([*earlier, *sets])
    for words in earlier:
        index.add(words)
    return [Near(place, *match) for place, words in enumerate(sets) if (match := index.find(words))]
