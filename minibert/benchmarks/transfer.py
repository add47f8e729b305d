"""Ways to fine-tune, compared: accuracy, trained parameters, time and memory, over several seeds.

Every run is `python -m minibert.finetune` in a process of its own, because the peak memory of a process cannot be taken
back. The seed chooses the examples, the new weights and the order: the same for all ways.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from ..checkpoints.pretrained import open_checkpoint
from ..compare import WAYS
from ..data.tables import read_table
from ..errors import InputError
from ..files import remove_if_empty, write_json, write_json_lines
from ..training.begun import checksum, fix_settings
from .measure import describe_machine, header, markdown_table

PASSED_ON = (
    "dev",
    "test",
    "text_column",
    "text_b_column",
    "label_column",
    "model",
    "epochs",
    "batch_size",
    "max_length",
)
KEPT = ("accuracy", "parameters", "trained_parameters", "adapter_bytes", "train_seconds", "peak_memory_mb")
SETTINGS = "comparison-settings.json"  # in --out: no other command writes a file of this name


def compare(arguments: argparse.Namespace) -> None:
    """The command `compare`: prints a table; `compare.json` in --out holds the figures of all runs.

    Raises `InputError` if a run fails, and if --out holds another comparison.
    """
    out = Path(arguments.out)
    rows = [row.values for row in read_table(arguments.train).rows]
    if arguments.examples is not None and arguments.examples > len(rows):
        raise InputError(f"--examples {arguments.examples} is more than the {len(rows)} of {arguments.train}.")
    blocks = open_checkpoint(arguments.model).config.num_hidden_layers
    if "top-2" in arguments.ways and blocks < 3:
        raise InputError(f"{arguments.model} has {blocks} blocks: leave top-2 out of --ways.")
    if "gradual" in arguments.ways and arguments.epochs <= 1:
        raise InputError("Gradual unfreezing takes more than one epoch: leave gradual out of --ways.")
    is_new = not (out / SETTINGS).exists()
    _check_folder(arguments, out)
    plan = [(way, seed) for seed in range(arguments.seeds) for way in arguments.ways]
    for way, seed in tqdm(plan, unit="run"):
        figures = out / f"{way}-seed-{seed}.json"
        if not figures.exists():
            flags = ["--freeze", str(blocks - 2)] if way == "top-2" else WAYS[way]
            try:
                write_json(figures, _run(arguments, rows, flags, seed))
            except InputError:
                if is_new and not any(out.glob("*-seed-*.json")):  # it is about the files or flags of all runs
                    (out / SETTINGS).unlink()
                    remove_if_empty(out)
                raise
    runs = {
        way: [json.loads((out / f"{way}-seed-{seed}.json").read_text()) for seed in range(arguments.seeds)]
        for way in arguments.ways
    }
    machine = describe_machine()
    write_json(out / "compare.json", {"machine": machine, "settings": _settings(arguments), "runs": runs})
    print(header(machine) + "\n" + table(runs))


def _run(
    arguments: argparse.Namespace, rows: Sequence[dict[str, Any]], flags: Sequence[str], seed: int
) -> dict[str, Any]:
    """One fine-tuning in a process of its own: the figures that count."""
    count = arguments.examples or len(rows)
    chosen = [rows[number] for number in np.random.default_rng(seed).permutation(len(rows))[:count]]
    passed = [
        f"--{name.replace('_', '-')}={vars(arguments)[name]}" for name in PASSED_ON if vars(arguments)[name] is not None
    ]
    with tempfile.TemporaryDirectory() as folder:
        train, run = Path(folder) / "train.jsonl", Path(folder) / "run"
        write_json_lines(train, chosen)
        command = [sys.executable, "-m", "minibert.finetune", f"--train={train}", f"--out={run}", f"--seed={seed}"]
        done = subprocess.run([*command, *passed, *flags], capture_output=True, text=True)
        if done.returncode:
            lines = done.stderr.strip().splitlines() or [f"it ended with status {done.returncode}"]
            raise InputError(f"A run with {' '.join(flags) or 'no flags'} failed: {lines[-1]}")
        metrics = json.loads((run / "metrics.json").read_text())
    if arguments.test is not None and "test" not in metrics:  # `finetune` takes such a file, too, but does not judge it
        raise InputError(f"{arguments.test} has no labels, so no run can be judged by it.")
    judged = metrics | metrics.get("test", {})
    return {name: judged.get(name) for name in KEPT}


def table(runs: dict[str, list[dict[str, Any]]]) -> str:
    """A line for each way: means over the seeds, with the standard deviation of the accuracy."""
    lines = []
    for way, results in runs.items():
        accuracies = [100 * result["accuracy"] for result in results]
        spread = f" ± {statistics.stdev(accuracies):.1f}" if len(accuracies) > 1 else ""
        first = results[0]
        share = first["trained_parameters"] / first["parameters"]
        kept = first["adapter_bytes"] or 4 * first["parameters"]
        memory = [result["peak_memory_mb"] for result in results if result["peak_memory_mb"] is not None]
        lines.append(
            [
                way,
                f"{statistics.mean(accuracies):.1f}{spread}",
                f"{first['trained_parameters']:,}",
                f"{100 * share:.2f} %",
                f"{statistics.mean(result['train_seconds'] for result in results):.1f}",
                f"{statistics.mean(memory):,.0f}" if memory else "",
                f"{kept / 1e6:,.2f}",
            ]
        )
    columns = ["way", "accuracy, %", "trained", "share", "training, s", "peak memory, MiB", "to keep, MB"]
    return markdown_table(columns, lines)


def _settings(arguments: argparse.Namespace) -> dict[str, Any]:
    """What all runs of a comparison have in common."""
    return {name: vars(arguments)[name] for name in ("train", "examples", *PASSED_ON)}


def _check_folder(arguments: argparse.Namespace, out: Path) -> None:
    """Make the folder. Raises `InputError` if it holds runs with other settings: they cannot be compared with these.

    Of the files, what they hold counts, and not their names.
    """
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file: --out must be a folder, or not exist yet.")
    path = out / SETTINGS
    if out.exists() and not path.exists() and any(out.iterdir()):
        raise InputError(f"{out} is not empty, and holds no comparison: choose another --out.")
    files = {name: vars(arguments)[name] for name in ("train", "dev", "test")}
    data = {name: file and checksum(row.values for row in read_table(file).rows) for name, file in files.items()}
    fix_settings(path, _settings(arguments), data, advice="choose another --out")
