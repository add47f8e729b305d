"""What the report of a tagging run shows: each type of entity, the worst mistakes, and sentences in colour."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ..pages import heading, paragraph, table
from .spans import Span, read_spans
from .task import Examples

MOST = 25  # mistakes, and sentences


class Mistake(NamedTuple):
    """An entity that the model found wrongly, and what is really there."""

    probability: float
    words: str
    predicted: str
    actual: str
    sentence: str


def tagging_report(
    examples: Examples, answers: Sequence[Mapping[str, Any]], per_type: Mapping[str, Any], scheme: str
) -> list[str]:
    """The sections, as HTML. answers, per_type: as of `NerTask`."""
    what = "tag" if scheme == "plain" else "type"
    weakest_first = sorted(per_type.items(), key=lambda item: item[1]["f1"])
    truths = [read_spans(row.truth, scheme) for row in examples]
    found = [read_spans(answer["tags"], scheme) for answer in answers]
    mistakes = sorted(_mistakes(examples, answers, truths, found), key=lambda mistake: -mistake.probability)
    wrong = [place for place, truth in enumerate(truths) if truth != found[place]]
    wrong.sort(key=lambda place: -len(set(truths[place]) ^ set(found[place])))
    colours = {kind: f"hsl({360 * number // len(per_type)} 80% 80%)" for number, kind in enumerate(per_type)}
    parts = [
        heading(f"Every {what}, the weakest first"),
        table(
            [what, "precision", "recall", "F1", "examples"],
            [
                [kind, *(f"{row[key]:.3f}" for key in ("precision", "recall", "f1")), f"{row['support']:,}"]
                for kind, row in weakest_first
            ],
        ),
        heading("The most confident mistakes"),
        table(
            ["probability", "words", "predicted", "true", "sentence"],
            [[f"{mistake.probability:.3f}", *mistake[1:]] for mistake in mistakes[:MOST]],
            "None: all that was found is right.",
        ),
    ]
    if wrong:
        parts += [
            heading("The sentences with most mistakes"),
            paragraph("Above as they should be, below as the model reads them."),
        ]
    for place in wrong[:MOST]:
        words = examples[place].given["tokens"]
        parts.append(f"<p>{coloured(words, truths[place], colours)}<br>{coloured(words, found[place], colours)}</p>")
    return parts


def coloured(words: Sequence[str], spans: Sequence[Span], colours: Mapping[str, str]) -> str:
    """A sentence as HTML, each entity on the colour of its type."""
    pieces = []
    at = 0
    for start, end, kind in spans:
        pieces += [html.escape(word) for word in words[at:start]]
        name, tag = html.escape(" ".join(words[start:end])), html.escape(kind)
        pieces.append(f"<mark style='background: {colours[kind]}; color: black'>{name} <small>{tag}</small></mark>")
        at = end
    return " ".join([*pieces, *map(html.escape, words[at:])])


def _mistakes(
    examples: Examples,
    answers: Sequence[Mapping[str, Any]],
    truths: Sequence[Sequence[Span]],
    found: Sequence[Sequence[Span]],
) -> Iterator[Mistake]:
    """Every entity that was found and is none, or another."""
    for row, answer, truth, spans in zip(examples, answers, truths, found, strict=True):
        words = row.given["tokens"]
        sure = answer.get("probabilities") or [entity["probability"] for entity in answer.get("entities", ())]
        for span, probability in zip(spans, sure, strict=True):
            if span not in truth:
                there = [true for true in truth if true.start < span.end and span.start < true.end]
                actual = ", ".join(f"{' '.join(words[true.start : true.end])}: {true.kind}" for true in there)
                name = " ".join(words[span.start : span.end])
                yield Mistake(probability, name, span.kind, actual or "nothing", " ".join(words))
