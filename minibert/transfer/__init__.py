"""Ways to transfer: what of a pretrained BERT is trained on a new task, and how. One file a technique.

Which weights move
    freezing.py             embeddings, the lowest blocks, or all but the head
    features.py             all but the head, with every sentence encoded only once
    gradual_unfreezing.py   from the head downwards, epoch by epoch
    layer_rates.py          lower layers learn more slowly
    reinitialization.py     the pooler and the top blocks begin anew
    mixing.py               the head reads a mixture of all layers

Few new weights, the pretrained ones stay (`adapt` adds them, `save_adapter` writes nothing else)
    lora.py                 low-rank updates of matrices, which can be merged into them
    adapters.py             small bottlenecks after the sub-layers
    prefix.py               keys and values that every token can look at
    bitfit.py               the biases alone

How these are written: adapter_files.py, and, for LoRA in the form of the library PEFT, peft_files.py.
All of them work from outside: `model.py` does not know them, and they work with or without the `Trainer`.
"""

from .adaptation import adapt, trained_parameters
from .adapter_files import load_adapter, save_adapter
from .adapters import Adapters
from .bitfit import BitFit
from .features import forget_features, remember_features
from .freezing import freeze, freeze_below
from .gradual_unfreezing import unfreeze_gradually
from .lora import Lora, merge_lora
from .mixing import LayerMix
from .prefix import Prefix
from .reinitialization import reinitialize_top

__all__ = [
    "Adapters",
    "BitFit",
    "LayerMix",
    "Lora",
    "Prefix",
    "adapt",
    "forget_features",
    "freeze",
    "freeze_below",
    "load_adapter",
    "merge_lora",
    "reinitialize_top",
    "remember_features",
    "save_adapter",
    "trained_parameters",
    "unfreeze_gradually",
]
