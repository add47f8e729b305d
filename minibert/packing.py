"""Packing: the real tokens of a batch in one matrix, and where each sentence lies in it.

Sentences differ in length, so the usual batch is a rectangle `(batch, seq)` filled up with padding:

    [CLS] a  film [SEP] ...  ...  ...             [CLS] a film [SEP] [CLS] not a very good one [SEP]
    [CLS] not a   very  good one  [SEP]    ->     |<-- sentence 0 -->|<------- sentence 1 -------->|
                                                  0                  4                            11 = cu_seqlens

Everything in BERT except attention works on one token at a time and does not care which sentence a token belongs to.
So minibert keeps only the real tokens, in one matrix `(tokens, hidden)`, and hands attention a `Layout` that says
where each sentence begins. No padding is computed, and no masks appear outside attention.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from .config import BertConfig
from .errors import InputError

Moves = TypeVar("Moves", "Layout", "PackedBatch")


@dataclass(frozen=True, eq=False)
class Layout:
    """Where the rows of a batch lie in a packed matrix: row b is its tokens `cu_seqlens[b] : cu_seqlens[b + 1]`.

    batch, seq: the shape of the padded rectangle.
    cu_seqlens: (batch + 1,) int32, the cumulative lengths, from 0 to the number of tokens.
    mask:       (batch, seq) bool, True where the rectangle has a token; None if it has one everywhere.
    indices:    (tokens,) int64, the places of the tokens in the flattened rectangle; None likewise.
    selected:   (chosen,) int64, for the layout of some tokens alone: their places among all packed tokens.
    """

    batch: int
    seq: int
    cu_seqlens: Tensor
    mask: Tensor | None = None
    indices: Tensor | None = None
    selected: Tensor | None = None

    @classmethod
    def from_mask(cls, mask: Tensor) -> Layout:
        """The layout of a mask (batch, seq) bool, True = a token. It may have holes and empty rows."""
        batch, seq = mask.shape
        cu_seqlens = _cumulative(mask.sum(dim=1))  # (batch, seq) -> (batch + 1)
        if mask.all():
            return cls(batch, seq, cu_seqlens)
        indices = mask.flatten().nonzero().squeeze(1)  # (batch, seq) -> (tokens)
        return cls(batch, seq, cu_seqlens, mask, indices)

    @classmethod
    def from_lengths(cls, lengths: Tensor) -> Layout:
        """The layout of rows that are filled from the left. lengths (batch,)."""
        places = torch.arange(max(1, int(lengths.max())), device=lengths.device)  # -> (seq)
        mask = places < lengths.unsqueeze(1)  # (seq) -> (batch, seq)
        return cls.from_mask(mask)

    @cached_property
    def ends(self) -> Tensor:
        """`cu_seqlens` in int64, for torch's nested tensors: they have one shape if they share it, not only its values.

        Activation checkpointing, which computes blocks twice, asks for the same shape.
        """
        with torch.inference_mode(False):  # whose tensors could not be trained with later
            return self.cu_seqlens.long()

    def first_tokens(self) -> Layout:
        """The layout that keeps only each row's first token, its [CLS]. Empty rows have none."""
        filled = self.cu_seqlens.diff() > 0  # (batch + 1) -> (batch)
        return self.only(self.cu_seqlens[:-1][filled].long())

    def only(self, chosen: Tensor) -> Layout:
        """The layout that keeps only these tokens, given by their places among all packed ones, in order."""
        rows = torch.searchsorted(self.cu_seqlens[1:].long(), chosen, right=True)
        lengths = rows.bincount(minlength=self.batch)  # (chosen) -> (batch)
        return replace(self.from_lengths(lengths), selected=chosen)

    def pack(self, padded: Tensor) -> Tensor:
        """(batch, seq, ...) -> (tokens, ...): leave the padding out."""
        flat = padded.flatten(0, 1)  # (batch, seq, ...) -> (batch * seq, ...)
        if self.indices is None:
            return flat
        return flat.index_select(0, self.indices)  # (batch * seq, ...) -> (tokens, ...)

    def pad(self, packed: Tensor, fill: float = 0.0) -> Tensor:
        """(tokens, ...) -> (batch, seq, ...): back to the rectangle, with `fill` where there is no token."""
        if self.indices is not None:
            blank = packed.new_full((self.batch * self.seq, *packed.shape[1:]), fill)  # -> (batch * seq, ...)
            packed = blank.index_copy(0, self.indices, packed)  # (tokens, ...) -> (batch * seq, ...)
        return packed.unflatten(0, (self.batch, self.seq))  # (batch * seq, ...) -> (batch, seq, ...)

    def select(self, packed: Tensor) -> Tensor:
        """This layout's tokens out of a matrix of all packed tokens: all of them, or those it was made for."""
        if self.selected is None:
            return packed
        return packed.index_select(0, self.selected)  # (tokens, ...) -> (chosen, ...)

    def blank_padding(self, probabilities: Tensor) -> Tensor:
        """(batch, heads, seq, seq) with zeros for the queries at padded places: nobody asks there."""
        return probabilities if self.mask is None else probabilities * self.mask[:, None, :, None]

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Layout:
        """The same layout on another device."""
        return _moved(self, device, non_blocking)


