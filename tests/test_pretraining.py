"""Pretraining: Google's numbers, the same losses however a run is cut or interrupted, and how it fails."""

from __future__ import annotations

import json
import math
import os
import random
import re
import signal
import subprocess
import sys
import time
import weakref
from collections.abc import Sequence
from contextlib import nullcontext
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

from minibert import (
    BertConfig,
    BertForMaskedLM,
    BertForPreTraining,
    BertTokenizer,
    InputError,
    Trainer,
    TrainingArguments,
)
from minibert.checkpoints import tensorflow
from minibert.checkpoints.names import from_minibert
from minibert.data.batches import move, pack_examples
from minibert.data.instances import Instance, InstanceSettings, PretrainingInstances
from minibert.data.prepare import prepare
from minibert.data.shards import Corpus
from minibert.data.stream import InstanceStream, Place, load_batches, pack_instances, parts_of
from minibert.data.unigram import unigram_entropy
from minibert.training import summed_cross_entropy
from minibert.training.distributed import process_group
from minibert.training.google_optimizer import AdamWeightDecay, google_schedule
from minibert.training.meter import Meter, Reading
from minibert.training.muon import Muon
from minibert.training.objective import PretrainingLoss, Tally
from minibert.training.optimizer import parameter_groups
from minibert.training.pretraining_trainer import Budget, PretrainingTrainer
from minibert.training.summed_cross_entropy import SummedCrossEntropy
from minibert.training.tied_words import read_twice
from minibert.training.utilization import flops_per_token

from .helpers import ROOT, SMALL, make_model, pretrain, pretrain_fails, word_tokenizer
from .test_golden_google import losses_of

WORDS = [f"{first}{second}" for first in "abcdefgh" for second in "aeiou"]
RESULTS = {
    "config.json", "corpus", "curves.png", "log.jsonl", "metrics.json", "model.safetensors", "report.html",
    "settings.json", "tokenizer.json", "tokenizer_config.json", "vocab.txt",
}  # fmt: skip


def write_text(path: Path, documents: int) -> Path:
    """Documents in which every word is followed by the next one: easy to learn."""
    chance = random.Random(0)
    lines = []
    for _ in range(documents):
        for _ in range(chance.randint(2, 6)):
            start = chance.randrange(len(WORDS))
            lines.append(" ".join(WORDS[(start + i) % len(WORDS)] for i in range(chance.randint(3, 9))) + ".")
        lines.append("")
    path.write_text("\n".join(lines))
    return path


@pytest.fixture(scope="module")
def tokenizer() -> BertTokenizer:
    return word_tokenizer(".", *WORDS)


@pytest.fixture(scope="module")
def corpus_folder(tmp_path_factory: pytest.TempPathFactory, tokenizer: BertTokenizer) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    prepare([write_text(folder / "text.txt", 60)], tokenizer, folder / "out", held_out=0.2)
    return folder / "out"


@pytest.fixture(scope="module")
def instances(corpus_folder: Path, tokenizer: BertTokenizer) -> PretrainingInstances:
    return PretrainingInstances(Corpus(corpus_folder), tokenizer, InstanceSettings(max_length=16))


@pytest.fixture
def several_blocks(tmp_path: Path, tokenizer: BertTokenizer, monkeypatch: pytest.MonkeyPatch) -> PretrainingInstances:
    """Of an epoch: two shards make a block here."""
    monkeypatch.setattr("minibert.data.prepare.TEXT_PER_SHARD", 1000)
    monkeypatch.setattr("minibert.data.instances.SHARDS_PER_BLOCK", 2)
    prepare([write_text(tmp_path / "text.txt", 60)], tokenizer, tmp_path / "blocks", held_out=0.2)
    instances = PretrainingInstances(Corpus(tmp_path / "blocks"), tokenizer, InstanceSettings(max_length=16))
    assert instances.blocks > 2
    return instances


def config(tokenizer: BertTokenizer, dropout: float = 0.0) -> BertConfig:
    return SMALL.replace(
        vocab_size=len(tokenizer), hidden_dropout_prob=dropout, attention_probs_dropout_prob=dropout, num_labels=2
    )


