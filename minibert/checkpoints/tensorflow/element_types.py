"""The kinds of numbers in a checkpoint: TensorFlow's number for each, and NumPy's dtype.

Source: the enumeration `DataType` in TensorFlow's core/framework/types.proto. Kinds that are no numbers (texts,
resources) or that NumPy lacks (quantized numbers) are not here; variables of these kinds are passed over.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

BFLOAT16 = 14
STORED: dict[int, np.dtype[Any]] = {
    1: np.dtype("<f4"),
    2: np.dtype("<f8"),
    3: np.dtype("<i4"),
    4: np.dtype("u1"),
    5: np.dtype("<i2"),
    6: np.dtype("i1"),
    8: np.dtype("<c8"),
    9: np.dtype("<i8"),
    10: np.dtype("?"),
    BFLOAT16: np.dtype("<u2"),  # the upper half of a float32, which NumPy has no name for
    17: np.dtype("<u2"),
    18: np.dtype("<c16"),
    19: np.dtype("<f2"),
    22: np.dtype("<u4"),
    23: np.dtype("<u8"),
}
NUMBERS = {dtype: number for number, dtype in STORED.items() if number != BFLOAT16}


def dtype_read(element_type: int) -> np.dtype[Any]:
    """The dtype in which a variable is handed out: bfloat16 becomes float32, which loses nothing."""
    return np.dtype("<f4") if element_type == BFLOAT16 else STORED[element_type]


def as_read(stored: Array, element_type: int) -> Array:
    """The values as they are handed out, from an array as they are stored."""
    if element_type != BFLOAT16:
        return stored
    widened = stored.astype("<u4")
    widened <<= 16
    return widened.view("<f4")
