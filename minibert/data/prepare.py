"""From text files to a tokenized corpus on disk, in several processes: `python -m minibert.pretrain prepare`.

One process reads the files and deals the text out in portions, each of which becomes a shard. So the shards are the
same however many processes there are, and memory holds a few portions at most. A shard appears under its name only
when it is complete; then a line in `progress.jsonl` says so. Killed at any moment, and started again, the work goes on
after the shards that are finished and whose text is still the same.

How it grows, calculated from one measurement (331 MB of English; vocabulary of 8,000; one core of an AMD EPYC):

    text                       tokens    shards      disk        prepare    blocks   plan of a block
    331 MB (measured)            84 M        10   0.18 GB    0.03 core h         1             18 MB
    16 GB (Wikipedia, books)    4.1 G       480      9 GB     1.4 core h        30             29 MB
    1 TB                        254 G    30,000    550 GB      88 core h     1,875             29 MB

Memory while preparing stays at a few portions of text, and while training at the plans of two blocks (see
`instances.py`), whatever the size: with 30,000 shards (links to a few real ones), opening the corpus takes 0.8 seconds,
planning a block of 1.4 million instances 1.2, and the process has 200 MB, beside the files that it maps. All `torchrun`
ranks read the same blocks, each its share of every step, so that their number does not change what is learnt: the ranks
of a machine share the memory of a mapped file, and several machines need a disk in common or a copy each.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from ..errors import InputError
from ..files import new_folder, replacing, write_json
from ..tokenization import BertTokenizer
from .corpus import PROGRESS, Document, find_files, read_documents
from .sentences import split_sentences
from .shards import FORMAT, MANIFEST, OFFSET, Manifest, ShardRecord, fingerprint, token_type

TEXT_PER_SHARD = 32 << 20  # in characters
MOST_WORDS = 1_000_000  # remembered by a process: some 200 MB
LONGEST_WORD = 50  # of these, in characters; a paragraph of Chinese, without a space, would hardly come twice


def prepare(
    paths: Sequence[str | os.PathLike[str]],
    tokenizer: BertTokenizer,
    out: str | os.PathLike[str],
    *,
    workers: int = 1,
    held_out: float = 0.0,
) -> Manifest:
    """Make a corpus, as `shards.py` describes it, in the folder `out` from text files, as `corpus.py` describes them.

    held_out: this share of the documents is kept for evaluation. A hash of its text decides about a document, so that
        it does not depend on order, and copies of one document stay together.

    Raises `InputError` for files that cannot be used, if there is no text in them, if `out` holds anything but an
    unfinished preparation, and if that was made with another tokenizer or share.
    """
    out = Path(out)
    files = find_files(paths, out)
    total = sum(file.stat().st_size for file in files)
    with new_folder(out), _alone_in(out):
        progress = _Progress(out, {"format": FORMAT, "tokenizer": fingerprint(tokenizer), "held_out": held_out})
        with tqdm(total=total, desc="prepare", unit="B", unit_scale=True, smoothing=0, dynamic_ncols=True) as bar:
            portions = _portions(files, bar.update)
            shards = _shards(portions, tokenizer, out, workers, held_out, progress)
        if not any(shard.documents for shard in shards):
            for path in (progress.path, *(out / shard.file for shard in shards)):
                path.unlink(missing_ok=True)
            raise InputError(f"There is no text in {', '.join(map(str, paths))}.")
        names = {shard.file for shard in shards}
        for stray in out.glob("*shard-*"):  # what a killed process left, and shards of a text that has shrunk
            if stray.name not in names:
                stray.unlink()
        manifest = Manifest(fingerprint(tokenizer), len(tokenizer), held_out, shards)
        tokenizer.save_pretrained(out)
        write_json(out / MANIFEST, manifest.to_dict())
        progress.path.unlink()
    return manifest


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Raises `InputError` if another process prepares a corpus in the folder: one would write over the other's shards.

    The lock ends with its process, even with one that is killed. Windows and some network disks have no such locks.
    """
    try:
        import fcntl
    except ImportError:
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            text = f"Another process prepares a corpus in {folder}: wait for its end, or name another folder."
            raise InputError(text) from None
        except OSError:  # such a network disk
            pass
        yield
    finally:
        os.close(descriptor)


