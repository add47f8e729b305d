"""What `python -m minibert.finetune` does: read everything, train, judge, and write a folder that can be used.

Whatever is wrong with the input is found before the folder is made.
"""

from __future__ import annotations

import argparse
import itertools
import logging
import shlex
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch

from .. import plots
from ..data.public import PUBLIC, fetch
from ..errors import InputError
from ..files import check_output, write_json, write_json_lines
from ..model import BertPreTrainedModel
from ..pages import heading, paragraph, picture, write_page
from ..patience import told
from ..tasks import task_class
from ..tasks.task import Examples, Features, Task, prediction_lines
from ..tokenization import BertTokenizer
from ..tracing import Trace, trace
from ..transfer.adaptation import trained_parameters
from ..transfer.features import forget_features
from .arguments import TrainingArguments
from .flags import check_settings
from .learning_rate_finder import find_learning_rate
from .measure import latencies_ms, peak_memory_mb
from .report import write_report
from .run_folder import CHECKPOINTS, complete_folder, fix_run, free_folder
from .trainer import LABELS, EvalPrediction, Trainer, TrainOutput
from .ways import encoder_is_frozen, prepare_transfer, settle

log = logging.getLogger("minibert")

SAMPLE = Path(__file__).parents[1] / "data" / "reviews"

PRETRAINED_DEFAULTS = {"lr": 5e-5, "epochs": 3.0}
FROZEN_DEFAULTS = {"lr": 1e-3, "epochs": 3.0}  # few weights, and new ones

SHIPPED_MODEL = "minibert-tiny-uncased"  # what a run starts from that names no model
SMALL_WIDTH = 256  # as minibert's own models: such small ones take larger steps, and more of them
SMALL_DEFAULTS = {"lr": 1e-3, "epochs": 5.0}


class Split(NamedTuple):
    """Examples to judge by, with what the model reads of them."""

    name: str  # as in predictions.jsonl
    examples: Examples
    features: Features


class Run(NamedTuple):
    """A fine-tuning that is ready to begin. splits: dev, and test if there is one."""

    task: Task
    trainer: Trainer
    train: Examples
    splits: list[Split]


def finetune(arguments: argparse.Namespace, summary: bool = True) -> dict[str, Any]:
    """Run one fine-tuning as the command line describes it, return the metrics, and print a `summary` of them.

    Raises `InputError` for what the user can mend, and `KeyboardInterrupt` with a text that says how to go on.
    """
    choose_data(arguments)
    out = free_folder(arguments)
    if arguments.find_lr is not None:
        check_output(arguments.find_lr, (arguments.train, arguments.dev, arguments.test))
    run = prepare(arguments, out)
    log.info(_opening(run))
    if arguments.find_lr is not None:
        return _find_learning_rate(Path(arguments.find_lr), run.trainer)
    trainer = run.trainer
    with complete_folder(out, trainer, arguments):
        fix_run(arguments, out, trainer.train_dataset)
        trained = trainer.train(resume_from_checkpoint=True if arguments.resume else None)
        metrics = write_results(arguments, out, run, {"best_epoch": best_epoch(trainer), **costs(trained)})
    if summary:
        print_summary(out, run.task, metrics)
    return metrics


def prepare(arguments: argparse.Namespace, out: Path, together: Sequence[str] = ()) -> Run:
    """Everything up to the first step: files read, features made, the model loaded. Nothing is written.

    together: the names of all tasks, if several are learnt at once.
    """
    check_settings(arguments, together or [arguments.task])
    task = task_class(arguments.task).from_arguments(arguments)
    train, dev, test = read_files(arguments, task)
    task.learn_labels(train)
    torch.manual_seed(arguments.seed)  # the new head is drawn at random
    model, tokenizer = _model(arguments, task)
    prepare_transfer(arguments, model)
    tokenizer.model_max_length = _max_length(arguments, task, model.config.max_position_embeddings)
    with told("Tokenizing the texts"):
        splits = [Split("dev", dev, task.features(dev, tokenizer))]
        if test is not None:
            splits.append(Split("test", test, task.features(test, tokenizer)))
        to_learn = task.features(train, tokenizer, training=True)
    trainer = Trainer(
        model,
        training_arguments(arguments, out, task.headline[0]),
        data_collator=task.collate,
        train_dataset=to_learn,
        eval_dataset=splits[0].features,
        processing_class=tokenizer,
        compute_metrics=partial(_headline, task, splits[0]),
    )
    return Run(task, trainer, train, splits)


def _max_length(arguments: argparse.Namespace, task: Task, positions: int) -> int:
    """In tokens. Raises `InputError` if more were asked for than the model has positions."""
    if arguments.max_length is not None and arguments.max_length > positions:
        raise InputError(
            f"--max-length {arguments.max_length} is more than the {positions} positions that {arguments.model} knows: "
            "choose a smaller one."
        )
    return arguments.max_length or min(task.max_length, positions)


