"""Confidence intervals and calibration, against scipy and cases computed by hand."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.optimize
import scipy.special
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from minibert.calibration import TEMPERATURES, calibration, fit_temperature, softmax
from minibert.intervals import bootstrap, mean_over_runs, student_t, wilson


@given(st.integers(1, 500).flatmap(lambda total: st.tuples(st.integers(0, total), st.just(total))))
def test_wilson_is_that_of_scipy(case):
    right, total = case
    theirs = scipy.stats.binomtest(right, total).proportion_ci(0.95, method="wilson")
    assert wilson(right, total) == pytest.approx((theirs.low, theirs.high), abs=1e-9)


def test_nothing_is_known_from_no_examples():
    assert wilson(0, 0) == (0, 1)


@given(st.integers(1, 60))
def test_students_t_is_that_of_scipy(freedom):
    assert student_t(freedom) == pytest.approx(scipy.stats.t.ppf(0.975, freedom), rel=1e-9)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=12))
def test_the_interval_of_a_mean_is_that_of_scipy(values):
    found = mean_over_runs(values)
    assert found.runs == len(values)
    assert found.mean == pytest.approx(np.mean(values))
    assert found.deviation is not None
    assert found.deviation == pytest.approx(np.std(values, ddof=1), abs=1e-12)
    if found.deviation > 1e-9:
        theirs = scipy.stats.t.interval(0.95, len(values) - 1, np.mean(values), scipy.stats.sem(values))
        assert found.interval_95 == pytest.approx(theirs)


def test_one_run_has_no_interval():
    found = mean_over_runs([0.5])
    assert (found.deviation, found.interval_95) == (None, None)
    assert str(found) == "0.5000 (one run)"


def test_the_bootstrap_of_a_mean_agrees_with_its_standard_error():
    values = np.random.default_rng(1).normal(10, 3, size=400)
    ((low, high),) = bootstrap(lambda chosen: [values[chosen].mean()], len(values))
    half = 1.96 * values.std() / 20
    assert low == pytest.approx(values.mean() - half, abs=0.05)
    assert high == pytest.approx(values.mean() + half, abs=0.05)


def test_the_bootstrap_is_the_same_every_time_and_has_an_interval_for_each_metric():
    calls = [bootstrap(lambda chosen: [chosen.min(), chosen.max()], 50) for _ in range(2)]
    assert calls[0] == calls[1]
    assert len(calls[0]) == 2


# ------------------------------------------------------------------------------------------------ calibration


def test_calibration_error_by_hand():
    found = calibration(np.array([0.9, 0.9, 0.9, 0.9, 0.6]), np.array([True, True, True, False, True]))
    assert [row["examples"] for row in found["bins"]] == [1, 4]
    assert found["bins"][1]["accuracy"] == 0.75
    assert [row["from"] for row in found["bins"]] == pytest.approx([8 / 15, 13 / 15])
    assert [row["to"] for row in found["bins"]] == pytest.approx([9 / 15, 14 / 15])
    assert found["ece"] == pytest.approx(0.8 * 0.15 + 0.2 * 0.4)


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=40))
def test_calibration_error_is_the_weighted_gap_over_bins(pairs):
    confidences, right = (np.array(column) for column in zip(*pairs, strict=True))
    found = calibration(confidences, right)
    edges = np.linspace(0, 1, 16)
    expected = 0.0
    for low, high in itertools.pairwise(edges):
        inside = (confidences > low) & (confidences <= high) if low else confidences <= high
        expected += abs(right[inside].sum() - confidences[inside].sum())
    assert sum(row["examples"] for row in found["bins"]) == len(pairs)
    assert found["ece"] == pytest.approx(expected / len(pairs), abs=1e-9)


def test_fitted_temperature_minimises_the_loss_as_scipy_finds_it():
    generator = np.random.default_rng(0)
    labels = generator.integers(3, size=300)
    logits = generator.normal(size=(300, 3)) + 2 * np.eye(3)[labels]
    logits = (4 * logits).astype(np.float32)  # four times too sure

    def loss(temperature: float) -> float:
        log_probabilities = scipy.special.log_softmax(logits.astype(np.float64) / temperature, axis=1)
        return -log_probabilities[np.arange(300), labels].mean()

    theirs = scipy.optimize.minimize_scalar(loss, bounds=(0.1, 20), method="bounded", options={"xatol": 1e-9}).x
    temperature = fit_temperature(logits, labels)
    assert temperature == pytest.approx(theirs, abs=1e-4)
    assert temperature > 1.5
    before, after = (
        calibration(softmax(logits / t).max(axis=1), logits.argmax(axis=1) == labels)["ece"] for t in (1, temperature)
    )
    assert after < before / 2


def test_a_set_without_a_mistake_gets_the_lowest_temperature_and_nonsense_the_highest():
    logits = np.array([[1.0, 0.0], [0.0, 1.0]], dtype=np.float32)
    assert fit_temperature(logits, np.array([0, 1])) == pytest.approx(TEMPERATURES[0])
    assert fit_temperature(logits, np.array([1, 0])) == pytest.approx(TEMPERATURES[1])
