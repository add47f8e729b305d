"""The third pretraining task: which words a text has, by its pooler or its [CLS]."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from minibert import BertForMaskedLM, BertForPreTraining, BertTokenizer
from minibert.data.batches import move, pack_examples
from minibert.data.instances import InstanceSettings, PretrainingInstances
from minibert.data.shards import Corpus
from minibert.data.stream import pack_instances
from minibert.training.bag_of_words import bag_of_words_loss, word_weights
from minibert.training.objective import PretrainingLoss, Tally
from minibert.training.pretraining_trainer import Budget

from .helpers import make_model, pretrain, pretrain_fails
from .test_pretraining import (
    config,
    corpus_folder,
    instances,
    losses,
    make_trainer,
    read_log,
    small_model,
    small_run,
    tokenizer,
)

__all__ = ["corpus_folder", "instances", "small_model", "tokenizer"]  # the fixtures that are shared


def test_the_loss_by_hand():
    """Two texts, of words 1 and 3 (which occurs twice), and of word 0, which weighs nothing, and word 2."""
    logits = torch.tensor([[1.0, 2.0, 3.0, 4.0], [0.0, 0.0, 0.0, 0.0]])
    weights = torch.tensor([0.0, 0.5, 1.0, 1.0])
    found = bag_of_words_loss(logits, torch.tensor([3, 1, 3, 0, 2]), torch.tensor([0, 3, 5]), weights)
    total = math.log(sum(math.exp(logit) for logit in (1, 2, 3, 4)))
    first = (0.5 * (total - 2) + 1.0 * (total - 4)) / 1.5
    assert found.item() == pytest.approx(first + math.log(4), abs=1e-6)


def test_a_text_without_words_that_count_costs_nothing():
    logits = torch.rand(2, 3, requires_grad=True)
    loss = bag_of_words_loss(logits, torch.tensor([0, 0]), torch.tensor([0, 2, 2]), torch.tensor([0.0, 1.0, 1.0]))
    loss.backward()
    assert loss.item() == 0
    assert logits.grad is not None
    assert not logits.grad.any()


def test_frequent_words_count_less():
    """Up to a ten-thousandth of the tokens: 1; four times as frequent: a half; what is ignored, and never occurs."""
    weights = word_weights(np.array([1, 4, 5, 0, 9990]), ignored=[2])
    assert weights.tolist() == pytest.approx([1, 0.5, 0, 1, math.sqrt(1e-4 / 0.999)])
    assert word_weights(np.zeros(2, dtype=np.int64), []).tolist() == [1, 1]


@pytest.mark.parametrize("name", ["BertForPreTraining", "BertForMaskedLM"])
def test_the_guess_is_read_off_the_pooler_or_cls(instances: PretrainingInstances, tokenizer: BertTokenizer, name: str):
    """And the words are those that stood there before some of them were masked."""
    examples = [instances.block(0)[index] for index in range(5)]
    if name == "BertForMaskedLM":
        for example in examples:
            del example["next_sentence_label"]
    model = make_model(name, config(tokenizer)).eval()
    assert isinstance(model, BertForPreTraining | BertForMaskedLM)
    weights = torch.rand(len(tokenizer))
    output = model(**pack_examples(examples))
    if name == "BertForPreTraining":
        pooled = model.bert(pack_examples(examples)["input_ids"]).pooler_output
        logits = model.mlm(pooled, model.bert.embeddings.word_embeddings.weight)  # (rows, hidden) -> (rows, vocab)
    else:
        starts = torch.tensor([0, *(len(example["input_ids"]) for example in examples)]).cumsum(0)
        logits = output.logits[starts[:-1]]
    truth: list[Any] = [
        np.where(example["labels"] == -100, example["input_ids"], example["labels"]) for example in examples
    ]
    expected = torch.zeros(())
    for ids, guess in zip(truth, logits.log_softmax(dim=1), strict=True):
        bag = sorted(set(ids.tolist()))
        expected = expected - (guess[bag] * weights[bag]).sum() / weights[bag].sum()
    assert output.loss is not None
    total = output.loss + expected / 5
    total.backward()
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}

    model.zero_grad()
    tally = Tally(*PretrainingLoss(model, weights)(pack_instances(examples)))
    figures = tally.figures()
    assert figures["bag_loss"].item() == pytest.approx(expected.item() / 5, abs=1e-5)
    assert figures["loss"].item() == pytest.approx(total.item(), abs=1e-5)
    figures["loss"].backward()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, gradients[name], rtol=0, atol=1e-6, msg=name)


def test_it_asks_the_device_for_no_value(instances: PretrainingInstances, tokenizer: BertTokenizer):
    """Tensors on "meta" have no values, so whatever would wait for a GPU's answer fails there."""
    device = torch.device("meta")
    model = make_model("BertForPreTraining", config(tokenizer)).to(device).train()
    assert isinstance(model, BertForPreTraining)
    batch = pack_instances([instances.block(0)[index] for index in range(5)])
    loss = PretrainingLoss(model, torch.ones(len(tokenizer), device=device))
    loss({name: move(value, device) for name, value in batch.items()}).sum().backward()


