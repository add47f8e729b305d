"""What the tasks about whole texts share: tables of texts or pairs, their features, and texts too long for the model.

Features: [CLS] text [SEP], or [CLS] text [SEP] text_b [SEP]. Where that is over `tokenizer.model_max_length` tokens,
`--long-texts` says what is kept of a text:

    head     its beginning, the usual way
    tail     its end, where a review often comes to its verdict
    both     a quarter from its beginning, the rest from its end (Sun et al. 2019, section 5.3.1)
    windows  everything, cut into equal parts that are rows of their own; the answer is the mean of their logits
"""

from __future__ import annotations

import argparse
import math
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..config import BertConfig
from ..data.tables import read_table
from ..errors import InputError
from ..heads import BertForSequenceClassification
from ..tokenization import CHUNK, BertTokenizer
from .task import Columns, Example, Examples, Features, Task, Truth, reads_truth, saved_choice

HEAD_SHARE = 0.25  # of "both": 128 of 510 tokens in the paper
TWO_TEXTS = "'one text' 'and another'"  # a pair, on a command line


class TextTask(Task):
    """One answer to a text or a pair, by `BertForSequenceClassification`. Its tasks say what the label is."""

    model_class = BertForSequenceClassification

    def __init__(self, columns: Columns, long_texts: str = "head", pairs: bool | None = None) -> None:
        self.columns = columns
        self.long_texts = long_texts
        self.pairs = pairs  # None: not known, as with a model from elsewhere

    @abstractmethod
    def parse_label(self, value: Any) -> Any:
        """The truth in a cell of the label's column. Raises `ValueError` that says what must stand there."""

    @abstractmethod
    def target(self, examples: Examples, example: Example) -> int | float | list[float]:
        """The truth as the loss takes it. Raises `InputError` for one that cannot be."""

    @abstractmethod
    def read_logits(self, logits: NDArray[np.float32]) -> list[dict[str, Any]]:
        """Logits (examples, labels) as people read them."""

    def read(self, path: str | Path, truths: Truth = "needed") -> Examples:
        examples = read_texts(path, self.columns, self.parse_label, truths)
        if self.pairs is not None and has_pairs(examples) != self.pairs:
            name = self.columns.text_b
            advice = f"pairs, but there is no column '{name}'" if self.pairs else f"single texts: leave '{name}' out"
            raise InputError(f"{examples.path}: the model judges {advice}.")
        return examples

    def from_texts(self, texts: Sequence[str]) -> Examples:
        return pairs_from_texts(texts) if self.pairs else Examples(Path(), [Example({"text": t}) for t in texts], False)

    def to_try(self) -> str:
        return TWO_TEXTS if self.pairs else super().to_try()

    def learn_labels(self, train: Examples) -> None:
        self.pairs = has_pairs(train)

    def check(self, train: Examples, other: Examples) -> None:
        if has_pairs(train) != has_pairs(other):
            raise InputError(
                f"Either all files have the column '{self.columns.text_b}' or none: {train.path} and {other.path} "
                "differ."
            )

    def settings(self, **values: Any) -> dict[str, Any]:
        return super().settings(long_texts=self.long_texts, pairs=self.pairs, **values)

    def features(self, examples: Examples, tokenizer: BertTokenizer, training: bool = False) -> Features:
        rows = text_features(examples, tokenizer, self.long_texts)
        if examples.have_truth:
            targets = [self.target(examples, example) for example in examples]
            for row in rows:
                row["labels"] = targets[row["example"]]
        return rows

    def answers(self, examples: Examples, features: Features, outputs: Any) -> list[dict[str, Any]]:
        return self.read_logits(mean_by_example(outputs, features))


def text_settings(arguments: argparse.Namespace) -> dict[str, Any]:
    """What `TextTask` is made of, as the command line says."""
    return {"columns": Columns.from_arguments(arguments), "long_texts": arguments.long_texts}


