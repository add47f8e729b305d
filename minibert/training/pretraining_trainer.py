"""`Trainer`'s loop for pretraining: where batches come from, what is minimised, how processes share the work."""

from __future__ import annotations

import itertools
import math
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from tqdm.auto import tqdm

from ..data.batches import move
from ..data.instances import Instance, PretrainingInstances
from ..data.stream import Batch, InstanceStream, Place, load_batches, parts_of
from ..errors import InputError
from .arguments import TrainingArguments
from .compilation import compile_blocks
from .distributed import any_rank, rank, ranks, shard, sum_over_ranks
from .google_optimizer import AdamWeightDecay, google_schedule
from .interrupt import InterruptGuard
from .muon import Muon
from .objective import PretrainingLoss, PretrainingModel, Tally, tally_of
from .optimizer import parameter_groups
from .state import Saves
from .trainer import Plan, Steps, Trainer, TrainOutput
from .utilization import flops_per_token, peak_flops

WORSE_THAN_GUESSING = 3.0  # nats: the truth is thought twenty times less likely than if all words were alike
JUDGED_WORDS = 100  # in whose mean loss a run can be seen to diverge; that of a few words may be large by chance
MEASURED_INSTANCES = 1000  # whose mean length tells how many instances a number of tokens makes


@dataclass
class Budget:
    """How long to train: the one that is set. Tokens are those the model reads, special ones included."""

    steps: int | None = None
    epochs: float | None = None
    tokens: float | None = None


def check_parts(batch_size: int, accumulation: int) -> None:
    """Raise `InputError` if a batch cannot be cut into equal parts, so many for each process."""
    parts = accumulation * ranks()
    if batch_size % parts:
        raise InputError(
            f"A batch of {batch_size} cannot be cut into {parts} equal parts ({ranks()} processes, each with "
            f"{accumulation}): choose a multiple of {parts}."
        )


