"""Early stopping (Prechelt 1998): when evaluations no longer get better, more training only learns the noise."""

from __future__ import annotations

from collections.abc import Sequence


def evaluations_without_gain(values: Sequence[float], minimal_gain: float, greater_is_better: bool) -> int:
    """How many evaluations have passed since the last gain: one of more than `minimal_gain` over the best before it."""
    best, waited = None, 0
    for value in values:
        gained = best is None or (value - best if greater_is_better else best - value) > minimal_gain
        best, waited = (value, 0) if gained else (best, waited + 1)
    return waited
