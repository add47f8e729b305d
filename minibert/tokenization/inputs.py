"""What may be given to a tokenizer as text: one, a batch, pairs of them, and each of these as lists of words."""

from __future__ import annotations

import math
import reprlib
from typing import Any, TypeAlias

from ..errors import InputError
from ..files import LONE_SURROGATE

Text: TypeAlias = "str | list[str]"  # as it is, or in words

# Half a pair of UTF-16, as broken emoji leave them in JSON files. No string in Rust can hold it, so U+FFFF stands for
# it: that is as little a character, and becomes the unknown token too.
STAND_IN = "\uffff"


def as_batch(text: Any, text_pair: Any, is_split_into_words: bool) -> tuple[list[Text | tuple[Text, Text]], bool]:
    """A list of texts or pairs of texts, and whether it was one: a text by itself becomes a list of one.

    Raises `InputError` naming the place of what is no text.
    """
    if not _is_batch(text, is_split_into_words):
        first = _text(text, "text", is_split_into_words)
        second = None if text_pair is None else _text(text_pair, "text_pair", is_split_into_words)
        return [(first, second) if second else first], False  # an empty second text is none, as in transformers
    if not text:
        raise InputError("There is nothing to tokenize: text is an empty list.")
    if text_pair is None:
        return [_text_or_pair(item, f"text[{i}]", is_split_into_words) for i, item in enumerate(text)], True
    if not isinstance(text_pair, (list, tuple)) or len(text_pair) != len(text):
        found = f"{len(text_pair)}" if isinstance(text_pair, (list, tuple)) else reprlib.repr(text_pair)
        raise InputError(f"text_pair must be a list as long as text: found {found} for {len(text)} texts.")
    pairs = enumerate(zip(text, text_pair, strict=True))
    return [
        (_text(first, f"text[{i}]", is_split_into_words), _text(second, f"text_pair[{i}]", is_split_into_words))
        for i, (first, second) in pairs
    ], True


def _is_batch(text: Any, is_split_into_words: bool) -> bool:
    if not isinstance(text, (list, tuple)):
        return False
    return not is_split_into_words or (len(text) > 0 and isinstance(text[0], (list, tuple)))


def _text_or_pair(item: Any, place: str, is_split_into_words: bool) -> Text | tuple[Text, Text]:
    part = (list, tuple) if is_split_into_words else str
    if isinstance(item, (list, tuple)) and len(item) == 2 and all(isinstance(text, part) for text in item):
        first, second = item
        return _text(first, f"{place}[0]", is_split_into_words), _text(second, f"{place}[1]", is_split_into_words)
    return _text(item, place, is_split_into_words)


def _text(value: Any, place: str, is_split_into_words: bool) -> Text:
    if not is_split_into_words:
        return _string(value, place)
    if not isinstance(value, (list, tuple)):
        raise InputError(
            f"{place} must be a list of words, for is_split_into_words=True says so: found {reprlib.repr(value)}."
        )
    return [_string(word, f"{place}[{i}]") for i, word in enumerate(value)]


def _string(value: Any, place: str) -> str:
    if isinstance(value, str):
        return value if value.isascii() else LONE_SURROGATE.sub(STAND_IN, value)
    if isinstance(value, (list, tuple)):
        advice = "For texts that are split into words already, pass is_split_into_words=True."
    elif value is None or (isinstance(value, float) and math.isnan(value)):
        advice = "That is what an empty cell of a table is read as: leave it out, or put '' there."
    else:
        advice = "A batch is a list of strings."
    raise InputError(f"{place} must be a string: found {reprlib.repr(value)} ({type(value).__name__}). {advice}")
