"""Which tokens are to be predicted, and what the model sees in their places.

Three ways to choose, all with the same number of tokens:

- `token`       single tokens (Devlin et al. 2018, section 3.1)
- `whole_word`  all pieces of a word together (Google's `do_whole_word_mask`)
- `span`        runs of words, their lengths from a geometric distribution (Joshi et al. 2020, "SpanBERT", section 3.1)

Of the tokens chosen, 80 % become [MASK], 10 % a random token, 10 % stay as they are: in a text to be classified there
are no [MASK]s, so the model must not wait for them. For spans, these are shares of the spans.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..losses import IGNORE
from ..tokenization import BertTokenizer
from ..tokenization.wordpiece import CONTINUES

MASKED, REPLACED = 0.8, 0.1

SPAN_STOP = 0.2  # the chance that a span ends after a word
LONGEST_SPAN = 10  # in words; so the mean is 3.8

Ids = NDArray[np.int64]


class Masking:
    """`create_masked_lm_predictions` of Google's `create_pretraining_data.py`, vectorised.

    masked_lm_prob: the share of tokens to choose, at most `max_predictions_per_seq` in a text.

    Special tokens are neither chosen nor put in; [UNK], which Google's program does choose, is one of them.
    """

    def __init__(
        self, tokenizer: BertTokenizer, kind: str, masked_lm_prob: float, max_predictions_per_seq: int
    ) -> None:
        self.choose = MASKINGS[kind]
        self.masked_lm_prob = masked_lm_prob
        self.max_predictions_per_seq = max_predictions_per_seq
        self.mask_token_id = tokenizer.mask_token_id
        self.is_special = np.zeros(len(tokenizer), dtype=bool)
        self.is_special[tokenizer.all_special_ids] = True
        self.ordinary_ids = np.flatnonzero(~self.is_special)
        self.continues_word = np.zeros(len(tokenizer), dtype=bool)
        for token, token_id in tokenizer.get_vocab().items():
            self.continues_word[token_id] = token.startswith(CONTINUES)

    def __call__(self, ids: Ids, generator: np.random.Generator) -> tuple[Ids, Ids]:
        """What the model sees instead of `ids`, and the labels: both (tokens,) int64."""
        count = min(self.max_predictions_per_seq, max(1, round(len(ids) * self.masked_lm_prob)))
        candidates = np.flatnonzero(~self.is_special[ids])  # (tokens) -> (candidates)
        after_another = np.diff(candidates, prepend=-1) == 1
        begins_word = ~(self.continues_word[ids[candidates]] & after_another)
        places, units = self.choose(candidates, begins_word, count, generator)  # both (chosen)

        chance = generator.random(len(ids))[units]  # a unit has one fate: (tokens) -> (chosen)
        random_ids = self.ordinary_ids[generator.integers(len(self.ordinary_ids), size=len(places))]
        seen, labels = ids.copy(), np.full_like(ids, IGNORE)
        labels[places] = ids[places]
        seen[places] = np.where(
            chance < MASKED, self.mask_token_id, np.where(chance < MASKED + REPLACED, random_ids, ids[places])
        )
        return seen, labels


# A way to choose. It is given the places of the candidates and which of them begin a word, both (candidates,), and how
# many to choose; it gives the places chosen and the units that these belong to, numbered from 0, both (chosen,).
Choice = Callable[[Ids, NDArray[np.bool_], int, np.random.Generator], tuple[Ids, Ids]]


def choose_tokens(
    candidates: Ids, begins_word: NDArray[np.bool_], count: int, generator: np.random.Generator
) -> tuple[Ids, Ids]:
    """Any `count` tokens."""
    places = generator.permutation(candidates)[:count]  # (candidates) -> (chosen)
    return places, np.arange(len(places))


def choose_words(
    candidates: Ids, begins_word: NDArray[np.bool_], count: int, generator: np.random.Generator
) -> tuple[Ids, Ids]:
    """Words in random order, until there are `count` tokens; a word that would be too many is passed over.

    As in Google's program, whether a token becomes [MASK] is decided for each piece of a word by itself.
    """
    bounds = _word_bounds(begins_word)
    chosen: list[int] = []
    for word in generator.permutation(len(bounds) - 1).tolist():
        if len(chosen) == count:
            break
        if len(chosen) + bounds[word + 1] - bounds[word] <= count:
            chosen += range(bounds[word], bounds[word + 1])
    return candidates[chosen], np.arange(len(chosen))


def choose_spans(
    candidates: Ids, begins_word: NDArray[np.bool_], count: int, generator: np.random.Generator
) -> tuple[Ids, Ids]:
    """Runs of words from random places on, until there are `count` tokens, or twice as many places were tried.

    A run ends early where a word was chosen before, would be too many, or does not follow at once: it never goes on
    from A into B.
    """
    bounds = _word_bounds(begins_word)
    words = len(bounds) - 1
    # More spans than are needed: the first word of nearly each adds a token.
    starts = (generator.random(2 * count) * words).astype(int).tolist()
    lengths = _span_lengths(generator.random(2 * count)).tolist()
    taken: set[int] = set()  # words
    chosen: list[int] = []
    units: list[int] = []
    for unit, (start, length) in enumerate(zip(starts, lengths, strict=True)):
        for word in range(start, min(start + length, words)):
            first, end = bounds[word], bounds[word + 1]
            follows = word == start or candidates[first] == candidates[first - 1] + 1
            if word in taken or not follows or len(chosen) + end - first > count:
                break
            taken.add(word)
            chosen += range(first, end)
            units += [unit] * (end - first)
    return candidates[chosen], np.unique(units, return_inverse=True)[1]


MASKINGS: dict[str, Choice] = {"token": choose_tokens, "whole_word": choose_words, "span": choose_spans}


def _word_bounds(begins_word: NDArray[np.bool_]) -> list[int]:
    """Where each word begins among the candidates, and where the last one ends."""
    return [*np.flatnonzero(begins_word).tolist(), len(begins_word)]


def _span_lengths(chance: NDArray[np.float64]) -> NDArray[Any]:
    """Geometric lengths in words, none over the longest: the inverse of the distribution, at numbers from 0 to 1."""
    within = 1 - (1 - SPAN_STOP) ** LONGEST_SPAN
    return np.floor(np.log1p(-chance * within) / math.log(1 - SPAN_STOP)).astype(int) + 1
