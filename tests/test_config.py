"""The config: what it refuses, and that it survives a file."""

from __future__ import annotations

import dataclasses
import json
import re
from typing import Any

import pytest
import transformers
from hypothesis import given
from hypothesis import strategies as st

from minibert import BertConfig, InputError
from minibert.config import BOOKKEEPING, PRESETS, SET_ELSEWHERE
from minibert.tasks.classification import ClassificationTask
from minibert.tasks.task import Columns

configs = st.builds(
    lambda heads, head_dim, labels, **rest: BertConfig(
        num_attention_heads=heads,
        hidden_size=heads * head_dim,
        num_labels=max(1, len(labels)),
        id2label=dict(enumerate(labels)) or None,  # type: ignore[arg-type]  # None names them
        **rest,
    ),
    heads=st.integers(1, 16),
    head_dim=st.integers(1, 128),
    labels=st.lists(st.text(), unique=True, max_size=5),
    vocab_size=st.integers(1, 10**6),
    num_hidden_layers=st.integers(1, 48),
    intermediate_size=st.integers(1, 10**5),
    hidden_act=st.sampled_from(["gelu", "gelu_new", "relu", "tanh"]),
    hidden_dropout_prob=st.floats(0, 0.99),
    classifier_dropout=st.none() | st.floats(0, 0.99),
    max_position_embeddings=st.integers(1, 4096),
    layer_norm_eps=st.sampled_from([1e-12, 1e-5]),
    problem_type=st.sampled_from([None, "regression", "multi_label_classification"]),
)


@given(configs)
def test_a_config_survives_json(config: BertConfig):
    assert BertConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize("size", PRESETS)
def test_every_key_that_transformers_writes_can_be_read(size: str):
    config = BertConfig.preset(size, num_labels=3)
    theirs = transformers.BertConfig(**config.to_dict(), architectures=["BertModel"])
    assert BertConfig.from_dict(json.loads(theirs.to_json_string(use_diff=False))) == dataclasses.replace(
        config, id2label={0: "LABEL_0", 1: "LABEL_1", 2: "LABEL_2"}
    )


def test_transformers_reads_what_is_written():
    config = BertConfig.preset("mini", id2label={0: "no", 1: "yes", 2: "perhaps"}, hidden_act="gelu_new")
    theirs = transformers.BertConfig(**config.to_dict())
    assert (theirs.num_labels, theirs.id2label[2], theirs.label2id["yes"]) == (3, "perhaps", 1)
    for name in ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "hidden_act"):
        assert getattr(theirs, name) == getattr(config, name)


def test_googles_file_is_read(google_dir):
    config = BertConfig.from_json_file(google_dir / "bert_config.json")
    assert (config.vocab_size, config.hidden_size, config.num_hidden_layers) == (2000, 128, 2)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"hiden_size": 3}, "'hiden_size' is no known key. The nearest known one is 'hidden_size'"),
        ({"num_hidden_layer": 3}, "The nearest known one is 'num_hidden_layers'"),
        ({"hidden_size": 10, "num_attention_heads": 4}, "hidden_size must be a multiple of num_attention_heads"),
        ({"hidden_size": 0}, "hidden_size must be a whole number, 1 to 16,777,216: found 0"),
        ({"vocab_size": 10**20}, "vocab_size must be a whole number, 1 to 16,777,216: found 1000"),
        ({"num_hidden_layers": 10**9}, "num_hidden_layers must be a whole number, 1 to 10,000: found 1000"),
        ({"hidden_size": "768"}, "found '768'"),
        ({"num_hidden_layers": True}, "found True"),
        ({"hidden_dropout_prob": 1}, r"hidden_dropout_prob must be in \[0, 1\): found 1"),
        ({"hidden_act": "gelu_fast"}, "hidden_act must be one of gelu, gelu_new, relu, tanh: found 'gelu_fast'"),
        ({"hidden_act": ["gelu"]}, "hidden_act must be one of"),
        ({"layer_norm_eps": float("nan")}, "layer_norm_eps must be a positive number"),
        ({"pad_token_id": 30522}, "pad_token_id must be below vocab_size, 30522"),
        ({"id2label": {"0": "a", "2": "b"}}, r"id2label must name the labels 0 to 1 .*found \[0, 2\]"),
        ({"id2label": {"zero": "a"}}, r"as in {\"0\": .*found {'zero': 'a'}"),
        ({"id2label": ["a"]}, r"as in {\"0\": .*found \['a'\]"),
        ({"label2id": {"a": [0]}}, r"label2id a number for each name: found {'a': \[0\]}"),
        ({"label2id": {"a": None}}, "config: "),
        ({"num_labels": 3, "id2label": {"0": "a"}}, "id2label must name the labels 0 to 2"),
        ({"model_type": "roberta"}, "model_type is 'roberta', but minibert reads only 'bert'"),
        ({"position_embedding_type": "relative_key"}, "'relative_key', but BERT has 'absolute'"),
        ({"is_decoder": True}, "'is_decoder' is True, but BERT has False"),
        ({"tie_word_embeddings": False}, "'tie_word_embeddings' is False"),
    ],
)
def test_what_cannot_be_a_bert_gets_a_sentence(values: dict[str, object], sentence: str):
    with pytest.raises(InputError, match=sentence):
        BertConfig.from_dict(values)


