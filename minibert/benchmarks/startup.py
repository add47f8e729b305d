"""How long until something can happen: imports and `--help`, each in a new process of Python."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import minibert

from ..commandline import COMMANDS
from .measure import describe_machine, markdown_table, publish, spread, take_turns
from .models import UnavailableError, library
from .targets import STARTUP, targets_table

TORCH, ALL_OF_MINIBERT, ALL_OF_TRANSFORMERS = "import torch", "everything of minibert", "the same of transformers"
WITH_TORCH = (ALL_OF_MINIBERT, ALL_OF_TRANSFORMERS)  # their processes import torch, too


def bench_startup(arguments: argparse.Namespace) -> None:
    """Time the imports and every command's `--help`; print a table, and write JSON if asked."""
    candidates, notes = what_to_start()
    beyond: dict[str, list[float]] = {name: [] for name in WITH_TORCH if name in candidates}
    runs = {name: partial(start, command, beyond.get(name)) for name, command in candidates.items()}
    seconds = take_turns(runs, arguments.rounds)
    results: list[dict[str, Any]] = []
    for name, times in seconds.items():
        result: dict[str, Any] = {"what": name, "seconds": spread(times)}
        if name in beyond:
            result["seconds_beyond_torch"] = spread(beyond[name][-arguments.rounds :])  # the first ones were warm-up
        results.append(result)
    title = f"From the start to the end of a process, {arguments.rounds} rounds; medians and quartiles."
    targets = targets_table(STARTUP, figures(results))
    settings = {"rounds": arguments.rounds, "notes": notes}
    publish(arguments.json, describe_machine(), settings, results, title, *notes, as_table(results), targets)


def figures(results: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """What the targets are about, in seconds."""
    helps = [result["seconds"]["median"] for result in results if result["what"].endswith("--help")]
    beyond = {
        result["what"]: result["seconds_beyond_torch"]["median"]
        for result in results
        if "seconds_beyond_torch" in result
    }
    return {f"{ALL_OF_MINIBERT} beyond torch": beyond[ALL_OF_MINIBERT], "the slowest --help": max(helps)}


def what_to_start() -> tuple[dict[str, list[str]], list[str]]:
    """The arguments of Python by name, and a note on a library that is not there."""
    names = [name for name in minibert.__all__ if not name.startswith("__")]
    imports = {
        "python alone": "pass",
        TORCH: TORCH,
        "import minibert": "import minibert",
        ALL_OF_MINIBERT: timed_after_torch(f"from minibert import {', '.join(names)}"),
    }
    notes = []
    try:
        library("transformers")
        theirs = "BertModel, BertForSequenceClassification, BertTokenizer, Trainer, TrainingArguments"
        imports[ALL_OF_TRANSFORMERS] = timed_after_torch(f"from transformers import {theirs}")
    except UnavailableError as why:
        notes.append(f"transformers is left out. {why}")
    helps = {f"{command} --help": ["-m", f"minibert.{command}", "--help"] for command in COMMANDS}
    return {name: ["-c", code] for name, code in imports.items()} | helps, notes


def start(command: list[str], told: list[float] | None = None) -> None:
    """Run Python to its end; add the seconds that it tells. Raises if it fails: then its time says nothing."""
    output = subprocess.run([sys.executable, *command], check=True, stdout=subprocess.PIPE).stdout
    if told is not None:
        told.append(float(output))


def timed_after_torch(code: str) -> str:
    """A program that imports torch, does this, and tells how long this took: between processes torch varies more."""
    return f"import torch, time; started = time.perf_counter(); {code}; print(time.perf_counter() - started)"


def as_table(results: list[dict[str, Any]]) -> str:
    """The results in Markdown, one line each."""
    columns = ["what", "ms (quartiles)", f"ms beyond `{TORCH}`"]
    rows = []
    for result in results:
        beyond = result.get("seconds_beyond_torch")
        rows.append([result["what"], in_ms(result["seconds"]), in_ms(beyond) if beyond else ""])
    return markdown_table(columns, rows)


def in_ms(seconds: Mapping[str, float]) -> str:
    """A median and its quartiles."""
    return "{median:.0f} ({low:.0f}-{high:.0f})".format(**{key: 1e3 * value for key, value in seconds.items()})
