"""What a `Trainer` learns from and is judged by: examples by number, each a dict as the tokenizer makes it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from ..errors import InputError


class Dataset(Protocol):
    """Examples by number, each a dict of `input_ids` and so on: a list, or any torch or Hugging Face data set."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> Mapping[str, Any]: ...


def check_data(dataset: Dataset | None, name: str) -> Dataset:
    """The data set. Raises `InputError` if there is none, or something else."""
    if isinstance(dataset, Mapping):
        raise InputError(
            f"{name} must be one data set, such as a list with a dict for each example: found a dict of "
            f"{', '.join(map(str, dataset))}."
        )
    if dataset is not None and not (hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")):
        raise InputError(
            f"{name} must have a length and give examples by number: found {type(dataset).__name__}. "
            "Make a list of it, if it fits into memory."
        )
    if dataset is None or not len(dataset):
        raise InputError(f"There is no data: {name} is missing or empty.")
    return dataset


def lengths_of(dataset: Dataset | None, name: str) -> list[int]:
    """The number of tokens of each example. Raises `InputError` if there are none, or others than a tokenizer makes."""
    dataset = check_data(dataset, name)
    return [len(check_row(dataset, index, name)["input_ids"]) for index in range(len(dataset))]


def check_row(dataset: Dataset, index: int, name: str) -> Mapping[str, Any]:
    """An example. Raises `InputError` if it is none that a tokenizer makes."""
    row: object = dataset[index]
    if not isinstance(row, Mapping):
        raise InputError(f"{name} must hold a dict for each example: number {index} is {type(row).__name__}.")
    if "input_ids" not in row:
        raise InputError(
            f"{name} must hold tokenized examples, with input_ids: number {index} has {', '.join(map(str, row))}."
        )
    return row
