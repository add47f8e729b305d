"""TensorFlow's checkpoint format V1, of the years before 2017: one file, a sorted table with the numbers inside.

    bert_model.ckpt                           a sorted table (table.py):
        ""                                    of each variable: name, shape, element type, slices
        "\\0bert/embeddings/LayerNorm/beta..." the values of one slice, under the key of slices.py
        ...

A variable in one piece is a variable of one slice that covers everything. The values stand in a `TensorProto`, in
whichever of its fields is for their type; numbers of fixed size are packed as they are in memory, whole numbers as
varints.
Source: TensorFlow's core/util/saved_tensor_slice.proto and core/framework/tensor.proto.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np

from .element_types import BFLOAT16, STORED, Array
from .folders import Folder, ZipFolder
from .slices import (
    LARGEST_LIST,
    MOST_PIECES,
    Piece,
    Variable,
    check_tiling,
    place_of,
    read_extents,
    read_shape,
    slice_key,
)
from .table import Handle, Table
from .wire import Span, damaged

RAW_CONTENT = 4  # the field of `TensorProto` that may hold the bytes of memory instead
# The field for the values of each element type (its number in element_types.py), and what it holds one behind the
# other: numbers of a fixed size, or varints (None).
VALUES: dict[int, tuple[int, np.dtype[Any] | None]] = {
    1: (5, np.dtype("<f4")),
    2: (6, np.dtype("<f8")),
    3: (7, None),
    4: (7, None),
    5: (7, None),
    6: (7, None),
    8: (9, np.dtype("<c8")),
    9: (10, None),
    10: (11, None),
    BFLOAT16: (13, None),
    17: (7, None),
    18: (12, np.dtype("<c16")),
    19: (13, None),
    22: (16, None),
    23: (17, None),
}


class FormatV1:
    """A checkpoint in format V1. `variables` says what it holds; `read` reads a piece of it."""

    def __init__(self, folder: Folder | ZipFolder, name: str) -> None:
        self._file = folder.open(name)
        self.variables: dict[str, Variable] = {}
        try:
            self._table = Table(self._file)
            self._read_variables()
        except BaseException:
            self._file.close()
            raise
        self._keys = {piece.key for variable in self.variables.values() for piece in variable.pieces}
        self._block: tuple[Handle | None, dict[bytes, Span]] = None, {}

    def read(self, piece: Piece, element_type: int) -> Array:
        """The values of a piece as they are stored. Raises `InputError` if they are not there, or not as many."""
        handle = self._table.handle(piece.key)
        if handle is not None and self._block[0] != handle:
            self._block = None, {}  # lets go of the old block before the new one is read
            records = self._table.block(handle)
            self._block = handle, {key: value for key, value in records if key in self._keys}
        record = self._block[1].get(piece.key)
        if record is None:
            raise damaged(self._file.name, piece.place[1], f"the slice {piece.key!r} should be in this block.")
        tensor = record.message(2).message(3)  # the SavedSlice in SavedTensorSlices, and the TensorProto in that
        count = math.prod(piece.shape)
        stored = STORED[element_type]
        field, packed = VALUES[element_type]
        if any(tensor.messages(RAW_CONTENT)):
            values = _fixed_size_values(tensor, RAW_CONTENT, count, stored)
        elif packed is not None:
            values = _fixed_size_values(tensor, field, count, packed)
        else:
            values = _varint_values(tensor, field, count, stored)
        return values.reshape(piece.shape)

    def close(self) -> None:
        self._file.close()

    def _read_variables(self) -> None:
        key, record = next(iter(self._table), (None, None))
        if key != b"" or record is None:
            raise damaged(self._file.name, 0, "the table does not begin with the list of its variables.")
        if len(record.data) > LARGEST_LIST:
            raise record.error(f"the list of variables has {len(record.data)} bytes; at most {LARGEST_LIST} are read.")
        piece_count = value_count = 0
        for message in record.message(1).messages(1):  # SavedSliceMeta in SavedTensorSliceMeta
            name, shape, element_type = message.message(1).text(), read_shape(message.message(2)), message.integer(3)
            if element_type not in STORED:
                continue
            pieces = []
            for slice_message in message.messages(4):
                extents = read_extents(slice_message)
                start, lengths = place_of(extents, shape, slice_message)
                piece_key = slice_key(name, extents)
                handle = self._table.handle(piece_key)
                if handle is None:
                    raise slice_message.error(f"the slice {extents} of '{name}' is not in the file.")
                pieces.append(Piece(piece_key, (0, handle.offset), start, lengths))
                piece_count += 1
                if piece_count > MOST_PIECES:
                    raise slice_message.error(f"the file has more than {MOST_PIECES} slices.")
            check_tiling(pieces, shape, message)
            value_count += math.prod(shape)
            if value_count > self._file.size:  # every value takes a byte at least
                raise message.error(f"{value_count} values and more are announced in {self._file.size} bytes.")
            if name in self.variables:
                raise message.error(f"the variable '{name}' is listed twice.")
            self.variables[name] = Variable(element_type, shape, pieces)


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
