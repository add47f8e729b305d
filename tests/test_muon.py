"""Muon, checked against singular values, torch's own Muon and AdamW."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from minibert import BertConfig, BertForPreTraining
from minibert.training.muon import Muon, orthogonalize

HIDDEN, WIDE = 16, 64


@pytest.fixture
def model() -> BertForPreTraining:
    """A small one whose gradients are all there, and the same every time."""
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=40,
        hidden_size=HIDDEN,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=WIDE,
        max_position_embeddings=16,
    )
    model = BertForPreTraining(config)
    give_gradients(model)
    return model


def give_gradients(model: BertForPreTraining) -> None:
    for parameter in model.parameters():
        parameter.grad = torch.randn_like(parameter)


def matrices(model: BertForPreTraining) -> dict[str, torch.nn.Parameter]:
    return {name: parameter for name, parameter in model.bert.blocks.named_parameters() if parameter.dim() == 2}


def part_of(model: BertForPreTraining, name: str, attribute: str) -> Tensor:
    """Of a matrix that is called "block 1 3", the second of three parts: "data" or "grad"."""
    name, number, parts = name.split()
    tensor: Tensor = getattr(model.bert.blocks.get_parameter(name), attribute)
    return tensor.chunk(int(parts))[int(number)]


@pytest.mark.parametrize("shape", [(20, 20), (12, 30), (30, 12), (3, 8, 20), (1, 5)])
def test_directions_stay_and_all_count_alike(shape: tuple[int, ...]):
    torch.manual_seed(0)
    left, _, right = torch.linalg.svd(torch.randn(shape), full_matrices=False)
    sizes = torch.logspace(0, -2, min(shape[-2:]))  # the first counts a hundred times as much as the last
    found = left.mT @ orthogonalize(left * sizes @ right) @ right.mT
    diagonal = torch.diagonal(found, dim1=-2, dim2=-1)
    assert diagonal.min() > 0.3  # of the last: its share of the whole is below 0.01
    assert diagonal[..., : (len(sizes) + 1) // 2].min() > 0.65
    assert diagonal.max() < 1.25
    torch.testing.assert_close(found, torch.diag_embed(diagonal), rtol=0, atol=1e-4)


def test_no_gradient_at_all_is_no_direction():
    assert torch.equal(orthogonalize(torch.zeros(4, 6)), torch.zeros(4, 6))


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="this version of torch has no Muon of its own")
def test_matrices_take_the_steps_of_torchs_muon(model: BertForPreTraining, monkeypatch: pytest.MonkeyPatch):
    convert = Tensor.to
    # They compute in bfloat16, in which they round too much to compare: until torch 2.14 through the first of these.
    monkeypatch.setattr(Tensor, "bfloat16", Tensor.clone)
    monkeypatch.setattr(
        Tensor, "to", lambda self, *to, **how: self.clone() if "copy" in how else convert(self, *to, **how)
    )
    ours = Muon(model, lr=0.03, weight_decay=0.1)
    names = [
        f"{name} {number} {parts}"
        for name in matrices(model)
        for parts in [3 if "query_key_value" in name else 1]
        for number in range(parts)
    ]
    copies = {name: torch.nn.Parameter(part_of(model, name, "data").clone()) for name in names}
    theirs = torch.optim.Muon(copies.values(), lr=0.03, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    for _ in range(3):
        give_gradients(model)
        for name, copy in copies.items():
            copy.grad = part_of(model, name, "grad").clone()
        ours.step()
        theirs.step()
    for name, copy in copies.items():
        torch.testing.assert_close(part_of(model, name, "data"), copy.data, rtol=0, atol=1e-6)


def test_a_step_is_as_large_as_adamws(model: BertForPreTraining):
    """Numbers of 0.2 times the rate on the average, whatever the matrix's shape and its gradient's size."""
    before = {name: parameter.detach().clone() for name, parameter in matrices(model).items()}
    for factor, parameter in enumerate(model.parameters(), start=1):
        assert parameter.grad is not None
        parameter.grad *= 10 * factor
    Muon(model, lr=0.5, weight_decay=0.0).step()
    for name, parameter in matrices(model).items():
        assert (parameter - before[name]).square().mean().sqrt().item() == pytest.approx(0.2 * 0.5, rel=0.2)


def test_the_rest_takes_the_steps_of_adamw(model: BertForPreTraining):
    rest = [
        parameter for parameter in model.parameters() if all(parameter is not it for it in matrices(model).values())
    ]
    copies = [torch.nn.Parameter(parameter.detach().clone()) for parameter in rest]
    ours = Muon(model, lr=0.01, weight_decay=0.0)
    theirs = torch.optim.AdamW(copies, lr=0.01, weight_decay=0.0)
    for _ in range(3):
        give_gradients(model)
        for parameter, copy in zip(rest, copies, strict=True):
            assert parameter.grad is not None
            copy.grad = parameter.grad.clone()
        ours.step()
        theirs.step()
    for parameter, copy in zip(rest, copies, strict=True):
        torch.testing.assert_close(parameter, copy)


def test_frozen_matrices_stay(model: BertForPreTraining):
    frozen = next(iter(matrices(model).values()))
    frozen.requires_grad_(False)
    frozen.grad = None
    before = frozen.detach().clone()
    Muon(model, lr=0.1).step()
    assert torch.equal(frozen, before)


def test_bfloat16_is_near(model: BertForPreTraining):
    """The lengths of the directions scatter more, no more than that."""
    gradient = next(iter(matrices(model).values()))
    exact, rounded = orthogonalize(gradient), orthogonalize(gradient.bfloat16()).float()
    assert torch.nn.functional.cosine_similarity(exact.flatten(), rounded.flatten(), dim=0) > 0.99


def test_its_state_is_saved_and_loaded(model: BertForPreTraining, tmp_path: Path):
    optimizer = Muon(model, lr=0.01)
    optimizer.step()
    torch.save(optimizer.state_dict(), tmp_path / "state.pt")
    torch.manual_seed(0)
    copy = BertForPreTraining(model.config)
    copy.load_state_dict(model.state_dict())
    again = Muon(copy, lr=0.5)
    again.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    for each, of in ((optimizer, model), (again, copy)):
        torch.manual_seed(1)
        give_gradients(of)
        each.step()
    theirs = model.state_dict()
    assert all(torch.equal(value, theirs[name]) for name, value in copy.state_dict().items())
