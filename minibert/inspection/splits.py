"""The files of a data set as columns of text, and what may be wrong in them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..data.tables import Table, read_table
from ..errors import InputError
from ..tasks.ner import NerTask
from ..tasks.spans import detect_scheme, read_spans
from ..tasks.task import Columns
from .duplicates import Wording, normalize, wording

EXAMPLES = 5  # rows shown of each finding
EXCERPT = 160  # characters shown of a row


@dataclass(frozen=True)
class Finding:
    """Something that may be wrong in a file. rows of `of` rows are concerned."""

    file: str
    what: str
    rows: int
    of: int
    advice: str
    serious: bool = False
    examples: list[dict[str, Any]] = field(default_factory=list)

    @property
    def advice_sentence(self) -> str:
        """The advice with its full stop, or its question mark."""
        return self.advice + ("" if self.advice.endswith("?") else ".")


@dataclass(frozen=True)
class Split:
    """One file of the data set: `train`, `dev` or `test`.

    lines: where each row stands, from 1, or what it is called. labels: what is to be learnt of each row, as text; None
    if the file does not tell. classes: what is counted of it: the label itself, or the kinds of all entities.
    is_tagged: whether it is these kinds. is_cut: whether training leaves out what is too long, and does not read it in
    windows. about: what a text is asked of; the same text about something else is another row.
    """

    name: str
    path: Path
    lines: list[int] | list[str]
    texts: list[str]
    texts_b: list[str] | None
    labels: list[str] | None
    classes: list[list[str]] | None
    is_tagged: bool = False
    is_cut: bool = True
    about: list[str] | None = None

    def __len__(self) -> int:
        return len(self.texts)

    def pair(self, place: int) -> tuple[str, str]:
        """Both texts of a row; the second is "" where there is only one."""
        return self.texts[place], self.texts_b[place] if self.texts_b else ""

    def wordings(self) -> list[Wording]:
        """What is compared of each row with others."""
        found = [wording(*self.pair(place)) for place in range(len(self))]
        if self.about is None:
            return found
        return [_wording_about(row, about) for row, about in zip(found, self.about, strict=True)]

    def excerpt(self, place: int, **also: Any) -> dict[str, Any]:
        """A row as an example of a finding."""
        label = {} if self.labels is None else {"label": _shortened(self.labels[place])}
        text = _shortened(" ⟂ ".join(filter(None, self.pair(place))))
        return {"file": self.name, "line": self.lines[place], "text": text} | label | also

    def finding(
        self,
        what: str,
        places: Sequence[int],
        advice: str,
        serious: bool = False,
        examples: list[dict[str, Any]] | None = None,
    ) -> Iterator[Finding]:
        """What may be wrong with these rows; nothing if there are none. examples: by default, the first of them."""
        if places:
            shown = [self.excerpt(place) for place in places[:EXAMPLES]] if examples is None else examples
            yield Finding(self.name, what, len(places), len(self), advice, serious, shown)


def _wording_about(row: Wording, about: str) -> Wording:
    """Words about different things are different words, so that no two such rows are alike."""
    about = normalize(about)
    mark = hashlib.blake2b(about.encode(), digest_size=8).hexdigest()
    return Wording((row.texts[0], about), frozenset(f"{word} {mark}" for word in row.words))


def read_split(name: str, path: str | Path, columns: Columns) -> Split:
    """A table with a text, or two, a row. What is missing (null, in `.jsonl`) becomes "", to be found later.

    Raises `InputError` if there is no column with the text, or if it holds something else than text; or if train has
    not the column of labels that was named.
    """
    table = read_table(path)
    texts = _text_column(table, columns.text, "--text-column")
    texts_b = labels = classes = None
    # A name that was given must be there.
    if columns.text_b != Columns.text_b or any(columns.text_b in row.values for row in table.rows):
        texts_b = _text_column(table, columns.text_b, "--text-b-column")
    is_labelled = any(columns.label in row.values for row in table.rows)
    if name == "train" and columns.label != Columns.label and not is_labelled:
        table.column(columns.label, "--label-column")  # which says what there is
    if is_labelled:
        values = [row.values.get(columns.label) for row in table.rows]
        labels = ["" if value is None else printable(str(value)) for value in values]
        classes = [[label] if label else [] for label in labels]
    return Split(name, table.path, [row.line for row in table.rows], texts, texts_b, labels, classes)


def read_tagged_split(name: str, path: str | Path, columns: Columns) -> Split:
    """Sentences with a tag a word, in any form that `tasks/ner.py` reads. Their classes are the kinds of entities."""
    sentences = NerTask(columns).read(path, "if told")
    texts = [" ".join(sentence.given["tokens"]) for sentence in sentences]
    labels = classes = None
    if sentences.have_truth:
        scheme = detect_scheme(sentences.truths)
        labels = [printable(" ".join(tags)) for tags in sentences.truths]
        classes = [[printable(span.kind) for span in read_spans(tags, scheme)] for tags in sentences.truths]
    lines = [sentence.line for sentence in sentences]
    return Split(name, Path(path), lines, texts, None, labels, classes, is_tagged=True, is_cut=False)


def _shortened(text: str) -> str:
    return printable(text[:EXCERPT]) + ("…" if len(text) > EXCERPT else "")


def printable(text: str) -> str:
    """What cannot be seen, and could steer a terminal, as escapes; every white space as a plain one."""
    text = "".join(" " if char in "\t\n\r" else char for char in text)
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def _text_column(table: Table, column: str, flag: str) -> list[str]:
    values = table.column(column, flag)
    for row, value in zip(table.rows, values, strict=True):
        if not isinstance(value, str) and value is not None:
            raise table.fault(row, f"'{column}' must be text: found {value!r:.60}")
    return [value or "" for value in values]


def same_columns(splits: Sequence[Split]) -> None:
    """Raises `InputError` unless all files have pairs, or none."""
    for split in splits[1:]:
        if (split.texts_b is None) != (splits[0].texts_b is None):
            raise InputError(
                f"Either all files have a column of second texts or none: {splits[0].path} and {split.path} differ."
            )
