"""Slices, swapped words and temperatures: from a model's answers to what can be relied on."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st

from minibert.errors import InputError
from minibert.intervals import wilson
from minibert.tasks.classification import ClassificationTask, label_answers
from minibert.tasks.ner import NerTask
from minibert.tasks.qa import QuestionAnsweringTask
from minibert.tasks.regression import RegressionTask
from minibert.tasks.task import Columns, Example, Examples
from minibert.training.counterfactuals import counterfactuals, read_swaps, swap_words
from minibert.training.judging import saved_task
from minibert.training.slices import MOST, slice_metrics, slice_values

from .helpers import GOOD, write_table
from .test_commands import CommandError, call, finished, one_line

__all__ = ["finished"]  # a fixture

TASK = ClassificationTask(Columns(), ["bad", "good"])


def judged(*pairs: tuple[str, str]) -> tuple[Examples, list[dict[str, object]]]:
    """Examples with these truths, and answers with these labels."""
    rows = [Example({"text": "x"}, truth, line) for line, (truth, _) in enumerate(pairs, start=2)]
    answers = [{"label": label, "probability": 0.9} for _, label in pairs]
    return Examples(Path("data.tsv"), rows), answers


def test_slices_tell_count_metrics_interval_and_gap_and_begin_with_the_largest_gap():
    right, wrong = ("good", "good"), ("good", "bad")
    bad = ("bad", "bad")
    examples, answers = judged(*[right, bad] * 20, *[right, wrong, bad, bad] * 5, *[wrong] * 2)
    values = ["large"] * 40 + ["medium"] * 20 + ["small"] * 2
    slices = slice_metrics(TASK, examples, answers, values)
    assert list(slices) == ["small", "large", "medium"]
    assert [part["examples"] for part in slices.values()] == [2, 40, 20]
    medium = slices["medium"]
    assert medium["accuracy"] == 0.75
    assert medium["gap"] == pytest.approx(0.75 - 40 / 42)
    assert medium["interval_95"]["accuracy"] == wilson(15, 20)
    low, high = medium["interval_95"]["mcc"]
    assert low < medium["mcc"] < high
    assert slices["small"]["interval_95"]["f1_macro"] is None
    assert slice_metrics(TASK, examples, answers, ["all"] * 62)["all"]["gap"] is None


def test_of_tags_the_accuracy_is_no_share_of_right_examples():
    """Wilson's interval, for 10 sentences of 20 without a mistake, would not even hold it."""
    rows = [Example({"tokens": ["rain", "falls"]}, ["N", "V"], line) for line in range(20)]
    answers = [{"tags": ["N", "V" if line % 2 else "N"]} for line in range(20)]
    found = slice_metrics(NerTask(Columns(), "plain"), Examples(Path("x"), rows), answers, ["all"] * 20)["all"]
    low, high = found["interval_95"]["accuracy"]
    assert low < found["accuracy"] == 0.75 < high


# ------------------------------------------------------------------------------------------------ swapped words


def swaps_of(tmp_path: Path, *rows: tuple[str, str]) -> dict[str, str]:
    return read_swaps(write_table(tmp_path / "swaps.tsv", rows, ("one", "other")))


def test_whole_words_are_swapped_both_ways_and_keep_their_capitals(tmp_path: Path):
    swaps = swaps_of(tmp_path, ("he", "she"), ("John", "Mary"), ("New York", "Paris"))
    assert swap_words("He saw HE-men, the sheriff and she.", swaps) == "She saw SHE-men, the sheriff and he."
    assert swap_words("John, JOHN, john and Johnny in new york", swaps) == "Mary, MARY, mary and Johnny in paris"
    assert swap_words("I love Paris", swaps) == "I love New York"


def test_words_match_whatever_their_capitals_also_where_a_letter_has_several(tmp_path: Path):
    swaps = swaps_of(tmp_path, ("ali", "veli"), ("Straße", "Gasse"))
    assert swap_words("Die Straße, ALİ, alı, ALI", swaps) == "Die Gasse, ALİ, alı, VELI"


def test_the_first_row_is_the_way_back_for_a_word_that_stands_twice_in_the_second_column(tmp_path: Path):
    swaps = swaps_of(tmp_path, ("him", "her"), ("his", "her"))
    assert swap_words("his, him, her", swaps) == "her, her, him"


@given(st.text(alphabet="abcxyz .,'-", max_size=40))
def test_swapping_twice_gives_the_text_back(text):
    swaps = {"a": "x", "x": "a", "bc": "yz", "yz": "bc"}
    assert swap_words(swap_words(text, swaps), swaps) == text


