"""Multi-label classification: any number of labels, none included, for a sentence or a pair.

Files: `.tsv`, `.csv` or `.jsonl` with the columns `text`, optionally `text_b`, and `label`: names with commas (or
`--label-separator`) between them, or in `.jsonl` a list of names; an empty cell or list is a text without a label.
Features: see `texts.py`. Head: `BertForSequenceClassification` with a yes-or-no decision for each label, trained with
binary cross-entropy (`problem_type` "multi_label_classification").
Answer: all labels whose probability, the sigmoid of their logit, reaches the label's threshold. Each threshold is
chosen on the dev set, for the best F1 of its label (Lipton et al. 2014): for a rare label, 0.5 is too high. So the dev
set's own figures, which also choose the epoch, are somewhat too good; a test set's are not.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..config import BertConfig
from ..errors import InputError
from ..pages import heading, paragraph, table
from .task import Columns, Example, Examples, Features, saved_settings
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

MISTAKES = 25  # in a report


class MultilabelTask(TextTask):
    """Any number of labels for a sentence or a pair."""

    name = "multilabel"
    answer_key = "labels"
    headline = ("f1_micro", "f1_macro", "subset_accuracy")

    def __init__(
        self,
        columns: Columns,
        names: Sequence[str] = (),
        label_separator: str = ",",
        thresholds: Mapping[str, float] | None = None,
        **text: Any,
    ) -> None:
        super().__init__(columns, **text)
        self.names = list(names)
        self.label_separator = label_separator
        self.thresholds = dict(thresholds or {})  # by label; 0.5 for those that are not here

    @classmethod
    def from_arguments(cls, arguments: argparse.Namespace) -> MultilabelTask:
        if not arguments.label_separator:
            raise InputError("--label-separator must be a character or more: found an empty text.")
        return cls(label_separator=arguments.label_separator, **text_settings(arguments))

    @classmethod
    def from_config(cls, config: BertConfig, columns: Columns) -> MultilabelTask:
        settings = saved_settings(config)
        thresholds = settings.get("thresholds") or {}
        if not isinstance(thresholds, dict) or not all(type(value) in (int, float) for value in thresholds.values()):
            raise InputError(f"The thresholds in the model's config must be a number a label: found {thresholds!r}.")
        separator = settings.get("label_separator", ",")
        if not isinstance(separator, str) or not separator:
            raise InputError(f"The label_separator in the model's config must be a text: found {separator!r}.")
        return cls(columns, label_names(config), separator, thresholds, **saved_text_settings(config))

    def parse_label(self, value: Any) -> list[str]:
        parts = value.split(self.label_separator) if isinstance(value, str) else value
        if not isinstance(parts, list) or not all(type(part) in (str, int) for part in parts):
            raise ValueError(f"names with '{self.label_separator}' between them, or a list of names")
        return sorted({str(part).strip() for part in parts} - {""})

    def learn_labels(self, train: Examples) -> None:
        """The labels that occur in the training file, sorted. Raises `InputError` if there are none."""
        super().learn_labels(train)
        self.names = sorted({name for truth in train.truths for name in truth})
        if not self.names:
            raise InputError(f"{train.path}: none of the {len(train)} rows has a label: there is nothing to learn.")

    def classes(self, truth: list[str]) -> list[str]:
        return truth

    def config_changes(self) -> dict[str, Any]:
        return {
            "id2label": dict(enumerate(self.names)),
            "problem_type": "multi_label_classification",
            **self.settings(label_separator=self.label_separator, thresholds=self.thresholds),
        }

    def target(self, examples: Examples, example: Example) -> list[float]:
        unknown = sorted(set(example.truth) - set(self.names))
        if unknown:
            raise unknown_label(examples, example, unknown[0], self.names)
        return [1.0 if name in example.truth else 0.0 for name in self.names]  # two numbers, not one for each label

    def tune(self, examples: Examples, features: Features, outputs: Any) -> None:
        """The threshold of each label."""
        probabilities = sigmoid(mean_by_example(outputs, features))
        truths = self._table(examples.truths)
        columns = zip(self.names, probabilities.T, truths.T, strict=True)
        self.thresholds = {name: best_threshold(column, truth) for name, column, truth in columns}

    def read_logits(self, logits: NDArray[np.float32]) -> list[dict[str, Any]]:
        probabilities = sigmoid(logits)
        reached = probabilities >= [self.thresholds.get(name, 0.5) for name in self.names]
        return [
            {"labels": [self.names[number] for number in np.flatnonzero(row)], "probabilities": of_labels}
            for row, of_labels in zip(reached, Probabilities.of_rows(self.names, probabilities), strict=True)
        ]

    def metrics(self, examples: Examples, answers: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        return multilabel_metrics(
            self._table(examples.truths), self._table([answer["labels"] for answer in answers]), self.names
        )

    def _table(self, labels: Sequence[Sequence[str]]) -> NDArray[np.bool_]:
        """(examples, labels): whether each example has each label."""
        numbers = {name: number for number, name in enumerate(self.names)}
        table = np.zeros((len(labels), len(self.names)), dtype=bool)
        for row, names in zip(table, labels, strict=True):
            row[[numbers[name] for name in names]] = True
        return table

    def report(self, examples: Examples, answers: Sequence[Mapping[str, Any]], metrics: Mapping[str, Any]) -> list[str]:
        """The labels, and where a wrong decision was surest: farthest from its threshold."""
        wrong = []
        for example, answer in zip(examples, answers, strict=True):
            for name in set(example.truth) ^ set(answer["labels"]):
                probability = answer["probabilities"][name]
                wrong.append((abs(probability - self.thresholds.get(name, 0.5)), name, probability, example))
        wrong.sort(key=lambda mistake: -mistake[0])
        return [
            heading("Labels, the weakest first"),
            table(
                ["label", "precision", "recall", "F1", "examples", "threshold"],
                [
                    [
                        name,
                        *(f"{row[key]:.3f}" for key in ("precision", "recall", "f1")),
                        row["support"],
                        f"{self.thresholds.get(name, 0.5):.3f}",
                    ]
                    for name, row in sorted(metrics["per_label"].items(), key=lambda item: item[1]["f1"])
                ],
            ),
            paragraph("The thresholds were chosen on these examples: a test set's figures will be a little lower."),
            heading("The surest mistakes"),
            table(
                ["probability", "label", "true labels", "text"],
                [
                    [f"{probability:.3f}", name, ", ".join(example.truth) or "none", joined(example)]
                    for _, name, probability, example in wrong[:MISTAKES]
                ],
                "None: every example of the dev set is right.",
            ),
        ]

    def describe(self) -> str:
        return describe_labels(self.names)


def sigmoid(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Logits as probabilities; however large, without an overflow."""
    return 0.5 * (1 + np.tanh(logits.astype(np.float64) / 2))


