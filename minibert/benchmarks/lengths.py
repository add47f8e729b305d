"""How long sentences are: a recorded distribution, a file of your own, and a few shapes to compare with."""

from __future__ import annotations

import random
from pathlib import Path

from ..errors import InputError

# How many of the 67,349 texts in SST-2's training set (Socher et al. 2013; GLUE) have 3, 4, 5, ... tokens, in the
# vocabulary of bert-base-uncased and with [CLS] and [SEP].
SST2_SHORTEST = 3
SST2_COUNTS = (
    1978, 5323, 6064, 5345, 4749, 4155, 3713, 3267, 2947, 2650, 2413, 2138, 1950, 1777, 1661, 1515, 1373, 1285,
    1132, 1106, 1046, 909, 820, 806, 733, 692, 628, 538, 491, 442, 448, 400, 337, 304, 286, 242, 195, 203, 192, 155,
    148, 130, 89, 82, 85, 73, 55, 42, 50, 40, 36, 19, 21, 22, 15, 8, 6, 3, 2, 5, 5, 1, 2, 2,
)  # fmt: skip


def sst2_lengths(batch: int, seed: int = 0) -> list[int]:
    """Lengths of a random batch of SST-2."""
    lengths = range(SST2_SHORTEST, SST2_SHORTEST + len(SST2_COUNTS))
    return random.Random(seed).choices(lengths, SST2_COUNTS, k=batch)


def attention_workloads(batch: int) -> dict[str, list[int]]:
    """Batches by name: real lengths, uniform ones, full ones, and the worst for a rectangle."""
    uniform = random.Random(0)
    return {
        "SST-2": sst2_lengths(batch),
        "uniform 1-128": [uniform.randint(1, 128) for _ in range(batch)],
        "all 128": [128] * batch,
        "all 512": [512] * max(1, batch // 4),
        "one of 512 among SST-2": [512, *sst2_lengths(batch - 1)],
    }


def inference_workloads(batch: int, batches: int) -> dict[str, list[list[int]]]:
    """Batches by name: real lengths, uniform ones (about half is padding), and full ones (none is)."""
    uniform = random.Random(0)
    return {
        "SST-2": [sst2_lengths(batch, seed) for seed in range(batches)],
        "uniform 1-128": [[uniform.randint(1, 128) for _ in range(batch)] for _ in range(batches)],
        "all 128": [[128] * batch],
    }


def two_thirds_full(batch: int, longest: int) -> list[int]:
    """Lengths from the longest down to a third of it, in equal steps: 67 % of the rectangle."""
    return [max(1, longest - round(2 * longest * row / (3 * max(1, batch - 1)))) for row in range(batch)]


def own_batches(path: str, batch: int) -> list[list[int]]:
    """The lengths in a file, in their order, as batches. Raises `InputError` as `read_lengths`."""
    lengths = read_lengths(path)
    return [lengths[start : start + batch] for start in range(0, len(lengths), batch)]


def read_lengths(path: str) -> list[int]:
    """A file with one whole number a line, the tokens of a text. Raises `InputError` for anything else."""
    lines = Path(path).read_text(encoding="utf-8", errors="replace").split()
    wrong = [line for line in lines if not (line.isascii() and line.isdecimal() and int(line) > 0)]
    if wrong or not lines:
        found = f"found '{wrong[0]}'" if wrong else "it is empty"
        raise InputError(f"{path} must hold the lengths of texts, one whole number a line, at least 1: {found}.")
    return [int(line) for line in lines]