class PretrainingTrainer(Trainer):
    """Train `BertForPreTraining`, or, on instances without pairs, `BertForMaskedLM`.

    batch_size: instances a step, over all processes. It is cut into `args.gradient_accumulation_steps` parts in each
        process: the number of processes and of parts changes memory and speed, but not what is learnt.
    held_out: instances for evaluation, always the same; none: no evaluation.
    word_weights: (vocab,) float32, to learn bags of words, too (`bag_of_words.py`); None: not.
    optimizer: AdamW; Muon for the blocks' matrices (`muon.py`); or Google's, with its schedule (`google_optimizer.py`).
    workers: processes that make batches.
    fsdp: divide the model itself among the processes.
    compiled: through `torch.compile`.

    In `args`, the numbers of epochs, steps and examples a batch are not read: `budget` and `batch_size` say them.
    Raises `InputError` if the batch cannot be cut into equal parts.
    """

    def __init__(
        self,
        model: PretrainingModel,
        args: TrainingArguments,
        instances: PretrainingInstances,
        held_out: Sequence[Instance],
        tokenizer: Saves,
        *,
        batch_size: int,
        budget: Budget,
        word_weights: Tensor | None = None,
        optimizer: Literal["adamw", "muon", "google"] = "adamw",
        workers: int = 0,
        fsdp: bool = False,
        compiled: bool = False,
    ) -> None:
        super().__init__(model, args, processing_class=tokenizer)
        check_parts(batch_size, args.gradient_accumulation_steps)
        self.stream = InstanceStream(instances)
        self.held_out = held_out
        self.batch_size = batch_size
        self.budget = budget
        self.optimizer = optimizer
        self.workers = workers
        self.fsdp = fsdp
        self.writes_files = rank() == 0
        self._parent = os.getppid()
        self._loss = PretrainingLoss(model, None if word_weights is None else word_weights.to(model.device))
        self._parallel: nn.Module = self._loss
        if compiled:
            compile_blocks(model)
        self._peak_flops = peak_flops(model.device) if args.bf16 else None
        self._guessing = math.log(model.config.vocab_size)

    def train(self, resume_from_checkpoint: str | Path | Literal[True] | None = None) -> TrainOutput:
        """As `Trainer.train`, by all processes together, which begin with the weights of the first."""
        if self.fsdp:
            shard(self._loss, self._loss.model.bert.blocks)
        elif ranks() > 1:
            self._parallel = DistributedDataParallel(self._loss)
        try:
            return super().train(resume_from_checkpoint)
        finally:
            # It must be gone before the processes part. Were it the last to hold their group, Python would wait for
            # gloo's thread to end, and that thread for Python.
            self._parallel = self._loss

    def _plan(self) -> Plan:
        """Epochs differ a little in length, and planning a whole one can take long: the first block tells it."""
        first = self.stream.block(0)
        epoch = round(len(first) * self.stream.instances.corpus.tokens / first.corpus.tokens)
        steps: float
        if self.budget.tokens is not None:
            measured = [len(first[index]["input_ids"]) for index in range(min(MEASURED_INSTANCES, len(first)))]
            steps = self.budget.tokens / float(np.mean(measured)) / self.batch_size
        elif self.budget.epochs is not None:
            steps = self.budget.epochs * epoch / self.batch_size
        else:
            assert self.budget.steps is not None
            steps = self.budget.steps
        if steps > sys.maxsize:
            raise InputError(f"A run of {steps:.1e} steps would never end: ask for fewer steps, epochs or tokens.")
        total_steps = math.ceil(steps)
        steps_per_epoch = math.ceil(epoch / self.batch_size)
        return Plan(epoch, steps_per_epoch, total_steps, partial(self._stream_steps, total_steps))

    def _stream_steps(self, total_steps: int) -> Steps:
        left = total_steps - self.state.global_step
        start = Place(*self.state.next_instance)
        accumulation = self.args.gradient_accumulation_steps

        def steps() -> Iterator[list[Place]]:
            return itertools.islice(self.stream.steps(start, self.batch_size), left)

        shares = (parts_of(places, accumulation, rank(), ranks()) for places in steps())
        # Batches are made ahead, so the places of the step at hand are counted a second time.
        for places, batches in zip(steps(), load_batches(self.stream, shares, self.workers), strict=True):
            last = places[-1]
            self.state.next_instance = (last.block, last.number + 1)
            yield batches

    def _create_optimizer(self) -> torch.optim.Optimizer:
        rate, decay = self.args.learning_rate, self.args.weight_decay
        if self.optimizer == "muon":
            return Muon(self.model, rate, decay, torch.bfloat16 if self.args.bf16 else torch.float32)
        if self.optimizer == "google":
            return AdamWeightDecay(parameter_groups(self.model, decay), rate)
        return super()._create_optimizer()

    def _schedule(self, step: int, warmup_steps: int, total_steps: int) -> float:
        if self.optimizer == "google":
            return google_schedule(step, warmup_steps, total_steps)
        return super()._schedule(step, warmup_steps, total_steps)

    def _must_stop(self, interrupt: InterruptGuard) -> bool:
        """If torchrun was killed, nothing would end its processes, and --resume would start more beside them."""
        orphaned = dist.is_torchelastic_launched() and os.getppid() != self._parent
        return any_rank(interrupt.asked or orphaned, self.model.device)

    def _forward_backward(self, batches: list[Batch]) -> tuple[dict[str, Tensor], Tensor]:
        """Add up the gradients of all batches of a step. The figures are of all processes together.

        No number is looked at: a GPU would have to finish the step before it is given the next piece of work.
        """
        device = self.model.device
        self._seed_dropout()
        labels = "masked_lm_ids", "next_sentence_labels"
        counts = torch.tensor([sum(len(batch.get(key, ())) for batch in batches) for key in labels])
        masked, pairs = sum_over_ranks(move(counts, device))
        total = torch.zeros(len(Tally._fields), device=device)
        for number, batch in enumerate(batches, start=1):
            # Whole models exchange their gradients once, after the last batch.
            later = isinstance(self._parallel, DistributedDataParallel) and number < len(batches)
            with self._parallel.no_sync() if later else nullcontext():  # type: ignore[operator]
                with self._precision():
                    sums = self._parallel({key: move(value, device) for key, value in batch.items()})
                tally = Tally(*sums)
                loss = tally.mlm_loss / masked.clamp(min=1) + tally.nsp_loss / pairs.clamp(min=1)
                loss = loss + tally.bag_loss / self.batch_size
                (loss * ranks()).backward()  # the exchange of gradients divides by the number of processes
            total += sums.detach()
        tally = Tally(*sum_over_ranks(total))
        figures = tally.figures("next_sentence_labels" in batches[0], self._loss.word_weights is not None)
        return figures, tally.tokens.long()

    def _seed_dropout(self) -> None:
        """A seed for each step and process, so that a run goes on exactly with what no checkpoint needs to keep."""
        numbers = [self.args.seed, self.state.global_step, rank()]
        torch.manual_seed(int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0]))

    def _check(self, figures: Mapping[str, float]) -> None:
        super()._check(figures)
        if "mlm_loss" not in figures:
            return
        history, step = self.state.log_history, self.state.global_step
        more = JUDGED_WORDS // (self.batch_size * self.stream.instances.settings.most_predictions)
        earlier = [entry["mlm_loss"] for entry in history[max(0, len(history) - more) :] if "mlm_loss" in entry]
        loss = float(np.mean([*earlier, figures["mlm_loss"]]))
        if loss > self._guessing + WORSE_THAN_GUESSING:
            raise self._diverged(
                f"The loss of the masked words became {loss:.1f} before step {step}, while guessing among all words "
                f"alike has {self._guessing:.1f}",
                step - 1,
            )

    def _log(self, values: Mapping[str, Any]) -> None:
        if self._peak_flops is not None and "tokens_per_second" in values:
            seq = self.stream.instances.settings.max_length
            flops = values["tokens_per_second"] * flops_per_token(self.model.config, seq)
            values = {**values, "mfu": flops / (self._peak_flops * ranks())}
        super()._log(values)

    def evaluate(self, eval_dataset: Any = None, metric_key_prefix: str = "eval") -> dict[str, float]:
        """The figures of the held-out instances; in every process the same."""
        instances = self.held_out if eval_dataset is None else eval_dataset
        bar = partial(tqdm, desc=metric_key_prefix, unit="batch", leave=False, delay=1, disable=not self.writes_files)
        with self._precision():
            tally = tally_of(self._loss, instances, self.args.per_device_eval_batch_size, bar)
        figures = {f"{metric_key_prefix}_{name}": value.item() for name, value in tally.figures().items()}
        self._log(figures)
        return figures