def best_threshold(probabilities: NDArray[np.float64], truths: NDArray[np.bool_]) -> float:
    """The threshold with the best F1, halfway between two neighbouring probabilities; 0.5 if no example has the label.

    probabilities, truths: (examples,). Of several that are as good, the highest.
    """
    if not truths.any():
        return 0.5
    order = np.argsort(-probabilities, kind="stable")
    falling = probabilities[order]
    taken = np.arange(1, len(order) + 1)
    f1 = 2 * np.cumsum(truths[order]) / (taken + truths.sum())
    following = np.append(falling[1:], 0.0)
    f1[:-1][falling[:-1] == falling[1:]] = 0.0  # no threshold parts what is equal
    best = int(f1.argmax())
    return float((falling[best] + following[best]) / 2)


def multilabel_metrics(
    truths: NDArray[np.bool_], predictions: NDArray[np.bool_], names: Sequence[str]
) -> dict[str, Any]:
    """The field's usual numbers. truths, predictions: (examples, labels).

    micro: over all decisions together; macro: the mean over the labels. subset_accuracy: the share of examples with
    exactly the right labels. A ratio with nothing below its line counts as 0, as in scikit-learn. baseline: the best
    f1_micro that the same labels for every example get: the most frequent ones, as many as are best.
    """
    right, actual, predicted = (truths & predictions).sum(axis=0), truths.sum(axis=0), predictions.sum(axis=0)
    precision, recall, f1 = ratio(right, predicted), ratio(right, actual), ratio(2 * right, actual + predicted)
    total_right, total_actual, total_predicted = (counts.sum(keepdims=True) for counts in (right, actual, predicted))
    frequent_right, frequent_predicted = np.sort(actual)[::-1].cumsum(), len(truths) * np.arange(1, len(names) + 1)
    return {
        "f1_micro": float(ratio(2 * total_right, total_actual + total_predicted)[0]),
        "precision_micro": float(ratio(total_right, total_predicted)[0]),
        "recall_micro": float(ratio(total_right, total_actual)[0]),
        "f1_macro": float(f1.mean()),
        "baseline": float(ratio(2 * frequent_right, frequent_predicted + total_actual).max()),
        "subset_accuracy": float((truths == predictions).all(axis=1).mean()),
        "per_label": {
            name: {
                "precision": float(precision[i]),
                "recall": float(recall[i]),
                "f1": float(f1[i]),
                "support": int(actual[i]),
            }
            for i, name in enumerate(names)
        },
    }
