"""What is kept as a recipe: the gradients are the same, less is kept, and those who know better are left alone."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.checkpoint import checkpoint

import minibert.recomputation
from minibert import BertConfig
from minibert.linear import linear
from minibert.model import BertFeedForward
from minibert.recomputation import keep_recipe

needs_questions = pytest.mark.skipif(
    not minibert.recomputation.CAN_ASK, reason="this torch keeps no recipes: it cannot be asked who else decides"
)
PRODUCTS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "torch's": F.linear,
    "ours": linear,
    "batched": lambda hidden, weight: hidden.unsqueeze(0) @ weight.mT,
}


def through(product: Callable[[Tensor, Tensor], Tensor], recipe: bool) -> tuple[Tensor, list[Tensor], int]:
    """The output of product(gelu(wide)), gradients, and how often gelu was computed."""
    torch.manual_seed(0)
    wide = torch.randn(40, 600, requires_grad=True)
    weight = torch.randn(500, 600, requires_grad=True)
    calls = 0

    def gelu() -> Tensor:
        nonlocal calls
        calls += 1
        return F.gelu(wide)

    activated = gelu()
    if recipe:
        with keep_recipe(activated, gelu):
            output = product(activated, weight)
    else:
        output = product(activated, weight)
    output.square().mean().backward()
    gradients = [tensor.grad for tensor in (wide, weight) if tensor.grad is not None]
    return output.detach(), gradients, calls


@needs_questions
@pytest.mark.parametrize("product", PRODUCTS.values(), ids=PRODUCTS)
def test_gradients_are_equal_bit_for_bit_and_the_recipe_was_used(product: Callable[[Tensor, Tensor], Tensor]):
    output, gradients, calls = through(product, recipe=True)
    wanted_output, wanted, wanted_calls = through(product, recipe=False)
    assert torch.equal(output, wanted_output)
    assert len(gradients) == 2
    assert all(map(torch.equal, gradients, wanted))
    assert (calls, wanted_calls) == (2, 1)


@needs_questions
def test_memory_of_the_tensor_is_given_back_before_the_backward_pass():
    wide = torch.randn(40, 600, requires_grad=True)
    activated = F.gelu(wide)
    watched = weakref.ref(activated)
    weight = torch.randn(500, 600, requires_grad=True)
    with keep_recipe(activated, partial(F.gelu, wide)):
        output = linear(activated, weight)
    del activated
    assert watched() is None
    output.sum().backward()


@needs_questions
def test_feed_forward_keeps_the_wide_tensor_once():
    """Without the recipe it is kept twice: before and after the activation."""
    torch.manual_seed(0)
    layer = BertFeedForward(BertConfig.preset("tiny", vocab_size=100)).train()
    made: list[int] = []
    wanted = layer.activation

    def spy(wide: Tensor) -> Tensor:
        made.append(wide.shape[0])
        return wanted(wide)

    layer.activation = spy
    layer(torch.randn(9, layer.intermediate.in_features)).sum().backward()
    assert made == [9, 9]
    with torch.no_grad():
        layer(torch.randn(9, layer.intermediate.in_features))
    assert made == [9, 9, 9]


def test_gradients_of_gradients():
    wide = torch.randn(3, 5, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(4, 5, dtype=torch.float64, requires_grad=True)

    def forget(wide: Tensor, weight: Tensor) -> Tensor:
        activated = F.gelu(wide)
        with keep_recipe(activated, partial(F.gelu, wide)):
            return F.linear(activated, weight)

    assert torch.autograd.gradcheck(forget, (wide, weight))
    assert torch.autograd.gradgradcheck(forget, (wide, weight))


def test_checkpointing_and_torch_func_are_left_alone():
    torch.manual_seed(0)
    layer = BertFeedForward(BertConfig.preset("tiny", vocab_size=100)).eval()
    hidden = torch.randn(9, layer.intermediate.in_features, requires_grad=True)
    wanted = torch.autograd.grad(layer(hidden).sum(), hidden)[0]
    again = checkpoint(layer, hidden, use_reentrant=False)
    assert torch.equal(torch.autograd.grad(again.sum(), hidden)[0], wanted)
    assert torch.allclose(torch.func.grad(lambda hidden: layer(hidden).sum())(hidden), wanted, atol=1e-6)
    several = torch.func.vmap(layer)(hidden.expand(2, -1, -1))  # with ordinary gradients outside
    assert torch.allclose(torch.autograd.grad(several[1].sum(), hidden)[0], wanted, atol=1e-6)


def test_tensors_without_memory_are_left_alone(recwarn: pytest.WarningsRecorder):
    with FakeTensorMode():
        layer = BertFeedForward(BertConfig.preset("tiny", vocab_size=100)).train()
        layer(torch.randn(9, layer.intermediate.in_features)).sum().backward()
    assert not recwarn.list


def test_torch_that_cannot_be_asked(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(minibert.recomputation, "CAN_ASK", False)
    assert through(linear, recipe=True)[2] == 1
