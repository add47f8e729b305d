"""The learning-rate finder (Smith 2017, "Cyclical Learning Rates", section 3.3): try them all in one short run.

The rate grows from step to step. At first nothing happens, then the loss falls, and at last it explodes.
"""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

import torch

from ..errors import InputError
from .examples import lengths_of
from .trainer import Trainer

LOWEST, HIGHEST, STEPS = 1e-7, 1.0, 100
SMOOTHING = 0.9  # of the losses: the weight of the past
EXPLODED = 4.0  # times the lowest loss


class Sweep(NamedTuple):
    """The rates that were tried, and the smoothed loss after each."""

    rates: list[float]
    losses: list[float]

    @property
    def suggestion(self) -> float:
        """A tenth of the rate with the lowest loss: where it still falls, with room to the explosion."""
        return self.rates[self.losses.index(min(self.losses))] / 10


def find_learning_rate(trainer: Trainer) -> Sweep:
    """Train with growing rates, on the batches of the first epochs, until the loss explodes; then put the weights back.

    Raises `InputError` without data, or if the loss is no number from the beginning.
    """
    args, model, dataset = trainer.args, trainer.model, trainer.train_dataset
    lengths = lengths_of(dataset, "train_dataset")
    trainer._prepare_model()
    kept = {name: parameter.detach().clone() for name, parameter in model.named_parameters() if parameter.requires_grad}
    optimizer = trainer._create_optimizer()
    torch.manual_seed(args.seed)
    labels = trainer.labels_to_balance()
    epochs = (trainer.epoch_steps(lengths, labels, epoch) for epoch in itertools.count())
    sweep, mean = Sweep([], []), 0.0
    model.train()
    try:
        for step, chosen in zip(range(STEPS), itertools.chain.from_iterable(epochs), strict=False):
            rate = LOWEST * (HIGHEST / LOWEST) ** (step / (STEPS - 1))
            batches = [trainer.batch(dataset, indices) for indices in chosen]
            figures, _ = trainer.training_step(optimizer, batches, rate)
            mean = SMOOTHING * mean + (1 - SMOOTHING) * figures["loss"].item()
            smooth = mean / (1 - SMOOTHING ** (step + 1))  # as Adam corrects its means for their beginning at 0
            if not math.isfinite(smooth) or smooth > EXPLODED * min([smooth, *sweep.losses]):
                break
            sweep.rates.append(rate)
            sweep.losses.append(smooth)
    finally:
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if name in kept:
                    parameter.copy_(kept[name])
        model.eval()
    if not sweep.rates:
        raise InputError("The loss is no number from the first step on: there is something wrong with data or model.")
    return sweep