def test_a_step_is_the_same_however_it_is_cut(
    instances: PretrainingInstances, tokenizer: BertTokenizer, tmp_path: Path
):
    histories = []
    for parts in (1, 4):
        trainer = make_trainer(
            instances, tmp_path, gradient_accumulation_steps=parts, word_weights=torch.ones(len(tokenizer))
        )
        trainer.train()
        histories.append(trainer.state.log_history)
    for whole, cut in zip(*histories, strict=True):
        for name in ("loss", "bag_loss", "grad_norm"):
            assert whole[name] == pytest.approx(cut[name], abs=1e-5)
    assert whole["loss"] > whole["mlm_loss"] + whole["bag_loss"]  # and the pairs


def test_cls_learns_the_words_of_its_text(corpus_folder: Path, tokenizer: BertTokenizer, tmp_path: Path):
    """Better than by the share that each word has in all texts, which is the best that one guess for all can do."""
    settings = InstanceSettings(max_length=16, next_sentence=False)
    instances = PretrainingInstances(Corpus(corpus_folder), tokenizer, settings)
    weights = word_weights(np.full(len(tokenizer), 1), tokenizer.all_special_ids)
    model = BertForMaskedLM(config(tokenizer).replace(initializer_range=0.2))
    options: dict[str, Any] = {"batch_size": 32, "learning_rate": 3e-3, "budget": Budget(steps=250)}
    trainer = make_trainer(instances, tmp_path, model=model, word_weights=weights, **options)
    trainer.train()
    last = np.mean([entry["bag_loss"] for entry in trainer.state.log_history[-20:]])
    bags = []
    for index in range(len(instances.block(0))):
        example = instances.block(0)[index]
        truth = np.where(example["labels"] == -100, example["input_ids"], example["labels"])
        bag = np.zeros(len(tokenizer))
        bag[truth] = weights[torch.from_numpy(truth)].numpy()
        bags.append(bag / bag.sum())
    mean = np.mean(bags, axis=0)
    of_all_alike = -np.mean([(bag[bag > 0] * np.log(mean[bag > 0])).sum() for bag in bags])
    assert last < of_all_alike - 0.3


def held_out(out: Path) -> dict[str, float]:
    figures: dict[str, float] = json.loads((out / "metrics.json").read_text())["held_out"]
    return figures


def test_the_command(corpus_folder: Path, small_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    words = small_run(corpus_folder, small_model, tmp_path / "out", "--max-steps", 3, "--bag-of-words")
    pretrain(*words)
    assert held_out(tmp_path / "out")["bag_loss"] > 0
    assert "loss of the bags of words" in (tmp_path / "out" / "report.html").read_text()
    log = read_log(tmp_path / "out")
    assert all(entry["bag_loss"] > 0 for entry in log if "lr" in entry)
    pretrain(*small_run(corpus_folder, small_model, tmp_path / "plain", "--max-steps", 3))
    assert "bag_loss" not in held_out(tmp_path / "plain")
    assert losses(read_log(tmp_path / "plain")) != losses(log)
    (tmp_path / "out" / "metrics.json").unlink()  # as if it had been killed at the very end
    line = pretrain_fails(capsys, *words[:-1], "--resume")
    assert "--bag-of-words of the run in" in line
    assert "was True, and is False now" in line
