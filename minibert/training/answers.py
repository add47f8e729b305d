"""The answers to all examples, collected from batches that come in another order."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from ..losses import IGNORE, full_precision


class Rows:
    """Collects the answers of batches in any order, and gives them back as arrays with a row for each example."""

    def __init__(self, count: int) -> None:
        self._rows: list[list[Any]] = [[] for _ in range(count)]

    @property
    def filled(self) -> bool:
        return all(self._rows)

    def put(self, indices: list[int], tensors: list[Tensor]) -> None:
        """Tensors (batch, ...) that belong to these examples."""
        arrays = [full_precision(tensor).cpu().numpy() for tensor in tensors]  # NumPy has no bfloat16
        for row, index in enumerate(indices):
            self._rows[index] = [array[row] for array in arrays]

    def arrays(self) -> Any:
        """One array, or a tuple of them if there are several a batch. Shorter rows are filled up with -100."""
        stacked = tuple(_stack(column) for column in zip(*self._rows, strict=True))
        return stacked[0] if len(stacked) == 1 else stacked


def _stack(rows: tuple[Any, ...]) -> Any:
    if len({np.shape(row) for row in rows}) == 1:
        return np.stack(rows)
    longest = max(len(row) for row in rows)
    filled = np.full((len(rows), longest, *rows[0].shape[1:]), IGNORE, dtype=rows[0].dtype)
    for number, row in enumerate(rows):
        filled[number, : len(row)] = row
    return filled