@pytest.fixture(scope="module")
def small_model(tmp_path_factory: pytest.TempPathFactory, tokenizer: BertTokenizer) -> Path:
    """A folder with a small BERT without dropout, which would differ in each of several processes."""
    folder = tmp_path_factory.mktemp("small")
    torch.manual_seed(0)
    BertForPreTraining(config(tokenizer)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def make_trainer(instances: PretrainingInstances, out: Path, **changes: Any) -> PretrainingTrainer:
    """Of a small model, which is the same every time."""
    tokenizer = BertTokenizer.from_pretrained(instances.corpus.folder)
    torch.manual_seed(0)
    model: Any = changes.pop("model", None) or BertForPreTraining(config(tokenizer, changes.pop("dropout", 0.0)))
    options: dict[str, Any] = {"batch_size": 8, "budget": Budget(steps=6), "workers": 0, "held_out": ()}
    options |= {key: changes.pop(key) for key in (*options, "optimizer", "compiled", "word_weights") if key in changes}
    settings: dict[str, Any] = {
        "output_dir": str(out),
        "learning_rate": 1e-2,
        "save_strategy": "no",
        "logging_steps": 1,
        "disable_tqdm": True,
    }
    held_out = options.pop("held_out")
    return PretrainingTrainer(model, TrainingArguments(**settings | changes), instances, held_out, tokenizer, **options)


def losses(history: Sequence[dict[str, Any]]) -> list[tuple[int, float]]:
    return [(entry["step"], entry["loss"]) for entry in history if "lr" in entry]


def read_log(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


# ------------------------------------------------------------------------------------------------ Google's optimizer


def test_googles_optimizer_takes_the_recorded_steps(google_dir: Path):
    with np.load(google_dir / "golden.npz") as arrays:
        golden = {name: torch.from_numpy(arrays[name]) for name in arrays}
    with np.load(google_dir / "golden_train.npz") as arrays:
        recorded = {name: arrays[name] for name in arrays}
    model = BertForPreTraining.from_pretrained(google_dir / "bert_model.ckpt", attn_implementation="eager")
    optimizer = AdamWeightDecay(parameter_groups(model, 0.01), lr=1e-3)
    for step in range(8):
        found = losses_of(model, golden)
        for name in ("total_loss", "masked_lm_loss"):
            assert found[f"out/{name}"].item() == pytest.approx(recorded[name][step], abs=1e-5)
        found["out/total_loss"].backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 * google_schedule(step, 4, 20)
            assert group["lr"] == pytest.approx(recorded["learning_rate"][step], abs=1e-9)
        optimizer.step()
        optimizer.zero_grad()
    with torch.no_grad():
        found = losses_of(model, golden)
    assert found["out/total_loss"].item() == pytest.approx(recorded["total_loss"][8], abs=1e-5)

    ours: dict[str, Any] = {"": from_minibert(model.state_dict(), "google")}
    for moment in ("adam_m", "adam_v"):
        tensors = {name: optimizer.state[parameter][moment] for name, parameter in model.named_parameters()}
        ours[f"/{moment}"] = from_minibert(tensors, "google")
    with tensorflow.open_checkpoint(google_dir / "train" / "model.ckpt-8") as saved:
        for ending, tensors in ours.items():
            for name, values in saved.stream([f"{name}{ending}" for name in tensors]):
                theirs = torch.from_numpy(values)
                torch.testing.assert_close(tensors[name.removesuffix(ending)], theirs, rtol=0, atol=1e-5, msg=name)


def test_a_step_of_googles_optimizer_by_hand():
    """m = 0.1 * 2, v = 0.001 * 4, and the step is lr * (m / (sqrt(v) + 1e-6) + 0.01 * weight)."""
    weight = torch.nn.Parameter(torch.tensor([3.0]))
    optimizer = AdamWeightDecay([weight], lr=0.5, weight_decay=0.01)
    weight.grad = torch.tensor([2.0])
    optimizer.step()
    assert weight.item() == pytest.approx(3 - 0.5 * (0.2 / (math.sqrt(0.004) + 1e-6) + 0.03), abs=1e-6)


def test_googles_schedule_falls_as_if_there_were_no_warmup():
    assert [google_schedule(step, 2, 8) for step in range(9)] == [0, 0.5, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125, 0]


# ------------------------------------------------------------------------------------------------- loss and stream


def test_the_loss_is_that_of_the_models_own_forward(instances: PretrainingInstances, tokenizer: BertTokenizer):
    examples = [instances.block(0)[index] for index in range(5)]
    for name in ("BertForPreTraining", "BertForMaskedLM"):
        model = make_model(name, config(tokenizer))
        if name == "BertForMaskedLM":
            for example in examples:
                del example["next_sentence_label"]
        with torch.no_grad():
            output = model(**pack_examples(examples))
            figures = Tally(*PretrainingLoss(model)(pack_instances(examples))).figures()
        assert figures["loss"].item() == pytest.approx(output.loss.item(), abs=1e-5)
        logits = output.prediction_logits if name == "BertForPreTraining" else output.logits
        labels = torch.cat([torch.from_numpy(example["labels"]) for example in examples])
        right = (logits.argmax(-1) == labels)[labels != -100].float().mean().item()
        assert figures["mlm_accuracy"].item() == pytest.approx(right)
        assert ("nsp_accuracy" in figures) == (name == "BertForPreTraining")


def test_the_last_block_computes_only_what_the_losses_read(instances: PretrainingInstances, tokenizer: BertTokenizer):
    model = make_model("BertForPreTraining", config(tokenizer))
    computed: list[int] = []
    model.bert.blocks[-1].feed_forward.register_forward_hook(
        lambda module, inputs, output: computed.append(len(output))
    )
    batch = pack_instances([instances.block(0)[index] for index in range(5)])
    PretrainingLoss(model)(batch)
    assert computed == [5 + len(batch["masked_lm_ids"])]


@pytest.mark.parametrize("name", ["BertForPreTraining", "BertForMaskedLM"])
def test_gradients_are_those_of_the_models_own_forward(
    instances: PretrainingInstances, tokenizer: BertTokenizer, name: str
):
    """The words' matrix gets its two gradients as one, and the loss is computed in place: both by our own lines."""
    examples = [instances.block(0)[index] for index in range(5)]
    examples[0]["input_ids"][3] = 0  # [PAD] as a token: its row gets no gradient from the embedding
    if name == "BertForMaskedLM":
        examples = [
            {key: value for key, value in example.items() if key != "next_sentence_label"} for example in examples
        ]
    model = make_model(name, config(tokenizer)).eval()
    gradients = []
    for own in (False, True):
        model.zero_grad()
        if own:
            tally = Tally(*PretrainingLoss(model)(pack_instances(examples)))
            loss = tally.mlm_loss / tally.masked + (tally.nsp_loss / tally.pairs if tally.pairs else 0)
        else:
            loss = model(**pack_examples(examples)).loss
        loss.backward()
        gradients.append({name: parameter.grad for name, parameter in model.named_parameters()})
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, rtol=0, atol=1e-6, msg=name)


def test_words_that_are_not_predicted_still_get_the_gradient_of_their_place():
    embedding = torch.nn.Embedding(7, 3, padding_idx=0)
    ids = torch.tensor([2, 0, 5, 2])
    weights = torch.rand(4, 3)
    for use_rows, use_words in ((True, False), (False, True), (True, True)):
        found = []
        for ours in (False, True):
            embedding.zero_grad()
            with read_twice(embedding, ids) if ours else nullcontext(embedding.weight) as words:
                rows = embedding(ids)
            losses = [(rows * weights).sum()] * use_rows + [words.square().sum()] * use_words
            torch.stack(losses).sum().backward()
            found.append(embedding.weight.grad)
        torch.testing.assert_close(found[1], found[0])
    assert not embedding._forward_hooks


def test_summed_cross_entropy_is_torchs_and_takes_one_backward_pass():
    logits = torch.randn(6, 11, dtype=torch.float64, requires_grad=True)
    wanted = torch.randint(0, 11, (6,))
    loss, correct, _ = SummedCrossEntropy.apply(logits.clone(), wanted)
    expected = torch.nn.functional.cross_entropy(logits, wanted, reduction="sum")
    torch.testing.assert_close(loss, expected)
    assert correct == (logits.argmax(dim=1) == wanted).sum()
    gradients = [torch.autograd.grad(3 * value, logits, retain_graph=True)[0] for value in (loss, expected)]
    torch.testing.assert_close(*gradients)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


@pytest.mark.parametrize("at_once", [1, 11, 25, 1000])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.bfloat16, 1e-2)], ids=str)
def test_summed_cross_entropy_in_parts(at_once: int, dtype: torch.dtype, tolerance: float, monkeypatch: Any):
    monkeypatch.setattr(summed_cross_entropy, "AT_ONCE", at_once)
    logits = (30 * torch.randn(7, 11)).to(dtype).requires_grad_()
    wanted = torch.randint(0, 11, (7,))
    loss, correct, _ = SummedCrossEntropy.apply(logits.clone(), wanted)
    expected = torch.nn.functional.cross_entropy(logits.float(), wanted, reduction="sum")
    torch.testing.assert_close(loss, expected)  # in float32, whatever the logits are
    assert correct == (logits.argmax(dim=1) == wanted).sum()
    gradients = [torch.autograd.grad(value / 7, logits)[0].float() for value in (loss, expected)]
    torch.testing.assert_close(*gradients, rtol=tolerance, atol=tolerance)
    with torch.inference_mode():
        alone, _, _ = SummedCrossEntropy.apply(logits.clone(), wanted)
    assert alone == loss


