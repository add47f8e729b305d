"""What the models return: named fields, which also answer to `output["logits"]` and `output[0]` as in transformers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, ClassVar, overload

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils._pytree import register_pytree_node

from .errors import InputError


class ModelOutput:
    """Base of the outputs. Fields that are None are left out when it is read as a dict or a tuple."""

    names: ClassVar[tuple[str, ...]]

    def __init_subclass__(cls) -> None:
        # Else DistributedDataParallel(static_graph=True) finds no tensors in it, and averages no gradients.
        register_pytree_node(cls, _taken_apart, partial(_put_together, cls))

    def keys(self) -> list[str]:
        """The names of the fields that are there, in order. Logits that are computed later are there."""
        return [name for name in self.names if vars(self).get(name, True) is not None]

    def values(self) -> tuple[Any, ...]:
        """The fields that are there, in order."""
        return self[:]

    to_tuple = values

    def items(self) -> list[tuple[str, Any]]:
        """Each field that is there with its name, in order."""
        return [(name, self[name]) for name in self.keys()]

    @overload
    def __getitem__(self, key: slice) -> tuple[Any, ...]: ...
    @overload
    def __getitem__(self, key: str | int) -> Any: ...
    def __getitem__(self, key: str | int | slice) -> Any:
        if isinstance(key, slice):
            return tuple(getattr(self, name) for name in self.keys()[key])
        if isinstance(key, int):
            return getattr(self, self.keys()[key])
        if key not in self:
            raise KeyError(f"no '{key}' here, but {', '.join(self.keys())}")
        return getattr(self, key)

    def get(self, key: str, default: Any = None) -> Any:
        """A field, or the default if it is not there."""
        return getattr(self, key) if key in self else default

    def __contains__(self, key: object) -> bool:
        return key in self.keys()

    def __iter__(self) -> Iterator[Any]:
        return iter(self.to_tuple())

    def __len__(self) -> int:
        return len(self.keys())

    def __getstate__(self) -> dict[str, Any]:
        """For a copy or a pickle. Logits that are computed later are computed now, for a function is not pickled."""
        return {name: getattr(self, name) for name in self.names}


def _taken_apart(output: ModelOutput) -> tuple[list[Any], list[str]]:
    return list(vars(output).values()), list(vars(output))


def _put_together(kind: type[ModelOutput], values: Iterable[Any], names: list[str]) -> ModelOutput:
    output = kind.__new__(kind)
    vars(output).update(zip(names, values, strict=True))
    return output


@dataclass
class BertModelOutput(ModelOutput):
    """Of `BertModel`. For a packed batch, (tokens, ...) stands where (batch, seq, ...) does here.

    last_hidden_state: (batch, seq, hidden); zeros at padded positions.
    pooler_output:     (batch, hidden); zeros for a row without any token. None without a pooler.
    hidden_states:     layers + 1 tensors (batch, seq, hidden), the embeddings first; None unless asked for.
    attentions:        layers tensors (batch, heads, seq, seq); None unless asked for.
    """

    names = ("last_hidden_state", "pooler_output", "hidden_states", "attentions")

    last_hidden_state: Tensor
    pooler_output: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


@dataclass
class TaskOutput(ModelOutput):
    """Of the heads with one kind of logits; their docstrings say its shape. loss: (), or None without labels."""

    names = ("loss", "logits", "hidden_states", "attentions")

    loss: Tensor | None
    logits: Tensor
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


@dataclass
class QuestionAnsweringOutput(ModelOutput):
    """start_logits, end_logits: (batch, seq), the lowest number there is at padded positions."""

    names = ("loss", "start_logits", "end_logits", "hidden_states", "attentions")

    loss: Tensor | None
    start_logits: Tensor
    end_logits: Tensor
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


@dataclass
class MaskedLMOutput(ModelOutput):
    """logits: (batch, seq, vocab), computed when first read: training reads only the loss and never pays for them."""

    names = ("loss", "logits", "hidden_states", "attentions")

    loss: Tensor | None
    compute_logits: Callable[[], Tensor] = field(repr=False, compare=False)
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None

    @cached_property
    def logits(self) -> Tensor:
        return self.compute_logits()


@dataclass
class PreTrainingOutput(ModelOutput):
    """prediction_logits: (batch, seq, vocab), computed when first read. seq_relationship_logits: (batch, 2)."""

    names = ("loss", "prediction_logits", "seq_relationship_logits", "hidden_states", "attentions")

    loss: Tensor | None
    compute_logits: Callable[[], Tensor] = field(repr=False, compare=False)
    seq_relationship_logits: Tensor
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None

    @cached_property
    def prediction_logits(self) -> Tensor:
        return self.compute_logits()


def when_read(compute: Callable[[], Tensor], module: nn.Module, *inputs: Tensor) -> Callable[[], Tensor]:
    """A function that computes when it is called, and then as it would now: by the weights that the module has now,
    with or without gradients, inference mode and autocast. compute: what calls the module with the inputs.

    It raises `InputError` if one of these tensors has been changed in place since: what was computed with the old
    numbers does not go with the new ones.
    """
    # `torch.func.functional_call` lends the module others, and takes them away again.
    weights: dict[str, Tensor] = dict(module.named_parameters(prefix="module"))
    watched = [*inputs, *weights.values()]
    versions = _versions(watched)
    with_gradient, inference = torch.is_grad_enabled(), torch.is_inference_mode_enabled()
    precision = _autocast_of_now(inputs[0].device.type)

    def compute_now() -> Tensor:
        if versions != _versions(watched):
            raise InputError(
                "The weights or the hidden states have changed since this output was made: read its logits before the "
                "step."
            )
        with torch.inference_mode(inference), torch.set_grad_enabled(with_gradient), precision:
            logits: Tensor = functional_call(_Computing(module, compute), weights)
        return logits

    return compute_now


class _Computing(nn.Module):
    """A function that calls a module, as a module: `functional_call` takes no other."""

    def __init__(self, module: nn.Module, compute: Callable[[], Tensor]) -> None:
        super().__init__()
        self.module = module
        self.compute = compute

    def forward(self) -> Tensor:
        return self.compute()


def _versions(tensors: Sequence[Tensor]) -> list[int]:
    """How often each was changed in place. torch counts that, but for what was made in inference mode."""
    return [0 if tensor.is_inference() else tensor._version for tensor in tensors]


def _autocast_of_now(device: str) -> AbstractContextManager[None]:
    if not torch.amp.is_autocast_available(device):  # such as "meta"
        return nullcontext()
    return torch.autocast(device, torch.get_autocast_dtype(device), torch.is_autocast_enabled(device))
