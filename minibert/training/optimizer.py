"""AdamW as BERT uses it, and the learning rate's way up and down."""

from __future__ import annotations

import torch
from torch import nn

from .arguments import TrainingArguments


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """Two groups, with and without weight decay: biases and LayerNorms are left as they are.

    Decay pulls weights towards 0, which limits how much a matrix can do; a bias or a scale at 0 would mean nothing.
    `AdamWeightDecayOptimizer` in Google's `optimization.py` excludes the same ones, by their names.
    """
    decayed = [parameter for parameter in model.parameters() if parameter.requires_grad and parameter.dim() > 1]
    others = [parameter for parameter in model.parameters() if parameter.requires_grad and parameter.dim() <= 1]
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]


def create_optimizer(model: nn.Module, args: TrainingArguments) -> torch.optim.AdamW:
    """AdamW (Loshchilov & Hutter 2019), in one fused kernel for all parameters."""
    return torch.optim.AdamW(
        parameter_groups(model, args.weight_decay),
        lr=args.learning_rate,
        betas=(args.adam_beta1, args.adam_beta2),
        eps=args.adam_epsilon,
        fused=True,
    )


def linear_schedule(step: int, warmup_steps: int, total_steps: int) -> float:
    """The share of the full learning rate that step number `step` (from 0) takes.

    Linear from 0 to 1 over the warm-up, then linear to 0 at `total_steps` (paper, appendix A.2).
    """
    if step < warmup_steps:
        return step / warmup_steps
    return max(0.0, (total_steps - step) / max(1, total_steps - warmup_steps))
