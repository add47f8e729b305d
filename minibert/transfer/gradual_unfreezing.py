"""Gradual unfreezing (Howard & Ruder 2018, "ULMFiT", section 3.3): from the head downwards.

A new head is random, and its first gradients are noise, which would disturb what the layers below have learnt. So the
head is trained first, then with it the top block, and so on.
"""

from __future__ import annotations

import math

from ..errors import InputError
from ..model import BertPreTrainedModel
from .freezing import freeze_below


def unfreeze_gradually(model: BertPreTrainedModel, epoch: int, epochs: float) -> None:
    """Let what is to be trained in this epoch (from 0) be trained, and freeze the rest.

    In the first epoch that is the head, in the last everything; the layers are spread evenly over those between. (The
    paper takes one more layer an epoch: that is so if there are two epochs more than blocks.) Raises `InputError` for
    a single epoch, for a model without a head, and for an adapted one.
    """
    last = math.ceil(epochs) - 1
    if last < 1:
        raise InputError(f"Gradual unfreezing takes two epochs or more: found {epochs:g}.")
    top = model.config.num_hidden_layers + 1
    freeze_below(model, top - top * min(epoch, last) // last)
    if not any(parameter.requires_grad for parameter in model.parameters()):  # sentence embeddings have no head
        raise InputError(f"Gradual unfreezing begins with the head, and {type(model).__name__} has none.")
