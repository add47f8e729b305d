"""Google's TensorFlow checkpoints, read and written without TensorFlow.

    with open_checkpoint("uncased_L-12_H-768_A-12.zip") as checkpoint:
        checkpoint.shape("bert/pooler/dense/kernel")      # (768, 768)
        checkpoint["bert/pooler/dense/kernel"]            # the array
        dict(checkpoint.stream())                         # everything, in one pass over the files
        checkpoint.read_text("vocab.txt")

To learn how such a file is made, read from the bytes upwards: wire.py (numbers and messages), crc32c.py (checksums),
table.py (the sorted table), format_v2.py (the index and the data files of today), slices.py (variables in pieces),
format_v1.py (the one kind of file of the first years), folders.py (folders and zips).
"""

from __future__ import annotations

import hashlib
import os
import re
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import InputError
from ...files import write_text
from .element_types import Array, as_read, dtype_read
from .folders import STEP, Folder, ZipFolder, read_text
from .format_v1 import FormatV1, part_names
from .format_v2 import FormatV2, write_v2
from .slices import Shape

RELEASE_NAME = "bert_model.ckpt"
STATE_FILE = "checkpoint"

# What optimizers keep is recognised by standing under a variable's name: X/adam_m. These names are for the rest:
# moments without their variables, and what belongs to none.
MOMENTS = re.compile(
    r"/(adam\w*|lamb(optimizer)?(_\w+)?|adafactor|adagrad|momentum|rmsprop|exponentialmovingaverage)(_\d+)?(/|$)",
    re.IGNORECASE,
)
STATE_OF_TRAINING = re.compile(r"(.*/)?(global_step|save_counter|beta[12]_power|\w*loss_scale|good_steps)(_\d+)?(/|$)")


class TensorFlowCheckpoint(Mapping[str, Array]):
    """A read-only mapping from a variable's name to its values; a variable is read each time it is asked for.

    Iteration is by name. Element types are those of the file, but bfloat16 becomes float32. Variables that hold no
    numbers are not listed. It is a context manager that closes its files. Not for several threads at a time.

    `path` is what the checkpoint was opened from. Checksums are verified always: reading raises `InputError` for
    damaged data, with the file and the byte. A name that is not there raises `KeyError`, as in any mapping.
    """

    def __init__(self, path: Path, folder: Folder | ZipFolder, format_: FormatV1 | FormatV2) -> None:
        self.path = path
        self._folder = folder
        self._format = format_
        self._variables = dict(sorted(format_.variables.items()))

    def __getitem__(self, name: str) -> Array:
        return next(values for _, values in self.stream([name]))

    def __iter__(self) -> Iterator[str]:
        return iter(self._variables)

    def __len__(self) -> int:
        return len(self._variables)

    def __contains__(self, name: object) -> bool:
        return name in self._variables

    def shape(self, name: str) -> Shape:
        """The shape of a variable, without reading its values."""
        return self._variables[name].shape

    def dtype(self, name: str) -> np.dtype[Any]:
        """The dtype in which a variable is read, without reading its values."""
        return dtype_read(self._variables[name].element_type)

    def stream(self, names: Iterable[str] | None = None) -> Iterator[tuple[str, Array]]:
        """(name, values) of the named variables, or of all, in the order in which they stand in the files.

        Every file is read once, from front to back: the way to read a zip. Only variables in slices wait in memory
        until their last slice is read.
        """
        wanted = {name: self._variables[name] for name in (self if names is None else names)}
        pieces = [(name, piece) for name, variable in wanted.items() for piece in variable.pieces]
        pieces.sort(key=lambda named: (named[1].place, named[1].key))
        missing = {name: len(variable.pieces) for name, variable in wanted.items()}
        unfinished: dict[str, Array] = {}
        for name, piece in pieces:
            variable = wanted[name]
            values = as_read(self._format.read(piece, variable.element_type), variable.element_type)
            if len(variable.pieces) > 1:
                whole = unfinished.setdefault(name, np.empty(variable.shape, values.dtype))
                whole[piece.box] = values
                values = whole
            missing[name] -= 1
            if not missing[name]:
                unfinished.pop(name, None)
                yield name, values

    def read_text(self, filename: str) -> str | None:
        """The text of a file beside the checkpoint, such as `vocab.txt`; None if there is no such file.

        Raises `InputError` if it is not UTF-8 or has more than 16 MiB.
        """
        return read_text(self._folder, filename)

    def sha256(self, filename: str) -> str | None:
        """The SHA-256 of a file of or beside the checkpoint, as it is on disk or in the zip; None if there is none."""
        size = self._folder.size(filename)
        if size is None:
            return None
        digest = hashlib.sha256()
        with closing(self._folder.open(filename)) as file:
            for start in range(0, size, STEP):
                digest.update(file.read(start, min(STEP, size - start)))
        return digest.hexdigest()

    def close(self) -> None:
        self._format.close()
        self._folder.close()

    def __enter__(self) -> TensorFlowCheckpoint:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_checkpoint(path: str | os.PathLike[str]) -> TensorFlowCheckpoint:
    """Open a TensorFlow checkpoint of format V2 or V1.

    `path` may be a prefix (`.../bert_model.ckpt`), any of the files of a checkpoint, a folder with one, or a zip as
    Google releases them, which is read in place. In a folder, or in the one folder of a zip that has a checkpoint, it
    is the first of these that is there: `bert_model.ckpt.index`; what the text file `checkpoint` names as the latest;
    the only `*.index`; `bert_model.ckpt` in format V1, in one file or in parts.

    Raises `InputError`, which names the file and the byte, for anything that is no sound checkpoint.
    """
    path = Path(path)
    try:
        folder, name, format_class = _locate(path)
    except OSError as error:
        raise InputError(f"{path} cannot be opened: {error.strerror}.") from error
    try:
        return TensorFlowCheckpoint(path, folder, format_class(folder, name))
    except BaseException:
        folder.close()
        raise


