"""What `python -m minibert.finetune` does: read everything, train, judge, and write a folder that can be used.

Whatever is wrong with the input is found before the folder is made.
"""

from __future__ import annotations

import argparse
import itertools
import json
import logging
import shutil
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch

from ..commandline import resume_command
from ..config import BertConfig
from ..errors import InputError
from ..files import write_json, write_text
from ..model import BertPreTrainedModel
from ..tasks import task_class
from ..tasks.task import Examples, Features, Task, prediction_lines
from ..tokenization import BertTokenizer
from ..tokenization.wordpiece import BasicTokenizer
from .arguments import TrainingArguments
from .measure import latencies_ms, peak_memory_mb
from .report import write_report
from .state import checkpoints
from .trainer import LOG, EvalPrediction, Trainer

log = logging.getLogger("minibert")

SAMPLE = Path(__file__).parents[1] / "data" / "reviews"
RUNS = Path("runs")
CHECKPOINTS = "checkpoints"
TRIALS = "trials"  # the runs of several seeds or of a search, see trials.py

# What a run writes into its folder: what --overwrite may delete, and nothing else.
RESULTS = (
    "config.json", "model.safetensors", "vocab.txt", "tokenizer.json", "tokenizer_config.json", "metrics.json",
    "predictions.jsonl", "dev_predictions.json", "test_predictions.json", LOG, "report.html", CHECKPOINTS, TRIALS,
    "trials.json", "trials.html",
)  # fmt: skip


# A random model has to learn language, too: it takes larger steps, and more of them, than a pretrained one.
PRETRAINED_DEFAULTS = {"lr": 5e-5, "epochs": 3.0}
RANDOM_DEFAULTS = {"lr": 5e-4, "epochs": 6.0}


class Split(NamedTuple):
    """Examples to judge by, with what the model reads of them."""

    name: str  # as in predictions.jsonl
    examples: Examples
    features: Features


def finetune(arguments: argparse.Namespace, summary: bool = True) -> dict[str, Any]:
    """Run one fine-tuning as the command line describes it, return the metrics, and print a `summary` of them.

    Raises `InputError` for what the user can mend, and `KeyboardInterrupt` with a text that says how to go on.
    """
    task = task_class(arguments.task).from_arguments(arguments)
    train, dev, test = read_files(arguments, task)
    task.learn_labels(train)
    out = free_folder(arguments)
    torch.manual_seed(arguments.seed)  # the new head is drawn at random
    model, tokenizer = _model(arguments, task, train)
    if arguments.max_length is None:
        arguments.max_length = task.max_length
    tokenizer.model_max_length = min(arguments.max_length, model.config.max_position_embeddings)
    splits = [Split("dev", dev, task.features(dev, tokenizer))]
    if test is not None:
        splits.append(Split("test", test, task.features(test, tokenizer)))

    trainer = Trainer(
        model,
        _training_arguments(arguments, task, out),
        data_collator=task.collate,
        train_dataset=task.features(train, tokenizer, training=True),
        eval_dataset=splits[0].features,
        processing_class=tokenizer,
        compute_metrics=partial(_headline, task, splits[0]),
    )
    log.info(_opening(task, train, dev, trainer))
    is_new = not out.exists()
    prepare_folder(out, keep=arguments.resume)
    try:
        metrics = _train_and_judge(arguments, out, task, trainer, train, splits)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"stopped and saved after step {trainer.state.global_step} of {trainer.state.max_steps}. "
            f"Go on with: {resume_command('finetune', out)}"
        ) from None
    except BaseException:
        _clear(out, is_new)
        raise
    if summary:
        _print_summary(out, task, metrics)
    return metrics


