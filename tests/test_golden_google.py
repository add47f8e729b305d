"""The same weights and the same batch give the numbers that Google's original TensorFlow code recorded."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch

from minibert import BertForPreTraining
from minibert.checkpoints.names import from_minibert

TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def golden(google_dir: Path) -> dict[str, torch.Tensor]:
    with np.load(google_dir / "golden.npz") as arrays:
        return {name: torch.from_numpy(arrays[name]) for name in arrays}


@pytest.fixture(scope="module", params=["bert_model.ckpt", "sharded", "v1"])
def model(request: pytest.FixtureRequest, google_dir: Path, tmp_path_factory: pytest.TempPathFactory):
    """From each of the formats that Google's weights come in; a folder without a config gets the one beside it."""
    if request.param == "bert_model.ckpt":
        return BertForPreTraining.from_pretrained(google_dir / "bert_model.ckpt", attn_implementation="eager")
    folder = tmp_path_factory.mktemp(request.param)
    for path in [google_dir / "bert_config.json", *(google_dir / request.param).iterdir()]:
        (folder / path.name).symlink_to(path)
    return BertForPreTraining.from_pretrained(folder, attn_implementation="sdpa")


def run(model, golden, **labels):
    inputs = {
        "input_ids": golden["in/input_ids"].long(),
        "attention_mask": golden["in/input_mask"].long(),
        "token_type_ids": golden["in/segment_ids"].long(),
    }
    return model(**inputs, **labels)


def losses_of(model, golden):
    """Google's two losses. Its MLM loss divides by the number of predictions plus 1e-5."""
    output = run(model, golden)
    positions = golden["in/masked_lm_positions"].long()
    logits = output.prediction_logits[torch.arange(4).unsqueeze(1), positions].flatten(0, 1)
    mlm_log_probs = logits.log_softmax(-1)
    example_loss = -mlm_log_probs.gather(1, golden["in/masked_lm_ids"].long().flatten().unsqueeze(1)).squeeze(1)
    weights = golden["in/masked_lm_weights"].flatten()
    mlm_loss = (weights * example_loss).sum() / (weights.sum() + 1e-5)
    nsp_log_probs = output.seq_relationship_logits.log_softmax(-1)
    nsp_example_loss = -nsp_log_probs.gather(1, golden["in/next_sentence_labels"].long()).squeeze(1)
    return {
        "out/masked_lm_log_probs": mlm_log_probs,
        "out/masked_lm_example_loss": example_loss,
        "out/masked_lm_loss": mlm_loss,
        "out/next_sentence_log_probs": nsp_log_probs,
        "out/next_sentence_example_loss": nsp_example_loss,
        "out/next_sentence_loss": nsp_example_loss.mean(),
        "out/total_loss": mlm_loss + nsp_example_loss.mean(),
    }


def test_every_recorded_output_is_reproduced(model, golden):
    real = golden["in/input_mask"].bool()
    with torch.no_grad():
        encoded = model.bert(
            golden["in/input_ids"].long(),
            golden["in/input_mask"],
            golden["in/segment_ids"].long(),
            output_hidden_states=True,
        )
        ours = losses_of(model, golden)
    ours["out/embedding_output"], *layers = encoded.hidden_states
    ours |= {f"out/encoder_layer_{number}": layer for number, layer in enumerate(layers)}
    ours["out/sequence_output"] = encoded.last_hidden_state
    ours["out/pooled_output"] = encoded.pooler_output
    recorded = {name: tensor for name, tensor in golden.items() if name.startswith("out/")}
    assert ours.keys() == recorded.keys()
    for name, wanted in recorded.items():
        of_tokens = wanted.shape[:2] == real.shape  # Google computes padding, too; minibert does not
        left, right = (ours[name][real], wanted[real]) if of_tokens else (ours[name], wanted)
        torch.testing.assert_close(left, right, rtol=0, atol=TOLERANCE, msg=name)


def test_the_loss_of_the_head_is_googles(model, golden):
    labels = torch.full((4, 24), -100)
    rows, slots = golden["in/masked_lm_weights"].nonzero(as_tuple=True)
    labels[rows, golden["in/masked_lm_positions"].long()[rows, slots]] = golden["in/masked_lm_ids"].long()[rows, slots]
    with torch.no_grad():
        loss = run(model, golden, labels=labels, next_sentence_label=golden["in/next_sentence_labels"].long()).loss
    torch.testing.assert_close(loss, golden["out/total_loss"], rtol=0, atol=TOLERANCE)


def test_every_recorded_gradient_is_reproduced(model, golden, google_dir: Path):
    model = copy.deepcopy(model).double()  # or our own rounding would show in sums over 256,000 numbers
    losses_of(model, golden)["out/total_loss"].backward()
    ours = from_minibert({name: p.grad for name, p in model.named_parameters()}, "google")
    with np.load(google_dir / "golden_grads.npz") as recorded:
        assert set(recorded["names"]) == ours.keys()
        norms = dict(zip(recorded["names"], zip(recorded["l2"], recorded["sum"], strict=True), strict=True))
        for name, (norm, total) in norms.items():
            assert ours[name].double().norm().item() == pytest.approx(norm, abs=TOLERANCE)
            assert ours[name].double().sum().item() == pytest.approx(total, abs=TOLERANCE)
        words = "bert/embeddings/word_embeddings"
        rows = torch.from_numpy(recorded["word_embeddings_rows"]).long()
        compare(ours[words][rows], recorded[f"grad_rows/{words}"])
        whole = [name for name in recorded if name.startswith("grad/")]
        assert len(whole) > 20
        for name in whole:
            compare(ours[name.removeprefix("grad/")], recorded[name])
        global_norm = torch.cat([gradient.flatten() for gradient in ours.values()]).norm().item()
        assert global_norm == pytest.approx(float(recorded["global_norm"]), rel=1e-6)
        checked = {"names", "l2", "sum", "global_norm", "word_embeddings_rows", f"grad_rows/{words}", *whole}
        assert checked == set(recorded)


def test_the_erf_form_would_not_reproduce_them(google_dir: Path, golden):
    model = BertForPreTraining.from_pretrained(google_dir, hidden_act="gelu")
    with torch.no_grad():
        difference = (
            (losses_of(model, golden)["out/masked_lm_log_probs"] - golden["out/masked_lm_log_probs"]).abs().max()
        )
    assert 2e-4 < difference < 2e-3


def compare(ours: torch.Tensor, recorded: np.ndarray) -> None:
    torch.testing.assert_close(ours.float(), torch.from_numpy(recorded), rtol=0, atol=TOLERANCE)