@dataclass(frozen=True)
class Portion:
    """The text of one shard. `text` is a hash of it."""

    number: int
    documents: list[Document]
    text: str

    @property
    def file(self) -> str:
        return f"shard-{self.number:05d}.bin"


def _portions(files: Sequence[Path], progress: Callable[[int], object]) -> Iterator[Portion]:
    """All documents of all files, in order, in portions of `TEXT_PER_SHARD` characters or a little more."""
    number = 0
    documents: list[Document] = []
    size = 0
    digest = hashlib.blake2b(digest_size=16)
    for file in files:
        for document in read_documents(file, progress):
            text = "\n".join(document)
            digest.update(text.encode() + b"\n\n")
            documents.append(document)
            size += len(text)
            if size >= TEXT_PER_SHARD:
                yield Portion(number, documents, digest.hexdigest())
                number, documents, size = number + 1, [], 0
                digest = hashlib.blake2b(digest_size=16)
    if documents:
        yield Portion(number, documents, digest.hexdigest())


def _shards(
    portions: Iterator[Portion], tokenizer: BertTokenizer, out: Path, workers: int, held_out: float, progress: _Progress
) -> list[ShardRecord]:
    """The records of all shards, in order, once every shard is written."""
    records: dict[int, ShardRecord] = {}
    running: dict[Future[ShardRecord], int] = {}
    type_of_tokens = token_type(len(tokenizer))

    def collect() -> None:
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            records[running.pop(future)] = record = future.result()
            progress.add(record)

    with ProcessPoolExecutor(
        workers,
        multiprocessing.get_context("spawn"),  # the same on every system, and safe beside threads
        _start_worker,
        (tokenizer, held_out),
    ) as pool:
        try:
            for portion in portions:
                if record := progress.finished(portion, type_of_tokens):
                    records[portion.number] = record
                    continue
                if len(running) > workers:  # one portion lies ready, so that no process has to wait
                    collect()
                with _ctrl_c_waits():
                    running[pool.submit(_write_shard, out, portion)] = portion.number
            while running:
                collect()
        except BrokenProcessPool as error:
            raise InputError(
                "A process was killed, perhaps because memory ran out. Give the same command again, with fewer "
                "--workers if so: finished shards are kept."
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)
    return [records[number] for number in sorted(records)]


