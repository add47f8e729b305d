"""What a run was begun with, in a file beside it, so that --resume does not go on with another one."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..files import parse_json_object, write_json

SETTINGS = "settings.json"


def fix_settings(
    path: Path, settings: Mapping[str, Any], contents: Mapping[str, Any], advice: str = "--resume with the same"
) -> None:
    """Write down what a run is; or, if it is written down already, compare.

    settings: the values of flags. contents: what stands for the data behind a flag, such as a checksum. Raises
    `InputError` if anything differs, which ends with the advice. What an older version has not written down cannot be
    compared.
    """
    given = {**settings, **contents}
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, given)
        return
    before = parse_json_object(path.read_bytes(), str(path))
    for name, value in given.items():
        if before.get(name, value) != value:
            was, now = ("not given" if each is None else str(each) for each in (before[name], value))
            found = "held other data" if name in contents else f"was {was}, and is {now} now"
            raise InputError(f"--{name.replace('_', '-')} of the run in {path.parent} {found}: {advice}.")


def checksum(rows: Iterable[Any]) -> str:
    """Of rows of a data set, in their order."""
    digest = hashlib.blake2b(digest_size=16)
    for row in rows:
        digest.update(repr(row).encode())
    return digest.hexdigest()
