"""The sorted table: keys and values in one file, as LevelDB made them and TensorFlow took them over.

    +------------------+   a block:
    | block            |     entry, entry, ...      sorted by key
    | block            |     restart, restart, ...  four bytes each: where entries stand that spell their whole key
    | ...              |     number of restarts     four bytes
    | metadata block   |   and behind each block
    | index block      |     how it is compressed   one byte, 0: not at all
    | footer, 48 bytes |     checksum of all that   four bytes
    +------------------+

An entry leaves out what its key has in common with the key before:

    shared, unshared, value size (varints) | the unshared bytes of the key | the value

    "bert/pooler/dense/bias"      ->   0, 22, n | bert/pooler/dense/bias
    "bert/pooler/dense/kernel"    ->  18,  6, n | kernel

The index block is a block like any other. It holds one entry for each data block: a key that is not before the
block's last, and the block's *handle*: its offset and size, as varints. The footer holds the handles of the metadata
block (empty in checkpoints) and of the index block, and ends in eight bytes of magic. Numbers of fixed size stand with
their lowest byte first.
Source: LevelDB's doc/table_format.md.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from ...errors import InputError
from .crc32c import masked_crc32c
from .folders import OpenFile
from .wire import Span, damaged, varint

MAGIC = bytes.fromhex("57fb808b247547db")
FOOTER = 48
TRAILER = 5
UNCOMPRESSED, SNAPPY = 0, 1

# What TensorFlow writes with: core/lib/io/table_options.h.
BLOCK_SIZE = 256 << 10
RESTART_INTERVAL = 16

# Since one key in 16 is spelt out, all keys together take at most 16 times the room of their block. Without this bound
# a small file could make gigabytes of keys.
LARGEST_KEY_GAIN = RESTART_INTERVAL


@dataclass(frozen=True)
class Handle:
    """Where a block stands, without its trailer."""

    offset: int
    size: int

    @property
    def end(self) -> int:
        return self.offset + self.size + TRAILER


class Table:
    """A table to read. Raises `InputError` for a file that is none, here and wherever a block is read."""

    def __init__(self, file: OpenFile) -> None:
        self._file = file
        start = max(file.size - FOOTER, 0)
        footer = Span(file.read(start, FOOTER), file.name, start)
        if footer.data[-len(MAGIC) :] != MAGIC:
            raise InputError(
                f"{file.name}, byte {file.size - len(MAGIC)}: this is no TensorFlow checkpoint, as its last bytes "
                f"show. The file {file.description()}."
            )
        _read_handle(footer)
        self._index: list[tuple[bytes, Handle]] = []
        free = 0
        for key, value in self.block(_read_handle(footer)):
            handle = _read_handle(value)
            if handle.offset < free:
                raise value.error(f"a block is said to begin at byte {handle.offset}, inside the one before.")
            free = handle.end
            self._index.append((key, handle))

    def __iter__(self) -> Iterator[tuple[bytes, Span]]:
        """Every key with its value, in the order of the keys."""
        last = None
        for _, handle in self._index:
            for key, value in self.block(handle, after=last):
                yield key, value
                last = key

    def handle(self, key: bytes) -> Handle | None:
        """The only block in which `key` can be; None if it is behind all of them."""
        place = bisect_left(self._index, key, key=lambda entry: entry[0])
        return self._index[place][1] if place < len(self._index) else None

    def block(self, handle: Handle, after: bytes | None = None) -> Iterator[tuple[bytes, Span]]:
        """The keys and values of one block, after its checksum is verified. The keys are to rise from `after` on."""
        entries = self._entries(handle)
        key = b""
        restored = 0
        while not entries.at_end():
            shared, unshared, size = entries.varint(), entries.varint(), entries.varint()
            if shared > len(key):
                raise entries.error(f"a key shares {shared} bytes with a key of {len(key)}.")
            key = key[:shared] + bytes(entries.take(unshared).data)
            if after is not None and key <= after:
                raise entries.error(f"the key {key[:80]!r} stands behind {after[:80]!r}, but keys are to rise.")
            after = key
            restored += len(key)
            if restored > LARGEST_KEY_GAIN * handle.size:
                raise entries.error(f"the keys of a block of {handle.size} bytes would take {restored} and more.")
            yield key, entries.take(size)

    def _entries(self, handle: Handle) -> Span:
        """A block's entries as bytes, without its restarts and trailer."""
        name = self._file.name
        content = self._file.read(handle.offset, handle.size + TRAILER)
        stored = int.from_bytes(content[-4:], "little")
        found = masked_crc32c(content[:-4])
        if stored != found:
            raise damaged(name, handle.offset, f"a block has the checksum {found:08x}, not {stored:08x}.")
        compression = content[handle.size]
        if compression != UNCOMPRESSED:
            method = "snappy" if compression == SNAPPY else f"method {compression}"
            raise InputError(
                f"{name}, byte {handle.offset}: a block is compressed by {method}. TensorFlow writes checkpoints "
                "without compression, and only that is read: save the checkpoint again."
            )
        count = int.from_bytes(content[max(handle.size - 4, 0) : handle.size], "little")
        end = handle.size - 4 - 4 * count
        if end < 0:
            raise damaged(name, handle.offset, f"a block of {handle.size} bytes announces {count} restarts.")
        return Span(content[:end], name, handle.offset)


