"""An exponential moving average of the weights over the last steps (Polyak & Juditsky 1992).

Single steps are noisy; their average lies closer to where they are heading, and often generalises better. It is what is
evaluated and saved; the training itself goes on with the weights of the last step.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

AVERAGE = "average"


class WeightAverage:
    """The averages live in the optimizer's state, and so in its checkpoints.

    decay: the weight of the past, such as 0.999. It is smaller in the first steps, (1 + step) / (10 + step), so that
    the beginning is forgotten soon (as TensorFlow's `ExponentialMovingAverage` does when it is told the step).
    """

    def __init__(self, optimizer: torch.optim.Optimizer, decay: float) -> None:
        self._optimizer = optimizer
        self._decay = decay

    @torch.no_grad()
    def update(self, step: int) -> None:
        """After each step, counted from 0. A parameter joins in with the first step that moves it."""
        decay = min(self._decay, (1 + step) / (10 + step))
        for parameter, state in self._moving():
            if AVERAGE in state:
                state[AVERAGE].lerp_(parameter, 1 - decay)
            else:
                state[AVERAGE] = parameter.clone()

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Within the block, the model is the average."""
        self.swap()
        try:
            yield
        finally:
            self.swap()

    @torch.no_grad()
    def swap(self) -> None:
        """Exchange weights and averages: the model is the average until the next call."""
        for parameter, state in self._moving():
            if AVERAGE in state:
                kept = parameter.clone()
                parameter.copy_(state[AVERAGE])
                state[AVERAGE].copy_(kept)

    def _moving(self) -> list[tuple[Tensor, dict[str, Tensor]]]:
        state = self._optimizer.state
        groups = self._optimizer.param_groups
        return [(p, state[p]) for group in groups for p in group["params"] if p in state]
