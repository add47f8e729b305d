"""The files of a data set as columns of text, and what may be wrong in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ..data.tables import Table
from ..errors import InputError

EXAMPLES = 5  # rows shown of each finding
EXCERPT = 160  # characters shown of a row


@dataclass(frozen=True)
class Split:
    """One file of the data set: `train`, `dev` or `test`. labels is None if the file has no such column."""

    name: str
    table: Table
    texts: list[str]
    texts_b: list[str] | None
    labels: list[str] | None

    def __len__(self) -> int:
        return len(self.texts)

    def pair(self, place: int) -> tuple[str, str]:
        """Both texts of a row; the second is "" where there is only one."""
        return self.texts[place], self.texts_b[place] if self.texts_b else ""

    def excerpt(self, place: int, **also: Any) -> dict[str, Any]:
        """A row as an example of a finding."""
        text = " ⟂ ".join(filter(None, self.pair(place)))
        shown = printable(text[:EXCERPT]) + ("…" if len(text) > EXCERPT else "")
        label = {} if self.labels is None else {"label": self.labels[place]}
        return {"file": self.name, "line": self.table.rows[place].line, "text": shown} | label | also


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


def read_split(name: str, table: Table, text: str = "text", text_b: str = "text_b", label: str = "label") -> Split:
    """The columns of a table. What is missing (null, in `.jsonl`) becomes "", to be found later.

    Raises `InputError` if there is no column with the text, or if it holds something else than text.
    """
    texts = _text_column(table, text, "--text-column")
    texts_b = labels = None
    if text_b != "text_b" or any(text_b in row.values for row in table.rows):  # a name that was given must be there
        texts_b = _text_column(table, text_b, "--text-b-column")
    if any(label in row.values for row in table.rows):
        values = [row.values.get(label) for row in table.rows]
        labels = ["" if value is None else printable(str(value)) for value in values]
    return Split(name, table, texts, texts_b, labels)


def printable(text: str) -> str:
    """What cannot be seen, and could steer a terminal, as escapes; every white space as a plain one."""
    text = "".join(" " if char in "\t\n\r" else char for char in text)
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def _text_column(table: Table, column: str, flag: str) -> list[str]:
    values = table.column(column, flag)
    for row, value in zip(table.rows, values, strict=True):
        if not isinstance(value, str) and value is not None:
            raise table.fault(row, f"'{column}' must be text: found {value!r}")
    return [value or "" for value in values]


def same_columns(splits: Sequence[Split]) -> None:
    """Raises `InputError` unless all files have pairs, or none."""
    for split in splits[1:]:
        if (split.texts_b is None) != (splits[0].texts_b is None):
            raise InputError(
                f"Either all files have a column of second texts or none: {splits[0].table.path} and "
                f"{split.table.path} differ."
            )


def some_rows(split: Split, places: Sequence[int]) -> list[dict[str, Any]]:
    """The first few rows of a finding."""
    return [split.excerpt(place) for place in places[:EXAMPLES]]