def test_the_constructor_takes_what_that_of_transformers_takes():
    names = {0: "no", 1: "yes", 2: "perhaps"}
    settings: dict[str, Any] = {"id2label": names, "label2id": {name: number for number, name in names.items()}}
    settings |= {"position_embedding_type": "absolute", "use_cache": False, "bos_token_id": 0}
    config, theirs = BertConfig(**settings), transformers.BertConfig(**settings)
    assert (config.num_labels, config.id2label) == (theirs.num_labels, theirs.id2label)
    assert config == config.replace() == dataclasses.replace(config)


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ({"hiden_size": 3}, "'hiden_size' is no known key. The nearest known one is 'hidden_size'"),
        ({"is_decoder": True}, "'is_decoder' is True, but BERT has False"),
        ({"gradient_checkpointing": True}, "does not set 'gradient_checkpointing' here: TrainingArguments takes it"),
    ],
)
def test_a_constructor_that_cannot_do_what_is_asked_says_so(setting: dict[str, object], sentence: str):
    with pytest.raises(InputError, match=sentence):
        BertConfig(**setting)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("content", "sentence"), [(b"{", "no readable JSON"), (b"[]", "a JSON object"), (b"\xff", "JSON")]
)
def test_a_broken_file_is_named(tmp_path, content: bytes, sentence: str):
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(InputError, match=sentence) as caught:
        BertConfig.from_json_file(tmp_path / "config.json")
    assert str(tmp_path / "config.json") in str(caught.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    for path in (tmp_path / "config.json", tmp_path):
        with pytest.raises(InputError, match=rf"{re.escape(str(path))} cannot be read"):
            BertConfig.from_json_file(path)


def test_an_unknown_preset_names_those_there_are():
    with pytest.raises(InputError, match=r"no preset 'huge'\. The presets are tiny, mini, small, medium, base, large"):
        BertConfig.preset("huge")


def test_a_new_number_of_labels_forgets_their_names():
    config = BertConfig(id2label={0: "no", 1: "yes"})
    assert config.replace(num_labels=3).id2label == {0: "LABEL_0", 1: "LABEL_1", 2: "LABEL_2"}
    assert config.replace(num_labels=2).id2label == {0: "no", 1: "yes"}
    assert config.replace(id2label={0: "a", 1: "b", 2: "c"}).num_labels == 3
    assert config.replace(hidden_act="relu").id2label == {0: "no", 1: "yes"}
    assert config.label2id == {"no": 0, "yes": 1}


@pytest.mark.parametrize("change", [{"num_labels": 1}, {"id2label": {0: "score"}}])
def test_a_single_label_is_for_a_number_whatever_the_labels_were_for_before(change: dict[str, object], tmp_path):
    classifier = BertConfig(num_labels=3, problem_type="single_label_classification")
    assert classifier.replace(num_labels=2).problem_type == "single_label_classification"
    classifier.replace(**change).save_pretrained(tmp_path)
    assert transformers.BertConfig.from_pretrained(tmp_path).problem_type is None


def test_labels_stand_in_the_order_of_the_logits_whatever_the_order_of_the_file():
    """A program that sorts the keys of JSON as texts puts "10" before "2", and labels by the alphabet."""
    names = [f"label {number}" for number in range(12)]
    by_text = {str(number): names[number] for number in sorted(range(12), key=str)}
    assert list(by_text.values()) != names
    for values in ({"id2label": by_text}, {"label2id": {label: int(number) for number, label in by_text.items()}}):
        config = BertConfig.from_dict(values)
        assert list(config.id2label.values()) == names
        assert ClassificationTask.from_config(config, Columns()).names == names


def test_labels_without_names_are_numbered_as_in_transformers():
    config = BertConfig(num_labels=3)
    assert config.id2label == transformers.BertConfig(num_labels=3).id2label
    assert dataclasses.replace(config, num_labels=1).label2id == {"LABEL_0": 0}
    assert "id2label" not in config.to_dict()


def test_what_libraries_on_top_write_into_a_config_is_read_over():
    found = {
        "_num_labels": 9,
        "sentence_transformers": {"version": "5"},
        "xla_device": True,
        "quantization_config": None,
    }
    assert BertConfig.from_dict(found) == BertConfig()
    with pytest.raises(InputError, match="'quantization_config' is"):
        BertConfig.from_dict({"quantization_config": {"bits": 4}})


def test_a_config_cannot_be_changed_in_place():
    with pytest.raises(dataclasses.FrozenInstanceError):
        BertConfig().hidden_size = 3  # type: ignore[misc]


def test_book_keeping_hides_no_field():
    assert SET_ELSEWHERE.keys() <= BOOKKEEPING
    assert not BOOKKEEPING & {field.name for field in dataclasses.fields(BertConfig)}
