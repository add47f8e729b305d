"""What a run learns about itself between two lines of its log: losses, speed."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor


class Reading(NamedTuple):
    """What a `Meter` has counted: the sums of the figures, over so many steps, tokens and seconds."""

    sums: dict[str, float]
    steps: int
    tokens: int
    seconds: float

    def means(self) -> dict[str, float]:
        """The figures of an average step."""
        return {name: total / self.steps for name, total in self.sums.items()}


class Meter:
    """Figures and speed since they were last read. Only then are the figures fetched from the device.

    begun: what the meter of an interrupted run had counted; this one goes on from there.
    """

    def __init__(self, device: torch.device, begun: Reading) -> None:
        self._device = device
        self._totals = {name: torch.tensor(total, device=device) for name, total in begun.sums.items()}
        self._steps = begun.steps
        self._tokens: int | Tensor = begun.tokens
        self._since = time.perf_counter() - begun.seconds

    def add(self, figures: Mapping[str, Tensor], tokens: int | Tensor) -> None:
        """The figures of one step."""
        for name, figure in figures.items():
            total = self._totals.setdefault(name, torch.zeros((), device=self._device))
            total += figure.detach()
        self._steps += 1
        self._tokens = self._tokens + tokens

    def leave_out(self, seconds: float) -> None:
        """Time just spent on something else, such as an evaluation."""
        self._since += seconds

    def so_far(self, now: float) -> Reading:
        """What was counted up to now."""
        sums = torch.stack(list(self._totals.values())).tolist() if self._totals else []
        return Reading(dict(zip(self._totals, sums, strict=True)), self._steps, int(self._tokens), now - self._since)

    def read(self) -> Reading:
        """The same, and begin anew."""
        now = time.perf_counter()
        reading = self.so_far(now)
        self._totals = {}
        self._steps = self._tokens = 0
        self._since = now
        return reading