def test_summed_cross_entropy_of_no_rows():
    logits = torch.zeros(0, 11, requires_grad=True)
    loss, correct, _ = SummedCrossEntropy.apply(logits.clone(), torch.zeros(0, dtype=torch.long))
    loss.backward()
    assert loss == correct == 0
    assert logits.grad is not None


@pytest.mark.parametrize("attention", ["eager", "sdpa", "packed", "auto"])
def test_a_step_asks_the_device_for_no_value(instances: PretrainingInstances, tokenizer: BertTokenizer, attention: str):
    """Tensors on "meta" have no values, so whatever would wait for a GPU's answer fails there."""
    model = make_model("BertForPreTraining", config(tokenizer), attention).to("meta").train()
    batch = pack_instances([instances.block(0)[index] for index in range(5)])
    loss = PretrainingLoss(model)({name: move(value, torch.device("meta")) for name, value in batch.items()})
    loss.sum().backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    torch.optim.AdamW(model.parameters()).step()
    with pytest.raises(NotImplementedError):
        loss.tolist()  # so it would be seen


def test_the_stream_goes_on_anywhere_and_over_the_end_of_a_block(instances: PretrainingInstances):
    stream = InstanceStream(instances)
    first, second = len(instances.block(0)), len(instances.block(1))
    every = [Place(0, i) for i in range(first)] + [Place(1, i) for i in range(second)] + [Place(2, 0)]
    steps = list(islice(stream.steps(Place(0, 0), 7), len(every) // 7))
    assert [place for places in steps for place in places] == every[: len(steps) * 7]
    assert next(stream.steps(Place(0, first - 2), 4)) == [*every[first - 2 : first], Place(1, 0), Place(1, 1)]
    assert next(stream.steps(Place(0, first), 2)) == [Place(1, 0), Place(1, 1)]
    assert len(next(stream.steps(Place(0, 0), 2 * first + second))) == 2 * first + second


@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 5))
def test_the_parts_of_all_processes_are_the_whole_step(parts: int, ranks: int, size: int):
    places = [Place(0, number) for number in range(parts * ranks * size)]
    cut = [part for rank in range(ranks) for part in parts_of(places, parts, rank, ranks)]
    assert {len(part) for part in cut} == {size}
    assert sorted(place for part in cut for place in part) == places


def test_any_number_of_workers_makes_the_same_batches(several_blocks: PretrainingInstances):
    def batches(workers: int) -> list[torch.Tensor]:
        stream = InstanceStream(several_blocks)
        steps = ([places] for places in islice(stream.steps(Place(0, 3), 20), 10))
        return [batch["input_ids"].input_ids for (batch,) in load_batches(stream, steps, workers)]

    before = torch.get_rng_state()
    alone = batches(0)
    assert len(several_blocks.block(0)) < 10 * 20  # or they would all be of one block
    for ours, theirs in zip(alone, batches(2), strict=True):
        assert torch.equal(ours, theirs)
    assert torch.equal(before, torch.get_rng_state())  # or the dropout after it would be another


def test_the_unigram_entropy_is_that_of_the_training_documents(tmp_path: Path, tokenizer: BertTokenizer):
    (tmp_path / "text.txt").write_text("aa ae\naa ai\n")
    prepare([tmp_path / "text.txt"], tokenizer, tmp_path / "out")
    entropy = -(0.5 * math.log(0.5) + 2 * 0.25 * math.log(0.25))  # aa aa ae ai
    assert unigram_entropy(Corpus(tmp_path / "out")) == pytest.approx(entropy)


def test_the_unigram_entropy_leaves_out_what_is_held_out(corpus_folder: Path):
    for split in ("training", "held_out"):
        corpus = Corpus(corpus_folder, split)
        ids = np.concatenate([sentence for number in range(len(corpus)) for sentence in corpus[number]])
        shares = np.unique(ids, return_counts=True)[1] / len(ids)
        assert unigram_entropy(corpus) == pytest.approx(-(shares * np.log(shares)).sum())


def test_the_line_of_a_large_corpus_is_that_of_one_block(
    several_blocks: PretrainingInstances, small_model: Path, tmp_path: Path
):
    """More shards are never open at a time: there are more of them than files that a process may open."""
    folder = several_blocks.corpus.folder
    pretrain(*small_run(folder, small_model, tmp_path / "out", "--max-steps", 1))
    entropy = json.loads((tmp_path / "out" / "metrics.json").read_text())["unigram_entropy"]
    assert entropy == pytest.approx(unigram_entropy(several_blocks.block(0).corpus))
    assert entropy != pytest.approx(unigram_entropy(Corpus(folder)))


def test_flops_per_token_of_bert_base():
    """85 million weights in its blocks, 12 blocks 768 wide, rows of 128 tokens."""
    weights = 12 * (4 * 768 * 768 + 2 * 768 * 3072)
    assert flops_per_token(BertConfig.preset("base"), 128) == 6 * weights + 12 * 12 * 768 * 128


# ------------------------------------------------------------------------------------------------------- the loop


def test_it_learns_which_words_are_frequent(instances: PretrainingInstances, tmp_path: Path):
    """From the loss of guessing among all words alike down to the line of the unigram entropy."""
    held_out = [instances.block(7)[index] for index in range(40)]
    trainer = make_trainer(instances, tmp_path, budget=Budget(steps=40), batch_size=16, held_out=held_out)
    assert trainer.evaluate()["eval_mlm_loss"] == pytest.approx(math.log(46), abs=0.3)
    trainer.train()
    assert trainer.evaluate()["eval_mlm_loss"] == pytest.approx(unigram_entropy(instances.corpus), abs=0.15)


@pytest.mark.slow
def test_it_learns_from_the_context(tmp_path: Path, tokenizer: BertTokenizer):
    """Every word is told by the one before it: far below the line of the unigram entropy."""
    prepare([write_text(tmp_path / "text.txt", 300)], tokenizer, tmp_path / "corpus")
    instances = PretrainingInstances(Corpus(tmp_path / "corpus"), tokenizer, InstanceSettings(max_length=16))
    wide = config(tokenizer).replace(hidden_size=64, num_attention_heads=4, intermediate_size=128, num_hidden_layers=2)
    torch.manual_seed(0)
    options: dict[str, Any] = {"batch_size": 32, "learning_rate": 3e-3, "warmup_ratio": 0.1}
    trainer = make_trainer(instances, tmp_path, model=BertForPreTraining(wide), budget=Budget(steps=250), **options)
    trainer.train()
    last = [entry["mlm_loss"] for entry in trainer.state.log_history[-20:]]
    assert sum(last) / 20 < unigram_entropy(instances.corpus) - 1


