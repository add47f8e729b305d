"""Everything that can be told of a data set by looking at it, as numbers and as findings.

A *finding* is something that may be wrong: what, in how many rows, where to look, and what can be done about it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ..tokenization import BertTokenizer
from .characters import CHECKS
from .duplicates import Near, WordSet, groups, near_across, near_within, normalize, word_set
from .labels import is_numeric, label_figures, label_findings
from .languages import language, main_script, most_frequent
from .lengths import lengths_of
from .splits import EXAMPLES, Finding, Split, printable, some_rows


@dataclass(frozen=True)
class Facts:
    """What `inspect_splits` returns: figures by split, and findings, the serious ones first."""

    splits: dict[str, dict[str, Any]]
    findings: list[Finding]

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return asdict(self)


def inspect_splits(splits: Sequence[Split], tokenizer: BertTokenizer | None, max_length: int) -> Facts:
    """Look at all rows. splits: the training set first. Without a tokenizer, lengths are in words.

    max_length: in tokens, with [CLS] and [SEP]: what training would cut to.
    """
    figures: dict[str, dict[str, Any]] = {}
    findings: list[Finding] = []
    train = splits[0]
    numeric = is_numeric(train.labels or [])
    sets = {split.name: [word_set(*split.pair(place)) for place in range(len(split))] for split in splits}
    for split in splits:
        lengths, length_findings = lengths_of(split, tokenizer, max_length)
        figures[split.name] = {
            "rows": len(split),
            "labels": None if split.labels is None else label_figures(split.labels, numeric),
            "lengths": lengths,
        }
        findings += length_findings
        findings += _row_findings(split)
        findings += _duplicate_findings(split, sets[split.name], numeric)
        findings += _character_findings(split)
        findings += _language_findings(split)
        if not numeric:
            findings += label_findings(split, train)
    for at, later in enumerate(splits):
        for earlier in splits[:at]:
            findings += _leak_findings(later, earlier, sets)
    findings.sort(key=lambda finding: (not finding.serious, -finding.rows / finding.of))
    return Facts(figures, findings)


def _row_findings(split: Split) -> Iterable[Finding]:
    def finding(what: str, rows: Sequence[int], advice: str, serious: bool = False) -> Iterable[Finding]:
        if rows:
            yield Finding(split.name, f"{what}", len(rows), len(split), advice, serious, some_rows(split, rows))

    texts = [split.texts, *([split.texts_b] if split.texts_b else [])]
    places = range(len(split))
    empty = [place for place in places if any(not column[place].strip() for column in texts)]
    yield from finding("empty texts", empty, "remove them: a model can only answer its prior", True)
    wordless = [p for p in places if p not in set(empty) and any(not word_set(column[p]) for column in texts)]
    yield from finding("texts without a word", wordless, "are they meant? (punctuation alone)")
    if split.labels is not None:
        unlabelled = [place for place, label in enumerate(split.labels) if not label.strip()]
        serious = len(unlabelled) < len(split) or split.name == "train"
        yield from finding("rows without a label", unlabelled, "label or remove them: training refuses them", serious)
    if split.texts_b is not None:
        same = [
            p for p in places if split.texts[p].strip() and normalize(split.texts[p]) == normalize(split.texts_b[p])
        ]
        yield from finding("pairs of the same text twice", same, "are they meant?")


def _duplicate_findings(split: Split, sets: Sequence[WordSet], numeric: bool) -> Iterable[Finding]:
    keys = [_key(split, place) for place in range(len(split))]
    exact = [group for group in groups(keys) if keys[group[0]].strip()]
    if exact:
        rows = sum(len(group) - 1 for group in exact)
        yield Finding(
            split.name, "exact duplicates of an earlier row", rows, len(split),
            "in train they weigh more than others; in dev and test they are counted twice",
            examples=[split.excerpt(group[0], times=len(group)) for group in exact[:EXAMPLES]],
        )  # fmt: skip
    if split.labels is not None and not numeric:
        labels = split.labels
        torn = [group for group in exact if len({labels[place] for place in group} - {""}) > 1]
        if torn:
            yield Finding(
                split.name, "the same text with different labels", sum(map(len, torn)), len(split),
                "at most one of them can be right: decide, or drop them", True,
                [split.excerpt(place) for group in torn[:EXAMPLES] for place in _one_of_each_label(group, labels)],
            )  # fmt: skip
    near = near_among_distinct(keys, sets)
    if near:
        yield Finding(
            split.name, "near duplicates of an earlier row", len(near), len(split),
            "they count as several examples and teach as one", examples=_near_examples(split, split, near),
        )  # fmt: skip
        if split.labels is not None and not numeric:
            labels = split.labels
            torn_pairs = [pair for pair in near if labels[pair.place] != labels[pair.of]]
            if torn_pairs:
                yield Finding(
                    split.name, "near duplicates with different labels", len(torn_pairs), len(split),
                    "a small difference may matter, or a label may be wrong: look at them",
                    examples=_near_examples(split, split, torn_pairs),
                )  # fmt: skip


def near_among_distinct(keys: Sequence[str], sets: Sequence[WordSet]) -> list[Near]:
    """Near duplicates among the first rows of each exact group, so that no row is counted as both."""
    first = {key: place for place, key in reversed(list(enumerate(keys)))}
    places = [place for key, place in sorted(first.items(), key=lambda item: item[1]) if sets[place]]
    found = near_within([sets[place] for place in places])
    return [Near(places[pair.place], places[pair.of], pair.similarity) for pair in found]


def _leak_findings(split: Split, earlier: Split, sets: dict[str, list[WordSet]]) -> Iterable[Finding]:
    """Rows of `split` that are also in `earlier`: what a model may have learnt by heart."""
    first: dict[str, int] = {}
    for place in range(len(earlier)):
        first.setdefault(_key(earlier, place), place)
    keys = [_key(split, place) for place in range(len(split))]
    exact = [place for place, key in enumerate(keys) if key.strip() and key in first]
    advice = f"remove them from {earlier.name}: {split.name} should judge what a model can do with new texts"
    if exact:
        yield Finding(
            split.name, f"rows that are also in {earlier.name}", len(exact), len(split), advice, True,
            some_rows(split, exact),
        )  # fmt: skip
    rest = [place for place, key in enumerate(keys) if key not in first and sets[split.name][place]]
    others = [place for place in range(len(earlier)) if sets[earlier.name][place]]
    found = near_across([sets[split.name][p] for p in rest], [sets[earlier.name][p] for p in others])
    near = [Near(rest[pair.place], others[pair.of], pair.similarity) for pair in found]
    if near:
        yield Finding(
            split.name, f"near duplicates of rows in {earlier.name}", len(near), len(split), advice, True,
            _near_examples(split, earlier, near),
        )  # fmt: skip


def _key(split: Split, place: int) -> str:
    return "\n".join(map(normalize, split.pair(place)))


def _near_examples(split: Split, other: Split, pairs: Sequence[Near]) -> list[dict[str, Any]]:
    return [
        row
        for pair in pairs[:EXAMPLES]
        for row in (other.excerpt(pair.of), split.excerpt(pair.place, similarity=round(pair.similarity, 2)))
    ]


def _one_of_each_label(group: Sequence[int], labels: Sequence[str]) -> list[int]:
    return list({labels[place]: place for place in reversed(group)}.values())[::-1]


def _character_findings(split: Split) -> Iterable[Finding]:
    texts = [" ".join(split.pair(place)) for place in range(len(split))]
    for name, (check, advice) in CHECKS.items():
        found = {place: trace for place, text in enumerate(texts) if (trace := check(text))}
        if found:
            yield Finding(
                split.name, f"{name}", len(found), len(split), advice,
                examples=[split.excerpt(place, found=printable(found[place])) for place in list(found)[:EXAMPLES]],
            )  # fmt: skip


def _language_findings(split: Split) -> Iterable[Finding]:
    texts = [" ".join(split.pair(place)) for place in range(len(split))]
    for what, of_texts in (("script", map(main_script, texts)), ("language", map(language, texts))):
        values = list(of_texts)
        usual = most_frequent(values)
        others = [place for place, value in enumerate(values) if value not in (None, usual)]
        if others:
            yield Finding(
                split.name, f"another {what} than the others' ({str(usual).title()})", len(others), len(split),
                "are they meant? The model should know them",
                examples=[split.excerpt(place, found=str(values[place]).title()) for place in others[:EXAMPLES]],
            )  # fmt: skip