def _train_and_judge(
    arguments: argparse.Namespace, out: Path, task: Task, trainer: Trainer, train: Examples, splits: Sequence[Split]
) -> dict[str, Any]:
    """Train, then write all results. splits: dev, and test if there is one."""
    trained = trainer.train(resume_from_checkpoint=True if arguments.resume else None)
    trainer.compute_metrics = None  # it is the dev set's; from here on, metrics are those of the final answers
    outputs = [trainer.predict(split.features, "eval") for split in splits]
    dev, judged = splits[0], outputs[0]
    task.tune(dev.examples, dev.features, judged.predictions)
    trainer.model.config = trainer.model.config.replace(**task.config_changes())
    answers = [
        task.answers(split.examples, split.features, output.predictions)
        for split, output in zip(splits, outputs, strict=True)
    ]
    metrics = {
        "task": task.name,
        **task.metrics(dev.examples, answers[0]),
        "best_epoch": _best_epoch(trainer),
        "train_seconds": trained.metrics["train_runtime"],
        "train_samples_per_second": trained.metrics["train_samples_per_second"],
        "eval_samples_per_second": judged.metrics["eval_samples_per_second"],
        **latencies_ms(trainer, dev.features),
        "peak_memory_mb": peak_memory_mb(),
    }
    for split, found in zip(splits[1:], answers[1:], strict=True):
        if split.examples.have_truth:
            metrics[split.name] = task.metrics(split.examples, found)

    trainer.save_model(out)
    write_json(out / "metrics.json", metrics)
    predictions = [
        line
        for split, found in zip(splits, answers, strict=True)
        for line in prediction_lines(task, split.name, split.examples, found)
    ]
    for split, found in zip(splits, answers, strict=True):
        for name, content in task.other_files(split.name, split.examples, found).items():
            write_json(out / name, content)
    lines = (json.dumps(prediction, ensure_ascii=False) for prediction in predictions)
    write_text(out / "predictions.jsonl", "\n".join(lines) + "\n")
    write_report(
        out / "report.html",
        f"{'A small random model' if arguments.model is None else Path(arguments.model).name}, fine-tuned on "
        f"{train.path.name}",
        task,
        settings=vars(arguments),
        metrics=metrics,
        history=trainer.state.log_history,
        dev=dev.examples,
        answers=answers[0],
    )
    shutil.rmtree(out / CHECKPOINTS)
    return metrics


def read_files(arguments: argparse.Namespace, task: Task) -> tuple[Examples, Examples, Examples | None]:
    """Train, dev and test. Raises `InputError` for whatever is wrong with them."""
    train_file, dev_file, test_file = arguments.train, arguments.dev, arguments.test
    if train_file is None and dev_file is None and test_file is None and task.name == "classification":
        train_file, dev_file, test_file = (SAMPLE / f"{split}.tsv" for split in ("train", "dev", "test"))
        log.info(f"Learning from the sample that ships with minibert, {SAMPLE}.")
    if train_file is None or dev_file is None:
        raise InputError("--train and --dev are needed both: one file to learn from, another to judge by.")
    train, dev = task.read(train_file), task.read(dev_file)
    test = None if test_file is None else task.read(test_file, need_truth=False)
    for other in (dev, test):
        if other is not None:
            task.check(train, other)
    return train, dev, test


def free_folder(arguments: argparse.Namespace, to_resume: str = f"{CHECKPOINTS}/checkpoint-*") -> Path:
    """The folder to write to; with --resume it must hold a file or folder like `to_resume`.

    Raises `InputError` if something is in the way.
    """
    if arguments.out is None:
        number = next(n for n in itertools.count(1) if not (RUNS / f"finetune-{n}").exists())
        return RUNS / f"finetune-{number}"
    out = Path(arguments.out)
    if arguments.resume:
        if arguments.overwrite:
            raise InputError("--resume goes on with what is in --out, --overwrite deletes it: choose one.")
        if not any(out.glob(to_resume)):
            raise InputError(f"{out} has no interrupted run to --resume.")
        return out
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file: --out must be a folder, or not exist yet.")
    found = [] if not out.exists() else sorted(path.name for path in out.iterdir())
    if found and not arguments.overwrite:
        raise InputError(f"{out} is not empty. Choose another --out, or --overwrite an earlier run in it.")
    strangers = [name for name in found if name not in RESULTS]
    if strangers:
        raise InputError(f"{out} holds more than an earlier run ({', '.join(strangers[:3])}): it is not overwritten.")
    return out


def prepare_folder(out: Path, keep: bool) -> None:
    """Make the folder, and delete an earlier run in it unless that is to go on."""
    out.mkdir(parents=True, exist_ok=True)
    if not keep:
        _delete(out, RESULTS)


