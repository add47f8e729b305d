"""How much of what the machine's matrix products reach goes into the model: the roof that no program gets above."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ..config import BertConfig
from ..linear import linear
from ..training.utilization import flops_per_token
from .comparison import Lengths
from .measure import take_turns

SIDE, SIDE_CUDA = 1024, 8192  # of the matrices: large enough for the device to reach what it can
ROUNDS = 50


def product_flops(device: torch.device, dtype: torch.dtype) -> float:
    """What a product of two large square matrices reaches here at best, in floating-point operations a second."""
    side = SIDE_CUDA if device.type == "cuda" else SIDE
    left, right = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    seconds = take_turns({"product": lambda: linear(left, right)}, ROUNDS)["product"]
    return 2 * side**3 / min(seconds)


def training_flops(config: BertConfig, batches: Sequence[Lengths], tokens_per_second: float) -> float:
    """Operations a second that training on these texts needs: those on real tokens, whatever a program computes."""
    lengths = [length for batch in batches for length in batch]
    seen = sum(length**2 for length in lengths) / sum(lengths)  # tokens in a token's own text, on the mean
    return tokens_per_second * flops_per_token(config, seen)
