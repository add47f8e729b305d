"""Variables that are saved in pieces: what a slice is, under which key it stands, and whether slices make a whole.

A large variable may live on several machines, each with some of its rows, or of its columns, or of both. A checkpoint
then holds each slice by itself:

    word_embeddings, 2000 x 128                   the slice's extents
    +-----------------+
    | rows 0 to 666   |                           (start 0,    length 667), (start 0, length 128)
    +-----------------+
    | rows 667 to 1333|                           (start 667,  length 667), (start 0, length 128)
    +-----------------+
    | rows 1334 to .. |                           (start 1334, length 666), (start 0, length 128)
    +-----------------+

An extent may also say "everything along this dimension"; it is then kept as start 0, length -1.

The key of a slice's record begins with a zero byte, so that all slices stand before all names, and is
*order-preserving*: comparing keys as bytes compares what they spell. Numbers are therefore written with their length
first and their highest byte first.

    0                      unsigned 0, that is: a number of no bytes
    name                   in UTF-8, with 00 spelt as 00 FF; 00 01 ends it
    01 02                  unsigned 2: one byte follows, the number of dimensions
    start, length          of each dimension, signed: the size class in the upper bits (see `signed_code`)

Source: TensorFlow's `EncodeTensorNameSlice` in core/util/saved_tensor_slice_util.cc, and `OrderedCode` in
core/lib/strings/ordered_code.cc.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from .wire import Span

EVERYTHING = (0, -1)  # the extent (start, length) of a whole dimension
MOST_DIMENSIONS = 32  # the most that every NumPy can hold
# Bounds on what a checkpoint lists, far above what any BERT has, so that a hostile one cannot keep a reader busy.
MOST_PIECES = 20_000  # BERT-large with its optimizer has 1,200
LARGEST_LIST = 4 << 20  # bytes; that of BERT-large with its optimizer has 70,000
MOST_CELLS = 1 << 20  # see check_tiling

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Piece:
    """A box of a variable, and where its values are."""

    key: bytes  # of the piece's record in the table
    place: tuple[int, int]  # number of the file, and the offset in it: pieces are read in this order
    start: Shape
    shape: Shape

    @property
    def box(self) -> tuple[slice, ...]:
        """The piece's part of the variable, as an index."""
        return tuple(slice(first, first + length) for first, length in zip(self.start, self.shape, strict=True))


@dataclass(frozen=True, slots=True)
class Variable:
    """What a checkpoint says of a variable. `element_type` is the number that TensorFlow gives it."""

    element_type: int
    shape: Shape
    pieces: list[Piece]


def read_shape(message: Span) -> Shape:
    """The shape in a `TensorShapeProto`. Raises `InputError` for one that no array can have."""
    sizes = islice(message.messages(2), MOST_DIMENSIONS + 1)
    shape = tuple(size.integer(1) for size in sizes)
    if len(shape) > MOST_DIMENSIONS:
        raise message.error(f"a shape has more than {MOST_DIMENSIONS} dimensions.")
    if any(size < 0 for size in shape) or math.prod(max(size, 1) for size in shape) >= 1 << 58:
        raise message.error(f"the shape {list(shape)} is impossible.")
    return shape


def read_extents(message: Span) -> list[tuple[int, int]]:
    """The (start, length) of each dimension in a `TensorSliceProto`."""
    extents = []
    for extent in islice(message.messages(1), MOST_DIMENSIONS + 1):
        has_length = any(number == 2 for number, _ in extent.fields())
        extents.append((extent.integer(1), extent.integer(2) if has_length else -1))
    return extents


def place_of(extents: list[tuple[int, int]], shape: Shape, message: Span) -> tuple[Shape, Shape]:
    """Start and shape of the slice with these extents of a variable of `shape`; `message` is where they were read.

    Raises `InputError` if it reaches beyond the variable.
    """
    if len(extents) == len(shape):
        start = tuple(extent[0] for extent in extents)
        lengths = tuple(
            size if extent == EVERYTHING else extent[1] for extent, size in zip(extents, shape, strict=True)
        )
        ends = tuple(map(sum, zip(start, lengths, strict=True)))
        if all(0 <= first <= end <= size for first, end, size in zip(start, ends, shape, strict=True)):
            return start, lengths
    raise message.error(f"the slice {extents} is not inside the shape {list(shape)}.")


def check_tiling(pieces: Sequence[Piece], shape: Shape, message: Span) -> None:
    """Raise `InputError` unless every element of a variable of `shape` is in exactly one of the pieces.

    The edges of all pieces cut each dimension into segments, and the segments cut the variable into cells: for tiles
    it is enough that every cell is covered once.
    """
    edges: list[list[int]] = []
    for dimension, size in enumerate(shape):
        starts = {piece.start[dimension] for piece in pieces}
        ends = {piece.start[dimension] + piece.shape[dimension] for piece in pieces}
        edges.append(sorted({0, size} | starts | ends))
    cells = [len(cuts) - 1 for cuts in edges]
    if math.prod(cells) > MOST_CELLS:
        raise message.error(f"{len(pieces)} slices cut a variable into {math.prod(cells)} cells.")
    number_of = [{edge: number for number, edge in enumerate(cuts)} for cuts in edges]
    covered = np.zeros(cells, np.bool_)
    for piece in pieces:
        cell_box = tuple(
            slice(numbers[start], numbers[start + length])
            for numbers, start, length in zip(number_of, piece.start, piece.shape, strict=True)
        )
        if covered[cell_box].any():
            raise message.error(f"the slice at {list(piece.start)} overlaps another one.")
        covered[cell_box] = True
    if not pieces or not covered.all():
        raise message.error("a part of the variable is in none of its slices.")


def slice_key(name: str, extents: Sequence[tuple[int, int]]) -> bytes:
    """The key of the record with the slice (start, length), ... of the variable `name`."""
    spelt = name.encode().replace(b"\x00", b"\x00\xff")
    key = unsigned_code(0) + spelt + b"\x00\x01" + unsigned_code(len(extents))
    return key + b"".join(signed_code(start) + signed_code(length) for start, length in extents)


def unsigned_code(value: int) -> bytes:
    """The number of bytes, and the bytes, highest first."""
    size = (value.bit_length() + 7) // 8
    return bytes([size]) + value.to_bytes(size, "big")


def signed_code(value: int) -> bytes:
    """As few bytes as do, highest first, and as many ones in front as there are bytes; then the sign.

        0  ->  10 000000        63  ->  10 111111        64  ->  110 00000 01000000
       -1  ->  01 111111       -64  ->  01 000000       -65  ->  001 11111 10111111

    A negative number has every bit of this turned round, so that it comes before the others.
    """
    magnitude = value if value >= 0 else ~value
    size = magnitude.bit_length() // 7 + 1
    code = ((1 << size) - 1) << 7 * size | magnitude
    if value < 0:
        code ^= (1 << 8 * size) - 1
    return code.to_bytes(size, "big")
