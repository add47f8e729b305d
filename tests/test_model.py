"""What the encoder and the heads promise beyond equal numbers."""

from __future__ import annotations

import ast
import copy
import inspect
import pickle
from dataclasses import replace
from types import ModuleType
from typing import Any

import pytest
import torch
from torch.utils._pytree import tree_flatten, tree_unflatten

import minibert
from minibert import InputError, PackedBatch, heads, model
from minibert.config import BertConfig
from minibert.dropout import Dropout
from minibert.losses import classification_loss

from .helpers import PEERS, SMALL, make_batch, make_model

HEADS = [name for name in PEERS if name != "BertModel"]


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_padding_does_not_change_real_tokens(attention: str):
    encoder = make_model("BertModel", attn_implementation=attention).double()
    ids = torch.randint(SMALL.vocab_size, (1, 5))
    alone = encoder(ids)
    for padding in (1, 3, 11):
        padded = torch.cat([ids, torch.randint(SMALL.vocab_size, (1, padding))], dim=1)
        mask = torch.tensor([[1] * 5 + [0] * padding])
        together = encoder(padded, mask)
        torch.testing.assert_close(together.last_hidden_state[:, :5], alone.last_hidden_state, rtol=0, atol=1e-12)
        torch.testing.assert_close(together.pooler_output, alone.pooler_output, rtol=0, atol=1e-12)
        assert not together.last_hidden_state[:, 5:].any()


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_sentences_do_not_see_each_other(attention: str):
    encoder = make_model("BertModel", attn_implementation=attention).double()
    batch = make_batch()
    together = encoder(**batch).last_hidden_state
    for row in range(len(together)):
        alone = encoder(**{key: value[row : row + 1] for key, value in batch.items()}).last_hidden_state
        torch.testing.assert_close(together[row : row + 1], alone, rtol=0, atol=1e-12)


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("name", HEADS)
def test_a_row_without_any_token_gives_finite_numbers_and_gradients(name: str, attention: str):
    task = make_model(name, attn_implementation=attention)
    batch = make_batch(empty_row=True)
    if name == "BertForMultipleChoice":
        batch = {key: value.unsqueeze(0) for key, value in batch.items()}
    for inputs in (batch, batch | {"attention_mask": torch.zeros_like(batch["attention_mask"])}):
        output = task(**inputs)
        logits = [output[key] for key in output.names if key.endswith("logits")]
        assert all(part.isfinite().all() for part in logits)
        if any(part.numel() for part in logits):
            sum(part.clamp(min=-1e3).sum() for part in logits).backward()
            assert all(p.grad is None or p.grad.isfinite().all() for p in task.parameters())


def test_a_row_without_any_token_encodes_to_zeros():
    output = make_model("BertModel")(**make_batch(empty_row=True))
    assert not output.last_hidden_state[4].any()
    assert not output.pooler_output[4].any()
    assert output.last_hidden_state[:4].any()


def test_a_packed_batch_of_articles_is_learnt_from_as_the_padded_one():
    task = make_model("BertForExtractiveSummarization").double()
    packed = PackedBatch.from_sequences([[1, 5, 1, 9], [1, 7, 2]])  # of two sentences, and of one
    padded, mask = torch.tensor([[1, 5, 1, 9], [1, 7, 2, 0]]), torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]])
    ours = task(packed, labels=torch.tensor([1, 0, 1])).loss
    theirs = task(padded, mask, labels=torch.tensor([[1, 0], [1, -100]]))
    torch.testing.assert_close(ours, theirs.loss, rtol=0, atol=1e-12)
    assert theirs.logits[1, 1] == torch.finfo(torch.float64).min  # there is no second sentence


def test_positions_may_be_given_once_for_all_rows():
    encoder, ids, positions = make_model("BertModel"), torch.randint(61, (3, 16)), torch.randperm(16).unsqueeze(0)
    once, for_each = encoder(ids, position_ids=positions), encoder(ids, position_ids=positions.expand(3, 16))
    assert torch.equal(once.last_hidden_state, for_each.last_hidden_state)
    assert not torch.equal(once.last_hidden_state, encoder(ids).last_hidden_state)


def test_a_batch_without_padding_shows_its_attentions():
    for layer in make_model("BertModel")(torch.randint(61, (3, 16)), output_attentions=True).attentions:
        torch.testing.assert_close(layer.sum(dim=-1), torch.ones(3, SMALL.num_attention_heads, 16))