def is_prefix(path: str | os.PathLike[str]) -> bool:
    """Whether `path` is what the files of a checkpoint are called: `path`.index or parts of format V1 are there."""
    return _is_prefix_of_v2(path) or _is_prefix_of_v1(path)


def _is_prefix_of_v2(path: str | os.PathLike[str]) -> bool:
    return os.path.isfile(f"{os.fspath(path)}.index")


def _is_prefix_of_v1(path: str | os.PathLike[str]) -> bool:
    folder, name = os.path.split(path)
    place = Path(folder)
    # A known name is looked for here, too. For an impossible path, Path.is_dir raises.
    readable = os.path.isdir(place) and os.access(place, os.R_OK)
    names = Folder(place).names() if readable else set()
    return name not in names and bool(part_names(name, names))


def write_checkpoint(prefix: str | os.PathLike[str], tensors: Mapping[str, Any]) -> None:
    """Write arrays by name as a TensorFlow checkpoint of format V2, byte for byte as TensorFlow's own Saver does.

    Makes `PREFIX.index`, `PREFIX.data-00000-of-00001` and, beside them, the text file `checkpoint`. Each file is
    complete or not there at all. `tensors` are read one at a time. Raises `InputError` for a dtype that is none of
    NumPy's usual numbers.
    """
    prefix = Path(prefix)
    if not prefix.name:
        raise InputError(f"'{prefix}' has no file name at its end: give a prefix such as folder/{RELEASE_NAME}.")
    prefix.parent.mkdir(parents=True, exist_ok=True)
    write_v2(prefix, tensors)
    name = _quoted(prefix.name)
    write_text(prefix.parent / STATE_FILE, f"model_checkpoint_path: {name}\nall_model_checkpoint_paths: {name}\n")


def model_variables(names: Iterable[str]) -> list[str]:
    """Those of the names that belong to the model: not the moments of its optimizer, nor the state of training."""
    names = list(names)
    known = set(names)

    def is_moment(name: str) -> bool:
        parts = name.split("/")
        return any("/".join(parts[:end]) in known for end in range(1, len(parts))) or bool(MOMENTS.search(name))

    return [name for name in names if not is_moment(name) and not STATE_OF_TRAINING.match(name)]


