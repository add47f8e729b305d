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
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from ..commandline import resume_command
from ..config import BertConfig
from ..errors import InputError
from ..files import write_json, write_text
from ..heads import BertForSequenceClassification
from ..tasks.classification import (
    Columns,
    Examples,
    answers,
    classification_metrics,
    encode,
    label_names,
    read_examples,
)  # fmt: skip
from ..tokenization import BertTokenizer
from ..tokenization.wordpiece import BasicTokenizer
from .arguments import TrainingArguments
from .measure import latencies_ms, peak_memory_mb
from .report import write_report
from .state import checkpoints
from .trainer import LOG, EvalPrediction, PredictionOutput, Trainer

log = logging.getLogger("minibert")

SAMPLE = Path(__file__).parents[1] / "data" / "reviews"
RUNS = Path("runs")
CHECKPOINTS = "checkpoints"

# What a run writes into its folder: what --overwrite may delete, and nothing else.
RESULTS = (
    "config.json", "model.safetensors", "vocab.txt", "tokenizer.json", "tokenizer_config.json", "metrics.json",
    "predictions.jsonl", LOG, "report.html", CHECKPOINTS,
)  # fmt: skip


# A random model has to learn language, too: it takes larger steps, and more of them, than a pretrained one.
PRETRAINED_DEFAULTS = {"lr": 5e-5, "epochs": 3.0}
RANDOM_DEFAULTS = {"lr": 5e-4, "epochs": 6.0}


def finetune(arguments: argparse.Namespace) -> dict[str, Any]:
    """Run one fine-tuning as the command line describes it, and return the metrics.

    Raises `InputError` for what the user can mend, and `KeyboardInterrupt` with a text that says how to go on.
    """
    columns = Columns(arguments.text_column, arguments.text_b_column, arguments.label_column)
    train, dev, test = _read_files(arguments, columns)
    names = label_names(train)
    out = _free_folder(arguments)
    torch.manual_seed(arguments.seed)  # the new head is drawn at random
    model, tokenizer = _model(arguments, train, names)
    tokenizer.model_max_length = min(arguments.max_length, model.config.max_position_embeddings)
    train_set, dev_set = (_dataset(examples, names, tokenizer) for examples in (train, dev))
    test_set = None if test is None else _dataset(test, names, tokenizer)

    trainer = Trainer(
        model,
        _training_arguments(arguments, out),
        train_dataset=train_set,
        eval_dataset=dev_set,
        processing_class=tokenizer,
        compute_metrics=lambda prediction: _headline(prediction, names),
    )
    log.info(_opening(train, dev, names, trainer))
    is_new = not out.exists()
    _prepare_folder(out, keep=arguments.resume)
    try:
        metrics = _train_and_judge(arguments, out, trainer, (train, dev, test), (dev_set, test_set), names)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"stopped and saved after step {trainer.state.global_step} of {trainer.state.max_steps}. "
            f"Go on with: {resume_command('finetune', out)}"
        ) from None
    except BaseException:
        _clear(out, is_new)
        raise
    _print_summary(out, metrics)
    return metrics


def _train_and_judge(
    arguments: argparse.Namespace,
    out: Path,
    trainer: Trainer,
    examples: tuple[Examples, Examples, Examples | None],
    datasets: tuple[list[dict[str, Any]], list[dict[str, Any]] | None],
    names: list[str],
) -> dict[str, Any]:
    """Train, then write all results. examples: train, dev and test; datasets: dev and test, encoded."""
    (train, dev, test), (dev_set, test_set) = examples, datasets
    trained = trainer.train(resume_from_checkpoint=True if arguments.resume else None)
    judged = trainer.predict(dev_set, "eval")
    tested = None if test_set is None else trainer.predict(test_set)
    predictions = [
        *_predictions("dev", dev, judged, names),
        *([] if test is None or tested is None else _predictions("test", test, tested, names)),
    ]
    metrics = {
        "task": arguments.task,
        **_metrics(judged, names),
        "best_epoch": _best_epoch(trainer),
        "train_seconds": trained.metrics["train_runtime"],
        "train_samples_per_second": trained.metrics["train_samples_per_second"],
        "eval_samples_per_second": judged.metrics["eval_samples_per_second"],
        **latencies_ms(trainer.model, dev_set[:100]),
        "peak_memory_mb": peak_memory_mb(),
    }
    if tested is not None and tested.label_ids is not None:
        metrics["test"] = _metrics(tested, names)

    trainer.save_model(out)
    write_json(out / "metrics.json", metrics)
    lines = (json.dumps(prediction, ensure_ascii=False) for prediction in predictions)
    write_text(out / "predictions.jsonl", "\n".join(lines) + "\n")
    mistakes = [row for row in predictions if row["split"] == "dev" and row["label"] != row["predicted"]]
    mistakes.sort(key=lambda row: -row["probability"])
    write_report(
        out / "report.html",
        title=f"{'A small random model' if arguments.model is None else Path(arguments.model).name}, fine-tuned on "
        f"{train.table.path.name}",
        settings=vars(arguments),
        metrics=metrics,
        history=trainer.state.log_history,
        mistakes=mistakes,
    )
    shutil.rmtree(out / CHECKPOINTS)
    return metrics


