"""Learning a WordPiece vocabulary from text.

Begin with single characters. Then, again and again, make one new piece out of two that stand side by side, until the
vocabulary is full. Which two? That is what sets WordPiece apart from byte-pair encoding:

- BPE (Sennrich et al. 2016) joins the pair that is most frequent.
- WordPiece (Schuster & Nakajima 2012, section 3) joins the pair that makes the text most likely: a model that draws
  each piece by its own frequency gave a pair that occurs n times the probability p(left) p(right), and gives the new
  piece p(pair). So the text's log-likelihood grows by about

      n log( p(pair) / (p(left) p(right)) )  =  n log( n N / (n_left n_right) ),      N pieces in the text.

  A pair of frequent pieces that meet by chance gains nothing, however often they do.

Often one reads of the score n / (n_left n_right). It is the gain of a single occurrence, without the factor n, and so
is highest for pieces that occur once: on 24 MB of text a vocabulary of 8,000 pieces learnt by it needed 3.3 pieces a
word, by the gain of the whole text 1.2.

`learn_wordpiece` is the definition, to be read; it counts all words anew for every token. `learn_wordpiece_fast` gives
the same vocabulary and counts anew only what has changed. The trainer called WordPiece in the library `tokenizers` is
no way to it: it joins the most frequent pair, as BPE, and two runs of it give the same pieces different ids.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from itertools import pairwise
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from .wordpiece import CONTINUES, MAX_WORD_LENGTH, UNKNOWN, BasicTokenizer, WordPiece

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")

# The share of all characters that the vocabulary can spell. The rest, such as a Chinese name in an English article,
# would need thousands of pieces that hardly ever occur: such words become [UNK].
COVERAGE = 0.99995

# So many different words, as they stand in the text, are collected before they are cut by `BasicTokenizer`.
MANY_WORDS = 2_000_000

Piece = TypeVar("Piece", str, int)


def count_words(lines: Iterable[str], do_lower_case: bool = True) -> Counter[str]:
    """How often each word of `BasicTokenizer` occurs in the lines.

    A word is cut the same wherever it stands, so the text is split at spaces, and each different outcome cut once.
    """
    basic = BasicTokenizer(do_lower_case)
    words: Counter[str] = Counter()
    raw: Counter[str] = Counter()

    def cut() -> None:
        for part, count in raw.items():
            for word in basic.tokenize(part):
                words[word] += count
        raw.clear()

    for line in lines:
        raw.update(line.split(" "))
        if len(raw) > MANY_WORDS:
            cut()
    cut()
    return words


def learn_wordpiece(word_counts: Mapping[str, int], vocab_size: int) -> list[str]:
    """The definition: a vocabulary of at most `vocab_size` tokens, in the order of their ids.

    First come the special tokens, then the characters by their code, then the pieces as they are learnt. Among pairs
    of equal gain, the first in the order of strings is taken. Ends early when no pair has a gain any more. Raises
    `InputError` if the characters alone need more room.
    """
    spellings = spell(word_counts)
    vocab = first_tokens(spellings, vocab_size)
    while len(vocab) < vocab_size:
        pieces: Counter[str] = Counter()
        pairs: Counter[tuple[str, str]] = Counter()
        for word, spelling in spellings.items():
            for piece in spelling:
                pieces[piece] += word_counts[word]
            for pair in pairwise(spelling):
                pairs[pair] += word_counts[word]
        total = float(pieces.total())
        gains = {pair: float(gain(n, pieces[pair[0]], pieces[pair[1]], total)) for pair, n in pairs.items()}
        best = min(gains, key=lambda pair: (-gains[pair], pair), default=None)
        if best is None or gains[best] <= 0:
            break
        if join(*best) not in vocab:  # it may have been made before, out of other pieces
            vocab.append(join(*best))
        spellings = {word: merge(spelling, *best, join(*best)) for word, spelling in spellings.items()}
    return vocab


def gain(
    pair: float | NDArray[np.float64],
    left: float | NDArray[np.float64],
    right: float | NDArray[np.float64],
    total: float,
) -> NDArray[np.float64]:
    """What joining adds to the text's log-likelihood, in nats, from how often the pair, its two pieces, and all
    pieces together occur."""
    return np.asarray(pair * np.log(np.float64(pair) * total / (np.float64(left) * right)))


def spell(word_counts: Mapping[str, int]) -> dict[str, list[str]]:
    """Each word as single characters, `w ##o ##r ##d`; without the words that need a character beyond `COVERAGE`."""
    characters: Counter[str] = Counter()
    for word, count in word_counts.items():
        for character in word:
            characters[character] += count
    beyond = (1 - COVERAGE) * characters.total()
    rare = set()
    for character, count in sorted(characters.items(), key=lambda item: (item[1], item[0])):
        beyond -= count
        if beyond < 0:
            break
        rare.add(character)
    return {
        word: [word[0], *(CONTINUES + character for character in word[1:])]
        for word in sorted(word_counts)
        if len(word) <= MAX_WORD_LENGTH and rare.isdisjoint(word)
    }


def first_tokens(spellings: Mapping[str, list[str]], vocab_size: int) -> list[str]:
    """The special tokens and the characters, which every vocabulary has. Raises `InputError` if they are too many."""
    characters = sorted({piece for spelling in spellings.values() for piece in spelling} - set(SPECIAL_TOKENS))
    vocab = [*SPECIAL_TOKENS, *characters]
    if len(vocab) > vocab_size:
        raise InputError(
            f"A vocabulary of {vocab_size} has no room: the special tokens and the single characters of this text are "
            f"{len(vocab)} already. Ask for a larger one."
        )
    return vocab


def join(left: str, right: str) -> str:
    """The piece that two pieces make."""
    return left + right.removeprefix(CONTINUES)


def merge(spelling: list[Piece], left: Piece, right: Piece, joined: Piece) -> list[Piece]:
    """A spelling with `joined` in place of each `left right`, from left to right."""
    merged: list[Piece] = []
    at = 0
    while at < len(spelling):
        if spelling[at : at + 2] == [left, right]:
            merged.append(joined)
            at += 2
        else:
            merged.append(spelling[at])
            at += 1
    return merged


def coverage(vocab: Iterable[str], word_counts: Mapping[str, int]) -> tuple[float, float]:
    """How well a vocabulary suits a text: tokens a word, and the share of words that become [UNK]."""
    wordpiece = WordPiece({token: number for number, token in enumerate(vocab)})
    tokens = unknown = total = 0
    for word, count in word_counts.items():
        pieces = wordpiece.tokenize(word)
        tokens += count * len(pieces)
        unknown += count * (pieces == [UNKNOWN])
        total += count
    return tokens / total, unknown / total


def learn_wordpiece_fast(
    word_counts: Mapping[str, int], vocab_size: int, progress: Callable[[int], object] = lambda tokens: None
) -> list[str]:
    """The same vocabulary as `learn_wordpiece`, much faster. `progress` is told of new tokens.

    Pieces are numbers, their ids. After each joining only those words are counted anew that hold the pair; the gains of
    all pairs, which change with every count, are computed at once in NumPy.
    """
    spelled = spell(word_counts)
    vocab = first_tokens(spelled, vocab_size)
    progress(len(vocab))
    ids = {token: number for number, token in enumerate(vocab)}
    spellings = [[ids[piece] for piece in spelling] for spelling in spelled.values()]
    counts = [word_counts[word] for word in spelled]
    joins = sum(map(len, spellings))  # at most, for each makes a word shorter: so many pieces, whatever was asked for
    piece_counts = np.zeros(min(vocab_size, len(vocab) + joins))
    pairs = _Pairs()
    for word, spelling in enumerate(spellings):
        for piece in spelling:
            piece_counts[piece] += counts[word]
        pairs.add(spelling, word, counts[word])

    while len(vocab) < vocab_size:
        best = pairs.best(piece_counts, vocab)
        if best is None:
            break
        left, right = best
        token = join(vocab[left], vocab[right])
        if token not in ids:
            ids[token] = len(vocab)
            vocab.append(token)
            progress(1)
        joined = ids[token]
        for word in pairs.words_with(left, right):
            before, count = spellings[word], counts[word]
            after = spellings[word] = merge(before, left, right, joined)
            pairs.remove(before, word, count)
            pairs.add(after, word, count)
            times = len(before) - len(after)
            piece_counts[left] -= times * count
            piece_counts[right] -= times * count
            piece_counts[joined] += times * count
    return vocab


class _Pairs:
    """Every pair of neighbours: how often it occurs, and in which words. A row of the arrays is a pair."""

    def __init__(self) -> None:
        self.rows: dict[tuple[int, int], int] = {}
        self.words: list[set[int]] = []
        self.counts = np.zeros(1024)
        self.pieces = np.zeros((2, 1024), dtype=np.int64)

    def add(self, spelling: list[int], word: int, count: int) -> None:
        for pair in pairwise(spelling):
            row = self.rows.get(pair)
            if row is None:
                row = self._new_row(pair)
            self.counts[row] += count
            self.words[row].add(word)

    def remove(self, spelling: list[int], word: int, count: int) -> None:
        for pair in pairwise(spelling):
            row = self.rows[pair]
            self.counts[row] -= count
            self.words[row].discard(word)

    def words_with(self, left: int, right: int) -> list[int]:
        return list(self.words[self.rows[left, right]])

    def best(self, piece_counts: NDArray[np.float64], vocab: list[str]) -> tuple[int, int] | None:
        """The pair with the greatest gain; None if there is no gain."""
        present = np.flatnonzero(self.counts)
        if not present.size:
            return None
        left, right = self.pieces[:, present]
        gains = gain(self.counts[present], piece_counts[left], piece_counts[right], piece_counts.sum())
        if gains.max() <= 0:
            return None
        equal = np.flatnonzero(gains == gains.max())
        pairs = [(int(left[row]), int(right[row])) for row in equal]
        return min(pairs, key=lambda pair: (vocab[pair[0]], vocab[pair[1]]))

    def _new_row(self, pair: tuple[int, int]) -> int:
        row = self.rows[pair] = len(self.rows)
        self.words.append(set())
        if row == len(self.counts):
            self.counts = np.pad(self.counts, (0, row))  # (pairs) -> (2 * pairs)
            self.pieces = np.pad(self.pieces, ((0, 0), (0, row)))  # (2, pairs) -> (2, 2 * pairs)
        self.pieces[:, row] = pair
        return row
