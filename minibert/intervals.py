"""How sure a number is: 95 % confidence intervals.

Over many samples of the same kind, 95 of 100 such intervals hold the true value. Three kinds of numbers, three ways: a
share of right answers (`wilson`), any metric on a set of examples (`bootstrap`), a mean over runs (`mean_over_runs`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist, mean, stdev

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95
RESAMPLES = 500

Interval = tuple[float, float]


def wilson(right: int, total: int) -> Interval:
    """Of a share, `right` of `total` (Wilson 1927). Unlike p ± 1.96 √(p(1-p)/n) it is sound near 0 and 1, and for few.

    Nothing is known from no examples: then it is (0, 1).
    """
    if total == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
    share = right / total
    middle = (share + z**2 / (2 * total)) / (1 + z**2 / total)
    half = z / (1 + z**2 / total) * math.sqrt(share * (1 - share) / total + z**2 / (4 * total**2))
    return 0.0 if right == 0 else middle - half, 1.0 if right == total else middle + half  # without rounding errors


def bootstrap(metrics: Callable[[NDArray[np.int64]], Sequence[float]], total: int) -> list[Interval]:
    """Of any metrics on `total` examples, by the percentile bootstrap (Efron 1979).

    metrics: its values on the examples of these numbers, some of which occur several times. It is called `RESAMPLES`
    times with as many examples as there are, drawn with replacement. The intervals come in the order of its values.
    """
    generator = np.random.default_rng(0)
    values = np.array([metrics(generator.integers(total, size=total)) for _ in range(RESAMPLES)])
    low, high = np.percentile(values, [50 * (1 - CONFIDENCE), 50 * (1 + CONFIDENCE)], axis=0)
    return list(zip(low.tolist(), high.tolist(), strict=True))


@dataclass(frozen=True)
class OverRuns:
    """What several runs say of a metric. deviation and interval are None for a single run."""

    mean: float
    deviation: float | None  # of the runs, as a sample: divided by their number less one
    interval_95: Interval | None  # of the mean
    runs: int

    def __str__(self) -> str:
        if self.deviation is None or self.interval_95 is None:
            return f"{self.mean:.4f} (one run)"
        low, high = self.interval_95
        return f"{self.mean:.4f} ± {self.deviation:.4f} (95% of the mean: {low:.4f} to {high:.4f}; {self.runs} runs)"


def mean_over_runs(values: Sequence[float]) -> OverRuns:
    """The mean of runs that differ by chance alone, with Student's interval for it (Student 1908)."""
    if len(values) == 1:
        return OverRuns(values[0], None, None, 1)
    middle, deviation = mean(values), stdev(values)
    half = student_t(len(values) - 1) * deviation / math.sqrt(len(values))
    return OverRuns(middle, deviation, (middle - half, middle + half), len(values))


def student_t(freedom: int) -> float:
    """How many standard errors the interval of a mean reaches to either side, for so many degrees of freedom.

    Found by halving: the probability below it must be 97.5 %.
    """
    low, high = 0.0, 1000.0
    for _ in range(100):
        middle = (low + high) / 2
        if _inside(middle, freedom) < CONFIDENCE:
            low = middle
        else:
            high = middle
    return low


def _inside(t: float, freedom: int) -> float:
    """The probability of Student's distribution between -t and t: Abramowitz and Stegun 1964, 26.7.3 and 26.7.4."""
    angle = math.atan(t / math.sqrt(freedom))
    odd = freedom % 2
    term, total = (math.cos(angle), 0.0) if odd else (1.0, 0.0)
    for step in range(1 + odd, freedom, 2):
        total += term
        term *= math.cos(angle) ** 2 * step / (step + 1)
    return (2 / math.pi) * (angle + math.sin(angle) * total) if odd else math.sin(angle) * total
