"""Which settings to try, and on which parts of the data.

Grid search tries all combinations of the values that are named. Random search draws from them, or from ranges, and
finds good settings in fewer runs when only some of them matter (Bergstra and Bengio 2012).
"""

from __future__ import annotations

import argparse
import itertools
import math
import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ..data.folds import assign_folds
from ..data.tables import read_table
from ..errors import InputError
from ..files import json_line
from ..tasks import task_class
from .finetuning import choose_data
from .run_folder import TRIALS, free_folder
from .slices import column_values
from .trials import PLAN, Summary, Trial, run_trials
from .trials_report import lines

Setting = dict[str, str]  # flag, without its dashes -> value, as on the command line


def settings_of(tries: Sequence[str], draws: int | None, seed: int) -> list[Setting]:
    """The settings that `--try FLAG=VALUES` describes: all of them, or so many that are drawn, each only once.

    VALUES are named, `lr=1e-5,3e-5`, or, for drawing, a range: `lr=1e-5..1e-3`, in which every order of magnitude has
    the same chance; between whole numbers, a whole one is drawn. Raises `InputError` for anything else.
    """
    choices: dict[str, str] = {}
    for text in tries:
        flag, equals, values = text.partition("=")
        flag = flag.removeprefix("--")
        if not equals or not flag or not values or not all(values.split(",")):
            raise InputError(f"--try needs a flag and its values, as in lr=1e-5,3e-5: found '{text}'.")
        if flag in choices:
            raise InputError(f"--try {flag} stands there twice: name all its values at once.")
        if len(set(values.split(","))) < values.count(",") + 1:  # or one run would pass for two that agree
            raise InputError(f"--try {flag} needs values that are all different: found '{values}'.")
        choices[flag] = values
    if draws is None:
        for flag, values in choices.items():
            if _is_range(values):
                raise InputError(f"--try {flag}={values} is a range: say with --random how many to draw.")
        return [
            dict(zip(choices, values, strict=True))
            for values in itertools.product(*(values.split(",") for values in choices.values()))
        ]
    generator = random.Random(seed)
    drawers = {flag: _drawer(flag, values, generator) for flag, values in choices.items()}
    drawn: list[Setting] = []
    for _ in range(100 * draws):  # with few choices, the same are drawn again
        setting = {flag: draw() for flag, draw in drawers.items()}
        if setting not in drawn:
            drawn.append(setting)
        if len(drawn) == draws:
            break
    return drawn


def _is_range(values: str) -> bool:
    return ".." in values and not set(values) & set("/\\")  # ../model is a place


def _drawer(flag: str, values: str, generator: random.Random) -> Callable[[], str]:
    if not _is_range(values):
        return lambda: generator.choice(values.split(","))
    ends = values.split("..")
    try:
        low, high = map(float, ends)
    except ValueError:
        low = high = math.nan
    if not 0 < low < high < math.inf:
        raise InputError(f"--try {flag} needs a range of two numbers above 0, the lower one first: found '{values}'.")
    whole = all(end.isdecimal() for end in ends)
    if whole:
        low, high = low - 0.49, high + 0.49  # so that the ends have the chance of the others when they are rounded

    def draw() -> str:
        value = math.exp(generator.uniform(math.log(low), math.log(high)))
        return str(round(value)) if whole else f"{value:.3g}"

    return draw


