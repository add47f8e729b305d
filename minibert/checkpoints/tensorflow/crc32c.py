"""CRC-32C, the checksum in TensorFlow's files, at memory speed in NumPy.

A CRC reads the message as one long polynomial over GF(2), a coefficient for each bit, the first bit the highest power,
and keeps the remainder of its division by a fixed polynomial P of degree 32 (for CRC-32C Castagnoli's: RFC 3720,
appendix B.4). The schoolbook loop divides byte by byte, which in Python takes a minute for the 440 MB of BERT-base.

But any multiple of P may be taken away first: the remainder stays. A *sparse* multiple is cheap to take away. With
y = x^64, so that one step is one word of eight bytes,

    y^6777 + y^484 + y^100 + 1  =  0  (mod P)

hence a word that stands 6777 places before another can be struck out, if it is XORed onto the word 484 places before
that other one, onto the word 100 places before, and onto that word itself:

    message   [ w | ................ | a | ............ | b | ..... | c | ..... ]     a, b, c ^= w;  w = 0
                |<---- 6777 - 484 -->|
                |<------------- 6777 - 100 ------------>|
                |<-------------------- 6777 ------------------->|

Three XORs a word, and the 6293 words before `a` go together, as NumPy slices. A second, shorter multiple shrinks the
6777 words that are left to 290, and the schoolbook loop ends the work.

The exponents were found by a birthday search: note 1 + y^a for all small a, then look for y^b + y^c among the notes.
x + 1 divides P, so the number of terms is always even.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Bytes = bytes | bytearray | memoryview

POLYNOMIAL = 0x82F63B78  # P without x^32, lowest power in the highest bit: the order in which bytes carry bits
SPARSE_MULTIPLES = ((6777, 484, 100, 0), (290, 136, 113, 107, 32, 0))  # exponents of y = x^64
CHUNK = 4 << 20  # bytes worked on at a time: large enough to hide the loop at its end, small enough for a cache


def _remainder_of_byte(byte: int) -> int:
    for _ in range(8):
        byte = byte >> 1 ^ (POLYNOMIAL if byte & 1 else 0)
    return byte


TABLE = [_remainder_of_byte(byte) for byte in range(256)]


def crc32c(data: Bytes) -> int:
    """The CRC-32C of `data` (RFC 3720, appendix B.4): 32 bits, unsigned. Needs 4 MiB of memory for any length."""
    remainder = 0xFFFFFFFF
    view = memoryview(data)
    for start in range(0, len(view), CHUNK):
        remainder = _extend(remainder, view[start : start + CHUNK])
    return remainder ^ 0xFFFFFFFF


def masked_crc32c(data: Bytes) -> int:
    """The checksum as TensorFlow's and LevelDB's files store it.

    A checksum of data that holds checksums of itself is weak, so the stored form is turned right by 15 bits and added
    to a constant (LevelDB, `util/crc32c.h`).
    """
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def _extend(remainder: int, chunk: memoryview) -> int:
    """The remainder of a message so far, which left `remainder`, with `chunk` put behind it."""
    size = len(chunk) // 8 * 8
    words = np.frombuffer(chunk[:size], dtype="<u8").copy()
    if size:
        words[0] ^= np.uint64(remainder)  # the remainder so far counts as if it stood in the next 32 bits
        remainder = 0
    for multiple in SPARSE_MULTIPLES:
        words = _strike_out(words, multiple)
    for byte in words.tobytes() + bytes(chunk[size:]):
        remainder = TABLE[(remainder ^ byte) & 0xFF] ^ remainder >> 8
    return remainder


def _strike_out(words: NDArray[np.uint64], multiple: tuple[int, ...]) -> NDArray[np.uint64]:
    """As many last words as the multiple's degree, with the same remainder as all the words. Overwrites `words`."""
    degree, second, *_ = multiple
    surplus = len(words) - degree
    for start in range(0, surplus, degree - second):
        end = min(start + degree - second, surplus)
        for exponent in multiple[1:]:
            shift = degree - exponent
            words[start + shift : end + shift] ^= words[start:end]
    return words[max(surplus, 0) :]
