"""Several tasks learnt at once, by one encoder with a head for each: what is learnt for one may help another.

Every batch is of one task (Liu et al. 2019, "MT-DNN", algorithm 1). Over an epoch the tasks come in proportion to
their numbers of examples, or to the square roots of these (Stickland & Murray 2019, "PALs"), which gives the small ones
more of the time. The epoch that is kept is the one with the best mean of the tasks' first figures.
"""

from __future__ import annotations

import argparse
import itertools
import logging
import math
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..data.batches import epoch_generator, length_grouped_batches
from ..errors import InputError
from ..files import write_json
from ..model import BertPreTrainedModel
from .arguments import TrainingArguments
from .examples import lengths_of
from .finetuning import Run, best_epoch, costs, prepare, print_summary, training_arguments, write_results
from .flags import WAYS
from .run_folder import TASK_FOLDERS, complete_folder, fix_run, free_folder
from .shared_encoder import SharedEncoder
from .trainer import Plan, Steps, Trainer

log = logging.getLogger("minibert")

# The flags that look into a single model, or at the labels of a single task.
ONE_TASK = (
    "dataset", *WAYS, "reinit_top", "find_lr", "label_smoothing", "class_weights", "balanced_sampling",
    "checkpoint_activations", "adversarial",
)  # fmt: skip
MEAN = "mean"  # over the tasks, of the first figure of each


def finetune_together(arguments: argparse.Namespace) -> dict[str, Any]:
    """As `finetune`, but `arguments.task` is a list of tasks, and train, dev and test are lists of TASK=FILE.

    --out holds in tasks/TASK what `finetune` writes for one, and a `metrics.json` with the figures of all. Returns
    these. Raises as `finetune` does.
    """
    for name in ONE_TASK:
        value = getattr(arguments, name)
        if value or type(value) is int:  # --reinit-top 0 is a wish, too
            raise InputError(f"--{name.replace('_', '-')} is for one task at a time: leave it out.")
    files = {flag: _by_task(arguments, flag) for flag in ("train", "dev", "test")}
    out = free_folder(
        argparse.Namespace(**vars(arguments) | {flag: [*paths.values()] for flag, paths in files.items()})
    )
    runs = {}
    for name in arguments.task:
        paths_of_task = {flag: paths.get(name) for flag, paths in files.items()}
        own = argparse.Namespace(**{**vars(arguments), "task": name, **paths_of_task})
        runs[name] = prepare(own, out, arguments.task)
        arguments.model, arguments.lr, arguments.epochs = own.model, own.lr, own.epochs  # defaults, if none were given
    trainer = MultitaskTrainer(runs, training_arguments(arguments, out, MEAN), arguments.sampling)
    log.info(_opening(runs, trainer.model))
    metrics = {}
    with complete_folder(out, trainer, arguments):
        fix_run(arguments, out, itertools.chain.from_iterable(map(_rows, runs.values())))
        trained = trainer.train(resume_from_checkpoint=True if arguments.resume else None)
        figures = {"best_epoch": best_epoch(trainer), **costs(trained)}
        for name, run in runs.items():
            run.trainer.state.log_history = trainer.history_of(name)
            folder = out / TASK_FOLDERS / name
            folder.mkdir(parents=True, exist_ok=True)
            metrics[name] = write_results(arguments, folder, run, figures)
        write_json(out / "metrics.json", metrics)
    for name, run in runs.items():
        print_summary(out / TASK_FOLDERS / name, run.task, metrics[name])
    return metrics


