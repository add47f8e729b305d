"""What pretraining is worth: a model fine-tuned from its weights against the same model from random ones.

With more and more labelled examples, over several seeds, at settings that are the same for both but for the learning
rate, which is chosen for each by the first seed's dev accuracy. The gain is smaller than its picture suggests where
the deviations are large: look at both.
"""

from __future__ import annotations

import argparse
import itertools
import logging
import math
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm.auto import tqdm

from .. import plots
from ..errors import InputError
from ..files import replacing, write_json
from ..heads import BertForSequenceClassification
from ..tasks.classification import ClassificationTask
from ..tasks.task import Columns, Examples
from ..tokenization import BertTokenizer
from ..training.arguments import TrainingArguments
from ..training.trainer import EvalPrediction, Trainer
from .measure import describe_machine, header, markdown_table

RATES = {"pretrained": (3e-4, 1e-3), "random": (3e-4, 1e-3)}
LEAST_STEPS, MOST_EPOCHS, BATCH_SIZE = 200, 20, 32
MAX_LENGTH = 64


@dataclass(frozen=True)
class Score:
    """Accuracies on the dev set, one a seed."""

    start: str  # pretrained or random
    examples: int
    learning_rate: float
    accuracies: list[float]

    @property
    def mean(self) -> float:
        return statistics.mean(self.accuracies)

    @property
    def deviation(self) -> float:
        """The standard deviation over the seeds."""
        return statistics.stdev(self.accuracies) if len(self.accuracies) > 1 else 0.0


def score_card(arguments: argparse.Namespace) -> None:
    """The subcommand `scorecard`: prints the table; with --out also writes scorecard.json and scorecard.png."""
    task = ClassificationTask(Columns.from_arguments(arguments))
    train, dev = task.read(arguments.train), task.read(arguments.dev)
    task.learn_labels(train)
    task.check(train, dev)
    sizes = sorted(arguments.examples)
    if sizes[-1] > len(train):
        raise InputError(f"--examples {sizes[-1]} is more than the {len(train)} of {train.path}.")
    if arguments.out is not None:  # first: if it cannot be, an hour later is too late
        plots.check_matplotlib("--out")
        Path(arguments.out).mkdir(parents=True, exist_ok=True)
    logging.getLogger("minibert").setLevel(logging.ERROR)  # that heads are new is known here
    scores = []
    runs = len(sizes) * sum(len(rates) - 1 + arguments.seeds for rates in RATES.values())
    with tqdm(total=runs, unit="run") as bar:
        for size, start in itertools.product(sizes, RATES):
            measure = partial(_accuracy, arguments.model, task, train, dev, size, start, bar)
            first = {rate: measure(rate, 0) for rate in RATES[start]}
            rate = max(first, key=first.__getitem__)
            accuracies = [first[rate], *(measure(rate, seed) for seed in range(1, arguments.seeds))]
            scores.append(Score(start, size, rate, accuracies))
    machine = describe_machine()
    print(_report(scores, machine))
    if arguments.out is not None:
        out = Path(arguments.out)
        write_json(out / "scorecard.json", {"machine": machine, "scores": [asdict(score) for score in scores]})
        title = f"{arguments.model}: {Path(arguments.train).parent.name}, {arguments.seeds} seeds"
        with replacing(out / "scorecard.png") as temporary:
            plots.score_card(scores, title).savefig(temporary, format="png", dpi=150)


def _accuracy(
    name: str,
    task: ClassificationTask,
    train: Examples,
    dev: Examples,
    size: int,
    start: str,
    bar: tqdm[Any],
    rate: float,
    seed: int,
) -> float:
    """Fine-tune once, on examples drawn by the seed, and judge by the dev set after the last step."""
    torch.manual_seed(seed)
    tokenizer = BertTokenizer.from_pretrained(name)
    tokenizer.model_max_length = MAX_LENGTH
    model = BertForSequenceClassification.from_pretrained(name, **task.config_changes())
    if start == "random":
        model = BertForSequenceClassification(model.config)
    chosen = train.subset(np.random.default_rng(seed).permutation(len(train))[:size].tolist())
    steps_per_epoch = math.ceil(size / BATCH_SIZE)
    epochs = min(MOST_EPOCHS, max(3, math.ceil(LEAST_STEPS / steps_per_epoch)))
    with tempfile.TemporaryDirectory() as folder:
        settings = TrainingArguments(
            output_dir=folder, num_train_epochs=epochs, per_device_train_batch_size=BATCH_SIZE,
            per_device_eval_batch_size=64, learning_rate=rate, warmup_ratio=0.1, weight_decay=0.01,
            save_strategy="no", seed=seed, disable_tqdm=True,
        )  # fmt: skip
        trainer = Trainer(
            model,
            settings,
            train_dataset=task.features(chosen, tokenizer, training=True),
            eval_dataset=task.features(dev, tokenizer),
            compute_metrics=_accuracy_of,
        )
        trainer.train()
        accuracy = trainer.evaluate()["eval_accuracy"]
    bar.set_postfix_str(f"{start}, {size} examples, rate {rate:g}, seed {seed}: {accuracy:.3f}")
    bar.update()
    return accuracy


def _accuracy_of(prediction: EvalPrediction) -> dict[str, float]:
    return {"accuracy": float((prediction.predictions.argmax(axis=1) == prediction.label_ids).mean())}


def _report(scores: Sequence[Score], machine: Mapping[str, Any]) -> str:
    rows = []
    for size in sorted({score.examples for score in scores}):
        pair = {score.start: score for score in scores if score.examples == size}
        cells = [f"{100 * pair[start].mean:.1f} ± {100 * pair[start].deviation:.1f}" for start in RATES]
        gain = 100 * (pair["pretrained"].mean - pair["random"].mean)
        rows.append([f"{size:,}", *cells, f"{gain:+.1f}"])
    columns = ["examples", "from the weights", "from random ones", "gain"]
    return header(machine) + "\n" + markdown_table(columns, rows)
