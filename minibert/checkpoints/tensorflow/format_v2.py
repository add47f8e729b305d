"""TensorFlow's checkpoint format V2, the "tensor bundle": an index, and data files with nothing but numbers in them.

    bert_model.ckpt.index                     a sorted table (table.py):
        ""                                    header: number of data files, byte order, version
        "\\0..."                               a slice's entry, under the key of slices.py
        "bert/embeddings/LayerNorm/beta"      entry: element type 1, shape [768], file 0, offset 0, size 3072, checksum
        "bert/embeddings/LayerNorm/gamma"     entry: element type 1, shape [768], file 0, offset 3072, ...
        ...
    bert_model.ckpt.data-00000-of-00001       3072 bytes of beta | 3072 bytes of gamma | ...

The numbers stand in row-major order, lowest byte first. The entry of a variable in slices has no data of its own, but
a list of slices. Everything is checked when the checkpoint is opened, but for the checksums of the data, which are
checked as they are read.
Source: TensorFlow's core/protobuf/tensor_bundle.proto and core/util/tensor_bundle.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ...errors import InputError
from ...files import replacing
from .crc32c import masked_crc32c
from .element_types import NUMBERS, STORED, Array
from .folders import Folder, OpenFile, ZipFolder
from .slices import (
    LARGEST_LIST,
    MOST_DIMENSIONS,
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
from .table import Table, write_table
from .wire import Span, damaged, fixed32_field, message_field, number_field

LITTLE_ENDIAN = 0
VERSION = 1
SLICE_PREFIX = b"\0"


@dataclass(frozen=True, slots=True)
class Entry:
    """What the index says of a stretch of a data file, or of a variable in slices, whose stretch is empty."""

    message: Span
    element_type: int
    shape: Shape
    file_number: int
    offset: int
    size: int
    checksum: int
    has_slices: bool

    @classmethod
    def parse(cls, message: Span) -> Entry:
        """From a `BundleEntryProto`."""
        element_type, shape = message.integer(1), read_shape(message.message(2))
        file_number, offset, size = message.integer(3), message.integer(4), message.integer(5)
        has_slices = any(True for _ in message.messages(7))
        return cls(message, element_type, shape, file_number, offset, size, message.fixed32(6), has_slices)


class FormatV2:
    """A checkpoint in format V2. `variables` says what it holds; `read` reads a piece of it."""

    def __init__(self, folder: Folder | ZipFolder, prefix: str) -> None:
        self._folder = folder
        self._prefix = prefix
        self._data: tuple[int, OpenFile] | None = None
        with closing(folder.open(f"{prefix}.index")) as index:
            self._file_count, self._entries = _read_index(index)
        self._check_stretches()
        self.variables = dict(self._read_variables())

    def read(self, piece: Piece, element_type: int) -> Array:
        """The values of a piece as they are stored. Raises `InputError` if they do not match their checksum."""
        entry = self._entries[piece.key]
        if self._data is None or self._data[0] != entry.file_number:
            self.close()
            self._data = entry.file_number, self._open(entry.file_number)
        file = self._data[1]
        content = file.read(entry.offset, entry.size)
        found = masked_crc32c(content)
        if found != entry.checksum:
            raise damaged(
                file.name, entry.offset,
                f"the next {entry.size} bytes have the checksum {found:08x}, not {entry.checksum:08x}.",
            )  # fmt: skip
        return np.frombuffer(content, STORED[element_type]).reshape(piece.shape)

    def close(self) -> None:
        if self._data is not None:
            self._data[1].close()
            self._data = None

    def _open(self, file_number: int) -> OpenFile:
        return self._folder.open(f"{self._prefix}.data-{file_number:05d}-of-{self._file_count:05d}")

    def _check_stretches(self) -> None:
        """Every stretch has the size of its array, lies in its file, and has its bytes for itself."""
        stretches = [entry for entry in self._entries.values() if entry.element_type in STORED and not entry.has_slices]
        stretches.sort(key=lambda entry: (entry.file_number, entry.offset, entry.size))
        for file_number, entries in groupby(stretches, key=lambda entry: entry.file_number):
            free = 0
            for entry in entries:
                if entry.size != math.prod(entry.shape) * STORED[entry.element_type].itemsize:
                    raise entry.message.error(f"an array of shape {list(entry.shape)} is given {entry.size} bytes.")
                if entry.offset < free:
                    raise entry.message.error(f"an array is to begin at byte {entry.offset}, before byte {free}.")
                free = entry.offset + entry.size
            with closing(self._open(file_number)) as file:
                file.check(0, free)

    def _read_variables(self) -> Iterator[tuple[str, Variable]]:
        for key, entry in self._entries.items():
            if entry.element_type not in STORED or key.startswith(SLICE_PREFIX):
                continue
            name = Span(memoryview(key), entry.message.file, entry.message.offset).text()
            if entry.has_slices:
                pieces = list(self._read_slices(name, entry))
                check_tiling(pieces, entry.shape, entry.message)
            else:
                place = entry.file_number, entry.offset
                pieces = [Piece(key, place, (0,) * len(entry.shape), entry.shape)]
            yield name, Variable(entry.element_type, entry.shape, pieces)

    def _read_slices(self, name: str, whole: Entry) -> Iterator[Piece]:
        for message in whole.message.messages(7):
            extents = read_extents(message)
            start, shape = place_of(extents, whole.shape, message)
            key = slice_key(name, extents)
            entry = self._entries.get(key)
            if entry is None or (entry.element_type, entry.shape) != (whole.element_type, shape) or entry.has_slices:
                raise message.error(f"the slice {extents} of '{name}' has no entry that fits.")
            yield Piece(key, (entry.file_number, entry.offset), start, shape)


def _read_index(file: OpenFile) -> tuple[int, dict[bytes, Entry]]:
    """The number of data files, and the entry of every key."""
    if file.size > LARGEST_LIST:
        raise InputError(f"{file.name} has {file.size} bytes; an index of at most {LARGEST_LIST} is read.")
    records = iter(Table(file))
    key, header = next(records, (None, None))
    if key != b"" or header is None:
        raise damaged(file.name, 0, "the table does not begin with a header.")
    file_count, byte_order, needed_version = header.integer(1), header.integer(2), header.message(3).integer(2)
    if byte_order != LITTLE_ENDIAN:
        raise InputError(
            f"{file.name} was written on a big-endian machine, and only little-endian checkpoints are read: read it "
            "with TensorFlow on such a machine and save it again elsewhere."
        )
    if needed_version > VERSION:
        raise InputError(f"{file.name} needs version {needed_version} of the format; minibert reads {VERSION}.")
    entries: dict[bytes, Entry] = {}
    for key, message in records:
        if len(entries) == MOST_PIECES:
            raise message.error(f"the index has more than {MOST_PIECES} entries.")
        entry = entries[key] = Entry.parse(message)
        if not 0 <= entry.file_number < file_count:
            raise message.error(f"data file {entry.file_number} is named, but there are {file_count} of them.")
    return file_count, entries


def write_v2(prefix: Path, tensors: Mapping[str, Any]) -> None:
    """Write PREFIX.index and PREFIX.data-00000-of-00001, both complete or not at all."""
    with replacing(f"{prefix}.index") as index_path, replacing(f"{prefix}.data-00000-of-00001") as data_path:
        header = number_field(1, 1) + message_field(3, number_field(1, VERSION))
        records = [(b"", header)]
        with data_path.open("wb") as data:
            for name in sorted(tensors):
                if not name or name.startswith("\0"):
                    raise InputError(
                        f"{name!r} cannot name a variable in a TensorFlow checkpoint: choose another name."
                    )
                records.append((name.encode(), _write_array(data, name, np.asarray(tensors[name]))))
        with index_path.open("wb") as index:
            write_table(index, records)


def _write_array(data: BinaryIO, name: str, array: Array) -> bytes:
    """Write the numbers of an array. Returns its `BundleEntryProto`."""
    element_type = NUMBERS.get(array.dtype.newbyteorder("<"))
    if element_type is None or array.ndim > MOST_DIMENSIONS:
        raise InputError(
            f"'{name}' cannot be written to a TensorFlow checkpoint: it has dtype {array.dtype} and {array.ndim} "
            f"dimensions, but it may have numbers or booleans of NumPy's usual sizes, and {MOST_DIMENSIONS} dimensions."
        )
    stored = array.astype(STORED[element_type], order="C", copy=False)
    content = stored.reshape(-1).view(np.uint8).data
    offset = data.tell()
    data.write(content)
    shape = b"".join(message_field(2, number_field(1, size)) for size in array.shape)
    return (
        number_field(1, element_type)
        + message_field(2, shape)
        + number_field(4, offset)
        + number_field(5, len(content))
        + fixed32_field(6, masked_crc32c(content))
    )
