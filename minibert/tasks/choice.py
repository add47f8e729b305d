"""Multiple choice: which of several texts goes with a question, or goes on with it.

Files: `.jsonl` with `question`, `choices` (two or more, as many as each question has) and `label`: the number of the
right one, from 0, or its text. `minibert/data/continuations.py` makes such a file from any text.
Features: a row [CLS] question [SEP] choice [SEP] for each choice (Devlin et al. 2018, section 4.4).
Head: `BertForMultipleChoice`, one number a row. Answer: the choice with the highest; a softmax over the choices of a
question gives the probabilities.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from ..calibration import softmax
from ..config import BertConfig
from ..data.tables import Row, Table, read_table
from ..errors import InputError
from ..heads import BertForMultipleChoice
from ..packing import PackedBatch
from ..pages import heading, table
from ..tokenization import BertTokenizer
from .task import Columns, Example, Examples, Features, Task, Truth, reads_truth

MISTAKES = 25  # in a report


class ChoiceTask(Task):
    """The right one of several texts."""

    name = "choice"
    model_class = BertForMultipleChoice
    headline = ("accuracy", "chance")

    def __init__(self, columns: Columns) -> None:
        self.columns = columns

    @classmethod
    def from_arguments(cls, arguments: argparse.Namespace) -> ChoiceTask:
        return cls(Columns.from_arguments(arguments))

    @classmethod
    def from_config(cls, config: BertConfig, columns: Columns) -> ChoiceTask:
        return cls(columns)

    def read(self, path: str | Path, truths: Truth = "needed") -> Examples:
        if Path(path).suffix != ".jsonl":
            raise InputError(f"{path}: --task choice reads .jsonl files with question, choices and label.")
        file = read_table(path)
        have_truth = reads_truth(truths, file.tells(self.columns.label))
        labels = file.column(self.columns.label, "--label-column") if have_truth else [None] * len(file.rows)
        rows = []
        for row, label in zip(file.rows, labels, strict=True):
            question, texts = (row.values.get(key) for key in ("question", "choices"))
            if not isinstance(question, str):
                raise file.fault(row, "'question' must be text")
            if not isinstance(texts, list) or len(texts) < 2 or not all(isinstance(text, str) for text in texts):
                raise file.fault(row, "'choices' must be a list of two texts or more")
            truth = _number(file, row, texts, label) if have_truth else None
            rows.append(Example({"question": question, "choices": texts}, truth, row.line, row.values))
        return Examples(Path(path), rows, have_truth)

    def from_texts(self, texts: Sequence[str]) -> Examples:
        raise InputError(
            'A question needs its choices: put {"question": ..., "choices": [...]} in a .jsonl for --input.'
        )

    def to_try(self) -> str:
        return "--input questions.jsonl"

    def config_changes(self) -> dict[str, Any]:
        return self.settings()

    def features(self, examples: Examples, tokenizer: BertTokenizer, training: bool = False) -> Features:
        """One a question, with lists of rows; of a pair that is too long, the longer text is cut at its end."""
        features = []
        for example in examples:
            choices = example.given["choices"]
            encoding = tokenizer([example.given["question"]] * len(choices), choices, truncation=True)
            feature = {key: encoding[key] for key in ("input_ids", "token_type_ids")}
            features.append(feature if example.truth is None else {**feature, "labels": example.truth})
        return features

    @staticmethod
    def collate(features: list[dict[str, Any]]) -> dict[str, Any]:
        """A packed batch: a row for every choice, question by question."""
        ids = [row for feature in features for row in feature["input_ids"]]
        types = [row for feature in features for row in feature["token_type_ids"]]
        batch: dict[str, Any] = {
            "input_ids": PackedBatch.from_sequences(ids, types),
            "choices": [len(feature["input_ids"]) for feature in features],
        }
        if "labels" in features[0]:
            batch["labels"] = torch.tensor([feature["labels"] for feature in features])
        return batch

    def answers(self, examples: Examples, features: Features, outputs: Any) -> list[dict[str, Any]]:
        """`label`, the number of a choice, and its text; its probability, and those of all choices."""
        answers = []
        for example, logits in zip(examples, outputs, strict=True):
            choices = example.given["choices"]
            probabilities = softmax(logits[: len(choices)]).round(6).tolist()
            best = int(logits[: len(choices)].argmax())
            answers.append(
                {
                    "label": best,
                    "choice": choices[best],
                    "probability": probabilities[best],
                    "probabilities": probabilities,
                }
            )
        return answers

    def metrics(self, examples: Examples, answers: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Accuracy; and chance, what guessing would reach."""
        right = [example.truth == answer["label"] for example, answer in zip(examples, answers, strict=True)]
        return {
            "accuracy": sum(right) / len(right),
            "chance": sum(1 / len(example.given["choices"]) for example in examples) / len(examples),
        }

    def report(self, examples: Examples, answers: Sequence[Mapping[str, Any]], metrics: Mapping[str, Any]) -> list[str]:
        """The most confident mistakes."""
        wrong = [pair for pair in zip(examples, answers, strict=True) if pair[0].truth != pair[1]["label"]]
        wrong.sort(key=lambda pair: -pair[1]["probability"])
        return [
            heading("The most confident mistakes"),
            table(
                ["probability", "question", "predicted", "true"],
                [
                    [
                        f"{answer['probability']:.3f}",
                        example.given["question"],
                        answer["choice"],
                        example.given["choices"][example.truth],
                    ]
                    for example, answer in wrong[:MISTAKES]
                ],
                "None: every question of the dev set is answered right.",
            ),
        ]


def _number(file: Table, row: Row, choices: Sequence[str], label: Any) -> int:
    """The number of the right choice. Raises `InputError` if there is none such, or two."""
    if isinstance(label, str) and choices.count(label) == 1:
        return choices.index(label)
    if isinstance(label, int) and not isinstance(label, bool) and 0 <= label < len(choices):
        return label
    found = json.dumps(label)[:60]
    raise file.fault(
        row, f"the label must be a number from 0 to {len(choices) - 1}, or the text of one choice: found {found}"
    )
