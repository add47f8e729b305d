"""The pictures of a report. They need matplotlib (`pip install minibert-torch[plots]`)."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import InputError
from .pages import in_words

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from .benchmarks.scorecard import Score
    from .intervals import OverRuns

# From the palette of Okabe and Ito, which stays distinct for colour-blind eyes.
BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#767676"
MOST_NUMBERED_CLASSES = 20  # beyond this, numbers in the cells of a confusion matrix can no longer be read
MOST_POINTS = 2000  # of a curve: more cannot be seen, and make a page large
LABEL_WIDTH = 1 / 8  # of the steps of a run: nearer than that, the labels of two evaluations would overlap


def check_matplotlib(flag: str) -> None:
    """Raise `InputError` if the picture that a flag asks for could not be drawn in the end."""
    if importlib.util.find_spec("matplotlib") is None:
        raise InputError(f"{flag} needs matplotlib, which is not installed: pip install 'minibert-torch[plots]'.")


def curves(history: Sequence[Mapping[str, Any]], metric: str) -> Figure:
    """Training loss and learning rate by step, and the loss and a metric of the dev set by step."""
    training = [entry for entry in history if "lr" in entry]
    evaluations = [entry for entry in history if f"eval_{metric}" in entry]
    figure, (left, right) = _figure(10, 3.4, columns=2)
    steps = [entry["step"] for entry in training]
    losses = np.array([entry["loss"] for entry in training])
    _plot_noisy(left, steps, losses)
    evaluated = [entry["step"] for entry in evaluations]
    left.plot(evaluated, [entry["eval_loss"] for entry in evaluations], color=ORANGE, marker="o", label="dev set")
    left.axhline(0, alpha=0)  # the room above the highest point is a share of all that is shown
    left.set(title="Loss", xlabel="step", ylim=(0, None))
    left.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=3)
    scores = [entry[f"eval_{metric}"] for entry in evaluations]
    right.plot(evaluated, scores, color=ORANGE, marker="o", label=f"{in_words(metric)}, dev set")
    labelled: list[int] = []
    end = max((entry["step"] for entry in history), default=0)
    room = LABEL_WIDTH * end
    for entry in sorted(evaluations, key=lambda entry: -entry[f"eval_{metric}"]):  # the best one has its label for sure
        step, score = entry["step"], entry[f"eval_{metric}"]
        if all(abs(step - other) >= room for other in labelled):
            labelled.append(step)
            side = "right" if step > end - room / 2 else "center"  # at the end stands the scale of the rates
            right.annotate(f"{score:.3f}", (step, score), (0, 7), textcoords="offset points", ha=side)
    title = in_words(metric)
    right.set(title=f"{title[0].upper()}{title[1:]} and learning rate", xlabel="step", xlim=(0, None))
    right.margins(y=0.2)
    rates = right.twinx()
    rates.plot(steps, [entry["lr"] for entry in training], color=GREY, linestyle=":", label="learning rate")
    rates.set(ylim=(0, None))
    rates.ticklabel_format(axis="y", style="sci", scilimits=(0, 0))
    handles = [*right.get_lines(), *rates.get_lines()]
    right.legend(handles=handles, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2)
    return figure


def confusion(matrix: Sequence[Sequence[int]], names: Sequence[str]) -> Figure:
    """The confusion matrix: a row for each true class, a column for each predicted one, shaded by share of the row."""
    counts = np.array(matrix)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    numbered = len(names) <= MOST_NUMBERED_CLASSES
    size = 1.6 + 0.6 * len(names) if numbered else 9
    figure, axes = _figure(size + 1.6, size)
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set(xlabel="predicted", ylabel="true")
    if numbered:
        short = [_label(name, 21) for name in names]
        slanted = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"}  # each ends below its column
        axes.set_xticks(range(len(names)), short, **(slanted if max(map(len, short)) > 8 else {}))
        axes.set_yticks(range(len(names)), short)
        for (row, column), count in np.ndenumerate(counts):
            colour = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, str(count), ha="center", va="center", color=colour)
    figure.colorbar(image, ax=axes, label="share of the true class", shrink=0.9)
    return figure


def scatter(x: Sequence[float], y: Sequence[float], x_name: str, y_name: str) -> Figure:
    """A point for each example. Of very many, evenly chosen ones."""
    every = 1 + len(x) // MOST_POINTS
    figure, axes = _figure(5.5, 4.5)
    axes.scatter(x[::every], y[::every], s=12, color=BLUE, alpha=0.35, linewidths=0)
    axes.set(xlabel=x_name, ylabel=y_name)
    return figure


def pretraining_curves(history: Sequence[Mapping[str, Any]], unigram_entropy: float) -> Figure:
    """The loss of the masked words by step, with the line of guessing by frequency; and the accuracies of both tasks.

    history: the lines of `log.jsonl`. unigram_entropy: in nats, see `data/unigram.py`.
    """
    training = [entry for entry in history if "lr" in entry]
    evaluations = [entry for entry in history if "eval_mlm_loss" in entry]
    figure, (left, right) = _figure(10, 3.6, columns=2)
    steps = [entry["step"] for entry in training]
    evaluated = [entry["step"] for entry in evaluations]
    marker = "o" if len(evaluations) <= 30 else None
    _plot_noisy(left, steps, np.array([entry["mlm_loss"] for entry in training]))
    if evaluations:
        losses = [entry["eval_mlm_loss"] for entry in evaluations]
        left.plot(evaluated, losses, color=ORANGE, marker=marker, label="held-out")
    left.axhline(unigram_entropy, color=GREY, linestyle="--", label=f"unigram entropy, {unigram_entropy:.2f}")
    left.set(title="Loss of the masked words, in nats", xlabel="step")
    left.legend(frameon=False)
    every = 1 + len(training) // MOST_POINTS
    source, where = (evaluations, evaluated) if evaluations else (training[::every], steps[::every])
    prefix = "eval_" if evaluations else ""
    for name, label, color in (("mlm_accuracy", "masked words", BLUE), ("nsp_accuracy", "next sentence", ORANGE)):
        if f"{prefix}{name}" in source[-1]:
            values = [entry[f"{prefix}{name}"] for entry in source]
            right.plot(where, values, color=color, marker=marker if evaluations else None, label=label)
    right.set(title=f"Accuracy, {'held-out' if evaluations else 'training'}", xlabel="step", ylim=(0, 1))
    right.legend(frameon=False)
    return figure


def reliability(bins: Sequence[Mapping[str, float]]) -> Figure:
    """The share of right answers by confidence, and how many answers are that confident (Guo et al. 2017, figure 1).

    bins: as `calibration` gives them.
    """
    figure, (left, right) = _figure(10, 3.6, columns=2)
    edges, widths = [row["from"] for row in bins], [row["to"] - row["from"] for row in bins]
    left.bar(edges, [row["accuracy"] for row in bins], widths, align="edge", color=BLUE, alpha=0.5, edgecolor=BLUE)
    left.plot([0, 1], [0, 1], color=GREY, linestyle="--", label="perfectly calibrated")
    left.plot([row["confidence"] for row in bins], [row["accuracy"] for row in bins], "o", color=ORANGE, label="bins")
    left.set(title="Reliability", xlabel="confidence", ylabel="share of right answers", xlim=(0, 1), ylim=(0, 1))
    left.legend(frameon=False)
    right.bar(edges, [row["examples"] for row in bins], widths, align="edge", color=BLUE, alpha=0.5, edgecolor=BLUE)
    right.set(title="How often", xlabel="confidence", ylabel="examples", xlim=(0, 1))
    return figure


def trials(values: Mapping[str, Sequence[float]], means: Sequence[OverRuns], metric: str) -> Figure:
    """A dot for each run, and for each setting the mean with its 95 % interval. values and means: by setting."""
    figure, axes = _figure(10, min(1.2 + 0.45 * len(values), 14))
    for place, (runs, over_runs) in enumerate(zip(values.values(), means, strict=True)):
        axes.plot(runs, [place] * len(runs), "o", color=BLUE, alpha=0.5)
        low, high = over_runs.interval_95 or (over_runs.mean, over_runs.mean)
        axes.plot([low, high], [place, place], color=ORANGE, linewidth=2)
        axes.plot([over_runs.mean], [place], "|", color=ORANGE, markersize=16, markeredgewidth=2)
    axes.set_yticks(range(len(values)), [_label(name, 49) for name in values])
    axes.set(xlabel=f"{metric}, dev set", ylim=(len(values) - 0.5, -0.5))
    return figure


def class_shares(counts: Mapping[str, Mapping[str, int]]) -> Figure:
    """The share of each label in each file, as bars side by side. counts: by file, then by label."""
    names = list(dict.fromkeys(label for labels in counts.values() for label in labels))
    figure, axes = _figure(10, min(0.4 * len(names) + 1.5, 9))
    height = 0.8 / len(counts)
    for number, (file, labels) in enumerate(counts.items()):
        total = max(sum(labels.values()), 1)
        shares = [labels.get(name, 0) / total for name in names]
        places = np.arange(len(names)) + (number - (len(counts) - 1) / 2) * height
        axes.barh(places, shares, height, label=file, color=(BLUE, ORANGE, GREY)[number % 3])
    if len(names) <= MOST_NUMBERED_CLASSES:
        axes.set_yticks(range(len(names)), [_label(name, 29) for name in names])
        axes.set_ylabel("label")
    else:
        axes.set_yticks([])  # places in the order, which would look like labels
        axes.set_ylabel(f"{len(names):,} labels, the most frequent first")
    axes.invert_yaxis()
    axes.set_xlabel("share of the file's labels")
    axes.legend(frameon=False, loc="lower right", bbox_to_anchor=(1, 1), ncols=3)  # above the bars, not on them
    return figure


def histograms(bars: Mapping[str, Mapping[str, Sequence[float]]], quantity: str) -> Figure:
    """How a quantity is spread in each file. bars: by file, the `edges` and, one fewer, the `rows` between them."""
    figure, axes = _figure(10, 3.2)
    for number, (file, histogram) in enumerate(bars.items()):
        rows = np.array(histogram["rows"])
        shares = rows / max(rows.sum(), 1)
        color = (BLUE, ORANGE, GREY)[number % 3]
        axes.stairs(
            shares, histogram["edges"], fill=number == 0, alpha=0.4 if number == 0 else 1, color=color, label=file
        )
    axes.set(xlabel=quantity, ylabel="share of the file's rows")
    axes.legend(frameon=False)
    return figure


def learning_rates(rates: Sequence[float], losses: Sequence[float], suggestion: float) -> Figure:
    """The loss of a short run in which the learning rate grows from step to step.

    Where it explodes, it leaves the picture at the top: the valley before would be flat beside it.
    """
    figure, axes = _figure(6.4, 3.8)
    lowest = min(losses)
    valley = max(losses[0] - lowest, 0.05 * abs(lowest), 1e-3)  # how deep it is; something, if the loss never fell
    axes.plot(rates, losses, color=BLUE)
    axes.plot(rates[losses.index(lowest)], lowest, "o", color=BLUE, label="lowest loss")
    axes.axvline(suggestion, color=ORANGE, linestyle="--", label=f"suggestion, {suggestion:.1e}")
    axes.set(xscale="log", xlabel="learning rate", ylabel="training loss, smoothed")
    axes.set_ylim(lowest - 0.2 * valley, lowest + 3 * valley)
    axes.legend(frameon=False)
    return figure


def score_card(scores: Sequence[Score], title: str) -> Figure:
    """Accuracy by the number of labelled examples, from pretrained and from random weights, with deviations."""
    figure, axes = _figure(6.4, 3.8)
    for start, color, marker in (("pretrained", BLUE, "o"), ("random", ORANGE, "s")):
        line = [score for score in scores if score.start == start]
        axes.errorbar(
            [score.examples for score in line],
            [100 * score.mean for score in line],
            [100 * score.deviation for score in line],
            color=color, marker=marker, capsize=4, label=f"from {start} weights",
        )  # fmt: skip
    axes.set(title=_label(title, 80), xscale="log", xlabel="labelled examples", ylabel="accuracy on the dev set, %")
    axes.legend(frameon=False)
    return figure


def _label(name: str, longest: int) -> str:
    """A name of the user's, cut if it is long. Its dollars are not those of formulas, which matplotlib would set."""
    short = name if len(name) <= longest else f"{name[: longest - 1]}…"
    return short.replace("$", r"\$")


def _plot_noisy(axes: Any, steps: Sequence[int], losses: Any) -> None:
    """Each step pale; if there are many, also their running mean."""
    many, every = len(losses) > 20, 1 + len(losses) // MOST_POINTS
    label = "each step" if many else "training"
    axes.plot(steps[::every], losses[::every], color=BLUE, alpha=0.25, linewidth=1, label=label)
    if many:
        window = max(5, len(losses) // 20)
        smooth = np.convolve(losses, np.ones(window) / window, mode="valid")
        axes.plot(steps[window - 1 :: every], smooth[::every], color=BLUE, label=f"mean of {window} steps")


def _figure(width: float, height: float, columns: int = 1) -> tuple[Figure, Any]:
    from matplotlib.figure import Figure  # not pyplot: no window, no global state

    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(1, columns)
    for panel in np.atleast_1d(axes):
        panel.spines[["top", "right"]].set_visible(False)
    return figure, axes
