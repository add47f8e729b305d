"""`report.html`: a fine-tuning run on one page."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .. import plots
from ..pages import cards, duration, heading, picture, table, write_page
from ..tasks.task import Examples, Task

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
) -> None:
    """One run: its numbers, its curves, what the task itself has to show, settings and costs.

    metrics: as in `metrics.json`. history: the lines of `log.jsonl`. answers: those to the dev set.
    """
    headline = {name.replace("_", " "): f"{metrics[name]:.3f}" for name in task.headline} | {
        "training": duration(metrics["train_seconds"]),
        "median latency": f"{metrics['latency_ms_p50']:.1f} ms",
    }
    costs = {name: round(metrics[name], 1) for name in COSTS if metrics[name] is not None}
    best = task.headline[0]
    alt = f"Training loss over {history[-1]['step']} steps; {best} on the dev set ends at {metrics[best]:.3f}."
    parts = [
        f"<h1>{html.escape(title)}</h1>",
        f"<p class=sub>Figures of the dev set ({len(dev):,} examples), from the epoch that did best there.</p>",
        cards(headline),
        heading("Curves"),
        picture(lambda: plots.curves(history, best), alt),
        *task.report(dev, answers, metrics),
        heading("Settings and costs"),
        table(["", ""], [[name, value] for name, value in [*settings.items(), *costs.items()] if value is not None]),
    ]
    write_page(path, title, parts)
