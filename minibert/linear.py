"""The dense layer: `nn.Linear`, by the faster of the two libraries that torch has for matrix products on a CPU.

torch multiplies float32 matrices by MKL, and keeps oneDNN for convolutions, for bfloat16 and for compiled models. Where
MKL does not use all that the processor can do, as on AMD's with AVX-512, oneDNN is 1.2 to 1.5 times as fast
(benchmarks/LADDER.md). The results differ by rounding. `torch.backends.mkldnn.flags(enabled=False)` turns it off.
"""

from __future__ import annotations

from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LEAST = 2**18  # weights of a layer for which oneDNN's longer way to the product, some 30 microseconds, pays
WIDE_REGISTERS = torch.backends.cpu.get_cpu_capability() == "AVX512" and torch.backends.mkldnn.is_available()


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
        WIDE_REGISTERS
        and hidden.device.type == "cpu"
        and hidden.dtype == weight.dtype
        and hidden.dtype in (torch.float32, torch.bfloat16)
        and hidden.dim() > 1
        and weight.numel() >= LEAST
        and bool(torch.backends.mkldnn.enabled)
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
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
