"""What a name or a path means on this machine, and the tokenizer's files behind it. No torch is needed here."""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import InputError
from . import tensorflow
from .catalog import find, suggest

NameOrPath = str | os.PathLike[str]

TOKENIZER_FILES = (
    "vocab.txt", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
)  # fmt: skip

# Where the models lie that come with minibert: in an installed package (see pyproject.toml), or in the repository.
PACKAGE = Path(__file__).parents[1]
SHIPPED = (PACKAGE / "shipped", PACKAGE.parent / "weights")


def shipped_models() -> dict[str, Path]:
    """The models that come with minibert, by name."""
    folders = (path for place in SHIPPED for path in sorted(place.glob("minibert-*")) if path.is_dir())
    return {folder.name: folder for folder in folders}


def locate(name_or_path: NameOrPath) -> Path:
    """The folder, file or checkpoint prefix on this machine that a name or a path means; a known name is downloaded,
    unless it is that of a model that comes with minibert.

    Raises `InputError` for a name that is unknown here and on the hub, or if the download fails.
    """
    path = Path(os.path.expanduser(name_or_path))  # for an unknown ~user, Path.expanduser raises
    if os.path.exists(path) or tensorflow.is_prefix(path):  # for an impossible path, Path.exists raises
        return path
    name = str(name_or_path)
    shipped = shipped_models()
    if name in shipped:
        return shipped[name]
    if find(name) is None and (path.is_absolute() or name.startswith(".") or name.count("/") != 1):
        nearest = suggest(name, list(shipped))
        hint = f" Did you mean {' or '.join(nearest)}?" if nearest else " `python -m minibert.weights list` shows all."
        raise InputError(f"'{name}' is neither a file or folder here nor a known model.{hint}")
    from .hub import download  # only here is the network needed, and its libraries take a while to load

    return download(name)


def read_tokenizer_files(name_or_path: NameOrPath) -> dict[str, bytes]:
    """The contents of `TOKENIZER_FILES`, those that there are, behind a name or path; or of a `vocab.txt` itself."""
    path = locate(name_or_path)
    try:
        if path.is_dir():
            return {name: (path / name).read_bytes() for name in TOKENIZER_FILES if (path / name).is_file()}
        if path.suffix == ".txt":
            return {"vocab.txt": path.read_bytes()}
    except OSError as error:
        raise InputError(f"The tokenizer in {path} cannot be read: {error.strerror}.") from error
    with tensorflow.open_checkpoint(path) as google:
        texts = {name: google.read_text(name) for name in TOKENIZER_FILES}
    return {name: text.encode() for name, text in texts.items() if text is not None}
