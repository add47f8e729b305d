"""Several labels for a text: scikit-learn's metrics, thresholds, and files with lists."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import sklearn.metrics as reference
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from minibert import InputError
from minibert.tasks.multilabel import MultilabelTask, best_threshold, multilabel_metrics
from minibert.tasks.task import Columns, Example, Examples

from .helpers import make_model
from .test_commands import CommandError, call, one_line

tables = st.tuples(st.integers(1, 20), st.integers(1, 5)).flatmap(
    lambda shape: st.tuples(arrays(np.bool_, shape), arrays(np.bool_, shape))
)


@given(tables)
def test_no_same_labels_for_all_texts_are_better_than_the_baseline(case):
    truths, _ = case
    names = [f"label {i}" for i in range(truths.shape[1])]
    constants = [np.tile(row, (len(truths), 1)) for row in product([False, True], repeat=len(names))]
    best = max(multilabel_metrics(truths, constant, names)["f1_micro"] for constant in constants)
    assert multilabel_metrics(truths, truths, names)["baseline"] == pytest.approx(best)


@settings(deadline=None)  # scikit-learn takes its time
@given(tables)
def test_metrics_are_those_of_scikit_learn(case):
    truths, predictions = case
    names = [f"label {i}" for i in range(truths.shape[1])]
    ours = multilabel_metrics(truths, predictions, names)
    if len(names) == 1:  # scikit-learn takes one column for ordinary labels
        theirs = reference.f1_score(truths[:, 0], predictions[:, 0], zero_division=0)
        assert ours["f1_micro"] == ours["f1_macro"] == pytest.approx(theirs)
        return
    for average in ("micro", "macro"):
        assert ours[f"f1_{average}"] == pytest.approx(
            reference.f1_score(truths, predictions, average=average, zero_division=0)
        )
    assert ours["precision_micro"] == pytest.approx(
        reference.precision_score(truths, predictions, average="micro", zero_division=0)
    )
    assert ours["recall_micro"] == pytest.approx(
        reference.recall_score(truths, predictions, average="micro", zero_division=0)
    )
    assert ours["subset_accuracy"] == pytest.approx(reference.accuracy_score(truths, predictions))
    theirs = reference.precision_recall_fscore_support(truths, predictions, zero_division=0)
    for name, numbers in zip(names, zip(*theirs, strict=True), strict=True):
        assert tuple(ours["per_label"][name].values()) == pytest.approx(numbers)


@given(st.lists(st.tuples(st.integers(0, 10), st.booleans()), min_size=1, max_size=25))
def test_no_threshold_has_a_better_f1_than_the_chosen_one(pairs: list[tuple[int, bool]]):
    probabilities = np.array([tenths / 10 for tenths, _ in pairs])
    truths = np.array([truth for _, truth in pairs])
    threshold = best_threshold(probabilities, truths)
    if not truths.any():
        assert threshold == 0.5
        return

    def f1(at: float) -> float:
        predictions = probabilities >= at
        return 2 * (truths & predictions).sum() / (truths.sum() + predictions.sum())

    assert f1(threshold) == max(f1(at) for at in probabilities)


def test_a_threshold_lies_in_the_middle_of_the_gap():
    probabilities, truths = np.array([0.1, 0.9, 0.3, 0.2]), np.array([False, True, True, False])
    assert best_threshold(probabilities, truths) == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("value", "labels"),
    [
        ("", []),
        ("b, a", ["a", "b"]),
        ("a,a,", ["a"]),
        ([], []),
        (["b", 3], ["3", "b"]),
        (["a, b"], ["a, b"]),  # a name in a list may have a comma
    ],
)
def test_how_labels_are_written(value: object, labels: list[str]):
    assert MultilabelTask(Columns()).parse_label(value) == labels


@pytest.mark.parametrize("value", [None, 1.5, True, {"a": 1}, [["a"]], [None]])
def test_what_are_no_labels(value: object):
    with pytest.raises(ValueError, match="names with ',' between them, or a list of names"):
        MultilabelTask(Columns()).parse_label(value)


def make_examples(*labels: list[str]) -> Examples:
    return Examples(Path("train.jsonl"), [Example({"text": "a"}, names, line) for line, names in enumerate(labels, 1)])


def test_thresholds_are_tuned_kept_and_used():
    examples = make_examples(["a"], ["a", "b"], [])
    task = MultilabelTask(Columns(), label_separator="|")
    task.learn_labels(examples)
    logits = np.array([[-1, -3], [-2, -2], [-5, -4]], dtype=np.float32)  # right in their order, but all below 0.5
    features = [{"example": number} for number in range(3)]
    assert [answer["labels"] for answer in task.answers(examples, features, logits)] == [[], [], []]
    task.tune(examples, features, logits)
    config = make_model("BertForSequenceClassification").config.replace(**task.config_changes())
    again = MultilabelTask.from_config(config, Columns())
    answers = again.answers(examples, features, logits)
    assert [answer["labels"] for answer in answers] == [["a"], ["a", "b"], []]
    assert again.metrics(examples, answers)["subset_accuracy"] == 1
    assert again.label_separator == "|"
    assert config.problem_type == "multi_label_classification"


def test_huge_logits_are_probabilities():
    answers = MultilabelTask(Columns(), ["no", "yes"]).read_logits(np.array([[-1e4, 1e4]], dtype=np.float32))
    assert answers == [{"labels": ["yes"], "probabilities": {"no": 0.0, "yes": 1.0}}]


def test_faults_of_labels_are_told():
    task = MultilabelTask(Columns())
    with pytest.raises(InputError, match="none of the 2 rows has a label"):
        task.learn_labels(make_examples([], []))
    task.learn_labels(make_examples(["a"]))
    dev = make_examples(["a"], ["a", "z"])
    with pytest.raises(InputError, match=r"line 2: label 'z' is unknown\. The model knows a"):
        task.target(dev, dev[1])


def test_a_run_end_to_end(small_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    labels = {"a good film": ["film", "praise"], "bad sound": ["sound"], "good sound": ["praise", "sound"], "a": []}
    rows = [json.dumps({"text": text, "label": names}) + "\n" for text, names in labels.items()]
    (tmp_path / "train.jsonl").write_text("".join(rows * 4))
    (tmp_path / "dev.jsonl").write_text("".join(rows))
    out = tmp_path / "out"
    files = ["--train", tmp_path / "train.jsonl", "--dev", tmp_path / "dev.jsonl"]
    flags = ["--task", "multilabel", *files, "--model", small_model, "--out", out]
    call("finetune", *flags, "--epochs", 2, "--batch-size", 4, "--lr", 1e-2)
    metrics = json.loads((out / "metrics.json").read_text())
    lines = [json.loads(line) for line in (out / "predictions.jsonl").read_text().splitlines()]
    assert [line["labels"] for line in lines] == list(labels.values())
    right = [line["labels"] == line["predicted"] for line in lines]
    assert metrics["subset_accuracy"] == sum(right) / 4
    capsys.readouterr()
    call("evaluate", "--model", out, "--data", tmp_path / "dev.jsonl")
    found = json.loads(capsys.readouterr().out)
    assert all(found[name] == metrics[name] for name in ("f1_micro", "f1_macro", "per_label"))
    call("predict", "--model", out, "a good film")
    assert json.loads(capsys.readouterr().out)["labels"] == lines[0]["predicted"]
    with pytest.raises(CommandError, match="2"):  # whose head has the same shape
        call("predict", "--model", out, "--task", "ner", "a good film")
    assert "was trained for --task multilabel, not for ner" in one_line(capsys.readouterr().err)
    assert "Labels, the weakest first" in (out / "report.html").read_text()
    theirs = transformers.AutoModelForSequenceClassification.from_pretrained(out)
    assert theirs.config.problem_type == "multi_label_classification"
    assert theirs.config.id2label == {0: "film", 1: "praise", 2: "sound"}


def test_the_epoch_that_is_kept_is_the_best_with_its_own_thresholds(small_model: Path, tmp_path: Path):
    names = [f"w{number}" for number in range(12)]  # each so rare that no probability comes near 0.5
    rows = "".join(json.dumps({"text": f"a good {name}", "label": [name]}) + "\n" for name in names)
    (tmp_path / "rows.jsonl").write_text(rows)
    files = ["--train", tmp_path / "rows.jsonl", "--dev", tmp_path / "rows.jsonl"]
    call("finetune", "--task", "multilabel", *files, "--model", small_model, "--out", tmp_path / "out", "--epochs", 3)
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    log = [json.loads(line) for line in (tmp_path / "out" / "log.jsonl").read_text().splitlines()]
    figures = {entry["epoch"]: entry["eval_f1_micro"] for entry in log if "eval_f1_micro" in entry}
    assert figures[metrics["best_epoch"]] == max(figures.values()) == metrics["f1_micro"] > 0


def test_an_unknown_label_gets_one_line_and_nothing_is_written(small_model: Path, tmp_path: Path, capsys):
    (tmp_path / "train.tsv").write_text("text\tlabel\na film\tfilm|praise\nbad\t\n")
    (tmp_path / "dev.tsv").write_text("text\tlabel\na film\tfilm|so-so\n")
    files = ["--train", tmp_path / "train.tsv", "--dev", tmp_path / "dev.tsv", "--model", small_model]
    with pytest.raises(CommandError, match="2"):
        call("finetune", "--task", "multilabel", *files, "--label-separator", "|", "--out", tmp_path / "out")
    assert "dev.tsv, line 2: label 'so-so' is unknown. The model knows film, praise" in one_line(
        capsys.readouterr().err
    )
    assert not (tmp_path / "out").exists()


def test_a_separator_must_be_something(capsys):
    with pytest.raises(CommandError, match="2"):
        call("finetune", "--task", "multilabel", "--label-separator", "")
    assert "--label-separator must be a character or more" in one_line(capsys.readouterr().err)