def test_a_loss_of_half_precision_logits_is_computed_in_single_precision():
    logits, classes, scores = torch.randn(64, 7).bfloat16(), torch.randint(7, (64,)), torch.rand(64, 7)
    for kind, labels in ((None, classes), (None, scores), ("regression", scores)):
        model = make_model("BertForSequenceClassification", SMALL.replace(problem_type=kind))
        exact = classification_loss(model, logits.float(), labels)
        assert torch.equal(classification_loss(model, logits, labels), exact)


@pytest.mark.parametrize("name", ["BertForMaskedLM", "BertForPreTraining"])
def test_logits_of_weights_that_have_changed_since_are_refused(name: str):
    task = make_model(name)
    key = "logits" if name == "BertForMaskedLM" else "prediction_logits"
    before, after = task(**make_batch()), task(**make_batch())
    assert before[key].requires_grad
    before[key].sum().backward()
    torch.optim.SGD(task.parameters(), lr=0.1).step()
    before[key]  # computed in time, and kept
    with pytest.raises(InputError, match="read its logits before the step"):
        after[key]


@pytest.mark.parametrize("name", HEADS)
def test_a_packed_batch_gives_what_the_padded_one_gives(name: str):
    if name == "BertForMultipleChoice":
        pytest.skip("its packed batches have a test of their own")
    task = make_model(name, attn_implementation="sdpa").double()
    rows = [[1, 5, 9, 2], [1, 7, 2], [1, 8, 8, 8, 8, 2]]
    types = [[0, 0, 1, 1], [0, 0, 0], [0, 1, 2, 1, 1, 1]]
    packed = PackedBatch.from_sequences(rows, types)
    padded_ids = torch.tensor([row + [0] * (6 - len(row)) for row in rows])
    padded_types = torch.tensor([row + [0] * (6 - len(row)) for row in types])
    mask = (padded_ids > 0).long()
    ours, theirs = task(packed), task(padded_ids, mask, padded_types)
    per_token = {"BertForPreTraining": "prediction_logits", "BertForMaskedLM": "logits"}
    for key in (key for key in ours.names if key.endswith("logits")):
        padded_logits = theirs[key]
        if per_token.get(name) == key or name == "BertForTokenClassification":
            padded_logits = padded_logits[mask.bool()]
        elif name == "BertForExtractiveSummarization":
            padded_logits = padded_logits.flatten()
        torch.testing.assert_close(ours[key], padded_logits, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("BertForSequenceClassification", {"labels": (2,)}),
        ("BertForTokenClassification", {"labels": (7,)}),
        ("BertForQuestionAnswering", {"start_positions": (2,), "end_positions": (2,)}),
    ],
)
def test_fine_tuning_asks_the_device_for_no_value(name: str, labels: dict[str, tuple[int, ...]]):
    """Tensors on "meta" have no values: what would wait for a GPU's answer fails there."""
    task = make_model(name, attn_implementation="auto").to("meta").train()
    batch = PackedBatch.from_sequences([[1, 5, 9, 2], [1, 7, 2]]).to("meta")
    truth = {key: torch.zeros(shape, dtype=torch.long, device="meta") for key, shape in labels.items()}
    task(batch, **truth).loss.backward()
    assert all(p.grad is not None for head, p in task.named_parameters() if not head.startswith("bert."))


