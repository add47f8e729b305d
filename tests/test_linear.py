"""The dense layer, by oneDNN: the same numbers as `F.linear`, forward and backward."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minibert import BertConfig, BertForMaskedLM, BertForSequenceClassification, InputError, linear
from minibert.transfer import Lora, adapt

from .helpers import make_model

pytestmark = [
    pytest.mark.skipif(not linear.HAS_ONEDNN, reason="torch has no oneDNN here, or other operators"),
    pytest.mark.filterwarnings("ignore:TF32 acceleration"),  # torch's, at its own switch
    pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated"),  # torch's, in forward derivatives
]

Product = Callable[..., Tensor]

# As wide as it must be for oneDNN to be asked.
WIDE = BertConfig(
    vocab_size=600, hidden_size=512, num_hidden_layers=2, num_attention_heads=8, intermediate_size=520, num_labels=3
)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """oneDNN is asked whatever the processor; the products it was asked for."""
    products: list[Tensor] = []
    whole = linear.OneDNNLinear.forward

    def forward(hidden: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        products.append(whole(hidden, weight, bias))
        return products[-1]

    monkeypatch.setattr(linear, "ONEDNN_PAYS", True)
    monkeypatch.setattr(linear.OneDNNLinear, "forward", staticmethod(forward))
    return products


def gradients(tensors: Iterable[Tensor]) -> list[Tensor]:
    """Those that the backward pass has left, which will stay."""
    return [tensor.grad.clone() for tensor in tensors if tensor.grad is not None]


def operands(*shape: int, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    """hidden of this shape, a weight and a bias."""
    weight, bias = torch.randn(520, shape[-1], dtype=dtype) / 20, torch.randn(520, dtype=dtype)
    return [tensor.requires_grad_() for tensor in (torch.randn(*shape, dtype=dtype), weight, bias)]


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)], ids=str)
@pytest.mark.parametrize("shape", [(1, 512), (7, 512), (700, 512), (2, 3, 512), (0, 512)], ids=str)
def test_equals_the_exact_product_forward_and_backward(
    shape: tuple[int, ...], dtype: torch.dtype, tolerance: float, asked: list[Tensor]
):
    tensors = operands(*shape, dtype=dtype)
    exact = [tensor.detach().double().requires_grad_() for tensor in tensors]
    output, wanted = linear.linear(*tensors), F.linear(*exact)
    assert asked
    weights = torch.randn(wanted.shape, dtype=dtype)
    output.backward(weights)
    wanted.backward(weights.double())
    for found, right in zip([output, *gradients(tensors)], [wanted, *gradients(exact)], strict=True):
        assert found.shape == right.shape
        assert (found.double() - right).norm() <= tolerance * right.norm()


def test_columns_of_a_larger_tensor_and_no_bias(asked: list[Tensor]):
    hidden, weight, _ = operands(6, 1024)
    hidden, weight = hidden[:, ::2], weight[:, 512:]  # neither lies in one piece
    torch.testing.assert_close(linear.linear(hidden, weight), F.linear(hidden, weight), rtol=1e-5, atol=1e-5)
    assert asked


@pytest.mark.parametrize("frozen", [0, 1, 2])
def test_what_is_frozen_gets_no_gradient(frozen: int, asked: list[Tensor]):
    tensors = operands(6, 512)
    tensors[frozen].requires_grad_(False)
    linear.linear(*tensors).sum().backward()
    assert asked
    assert [tensor.grad is None for tensor in tensors] == [place == frozen for place in range(3)]


@pytest.mark.filterwarnings("ignore:There is a performance drop")
def test_gradients_of_gradients_and_functional_transforms(asked: list[Tensor]):
    hidden, weight, bias = operands(6, 512)

    def penalty(product: Product) -> Tensor:
        (gradient,) = torch.autograd.grad(product(hidden, weight, bias).square().sum(), hidden, create_graph=True)
        return torch.autograd.grad(gradient.square().sum(), weight)[0]

    torch.testing.assert_close(penalty(linear.linear), penalty(F.linear), rtol=1e-4, atol=1e-2)

    def each(product: Product) -> Tensor:  # the gradient of each row by itself
        grad = torch.func.grad(lambda weight, row: product(row.unsqueeze(0), weight, bias.detach()).square().sum())
        return torch.func.vmap(grad, in_dims=(None, 0))(weight.detach(), hidden.detach())

    torch.testing.assert_close(each(linear.linear), each(F.linear), rtol=1e-4, atol=1e-4)
    assert asked


def test_derivatives_forward_and_a_wrong_shape(asked: list[Tensor]):
    tensors = [tensor.detach() for tensor in operands(6, 512)]
    moves = [torch.randn_like(tensor) for tensor in tensors]
    for places in ((0, 1, 2), (0,), (1,), (2,)):

        def of(product: Product, places: tuple[int, ...] = places) -> Tensor:
            def moved(*some: Tensor) -> Tensor:
                return product(*(some[places.index(i)] if i in places else tensors[i] for i in range(3)))

            return torch.func.jvp(moved, tuple(tensors[i] for i in places), tuple(moves[i] for i in places))[1]

        torch.testing.assert_close(of(linear.linear), of(F.linear), rtol=1e-4, atol=1e-3)
    assert asked
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        linear.linear(tensors[0][:, 1:], tensors[1])


class OfAnotherKind(Tensor):
    """As quantized weights are, but that it multiplies as torch does."""


@pytest.mark.parametrize(
    "reason", ["small", "float64", "autocast", "switched off", "another processor", "one vector", "another kind"]
)
def test_elsewhere_torch_does_it(reason: str, asked: list[Tensor], monkeypatch: pytest.MonkeyPatch):
    hidden, weight, bias = (tensor.detach() for tensor in operands(6, 512))
    if reason == "small":
        weight, bias = weight[:511], bias[:511]
    if reason == "float64":
        hidden, weight, bias = hidden.double(), weight.double(), bias.double()
    if reason == "another processor":
        monkeypatch.setattr(linear, "ONEDNN_PAYS", False)
    if reason == "one vector":
        hidden = hidden[0]
    if reason == "another kind":
        weight = weight.as_subclass(OfAnotherKind)
    with (
        torch.autocast("cpu", torch.bfloat16, enabled=reason == "autocast"),
        torch.backends.mkldnn.flags(enabled=reason != "switched off"),
    ):
        assert torch.equal(linear.linear(hidden, weight, bias), F.linear(hidden, weight, bias))
    assert not asked


def test_a_model_answers_and_learns_the_same_with_and_without(asked: list[Tensor]):
    model, ids = BertForMaskedLM(WIDE).eval(), torch.randint(1, 600, (6, 90))
    found = []
    for enabled in (True, False):
        with torch.backends.mkldnn.flags(enabled=enabled):
            model.zero_grad()
            output = model(ids, labels=ids)
            output.loss.backward()
        found.append([output.loss.detach(), *gradients(model.parameters())])
    assert len(asked) == 3 * (2 * 4 + 2)  # forward, for the input and for the weight: four in a block, two in the head
    for fast, plain in zip(*found, strict=True):
        assert (fast - plain).norm() <= max(1e-5 * plain.norm(), 1e-6)


def test_lora_adds_to_a_product_of_onednn(asked: list[Tensor]):
    model = BertForSequenceClassification(WIDE).eval()
    adapt(model, Lora())
    ids = torch.randint(1, 600, (2, 9))
    fast = model(ids).logits
    assert asked
    with torch.backends.mkldnn.flags(enabled=False):
        torch.testing.assert_close(fast, model(ids).logits, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 1e-2)], ids=str)
def test_packed_weights_answer_the_same_and_are_for_nothing_else(
    dtype: torch.dtype, tolerance: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(linear, "ONEDNN_PAYS", True)
    model, ids = (
        BertForMaskedLM(WIDE).eval().to(dtype),
        torch.randint(1, 600, (4, 30)),
    )  # larger weights blow up rounding
    wanted = model(ids).logits.detach()
    linear.pack_weights(model)
    packed = [module for module in model.modules() if isinstance(module, linear.PackedLinear)]
    assert len(packed) == 9  # four in each block, and one of the head
    output = model(ids, labels=ids)
    assert (output.logits.double() - wanted.double()).norm() <= tolerance * wanted.double().norm()
    assert not output.loss.requires_grad
    with pytest.raises(InputError, match="save it before"):
        model.save_pretrained(tmp_path / "model")
    assert not (tmp_path / "model" / "model.safetensors").exists()
    with pytest.raises(InputError, match="copy or pickle it before"):
        copy.deepcopy(model)
    if dtype == torch.float32:
        with torch.autocast("cpu", torch.bfloat16):
            assert model.to("cpu")(ids).logits.isfinite().all()
        with torch.device("meta"):  # the default device has no say in it
            model.to("cpu")
    with pytest.raises(InputError, match="move or cast it before"):
        model.double()
    with pytest.raises(InputError, match="adapt it before"):
        adapt(model, Lora())


def test_small_layers_are_not_packed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(linear, "ONEDNN_PAYS", True)
    model = make_model("BertModel")
    linear.pack_weights(model)
    assert not [module for module in model.modules() if isinstance(module, linear.PackedLinear)]
    assert all(isinstance(block.feed_forward.output, nn.Linear) for block in model.blocks)


def test_the_masked_words_are_scored_by_it(asked: list[Tensor]):
    model = BertForMaskedLM(BertConfig.preset("tiny", vocab_size=3000)).eval()
    assert model(torch.randint(1, 3000, (1, 5))).logits is not None  # computed when it is read
    assert [product.shape for product in asked] == [(5, 3000)]  # its other layers are small
