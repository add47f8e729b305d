"""The training loop, written by hand, in the well-known clothes of `transformers`' `Trainer`.

`Trainer._loop` is the loop: take a batch, forward, backward, clip, step; log, evaluate and save now and then.
Evaluation and prediction follow it.
"""

from __future__ import annotations

import inspect
import json
import math
import random
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from ..data.batches import as_list, batches_by_length, length_grouped_batches, move, pack_examples
from ..device import best_device
from ..errors import DivergedError, InputError
from ..files import write_json, write_text
from ..foreign import foreign
from ..model import BertPreTrainedModel
from ..packing import PackedBatch
from ..transfer.freezing import freeze_below
from ..transfer.gradual_unfreezing import unfreeze_gradually
from .activation_checkpointing import checkpoint_activations
from .adversarial import check_words_learn, words_moved
from .answers import Rows
from .arguments import TrainingArguments
from .averaging import WeightAverage
from .balance import balanced_draw, class_weights
from .class_loss import class_loss, label_weight
from .distributed import whole, whole_model, whole_optimizer_state
from .early_stopping import evaluations_without_gain
from .examples import Dataset, check_data, check_row, lengths_of
from .foreign_arguments import OLD_TRAINER, TRAINER
from .interrupt import InterruptGuard
from .meter import Meter, Reading
from .optimizer import create_optimizer
from .schedules import SCHEDULES
from .state import (
    OwnCheckpoints,
    Saves,
    TrainerState,
    checkpoints,
    keep_newest,
    load_checkpoint,
    load_weights,
    save_checkpoint,
    save_pretrained,
)  # fmt: skip

LOG = "log.jsonl"
LABELS = ("labels", "next_sentence_label", "start_positions", "end_positions")


class EvalPrediction(NamedTuple):
    """What `compute_metrics` is given: an array, or a tuple of arrays, with a row for each example."""

    predictions: Any
    label_ids: Any


class PredictionOutput(NamedTuple):
    """What `Trainer.predict` returns. -100 fills up rows of different length."""

    predictions: Any
    label_ids: Any
    metrics: dict[str, float]


class TrainOutput(NamedTuple):
    """What `Trainer.train` returns."""

    global_step: int
    training_loss: float
    metrics: dict[str, float]


Steps = Generator[list[dict[str, Any]], None, None]


class Plan(NamedTuple):
    """What a run is going to do. `steps` yields, for every step that is left, its batches; it must be closed."""

    examples: int  # in an epoch
    steps_per_epoch: int
    total_steps: int
    steps: Callable[[], Steps]


