"""The dense layer: `nn.Linear`, by the faster of the two libraries that torch has for matrix products on a CPU.

torch multiplies float32 matrices by MKL, and keeps oneDNN for convolutions, for bfloat16 and for compiled models. Where
MKL does not use all that the processor can do, as on AMD's with AVX-512, oneDNN is 1.2 to 1.5 times as fast
(benchmarks/LADDER.md). The results differ by rounding, and torch's `FlopCounterMode` does not see these products.
`torch.backends.mkldnn.flags(enabled=False)` turns them off.
"""

from __future__ import annotations

from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import forward_ad

from .errors import InputError

LEAST = 2**18  # weights of a layer for which oneDNN's longer way to the product, some 30 microseconds, pays
# torch keeps these operators to itself, so another version may not have them.
OPERATORS = ("_linear_pointwise", "_reorder_linear_weight")
HAS_ONEDNN = torch.backends.mkldnn.is_available() and all(hasattr(torch.ops.mkldnn, name) for name in OPERATORS)
ONEDNN_PAYS = HAS_ONEDNN and torch.backends.cpu.get_cpu_capability() == "AVX512"  # with AVX2 it hardly does


class Linear(nn.Linear):
    """`nn.Linear`: hidden Wᵀ + b. hidden (..., in_features), returns (..., out_features)."""

    def forward(self, hidden: Tensor) -> Tensor:
        return linear(hidden, self.weight, self.bias)


def linear(hidden: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`F.linear`. hidden (..., in), weight (out, in), bias (out); returns (..., out)."""
    if suits_onednn(hidden, weight):
        output: Tensor = OneDNNLinear.apply(hidden, weight, bias)  # type: ignore[no-untyped-call]
        return output
    return F.linear(hidden, weight, bias)  # (..., in) -> (..., out)


def suits_onednn(hidden: Tensor, weight: Tensor) -> bool:
    """Whether oneDNN computes this product faster. Autocast and the compiler choose for themselves."""
    return (
        is_large(weight)
        and hidden.dtype == weight.dtype
        and hidden.dim() > 1
        and hidden.shape[-1] == weight.shape[1]  # if not, torch has the better message
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
    )


def is_large(weight: Tensor) -> bool:
    """Whether products with this weight are worth oneDNN's while, on this processor."""
    return (
        ONEDNN_PAYS
        and type(weight) in (Tensor, nn.Parameter)  # others, such as quantized ones, multiply in their own way
        and weight.device.type == "cpu"
        and weight.dtype in (torch.float32, torch.bfloat16)
        and weight.numel() >= LEAST
        and bool(torch.backends.mkldnn.enabled)
    )


class OneDNNLinear(torch.autograd.Function):
    """The same product by oneDNN, with its gradients: torch has the operator for compiled inference only."""

    generate_vmap_rule = True  # for torch.func

    @staticmethod
    def forward(hidden: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        product = torch.ops.mkldnn._linear_pointwise(hidden, weight, bias, "none", [], "")  # (..., in) -> (..., out)
        return cast(Tensor, product)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        hidden, weight, _ = inputs
        ctx.save_for_backward(hidden, weight)
        if forward_ad._current_level >= 0:  # else it would hold what `keep_recipe` lets go
            ctx.save_for_forward(hidden, weight)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = gradients  # (..., out)
        hidden, weight = ctx.saved_tensors
        of_hidden = of_weight = of_bias = None
        if ctx.needs_input_grad[0]:
            of_hidden = linear(gradient, weight.t())  # (..., out) -> (..., in)
        rows = gradient.flatten(0, -2)  # (..., out) -> (rows, out)
        if ctx.needs_input_grad[1]:
            of_weight = linear(rows.t(), hidden.flatten(0, -2).t())  # (out, rows), (in, rows) -> (out, in)
        if ctx.needs_input_grad[2]:
            of_bias = rows.sum(dim=0)  # (rows, out) -> (out)
        return of_hidden, of_weight, of_bias

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor | None) -> Tensor:
        """The other way to differentiate: how the product moves as hidden, weight and bias move so."""
        hidden, weight = ctx.saved_tensors
        of_hidden, of_weight, of_bias = tangents
        moved = torch.zeros_like(hidden) if of_hidden is None else of_hidden
        output = linear(moved, weight, of_bias)  # (..., in) -> (..., out)
        return output if of_weight is None else output + linear(hidden, of_weight)


class PackedLinear(nn.Module):
    """A `Linear` for inference: its weight lies in memory in the blocks that oneDNN reads. See `pack_weights`."""

    def __init__(self, layer: Linear) -> None:
        super().__init__()
        self.packed = torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach())
        self.bias = layer.bias

    def forward(self, hidden: Tensor) -> Tensor:
        hidden = hidden.to(self.packed.dtype)  # under autocast it may be another
        product = torch.ops.mkldnn._linear_pointwise(hidden, self.packed, self.bias, "none", [], "")
        return cast(Tensor, product)  # (..., in) -> (..., out)

    def _save_to_state_dict(self, *_: Any) -> None:
        raise InputError("This model's weights are packed for inference (pack_weights): save it before that.")

    def __getstate__(self) -> Any:
        raise InputError("This model's weights are packed for inference (pack_weights): copy or pickle it before that.")

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        before = torch.empty(0, dtype=self.packed.dtype, device="cpu")
        after = fn(before)
        if (after.dtype, after.device) != (before.dtype, before.device):
            raise InputError(
                "This model's weights are packed for inference (pack_weights): move or cast it before that."
            )
        return super()._apply(fn, recurse)  # type: ignore[no-untyped-call]


def pack_weights(model: nn.Module) -> None:
    """Lay out the weights of the large linear layers anew, once, instead of at each product.

    For inference on a CPU with AVX-512; elsewhere the model is frozen, no more. It answers as before, up to rounding, a
    single text 1.4 times as fast; but it can be neither trained, saved, copied, moved nor compiled any more.
    """
    model.requires_grad_(False)
    large = [name for name, layer in model.named_modules() if type(layer) is Linear and is_large(layer.weight)]
    for name in large:  # a list of the layers themselves would keep all old weights until the end
        layer = cast(Linear, model.get_submodule(name))
        model.set_submodule(name, PackedLinear(layer))
