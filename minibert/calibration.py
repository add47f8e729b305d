"""Whether a model that says 80 % is right in 80 % of such cases; and making it so.

Guo, Pleiss, Sun, Weinberger 2017, "On calibration of modern neural networks": networks are too sure of themselves, and
dividing their logits by one number, the temperature, mends most of it without changing a single answer.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

BINS = 15  # as in the paper
TEMPERATURES = (0.05, 20.0)  # beyond these, a set of examples is too small or too easy to tell


def softmax(logits: NDArray[Any]) -> NDArray[np.float64]:
    """Logits (..., classes) as probabilities."""
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True), dtype=np.float64)
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def calibration(confidences: NDArray[np.float64], right: NDArray[np.bool_]) -> dict[str, Any]:
    """The expected calibration error, and the bins it comes from (Guo et al. 2017, equations 1 to 3).

    confidences: (examples,), the probability of each answer. right: (examples,), whether it is the right one. In each
    of 15 bins of confidence, the share of right answers is compared with the mean confidence; `ece` is the mean
    difference, weighted by the examples in a bin. Bins without examples are left out.
    """
    edges = np.linspace(0, 1, BINS + 1)
    numbers = np.maximum(np.searchsorted(edges, confidences) - 1, 0)  # each bin holds its upper end
    bins = []
    for number in np.unique(numbers):
        inside = numbers == number
        bins.append(
            {
                "from": float(edges[number]),
                "to": float(edges[number + 1]),
                "examples": int(inside.sum()),
                "confidence": float(confidences[inside].mean()),
                "accuracy": float(right[inside].mean()),
            }
        )
    gaps = sum(row["examples"] * abs(row["accuracy"] - row["confidence"]) for row in bins)
    return {"ece": float(gaps / len(confidences)), "bins": bins}


def fit_temperature(logits: NDArray[Any], labels: NDArray[np.int64]) -> float:
    """The temperature at which the right labels are most probable (Guo et al. 2017, section 4.2).

    logits: (examples, classes). labels: (examples,). The negative log-likelihood is convex in 1 / temperature, with the
    slope: mean expected logit - mean logit of the right label. Its zero is found by halving.
    """
    right = logits[np.arange(len(labels)), labels].mean()
    low, high = 1 / TEMPERATURES[1], 1 / TEMPERATURES[0]
    for _ in range(60):
        middle = (low + high) / 2
        expected = (softmax(logits * middle) * logits).sum(axis=1).mean()
        if expected < right:
            low = middle
        else:
            high = middle
    return float(1 / low)
