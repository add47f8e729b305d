"""Tagging and multiple choice from one end to the other: finetune, predict, evaluate, transformers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from minibert import finetune
from minibert.training.flags import TASKS_OF

from .test_commands import RESULTS, CommandError, call, one_line

SENTENCES = ["Anna I-PER\nmet O\nBob I-PER\nin O\nNew I-LOC\nYork I-LOC\n", "Paris I-LOC\nis O\nold O\n"]
QUESTIONS = [
    {"question": "Who sings?", "choices": ["A stone does.", "A bird does."], "label": 1},
    {"question": "Who swims?", "choices": ["A fish does.", "A stone does.", "A tree does."], "label": "A fish does."},
]


def lines(out: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.splitlines()]


@pytest.fixture(scope="module")
def tagger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run."""
    folder = tmp_path_factory.mktemp("tagger")
    (folder / "train.txt").write_text("\n".join(SENTENCES * 16))
    (folder / "dev.txt").write_text("\n".join(SENTENCES))
    flags = ["--train", folder / "train.txt", "--dev", folder / "dev.txt", "--test", folder / "dev.txt"]
    call("finetune", "--task", "ner", *flags, "--out", folder / "out", "--batch-size", 4, "--lr", 1e-3)
    return folder / "out"


@pytest.fixture(scope="module")
def chooser(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run."""
    folder = tmp_path_factory.mktemp("chooser")
    text = "".join(json.dumps(question) + "\n" for question in QUESTIONS)
    (folder / "train.jsonl").write_text(text * 8)
    (folder / "dev.jsonl").write_text(text)
    flags = ["--train", folder / "train.jsonl", "--dev", folder / "dev.jsonl", "--test", folder / "dev.jsonl"]
    call("finetune", "--task", "choice", *flags, "--out", folder / "out", "--batch-size", 4, "--lr", 1e-3)
    return folder / "out"


def test_runs_leave_every_file_they_promise(tagger: Path, chooser: Path):
    for folder in (tagger, chooser):
        assert {path.name for path in folder.iterdir()} == RESULTS


def test_a_tagger_learns_and_writes_the_tags_as_it_found_them(tagger: Path):
    metrics = json.loads((tagger / "metrics.json").read_text())
    assert metrics["f1"] == metrics["test"]["f1"] == 1
    assert set(metrics["per_type"]) == {"LOC", "PER"}
    found = lines((tagger / "predictions.jsonl").read_text())
    assert [line["split"] for line in found] == ["dev", "dev", "test", "test"]
    assert found[1] == {
        "split": "dev",
        "tokens": ["Paris", "is", "old"],
        "tags": ["I-LOC", "O", "O"],
        "predicted": ["I-LOC", "O", "O"],
        "entities": [
            {"text": "Paris", "type": "LOC", "start": 0, "end": 5, "probability": pytest.approx(0.9, abs=0.1)}
        ],
    }
    assert "<mark" not in (tagger / "report.html").read_text()  # for there is no mistake to show


def test_a_tagger_answers_about_plain_text(tagger: Path, capsys: Any):
    call("predict", "--model", tagger, "Anna met Bob in  New York")
    (line,) = lines(capsys.readouterr().out)
    assert [line["text"][entity["start"] : entity["end"]] for entity in line["entities"]] == ["Anna", "Bob", "New York"]


def test_a_tagger_reads_a_txt_of_columns_as_columns_and_another_as_texts(tagger: Path, tmp_path: Path, capsys: Any):
    call("predict", "--model", tagger, "--input", tagger.parent / "dev.txt")
    assert [line["tokens"] for line in lines(capsys.readouterr().out)][1] == ["Paris", "is", "old"]
    (tmp_path / "a.txt").write_text("Anna met Bob\nParis is old\n")
    call("predict", "--model", tagger, "--input", tmp_path / "a.txt")
    assert [line["text"] for line in lines(capsys.readouterr().out)] == ["Anna met Bob", "Paris is old"]


def test_a_tagger_is_judged_by_another_file(tagger: Path, tmp_path: Path, capsys: Any):
    rows = [
        {"tokens": ["Paris", "is"], "tags": ["B-LOC", "O"], "from": "a"},
        {"tokens": ["Bob"], "tags": ["O"], "from": "b"},
    ]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    call("evaluate", "--model", tagger, "--data", tmp_path / "a.jsonl", "--slice", "from")
    metrics = json.loads(capsys.readouterr().out)
    assert metrics["recall"] == 1
    assert metrics["slices"]["a"]["f1"] == 1


def test_transformers_tags_with_the_same_model(tagger: Path):
    words = ["Anna", "met", "Bob", "in", "New", "York"]
    model = transformers.AutoModelForTokenClassification.from_pretrained(tagger)
    encoding = transformers.AutoTokenizer.from_pretrained(tagger)(words, is_split_into_words=True, return_tensors="pt")
    with torch.no_grad():
        best = model(**encoding).logits[0].argmax(1).tolist()
    word_ids = encoding.word_ids()
    tags = [model.config.id2label[best[word_ids.index(word)]] for word in range(len(words))]
    assert tags == ["B-PER", "O", "B-PER", "O", "B-LOC", "I-LOC"]


def test_a_chooser_judges_questions_with_any_number_of_choices(chooser: Path, tmp_path: Path, capsys: Any):
    metrics = json.loads((chooser / "metrics.json").read_text())
    assert metrics["accuracy"] == metrics["test"]["accuracy"] == 1
    assert metrics["chance"] == pytest.approx((1 / 2 + 1 / 3) / 2)
    asked = {"question": "Who sings?", "choices": ["A fish does.", "A bird does.", "A tree does.", "A stone does."]}
    (tmp_path / "a.jsonl").write_text(json.dumps(asked))
    call("predict", "--model", chooser, "--input", tmp_path / "a.jsonl")
    (answer,) = lines(capsys.readouterr().out)
    assert len(answer["probabilities"]) == 4
    model = transformers.AutoModelForMultipleChoice.from_pretrained(chooser)
    tokenizer = transformers.AutoTokenizer.from_pretrained(chooser)
    encoding = tokenizer([asked["question"]] * 4, asked["choices"], padding=True, return_tensors="pt")
    with torch.no_grad():
        theirs = model(**{key: value[None] for key, value in encoding.items()}).logits.softmax(1)[0]
    assert answer["probabilities"] == pytest.approx(theirs.tolist(), abs=1e-5)


@pytest.mark.parametrize(
    ("task", "name", "text", "problem"),
    [
        ("ner", "a.txt", "Anna I-PER\nmet\n", "line 2: 2 columns are needed"),
        ("ner", "a.txt", "Anna I-PER\nmet PER\n", "line 1: tag 2 is 'PER'"),
        ("choice", "a.jsonl", '{"question": "Who?", "choices": ["a", "b"]}', "no column 'label'"),
        ("choice", "a.jsonl", '{"question": "Who?", "choices": ["a", "b"], "label": 2}', "line 1: the label must be"),
    ],
)
def test_a_bad_file_ends_with_one_line_and_nothing_written(
    task: str, name: str, text: str, problem: str, tmp_path: Path, capsys: Any
):
    (tmp_path / name).write_text(text)
    flags = ["--train", tmp_path / name, "--dev", tmp_path / name, "--out", tmp_path / "out"]
    with pytest.raises(CommandError, match="2"):
        call("finetune", "--task", task, *flags)
    assert problem in one_line(capsys.readouterr().err)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_the_defaults_of_flags_for_some_tasks_are_those_of_the_command():
    parser = finetune.build_parser()
    assert {flag: parser.get_default(flag) for flag, _, _ in TASKS_OF} == {flag: usual for flag, usual, _ in TASKS_OF}


@pytest.mark.parametrize("command", ["evaluate", "predict", "inspect"])
def test_a_column_that_the_task_does_not_read_is_refused(command: str, tagger: Path, tmp_path: Path, capsys: Any):
    (tmp_path / "a.txt").write_text(SENTENCES[0])
    read = {
        "evaluate": ["--model", tagger, "--data", tmp_path / "a.txt"],
        "predict": ["--model", tagger, "--input", tmp_path / "a.txt"],
        "inspect": [tmp_path / "a.txt", "--task", "ner"],
    }[command]
    call(command, *read, "--text-column", 1)
    capsys.readouterr()
    with pytest.raises(CommandError, match="2"):
        call(command, *read, "--text-b-column", "b")
    said = one_line(capsys.readouterr().err)
    assert "--text-b-column is for --task classification or" in said
    assert "not for ner" in said


@pytest.mark.parametrize(
    ("task", "flags"),
    [("mlm", ["--text-column", "before"]), ("nsp", ["--text-column", "before", "--text-b-column", "after"])],
)
def test_what_is_only_asked_reads_columns_of_any_name(task: str, flags: list[str], tmp_path: Path):
    (tmp_path / "a.tsv").write_text("before\tafter\nIt [MASK].\tWe got wet.\n")
    call("predict", "--model", "minibert-tiny-uncased", "--task", task, "--input", tmp_path / "a.tsv", *flags)