def search(
    command: str, arguments: argparse.Namespace, settings: Sequence[tuple[str, argparse.Namespace]]
) -> list[Summary]:
    """Run all settings, on all folds if there are any, with all seeds; print what came out. See `run_trials`.

    arguments: those of `finetune`, and perhaps `folds` and `group_column`. settings: in words, and as arguments.
    """
    if isinstance(arguments.task, list):
        raise InputError("--seeds and searches are for one task, not for several that are learnt together.")
    if arguments.find_lr is not None:
        raise InputError("--find-lr tries learning rates by itself, in one short run: leave --seeds and --try out.")
    if arguments.seed + arguments.seeds > 2**32:
        raise InputError(f"--seeds {arguments.seeds} from --seed {arguments.seed} on go beyond the last, {2**32 - 1}.")
    choose_data(arguments)
    data = {name: getattr(arguments, name) for name in ("task", "train", "dev", "test")} | {"dataset": None}
    settings = [(words, argparse.Namespace(**vars(setting) | data)) for words, setting in settings]
    out = arguments.out = str(free_folder(arguments, PLAN, [setting.model for _, setting in settings]))
    folds = getattr(arguments, "folds", None)
    files = {} if folds is None else fold_files(arguments, folds)
    trials = trials_of(settings, Path(out) / TRIALS, folds)
    summaries = run_trials(command, arguments, trials, files)
    print(*lines(summaries), sep="\n")
    if summaries[0].dev:
        print(f"The best run's model and report.html are in {out}, all runs in trials.html.")
    return summaries


def trials_of(settings: Sequence[tuple[str, argparse.Namespace]], folder: Path, folds: int | None) -> list[Trial]:
    """A run for each setting, fold and seed. The files of folds are those of `fold_files`, in this folder."""
    trials = []
    for number, (words, arguments) in enumerate(settings, start=1):
        for fold in range(1, folds + 1) if folds is not None else [None]:
            for seed in range(arguments.seed, arguments.seed + arguments.seeds):
                changed = argparse.Namespace(**vars(arguments) | {"seed": seed, "seeds": 1})
                parts = [f"setting-{number}"] if words else []
                if fold is not None:
                    parts.append(f"fold-{fold}")
                    changed.train, changed.dev = (
                        str(folder / f"fold-{fold}-{part}.jsonl") for part in ("train", "dev")
                    )
                trials.append(Trial("-".join([*parts, f"seed-{seed}"]), words, changed, fold))
    return trials


def fold_files(arguments: argparse.Namespace, folds: int) -> dict[str, str]:
    """The training and dev files of all folds, by name, with their contents, from the table --train.

    Stratified by the label; rows with the same value in --group-column stay together. Raises `InputError` for anything
    but a table, if there are too few rows or groups, and for a label that one fold alone would have.
    """
    if arguments.train is None or arguments.dev is not None:
        raise InputError("--folds cuts --train into parts to learn from and to judge by: give --train, and no --dev.")
    rows = read_table(arguments.train).rows
    task = task_class(arguments.task).from_arguments(arguments)
    examples = task.read(arguments.train)
    if len(examples) != len(rows):
        raise InputError(
            f"{arguments.train}: --folds needs one example a row, found {len(examples)} in {len(rows)} rows."
        )
    task.learn_labels(examples)  # which may refuse them: here by the name of the file, not of a part of it
    classes = [task.classes(truth) for truth in examples.truths]
    are_numbers = all(isinstance(truth, (int, float)) for truth in examples.truths)
    labels = examples.truths if are_numbers else [", ".join(names) for names in classes]
    groups = None
    if arguments.group_column is not None:
        groups = column_values(examples, arguments.group_column, "--group-column")
    assigned = assign_folds(labels, folds, arguments.seed, groups)
    files = {}
    for fold in range(folds):
        parts: dict[str, list[int]] = {"train": [], "dev": []}
        for place, found in enumerate(assigned):
            parts["dev" if found == fold else "train"].append(place)
        met = {part: {name for place in places for name in classes[place]} for part, places in parts.items()}
        alone = met["dev"] - met["train"]
        if alone:
            raise InputError(
                f"{arguments.train}: all rows with the label '{min(alone)}' are in one of the {folds} folds, so "
                "that none is left to learn it from. Take fewer folds, or add such rows."
            )
        for part, places in parts.items():
            content = (f"{json_line(rows[place].values)}\n" for place in places)
            files[f"fold-{fold + 1}-{part}.jsonl"] = "".join(content)
    return files


def in_words(setting: Mapping[str, str]) -> str:
    """A setting for people."""
    return ", ".join(f"{flag} {value}" for flag, value in setting.items())
