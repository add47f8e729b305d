"""Tables of examples: `.tsv`, `.csv` (both with a header line) and `.jsonl` (one object a line).

A `.tsv` is split at tabs and nothing else: quotes are ordinary characters, as in GLUE's files. A `.csv` follows the
usual rules of quoting; if its header has no comma, but tabs or semicolons (as spreadsheets write it in much of Europe),
these separate. Whatever is wrong with a file is told as one sentence with the file's name and the line's number.
"""

from __future__ import annotations

import csv
import io
import json
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..files import check_characters

FORMATS = (".tsv", ".csv", ".jsonl")
STDIN = "-"  # as a path


@dataclass(frozen=True)
class Row:
    """One example of a file: its values by column, and the line where it stands (from 1)."""

    values: dict[str, Any]
    line: int


@dataclass(frozen=True)
class Table:
    """All rows of a file. Not every row of a `.jsonl` has every column."""

    path: Path
    rows: list[Row]

    def column(self, column: str, flag: str) -> list[Any]:
        """The values of a column. Raises `InputError` if a row lacks it; `flag` is the option that names another."""
        for row in self.rows:
            if column not in row.values:
                found = ", ".join(map(str, row.values)) or "nothing"
                raise InputError(
                    f"{self.path}, line {row.line}: there is no column '{column}', but {found}. "
                    f"Name the right one with {flag}."
                )
        return [row.values[column] for row in self.rows]

    def texts(self, column: str, flag: str) -> list[str]:
        """The values of a column that must be text."""
        values = self.column(column, flag)
        for row, value in zip(self.rows, values, strict=True):
            if not isinstance(value, str):
                raise self.fault(row, f"'{column}' must be text: found {json.dumps(value)[:60]}")
        return values

    def tells(self, column: str) -> bool:
        """Whether there is anything in a column: one that is empty throughout is none."""
        return any(row.values.get(column) not in (None, "") for row in self.rows)

    def fault(self, row: Row, problem: str) -> InputError:
        """An error that says where it is."""
        return InputError(f"{self.path}, line {row.line}: {problem}.")


def read_table(path: str | os.PathLike[str], others: Sequence[str] = ()) -> Table:
    """Read a whole file. Raises `InputError` if it cannot be read, or has no rows.

    others: endings of files that the caller reads by itself, to be told with ours.
    """
    path = Path(path)
    if path.suffix not in FORMATS:
        endings = ", ".join([*others, *FORMATS])
        raise InputError(f"{path}: the name must end in one of {endings}; predict and similar read a .txt, too.")
    text = read_text(path)
    if not text.strip():
        raise InputError(f"{path} is empty.")
    rows = list(_json_rows(path, text) if path.suffix == ".jsonl" else _separated_rows(path, text))
    if not rows:
        raise InputError(f"{path} has no rows below its header.")
    return Table(path, rows)


def read_lines(path: str | os.PathLike[str]) -> list[str]:
    """The lines of a text file that are not blank. Raises `InputError` if it cannot be read, or has none."""
    lines = [line.removesuffix("\r") for line in read_text(Path(path)).split("\n") if line.strip()]
    if not lines:
        raise InputError(f"{'The standard input' if path == STDIN else path} has no text.")
    return lines


def read_text(path: Path) -> str:
    """A whole text file, or the standard input for `-`. Raises `InputError` if it cannot be read, or is not UTF-8."""
    try:
        content = sys.stdin.buffer.read() if str(path) == STDIN else path.read_bytes()
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise InputError(
            f"{path}, line {line}: the file is not UTF-8 (byte {error.object[error.start]:#04x}). Save it as UTF-8."
        ) from error
    except OSError as error:
        raise InputError(f"{path}: {(error.strerror or str(error)).lower()}.") from error


def _json_rows(path: Path, text: str) -> Iterator[Row]:
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                values = json.loads(line)
                check_characters(values)
            except (ValueError, RecursionError) as error:
                raise InputError(f"{path}, line {number}: this is no JSON ({error}).") from error
            if not isinstance(values, dict):
                raise InputError(f"{path}, line {number}: a JSON object is needed, found {type(values).__name__}.")
            yield Row(values, number)


def _separated_rows(path: Path, text: str) -> Iterator[Row]:
    records = _tsv_records(text) if path.suffix == ".tsv" else _csv_records(path, text)
    header_line, header = next(records, (1, []))
    named = [name for name in header if name]  # spreadsheets leave empty columns, which have no names
    if len(set(named)) < len(named):
        raise InputError(
            f"{path}, line {header_line}: two columns have the same name ({', '.join(header)}). Rename one of them."
        )
    for line, fields in records:
        if len(fields) != len(header):
            known = f"{len(header)} fields ({', '.join(header)})"
            raise InputError(f"{path}, line {line}: the header has {known}, this line {len(fields)}.")
        yield Row(dict(zip(header, fields, strict=True)), line)


def _tsv_records(text: str) -> Iterator[tuple[int, list[str]]]:
    """The line number and the fields of each line that is not empty."""
    for number, line in enumerate(text.split("\n"), start=1):
        line = line.removesuffix("\r")
        if line:
            yield number, line.split("\t")


def _csv_records(path: Path, text: str) -> Iterator[tuple[int, list[str]]]:
    """The same for a CSV file, where a quoted field may go over several lines: the number is that of the first."""
    header = text.lstrip("\r\n").partition("\n")[0]
    delimiter = next((mark for mark in ",\t;" if mark in header), ",")
    csv.field_size_limit(max(len(text), 1 << 17))  # by default a field over 128 KiB is an error
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    line = 1
    try:
        for fields in reader:
            if fields:
                yield line, fields
            line = reader.line_num + 1
    except csv.Error as error:
        raise InputError(f"{path}, line {line}: {error}. Are the quotes in order?") from error
