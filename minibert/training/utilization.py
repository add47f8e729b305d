"""How much of what a GPU could compute is used for the model: MFU, model FLOPs utilization."""

from __future__ import annotations

import torch

from ..config import BertConfig

# What the makers state for matrix products in bfloat16, without sparsity, in operations a second.
PEAK_FLOPS = {"A100": 312e12, "H100": 989e12, "H200": 989e12, "L40S": 362e12, "L4": 121e12, "B200": 2250e12}


def flops_per_token(config: BertConfig, seq: float) -> float:
    """Floating-point operations to learn from one token, forward and backward, in rows of `seq` tokens.

    6 N + 12 L H S (Chowdhery et al. 2022, "PaLM", appendix B): N the weights of the blocks, which are nearly all that
    every token goes through; L blocks of hidden size H. The vocabulary's matrix, which only masked tokens meet, and the
    heads are left out, so the figure is a little too low.
    """
    hidden = config.hidden_size
    weights = config.num_hidden_layers * (4 * hidden * hidden + 2 * hidden * config.intermediate_size)
    return 6 * weights + 12 * config.num_hidden_layers * hidden * seq


def peak_flops(device: torch.device) -> float | None:
    """Of the GPU in bfloat16; None for a CPU, and for a GPU that is not in the table."""
    if device.type != "cuda":
        return None
    name = torch.cuda.get_device_name(device).replace("-", " ").split()
    return next((peak for model, peak in PEAK_FLOPS.items() if model in name), None)
