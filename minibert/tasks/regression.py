"""Regression: a number for a sentence or a pair, such as how alike two sentences are (STS-B; paper, section 4.1).

Files: `.tsv`, `.csv` or `.jsonl` with the columns `text`, optionally `text_b`, and `label`, a number.
Features: see `texts.py`. Head: `BertForSequenceClassification` with one label, trained with the squared error.
Answer: the one logit. The labels are brought to mean 0 and deviation 1 for training, so that the learning rates of the
other tasks fit whatever the unit; the model's settings keep both numbers, and answers are in the file's own unit again.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import plots
from ..config import BertConfig
from ..errors import InputError
from ..pages import heading, picture, table
from .task import Columns, Example, Examples, saved_number
from .texts import TextTask, joined, saved_text_settings, text_settings

ERRORS = 25  # in a report


class RegressionTask(TextTask):
    """A number for a sentence or a pair."""

    name = "regression"
    answer_key = "score"
    headline = ("pearson", "spearman", "mse")

    def __init__(self, columns: Columns, mean: float = 0.0, deviation: float = 1.0, **text: Any) -> None:
        super().__init__(columns, **text)
        self.mean, self.deviation = mean, deviation

    @classmethod
    def from_arguments(cls, arguments: argparse.Namespace) -> RegressionTask:
        return cls(**text_settings(arguments))

    @classmethod
    def from_config(cls, config: BertConfig, columns: Columns) -> RegressionTask:
        mean, deviation = saved_number(config, "mean", 0.0), saved_number(config, "deviation", 1.0, above=0)
        return cls(columns, mean, deviation, **saved_text_settings(config))

    def parse_label(self, value: Any) -> float:
        return parse_number(value)

    def learn_labels(self, train: Examples) -> None:
        """The mean and the deviation of the training labels. Raises `InputError` if all are the same."""
        super().learn_labels(train)
        self.mean, self.deviation = float(np.mean(train.truths)), float(np.std(train.truths))
        if min(train.truths) == max(train.truths):
            raise InputError(
                f"{train.path}: all {len(train)} rows have the label {train.truths[0]:g}. To learn a difference, there "
                "must be at least two."
            )
        if not 0 < self.deviation < math.inf:
            raise InputError(f"{train.path}: the deviation of the labels is {self.deviation}: choose another unit.")

    def config_changes(self) -> dict[str, Any]:
        return {
            "num_labels": 1,
            "problem_type": "regression",
            **self.settings(mean=self.mean, deviation=self.deviation),
        }

    def target(self, examples: Examples, example: Example) -> float:
        return (example.truth - self.mean) / self.deviation

    def read_logits(self, logits: NDArray[np.float32]) -> list[dict[str, Any]]:
        scores = logits[:, 0].astype(float) * self.deviation + self.mean
        # As many digits as float32 has, which the logit is; more before them if the labels lie far from 0.
        digits = 7 + math.ceil(math.log10(max(1, abs(self.mean) / self.deviation)))
        return [{"score": float(f"{score:.{digits}g}")} for score in scores]

    def metrics(self, examples: Examples, answers: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        return regression_metrics(np.array(examples.truths), np.array([answer["score"] for answer in answers]))

    def report(self, examples: Examples, answers: Sequence[Mapping[str, Any]], metrics: Mapping[str, Any]) -> list[str]:
        """True against predicted numbers, and the largest errors."""
        scores = [answer["score"] for answer in answers]
        pairs = sorted(zip(examples, scores, strict=True), key=lambda pair: -abs(pair[0].truth - pair[1]))
        return [
            heading("Predicted against true"),
            picture(
                partial(plots.scatter, examples.truths, scores, "true", "predicted"),
                f"Scatter plot of {len(scores)} predictions; their correlation with the truth is "
                f"{metrics['pearson']:.3f}.",
            ),
            heading("The largest errors"),
            table(
                ["error", "predicted", "true", "text"],
                [
                    [f"{score - example.truth:+.2f}", f"{score:.2f}", f"{example.truth:g}", joined(example)]
                    for example, score in pairs[:ERRORS]
                ],
            ),
        ]

    def describe(self) -> str:
        return f"numbers with mean {self.mean:.3g} and deviation {self.deviation:.3g}"


def parse_number(value: Any) -> float:
    """A finite number from a table's cell. Raises `ValueError` that says what is needed."""
    try:
        number = math.nan if isinstance(value, bool) or "_" in str(value) else float(value)  # Python's 1_000 is no data
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise ValueError("a number, with a point before its decimals" if "," in str(value) else "a number")
    return number


def regression_metrics(labels: NDArray[np.float64], predictions: NDArray[np.float64]) -> dict[str, float]:
    """Pearson's and Spearman's correlation, and the mean squared error. labels, predictions: (examples,).

    A few lines each, and so no reason to ask for scipy, with which the tests compare them. Where one side never
    changes, a correlation is not defined: 0 then, as good as chance.
    """
    return {
        "pearson": pearson(labels, predictions),
        "spearman": pearson(ranks(labels), ranks(predictions)),
        "mse": float(np.mean((labels - predictions) ** 2)),
    }


def pearson(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """The correlation of two rows of numbers, -1 to 1."""
    first, second = (values / (np.abs(values).max() or 1) for values in (first, second))  # squares stay finite
    first, second = first - first.mean(), second - second.mean()
    spread = float(np.linalg.norm(first) * np.linalg.norm(second))
    return float(np.clip(first @ second / spread, -1, 1)) if spread else 0.0


def ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 for the smallest, and so on; equal values share the mean of their ranks."""
    _, group, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[group]
