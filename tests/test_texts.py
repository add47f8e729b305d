"""Tasks about whole texts: what is kept of a text that is too long for the model."""

from __future__ import annotations

import json
import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minibert import BertTokenizer, InputError
from minibert.tasks.classification import ClassificationTask
from minibert.tasks.task import Columns, Example, Examples
from minibert.tasks.texts import cut_middle, divide, equal_windows, mean_by_example, read_texts, text_features

from .helpers import word_tokenizer, write_table
from .test_commands import CommandError, call, one_line

WORDS = [f"w{number}" for number in range(40)]
CLS, SEP = 2, 3


def make_tokenizer(max_length: int) -> BertTokenizer:
    """Word number n has the id n + 5."""
    return word_tokenizer(*WORDS, model_max_length=max_length)


def words(*numbers: int) -> str:
    return " ".join(WORDS[number] for number in numbers)


def ids(*numbers: int) -> list[int]:
    return [number + 5 for number in numbers]


def features(text: str, text_b: str | None, max_length: int, long_texts: str) -> list[dict[str, object]]:
    asked = {"text": text} if text_b is None else {"text": text, "text_b": text_b}
    return text_features(Examples(Path("some.tsv"), [Example(asked)]), make_tokenizer(max_length), long_texts)


def test_what_is_kept_of_a_long_text():
    text = words(*range(10))
    rows = {mode: features(text, None, 6, mode) for mode in ("head", "tail", "both", "windows")}
    assert [row["input_ids"] for row in rows["head"]] == [[CLS, *ids(0, 1, 2, 3), SEP]]
    assert [row["input_ids"] for row in rows["tail"]] == [[CLS, *ids(6, 7, 8, 9), SEP]]
    assert [row["input_ids"] for row in rows["both"]] == [[CLS, *ids(0, 7, 8, 9), SEP]]  # a quarter, three quarters
    windows = [[CLS, *ids(0, 1, 2), SEP], [CLS, *ids(3, 4, 5), SEP], [CLS, *ids(6, 7, 8, 9), SEP]]
    assert [row["input_ids"] for row in rows["windows"]] == windows
    assert [row["example"] for row in rows["windows"]] == [0, 0, 0]


def test_what_is_kept_of_a_long_pair():
    row = features(words(0, 1), words(*range(2, 12)), 9, "tail")[0]  # 6 places for 12 words
    assert row["input_ids"] == [CLS, *ids(0, 1), SEP, *ids(8, 9, 10, 11), SEP]
    assert row["token_type_ids"] == [0] * 4 + [1] * 5


@given(st.text("ab w1", max_size=30), st.none() | st.text("ab w2", max_size=30), st.sampled_from(["tail", "both"]))
def test_a_text_that_fits_is_read_alike_in_every_way(text: str, text_b: str | None, long_texts: str):
    assert features(text, text_b, 100, long_texts) == features(text, text_b, 100, "head")
    if text_b is None:
        assert features(text, None, 100, "windows") == features(text, None, 100, "head")


@given(st.integers(0, 30), st.integers(0, 30), st.integers(1, 30))
def test_a_pair_fills_the_room_and_the_shorter_text_gives_way_last(first: int, second: int, room: int):
    kept = divide([[0] * first, [0] * second], room)
    assert sum(kept) == min(first + second, room)
    assert kept[0] <= first
    assert kept[1] <= second
    if min(first, second) <= room // 2:
        assert kept[first > second] == min(first, second)


@given(st.integers(0, 40), st.integers(1, 12), st.sampled_from([0.0, 0.25]))
def test_what_is_cut_lies_in_one_piece(length: int, size: int, share: float):
    kept = cut_middle(range(length), size, share)
    assert len(kept) == min(length, size)
    assert list(kept) == sorted(kept)
    assert sum(right - left > 1 for left, right in pairwise(kept)) <= 1


