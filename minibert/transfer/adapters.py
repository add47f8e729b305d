"""Adapters: small bottlenecks between the frozen layers.

    hidden + up(gelu(down(hidden)))        down (hidden -> size),  up (size -> hidden)

Houlsby et al. 2019 put two in each block, after attention and after the feed-forward, before the residual addition, and
train the LayerNorms along. Pfeiffer et al. 2021 find that one is enough, after the block's last LayerNorm (as He et al.
2022 describe it). Both begin close to the identity, so that training begins at the pretrained model.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import InputError
from ..model import BertBlock, BertModel

DEVIATION = 1e-3  # of the first weights, as in the code of Houlsby et al.; section 3.6 there: all below 1e-2 do well

# The module of a block whose output goes through an adapter. The dropouts come last before the residual addition.
PLACES = {"houlsby": ("attention.dropout", "feed_forward.dropout"), "pfeiffer": ("feed_forward_norm",)}


class Bottleneck(nn.Module):
    """One adapter."""

    def __init__(self, hidden_size: int, size: int) -> None:
        super().__init__()
        self.down = nn.Linear(hidden_size, size)
        self.up = nn.Linear(size, hidden_size)
        for linear in (self.down, self.up):
            nn.init.trunc_normal_(linear.weight, std=DEVIATION, a=-2 * DEVIATION, b=2 * DEVIATION)
            nn.init.zeros_(linear.bias)

    def forward(self, hidden: Tensor) -> Tensor:
        thin = F.gelu(self.down(hidden))  # (tokens, hidden) -> (tokens, size)
        return hidden + self.up(thin)  # (tokens, size) -> (tokens, hidden)


@dataclass(frozen=True)
class Adapters:
    """kind: "houlsby" or "pfeiffer". size: the width of the bottlenecks. Raises `InputError` for others."""

    kind: str = "pfeiffer"
    size: int = 64
    method: ClassVar[str] = "adapters"
    changes_the_function: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.kind not in PLACES or self.size < 1:
            raise InputError(
                f"Adapters are of the kind {' or '.join(PLACES)} and at least 1 wide: found {self.kind}, {self.size}."
            )

    def add_to(self, bert: BertModel) -> None:
        example = bert.embeddings.word_embeddings.weight
        for block in bert.blocks:
            assert isinstance(block, BertBlock)
            for path in PLACES[self.kind]:
                module = block.get_submodule(path)
                module.add_module("adapter", Bottleneck(bert.config.hidden_size, self.size).to(example))
                module.register_forward_hook(_through_adapter)
            if self.kind == "houlsby":
                block.attention_norm.requires_grad_()
                block.feed_forward_norm.requires_grad_()


def _through_adapter(module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
    return module.get_submodule("adapter")(output)
