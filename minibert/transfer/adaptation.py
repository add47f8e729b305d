"""What the parameter-efficient techniques share: the encoder is frozen, a few weights are trained, and all of the head.

Pooler and head are always trained, for in a pretrained model they are new, or belong to another task.
"""

from __future__ import annotations

from typing import Protocol

from ..errors import InputError
from ..linear import PackedLinear
from ..model import BertModel, BertPreTrainedModel
from .freezing import freeze


class Adaptation(Protocol):
    """One technique with its settings: a frozen dataclass of numbers and words, which go into the adapter's file."""

    @property
    def method(self) -> str:
        """Its name in the file."""

    @property
    def changes_the_function(self) -> bool:
        """Whether the model computes more than a BERT, so that its weights alone would mean something else."""

    def add_to(self, bert: BertModel) -> None:
        """Add its modules to a frozen encoder, and let what is to be trained be trained."""


def adapt(model: BertPreTrainedModel, adaptation: Adaptation) -> None:
    """Freeze the encoder and add what is to be trained.

    Raises `InputError` if the model is adapted already, and if its weights are packed.
    """
    if model.adaptation is not None:
        raise InputError(f"The model has {model.adaptation} already: one adaptation at a time.")
    if any(isinstance(module, PackedLinear) for module in model.modules()):
        raise InputError("This model's weights are packed for inference (pack_weights): adapt it before that.")
    freeze(model, "encoder")
    adaptation.add_to(model.base_model)
    model.adaptation = adaptation


def trained_parameters(model: BertPreTrainedModel) -> int:
    """How many numbers are trained."""
    return model.num_parameters(only_trainable=True)
