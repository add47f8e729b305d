"""Dropout by 16 random bits is `nn.Dropout`: shares, scale, seeds, gradients."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from minibert import BertConfig, BertModel
from minibert.dropout import CASES, Dropout, drop, dropout_mask


@pytest.mark.parametrize("p", [0.001, 0.1, 0.5, 0.9])
def test_each_number_is_dropped_with_the_probability_asked_for(p: float):
    torch.manual_seed(0)
    numbers = 1_000_003  # not a multiple of four
    dropped = 1 - dropout_mask(torch.empty(numbers), p).double().mean().item()
    assert abs(dropped - p) < 5 * (p * (1 - p) / numbers) ** 0.5 + 1 / CASES


def test_neighbours_are_dropped_independently():
    torch.manual_seed(0)
    mask = dropout_mask(torch.empty(1_000_000), 0.5).double() - 0.5
    for distance in (1, 2, 3, 4, 8):  # four numbers share an integer
        correlation = 4 * (mask[distance:] * mask[:-distance]).mean()
        assert abs(correlation) < 5e-3


def test_what_stays_is_scaled_so_that_the_mean_is_kept():
    torch.manual_seed(0)
    hidden = torch.ones(400, 1000)
    dropped = Dropout(0.1).train()(hidden)
    assert dropped.unique().tolist() == pytest.approx([0, 1 / 0.9], rel=1e-4)
    assert dropped.mean() == pytest.approx(1, abs=3e-3)


def test_gradient_passes_where_the_number_did():
    hidden = torch.rand(30, 50, requires_grad=True)
    dropped = Dropout(0.3).train()(hidden + 1)
    dropped.sum().backward()
    assert hidden.grad is not None
    torch.testing.assert_close(hidden.grad, dropped.detach() / (hidden.detach() + 1))


def test_seed_decides_and_evaluation_drops_nothing():
    hidden, layer = torch.rand(7, 5), Dropout(0.5)
    torch.manual_seed(3)
    first, second = layer(hidden), layer(hidden)
    torch.manual_seed(3)
    assert torch.equal(layer(hidden), first)
    assert not torch.equal(first, second)
    assert torch.equal(layer.eval()(hidden), hidden)


@pytest.mark.parametrize("shape", [(), (0,), (1,), (3, 0, 2), (2, 3, 5)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_any_shape_and_dtype(shape: tuple[int, ...], dtype: torch.dtype):
    dropped = Dropout(0.5)(torch.ones(shape, dtype=dtype))
    assert (dropped.shape, dropped.dtype) == (shape, dtype)
    assert set(dropped.flatten().tolist()) <= {0.0, 2.0}


def test_all_or_nothing_as_torch_has_it():
    hidden = torch.rand(100)
    assert torch.equal(Dropout(0.0)(hidden), hidden)
    assert torch.equal(Dropout(1.0)(hidden), torch.zeros(100))
    assert Dropout(1 - 1e-9)(hidden).isfinite().all()  # nearer to 1 than the nearest of the 65,536 cases
    assert torch.equal(drop(hidden, torch.ones(100, dtype=torch.bool), 0.0), hidden)


def test_dropout_in_a_model_can_be_found_and_turned_off():
    """As courses do it, by `isinstance` and `.p`."""
    model = BertModel(BertConfig.preset("tiny", vocab_size=100)).train()
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    for block in model.blocks:
        block.attention.probabilities_dropout = 0.0  # type: ignore[union-attr]
    ids = torch.arange(1, 9).unsqueeze(0)
    assert torch.equal(model(ids).last_hidden_state, model(ids).last_hidden_state)


def test_mask_takes_a_byte_a_number():
    """torch keeps the mask as floats on a CPU; this is why it is not used."""
    kept: list[torch.Tensor] = []

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        Dropout(0.1)(torch.rand(10, 10, requires_grad=True))
        ours = sum(tensor.nbytes for tensor in kept)
        kept.clear()
        F.dropout(torch.rand(10, 10, requires_grad=True), 0.1)
        torchs = sum(tensor.nbytes for tensor in kept)
    assert ours < 130 < 400 <= torchs
