"""The words of a running text and where they stand in it, as corpora with a tag for each word have them."""

from __future__ import annotations

import re

from .wordpiece import CJK_RANGES, is_punctuation

CJK = "".join(f"{chr(first)}-{chr(last)}" for first, last in CJK_RANGES)
CHUNK = re.compile(rf"[{CJK}]|[^\s{CJK}]+")
ABBREVIATION = re.compile(r"(\w\.)+")  # U.N., a.m., J.
PART_OF_WORD = "@#"  # at the beginning of a name or a topic


def word_places(text: str) -> list[tuple[int, int]]:
    """The first character of each word, and the one after its last.

    Words are what stands between white space, and each punctuation mark at their beginning or end is a word of its own;
    but not the full stop of an abbreviation. "J. Smith's 9.30 (U.N.)" has the words J. Smith 's 9.30 ( U.N. ). So the
    words are like those of the Penn Treebank and of CoNLL's files, from which a model has learnt its tags; those of
    `BasicTokenizer`, which cuts U.N. into four, are not. Each Chinese character is a word.
    """
    places = []
    for chunk in CHUNK.finditer(text):
        start, end = chunk.span()
        while start < end and is_punctuation(text[start]) and text[start] not in PART_OF_WORD:
            places.append((start, start + 1))
            start += 1
        after = []
        while start < end and is_punctuation(text[end - 1]) and not ABBREVIATION.fullmatch(text, start, end):
            end -= 1
            after.append((end, end + 1))
        if end - start > 2 and text[end - 2 : end].lower() in ("'s", "’s"):
            after.append((end - 2, end))
            end -= 2
        if start < end:
            places.append((start, end))
        places += reversed(after)
    return places
