"""Freezing: the lower part of a model stays as it was pretrained.

The lower layers know what all texts have in common; less data suffices for the rest. And what lies below the lowest
trained layer needs no backward pass, so a step is faster and takes less memory.
"""

from __future__ import annotations

from ..checkpoints.names import block_number, full_name, is_encoder
from ..errors import InputError
from ..model import BertPreTrainedModel


def depth_of(parameter: str, blocks: int) -> int:
    """How high a parameter stands, by its name: embeddings 0, blocks 1, 2, ..., pooler and head `blocks` + 1."""
    number = block_number(full_name(parameter))
    if number >= 0:
        return number + 1
    return 0 if is_encoder(parameter) else blocks + 1


def freeze_below(model: BertPreTrainedModel, depth: int) -> None:
    """Train exactly the parameters that stand at this depth (see `depth_of`) or higher.

    Raises `InputError` for an adapted model: what is trained is what its adapter's file holds.
    """
    if model.adaptation is not None:
        raise InputError(f"The model has {model.adaptation}, which says what is trained: nothing can be (un)frozen.")
    blocks = model.config.num_hidden_layers
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(depth_of(name, blocks) >= depth)


def freeze(model: BertPreTrainedModel, what: str | int) -> None:
    """Freeze "embeddings"; or a number: embeddings and so many blocks above; or "encoder": all but pooler and head.

    Raises `InputError` for anything else, and for an adapted model.
    """
    blocks = model.config.num_hidden_layers
    if what == "embeddings":
        freeze_below(model, 1)
    elif what == "encoder":
        freeze_below(model, blocks + 1)
    elif isinstance(what, int) and 0 < what <= blocks:
        freeze_below(model, what + 1)
    else:
        raise InputError(f"What to freeze is 'embeddings', 'encoder', or 1 to {blocks} blocks: found {what!r}.")
