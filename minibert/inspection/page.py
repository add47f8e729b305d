"""The facts of a data set for people: lines for a terminal, and a page with plots."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from .. import plots
from ..pages import cards, heading, paragraph, picture, table, write_page
from .facts import Facts
from .splits import Finding

MOST_LABELS = 12  # shown in the terminal, of each file


def lines(facts: Facts) -> Iterator[str]:
    """The figures of each file, then the findings, each with two of its rows."""
    for name, figures in facts.splits.items():
        yield f"{name}: {figures['rows']:,} rows"
        yield from (f"  {what:<7}  {text}" for what, text in _figures(figures))
    yield ""
    for finding in facts.findings:
        yield f"{'!!' if finding.serious else ' -'} {headline(finding)}: {finding.advice_sentence}"
        for example in finding.examples[:2]:
            yield f"     {_example(example)}"
    serious = sum(finding.serious for finding in facts.findings)
    yield f"Findings: {len(facts.findings)}, of them serious (!!): {serious}."


def headline(finding: Finding) -> str:
    """What, where and how much."""
    share = _percent(finding.rows / finding.of)
    return f"{finding.file}: {finding.what}, {finding.rows:,} of {finding.of:,} rows ({share})"


def _percent(share: float) -> str:
    return f"{share:.1%}" if share >= 0.001 else "<0.1%"


def _figures(figures: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What is known of a file: of what, and in words."""
    if figures["labels"]:
        yield "labels", _labels(figures["labels"])
    yield "lengths", _lengths(figures["lengths"])
    if "cut" in figures["lengths"]:
        yield "vocabulary", _vocabulary(figures["lengths"])


def _labels(labels: Mapping[str, Any]) -> str:
    if "counts" not in labels:
        return (
            f"numbers from {labels['least']:g} to {labels['most']:g}, mean {labels['mean']:.3g}, "
            f"standard deviation {labels['deviation']:.3g}"
        )
    counts = labels["counts"]
    total = max(sum(counts.values()), 1)
    shown = [f"{label} {count:,} ({count / total:.1%})" for label, count in list(counts.items())[:MOST_LABELS]]
    more = f", and {len(counts) - MOST_LABELS} more" if len(counts) > MOST_LABELS else ""
    return ", ".join(shown) + more


def _lengths(lengths: Mapping[str, Any]) -> str:
    figures = f"{lengths['unit']}: mean {lengths['mean']:.1f}, half of the rows up to {lengths['p50']:.0f}, "
    figures += f"95% up to {lengths['p95']:.0f}, the longest {lengths['most']:,}"
    cuts = ", ".join(
        f"{_percent(share)} longer than {limit}" for limit, share in lengths.get("cut", {}).items() if share
    )
    return figures + (f"; {cuts}" if cuts else "")


def _vocabulary(lengths: Mapping[str, Any]) -> str:
    figures = f"{lengths['tokens_per_word']:.2f} tokens a word, {lengths['unknown_share']:.3%} of all tokens unknown"
    missing = list(lengths["unknown_words"].items())[:5]
    return figures + (f" (mostly {', '.join(f'{word} {count:,} times' for word, count in missing)})" if missing else "")


def _example(example: Mapping[str, Any]) -> str:
    """A row and what is known of it, on one line."""
    extra = ", ".join(f"{key}: {value}" for key, value in example.items() if key not in ("file", "line", "text"))
    where = example["line"] if isinstance(example["line"], str) else f"line {example['line']}"
    return f"{example['file']}, {where}: {example['text']}" + (f"  [{extra}]" if extra else "")


def write_inspection_page(path: Path, title: str, facts: Facts) -> None:
    """One page: the findings with examples, plots of labels and lengths, and the figures."""
    serious = sum(finding.serious for finding in facts.findings)
    numbers = {f"rows in {name}": f"{figures['rows']:,}" for name, figures in facts.splits.items()}
    numbers |= {"findings": str(len(facts.findings)), "of them serious": str(serious)}
    parts = [cards(numbers), heading("Findings")]
    parts += [_finding(finding) for finding in facts.findings] or [paragraph("None.")]
    labels = {name: figures["labels"] for name, figures in facts.splits.items() if figures["labels"]}
    if labels:
        parts += [heading("Labels"), _label_picture(labels)]
    lengths = {name: figures["lengths"] for name, figures in facts.splits.items()}
    unit = next(iter(lengths.values()))["unit"]
    parts.append(heading("Lengths"))
    for kind in dict.fromkeys(map(_kind, lengths)):
        bars = {name: found["histogram"] for name, found in lengths.items() if _kind(name) == kind}
        draw = partial(plots.histograms, bars, f"{unit} a row")
        parts.append(picture(draw, f"How many {unit} the rows have; the figures are in the table below."))
    rows = [[name, *figure] for name, figures in facts.splits.items() for figure in _figures(figures)]
    parts += [heading("Figures"), table(["file", "", ""], rows)]
    write_page(path, title, parts)


def _kind(name: str) -> str:
    """What a file's rows are, if it is looked at in two ways: "contexts" of "train contexts"."""
    return name.partition(" ")[2]


def _finding(finding: Finding) -> str:
    mark = "⚠ " if finding.serious else ""
    examples = table(["file", "line", "text", "label", ""], [_cells(example) for example in finding.examples])
    return (
        f"<details><summary>{mark}<b>{html.escape(headline(finding))}</b></summary>"
        f"{paragraph(finding.advice[0].upper() + finding.advice_sentence[1:])}{examples if finding.examples else ''}"
        f"</details>"
    )


def _label_picture(labels: Mapping[str, Mapping[str, Any]]) -> str:
    """labels: the figures of each file that has them. All are counts, or all are of numbers."""
    alt = "Share of each label in each file; the figures are in the table below."
    if "counts" in next(iter(labels.values())):
        return picture(partial(plots.class_shares, {name: figures["counts"] for name, figures in labels.items()}), alt)
    bars = {name: figures["histogram"] for name, figures in labels.items()}
    return picture(partial(plots.histograms, bars, "label"), alt)


def _cells(example: Mapping[str, Any]) -> list[Any]:
    known = ("file", "line", "text", "label")
    extra = ", ".join(f"{key}: {value}" for key, value in example.items() if key not in known)
    return [*(example.get(key, "") for key in known), extra]