@pytest.mark.parametrize(
    ("rows", "header", "sentence"),
    [
        ([("he", "she"), ("He", "they")], ("a", "b"), "line 3: 'He' stands in the first column twice"),
        ([("he",)], ("a",), "line 2: a word and its counterpart are needed: found 1"),
        ([("he", " ")], ("a", "b"), "found 1"),
    ],
)
def test_a_bad_word_list_is_refused(rows, header, sentence: str, tmp_path: Path):
    with pytest.raises(InputError, match=sentence):
        read_swaps(write_table(tmp_path / "swaps.tsv", rows, header))


def test_answers_that_change_are_counted_and_shown_first():
    texts = ["he is fine", "so is she", "nobody here", "he, too"]
    examples = Examples(Path("data.tsv"), [Example({"text": text}, "good", i) for i, text in enumerate(texts, start=2)])

    def ask(asked: Examples) -> list[dict[str, object]]:
        logits = [[0.0, 2.0 if text.startswith("she is") else -1.0] for text in asked.given("text")]
        return label_answers(np.array(logits), TASK.names)

    found = counterfactuals(
        TASK, examples, label_answers(np.zeros((4, 2)), TASK.names), {"he": "she", "she": "he"}, ask
    )
    assert (found["examples"], found["changed"]) == (3, 1)  # at equal logits, the first label is the answer
    assert found["interval_95"] == wilson(1, 3)
    first, *others = found["most_changed"]
    assert (first["line"], first["swapped"]) == (2, {"text": "she is fine"})
    assert (first["before"], first["after"]) == ("bad", "good")
    assert first["shift"] == pytest.approx(1 / (1 + np.exp(-2)) - 0.5, abs=1e-5)
    assert found["mean_shift"] == pytest.approx((first["shift"] + 2 * others[0]["shift"]) / 3)


@pytest.mark.parametrize(("after", "changed"), [("She", 0), ("Anna", 1)])
def test_an_answer_out_of_the_text_has_not_changed_if_only_its_words_are_swapped(after: str, changed: int):
    given = {"id": "1", "question": "Who sings?", "context": "He sings, Anna not."}
    examples = Examples(Path("data.json"), [Example(given, [])])
    swaps = {"he": "she", "she": "he"}
    found = counterfactuals(
        QuestionAnsweringTask(), examples, [{"answer": "He"}], swaps, lambda asked: [{"answer": after}]
    )
    assert (found["changed"], found["mean_shift"]) == (changed, changed)
    assert found["most_changed"][0]["before"] == "He"


def test_what_to_look_for_is_put_together_once_for_all_texts(monkeypatch: pytest.MonkeyPatch):
    swaps = {f"{number} apples": "pears" for number in range(100)}
    escaped: list[str] = []

    def escape(word: str) -> str:
        escaped.append(word)
        return word

    monkeypatch.setattr(re, "escape", escape)
    assert [swap_words(f"{number} apples", swaps) for number in range(3)] == ["pears"] * 3
    assert len(escaped) == 100


def test_the_id_of_a_question_is_no_text_to_swap_words_in():
    given = [{"id": f"he-{i}", "question": "Who?", "context": text} for i, text in enumerate(("He sings.", "Anna."))]
    examples = Examples(Path("data.json"), [Example(row, []) for row in given])
    found = counterfactuals(
        QuestionAnsweringTask(), examples, [{"answer": "He"}] * 2, {"he": "she"}, lambda asked: [{"answer": "She"}]
    )
    assert found["examples"] == 1
    assert found["most_changed"][0]["swapped"] == given[0] | {"context": "She sings."}


def test_of_answers_that_are_numbers_only_the_shift_is_told():
    examples = Examples(Path("data.tsv"), [Example({"text": "he is fine"}, 1.0), Example({"text": "he"}, 2.0)])
    found = counterfactuals(
        RegressionTask(Columns()),
        examples,
        [{"score": 1.0}, {"score": 2.0}],
        {"he": "she"},
        lambda asked: [{"score": 1.5}, {"score": 1.75}],
    )
    assert found.keys() == {"examples", "mean_shift", "most_changed"}
    assert found["mean_shift"] == 0.375
    assert found["most_changed"][0]["swapped"] == {"text": "she is fine"}


def test_a_list_that_fits_no_text_is_refused():
    examples, answers = judged(("good", "good"))
    with pytest.raises(InputError, match=r"No text of data.tsv has any of the 1 words"):
        counterfactuals(TASK, examples, answers, {"he": "she"}, lambda asked: [])


# ------------------------------------------------------------------------------------------------ commands


