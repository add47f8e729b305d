"""A tokenized corpus on disk, read without copying.

A corpus is a folder: the tokenizer's files, `manifest.json`, and shards, each about 32 MB of text. A shard is three
arrays in one file, one after another, which are mapped into memory:

    documents  (documents + 1,) uint32   document d is the sentences documents[d] to documents[d + 1]
    sentences  (sentences + 1,) uint32   sentence s is the tokens    sentences[s] to sentences[s + 1]
    tokens     (tokens,) uint16          the ids, without special tokens; uint32 if the vocabulary is over 65,536

All numbers are little-endian. In every shard the documents held out for evaluation come last.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..files import parse_json_object
from ..tokenization import BertTokenizer

MANIFEST = "manifest.json"
FORMAT = "minibert corpus 1"
OFFSET = np.dtype("<u4")
SPLITS = ("training", "held_out")


@dataclass(frozen=True)
class ShardRecord:
    """What the manifest says of a shard.

    text: a hash of the text it was made from.  sha256: of the file.  training: so many documents are not held out.
    """

    file: str
    text: str
    documents: int
    training: int
    sentences: int
    tokens: int
    sha256: str

    def documents_of(self, split: str) -> int:
        """How many documents of the split there are."""
        return self.training if split == "training" else self.documents - self.training

    def size(self, token_type: np.dtype[Any]) -> int:
        """Of the file, in bytes."""
        return (self.documents + self.sentences + 2) * OFFSET.itemsize + self.tokens * token_type.itemsize


@dataclass(frozen=True)
class Manifest:
    """What `manifest.json` says. Raises `InputError` from `read` if it is not there, or is damaged."""

    tokenizer: str  # `fingerprint`
    vocab_size: int
    held_out: float
    shards: Sequence[ShardRecord]

    @property
    def token_type(self) -> np.dtype[Any]:
        """The dtype of the tokens."""
        return token_type(self.vocab_size)

    def to_dict(self) -> dict[str, Any]:
        """As JSON, with the sums for people to read."""
        counts = {
            key: sum(getattr(shard, key) for shard in self.shards)
            for key in ("documents", "training", "sentences", "tokens")
        }
        return {"format": FORMAT} | dataclasses.asdict(self) | counts

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        path = folder / MANIFEST
        try:
            values = parse_json_object(path.read_bytes(), str(path))
        except OSError as error:
            raise InputError(
                f"{folder} is no prepared corpus: {path.name} cannot be read ({error.strerror}). "
                f"Make one with `python -m minibert.pretrain prepare`."
            ) from error
        try:
            if values["format"] != FORMAT:
                raise InputError(f"{path}: the format is {values['format']!r}, but '{FORMAT}' is needed. Prepare anew.")
            shards = [ShardRecord(**shard) for shard in values["shards"]]
            return cls(values["tokenizer"], values["vocab_size"], values["held_out"], shards)
        except (KeyError, TypeError) as error:
            raise InputError(f"{path} is damaged: {error}. Prepare the corpus anew.") from error


class Shard:
    """The documents of one split in a shard, as views into its file: see the top of this file.

    Raises `InputError` if what is in it cannot be.
    """

    def __init__(self, path: Path, record: ShardRecord, token_type: np.dtype[Any], split: str) -> None:
        data = np.asarray(np.memmap(path, dtype=np.uint8, mode="r"))
        documents_end = (record.documents + 1) * OFFSET.itemsize
        sentences_end = documents_end + (record.sentences + 1) * OFFSET.itemsize
        documents = data[:documents_end].view(OFFSET)  # (bytes) -> (documents + 1)
        self.documents = documents[: record.training + 1] if split == "training" else documents[record.training :]
        self.sentences = data[documents_end:sentences_end].view(OFFSET)  # (bytes) -> (sentences + 1)
        self.tokens = data[sentences_end:].view(token_type)  # (bytes) -> (tokens)
        if not (_cut(documents, record.sentences) and _cut(self.sentences, record.tokens)):
            raise InputError(f"The shard {path} is damaged: its documents or sentences overlap. {PREPARE_AGAIN}")

    def __len__(self) -> int:
        return len(self.documents) - 1

    def document(self, number: int) -> list[NDArray[np.unsignedinteger[Any]]]:
        """The tokens of each sentence of a document: views, each (tokens,)."""
        first, last = int(self.documents[number]), int(self.documents[number + 1])
        offsets = self.sentences[first : last + 1].tolist()
        return [self.tokens[start:end] for start, end in pairwise(offsets)]


def _cut(offsets: NDArray[np.uint32], whole: int) -> bool:
    """Whether they cut so many things into parts that lie one behind the other."""
    return offsets[0] == 0 and offsets[-1] == whole and bool((offsets[:-1] <= offsets[1:]).all())


class Corpus:
    """The documents of a prepared corpus: `corpus[d][s]` are the ids of a sentence, a view (tokens,) uint16 or uint32.

    split: "training" or "held_out".
    numbers: of the shards to take, by their places in the manifest; all, if none are named.

    The files are mapped into memory when they are first asked for, and let go with the object.
    Raises `InputError` if a shard is missing or has not the size that the manifest says, and if the split is empty.
    """

    def __init__(
        self, folder: str | os.PathLike[str], split: str = "training", numbers: Sequence[int] | None = None
    ) -> None:
        if split not in SPLITS:
            raise InputError(f"split must be one of {', '.join(SPLITS)}: found {split!r}.")
        self.folder = Path(folder)
        self.split = split
        self.manifest = Manifest.read(self.folder)
        shards = self.manifest.shards
        self.numbers = range(len(shards)) if numbers is None else numbers
        self.records = [shards[number] for number in self.numbers]
        for record in self.records:
            self._check_size(self.folder / record.file, record.size(self.manifest.token_type))
        # The first document of each shard, and the number of all: (shards + 1,) int64.
        self.first_documents = np.cumsum([0, *(record.documents_of(split) for record in self.records)])
        if not len(self):
            hint = "Prepare it with --held-out" if split == "held_out" else "Prepare it with a smaller --held-out"
            raise InputError(f"There are no {split} documents in {self.folder}. {hint}.")

    @cached_property
    def shards(self) -> list[Shard]:
        """The shards that were asked for, in that order."""
        type_of_tokens = self.manifest.token_type
        return [Shard(self.folder / record.file, record, type_of_tokens, self.split) for record in self.records]

    @property
    def tokens(self) -> int:
        """How many there are in the shards, in both splits."""
        return sum(record.tokens for record in self.records)

    def __len__(self) -> int:
        return int(self.first_documents[-1])

    def __getitem__(self, number: int) -> list[NDArray[np.unsignedinteger[Any]]]:
        if not 0 <= number < len(self):
            raise IndexError(number)
        shard, local = self.place(number)
        return self.shards[shard].document(local)

    def place(self, document: int) -> tuple[int, int]:
        """The shard of a document, and its number there."""
        shard = int(np.searchsorted(self.first_documents, document, side="right")) - 1
        return shard, document - int(self.first_documents[shard])

    def verify(self) -> None:
        """Read everything, and compare it with the checksums. Raises `InputError`, naming the file that is damaged."""
        for record in self.records:
            path = self.folder / record.file
            if hashlib.sha256(np.memmap(path, mode="r").data).hexdigest() != record.sha256:
                raise InputError(f"{path} is damaged: its checksum is not that of the manifest. {PREPARE_AGAIN}")

    def check_tokenizer(self, tokenizer: BertTokenizer) -> None:
        """Raises `InputError` if the corpus was made with another tokenizer: its ids would mean other words."""
        if fingerprint(tokenizer) != self.manifest.tokenizer:
            raise InputError(
                f"The corpus {self.folder} was made with another tokenizer (of {self.manifest.vocab_size:,} tokens; "
                f"this one has {len(tokenizer):,}): use the one in that folder, or prepare the corpus anew."
            )

    def __reduce__(self) -> tuple[Any, ...]:
        """Sent to another process, it opens the files again, instead of sending what is in them."""
        return Corpus, (self.folder, self.split, self.numbers)

    def _check_size(self, path: Path, size: int) -> None:
        found = path.stat().st_size if path.exists() else None
        if found != size:
            state = "is missing" if found is None else f"has {found:,} bytes instead of {size:,}"
            raise InputError(f"The shard {path} {state}. {PREPARE_AGAIN}")


PREPARE_AGAIN = "Copy it again, or prepare the corpus anew."


def fingerprint(tokenizer: BertTokenizer) -> str:
    """A hash of all that decides which ids a text gets, but for how added tokens are found in it."""
    ids = tokenizer.get_vocab()
    accents = tokenizer.do_lower_case if tokenizer.strip_accents is None else tokenizer.strip_accents
    settings = [sorted(ids, key=ids.__getitem__), tokenizer.do_lower_case, accents, tokenizer.tokenize_chinese_chars]
    return hashlib.sha256(json.dumps(settings).encode()).hexdigest()


def token_type(vocab_size: int) -> np.dtype[Any]:
    """The smallest dtype that holds every id."""
    return np.dtype("<u2") if vocab_size <= 1 << 16 else np.dtype("<u4")
