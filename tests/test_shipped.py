"""The models that come with minibert are found by name, in the repository and in an installed package."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
import transformers

from minibert import BertForPreTraining, BertTokenizer
from minibert.checkpoints import locate
from minibert.checkpoints.locate import shipped_models

REPOSITORY = Path(__file__).parents[1]


@pytest.mark.parametrize("name", shipped_models())
def test_a_shipped_model_has_all_its_weights_and_its_tokenizer(name: str, caplog: pytest.LogCaptureFixture):
    """Both heads included: nothing is new, so nothing is said."""
    model, tokenizer = BertForPreTraining.from_pretrained(name), BertTokenizer.from_pretrained(name)
    assert not caplog.records
    assert len(tokenizer) == model.config.vocab_size
    weights = shipped_models()[name] / "model.safetensors"
    assert weights.stat().st_size < 20 * 2**20


@pytest.mark.parametrize("name", shipped_models())
def test_transformers_opens_a_shipped_model_ready_to_be_trained(name: str):
    theirs = transformers.BertForPreTraining.from_pretrained(shipped_models()[name]).eval()
    assert {parameter.dtype for parameter in theirs.parameters()} == {torch.float32}
    ids = torch.tensor([[2, 300, 4000, 3]])
    with torch.no_grad():
        ours = BertForPreTraining.from_pretrained(name)(ids).prediction_logits
        torch.testing.assert_close(ours, theirs(ids).prediction_logits, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", shipped_models())
def test_a_shipped_model_knows_some_english(name: str):
    """Far more than frequency: the right word is the likeliest of a few that are about as frequent."""
    model, tokenizer = BertForPreTraining.from_pretrained(name), BertTokenizer.from_pretrained(name)
    wanted = {
        "She opened the [MASK] and went into the house.": ("door", "week", "king"),
        "He was born in the [MASK] of London.": ("city", "door", "hair"),
        "They had two [MASK], a son and a daughter.": ("children", "years", "miles"),
    }
    for text, words in wanted.items():
        inputs = tokenizer(text, return_tensors="pt")
        with torch.no_grad():
            logits = model(**inputs).prediction_logits[0]
        place = inputs["input_ids"][0].tolist().index(tokenizer.mask_token_id)
        scores = [logits[place, tokenizer.convert_tokens_to_ids(word)].item() for word in words]
        assert scores[0] == max(scores), text


def test_the_places_are_those_of_the_repository_and_of_the_wheel():
    assert (REPOSITORY / "weights") in locate.SHIPPED
    assert (REPOSITORY / "minibert" / "shipped") in locate.SHIPPED
    assert '"weights" = "minibert/shipped"' in (REPOSITORY / "pyproject.toml").read_text()


def test_a_mistyped_name_of_a_shipped_model_gets_a_hint():
    name = next(iter(shipped_models()))
    process = subprocess.run(
        [sys.executable, "-m", "minibert.weights", "verify", name.replace("minibert", "minbert")],
        capture_output=True, text=True, check=False, cwd=REPOSITORY,
    )  # fmt: skip
    assert process.returncode == 2
    assert name in process.stderr
