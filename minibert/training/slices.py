"""Metrics for each group of examples: a model that is right on average may be wrong for some."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..intervals import Interval, bootstrap, wilson
from ..tasks.task import Examples, Task

MOST = 1000  # slices: each is compared with all other examples
LEAST = 10  # examples: the bootstrap of fewer says more than it knows


def column_values(examples: Examples, column: str, flag: str = "--slice") -> list[str]:
    """The values of a column, as text. Raises `InputError` if a row has none; `flag` names another."""
    for example in examples:
        if column not in example.columns:
            found = ", ".join(map(str, example.columns)) or "no columns"
            raise examples.fault(example, f"there is no column '{column}', but {found}. Name the right one with {flag}")
    return [str(example.columns[column]) for example in examples]


def slice_values(examples: Examples, column: str) -> list[str]:
    """The values of a column that groups the examples. Raises `InputError` if it is not there, or numbers them."""
    values = column_values(examples, column)
    if (count := len(set(values))) > MOST:
        raise InputError(
            f"--slice {column}: the column has {count:,} different values, and {MOST:,} slices at most are judged. "
            "Name a column that puts many examples into one group."
        )
    return values


def slice_metrics(
    task: Task, examples: Examples, answers: Sequence[Mapping[str, Any]], values: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """The task's headline metrics for each value, the largest gap first.

    values: one for each example. `interval_95` holds, by metric, Wilson's interval for the accuracy and that of the
    bootstrap for the others (None below 10 examples); `gap` is the first metric less that of all other examples (None
    if there are no others). With many groups, some intervals lie apart by chance: one in twenty.
    """

    def metrics(numbers: Any) -> list[float]:
        found = task.metrics(examples.subset(numbers), [answers[number] for number in numbers])
        return [found[name] for name in task.headline]

    def intervals(figures: Mapping[str, float], numbers: NDArray[np.int64]) -> dict[str, Interval | None]:
        found: dict[str, Interval | None] = dict.fromkeys(figures)
        if len(numbers) >= LEAST:
            drawn = bootstrap(lambda places: metrics(numbers[places]), len(numbers))
            found = dict(zip(figures, drawn, strict=True))
        right = sum(answers[number][task.answer_key] == examples[number].truth for number in numbers)
        if figures.get("accuracy") == right / len(numbers):  # of examples, and not of their tokens
            found["accuracy"] = wilson(right, len(numbers))
        return found

    slices: dict[str, dict[str, Any]] = {}
    for value in sorted(set(values)):
        inside = np.array([number for number, found in enumerate(values) if found == value])
        outside = np.array([number for number, found in enumerate(values) if found != value])
        figures = dict(zip(task.headline, metrics(inside), strict=True))
        gap = figures[task.headline[0]] - metrics(outside)[0] if len(outside) else None
        slices[value] = {"examples": len(inside), **figures, "interval_95": intervals(figures, inside), "gap": gap}
    return dict(sorted(slices.items(), key=lambda item: -abs(item[1]["gap"] or 0)))
