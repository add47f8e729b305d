"""Rows that say what another row says: in one file, with other labels, or in a file that should judge."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from .duplicates import Near, Wording, groups, near_across, near_within
from .splits import EXAMPLES, Finding, Split


def duplicate_findings(split: Split, wordings: Sequence[Wording], numeric: bool) -> Iterable[Finding]:
    """Within a file. wordings: of each row. numeric: the labels are numbers, which may differ a little."""
    exact = [group for group in groups([wording.texts for wording in wordings]) if any(wordings[group[0]].texts)]
    yield from split.finding(
        "exact duplicates of an earlier row",
        [place for group in exact for place in group[1:]],
        "in train they weigh more than others; in dev and test they are counted twice",
        examples=[split.excerpt(group[0], times=len(group)) for group in exact[:EXAMPLES]],
    )
    labels = None if numeric else split.labels
    if labels is not None:
        torn = [group for group in exact if len({labels[place] for place in group} - {""}) > 1]
        yield from split.finding(
            "the same text with different labels",
            [place for group in torn for place in group],
            "at most one of them can be right: decide, or drop them",
            True,
            [split.excerpt(place) for group in torn[:EXAMPLES] for place in _one_of_each_label(group, labels)],
        )
    near = _near_among_distinct(wordings)
    advice = "they count as several examples and teach as one"
    yield from _near_finding(split, split, "near duplicates of an earlier row", near, advice)
    if not numeric and split.classes is not None:
        # By classes, for a word more or less moves all tags of a sentence.
        torn_pairs = [pair for pair in near if split.classes[pair.place] != split.classes[pair.of]]
        advice = "a small difference may matter, or a label may be wrong: look at them"
        yield from _near_finding(split, split, "near duplicates with different labels", torn_pairs, advice)


def _near_among_distinct(wordings: Sequence[Wording]) -> list[Near]:
    """Near duplicates among the first rows of each exact group, so that no row is counted as both."""
    first = {wording.texts: place for place, wording in reversed(list(enumerate(wordings)))}
    places = sorted(place for place in first.values() if wordings[place].words)
    found = near_within([wordings[place].words for place in places])
    return [Near(places[pair.place], places[pair.of], pair.similarity) for pair in found]


def leak_findings(split: Split, earlier: Split, wordings: Mapping[str, Sequence[Wording]]) -> Iterable[Finding]:
    """Rows of `split` that are also in `earlier`: what a model may have learnt by heart.

    wordings: of each row of each split, by its name.
    """
    own, theirs = wordings[split.name], wordings[earlier.name]
    known = {wording.texts for wording in theirs}
    exact = [place for place, wording in enumerate(own) if any(wording.texts) and wording.texts in known]
    advice = f"remove them from {earlier.name}: {split.name} should judge what a model can do with new texts"
    yield from split.finding(f"rows that are also in {earlier.name}", exact, advice, True)
    rest = [place for place, wording in enumerate(own) if wording.words and wording.texts not in known]
    others = [place for place, wording in enumerate(theirs) if wording.words]
    found = near_across([own[place].words for place in rest], [theirs[place].words for place in others])
    near = [Near(rest[pair.place], others[pair.of], pair.similarity) for pair in found]
    yield from _near_finding(split, earlier, f"near duplicates of rows in {earlier.name}", near, advice, True)


def _near_finding(
    split: Split, other: Split, what: str, pairs: Sequence[Near], advice: str, serious: bool = False
) -> Iterable[Finding]:
    examples = [
        row
        for pair in pairs[:EXAMPLES]
        for row in (other.excerpt(pair.of), split.excerpt(pair.place, similarity=round(pair.similarity, 2)))
    ]
    return split.finding(what, [pair.place for pair in pairs], advice, serious, examples)


def _one_of_each_label(group: Sequence[int], labels: Sequence[str]) -> list[int]:
    return list({labels[place]: place for place in reversed(group)}.values())[::-1]
