"""Raw text: files to documents, one at a time, however large the files are.

| name ends in | what it holds |
| --- | --- |
| `.txt` | paragraphs or sentences, one a line; a blank line ends a document (Google's `create_pretraining_data.py`) |
| `.jsonl` | one document a line: a JSON object whose `text` is the document |
| `.gz`, `.xz` | either of them, compressed: `.txt.gz`, `.jsonl.xz`, ...; without an inner ending, as `.txt` |
"""

from __future__ import annotations

import gzip
import json
import lzma
import os
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, BinaryIO, cast

from ..errors import InputError

COMPRESSED = (".gz", ".xz")
FORMATS = (".txt", ".jsonl")
ENDINGS = ".txt or .jsonl, and then .gz or .xz if it is compressed"
VOCABULARY = "vocab.txt"  # of a tokenizer, or of a prepared corpus: no text, though its name ends like one
PROGRESS = "progress.jsonl"  # in a folder where a preparation was interrupted
BYTE_ORDER_MARK = b"\xef\xbb\xbf"

# What bounds the memory: a longer line is no text, and a longer document is cut into several.
LONGEST_LINE = 1 << 26
LONGEST_DOCUMENT = 1 << 20

Document = list[str]  # its lines, none of them blank


def find_files(paths: Sequence[str | os.PathLike[str]], out: str | os.PathLike[str] | None = None) -> list[Path]:
    """The files of a corpus: those given, and all in the folders given that look like text, sorted by name.

    What is hidden in a folder, as Jupyter's copies and macOS's notes (`._name.txt`) are, is not taken for text.

    out: where something will be written that is not to be taken for text, when a run goes on.

    Raises `InputError` for a path that is not there, a folder without text, with `out` in it or with a corpus that is
    not finished, and a name of another kind.
    """
    files: list[Path] = []
    for path in map(Path, paths):
        if path.is_dir():
            if out is not None and path.resolve() in Path(out).resolve().parents:
                raise InputError(f"{out} lies in {path}, whose files are the text: name a folder outside of it.")
            if (path / PROGRESS).exists():
                raise InputError(
                    f"{path} holds an unfinished corpus: give the command that prepared it again, and it goes on."
                )
            found = (file for file in path.rglob("*") if file.name != VOCABULARY and _is_text(file))
            inside = sorted(file for file in found if file.is_file() and not _is_hidden(file.relative_to(path)))
            if not inside:
                raise InputError(f"The folder {path} has no text: none of its files has a name that ends in {ENDINGS}.")
            files += inside
        elif not path.exists():
            raise InputError(f"{path}: no such file or directory.")
        elif not _is_text(path):
            raise InputError(f"{path}: the name must end in {ENDINGS}.")
        else:
            files.append(path)
    return files


def read_documents(path: Path, progress: Callable[[int], object] = lambda size: None) -> Iterator[Document]:
    """The documents of one file, in order. Memory is bounded by `LONGEST_LINE`.

    progress: told how many bytes of the file, as it lies on the disk, have been read since the last time.
    A document of more than `LONGEST_DOCUMENT` characters is cut, between two lines, into several.
    Raises `InputError` for a file that cannot be read, is broken, is not UTF-8, or is no JSON lines with "text".
    """
    lines = _json_texts(path, progress) if _endings(path)[0] == ".jsonl" else (t for _, t in _lines(path, progress))
    document: Document = []
    size = 0
    for line in lines:
        if line:
            document.append(line)
            size += len(line)
        if document and (not line or size > LONGEST_DOCUMENT):
            yield document
            document, size = [], 0
    if document:
        yield document


def _json_texts(path: Path, progress: Callable[[int], object]) -> Iterator[str]:
    """The lines of each object's text, and a blank one after each text."""
    for number, line in _lines(path, progress):
        if not line:
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path}, line {number}: this is no JSON ({error}).") from error
        text = value.get("text") if isinstance(value, dict) else None
        if not isinstance(text, str):
            raise InputError(f'{path}, line {number}: a JSON object with a string "text" is needed, found {line[:60]}')
        text = text.encode("utf-8", "replace").decode()  # half a surrogate pair, which JSON can write, is no character
        yield from filter(None, map(str.strip, text.split("\n")))
        yield ""


def _lines(path: Path, progress: Callable[[int], object]) -> Iterator[tuple[int, str]]:
    """The number of each line, from 1, and the line without white space around it."""
    offset = 0
    done = 0
    try:
        with path.open("rb") as file, _decompressed(file, path) as stream:
            for number, line in enumerate(iter(lambda: stream.readline(LONGEST_LINE), b""), start=1):
                if len(line) == LONGEST_LINE:
                    raise InputError(
                        f"{path}, line {number}: the line is longer than {LONGEST_LINE >> 20} MiB. Put every paragraph "
                        f"on a line of its own."
                    )
                yield number, _decode(line, path, offset).strip()
                offset += len(line)
                if (position := file.tell()) > done:
                    progress(position - done)
                    done = position
    except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile) as error:
        raise InputError(f"{path} is broken: {str(error).rstrip('.')}. Copy or download it again.") from error
    except OSError as error:
        raise InputError(f"{path}: {(error.strerror or str(error)).lower()}.") from error


def _decompressed(file: BinaryIO, path: Path) -> IO[bytes]:
    if path.suffix == ".gz":
        return cast(IO[bytes], gzip.GzipFile(fileobj=file))
    return lzma.LZMAFile(file) if path.suffix == ".xz" else file


def _decode(line: bytes, path: Path, offset: int) -> str:
    try:
        return (line.removeprefix(BYTE_ORDER_MARK) if offset == 0 else line).decode("utf-8")
    except UnicodeDecodeError as error:
        shift = len(line) - len(error.object)  # the byte order mark, if there was one
        raise InputError(
            f"{path}: the text is not UTF-8: byte {offset + shift + error.start:,} is "
            f"{error.object[error.start]:#04x}. Save it as UTF-8."
        ) from error


def _endings(path: Path) -> tuple[str, str]:
    """What the file holds, and how it is compressed: (".txt" or ".jsonl" or else, ".gz" or ".xz" or "")."""
    compressed = path.suffix if path.suffix in COMPRESSED else ""
    return Path(path.name.removesuffix(compressed)).suffix, compressed


def _is_hidden(inside: Path) -> bool:
    return any(part.startswith(".") for part in inside.parts)


def _is_text(path: Path) -> bool:
    kind, compressed = _endings(path)
    return kind in FORMATS or (kind == "" and compressed != "")  # in a .tar.gz or a .json.gz there is more than text
