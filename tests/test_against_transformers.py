"""The same weights and the same batch give the same numbers as `transformers`: outputs, losses and gradients."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from minibert.losses import IGNORE

from .helpers import PEERS, SMALL, in_their_names, make_batch, make_model, make_peer

TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-5}
HEADS = [name for name in PEERS if name != "BertModel"]
ATTENTION = ["eager", "sdpa", "packed"]


def labels_for(name: str, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Labels of the kind that the head reads; those of tokens are -100 at every third and at padded places."""
    ids, mask = batch["input_ids"], batch["attention_mask"]
    rows, seq = ids.shape[0], ids.shape[-1]
    classes = SMALL.vocab_size if "MaskedLM" in name or "PreTraining" in name else SMALL.num_labels
    token_labels = torch.randint(classes, ids.shape)
    token_labels[(torch.arange(seq) % 3 == 0) | (mask == 0)] = IGNORE
    if name == "BertForPreTraining":
        return {"labels": token_labels, "next_sentence_label": torch.randint(2, (rows,))}
    if name == "BertForQuestionAnswering":
        return {"start_positions": torch.randint(seq, (rows,)), "end_positions": torch.randint(seq, (rows,))}
    if name in ("BertForMaskedLM", "BertForTokenClassification"):
        return {"labels": token_labels}
    classes = {"BertForNextSentencePrediction": 2, "BertForMultipleChoice": 3}.get(name, SMALL.num_labels)
    return {"labels": torch.randint(classes, (rows,))}


