"""The files of a checkpoint, side by side in a folder or in a zip that stands for one.

Google releases a BERT as a zip with one folder in it:

    uncased_L-12_H-768_A-12.zip
        uncased_L-12_H-768_A-12/bert_config.json
        uncased_L-12_H-768_A-12/vocab.txt
        uncased_L-12_H-768_A-12/bert_model.ckpt.index, .data-00000-of-00001, .meta

The zip is read in place: nothing is ever unpacked to disk, and nothing larger than it says it is, or larger than a zip
of its size can honestly hold, is unpacked to memory.
"""

from __future__ import annotations

import os
import stat
import zipfile
import zlib
from contextlib import closing
from pathlib import Path, PurePosixPath
from typing import IO

import numpy as np

from ...errors import InputError
from .wire import damaged

STEP = 1 << 20  # bytes read at a time: a zip needs as much memory again for each read
LARGEST_TEXT = 16 << 20  # bytes; the vocabulary of multilingual BERT has one million
# Weights hardly shrink in a zip, and text shrinks three to ten times. Deflate itself ends at 1032.
LARGEST_ZIP_RATIO = 100
READ_ERRORS = (OSError, EOFError, zlib.error, zipfile.BadZipFile, NotImplementedError, RuntimeError)


class OpenFile:
    """A file of which stretches are read, best from front to back: in a zip going back means starting again."""

    def __init__(self, stream: IO[bytes], name: str, size: int) -> None:
        self._stream = stream
        self.name = name
        self.size = size

    def read(self, offset: int, size: int) -> memoryview:
        """`size` bytes from `offset` on. Raises `InputError` if the file ends before, or cannot be read."""
        self.check(offset, size)
        content = np.empty(size, np.uint8).data
        done = 0
        try:
            self._stream.seek(offset)
            while done < size:
                piece = self._stream.read(min(STEP, size - done))
                if not piece:
                    raise EOFError("it ends early")
                content[done : done + len(piece)] = piece
                done += len(piece)
        except READ_ERRORS as error:
            raise damaged(self.name, offset + done, f"the file cannot be read ({error}).") from error
        return content

    def check(self, offset: int, size: int) -> None:
        """Raise `InputError` unless the file has `size` bytes from `offset` on."""
        if offset + size > self.size:
            raise damaged(
                self.name, self.size,
                f"{size} bytes from byte {offset} on are needed, but the file {self.description()}.",
            )  # fmt: skip

    def description(self) -> str:
        """What the file is, for errors: "is ..." or "has ..."."""
        if self.size == 0:
            return "is empty"
        start = bytes(self.read(0, min(self.size, 64))).lstrip().lower()
        if start.startswith(b"version https://git-lfs"):
            return "is a Git LFS pointer, which stands for the real file: `git lfs pull` fetches it"
        if start.startswith((b"<!doctype", b"<html", b"<?xml")):
            return "is a web page, so its download went wrong"
        return f"has {self.size} bytes"

    def close(self) -> None:
        self._stream.close()