def _read_handle(span: Span) -> Handle:
    return Handle(span.varint(), span.varint())


def write_table(file: BinaryIO, entries: Iterable[tuple[bytes, bytes]]) -> None:
    """Write a table, byte for byte as TensorFlow does. `entries` come sorted by key, each key once."""
    index = _Block(restart_interval=1)
    block = _Block(RESTART_INTERVAL)
    for key, value in entries:
        is_large = len(key) + len(value) >= 2 * BLOCK_SIZE  # and then begins a block of its own
        if block.content and (is_large or block.size() >= BLOCK_SIZE):
            index.add(_separator(block.last_key, key), _write_block(file, block))
            block = _Block(RESTART_INTERVAL)
        block.add(key, value)
    if block.content:
        index.add(_successor(block.last_key), _write_block(file, block))
    footer = _write_block(file, _Block(RESTART_INTERVAL)) + _write_block(file, index)
    file.write(footer.ljust(FOOTER - len(MAGIC), b"\0") + MAGIC)


class _Block:
    """A block in the making."""

    def __init__(self, restart_interval: int) -> None:
        self.content = bytearray()
        self.last_key = b""
        self._restarts = [0]
        self._interval = restart_interval
        self._since_restart = 0

    def size(self) -> int:
        return len(self.content) + 4 * len(self._restarts) + 4

    def add(self, key: bytes, value: bytes) -> None:
        shared = 0
        if self._since_restart < self._interval:
            shared = _common_length(self.last_key, key)
        else:
            self._restarts.append(len(self.content))
            self._since_restart = 0
        self.content += varint(shared) + varint(len(key) - shared) + varint(len(value)) + key[shared:] + value
        self.last_key = key
        self._since_restart += 1

    def finished(self) -> bytes:
        numbers = [*self._restarts, len(self._restarts)]
        return bytes(self.content) + b"".join(number.to_bytes(4, "little") for number in numbers)


def _write_block(file: BinaryIO, block: _Block) -> bytes:
    """Write a block with its trailer. Returns its handle in bytes."""
    content = block.finished()
    handle = varint(file.tell()) + varint(len(content))
    content += bytes([UNCOMPRESSED])
    file.write(content + masked_crc32c(content).to_bytes(4, "little"))
    return handle


def _separator(last: bytes, following: bytes) -> bytes:
    """A short key that is not before `last` and is before `following`: an index needs no more of a name."""
    place = _common_length(last, following)
    if place < min(len(last), len(following)) and last[place] + 1 < following[place]:
        return last[:place] + bytes([last[place] + 1])
    return last


def _successor(last: bytes) -> bytes:
    """A short key that is not before `last`, for the end of the index."""
    for place, byte in enumerate(last):
        if byte < 0xFF:
            return last[:place] + bytes([byte + 1])
    return last


def _common_length(first: bytes, second: bytes) -> int:
    length = 0
    for one, other in zip(first, second, strict=False):
        if one != other:
            break
        length += 1
    return length
