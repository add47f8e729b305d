"""Files that are complete or not there at all."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from .errors import InputError

LONE_SURROGATE = re.compile("[\ud800-\udfff]")  # one of a pair of surrogates, without the other
NUMBERS = re.compile(r"\[\n([-+.,\deE\s]+)\]")  # in indented JSON; a text has no line breaks there


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary path beside `path`: it takes the place of `path` if the block ends well, and vanishes if not.

    Raises `InputError` if `path` is a folder, or no file at all.
    """
    path = Path(path)
    _check_file(path)
    temporary = path.with_name(f".{path.name}.{os.urandom(8).hex()}")
    try:
        temporary.touch(exist_ok=False)
    except OSError as error:
        error.filename = str(path)  # the user knows this name, and not the temporary one
        raise
    permissions = temporary.stat().st_mode & 0o777
    try:
        yield temporary
        temporary.chmod(permissions)  # safetensors makes files that only their owner can read
        temporary.replace(path)
    except OSError as error:
        if error.errno is not None and error.filename is None:  # the system's word for a full disk names no file
            error.filename = str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)


def check_output(path: str | os.PathLike[str], inputs: Iterable[str | os.PathLike[str] | None]) -> None:
    """Raise `InputError` if nothing can be written to `path`, or what is would replace a file that is read.

    None among inputs: no such file.
    """
    _check_file(Path(path))
    folder = Path(path).parent
    if not folder.is_dir():
        raise InputError(f"{path}: there is no folder {folder}. Make it, or choose another place.")
    for read in inputs:
        if read is not None and os.path.exists(path) and os.path.exists(read) and os.path.samefile(path, read):
            raise InputError(f"{path} is a file that is read: choose another name to write to.")


def _check_file(path: Path) -> None:
    if path.exists() and not path.is_file():  # for root, even /dev/null could be replaced
        raise InputError(f"{path} is {'a folder' if path.is_dir() else 'no file'}: name a file to write to.")


def remove_if_empty(folder: Path) -> None:
    """Take back a folder that was made for what was not written then. One with anything in it stays."""
    with suppress(OSError):
        folder.rmdir()


@contextmanager
def new_folder(path: Path) -> Iterator[None]:
    """Make a folder, unless it is there. If it was made, and nothing is in it after the block, it goes again.

    Raises `InputError` if `path` is a file.
    """
    if path.exists() and not path.is_dir():
        raise InputError(f"{path} is a file: name a folder.")
    made = not path.exists()
    path.mkdir(parents=True, exist_ok=True)
    try:
        yield
    finally:
        if made:
            remove_if_empty(path)


@contextmanager
def whole_folder(path: Path) -> Iterator[None]:
    """`new_folder` for one that is not there or empty: if the block fails, such as on a full disk, nothing stays."""
    with new_folder(path):
        try:
            yield
        except BaseException:
            for file in path.iterdir():
                file.unlink()
            raise


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """`text` in UTF-8, complete or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def json_line(value: Any) -> str:
    """`value` as JSON on one line; mappings that are no dicts, too."""
    return json.dumps(value, ensure_ascii=False, default=dict)


def write_json_lines(path: str | os.PathLike[str], values: Iterable[Any]) -> None:
    """A line for each of the values, complete or not at all. They are taken one by one, however many there are."""
    with replacing(path) as temporary, open(temporary, "w", encoding="utf-8", newline="\n") as file:
        file.writelines(f"{json_line(value)}\n" for value in values)


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """`value` as readable JSON, complete or not at all. Numbers of a list stand in a line, as in a matrix' row."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    write_text(path, NUMBERS.sub(lambda found: f"[{' '.join(found[1].split())}]", text) + "\n")


def parse_json_object(content: bytes, where: str) -> dict[str, Any]:
    """A JSON object out of the bytes of a file. Raises `InputError`, naming `where`, for anything else."""
    try:
        value = json.loads(content)
        check_characters(value)
    except (ValueError, RecursionError) as error:  # broken JSON and broken UTF-8 are ValueErrors
        raise InputError(f"{where} is no readable JSON: {error}.") from error
    if not isinstance(value, dict):
        raise InputError(f"{where} must be a JSON object: found {type(value).__name__}.")
    return value


def check_characters(value: Any) -> None:
    r"""Raise a `ValueError` if text in a JSON value holds half a character, such as \ud800: no file can hold it."""
    half = LONE_SURROGATE.search(json.dumps(value, ensure_ascii=False))
    if half:
        raise ValueError(f"\\u{ord(half[0]):x} is half a character")
