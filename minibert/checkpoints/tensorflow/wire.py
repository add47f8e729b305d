"""Numbers and messages in bytes: as much of Protocol Buffers' wire format as checkpoints use.

A *varint* is a whole number, seven bits a byte, lowest first; the top bit says that more follow:

    300 = 0b10_0101100         1 0101100   0 0000010
                               more        last

A *message* is a row of fields, in any order and all of them optional. Each begins with the varint
`8 * number + kind`, which says whose value it is and where that value ends:

    kind 0: a varint      kind 1: eight bytes      kind 2: a varint, and so many bytes      kind 5: four bytes

Bytes of kind 2 are a text, another message, or many numbers "packed" one behind the other; only the reader knows.
Source: protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

from collections.abc import Iterator

from ...errors import InputError

MOST_FIELDS = 20_000  # the longest honest message lists variables: BERT-large with its optimizer has 1,200
VARINT, EIGHT_BYTES, BYTES, FOUR_BYTES = 0, 1, 2, 5


class Span:
    """A stretch of a file, and a place in it to read on from. It knows where it stands, so that errors can say so.

    Fields are found by walking over the message each time one is asked for: messages here are short, and nothing has
    to be kept that a damaged file could make large.
    """

    def __init__(self, data: memoryview, file: str, offset: int) -> None:
        self.data = data
        self.file = file
        self.offset = offset  # of data[0] in the file
        self.position = 0

    def error(self, problem: str) -> InputError:
        """The error to raise for a problem at the place reached."""
        return damaged(self.file, self.offset + self.position, problem)

    def at_end(self) -> bool:
        return self.position >= len(self.data)

    def take(self, size: int) -> Span:
        """The next `size` bytes."""
        left = len(self.data) - self.position
        if size > left:
            raise self.error(f"{size} bytes are announced, but only {left} are left.")
        start = self.position
        self.position += size
        return Span(self.data[start : self.position], self.file, self.offset + start)

    def varint(self) -> int:
        """The next number, unsigned, below 2^64."""
        value = 0
        for shift in range(0, 70, 7):
            if self.at_end():
                raise self.error("the bytes end in the middle of a number.")
            byte = self.data[self.position]
            self.position += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                if value >= 1 << 64:
                    break
                return value
        raise self.error("a number does not fit in 64 bits.")

    def fields(self) -> Iterator[tuple[int, int | Span]]:
        """(number, value) of every field of this message. Raises `InputError` where the bytes are no message."""
        message = Span(self.data, self.file, self.offset)
        for _ in range(MOST_FIELDS):
            if message.at_end():
                return
            number, kind = divmod(message.varint(), 8)
            if kind == VARINT:
                yield number, message.varint()
            elif kind == BYTES:
                yield number, message.take(message.varint())
            elif kind == EIGHT_BYTES:
                yield number, message.take(8)
            elif kind == FOUR_BYTES:
                yield number, message.take(4)
            else:
                raise message.error(f"field {number} is of kind {kind}, which messages here do not use.")
        raise message.error(f"a message has more than {MOST_FIELDS} fields.")

    def integer(self, number: int) -> int:
        """Field `number` as a signed 64-bit number; 0 if it is not there."""
        value = 0
        for field, found in self.fields():
            if field == number:
                if isinstance(found, Span):
                    raise found.error(f"field {number} should be a number, but it holds {len(found.data)} bytes.")
                value = found
        return value - (1 << 64) if value >= 1 << 63 else value

    def messages(self, number: int) -> Iterator[Span]:
        """Every value of the repeated field `number`."""
        for field, found in self.fields():
            if field == number:
                if not isinstance(found, Span):
                    raise self.error(f"field {number} should hold bytes, but it is the number {found}.")
                yield found

    def message(self, number: int) -> Span:
        """Field `number`, empty if it is not there."""
        last = Span(self.data[:0], self.file, self.offset)
        for found in self.messages(number):
            last = found  # the wire format's rule: if a field comes twice, the last one counts
        return last

    def fixed32(self, number: int) -> int:
        """Field `number` as an unsigned number of four bytes; 0 if it is not there."""
        return int.from_bytes(self.message(number).data[:4], "little")

    def text(self) -> str:
        """All of the bytes as UTF-8."""
        try:
            return str(self.data, "utf-8")
        except UnicodeDecodeError:
            raise self.error(f"{bytes(self.data[:40])!r} is no text in UTF-8.") from None


def damaged(file: str, offset: int, problem: str) -> InputError:
    """The one form in which a broken checkpoint is reported."""
    return InputError(f"{file}, byte {offset}: {problem} The file is damaged: copy or download it again.")


def varint(value: int) -> bytes:
    """A number from 0 to 2^64 - 1 as it is written."""
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(encoded) + bytes([value])


def number_field(number: int, value: int) -> bytes:
    """A field of kind 0. Zero is written as nothing, as Protocol Buffers do."""
    return varint(number << 3 | VARINT) + varint(value) if value else b""


def fixed32_field(number: int, value: int) -> bytes:
    """A field of kind 5; zero is written as nothing."""
    return varint(number << 3 | FOUR_BYTES) + value.to_bytes(4, "little") if value else b""


def message_field(number: int, content: bytes) -> bytes:
    """A field of kind 2. It is written even if it is empty."""
    return varint(number << 3 | BYTES) + varint(len(content)) + content
