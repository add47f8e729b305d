"""What models of `transformers` can be asked beside computing, under the same names, so that known snippets run.

Nothing in here computes: the forward pass is in `model.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from .config import BertConfig
from .errors import InputError
from .foreign import ANYTHING, foreign

if TYPE_CHECKING:
    from .model import BertModel

# What else `save_pretrained` takes there: see `foreign`.
SAVING: dict[str, tuple[tuple[Any, ...], str]] = {
    "safe_serialization": ((True,), "weights are always written as safetensors"),
    "is_main_process": ((True,), "let one process save"),
    "save_function": ((ANYTHING,), ""),
    "push_to_hub": ((False,), "upload the folder with huggingface_hub"),
}


class Familiar(nn.Module):
    """Base of all models. It asks of them a `config`, and the encoder in `bert` if they are not the encoder."""

    config: BertConfig

    def __call__(self, *inputs: Any, return_dict: Any = True, **named: Any) -> Any:
        """Call `forward`, which says what it takes.

        return_dict: False gives a plain tuple of the fields that are there. `output_hidden_states` and
        `output_attentions` that are not given, or None, are the config's.
        """
        if torch.jit.is_tracing():  # type: ignore[attr-defined, no-untyped-call]
            raise InputError(
                "A traced model would go on with the lengths of this one batch, for packing looks at the mask's "
                "numbers. Save the model with save_pretrained, and trace or export what transformers opens there."
            )
        for name in ("output_hidden_states", "output_attentions"):
            if getattr(self.config, name) and named.get(name) is None:
                named[name] = True
        output = super().__call__(*inputs, **named)
        return output.to_tuple() if return_dict is False else output

    @property
    def base_model(self) -> BertModel:
        """The encoder: the model itself, or what its head stands on."""
        return cast("BertModel", getattr(self, "bert", self))

    @property
    def encoder(self) -> nn.ModuleDict:
        """The blocks as `encoder.layer[0]`, to be frozen, say; the names of their parameters stay those of `blocks`."""
        return nn.ModuleDict({"layer": self.base_model.blocks})

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """The kind of numbers that the weights are."""
        return next(self.parameters()).dtype

    @property
    def num_labels(self) -> int:
        """How many labels its head tells apart."""
        return self.config.num_labels

    def num_parameters(self, only_trainable: bool = False) -> int:
        """How many numbers the weights are, or those of them that are trained."""
        return sum(p.numel() for p in self.parameters() if p.requires_grad or not only_trainable)

    @foreign({"gradient_checkpointing_kwargs": ((None, {"use_reentrant": False}), "it is never reentrant")})
    def gradient_checkpointing_enable(self) -> None:
        """From now on training takes less memory and more work: see `training.activation_checkpointing`."""
        from .training.activation_checkpointing import checkpoint_activations  # that room knows this one

        checkpoint_activations(self)

    def tie_weights(self) -> None:
        """Nothing to do: the MLM head has no output matrix but that of the word embeddings."""

    def get_input_embeddings(self) -> nn.Embedding:
        """The word embeddings."""
        return self.base_model.embeddings.word_embeddings

    def set_input_embeddings(self, value: nn.Embedding) -> None:
        """Other word embeddings, of as many words as they have: the config and the MLM head go by it."""
        for model in (self, self.base_model):
            model.config = model.config.replace(vocab_size=value.num_embeddings)
        self.base_model.embeddings.word_embeddings = value
        head: Any = getattr(self, "mlm", None)
        if head is not None:
            bias: Tensor = head.bias
            resized = bias.new_zeros(value.num_embeddings)  # (vocab) -> (another vocab)
            kept = min(len(bias), len(resized))
            resized[:kept] = bias.detach()[:kept]
            head.bias = nn.Parameter(resized, bias.requires_grad)

    def resize_token_embeddings(self, new_num_tokens: int) -> nn.Embedding:
        """As many word embeddings as `len(tokenizer)`, after `tokenizer.add_tokens`. New ones are drawn at random, as
        all are in a model without weights."""
        old = self.get_input_embeddings()
        new = nn.Embedding(new_num_tokens, old.embedding_dim, old.padding_idx, device=self.device, dtype=self.dtype)
        deviation = self.config.initializer_range
        nn.init.trunc_normal_(new.weight, std=deviation, a=-2 * deviation, b=2 * deviation)
        kept = min(new_num_tokens, old.num_embeddings)
        new.weight.data[:kept] = old.weight.data[:kept]
        new.weight.requires_grad_(old.weight.requires_grad)
        self.set_input_embeddings(new)
        return new
