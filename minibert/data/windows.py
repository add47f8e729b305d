"""Sentences longer than the model, in windows that share some words."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

SHARE = 1 / 4  # of a window's tokens, at most, it has in common with the next one


def split_windows(lengths: Sequence[int], room: int) -> list[tuple[int, int]]:
    """Windows of words [start, end) that cover them all, none with more tokens than `room`.

    lengths: the tokens of each word, at least 1 and at most `room`. A window begins with the last words of the one
    before, if they fit into their share of the room: so every word is read with neighbours on both sides.
    """
    before = [0, *accumulate(lengths)]  # tokens before each word
    windows = []
    start = 0
    while True:
        end = start
        while end < len(lengths) and before[end + 1] - before[start] <= room:
            end += 1
        windows.append((start, end))
        if end == len(lengths):
            return windows
        start = end
        while before[end] - before[start - 1] <= SHARE * room and before[end + 1] - before[start - 1] <= room:
            start -= 1
