"""How often each label occurs, and which of them cannot be right."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

import numpy as np

from .duplicates import groups, normalize
from .splits import Finding, Split

RARE = 10  # examples of a label below which hardly anything can be learnt or measured
MOST_CLASSES = 200  # more different labels than this, all numbers, are taken for a regression
SKEWED = 0.8


def is_numeric(labels: Sequence[str]) -> bool:
    """Whether the labels are measured numbers rather than names of classes: fractions, or very many."""
    given = {label for label in labels if label}
    values = [_number(label) for label in given]
    if not values or not all(map(math.isfinite, values)):
        return False
    return len(given) > MOST_CLASSES or any(value != int(value) for value in values)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def label_figures(classes: Sequence[Sequence[str]], numeric: bool) -> dict[str, Any] | None:
    """How often each class occurs, the most frequent first; or how measured numbers are spread. None without any."""
    given = list(chain.from_iterable(classes))
    if not numeric:
        return {"counts": dict(Counter(given).most_common())}
    values = np.array([_number(label) for label in given])
    values = values[np.isfinite(values)]
    if not len(values):
        return None
    # Numbers may differ by a rounding error alone, which is too little to be divided.
    bars = 20 if np.ptp(values) > 1e-9 * np.abs(values).max() else 1
    heights, edges = np.histogram(values, bins=bars)
    return {
        "mean": float(values.mean()), "deviation": float(values.std()),
        "least": float(values.min()), "most": float(values.max()),
        "histogram": {"edges": edges.tolist(), "rows": heights.tolist()},
    }  # fmt: skip


def label_findings(split: Split, train: Split) -> Iterable[Finding]:
    if split.classes is None:
        return
    classes = [set(row) for row in split.classes]
    counts = Counter(chain.from_iterable(split.classes))
    if counts and not split.is_tagged:  # most words are in no entity, so that a single kind is one to be told
        (label, count), total = counts.most_common(1)[0], counts.total()
        if len(counts) == 1:
            yield Finding(split.name, "there is only one label", len(split), len(split), "add another", serious=True)
        elif split is train and count > SKEWED * total:
            yield Finding(
                split.name, f"most labels are '{label}'", count, total,
                f"to answer it always is right in {count / total:.0%}: judge by macro F1 or MCC, not by accuracy",
            )  # fmt: skip
    if split is train:
        rare = [label for label, count in counts.items() if count < RARE]
        rows = [place for place, row in enumerate(classes) if row.intersection(rare)]
        what = f"{len(rare)} label(s) that occur fewer than {RARE} times"
        yield from split.finding(what, rows, "join or drop them, or collect more")
    elif train.classes is not None:
        known = set(chain.from_iterable(train.classes))
        rows = [place for place, row in enumerate(classes) if row - known]
        advice = "no model can learn them: mend the label, or move such rows to train"
        yield from split.finding("labels that train does not have", rows, advice, True)
    alike = groups([normalize(label) for label in counts])
    names = list(counts)
    for group in alike:
        rows = [place for place, row in enumerate(classes) if row.intersection(names[i] for i in group)]
        what = f"labels that differ in capitals or white space only ({', '.join(repr(names[i]) for i in group)})"
        yield from split.finding(what, rows, "they count as different labels: write them alike", True)
