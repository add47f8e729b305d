"""CoNLL's column files: a word a line, its tag in one of the columns, a blank line after each sentence.

    -DOCSTART- -X- O O

    EU NNP I-NP I-ORG
    rejects VBZ I-VP O
    German JJ I-NP I-MISC

Columns stand apart by spaces; if a line has tabs, by tabs alone. All lines of a file have as many columns. Comments
before a sentence, such as `# text = EU rejects German call`, are read over.

A `.conllu`, as of Universal Dependencies, has ten columns, the first of them a number; of what a word is made of
(`1-2`) its parts are read, and words that are not in the text (`1.1`) are not. https://universaldependencies.org/format
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from pathlib import Path

from ..errors import InputError
from .tables import read_text

log = logging.getLogger("minibert")

LONG = 500  # words; a sentence has fewer
CONLLU = ".conllu"
COMMENT = re.compile("# .*=")  # # may be a word, too, and = its tag
DOCUMENT = "-DOCSTART-"  # the word of a line that stands between documents, and is no sentence


@dataclass(frozen=True)
class Sentence:
    """A sentence by its columns, each with a value a word, and the line where it begins (from 1)."""

    columns: list[tuple[str, ...]]
    line: int


def read_sentences(path: str | Path) -> list[Sentence]:
    """The sentences of a file. Raises `InputError` if it cannot be read, has none, or lines of different columns."""
    path = Path(path)
    numbered = path.suffix == CONLLU
    sentences: list[Sentence] = []
    rows: list[list[str]] = []
    columns = first_line = 0
    for number, line in enumerate([*read_text(path).split("\n"), ""], start=1):
        if not rows and (line.startswith("#") if numbered else COMMENT.match(line)):
            continue
        fields = _fields(line)
        if not any(fields) or fields[0] == DOCUMENT:
            if rows:
                sentences.append(Sentence(list(zip(*rows, strict=True)), first_line))
            rows = []
            continue
        columns = columns or len(fields)
        if len(fields) != columns or not all(fields):
            raise InputError(
                f"{path}, line {number}: {columns} columns are needed, as in the first line, and none may be empty: "
                f"found {line[:60]!r}."
            )
        if not numbered or fields[0].isdecimal():
            first_line = first_line if rows else number
            rows.append(fields)
    if not sentences:
        raise InputError(f"{path} has no sentences.")
    if len(sentences) == 1 and len(sentences[0].columns[0]) > LONG:
        log.warning(f"{path} has no blank line between its words: they are read as a single sentence.")
    return sentences


def _fields(line: str) -> list[str]:
    line = line.removesuffix("\r")
    if "\t" in line:
        return [field.strip(" ") for field in line.rstrip("\t ").split("\t")]
    return [field for field in line.split(" ") if field]  # other white space, such as U+00A0, may belong to a word