def saved_text_settings(config: BertConfig) -> dict[str, Any]:
    """The same, as a saved model notes it."""
    long_texts = saved_choice(config, "long_texts", ("head", "tail", "both", "windows"))
    return {"long_texts": long_texts, "pairs": saved_choice(config, "pairs", (None, False, True))}


def read_texts(
    path: str | Path, columns: Columns, parse_label: Callable[[Any], Any], truths: Truth = "needed"
) -> Examples:
    """A table of texts or pairs with labels. Raises `InputError` for anything that is missing or wrong in it."""
    table = read_table(path)
    given = {"text": table.texts(columns.text, "--text-column")}
    if columns.text_b != Columns.text_b or any(columns.text_b in row.values for row in table.rows):
        given["text_b"] = table.texts(columns.text_b, "--text-b-column")  # a name that was given must be there
    have_truth = reads_truth(truths, table.tells(columns.label))
    labels = table.column(columns.label, "--label-column") if have_truth else [None] * len(table.rows)
    examples = []
    for number, (row, label) in enumerate(zip(table.rows, labels, strict=True)):
        try:
            truth = parse_label(label) if have_truth else None
        except ValueError as error:
            raise table.fault(row, f"'{columns.label}' must be {error}: found {label!r:.60}") from error
        examples.append(Example({key: texts[number] for key, texts in given.items()}, truth, row.line, row.values))
    return Examples(table.path, examples, have_truth)


def has_pairs(examples: Examples) -> bool:
    """Whether these are pairs of texts."""
    return "text_b" in examples[0].given


def pairs_from_texts(texts: Sequence[str]) -> Examples:
    """Texts from the command line, every two of which are a pair. Raises `InputError` for an odd number."""
    if len(texts) % 2:
        raise InputError(f"The model judges pairs: every two texts are one, but there are {len(texts)}.")
    pairs = zip(texts[::2], texts[1::2], strict=True)
    return Examples(Path(), [Example({"text": a, "text_b": b}) for a, b in pairs], have_truth=False)


def text_features(examples: Examples, tokenizer: BertTokenizer, long_texts: str = "head") -> Features:
    """Texts or pairs as the model reads them, a dict of lists for each row; `example` is the number of its example."""
    if long_texts == "windows" and has_pairs(examples):
        raise InputError(f"--long-texts windows is for single texts, but {examples.path} has pairs.")
    room = int(tokenizer.model_max_length) - tokenizer.num_special_tokens_to_add(pair=has_pairs(examples))
    if room < 1:
        raise InputError(f"{tokenizer.model_max_length} tokens leave no room for text beside the special ones.")
    rows: Features = []
    for start in range(0, len(examples), CHUNK):
        chunk = examples[start : start + CHUNK]
        texts = [[example.given[key] for example in chunk] for key in chunk[0].given]
        if long_texts == "head":
            encoding = tokenizer(*texts, truncation=True)
            ids_and_types = zip(encoding["input_ids"], encoding["token_type_ids"], strict=True)
            found = [[{"input_ids": ids, "token_type_ids": types}] for ids, types in ids_and_types]
        else:
            parts = [tokenizer(column, add_special_tokens=False)["input_ids"] for column in texts]
            found = [_cut_rows(ids, room, tokenizer, long_texts) for ids in zip(*parts, strict=True)]
        rows += [row | {"example": number} for number, group in enumerate(found, start) for row in group]
    return rows


def _cut_rows(parts: Sequence[Sequence[int]], room: int, tokenizer: BertTokenizer, long_texts: str) -> Features:
    """The rows of one example, from the ids of its text, or of both; `room` is for them, without special tokens."""
    if long_texts == "windows":
        return [_row([window], tokenizer) for window in equal_windows(parts[0], room)]
    share = 0.0 if long_texts == "tail" else HEAD_SHARE
    return [
        _row([cut_middle(ids, size, share) for ids, size in zip(parts, divide(parts, room), strict=True)], tokenizer)
    ]


