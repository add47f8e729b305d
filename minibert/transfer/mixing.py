"""Mixing layers: the head reads not the last hidden states, but a mixture of those of several layers.

The mean of the last four is one of the ways in which the BERT paper uses it without fine-tuning (section 5.3, table 7,
as a sum). ELMo (Peters et al. 2018, section 3.2) learns the weights: scale * sum of softmax(weights) * layers, the
embeddings' layer among them. The pooler, if there is one, reads [CLS] in the mixture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor, nn

from ..errors import InputError
from ..model import BertModel
from ..outputs import BertModelOutput
from ..packing import PackedBatch

LAST = 4


class MeanOfLastFour(nn.Module):
    """hidden_states, each (tokens, hidden) -> (tokens, hidden)."""

    def forward(self, hidden_states: Sequence[Tensor]) -> Tensor:
        return torch.stack(list(hidden_states[-LAST:])).mean(dim=0)  # (layers, tokens, hidden) -> (tokens, hidden)


class LearnedMix(nn.Module):
    """The same with weights that are learnt; all alike in the beginning."""

    def __init__(self, layers: int) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.zeros(layers))
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, hidden_states: Sequence[Tensor]) -> Tensor:
        shares = self.scale * self.weights.softmax(dim=0)
        return torch.einsum("l,lth->th", shares, torch.stack(list(hidden_states)))  # -> (tokens, hidden)


@dataclass(frozen=True)
class LayerMix:
    """kind: "last_four", their mean; or "learned". Raises `InputError` for others, and if there are no four blocks."""

    kind: str = "learned"
    method: ClassVar[str] = "mix"
    changes_the_function: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.kind not in ("last_four", "learned"):
            raise InputError(f"Layers are mixed as 'last_four' or 'learned': found '{self.kind}'.")

    def add_to(self, bert: BertModel) -> None:
        blocks = bert.config.num_hidden_layers
        if self.kind == "last_four" and blocks < LAST:
            raise InputError(f"The model has {blocks} blocks, too few for the mean of the last {LAST}.")
        mix = MeanOfLastFour() if self.kind == "last_four" else LearnedMix(blocks + 1)
        bert.add_module("mix", mix.to(bert.embeddings.word_embeddings.weight))
        bert.encode = MixedEncoder(bert, mix)  # type: ignore[method-assign]


class MixedEncoder:
    """Stands in for `BertModel.encode`."""

    def __init__(self, bert: BertModel, mix: nn.Module) -> None:
        self._bert, self._encode, self._mix = bert, bert.encode, mix

    def __call__(
        self,
        batch: PackedBatch,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
        cls_only: bool = False,
    ) -> BertModelOutput:
        """As `BertModel.encode`. All tokens of all layers are computed: there is no shortcut to [CLS]."""
        output = self._encode(replace(batch, padded=False), True, output_attentions)  # so the states stay packed
        assert output.hidden_states is not None
        mixed = self._mix(output.hidden_states)
        cls_hidden = batch.cls_layout.select(mixed)  # (tokens, hidden) -> (rows, hidden)
        return BertModelOutput(
            last_hidden_state=cls_hidden if cls_only else mixed,
            pooler_output=self._bert.pool(cls_hidden, batch),
            hidden_states=tuple(map(batch.restore, output.hidden_states)) if output_hidden_states else None,
            attentions=output.attentions,
        )
