"""LoRA (Hu et al. 2022): a matrix W stays as it is, and a product of two thin ones is added, W + scale * B A.

    y = W x + b + scale * B (A x)        A (rank, in),  B (out, rank),  scale = alpha / rank

The idea: what has to change for a new task is of low rank. B begins as 0, so training begins at the pretrained model.
After training the product can be added to W: the model is then an ordinary BERT, as fast as before.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import InputError
from ..linear import Linear
from ..model import BertModel, BertPreTrainedModel

# target -> the linear layer in a block, and which part of its rows, of how many equal ones (query, key and value are
# one matrix)
TARGETS: dict[str, tuple[str, int, int]] = {
    "query": ("attention.query_key_value", 0, 3),
    "key": ("attention.query_key_value", 1, 3),
    "value": ("attention.query_key_value", 2, 3),
    "attention_output": ("attention.output", 0, 1),
    "intermediate": ("feed_forward.intermediate", 0, 1),
    "output": ("feed_forward.output", 0, 1),
}


class LowRankUpdate(nn.Module):
    """scale * B A, for some rows of a matrix."""

    def __init__(self, linear: nn.Linear, rows: slice, rank: int, alpha: float) -> None:
        super().__init__()
        self.rows, self.scale = rows, alpha / rank
        # The names and the random beginning of the authors' code, which PEFT keeps.
        self.lora_A = nn.Parameter(linear.weight.new_empty(rank, linear.in_features))
        self.lora_B = nn.Parameter(linear.weight.new_zeros(rows.stop - rows.start, rank))
        bound = 1 / math.sqrt(linear.in_features)
        nn.init.uniform_(self.lora_A, -bound, bound)

    def forward(self, hidden: Tensor) -> Tensor:
        thin = F.linear(hidden, self.lora_A)  # (tokens, in) -> (tokens, rank)
        return self.scale * F.linear(thin, self.lora_B)  # (tokens, rank) -> (tokens, rows)

    def matrix(self) -> Tensor:
        """What is added to these rows of the weight, (rows, in)."""
        return self.scale * (self.lora_B @ self.lora_A)  # -> (rows, in)


class LoraLinear(Linear):
    """A linear layer with the weights of another, and updates for parts of its rows, by the target's name."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__(linear.in_features, linear.out_features, device="meta")
        self.weight, self.bias = linear.weight, linear.bias
        self.updates = nn.ModuleDict()

    def forward(self, hidden: Tensor) -> Tensor:
        output = super().forward(hidden)  # (tokens, in) -> (tokens, out)
        for update in self._updates():
            output[:, update.rows] += update(hidden)
        return output

    def merged(self) -> Linear:
        """An ordinary linear layer that computes the same."""
        linear = Linear(self.in_features, self.out_features, device="meta")
        linear.weight, linear.bias = self.weight, self.bias
        with torch.no_grad():
            for update in self._updates():
                linear.weight[update.rows] += update.matrix()
        return linear

    def _updates(self) -> Iterator[LowRankUpdate]:
        for update in self.updates.children():
            assert isinstance(update, LowRankUpdate)
            yield update


@dataclass(frozen=True)
class Lora:
    """rank: of the updates. alpha: their weight is alpha / rank. targets: names in `TARGETS`, the same in all blocks.

    By default the paper's choice for RoBERTa (appendix D). Raises `InputError` for anything that cannot be.
    """

    rank: int = 8
    alpha: float = 8.0
    targets: tuple[str, ...] = ("query", "value")
    method: ClassVar[str] = "lora"
    changes_the_function: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not isinstance(self.rank, int) or self.rank < 1 or not 0 < self.alpha < math.inf:
            raise InputError(
                "LoRA needs a rank of 1 or more, a whole number, and an alpha above 0: "
                f"found {self.rank}, {self.alpha}."
            )
        unknown = [target for target in self.targets if target not in TARGETS]
        if unknown or not self.targets or len(set(self.targets)) < len(self.targets):
            raise InputError(
                f"The targets of LoRA are some of {', '.join(TARGETS)}, each once: "
                f"found '{','.join(map(str, self.targets))}'."
            )

    def add_to(self, bert: BertModel) -> None:
        for block in bert.blocks:
            for target in self.targets:
                path, part, parts = TARGETS[target]
                linear = block.get_submodule(path)
                assert isinstance(linear, nn.Linear)
                if not isinstance(linear, LoraLinear):
                    linear = LoraLinear(linear)
                    block.set_submodule(path, linear)
                size = linear.out_features // parts
                rows = slice(part * size, (part + 1) * size)
                linear.updates[target] = LowRankUpdate(linear, rows, self.rank, self.alpha)


def merge_lora(model: BertPreTrainedModel) -> None:
    """Add the updates to the weights: the model computes the same as before, up to rounding, and is an ordinary BERT.

    Raises `InputError` if there is no LoRA in it.
    """
    if not isinstance(model.adaptation, Lora):
        raise InputError("There is no LoRA in this model to merge.")
    for name, module in list(model.named_modules()):
        if isinstance(module, LoraLinear):
            model.set_submodule(name, module.merged())
    model.adaptation = None
