"""BERT, from top to bottom: embeddings, multi-head self-attention, feed-forward, encoder block, pooler, model.

After Devlin et al. 2018, "BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding", and
Google's `modeling.py`. Read this file first; `packing.py` and `attention/eager.py` are the two others that a forward
pass goes through. (`Linear` and `Dropout` are torch's, faster on some processors, and `keep_recipe` saves memory in
training: there is nothing to see there.)

Shapes are told where they change. In them, tokens is the number of real tokens in the batch: there is no padding in
here (see `packing.py`). hidden is the width of the model, heads * head_dim = hidden. queries is tokens, except in the
last block of a model that reads only some of them in the end, such as [CLS]: there it is their number.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from functools import partial
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .attention import Attention, get_attention
from .config import BertConfig
from .dropout import Dropout
from .familiar import SAVING, Familiar
from .foreign import foreign
from .linear import Linear
from .outputs import BertModelOutput
from .packing import Layout, PackedBatch, pack_inputs
from .recomputation import keep_recipe

Model = TypeVar("Model", bound="BertPreTrainedModel")

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,  # x * Phi(x), Phi the normal distribution (Hendrycks & Gimpel 2016)
    "gelu_new": partial(F.gelu, approximate="tanh"),  # what Google's code computes under the name "gelu"
    "relu": F.relu,
    "tanh": torch.tanh,
}


class BertEmbeddings(nn.Module):
    """What a token is, plus where it stands, plus which segment it is in (paper, section 3 and figure 2)."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        # The row of [PAD] gets no gradient from here, as in transformers.
        self.word_embeddings = nn.Embedding(config.vocab_size, config.hidden_size, padding_idx=config.pad_token_id)
        self.position_embeddings = nn.Embedding(config.max_position_embeddings, config.hidden_size)
        self.token_type_embeddings = nn.Embedding(config.type_vocab_size, config.hidden_size)
        self.layer_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = Dropout(config.hidden_dropout_prob)

    def forward(self, batch: PackedBatch) -> Tensor:
        words = self.word_embeddings(batch.input_ids)  # (tokens) -> (tokens, hidden)
        positions = self.position_embeddings(batch.position_ids)  # (tokens) -> (tokens, hidden)
        segments = self.token_type_embeddings(batch.token_type_ids)  # (tokens) -> (tokens, hidden)
        return self.dropout(self.layer_norm(words + positions + segments))


class BertSelfAttention(nn.Module):
    """Multi-head self-attention: every token gathers what it needs from all tokens of its sentence.

    Vaswani et al. 2017, section 3.2.2; `attention_layer` in Google's code, with the dense layer that follows it there.
    """

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.heads, self.head_dim = config.num_attention_heads, config.head_dim
        # Three linear layers side by side in one matrix: one large product is faster than three small ones.
        self.query_key_value = Linear(config.hidden_size, 3 * config.hidden_size)
        self.output = Linear(config.hidden_size, config.hidden_size)
        self.probabilities_dropout = config.attention_probs_dropout_prob
        self.dropout = Dropout(config.hidden_dropout_prob)

    def forward(self, hidden: Tensor, queries: Layout, keys: Layout, attend: Attention) -> tuple[Tensor, Tensor | None]:
        projected = self.query_key_value(hidden)  # (tokens, hidden) -> (tokens, 3 * hidden)
        split = projected.unflatten(1, (3, self.heads, self.head_dim))  # -> (tokens, 3, heads, head_dim)
        query, key, value = split.unbind(1)  # (tokens, 3, heads, head_dim) -> 3 of (tokens, heads, head_dim)
        query = queries.select(query)  # (tokens, heads, head_dim) -> (queries, heads, head_dim)
        dropout = self.probabilities_dropout if self.training else 0.0
        context, probabilities = attend(query, key, value, queries, keys, dropout)
        joined = context.flatten(1)  # (queries, heads, head_dim) -> (queries, hidden)
        return self.dropout(self.output(joined)), probabilities


