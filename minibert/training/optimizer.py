"""AdamW as BERT uses it."""

from __future__ import annotations

from typing import Any

import torch

from ..errors import InputError
from ..model import BertPreTrainedModel
from ..transfer.layer_rates import layer_rate
from .arguments import TrainingArguments


def parameter_groups(model: BertPreTrainedModel, weight_decay: float, layer_decay: float = 1.0) -> list[dict[str, Any]]:
    """Groups with and without weight decay: biases and LayerNorms are left as they are.

    Decay pulls weights towards 0, which limits how much a matrix can do; a bias or a scale at 0 would mean nothing.
    `AdamWeightDecayOptimizer` in Google's `optimization.py` excludes the same ones, by their names.

    A group's "rate" is the share of the learning rate that it takes: with `layer_decay`, there are groups for each
    layer (see `transfer/layer_rates.py`). Frozen parameters are left out.
    """
    groups: dict[tuple[float, float], list[torch.nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            rate = layer_rate(name, model.config.num_hidden_layers, layer_decay)
            groups.setdefault((rate, weight_decay if parameter.dim() > 1 else 0.0), []).append(parameter)
    return [{"params": params, "weight_decay": decay, "rate": rate} for (rate, decay), params in groups.items()]


def create_optimizer(model: BertPreTrainedModel, args: TrainingArguments) -> torch.optim.AdamW:
    """AdamW (Loshchilov & Hutter 2019), in one fused kernel for all parameters. Raises `InputError` if none is
    trained."""
    groups = parameter_groups(model, args.weight_decay, args.layer_decay)
    if not groups:
        raise InputError("All of the model is frozen (requires_grad is False): there is nothing to train.")
    return torch.optim.AdamW(
        groups, lr=args.learning_rate, betas=(args.adam_beta1, args.adam_beta2), eps=args.adam_epsilon, fused=True
    )
