"""Classification: one of several labels for a sentence or a pair.

Files: `.tsv`, `.csv` or `.jsonl` with the columns `text`, optionally `text_b`, and `label` (any names of labels).
Features: [CLS] text [SEP], or [CLS] text [SEP] text_b [SEP]; see `texts.py`. Head: `BertForSequenceClassification`.
Answer: the label with the highest logit, and the softmax of all (paper, section 4.1).
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import plots
from ..calibration import calibration, fit_temperature, softmax
from ..config import BertConfig
from ..errors import InputError
from ..pages import heading, paragraph, picture, table
from .task import Columns, Example, Examples, Features, saved_number
from .texts import (
    Probabilities,
    TextTask,
    describe_labels,
    joined,
    label_names,
    mean_by_example,
    ratio,
    saved_text_settings,
    text_settings,
    unknown_label,
)  # fmt: skip

log = logging.getLogger("minibert")

MISTAKES = 25  # in a report
CLASSES = 30  # in a report: those of the lowest F1, and of the pairs of classes those that are confused most


class ClassificationTask(TextTask):
    """One of several labels for a sentence or a pair."""

    name = "classification"
    headline = ("accuracy", "f1_macro", "mcc")

    def __init__(
        self,
        columns: Columns,
        names: Sequence[str] = (),
        calibrate: bool = False,
        temperature: float = 1.0,
        **text: Any,
    ) -> None:
        """calibrate: whether `tune` fits the temperature, by which logits are divided to make probabilities."""
        super().__init__(columns, **text)
        self._know(names)
        self.calibrate = calibrate
        self.temperature = temperature

    def _know(self, names: Sequence[str]) -> None:
        self.names = list(names)
        self._numbers = {name: number for number, name in enumerate(names)}

    @classmethod
    def from_arguments(cls, arguments: argparse.Namespace) -> ClassificationTask:
        return cls(calibrate=arguments.calibrate, **text_settings(arguments))

    @classmethod
    def from_config(cls, config: BertConfig, columns: Columns) -> ClassificationTask:
        temperature = saved_number(config, "temperature", 1.0, above=0)
        return cls(columns, label_names(config), temperature=temperature, **saved_text_settings(config))

    def parse_label(self, value: Any) -> str:
        if not isinstance(value, (str, int)) or not str(value).strip():
            raise ValueError("a label, which is text or a whole number")
        return str(value)

    def learn_labels(self, train: Examples) -> None:
        """The labels of the training file, sorted (numbers by value). Raises `InputError` if there is only one."""
        super().learn_labels(train)
        names = set(train.truths)
        if len(names) < 2:
            raise InputError(
                f"{train.path}: all {len(train)} rows have the label '{names.pop()}'. To learn a difference, there "
                "must be at least two."
            )
        if len({" ".join(name.casefold().split()) for name in names}) < len(names):
            log.warning(
                f"Some labels of {train.path} differ in capitals or white space only, and count as different ones: "
                "python -m minibert.inspect names them."
            )
        numbers = {name for name in names if name.removeprefix("-").isdecimal()}
        self._know([*sorted(numbers, key=lambda name: (float(name), name)), *sorted(names - numbers)])

    def classes(self, truth: str) -> list[str]:
        return [truth]

    def config_changes(self) -> dict[str, Any]:
        return {
            "id2label": dict(enumerate(self.names)),
            "problem_type": "single_label_classification",
            **self.settings(temperature=self.temperature),
        }

    def target(self, examples: Examples, example: Example) -> int:
        if example.truth not in self._numbers:
            raise unknown_label(examples, example, example.truth, self.names)
        return self._numbers[example.truth]

    def tune(self, examples: Examples, features: Features, outputs: Any) -> None:
        """The temperature, if it was asked for."""
        if self.calibrate:
            labels = np.array([self.target(examples, example) for example in examples])
            self.temperature = fit_temperature(mean_by_example(outputs, features), labels)

    def read_logits(self, logits: NDArray[np.float32]) -> list[dict[str, Any]]:
        return label_answers(logits / self.temperature, self.names)

    def metrics(self, examples: Examples, answers: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        labels = np.array([self.target(examples, example) for example in examples])
        predictions = np.array([self._numbers[answer["label"]] for answer in answers])
        calibrated = calibration(np.array([answer["probability"] for answer in answers]), predictions == labels)
        return {
            **classification_metrics(labels, predictions, self.names),
            "ece": calibrated["ece"],
            "temperature": self.temperature,
            "reliability": calibrated["bins"],
        }

    def report(self, examples: Examples, answers: Sequence[Mapping[str, Any]], metrics: Mapping[str, Any]) -> list[str]:
        """The confusion matrix, the classes, the calibration, and the most confident mistakes."""
        matrix, classes = metrics["confusion_matrix"], metrics["per_class"]
        wrong = [pair for pair in zip(examples, answers, strict=True) if pair[0].truth != pair[1]["label"]]
        wrong.sort(key=lambda pair: -pair[1]["probability"])
        return [
            *confusions(matrix, self.names),
            heading("Classes, the weakest first"),
            table(
                ["class", "precision", "recall", "F1", "examples"],
                [
                    [name, *(f"{row[key]:.3f}" for key in ("precision", "recall", "f1")), row["support"]]
                    for name, row in sorted(classes.items(), key=lambda item: item[1]["f1"])[:CLASSES]
                ],
            ),
            *self._calibration(metrics),
            heading("The most confident mistakes"),
            table(
                ["probability", "predicted", "true", "text"],
                [
                    [f"{answer['probability']:.3f}", answer["label"], example.truth, joined(example)]
                    for example, answer in wrong[:MISTAKES]
                ],
                "None: every example of the dev set is right.",
            ),
        ]

    def _calibration(self, metrics: Mapping[str, Any]) -> list[str]:
        error = f"The expected calibration error is {metrics['ece']:.3f}"
        note = "Where that is much, --calibrate helps."
        if self.temperature != 1:
            note = f"The temperature, {self.temperature:.2f}, was fitted to these very examples: judge it by others."
        return [
            heading("Calibration"),
            picture(partial(plots.reliability, metrics["reliability"]), f"Right answers by confidence. {error}."),
            paragraph(
                f"{error} (Guo et al. 2017): how far, on average, the confidence of an answer is from the share of "
                f"such answers that are right. {note}"
            ),
        ]

    def describe(self) -> str:
        return describe_labels(self.names)


def confusions(matrix: Sequence[Sequence[int]], names: Sequence[str]) -> list[str]:
    """Of a report: the confusion matrix, or, if it would be too large to read, the pairs that are confused most."""
    if len(names) <= plots.MOST_NUMBERED_CLASSES:
        alt = f"Confusion matrix of {len(names)} classes; its numbers are in metrics.json."
        return [heading("Confusion matrix"), picture(partial(plots.confusion, matrix, names), alt)]
    pairs = [
        (count, sum(row), names[true], names[predicted])
        for true, row in enumerate(matrix)
        for predicted, count in enumerate(row)
        if true != predicted and count
    ]
    pairs.sort(key=lambda pair: -pair[0])
    rows = [
        [true, predicted, count, f"{100 * count / total:.0f} %"] for count, total, true, predicted in pairs[:CLASSES]
    ]
    return [
        heading("Classes that are confused most"),
        table(["true", "predicted", "times", "share of the true class"], rows, "None."),
    ]


def classification_metrics(
    labels: NDArray[np.int64], predictions: NDArray[np.int64], names: Sequence[str]
) -> dict[str, Any]:
    """The field's usual numbers, from the confusion matrix alone. labels, predictions: (examples,) class numbers.

    A ratio with nothing below its line counts as 0, and the averages are over the classes that occur in either, as in
    scikit-learn. `confusion_matrix[i][j]`: how many of class i were called j.
    """
    classes = len(names)
    matrix = np.bincount(classes * labels + predictions, minlength=classes * classes).reshape(classes, classes)
    right, actual, predicted = np.diag(matrix), matrix.sum(axis=1), matrix.sum(axis=0)
    precision = ratio(right, predicted)
    recall = ratio(right, actual)
    f1 = ratio(2 * right, actual + predicted)
    occurring = (actual + predicted) > 0
    return {
        "accuracy": float(right.sum() / matrix.sum()),
        "f1_macro": float(f1[occurring].mean()),
        "precision_macro": float(precision[occurring].mean()),
        "recall_macro": float(recall[occurring].mean()),
        "mcc": _matthews(matrix),
        "per_class": {
            name: {
                "precision": float(precision[i]),
                "recall": float(recall[i]),
                "f1": float(f1[i]),
                "support": int(actual[i]),
            }
            for i, name in enumerate(names)
        },
        "confusion_matrix": matrix.tolist(),
    }


def _matthews(matrix: NDArray[np.int64]) -> float:
    """Matthews' correlation for any number of classes (Gorodkin 2004): 1 is perfect, 0 no better than chance."""
    counts = matrix.astype(np.float64)
    total, right = counts.sum(), np.trace(counts)
    actual, predicted = counts.sum(axis=1), counts.sum(axis=0)
    covariance = right * total - actual @ predicted
    spread = np.sqrt(total**2 - actual @ actual) * np.sqrt(total**2 - predicted @ predicted)
    return float(covariance / spread) if spread else 0.0


def label_answers(logits: NDArray[Any], names: Sequence[str]) -> list[dict[str, Any]]:
    """Logits (examples, labels) as people read them: the label, its probability, and the probabilities of all."""
    probabilities = softmax(logits)
    best = probabilities.argmax(axis=1)
    rows = Probabilities.of_rows(names, probabilities)
    return [
        {"label": names[i], "probability": row[names[i]], "probabilities": row}
        for i, row in zip(best, rows, strict=True)
    ]
