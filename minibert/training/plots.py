"""The pictures of a report, as SVG text. They need matplotlib (`pip install minibert-torch[plots]`)."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# From the palette of Okabe and Ito, which stays distinct for colour-blind eyes.
BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#767676"
MOST_NUMBERED_CLASSES = 20  # beyond this, numbers in the cells of a confusion matrix can no longer be read


def curves(history: Sequence[Mapping[str, Any]], metric: str) -> str:
    """Training loss and learning rate by step, and the loss and a metric of the dev set by step."""
    training = [entry for entry in history if "lr" in entry]
    evaluations = [entry for entry in history if f"eval_{metric}" in entry]
    figure, (left, right) = _figure(10, 3.4, columns=2)
    steps = [entry["step"] for entry in training]
    losses = np.array([entry["loss"] for entry in training])
    left.plot(steps, losses, color=BLUE, alpha=0.25, linewidth=1, label="each step" if len(losses) > 20 else "training")
    if len(losses) > 20:
        window = max(5, len(losses) // 20)
        smooth = np.convolve(losses, np.ones(window) / window, mode="valid")
        left.plot(steps[window - 1 :], smooth, color=BLUE, label=f"mean of {window} steps")
    left.plot(
        [entry["step"] for entry in evaluations],
        [entry["eval_loss"] for entry in evaluations],
        color=ORANGE, marker="o", label="dev set",
    )  # fmt: skip
    left.set(title="Loss", xlabel="step", ylim=(0, None))
    left.legend(frameon=False)
    scores = [entry[f"eval_{metric}"] for entry in evaluations]
    right.plot([entry["step"] for entry in evaluations], scores, color=ORANGE, marker="o", label=f"{metric}, dev set")
    for entry, score in zip(evaluations, scores, strict=True):
        right.annotate(f"{score:.3f}", (entry["step"], score), (0, 7), textcoords="offset points", ha="center")
    right.set(title=f"{metric.capitalize()} and learning rate", xlabel="step", xlim=(0, None))
    right.margins(y=0.2)
    rates = right.twinx()
    rates.plot(steps, [entry["lr"] for entry in training], color=GREY, linestyle=":", label="learning rate")
    rates.set(ylim=(0, None))
    rates.ticklabel_format(axis="y", style="sci", scilimits=(0, 0))
    handles = [*right.get_lines(), *rates.get_lines()]
    right.legend(handles=handles, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2)
    return _svg(figure)


def confusion(matrix: Sequence[Sequence[int]], names: Sequence[str]) -> str:
    """The confusion matrix: a row for each true class, a column for each predicted one, shaded by share of the row."""
    counts = np.array(matrix)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    numbered = len(names) <= MOST_NUMBERED_CLASSES
    size = 1.6 + 0.6 * len(names) if numbered else 9
    figure, axes = _figure(size + 1.6, size)
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set(xlabel="predicted", ylabel="true")
    if numbered:
        short = [name if len(name) < 22 else f"{name[:20]}…" for name in names]
        axes.set_xticks(range(len(names)), short, rotation=45 if max(map(len, short)) > 8 else 0, ha="center")
        axes.set_yticks(range(len(names)), short)
        for (row, column), count in np.ndenumerate(counts):
            colour = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, str(count), ha="center", va="center", color=colour)
    figure.colorbar(image, ax=axes, label="share of the true class", shrink=0.9)
    return _svg(figure)


def _figure(width: float, height: float, columns: int = 1) -> tuple[Figure, Any]:
    from matplotlib.figure import Figure  # not pyplot: no window, no global state

    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(1, columns)
    for panel in np.atleast_1d(axes):
        panel.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _svg(figure: Figure) -> str:
    import matplotlib as mpl

    buffer = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "minibert"}):  # text stays text, and ids stay the same
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue().partition("<svg")[1] + buffer.getvalue().partition("<svg")[2]
