"""The metrics are scikit-learn's, on any labels and predictions."""

from __future__ import annotations

import tracemalloc
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import sklearn.metrics as reference
from hypothesis import given, settings
from hypothesis import strategies as st

from minibert.tasks.classification import ClassificationTask, classification_metrics, label_answers
from minibert.tasks.multilabel import MultilabelTask
from minibert.tasks.task import Columns, Example, Examples

labels_and_predictions = st.integers(2, 6).flatmap(
    lambda classes: st.tuples(
        st.just(classes),
        st.lists(st.tuples(st.integers(0, classes - 1), st.integers(0, classes - 1)), min_size=1, max_size=50),
    )
)


@settings(deadline=None)  # scikit-learn takes its time
@given(labels_and_predictions)
@pytest.mark.filterwarnings("ignore:A single label was found")  # which is one of the cases to compare
def test_metrics_are_those_of_scikit_learn(case):
    classes, pairs = case
    labels, predictions = (np.array(column) for column in zip(*pairs, strict=True))
    ours = classification_metrics(labels, predictions, [f"class {i}" for i in range(classes)])
    options = {"average": "macro", "zero_division": 0}
    assert ours["accuracy"] == pytest.approx(reference.accuracy_score(labels, predictions))
    assert ours["f1_macro"] == pytest.approx(reference.f1_score(labels, predictions, **options))
    assert ours["precision_macro"] == pytest.approx(reference.precision_score(labels, predictions, **options))
    assert ours["recall_macro"] == pytest.approx(reference.recall_score(labels, predictions, **options))
    assert ours["mcc"] == pytest.approx(reference.matthews_corrcoef(labels, predictions), abs=1e-9)
    every_class = list(range(classes))
    matrix = reference.confusion_matrix(labels, predictions, labels=every_class)
    assert ours["confusion_matrix"] == matrix.tolist()
    theirs = reference.precision_recall_fscore_support(labels, predictions, labels=every_class, zero_division=0)
    for i, numbers in enumerate(zip(*theirs, strict=True)):
        assert tuple(ours["per_class"][f"class {i}"].values()) == pytest.approx(numbers)


def test_metrics_by_hand():
    metrics = classification_metrics(np.array([0, 0, 0, 1]), np.array([0, 0, 1, 1]), ["no", "yes"])
    assert metrics["accuracy"] == 0.75
    assert metrics["confusion_matrix"] == [[2, 1], [0, 1]]
    assert metrics["per_class"]["no"] == {"precision": 1.0, "recall": 2 / 3, "f1": 0.8, "support": 3}
    assert metrics["mcc"] == pytest.approx((2 * 1 - 1 * 0) / np.sqrt(3 * 2 * 1 * 2))


def test_labels_that_are_numbers_come_in_their_order_however_long_they_are():
    task = ClassificationTask(Columns())
    names = ["-1", "0", "2", "10", "1" * 5000, "x", "²"]  # Python makes no int of the fifth, and no number of the last
    task.learn_labels(Examples(Path("train.tsv"), [Example({"text": "a"}, name) for name in reversed(names)]))
    assert task.names == names


@pytest.mark.parametrize(("names", "alike"), [(["No", "no ", "yes"], True), (["no", "yes"], False)])
def test_labels_that_differ_in_capitals_or_white_space_only_are_told_of(names: list[str], alike: bool, caplog):
    task = ClassificationTask(Columns())
    task.learn_labels(Examples(Path("train.tsv"), [Example({"text": "a"}, name) for name in names]))
    assert task.names == sorted(names)
    assert ("Some labels of train.tsv differ in capitals or white space only" in caplog.text) is alike


def test_answers_are_a_softmax_that_large_logits_do_not_break():
    first, second = label_answers(np.array([[1000.0, 0.0], [0.0, np.log(3)]], dtype=np.float32), ["no", "yes"])
    assert first == {"label": "no", "probability": 1.0, "probabilities": {"no": 1.0, "yes": 0.0}}
    assert (second["label"], second["probability"]) == ("yes", 0.75)


def test_the_probabilities_of_many_labels_take_little_more_than_their_numbers():
    names = [f"label {i}" for i in range(1000)]
    logits = np.random.default_rng(0).normal(size=(100, 1000)).astype(np.float32)
    for answer in (partial(label_answers, names=names), MultilabelTask(Columns(), names).read_logits):
        tracemalloc.start()
        answers = answer(logits)
        size, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert len(answers) == 100
        assert size < 2 * 8 * logits.size
