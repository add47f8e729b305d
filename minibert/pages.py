"""Pieces of HTML, and one page out of them, in one file that needs no network."""

from __future__ import annotations

import html
import importlib.util
import io
import itertools
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .files import write_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

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
mark { background: none; color: inherit; }
mark.right { background: #0072b244; } mark.given { border-bottom: .2rem solid #d55e00; }
figure { margin: 1rem 0; background: white; border-radius: .5rem; padding: .5rem; overflow-x: auto; }
details { overflow-x: auto; } details table { font: .75rem/1.4 ui-monospace, monospace; white-space: nowrap; }
summary { cursor: pointer; }
figure svg { max-width: 100%; height: auto; display: block; margin: auto; }
"""

# Parts of metrics' names that are written otherwise.
WRITTEN = {
    "f1": "F1", "mcc": "MCC", "mse": "MSE", "pearson": "Pearson", "spearman": "Spearman",
    "rouge1": "ROUGE-1", "rouge2": "ROUGE-2", "rougeL": "ROUGE-L",
}  # fmt: skip


def write_page(path: Path, title: str, parts: Sequence[str]) -> None:
    """One page out of pieces of HTML, with its title, plain text, above them."""
    title, body = html.escape(title), "\n".join(parts)
    write_text(
        path,
        f"<!doctype html>\n<html lang=en>\n<meta charset=utf-8>\n<meta name=viewport content='width=device-width'>\n"
        f"<title>{title}</title>\n<style>{STYLE}</style>\n<h1>{title}</h1>\n{body}\n</html>\n",
    )


def cards(numbers: Mapping[str, str]) -> str:
    """The most important numbers, large."""
    items = "".join(f"<li><b>{value}</b><span>{name}</span></li>" for name, value in numbers.items())
    return f"<ul class=cards>{items}</ul>"


def in_words(metric: str) -> str:
    """A metric's name as people write it: "F1 macro" for "f1_macro"."""
    return " ".join(WRITTEN.get(part, part) for part in metric.split("_"))


def heading(text: str) -> str:
    """The title of a section."""
    return f"<h2>{html.escape(text)}</h2>"


def subheading(text: str) -> str:
    """The title of a part of a section."""
    return f"<h3>{html.escape(text)}</h3>"


def paragraph(text: str) -> str:
    """A paragraph of plain text."""
    return f"<p>{html.escape(text)}</p>"


def folded(summary: str, content: str) -> str:
    """HTML that is shown when its summary, plain text, is clicked."""
    return f"<details><summary>{html.escape(summary)}</summary>{content}</details>"


def marked(text: str, marks: Sequence[tuple[int, int, str]], around: int = 200) -> str:
    """A paragraph of plain text with pieces marked: first character, the one after the last, "right" or "given".

    Marks may overlap. Of what is not marked, only so many characters on each side of a mark are shown; without any
    mark, so many of the beginning.
    """
    borders = sorted({0, len(text), *(place for begin, end, _ in marks for place in (begin, end))})
    pieces = []
    for begin, end in itertools.pairwise(borders):
        kinds = sorted({kind for first, last, kind in marks if first <= begin and end <= last})
        piece = text[begin:end]
        if kinds:
            pieces.append(f"<mark class='{' '.join(kinds)}'>{html.escape(piece)}</mark>")
            continue
        before = piece[:around] if begin > 0 or end == len(text) else ""
        after = piece[max(len(before), len(piece) - around) :] if end < len(text) else ""
        left_out = " … " if len(before) + len(after) < len(piece) else ""
        pieces.append(html.escape(before + left_out + after))
    return f"<p>{''.join(pieces)}</p>"


def picture(draw: Callable[[], Figure], alt: str) -> str:
    """A drawing, with what it shows in words for those who cannot see it. Without matplotlib, a note instead."""
    if importlib.util.find_spec("matplotlib") is None:
        return "<p>The picture that belongs here needs matplotlib: <code>pip install matplotlib</code>.</p>"
    return f"<figure role=img aria-label='{html.escape(alt, quote=True)}'>{svg(draw())}</figure>"


def svg(figure: Figure) -> str:
    """A drawing as text for a page."""
    import matplotlib as mpl

    buffer = io.StringIO()
    settings = {"svg.fonttype": "none", "svg.hashsalt": "minibert"}  # text stays text, and ids stay the same
    with mpl.rc_context(settings), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # that matplotlib's font lacks: the browser sets the text in its own
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def table(header: Sequence[str], rows: Sequence[Sequence[Any]], if_empty: str = "") -> str:
    """A table; columns of numbers stand to the right. if_empty: what is said in its place if there are no rows."""
    if if_empty and not rows:
        return paragraph(if_empty)
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