def _clear(out: Path, is_new: bool) -> None:
    """After a failure: leave what --resume needs if there is anything to go on from, else nothing."""
    if checkpoints(out / CHECKPOINTS):
        _delete(out, [name for name in RESULTS if name not in (LOG, CHECKPOINTS)])
        return
    _delete(out, RESULTS)
    if is_new:
        out.rmdir()


def _delete(folder: Path, names: Iterable[str]) -> None:
    for name in names:
        if (folder / name).is_dir():
            shutil.rmtree(folder / name)
        else:
            (folder / name).unlink(missing_ok=True)


def _model(arguments: argparse.Namespace, task: Task, train: Examples) -> tuple[BertPreTrainedModel, BertTokenizer]:
    if arguments.model is not None:
        tokenizer = BertTokenizer.from_pretrained(arguments.model)
        model = task.model_class.from_pretrained(arguments.model, **task.config_changes())
        defaults = PRETRAINED_DEFAULTS
    else:
        log.info(
            "No pretrained weights ship with minibert yet: starting from a small random model, which learns little."
        )
        tokenizer = BertTokenizer(_vocabulary(train))
        config = BertConfig.preset("tiny", vocab_size=len(tokenizer), **task.config_changes())
        model = task.model_class(config)
        defaults = RANDOM_DEFAULTS
    if len(tokenizer) > model.config.vocab_size:
        known = model.config.vocab_size
        raise InputError(f"{arguments.model}: its tokenizer has {len(tokenizer)} tokens, but its model knows {known}.")
    for name, value in defaults.items():
        if getattr(arguments, name) is None:
            setattr(arguments, name, value)
    return model, tokenizer


def _vocabulary(train: Examples) -> dict[str, int]:
    """A small vocabulary of a file's own: words that occur twice or more, and all characters to spell the others."""
    basic = BasicTokenizer(do_lower_case=True)
    texts = (json.dumps(list(example.given.values()), ensure_ascii=False) for example in train)
    words = Counter(word for text in texts for word in basic.tokenize(text))
    characters = sorted({character for word in words for character in word})
    frequent = [word for word, count in sorted(words.items(), key=lambda item: (-item[1], item[0])) if count > 1]
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *characters, *(f"##{c}" for c in characters), *frequent]
    return {token: i for i, token in enumerate(dict.fromkeys(tokens))}


def _training_arguments(arguments: argparse.Namespace, task: Task, out: Path) -> TrainingArguments:
    return TrainingArguments(
        output_dir=str(out / CHECKPOINTS),
        num_train_epochs=arguments.epochs,
        per_device_train_batch_size=arguments.batch_size,
        per_device_eval_batch_size=2 * arguments.batch_size,
        learning_rate=arguments.lr,
        weight_decay=arguments.weight_decay,
        warmup_ratio=arguments.warmup_ratio,
        eval_strategy="epoch",
        save_strategy="epoch",
        save_total_limit=1,
        load_best_model_at_end=True,
        metric_for_best_model=task.headline[0],
        greater_is_better=True,
        logging_dir=str(out),
        logging_steps=1,
        seed=arguments.seed,
        bf16=arguments.bf16,
    )


def _opening(task: Task, train: Examples, dev: Examples, trainer: Trainer) -> str:
    parameters = sum(parameter.numel() for parameter in trainer.model.parameters())
    parts = [f"{len(train):,} examples to learn from, {len(dev):,} to judge by", task.describe()]
    return f"{'; '.join(filter(None, parts))}. {parameters / 1e6:.1f} million parameters on {trainer.model.device}."


def _headline(task: Task, dev: Split, prediction: EvalPrediction) -> dict[str, float]:
    metrics = task.metrics(dev.examples, task.answers(dev.examples, dev.features, prediction.predictions))
    return {name: metrics[name] for name in task.headline}


def _best_epoch(trainer: Trainer) -> float:
    best = trainer.args.best_metric
    evaluations = [entry for entry in trainer.state.log_history if best in entry]
    return max(evaluations, key=lambda entry: entry[best])["epoch"]


def _print_summary(out: Path, task: Task, metrics: dict[str, Any]) -> None:
    for split, values in (("dev", metrics), ("test", metrics.get("test"))):
        if values is not None:
            print(f"{split:>4}: " + ", ".join(f"{name} {values[name]:.4f}" for name in task.headline))
    print(f"The model and report.html are in {out}. Try: python -m minibert.predict --model {out} 'your own text'")
