"""Cost as work grows: time and memory against the length of a text, the number of texts, the size of the model, and the
size of the corpus (see `corpora.py`).

Where the lines bend can be calculated. Forward, a block of hidden size H does 24 H² operations a token in its linear
layers, and 4 S H in attention, which compares the token with all S of its text. So time grows in proportion to the
length at first, and with its square where attention outweighs the rest, beyond S = 6 H: 1,536 tokens for BERT-mini,
4,608 for BERT-base. Memory starts at what the program and the weights (in training with gradients and Adam's two
averages, four times the weights) need; the line leaves that floor where the activations outweigh it.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from .. import plots
from ..config import PRESETS
from ..errors import InputError
from ..training.measure import peak_memory_mb
from . import inference, training
from .comparison import OURS, Build, Lengths, Make, in_fresh_process
from .corpora import CORPUS, measure_corpora
from .measure import describe_machine, finish_gpu_work, markdown_table, publish, spread_ms
from .models import Setting, UnavailableError, weights
from .texts import masked_examples

LENGTH, TEXTS, SIZE = "tokens in one text", "texts of 128 tokens", "weights in the blocks (4 texts of 128 tokens)"

# What is measured: the model's class, how a batch is made, and the programs.
WORKS: dict[str, tuple[str, Make, dict[str, Build]]] = {
    "inference": (
        "BertModel",
        inference.make_batch,
        {name: inference.PROGRAMS[name] for name in (OURS, "transformers")},
    ),
    "pretraining step": (
        "BertForMaskedLM",
        masked_examples,
        {OURS: training.minibert_program, "transformers": training.transformers_program},
    ),
}


class Point(NamedTuple):
    """A place on the horizontal axis of a curve."""

    axis: str
    size: str
    lengths: Lengths


def bench_curves(arguments: argparse.Namespace) -> None:
    """Measure every point in processes of their own; print a table, write JSON and a picture if asked."""
    check_picture(arguments.picture)
    results: list[dict[str, Any]] = []
    notes: list[str] = []
    points = chosen_points(arguments.size, arguments.longest, arguments.most)
    for size in dict.fromkeys(point.size for point in points):
        with weights("BertForMaskedLM", None, size, max_position_embeddings=max(512, arguments.longest)) as setting:
            for point in points:
                if point.size == size:
                    print(f"{point.axis}: {value_of(point, setting):,} ...", file=sys.stderr)
                    results += measure_point(point, setting, arguments.rounds, notes)
    results += measure_corpora(arguments.most_text, arguments.rounds)
    notes = list(dict.fromkeys(notes))
    settings = {name: getattr(arguments, name) for name in ("size", "longest", "most", "most_text", "rounds")} | {
        "notes": notes
    }
    title = f"BERT-{arguments.size}, float32, {arguments.rounds} rounds, each point in a new process; medians."
    publish(arguments.json, describe_machine(), settings, results, title, *notes, as_table(results))
    if arguments.picture:
        draw(results, Path(arguments.picture))


def chosen_points(size: str, longest: int, most: int) -> list[Point]:
    """Doubling lengths of one text, fourfold numbers of texts, and the published sizes up to base."""
    sizes = list(PRESETS)[: list(PRESETS).index("base") + 1]
    return [
        *(Point(LENGTH, size, [length]) for length in _growing(64, longest, 2)),
        *(Point(TEXTS, size, [128] * texts) for texts in _growing(1, most, 4)),
        *(Point(SIZE, name, [128] * 4) for name in sizes),
    ]


def value_of(point: Point, setting: Setting) -> int:
    """Where on its axis the point lies."""
    if point.axis == LENGTH:
        return point.lengths[0]
    if point.axis == TEXTS:
        return len(point.lengths)
    hidden, wide = setting.config.hidden_size, setting.config.intermediate_size
    return setting.config.num_hidden_layers * (4 * hidden * hidden + 2 * hidden * wide)


def measure_point(point: Point, setting: Setting, rounds: int, notes: list[str]) -> list[dict[str, Any]]:
    """Time and memory of all works and programs at one point."""
    results = []
    for work, (head, make, programs) in WORKS.items():
        for name, build in programs.items():
            try:
                cost = in_fresh_process(cost_of, build, setting.but(head=head), make, point.lengths, rounds)
            except UnavailableError as why:
                notes.append(f"{name} is left out. {why}")
                continue
            place = {"axis": point.axis, "value": value_of(point, setting), "work": work, "program": name}
            results.append(place | cost)
    return results


def cost_of(build: Build, setting: Setting, make: Make, lengths: Lengths, rounds: int) -> dict[str, Any]:
    """Of one step, after one that does not count; and the most memory that this process needed."""
    step, batch = build(setting), make(lengths, setting.config)
    seconds = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        step(batch)
        finish_gpu_work()
        seconds.append(time.perf_counter() - start)
    return {"milliseconds": spread_ms(seconds[1:]), "peak_memory_mb": peak_memory_mb()}


def as_table(results: Sequence[dict[str, Any]]) -> str:
    """The results in Markdown, one line each."""
    columns = ["axis", "value", "work", "program", "ms", "peak MB"]
    rows = []
    for result in results:
        memory = result["peak_memory_mb"]
        cells = [result["axis"], f"{result['value']:,}", result["work"], result["program"]]
        rows.append([*cells, f"{result['milliseconds']['median']:.1f}", "-" if memory is None else f"{memory:,.0f}"])
    return markdown_table(columns, rows)


def check_picture(path: str | None) -> None:
    """Raise `InputError` if the picture could not be drawn in the end."""
    if path is None:
        return
    if Path(path).suffix != ".png" or not Path(path).absolute().parent.is_dir():
        raise InputError(f"--picture {path}: it must be a .png file in a folder that is there.")
    plots.check_matplotlib("--picture")


def draw(results: Sequence[dict[str, Any]], path: Path) -> None:
    """Time above, memory below, an axis in each column; both scales logarithmic, so that a slope is a power."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter, LogLocator

    axes = list(dict.fromkeys(result["axis"] for result in results))
    figure = Figure(figsize=(4.5 * len(axes), 7), layout="constrained")
    panels = figure.subplots(2, len(axes), squeeze=False, sharex="col")
    for column, axis in enumerate(axes):
        for work, program, points in _lines(results, axis):
            style = {"marker": ".", "linestyle": "-" if program == OURS else "--", "label": f"{work}, {program}"}
            values = [point["value"] for point in points]
            panels[0][column].plot(values, [point["milliseconds"]["median"] for point in points], **style)
            panels[1][column].plot(values, [point["peak_memory_mb"] for point in points], **style)
        panels[1][column].set_xlabel(axis)
        if column == 0 or axis == CORPUS:  # the other columns show the same works
            panels[0][column].legend(fontsize="small")
    for panel in panels.flat:
        panel.set(xscale="log", yscale="log")
        panel.xaxis.set_major_formatter(EngFormatter(sep=""))
        panel.yaxis.set_major_formatter(EngFormatter(sep=""))
        panel.yaxis.set_minor_locator(LogLocator(subs=(2, 5)))
        panel.yaxis.set_minor_formatter(EngFormatter(sep=""))
        panel.grid(alpha=0.3, which="both")
    panels[0][0].set_ylabel("milliseconds")
    panels[1][0].set_ylabel("peak memory, MB")
    figure.savefig(path, dpi=120)


def _lines(results: Sequence[dict[str, Any]], axis: str) -> Iterator[tuple[str, str, list[dict[str, Any]]]]:
    here = [result for result in results if result["axis"] == axis]
    for work, program in dict.fromkeys((result["work"], result["program"]) for result in here):
        line = [point for point in here if (point["work"], point["program"]) == (work, program)]
        yield work, program, sorted(line, key=lambda point: point["value"])


def _growing(first: int, last: int, factor: int) -> Iterator[int]:
    """first, `factor` times as much, ..., as far as `last`."""
    while first <= last:
        yield first
        first *= factor