def _read_files(arguments: argparse.Namespace, columns: Columns) -> tuple[Examples, Examples, Examples | None]:
    train_file, dev_file, test_file = arguments.train, arguments.dev, arguments.test
    if train_file is None and dev_file is None and test_file is None:
        train_file, dev_file, test_file = (SAMPLE / f"{split}.tsv" for split in ("train", "dev", "test"))
        log.info(f"Learning from the sample that ships with minibert, {SAMPLE}.")
    if train_file is None or dev_file is None:
        raise InputError("--train and --dev are needed both: one file to learn from, another to judge by.")
    train, dev = read_examples(train_file, columns), read_examples(dev_file, columns)
    test = None if test_file is None else read_examples(test_file, columns, need_labels=False)
    for other in (dev, test):
        if other is not None and (other.texts_b is None) != (train.texts_b is None):
            raise InputError(
                f"Either all files have the column '{columns.text_b}' or none: {train.table.path} and "
                f"{other.table.path} differ."
            )
    return train, dev, test


def _free_folder(arguments: argparse.Namespace) -> Path:
    """The folder to write to. Raises `InputError` if something is in the way."""
    if arguments.out is None:
        number = next(n for n in itertools.count(1) if not (RUNS / f"finetune-{n}").exists())
        return RUNS / f"finetune-{number}"
    out = Path(arguments.out)
    if arguments.resume:
        if arguments.overwrite:
            raise InputError("--resume goes on with what is in --out, --overwrite deletes it: choose one.")
        if not any((out / CHECKPOINTS).glob("checkpoint-*")):
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


def _prepare_folder(out: Path, keep: bool) -> None:
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


def _model(
    arguments: argparse.Namespace, train: Examples, names: list[str]
) -> tuple[BertForSequenceClassification, BertTokenizer]:
    id2label = dict(enumerate(names))
    if arguments.model is not None:
        tokenizer = BertTokenizer.from_pretrained(arguments.model)
        model = BertForSequenceClassification.from_pretrained(arguments.model, id2label=id2label)
        defaults = PRETRAINED_DEFAULTS
    else:
        log.info(
            "No pretrained weights ship with minibert yet: starting from a small random model, which learns little."
        )
        tokenizer = BertTokenizer(_vocabulary(train))
        config = BertConfig.preset("tiny", vocab_size=len(tokenizer), id2label=id2label)
        model = BertForSequenceClassification(config)
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
    words = Counter(word for text in [*train.texts, *(train.texts_b or [])] for word in basic.tokenize(text))
    characters = sorted({character for word in words for character in word})
    frequent = [word for word, count in sorted(words.items(), key=lambda item: (-item[1], item[0])) if count > 1]
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *characters, *(f"##{c}" for c in characters), *frequent]
    return {token: i for i, token in enumerate(dict.fromkeys(tokens))}


def _dataset(examples: Examples, names: list[str], tokenizer: BertTokenizer) -> list[dict[str, Any]]:
    rows = encode(examples.texts, examples.texts_b, tokenizer)
    if examples.labels is not None:
        for row, label in zip(rows, examples.label_ids(names), strict=True):
            row["labels"] = label
    return rows


def _training_arguments(arguments: argparse.Namespace, out: Path) -> TrainingArguments:
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
        metric_for_best_model="accuracy",
        logging_dir=str(out),
        logging_steps=1,
        seed=arguments.seed,
        bf16=arguments.bf16,
    )


def _opening(train: Examples, dev: Examples, names: list[str], trainer: Trainer) -> str:
    parameters = sum(parameter.numel() for parameter in trainer.model.parameters())
    labels = ", ".join(names[:6]) + (", ..." if len(names) > 6 else "")
    return (
        f"{len(train):,} examples to learn from, {len(dev):,} to judge by; {len(names)} labels ({labels}). "
        f"{parameters / 1e6:.1f} million parameters on {trainer.model.device}."
    )


def _metrics(output: PredictionOutput, names: list[str]) -> dict[str, Any]:
    return classification_metrics(output.label_ids, output.predictions.argmax(axis=1), names)


def _headline(prediction: EvalPrediction, names: list[str]) -> dict[str, float]:
    metrics = classification_metrics(prediction.label_ids, prediction.predictions.argmax(axis=1), names)
    return {name: metrics[name] for name in ("accuracy", "f1_macro", "mcc")}


def _best_epoch(trainer: Trainer) -> float:
    evaluations = [entry for entry in trainer.state.log_history if "eval_accuracy" in entry]
    return max(evaluations, key=lambda entry: entry["eval_accuracy"])["epoch"]


def _predictions(split: str, examples: Examples, output: PredictionOutput, names: list[str]) -> list[dict[str, Any]]:
    """The lines of `predictions.jsonl` for one file."""
    lines = []
    for number, answer in enumerate(answers(output.predictions, names)):
        line: dict[str, Any] = {"split": split, "text": examples.texts[number]}
        if examples.texts_b is not None:
            line["text_b"] = examples.texts_b[number]
        if examples.labels is not None:
            line["label"] = examples.labels[number]
        lines.append(line | {"predicted": answer.pop("label")} | answer)
    return lines


def _print_summary(out: Path, metrics: dict[str, Any]) -> None:
    names = ("accuracy", "f1_macro", "mcc")
    for split, values in (("dev", metrics), ("test", metrics.get("test"))):
        if values is not None:
            print(f"{split:>4}: " + ", ".join(f"{name} {values[name]:.4f}" for name in names))
    print(f"The model and report.html are in {out}. Try: python -m minibert.predict --model {out} 'your own text'")
