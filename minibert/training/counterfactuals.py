"""What a model says when nothing but a name, a pronoun or another word is exchanged.

A model that judges "Emily was a great host" and "Jamal was a great host" differently has learnt something about names.
Comparing such pairs is the test of Kiritchenko and Mohammad 2018, "Examining gender and race bias in two hundred
sentiment analysis systems", here made from any file of examples and any list of words.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from ..data.tables import read_table
from ..errors import InputError
from ..intervals import wilson
from ..tasks.task import Examples, Task

SHOWN = 10  # of the most changed examples


def read_swaps(path: str | Path) -> dict[str, str]:
    """Words and what takes their place, in both directions, from a table of two columns with a header.

    Words are told apart whatever their capitals. A word may stand in the first column once; if it stands in the second
    more than once, its first row is the way back. Raises `InputError` for any other table.
    """
    table = read_table(path)
    swaps: dict[str, str] = {}
    back: dict[str, str] = {}
    for row in table.rows:
        words = [str(value).strip() for value in row.values.values()]
        if len(words) != 2 or not all(words):
            raise table.fault(
                row, f"a word and its counterpart are needed: found {len(list(filter(None, words)))} words"
            )
        word, counterpart = words
        if word.lower() in swaps:
            raise table.fault(row, f"'{word}' stands in the first column twice")
        swaps[word.lower()] = counterpart
        back.setdefault(counterpart.lower(), word)
    return back | swaps


def swap_words(text: str, swaps: Mapping[str, str]) -> str:
    """Each listed word, where it stands as a whole word, gives way to its counterpart, in capitals of the same kind."""

    def swap(match: re.Match[str]) -> str:
        # Some letters match that are no capitals of each other, such as the Turkish ones: those words stay.
        counterpart = swaps.get(match[0].lower())
        return match[0] if counterpart is None else _as(match[0], counterpart)

    return _whole_words(tuple(swaps)).sub(swap, text)


@lru_cache(maxsize=1)  # thousands of words take milliseconds to put together, and each text asks for them
def _whole_words(words: tuple[str, ...]) -> re.Pattern[str]:
    longest_first = sorted(words, key=len, reverse=True)
    return re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, longest_first))})(?!\w)", re.IGNORECASE)


def _as(word: str, counterpart: str) -> str:
    """ "HE" and "she" make "SHE"; "He" makes "She"; "john" and "Mary" make "mary"."""
    if word.islower():
        return counterpart.lower()
    if word.isupper() and len(word) > 1:
        return counterpart.upper()
    return counterpart[0].upper() + counterpart[1:]


def counterfactuals(
    task: Task,
    examples: Examples,
    answers: Sequence[Mapping[str, Any]],
    swaps: Mapping[str, str],
    ask: Callable[[Examples], Sequence[Mapping[str, Any]]],
) -> dict[str, Any]:
    """How many answers change when words are swapped, and which change most.

    answers: those to the examples as they are. ask: the model; only examples with one of the words are asked again. An
    answer that is cut out of the text has not changed if nothing but the words in it are swapped.
    `mean_shift` is the mean of how far the probabilities move (half the sum of their absolute changes), or an answer
    that is a number; of numbers nothing else is told. Raises `InputError` if no example has any of the words.
    """
    swapped = [replace(example, given=_swap(example.given, swaps), truth=None) for example in examples]
    numbers = [number for number, example in enumerate(swapped) if example.given != examples[number].given]
    if not numbers:
        raise InputError(f"No text of {examples.path} has any of the {len(swaps)} words to swap.")
    asked = Examples(examples.path, [swapped[number] for number in numbers], have_truth=False)
    changes = []
    for number, example, after in zip(numbers, asked, ask(asked), strict=True):
        before = answers[number][task.answer_key]
        same = _swap(before, swaps) if task.answer_is_text else before  # the answer that shows no change of mind
        changes.append(
            {
                "line": example.line,
                "given": examples[number].given,
                "swapped": example.given,
                "before": before,
                "after": after[task.answer_key],
                "changed": after[task.answer_key] != same,
                "shift": _shift({**answers[number], task.answer_key: same}, after, task.answer_key),
            }
        )
    changes.sort(key=lambda change: (not change["changed"], -change["shift"]))
    counts: dict[str, Any] = {}
    if not all(isinstance(change["after"], float) for change in changes):  # two numbers are hardly ever quite equal
        changed = sum(change["changed"] for change in changes)
        counts = {
            "changed": changed,
            "share_changed": changed / len(changes),
            "interval_95": wilson(changed, len(changes)),
        }
    return {
        "examples": len(changes),
        **counts,
        "mean_shift": sum(change["shift"] for change in changes) / len(changes),
        "most_changed": changes[:SHOWN],
    }


def _swap(value: Any, swaps: Mapping[str, str]) -> Any:
    """In any text of what is asked, also within lists, but not in the name of a question."""
    if isinstance(value, str):
        return swap_words(value, swaps)
    if isinstance(value, list):
        return [_swap(item, swaps) for item in value]
    if isinstance(value, dict):
        return {key: item if key == "id" else _swap(item, swaps) for key, item in value.items()}
    return value


def _shift(before: Mapping[str, Any], after: Mapping[str, Any], key: str) -> float:
    if isinstance(before.get("probabilities"), Mapping):
        pairs = [(value, after["probabilities"][name]) for name, value in before["probabilities"].items()]
        return sum(abs(one - other) for one, other in pairs) / 2
    if isinstance(before[key], float):
        return abs(before[key] - after[key])
    return float(before[key] != after[key])
