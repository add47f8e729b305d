"""Texts that stand in a data set more than once: to the letter, or nearly.

*Exact* duplicates differ in capitals, white space and forms of a character (Unicode's NFKC) at most. *Near* duplicates
share at least 80 % of their words: |A ∩ B| / |A ∪ B| ≥ 0.8, the Jaccard similarity of the two sets of words.

Comparing every text with every other would take hours for a hundred thousand of them. Two sets that are so similar
cannot differ in more than a few words, so they must share one of their rarest few (Bayardo, Ma, Srikant 2007, "Scaling
up all pairs similarity search"); and the first word that they share must stand near the front of both, for if several
rarer ones are missing on a side, too few are left to share (Xiao, Wang, Lin, Yu 2008, "PPJoin", positional filter).
Only texts of which that is true are compared. That misses none, but among thousands of texts from one template, of
which each would be compared with most others: there the first comparisons must do.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

NEAR = 0.8
# Of two sets with n and m words, the share of n + m that they must have in common: |A ∪ B| = n + m - |A ∩ B|.
IN_COMMON = NEAR / (1 + NEAR)
MOST_COMPARED = 1000  # other texts, those with the rarest shared words first
MOST_LISTED = 100_000  # places of its rarest words that are looked up for one text, likewise
ROUNDING = 1e-9  # 0.8 is no exact number in floating point; a whole product must stay one

WORD = re.compile(r"\w+")

WordSet = frozenset[str]


def normalize(text: str) -> str:
    """What two texts must have in common to be exact duplicates."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


class Wording(NamedTuple):
    """What is compared of a row: its texts as `normalize` makes them, and their words.

    In a pair, the same word on either side counts as two.
    """

    texts: tuple[str, str]
    words: WordSet


def wording(text: str, text_b: str = "") -> Wording:
    """That of a text, or of a pair."""
    texts = normalize(text), normalize(text_b)
    first, second = map(WORD.findall, texts)
    return Wording(texts, frozenset(first) | {f"{word} in b" for word in second})


def groups(keys: Sequence[Hashable]) -> list[list[int]]:
    """The places of equal keys, for keys that occur twice or more; the largest group first."""
    places: dict[Hashable, list[int]] = defaultdict(list)
    for place, key in enumerate(keys):
        places[key].append(place)
    return sorted((group for group in places.values() if len(group) > 1), key=len, reverse=True)


class Near(NamedTuple):
    """Row `place` is nearly the row `of` of those that were there before it."""

    place: int
    of: int
    similarity: float


class NearIndex:
    """Sets of words, none of them empty, and which of them another set is nearly.

    others: the sets that will be asked about, if they are not these: all together decide which words are rare.
    """

    def __init__(self, sets: Sequence[WordSet], others: Sequence[WordSet] = ()) -> None:
        counts = Counter(chain.from_iterable((*sets, *others)))
        by_rarity = sorted(counts, key=lambda word: (counts[word], word))
        self._rank = {word: rank for rank, word in enumerate(by_rarity)}
        self._sets = sets
        # An entry for each of the rarest words of each set, sorted by word and then by set.
        rarest = [self._rarest(words) for words in sets]
        ranks = np.fromiter(chain.from_iterable(rarest), np.int64)
        places = np.fromiter(chain.from_iterable(range(len(found)) for found in rarest), np.int64)
        numbers = np.repeat(np.arange(len(sets)), np.array([len(found) for found in rarest], np.int64))
        order = np.argsort(ranks, kind="stable")
        self._starts = np.searchsorted(ranks[order], np.arange(len(by_rarity) + 1))  # of each word's entries
        self._numbers = numbers[order]
        self._sizes = np.array([len(words) for words in sets], np.int64)[self._numbers]
        self._left = self._sizes - places[order]  # words of the set from this one on

    def find(self, words: WordSet, before: int | None = None) -> tuple[int, float] | None:
        """A set that is at least `NEAR` to this one, and how near; None if there is none.

        before: only the sets with smaller numbers count.
        """
        entries, left = self._entries(words)
        needed = IN_COMMON * (self._sizes[entries] + len(words)) - ROUNDING
        candidates = self._numbers[entries[np.minimum(self._left[entries], left) >= needed]]
        if before is not None:
            candidates = candidates[candidates < before]
        for candidate in list(dict.fromkeys(candidates.tolist()))[:MOST_COMPARED]:
            similarity = jaccard(words, self._sets[candidate])
            if similarity >= NEAR:
                return candidate, similarity
        return None

    def _entries(self, words: WordSet) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The entries of the rarest of these words, and of each how many of these words are left from there on.

        Both (entries,), those of the rarest word first.
        """
        ranks = np.array(self._rarest(words))
        starts, ends = self._starts[ranks], self._starts[ranks + 1]
        listed = np.minimum(np.cumsum(ends - starts), MOST_LISTED)
        counts = np.diff(listed, prepend=0)
        entries = np.repeat(starts - (listed - counts), counts) + np.arange(listed[-1])
        return entries, np.repeat(len(words) - np.arange(len(ranks)), counts)

    def _rarest(self, words: WordSet) -> list[int]:
        """The ranks of so many that two sets which share none of them share fewer than `NEAR` of their words."""
        needed = math.ceil(NEAR * len(words) - ROUNDING)  # words that a similar set must share, at least
        return sorted(map(self._rank.__getitem__, words))[: len(words) - needed + 1]


def jaccard(one: WordSet, other: WordSet) -> float:
    """Shared words as a share of all words of both, which must not be empty."""
    shared = len(one & other)
    return shared / (len(one) + len(other) - shared)


def near_within(sets: Sequence[WordSet]) -> list[Near]:
    """The rows that are nearly an earlier row, each with one such row."""
    index = NearIndex(sets)
    return [Near(place, *match) for place, words in enumerate(sets) if (match := index.find(words, before=place))]


def near_across(sets: Sequence[WordSet], earlier: Sequence[WordSet]) -> list[Near]:
    """The rows of one file that are nearly a row of another, `earlier`, each with one such row."""
    index = NearIndex(earlier, sets)
    return [Near(place, *match) for place, words in enumerate(sets) if (match := index.find(words))]