class BertFeedForward(nn.Module):
    """Two linear layers with a non-linearity between, for each token by itself (Vaswani et al. 2017, section 3.3)."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.intermediate = Linear(config.hidden_size, config.intermediate_size)
        self.activation = ACTIVATIONS[config.hidden_act]
        self.output = Linear(config.intermediate_size, config.hidden_size)
        self.dropout = Dropout(config.hidden_dropout_prob)

    def forward(self, hidden: Tensor) -> Tensor:
        wide = self.intermediate(hidden)  # (queries, hidden) -> (queries, intermediate)
        activated = self.activation(wide)
        with keep_recipe(activated, partial(self.activation, wide)):  # in training, nothing takes more memory
            return self.dropout(self.output(activated))  # (queries, intermediate) -> (queries, hidden)


class BertBlock(nn.Module):
    """One layer of the encoder: attention, then feed-forward; after each, add the input back and normalise.

    The norm comes after the addition ("post-norm"), as in the first Transformer. `transformer_model` in Google's code.
    """

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.attention = BertSelfAttention(config)
        self.attention_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.feed_forward = BertFeedForward(config)
        self.feed_forward_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, hidden: Tensor, queries: Layout, keys: Layout, attend: Attention) -> tuple[Tensor, Tensor | None]:
        attended, probabilities = self.attention(hidden, queries, keys, attend)
        hidden = queries.select(hidden)  # (tokens, hidden) -> (queries, hidden)
        hidden = self.attention_norm(hidden + attended)
        hidden = self.feed_forward_norm(hidden + self.feed_forward(hidden))
        return hidden, probabilities


class BertPooler(nn.Module):
    """The sentence in one vector: a dense layer with tanh on top of [CLS] (`BertModel` in Google's code)."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.dense = Linear(config.hidden_size, config.hidden_size)

    def forward(self, cls_hidden: Tensor) -> Tensor:
        return torch.tanh(self.dense(cls_hidden))


class BertPreTrainedModel(Familiar):
    """What all models share: a config, fresh weights, and weights in and out of files.

    name_or_path: what `from_pretrained` was given, None for a random model.
    new_weights: the names of those that its file did not have.
    adaptation: what `transfer.adapt` has added, None for an ordinary BERT.
    """

    name_or_path: str | None = None
    new_weights: Collection[str] = ()
    adaptation: Any = None

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.config = config

    def initialize_weights(self, names: Collection[str] | None = None) -> None:
        """Fresh weights, for the parameters of these names or for all.

        As in Google's `create_initializer`: normal, cut off at two deviations; biases 0, scales of LayerNorms 1.
        """
        deviation = self.config.initializer_range
        for name, parameter in self.named_parameters():
            if names is not None and name not in names:
                continue
            if parameter.dim() > 1:
                nn.init.trunc_normal_(parameter, std=deviation, a=-2 * deviation, b=2 * deviation)
            else:
                nn.init.constant_(parameter, 1.0 if name.endswith("norm.weight") else 0.0)

    @classmethod
    def from_pretrained(
        cls: type[Model],
        name_or_path: str | os.PathLike[str],
        attn_implementation: str = "auto",
        dtype: torch.dtype | None = None,
        config: BertConfig | None = None,
        **config_overrides: Any,
    ) -> Model:
        """A model with weights from a folder, a Google release or a known name, in evaluation mode.

        dtype None is float32, whatever the file holds. config None is the file's; `config_overrides` are fields of it,
        and what the class's own constructor takes, such as `add_pooling_layer=False`.
        Raises `InputError` if the file is not a BERT of this shape. See `minibert.checkpoints` for what can be read.
        """
        from .checkpoints.pretrained import load_model  # the rooms further down know this one, not the reverse

        return load_model(cls, name_or_path, attn_implementation, dtype, config, config_overrides)

    @foreign(SAVING, {"save_directory": "directory"})
    def save_pretrained(self, directory: str | os.PathLike[str]) -> None:
        """Write `config.json` and `model.safetensors`, with Hugging Face's names: `transformers` opens the folder."""
        from .checkpoints.pretrained import save_model

        save_model(self, directory)


class BertModel(BertPreTrainedModel):
    """The encoder: embeddings, then the blocks, one after the other; a pooler on top.

    Not a head: it says nothing about the text, but gives a vector for every token, in its context.
    """

    def __init__(self, config: BertConfig, attn_implementation: str = "auto", add_pooling_layer: bool = True) -> None:
        super().__init__(config)
        self.attend = get_attention(attn_implementation)
        self.embeddings = BertEmbeddings(config)
        self.blocks = nn.ModuleList(BertBlock(config) for _ in range(config.num_hidden_layers))
        self.pooler = BertPooler(config) if add_pooling_layer else None
        self.initialize_weights()

    def forward(
        self,
        input_ids: Tensor | PackedBatch,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
        read: Layout | None = None,
    ) -> BertModelOutput:
        """Encode a batch. All inputs are (batch, seq) integers; or `input_ids` is a `PackedBatch` that holds them all.

        attention_mask: 1 for tokens, 0 for padding, anywhere; all 1 by default. token_type_ids: the segments, 0 by
        default. position_ids: (batch, seq) or (1, seq), 0, 1, 2, ... along the row by default. Raises `InputError` for
        inputs that the model cannot read. `output_attentions` takes the eager path.

        read: the tokens that are going to be read, see `encode`; last_hidden_state then stays packed. The task models
        ask for it so, and that is what a hook on `model.bert` gets there.
        """
        batch = self.pack(input_ids, attention_mask, token_type_ids, position_ids)
        output = self.encode(batch, output_hidden_states, output_attentions, read)
        if read is None:
            # (tokens, hidden) -> (batch, seq, hidden), or unchanged if the caller speaks packed
            output.last_hidden_state = batch.restore(output.last_hidden_state)
        return output

    def pack(
        self,
        input_ids: Tensor | PackedBatch,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
    ) -> PackedBatch:
        """The inputs of `forward`, checked and without their padding."""
        return pack_inputs(input_ids, attention_mask, token_type_ids, position_ids, self.config, self.device)

    def encode(
        self,
        batch: PackedBatch,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
        read: Layout | None = None,
    ) -> BertModelOutput:
        """As `forward`, but last_hidden_state stays packed: (tokens, hidden).

        read: the tokens that somebody is going to read, the first one of each row among them; None: all. Then
        last_hidden_state is of them alone, and the last block computes nothing else, unless the states or attentions
        of all tokens are asked for.
        """
        attend = get_attention("eager") if output_attentions else self.attend
        read = batch.layout if read is None else read
        last = batch.layout if output_hidden_states or output_attentions else read  # what the last block computes
        hidden_states, attentions = [], []

        hidden = self.embeddings(batch)  # -> (tokens, hidden)
        for number, block in enumerate(self.blocks, start=1):
            if output_hidden_states:
                hidden_states.append(batch.restore(hidden))
            queries = last if number == len(self.blocks) else batch.layout
            hidden, probabilities = block(hidden, queries, batch.layout, attend)
            if output_attentions:
                attentions.append(batch.layout.blank_padding(probabilities))
        if output_hidden_states:
            hidden_states.append(batch.restore(hidden))
        if last is not read:
            hidden = read.select(hidden)  # (tokens, hidden) -> (queries, hidden)

        return BertModelOutput(
            hidden, self.pool(hidden, read, batch), tuple(hidden_states) or None, tuple(attentions) or None
        )

    def pool(self, hidden: Tensor, read: Layout, batch: PackedBatch) -> Tensor | None:
        """The pooled first token of each row, (batch, hidden): zeros for empty rows. None without a pooler.

        hidden: (queries, hidden), of the tokens in `read`.
        """
        if self.pooler is None:
            return None
        cls_places = batch.cls_layout.pack(read.cu_seqlens[:-1].unsqueeze(1))  # (batch + 1) -> (rows)
        cls_hidden = hidden.index_select(0, cls_places)  # (queries, hidden) -> (rows, hidden)
        return batch.cls_layout.pad(self.pooler(cls_hidden)).squeeze(1)  # (rows, hidden) -> (batch, hidden)
