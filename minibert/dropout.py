"""Dropout: `nn.Dropout`, with cheaper random numbers on a CPU (Srivastava et al. 2014).

On a CPU torch draws a float for each number and keeps it for the backward pass. Here 16 random bits decide, and one
byte is kept: a fraction of the time, a quarter of the memory (benchmarks/LADDER.md). On a GPU torch does so itself.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CASES = 2**16  # what 16 random bits can be


class Dropout(nn.Dropout):
    """`nn.Dropout`: in training, each number becomes 0 with probability p, and the others grow to make up for it."""

    def forward(self, hidden: Tensor) -> Tensor:
        if not self.training or self.p in (0, 1) or hidden.device.type != "cpu" or torch.compiler.is_compiling():
            return F.dropout(hidden, self.p, self.training)
        return drop(hidden, dropout_mask(hidden, self.p), self.p)


def dropout_mask(hidden: Tensor, p: float) -> Tensor:
    """Which numbers stay: booleans of hidden's shape, False with probability p, to the nearest 1/65,536."""
    numbers = hidden.numel()
    # An integer of 64 random bits is four of 16, at less than twice the cost of one with 32.
    whole = torch.randint(-(2**63), 2**63 - 1, (numbers // 4 + 1,), device=hidden.device)
    bits = whole.view(torch.int16)  # -> (numbers, or up to 4 more)
    return bits[:numbers].view(hidden.shape) >= cases(p) - CASES // 2  # (numbers) -> hidden's shape


def drop(hidden: Tensor, mask: Tensor, p: float) -> Tensor:
    """The numbers that stay by the mask, scaled so that the expected sum is the same; zeros for the others."""
    return (hidden * mask).mul_(CASES / (CASES - cases(p)))


def cases(p: float) -> int:
    """How many of the 65,536 cases are dropped."""
    return min(round(p * CASES), CASES - 1)
