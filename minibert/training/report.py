"""`report.html`: a fine-tuning run on one page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .. import plots
from ..pages import cards, duration, folded, heading, in_words, paragraph, picture, table, write_page
from ..tasks.task import Examples, Task
from ..tracing import Trace

COSTS = (
    "train_seconds",
    "train_samples_per_second",
    "eval_samples_per_second",
    "latency_ms_p50",
    "latency_ms_p95",
    "peak_memory_mb",
)


def write_report(
    path: Path,
    title: str,
    task: Task,
    settings: Mapping[str, Any],
    metrics: Mapping[str, Any],
    history: Sequence[Mapping[str, Any]],
    dev: Examples,
    answers: Sequence[Mapping[str, Any]],
    steps: Trace,
) -> None:
    """One run: its numbers, its curves, what the task itself has to show, settings and costs.

    metrics: as in `metrics.json`. history: the lines of `log.jsonl`. answers: those to the dev set.
    steps: a forward pass of one of them.
    """
    headline = {in_words(name): f"{metrics[name]:.3f}" for name in task.headline} | {
        "training": duration(metrics["train_seconds"]),
        "median latency": f"{metrics['latency_ms_p50']:.1f} ms",
    }
    costs = {name: round(metrics[name], 1) for name in COSTS if metrics[name] is not None}
    best = task.headline[0]
    steps_taken = history[-1]["step"]
    alt = f"Training loss over {steps_taken} steps; {in_words(best)} on the dev set ends at {metrics[best]:.3f}."
    parts = [
        f"<p class=sub>Figures of the dev set ({len(dev):,} examples), by the model that did best there.</p>",
        cards(headline),
        heading("Curves"),
        picture(lambda: plots.curves(history, best), alt),
        *task.report(dev, answers, metrics),
        heading("Settings and costs"),
        table(["", ""], [[name, value] for name, value in [*settings.items(), *costs.items()] if value is not None]),
        heading("One example on its way through the model"),
        paragraph(
            "Every tensor that the code gives a name for the first example of the dev set, in the order in which they "
            "are made, from the ids to the logits. minibert.trace records the same for any input."
        ),
        folded(f"{len(steps.rows)} tensors, each with the line that makes it", forward_pass(steps)),
    ]
    write_page(path, title, parts)


def forward_pass(steps: Trace) -> str:
    """A trace as a table. Where numbers have run away, or are all alike, it shows."""
    rows = []
    for row in steps.rows:
        numbers = row.tensor.float()
        figures = [numbers.min(), numbers.mean(), numbers.max()] if numbers.numel() else [math.nan] * 3
        shape = " × ".join(map(str, row.tensor.shape)) or "a number"
        rows.append([row.name, shape, *(f"{figure:.4g}" for figure in figures), row.where, row.code])
    return table(["name", "shape", "smallest", "mean", "largest", "line", "code"], rows)