@contextmanager
def _ctrl_c_waits() -> Iterator[None]:
    """Until the end of the block. A process that begins inside never hears of it, not even before `_start_worker`."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Progress:
    """`progress.jsonl`: the settings in the first line, then the record of each finished shard."""

    def __init__(self, out: Path, settings: dict[str, Any]) -> None:
        self.path = out / PROGRESS
        self.settings = settings
        self.records: dict[str, ShardRecord] = {}
        if (out / MANIFEST).exists():
            raise InputError(f"{out} holds a finished corpus already: name another folder.")
        if self.path.exists():
            self._read()
        elif any(not _is_shard(path) for path in out.iterdir()):
            raise InputError(f"{out} exists already, and is no unfinished corpus: name another folder.")

    def finished(self, portion: Portion, type_of_tokens: np.dtype[Any]) -> ShardRecord | None:
        """The record of the shard, if it was made from just this text and is there."""
        record = self.records.get(portion.file)
        if record is None or record.text != portion.text:
            return None
        path = self.path.with_name(record.file)
        return record if path.exists() and path.stat().st_size == record.size(type_of_tokens) else None

    def add(self, record: ShardRecord) -> None:
        """Write the record down at once."""
        first = [] if self.path.exists() else [self.settings]
        with self.path.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(line) + "\n" for line in [*first, asdict(record)])
            file.flush()
            os.fsync(file.fileno())

    def _read(self) -> None:
        whole, _, torn = self.path.read_bytes().rpartition(b"\n")  # a process killed while writing leaves a torn line
        try:
            lines = [json.loads(line) for line in whole.splitlines()]
            self.records = {line["file"]: ShardRecord(**line) for line in lines[1:]}
        except (ValueError, TypeError, KeyError) as error:
            raise InputError(f"{self.path} is damaged ({error}): delete its folder, or name another.") from error
        if torn:
            self.path.write_bytes(whole + b"\n" if whole else b"")
        if not lines:
            self.path.unlink()
        elif lines[0] != self.settings:
            raise InputError(
                f"{self.path.parent} holds an unfinished corpus that was begun with another vocabulary or another "
                f"--held-out: give the same again, or name another folder."
            )


def _is_shard(path: Path) -> bool:
    return path.name.lstrip(".").startswith("shard-")


# ---------------------------------------------------------------------------------------------------- in the processes


class WordIds(dict[str, bytes]):
    """The ids of each word, as the bytes that are written to disk.

    A word gets the same ids wherever it stands, so the text is split at spaces, and each different outcome is cut by
    the tokenizer only once: many times as fast. (An added token with a space in it would not be found.)
    """

    def __init__(self, tokenizer: BertTokenizer) -> None:
        super().__init__()
        self.tokenizer = tokenizer
        self.type = token_type(len(tokenizer))

    def __missing__(self, word: str) -> bytes:
        ids = self.tokenizer(
            word, add_special_tokens=False, truncation=False, split_special_tokens=True, return_token_type_ids=False
        )["input_ids"]
        encoded = np.array(ids, dtype=self.type).tobytes()
        if len(word) <= LONGEST_WORD:
            if len(self) >= MOST_WORDS:
                self.clear()
            self[word] = encoded
        return encoded

    def encode(self, text: str) -> bytes:
        """The ids of a text, without special tokens."""
        return b"".join(map(self.__getitem__, text.split(" ")))


_word_ids: WordIds
_held_out: float


def _start_worker(tokenizer: BertTokenizer, held_out: float) -> None:
    global _word_ids, _held_out
    _word_ids = WordIds(tokenizer)
    _held_out = held_out
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process: the first one deals with it
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A killed process cannot tell its children to end, and they would wait for work for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _write_shard(out: Path, portion: Portion) -> ShardRecord:
    training: list[list[bytes]] = []
    held_out: list[list[bytes]] = []
    for document in portion.documents:
        if encoded := _encode(document):
            (held_out if _is_held_out(document) else training).append(encoded)
    documents = training + held_out
    sentences = [sentence for document in documents for sentence in document]
    itemsize = _word_ids.type.itemsize
    data = b"".join(
        [
            _offsets([len(document) for document in documents]),
            _offsets([len(sentence) // itemsize for sentence in sentences]),
            *sentences,
        ]
    )
    with replacing(out / portion.file) as temporary:
        temporary.write_bytes(data)
    tokens = sum(map(len, sentences)) // itemsize
    checksum = hashlib.sha256(data).hexdigest()
    return ShardRecord(portion.file, portion.text, len(documents), len(training), len(sentences), tokens, checksum)


def _encode(document: Document) -> list[bytes]:
    """The ids of each sentence. Some have none: those of control characters alone."""
    encoded = (_word_ids.encode(sentence) for line in document for sentence in split_sentences(line))
    return [ids for ids in encoded if ids]


def _offsets(sizes: list[int]) -> bytes:
    return np.cumsum([0, *sizes]).astype(OFFSET).tobytes()


def _is_held_out(document: Document) -> bool:
    digest = hashlib.blake2b("\n".join(document).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") < _held_out * (1 << 64)
