"""What several runs say together: lines for a terminal, and `trials.html`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import plots
from ..intervals import OverRuns
from ..pages import cards, duration, heading, in_words, paragraph, picture, table, write_page

if TYPE_CHECKING:
    from .trials import Summary

NOTES = (
    "Report the mean with its interval (Student's, of the mean over runs), not the best run, which had luck, too. A "
    "run is degenerate if it is no better than the same answer to everything (Mosbach et al. 2021)."
)
MEAN_COLUMNS = ("mean", "standard deviation", "95% from", "to")
FOLDS_NOTE = (
    "The runs of a cross-validation share most of their training data, so their interval is narrower than it should be "
    "(Bengio and Grandvalet 2004)."
)


def lines(summaries: Sequence[Summary]) -> Iterator[str]:
    """Each setting with its first metric; of the best one all that is known."""
    first = next(iter(summaries[0].dev), "")  # "" if all runs diverged
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
    numbers = {
        f"{in_words(first)} on {split}, mean of {figures[first].runs}": f"{figures[first].mean:.3f}"
        for split, figures in (("dev", best.dev), ("test", best.test))
        if figures
    }
    numbers["degenerate runs"] = str(sum(row["degenerate"] for row in rows))
    numbers["training"] = duration(sum(row["train_seconds"] or 0 for row in rows))
    parts = [cards(numbers)]
    if best.setting:
        parts.append(paragraph(f"The large numbers are those of the best setting: {best.setting}."))
    parts.append(paragraph(NOTES))
    if any(row["fold"] for row in rows):
        parts.append(paragraph(FOLDS_NOTE))
    if best.dev:
        parts += [heading("Runs"), _picture([summary for summary in summaries if summary.dev], rows, first)]
        parts += [heading("The best setting" if many else "Figures"), _figures_table(best)]
    if many:
        parts += [heading(f"Settings by {in_words(first)} on dev, the best first"), _settings_table(summaries, first)]
    parts += [heading("All runs"), _runs_table(rows, headline)]
    write_page(path, title, parts)


def _picture(summaries: Sequence[Summary], rows: Sequence[Mapping[str, Any]], metric: str) -> str:
    values = {
        summary.setting or "all runs": [
            row["dev"][metric] for row in rows if row["setting"] == summary.setting and not row["diverged"]
        ]
        for summary in summaries
    }
    means = [summary.dev[metric] for summary in summaries]
    alt = f"The {in_words(metric)} of each run on dev, and of each setting the mean with its interval."
    return picture(partial(plots.trials, values, means, in_words(metric)), alt)


def _figures_table(best: Summary) -> str:
    lines = [
        [f"{in_words(name)} on {split}", *_mean_cells(over_runs), over_runs.runs]
        for split, figures in (("dev", best.dev), ("test", best.test))
        for name, over_runs in figures.items()
    ]
    return table(["", *MEAN_COLUMNS, "runs"], lines)


def _settings_table(summaries: Sequence[Summary], metric: str) -> str:
    lines = [
        [summary.setting, *_mean_cells(summary.dev.get(metric)), summary.runs, len(summary.degenerate)]
        for summary in summaries
    ]
    return table(["setting", *MEAN_COLUMNS, "runs", "degenerate"], lines)


def _runs_table(rows: Sequence[Mapping[str, Any]], headline: Sequence[str]) -> str:
    splits = ["dev", "test"] if any(row["test"] for row in rows) else ["dev"]
    columns = [(split, name) for split in splits for name in headline]
    lines = [
        [
            row["run"],
            *(_number((row[split] or {}).get(name)) for split, name in columns),
            row["best_epoch"] or "",
            "diverged" if row["diverged"] else "degenerate" if row["degenerate"] else "",
        ]
        for row in rows
    ]
    return table(["run", *(f"{in_words(name)} on {split}" for split, name in columns), "best epoch", "note"], lines)


def _mean_cells(found: OverRuns | None) -> list[str]:
    if found is None:
        return ["", "", "", ""]
    low, high = found.interval_95 or (None, None)
    return [_number(value) for value in (found.mean, found.deviation, low, high)]


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
