"""Tags and entities: how a row of tags names the entities of a sentence, and how they are counted.

A tag says of a word whether it is in an entity, at which place of it, and of what type the entity is:

            U.N.     official  Rolf    Ekeus  leaves  Paris    London
    IOB1    I-ORG    O         I-PER   I-PER  O       I-LOC    B-LOC     B only right after another of the same type
    IOB2    B-ORG    O         B-PER   I-PER  O       B-LOC    B-LOC     B begins every entity; also called BIO
    BIOES   S-ORG    O         B-PER   E-PER  O       S-LOC    S-LOC     E ends one, S is one alone

IOB1 is that of Ramshaw & Marcus 1995 and of the CoNLL-2003 files (Tjong Kim Sang & De Meulder 2003); Tjong Kim Sang &
Veenstra 1999, "Representing Text Chunks", compare them. In the fourth scheme, "plain", a tag means nothing but itself,
such as a part of speech.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

SCHEMES = ("iob1", "iob2", "bioes", "plain")
SPAN_TAG = re.compile(r"O|[BIES](-.+)?")  # without a type, B and I stand for entities of one nameless type


class Span(NamedTuple):
    """An entity: the words start up to, but without, end; and its type."""

    start: int
    end: int
    kind: str


NOWHERE = Span(0, 0, "")  # before the first of a sentence


def read_spans(tags: Sequence[str], scheme: str) -> list[Span]:
    """The entities that tags name, in order. In the "plain" scheme every word is one, of the type that is its tag.

    For the others one rule reads all of them, also rows of tags that break their scheme, as models write them: an
    entity goes on with an I or E after a B or I of the same type, and whatever else is not O begins a new one. This is
    the rule of CoNLL's script `conlleval`, and of seqeval's default mode. In seqeval's strict mode an I-PER after an O
    would be no entity at all.
    """
    if scheme == "plain":
        return [Span(place, place + 1, tag) for place, tag in enumerate(tags)]
    found = []
    start, prefix_before, kind_before = 0, "O", ""
    for place, tag in enumerate([*tags, "O"]):
        prefix, _, kind = tag.partition("-")
        goes_on = prefix in "IE" and prefix_before in "BI" and kind == kind_before
        if not goes_on:
            if prefix_before != "O":
                found.append(Span(start, place, kind_before))
            start = place
        prefix_before, kind_before = prefix, kind
    return found


def write_tags(spans: Iterable[Span], words: int, scheme: str) -> list[str]:
    """The tags of a sentence of so many words, from its entities in order."""
    if scheme == "plain":
        return [span.kind for span in spans]
    tags = ["O"] * words
    for before, span in pairwise([NOWHERE, *spans]):
        touches = before.kind == span.kind and before.end == span.start > 0
        prefixes = ["I"] * (span.end - span.start)
        if scheme == "bioes":
            prefixes[-1] = "E"
        if scheme != "iob1" or touches:
            prefixes[0] = "B"
        if scheme == "bioes" and len(prefixes) == 1:
            prefixes[0] = "S"
        tags[span.start : span.end] = [f"{prefix}-{span.kind}" if span.kind else prefix for prefix in prefixes]
    return tags


def detect_scheme(sentences: Sequence[Sequence[str]]) -> str:
    """The scheme of a file's tags: one of `SCHEMES`."""
    tags = {tag for sentence in sentences for tag in sentence}
    if not all(map(SPAN_TAG.fullmatch, tags)):
        return "plain"
    if any(tag[0] in "ES" for tag in tags):
        return "bioes"
    needless_b = i_first = 0  # what only IOB2 writes, and what only IOB1 writes
    for sentence in sentences:
        for before, span in pairwise([NOWHERE, *read_spans(sentence, "iob2")]):
            touches = before.kind == span.kind and before.end == span.start > 0
            needless_b += sentence[span.start][0] == "B" and not touches
            i_first += sentence[span.start][0] == "I"
    return "iob1" if i_first > needless_b else "iob2"


def span_metrics(truths: Sequence[Sequence[Span]], predictions: Sequence[Sequence[Span]]) -> dict[str, Any]:
    """Precision, recall and F1 over whole entities, as `conlleval` counts: bounds and type must be right.

    One list of spans a sentence. A ratio with nothing below its line counts as 0. For the "plain" scheme, where every
    word is an entity, all three are the share of right tags.
    """
    actual = Counter(span.kind for spans in truths for span in spans)
    predicted = Counter(span.kind for spans in predictions for span in spans)
    right = Counter(
        span.kind
        for truth, prediction in zip(truths, predictions, strict=True)
        for span in set(truth) & set(prediction)
    )
    kinds = sorted(actual | predicted)
    return {
        **_ratios(right.total(), actual.total(), predicted.total()),
        "per_type": {
            kind: {**_ratios(right[kind], actual[kind], predicted[kind]), "support": actual[kind]} for kind in kinds
        },
    }


def _ratios(right: int, actual: int, predicted: int) -> dict[str, float]:
    return {
        "precision": right / predicted if predicted else 0.0,
        "recall": right / actual if actual else 0.0,
        "f1": 2 * right / (actual + predicted) if actual + predicted else 0.0,
    }
