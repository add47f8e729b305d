"""Checkpoints written again in the other dialect, and looked over."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import minibert
from minibert.checkpoints import tensorflow
from minibert.checkpoints.convert import convert, verify
from minibert.errors import InputError
from minibert.transfer import Lora, adapt, save_adapter

from .helpers import SMALL, make_batch, make_model, word_tokenizer


@pytest.mark.parametrize("num_labels", [1, 2, 3])
def test_a_classifier_of_googles_has_as_many_classes_as_its_tensors(num_labels: int, tmp_path: Path):
    model = make_model("BertForSequenceClassification", SMALL.replace(num_labels=num_labels, hidden_act="gelu_new"))
    model.save_pretrained(tmp_path / "ours")
    convert(tmp_path / "ours", tmp_path / "google", "google")
    assert verify(tmp_path / "google")["on top"] == "classifier"
    convert(tmp_path / "google", tmp_path / "again", "hugging_face")
    batch = make_batch()
    for folder in ("google", "again"):
        found = minibert.BertForSequenceClassification.from_pretrained(tmp_path / folder, attn_implementation="eager")
        assert found.config.num_labels == num_labels
        torch.testing.assert_close(found(**batch).logits, model(**batch).logits)
    other = minibert.BertForSequenceClassification.from_pretrained(tmp_path / "google", num_labels=5)
    assert list(other.new_weights) == ["classifier.weight", "classifier.bias"]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_googles_code_gets_float32(dtype: torch.dtype, tmp_path: Path):
    model = make_model("BertForPreTraining").to(dtype)
    model.save_pretrained(tmp_path / "ours")
    convert(tmp_path / "ours", tmp_path / "google", "google")
    with tensorflow.open_checkpoint(tmp_path / "google") as google:
        assert {google.dtype(name) for name in google} == {np.dtype("float32")}
    again = minibert.BertForPreTraining.from_pretrained(tmp_path / "google", dtype=dtype)
    for name, tensor in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor)
    torch.nn.utils.parameters_to_vector(again.parameters())  # which wants each to lie in one piece


def test_what_googles_code_computes_otherwise_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    for folder, eps in (("known", 1e-12), ("other", 1e-5)):
        config = SMALL.replace(layer_norm_eps=eps, hidden_act="gelu_new")
        make_model("BertModel", config).save_pretrained(tmp_path / folder)
        convert(tmp_path / folder, tmp_path / f"{folder}-google", "google")
    assert caplog.messages == [
        "This model's layer_norm_eps is 1e-05. Google's code has only 1e-12: there, its outputs will differ a little."
    ]


@pytest.mark.parametrize("architecture", ["nn", "masked_lm_loss", "BertConfig", "BertForPunctuation"])
def test_a_config_with_odd_architectures_is_sound(architecture: str, tmp_path: Path):
    make_model("BertForMaskedLM").save_pretrained(tmp_path)
    values = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(values | {"architectures": [architecture]}))
    assert verify(tmp_path)["on top"] == "masked words"


def test_a_tensor_of_eight_bits_that_bert_does_not_have_is_read_over(tmp_path: Path):
    make_model("BertForMaskedLM").save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    save_file(tensors | {"scales": torch.ones(3).to(torch.float8_e4m3fn)}, tmp_path / "model.safetensors")
    assert verify(tmp_path)["tensors"] == len(tensors) + 1


@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_a_number_that_is_none_is_found(number: float, tmp_path: Path):
    model = make_model("BertForMaskedLM")
    with torch.no_grad():
        model.mlm.bias[3] = number
    model.save_pretrained(tmp_path)
    with pytest.raises(InputError, match=r"cls\.predictions\.bias holds numbers that are infinite or none"):
        verify(tmp_path)


def test_a_tokenizer_with_more_tokens_than_the_model_is_found(tmp_path: Path):
    make_model("BertForMaskedLM").save_pretrained(tmp_path)
    tokenizer = word_tokenizer(*(f"word{number}" for number in range(SMALL.vocab_size)))
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(
        InputError, match=rf"tokenizer has {len(tokenizer)} tokens, but the model knows {SMALL.vocab_size}"
    ):
        verify(tmp_path)


def test_an_adapter_is_no_whole_model(tmp_path: Path):
    make_model("BertForSequenceClassification").save_pretrained(tmp_path / "base")
    model = minibert.BertForSequenceClassification.from_pretrained(tmp_path / "base")
    adapt(model, Lora(2))
    save_adapter(model, tmp_path / "adapter")
    for use in (verify, lambda folder: convert(folder, tmp_path / "google", "google")):
        with pytest.raises(InputError, match=r"adapter holds an adapter: name the whole model that its adapter_config"):
            use(tmp_path / "adapter")
