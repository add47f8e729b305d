"""WordPiece, the definition: how BERT cuts a text into pieces it knows.

A model has a fixed vocabulary, 30,522 entries for the English BERT, and text has no end of words. WordPiece cuts a word
it does not know into the longest pieces it does know, so that nothing but truly foreign writing is lost:

    "Unaffable, isn't it?"
        -> unaffable , isn ' t it ?             BasicTokenizer: clean, split, lower the case
        -> una ##ffa ##ble , isn ' t it ?       WordPiece: the longest known piece first

`##` marks a piece that goes on with a word. The ids that BERT reads are the line numbers of the pieces in `vocab.txt`.

This is Google's algorithm step by step (google-research/bert, `tokenization.py`; each docstring names the function it
equals) and needs only the standard library. `BertTokenizer` gives the same pieces, some three times as fast and
on all cores.
"""

from __future__ import annotations

import string
import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import Path

from ..errors import InputError

UNKNOWN = "[UNK]"
CONTINUES = "##"

# A word longer than this, in characters, becomes one unknown token: it is a URL or noise, and the time that cutting it
# takes grows with the square of its length.
MAX_WORD_LENGTH = 200

# The blocks of Chinese characters, first and last. Japanese kana and Korean Hangul are not among them.
CJK_RANGES = (
    (0x4E00, 0x9FFF),  # CJK Unified Ideographs
    (0x3400, 0x4DBF),  # Extension A
    (0x20000, 0x2A6DF),  # Extension B
    (0x2A700, 0x2B73F),  # Extension C
    (0x2B740, 0x2B81F),  # Extension D
    (0x2B820, 0x2CEAF),  # Extension E
    (0xF900, 0xFAFF),  # Compatibility Ideographs
    (0x2F800, 0x2FA1F),  # Compatibility Ideographs Supplement
)


class WordPieceTokenizer:
    """Text to tokens: `BasicTokenizer`, then `WordPiece`. Equals Google's `FullTokenizer`.

    `vocab` maps each token to its id and must hold `unk_token`, else `InputError`. The other arguments are those of
    `BasicTokenizer`.
    """

    def __init__(
        self,
        vocab: Mapping[str, int],
        do_lower_case: bool = True,
        *,
        strip_accents: bool | None = None,
        split_cjk: bool = True,
        unk_token: str = UNKNOWN,
    ) -> None:
        self.vocab = vocab
        self.basic = BasicTokenizer(do_lower_case, strip_accents=strip_accents, split_cjk=split_cjk)
        self.pieces = WordPiece(vocab, unk_token)

    def tokenize(self, text: str) -> list[str]:
        """The tokens of `text`, without `[CLS]` and `[SEP]`. Equals `FullTokenizer.tokenize`."""
        if not isinstance(text, str):
            raise InputError(f"The text must be a string: found {text!r}.")
        return [piece for word in self.basic.tokenize(text) for piece in self.pieces.tokenize(word)]

    def convert_tokens_to_ids(self, tokens: Iterable[str]) -> list[int]:
        """The id of each token. Equals `convert_tokens_to_ids`; `InputError` for a token the vocabulary lacks."""
        ids = []
        for token in tokens:
            if token not in self.vocab:
                raise InputError(f"{token!r} is not in the vocabulary of {len(self.vocab)} tokens.")
            ids.append(self.vocab[token])
        return ids


class BasicTokenizer:
    """Text to words and punctuation marks. Equals Google's `BasicTokenizer`.

    Google's knows one switch, `do_lower_case`, which strips accents as well. Vocabularies made by others may need them
    apart: `strip_accents` (None: as `do_lower_case`), and `split_cjk=False` leaves Chinese characters together.
    """

    def __init__(
        self, do_lower_case: bool = True, *, strip_accents: bool | None = None, split_cjk: bool = True
    ) -> None:
        self.do_lower_case = do_lower_case
        self.strip_accents = do_lower_case if strip_accents is None else strip_accents
        self.split_cjk = split_cjk

    def tokenize(self, text: str) -> list[str]:
        """The words of `text`. Equals `BasicTokenizer.tokenize`."""
        text = clean(text)
        if self.split_cjk:
            text = set_cjk_apart(text)
        words = []
        for word in text.split():
            if self.do_lower_case:
                word = word.lower()
            if self.strip_accents:
                word = strip_accents(word)
            words += split_on_punctuation(word)
        return words


