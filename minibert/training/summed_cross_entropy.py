"""The cross-entropy over the whole vocabulary, with half of its memory."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class SummedCrossEntropy(torch.autograd.Function):
    """`F.cross_entropy` with reduction "sum", whose gradient takes the place of the log-probabilities.

    For logits as many as pretraining has, which fill much memory: torch makes two more matrices of their size in the
    backward pass. logits (rows, classes), wanted (rows,) without a -100; returns a number.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, wanted: Tensor) -> Tensor:
        wanted = wanted.unsqueeze(1)  # (rows) -> (rows, 1)
        log_probabilities = logits.log_softmax(dim=1)
        ctx.save_for_backward(log_probabilities, wanted)
        return -log_probabilities.gather(1, wanted).sum()  # (rows, classes) -> ()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, of_loss: Tensor) -> tuple[Tensor, None]:
        log_probabilities, wanted = ctx.saved_tensors
        gradient = log_probabilities.exp_().mul_(of_loss)  # in place: a second backward pass finds out, and raises
        return gradient.scatter_add_(1, wanted, -of_loss.expand(wanted.shape)), None
