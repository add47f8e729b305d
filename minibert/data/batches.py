"""From encoded examples to packed batches of sentences of similar length."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ..errors import InputError
from ..losses import IGNORE
from ..packing import Layout, PackedBatch

# Batches are cut from stretches of this many batches, each sorted by length: enough for neighbours of equal length, few
# enough that every epoch mixes the data anew.
STRETCH = 50


def epoch_generator(seed: int, epoch: int) -> torch.Generator:
    """The random numbers of one epoch, the same whenever it is taken up, and whatever torch's default device is."""
    return torch.Generator("cpu").manual_seed(seed * 100_003 + epoch)


def length_grouped_batches(lengths: Sequence[int], batch_size: int, seed: int, epoch: int) -> list[list[int]]:
    """The batches of one epoch, as indices: every example once, in batches of similar length, in random order.

    A pure function of its arguments, so that a run can be taken up in the middle of an epoch.
    """
    generator = epoch_generator(seed, epoch)
    order = torch.randperm(len(lengths), generator=generator, device="cpu").tolist()
    stretch = STRETCH * batch_size
    batches = []
    for start in range(0, len(order), stretch):
        by_length = sorted(order[start : start + stretch], key=lengths.__getitem__, reverse=True)
        batches += [by_length[at : at + batch_size] for at in range(0, len(by_length), batch_size)]
    return [batches[i] for i in torch.randperm(len(batches), generator=generator, device="cpu").tolist()]


def batches_by_length(lengths: Sequence[int], batch_size: int) -> list[list[int]]:
    """Batches of similar length without chance, the longest first: for evaluation.

    If memory is short, it fails at once, not at the end.
    """
    order = sorted(range(len(lengths)), key=lengths.__getitem__, reverse=True)
    return [order[at : at + batch_size] for at in range(0, len(order), batch_size)]


def pack_examples(examples: Sequence[Mapping[str, Any]], padded: bool = False) -> dict[str, Any]:
    """A batch out of examples as a tokenizer makes them (lists, arrays or tensors): what `model(**batch)` takes.

    `input_ids` becomes a `PackedBatch`, which carries `token_type_ids` and `position_ids`, too; padding that the
    examples may bring along is left out. `label` is renamed to `labels`; labels that belong to tokens are packed as
    well. Examples that are no single rows (multiple choice), or have holes in their masks, stay padded tensors and must
    be of one length. With `padded`, the model's answers to the batch, and so the labels of tokens, are
    (batch, seq, ...), -100 at places without a token.
    """
    for example in examples:
        if example.keys() != examples[0].keys():
            raise InputError(
                f"All examples of a batch must have the same values: found {', '.join(examples[0])} in one, "
                f"{', '.join(example)} in another."
            )
    columns = {key: [as_list(example[key]) for example in examples] for key in examples[0]}
    if "label" in columns:
        columns["labels"] = columns.pop("label")
    rows = columns["input_ids"]
    masks = columns.pop("attention_mask", None) or [_ones(row) for row in rows]
    lengths = [sum(map(bool, mask)) for mask in masks] if all(_is_right_padded(mask) for mask in masks) else None
    if lengths is None:
        return {key: _stack(key, values) for key, values in (columns | {"attention_mask": masks}).items()}

    def cut(values: list[Any]) -> list[Any]:
        return [row[:length] for row, length in zip(values, lengths, strict=True)]

    types = cut(columns.pop("token_type_ids")) if "token_type_ids" in columns else None
    packed = replace(PackedBatch.from_sequences(cut(columns.pop("input_ids")), types), padded=padded)
    if "position_ids" in columns:
        positions = [place for row in cut(columns.pop("position_ids")) for place in row]
        packed = replace(packed, position_ids=_stack("position_ids", positions))
    batch: dict[str, Any] = {"input_ids": packed}
    for key, values in columns.items():
        if all(_has_whole_numbers(value, len(row)) for value, row in zip(values, rows, strict=True)):
            labels = _stack(key, [number for row in cut(values) for number in row])
            batch[key] = packed.restore(labels, fill=IGNORE)
        else:
            batch[key] = _stack(key, values)
    return batch


def as_list(value: Any) -> Any:
    """A tensor, an array or one of their numbers as Python's own; anything else as it is."""
    return value.tolist() if hasattr(value, "tolist") else value


def _ones(row: list[Any]) -> list[Any]:
    """The mask of a row, or of a list of rows, that came without one."""
    return [_ones(part) if isinstance(part, list) else 1 for part in row]


def _is_right_padded(mask: list[Any]) -> bool:
    """Ones, then zeros; not so for a list of masks, one a choice."""
    return not any(isinstance(row, list) for row in mask) and mask == sorted(mask, reverse=True)


def _has_whole_numbers(value: Any, length: int) -> bool:
    """Whether these are labels of so many tokens. (Several floats are one sentence's labels, even if as many.)"""
    return isinstance(value, list) and len(value) == length and all(isinstance(number, int) for number in value)


def _stack(key: str, values: list[Any]) -> Tensor:
    try:
        return torch.tensor(values)
    except (ValueError, TypeError) as error:
        raise InputError(
            f"The examples' '{key}' cannot be one tensor ({error}): they must be numbers, and of one length."
        ) from error


def move(value: Any, device: torch.device) -> Any:
    """A tensor, a packed batch or a layout on another device; anything else as it is."""
    if not isinstance(value, (Tensor, PackedBatch, Layout)):
        return value
    # An Apple GPU would copy later, when the batch may be gone and its memory hold other numbers.
    return value.to(device, non_blocking=device.type == "cuda")
