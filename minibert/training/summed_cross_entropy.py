"""The cross-entropy over the whole vocabulary, with its gradient where the logits were."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..losses import full_precision

AT_ONCE = 2**19  # logits: 2 MB in float32, which stay in a processor's cache from one operation to the next


class SummedCrossEntropy(torch.autograd.Function):
    """`F.cross_entropy` with reduction "sum", and how many answers are right, in the memory that the logits have.

    For logits as many as pretraining has, on a CPU, where new memory is dear and to read it five times is, too. The
    gradient, a probability for each class less 1 for the right one, is known as soon as the loss is; it takes the place
    of the logits, some rows at a time. Nobody may read them afterwards.

    logits (rows, classes), wanted (rows,) without a -100. Returns the loss and the number of right answers, each a
    number in float32 or better, and the tensor of the logits, since autograd must know that it has changed.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        rows = max(1, AT_ONCE // logits.shape[1] if logits.device.type == "cpu" else len(logits))
        losses, correct = [], []
        for part, truth in zip(logits.split(rows), wanted.unsqueeze(1).split(rows), strict=True):  # truth (part, 1)
            scores = full_precision(part)  # the same memory if it is that already
            highest, guess = scores.max(dim=1, keepdim=True)  # (part, classes) -> (part, 1)
            correct.append((guess == truth).sum())
            scores.sub_(highest)  # nothing is too large for exp then
            right = scores.gather(1, truth)  # (part, classes) -> (part, 1)
            total = scores.exp_().sum(dim=1, keepdim=True)
            losses.append((total.log() - right).sum())
            if ctx.needs_input_grad[0]:
                part.copy_(scores.div_(total).scatter_add_(1, truth, -torch.ones_like(right)))
        ctx.mark_dirty(logits)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(logits)
        return torch.stack(losses).sum(), torch.stack(correct).sum().float(), logits

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, of_loss: Tensor | None, *_: Tensor | None) -> tuple[Tensor | None, None]:
        (gradient,) = ctx.saved_tensors
        return None if of_loss is None else gradient.mul_(of_loss), None  # in place: a second backward pass raises