@given(st.lists(st.integers(), max_size=60), st.integers(1, 12))
def test_windows_hold_every_token_once_and_are_equally_long(tokens: list[int], size: int):
    windows = equal_windows(tokens, size)
    assert [token for window in windows for token in window] == tokens
    assert len(windows) == max(1, math.ceil(len(tokens) / size))
    lengths = {len(window) for window in windows}
    assert max(lengths) <= size
    assert max(lengths) - min(lengths) <= 1


def test_the_logits_of_the_windows_are_averaged_by_example():
    outputs = np.array([[1, 2], [3, 4], [5, 6], [10, 20]], dtype=np.float32)
    rows = [{"example": number} for number in (0, 1, 1, 2)]
    means = mean_by_example(outputs, rows)
    assert means.tolist() == [[1, 2], [4, 5], [10, 20]]
    assert means.dtype == np.float32


def test_windows_of_pairs_are_refused():
    with pytest.raises(InputError, match=r"windows is for single texts, but some\.tsv has pairs"):
        features("a", "b", 6, "windows")


def test_pairs_are_pairs_in_every_row(tmp_path: Path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "a", "label": "x"}\n{"text": "a", "text_b": "b", "label": "y"}\n')
    with pytest.raises(InputError, match="line 1: there is no column 'text_b'"):
        read_texts(path, Columns(), str)


def test_what_is_no_label_is_told_in_a_few_words(tmp_path: Path):
    (tmp_path / "x.jsonl").write_text(json.dumps({"text": "a", "label": ["x" * 999]}))
    with pytest.raises(InputError, match=r"'label' must be a label, .* number: found \['x{58}\.$"):
        ClassificationTask(Columns()).read(tmp_path / "x.jsonl")


@pytest.mark.parametrize("long_texts", ["head", "tail", "both", "windows"])
def test_no_room_for_text_is_told(long_texts: str):
    with pytest.raises(InputError, match="2 tokens leave no room for text"):
        features("w1", None, 2, long_texts)


def test_a_model_remembers_how_it_reads_long_texts(small_model: Path, tmp_path: Path, capsys):
    """The label is told by the last words alone: who reads the beginning can get no more than half of them right."""
    rows = [(f"{'a ' * 8}{word} {word}", word) for word in ("good", "bad")]
    train, dev = write_table(tmp_path / "train.tsv", rows * 10), write_table(tmp_path / "dev.tsv", rows)
    out = tmp_path / "out"
    flags = ["--train", train, "--dev", dev, "--model", small_model, "--out", out, "--max-length", 8]
    call("finetune", *flags, "--long-texts", "tail", "--epochs", 12, "--batch-size", 4, "--lr", 5e-3)
    capsys.readouterr()
    call("evaluate", "--model", out, "--data", dev)
    assert json.loads(capsys.readouterr().out)["accuracy"] == 1


def test_a_model_for_pairs_asks_for_pairs(small_model: Path, tmp_path: Path, capsys):
    rows = [("good", "bad", "no"), ("good", "good", "yes")]
    header = ("text", "text_b", "label")
    train, dev = write_table(tmp_path / "train.tsv", rows * 4, header), write_table(tmp_path / "dev.tsv", rows, header)
    out = tmp_path / "out"
    call("finetune", "--train", train, "--dev", dev, "--model", small_model, "--out", out, "--epochs", 1)
    capsys.readouterr()
    call("predict", "--model", out, "good", "bad")
    assert len(capsys.readouterr().out.splitlines()) == 1
    with pytest.raises(CommandError, match="2"):
        call("predict", "--model", out, "good")
    assert "The model judges pairs: every two texts are one, but there are 1" in one_line(capsys.readouterr().err)
    single = write_table(tmp_path / "single.tsv", [("good", "no")])
    with pytest.raises(CommandError, match="2"):
        call("evaluate", "--model", out, "--data", single)
    assert "single.tsv: the model judges pairs, but there is no column 'text_b'" in one_line(capsys.readouterr().err)
