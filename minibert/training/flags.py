"""Which flags go together, above all of `python -m minibert.finetune`: one that would change nothing is refused."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from ..errors import InputError
from ..transfer.adapters import Adapters
from ..transfer.lora import Lora

WAYS = ("freeze", "gradual_unfreezing", "layer_decay", "mix", "lora", "adapters", "bitfit", "prefix")  # one at a time
SETTINGS_OF = (
    ("lora", "lora_alpha", Lora.alpha),
    ("lora", "lora_targets", ",".join(Lora.targets)),
    ("adapters", "adapter_size", Adapters.size),
    ("patience", "minimal_gain", 0.0),
)  # the flag, its setting, and the setting's default
TASKS_OF = (
    ("text_column", "text", ("classification", "multilabel", "ner", "regression", "similarity", "summarization")),
    ("text_b_column", "text_b", ("classification", "multilabel", "regression", "similarity")),
    (
        "label_column",
        "label",
        ("choice", "classification", "multilabel", "ner", "regression", "similarity", "summarization"),
    ),
    ("long_texts", "head", ("classification", "multilabel", "regression")),
    ("label_separator", ",", ("multilabel",)),
    ("calibrate", False, ("classification",)),
    ("tag_scheme", None, ("ner",)),
    ("stride", None, ("qa",)),
    ("max_answer_length", 30, ("qa",)),
    ("summary_sentences", 3, ("summarization",)),
    ("label_smoothing", 0.0, ("choice", "classification", "ner")),
    ("class_weights", False, ("classification", "ner")),
    ("balanced_sampling", False, ("choice", "classification")),
)  # the flag, its default, and the tasks that read it


def check_settings(arguments: argparse.Namespace, tasks: Sequence[str]) -> None:
    """Raise `InputError` for flags that would change nothing, unnoticed. tasks: the names of all that are learnt."""
    given = [f"--{name.replace('_', '-')}" for name in WAYS if getattr(arguments, name)]
    if len(given) > 1:  # in a search, one may be among the flags and the other be tried
        raise InputError(f"{' and '.join(given)} are different ways to train: choose one.")
    for flag, setting, default in SETTINGS_OF:
        if getattr(arguments, flag) is None and getattr(arguments, setting) != default:
            raise InputError(f"--{setting.replace('_', '-')} is a setting of --{flag}, which is missing.")
    check_readers(arguments, tasks)
    if arguments.sampling != "proportional" and len(tasks) == 1:
        raise InputError("--sampling mixes several tasks, and there is one: leave it out.")


def check_readers(arguments: argparse.Namespace, tasks: Sequence[str]) -> None:
    """Raise `InputError` for a flag that none of these tasks reads. A command need not have all flags.

    `mlm` and `nsp`, which are only asked, read tables of texts.
    """
    for flag, usual, readers in TASKS_OF:
        if getattr(arguments, flag, usual) != usual and not set(tasks) & {*readers, "mlm", "nsp"}:
            found, wanted = " and ".join(tasks), " or ".join(readers)
            raise InputError(f"--{flag.replace('_', '-')} is for --task {wanted}, not for {found}: leave it out.")
