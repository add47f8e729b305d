"""What a task is: its files, its features, its head, how outputs become answers, and its metrics.

`finetune`, `predict` and `evaluate` know a task by the methods of `Task` alone. An example goes this way:

    file --read--> Examples --features--> dicts of lists --model--> outputs --answers--> what people read --> metrics
"""

from __future__ import annotations

import argparse
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from ..config import BertConfig
from ..data.tables import read_lines
from ..errors import InputError
from ..model import BertPreTrainedModel
from ..tokenization import BertTokenizer

if TYPE_CHECKING:
    from torch import Tensor

Features = list[dict[str, Any]]
Truth = Literal["needed", "if told", "ignored"]  # what becomes of the right answers in a file that is read
SETTINGS = "minibert"  # the key of a task's settings in the config's task_specific_params


@dataclass(frozen=True)
class Columns:
    """What the columns are called in the user's tables."""

    text: str = "text"
    text_b: str = "text_b"
    label: str = "label"

    @classmethod
    def from_arguments(cls, arguments: argparse.Namespace) -> Columns:
        """As the flags of a command say, those that it has."""
        return cls(**{name: getattr(arguments, f"{name}_column", name) for name in ("text", "text_b", "label")})


@dataclass(frozen=True)
class Example:
    """One question to the model, and the right answer if the file tells it."""

    given: dict[str, Any]  # what is asked, such as {"text": ..., "text_b": ...}; JSON can hold it
    truth: Any = None
    line: int = 0  # where it begins in its file, from 1
    columns: Mapping[str, Any] = field(default_factory=dict)  # everything its row says, to slice by


@dataclass(frozen=True)
class Examples(Sequence[Example]):
    """The examples of one file, in order."""

    path: Path
    rows: list[Example]
    have_truth: bool = True

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Example]:
        return iter(self.rows)

    def __getitem__(self, number: Any) -> Any:
        return self.rows[number]

    def given(self, key: str) -> list[Any]:
        """One thing that is asked, of every example, such as its text; None where an example lacks it."""
        return [row.given.get(key) for row in self.rows]

    @property
    def truths(self) -> list[Any]:
        """The right answer of every example."""
        return [row.truth for row in self.rows]

    def subset(self, numbers: Sequence[int]) -> Examples:
        """Some of them."""
        return Examples(self.path, [self.rows[number] for number in numbers], self.have_truth)

    def fault(self, row: Example, problem: str) -> InputError:
        """An error that says where it is."""
        return InputError(f"{self.path}, line {row.line}: {problem}.")