class Trainer:
    """Train, evaluate and use a model on examples.

    model: one of the task models, whose `forward` returns a loss when it is given labels.
    train_dataset, eval_dataset: examples as the tokenizer makes them plus `labels`; they need no padding, but where an
        example is several rows (multiple choice).
    compute_metrics: from an `EvalPrediction` to a dict of numbers.
    data_collator: makes a batch out of a list of examples; by default they are packed. Articles with a label for each
        sentence need `SummarizationTask.collate`.
    processing_class: the tokenizer, saved beside the model.
    preprocess_logits_for_metrics: from the logits and the labels of a batch to what is to be kept of the logits, one
        tensor or several, (batch, ...) each; by default all.
    callbacks: `transformers`' EarlyStoppingCallback alone, which stands for the arguments `early_stopping_...`.
    """

    @foreign(TRAINER, OLD_TRAINER)
    def __init__(
        self,
        model: BertPreTrainedModel,
        args: TrainingArguments | None = None,
        data_collator: Callable[[list[Any]], Mapping[str, Any]] | None = None,
        train_dataset: Dataset | None = None,
        eval_dataset: Dataset | None = None,
        processing_class: Saves | None = None,
        compute_metrics: Callable[[EvalPrediction], Mapping[str, float]] | None = None,
        preprocess_logits_for_metrics: Callable[[Any, Any], Any] | None = None,
        callbacks: Sequence[Any] | None = None,
    ) -> None:
        if not hasattr(model, "config"):
            raise InputError(
                f"model must be one of minibert's, such as BertForSequenceClassification: found {type(model).__name__} "
                "without a config. Derive it from one of them, or train it in a loop of your own."
            )
        self.args = args or TrainingArguments()
        for callback in callbacks or ():
            if not hasattr(callback, "early_stopping_patience"):
                raise InputError(
                    f"The only callback here is EarlyStoppingCallback, found {type(callback).__name__}: override a "
                    "method of the Trainer, such as compute_loss or training_step, to do more."
                )
            self.args = replace(
                self.args,
                early_stopping_patience=callback.early_stopping_patience,
                early_stopping_threshold=callback.early_stopping_threshold,
            )
        self.model = model.to(best_device())
        self.data_collator = data_collator
        self.train_dataset = train_dataset
        self.eval_dataset = eval_dataset
        self.processing_class = processing_class
        self.compute_metrics = compute_metrics
        self.preprocess_logits_for_metrics = preprocess_logits_for_metrics
        self.state = TrainerState()
        self.writes_files = True  # of several processes that train one model, only one does
        self._inputs = {*inspect.signature(model.forward).parameters, "label"}  # what the model can read

    def train(self, resume_from_checkpoint: str | Path | Literal[True] | None = None) -> TrainOutput:
        """Run the training. `resume_from_checkpoint`: a checkpoint's folder, or True for the newest in output_dir.

        Ctrl-C saves a checkpoint after the step at hand, then raises `KeyboardInterrupt`. Raises `InputError` without
        data, if the loss is no longer a number, or for a checkpoint of another run.
        """
        args, model = self.args, self.model
        random.seed(args.seed)
        np.random.seed(args.seed)
        torch.manual_seed(args.seed)
        plan = self._plan()
        self._prepare_model()
        optimizer = self._create_optimizer()
        average = WeightAverage(optimizer, args.average_decay) if args.average_decay else None
        self.state = TrainerState(max_steps=plan.total_steps)
        self._own = OwnCheckpoints(Path(args.output_dir))
        if resume_from_checkpoint:
            self._resume(resume_from_checkpoint, optimizer)
            if average:
                average.swap()  # a checkpoint's model is the average
        state, started = self.state, time.perf_counter() - self.state.train_seconds
        self._loop(plan, optimizer, average, started)
        if average:
            average.swap()
        if args.load_best_model_at_end and state.best_model_checkpoint is not None:
            load_weights(Path(state.best_model_checkpoint), model)
        model.eval()
        seconds = state.train_seconds = time.perf_counter() - started
        training_loss = state.total_loss / max(1, state.global_step)
        metrics = {
            "train_runtime": seconds,
            "train_samples_per_second": state.epoch * plan.examples / seconds,
            "train_steps_per_second": state.global_step / seconds,
            "train_loss": training_loss,
            "epoch": state.epoch,
        }
        return TrainOutput(state.global_step, training_loss, metrics)

    def _loop(
        self, plan: Plan, optimizer: torch.optim.Optimizer, average: WeightAverage | None, started: float
    ) -> None:
        """All steps that are left. started: when the run would have, had it never been interrupted."""
        args, state = self.args, self.state
        warmup_steps = args.warmup(plan.total_steps)
        averaged = average.in_use if average else nullcontext
        self.model.train()
        meter = Meter(self.model.device, Reading(*state.unlogged))
        enough = self._gains_nothing()
        bar = tqdm(
            total=plan.total_steps,
            initial=state.global_step,
            unit="step",
            disable=args.disable_tqdm or not self.writes_files,
            dynamic_ncols=True,
        )
        with bar, InterruptGuard() as interrupt, closing(plan.steps()) as steps:
            for batches in steps:
                if enough:
                    break
                learning_rate = args.learning_rate * self._schedule(state.global_step, warmup_steps, plan.total_steps)
                meter.add(*self.training_step(optimizer, batches, learning_rate))
                if average:
                    average.update(state.global_step)
                state.global_step += 1
                state.epoch = state.global_step / plan.steps_per_epoch
                bar.update()
                epoch_ends = state.global_step == plan.total_steps or state.global_step % plan.steps_per_epoch == 0
                if self._is_due(args.logging_strategy, args.logging_steps, epoch_ends):
                    self._log_training(meter, learning_rate, bar)
                pause = time.perf_counter()
                state.train_seconds = pause - started
                improved = False
                judges = self._is_due(args.eval_strategy, args.eval_steps or args.logging_steps, epoch_ends)
                if judges:
                    self._check_unlogged(meter, pause)
                    with averaged():
                        improved = self._evaluate_and_compare()
                    enough = self._gains_nothing()
                interrupted = self._must_stop(interrupt)
                keeps_best = improved and args.load_best_model_at_end
                if interrupted or keeps_best or self._is_due(args.save_strategy, args.save_steps, epoch_ends):
                    if not judges:
                        self._check_unlogged(meter, pause)
                    with averaged():
                        self._save_checkpoint(optimizer, improved)
                if interrupted:
                    raise KeyboardInterrupt
                meter.leave_out(time.perf_counter() - pause)
        self._count(meter.read())  # early stopping may come between two log lines

    def evaluate(self, eval_dataset: Dataset | None = None, metric_key_prefix: str = "eval") -> dict[str, float]:
        """Loss, metrics and speed on examples with labels, each name with the prefix."""
        dataset = self.eval_dataset if eval_dataset is None else eval_dataset
        metrics = self._predict(dataset, "eval_dataset", metric_key_prefix).metrics
        self._log(metrics)
        return metrics

    def predict(self, test_dataset: Dataset, metric_key_prefix: str = "test") -> PredictionOutput:
        """The logits for every example, in order, as arrays; labels and metrics where the examples have labels."""
        return self._predict(test_dataset, "test_dataset", metric_key_prefix)

    def save_model(self, output_dir: str | Path | None = None) -> None:
        """Save the model, and the tokenizer if there is one, for use: see `save_pretrained`."""
        model = whole_model(self.model)  # by all processes together
        if self.writes_files:
            save_pretrained(Path(output_dir or self.args.output_dir), model, self.processing_class)

    def log_metrics(self, split: str, metrics: Mapping[str, Any]) -> None:
        """Print the metrics of this part of the data, a line each."""
        if self.writes_files:
            print(f"***** {split} metrics *****", *(f"  {name} = {value}" for name, value in metrics.items()), sep="\n")

    def save_metrics(self, split: str, metrics: Mapping[str, Any]) -> None:
        """Write them to `output_dir/SPLIT_results.json`."""
        if self.writes_files:
            Path(self.args.output_dir).mkdir(parents=True, exist_ok=True)
            write_json(Path(self.args.output_dir) / f"{split}_results.json", _plain(metrics))

    # ------------------------------------------------------------------------------------------ the parts of training

    def _plan(self) -> Plan:
        args = self.args
        lengths = lengths_of(self.train_dataset, "train_dataset")
        if args.eval_strategy != "no":  # or the lack would show after an epoch
            check_row(check_data(self.eval_dataset, "eval_dataset"), 0, "eval_dataset")
        batches_per_epoch = math.ceil(len(lengths) / args.per_device_train_batch_size)
        steps_per_epoch = math.ceil(batches_per_epoch / args.gradient_accumulation_steps)
        total_steps = args.max_steps if args.max_steps > 0 else math.ceil(steps_per_epoch * args.num_train_epochs)
        return Plan(
            len(lengths), steps_per_epoch, total_steps, lambda: self._steps(lengths, steps_per_epoch, total_steps)
        )

    def _steps(self, lengths: list[int], steps_per_epoch: int, total_steps: int) -> Steps:
        labels = self.labels_to_balance()
        while self.state.global_step < total_steps:
            epoch, done = divmod(self.state.global_step, steps_per_epoch)
            if self.args.gradual_unfreezing:
                unfreeze_gradually(self.model, epoch, total_steps / steps_per_epoch)
            steps = self.epoch_steps(lengths, labels, epoch)
            for chosen in steps[done : total_steps - epoch * steps_per_epoch]:
                yield [self.batch(self.train_dataset, indices) for indices in chosen]

    def labels_to_balance(self) -> list[Any] | None:
        """Those by which examples are drawn; None if every one is drawn once an epoch."""
        return self._labels() if self.args.balanced_sampling else None

    def epoch_steps(self, lengths: list[int], labels: list[Any] | None, epoch: int) -> list[list[list[int]]]:
        """The steps of one epoch, each some batches, by the numbers of their examples.

        A pure function of its arguments, so that a run can be taken up in the middle of an epoch.
        """
        args, accumulation = self.args, self.args.gradient_accumulation_steps
        drawn = range(len(lengths)) if labels is None else balanced_draw(labels, args.seed, epoch)
        batches = [
            [drawn[place] for place in places]
            for places in length_grouped_batches(
                [lengths[index] for index in drawn], args.per_device_train_batch_size, args.seed, epoch
            )
        ]
        return [batches[first : first + accumulation] for first in range(0, len(batches), accumulation)]

    def _prepare_model(self) -> None:
        if self.args.gradient_checkpointing:
            checkpoint_activations(self.model)
        if self.args.gradual_unfreezing:
            freeze_below(self.model, 0)  # the optimizer must know all that will ever be trained
        if self.args.adversarial_epsilon:
            check_words_learn(self.model)
        vars(self).pop("_class_weights", None)  # those of the data of the last run

    def _create_optimizer(self) -> torch.optim.Optimizer:
        return create_optimizer(self.model, self.args)

    def _schedule(self, step: int, warmup_steps: int, total_steps: int) -> float:
        return SCHEDULES[self.args.lr_scheduler_type](step, warmup_steps, total_steps)

    def _must_stop(self, interrupt: InterruptGuard) -> bool:
        return interrupt.asked

    def training_step(
        self, optimizer: torch.optim.Optimizer, batches: list[dict[str, Any]], learning_rate: float
    ) -> tuple[dict[str, Tensor], int | Tensor]:
        """Forward, backward, clip, step. The figures to log, one of them the loss, and the number of tokens."""
        figures, tokens = self._forward_backward(batches)
        if self.args.adversarial_epsilon:
            with words_moved(self.model, self.args.adversarial_epsilon):
                self._forward_backward(batches)
        if self.args.max_grad_norm:
            norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.args.max_grad_norm)
            figures["grad_norm"] = whole(norm)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * group["rate"]
        optimizer.step()
        optimizer.zero_grad()
        return figures, tokens

    def _forward_backward(self, batches: list[dict[str, Any]]) -> tuple[dict[str, Tensor], int | Tensor]:
        """Add up the gradients of all batches of a step."""
        total = torch.zeros((), device=self.model.device)
        for batch, weight in zip(batches, self._batch_weights(batches), strict=True):
            with self._precision():
                loss = self._loss_of(batch) * weight
            loss.backward()
            total += loss.detach()
        return {"loss": total}, sum(_tokens(batch) for batch in batches)

    def _batch_weights(self, batches: list[dict[str, Any]]) -> Tensor:
        """What the mean loss of each batch counts for in the mean over a step, (batches,): its share of the labels."""
        labels = [next((batch[key] for key in LABELS if batch.get(key) is not None), None) for batch in batches]
        counts = [torch.ones(()) if given is None else label_weight(given, self._class_weights) for given in labels]
        return torch.stack(counts) / torch.stack(counts).sum().clamp(min=1e-8)

    def _loss_of(self, batch: dict[str, Any]) -> Tensor:
        loss = self.compute_loss(self.model, dict(batch))  # a copy: overrides may take the labels out
        if loss is None:
            raise InputError(
                f"The model gives no loss: the examples have {', '.join(batch)}. It learns from {' or '.join(LABELS)}, "
                "as its head says."
            )
        return loss

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """The loss of a batch, and with `return_outputs` also the model's output. Override it to learn by another loss.

        num_items_in_batch: not read; it is here for overrides that were written for `transformers` and pass it on.
        """
        output = model(**inputs)
        loss = output.loss
        if model.training and (self.args.label_smoothing_factor or self.args.class_weights):  # evaluation goes without
            loss = class_loss(output, inputs.get("labels"), self.args.label_smoothing_factor, self._class_weights)
        return (loss, output) if return_outputs else loss

    @cached_property
    def _class_weights(self) -> Tensor | None:
        if not self.args.class_weights:
            return None
        return class_weights(self._labels(), self.model.config.num_labels).to(self.model.device)

    def _count(self, reading: Reading) -> None:
        self.state.total_loss += reading.sums.get("loss", 0.0)
        self.state.total_tokens += reading.tokens

    def _log_training(self, meter: Meter, learning_rate: float, bar: tqdm[Any]) -> None:
        reading = meter.read()
        self._count(reading)
        figures = reading.means()
        self._check(figures)
        tokens_per_second = reading.tokens / reading.seconds
        bar.set_postfix_str(f"loss {figures['loss']:.3f}, {tokens_per_second:,.0f} tokens/s", refresh=False)
        self._log(figures | {"lr": learning_rate, "tokens_per_second": round(tokens_per_second, 1)})

    def _check_unlogged(self, meter: Meter, now: float) -> None:
        """Note what no log line has told yet. Raises `InputError` if the run has diverged, before it is saved."""
        self.state.unlogged = meter.so_far(now)
        self._check(self.state.unlogged.means())
        norms = [whole(weight.detach().norm()) for weight in self.model.parameters()]
        norm, step = torch.stack(norms).norm().item(), self.state.global_step
        if not math.isfinite(norm):  # the last update can do that after a loss that was a number
            raise self._diverged(f"The norm of the weights became {norm} in step {step}", step)

    def _check(self, figures: Mapping[str, float]) -> None:
        """Raise `InputError` if the figures are those of a run that has diverged."""
        for name, what in (("loss", "loss"), ("grad_norm", "gradient")):
            if not math.isfinite(figures.get(name, 0.0)):
                step = self.state.global_step
                raise self._diverged(f"The {what} became {figures[name]} before step {step}", step - 1)

    def _diverged(self, sign: str, step: int) -> InputError:
        """The error to raise. A checkpoint of this step is deleted: its are the weights that led here."""
        if self.writes_files:
            self._own.discard(step)
        saved = self._own.saved()
        newest = f" The last good checkpoint is {saved[-1]}." if saved else ""
        return DivergedError(
            f"{sign}: the run has diverged. A lower learning rate (now {self.args.learning_rate}) or more warm-up may "
            f"help.{newest}"
        )

    def _log(self, values: Mapping[str, Any]) -> None:
        entry = {"step": self.state.global_step, "epoch": round(self.state.epoch, 4), **values}
        self.state.log_history.append(entry)
        if self.args.logging_dir is not None and self.writes_files:
            folder = Path(self.args.logging_dir)
            folder.mkdir(parents=True, exist_ok=True)
            with open(folder / LOG, "a", encoding="utf-8") as file:
                file.write(json.dumps(entry) + "\n")

    def _is_due(self, strategy: str, every: int, epoch_ends: bool) -> bool:
        if strategy == "epoch":
            return epoch_ends
        state = self.state
        return strategy == "steps" and (state.global_step % every == 0 or state.global_step == state.max_steps)

    def _evaluate_and_compare(self) -> bool:
        """Evaluate; whether it was the best so far."""
        metrics = self.evaluate()
        self.model.train()
        numbers = ", ".join(f"{name} {value:.4f}" for name, value in metrics.items() if isinstance(value, float))
        if self.writes_files:
            tqdm.write(f"epoch {self.state.epoch:.2f}: {numbers}")
        args = self.args
        if args.best_metric not in metrics:
            if not args.needs_metric:
                return False
            name = args.metric_for_best_model or "loss"
            raise InputError(f"metric_for_best_model is '{name}', but the metrics are {', '.join(metrics)}.")
        value = metrics[args.best_metric]
        if not args.is_better(value, self.state.best_metric):
            return False
        self.state.best_metric = value
        return True

    def _gains_nothing(self) -> bool:
        """Whether early stopping says that it is enough. It looks at the log, so that a resumed run decides alike."""
        args, name = self.args, self.args.best_metric
        if args.early_stopping_patience is None:
            return False
        values = [entry[name] for entry in self.state.log_history if name in entry]
        waited = evaluations_without_gain(values, args.early_stopping_threshold, args.more_is_better)
        return waited >= args.early_stopping_patience

    def _save_checkpoint(self, optimizer: torch.optim.Optimizer, improved: bool) -> None:
        state, folder = self.state, self._own.claim(self.state.global_step)
        if improved:
            state.best_model_checkpoint = str(folder)
        model, optimizer_state = whole_model(self.model), whole_optimizer_state(optimizer)  # by all processes together
        if not self.writes_files:
            return
        save_checkpoint(folder, model, optimizer_state, state, self.processing_class)
        if self.args.save_total_limit:
            keep_newest(self._own.saved(), self.args.save_total_limit, state.best_model_checkpoint)

    def _resume(self, checkpoint: str | Path | Literal[True], optimizer: torch.optim.Optimizer) -> None:
        if checkpoint is True:
            found = checkpoints(Path(self.args.output_dir))
            if not found:
                raise InputError(f"There is no checkpoint to go on from in {self.args.output_dir}.")
            checkpoint = found[-1]
        planned = self.state.max_steps
        self.state = load_checkpoint(Path(checkpoint), self.model, optimizer)
        if self.state.max_steps != planned:
            raise InputError(
                f"{checkpoint} belongs to a run of {self.state.max_steps} steps, this one has {planned}: go on with "
                "the same data and settings."
            )
        folder = Path(checkpoint).resolve().parent
        if folder == Path(self.args.output_dir).resolve():  # those before are this run's
            folder = Path(self.args.output_dir)
            self._own.claim_up_to(self.state.global_step)
        if self.state.best_model_checkpoint is not None:
            best = Path(self.state.best_model_checkpoint)
            if (folder / best.name).is_dir():  # the folder may have been moved since
                best = folder / best.name
            elif self.args.load_best_model_at_end and not best.is_dir():
                raise InputError(
                    f"The best checkpoint of the run that {checkpoint} belongs to is not there any more: {best}. "
                    "Put it back, or go on without load_best_model_at_end."
                )
            self.state.best_model_checkpoint = str(best)
        # Steps after the checkpoint will be done, and logged, again.
        if self.args.logging_dir is not None and self.writes_files:
            logs = Path(self.args.logging_dir)
            logs.mkdir(parents=True, exist_ok=True)  # it may have been saved before its first log line
            write_text(logs / LOG, "".join(json.dumps(entry) + "\n" for entry in self.state.log_history))

    # -------------------------------------------------------------------------------------- evaluation and prediction

    @torch.inference_mode()
    def _predict(self, dataset: Dataset | None, name: str, prefix: str) -> PredictionOutput:
        lengths = lengths_of(dataset, name)
        batches = batches_by_length(lengths, self.args.per_device_eval_batch_size)
        predictions, labels = Rows(len(lengths)), Rows(len(lengths))
        total_loss, started = 0.0, time.perf_counter()
        self.model.eval()
        for indices in tqdm(batches, desc=prefix, unit="batch", disable=self.args.disable_tqdm, leave=False, delay=1):
            batch = self.batch(dataset, indices, padded=True)
            given = [batch[key] for key in LABELS if batch.get(key) is not None]
            with self._precision():
                if given:
                    loss, output = self.compute_loss(self.model, dict(batch), return_outputs=True)
                else:
                    loss, output = None, self.model(**batch)
            logits = [values for name, values in output.items() if name.endswith("logits")]
            if self.preprocess_logits_for_metrics is not None:
                kept = self.preprocess_logits_for_metrics(_alone(logits), _alone(given))
                logits = [kept] if isinstance(kept, Tensor) else list(kept)
            predictions.put(indices, logits)
            if given:
                labels.put(indices, given)
            if loss is not None:
                total_loss += loss.item() * len(indices)
        seconds = time.perf_counter() - started
        found = EvalPrediction(predictions.arrays(), labels.arrays() if labels.filled else None)
        metrics: dict[str, float] = {}
        if labels.filled:
            metrics[f"{prefix}_loss"] = total_loss / len(lengths)
            if self.compute_metrics is not None:
                for key, value in self.compute_metrics(found).items():
                    name = key if key.startswith(f"{prefix}_") else f"{prefix}_{key}"
                    metrics[name] = _plain(value)
        metrics[f"{prefix}_runtime"] = seconds
        metrics[f"{prefix}_samples_per_second"] = len(lengths) / seconds
        return PredictionOutput(*found, metrics)

    # ------------------------------------------------------------------------------------------------------- batches

    def _labels(self) -> list[Any]:
        """Those of the training examples, each a number or a list."""
        assert self.train_dataset is not None
        rows = (self.train_dataset[index] for index in range(len(self.train_dataset)))
        return [as_list(row.get("labels", row.get("label"))) for row in rows]

    def batch(self, dataset: Any, indices: list[int], padded: bool = False) -> dict[str, Any]:
        """Some examples as the model takes them, on its device. padded: see `pack_examples`."""
        examples = [
            {key: value for key, value in dataset[index].items() if key in self._inputs and value is not None}
            for index in indices
        ]
        batch = self.data_collator(examples) if self.data_collator else pack_examples(examples, padded)
        return {key: move(value, self.model.device) for key, value in batch.items()}

    def _precision(self) -> AbstractContextManager[Any]:
        return torch.autocast(self.model.device.type, dtype=torch.bfloat16, enabled=self.args.bf16)


def _plain(value: Any) -> Any:
    """A metric as JSON knows it: without the numbers of NumPy and torch, however deep they lie."""
    if isinstance(value, Mapping):
        return {_plain(key): _plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    return as_list(value)


def _tokens(batch: Mapping[str, Any]) -> int:
    """The number of real tokens."""
    ids = batch["input_ids"]
    if isinstance(ids, PackedBatch):
        return len(ids.input_ids)
    return int(batch["attention_mask"].sum()) if "attention_mask" in batch else ids.numel()


def _alone(tensors: list[Tensor]) -> Any:
    """As `transformers` hands them over: a tensor, or a tuple if there are several; None if there is none."""
    return tuple(tensors) if len(tensors) > 1 else next(iter(tensors), None)