def _row(parts: Sequence[Sequence[int]], tokenizer: BertTokenizer) -> dict[str, Any]:
    ids, types = [tokenizer.cls_token_id], [0]
    for number, part in enumerate(parts):
        ids += [*part, tokenizer.sep_token_id]
        types += [number] * (len(part) + 1)
    return {"input_ids": ids, "token_type_ids": types}


def divide(parts: Sequence[Sequence[int]], room: int) -> list[int]:
    """How many tokens of each text are kept: the longer one of a pair gives way first, then both have half."""
    if len(parts) == 1:
        return [min(len(parts[0]), room)]
    first, second = map(len, parts)
    kept_second = min(second, max(room - first, room // 2))
    return [min(first, room - kept_second), kept_second]


def cut_middle(ids: Sequence[int], size: int, head_share: float) -> Sequence[int]:
    """So many of the ids, this share from the beginning and the others from the end."""
    if len(ids) <= size:
        return ids
    head = int(size * head_share)
    return [*ids[:head], *ids[len(ids) - (size - head) :]]


def equal_windows(ids: Sequence[int], size: int) -> list[Sequence[int]]:
    """As few windows of at most this size as it takes, all equally long but for one token; one if there are no ids."""
    count = max(1, math.ceil(len(ids) / size))
    return [ids[len(ids) * number // count : len(ids) * (number + 1) // count] for number in range(count)]


def mean_by_example(outputs: NDArray[np.float32], features: Features) -> NDArray[np.float32]:
    """The mean of the outputs (rows, labels) of each example's rows: (examples, labels)."""
    numbers = np.array([row["example"] for row in features])
    starts = np.flatnonzero(np.diff(numbers, prepend=-1))
    counts = np.diff(starts, append=len(numbers))
    means = np.add.reduceat(outputs, starts, axis=0) / counts[:, None]
    return means.astype(outputs.dtype)


class Probabilities(Mapping[str, float]):
    """Those of one answer by label, with six digits: as a dict, each number would take eight times the room.

    numbers: of each label its place in `row` (labels,).
    """

    def __init__(self, numbers: Mapping[str, int], row: NDArray[np.float64]) -> None:
        self._numbers = numbers
        self._row = row

    @classmethod
    def of_rows(cls, names: Sequence[str], table: NDArray[np.float64]) -> list[Probabilities]:
        """Those of each row of (rows, labels)."""
        numbers = {name: number for number, name in enumerate(names)}
        return [cls(numbers, row) for row in table.round(6)]

    def __getitem__(self, name: str) -> float:
        return float(self._row[self._numbers[name]])

    def __iter__(self) -> Iterator[str]:
        return iter(self._numbers)

    def __len__(self) -> int:
        return len(self._numbers)


def label_names(config: BertConfig) -> list[str]:
    """The labels of a saved model, in the order of its logits."""
    return list(config.id2label.values())


def describe_labels(names: Sequence[str]) -> str:
    """How many, and the first of them."""
    return f"{len(names)} labels ({', '.join(names[:6])}{', ...' if len(names) > 6 else ''})"


def unknown_label(examples: Examples, example: Example, label: str, names: Sequence[str]) -> InputError:
    """The error for a label that is not among the model's."""
    known = ", ".join(names[:10]) + (f" and {len(names) - 10:,} more" if len(names) > 10 else "")
    return examples.fault(example, f"label '{label}' is unknown. The model knows {known}")


def joined(example: Example) -> str:
    """A text or a pair in one cell of a report."""
    return " ⟂ ".join(example.given.values())


def ratio(part: NDArray[np.int64], whole: NDArray[np.int64]) -> NDArray[np.float64]:
    """Their quotients; 0 where nothing is below the line, as in scikit-learn."""
    return np.divide(part, whole, out=np.zeros(len(part)), where=whole > 0)