def _find_learning_rate(page: Path, trainer: Trainer) -> dict[str, Any]:
    """Instead of a training: draw how the loss depends on the learning rate."""
    sweep = find_learning_rate(trainer)
    text = f"A tenth of the rate with the lowest loss: {sweep.suggestion:.1e}"
    parts = [
        heading("Loss while the learning rate grows"),
        paragraph(f"{text}. Where the loss explodes, the curve leaves the picture."),
        picture(partial(plots.learning_rates, sweep.rates, sweep.losses, sweep.suggestion), text),
    ]
    write_page(page, "Learning rates", parts)
    print(f"{text}. {page} shows all.")
    return {"learning_rate": sweep.suggestion}


def write_results(arguments: argparse.Namespace, out: Path, run: Run, figures: Mapping[str, float]) -> dict[str, Any]:
    """Judge what was trained, and write all results. figures: of the training, to be told among the metrics."""
    task, trainer, train, splits = run
    forget_features(trainer.model)  # the speed is to be that of the whole model
    trainer.compute_metrics = None  # it is the dev set's; from here on, metrics are those of the final answers
    outputs = [trainer.predict(split.features, "eval") for split in splits]
    dev, judged = splits[0], outputs[0]
    task.tune(dev.examples, dev.features, judged.predictions)
    trainer.model.config = trainer.model.config.replace(**task.config_changes())
    settled = settle(trainer.model, out)
    answers = [
        task.answers(split.examples, split.features, output.predictions)
        for split, output in zip(splits, outputs, strict=True)
    ]
    metrics = {
        "task": task.name,
        **task.metrics(dev.examples, answers[0]),
        **figures,
        **settled,
        "eval_samples_per_second": judged.metrics["eval_samples_per_second"],
        **latencies_ms(trainer, dev.features),
        "peak_memory_mb": peak_memory_mb(),
    }
    for split, found in zip(splits[1:], answers[1:], strict=True):
        if split.examples.have_truth:
            metrics[split.name] = task.metrics(split.examples, found)

    trainer.save_model(out)
    lines = (
        prediction_lines(task, split.name, split.examples, found) for split, found in zip(splits, answers, strict=True)
    )
    with told("Writing predictions.jsonl"):
        write_json_lines(out / "predictions.jsonl", itertools.chain.from_iterable(lines))
    for split, found in zip(splits, answers, strict=True):
        for name, content in task.other_files(split.name, split.examples, found).items():
            write_json(out / name, content)
    write_report(
        out / "report.html",
        f"{Path(arguments.model).name}, fine-tuned on {train.path.name}",
        task,
        settings=vars(arguments),
        metrics=metrics,
        history=trainer.state.log_history,
        dev=dev.examples,
        answers=answers[0],
        steps=_one_pass(trainer, dev.features),
    )
    write_json(out / "metrics.json", metrics)  # last: where it stands, the run is complete (see trials.py)
    return metrics


def _one_pass(trainer: Trainer, features: Features) -> Trace:
    """The first of the examples on its way through the model."""
    first = {key: value for key, value in features[0].items() if key not in LABELS}
    trainer.model.eval()
    with torch.no_grad():
        return trace(trainer.model, **trainer.batch([first], [0]))


def costs(trained: TrainOutput) -> dict[str, float]:
    """How long the training took."""
    return {
        "train_seconds": trained.metrics["train_runtime"],
        "train_samples_per_second": trained.metrics["train_samples_per_second"],
    }


def choose_data(arguments: argparse.Namespace) -> None:
    """Fill in what `--dataset` stands for, and the task."""
    for flag in ("train", "dev", "test"):
        if isinstance(getattr(arguments, flag), list):
            raise InputError(f"--{flag} can be given more than once only with several tasks, as TASK=FILE.")
    if arguments.dataset is not None:
        if arguments.train or arguments.dev or arguments.test:
            raise InputError("--dataset brings files of its own: leave --train, --dev and --test out.")
        files = fetch(arguments.dataset)
        arguments.train, arguments.dev, arguments.test = (files.get(part) for part in ("train", "dev", "test"))
        arguments.task = arguments.task or PUBLIC[arguments.dataset].task
    arguments.task = arguments.task or "classification"


def read_files(arguments: argparse.Namespace, task: Task) -> tuple[Examples, Examples, Examples | None]:
    """Train, dev and test. Raises `InputError` for whatever is wrong with them."""
    train_file, dev_file, test_file = arguments.train, arguments.dev, arguments.test
    if train_file is None and dev_file is None and test_file is None and task.name == "classification":
        train_file, dev_file, test_file = (SAMPLE / f"{split}.tsv" for split in ("train", "dev", "test"))
        log.info(f"Learning from the sample that ships with minibert, {SAMPLE}.")
    if train_file is None or dev_file is None:
        raise InputError("--train and --dev are needed both: one file to learn from, another to judge by.")
    with told("Reading the files"):
        train, dev = task.read(train_file), task.read(dev_file)
        test = None if test_file is None else task.read(test_file, "if told")
    for other in (dev, test):
        if other is not None:
            task.check(train, other)
    return train, dev, test


