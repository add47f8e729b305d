"""Lines from other people's notebooks, run with `transformers` and with minibert: the answers are the same."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor

import minibert
from minibert import BertConfig, InputError

from .helpers import PEERS, SMALL, make_model

IDS = torch.arange(4, 24).reshape(2, 10)
LIBRARIES = [transformers, minibert]
SHARED = [name for name, peer in PEERS.items() if name == peer]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A saved model, which both libraries open."""
    make_model("BertForPreTraining", SMALL.replace(num_labels=2)).save_pretrained(tmp_path / "bert")
    return tmp_path / "bert"


def with_equal_heads(model: Any) -> Any:
    """The weights of a new head are drawn at random; here they are these."""
    for name in ("classifier", "qa_outputs"):
        if hasattr(model, name):
            weight = getattr(model, name).weight
            weight.data = torch.linspace(-1, 1, weight.numel()).reshape(weight.shape)
            getattr(model, name).bias.data.fill_(0.1)
    return model


def assert_same(ours: Any, theirs: Any) -> None:
    assert len(ours) == len(theirs)
    for our_part, their_part in zip(ours, theirs, strict=True):
        if isinstance(their_part, Tensor):
            torch.testing.assert_close(our_part, their_part, rtol=1e-4, atol=1e-4)
        else:
            assert_same(our_part, their_part)


@pytest.mark.parametrize("name", SHARED)
def test_a_call_returns_a_plain_tuple_where_it_says_so(name: str, folder: Path):
    ids = IDS.unsqueeze(0) if name == "BertForMultipleChoice" else IDS

    def snippet(library: ModuleType) -> tuple[Any, Any]:
        model = with_equal_heads(getattr(library, name).from_pretrained(folder))
        with torch.no_grad():
            return model(ids, return_dict=False), model(ids, return_dict=True).to_tuple()

    theirs, ours = map(snippet, LIBRARIES)
    assert type(ours[0]) is tuple
    assert_same(ours, theirs)


@pytest.mark.parametrize("name", SHARED)
def test_states_and_attentions_that_the_config_asks_for_come_with_every_call(name: str, folder: Path, tmp_path: Path):
    ids = IDS.unsqueeze(0) if name == "BertForMultipleChoice" else IDS
    asked = {"output_hidden_states": True, "output_attentions": True}

    def snippet(library: ModuleType) -> Any:
        model_class = getattr(library, name)
        model = model_class.from_pretrained(folder, **asked, attn_implementation="eager")
        model.save_pretrained(tmp_path / library.__name__)
        config = library.BertConfig.from_pretrained(folder, **asked)
        with torch.no_grad():
            outputs = [
                model(ids),
                model_class.from_pretrained(folder, config=config, attn_implementation="eager")(ids),
                minibert_or_theirs(library, name, tmp_path)(ids),
            ]
            assert model(ids, output_hidden_states=False, output_attentions=False).hidden_states is None
            assert model(ids, output_attentions=False).attentions is None
        return [(output.hidden_states, output.attentions) for output in outputs]

    theirs, ours = map(snippet, LIBRARIES)
    assert len(ours[0][0]) == SMALL.num_hidden_layers + 1
    assert_same(ours, theirs)


def minibert_or_theirs(library: ModuleType, name: str, tmp_path: Path) -> Any:
    """What one library opens of what the other has saved, or transformers of its own, which comes first."""
    saved = tmp_path / "minibert" if (tmp_path / "minibert").is_dir() else tmp_path / "transformers"
    return getattr(library, name).from_pretrained(saved, attn_implementation="eager")


def test_only_what_was_asked_for_is_in_a_saved_config(tmp_path: Path):
    make_model("BertModel").save_pretrained(tmp_path)
    assert "output" not in (tmp_path / "config.json").read_text(encoding="utf-8")
    make_model("BertModel", SMALL.replace(output_attentions=True)).save_pretrained(tmp_path)
    values = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    assert values["output_attentions"] is True
    assert "output_hidden_states" not in values
    with pytest.raises(InputError, match="output_attentions must be true or false: found 'yes'"):
        SMALL.replace(output_attentions="yes")


