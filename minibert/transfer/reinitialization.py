"""Re-initialising the top blocks (Zhang et al. 2021, "Revisiting Few-sample BERT Fine-tuning", section 5).

The top blocks have specialised in guessing masked words, and the pooler in next sentences. With few examples, some
tasks are learnt better, and more reliably from seed to seed, if they begin anew.
"""

from __future__ import annotations

from ..errors import InputError
from ..model import BertPreTrainedModel
from .freezing import depth_of


def reinitialize_top(model: BertPreTrainedModel, blocks: int) -> None:
    """Fresh random weights for the highest `blocks` blocks and the pooler; 0: for the pooler alone.

    Raises `InputError` if there are fewer, or no pooler.
    """
    layers = model.config.num_hidden_layers
    if not 0 <= blocks <= layers:
        raise InputError(f"The model has {layers} blocks: 0 to {layers} of them can be re-initialised, found {blocks}.")
    names = [name for name, _ in model.named_parameters()]
    chosen = [name for name in names if layers - blocks < depth_of(name, layers) <= layers or "pooler." in name]
    if not chosen:
        raise InputError(f"{type(model).__name__} has no pooler: re-initialise 1 to {layers} blocks.")
    model.initialize_weights(chosen)
