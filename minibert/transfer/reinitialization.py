"""Re-initialising the top blocks (Zhang et al. 2021, "Revisiting Few-sample BERT Fine-tuning", section 5).

The top blocks have specialised in guessing masked words. With few examples, some tasks are learnt better, and more
reliably from seed to seed, if these blocks and the pooler begin anew.
"""

from __future__ import annotations

from ..errors import InputError
from ..model import BertPreTrainedModel
from .freezing import depth_of


def reinitialize_top(model: BertPreTrainedModel, blocks: int) -> None:
    """Fresh random weights for the highest `blocks` blocks and the pooler. Raises `InputError` if there are fewer."""
    layers = model.config.num_hidden_layers
    if not 1 <= blocks <= layers:
        raise InputError(f"The model has {layers} blocks: 1 to {layers} of them can be re-initialised, found {blocks}.")
    names = [name for name, _ in model.named_parameters()]
    chosen = [name for name in names if layers - blocks < depth_of(name, layers) <= layers or "pooler." in name]
    model.initialize_weights(chosen)
