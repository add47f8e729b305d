"""Pieces of a report's HTML."""

from __future__ import annotations

import html
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minibert import plots
from minibert.pages import in_words, marked, paragraph, svg, table

TAG = re.compile(r"<[^>]*>")
TEXT = "<b>Rain</b> & sun, rain & sun."
places = st.integers(0, len(TEXT))
marks = st.lists(st.tuples(places, places, st.sampled_from(["right", "given"])).map(
    lambda mark: (min(mark[:2]), max(mark[:2]), mark[2])), max_size=4)  # fmt: skip


@given(marks)
def test_a_marked_text_is_the_text_and_exactly_its_marks_are_marked(marks):
    page = marked(TEXT, marks, around=len(TEXT))
    assert html.unescape(TAG.sub("", page)) == TEXT
    for kind in ("right", "given"):
        inside = "".join(
            html.unescape(piece)
            for names, piece in re.findall("<mark class='(.*?)'>(.*?)</mark>", page)
            if kind in names
        )
        wanted = {place for begin, end, name in marks if name == kind for place in range(begin, end)}
        assert inside == "".join(TEXT[place] for place in sorted(wanted))


def test_far_from_the_marks_the_text_is_left_out():
    page = marked("0123456789" * 10, [(20, 22, "right"), (60, 61, "given")], around=3)
    assert TAG.sub("", page) == " … 78901234 … 7890123 … "
    assert TAG.sub("", marked("0123456789", [(4, 5, "right")], around=6)) == "0123456789"
    assert TAG.sub("", marked("0123456789", [], around=6)) == "012345 … "


@pytest.mark.parametrize(
    ("metric", "words"),
    [("accuracy", "accuracy"), ("f1_macro", "F1 macro"), ("exact_match", "exact match"), ("rougeL", "ROUGE-L")],
)
def test_metrics_are_named_as_people_write_them(metric, words):
    assert in_words(metric) == words


def test_a_table_without_rows_says_so_if_there_is_something_to_say():
    assert table(["mistake"], [], "None.") == paragraph("None.")
    assert "<th" in table(["mistake"], [])
    assert "None." not in table(["mistake"], [["one"]], "None.")


def test_dollars_in_names_are_no_formulas():
    """matplotlib typesets what stands between two dollars, and fails at "$$"."""
    prices = plots.confusion([[1, 0], [0, 1]], ["$$", "US$ or A$"])
    prices.draw_without_rendering()
    assert [text.get_text() for text in prices.axes[0].get_xticklabels()] == [r"\$\$", r"US\$ or A\$"]


def test_slanted_names_of_classes_end_below_their_columns():
    """Centred, the end of a long name lay below the next column."""
    names = plots.confusion([[1, 0], [0, 1]], ["a long name", "b"])
    names.draw_without_rendering()
    labels = names.axes[0].get_xticklabels()
    assert [(label.get_rotation(), label.get_horizontalalignment(), label.get_rotation_mode()) for label in labels] == [
        (45, "right", "anchor")
    ] * 2


def test_the_legend_of_labels_lies_on_no_bar():
    shares = plots.class_shares({"train": {"a": 3}, "dev": {"a": 1}})
    shares.draw_without_rendering()
    (axes,) = shares.axes
    legend = axes.get_legend()
    assert legend is not None
    assert legend.get_window_extent().y0 >= axes.get_window_extent().y1


@pytest.mark.filterwarnings("error:Glyph")
def test_names_in_scripts_that_the_font_lacks_are_written_without_a_warning():
    figure = plots.confusion([[1, 0], [0, 1]], ["日本", "b"])
    figure.axes[0].set_title("日本")  # or the tests, which draw one picture of each title, might take another's
    text = svg(figure)
    assert text.count("日本</text>") == 3  # the title, and the class twice


@pytest.mark.parametrize(
    ("judged", "labelled"),
    [
        ([(10, 0.1), (20, 0.3), (30, 0.2)], ["0.100", "0.200", "0.300"]),
        ([(10, 0.1), (99, 0.3), (100, 0.2)], ["0.100", "0.300"]),  # the end of the training, just after a judgement
        ([(step, 1 - step / 1000) for step in range(5, 65, 5)], ["0.945", "0.955", "0.965", "0.975", "0.985", "0.995"]),
    ],
)
def test_the_labels_of_many_evaluations_do_not_lie_on_each_other(judged, labelled):
    training = [{"step": 1, "loss": 1.0, "lr": 1e-3}]
    evaluations = [{"step": step, "eval_accuracy": score, "eval_loss": 1.0} for step, score in judged]
    drawn = plots.curves([*training, *evaluations], "accuracy").axes[1].texts
    assert sorted(text.get_text() for text in drawn) == labelled


def test_the_points_of_a_loss_that_hardly_changes_are_not_cut_in_half():
    training = [{"step": step, "loss": 2.9, "lr": 1e-3} for step in (1, 2)]
    evaluations = [{"step": step, "eval_loss": 3.0 - 0.01 * step, "eval_accuracy": 0.5} for step in (1, 2)]
    left = plots.curves([*training, *evaluations], "accuracy").axes[0]
    assert left.get_ylim() == pytest.approx((0, 2.99 * 1.05))


def test_labels_too_many_to_be_named_are_not_numbered_either():
    axes = plots.class_shares({"train": {str(label): 100 - label for label in range(50)}}).axes[0]
    assert [text.get_text() for text in axes.get_yticklabels()] == []
    assert axes.get_ylabel() == "50 labels, the most frequent first"


def test_the_running_mean_of_a_long_run_is_over_as_many_steps_as_it_says():
    history = [{"step": step, "lr": 0.1, "mlm_loss": float(step), "mlm_accuracy": 0.5} for step in range(1, 5001)]
    left, right = plots.pretraining_curves(history, 6.8).axes
    noisy, mean, _ = left.lines
    assert mean.get_label() == "mean of 250 steps"
    np.testing.assert_allclose(np.asarray(mean.get_ydata()), np.asarray(mean.get_xdata()) - 249 / 2)
    for line in (noisy, mean, right.lines[0]):
        assert 1000 < np.asarray(line.get_xdata()).size <= plots.MOST_POINTS


@pytest.mark.parametrize("losses", [[0.7, 0.72, 0.6, 0.65, 2.4], [0.0, 0.0], [-1.0, 3.0]])
def test_the_valley_of_the_learning_rates_is_not_flat_beside_the_explosion(losses: list[float]):
    figure = plots.learning_rates([10.0**n for n in range(len(losses))], losses, 1.0)
    low, high = figure.axes[0].get_ylim()
    assert low < min(losses) <= losses[0] < high
    assert high < max(losses) or max(losses) == losses[0]