def _locate(path: Path) -> tuple[Folder | ZipFolder, str, type[FormatV1] | type[FormatV2]]:
    """The folder, the name in it, and the format of the checkpoint that `path` means."""
    if path.name == STATE_FILE and path.is_file():
        path = path.parent
    if part := re.fullmatch(r"(.+)\.(index|meta|data-\d{5}-of-\d{5})", path.name):
        return Folder(path.parent), part[1], FormatV2
    if _is_prefix_of_v2(path):
        return Folder(path.parent), path.name, FormatV2
    if path.is_dir():
        folder = Folder(path)
        if found := _found_in(folder):
            return folder, *found
        sentence = f"The folder {path} holds no TensorFlow checkpoint; it holds {_listed(folder.names())}."
        # A run of several tasks has its models in tasks/, one that was stopped in checkpoints/.
        models = [str(file.parent) for pattern in ("*/config.json", "*/*/config.json") for file in path.glob(pattern)]
        raise InputError(sentence + (f" There are models further down: {_listed(models)}." if models else ""))
    if path.is_file() and (path.suffix == ".zip" or zipfile.is_zipfile(path)):
        return _locate_in_zip(ZipFolder(path))
    if path.is_file() or _is_prefix_of_v1(path):
        return Folder(path.parent), path.name, FormatV1
    raise InputError(
        f"There is no TensorFlow checkpoint at {path}: neither {path.name}.index nor a file or folder {path.name} is "
        "there. Give its folder, its prefix (the name without .index) or a release's zip."
    )


def _locate_in_zip(folder: ZipFolder) -> tuple[ZipFolder, str, type[FormatV1] | type[FormatV2]]:
    """The one folder of a zip that has a checkpoint, likewise."""
    try:
        found = {}
        for inner in folder.folders():
            folder.inner = inner
            if checkpoint := _found_in(folder):
                found[inner] = checkpoint
        if len(found) != 1:
            places = f"{len(found)} of them, in {_listed(map(str, found))}" if found else "none"
            raise InputError(f"The zip {folder.path} should hold one TensorFlow checkpoint, but holds {places}.")
        folder.inner, (name, format_class) = found.popitem()
        return folder, name, format_class
    except BaseException:
        folder.close()
        raise


def _found_in(folder: Folder | ZipFolder) -> tuple[str, type[FormatV1] | type[FormatV2]] | None:
    """Name and format of the checkpoint in a folder; None if there is none."""
    names = folder.names()
    indexed = sorted(name.removesuffix(".index") for name in names if name.endswith(".index"))
    latest = _latest(folder)
    for name in (RELEASE_NAME, latest):
        if name in indexed:
            return name, FormatV2
    if part_names(latest, names):
        return latest, FormatV1
    if len(indexed) > 1:
        raise InputError(
            f"{folder} holds several checkpoints: {_listed(indexed)}. Give the one to open, by its prefix."
        )
    if indexed:
        return indexed[0], FormatV2
    return (RELEASE_NAME, FormatV1) if part_names(RELEASE_NAME, names) else None


def _latest(folder: Folder | ZipFolder) -> str:
    """The name in the text file `checkpoint`, or an empty one. Its folder is left out: often another machine's."""
    text = read_text(folder, STATE_FILE) or ""
    latest = re.search(r'^\s*model_checkpoint_path:\s*"((?:[^"\\]|\\.)*)"', text, re.MULTILINE)
    if latest is None:
        return ""
    try:  # the text spells bytes that are not ASCII as \303\244
        path = latest[1].encode().decode("unicode_escape").encode("latin-1").decode()
    except UnicodeError as error:
        raise InputError(f"{folder}: the file {STATE_FILE} names the checkpoint {latest[0]!r}: {error}.") from error
    return re.split(r"[/\\]", path)[-1]


def _quoted(text: str) -> str:
    """A text as Protocol Buffers' text format spells it."""
    plain = (chr(byte) if 32 <= byte < 127 and byte not in b'"\\' else f"\\{byte:03o}" for byte in text.encode())
    return f'"{"".join(plain)}"'


def _listed(names: Iterable[str]) -> str:
    names = sorted(names)
    return (", ".join(names[:8]) + (f" and {len(names) - 8:,} more" if len(names) > 8 else "")) or "nothing"