def _model(arguments: argparse.Namespace, task: Task) -> tuple[BertPreTrainedModel, BertTokenizer]:
    changes = task.config_changes()
    if arguments.dropout is not None:
        changes |= {"hidden_dropout_prob": arguments.dropout, "attention_probs_dropout_prob": arguments.dropout}
    if arguments.model is None:
        arguments.model = SHIPPED_MODEL
        log.info(f"Starting from {SHIPPED_MODEL}, which comes with minibert: --model takes larger ones.")
    tokenizer = BertTokenizer.from_pretrained(arguments.model)
    model = task.model_class.from_pretrained(arguments.model, **changes)
    if len(tokenizer) > model.config.vocab_size:
        known = model.config.vocab_size
        raise InputError(f"{arguments.model}: its tokenizer has {len(tokenizer)} tokens, but its model knows {known}.")
    defaults = FROZEN_DEFAULTS if encoder_is_frozen(arguments) else PRETRAINED_DEFAULTS
    if model.config.hidden_size <= SMALL_WIDTH:
        defaults = SMALL_DEFAULTS
    for name, value in defaults.items():
        if getattr(arguments, name) is None:
            setattr(arguments, name, value)
    return model, tokenizer


def training_arguments(arguments: argparse.Namespace, out: Path, best_metric: str) -> TrainingArguments:
    """What the command line says to the trainer. The model with the highest `best_metric` on dev is kept."""
    judged = "epoch" if arguments.eval_steps is None else "steps"
    return TrainingArguments(
        output_dir=str(out / CHECKPOINTS),
        num_train_epochs=arguments.epochs,
        per_device_train_batch_size=arguments.batch_size,
        per_device_eval_batch_size=2 * arguments.batch_size,
        learning_rate=arguments.lr,
        gradient_accumulation_steps=arguments.accumulation,
        weight_decay=arguments.weight_decay,
        warmup_ratio=arguments.warmup_ratio,
        lr_scheduler_type="constant_with_warmup" if arguments.schedule == "constant" else arguments.schedule,
        layer_decay=arguments.layer_decay or 1.0,
        gradual_unfreezing=arguments.gradual_unfreezing,
        label_smoothing_factor=arguments.label_smoothing,
        class_weights=arguments.class_weights,
        balanced_sampling=arguments.balanced_sampling,
        adversarial_epsilon=arguments.adversarial,
        average_decay=arguments.average,
        gradient_checkpointing=arguments.checkpoint_activations,
        early_stopping_patience=arguments.patience,
        early_stopping_threshold=arguments.minimal_gain,
        eval_strategy=judged,
        eval_steps=arguments.eval_steps,
        save_strategy=judged,
        save_steps=arguments.eval_steps or TrainingArguments.save_steps,
        save_total_limit=1,
        load_best_model_at_end=True,
        metric_for_best_model=best_metric,
        greater_is_better=True,
        logging_dir=str(out),
        logging_steps=1,
        seed=arguments.seed,
        bf16=arguments.bf16,
    )


def _opening(run: Run) -> str:
    task, trainer, train, (dev, *_) = run
    model = trainer.model
    parameters, trained = model.num_parameters(), trained_parameters(model)
    share = "" if trained == parameters else f", {trained:,} of them trained,"
    parts = [f"{len(train):,} examples to learn from, {len(dev.examples):,} to judge by", task.describe()]
    return f"{'; '.join(filter(None, parts))}. {parameters / 1e6:.1f} million parameters{share} on {model.device}."


def _headline(task: Task, dev: Split, prediction: EvalPrediction) -> dict[str, float]:
    """The figures by which an epoch is kept: with what `tune` chooses for it, as those of the end are."""
    task.tune(dev.examples, dev.features, prediction.predictions)
    metrics = task.metrics(dev.examples, task.answers(dev.examples, dev.features, prediction.predictions))
    return {name: metrics[name] for name in task.headline}


def best_epoch(trainer: Trainer) -> float:
    """The one that is kept: 1.5 is in the middle of the second."""
    best = trainer.args.best_metric
    evaluations = [entry for entry in trainer.state.log_history if best in entry]
    return round(max(evaluations, key=lambda entry: entry[best])["epoch"], 3)


def print_summary(out: Path, task: Task, metrics: dict[str, Any]) -> None:
    """The main figures, and where the rest is."""
    for split, values in (("dev", metrics), ("test", metrics.get("test"))):
        if values is not None:
            print(f"{split:>4}: " + ", ".join(f"{name} {values[name]:.4f}" for name in task.headline))
    command = f"python -m minibert.predict --model {shlex.quote(str(out))} {task.to_try()}"
    print(f"The model and report.html are in {out}. Try: {command}")
