"""From text files to shards: what is read, what is written, and that nothing but the text decides about it."""

from __future__ import annotations

import errno
import gzip
import json
import lzma
import os
import pickle
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minibert import BertTokenizer, InputError
from minibert.data import corpus as reading
from minibert.data import prepare as preparing
from minibert.data.corpus import PROGRESS, find_files, read_documents
from minibert.data.prepare import Portion, WordIds, prepare
from minibert.data.sentences import split_sentences
from minibert.data.shards import MANIFEST, Corpus, fingerprint, token_type

from .helpers import word_tokenizer

LETTERS = "abcdefghij"
TOKENS = [".", *LETTERS, *(f"##{letter}" for letter in LETTERS)]

# Documents, each a list of lines. In `TEXT` there are three blank ones, a byte order mark and a Windows line end.
DOCUMENTS = [["First line.", "Second, é."], ["Only one."], ["Last."]]
TEXT = "\ufeffFirst line. \nSecond, é.\r\n\n \nOnly one.\n\n\nLast."


@pytest.fixture
def tokenizer() -> BertTokenizer:
    return word_tokenizer(*TOKENS)


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preparing, "TEXT_PER_SHARD", 2000)


def write_corpus(folder: Path, documents: int = 120) -> Path:
    """Random words in random sentences, in two files."""
    chance = random.Random(0)

    def word() -> str:
        return "".join(chance.choices(LETTERS, k=chance.randint(1, 5)))

    def sentence() -> str:
        return " ".join(word() for _ in range(chance.randint(1, 9))).capitalize() + "."

    folder.mkdir()
    for name in ("one.txt", "two.txt"):
        texts = ["\n".join(sentence() for _ in range(chance.randint(1, 8))) for _ in range(documents // 2)]
        (folder / name).write_text("\n\n".join(texts))
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


# ------------------------------------------------------------------------------------------------------------- reading


def write_as(path: Path) -> None:
    if ".jsonl" in path.name:
        content = "".join(json.dumps({"text": "\n\n".join(lines), "id": 7}) + "\n\n" for lines in DOCUMENTS).encode()
    else:
        content = TEXT.encode()
    if path.suffix == ".gz":
        content = gzip.compress(content)
    if path.suffix == ".xz":
        content = lzma.compress(content)
    path.write_bytes(content)


@pytest.mark.parametrize("name", ["x.txt", "x.txt.gz", "x.txt.xz", "x.gz", "x.jsonl", "x.jsonl.gz", "x.jsonl.xz"])
def test_every_format_gives_the_same_documents(name: str, tmp_path: Path):
    write_as(tmp_path / name)
    sizes: list[int] = []
    assert list(read_documents(tmp_path / name, sizes.append)) == DOCUMENTS
    assert sum(sizes) == (tmp_path / name).stat().st_size


@settings(deadline=None)
@given(st.lists(st.lists(st.from_regex(r"[a-zé.]([a-zé. ]{0,9}[a-zé.])?", fullmatch=True), min_size=1), max_size=5))
def test_documents_give_back_what_was_written(tmp_path_factory, documents):
    path = tmp_path_factory.mktemp("t") / "x.txt"
    path.write_text("\n\n".join("\n".join(lines) for lines in documents), encoding="utf-8")
    assert list(read_documents(path)) == documents


def test_a_document_without_end_is_cut_between_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(reading, "LONGEST_DOCUMENT", 5)
    (tmp_path / "x.txt").write_text("abc\ndef\nghi\n\nj")
    assert list(read_documents(tmp_path / "x.txt")) == [["abc", "def"], ["ghi"], ["j"]]


def test_a_folder_is_searched_in_the_order_of_names(tmp_path: Path):
    for name in ("b.txt", "a/c.jsonl", "a/b.txt.xz", "readme.md", "a/x.zip", "a/x.tar.gz", "x.json.gz"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = [str(path.relative_to(tmp_path)) for path in find_files([tmp_path, tmp_path / "b.txt"])]
    assert found == ["a/b.txt.xz", "a/c.jsonl", "b.txt", "b.txt"]


def test_what_is_hidden_in_a_folder_is_no_text_unless_it_is_named(tmp_path: Path):
    folder = tmp_path / ".cache" / "text"
    for name in ("b.txt", "._b.txt", ".ipynb_checkpoints/b-checkpoint.txt"):
        (folder / name).parent.mkdir(exist_ok=True, parents=True)
        (folder / name).touch()
    assert find_files([folder]) == [folder / "b.txt"]
    assert find_files([folder / "._b.txt"]) == [folder / "._b.txt"]


def test_a_folder_of_ids_is_no_text(tmp_path: Path, tokenizer: BertTokenizer, small_shards: None):
    """Though a vocabulary and the progress of a preparation have names that end like text."""
    source = write_corpus(tmp_path / "text")
    tokenizer.save_pretrained(source / "tokenizer")
    assert {path.name for path in find_files([source])} == {path.name for path in source.iterdir() if path.is_file()}
    prepare([source], tokenizer, tmp_path / "finished")
    with pytest.raises(InputError, match="finished has no text"):
        find_files([tmp_path / "finished"])
    interrupted(source, tokenizer, tmp_path / "out")
    with pytest.raises(InputError, match="out holds an unfinished corpus: give the command that prepared it again"):
        find_files([tmp_path / "out"])


WRONG_FILES = {
    "not UTF-8": ("x.txt", b"ok\n\ncaf\xe9\n", r"x\.txt: the text is not UTF-8: byte 7 is 0xe9"),
    "not UTF-8 after a mark": ("x.txt", b"\xef\xbb\xbf\xe9\n", r"byte 3 is 0xe9"),
    "UTF-16": ("x.txt", "text".encode("utf-16"), r"byte 0 is 0xff"),
    "no gzip": ("x.gz", b"plain text", r"x\.gz is broken: Not a gzipped file"),
    "half a gzip": ("x.gz", gzip.compress(b"text" * 99)[:-9], r"x\.gz is broken: .*Copy or download it again"),
    "damaged gzip": ("x.gz", gzip.compress(b"text" * 99)[:-8] + b"12345678", r"x\.gz is broken: CRC check failed"),
    "no xz": ("x.xz", b"plain text", r"x\.xz is broken"),
    "half an xz": ("x.xz", lzma.compress(b"text" * 99)[:-9], r"x\.xz is broken"),
    "broken JSON": ("x.jsonl", b'{"text": "a"}\n{"text"\n', r"x\.jsonl, line 2: this is no JSON"),
    "JSON without text": (
        "x.jsonl",
        b'{"txt": "a"}\n',
        r'line 1: a JSON object with a string "text" is needed, found {"t',
    ),
    "JSON with a number": ("x.jsonl", b'{"text": 1}\n', r'with a string "text" is needed'),
    "a JSON list": ("x.jsonl", b'["text"]\n', r'with a string "text" is needed'),
    "an endless line": ("x.txt", b"a" * 1000, r"line 1: the line is longer than .* MiB"),
}


@pytest.mark.parametrize("case", WRONG_FILES)
def test_a_wrong_file_gets_a_sentence(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(reading, "LONGEST_LINE", 1000)
    name, content, sentence = WRONG_FILES[case]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=sentence):
        list(read_documents(tmp_path / name))


def test_a_wrong_path_gets_a_sentence(tmp_path: Path):
    with pytest.raises(InputError, match="no such file or directory"):
        find_files([tmp_path / "none.txt"])
    with pytest.raises(InputError, match="has no text"):
        find_files([tmp_path])
    for name in ("x.pdf", "x.tar.gz", "x.json.gz"):  # an archive's list of files, and JSON's brackets, are no text
        (tmp_path / name).touch()
        with pytest.raises(InputError, match=r"must end in \.txt or \.jsonl, and then \.gz or \.xz"):
            find_files([tmp_path / name])
    with pytest.raises(InputError, match="has no text"):
        find_files([tmp_path])


# ------------------------------------------------------------------------------------------------------------- writing


@settings(deadline=None)
@given(st.text(st.sampled_from("abc XÉ.'ς\u03a3\u200b\t[MASK]中\x85\u2028"), max_size=40))
def test_words_cut_once_give_the_ids_of_the_whole_text(text):
    tokenizer = word_tokenizer(*TOKENS, "'", "中", "[", "]", "m", "s", "##s", "k")
    words = WordIds(tokenizer)
    expected = tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    assert np.frombuffer(words.encode(text), dtype=words.type).tolist() == expected
    assert tokenizer.mask_token_id not in expected


def test_few_words_are_remembered_at_a_time(tokenizer: BertTokenizer, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(preparing, "MOST_WORDS", 2)
    words = WordIds(tokenizer)
    assert words.encode("a b c d a") == np.array([6, 7, 8, 9, 6], dtype="<u2").tobytes()
    assert len(words) <= 2
    paragraph = "中" * 1000  # no spaces: the whole text would be remembered
    assert len(words.encode(paragraph)) == 2000
    assert paragraph not in words


def test_a_large_vocabulary_gets_wider_numbers():
    assert (token_type(65_536), token_type(65_537)) == (np.dtype("<u2"), np.dtype("<u4"))


def test_shards_give_back_the_text(tmp_path: Path, tokenizer: BertTokenizer, small_shards: None):
    source = write_corpus(tmp_path / "text")
    manifest = prepare([source], tokenizer, tmp_path / "out")
    corpus = Corpus(tmp_path / "out")
    expected = [
        [
            tokenizer.encode(sentence, add_special_tokens=False)
            for line in document
            for sentence in split_sentences(line)
        ]
        for file in find_files([source])
        for document in read_documents(file)
    ]
    assert len(manifest.shards) > 3
    assert [[sentence.tolist() for sentence in corpus[i]] for i in range(len(corpus))] == expected
    counts = json.loads((tmp_path / "out" / MANIFEST).read_text())
    assert counts["documents"] == counts["training"] == len(expected)
    assert counts["sentences"] == sum(map(len, expected))
    assert counts["tokens"] == sum(len(sentence) for document in expected for sentence in document)
    assert fingerprint(BertTokenizer.from_pretrained(tmp_path / "out")) == fingerprint(tokenizer)


def test_documents_are_not_copied(tmp_path: Path, tokenizer: BertTokenizer):
    prepare([write_corpus(tmp_path / "text")], tokenizer, tmp_path / "out")
    sentence = Corpus(tmp_path / "out")[0][0]
    assert not sentence.flags.owndata
    assert not sentence.flags.writeable


def test_any_number_of_processes_gives_the_same_files(tmp_path: Path, tokenizer: BertTokenizer, small_shards: None):
    source = write_corpus(tmp_path / "text")
    for workers in (1, 3):
        prepare([source], tokenizer, tmp_path / str(workers), workers=workers, held_out=0.2)
    assert contents(tmp_path / "1") == contents(tmp_path / "3")


def test_held_out_documents_are_chosen_by_their_text(tmp_path: Path, tokenizer: BertTokenizer, small_shards: None):
    source = write_corpus(tmp_path / "text", documents=600)
    backwards = [source / "two.txt", source / "one.txt"]
    splits = []
    for name, files in ("forwards", [source]), ("backwards", backwards):
        prepare(files, tokenizer, tmp_path / name, held_out=0.2)
        for split in ("training", "held_out"):
            corpus = Corpus(tmp_path / name, split)
            splits.append(sorted(str([s.tolist() for s in corpus[i]]) for i in range(len(corpus))))
    assert splits[:2] == splits[2:]
    assert len(splits[0]) + len(splits[1]) == 600
    assert 80 < len(splits[1]) < 160  # 120 expected, deviation 10


def test_some_of_the_shards_are_a_corpus_too(tmp_path: Path, tokenizer: BertTokenizer, small_shards: None):
    prepare([write_corpus(tmp_path / "text")], tokenizer, tmp_path / "out", held_out=0.2)
    whole = Corpus(tmp_path / "out")
    part = Corpus(tmp_path / "out", numbers=[2, 4])
    assert len(part) == len(whole.shards[2]) + len(whole.shards[4])
    assert part.tokens == sum(whole.records[number].tokens for number in (2, 4))
    assert part[0][0].tolist() == whole[int(whole.first_documents[2])][0].tolist()
    assert part[len(part) - 1][0].tolist() == whole[int(whole.first_documents[5]) - 1][0].tolist()


def test_a_corpus_can_be_sent_to_another_process(tmp_path: Path, tokenizer: BertTokenizer, small_shards: None):
    prepare([write_corpus(tmp_path / "text")], tokenizer, tmp_path / "out", held_out=0.2)
    for corpus in (Corpus(tmp_path / "out", "held_out"), Corpus(tmp_path / "out", numbers=[1, 3])):
        last = len(corpus) - 1
        expected = corpus[last][0].tolist()
        sent = pickle.dumps(corpus)
        assert len(sent) < 1000
        assert pickle.loads(sent)[last][0].tolist() == expected


# ---------------------------------------------------------------------------------------------------- going on, faults

KILLED = """
import sys
from minibert import BertTokenizer
from minibert.data import prepare
if __name__ == "__main__":
    prepare.TEXT_PER_SHARD = 20_000
    prepare.prepare(sys.argv[1:2], BertTokenizer.from_pretrained(sys.argv[2]), sys.argv[3], workers=2)
"""


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="Windows has no process groups to look at")
def test_killed_at_any_moment_it_goes_on_to_the_same_corpus(
    tmp_path: Path, tokenizer: BertTokenizer, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(preparing, "TEXT_PER_SHARD", 20_000)
    source, vocab, whole, out = (tmp_path / name for name in ("text", "vocab", "whole", "out"))
    write_corpus(source, documents=16_000)
    tokenizer.save_pretrained(vocab)
    prepare([source], tokenizer, whole)
    (tmp_path / "run.py").write_text(KILLED)
    command = [sys.executable, str(tmp_path / "run.py"), str(source), str(vocab), str(out)]
    environment = os.environ | {"PYTHONPATH": str(Path(preparing.__file__).parents[2])}
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True, env=environment) as process:
        # The first line says what is prepared, each further one that a shard is finished.
        while process.poll() is None and len(_lines(out / PROGRESS)) < 2:
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
    finished = contents(out)
    assert MANIFEST not in finished
    deadline = time.monotonic() + 20
    while _group_lives(process.pid):  # its processes end by themselves
        assert time.monotonic() < deadline
        time.sleep(0.05)

    before = {path.name: path.stat().st_mtime_ns for path in out.iterdir()}
    kept = [json.loads(line)["file"] for line in finished[PROGRESS].splitlines()[1:]]
    prepare([source], tokenizer, out)
    assert kept
    assert all((out / name).stat().st_mtime_ns == before[name] for name in kept)
    assert contents(out) == contents(whole)


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="Windows sends Ctrl-C in another way")
def test_ctrl_c_while_processes_begin_is_no_traceback(tmp_path: Path, tokenizer: BertTokenizer):
    source, vocab, out = (tmp_path / name for name in ("text", "vocab", "out"))
    for file in write_corpus(source).iterdir():
        file.write_text(f"{file.read_text()}\n\n" * 300)  # work for a second or more
    tokenizer.save_pretrained(vocab)
    words = ["minibert.pretrain", "prepare", source, "--vocab", vocab, "--out", out, "--workers", 2]
    command = [sys.executable, "-m", *map(str, words)]
    environment = os.environ | {"PYTHONPATH": str(Path(preparing.__file__).parents[2])}
    with subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env=environment,
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # in the background a shell ignores it
    ) as process:
        begins = ["pgrep", "-g", str(process.pid), "-f", "spawn_main"]
        while process.poll() is None and subprocess.run(begins, capture_output=True, check=False).returncode:
            time.sleep(0.002)
        os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in errors


def _lines(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines() if path.exists() else []


def _group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def interrupted(source: Path, tokenizer: BertTokenizer, out: Path) -> Path:
    """A preparation that ended early, for a file in it was broken. Gives the path of that file."""
    broken = source / "zzz.txt"
    broken.write_bytes(b"\xff")
    with pytest.raises(InputError, match="not UTF-8"):
        prepare([source], tokenizer, out)
    broken.unlink()
    return broken


def test_going_on_makes_anew_what_has_changed(tmp_path: Path, tokenizer: BertTokenizer, small_shards: None):
    source = write_corpus(tmp_path / "text")
    interrupted(source, tokenizer, tmp_path / "out")
    text = (source / "two.txt").read_text()
    (source / "two.txt").write_text("A bad cab." + text[: len(text) // 2])
    shards = sorted((tmp_path / "out").glob("shard-*"))
    shards[0].write_bytes(b"damaged")
    with (tmp_path / "out" / PROGRESS).open("a") as file:
        file.write('{"file": "shard-')  # torn in the middle of a line
    prepare([source], tokenizer, tmp_path / "out")
    prepare([source], tokenizer, tmp_path / "anew")
    assert contents(tmp_path / "out") == contents(tmp_path / "anew")


def test_going_on_with_other_settings_gets_a_sentence(tmp_path: Path, tokenizer: BertTokenizer, small_shards: None):
    source = write_corpus(tmp_path / "text")
    interrupted(source, tokenizer, tmp_path / "out")
    with pytest.raises(InputError, match="begun with another vocabulary or another --held-out"):
        prepare([source], tokenizer, tmp_path / "out", held_out=0.1)
    (tmp_path / "out" / PROGRESS).write_text("{}\n{}\n")
    with pytest.raises(InputError, match=r"progress\.jsonl is damaged"):
        prepare([source], tokenizer, tmp_path / "out")


def test_a_text_without_words_leaves_nothing_behind(tmp_path: Path, tokenizer: BertTokenizer):
    for content in ("\n \n\n", "\x01\x02\n"):
        (tmp_path / "x.txt").write_text(content)
        with pytest.raises(InputError, match="There is no text in"):
            prepare([tmp_path / "x.txt"], tokenizer, tmp_path / "out")
        assert not (tmp_path / "out").exists()


def test_a_folder_in_use_is_left_alone(tmp_path: Path, tokenizer: BertTokenizer):
    source = write_corpus(tmp_path / "text")
    with pytest.raises(InputError, match="exists already, and is no unfinished corpus"):
        prepare([source], tokenizer, source)
    prepare([source], tokenizer, tmp_path / "out")
    with pytest.raises(InputError, match="holds a finished corpus already"):
        prepare([source], tokenizer, tmp_path / "out")


def test_two_do_not_prepare_in_one_folder_at_a_time(
    tmp_path: Path, tokenizer: BertTokenizer, monkeypatch: pytest.MonkeyPatch
):
    """The second has begun before anything of the first is to be seen."""
    fcntl = pytest.importorskip("fcntl")
    source, out = write_corpus(tmp_path / "text"), tmp_path / "out"
    read_portions = preparing._portions

    def portions(*arguments: Any) -> Iterator[Portion]:
        assert not any(out.iterdir())
        with pytest.raises(InputError, match="Another process prepares a corpus in "):
            prepare([source], tokenizer, out)
        return read_portions(*arguments)

    monkeypatch.setattr(preparing, "_portions", portions)
    prepare([source], tokenizer, out)
    Corpus(out).verify()

    def flock(*_: Any) -> None:
        raise OSError(errno.EBADF, "Bad file descriptor")

    monkeypatch.setattr(preparing, "_portions", read_portions)
    monkeypatch.setattr(fcntl, "flock", flock)
    prepare([source], tokenizer, tmp_path / "a disk without locks")


def test_an_empty_folder_stays_if_the_user_made_it(tmp_path: Path, tokenizer: BertTokenizer):
    (tmp_path / "x.txt").touch()
    (tmp_path / "made").mkdir()
    for name in ("made", "not made"):
        with pytest.raises(InputError, match="There is no text in"):
            prepare([tmp_path / "x.txt"], tokenizer, tmp_path / name)
    assert {path.name for path in tmp_path.iterdir()} == {"x.txt", "made"}


@pytest.mark.parametrize("place", [0, 1, -1], ids=["first", "second", "last"])
@pytest.mark.parametrize("part", ["documents", "sentences"])
def test_offsets_that_cannot_be_get_a_sentence(part: str, place: int, tmp_path: Path, tokenizer: BertTokenizer):
    out = tmp_path / "out"
    prepare([write_corpus(tmp_path / "text")], tokenizer, out)
    (record,) = Corpus(out).records
    data = np.fromfile(out / "shard-00000.bin", np.uint8)
    middle, end = (4 * (record.documents + 1), 4 * (record.documents + record.sentences + 2))
    offsets = (data[:middle] if part == "documents" else data[middle:end]).view("<u4")
    offsets[place] += 1_000_000
    data.tofile(out / "shard-00000.bin")
    with pytest.raises(InputError, match=r"shard-00000\.bin is damaged: its documents or sentences overlap"):
        Corpus(out)[0]


def test_a_damaged_corpus_gets_a_sentence(tmp_path: Path, tokenizer: BertTokenizer):
    out = tmp_path / "out"
    prepare([write_corpus(tmp_path / "text")], tokenizer, out)
    Corpus(out).verify()
    data = bytearray((out / "shard-00000.bin").read_bytes())
    data[-1] ^= 1
    (out / "shard-00000.bin").write_bytes(data)
    with pytest.raises(InputError, match=r"shard-00000\.bin is damaged: its checksum"):
        Corpus(out).verify()
    (out / "shard-00000.bin").write_bytes(data[:-1])
    with pytest.raises(InputError, match=r"shard-00000\.bin has [\d,]+ bytes instead of"):
        Corpus(out)
    (out / "shard-00000.bin").unlink()
    with pytest.raises(InputError, match=r"shard-00000\.bin is missing"):
        Corpus(out)
    manifest = json.loads((out / MANIFEST).read_text())
    (out / MANIFEST).write_text(json.dumps(manifest | {"shards": [{"file": "shard-00000.bin"}]}))
    with pytest.raises(InputError, match="is damaged"):
        Corpus(out)
    (out / MANIFEST).write_text(json.dumps(manifest | {"format": "another"}))
    with pytest.raises(InputError, match="the format is 'another'"):
        Corpus(out)
    (out / MANIFEST).unlink()
    with pytest.raises(InputError, match="is no prepared corpus"):
        Corpus(out)


def test_another_split_or_tokenizer_gets_a_sentence(tmp_path: Path, tokenizer: BertTokenizer):
    prepare([write_corpus(tmp_path / "text")], tokenizer, tmp_path / "out")
    corpus = Corpus(tmp_path / "out")
    corpus.check_tokenizer(tokenizer)
    for other in (
        word_tokenizer(*TOKENS, "x"),
        BertTokenizer(tokenizer.get_vocab(), do_lower_case=False),
    ):
        with pytest.raises(InputError, match="was made with another tokenizer"):
            corpus.check_tokenizer(other)
    with pytest.raises(InputError, match=r"no held_out documents .* Prepare it with --held-out"):
        Corpus(tmp_path / "out", "held_out")
    with pytest.raises(InputError, match="split must be one of training, held_out"):
        Corpus(tmp_path / "out", "test")