def test_a_column_of_numbers_makes_no_slices():
    rows = [Example({"text": "x"}, "a", columns={"id": number}, line=number) for number in range(MOST + 1)]
    assert len(slice_values(Examples(Path("a.csv"), rows[:MOST]), "id")) == MOST
    with pytest.raises(InputError, match=r"--slice id: the column has 1,001 different values, and 1,000 slices"):
        slice_values(Examples(Path("a.csv"), rows), "id")


def test_evaluate_slices_and_swaps(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    data = write_table(tmp_path / "data.tsv", [(*row, row[0][:1]) for row in GOOD], ("text", "label", "first"))
    swaps = write_table(tmp_path / "swaps.tsv", [("good", "bad")], ("one", "other"))
    call("evaluate", "--model", finished, "--data", data, "--slice", "first", "--swap", swaps)
    found = json.loads(capsys.readouterr().out)
    assert set(found["slices"]) == {"a", "g", "b"}
    assert found["swap"]["examples"] == 4
    assert found["swap"]["most_changed"][0]["given"].keys() == {"text"}
    with pytest.raises(CommandError, match="2"):
        call("evaluate", "--model", finished, "--data", data, "--swap", tmp_path / "nowhere.tsv")
    assert "nowhere.tsv: no such file" in one_line(capsys.readouterr().err)


def test_a_temperature_is_fitted_saved_and_used_but_changes_no_logit(small_model: Path, tmp_path: Path, capsys):
    train, dev = (
        write_table(tmp_path / "train.tsv", GOOD * 4),
        write_table(tmp_path / "dev.tsv", [*GOOD, ("a film", "bad")]),
    )
    flags = ["--train", train, "--dev", dev, "--model", small_model, "--epochs", 1, "--lr", 1e-2]
    call("finetune", *flags, "--out", tmp_path / "plain")
    call("finetune", *flags, "--out", tmp_path / "calibrated", "--calibrate")
    plain, calibrated = (json.loads((tmp_path / name / "metrics.json").read_text()) for name in ("plain", "calibrated"))
    temperature = calibrated["temperature"]
    assert (plain["temperature"], calibrated["accuracy"]) == (1, plain["accuracy"])
    assert abs(temperature - 1) > 0.01
    capsys.readouterr()
    probabilities = {}
    for name in ("plain", "calibrated"):
        call("predict", "--model", tmp_path / name, "good fun")
        probabilities[name] = json.loads(capsys.readouterr().out)["probabilities"]["good"]
    logit = {name: np.log(value / (1 - value)) for name, value in probabilities.items()}
    assert logit["calibrated"] == pytest.approx(logit["plain"] / temperature, abs=1e-5)  # six digits are written
    models = [
        transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / name)
        for name in ("plain", "calibrated")
    ]
    with torch.no_grad():
        ids = torch.tensor([[2, 5, 3]])
        assert torch.equal(*(model.eval()(ids).logits for model in models))
    assert "The temperature" in (tmp_path / "calibrated" / "report.html").read_text()


@pytest.mark.parametrize(
    ("task", "setting", "value", "wanted"),
    [
        ("classification", "temperature", "hot", "a number above 0: found 'hot'"),
        ("regression", "deviation", 0, "a number above 0: found 0"),
        ("regression", "mean", math.nan, "a number: found nan"),
        ("similarity", "highest", [5], r"a number: found \[5\]"),
        ("multilabel", "thresholds", {"good": "half"}, "a number a label: found {'good': 'half'}"),
        ("multilabel", "label_separator", 5, "a text: found 5"),
        ("classification", "long_texts", "middle", "one of 'head', 'tail', 'both', 'windows': found 'middle'"),
        ("regression", "pairs", "yes", "one of None, False, True: found 'yes'"),
        ("ner", "scheme", ["iob2"], r"one of None, 'iob1', 'iob2', 'bioes', 'plain': found \['iob2'\]"),
        ("qa", "stride", 0.5, "a whole number above -1: found 0.5"),
        ("qa", "max_answer_length", 0, "a whole number above 0: found 0"),
        ("qa", "no_answer_threshold", "", "a number: found ''"),
        ("summarization", "summary_sentences", True, "a whole number above 0: found True"),
    ],
)
def test_a_setting_that_cannot_be_is_refused(
    task: str, setting: str, value: object, wanted: str, finished: Path, tmp_path: Path
):
    config = json.loads((finished / "config.json").read_text())
    config["task_specific_params"]["minibert"] = {"task": task, setting: value}
    for path in finished.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match=f"The {setting} in the model's config must be {wanted}"):
        saved_task(tmp_path, Columns())
