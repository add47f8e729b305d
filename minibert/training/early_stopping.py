"""Early stopping (Prechelt 1998): when evaluations no longer get better, more training only learns the noise."""

from __future__ import annotations

import math
from collections.abc import Sequence


def evaluations_without_gain(values: Sequence[float], minimal_gain: float, greater_is_better: bool) -> int:
    """How many evaluations have passed since the last gain: one of more than `minimal_gain` over the best before it.

    What is no number, such as the correlation with answers that are all alike, is no gain; any value beats it.
    """
    best, waited = None, 0
    for value in values:
        if best is None:
            gained = not math.isnan(value)
        else:
            gained = (value - best if greater_is_better else best - value) > minimal_gain
        best, waited = (value, 0) if gained else (best, waited + 1)
    return waited
