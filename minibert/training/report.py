"""`report.html`: a run on one page, in one file that needs no network."""

from __future__ import annotations

import html
import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..files import write_text

MISTAKES = 25
COSTS = (
    "train_seconds",
    "train_samples_per_second",
    "eval_samples_per_second",
    "latency_ms_p50",
    "latency_ms_p95",
    "peak_memory_mb",
)

STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8881; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 64rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; margin-bottom: 0; } h2 { font-size: 1.2rem; margin-top: 2.5rem; }
.sub { color: #888; margin-top: .2rem; }
.cards { display: flex; flex-wrap: wrap; gap: .8rem; margin: 1.5rem 0; padding: 0; list-style: none; }
.cards li { border: 1px solid var(--line); border-radius: .5rem; padding: .6rem 1rem; min-width: 7rem; }
.cards b { display: block; font-size: 1.5rem; font-variant-numeric: tabular-nums; }
.cards span { color: #888; font-size: .85rem; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .35rem .6rem; border-bottom: 1px solid var(--line); vertical-align: top; }
th { font-weight: 600; } td.number, th.number { text-align: right; white-space: nowrap; }
tbody tr:hover { background: var(--soft); }
td.text { overflow-wrap: break-word; }
figure { margin: 1rem 0; background: white; border-radius: .5rem; padding: .5rem; overflow-x: auto; }
figure svg { max-width: 100%; height: auto; display: block; margin: auto; }
"""


def write_report(
    path: Path,
    title: str,
    settings: Mapping[str, Any],
    metrics: Mapping[str, Any],
    history: Sequence[Mapping[str, Any]],
    mistakes: Sequence[Mapping[str, Any]],
) -> None:
    """One classification run: numbers, curves, confusion matrix, classes, and the most confident mistakes.

    metrics: as in `metrics.json`. history: the lines of `log.jsonl`. mistakes: lines of `predictions.jsonl`, the most
    confident first.
    """
    headline = {
        "accuracy": f"{metrics['accuracy']:.3f}",
        "macro F1": f"{metrics['f1_macro']:.3f}",
        "MCC": f"{metrics['mcc']:.3f}",
        "training": duration(metrics["train_seconds"]),
        "median latency": f"{metrics['latency_ms_p50']:.1f} ms",
    }
    costs = {name: round(metrics[name], 1) for name in COSTS if metrics[name] is not None}
    names = list(metrics["per_class"])
    parts = [
        f"<h1>{html.escape(title)}</h1>",
        f"<p class=sub>Figures of the dev set ({sum(map(sum, metrics['confusion_matrix'])):,} examples), "
        "from the epoch that did best there.</p>",
        cards(headline),
    ]
    if importlib.util.find_spec("matplotlib"):
        from . import plots

        alt = f"Training loss falls over {history[-1]['step']} steps; dev accuracy ends at {metrics['accuracy']:.3f}."
        parts += ["<h2>Curves</h2>", picture(plots.curves(history, "accuracy"), alt)]
        alt = f"Confusion matrix of {len(names)} classes; its numbers are in metrics.json."
        parts += ["<h2>Confusion matrix</h2>", picture(plots.confusion(metrics["confusion_matrix"], names), alt)]
    else:
        parts.append("<p>Curves and the confusion matrix need matplotlib: <code>pip install matplotlib</code>.</p>")
    classes = sorted(metrics["per_class"].items(), key=lambda item: item[1]["f1"])
    parts += [
        "<h2>Classes, the weakest first</h2>",
        table(
            ["class", "precision", "recall", "F1", "examples"],
            [
                [name, *(f"{row[key]:.3f}" for key in ("precision", "recall", "f1")), row["support"]]
                for name, row in classes
            ],
        ),
        "<h2>The most confident mistakes</h2>",
        table(
            ["probability", "predicted", "true", "text"],
            [
                [
                    f"{row['probability']:.3f}",
                    row["predicted"],
                    row["label"],
                    " ⟂ ".join(filter(None, (row["text"], row.get("text_b")))),
                ]
                for row in mistakes[:MISTAKES]
            ],
        )
        if mistakes
        else "<p>None: every example of the dev set is right.</p>",
        "<h2>Settings and costs</h2>",
        table(["", ""], [[name, value] for name, value in [*settings.items(), *costs.items()] if value is not None]),
    ]
    write_page(path, title, parts)


def write_page(path: Path, title: str, parts: Sequence[str]) -> None:
    """One page out of pieces of HTML."""
    body = "\n".join(parts)
    write_text(
        path,
        f"<!doctype html>\n<html lang=en>\n<meta charset=utf-8>\n<meta name=viewport content='width=device-width'>\n"
        f"<title>{html.escape(title)}</title>\n<style>{STYLE}</style>\n{body}\n</html>\n",
    )


def cards(numbers: Mapping[str, str]) -> str:
    """The most important numbers, large."""
    items = "".join(f"<li><b>{value}</b><span>{name}</span></li>" for name, value in numbers.items())
    return f"<ul class=cards>{items}</ul>"


def picture(svg: str, alt: str) -> str:
    """A drawing, with what it shows in words for those who cannot see it."""
    return f"<figure role=img aria-label='{html.escape(alt, quote=True)}'>{svg}</figure>"


def table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A table; columns of numbers stand to the right."""
    numeric = [all(_is_number(row[i]) for row in rows) for i in range(len(header))]
    classes = ["number" if is_number else "text" for is_number in numeric]
    head = "".join(map("<th class={}>{}</th>".format, classes, header))
    lines = ["".join(map("<td class={}>{}</td>".format, classes, map(_text, row))) for row in rows]
    body = "\n".join(f"<tr>{line}</tr>" for line in lines)
    return f"<table><thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table>"


def _text(cell: Any) -> str:
    return html.escape(str(cell))


def _is_number(cell: Any) -> bool:
    try:
        float(str(cell).replace(",", ""))
    except ValueError:
        return False
    return True


def duration(seconds: float) -> str:
    """For people: 1 h 5 min."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"