def test_a_step_is_the_same_however_it_is_cut(instances: PretrainingInstances, tmp_path: Path):
    histories = []
    for parts in (1, 4):
        trainer = make_trainer(instances, tmp_path, gradient_accumulation_steps=parts)
        trainer.train()
        histories.append(trainer.state.log_history)
    for whole, cut in zip(*histories, strict=True):
        for name in ("loss", "mlm_accuracy", "nsp_accuracy", "grad_norm"):
            assert whole[name] == pytest.approx(cut[name], abs=1e-5)


def test_activations_computed_twice_are_the_same(instances: PretrainingInstances, tmp_path: Path):
    """Dropout included, which must drop the same numbers the second time."""
    computed: list[bool] = []

    def history(again: bool) -> list[tuple[int, float]]:
        trainer = make_trainer(instances, tmp_path, dropout=0.3, gradient_checkpointing=again)
        block = trainer.model.get_submodule("bert.blocks.0.feed_forward")
        block.register_forward_hook(lambda *_: computed.append(again))
        trainer.train()
        return losses(trainer.state.log_history)

    assert history(again=True) == history(again=False)
    assert (computed.count(True), computed.count(False)) == (12, 6)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_compiled_blocks_learn_the_same(
    instances: PretrainingInstances, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, checkpointing: bool
):
    """Traced and put together again by `torch.compile`, but for the last step, machine code, which takes minutes."""
    graphs: list[int] = []

    def backend(graph: Any, inputs: Any) -> Any:
        graphs.append(trainer.state.global_step)
        return graph.forward

    compile_with = torch.compile
    monkeypatch.setattr(torch, "compile", lambda it, **options: compile_with(it, backend=backend, **options))
    trainer = make_trainer(instances, tmp_path)
    trainer.train()
    plain = losses(trainer.state.log_history)
    assert not graphs
    torch._dynamo.reset()
    trainer = make_trainer(instances, tmp_path, compiled=True, gradient_checkpointing=checkpointing)
    graphs.clear()  # that of the trial
    trainer.train()
    assert 0 in graphs
    assert max(graphs) <= 1  # the code serves batches of any number of tokens
    for (_, ours), (_, theirs) in zip(losses(trainer.state.log_history), plain, strict=True):
        assert ours == pytest.approx(theirs, abs=1e-5)


def test_without_a_compiler_there_is_a_sentence_and_nothing_is_written(
    corpus_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def backend(graph: Any, inputs: Any) -> Any:
        raise RuntimeError("No C++ compiler.\nThere are many more lines.")

    compile_with = torch.compile
    monkeypatch.setattr(torch, "compile", lambda it, **options: compile_with(it, backend=backend, **options))
    line = pretrain_fails(capsys, "--corpus", corpus_folder, "--size", "tiny", "--compile", "--out", tmp_path / "out")
    assert "torch.compile does not work here (No C++ compiler): it needs a C++ compiler, " in line
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("optimizer", ["adamw", "muon", "google"])
def test_a_run_goes_on_exactly_from_any_checkpoint(
    optimizer: str, several_blocks: PretrainingInstances, tmp_path: Path
):
    """Dropout and the optimizer's moments included; blocks and epochs are shorter than the run."""
    options: dict[str, Any] = {"dropout": 0.3, "batch_size": 90, "save_strategy": "steps", "save_steps": 1}
    options["optimizer"] = optimizer
    whole = make_trainer(several_blocks, tmp_path / "whole", **options)
    whole.train()
    assert whole.state.next_instance[0] > several_blocks.blocks
    for step in (1, 4):
        again = make_trainer(several_blocks, tmp_path / "again", **options)
        again.train(resume_from_checkpoint=tmp_path / "whole" / f"checkpoint-{step}")
        assert losses(again.state.log_history) == losses(whole.state.log_history)
        assert again.state.total_tokens == whole.state.total_tokens
        ours, theirs = again.model.state_dict(), whole.model.state_dict()
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.parametrize(
    ("budget", "steps"), [(Budget(steps=3), 3), (Budget(epochs=0.5), None), (Budget(tokens=1000), None)]
)
def test_how_long_a_run_is(instances: PretrainingInstances, tmp_path: Path, budget: Budget, steps: int | None):
    trainer = make_trainer(instances, tmp_path, budget=budget)
    trainer.train()
    if steps:
        assert trainer.state.global_step == steps
    elif budget.epochs:
        assert trainer.state.next_instance[1] == pytest.approx(len(instances.block(0)) / 2, abs=8)
    else:
        assert trainer.state.total_tokens == pytest.approx(1000, abs=100)


@pytest.mark.parametrize("budget", [Budget(steps=10**20), Budget(epochs=1e308), Budget(tokens=1e300)])
def test_a_run_without_end_is_refused(instances: PretrainingInstances, tmp_path: Path, budget: Budget):
    with pytest.raises(InputError, match="would never end: ask for fewer steps, epochs or tokens"):
        make_trainer(instances, tmp_path, budget=budget).train()


def test_the_length_of_an_epoch_is_told_by_its_first_block(several_blocks: PretrainingInstances, tmp_path: Path):
    whole = sum(len(several_blocks.block(number)) for number in range(several_blocks.blocks))
    trainer = make_trainer(several_blocks, tmp_path, budget=Budget(epochs=2), batch_size=8)
    assert trainer._plan().examples == pytest.approx(whole, rel=0.1)
    assert trainer._plan().total_steps == pytest.approx(2 * whole / 8, rel=0.1)


def test_a_log_line_has_the_figures_of_its_step(instances: PretrainingInstances, tmp_path: Path):
    trainer = make_trainer(instances, tmp_path, logging_dir=str(tmp_path / "log"), optimizer="google")
    trainer.train()
    lines = read_log(tmp_path / "log")
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5, 6]
    names = {"loss", "mlm_loss", "mlm_accuracy", "nsp_accuracy", "grad_norm", "lr", "tokens_per_second"}
    assert set(lines[0]) == {"step", "epoch"} | names
    assert [line["lr"] for line in lines] == pytest.approx([1e-2 * google_schedule(step, 0, 6) for step in range(6)])


def test_the_share_of_a_gpus_speed_is_logged(instances: PretrainingInstances, tmp_path: Path):
    trainer = make_trainer(instances, tmp_path)
    trainer._peak_flops = 1e12
    trainer.train()
    for entry in trainer.state.log_history:
        flops = flops_per_token(trainer.model.config, 16) * entry["tokens_per_second"]
        assert entry["mfu"] == pytest.approx(flops / 1e12)


def test_masked_words_alone(corpus_folder: Path, tokenizer: BertTokenizer, tmp_path: Path):
    settings = InstanceSettings(max_length=16, next_sentence=False)
    instances = PretrainingInstances(Corpus(corpus_folder), tokenizer, settings)
    trainer = make_trainer(instances, tmp_path, model=BertForMaskedLM(config(tokenizer)))
    trainer.train()
    assert all(entry["loss"] == entry["mlm_loss"] for entry in trainer.state.log_history)
    assert "nsp_accuracy" not in trainer.state.log_history[0]


