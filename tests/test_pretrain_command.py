"""`python -m minibert.pretrain`: from raw text to a corpus, and one line for whatever is wrong."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from minibert import BertForSequenceClassification, BertModel, BertTokenizer
from minibert.data.instances import InstanceSettings, PretrainingInstances
from minibert.data.shards import Corpus
from minibert.tasks.task import Columns
from minibert.training.judging import saved_task

from .helpers import ROOT, full_disk, pretrain, pretrain_fails

TEXT = "The cat sat on the mat. The dog ran after Émile's cat.\nIt rained.\n\nA second document. It is short.\n\n"


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text(TEXT * 30, encoding="utf-8")
    return path


def test_from_text_to_instances(text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    vocab, out = tmp_path / "vocab", tmp_path / "corpus"
    vocab.mkdir()  # as a process leaves it that was killed while it read
    pretrain("vocabulary", text, "--size", 60, "--out", vocab)
    assert capsys.readouterr().out.startswith("60 tokens; ")
    pretrain("prepare", text, "--vocab", vocab, "--out", out, "--workers", 1)
    assert capsys.readouterr().out.startswith("60 documents, 150 sentences, ")
    tokenizer = BertTokenizer.from_pretrained(out)
    assert tokenizer.do_lower_case
    assert tokenizer.decode(Corpus(out)[1][0].tolist()) == "a second document."
    instances = PretrainingInstances(Corpus(out), tokenizer, InstanceSettings(max_length=24)).block(0)
    assert len(instances) > 60


def test_a_vocabulary_is_the_same_every_time(text: Path, tmp_path: Path):
    """In processes of their own, where Python's hashes of strings differ."""
    for name in ("one", "two"):
        words = ["vocabulary", str(text), "--size", "70", "--cased", "--out", str(tmp_path / name)]
        subprocess.run([sys.executable, "-m", "minibert.pretrain", *words], check=True, capture_output=True, cwd=ROOT)
    for file in ("vocab.txt", "tokenizer.json", "tokenizer_config.json"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()
    tokenizer = BertTokenizer.from_pretrained(tmp_path / "one")
    assert not tokenizer.do_lower_case
    assert {"É", "T", "The"} <= tokenizer.get_vocab().keys()


def test_half_a_tokenizer_is_none(text: Path, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch):
    full_disk(monkeypatch, "tokenizer.json")
    words = ["vocabulary", text, "--size", 60, "--out", tmp_path / "vocab"]
    assert "No space left on device" in pretrain_fails(capsys, *words)
    assert not (tmp_path / "vocab").exists()


def test_whatever_is_wrong_is_one_line(text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    out, empty, broken = tmp_path / "out", tmp_path / "empty.txt", tmp_path / "broken.txt"
    empty.touch()
    broken.write_bytes(b"ab\xff")
    for subcommand in (["vocabulary", "--out", out], ["prepare", "--vocab", "bert", "--out", out]):
        assert "required" in pretrain_fails(capsys, *subcommand)
    assert "no such file or directory" in pretrain_fails(capsys, "vocabulary", tmp_path / "none.txt", "--out", out)
    assert "is not UTF-8, so that no report" in pretrain_fails(capsys, "vocabulary", "caf\udce9.txt", "--out", out)
    assert "There is no text" in pretrain_fails(capsys, "vocabulary", empty, "--out", out)
    assert "byte 2 is 0xff" in pretrain_fails(capsys, "vocabulary", broken, "--out", out)
    assert "has no room" in pretrain_fails(capsys, "vocabulary", text, "--size", 7, "--out", out)
    assert "exists already" in pretrain_fails(capsys, "vocabulary", text, "--out", tmp_path)
    assert "Not a directory" in pretrain_fails(
        capsys, "vocabulary", broken, "--out", empty / "out"
    )  # not: is not UTF-8
    flags = ["vocabulary", text, "--out", out, "--max-length", 9]  # a flag of the command, but not of this one
    assert pretrain_fails(capsys, *flags).endswith("unrecognized arguments: --max-length 9. See --help.")
    assert "a whole number, at least 1" in pretrain_fails(capsys, "vocabulary", text, "--size", "0", "--out", out)
    assert not out.exists()

    vocab = tmp_path / "vocab"
    pretrain("vocabulary", text, "--size", 60, "--out", vocab)
    assert "nowhere" in pretrain_fails(capsys, "prepare", text, "--vocab", tmp_path / "nowhere", "--out", out)
    assert "There is no text" in pretrain_fails(capsys, "prepare", empty, "--vocab", vocab, "--out", out)
    assert "byte 2 is 0xff" in pretrain_fails(capsys, "prepare", broken, "--vocab", vocab, "--out", out)
    assert "is no unfinished corpus" in pretrain_fails(capsys, "prepare", text, "--vocab", vocab, "--out", vocab)
    assert "name a folder outside of it" in pretrain_fails(capsys, "prepare", tmp_path, "--vocab", vocab, "--out", out)
    words = ["prepare", text, "--vocab", vocab, "--out", out]
    assert "from 0 to below 1" in pretrain_fails(capsys, *words, "--held-out", 1)
    assert "unrecognized arguments: --worker" in pretrain_fails(capsys, *words, "--worker")
    assert not out.exists()


def test_an_empty_folder_stays_if_nothing_is_learnt(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "empty.txt").touch()
    (tmp_path / "made").mkdir()
    for out in ("made", "not-made"):
        words = ["vocabulary", tmp_path / "empty.txt", "--out", tmp_path / out]
        assert "There is no text" in pretrain_fails(capsys, *words)
    assert {path.name for path in tmp_path.iterdir()} == {"empty.txt", "made"}


def test_help_needs_no_torch():
    code = "import sys, minibert.pretrain as p; p.build_parser(); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_text_from_which_little_is_learnt_is_told(text: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    """The losses of such runs look fine."""
    words = ["--size", "tiny", "--max-steps", 1, "--batch-size", 2, "--max-length", 16]
    pretrain("--corpus", text, "--vocab-size", 60, "--out", tmp_path / "good", *words)
    assert not [record for record in caplog.records if record.levelname == "WARNING"]
    lines = tmp_path / "lines.txt"
    lines.write_text("\n\n".join("γκρ" * 80 + f" {number}" for number in range(99)), encoding="utf-8")
    pretrain("--corpus", lines, "--vocab", tmp_path / "good", "--out", tmp_path / "bad", *words)
    unknown, random = (record.message for record in caplog.records if record.levelname == "WARNING")
    assert unknown.endswith(
        "% of the tokens are [UNK], from which nothing is learnt: the vocabulary lacks the letters of "
        "this text, or it has no spaces between its words."
    )
    assert random.startswith("100% of the pairs are random, since most documents are a single sentence")
    caplog.clear()
    pretrain("--corpus", lines, "--vocab-size", 60, "--no-next-sentence", "--out", tmp_path / "alone", *words)
    assert "random" not in caplog.text


def test_dropout_is_what_was_asked_for(text: Path, tmp_path: Path):
    """In a new model and in one that is gone on with; not asked for, it is the model's own."""
    words = ["--max-steps", 1, "--batch-size", 2, "--max-length", 16]
    pretrain("--corpus", text, "--size", "tiny", "--vocab-size", 60, "--out", tmp_path / "new", "--dropout", 0, *words)
    pretrain("--corpus", text, "--init-from", tmp_path / "new", "--out", tmp_path / "kept", *words)
    pretrain("--corpus", text, "--init-from", tmp_path / "new", "--out", tmp_path / "set", "--dropout", 0.3, *words)
    for name, rate in (("new", 0), ("kept", 0), ("set", 0.3)):
        config = BertModel.from_pretrained(tmp_path / name).config
        assert (config.hidden_dropout_prob, config.attention_probs_dropout_prob) == (rate, rate)


def test_a_narrow_model_begins_with_larger_weights(text: Path, tmp_path: Path):
    """By the root of how much narrower than BERT it is: else it stays on the plateau of unigram frequencies."""
    words = [
        "--size",
        "tiny",
        "--vocab-size",
        60,
        "--max-steps",
        1,
        "--batch-size",
        2,
        "--max-length",
        16,
        "--lr",
        1e-9,
    ]
    pretrain("--corpus", text, "--out", tmp_path / "new", *words)
    model = BertModel.from_pretrained(tmp_path / "new")
    assert model.config.initializer_range == pytest.approx(0.02 * (768 / 128) ** 0.5)
    cut_off = 0.88  # the deviation of a normal distribution without what lies beyond two of them
    first = model.embeddings.position_embeddings.weight
    assert first.std().item() == pytest.approx(cut_off * model.config.initializer_range, rel=0.02)


def test_what_is_pretrained_again_has_no_task_any_more(text: Path, tmp_path: Path):
    words = ["--max-steps", 1, "--batch-size", 2, "--max-length", 16]
    pretrain("--corpus", text, "--size", "tiny", "--vocab-size", 60, "--out", tmp_path / "new", *words)
    tuned = BertForSequenceClassification.from_pretrained(
        tmp_path / "new",
        problem_type="single_label_classification",
        task_specific_params={"minibert": {"task": "classification"}},
    )
    tuned.save_pretrained(tmp_path / "tuned")
    BertTokenizer.from_pretrained(tmp_path / "new").save_pretrained(tmp_path / "tuned")
    pretrain("--corpus", text, "--init-from", tmp_path / "tuned", "--out", tmp_path / "again", *words)
    assert saved_task(tmp_path / "again", Columns()).name == "mlm"
