"""What the pictures of the tutorials share: colours that colour-blind readers can tell apart, and how to show one."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Sequence

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

# Okabe & Ito 2008, "Color Universal Design". Yellow is left out: it is too pale for lines on white.
ORANGE, SKY, GREEN, BLUE, VERMILION, PURPLE, GREY = (
    "#E69F00", "#56B4E9", "#009E73", "#0072B2", "#D55E00", "#CC79A7", "#999999",
)  # fmt: skip
COLOURS = (BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY, GREY)

# Progress bars that a library would like to draw in a notebook; the tutorials show none.
warnings.filterwarnings("ignore", message="IProgress not found")

DPI = int(os.environ.get("PICTURE_DPI", "80"))  # of notebooks, which should load fast; slides want more

plt.rcParams.update(
    {
        "axes.prop_cycle": plt.cycler(color=COLOURS),
        "axes.spines.top": False,
        "axes.spines.right": False,
        "font.size": 11,
        "figure.constrained_layout.use": True,
        "savefig.facecolor": "white",
    }
)


def show(figure: Figure, alt: str) -> None:
    """Show a picture: in a notebook, with a text for those who cannot see it; in a script, as a window."""
    try:
        from IPython import get_ipython
        from IPython.display import Image, display

        in_notebook = get_ipython() is not None
    except ImportError:
        in_notebook = False
    if in_notebook:
        png = io.BytesIO()
        figure.savefig(png, format="png", dpi=DPI, metadata={"Software": None})
        display(Image(png.getvalue(), alt=alt))
    else:
        plt.show()
    plt.close(figure)


def grid(
    axes: Axes,
    numbers: Tensor,
    rows: Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
    *,
    decimals: int | None = 2,
    low: float | None = None,
    high: float | None = None,
    colours: str = "Blues",
) -> None:
    """A matrix (rows, columns) as coloured squares, each with its number (`decimals` None: without).

    `low` and `high` are the numbers of the palest and the darkest colour.
    """
    image = axes.imshow(numbers.detach(), cmap=colours, vmin=low, vmax=high, aspect="auto")
    axes.spines[:].set_visible(False)
    if rows is not None:
        axes.set_yticks(range(len(rows)), rows)
    if columns is not None:
        axes.set_xticks(range(len(columns)), columns, rotation=0 if max(map(len, columns)) < 4 else 45)
    if decimals is None:
        return
    for row, line in enumerate(numbers.tolist()):
        for column, number in enumerate(line):
            red, green, blue, _ = image.to_rgba(number)
            dark = 0.3 * red + 0.6 * green + 0.1 * blue < 0.5
            axes.text(
                column, row, f"{number:.{decimals}f}", ha="center", va="center", color="white" if dark else "black"
            )