class Task(ABC):
    """One task with its settings. A file in this folder for each; `TASKS` in `__init__.py` lists them.

    Settings come from the command line (`from_arguments`), the training file (`learn_labels`) and the dev set (`tune`);
    the config of a saved model keeps them (`config_changes`), and `from_config` brings them back.
    """

    name: ClassVar[str]
    model_class: ClassVar[type[BertPreTrainedModel]]
    answer_key: ClassVar[str] = "label"  # the first key of an answer, and of the truth in predictions.jsonl
    answer_is_text: ClassVar[bool] = False  # whether it is cut out of the text that was asked about
    headline: tuple[str, ...]  # the metrics to print; the first one, more of which is better, chooses the epoch
    max_length: ClassVar[int] = 128  # tokens a row, unless --max-length says otherwise

    @classmethod
    @abstractmethod
    def from_arguments(cls, arguments: argparse.Namespace) -> Task:
        """As the command line of `finetune` describes it."""

    @classmethod
    @abstractmethod
    def from_config(cls, config: BertConfig, columns: Columns) -> Task:
        """That of a saved model."""

    @abstractmethod
    def read(self, path: str | Path, truths: Truth = "needed") -> Examples:
        """Read a file. Raises `InputError` for anything that is wrong with it, but not in truths that are ignored."""

    @abstractmethod
    def from_texts(self, texts: Sequence[str]) -> Examples:
        """Questions from the command line. Raises `InputError` if the task cannot be asked that way."""

    def flags(self, arguments: argparse.Namespace) -> None:
        """Note what the command line of `predict` says of the task, such as `mlm`'s --top-k."""

    def to_try(self) -> str:
        """What to give to `predict` on the command line, as an example."""
        return "'your own text'"

    def from_text_file(self, path: str | Path) -> Examples:
        """Questions from a `.txt`: one a line, unless the task says otherwise."""
        return self.from_texts(read_lines(path))

    def learn_labels(self, train: Examples) -> None:
        """Note what the training file tells, such as the labels' names. Raises `InputError` if it is too little."""

    def classes(self, truth: Any) -> list[str]:
        """The labels in a truth, if `features` refuses those that the training file lacks."""
        return []

    def check(self, train: Examples, other: Examples) -> None:
        """Raise `InputError` if a dev or test file does not fit the training file."""

    @abstractmethod
    def config_changes(self) -> dict[str, Any]:
        """The fields of a `BertConfig` that belong to the task: the labels, the problem type, and `settings`."""

    def settings(self, **values: Any) -> dict[str, Any]:
        """The field of a config that keeps what only minibert knows of a task; `saved_settings` reads it."""
        return {"task_specific_params": {SETTINGS: {"task": self.name, **values}}}

    @abstractmethod
    def features(self, examples: Examples, tokenizer: BertTokenizer, training: bool = False) -> Features:
        """What the model reads: dicts of `input_ids` and so on, with labels where the truth is known.

        One or several an example, in order; keys that are no input of the model (such as `example`, its number) are the
        task's own notes. Raises `InputError` for a truth that cannot be, such as an unknown label.
        """

    collate: Callable[[list[dict[str, Any]]], Mapping[str, Any]] | None = None  # None: features are packed
    reduce: Callable[[Tensor, Any], Any] | None = None  # of logits and labels, what `answers` needs; None: all logits

    def tune(self, examples: Examples, features: Features, outputs: Any) -> None:
        """Choose, on the dev set, what is chosen for weights that are trained, such as a threshold.

        It is asked for after each epoch, and for the weights that are kept: each time it begins anew.
        """

    @abstractmethod
    def answers(self, examples: Examples, features: Features, outputs: Any) -> list[dict[str, Any]]:
        """What the model says to each example, for people: a dict that JSON can hold, `answer_key` first.

        outputs: the logits for each of the features, an array or a tuple of arrays, as `Trainer.predict` returns them.
        """

    @abstractmethod
    def metrics(self, examples: Examples, answers: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """How good the answers are; at least the numbers of `headline`.

        Where the same answer to everything gets more than 0 of the first, and no other number tells it, `baseline` is
        what the best such answer gets.
        """

    def other_files(
        self, split: str, examples: Examples, answers: Sequence[Mapping[str, Any]]
    ) -> dict[str, dict[str, Any]]:
        """More files to write, as JSON: for the answers in a form that the field's own scripts read."""
        return {}

    @abstractmethod
    def report(self, examples: Examples, answers: Sequence[Mapping[str, Any]], metrics: Mapping[str, Any]) -> list[str]:
        """The task's own sections of `report.html`, as HTML: see `minibert/pages.py`."""

    def asked(self, example: Example) -> dict[str, Any]:
        """What a line of results repeats of its example."""
        return example.given

    def describe(self) -> str:
        """A few words about what is to be learnt, such as the labels; may be empty."""
        return ""


def reads_truth(truths: Truth, told: bool) -> bool:
    """Whether the right answers of a file are read. told: whether it has any."""
    return truths == "needed" or (truths == "if told" and told)


def saved_settings(config: BertConfig) -> dict[str, Any]:
    """What a task left in the config of its model; empty for a model from elsewhere."""
    settings = (config.task_specific_params or {}).get(SETTINGS)
    return dict(settings) if isinstance(settings, Mapping) else {}


def saved_number(config: BertConfig, name: str, default: Any, kind: type = float, above: float = -math.inf) -> Any:
    """One of these settings that is a number; what is not there is the default, and None may be where that is None.

    Raises `InputError` for anything that is no number, not above this one, or not whole where `kind` is `int`.
    """
    value = saved_settings(config).get(name, default)
    allowed = (int,) if kind is int else (int, float)
    if value is not default and not (type(value) in allowed and above < value < math.inf):
        wanted = ("a whole number" if kind is int else "a number") + (f" above {above:g}" if above > -math.inf else "")
        raise InputError(f"The {name} in the model's config must be {wanted}: found {value!r}.")
    return value


def saved_choice(config: BertConfig, name: str, choices: Sequence[Any]) -> Any:
    """One of these settings that has few values; what is not there is the first. Raises `InputError` for any other."""
    value = saved_settings(config).get(name, choices[0])
    if value not in choices:
        wanted = ", ".join(map(repr, choices))
        raise InputError(f"The {name} in the model's config must be one of {wanted}: found {value!r}.")
    return value


def prediction_lines(
    task: Task, split: str, examples: Examples, answers: Sequence[Mapping[str, Any]]
) -> Iterator[dict[str, Any]]:
    """The lines of `predictions.jsonl`: what was asked, the truth, what was `predicted`, and the rest of the answer."""
    for example, answer in zip(examples, answers, strict=True):
        rest = dict(answer)
        predicted = rest.pop(task.answer_key)
        truth = {task.answer_key: example.truth} if examples.have_truth else {}
        yield {"split": split, **task.asked(example), **truth, "predicted": predicted, **rest}
