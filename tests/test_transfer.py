"""Ways to transfer: each must move exactly the weights that it promises to move, and compute what its paper says."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor

from minibert import (
    BertForSequenceClassification,
    BertForTokenClassification,
    BertModel,
    InputError,
)
from minibert.packing import Layout
from minibert.transfer import (
    Adapters,
    BitFit,
    LayerMix,
    Lora,
    Prefix,
    adapt,
    forget_features,
    freeze,
    load_adapter,
    merge_lora,
    reinitialize_top,
    remember_features,
    save_adapter,
    trained_parameters,
    unfreeze_gradually,
)
from minibert.transfer.freezing import depth_of
from minibert.transfer.layer_rates import layer_rate
from minibert.transfer.lora import TARGETS

from .helpers import SMALL, make_batch, make_model

FOUR_BLOCKS = SMALL.replace(num_hidden_layers=4)
ALL_TARGETS = tuple(TARGETS)
ADAPTATIONS = [
    Lora(rank=2, targets=ALL_TARGETS),
    Adapters("houlsby", size=3),
    Adapters("pfeiffer", size=3),
    BitFit(),
    Prefix(length=3),
    LayerMix("learned"),
    LayerMix("last_four"),
]


def take_a_step(model: Any, seed: int = 0) -> None:
    """One step of gradient descent on random labels."""
    torch.manual_seed(seed)
    labels = torch.randint(model.config.num_labels, (4,))
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.5)
    model(**make_batch(model.config), labels=labels).loss.backward()
    optimizer.step()
    optimizer.zero_grad()


def moved_by_a_step(model: Any) -> set[str]:
    """The names of the parameters that a step changes."""
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    take_a_step(model)
    return {name for name, parameter in model.named_parameters() if not torch.equal(parameter, before[name])}


def all_names(model: Any) -> set[str]:
    return {name for name, _ in model.named_parameters()}


def is_top(name: str) -> bool:
    return name.startswith(("bert.pooler.", "classifier."))


# ----------------------------------------------------------------------------------------------------------- freezing


@pytest.mark.parametrize(
    ("what", "frozen"),
    [
        ("embeddings", ("bert.embeddings.",)),
        (1, ("bert.embeddings.", "bert.blocks.0.")),
        (2, ("bert.embeddings.", "bert.blocks.0.", "bert.blocks.1.")),
        ("encoder", ("bert.embeddings.", "bert.blocks.")),
    ],
)
def test_frozen_weights_stay_and_all_others_move(what: Any, frozen: tuple[str, ...]):
    model = make_model("BertForSequenceClassification")
    freeze(model, what)
    assert moved_by_a_step(model) == {name for name in all_names(model) if not name.startswith(frozen)}


def test_what_cannot_be_frozen_gets_a_sentence():
    model = make_model("BertForSequenceClassification")
    for what in ("head", 0, 4):
        with pytest.raises(InputError, match="'embeddings', 'encoder', or 1 to 3 blocks: found"):
            freeze(model, what)


def test_gradual_unfreezing_goes_down_to_the_embeddings_in_the_last_epoch():
    model = make_model("BertForSequenceClassification")
    lowest = []
    for epoch in range(5):  # two more than blocks: one layer an epoch, as in the paper
        unfreeze_gradually(model, epoch, 5)
        trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
        assert all(name in trained for name in all_names(model) if is_top(name))
        lowest.append(min((depth_of(name, 3) for name in trained), default=None))
    assert lowest == [4, 3, 2, 1, 0]
    assert all(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize("epochs", [2, 2.5, 3, 9])
def test_gradual_unfreezing_ends_with_everything_for_any_number_of_epochs(epochs: float):
    model = make_model("BertForSequenceClassification")
    unfreeze_gradually(model, 0, epochs)
    assert {name for name, parameter in model.named_parameters() if parameter.requires_grad} == {
        name for name in all_names(model) if is_top(name)
    }
    unfreeze_gradually(model, math.ceil(epochs) - 1, epochs)
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_gradual_unfreezing_needs_two_epochs():
    with pytest.raises(InputError, match="takes two epochs or more: found 1"):
        unfreeze_gradually(make_model("BertForSequenceClassification"), 0, 1)


def test_layer_rates_by_hand():
    rates = {
        "classifier.weight": 1.0,
        "bert.pooler.dense.bias": 1.0,
        "bert.blocks.2.attention.output.weight": 0.5,
        "bert.blocks.0.feed_forward_norm.bias": 0.125,
        "bert.embeddings.word_embeddings.weight": 0.0625,
    }
    assert {name: layer_rate(name, 3, 0.5) for name in rates} == rates
    assert layer_rate("blocks.2.attention.output.weight", 3, 0.5) == 0.5  # a model without head


def test_reinitialized_blocks_are_new_and_the_others_are_not():
    model = make_model("BertForSequenceClassification")
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    reinitialize_top(model, 2)
    changed = {name for name, parameter in model.named_parameters() if not torch.equal(parameter, before[name])}
    assert changed == {
        name for name in all_names(model) if name.startswith(("bert.blocks.1.", "bert.blocks.2.", "bert.pooler."))
    }
    assert model.bert.blocks[2].attention.output.weight.std() < 2 * SMALL.initializer_range
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    reinitialize_top(model, 0)
    changed = {name for name, parameter in model.named_parameters() if not torch.equal(parameter, before[name])}
    assert changed == {"bert.pooler.dense.weight"}  # the bias was 0 already
    with pytest.raises(InputError, match="has 3 blocks: 0 to 3 of them can be re-initialised, found 4"):
        reinitialize_top(model, 4)
    with pytest.raises(InputError, match="BertForTokenClassification has no pooler: re-initialise 1 to 3 blocks"):
        reinitialize_top(make_model("BertForTokenClassification"), 0)


# ------------------------------------------------------------------------------------------------ remembered features


@pytest.mark.parametrize("model_class", [BertForSequenceClassification, BertForTokenClassification])
def test_remembered_features_give_the_same_answers_and_are_computed_once(
    model_class: Any, monkeypatch: pytest.MonkeyPatch
):
    model = make_model(model_class.__name__)
    batch = make_batch(empty_row=True)
    expected = model(**batch).logits
    freeze(model, "encoder")
    remember_features(model)
    model.train()  # the features are without dropout all the same
    model.dropout.p = 0.0
    for order in ([0, 1, 2, 3, 4], [4, 2, 0, 1, 3]):
        shuffled = {key: value[order] for key, value in batch.items()}
        torch.testing.assert_close(model(**shuffled).logits, expected[order])
        monkeypatch.setattr(model.bert.blocks[0], "forward", None)  # calling it would fail


def test_the_head_on_remembered_features_learns():
    model = make_model("BertForSequenceClassification")
    freeze(model, "encoder")
    remember_features(model)
    with torch.inference_mode():
        model(**make_batch())  # as in an evaluation before training
    torch.manual_seed(0)
    assert moved_by_a_step(model) == {name for name in all_names(model) if is_top(name)}


def test_forgotten_features_are_computed_again():
    model = make_model("BertForSequenceClassification")
    freeze(model, "encoder")
    batch = make_batch()
    remember_features(model)
    before = model(**batch).logits
    model.bert.embeddings.word_embeddings.weight.data.mul_(2)
    assert torch.equal(model(**batch).logits, before)
    forget_features(model)
    assert not torch.allclose(model(**batch).logits, before)
    forget_features(model)  # there is nothing more to forget


def test_features_that_move_are_not_remembered():
    model = make_model("BertForSequenceClassification")
    freeze(model, 2)
    with pytest.raises(InputError, match=r"only if the encoder is frozen, but blocks\.2\.\S+ is trained"):
        remember_features(model)
    adapted = make_model("BertForSequenceClassification")
    adapt(adapted, LayerMix("learned"))
    with pytest.raises(InputError, match=r"but mix\.weights is trained"):
        remember_features(adapted)


# --------------------------------------------------------------------------------------------------------- adaptation


def expected_to_move(adaptation: Any, names: set[str]) -> set[str]:
    new = ("lora_", ".adapter.", ".prefix.", ".mix.")
    moved = {name for name in names if is_top(name) or any(part in name for part in new)}
    if isinstance(adaptation, BitFit):
        moved |= {name for name in names if name.endswith("bias")}
    if adaptation == Adapters("houlsby", size=3):
        moved |= {name for name in names if "blocks" in name and "norm" in name}
    return moved


@pytest.mark.parametrize("adaptation", ADAPTATIONS, ids=str)
def test_an_adaptation_moves_its_own_weights_and_the_head_alone(adaptation: Any):
    model = make_model("BertForSequenceClassification", FOUR_BLOCKS)
    adapt(model, adaptation)
    if isinstance(adaptation, Lora):
        take_a_step(model)  # in the first step, A gets no gradient, because B is 0
    moved = moved_by_a_step(model)
    assert moved == expected_to_move(adaptation, all_names(model))
    assert trained_parameters(model) == sum(p.numel() for name, p in model.named_parameters() if name in moved)


@pytest.mark.parametrize("adaptation", [Lora(), BitFit(), Adapters("houlsby"), Adapters("pfeiffer")], ids=str)
def test_training_begins_at_the_pretrained_model(adaptation: Any):
    model = make_model("BertForSequenceClassification")
    batch = make_batch()
    before = model(**batch).logits
    adapt(model, adaptation)
    torch.testing.assert_close(model(**batch).logits, before, rtol=0, atol=2e-3)


@pytest.mark.parametrize("adaptation", ADAPTATIONS[:3] + ADAPTATIONS[4:6], ids=str)
def test_every_new_parameter_changes_the_answer(adaptation: Any):
    model = make_model("BertForSequenceClassification", FOUR_BLOCKS)
    adapt(model, adaptation)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data.normal_(std=0.3)
    batch = make_batch()
    before = model(**batch).logits
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and not is_top(name) and "norm" not in name:
            kept = parameter.data.clone()
            parameter.data += torch.randn_like(kept)
            assert not torch.allclose(model(**batch).logits, before), f"{name} has no effect"
            parameter.data.copy_(kept)


def test_one_adaptation_at_a_time():
    model = make_model("BertForSequenceClassification")
    adapt(model, BitFit())
    with pytest.raises(InputError, match=r"has BitFit\(\) already: one adaptation at a time"):
        adapt(model, Prefix())


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Lora(rank=0), "a rank of 1 or more, a whole number, and an alpha above 0: found 0, 8.0"),
        (lambda: Lora(rank=2.5), "a rank of 1 or more, a whole number, .* found 2.5, 8.0"),  # type: ignore[arg-type]
        (lambda: Lora(targets=("query", "head")), "targets of LoRA are some of query, .* found 'query,head'"),
        (lambda: Lora(targets=()), "targets of LoRA"),
        (lambda: Lora(targets=("query", "query")), "each once: found 'query,query'"),
        (lambda: Adapters("wide"), "of the kind houlsby or pfeiffer"),
        (lambda: Adapters(size=0), "at least 1 wide: found pfeiffer, 0"),
        (lambda: Prefix(0), "a length of at least 1: found 0"),
        (lambda: LayerMix("first"), "'last_four' or 'learned': found 'first'"),
        (lambda: adapt(make_model("BertModel"), LayerMix("last_four")), "has 3 blocks, too few"),
    ],
)
def test_settings_that_cannot_be_get_a_sentence(make: Any, sentence: str):
    with pytest.raises(InputError, match=sentence):
        make()


# --------------------------------------------------------------------------------------------------------------- LoRA


def with_random_lora(model: Any, lora: Lora) -> Any:
    adapt(model, lora)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.3)
    return model


@settings(max_examples=20, deadline=None)
@given(st.sets(st.sampled_from(ALL_TARGETS), min_size=1), st.integers(1, 8), st.sampled_from([1.0, 8.0, 16.0]))
def test_merging_lora_changes_no_answer(targets: set[str], rank: int, alpha: float):
    torch.manual_seed(0)
    model = make_model("BertForPreTraining").double()
    batch = make_batch()
    plain = model(**batch).prediction_logits
    names = set(model.state_dict())
    with_random_lora(model, Lora(rank, alpha, tuple(sorted(targets))))
    adapted = model(**batch).prediction_logits
    merge_lora(model)
    torch.testing.assert_close(model(**batch).prediction_logits, adapted, rtol=0, atol=1e-12)
    assert not torch.allclose(adapted, plain)
    assert set(model.state_dict()) == names
    assert all(type(module).__name__ != "LoraLinear" for module in model.modules())


def test_lora_on_the_query_leaves_key_and_value_alone():
    model = with_random_lora(make_model("BertModel"), Lora(targets=("query",)))
    plain = make_model("BertModel")
    plain.load_state_dict({name: t for name, t in model.state_dict().items() if "updates" not in name})
    hidden = torch.randn(5, 20)
    ours = model.blocks[0].attention.query_key_value(hidden)
    theirs = plain.blocks[0].attention.query_key_value(hidden)
    assert (ours != theirs).any(dim=0).tolist() == [True] * 20 + [False] * 40


def test_a_model_without_lora_cannot_be_merged():
    with pytest.raises(InputError, match="no LoRA in this model"):
        merge_lora(make_model("BertModel"))


# ------------------------------------------------------------------------------------------------------- prefix tuning


def test_a_prefix_is_keys_and_values_in_front():
    model = make_model("BertModel")
    adapt(model, Prefix(3))
    attention = model.blocks[1].attention
    for parameter in attention.prefix.parameters():
        parameter.data.normal_()
    layout = Layout.from_lengths(torch.tensor([5]))
    hidden = torch.randn(5, SMALL.hidden_size)
    split = attention.query_key_value(hidden).unflatten(1, (3, attention.heads, attention.head_dim))
    query, key, value = split.transpose(0, 2).unbind(1)  # each (heads, tokens, head_dim)
    key = torch.cat([attention.prefix.key.transpose(0, 1), key], dim=1)
    value = torch.cat([attention.prefix.value.transpose(0, 1), value], dim=1)
    context = F.scaled_dot_product_attention(query, key, value).transpose(0, 1)
    found, _ = attention(hidden, layout, layout, minibert_attention("eager"))
    torch.testing.assert_close(found, attention.output(context.flatten(1)))


@pytest.mark.parametrize("attention", ["sdpa", "packed"])
def test_a_prefix_is_the_same_for_every_attention_implementation(attention: str):
    model = make_model("BertForSequenceClassification")
    adapt(model, Prefix(3))
    batch = make_batch()
    with torch.no_grad():
        expected = model(**batch).logits
        model.bert.attend = minibert_attention(attention)
        torch.testing.assert_close(model(**batch).logits, expected, rtol=0, atol=1e-5)


def minibert_attention(name: str) -> Any:
    from minibert.attention import get_attention

    return get_attention(name)


def test_a_prefix_looks_the_same_from_every_row_whatever_its_padding():
    model = make_model("BertModel")
    adapt(model, Prefix(3))
    batch = make_batch(empty_row=True)
    together = model(**batch).last_hidden_state
    for row, real in enumerate(batch["attention_mask"].bool()[:4]):
        alone = model(**{key: value[row : row + 1, real] for key, value in batch.items()}).last_hidden_state
        torch.testing.assert_close(alone[0], together[row, real], rtol=0, atol=1e-5)
    assert not together[4].any()


def test_all_blocks_share_the_layout_with_the_prefix(monkeypatch: pytest.MonkeyPatch):
    model = make_model("BertModel")
    adapt(model, Prefix(3))
    batch = model.pack(**make_batch())
    from_mask, made = Layout.from_mask, []

    def record(mask: Tensor) -> Layout:
        made.append(mask.shape)
        return from_mask(mask)

    monkeypatch.setattr(Layout, "from_mask", record)
    model.encode(batch)
    assert made == [(4, 19)]


def test_the_probabilities_show_the_prefix_in_front():
    model = make_model("BertModel")
    adapt(model, Prefix(3))
    attentions = model(**make_batch(), output_attentions=True).attentions
    assert attentions[0].shape == (4, 5, 16, 19)
    assert (attentions[0][..., :3].sum() > 0).item()


# -------------------------------------------------------------------------------------------------------- layer mixing


def test_the_mean_of_the_last_four_is_what_it_says():
    model = make_model("BertForTokenClassification", FOUR_BLOCKS)
    batch = make_batch(FOUR_BLOCKS)
    states = model(**batch, output_hidden_states=True).hidden_states
    expected = model.classifier(sum(states[-4:]) / 4) * batch["attention_mask"].unsqueeze(-1)
    adapt(model, LayerMix("last_four"))
    torch.testing.assert_close(model(**batch).logits, expected)
    again = model(**batch, output_hidden_states=True).hidden_states
    assert all(torch.equal(a, b) for a, b in zip(again, states, strict=True))


def test_a_learned_mix_is_elmos():
    model = make_model("BertModel")
    batch = make_batch()
    states = model(**batch, output_hidden_states=True).hidden_states
    adapt(model, LayerMix("learned"))
    model.mix.weights.data = torch.tensor([0.1, -2.0, 1.0, 0.4])
    model.mix.scale.data.fill_(3.0)
    shares = 3 * torch.softmax(model.mix.weights, 0)
    expected = sum(share * state for share, state in zip(shares, states, strict=True))
    output = model(**batch)
    torch.testing.assert_close(output.last_hidden_state, expected)
    torch.testing.assert_close(output.pooler_output, torch.tanh(model.pooler.dense(expected[:, 0])))


# ---------------------------------------------------------------------------------------------------------- the files


@pytest.fixture
def base(tmp_path: Path) -> Path:
    folder = tmp_path / "base"
    make_model("BertForSequenceClassification", FOUR_BLOCKS).save_pretrained(folder)
    return folder


def adapted(base: Path, adaptation: Any) -> Any:
    """A model from the base, adapted and trained a little."""
    model = BertForSequenceClassification.from_pretrained(base, attn_implementation="eager")
    adapt(model, adaptation)
    for seed in range(2):
        take_a_step(model, seed)
    return model.eval()


@pytest.mark.parametrize("adaptation", ADAPTATIONS, ids=str)
def test_an_adapter_holds_only_what_was_trained_and_loads_onto_the_base(adaptation: Any, base: Path, tmp_path: Path):
    model = adapted(base, adaptation)
    size = save_adapter(model, tmp_path / "adapter")
    assert size == (tmp_path / "adapter" / "adapter_model.safetensors").stat().st_size
    header = int.from_bytes((tmp_path / "adapter" / "adapter_model.safetensors").read_bytes()[:8], "little")
    assert size == 8 + header + 4 * trained_parameters(model)
    if not isinstance(adaptation, Lora):  # whose names are PEFT's: see below
        trained = {name: parameter.data for name, parameter in model.named_parameters() if parameter.requires_grad}
        saved = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
        assert saved.keys() == trained.keys()
        assert all(torch.equal(saved[name], trained[name]) for name in trained)
    batch = make_batch()
    expected = model(**batch).logits

    again = BertForSequenceClassification.from_pretrained(tmp_path / "adapter")
    torch.testing.assert_close(again(**batch).logits, expected, rtol=0, atol=1e-5)
    onto = BertForSequenceClassification.from_pretrained(base)
    load_adapter(onto, tmp_path / "adapter")
    torch.testing.assert_close(onto(**batch).logits, expected, rtol=0, atol=1e-5)
    assert again.adaptation == model.adaptation
    model.requires_grad_(False)  # nothing of it would be saved
    with pytest.raises(InputError, match="save it before freezing"):
        save_adapter(model, tmp_path / "adapter")


def test_a_file_of_adapters_means_what_their_formula_says(tmp_path: Path):
    """It is written by hand, for a fault in saving could hide one in loading."""
    base = make_model("BertModel", SMALL.replace(num_hidden_layers=1))
    base.save_pretrained(tmp_path / "base")
    hidden, size = SMALL.hidden_size, 2
    down, up = torch.randn(size, hidden), torch.randn(hidden, size)
    down_bias, up_bias = torch.randn(size), torch.randn(hidden)
    tensors = {
        "blocks.0.feed_forward_norm.adapter.down.weight": down,
        "blocks.0.feed_forward_norm.adapter.down.bias": down_bias,
        "blocks.0.feed_forward_norm.adapter.up.weight": up,
        "blocks.0.feed_forward_norm.adapter.up.bias": up_bias,
        "pooler.dense.weight": torch.randn(hidden, hidden),
        "pooler.dense.bias": torch.randn(hidden),
    }
    values = {"method": "adapters", "settings": {"kind": "pfeiffer", "size": size}}
    values["base_model_name_or_path"] = str(tmp_path / "base")
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "adapter_config.json").write_text(json.dumps(values))
    save_file(tensors, tmp_path / "adapter" / "adapter_model.safetensors")

    batch = make_batch()
    states = base(**batch).last_hidden_state
    expected = states + F.gelu(states @ down.T + down_bias) @ up.T + up_bias
    model = BertModel.from_pretrained(tmp_path / "adapter")
    real = batch["attention_mask"].bool()
    torch.testing.assert_close(model(**batch).last_hidden_state[real], expected[real])


@pytest.mark.parametrize(
    "head", ["BertForMaskedLM", "BertForPreTraining", "BertForQuestionAnswering", "BertForMultipleChoice", "BertModel"]
)
@pytest.mark.parametrize("adaptation", [Lora(2), Prefix(2)], ids=str)
def test_adapters_work_for_every_head(head: str, adaptation: Any, tmp_path: Path):
    make_model(head).save_pretrained(tmp_path / "base")
    model = type(make_model(head)).from_pretrained(tmp_path / "base")
    adapt(model, adaptation)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data.normal_(std=0.3)
    save_adapter(model, tmp_path / "adapter")
    again = type(model).from_pretrained(tmp_path / "adapter")
    assert all(torch.equal(tensor, again.state_dict()[name]) for name, tensor in model.state_dict().items())


def test_an_adapter_without_its_base_says_which_it_needs(base: Path, tmp_path: Path):
    save_adapter(adapted(base, Prefix(2)), tmp_path / "adapter")
    base.rename(tmp_path / "moved")
    with pytest.raises(InputError, match=r"adapter is an adapter on the base \S+base, which cannot be loaded: "):
        BertForSequenceClassification.from_pretrained(tmp_path / "adapter")


def test_a_new_head_in_an_adapter_is_announced_neither_missing_nor_lost(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    make_model("BertModel").save_pretrained(tmp_path / "base")
    model = BertForSequenceClassification.from_pretrained(
        tmp_path / "base", id2label={0: "bad", 1: "good", 2: "neither"}
    )
    assert "classifier.weight" in caplog.text
    caplog.clear()
    adapt(model, Lora(2))
    take_a_step(model)
    save_adapter(model, tmp_path / "adapter")
    again = BertForSequenceClassification.from_pretrained(tmp_path / "adapter")
    assert caplog.text == ""
    assert again.config.id2label == {0: "bad", 1: "good", 2: "neither"}
    torch.testing.assert_close(again.classifier.weight, model.classifier.weight)
    given = again.config.replace(hidden_dropout_prob=0.0)  # goes before what the adapter's own says
    assert BertForSequenceClassification.from_pretrained(tmp_path / "adapter", config=given).config == given


def test_what_would_mean_something_else_is_not_saved_as_a_bert(base: Path, tmp_path: Path):
    for adaptation in ADAPTATIONS:
        model = adapted(base, adaptation)
        if isinstance(adaptation, BitFit):
            model.save_pretrained(tmp_path / "whole")
            batch = make_batch()
            theirs = transformers.BertForSequenceClassification.from_pretrained(tmp_path / "whole").eval()
            torch.testing.assert_close(theirs(**batch).logits[0], model(**batch).logits[0], rtol=0, atol=1e-4)
        else:
            with pytest.raises(InputError, match=r"more than a BERT, it has .*save_adapter"):
                model.save_pretrained(tmp_path / "no")
            assert not (tmp_path / "no").exists()


def test_an_adapter_at_home_is_found(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    model = adapted(base, Adapters(size=2))
    save_adapter(model, tmp_path / "adapter")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    again = BertForSequenceClassification.from_pretrained("~/adapter")
    assert again.adaptation == model.adaptation


def test_a_whole_model_and_an_adapter_do_not_hide_each_other(base: Path, tmp_path: Path):
    model = adapted(base, Lora(2))
    with pytest.raises(InputError, match="is the base model, which the adapter needs as it is"):
        save_adapter(model, base)
    save_adapter(model, tmp_path / "adapter")
    files = {path: path.read_bytes() for path in (tmp_path / "adapter").iterdir()}
    merge_lora(model)
    with pytest.raises(InputError, match="holds an adapter, and would be opened as that one still"):
        model.save_pretrained(tmp_path / "adapter")
    assert {path: path.read_bytes() for path in (tmp_path / "adapter").iterdir()} == files
    BertForSequenceClassification.from_pretrained(base)


def test_merged_lora_opens_in_transformers(base: Path, tmp_path: Path):
    model = adapted(base, Lora(2, targets=ALL_TARGETS))
    batch = make_batch()
    expected = model(**batch).logits
    merge_lora(model)
    model.save_pretrained(tmp_path / "merged")
    theirs = transformers.BertForSequenceClassification.from_pretrained(tmp_path / "merged").eval()
    torch.testing.assert_close(theirs(**batch).logits, expected, rtol=0, atol=1e-4)


def test_another_base_and_broken_adapters_get_a_sentence(base: Path, tmp_path: Path):
    folder = tmp_path / "adapter"
    save_adapter(adapted(base, Adapters(size=2)), folder)
    other = make_model("BertForSequenceClassification", FOUR_BLOCKS)
    with pytest.raises(InputError, match="trained on a base with other weights than those of this model"):
        load_adapter(other, folder)
    with pytest.raises(InputError, match=r"does not fit this model: .* is unknown"):
        load_adapter(make_model("BertForSequenceClassification"), folder)
    with pytest.raises(InputError, match="is no adapter"):
        load_adapter(make_model("BertForSequenceClassification"), base)
    with pytest.raises(InputError, match="no adapter to save"):
        save_adapter(make_model("BertForSequenceClassification"), folder)

    settings = json.loads((folder / "adapter_config.json").read_text())
    lora = {"peft_type": "LORA", "r": 2, "lora_alpha": 2, "target_modules": ["query"]}
    for changes, sentence in [
        ({"base_model_name_or_path": None}, "does not name its base model"),
        ({"method": "magic"}, "the method is 'magic'; minibert knows adapters"),
        ({"method": ["adapters"]}, r"the method is \['adapters'\]"),
        ({"settings": {"width": 3}}, r"the settings of 'adapters' are kind \(str\), size \(int\): found {'width': 3}"),
        ({"settings": []}, r"the settings of 'adapters' are .*: found \[\]"),
        ({"settings": {"kind": "houlsby", "size": 2}}, "does not fit this model"),
        ({"settings": {"kind": "pfeiffer", "size": "two"}}, "the settings of 'adapters' are"),
        ({"settings": {"kind": "pfeiffer", "size": 2.5}}, "the settings of 'adapters' are"),
        ({"settings": {"kind": "pfeiffer", "size": 10**12}}, "size 1000000000000 is too much for the .* bytes of"),
        ({"settings": {"kind": "../pfeiffer"}}, r"of the kind houlsby or pfeiffer .*: found \.\./pfeiffer"),
        (
            {"base_model_name_or_path": str(folder)},
            "is an adapter on the base .*, which cannot be loaded: .* is missing",
        ),
        ({"base_model_name_or_path": "no/such/../folder"}, "neither a file or folder here nor a known model"),
        ({"base_model_name_or_path": "a\0b"}, "neither a file or folder here nor a known model"),
        ({"base_model_name_or_path": "x" * 300}, "neither a file or folder here nor a known model"),
        ({"peft_type": "IA3"}, "peft_type is 'IA3'"),
        ({"peft_type": ["LORA"]}, r"peft_type is \['LORA'\]"),
        ({"peft_type": "LORA"}, "'r' and 'lora_alpha' and a list 'target_modules' are needed"),
        ({**lora, "r": "two"}, "'r' and 'lora_alpha' and a list"),
        ({**lora, "r": True}, "'r' and 'lora_alpha' and a list"),
        ({**lora, "r": 10**12}, "rank 1000000000000 is too much"),
        ({**lora, "r": -1}, "a rank of 1 or more"),
        ({**lora, "lora_alpha": 10**400}, "'r' and 'lora_alpha' and a list"),
        ({**lora, "lora_alpha": float("nan")}, "'r' and 'lora_alpha' and a list"),
        ({**lora, "target_modules": [3, None, "../query"]}, "'r' and 'lora_alpha' and a list"),
        ({**lora, "target_modules": "all-linear"}, "'r' and 'lora_alpha' and a list"),
    ]:
        (folder / "adapter_config.json").write_text(json.dumps(settings | changes))
        with pytest.raises(InputError, match=sentence):
            BertForSequenceClassification.from_pretrained(folder)
    for content, sentence in [
        (b"{", "is no readable JSON"),
        (b"\xff", "is no readable JSON"),
        (b"[]", "must be a JSON object"),
        (b"[" * 100_000, "is no readable JSON"),
    ]:
        (folder / "adapter_config.json").write_bytes(content)
        with pytest.raises(InputError, match=sentence):
            BertForSequenceClassification.from_pretrained(folder)
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    (folder / "adapter_model.safetensors").write_bytes(b"broken" * 1000)
    with pytest.raises(InputError, match="is no readable file of an adapter"):
        BertForSequenceClassification.from_pretrained(folder)
    (folder / "adapter_model.safetensors").unlink()
    with pytest.raises(InputError, match=r"has no adapter_model\.safetensors: it is no whole adapter"):
        BertForSequenceClassification.from_pretrained(folder)


# --------------------------------------------------------------------------------------------------------------- PEFT


@pytest.fixture(scope="module")
def peft() -> Any:
    return pytest.importorskip("peft", reason="needs the extra: pip install -e '.[dev]'")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("targets", [("query", "value"), ALL_TARGETS], ids=str)
@pytest.mark.parametrize("head", ["BertForSequenceClassification", "BertForTokenClassification", "BertModel"])
def test_peft_opens_our_lora_with_the_same_answers(peft: Any, head: str, targets: tuple[str, ...], tmp_path: Path):
    make_model(head).save_pretrained(tmp_path / "base")
    model = type(make_model(head)).from_pretrained(tmp_path / "base", attn_implementation="eager")
    with_random_lora(model, Lora(2, 8.0, targets))
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data += 0.1
    save_adapter(model, tmp_path / "adapter")
    theirs = peft.PeftModel.from_pretrained(
        getattr(transformers, head).from_pretrained(tmp_path / "base"), tmp_path / "adapter"
    ).eval()
    batch = {"input_ids": torch.randint(61, (3, 9))}
    for ours, their in zip(answers(model(**batch)), answers(theirs(**batch)), strict=True):
        torch.testing.assert_close(ours, their, rtol=0, atol=1e-4)


@pytest.mark.filterwarnings("ignore")
def test_minibert_opens_the_lora_of_peft(peft: Any, tmp_path: Path):
    make_model("BertForSequenceClassification").save_pretrained(tmp_path / "base")
    plain = transformers.BertForSequenceClassification.from_pretrained(tmp_path / "base")
    config = peft.LoraConfig(r=3, lora_alpha=6, target_modules=["key", "intermediate.dense"], task_type="SEQ_CLS")
    theirs = peft.get_peft_model(plain, config).eval()
    for name, parameter in theirs.named_parameters():
        if "lora_B" in name or "classifier" in name:
            torch.nn.init.normal_(parameter, std=0.3)
    theirs.save_pretrained(tmp_path / "adapter")
    ours = BertForSequenceClassification.from_pretrained(tmp_path / "adapter", num_labels=7)
    assert ours.adaptation == Lora(3, 6.0, ("key", "intermediate"))
    batch = {"input_ids": torch.randint(61, (3, 9))}
    torch.testing.assert_close(ours(**batch).logits, theirs(**batch).logits, rtol=0, atol=1e-4)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("beginning", [True, False, "gaussian", "orthogonal", "pissa", "olora"])
def test_a_lora_of_peft_that_has_changed_its_base_is_refused(peft: Any, beginning: Any, tmp_path: Path):
    make_model("BertForSequenceClassification").save_pretrained(tmp_path / "base")
    plain = transformers.BertForSequenceClassification.from_pretrained(tmp_path / "base")
    before = plain.bert.encoder.layer[0].attention.self.query.weight.detach().clone()
    config = peft.LoraConfig(r=4, target_modules=["query"], task_type="SEQ_CLS", init_lora_weights=beginning)
    theirs = peft.get_peft_model(plain, config).eval()
    theirs.save_pretrained(tmp_path / "adapter")
    if torch.equal(plain.bert.encoder.layer[0].attention.self.query.weight, before):
        ours = BertForSequenceClassification.from_pretrained(tmp_path / "adapter")
        batch = {"input_ids": torch.randint(61, (3, 9))}
        torch.testing.assert_close(ours(**batch).logits, theirs(**batch).logits, rtol=0, atol=1e-4)
    else:
        assert beginning in ("pissa", "olora")
        with pytest.raises(InputError, match=f"'{beginning}': such a LoRA begins by changing the base's weights"):
            BertForSequenceClassification.from_pretrained(tmp_path / "adapter")


@pytest.mark.parametrize(
    "change",
    [{"use_dora": True}, {"rank_pattern": {"query": 3}}, {"bias": "all"}, {"alora_invocation_tokens": [5, 6]}],
)
def test_other_kinds_of_lora_are_refused(change: dict[str, Any], base: Path, tmp_path: Path):
    save_adapter(adapted(base, Lora(2)), tmp_path)
    path = tmp_path / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(InputError, match=rf"'{next(iter(change))}' is .*; minibert's LoRA is only that with"):
        BertForSequenceClassification.from_pretrained(tmp_path)


def answers(output: Any) -> list[Tensor]:
    return [output.logits] if hasattr(output, "logits") else [output.last_hidden_state, output.pooler_output]
