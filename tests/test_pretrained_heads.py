"""Asking pretrained models: masked words, and whether one sentence follows another."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import pytest
import torch

from minibert import BertForMaskedLM, BertForPreTraining, BertTokenizer, InputError
from minibert.model import BertPreTrainedModel
from minibert.tasks.mlm import MlmTask
from minibert.tasks.nsp import NspTask
from minibert.tasks.task import Columns
from minibert.training.judging import Judge, saved_task

from .helpers import SMALL, make_model

WORDS = "[PAD] [UNK] [CLS] [SEP] [MASK] the capital of france is paris rome .".split()
WORDS += [f"word{number}" for number in range(SMALL.vocab_size - len(WORDS))]
TEXT = "The capital of [MASK] is [MASK]."


def save(model: BertPreTrainedModel, folder: Path) -> Path:
    model.save_pretrained(folder)
    BertTokenizer({word: number for number, word in enumerate(WORDS)}).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    return save(make_model("BertForPreTraining"), tmp_path_factory.mktemp("pretrained"))


def test_every_mask_gets_the_probabilities_of_the_masked_word_model(pretrained):
    judge = Judge(pretrained, batch_size=2)
    judge.task.flags(Namespace(top_k=3))
    short, long = judge.predict(judge.task.from_texts(["[MASK]", TEXT]))
    assert [len(short["words"]), len(long["words"])] == [1, 2]
    ids = judge.tokenizer(TEXT, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        logits = BertForMaskedLM.from_pretrained(pretrained)(ids).logits
    for place, candidates in zip((4, 6), long["candidates"], strict=True):
        best = logits[0, place].softmax(0).topk(3)
        assert [candidate["word"] for candidate in candidates] == [WORDS[i] for i in best.indices]
        found = [candidate["probability"] for candidate in candidates]
        assert found == pytest.approx(best.values.tolist(), abs=1e-5)


def test_only_the_best_words_of_each_mask_are_kept_in_memory(pretrained):
    judge = Judge(pretrained, batch_size=2)
    features = judge.task.features(judge.task.from_texts([TEXT, "[MASK]"]), judge.tokenizer)
    probabilities, tokens = judge._trainer.predict(features).predictions
    assert probabilities.shape == tokens.shape == (3, 5)
    judge.task.flags(Namespace(top_k=10**6))
    assert judge._trainer.predict(features).predictions[0].sum(1) == pytest.approx([1, 1, 1])


def test_the_right_words_are_counted(pretrained, tmp_path):
    judge = Judge(pretrained, batch_size=2)
    (answer,) = judge.predict(judge.task.from_texts([TEXT]))
    first, second = (candidates[rank]["word"] for candidates, rank in zip(answer["candidates"], (0, 4), strict=True))
    (tmp_path / "a.tsv").write_text(f"text\tlabel\n{TEXT}\t{first.upper()} {second}\n[MASK]\tunheard-of\n")
    metrics = judge.evaluate(judge.task.read(tmp_path / "a.tsv"))
    assert metrics["accuracy"] == pytest.approx(1 / 3)
    assert metrics["accuracy_top_k"] == pytest.approx(2 / 3)


def test_a_word_that_no_vocabulary_spells_is_not_found_by_answering_unknown(pretrained, tmp_path):
    judge = Judge(pretrained, batch_size=2)
    (tmp_path / "a.tsv").write_text("text\tlabel\n[MASK]\t猫\n", encoding="utf-8")
    asked = judge.task.read(tmp_path / "a.tsv")
    judge.task.features(asked, judge.tokenizer)
    answers = [{"words": ["[UNK]"], "candidates": [[{"word": "[UNK]", "probability": 0.9}]]}]
    assert judge.task.metrics(asked, answers) == {"accuracy": 0.0, "accuracy_top_k": 0.0}


def test_a_text_without_a_mask_or_with_other_words_than_masks_is_told_in_a_sentence(pretrained, tmp_path):
    judge = Judge(pretrained, batch_size=2)
    with pytest.raises(InputError, match=r"Put \[MASK\] where a word is wanted, .*'The capital' has none"):
        judge.predict(judge.task.from_texts([TEXT, "The capital"]))
    judge.tokenizer.model_max_length = 7  # the second mask would have the sixth place, and [SEP] takes the last one
    with pytest.raises(InputError, match=r"at most 7 tokens from the beginning: .* has 1 there"):
        judge.predict(judge.task.from_texts([TEXT]))
    judge.tokenizer.model_max_length = 16
    (tmp_path / "a.tsv").write_text(f"text\tlabel\n{TEXT}\tFrance\n")
    with pytest.raises(InputError, match=r"line 2: 2 \[MASK\] need as many words: found 1"):
        judge.evaluate(judge.task.read(tmp_path / "a.tsv"))


def test_a_pair_gets_the_probability_that_it_follows(pretrained, tmp_path):
    judge = Judge(pretrained, batch_size=2, task_name="nsp")
    (answer,) = judge.predict(judge.task.from_texts(["The capital.", "Is Paris."]))
    encoding = judge.tokenizer("The capital.", "Is Paris.", return_tensors="pt")
    with torch.no_grad():
        output = BertForPreTraining.from_pretrained(pretrained)(**encoding)
    expected = output.seq_relationship_logits.softmax(1)[0].tolist()
    assert list(answer["probabilities"].values()) == pytest.approx(expected, abs=1e-5)
    assert list(answer["probabilities"]) == ["follows", "random"]
    (tmp_path / "a.tsv").write_text(f"text\ttext_b\tlabel\nThe capital.\tIs Paris.\t{answer['label']}\n")
    assert judge.evaluate(judge.task.read(tmp_path / "a.tsv"))["accuracy"] == 1


def test_pairs_that_are_none_are_told_in_a_sentence(tmp_path):
    with pytest.raises(InputError, match="judges pairs: every two texts are one, but there are 3"):
        NspTask(Columns()).from_texts(["a", "b", "c"])
    (tmp_path / "a.tsv").write_text("text\tlabel\na\tfollows\n")
    with pytest.raises(InputError, match="judges pairs, but there is no column 'text_b'"):
        NspTask(Columns()).read(tmp_path / "a.tsv")


@pytest.mark.parametrize("task", [MlmTask, NspTask])
def test_training_is_left_to_pretrain(task):
    with pytest.raises(InputError, match=r"minibert\.pretrain --init-from MODEL"):
        task.from_arguments(Namespace())


def test_a_model_without_the_head_is_refused_however_it_is_asked(tmp_path):
    save(make_model("BertForSequenceClassification"), tmp_path)
    with pytest.raises(InputError, match="was not trained for --task mlm"):
        Judge(tmp_path, batch_size=2, task_name="mlm")


def test_a_model_of_google_is_asked_for_words(google_dir):
    assert saved_task(google_dir, Columns()).name == "mlm"
