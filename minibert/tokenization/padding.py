"""Encodings of different lengths, made into one batch."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from typing import Any

from ..errors import InputError


def pad_columns(
    columns: dict[str, Any],
    *,
    to: str | None,
    max_length: int,
    multiple: int,
    pad_token_id: int,
    side: str,
    make_attention_mask: bool,
) -> dict[str, Any]:
    """A dict of lists (a batch) or of numbers (one encoding), padded to the "longest", to "max_length" or not at all.

    The length is rounded up to a multiple of `multiple`. Raises `InputError` for what does not fit together.
    """
    fillers = {"input_ids": pad_token_id, "token_type_ids": 0, "attention_mask": 0, "special_tokens_mask": 1}
    ids = columns["input_ids"]
    if not isinstance(ids, (list, tuple)) or not ids:
        raise InputError(f"There is nothing to pad: input_ids is {reprlib.repr(ids)}.")
    is_batch = isinstance(ids[0], (list, tuple))
    if not is_batch:
        columns = {name: [column] for name, column in columns.items()}
    _check_shapes(columns, [name for name in fillers if name in columns])
    lengths = [len(row) for row in columns["input_ids"]]
    if make_attention_mask and "attention_mask" not in columns:
        columns["attention_mask"] = [[1] * length for length in lengths]
    if to is not None:
        target = max(lengths) if to == "longest" else max_length
        target = -(-target // multiple) * multiple
        for name in fillers.keys() & columns.keys():
            columns[name] = [_padded(row, target, fillers[name], side) for row in columns[name]]
    return columns if is_batch else {name: column[0] for name, column in columns.items()}


def as_columns(encoded_inputs: Any) -> dict[str, Any]:
    """A new dict of lists, out of a list of dicts or a dict of lists."""
    if isinstance(encoded_inputs, (list, tuple)) and encoded_inputs:
        for i, row in enumerate(encoded_inputs):
            if not isinstance(row, Mapping) or row.keys() != encoded_inputs[0].keys():
                raise InputError(f"Encodings to pad must all be dicts with the same keys: number {i} is not.")
        columns = {name: [row[name] for row in encoded_inputs] for name in encoded_inputs[0]}
    elif isinstance(encoded_inputs, Mapping):
        columns = dict(encoded_inputs)
    else:
        raise InputError(f"What to pad is a dict or a list of dicts: found {reprlib.repr(encoded_inputs)}.")
    if "input_ids" not in columns:
        raise InputError(f"Encodings to pad need input_ids: found {', '.join(columns)}.")
    return columns


def _check_shapes(columns: Mapping[str, Any], padded: list[str]) -> None:
    ids = columns["input_ids"]
    for name, column in columns.items():
        if not isinstance(column, (list, tuple)) or len(column) != len(ids):
            raise InputError(f"'{name}' must have a value for each of the {len(ids)} encodings.")
    for name in padded:
        for i, (row, row_of_ids) in enumerate(zip(columns[name], ids, strict=True)):
            if not isinstance(row, (list, tuple)) or not isinstance(row_of_ids, (list, tuple)):
                raise InputError(f"'{name}' of encoding {i} must be a list of numbers: found {reprlib.repr(row)}.")
            if len(row) != len(row_of_ids):
                raise InputError(f"'{name}' of encoding {i} has {len(row)} numbers, but input_ids {len(row_of_ids)}.")


def _padded(row: list[int], length: int, filler: int, side: str) -> list[int]:
    padding = [filler] * (length - len(row))
    return [*row, *padding] if side == "right" else [*padding, *row]
