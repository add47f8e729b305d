"""What several runs say together: lines for a terminal, and `trials.html`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import plots
from ..intervals import OverRuns
from ..pages import cards, duration, heading, paragraph, picture, table, write_page

if TYPE_CHECKING:
    from .trials import Summary

NOTES = (
    "Report the mean with its interval (Student's, of the mean over runs), not the best run, which had luck, too. A "
    "run is degenerate if it is no better than the same answer to everything (Mosbach et al. 2021)."
)
FOLDS_NOTE = (
    "The runs of a cross-validation share most of their training data, so their interval is narrower than it should be "
    "(Bengio and Grandvalet 2004)."
)


def lines(summaries: Sequence[Summary], headline: Sequence[str]) -> Iterator[str]:
    """Each setting with its first metric; of the best one all that is known."""
    first = headline[0]
    if len(summaries) > 1:
        for rank, summary in enumerate(summaries, start=1):
            found = f"{first} {summary.dev[first]}" if summary.dev else "all runs diverged"
            yield f"{rank:3d}. {summary.setting}: {found}{_failures(summary)}"
    best = summaries[0]
    if best.setting:
        yield f"The best setting: {best.setting}"
    for split, figures in (("dev", best.dev), ("test", best.test)):
        for name, over_runs in figures.items():
            yield f"{split:>4}: {name} {over_runs}"
    if best.degenerate:
        yield f"{len(best.degenerate)} of {best.runs} runs learnt nothing: {', '.join(best.degenerate)}."


def _failures(summary: Summary) -> str:
    return f", {len(summary.degenerate)} of {summary.runs} runs degenerate" if summary.degenerate else ""


def write_trials_page(
    path: Path, summaries: Sequence[Summary], rows: Sequence[Mapping[str, Any]], headline: Sequence[str]
) -> None:
    """summaries: the best setting first. rows: the runs, as in `trials.json`."""
    first, best = headline[0], summaries[0]
    many = len(summaries) > 1
    title = f"{len(summaries)} settings in {len(rows)} runs" if many else f"{len(rows)} runs of one setting"
    numbers: dict[str, str] = {}
    for split, figures in (("dev", best.dev), ("test", best.test)):
        numbers |= {f"{split} {name}, mean of {value.runs}": f"{value.mean:.3f}" for name, value in figures.items()}
    numbers["degenerate runs"] = str(sum(row["degenerate"] for row in rows))
    numbers["training"] = duration(sum(row["train_seconds"] or 0 for row in rows))
    values = {
        summary.setting or "all runs": [
            row["dev"][first] for row in rows if row["setting"] == summary.setting and not row["diverged"]
        ]
        for summary in summaries
        if summary.dev
    }
    means = [summary.dev[first] for summary in summaries if summary.dev]
    parts = [f"<h1>{title}</h1>", cards(numbers)]
    if best.setting:
        parts.append(paragraph(f"The large numbers are those of the best setting: {best.setting}."))
    parts.append(paragraph(NOTES))
    if any(row["fold"] for row in rows):
        parts.append(paragraph(FOLDS_NOTE))
    if means:
        alt = f"The {first} of each run on dev, and of each setting the mean with its interval."
        parts += [heading("Runs"), picture(partial(plots.trials, values, means, first), alt)]
    parts += [
        heading("Settings, the best first"),
        table(
            ["setting", *(f"{split} {name}" for split in ("dev", "test") for name in headline), "runs", "degenerate"],
            [
                [
                    summary.setting or "as given",
                    *(_cell(figures.get(name)) for figures in (summary.dev, summary.test) for name in headline),
                    summary.runs,
                    len(summary.degenerate),
                ]
                for summary in summaries
            ],
        ),
        heading("All runs"),
        table(
            [
                "run",
                *(f"dev {name}" for name in headline),
                *(f"test {name}" for name in headline),
                "best epoch",
                "note",
            ],
            [
                [
                    row["run"],
                    *(_number(row["dev"][name]) for name in headline),
                    *(_number((row["test"] or {}).get(name)) for name in headline),
                    row["best_epoch"] or "",
                    "diverged" if row["diverged"] else "degenerate" if row["degenerate"] else "",
                ]
                for row in rows
            ],
        ),
    ]
    write_page(path, title, parts)


def _cell(found: OverRuns | None) -> str:
    if found is None:
        return ""
    if found.interval_95 is None:
        return f"{found.mean:.4f}"
    low, high = found.interval_95
    return f"{found.mean:.4f} ± {found.deviation:.4f} [{low:.4f}, {high:.4f}]"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
