"""Muon: an optimizer for the matrices inside the blocks (Jordan et al. 2024), with AdamW for everything else.

A gradient of a matrix is mostly a few directions: of its singular values a handful are large and the rest tiny. A step
along it learns those few and hardly anything else. Muon takes the directions and forgets their lengths: where the
momentum is U S Vᵀ, the step is U Vᵀ, in which every direction counts alike. What is rare in a batch is then
learnt as fast as what is common, which pays most at the beginning.

Word embeddings, biases and LayerNorms are not matrices that turn one hidden vector into another: a row of the word
embeddings is changed by one word alone. They, the poolers and the heads are left to AdamW.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from ..model import BertPreTrainedModel
from .distributed import divided_like, from_rank, rank, ranks, whole
from .optimizer import parameter_groups

MOMENTUM = 0.95
# The size of a step's average number, as a share of the learning rate: what AdamW's steps have, so that a rate that
# suits AdamW can be kept (Liu et al. 2025, "Muon is Scalable for LLM Training", section 2.2).
SIZE = 0.2


def orthogonalize(matrix: Tensor) -> Tensor:
    """About U Vᵀ, where matrix = U S Vᵀ: all singular values become about 1, between 0.7 and 1.2 or so.

    matrix: (..., rows, columns), returned in the same shape and dtype.

    A polynomial of a matrix, x (a + b xᵀx + c (xᵀx)²), leaves U and V as they are and changes each singular value s
    to a s + b s³ + c s⁵. With these numbers (Jordan et al.) five rounds of it lift what is above 0.01 to near 1.
    There is no need for the decomposition itself, which is slow: all are matrix products.
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    tall = matrix.size(-2) > matrix.size(-1)
    wide = matrix.mT if tall else matrix  # -> (..., less, more): the products below are less x less
    # The largest singular value is at most the root of the sum of all squares: at most 1 now, as the polynomial needs.
    wide = wide / wide.norm(dim=(-2, -1), keepdim=True).clamp(min=1e-7)
    for _ in range(5):
        square = wide @ wide.mT  # (..., less, more) -> (..., less, less)
        wide = a * wide + (b * square + c * (square @ square)) @ wide
    return wide.mT if tall else wide  # (..., less, more) -> (..., rows, columns)


class Muon(torch.optim.AdamW):
    """Muon for the blocks' matrices and AdamW for the rest: one optimizer, with one state to save.

    lr: of both. weight_decay: of both, not of biases and LayerNorms (see `parameter_groups`).
    dtype: in which matrices are made orthogonal; bfloat16 is enough, where a processor has it.
    """

    def __init__(
        self, model: BertPreTrainedModel, lr: float, weight_decay: float = 0.01, dtype: torch.dtype = torch.float32
    ) -> None:
        # A block's queries, keys and values come from three matrices, which lie in one: (3 * hidden, hidden).
        pieces = {
            parameter: 3 if name.endswith("query_key_value.weight") else 1
            for name, parameter in model.named_parameters()
            if ".blocks." in name and parameter.dim() == 2
        }
        groups = []
        for group in parameter_groups(model, weight_decay):
            for count in (0, 1, 3):  # 0: for AdamW
                chosen = [parameter for parameter in group["params"] if pieces.get(parameter, 0) == count]
                if chosen:
                    groups.append({**group, "params": chosen, "pieces": count})
        super().__init__(groups, lr=lr, fused=True)
        self._dtype = dtype

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One step, for all parameters that have a gradient. There is no use for a `closure`."""
        matrices = [
            (parameter, group)
            for group in self.param_groups
            if group["pieces"]
            for parameter in group["params"]
            if parameter.grad is not None
        ]
        # Several processes share the work: each makes some of the matrices orthogonal, and sends them to the others.
        updates = []
        for number, (parameter, group) in enumerate(matrices):
            update = self._ahead(parameter).to(self._dtype)
            if number % ranks() == rank():
                pieces = update.unflatten(0, (group["pieces"], -1))  # -> (pieces, rows, columns)
                update = orthogonalize(pieces).flatten(0, 1)  # -> (pieces * rows, columns)
            updates.append(update.contiguous())
            parameter.grad = None  # AdamW passes over what has no gradient
        for number, ((parameter, group), update) in enumerate(zip(matrices, updates, strict=True)):
            lr = group["lr"]
            # Of U Vᵀ the squares of all numbers add up to its smaller side: they are 1 / larger side on the average.
            size = SIZE * math.sqrt(max(update.shape[0] // group["pieces"], update.shape[1]))
            update = divided_like(from_rank(update, number % ranks()).to(parameter.dtype), parameter)
            parameter.mul_(1 - lr * group["weight_decay"]).sub_(update, alpha=lr * size)
        super().step()

    def _ahead(self, parameter: Tensor) -> Tensor:
        """Where the momentum leads next (Nesterov's), whole."""
        state = self.state[parameter]
        if not state:
            state["momentum"] = torch.zeros_like(parameter)
            state["step"] = torch.zeros(())  # not used here; AdamW looks for it in whatever it loads
        assert parameter.grad is not None
        state["momentum"].lerp_(parameter.grad, 1 - MOMENTUM)
        return whole(parameter.grad.lerp(state["momentum"], MOMENTUM))
