"""Whole training steps of minibert's Trainer against those of transformers' Trainer, on equal weights and examples.

A step is what it is in training: examples as the tokenizer left them become a batch, then forward, backward, clip,
AdamW, the schedule. Nothing is logged or saved.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from torch import Tensor

from ..config import BertConfig
from ..data.batches import length_grouped_batches
from ..data.stream import pack_instances
from ..device import best_device
from ..training.arguments import TrainingArguments
from ..training.pretraining_trainer import Budget, PretrainingTrainer
from ..training.trainer import Trainer
from .comparison import (
    OURS,
    Build,
    Make,
    Run,
    Step,
    add_memory,
    available,
    check_close,
    check_lengths,
    measure,
    report,
    speeds,
)
from .lengths import own_batches, read_lengths, sst2_lengths, two_thirds_full
from .models import Setting, library, open_with_minibert, open_with_transformers, weights
from .roofline import product_flops, training_flops
from .targets import FINETUNING, FINETUNING_BF16, PRETRAINING, targets_table
from .texts import classified_examples, masked_examples

TOTAL_STEPS = 10_000  # of the run that the steps are taken from
LEARNING_RATE = 5e-5
CHECKED_STEPS = 3
STEPS_FOR_PEAK = 3  # the optimizer's own memory is there from the second step on
TOLERANCE, TOLERANCE_BF16 = 1e-5, 2e-2  # of the loss
BY_LENGTH, AS_IT_COMES = "batches of similar length", "batches in random order"

Examples = list[dict[str, Any]]


def bench_finetune(arguments: argparse.Namespace) -> None:
    """Fine-tuning for classification. Texts of the same lengths in two orders: each Trainer prefers one of them."""
    size, rounds = arguments.batch_size, arguments.rounds
    if arguments.lengths:
        lengths = read_lengths(arguments.lengths)
        random.Random(0).shuffle(lengths)
    else:
        lengths = sst2_lengths(size * rounds)
    orders = {
        AS_IT_COMES: [lengths[start : start + size] for start in range(0, len(lengths), size)],
        BY_LENGTH: [[lengths[i] for i in batch] for batch in length_grouped_batches(lengths, size, seed=0, epoch=0)],
    }
    with weights("BertForSequenceClassification", arguments.model, arguments.size) as setting:
        results, notes = compare(orders, setting, classified_examples, arguments)
    found = own_order(results)
    notes += [
        f"{order[0].upper()}{order[1:]}: minibert is {ratio:.2f} times as fast." for order, ratio in found.items()
    ]
    targets = targets_table(FINETUNING_BF16 if arguments.bf16 else FINETUNING, found)
    report(f"Fine-tuning steps{_precision(arguments)}", arguments, results, notes, targets)


def bench_pretrain(arguments: argparse.Namespace) -> None:
    """Masked language modelling, where padding is a third of the batch."""
    size, longest = arguments.batch_size, arguments.max_length
    work = f"{size} x {longest}"
    batches = [two_thirds_full(size, longest)]
    if arguments.lengths:
        work, batches = arguments.lengths, own_batches(arguments.lengths, size)
    with weights("BertForMaskedLM", arguments.model, arguments.size) as setting:
        setting = setting.but(compiled=arguments.compile)
        results, notes = compare({work: batches}, setting, masked_examples, arguments)
        dtype = torch.bfloat16 if arguments.bf16 else torch.float32
        notes.append(_use_of_the_machine(results, setting.config, batches, dtype))
    targets = "" if arguments.bf16 else targets_table(PRETRAINING, speeds(results) | memory_shares(results))
    compiled = ", compiled" if arguments.compile else ""
    report(f"MLM pretraining steps{_precision(arguments)}{compiled}", arguments, results, notes, targets)


def compare(
    works: dict[str, list[list[int]]], setting: Setting, make: Make, arguments: argparse.Namespace
) -> tuple[list[dict[str, Any]], list[str]]:
    """The results of all programs at all works, which take turns; and notes on the programs that are not there.

    Before anything is timed, the losses of the first steps must be equal: from the second on they depend on
    everything in the step before.
    """
    notes: list[str] = []
    check_lengths([batch for batches in works.values() for batch in batches], setting.config)
    programs: dict[str, tuple[Build, Setting]] = {
        OURS: (minibert_program, setting.but(bf16=arguments.bf16)),
        "transformers": (transformers_program, setting.but(bf16=arguments.bf16)),
    }
    if arguments.bf16 and not setting.compiled:  # compiling a third program is not worth the minutes
        programs["transformers, float32"] = (transformers_program, setting)
    batches = {
        work: [make(lengths, setting.config, seed) for seed, lengths in enumerate(lists)]
        for work, lists in works.items()
    }
    check_equal(programs, next(iter(batches.values())), TOLERANCE_BF16 if arguments.bf16 else TOLERANCE)
    steps = available(programs, notes)
    runs = [Run(work, name, step, batches[work], works[work]) for work in works for name, step in steps.items()]
    print(f"{len(runs)} runs take turns, {arguments.rounds} rounds ...", file=sys.stderr)
    results = measure(runs, arguments.rounds)
    del steps, runs
    for result in results:
        largest = max(works[result["work"]], key=lambda lengths: len(lengths) * max(lengths))
        add_memory(result, *programs[result["program"]], make, largest, STEPS_FOR_PEAK)
    return results, notes


def check_equal(programs: Mapping[str, tuple[Build, Setting]], batches: Sequence[Examples], tolerance: float) -> None:
    """Raise if the losses of the first steps differ, without dropout."""
    plain = {name: (build, setting.but(dropout=False)) for name, (build, setting) in programs.items()}
    wanted: Tensor | None = None
    for name, program in plain.items():
        for step in available({name: program}, []).values():
            losses = torch.stack([step(batches[number % len(batches)]) for number in range(CHECKED_STEPS)])
            wanted = losses if wanted is None else wanted
            check_close(name, losses, wanted, tolerance)


def _use_of_the_machine(
    results: list[dict[str, Any]], config: BertConfig, batches: list[list[int]], dtype: torch.dtype
) -> str:
    """Adds each program's `share_of_product` to its result, and says it in a sentence."""
    roof = product_flops(best_device(), dtype)
    for result in results:
        result["share_of_product"] = training_flops(config, batches, result["tokens_per_second"]) / roof
    shares = ", ".join(f"{result['program']} {result['share_of_product']:.0%}" for result in results)
    return (
        f"A large matrix product reaches {roof / 1e12:.3g} TFLOP/s here in {str(dtype).removeprefix('torch.')}. What "
        f"the blocks need for the real tokens is a share of that: {shares}."
    )