def test_a_model_answers_for_its_numbers(folder: Path):
    def snippet(library: ModuleType) -> list[Any]:
        model = library.BertForTokenClassification.from_pretrained(folder, num_labels=3, dtype=torch.bfloat16)
        for parameter in model.base_model.parameters():
            parameter.requires_grad = False
        words = model.get_input_embeddings()
        return [
            model.device, model.dtype, model.num_labels, model.num_parameters(), model.num_parameters(True),
            words is model.bert.embeddings.word_embeddings, library.BertForMaskedLM(model.config).num_parameters(),
        ]  # fmt: skip

    theirs, ours = map(snippet, LIBRARIES)
    assert ours == theirs


@pytest.mark.parametrize("size", [70, 50])
@pytest.mark.parametrize("name", ["BertModel", "BertForMaskedLM", "BertForPreTraining"])
def test_a_model_takes_more_or_fewer_words(name: str, size: int, folder: Path, tmp_path: Path):
    model = getattr(minibert, name).from_pretrained(folder)
    before = model(IDS)[0][..., :50]
    words = model.resize_token_embeddings(size)
    assert words is model.get_input_embeddings()
    assert (words.num_embeddings, model.config.vocab_size, model.base_model.config.vocab_size) == (size, size, size)
    torch.testing.assert_close(model(IDS)[0][..., :50], before)
    model.save_pretrained(tmp_path / "resized")
    again = getattr(transformers, name).from_pretrained(tmp_path / "resized")
    assert_same(model(IDS).to_tuple(), again(IDS).to_tuple())
    assert again.get_input_embeddings().num_embeddings == size


def test_word_embeddings_can_be_replaced(folder: Path):
    def snippet(library: ModuleType) -> Any:
        model = library.BertModel.from_pretrained(folder)
        words = torch.nn.Embedding(80, SMALL.hidden_size)
        words.weight.data = torch.linspace(-1, 1, words.weight.numel()).reshape(words.weight.shape)
        model.set_input_embeddings(words)
        return model(IDS).to_tuple()

    theirs, ours = map(snippet, LIBRARIES)
    assert_same(ours, theirs)


def test_activations_are_checkpointed_by_a_word(folder: Path):
    def snippet(library: ModuleType) -> Any:
        model = with_equal_heads(
            library.BertForTokenClassification.from_pretrained(
                folder, num_labels=7, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0
            )
        )
        model.gradient_checkpointing_enable()
        model.train()
        loss = model(IDS, labels=IDS % 7).loss
        loss.backward()
        return loss.detach(), model.bert.embeddings.word_embeddings.weight.grad

    theirs, ours = map(snippet, LIBRARIES)
    assert_same(ours, theirs)


def test_a_head_of_another_size_is_left_out(folder: Path, tmp_path: Path):
    minibert.BertForSequenceClassification(SMALL.replace(num_labels=5)).save_pretrained(tmp_path / "five")
    options: Any = {"ignore_mismatched_sizes": True, "low_cpu_mem_usage": True, "torch_dtype": torch.float16}
    three = SMALL.replace(num_labels=3)
    model = minibert.BertForSequenceClassification.from_pretrained(tmp_path / "five", config=three, **options)
    assert (model.num_labels, model.dtype, sorted(model.new_weights)) == (
        3, torch.float16, ["classifier.bias", "classifier.weight"],
    )  # fmt: skip
    with pytest.raises(InputError, match=r"embeddings.word_embeddings.weight is \(61, 20\), not \(60, 20\)"):
        minibert.BertModel.from_pretrained(folder, vocab_size=60, ignore_mismatched_sizes=True)


def test_a_config_says_how_it_is_changed(tmp_path: Path):
    with pytest.raises(dataclasses.FrozenInstanceError, match=r"config = config\.replace\(num_labels=3\)"):
        SMALL.num_labels = 3  # type: ignore[misc]
    SMALL.save_pretrained(tmp_path / "config")
    assert BertConfig.from_json_file(tmp_path / "config" / "config.json") == SMALL
    assert transformers.BertConfig.from_pretrained(tmp_path / "config").num_labels == 7


def test_a_model_is_not_traced_for_one_batch_alone(folder: Path):
    model = minibert.BertModel.from_pretrained(folder)
    with pytest.raises(InputError, match="A traced model would go on with the lengths of this one batch"):
        torch.jit.trace(model, (IDS,))
