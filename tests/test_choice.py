"""Multiple choice: files, features, answers, and questions made from text."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from minibert import BertTokenizer, InputError
from minibert.commandline import run
from minibert.data import continuations
from minibert.data.tables import read_table
from minibert.tasks.choice import ChoiceTask
from minibert.tasks.task import Columns, Example, Examples, Truth

from .helpers import make_model

WORDS = "[PAD] [UNK] [CLS] [SEP] [MASK] who sings ? a the bird stone fish".split()
GOOD: list[dict[str, Any]] = [
    {"question": "Who sings?", "choices": ["a stone", "the bird"], "label": 1},
    {"question": "Who sings?", "choices": ["a fish", "a stone", "the bird"], "label": "a fish"},
]


def read(folder: Path, *rows: object, truths: Truth = "needed") -> Examples:
    path = folder / "a.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return ChoiceTask(Columns()).read(path, truths)


def test_a_label_is_a_number_or_the_text_of_a_choice(tmp_path):
    assert read(tmp_path, *GOOD).truths == [1, 0]
    digits = {"question": "2 + 2?", "choices": ["3", "1", "4"], "label": "1"}
    assert read(tmp_path, digits).truths == [1]
    unlabelled = [{key: row[key] for key in ("question", "choices")} for row in GOOD]
    for rows in (unlabelled, [row | {"label": None} for row in unlabelled]):
        assert not read(tmp_path, *rows, truths="if told").have_truth
    with pytest.raises(InputError, match="line 1: there is no column 'label', but question, choices"):
        read(tmp_path, unlabelled[0], GOOD[1], truths="if told")


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"choices": ["a"]}, "'choices' must be a list of two texts or more"),
        ({"choices": "a, b"}, "'choices' must be a list of two texts or more"),
        ({"choices": ["a", 2]}, "'choices' must be a list of two texts or more"),
        ({"label": 2}, "line 1: the label must be a number from 0 to 1, or the text of one choice: found 2"),
        ({"label": -1}, "the label must be a number from 0 to 1"),
        ({"label": True}, "the label must be a number from 0 to 1"),
        ({"label": "a tree"}, 'the label must be a number from 0 to 1, or the text of one choice: found "a tree"'),
        ({"choices": ["a", "a"], "label": "a"}, "the text of one choice"),
        ({"question": 5}, "'question' must be text"),
        ({"question": None}, "'question' must be text"),
    ],
)
def test_a_bad_row_is_told_in_a_sentence(tmp_path, changes, problem):
    with pytest.raises(InputError, match=problem):
        read(tmp_path, GOOD[0] | changes)


def test_other_formats_and_bare_texts_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"reads \.jsonl files with question, choices and label"):
        ChoiceTask(Columns()).read(tmp_path / "a.tsv")
    with pytest.raises(InputError, match="A question needs its choices"):
        ChoiceTask(Columns()).from_texts(["Who sings?"])


def test_every_choice_is_a_row_and_questions_may_differ_in_their_number(tmp_path):
    task, tokenizer = ChoiceTask(Columns()), BertTokenizer({word: number for number, word in enumerate(WORDS)})
    found = read(tmp_path, *GOOD)
    features = task.features(found, tokenizer)
    assert [WORDS[i] for i in features[0]["input_ids"][1]] == "[CLS] who sings ? [SEP] the bird [SEP]".split()
    assert features[0]["token_type_ids"][1] == [0, 0, 0, 0, 0, 1, 1, 1]
    assert [feature["labels"] for feature in features] == [1, 0]
    batch = task.collate([{key: feature[key] for key in feature} for feature in features])
    assert batch["choices"] == [2, 3]
    assert batch["labels"].tolist() == [1, 0]
    model = make_model("BertForMultipleChoice")
    with torch.no_grad():
        logits = model(**batch).logits
    (first, second) = task.answers(found, features, logits.numpy())
    alone = model(torch.tensor([features[0]["input_ids"]]), None, torch.tensor([features[0]["token_type_ids"]])).logits
    assert first["probabilities"] == pytest.approx(alone.softmax(1)[0].tolist(), abs=1e-5)
    assert sum(second["probabilities"]) == pytest.approx(1, abs=1e-5)
    assert second["choice"] == GOOD[1]["choices"][second["label"]]


def test_metrics_and_report_by_hand():
    task = ChoiceTask(Columns())
    found = Examples(Path("dev.jsonl"), [Example({"question": "Who?", "choices": ["<a>", "b"]}, 0)] * 2)
    answers = task.answers(found, [], np.array([[1.0, 0.0, -100.0], [0.0, np.log(3), -100.0]], dtype=np.float32))
    assert [(answer["label"], answer["choice"]) for answer in answers] == [(0, "<a>"), (1, "b")]
    assert answers[1]["probability"] == 0.75
    metrics = task.metrics(found, answers)
    assert metrics == {"accuracy": 0.5, "chance": 0.5}
    page = "".join(task.report(found, answers, metrics))
    assert "0.750" in page
    assert "&lt;a&gt;" in page


# --------------------------------------------------------------------------------------------- questions out of text


def sentence(number: int) -> str:
    return f"Here is the sentence number {number}."


def test_the_right_choice_is_the_next_sentence_and_all_are_of_the_document():
    document = [" ".join(map(sentence, range(start, start + 5))) for start in range(0, 100, 5)]
    questions = list(continuations.questions_of(document, 4, random.Random(0)))
    assert len(questions) == 11
    numbers = {sentence(number): number for number in range(100)}
    for question in questions:
        assert len({question["question"], *question["choices"]}) == 5
        assert numbers[question["choices"][question["label"]]] == numbers[question["question"]] + 1
        assert all(choice in numbers for choice in question["choices"])
    assert len({question["label"] for question in questions}) > 1


def test_short_sentences_and_short_documents_give_no_questions():
    document = ["Yes. No. Why? Because. Here is one longer sentence. Here is another longer sentence."]
    assert not list(continuations.questions_of(document, 2, random.Random(0)))
    assert list(continuations.questions_of([*document, "And here is a third one."], 2, random.Random(0)))


def test_draws_are_repeatable_and_no_more_than_asked_for():
    documents = [[" ".join(map(sentence, range(number, number + 9)))] for number in range(0, 900, 9)]
    draws = [continuations.draw(iter(documents), 20, 4, random.Random(seed)) for seed in (0, 0, 1)]
    assert len(draws[0]) == 20
    assert draws[0] == draws[1] != draws[2]


def test_the_command_writes_a_file_that_the_task_reads(tmp_path, capsys):
    (tmp_path / "a.txt").write_text("\n\n".join(" ".join(map(sentence, range(9 * n, 9 * n + 9))) for n in range(20)))
    out = tmp_path / "train.jsonl"
    run(continuations.build_parser(), continuations.main, ["--corpus", str(tmp_path / "a.txt"), "--out", str(out)])
    assert capsys.readouterr().out.startswith("20 questions with 4 choices")
    assert len(read_table(out).rows) == len(ChoiceTask(Columns()).read(out)) == 20


def test_the_command_does_not_write_over_the_text_that_it_reads(tmp_path, capsys):
    text = tmp_path / "story.txt"
    text.write_text(before := " ".join(map(sentence, range(9))))
    with pytest.raises(SystemExit):
        run(continuations.build_parser(), continuations.main, ["--corpus", str(tmp_path), "--out", str(text)])
    assert "story.txt is a file that is read: choose another name to write to." in capsys.readouterr().err
    assert text.read_text() == before


@pytest.mark.parametrize(
    ("text", "flags", "problem"),
    [
        ("Too short.", [], "No document has 5 different sentences"),
        ("Too short.", ["--choices", "1"], "--choices must be at least 2"),
    ],
)
def test_the_command_tells_what_is_wrong_and_writes_nothing(tmp_path, capsys, text, flags, problem):
    (tmp_path / "a.txt").write_text(text)
    arguments = ["--corpus", str(tmp_path / "a.txt"), "--out", str(tmp_path / "b.jsonl"), *flags]
    with pytest.raises(SystemExit) as end:
        run(continuations.build_parser(), continuations.main, arguments)
    assert end.value.code == 2
    assert problem in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