def test_a_diverged_run_stops_and_keeps_the_last_good_checkpoint(
    instances: PretrainingInstances, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The fourth step is far too large: the loss of the fifth shows it, so checkpoint 4 is no good."""
    trainer = make_trainer(instances, tmp_path, save_strategy="steps", save_steps=1)
    monkeypatch.setattr(trainer, "_schedule", lambda step, *_: 1.0 if step < 3 else 1000.0)
    with pytest.raises(InputError, match=r"masked words became .* before step 5, while guessing .* 3.8") as raised:
        trainer.train()
    assert f"The last good checkpoint is {tmp_path / 'checkpoint-3'}." in str(raised.value)
    assert {path.name for path in tmp_path.iterdir()} == {f"checkpoint-{step}" for step in (1, 2, 3)}

    with torch.no_grad():
        trainer.model.get_parameter("mlm.bias")[7] = math.nan
    with pytest.raises(InputError, match="The loss became nan before step 1"):
        trainer.train()


def test_a_few_unlucky_words_are_no_divergence(
    instances: PretrainingInstances, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    trainer = make_trainer(instances, tmp_path, batch_size=1, budget=Budget(steps=60))
    forward_backward, guessing = trainer._forward_backward, math.log(46)

    def unlucky(batches: list[Any]) -> Any:
        figures, tokens = forward_backward(batches)
        lost = {"mlm_loss": torch.tensor(guessing + 6)} if trainer.state.global_step in unlucky_steps else {}
        return figures | lost, tokens

    monkeypatch.setattr(trainer, "_forward_backward", unlucky)
    unlucky_steps = [20, 40, 41]
    trainer.train()
    unlucky_steps = [*range(20, 60)]
    with pytest.raises(InputError, match="the run has diverged"):
        trainer.train()


@pytest.mark.parametrize("optimizer", ["muon", "google"])
def test_a_step_looks_at_no_number_before_the_log_does(
    instances: PretrainingInstances, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, optimizer: str
):
    """Tensors on "meta" have none: to ask for one, for which a GPU would have to be waited for, fails."""
    monkeypatch.setattr(PretrainingTrainer, "_precision", nullcontext)  # autocast does not know the device
    trainer = make_trainer(instances, tmp_path, optimizer=optimizer, word_weights=torch.ones(46))
    trainer.model.to("meta")
    assert trainer._loss.word_weights is not None
    trainer._loss.word_weights = trainer._loss.word_weights.to("meta")
    update = trainer._create_optimizer()
    assert isinstance(update, {"muon": Muon, "google": AdamWeightDecay}[optimizer])
    for group in update.param_groups:
        group["fused"] = False  # which torch does not offer there
    batches = [pack_instances([instances.block(0)[index] for index in part]) for part in ([0, 1], [2, 3])]
    figures, tokens = trainer.training_step(update, batches, 0.1)
    meter = Meter(trainer.model.device, Reading({}, 0, 0, 0.0))
    meter.add(figures, tokens)
    assert {"mlm_loss", "nsp_accuracy", "bag_loss", "grad_norm"} < figures.keys()
    with pytest.raises((RuntimeError, NotImplementedError)):
        meter.read()


def test_a_batch_that_cannot_be_cut_is_refused(instances: PretrainingInstances, tmp_path: Path):
    with pytest.raises(InputError, match=r"A batch of 8 cannot be cut into 3 equal parts \(1 processes, each with 3\)"):
        make_trainer(instances, tmp_path, gradient_accumulation_steps=3)


# ----------------------------------------------------------------------------------------------------- the command


def test_from_text_to_a_model_that_opens_everywhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    text, out = write_text(tmp_path / "text.txt", 60), tmp_path / "out"
    words = ["--corpus", text, "--vocab-size", 60, "--held-out", 0.2, "--size", "tiny", "--batch-size", 4]
    words += ["--max-length", 16, "--max-steps", 3, "--eval-steps", 2, "--save-steps", 1, "--lr", 1e-3, "--out", out]
    pretrain(*words)
    assert "\nheld-out: loss " in capsys.readouterr().out
    assert {path.name for path in out.iterdir()} == RESULTS
    assert [line["step"] for line in read_log(out)] == [1, 2, 2, 3, 3]
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["steps"] == 3
    assert metrics["held_out"]["loss"] == read_log(out)[-1]["eval_loss"]
    report = (out / "report.html").read_text()
    assert "only below the line has it learnt anything from the context" in report
    assert f">{text}</td>" in report

    ours = BertForPreTraining.from_pretrained(out)
    theirs = transformers.BertForPreTraining.from_pretrained(out).eval()
    inputs = BertTokenizer.from_pretrained(out)("aa ae ai.", return_tensors="pt")
    assert transformers.BertTokenizer.from_pretrained(out)("aa ae ai.")["input_ids"] == inputs["input_ids"][0].tolist()
    with torch.no_grad():
        torch.testing.assert_close(
            ours(**inputs).prediction_logits, theirs(**inputs).prediction_logits, rtol=0, atol=1e-5
        )

    assert "is finished" in pretrain_fails(capsys, *words, "--resume")
    assert "is not empty" in pretrain_fails(capsys, *words)


def test_what_is_wrong_is_one_line_and_leaves_nothing(
    corpus_folder: Path, small_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    out, text = tmp_path / "out", write_text(tmp_path / "text.txt", 3)
    other = tmp_path / "other"
    word_tokenizer("x").save_pretrained(other)
    BertForPreTraining(SMALL).save_pretrained(other)
    (tmp_path / "empty.txt").touch()
    good, from_text = (["--corpus", corpus, "--out", out] for corpus in (corpus_folder, text))
    for words, sentence in (
        ([], "--corpus and --out are needed"),
        (["--corpus", text], "--corpus and --out are needed"),
        (["--corpus", tmp_path / "none.txt", "--out", out], "no such file or directory"),
        (["--corpus", tmp_path / "empty.txt", "--out", out], "There is no text"),
        (["--corpus", tmp_path / "empty.txt", "--vocab", other, "--out", out], "There is no text"),
        (["--corpus", corpus_folder, text, "--out", out], "must then be all of --corpus"),
        (["--corpus", tmp_path, "--out", out], "whose files are the text: name a folder outside of it."),
        ([*good, "--init-from", other, "--max-length", 16], "was made with another tokenizer"),
        ([*good, "--vocab", other], "was made with another tokenizer"),
        ([*good, "--init-from", small_model, "--size", "tiny"], "size, vocabulary and weights: leave out --size."),
        ([*from_text, "--init-from", small_model, "--vocab-size", 9], "leave out --vocab-size."),
        ([*good, "--init-from", small_model, "--embeddings", "random"], "leave out --embeddings random."),
        ([*from_text, "--vocab", other, "--vocab-size", 9], "choose one of them"),
        ([*good, "--vocab-size", 9], "is a prepared corpus: its vocabulary and its held-out documents were chosen"),
        ([*good, "--held-out", 0.5], "Leave out --vocab-size and --held-out"),
        ([*good, "--init-from", small_model, "--max-length", 17], "the 16 positions that the model knows"),
        ([*good, "--batch-size", 9, "--accumulation", 2], "cannot be cut into 2 equal parts"),
        ([*good, "--max-steps", 5, "--epochs", 1], "not allowed with argument"),
        ([*good, "--fsdp", "--compile"], "choose one of them"),
        ([*good, "--max-length", 4], "max_length must be at least 5"),
        ([*good, "--masked-lm-prob", 1], "from 0 to below 1"),
        ([*good, "--seed", -1], "a whole number from 0 to 4294967295"),
        ([*good, "--seed", 1 << 32], "a whole number from 0 to 4294967295"),
        # before the text is prepared, which may take hours
        ([*from_text, "--masked-lm-prob", 0], "masked_lm_prob must be between 0 and 1"),
        ([*from_text, "--max-length", 513], "the 512 positions that the model knows"),
        ([*from_text, "--batch-size", 9, "--accumulation", 2], "cannot be cut into 2 equal parts"),
        ([*good, "--resume"], "has no interrupted run"),
        ([*good[:2], "--out", text], "is a file"),
        ([*good[:2], "--out", tmp_path], "is not empty"),
    ):
        assert sentence in pretrain_fails(capsys, *words), words
        assert not out.exists(), words


@pytest.mark.parametrize(("flags", "share"), [([], 0.15), (["--masked-lm-prob", 0.4], 0.4)], ids=["default", "0.4"])
def test_as_many_tokens_are_predicted_as_were_asked_for(
    flags: list[object], share: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """In training and in evaluation; in long instances, too, where Google's limit of 20 would be less."""
    line = " ".join(WORDS) + "."
    (tmp_path / "text.txt").write_text("\n\n".join("\n".join([line[number:]] * 8) for number in range(0, 60, 3)))
    seen: dict[str, list[Instance]] = {"data.stream": [], "training.objective": []}
    for module, instances in seen.items():

        def pack(batch: list[Instance], instances: list[Instance] = instances) -> dict[str, Any]:
            instances.extend(batch)
            return pack_instances(batch)

        monkeypatch.setattr(f"minibert.{module}.pack_instances", pack)
    out = tmp_path / "out"
    words = ["--corpus", tmp_path / "text.txt", "--vocab-size", 60, "--held-out", 0.4, "--size", "tiny", *flags]
    pretrain(*words, "--max-length", 250, "--max-steps", 1, "--batch-size", 8, "--out", out)
    for instances in seen.values():
        lengths = [len(instance["input_ids"]) for instance in instances]
        assert max(lengths) == 250
        predicted = [int((instance["labels"] != -100).sum()) for instance in instances]
        assert predicted == [max(1, round(length * share)) for length in lengths]
    assert json.loads((out / "settings.json").read_text())["masked_lm_prob"] == share
    assert re.search(rf"masked_lm_prob</t\w><td[^>]*>{share}</td>", (out / "report.html").read_text())


def small_run(corpus: Path, model: Path, out: Path, *more: object) -> list[str]:
    words = ["--corpus", corpus, "--init-from", model, "--out", out, "--max-length", 16, "--batch-size", 8]
    return [str(word) for word in [*words, "--lr", 0.01, "--eval-steps", 7, "--save-steps", 3, *more]]


def start(*words: str, start_new_session: bool = False) -> subprocess.Popen[str]:
    """In a process of its own, on one thread."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, "-m", *words],
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=start_new_session,
    )


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    """Until a process has written it, or has ended."""
    while process.poll() is None and not path.exists():
        time.sleep(0.01)


def children(process: subprocess.Popen[str]) -> list[int]:
    """The processes that it has started and that are still there."""
    found = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True, check=True)
    return [int(number) for number in found.stdout.split()]


def test_another_run_is_not_gone_on_with(
    corpus_folder: Path, small_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    words = small_run(corpus_folder, small_model, tmp_path / "out", "--max-steps", 3)
    pretrain(*words)
    (tmp_path / "out" / "metrics.json").unlink()  # as if it had been killed at the very end
    assert "--seed of the run in" in pretrain_fails(capsys, *words, "--resume", "--seed", 1)
    assert "--batch-size of the run in" in pretrain_fails(capsys, *words, "--resume", "--batch-size", 4)
    for flag, now in (("--masked-lm-prob", 0.3), ("--weight-decay", 0.0), ("--dropout", 0.3)):
        assert re.search(
            rf"{flag} of the run in .* was .*, and is {now} now", pretrain_fails(capsys, *words, "--resume", flag, now)
        )
    assert "was 0.0, and is 0.3 now" in pretrain_fails(capsys, *words, "--resume", "--dropout", 0.3)
    settings = json.loads((tmp_path / "out" / "settings.json").read_text())
    del settings["masked_lm_prob"]  # as if an older version had begun it
    (tmp_path / "out" / "settings.json").write_text(json.dumps(settings))
    before = losses(read_log(tmp_path / "out"))
    # From the beginning: its checkpoints are gone. What was left to the model may be spelt out.
    pretrain(*words, "--resume", "--dropout", 0.0, "--seed", 0)
    assert losses(read_log(tmp_path / "out")) == before


def test_a_run_on_text_does_not_go_on_with_other_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    text, other = write_text(tmp_path / "text.txt", 60), write_text(tmp_path / "other.txt", 30)
    words = ["--vocab-size", 60, "--size", "tiny", "--max-length", 16, "--max-steps", 1, "--batch-size", 4]
    words += ["--out", tmp_path / "out"]
    pretrain("--corpus", text, *words)
    (tmp_path / "out" / "metrics.json").unlink()  # as if it had been killed at the very end
    refusal = pretrain_fails(capsys, "--corpus", other, *words, "--resume")
    assert refusal.endswith("held other data: --resume with the same.")
    assert "--vocab-size of the run in" in pretrain_fails(
        capsys, "--corpus", text, *words, "--vocab-size", 50, "--resume"
    )
    assert "--held-out of the run in" in pretrain_fails(capsys, "--corpus", text, *words, "--held-out", 0.5, "--resume")
    pretrain("--corpus", text, *words, "--resume")


def test_a_run_whose_corpus_was_refused_does_not_go_on_with_other_text(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    text, other = write_text(tmp_path / "text.txt", 1), write_text(tmp_path / "other.txt", 30)
    words = ["--vocab-size", 60, "--size", "tiny", "--max-length", 16, "--max-steps", 1, "--batch-size", 4]
    words += ["--out", tmp_path / "out"]
    assert "has a single document" in pretrain_fails(capsys, "--corpus", text, *words)
    assert "held other data" in pretrain_fails(capsys, "--corpus", other, *words, "--resume")
    pretrain("--corpus", text, *words, "--resume", "--no-next-sentence")


@pytest.mark.slow
def test_killed_at_a_random_moment_a_run_goes_on_bit_for_bit(
    corpus_folder: Path, tokenizer: BertTokenizer, tmp_path: Path
):
    """With dropout, and with batches from two other processes."""
    model = tmp_path / "model"
    torch.manual_seed(0)
    BertForPreTraining(config(tokenizer, dropout=0.2)).save_pretrained(model)
    tokenizer.save_pretrained(model)
    chance = random.Random()
    for name, workers in (("whole", 0), ("killed", 2)):
        out = tmp_path / name
        words = ["minibert.pretrain", *small_run(corpus_folder, model, out, "--max-steps", 60, "--workers", workers)]
        process = start(*words)
        if name == "killed":
            for limit in sorted(chance.sample(range(1, 55), 2)):
                while process.poll() is None and (not (out / "log.jsonl").exists() or len(read_lines(out)) < limit):
                    time.sleep(0.01)
                time.sleep(chance.random() / 10)
                process.send_signal(signal.SIGKILL)
                process.communicate()
                process = start(*words, "--resume")
        assert process.wait() == 0, process.communicate()
    assert losses(read_log(tmp_path / "killed")) == losses(read_log(tmp_path / "whole"))
    ours, theirs = (BertForPreTraining.from_pretrained(tmp_path / name).state_dict() for name in ("killed", "whole"))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def read_lines(out: Path) -> list[str]:
    return (out / "log.jsonl").read_text().splitlines()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_ctrl_c_saves_and_says_how_to_go_on(
    number: signal.Signals, corpus_folder: Path, small_model: Path, tmp_path: Path
):
    """Although the signal, from a terminal or a scheduler, also reaches the processes that make the batches."""
    out = tmp_path / "out"
    words = [*small_run(corpus_folder, small_model, out, "--max-steps", 100_000), "--workers", "2"]
    process = start("minibert.pretrain", *words, start_new_session=True)
    wait_for(out / "log.jsonl", process)
    workers = children(process)
    assert len(workers) == 2
    os.killpg(process.pid, number)
    _, errors = process.communicate()
    assert process.returncode == 130
    for worker in workers:
        with pytest.raises(ProcessLookupError):
            os.kill(worker, 0)
    assert "stopped and saved after step" in errors.splitlines()[-1]
    assert errors.splitlines()[-1].endswith("--resume")
    step = read_log(out)[-1]["step"]
    assert (out / "checkpoints" / f"checkpoint-{step}").is_dir()


@pytest.mark.slow
def test_a_killed_process_that_makes_batches_gets_a_sentence(corpus_folder: Path, small_model: Path, tmp_path: Path):
    out = tmp_path / "out"
    words = small_run(corpus_folder, small_model, out, "--max-steps", 100_000, "--workers", 1)
    process = start("minibert.pretrain", *words)
    wait_for(out / "log.jsonl", process)
    os.kill(children(process)[0], signal.SIGKILL)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 2
    assert "error: A process that makes batches was killed" in errors  # after it torch may complain once more


def test_the_death_of_a_process_that_makes_batches_is_no_fault_of_the_disk(
    instances: PretrainingInstances, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """It is told by a signal, which may come while a checkpoint is written."""

    def save(*_: Any) -> None:
        try:
            raise RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed.")
        finally:
            raise RuntimeError("unexpected pos 704 vs 598")  # as torch does while it closes the file

    monkeypatch.setattr(torch, "save", save)
    with pytest.raises(RuntimeError, match="DataLoader worker"):
        make_trainer(instances, tmp_path, save_strategy="steps", save_steps=1).train()


TORCHRUN = ["torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m"]


@pytest.mark.slow
def test_ctrl_c_to_torchrun_saves_once(corpus_folder: Path, small_model: Path, tmp_path: Path):
    """It sends the signal on twice."""
    out = tmp_path / "out"
    job = start(*TORCHRUN, "minibert.pretrain", *small_run(corpus_folder, small_model, out, "--max-steps", 100_000))
    wait_for(out / "log.jsonl", job)
    job.send_signal(signal.SIGINT)
    _, errors = job.communicate(timeout=120)
    assert errors.count("stopped and saved after step") == 1, errors  # by the first process
    assert "Go on with: torchrun --nproc-per-node 2 -m minibert.pretrain --corpus" in errors
    step = read_log(out)[-1]["step"]
    assert (out / "checkpoints" / f"checkpoint-{step}").is_dir()


@pytest.mark.slow
def test_the_processes_of_a_killed_torchrun_save_and_end(corpus_folder: Path, small_model: Path, tmp_path: Path):
    out = tmp_path / "out"
    job = start(*TORCHRUN, "minibert.pretrain", *small_run(corpus_folder, small_model, out, "--max-steps", 100_000))
    wait_for(out / "log.jsonl", job)
    job.kill()
    _, errors = job.communicate(timeout=120)  # until the last of them has closed it
    assert errors.count("stopped and saved after step") == 1, errors
    step = read_log(out)[-1]["step"]
    assert (out / "checkpoints" / f"checkpoint-{step}").is_dir()


def test_more_processes_than_gpus_are_refused(monkeypatch: pytest.MonkeyPatch):
    for name, value in {"WORLD_SIZE": "2", "LOCAL_RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    refused = pytest.raises(InputError, match=r"number 1 .* finds only 1 on this machine\. .*--nproc-per-node 1\.")
    with refused, process_group():
        raise AssertionError("it was let in")


def test_nothing_holds_the_group_of_processes_after_training(
    instances: PretrainingInstances, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The end of a run hung, now and then, where `DistributedDataParallel` was the last to let go of it."""
    monkeypatch.setattr("minibert.training.pretraining_trainer.ranks", lambda: 2)
    distributed.init_process_group("gloo", (tmp_path / "group").as_uri(), rank=0, world_size=1)
    try:
        trainer = make_trainer(instances, tmp_path)
        held: list[weakref.ref[Any]] = []

        def train(trainer: PretrainingTrainer, *_: Any) -> None:
            assert isinstance(trainer._parallel, DistributedDataParallel)
            held.extend(map(weakref.ref, (trainer._parallel, trainer._parallel.reducer)))
            raise KeyboardInterrupt

        monkeypatch.setattr(Trainer, "train", train)
        with pytest.raises(KeyboardInterrupt):
            trainer.train()
        assert [reference() for reference in held] == [None, None]
    finally:
        distributed.destroy_process_group()


def test_no_thread_of_gloos_breaks_the_end_of_a_process(tmp_path: Path):
    """torch's caches hold the group of a divided model to the last: its threads may return a tensor as Python ends."""
    program = tmp_path / "program.py"
    program.write_text(f"""
import time
import torch
from minibert.commandline import Parser, run

class Late:
    def __init__(self):
        torch.distributed.init_process_group("gloo", {(tmp_path / "group").as_uri()!r}, rank=0, world_size=1)
        self.group = torch.distributed.group.WORLD

    def __del__(self, ones=torch.ones, sleep=time.sleep):
        work = self.group.allreduce([ones(1)])
        sleep(1)

late = Late()
run(Parser("program", "", ""), lambda arguments: print("done"), [])
""")
    environment = os.environ | {"LOCAL_WORLD_SIZE": "2", "PYTHONPATH": str(ROOT)}
    ended = subprocess.run([sys.executable, program], env=environment, capture_output=True, text=True)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "done\n", "")


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
@pytest.mark.parametrize("flags", [[], ["--fsdp"]], ids=["ddp", "fsdp"])
def test_two_processes_learn_what_one_does(
    flags: list[str], optimizer: str, corpus_folder: Path, small_model: Path, tmp_path: Path
):
    """And go on from what one process has saved."""
    for name in ("one", "two"):
        words = small_run(corpus_folder, small_model, tmp_path / name, "--max-steps", 8, "--accumulation", 2)
        words += ["--bag-of-words", "--optimizer", optimizer]
        if name == "two":
            process = start("minibert.pretrain", *words)
            wait_for(tmp_path / name / "checkpoints" / "checkpoint-3", process)
            process.kill()
            process.communicate()
        launcher, more = (TORCHRUN, ["--resume", *flags]) if name == "two" else ([], [])
        process = start(*launcher, "minibert.pretrain", *words, *more)
        _, errors = process.communicate()
        assert process.returncode == 0, errors
    one, two = (read_log(tmp_path / name) for name in ("one", "two"))
    assert [entry["step"] for entry in one] == [entry["step"] for entry in two]
    for ours, theirs in zip(two, one, strict=True):
        for key in ("loss", "bag_loss", "grad_norm", "mlm_accuracy", "eval_loss"):
            assert ours.get(key, 0.0) == pytest.approx(theirs.get(key, 0.0), abs=2e-6)
    ours, theirs = (BertForPreTraining.from_pretrained(tmp_path / name).state_dict() for name in ("two", "one"))
    assert all(torch.allclose(ours[name], theirs[name], atol=1e-4) for name in theirs)