def _precision(arguments: argparse.Namespace) -> str:
    return " with matrix products in bfloat16" if arguments.bf16 else " in float32"


def own_order(results: list[dict[str, Any]]) -> dict[str, float]:
    """How many times as fast minibert's Trainer is if each goes through the texts in the order that is its default."""
    speed = {(result["work"], result["program"]): result["tokens_per_second"] for result in results}
    return {
        f"each in its own order, {program}": speed[BY_LENGTH, OURS] / theirs
        for (work, program), theirs in speed.items()
        if work == AS_IT_COMES and program != OURS
    }


def memory_shares(results: list[dict[str, Any]]) -> dict[str, float]:
    """minibert's peak memory in that of another program, where the system tells it."""
    told = [result for result in results if result["peak_memory_mb"] is not None]
    peaks = {(result["work"], result["program"]): result["peak_memory_mb"] for result in told}
    return {f"{work}, {name}: peak memory": peaks[work, OURS] / peak for (work, name), peak in peaks.items()}


# ------------------------------------------------------------------------------------------------------- the programs
# Each is built from a setting and then called with a list of examples. It trains on them and returns the loss.


class StepwiseTrainer(Trainer):
    """minibert's Trainer with its loop turned inside out: it makes one step, on the examples that it is given."""

    def step(self, examples: Examples) -> Tensor:
        self.model.train()
        if self.state.global_step == 0:
            self._optimizer = self._create_optimizer()
        learning_rate = self.args.learning_rate * self._schedule(self.state.global_step, 0, TOTAL_STEPS)
        figures, _ = self.training_step(self._optimizer, [self._make_batch(examples)], learning_rate)
        self.state.global_step += 1
        return figures["loss"]

    def _make_batch(self, examples: Examples) -> dict[str, Any]:
        return self.batch(examples, list(range(len(examples))))


class StepwisePretrainer(StepwiseTrainer, PretrainingTrainer):
    """The same for pretraining, whose batches tell which tokens are to be predicted."""

    def _make_batch(self, examples: Examples) -> dict[str, Any]:
        names = ("input_ids", "token_type_ids", "labels")
        return pack_instances([{name: np.array(example[name]) for name in names} for example in examples])


def minibert_program(setting: Setting) -> Step:
    model = open_with_minibert(setting)
    arguments = TrainingArguments(learning_rate=LEARNING_RATE, bf16=setting.bf16, disable_tqdm=True)
    if setting.head == "BertForSequenceClassification":
        return StepwiseTrainer(model, arguments).step
    no_corpus: Any = None  # every step is handed its examples
    return StepwisePretrainer(
        model, arguments, no_corpus, [], no_corpus, batch_size=1, budget=Budget(), compiled=setting.compiled
    ).step


def transformers_program(setting: Setting) -> Step:
    """transformers' Trainer: its collator, `training_step`, optimizer and schedule, in the order of its own loop."""
    transformers = library("transformers")
    library("accelerate")  # which transformers' Trainer needs
    model, config = open_with_transformers(setting), setting.config
    pad = "[PAD]"
    words = Tokenizer(WordPiece({pad: config.pad_token_id}, unk_token=pad))
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=words, pad_token=pad)
    collators = {
        "BertForSequenceClassification": transformers.DataCollatorWithPadding,
        "BertForMaskedLM": transformers.DataCollatorForTokenClassification,  # it pads labels as well
    }
    collate = collators[setting.head](tokenizer)
    with tempfile.TemporaryDirectory() as folder:
        arguments = transformers.TrainingArguments(
            folder,
            learning_rate=LEARNING_RATE,
            max_steps=TOTAL_STEPS,
            bf16=setting.bf16,
            torch_compile=setting.compiled,
            use_cpu=best_device().type == "cpu",
            report_to="none",
        )
        trainer = transformers.Trainer(model, arguments)
    trainer.current_gradient_accumulation_steps = arguments.gradient_accumulation_steps  # as its loop does
    trainer.create_optimizer_and_scheduler(TOTAL_STEPS)
    model, optimizer, schedule = trainer.accelerator.prepare(model, trainer.optimizer, trainer.lr_scheduler)

    def step(examples: Examples) -> Tensor:
        loss = trainer.training_step(model, collate(examples))
        trainer.accelerator.clip_grad_norm_(model.parameters(), arguments.max_grad_norm)
        optimizer.step()
        schedule.step()
        model.zero_grad()
        return loss.detach()

    return step
