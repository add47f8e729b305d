"""Classification: one of several labels for a sentence or a pair.

Files: `.tsv`, `.csv` or `.jsonl` with the columns `text`, optionally `text_b`, and `label` (any names of labels).
Features: [CLS] text [SEP], or [CLS] text [SEP] text_b [SEP]. Head: `BertForSequenceClassification`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data.tables import Table, read_table
from ..errors import InputError
from ..tokenization import BertTokenizer

CHUNK = 1000  # texts tokenized at a time: what the engine notes of each token takes a hundred times the room of its id


@dataclass(frozen=True)
class Columns:
    """What the columns are called in the user's files."""

    text: str = "text"
    text_b: str = "text_b"
    label: str = "label"


@dataclass(frozen=True)
class Examples:
    """The examples of one file, column by column. labels is None if the file has none."""

    table: Table
    texts: list[str]
    texts_b: list[str] | None
    labels: list[str] | None

    def __len__(self) -> int:
        return len(self.texts)

    def label_ids(self, names: Sequence[str]) -> list[int]:
        """The labels as numbers. Raises `InputError` for a label that is not among the names."""
        labels = self.labels or []
        number = {name: i for i, name in enumerate(names)}
        unknown = next((place for place, label in enumerate(labels) if label not in number), None)
        if unknown is not None:
            known = ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")
            raise self.table.fault(
                self.table.rows[unknown], f"label '{labels[unknown]}' is unknown. The model knows {known}"
            )
        return [number[label] for label in labels]


def read_examples(path: str | Path, columns: Columns, need_labels: bool = True) -> Examples:
    """Read a file. Raises `InputError` for anything that is missing in it."""
    table = read_table(path)
    texts = table.texts(columns.text, "--text-column")
    first = table.rows[0].values
    texts_b = table.texts(columns.text_b, "--text-b-column") if columns.text_b in first else None
    labels = None
    if need_labels or columns.label in first:
        labels = []
        for row, value in zip(table.rows, table.column(columns.label, "--label-column"), strict=True):
            if not isinstance(value, (str, int)) or value == "":
                raise table.fault(row, f"'{columns.label}' must be a label: found {value!r}")
            labels.append(str(value))
    return Examples(table, texts, texts_b, labels)


def label_names(train: Examples) -> list[str]:
    """The labels of the training file, sorted (numbers by value). Raises `InputError` unless there are two or more."""
    names = set(train.labels or [])
    if len(names) < 2:
        raise InputError(
            f"{train.table.path}: all {len(train)} rows have the label '{names.pop()}'. To learn a difference, there "
            "must be at least two."
        )
    return sorted(names, key=lambda name: (0, int(name), name) if name.isdecimal() else (1, 0, name))


def encode(texts: Sequence[str], texts_b: Sequence[str] | None, tokenizer: BertTokenizer) -> list[dict[str, Any]]:
    """Texts or pairs as the model reads them, a dict of lists each; cut at the end to `tokenizer.model_max_length`."""
    rows = []
    for start in range(0, len(texts), CHUNK):
        chunk = slice(start, start + CHUNK)
        encoding = tokenizer(list(texts[chunk]), None if texts_b is None else list(texts_b[chunk]), truncation=True)
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


def answers(logits: NDArray[np.float32], names: Sequence[str]) -> list[dict[str, Any]]:
    """Logits (examples, labels) as people read them: the label, its probability, and the probabilities of all."""
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities = exponentials / exponentials.sum(axis=1, keepdims=True)  # softmax
    best = probabilities.argmax(axis=1)
    return [
        {
            "label": names[i],
            "probability": round(float(row[i]), 6),
            "probabilities": {name: round(float(value), 6) for name, value in zip(names, row, strict=True)},
        }
        for i, row in zip(best, probabilities, strict=True)
    ]
