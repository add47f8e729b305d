"""TensorFlow's checkpoint format V1, of the years before 2017: a sorted table with the numbers inside.

    bert_model.ckpt                           a sorted table (table.py):
        ""                                    of each variable: name, shape, element type, slices
        "\\0bert/embeddings/LayerNorm/beta..." the values of one slice, under the key of slices.py
        ...

A variable in one piece is a variable of one slice that covers everything. The values stand in a `TensorProto`, in
whichever of its fields is for their type; numbers of fixed size are packed as they are in memory, whole numbers as
varints.

Saved from several machines, a checkpoint is several such files, `bert_model.ckpt-00000-of-00002` and so on. Each lists
what it holds; of a variable with slices in several files each tells the whole shape, and its own slices.

Source: TensorFlow's core/util/saved_tensor_slice.proto and core/framework/tensor.proto.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterator
from itertools import islice
from typing import Any

import numpy as np

from ...errors import InputError
from .element_types import BFLOAT16, STORED, Array
from .folders import Folder, OpenFile, ZipFolder
from .slices import (
    LARGEST_LIST,
    MOST_PIECES,
    Piece,
    Shape,
    Variable,
    check_tiling,
    place_of,
    read_extents,
    read_shape,
    slice_key,
)
from .table import Handle, Table
from .wire import Span, damaged

# The field of `TensorProto` for the values of each element type (its number in element_types.py).
FIELDS = {1: 5, 2: 6, 3: 7, 4: 7, 5: 7, 6: 7, 8: 9, 9: 10, 10: 11, BFLOAT16: 13, 17: 7, 18: 12, 19: 13, 22: 16, 23: 17}
RAW_CONTENT = 4  # the field that may hold the bytes of memory instead
AS_IN_MEMORY = (RAW_CONTENT, 5, 6, 9, 12)  # fields of numbers one behind the other; the others hold varints

PART = re.compile(r"(?P<prefix>.+)-(\d{5}|\?{5})-of-(?P<count>(?!0{5})\d{5})")  # "?????" as TensorFlow names all parts
MOST_PARTS = 200  # they are all open at the same time


def part_names(name: str, names: Collection[str]) -> list[str]:
    """The files of the checkpoint that `name` means in a folder with these `names`; empty if there is none.

    `name` may be that of the only file, or of several parts what they have in common, any one of them, or
    `prefix-?????-of-00002`. Parts that are missing are listed, too. Raises `InputError` if two checkpoints are meant.
    """
    part = PART.fullmatch(name)
    if part is None and name in names:
        return [name]
    prefix = name if part is None else part["prefix"]
    counts = {found["count"] for found in map(PART.fullmatch, names) if found and found["prefix"] == prefix}
    if part is not None:
        counts &= {part["count"]}
    if len(counts) > 1:
        raise InputError(
            f"There are several checkpoints {prefix}, of {' and of '.join(sorted(counts))} parts: name one."
        )
    return [
        f"{prefix}-{number:05d}-of-{count}" for count in counts for number in range(min(int(count), MOST_PARTS + 1))
    ]


class FormatV1:
    """A checkpoint in format V1. `variables` says what it holds; `read` reads a piece of it."""

    def __init__(self, folder: Folder | ZipFolder, name: str) -> None:
        self._files: list[OpenFile] = []
        self.variables: dict[str, Variable] = {}
        names = part_names(name, folder.names())
        if len(names) > MOST_PARTS:
            raise InputError(f"{folder}: {name} is in more than {MOST_PARTS} parts.")
        try:
            for part in names:
                self._files.append(folder.open(part))
            self._tables = [Table(file) for file in self._files]
            self._read_variables()
        except BaseException:
            self.close()
            raise
        self._keys = {piece.key for variable in self.variables.values() for piece in variable.pieces}
        self._block: tuple[tuple[int, Handle] | None, dict[bytes, Span]] = None, {}

    def read(self, piece: Piece, element_type: int) -> Array:
        """The values of a piece as they are stored. Raises `InputError` if they are not there, or not as many."""
        number, offset = piece.place
        handle = self._tables[number].handle(piece.key)
        if handle is not None and self._block[0] != (number, handle):
            self._block = None, {}  # lets go of the old block before the new one is read
            records = self._tables[number].block(handle)
            self._block = (number, handle), {key: value for key, value in records if key in self._keys}
        record = self._block[1].get(piece.key)
        if record is None:
            raise damaged(self._files[number].name, offset, f"the slice {piece.key!r} should be in this block.")
        tensor = record.message(2).message(3)  # the SavedSlice in SavedTensorSlices, and the TensorProto in that
        count = math.prod(piece.shape)
        field = RAW_CONTENT if any(tensor.messages(RAW_CONTENT)) else FIELDS[element_type]
        read = _fixed_size_values if field in AS_IN_MEMORY else _varint_values
        return read(tensor, field, count, STORED[element_type]).reshape(piece.shape)

    def close(self) -> None:
        for file in self._files:
            file.close()

    def _read_variables(self) -> None:
        room = sum(file.size for file in self._files)
        piece_count = value_count = 0
        last_mention: dict[str, Span] = {}
        for number in range(len(self._files)):
            mentioned = set()
            for message in self._listed(number):
                name, element_type = message.message(1).text(), message.integer(3)
                shape = read_shape(message.message(2))
                if element_type not in STORED:
                    continue
                if name in mentioned:
                    raise message.error(f"the variable '{name}' is listed twice.")
                mentioned.add(name)
                variable = self.variables.setdefault(name, Variable(element_type, shape, []))
                if (variable.element_type, variable.shape) != (element_type, shape):
                    raise message.error(f"the variable '{name}' has another shape or type here than in another part.")
                if name not in last_mention:
                    value_count += math.prod(shape)
                if value_count > room:  # every value takes a byte at least
                    raise message.error(f"{value_count} values and more are announced in {room} bytes.")
                last_mention[name] = message
                for piece in self._pieces(name, shape, message, number):
                    variable.pieces.append(piece)
                    piece_count += 1
                    if piece_count > MOST_PIECES:
                        raise message.error(f"there are more than {MOST_PIECES} slices.")
        for name, message in last_mention.items():
            check_tiling(self.variables[name].pieces, self.variables[name].shape, message)

    def _listed(self, number: int) -> Iterator[Span]:
        """What a file says of each variable: a `SavedSliceMeta` in `SavedTensorSliceMeta`."""
        key, record = next(iter(self._tables[number]), (None, None))
        if key != b"" or record is None:
            raise damaged(self._files[number].name, 0, "the table does not begin with the list of its variables.")
        if len(record.data) > LARGEST_LIST:
            raise record.error(f"the list of variables has {len(record.data)} bytes; at most {LARGEST_LIST} are read.")
        return record.message(1).messages(1)

    def _pieces(self, name: str, shape: Shape, message: Span, number: int) -> Iterator[Piece]:
        for slice_message in message.messages(4):
            extents = read_extents(slice_message)
            start, lengths = place_of(extents, shape, slice_message)
            key = slice_key(name, extents)
            handle = self._tables[number].handle(key)
            if handle is None:
                raise slice_message.error(f"the slice {extents} of '{name}' is not in the file.")
            yield Piece(key, (number, handle.offset), start, lengths)


def _fixed_size_values(tensor: Span, field: int, count: int, dtype: np.dtype[Any]) -> Array:
    """The `count` numbers in the field `field` of a `TensorProto`, packed in one stretch or in several."""
    content = np.empty(count * dtype.itemsize, np.uint8)
    done = 0
    for span in tensor.messages(field):
        stretch = content[done : done + len(span.data)]
        if len(stretch) < len(span.data):
            raise tensor.error(f"there are more than {count} values.")
        stretch[:] = span.data
        done += len(stretch)
    if done < len(content):
        raise tensor.error(f"{count} values need {len(content)} bytes, but {done} are there.")
    return content.view(dtype)


def _varint_values(tensor: Span, field: int, count: int, dtype: np.dtype[Any]) -> Array:
    """The `count` whole numbers in the field `field`, packed or one by one. float16 and bfloat16 come as their bits."""

    def varints() -> Iterator[int]:
        for number, found in tensor.fields():
            if number == field and isinstance(found, int):
                yield found
            elif number == field and isinstance(found, Span):
                while not found.at_end():
                    yield found.varint()

    values = np.fromiter(islice(varints(), count + 1), np.uint64)
    if len(values) != count:
        raise tensor.error(
            f"{count} values are needed, but there are {'more' if len(values) > count else len(values)}."
        )
    return values.astype(f"<u{dtype.itemsize}").view(dtype)
