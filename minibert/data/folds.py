"""Examples in parts of equal size for cross-validation: each part judges once what the others have taught."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence

from ..errors import InputError


def assign_folds(
    labels: Sequence[float | str], folds: int, seed: int, groups: Sequence[Hashable] | None = None
) -> list[int]:
    """The fold of each example, from 0.

    Stratified: every label, or every range of numbers, has its share in every fold (Kohavi 1995). groups: examples of
    one group, such as texts of one author, all go into the same fold, the largest groups first, each to where its
    labels are rarest. Raises `InputError` if there are not enough examples or groups.
    """
    units = len(set(groups)) if groups is not None else len(labels)
    if units < folds:
        what = "examples" if groups is None else "groups"
        raise InputError(f"{folds} folds need at least {folds} {what}: found {units}.")
    shuffled = list(range(len(labels)))
    random.Random(seed).shuffle(shuffled)
    return _deal(labels, folds, shuffled) if groups is None else _deal_groups(labels, folds, shuffled, groups)


def _deal(labels: Sequence[float | str], folds: int, shuffled: Sequence[int]) -> list[int]:
    """Like cards that lie in order of their labels: neighbours never come into one hand."""
    result = [0] * len(labels)
    for turn, example in enumerate(sorted(shuffled, key=labels.__getitem__)):
        result[example] = turn % folds
    return result


def _deal_groups(
    labels: Sequence[float | str], folds: int, shuffled: Sequence[int], groups: Sequence[Hashable]
) -> list[int]:
    totals = Counter(labels)
    members: dict[Hashable, list[int]] = defaultdict(list)
    for example in shuffled:
        members[groups[example]].append(example)
    filled: list[Counter[float | str]] = [Counter() for _ in range(folds)]
    result = [0] * len(labels)
    for group in sorted(members.values(), key=len, reverse=True):
        counts = Counter(labels[example] for example in group)

        def crowding(fold: int, counts: Counter[float | str] = counts) -> tuple[float, int]:
            overlap = sum(filled[fold][label] * count / totals[label] for label, count in counts.items())
            return overlap, filled[fold].total()

        best = min(range(folds), key=crowding)
        filled[best] += counts
        for example in group:
            result[example] = best
    return result