@pytest.mark.slow
@pytest.mark.parametrize("flags", [[], ["--fsdp"]], ids=["ddp", "fsdp"])
def test_words_are_counted_once_for_all_processes(
    flags: list[str], corpus_folder: Path, small_model: Path, tmp_path: Path
):
    program = tmp_path / "program.py"
    program.write_text("""
from minibert.commandline import run
from minibert.pretrain import build_parser, main
from minibert.training import pretraining

if pretraining.rank() == 1:
    del pretraining.count_vectors
run(build_parser(), main)
""")
    for name, launcher in (("one", ["minibert.pretrain"]), ("two", [*TORCHRUN[:-1], str(program), *flags])):
        words = small_run(corpus_folder, small_model, tmp_path / name, "--max-steps", 2, "--embeddings", "counts")
        process = start(*launcher, *words)
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    one, two = (losses(read_log(tmp_path / name)) for name in ("one", "two"))
    for ours, theirs in zip(two, one, strict=True):
        assert ours == pytest.approx(theirs, abs=2e-6)


@pytest.mark.slow
@pytest.mark.parametrize("flags", [[], ["--fsdp"]], ids=["ddp", "fsdp"])
def test_a_process_that_dies_ends_the_job_which_goes_on_with_fewer(
    flags: list[str], corpus_folder: Path, small_model: Path, tmp_path: Path
):
    out = tmp_path / "out"
    words = ["minibert.pretrain", *small_run(corpus_folder, small_model, out, "--max-steps", 400)]
    job = start(*TORCHRUN, *words, *flags)
    wait_for(out / "checkpoints" / "checkpoint-6", job)
    os.kill(children(job)[-1], signal.SIGKILL)
    _, errors = job.communicate(timeout=120)
    assert job.returncode != 0
    assert "lost the others after step" in errors
    assert "Start the same command again with --resume" in errors
    before = max(entry["step"] for entry in read_log(out))
    process = start(*words, "--resume")
    while process.poll() is None and max(entry["step"] for entry in read_log(out)) <= before + 3:
        time.sleep(0.01)
    assert process.poll() is None, process.communicate()
    process.kill()
    process.communicate()
    steps = [entry["step"] for entry in read_log(out) if "lr" in entry]
    assert steps == list(range(1, len(steps) + 1))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("victim", "where", "step"),
    [(1, "PretrainingTrainer._forward_backward", 0), (0, "write_pretraining_report", 3)],
    ids=["other-in-the-first-step", "first-at-the-end"],
)
def test_who_is_left_tells_it_before_torchrun_ends_it(
    victim: int, where: str, step: int, corpus_folder: Path, small_model: Path, tmp_path: Path
):
    """torchrun sends SIGTERM within a tenth of a second. Here it takes longer to find out what an error means."""
    program = tmp_path / "program.py"
    program.write_text(f"""
import os, signal, time
from minibert.commandline import run
from minibert.pretrain import build_parser, main
from minibert.training import pretraining
from minibert.training.pretraining import PretrainingTrainer

lost_contact = pretraining.lost_contact
pretraining.lost_contact = lambda error: time.sleep(2) or lost_contact(error)
if pretraining.rank() == {victim}:
    pretraining.{where} = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
run(build_parser(), main)
""")
    words = small_run(corpus_folder, small_model, tmp_path / "out", "--max-steps", 3)
    job = start(*TORCHRUN[:-1], str(program), *words)
    _, errors = job.communicate(timeout=120)
    assert job.returncode != 0
    assert f"process {1 - victim} lost the others after step {step}: one of them has ended. Start the same" in errors
    assert not (tmp_path / "out" / "metrics.json").exists()


def test_a_process_that_is_gone_is_no_fault_of_a_checkpoint(
    instances: PretrainingInstances, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Where a model is divided, its weights are sent to the others."""

    def load(*_: Any) -> None:
        raise RuntimeError("[gloo/transport/tcp/pair.cc:553] Connection closed by peer")

    make_trainer(instances, tmp_path, save_strategy="steps").train()
    monkeypatch.setattr("minibert.training.state.load_weights", load)
    with pytest.raises(InputError, match="is no checkpoint that this run can go on from"):
        make_trainer(instances, tmp_path).train(resume_from_checkpoint=True)
    monkeypatch.setattr("minibert.training.distributed.ranks", lambda: 2)
    with pytest.raises(RuntimeError, match="Connection closed by peer"):
        make_trainer(instances, tmp_path).train(resume_from_checkpoint=True)