@dataclass(frozen=True, eq=False)
class PackedBatch:
    """A batch as the encoder reads it: three numbers a token, and the layouts.

    input_ids, token_type_ids, position_ids: (tokens,) int64.
    layout: of all tokens.  cls_layout: of each row's first token alone.
    padded: whether it was made from a padded batch, so that answers are padded again.
    """

    input_ids: Tensor
    token_type_ids: Tensor
    position_ids: Tensor
    layout: Layout
    cls_layout: Layout
    padded: bool = False

    @classmethod
    def from_sequences(
        cls, input_ids: Sequence[Sequence[int]], token_type_ids: Sequence[Sequence[int]] | None = None
    ) -> PackedBatch:
        """A packed batch straight from lists of ids, one list a row: padding is never built.

        Raises `InputError` if there is no row, or one has not as many types as ids.
        """
        if not len(input_ids):
            raise InputError("There is nothing to pack: input_ids is an empty list.")
        if token_type_ids is not None and list(map(len, token_type_ids)) != list(map(len, input_ids)):
            raise InputError("token_type_ids must have as many rows as input_ids, each as long as the row of ids.")
        layout = Layout.from_lengths(torch.tensor([len(ids) for ids in input_ids]))
        positions = torch.arange(layout.seq).expand(layout.batch, -1)  # -> (batch, seq)
        ids = torch.tensor([i for row in input_ids for i in row], dtype=torch.int64)
        if token_type_ids is None:
            types = torch.zeros_like(ids)
        else:
            types = torch.tensor([i for row in token_type_ids for i in row], dtype=torch.int64)
        return cls(ids, types, layout.pack(positions), layout, layout.first_tokens())

    def restore(self, packed: Tensor, fill: float = 0.0) -> Tensor:
        """(tokens, ...) in the form the caller speaks: (batch, seq, ...) if the batch came padded."""
        if not self.padded:
            return packed
        return self.layout.pad(packed, fill)  # (tokens, ...) -> (batch, seq, ...)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> PackedBatch:
        """The same batch on another device."""
        return _moved(self, device, non_blocking)


def pack_inputs(
    input_ids: Tensor | PackedBatch,
    attention_mask: Tensor | None,
    token_type_ids: Tensor | None,
    position_ids: Tensor | None,
    config: BertConfig,
    device: torch.device,
) -> PackedBatch:
    """The ecosystem's padded inputs, all (batch, seq), as a checked `PackedBatch`; a packed one is only checked.

    Positions count along the padded row, so that a hole in the mask does not shift the tokens after it. Raises
    `InputError` for anything the model cannot read, before the encoder or a GPU kernel would fail without a word.
    """
    others = {"attention_mask": attention_mask, "token_type_ids": token_type_ids, "position_ids": position_ids}
    if isinstance(input_ids, PackedBatch):
        _check_packed(input_ids, others, config, device)
        return input_ids
    _check_padded(input_ids, others, config, device)
    if attention_mask is None:
        mask = torch.ones_like(input_ids, dtype=torch.bool)
    else:
        mask = attention_mask.bool()
        if (mask != attention_mask).any():
            raise InputError("attention_mask must hold only 1 (a token) and 0 (padding).")
    if token_type_ids is None:
        token_type_ids = torch.zeros_like(input_ids)
    if position_ids is None:
        position_ids = torch.arange(input_ids.shape[1], device=device)  # -> (seq)
    layout = Layout.from_mask(mask)
    batch = PackedBatch(
        layout.pack(input_ids).long(),  # (batch, seq) -> (tokens)
        layout.pack(token_type_ids).long(),
        layout.pack(position_ids.expand_as(input_ids)).long(),
        layout,
        layout.first_tokens(),
        padded=True,
    )
    _check_values(batch, config)
    return batch


