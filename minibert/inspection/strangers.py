"""Words that are common in the data to judge by and that the training data does not have.

Often it is the same text prepared in another way: brackets that became `-lrb-`, another kind of quotes, entities.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from .splits import EXAMPLES, Finding, Split

LEAST_ROWS = 5  # that have the word: else it may be what a single text is about
LEAST_EXPECTED = 20  # rows of train that would have it if it were as common there: chance leaves none of these out


def stranger_findings(split: Split, train: Split) -> Iterable[Finding]:
    """The rows of `split` with such words."""
    known = {word for place in range(len(train)) for word in _words(train, place)}
    rows = Counter(word for place in range(len(split)) for word in _words(split, place) - known)
    least = max(LEAST_ROWS, LEAST_EXPECTED * len(split) / max(1, len(train)))
    strange = {word for word, count in rows.items() if count >= least}
    found = {place: words for place in range(len(split)) if (words := _words(split, place) & strange)}
    yield from split.finding(
        f"words that {train.name} never has",
        list(found),
        "if they are another way of writing, write both files alike",
        examples=[split.excerpt(place, found=" ".join(sorted(found[place]))) for place in list(found)[:EXAMPLES]],
    )


def _words(split: Split, place: int) -> set[str]:
    return {word for text in split.pair(place) for word in text.lower().split()}
