"""Classification: one of several labels for a sentence or a pair.

Files: `.tsv`, `.csv` or `.jsonl` with the columns `text`, optionally `text_b`, and `label` (any names of labels).
Features: [CLS] text [SEP], or [CLS] text [SEP] text_b [SEP]. Head: `BertForSequenceClassification`.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import plots
from ..calibration import calibration, fit_temperature, softmax
from ..config import BertConfig
from ..data.tables import read_table
from ..errors import InputError
from ..heads import BertForSequenceClassification
from ..pages import heading, paragraph, picture, table
from ..tokenization import BertTokenizer
from .task import Columns, Example, Examples, Features, Task, saved_settings

CHUNK = 1000  # texts tokenized at a time: what the engine notes of each token takes a hundred times the room of its id
MISTAKES = 25  # in a report


class ClassificationTask(Task):
    """One of several labels for a sentence or a pair."""

    name = "classification"
    model_class = BertForSequenceClassification
    headline = ("accuracy", "f1_macro", "mcc")

    def __init__(
        self, columns: Columns, names: Sequence[str] = (), calibrate: bool = False, temperature: float = 1.0
    ) -> None:
        """calibrate: whether `tune` fits the temperature, by which logits are divided to make probabilities."""
        self.columns = columns
        self.names = list(names)
        self.calibrate = calibrate
        self.temperature = temperature

    @classmethod
    def from_arguments(cls, arguments: argparse.Namespace) -> ClassificationTask:
        return cls(Columns.from_arguments(arguments), calibrate=arguments.calibrate)

    @classmethod
    def from_config(cls, config: BertConfig, columns: Columns) -> ClassificationTask:
        names = list((config.id2label or {i: f"LABEL_{i}" for i in range(config.num_labels)}).values())
        temperature = saved_settings(config).get("temperature", 1.0)
        if not isinstance(temperature, (int, float)) or not 0 < temperature < math.inf:
            raise InputError(f"The temperature in the model's config must be a number above 0: found {temperature!r}.")
        return cls(columns, names, temperature=temperature)

    def read(self, path: str | Path, need_truth: bool = True) -> Examples:
        return read_texts(path, self.columns, need_truth)

    def from_texts(self, texts: Sequence[str]) -> Examples:
        return Examples(Path(), [Example({"text": text}) for text in texts], have_truth=False)

    def learn_labels(self, train: Examples) -> None:
        """The labels of the training file, sorted (numbers by value)."""
        names = set(train.truths)
        if len(names) < 2:
            raise InputError(
                f"{train.path}: all {len(train)} rows have the label '{names.pop()}'. To learn a difference, there "
                "must be at least two."
            )
        self.names = sorted(names, key=lambda name: (0, int(name), name) if name.isdecimal() else (1, 0, name))

    def check(self, train: Examples, other: Examples) -> None:
        if ("text_b" in train[0].given) != ("text_b" in other[0].given):
            raise InputError(
                f"Either all files have the column '{self.columns.text_b}' or none: {train.path} and {other.path} "
                "differ."
            )

    def config_changes(self) -> dict[str, Any]:
        return {
            "id2label": dict(enumerate(self.names)),
            "problem_type": "single_label_classification",
            **self.settings(temperature=self.temperature),
        }

    def features(self, examples: Examples, tokenizer: BertTokenizer, training: bool = False) -> Features:
        rows = encode(examples, tokenizer)
        if examples.have_truth:
            for row, label in zip(rows, self._label_ids(examples), strict=True):
                row["labels"] = label
        return rows

    def _label_ids(self, examples: Examples) -> list[int]:
        number = {name: i for i, name in enumerate(self.names)}
        for example in examples:
            if example.truth not in number:
                known = ", ".join(self.names[:10]) + (", ..." if len(self.names) > 10 else "")
                raise examples.fault(example, f"label '{example.truth}' is unknown. The model knows {known}")
        return [number[label] for label in examples.truths]

    def tune(self, examples: Examples, features: Features, outputs: Any) -> None:
        """The temperature, if it was asked for."""
        if self.calibrate:
            self.temperature = fit_temperature(outputs, np.array(self._label_ids(examples)))

    def answers(self, examples: Examples, features: Features, outputs: Any) -> list[dict[str, Any]]:
        return label_answers(outputs / self.temperature, self.names)

    def metrics(self, examples: Examples, answers: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        number = {name: i for i, name in enumerate(self.names)}
        predictions = np.array([number[answer["label"]] for answer in answers])
        labels = np.array(self._label_ids(examples))
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
            heading("Confusion matrix"),
            picture(
                partial(plots.confusion, matrix, self.names),
                f"Confusion matrix of {len(self.names)} classes; its numbers are in metrics.json.",
            ),
            heading("Classes, the weakest first"),
            table(
                ["class", "precision", "recall", "F1", "examples"],
                [
                    [name, *(f"{row[key]:.3f}" for key in ("precision", "recall", "f1")), row["support"]]
                    for name, row in sorted(classes.items(), key=lambda item: item[1]["f1"])
                ],
            ),
            *self._calibration(metrics),
            heading("The most confident mistakes"),
            table(
                ["probability", "predicted", "true", "text"],
                [
                    [f"{answer['probability']:.3f}", answer["label"], example.truth, " ⟂ ".join(example.given.values())]
                    for example, answer in wrong[:MISTAKES]
                ],
            )
            if wrong
            else paragraph("None: every example of the dev set is right."),
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
        return f"{len(self.names)} labels ({', '.join(self.names[:6])}{', ...' if len(self.names) > 6 else ''})"


def read_texts(path: str | Path, columns: Columns, need_truth: bool = True) -> Examples:
    """A table of texts or pairs, with labels as strings. Raises `InputError` for anything that is missing in it."""
    table = read_table(path)
    names = table.rows[0].values
    given = {"text": table.texts(columns.text, "--text-column")}
    if columns.text_b in names:
        given["text_b"] = table.texts(columns.text_b, "--text-b-column")
    have_truth = need_truth or columns.label in names
    labels = table.column(columns.label, "--label-column") if have_truth else [None] * len(table.rows)
    examples = []
    for number, (row, label) in enumerate(zip(table.rows, labels, strict=True)):
        if have_truth and (not isinstance(label, (str, int)) or label == ""):
            raise table.fault(row, f"'{columns.label}' must be a label: found {label!r}")
        truth = str(label) if have_truth else None
        examples.append(Example({key: texts[number] for key, texts in given.items()}, truth, row.line, row.values))
    return Examples(table.path, examples, have_truth)


def encode(examples: Examples, tokenizer: BertTokenizer) -> Features:
    """Texts or pairs as the model reads them, a dict of lists each; cut at the end to `tokenizer.model_max_length`."""
    rows = []
    texts, texts_b = examples.given("text"), examples.given("text_b")
    for start in range(0, len(texts), CHUNK):
        chunk = slice(start, start + CHUNK)
        encoding = tokenizer(texts[chunk], None if None in texts_b else texts_b[chunk], truncation=True)
        ids_and_types = zip(encoding["input_ids"], encoding["token_type_ids"], strict=True)
        rows += [{"input_ids": ids, "token_type_ids": types} for ids, types in ids_and_types]
    return rows


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
    precision = _ratio(right, predicted)
    recall = _ratio(right, actual)
    f1 = _ratio(2 * right, actual + predicted)
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


def _ratio(part: NDArray[np.int64], whole: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.divide(part, whole, out=np.zeros(len(part)), where=whole > 0)


def label_answers(logits: NDArray[Any], names: Sequence[str]) -> list[dict[str, Any]]:
    """Logits (examples, labels) as people read them: the label, its probability, and the probabilities of all."""
    probabilities = softmax(logits)
    best = probabilities.argmax(axis=1)
    return [
        {
            "label": names[i],
            "probability": round(float(row[i]), 6),
            "probabilities": {name: round(float(value), 6) for name, value in zip(names, row, strict=True)},
        }
        for i, row in zip(best, probabilities, strict=True)
    ]