def check_device(name: str, tensor: Any, device: torch.device) -> None:
    """Raise `InputError` for what is no tensor, or not where the model is."""
    if not isinstance(tensor, Tensor):
        raise InputError(f"{name} must be a tensor: found {type(tensor).__name__}.")
    if tensor.device != device:
        raise InputError(
            f"The model is on {device} but {name} on {tensor.device}: move one of them with .to('{device}')."
        )


def _check_packed(
    batch: PackedBatch, others: Mapping[str, Tensor | None], config: BertConfig, device: torch.device
) -> None:
    for name, given in others.items():
        if given is not None:
            raise InputError(f"A PackedBatch carries everything: leave {name} out.")
    for name, ids in (("token_type_ids", batch.token_type_ids), ("position_ids", batch.position_ids)):
        if ids.shape != batch.input_ids.shape:
            raise InputError(
                f"{name} of a PackedBatch must have the shape of its input_ids, "
                f"{tuple(batch.input_ids.shape)}: found {tuple(ids.shape)}."
            )
    check_device("the packed batch", batch.input_ids, device)
    _check_length(batch.layout.seq, config)
    if batch.input_ids.device.type == "cpu":  # on a GPU, looking at values would wait for it
        _check_values(batch, config)


def _check_padded(
    input_ids: Tensor, others: Mapping[str, Tensor | None], config: BertConfig, device: torch.device
) -> None:
    inputs: dict[str, Any] = {"input_ids": input_ids, **others}
    for name, given in inputs.items():
        if not isinstance(given, Tensor) and (given is not None or name == "input_ids"):
            if isinstance(given, Mapping):
                advice = "Write model(**batch), which takes it apart"
            else:
                advice = "A tokenizer makes one with return_tensors='pt'"
            raise InputError(f"{name} must be a tensor: found {type(given).__name__}. {advice}.")
    shape = input_ids.shape
    if len(shape) != 2 or not input_ids.numel():
        raise InputError(f"input_ids must be (batch, seq), neither of them 0: found {tuple(shape)}.")
    _check_length(shape[1], config)
    for name, given in inputs.items():
        if given is not None:
            check_device(name, given, device)
            if name != "attention_mask" and (given.is_floating_point() or given.dtype == torch.bool):
                raise InputError(f"{name} must hold whole numbers: found {given.dtype}.")
            for_all_rows = name == "position_ids" and given.shape == (1, shape[1])
            if given.shape != shape and not for_all_rows:
                raise InputError(
                    f"{name} must have the shape of input_ids, {tuple(shape)}: found {tuple(given.shape)}."
                )


def _check_length(seq: int, config: BertConfig) -> None:
    if seq > config.max_position_embeddings:
        raise InputError(
            f"The longest row has {seq} tokens, but the model knows only {config.max_position_embeddings} positions "
            f"(max_position_embeddings): truncate, for example with tokenizer(..., truncation=True)."
        )


def _check_values(batch: PackedBatch, config: BertConfig) -> None:
    for name, ids, size, source in (
        ("input_ids", batch.input_ids, config.vocab_size, "vocab_size"),
        ("token_type_ids", batch.token_type_ids, config.type_vocab_size, "type_vocab_size"),
        ("position_ids", batch.position_ids, config.max_position_embeddings, "max_position_embeddings"),
    ):
        if ids.numel():
            low, high = (int(end) for end in ids.aminmax())
            if low < 0 or high >= size:
                found = low if low < 0 else high
                raise InputError(f"{name} must be in 0..{size - 1} ({source} is {size}): found {found}.")


def _cumulative(lengths: Tensor) -> Tensor:
    return F.pad(lengths.cumsum(0), (1, 0)).int()  # (batch) -> (batch + 1)


def _moved(holder: Moves, device: torch.device | str, non_blocking: bool) -> Moves:
    moved: dict[str, Any] = {
        field.name: value.to(device, non_blocking=non_blocking)
        for field in fields(holder)
        if isinstance(value := getattr(holder, field.name), (Tensor, Layout))
    }
    return replace(holder, **moved)
