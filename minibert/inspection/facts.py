"""Everything that can be told of a data set by looking at it, as numbers and as findings.

A *finding* is something that may be wrong: what, in how many rows, where to look, and what can be done about it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ..tokenization import BertTokenizer
from .characters import CHECKS
from .duplicates import WORD, Wording
from .labels import is_numeric, label_figures, label_findings
from .languages import language, main_script, most_frequent
from .lengths import lengths_of
from .repeats import duplicate_findings, leak_findings
from .splits import EXAMPLES, Finding, Split, printable
from .strangers import stranger_findings


@dataclass(frozen=True)
class Facts:
    """What `inspect_splits` returns: figures by split, and findings, the serious ones first."""

    splits: dict[str, dict[str, Any]]
    findings: list[Finding]

    def __post_init__(self) -> None:
        self.findings.sort(key=lambda finding: (not finding.serious, -finding.rows / finding.of))

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
    wordings = {split.name: split.wordings() for split in splits}
    for split in splits:
        lengths, length_findings = lengths_of(split, tokenizer, max_length)
        figures[split.name] = {
            "rows": len(split),
            "labels": None if split.classes is None else label_figures(split.classes, numeric),
            "lengths": lengths,
        }
        findings += length_findings
        findings += _row_findings(split, wordings[split.name])
        findings += duplicate_findings(split, wordings[split.name], numeric)
        texts = [" ".join(split.pair(place)) for place in range(len(split))]
        findings += _character_findings(split, texts)
        findings += _language_findings(split, texts)
        if not numeric:
            findings += label_findings(split, train)
    for at, later in enumerate(splits):
        if later is not train:
            findings += stranger_findings(later, train)
        for earlier in splits[:at]:
            findings += leak_findings(later, earlier, wordings)
    return Facts(figures, findings)


def _row_findings(split: Split, wordings: Sequence[Wording]) -> Iterable[Finding]:
    sides = 1 if split.texts_b is None else 2
    texts = [wording.texts[:sides] for wording in wordings]
    wordless = [place for place, row in enumerate(texts) if not all(map(WORD.search, row))]
    empty = [place for place in wordless if not all(texts[place])]
    yield from split.finding("empty texts", empty, "remove them: a model can only answer its prior", True)
    wordless = sorted(set(wordless) - set(empty))
    yield from split.finding("texts without a word", wordless, "are they meant? (punctuation alone)")
    if split.labels is not None:
        unlabelled = [place for place, label in enumerate(split.labels) if not label.strip()]
        serious = len(unlabelled) < len(split) or split.name == "train"
        yield from split.finding(
            "rows without a label", unlabelled, "label or remove them: training refuses them", serious
        )
    elif split.name == "train":
        advice = "most tasks need them: --label-column names the column of a table that has them"
        yield from split.finding("rows without a label", range(len(split)), advice)
    if split.texts_b is not None:
        same = [place for place, (first, second) in enumerate(texts) if first and first == second]
        yield from split.finding("pairs of the same text twice", same, "are they meant?")


def _character_findings(split: Split, texts: Sequence[str]) -> Iterable[Finding]:
    for name, (check, advice) in CHECKS.items():
        found = {place: trace for place, text in enumerate(texts) if (trace := check(text))}
        examples = [split.excerpt(place, found=printable(found[place])) for place in list(found)[:EXAMPLES]]
        yield from split.finding(name, list(found), advice, examples=examples)


def _language_findings(split: Split, texts: Sequence[str]) -> Iterable[Finding]:
    for what, of_texts in (("script", map(main_script, texts)), ("language", map(language, texts))):
        values = list(of_texts)
        usual = most_frequent(values)
        others = [place for place, value in enumerate(values) if value not in (None, usual)]
        yield from split.finding(
            f"another {what} than the others' ({str(usual).title()})",
            others,
            "are they meant? The model should know them",
            examples=[split.excerpt(place, found=str(values[place]).title()) for place in others[:EXAMPLES]],
        )