class Folder:
    """A folder of the file system."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __str__(self) -> str:
        return str(self.path)

    def names(self) -> set[str]:
        """The names of the regular files in the folder; links to files count."""
        try:
            return {name for name in os.listdir(self.path) if os.path.isfile(self.path / name)}  # no link to itself
        except OSError as error:
            raise InputError(f"The folder {self.path} cannot be read: {error.strerror}.") from error

    def size(self, name: str) -> int | None:
        """Bytes of a file; None if there is no such file."""
        path = self.path / name
        return path.stat().st_size if path.is_file() else None

    def open(self, name: str) -> OpenFile:
        """A file of the folder. Raises `InputError` if it is not there or cannot be read."""
        path = self.path / name
        size = self.size(name)  # a folder has none, nor has a pipe, at which open() would wait for ever
        if size is None:
            raise _missing(self.path, name, path.exists())
        try:
            return OpenFile(path.open("rb", buffering=0), str(path), size)
        except OSError as error:
            raise InputError(f"{path} cannot be read: {error.strerror}.") from error

    def close(self) -> None:
        """Nothing stays open."""


class ZipFolder:
    """One folder inside a zip. Raises `InputError` for a zip that is broken, encrypted or up to something."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.inner = PurePosixPath()
        try:
            self._zip = zipfile.ZipFile(path)
        except (*READ_ERRORS, ValueError) as error:
            raise InputError(f"{path} cannot be read as a zip ({error}): the file {_described(path)}.") from error
        try:
            self._entries = self._checked_entries()
        except InputError:
            self._zip.close()
            raise

    def __str__(self) -> str:
        return str(self.path / self.inner)

    def folders(self) -> list[PurePosixPath]:
        """All folders with files in them. `inner` is to be set to one of these."""
        return sorted({name.parent for name in self._entries})

    def names(self) -> set[str]:
        return {name.name for name in self._entries if name.parent == self.inner}

    def size(self, name: str) -> int | None:
        entry = self._entries.get(self.inner / name)
        return None if entry is None else entry.file_size

    def open(self, name: str) -> OpenFile:
        entry = self._entries.get(self.inner / name)
        if entry is None:
            raise _missing(self, name, False)
        label = f"{self.path} ({entry.filename})"
        try:
            return OpenFile(self._zip.open(entry), label, entry.file_size)
        except (*READ_ERRORS, ValueError) as error:
            raise InputError(f"{label} cannot be read ({error}). Copy or download the zip again.") from error

    def close(self) -> None:
        self._zip.close()

    def _checked_entries(self) -> dict[PurePosixPath, zipfile.ZipInfo]:
        entries: dict[PurePosixPath, zipfile.ZipInfo] = {}
        for entry in self._zip.infolist():
            name = PurePosixPath(entry.filename)
            if entry.filename.endswith("/") or name.parts[:1] == ("__MACOSX",) or name.name.startswith("._"):
                continue  # folders have no content, and macOS adds a shadow of each file
            problem = None
            if name.is_absolute() or ".." in name.parts or set(entry.filename) & set("\\:") or not name.name:
                problem = "its name is no plain path inside the zip"
            elif name in entries:
                problem = "its name occurs twice"
            elif stat.S_ISLNK(entry.external_attr >> 16):
                problem = "it is a link"
            elif entry.flag_bits & 1:
                problem = "it is encrypted"
            elif entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                problem = f"it is compressed by method {entry.compress_type}, and only deflate is read"
            elif entry.file_size > LARGEST_ZIP_RATIO * entry.compress_size + STEP:
                problem = f"it claims to hold {entry.file_size} bytes in {entry.compress_size}"
            if problem is not None:
                raise InputError(f"{self.path}: the entry '{entry.filename}' is refused, for {problem}.")
            entries[name] = entry
        if sum(entry.compress_size for entry in entries.values()) > self.path.stat().st_size:
            raise InputError(f"{self.path} claims to hold more bytes than it has. Copy or download it again.")
        return entries


def _described(path: Path) -> str:
    with closing(Folder(path.parent).open(path.name)) as file:
        return file.description()


def _missing(folder: object, name: str, is_something: bool) -> InputError:
    found = "but that is no regular file" if is_something else "but there is no such file"
    return InputError(f"The file {name} is needed in {folder}, {found}. Copy or download the checkpoint again.")


def read_text(folder: Folder | ZipFolder, name: str) -> str | None:
    """A file's text in UTF-8, None if there is no such file. Raises `InputError` for more than 16 MiB."""
    size = folder.size(name)
    if size is None:
        return None
    if size > LARGEST_TEXT:
        raise InputError(f"{folder}: {name} has {size} bytes; a text of at most {LARGEST_TEXT} is read.")
    with closing(folder.open(name)) as file:
        try:
            return str(file.read(0, size), "utf-8")
        except UnicodeDecodeError as error:
            raise damaged(file.name, error.start, "this is no text in UTF-8.") from error