class MultitaskTrainer(Trainer):
    """The loop over the batches of several runs, whose models it joins on one encoder.

    sampling: "proportional" or "square-root", see above. Evaluation tells each task's figures as `eval_TASK_FIGURE`.
    """

    def __init__(self, runs: Mapping[str, Run], args: TrainingArguments, sampling: str) -> None:
        super().__init__(SharedEncoder({name: run.trainer.model for name, run in runs.items()}), args)
        self.runs = runs
        self._lengths_by_task = {name: lengths_of(_rows(run), "train_dataset") for name, run in runs.items()}
        size = args.per_device_train_batch_size
        self._batches = {name: math.ceil(len(lengths) / size) for name, lengths in self._lengths_by_task.items()}
        self._shares = shares(self._batches, sampling)

    def _plan(self) -> Plan:
        steps_per_epoch = math.ceil(sum(self._shares.values()) / self.args.gradient_accumulation_steps)
        total_steps = math.ceil(steps_per_epoch * self.args.num_train_epochs)
        lengths = self._lengths_by_task  # the last batch of a task may be a small one
        examples = sum(share * len(lengths[name]) / self._batches[name] for name, share in self._shares.items())
        steps = partial(self._mixed_steps, steps_per_epoch, total_steps)
        return Plan(round(examples), steps_per_epoch, total_steps, steps)

    def _mixed_steps(self, steps_per_epoch: int, total_steps: int) -> Steps:
        accumulation = self.args.gradient_accumulation_steps
        while self.state.global_step < total_steps:
            epoch, done = divmod(self.state.global_step, steps_per_epoch)
            batches = self.epoch_batches(epoch)
            for step in range(done, min(steps_per_epoch, total_steps - epoch * steps_per_epoch)):
                chosen = batches[step * accumulation : (step + 1) * accumulation]
                yield [
                    {"task": name, **self.runs[name].trainer.batch(_rows(self.runs[name]), indices)}
                    for name, indices in chosen
                ]

    def epoch_batches(self, epoch: int) -> list[tuple[str, list[int]]]:
        """The batches of one epoch in random order, each a task and the numbers of its examples.

        A task goes on in each epoch where it stopped in the one before, so that it sees all of its examples equally
        often. A pure function of the epoch, so that a run can be taken up in the middle of one.
        """
        size, seed = self.args.per_device_train_batch_size, self.args.seed
        found = []
        for name, share in self._shares.items():
            rounds: dict[int, list[list[int]]] = {}
            for place in range(epoch * share, (epoch + 1) * share):
                number, at = divmod(place, self._batches[name])
                if number not in rounds:
                    rounds[number] = length_grouped_batches(self._lengths_by_task[name], size, seed, number)
                found.append((name, rounds[number][at]))
        order = torch.randperm(len(found), generator=epoch_generator(seed, epoch), device="cpu")
        return [found[i] for i in order.tolist()]

    def _batch_weights(self, batches: list[dict[str, Any]]) -> Tensor:
        """Alike: how often a task is drawn says what it counts for, not how many labels it has."""
        return torch.full((len(batches),), 1 / len(batches))

    def evaluate(self, eval_dataset: Any = None, metric_key_prefix: str = "eval") -> dict[str, float]:
        """The figures of each task on its own dev set, and the means of their losses and of their first figures."""
        found, firsts, losses = {}, [], []
        for name, run in self.runs.items():
            metrics = run.trainer.predict(run.splits[0].features, metric_key_prefix).metrics
            firsts.append(metrics[f"{metric_key_prefix}_{run.task.headline[0]}"])
            losses.append(metrics[f"{metric_key_prefix}_loss"])
            for figure in ("loss", *run.task.headline):
                found[f"{metric_key_prefix}_{name}_{figure}"] = metrics[f"{metric_key_prefix}_{figure}"]
        found[f"{metric_key_prefix}_loss"] = float(np.mean(losses))
        found[f"{metric_key_prefix}_{MEAN}"] = float(np.mean(firsts))
        self._log(found)
        return found

    def history_of(self, name: str) -> list[dict[str, float]]:
        """The log as if the task had been learnt alone: the steps of all, but only its own evaluations."""
        own = f"eval_{name}_"
        return [
            entry | {f"eval_{key.removeprefix(own)}": value for key, value in entry.items() if key.startswith(own)}
            for entry in self.state.log_history
        ]


def shares(batches: Mapping[str, int], sampling: str) -> dict[str, int]:
    """How many batches of each task are in an epoch, of those that it has; altogether as many, but for rounding."""
    if sampling == "proportional":
        return dict(batches)
    roots = {name: math.sqrt(count) for name, count in batches.items()}
    unit = sum(batches.values()) / sum(roots.values())
    return {name: max(1, round(unit * root)) for name, root in roots.items()}


def _by_task(arguments: argparse.Namespace, flag: str) -> dict[str, str]:
    """The files of a flag by task. Raises `InputError` if they do not belong to the tasks."""
    tasks = arguments.task
    if len(set(tasks)) < len(tasks):
        raise InputError(f"Each --task can be given once: found {', '.join(tasks)}.")
    given = getattr(arguments, flag) or []
    found: dict[str, str] = {}
    for value in given if isinstance(given, list) else [given]:
        name, equals, path = value.partition("=")
        if not equals or name not in tasks or name in found:
            raise InputError(
                f"With several tasks, --{flag} is TASK=FILE, once for each of {', '.join(tasks)}: found '{value}'."
            )
        found[name] = path
    missing = [name for name in tasks if name not in found]
    if missing and flag != "test":
        raise InputError(f"--{flag} {missing[0]}=FILE is missing.")
    return found


def _rows(run: Run) -> Any:
    return run.trainer.train_dataset


def _opening(runs: Mapping[str, Run], model: BertPreTrainedModel) -> str:
    parts = [
        ", ".join(filter(None, (f"{name}: {len(run.train):,} examples", run.task.describe())))
        for name, run in runs.items()
    ]
    return f"{'; '.join(parts)}. {model.num_parameters() / 1e6:.1f} million parameters on {model.device}."
