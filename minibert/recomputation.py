"""What is computed twice, because that is cheaper than to keep it.

A matrix product keeps its inputs for the backward pass. Where one of them is large, and quickly computed from what is
kept anyway, as the activation is, the recipe is kept in its place. (Chen et al. 2016 do so with whole blocks: see
`training/activation_checkpointing.py`.)
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

Recipe = Callable[[], Tensor]

# torch keeps these questions to itself, so another version may not have them.
QUESTIONS = ("_saved_tensors_hooks_is_enabled", "_top_saved_tensors_default_hooks")
CAN_ASK = hasattr(torch._C, "_are_functorch_transforms_active") and all(
    hasattr(torch._C._autograd, name) for name in QUESTIONS
)


def keep_recipe(tensor: Tensor, recipe: Recipe) -> AbstractContextManager[object]:
    """Inside, what keeps `tensor` for its backward pass keeps `recipe` instead, which computes the same once more."""
    ordinary = type(tensor) is Tensor  # others may have no place in memory
    if not ordinary or not torch.is_grad_enabled() or someone_else_decides():
        return nullcontext()
    place, numbers = tensor.data_ptr(), tensor.numel()  # and not the tensor, which would live as long as `pack`

    def pack(kept: Tensor) -> Tensor | Recipe:
        if (kept.data_ptr(), kept.numel()) != (place, numbers):
            return kept
        shape, stride = kept.shape, kept.stride()  # a product may see the tensor in another shape
        return lambda: recipe().as_strided(shape, stride)

    def unpack(kept: Tensor | Recipe) -> Tensor:
        return kept if isinstance(kept, Tensor) else kept()

    return saved_tensors_hooks(pack, unpack)


def someone_else_decides() -> bool:
    """The compiler, activation checkpointing, which keeps even less, or torch.func, which cannot do this."""
    if torch.compiler.is_compiling() or not CAN_ASK or torch._C._are_functorch_transforms_active():
        return True
    hooks: Any = torch._C._autograd
    return not hooks._saved_tensors_hooks_is_enabled() or hooks._top_saved_tensors_default_hooks(True) is not None
