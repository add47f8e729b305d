"""The words of a text and where they stand in it."""

from __future__ import annotations

from .wordpiece import is_cjk, is_control, is_punctuation, is_whitespace


def word_places(text: str) -> list[tuple[int, int]]:
    """The first character of each word, and the one after its last. Words are those of `BasicTokenizer`.

    So each punctuation mark and each Chinese character is a word. `BasicTokenizer` itself cannot tell the places, since
    it drops characters that cannot be seen; here these stay in the middle of words, and are no words alone.
    """
    places = []
    start: int | None = None  # of the word that is being read
    for place, char in enumerate([*text, " "]):
        apart = is_punctuation(char) or is_cjk(char)
        if start is not None and (apart or is_whitespace(char)):
            places.append((start, place))
            start = None
        if apart:
            places.append((place, place + 1))
        elif start is None and not (is_whitespace(char) or is_control(char) or char == "\ufffd"):
            start = place
    return places
