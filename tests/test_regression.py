"""Regression: scipy's correlations, and numbers in the file's own unit."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
import transformers
from hypothesis import assume, given
from hypothesis import strategies as st

from minibert import InputError
from minibert.tasks.regression import RegressionTask, parse_number, ranks, regression_metrics
from minibert.tasks.task import Columns, Example, Examples

from .helpers import make_model, write_table
from .test_commands import CommandError, call, one_line

number = st.floats(-1e6, 1e6, allow_subnormal=False) | st.integers(-3, 3).map(float)


@given(st.lists(st.tuples(number, number), min_size=2, max_size=40))
@pytest.mark.filterwarnings("ignore::scipy.stats.NearConstantInputWarning")
def test_correlations_are_those_of_scipy(pairs: list[tuple[float, float]]):
    labels, predictions = (np.array(column) for column in zip(*pairs, strict=True))
    ours = regression_metrics(labels, predictions)
    assert ours["mse"] == pytest.approx(((labels - predictions) ** 2).mean())
    assume(len(set(labels)) > 1 and len(set(predictions)) > 1)
    assert ours["spearman"] == pytest.approx(scipy.stats.spearmanr(labels, predictions).statistic, abs=1e-9)
    assume(min(np.ptp(labels) / np.abs(labels).max(), np.ptp(predictions) / np.abs(predictions).max()) > 1e-6)
    assert ours["pearson"] == pytest.approx(scipy.stats.pearsonr(labels, predictions).statistic, abs=1e-6)


@given(st.lists(number, min_size=1, max_size=40))
def test_ranks_are_those_of_scipy(values: list[float]):
    assert ranks(np.array(values)).tolist() == scipy.stats.rankdata(values).tolist()


def test_the_same_answer_to_everything_has_no_correlation():
    metrics = regression_metrics(np.array([1.0, 2.0, 3.0]), np.array([2.0, 2.0, 2.0]))
    assert metrics == {"pearson": 0.0, "spearman": 0.0, "mse": pytest.approx(2 / 3)}


def test_huge_numbers_have_a_correlation():
    metrics = regression_metrics(np.array([-1e200, 1e200]), np.array([-1e200, 1e200]))
    assert metrics["pearson"] == pytest.approx(1)


def make_examples(*labels: float) -> Examples:
    return Examples(Path("train.tsv"), [Example({"text": "a"}, label) for label in labels])


def test_labels_are_scaled_for_training_and_answers_are_in_their_own_unit():
    examples = make_examples(200.0, 300.0, 400.0)
    task = RegressionTask(Columns())
    task.learn_labels(examples)
    targets = np.array([task.target(examples, example) for example in examples])
    assert (targets.mean(), targets.std()) == pytest.approx((0, 1))
    answers = task.read_logits(targets[:, None])
    assert [answer["score"] for answer in answers] == [200.0, 300.0, 400.0]


def test_small_numbers_keep_their_digits():
    task = RegressionTask(Columns(), mean=1e-9, deviation=1e-10)
    assert task.read_logits(np.array([[2.5]], dtype=np.float32)) == [{"score": 1.25e-9}]


def test_numbers_far_from_0_keep_the_digits_in_which_they_differ():
    times = [1.7e9, 1.7e9 + 1, 1.7e9 + 2, 1.7e9 + 5]
    task = RegressionTask(Columns())
    task.learn_labels(examples := make_examples(*times))
    logits = np.array([[task.target(examples, example)] for example in examples], dtype=np.float32)
    assert [answer["score"] for answer in task.read_logits(logits)] == pytest.approx(times, rel=0, abs=1e-5)


@pytest.mark.parametrize("labels", [(0.0, 1e-300), (-1e300, 1e300)])
@pytest.mark.filterwarnings("ignore:overflow")
def test_labels_without_a_deviation_are_refused(labels: tuple[float, float]):
    with pytest.raises(InputError, match=r"the deviation of the labels is (0\.0|inf): choose another unit"):
        RegressionTask(Columns()).learn_labels(make_examples(*labels))


def test_a_saved_model_whose_unit_cannot_be_is_refused():
    task = RegressionTask(Columns(), deviation=0)
    config = make_model("BertForSequenceClassification").config.replace(**task.config_changes())
    with pytest.raises(InputError, match="must be a number above 0: found 0"):
        RegressionTask.from_config(config, Columns())


def test_a_saved_model_knows_its_unit_again():
    task = RegressionTask(Columns(), long_texts="both")
    task.learn_labels(make_examples(3.0, 5.0))
    config = make_model("BertForSequenceClassification").config.replace(**task.config_changes())
    again = RegressionTask.from_config(config, Columns())
    assert (again.mean, again.deviation, again.long_texts, again.pairs) == (4.0, 1.0, "both", False)
    assert config.num_labels == 1


def test_labels_that_are_all_the_same_are_refused():
    with pytest.raises(InputError, match=r"all 2 rows have the label 0\.1"):
        RegressionTask(Columns()).learn_labels(make_examples(0.1, 0.1))


@pytest.mark.parametrize("value", ["", "high", "nan", "inf", "1,5", "1_5", None, True, [1], 10**400])
def test_only_a_finite_number_is_a_number(value: object):
    with pytest.raises(ValueError, match="a number"):
        parse_number(value)


def test_a_run_end_to_end(small_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    rows = [("a good film", "good fun", "90"), ("a good film", "bad sound", "10"), ("bad", "bad", "95.5")]
    header = ("first", "second", "score")
    train, dev = write_table(tmp_path / "train.tsv", rows * 4, header), write_table(tmp_path / "dev.tsv", rows, header)
    names = ["--text-column", "first", "--text-b-column", "second", "--label-column", "score"]
    out = tmp_path / "out"
    flags = ["--task", "regression", "--train", train, "--dev", dev, *names, "--model", small_model, "--out", out]
    call("finetune", *flags, "--epochs", 2, "--batch-size", 4, "--lr", 1e-2)
    metrics = json.loads((out / "metrics.json").read_text())
    lines = [json.loads(line) for line in (out / "predictions.jsonl").read_text().splitlines()]
    assert [line["score"] for line in lines] == [90, 10, 95.5]
    assert metrics["mse"] == pytest.approx(np.mean([(line["score"] - line["predicted"]) ** 2 for line in lines]))
    assert 20 < np.mean([line["predicted"] for line in lines]) < 100  # the labels' own unit
    capsys.readouterr()
    call("evaluate", "--model", out, "--data", dev, *names)
    found = json.loads(capsys.readouterr().out)
    assert [found[name] for name in ("pearson", "mse")] == pytest.approx([metrics["pearson"], metrics["mse"]], rel=1e-4)
    call("predict", "--model", out, "a good film", "good fun")
    assert json.loads(capsys.readouterr().out)["score"] == pytest.approx(lines[0]["predicted"], rel=1e-4)
    report = (out / "report.html").read_text()
    assert all(part in report for part in ("Predicted against true", "The largest errors", "a good film ⟂ bad sound"))
    theirs = transformers.AutoModelForSequenceClassification.from_pretrained(out)
    assert theirs.config.problem_type == "regression"
    assert theirs.config.num_labels == 1


@pytest.mark.parametrize(
    ("label", "fault"),
    [("low", "a number: found 'low'"), ("0,5", "a number, with a point before its decimals: found '0,5'")],
)
def test_a_label_that_is_no_number_gets_one_line(label: str, fault: str, tmp_path: Path, capsys):
    train = write_table(tmp_path / "train.tsv", [("good", "1"), ("bad", label)])
    with pytest.raises(CommandError, match="2"):
        call("finetune", "--task", "regression", "--train", train, "--dev", train, "--out", tmp_path / "out")
    assert f"train.tsv, line 3: 'label' must be {fault}" in one_line(capsys.readouterr().err)
    assert not (tmp_path / "out").exists()
