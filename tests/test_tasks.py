"""What all tasks have in common: a saved model knows its task again."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minibert import BertConfig, Trainer, TrainingArguments, finetune
from minibert.errors import InputError
from minibert.tasks import TASKS, task_class
from minibert.tasks.classification import ClassificationTask, confusions
from minibert.tasks.task import Columns, Example, Examples, prediction_lines
from minibert.tasks.texts import TextTask
from minibert.training import finetuning
from minibert.training.judging import saved_task
from minibert.training.report import forward_pass

from .helpers import SMALL, make_model, spelling_tokenizer


@pytest.mark.parametrize("name", TASKS)
def test_a_task_is_found_by_its_name(name: str):
    assert task_class(name).name == name


def test_a_model_knows_its_task_again(tmp_path: Path):
    model = make_model("BertForSequenceClassification")
    model.config = model.config.replace(**ClassificationTask(Columns(), ["dull", "funny"]).config_changes())
    model.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["task_specific_params"]["minibert"]["task"]
    task = saved_task(tmp_path, Columns())
    assert isinstance(task, ClassificationTask)
    assert task.names == ["dull", "funny"]


def test_a_classifier_from_elsewhere_is_taken_for_one(tmp_path: Path):
    make_model("BertForSequenceClassification").save_pretrained(tmp_path)
    task = saved_task(tmp_path, Columns())
    assert isinstance(task, ClassificationTask)
    assert task.names[:2] == ["LABEL_0", "LABEL_1"]


def test_a_model_without_a_task_is_refused(tmp_path: Path):
    make_model("BertModel").save_pretrained(tmp_path)
    config = tmp_path / "config.json"
    config.write_text(config.read_text().replace('"BertModel"', '"BertForGuessing"'))
    with pytest.raises(InputError, match=r"no fine-tuned model \(BertForGuessing in its config\)"):
        saved_task(tmp_path, Columns())


@pytest.mark.parametrize("settings", [5, ["qa"], {"task": ["qa"]}, {"task": "singing"}])
def test_odd_settings_in_a_config_are_no_task(settings: object, tmp_path: Path):
    model = make_model("BertModel")
    model.config = model.config.replace(task_specific_params={"minibert": settings})
    model.save_pretrained(tmp_path)
    if isinstance(settings, dict):
        with pytest.raises(InputError, match="is no fine-tuned model"):
            saved_task(tmp_path, Columns())
    else:
        assert saved_task(tmp_path, Columns()).name == "similarity"  # as any plain encoder


def test_lines_of_predictions_tell_the_truth_only_where_it_is_known():
    task = ClassificationTask(Columns(), ["no", "yes"])
    answers = [{"label": "yes", "probability": 0.75}]
    rows = [Example({"text": "Fine."}, "no")]
    known = [*prediction_lines(task, "dev", Examples(Path("dev.tsv"), rows), answers)]
    assert known == [{"split": "dev", "text": "Fine.", "label": "no", "predicted": "yes", "probability": 0.75}]
    unknown = [*prediction_lines(task, "test", Examples(Path("test.tsv"), rows, have_truth=False), answers)]
    assert unknown == [{"split": "test", "text": "Fine.", "predicted": "yes", "probability": 0.75}]


def test_classes_too_many_for_a_matrix_are_shown_as_the_pairs_that_are_confused():
    names = [f"class {i}" for i in range(150)]
    matrix = [[90 if i == j else 0 for j in range(150)] for i in range(150)]
    matrix[3][7], matrix[8][2] = 10, 30
    page = "".join(confusions(matrix, names))
    assert "Classes that are confused most" in page
    assert "<svg" not in page
    first, second = page.index("class 8"), page.index("class 3")
    assert first < second  # 30 times before 10 times
    assert "25 %" in page  # 30 of 120
    assert "class 7<" in page
    assert "Confusion matrix" in "".join(confusions([[1, 0], [0, 1]], ["no", "yes"]))


FILES: dict[str, list[dict[str, Any]]] = {
    "classification": [{"text": "a good film", "label": "g"}, {"text": "bad", "label": "b"}],
    "regression": [{"text": "a good film", "label": 4.5}, {"text": "bad", "label": 1}],
    "multilabel": [{"text": "a good film", "label": ["g", "f"]}, {"text": "bad", "label": []}],
    "ner": [{"tokens": ["good", "film"], "tags": ["B-X", "O"]}],
    "qa": [{"question": "who?", "context": "a good sound", "answers": [{"text": "good", "answer_start": 2}]}],
    "choice": [{"question": "a", "choices": ["b", "c"], "label": 0}],
    "summarization": [{"article": "The film is good. It was bad.", "summary": "good film"}],
    "similarity": [{"text": "a good film", "text_b": "good"}, {"text": "bad", "text_b": "film"}],
}


@pytest.mark.parametrize("name", FILES)
def test_a_report_shows_the_forward_pass_of_one_example(name: str, tmp_path: Path):
    path, tokenizer = tmp_path / "data.jsonl", spelling_tokenizer()
    path.write_text("".join(json.dumps(row) + "\n" for row in FILES[name]))
    task = task_class(name).from_arguments(finetune.build_parser().parse_args([]))
    examples = task.read(path)
    task.learn_labels(examples)
    config = SMALL.replace(vocab_size=len(tokenizer), max_position_embeddings=64, **task.config_changes())
    tokenizer.model_max_length = 64
    trainer = Trainer(task.model_class(config), TrainingArguments(disable_tqdm=True), task.collate)
    features = task.features(examples, tokenizer)
    steps = finetuning._one_pass(trainer, features)
    logits = trainer.predict(features[:1]).predictions
    for found, expected in zip(*(value if isinstance(value, tuple) else (value,) for value in (
        steps.output.to_tuple(), logits
    )), strict=True):  # fmt: skip
        np.testing.assert_allclose(found.reshape(expected.shape), expected, atol=1e-6)
    assert forward_pass(steps).count("<tr>") == len(steps.rows) + 1


@pytest.mark.parametrize("name", TASKS)
def test_the_example_at_the_end_of_a_run_is_one_that_predict_takes(name: str):
    task = task_class(name).from_config(BertConfig(id2label={0: "O", 1: "B-PER"}), Columns())
    given = shlex.split(task.to_try())
    if given[0] == "--input":
        with pytest.raises(InputError, match="for --input"):
            task.from_texts(["a text"])
    else:
        assert len(task.from_texts(given)) == 1
    if isinstance(task, TextTask):
        task.pairs = True
        assert task.from_texts(shlex.split(task.to_try()))[0].given == {"text": "one text", "text_b": "and another"}


@pytest.mark.parametrize(
    ("task", "name", "text"),
    [
        ("classification", "a.jsonl", '{"text": "good", "label": 1.0}'),
        ("multilabel", "a.jsonl", '{"text": "good", "label": 1.0}'),
        ("regression", "a.tsv", "text\ttext_b\tlabel\ngood\tbad\thigh\n"),
        ("similarity", "a.tsv", "text\ttext_b\tlabel\ngood\tbad\thigh\n"),
        ("choice", "a.jsonl", '{"question": "Who?", "choices": ["He.", "She."], "label": 2}'),
        ("ner", "a.jsonl", '{"tokens": ["Anna"], "tags": "O"}'),
        ("summarization", "a.jsonl", '{"article": "Rain.", "summary": 5}'),
        ("qa", "a.jsonl", '{"question": "Who?", "context": "Anna.", "answers": 5}'),
    ],
)
def test_truths_that_cannot_be_are_refused_unless_they_are_ignored(task: str, name: str, text: str, tmp_path: Path):
    (tmp_path / name).write_text(text)
    reader = task_class(task).from_config(BertConfig(), Columns())
    with pytest.raises(InputError):
        reader.read(tmp_path / name, "if told")
    examples = reader.read(tmp_path / name, "ignored")
    assert (len(examples), examples.have_truth, examples.truths) == (1, False, [None])