@pytest.mark.parametrize("attention", ["eager", "sdpa", "packed"])
@pytest.mark.parametrize("output_hidden_states", [False, True])
def test_the_tokens_that_are_read_do_not_change_when_the_others_are_left_out(
    attention: str, output_hidden_states: bool
):
    bert = make_model("BertModel", attn_implementation=attention).double()
    batch = bert.pack(**make_batch(empty_row=True))
    first = batch.cls_layout.selected
    chosen = torch.cat([first, first[:3] + 1, torch.tensor([5])]).unique()
    full, some = bert.encode(batch), bert.encode(batch, output_hidden_states, read=batch.layout.only(chosen))
    assert len(some.last_hidden_state) == len(chosen)
    torch.testing.assert_close(some.last_hidden_state, full.last_hidden_state[chosen], rtol=0, atol=1e-12)
    torch.testing.assert_close(some.pooler_output, full.pooler_output, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", [name for name in PEERS if name != "BertModel"])
def test_a_hook_on_the_encoder_of_a_task_model_gets_what_the_head_reads(name: str):
    task = make_model(name)
    batch = make_batch()
    tokens, rows = int(batch["attention_mask"].sum()), len(batch["input_ids"])
    if name == "BertForMultipleChoice":
        batch = {key: value[:, None] for key, value in batch.items()}
    before: list[Any] = []
    after: list[Any] = []
    task.bert.register_forward_pre_hook(lambda module, inputs: before.append(*inputs))
    task.bert.register_forward_hook(lambda module, inputs, output: after.append(output))
    task(**batch)
    output = task(**batch, output_hidden_states=True, output_attentions=True)
    read = rows if getattr(task, "reads_cls_only", False) else tokens
    assert [len(packed.input_ids) for packed in before] == [tokens, tokens]
    assert [len(encoded.last_hidden_state) for encoded in after] == [read, read]
    assert after[1].hidden_states is output.hidden_states is not None
    assert after[1].attentions is output.attentions is not None


def test_the_last_block_of_a_cls_head_is_exact_though_it_computes_cls_alone():
    task = make_model("BertForSequenceClassification", attn_implementation="sdpa").double()
    batch = make_batch(empty_row=True)
    labels = torch.tensor([0, 3, 6, 1, 2])
    seen = []
    task.bert.blocks[-1].feed_forward.register_forward_hook(lambda module, inputs, output: seen.append(len(output)))
    short = task(**batch, labels=labels)
    short.loss.backward()
    gradients = {name: parameter.grad.clone() for name, parameter in task.named_parameters()}
    task.zero_grad()
    full = task(**batch, labels=labels, output_hidden_states=True)  # which needs all tokens of the last block
    full.loss.backward()
    assert seen == [4, int(batch["attention_mask"].sum())]
    torch.testing.assert_close(short.logits, full.logits, rtol=0, atol=1e-12)
    for name, parameter in task.named_parameters():
        torch.testing.assert_close(gradients[name], parameter.grad, rtol=0, atol=1e-12)


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_every_parameter_gets_a_gradient_from_the_pretraining_loss(attention: str):
    task = make_model("BertForPreTraining", attn_implementation=attention)
    labels = torch.randint(SMALL.vocab_size, (4, 16))
    task(**make_batch(), labels=labels, next_sentence_label=torch.tensor([0, 1, 0, 1])).loss.backward()
    dead = [name for name, p in task.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert not dead


def test_mlm_computes_logits_only_at_masked_positions_for_the_loss():
    task = make_model("BertForMaskedLM")
    batch = make_batch()
    labels = torch.full_like(batch["input_ids"], -100)
    labels[0, 3], labels[1, 2], labels[1, 15] = 7, 8, 9  # the last one is padding: no token, no loss
    rows = []
    task.mlm.register_forward_hook(lambda module, inputs, output: rows.append(len(output)))
    output = task(**batch, labels=labels)
    assert rows == [2]
    logits = output.logits
    assert logits.shape == (4, 16, SMALL.vocab_size)
    expected = torch.nn.functional.cross_entropy(logits[[0, 1], [3, 2]], torch.tensor([7, 8]))
    torch.testing.assert_close(output.loss, expected)


def test_logits_read_later_remember_that_gradients_were_off():
    task = make_model("BertForMaskedLM")
    with torch.no_grad():
        output = task(**make_batch())
    assert not output.logits.requires_grad
    assert task(**make_batch()).logits.requires_grad


def test_logits_read_later_remember_autocast():
    task = make_model("BertForMaskedLM")
    batch = make_batch()
    with torch.autocast("cpu", torch.bfloat16):
        there, later = task(**batch).logits, task(**batch)
    assert torch.equal(later.logits, there)
    later = task(**batch)
    with torch.autocast("cpu", torch.bfloat16):
        assert later.logits.dtype == torch.float32


def test_logits_read_later_are_those_of_lent_weights():
    task, other, batch = make_model("BertForMaskedLM"), make_model("BertForMaskedLM"), make_batch()
    output = torch.func.functional_call(task, dict(other.named_parameters()), kwargs=batch)
    torch.testing.assert_close(output.logits, other(**batch).logits)


def test_weights_made_in_inference_mode_give_logits():
    with torch.inference_mode():
        assert make_model("BertForMaskedLM")(**make_batch()).logits.isfinite().all()


def test_logits_read_in_inference_mode_can_be_learnt_from_if_the_call_was_not_in_it():
    task, batch = make_model("BertForMaskedLM"), make_batch()
    output = task(**batch)
    with torch.inference_mode():
        assert not output.logits.is_inference()
        later = task(**batch)
    output.logits.sum().backward()
    assert later.logits.is_inference()


@pytest.mark.parametrize("name", ["BertModel", "BertForMaskedLM", "BertForPreTraining", "BertForQuestionAnswering"])
def test_outputs_can_be_sent_to_another_process(name: str):
    with torch.no_grad():
        output = make_model(name)(**make_batch())
    for twin in (pickle.loads(pickle.dumps(output)), copy.copy(output)):
        assert twin.keys() == output.keys()
        assert all(torch.equal(value, wanted) for value, wanted in zip(twin, output, strict=True))
        assert repr(twin) == repr(output)
        assert getattr(twin, "loss", None) is None


@pytest.mark.parametrize("name", ["BertForMaskedLM", "BertForSequenceClassification"])
def test_torch_finds_the_loss_in_an_output_as_ddp_with_a_static_graph_has_to(name: str):
    batch = make_batch()
    labels = batch["input_ids"] if name == "BertForMaskedLM" else torch.zeros(4, dtype=torch.long)
    output = make_model(name)(**batch, labels=labels)
    leaves, form = tree_flatten(output)
    assert any(leaf is output.loss for leaf in leaves)
    again = tree_unflatten(leaves, form)
    assert (type(again), again.keys()) == (type(output), output.keys())
    assert torch.equal(again.logits, output.logits)


def test_logits_of_hidden_states_that_have_changed_since_are_refused():
    batch = {"input_ids": torch.ones(2, 3, dtype=torch.long)}  # without padding, nothing is copied
    with torch.no_grad():
        output = make_model("BertForMaskedLM")(**batch, output_hidden_states=True)
    output.hidden_states[-1].zero_()
    with pytest.raises(InputError, match="have changed since"):
        assert output.logits.isfinite().all()


def vmap_selects_by_int32() -> bool:
    """As that of torch 2.6 does not."""
    try:
        torch.func.vmap(lambda rows: rows.index_select(0, torch.zeros(1, dtype=torch.int32)))(torch.zeros(2, 2))
    except RuntimeError:
        return False
    return True


@pytest.mark.skipif(not vmap_selects_by_int32(), reason="this version's vmap selects rows by int64 alone")
@pytest.mark.parametrize("name", [name for name in PEERS if name != "BertForMultipleChoice"])
def test_several_models_at_once_answer_as_each_does(name: str):
    models, batch = [make_model(name) for _ in range(2)], make_batch()
    weights, _ = torch.func.stack_module_state(models)
    together = torch.func.vmap(lambda own: torch.func.functional_call(models[0], own, kwargs=batch)[0])(weights)
    for each, found in zip(models, together, strict=True):
        torch.testing.assert_close(found, each(**batch)[0])


@pytest.mark.parametrize("name", HEADS)
def test_a_batch_whose_labels_are_all_ignored_has_loss_zero(name: str):
    task = make_model(name)
    batch = make_batch()
    of_tokens = torch.full((4, 16), -100)
    of_rows = torch.full((4,), -100)
    labels = {
        "BertForPreTraining": {"labels": of_tokens, "next_sentence_label": of_rows},
        "BertForMaskedLM": {"labels": of_tokens},
        "BertForTokenClassification": {"labels": of_tokens},
        "BertForQuestionAnswering": {"start_positions": of_rows, "end_positions": of_rows},
    }.get(name, {"labels": of_rows})
    if name == "BertForMultipleChoice":
        batch = {key: value.unsqueeze(1) for key, value in batch.items()}
    if name == "BertForExtractiveSummarization":
        labels = {"labels": torch.full(task(**batch).logits.shape, -100)}
    loss = task(**batch, **labels).loss
    loss.backward()
    assert loss.item() == 0


def test_output_answers_as_a_tuple_and_as_a_dict():
    output = make_model("BertForSequenceClassification")(**make_batch(), labels=torch.zeros(4, dtype=torch.long))
    assert output[0] is output.loss is output["loss"]
    loss, logits = output[:2]
    assert loss is output.loss
    assert logits is output.logits
    assert list(output.keys()) == ["loss", "logits"]
    assert [name for name, _ in output.items()] == ["loss", "logits"]
    assert all(one is other for one, other in zip(output.values(), dict(output.items()).values(), strict=True))
    assert len(output) == 2
    assert "logits" in output
    assert "attentions" not in output
    without_labels = make_model("BertForSequenceClassification")(**make_batch())
    assert without_labels.loss is None
    assert without_labels[0] is without_labels.logits
    with pytest.raises(KeyError, match="no 'hidden_states' here, but logits"):
        without_labels["hidden_states"]


@pytest.mark.parametrize("name", ["BertForMaskedLM", "BertForPreTraining"])
def test_asking_an_output_for_its_loss_does_not_compute_the_logits_of_all_words(name: str):
    task = make_model(name)
    labels = {"labels": torch.full((4, 16), 5)}
    if name == "BertForPreTraining":
        labels["next_sentence_label"] = torch.zeros(4, dtype=torch.long)
    output = task(**make_batch(), **labels)
    calls = []
    task.mlm.register_forward_hook(lambda *_: calls.append(1))
    assert output["loss"] is output[0] is output[:1][0] is output.loss
    assert "loss" in output
    assert not calls
    assert output[1].shape == (4, 16, SMALL.vocab_size)
    assert calls == [1]


@pytest.mark.parametrize(
    ("size", "parameters"),
    [("tiny", 4.4e6), ("mini", 11.2e6), ("small", 28.8e6), ("medium", 41.4e6), ("base", 109.5e6), ("large", 335.1e6)],
)
def test_presets_have_the_published_number_of_parameters(size: str, parameters: float):
    with torch.device("meta"):
        count = sum(p.numel() for p in minibert.BertModel(BertConfig.preset(size)).parameters())
    assert count == pytest.approx(parameters, rel=0.005)


@pytest.mark.parametrize("name", PEERS)
def test_fresh_weights_are_googles(name: str):
    fresh = getattr(minibert, name)(BertConfig.preset("tiny"))
    for name, parameter in fresh.named_parameters():
        if parameter.dim() > 1:
            assert parameter.abs().max() <= 0.04
            if parameter.shape[0] > 7:  # the matrix of a head is too small for it
                # a normal cut off at 2 deviations
                assert parameter.std().item() == pytest.approx(0.02 * 0.8796, rel=0.05)
        else:
            assert (parameter == (1 if "norm.weight" in name else 0)).all()


@pytest.mark.parametrize("dropped", ["hidden_dropout_prob", "attention_probs_dropout_prob"])
def test_dropout_acts_in_training_alone(dropped: str):
    none = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    encoder = make_model("BertModel", SMALL.replace(**none | {dropped: 0.5}))
    batch = make_batch()
    assert torch.equal(encoder(**batch).last_hidden_state, encoder(**batch).last_hidden_state)
    encoder.train()
    assert not torch.equal(encoder(**batch).last_hidden_state, encoder(**batch).last_hidden_state)


@pytest.mark.parametrize("name", PEERS)
def test_no_dropout_is_passed_by(name: str):
    """Nobody would see it in the numbers, which chance makes."""
    task, batch = make_model(name).train(), make_batch()
    if name == "BertForMultipleChoice":
        batch = {key: value.unsqueeze(1) for key, value in batch.items()}
    dropouts = {place: module for place, module in task.named_modules() if isinstance(module, Dropout)}
    acted: set[str] = set()
    for place, module in dropouts.items():
        module.register_forward_hook(lambda *_, place=place: acted.add(place))
    task(**batch)
    assert acted == set(dropouts)
    assert ("dropout" in acted) == hasattr(task, "classifier")


WRONG_INPUTS: dict[str, tuple[dict[str, Any], str]] = {
    "ids too high": (
        {"input_ids": torch.tensor([[1, 61]])},
        r"input_ids must be in 0\.\.60 \(vocab_size is 61\): found 61",
    ),
    "ids negative": ({"input_ids": torch.tensor([[1, -1]])}, "found -1"),
    "segments too high": (
        {"input_ids": torch.tensor([[1, 2]]), "token_type_ids": torch.tensor([[0, 3]])},
        r"token_type_ids must be in 0\.\.2",
    ),
    "positions too high": (
        {"input_ids": torch.tensor([[1, 2]]), "position_ids": torch.tensor([[0, 16]])},
        r"position_ids must be in 0\.\.15",
    ),
    "row too long": (
        {"input_ids": torch.ones(1, 17, dtype=torch.long)},
        "17 tokens, but the model knows only 16 positions",
    ),
    "mask of another shape": (
        {"input_ids": torch.tensor([[1, 2]]), "attention_mask": torch.ones(1, 3)},
        r"attention_mask must have the shape of input_ids, \(1, 2\): found \(1, 3\)",
    ),
    "mask with other numbers": (
        {"input_ids": torch.tensor([[1, 2]]), "attention_mask": torch.tensor([[1, 2]])},
        "attention_mask must hold only 1",
    ),
    "no whole numbers": (
        {"input_ids": torch.tensor([[1.0, 2.0]])},
        "input_ids must hold whole numbers: found torch.float32",
    ),
    "lists": ({"input_ids": [[1, 2]]}, r"input_ids must be a tensor: found list.*return_tensors='pt'"),
    "a whole batch": ({"input_ids": {"input_ids": torch.ones(1, 2)}}, r"found dict\. Write model\(\*\*batch\)"),
    "a single position": (
        {"input_ids": torch.tensor([[1, 2]]), "position_ids": torch.tensor(0)},
        r"position_ids must have the shape of input_ids, \(1, 2\): found \(\)",
    ),
    "no batch": (
        {"input_ids": torch.tensor([1, 2])},
        r"input_ids must be \(batch, seq\), neither of them 0: found \(2,\)",
    ),
    "an empty batch": ({"input_ids": torch.ones(0, 3, dtype=torch.long)}, r"found \(0, 3\)"),
    "another device": (
        {"input_ids": torch.ones(1, 2, dtype=torch.long, device="meta")},
        "The model is on cpu but input_ids on meta: move one of them",
    ),
    "a packed batch and a mask": (
        {"input_ids": PackedBatch.from_sequences([[1]]), "attention_mask": torch.ones(1, 1)},
        "carries everything: leave attention_mask out",
    ),
    "a mask in lists": (
        {"input_ids": torch.tensor([[1, 2]]), "attention_mask": [[1, 1]]},
        "attention_mask must be a tensor: found list",
    ),
    "too few segments": (
        {"input_ids": torch.tensor([[1, 2]]), "token_type_ids": torch.tensor([[0]])},
        r"token_type_ids must have the shape of input_ids, \(1, 2\): found \(1, 1\)",
    ),
    "too few packed segments": (
        {"input_ids": replace(PackedBatch.from_sequences([[1, 2]]), token_type_ids=torch.tensor([0]))},
        r"token_type_ids of a PackedBatch must have the shape of its input_ids, \(2,\): found \(1,\)",
    ),
    "too many packed positions": (
        {"input_ids": replace(PackedBatch.from_sequences([[1, 2]]), position_ids=torch.tensor([0, 1, 2]))},
        r"position_ids of a PackedBatch must have the shape of its input_ids, \(2,\): found \(3,\)",
    ),
    "packed ids too high": ({"input_ids": PackedBatch.from_sequences([[1, 99]])}, "found 99"),
    "a packed row too long": ({"input_ids": PackedBatch.from_sequences([[1] * 17])}, "only 16 positions"),
}


@pytest.mark.parametrize("case", WRONG_INPUTS)
def test_wrong_input_gets_a_sentence(case: str):
    inputs, sentence = WRONG_INPUTS[case]
    with pytest.raises(InputError, match=sentence):
        make_model("BertModel")(**inputs)


@pytest.mark.parametrize("types", [[[0, 0, 0], [0, 1]], [[0, 0]]], ids=["shifted by one", "a row too few"])
def test_rows_of_types_must_be_those_of_the_ids(types: list[list[int]]):
    with pytest.raises(InputError, match="as many rows as input_ids, each as long"):
        PackedBatch.from_sequences([[1, 5], [1, 7, 2]], types)


def test_a_batch_has_a_row():
    with pytest.raises(InputError, match="nothing to pack"):
        PackedBatch.from_sequences([])


WRONG_LABELS: dict[str, tuple[str, dict[str, Any], str]] = {
    "class too high": ("BertForSequenceClassification", {"labels": torch.tensor([0, 0, 0, 7])}, r"in 0\.\.6, or -100"),
    "class negative": ("BertForSequenceClassification", {"labels": torch.tensor([0, 0, 0, -1])}, "found -1"),
    "too few": ("BertForSequenceClassification", {"labels": torch.tensor([0, 0])}, r"of shape \(4,\): found \(2,\)"),
    "no whole numbers": (
        "BertForTokenClassification",
        {"labels": torch.zeros(4, 16)},
        "labels must hold whole numbers: found torch.float32",
    ),
    "a list": ("BertForSequenceClassification", {"labels": [0, 0, 0, 0]}, "labels must be a tensor: found list"),
    "one class, as fractions": ("BertForSequenceClassification", {"labels": torch.zeros(4)}, "must be whole numbers"),
    "another device": (
        "BertForMaskedLM",
        {"labels": torch.zeros(4, 16, device="meta").long()},
        "The model is on cpu but labels on meta",
    ),
    "another device, of rows": (
        "BertForMultipleChoice",
        {"labels": torch.zeros(4, device="meta").long()},
        "The model is on cpu but labels on meta",
    ),
    "another device, of sentences": (
        "BertForExtractiveSummarization",
        {"labels": torch.zeros(4, 1, device="meta").long()},
        "The model is on cpu but labels on meta",
    ),
    "another device, of numbers": (
        "BertForSequenceClassification",
        {"labels": torch.zeros(4, 7, device="meta")},
        "The model is on cpu but labels on meta",
    ),
    "too few numbers": (
        "BertForSequenceClassification",
        {"labels": torch.zeros(4, 3)},
        r"shape of the logits, \(4, 7\): found \(4, 3\)",
    ),
    "no share of a class": (
        "BertForSequenceClassification",
        {"labels": torch.full((4, 7), -100.0)},
        "labels must be from 0 to 1, one for each class: found -100",
    ),
    "tokens' shape": (
        "BertForTokenClassification",
        {"labels": torch.zeros(4, 15).long()},
        r"\(4, 16\): found \(4, 15\)",
    ),
    "word unknown": ("BertForMaskedLM", {"labels": torch.full((4, 16), 61)}, r"in 0\.\.60"),
    "next sentence": (
        "BertForPreTraining",
        {"labels": torch.full((4, 16), 1), "next_sentence_label": torch.full((4,), 2)},
        r"next_sentence_label must be in 0\.\.1",
    ),
    "answer outside": (
        "BertForQuestionAnswering",
        {"start_positions": torch.full((4,), 16), "end_positions": torch.zeros(4).long()},
        r"start_positions must be in 0\.\.15",
    ),
    "answer in the padding": (
        "BertForQuestionAnswering",
        {"start_positions": torch.zeros(4).long(), "end_positions": torch.tensor([0, 12, 0, 0])},
        "end_positions: row 1 has no token at 12",
    ),
    "answer in the padding, in a column of small numbers": (
        "BertForQuestionAnswering",
        {"start_positions": torch.zeros(4).long(), "end_positions": torch.tensor([[0], [12], [0], [0]]).byte()},
        "end_positions: row 1 has no token at 12",
    ),
}


@pytest.mark.parametrize("case", WRONG_LABELS)
def test_wrong_labels_get_a_sentence(case: str):
    name, labels, sentence = WRONG_LABELS[case]
    batch = make_batch()
    if name == "BertForMultipleChoice":
        batch = {key: value.unsqueeze(1) for key, value in batch.items()}
    model = make_model(name)
    config = model.config
    with pytest.raises(InputError, match=sentence):
        model(**batch, **labels)
    assert model.config == config  # the next call, with right labels, is not read by what these looked like


@pytest.mark.parametrize("dtype", [torch.int32, torch.int16, torch.uint8])
def test_inputs_may_be_whole_numbers_of_any_size(dtype: torch.dtype):
    model, batch = make_model("BertModel"), make_batch()
    batch["position_ids"] = torch.arange(16).flip(0).unsqueeze(0)
    small = {name: tensor.to(dtype) for name, tensor in batch.items()}
    assert torch.equal(model(**small).pooler_output, model(**batch).pooler_output)
    assert model.pack(**small).input_ids.dtype == torch.int64


@pytest.mark.parametrize("dtype", [torch.int32, torch.uint8, torch.bool])
def test_labels_may_be_whole_numbers_of_any_size(dtype: torch.dtype):
    task, labels = make_model("BertForSequenceClassification"), torch.tensor([0, 1, 1, 0])
    batch = make_batch()
    assert task(**batch, labels=labels.to(dtype)).loss == task(**batch, labels=labels).loss


def test_questions_with_different_numbers_of_choices_can_be_packed():
    task = make_model("BertForMultipleChoice").double()
    rows = [[1, 5, 9, 2], [1, 7, 2], [1, 8, 8, 8, 8, 2], [1, 4, 2], [1, 6, 6, 2]]
    padded = torch.tensor([row + [0] * (6 - len(row)) for row in rows])
    mask = (padded > 0).long()
    output = task(PackedBatch.from_sequences(rows), choices=[2, 3], labels=torch.tensor([1, 2]))
    two, three = (task(padded[part][None], mask[part][None]).logits for part in (slice(2), slice(2, 5)))
    torch.testing.assert_close(output.logits[:1, :2], two, rtol=0, atol=1e-12)
    torch.testing.assert_close(output.logits[1:], three, rtol=0, atol=1e-12)
    assert output.logits[0, 2] == torch.finfo(torch.float64).min
    expected = -(two.log_softmax(1)[0, 1] + three.log_softmax(1)[0, 2]) / 2
    torch.testing.assert_close(output.loss, expected)


def test_multiple_choice_says_what_it_reads():
    with pytest.raises(InputError, match=r"how many of the 1 rows each question has: found \[2\]"):
        make_model("BertForMultipleChoice")(PackedBatch.from_sequences([[1, 2]]), choices=[2])
    with pytest.raises(InputError, match=r"input_ids of shape \(batch, choices, seq\)"):
        make_model("BertForMultipleChoice")(**make_batch())
    with pytest.raises(InputError, match="reads padded input_ids"):
        make_model("BertForMultipleChoice")([[[1, 2], [1, 3]]])
    with pytest.raises(InputError, match="attention_mask must be a tensor: found list"):
        make_model("BertForMultipleChoice")(torch.ones(1, 2, 3).long(), attention_mask=[[[1] * 3] * 2])


def test_the_places_of_all_choices_may_be_given_once():
    task, ids = make_model("BertForMultipleChoice"), make_batch()["input_ids"].unflatten(0, (2, 2))
    places = torch.arange(16).flip(0).unsqueeze(0)
    assert torch.equal(task(ids, position_ids=places).logits, task(ids, position_ids=places.expand_as(ids)).logits)


def test_an_unknown_attention_implementation_names_those_there_are():
    with pytest.raises(InputError, match=r"'flash'\. There are auto, eager, packed, sdpa, triton"):
        minibert.BertModel(SMALL, attn_implementation="flash")


@pytest.mark.parametrize("module", [model, heads])
def test_the_model_is_read_in_one_sitting(module: ModuleType):
    source = inspect.getsource(module)
    documentation: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node) is not None:
            documentation.update(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
    code = [
        number
        for number, line in enumerate(source.splitlines(), start=1)
        if line.strip() and not line.strip().startswith("#") and number not in documentation
    ]
    assert len(code) <= 250


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("name", PEERS)
def test_a_packed_batch_is_learnt_from_without_looking_at_a_number(name: str, attention: str):
    """On the device "meta" tensors have no numbers: to ask for one, for which a GPU would have to be waited for, fails.

    The two that learn masked words ask where they are, which the batches of pretraining tell, and the one that
    summarizes asks how many sentences each article has.
    """
    batch = PackedBatch.from_sequences([[1, 2, 3, 4], [5, 6], [7, 8, 9]]).to("meta")
    task = make_model(name, attn_implementation=attention).train().to("meta")
    numbers = torch.zeros(9, dtype=torch.long, device="meta")
    labels: dict[str, Any] = {
        "BertModel": {},
        "BertForTokenClassification": {"labels": numbers},
        "BertForPreTraining": {"labels": numbers, "next_sentence_label": numbers[:3]},
        "BertForMaskedLM": {"labels": numbers},
        "BertForMultipleChoice": {"labels": numbers[:2], "choices": [2, 1]},
        "BertForQuestionAnswering": {"start_positions": numbers[:3], "end_positions": numbers[:3]},
    }
    given = labels.get(name, {"labels": numbers[:3]})
    if name in ("BertForMaskedLM", "BertForPreTraining", "BertForExtractiveSummarization"):
        with pytest.raises((NotImplementedError, RuntimeError), match=r"nonzero|item"):
            task(batch, **given)
        if name == "BertForExtractiveSummarization":
            return
        given = {}
    output = task(batch, **given)
    learnt = output.loss if given else output.last_hidden_state if name == "BertModel" else output[output.names[1]]
    learnt.sum().backward()
    assert all(parameter.grad is None or parameter.grad.is_meta for parameter in task.parameters())