def batch_for(name: str) -> dict[str, Tensor]:
    batch = make_batch()
    if name == "BertForMultipleChoice":  # (batch, choices, seq): six rows are two questions with three choices each
        batch = {key: value[[0, 1, 2, 3, 1, 2]].unflatten(0, (2, 3)) for key, value in batch.items()}
    if name == "BertForQuestionAnswering":  # transformers lets padding share in the softmax of its loss
        batch = {key: value[:1].expand(3, -1).clone() for key, value in batch.items()}
        batch["input_ids"] = torch.randint(SMALL.vocab_size, batch["input_ids"].shape)
    return batch


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("attention", ATTENTION)
def test_encoder_equals_transformers_forward_and_backward(attention: str, dtype: torch.dtype):
    model = make_model("BertModel", attn_implementation=attention).to(dtype)
    peer = make_peer(model)
    batch = make_batch()
    real = batch["attention_mask"].bool()
    ours = model(**batch, output_hidden_states=True)
    theirs = peer(**batch, output_hidden_states=True)
    assert len(ours.hidden_states) == len(theirs.hidden_states) == SMALL.num_hidden_layers + 1
    for our_state, their_state in zip(ours.hidden_states, theirs.hidden_states, strict=True):
        torch.testing.assert_close(our_state[real], their_state[real], rtol=0, atol=TOLERANCE[dtype])
        assert not our_state[~real].any()
    torch.testing.assert_close(ours.pooler_output, theirs.pooler_output, rtol=0, atol=TOLERANCE[dtype])

    weights = torch.randn(SMALL.hidden_size, dtype=dtype)
    (ours.last_hidden_state[real] @ weights).sum().add((ours.pooler_output @ weights).sum()).backward()
    (theirs.last_hidden_state[real] @ weights).sum().add((theirs.pooler_output @ weights).sum()).backward()
    compare_gradients(model, peer, TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("attention", ATTENTION)
@pytest.mark.parametrize("name", [name for name in HEADS if name != "BertForExtractiveSummarization"])
def test_head_equals_transformers_forward_and_backward(name: str, attention: str, dtype: torch.dtype):
    model = make_model(name, attn_implementation=attention).to(dtype)
    peer = make_peer(model)
    batch = batch_for(name)
    labels = labels_for(name, batch)
    ours, theirs = model(**batch, **labels), peer(**batch, **labels)
    real = batch["attention_mask"].bool()
    for key in (key for key in ours.names if key.endswith("logits")):
        of_tokens = ours[key].shape[: real.dim()] == real.shape
        our_logits, their_logits = (x[key][real] if of_tokens else x[key] for x in (ours, theirs))
        torch.testing.assert_close(our_logits, their_logits, rtol=0, atol=TOLERANCE[dtype])
    torch.testing.assert_close(ours.loss, theirs.loss, rtol=0, atol=TOLERANCE[dtype])
    ours.loss.backward()
    theirs.loss.backward()
    compare_gradients(model, peer, TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_summarization_reads_transformers_token_scores_at_every_cls(dtype: torch.dtype):
    model = make_model("BertForExtractiveSummarization").to(dtype)
    peer = make_peer(model)
    batch = make_batch()
    batch["input_ids"].clamp_(min=2)
    batch["input_ids"][:, 0] = batch["input_ids"][0, 7] = batch["input_ids"][1, 4] = batch["input_ids"][0, 12] = 1
    batch["input_ids"][1, 12] = 1  # in the padding: no sentence
    scores = peer(**batch).logits.squeeze(-1)
    expected = [scores[0, [0, 7, 12]], scores[1, [0, 4]], scores[2, :1], scores[3, :1]]
    logits = model(**batch).logits
    assert logits.shape == (4, 3)
    for row, wanted in zip(logits, expected, strict=True):
        torch.testing.assert_close(row[: len(wanted)], wanted, rtol=0, atol=TOLERANCE[dtype])
        assert (row[len(wanted) :] == torch.finfo(dtype).min).all()


@pytest.mark.parametrize(
    ("problem", "num_labels", "labels"),
    [
        ("regression by its single label", 1, torch.randn(4)),
        ("several numbers", 3, torch.randn(4, 3)),
        ("several labels at once", 3, torch.randint(2, (4, 3)).float()),
    ],
)
def test_other_problems_of_sequence_classification_equal_transformers(problem: str, num_labels: int, labels: Tensor):
    kind = "regression" if problem == "several numbers" else None
    model = make_model(
        "BertForSequenceClassification", SMALL.replace(num_labels=num_labels, problem_type=kind)
    ).double()
    batch = make_batch()
    ours, theirs = model(**batch, labels=labels.double()), make_peer(model)(**batch, labels=labels.double())
    torch.testing.assert_close(ours.loss, theirs.loss, rtol=0, atol=1e-10)


@pytest.mark.parametrize("hidden_act", ["gelu", "gelu_new", "relu"])
def test_activations_equal_transformers(hidden_act: str):
    model = make_model("BertForMaskedLM", SMALL.replace(hidden_act=hidden_act)).double()
    batch = make_batch()
    ours, theirs = model(**batch), make_peer(model)(**batch)
    real = batch["attention_mask"].bool()
    torch.testing.assert_close(ours.logits[real], theirs.logits[real], rtol=0, atol=1e-10)


def test_attentions_equal_transformers_at_real_queries():
    model = make_model("BertModel", attn_implementation="sdpa").double()
    batch = make_batch()
    real = batch["attention_mask"].bool()
    ours = model(**batch, output_attentions=True).attentions
    theirs = make_peer(model)(**batch, output_attentions=True).attentions
    assert len(ours) == len(theirs) == SMALL.num_hidden_layers
    for our_layer, their_layer in zip(ours, theirs, strict=True):
        our_rows, their_rows = our_layer.transpose(1, 2)[real], their_layer.transpose(1, 2)[real]
        torch.testing.assert_close(our_rows, their_rows, rtol=0, atol=1e-10)
        assert not our_layer.transpose(1, 2)[~real].any()


def compare_gradients(model, peer, tolerance: float) -> None:
    gradients = {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}
    ours = in_their_names(model, gradients)
    theirs = {name: parameter.grad for name, parameter in peer.named_parameters() if parameter.grad is not None}
    assert ours.keys() == theirs.keys()
    for name, gradient in theirs.items():
        torch.testing.assert_close(ours[name], gradient, rtol=0, atol=tolerance * max(1, gradient.abs().max().item()))