class WordPiece:
    """One word to its pieces, greedily, the longest match first. Equals Google's `WordpieceTokenizer`."""

    def __init__(self, vocab: Mapping[str, int], unk_token: str = UNKNOWN) -> None:
        if unk_token not in vocab:
            raise InputError(
                f"The vocabulary has no {unk_token}, the token for what it cannot spell "
                f"({len(vocab)} tokens found): is this a BERT vocabulary, with one token a line?"
            )
        self.vocab = vocab
        self.unk_token = unk_token

    def tokenize(self, word: str) -> list[str]:
        """The pieces of `word`, or the unknown token alone when any part of it cannot be spelled.

        Equals `WordpieceTokenizer.tokenize` on one word.
        """
        if len(word) > MAX_WORD_LENGTH:
            return [self.unk_token]
        pieces = []
        start = 0
        while start < len(word):
            prefix = CONTINUES if start > 0 else ""
            end = len(word)
            while end > start and prefix + word[start:end] not in self.vocab:
                end -= 1
            if end == start:
                return [self.unk_token]
            pieces.append(prefix + word[start:end])
            start = end
        return pieces


def load_vocab(path: str | Path) -> dict[str, int]:
    """The vocabulary in a `vocab.txt`: UTF-8, one token a line, its id is the line's number from 0.

    Equals Google's `load_vocab`, but raises `InputError` for a file that cannot be read, is empty, is not UTF-8, or
    holds a token twice (Google's keeps the second and loses an id).
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"The vocabulary {path} cannot be read: {error.strerror}.") from error
    return parse_vocab(content, str(path))


def parse_vocab(content: bytes, name: str) -> dict[str, int]:
    """`load_vocab` for bytes in memory; `name` stands for the file in the errors."""
    try:
        lines = content.decode("utf-8-sig").split("\n")  # not splitlines: U+2028 is a token of the Chinese BERT
    except UnicodeDecodeError as error:
        raise InputError(
            f"{name} is not a vocabulary: it is not UTF-8 text (byte {error.start} is {content[error.start]:#04x}). "
            f"Save it as UTF-8, one token a line."
        ) from error
    if lines[-1] == "":
        lines.pop()
    if not lines:
        raise InputError(f"The vocabulary {name} is empty: it should hold one token a line.")
    vocab: dict[str, int] = {}
    for number, line in enumerate(lines):
        token = line.strip() or line.rstrip("\r")  # white space that is all of a token is the token
        if token in vocab:
            raise InputError(
                f"The vocabulary {name} holds {token!r} twice, in lines {vocab[token] + 1} and {number + 1}: "
                f"the line is the token's id, so each token may stand only once."
            )
        vocab[token] = number
    return vocab


def clean(text: str) -> str:
    """Drop what cannot be seen, make every white space a plain one. Equals `BasicTokenizer._clean_text`."""
    return "".join(
        " " if is_whitespace(char) else char
        for char in text
        if not (is_control(char) or char == "\ufffd")  # U+FFFD stands where a decoder met broken bytes
    )


def set_cjk_apart(text: str) -> str:
    """Spaces around each Chinese character, for Chinese is written without any.

    Equals `BasicTokenizer._tokenize_chinese_chars`.
    """
    return "".join(f" {char} " if is_cjk(char) else char for char in text)


def strip_accents(text: str) -> str:
    """`é` becomes `e`: take accents off into characters of their own (NFD), then leave these out.

    Equals `BasicTokenizer._run_strip_accents`.
    """
    return "".join(char for char in unicodedata.normalize("NFD", text) if unicodedata.category(char) != "Mn")


def split_on_punctuation(word: str) -> list[str]:
    """`isn't` becomes `isn`, `'`, `t`: each mark is a word. Equals `BasicTokenizer._run_split_on_punc`."""
    return "".join(f" {char} " if is_punctuation(char) else char for char in word).split()


def is_whitespace(char: str) -> bool:
    """Equals `_is_whitespace`: tab, line ends, and Unicode's spaces (category Zs)."""
    return char in "\t\n\r" or unicodedata.category(char) == "Zs"


def is_control(char: str) -> bool:
    """Equals `_is_control`: Unicode's control (Cc) and format (Cf) characters, but not those that are white space."""
    return char not in "\t\n\r" and unicodedata.category(char) in ("Cc", "Cf")


def is_punctuation(char: str) -> bool:
    """Equals `_is_punctuation`: Unicode's punctuation (P*), and in ASCII all that is neither letter, digit nor space.

    So `$` and `^` are punctuation, although Unicode calls them symbols, and `€` is not.
    """
    return char in string.punctuation or unicodedata.category(char).startswith("P")


def is_cjk(char: str) -> bool:
    """Equals `BasicTokenizer._is_chinese_char`."""
    return any(first <= ord(char) <= last for first, last in CJK_RANGES)
