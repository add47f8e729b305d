"""Rare classes: let their examples count more, or be drawn more often. One of both: together, they count twice.

Both make all classes equally important, in the sum over an epoch (King & Zeng 2001).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from ..data.batches import epoch_generator
from ..errors import InputError
from ..losses import IGNORE


def class_weights(labels: Iterable[Any], classes: int) -> Tensor:
    """A weight for each class, (classes,) float32: n / (classes * n_of_the_class); 0 for a class without examples.

    labels: of the training set, a number an example, or a list of numbers, one a token (-100 is not counted). Raises
    `InputError` for labels of another kind.
    """
    rows = [label if isinstance(label, list) else [label] for label in labels]
    counts = Counter(label for row in rows for label in row if label != IGNORE)
    if not all(isinstance(label, int) and 0 <= label < classes for label in counts):
        raise InputError(f"Class weights need labels 0 to {classes - 1}: found {next(iter(counts), 'none')!r}.")
    total = sum(counts.values())
    return torch.tensor([total / (classes * counts[number]) if counts[number] else 0.0 for number in range(classes)])


def balanced_draw(labels: Sequence[Any], seed: int, epoch: int) -> list[int]:
    """As many examples as there are, by number, drawn with replacement: every class is as likely as any other.

    A pure function of its arguments, so that a run can be taken up in the middle of an epoch. Raises `InputError`
    unless every example has one label.
    """
    if not all(isinstance(label, int) for label in labels):
        raise InputError("Balanced sampling needs one label an example: these examples have several, or numbers.")
    counts = Counter(labels)
    weights = torch.tensor([1 / counts[label] for label in labels], dtype=torch.float64, device="cpu")
    drawn = torch.multinomial(weights, len(labels), replacement=True, generator=epoch_generator(seed, epoch))
    return drawn.tolist()
