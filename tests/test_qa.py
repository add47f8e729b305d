"""Question answering: SQuAD's files, windows, spans, and answers that are slices of the text."""

from __future__ import annotations

import json
import random
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from hypothesis import example as hypothesis_example
from hypothesis import given
from hypothesis import strategies as st

from minibert import BertForQuestionAnswering, BertTokenizer
from minibert.data.squad import read_squad
from minibert.errors import InputError
from minibert.losses import IGNORE
from minibert.tasks import qa
from minibert.tasks.qa import QuestionAnsweringTask, best_spans, best_threshold, question_word, windows
from minibert.tasks.task import Columns, Example, Examples

from .helpers import SMALL, full_disk, learn, save_small_model, spelling_tokenizer, word_tokenizer
from .test_commands import CommandError, call

TEXT = "Łódź fell in 1939. The Übergang of 1945—so called—took 2.5 years; 3kg of [SEP] were left."


def squad(*questions: dict[str, Any], context: str = TEXT, title: str = "One") -> dict[str, Any]:
    return {"version": "v2.0", "data": [{"title": title, "paragraphs": [{"context": context, "qas": list(questions)}]}]}


def asked(name: str, *answers: str, context: str = TEXT, question: str = "When?") -> dict[str, Any]:
    found = [{"text": answer, "answer_start": context.index(answer)} for answer in answers]
    return {"id": name, "question": question, "answers": found}


def write(path: Path, content: Any) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def example(context: str, *answers: str, question: str = "When was it?") -> Example:
    truth = [{"text": answer, "answer_start": context.index(answer)} for answer in answers]
    return Example({"id": str(hash(context)), "question": question, "context": context}, truth)


@pytest.fixture(scope="module")
def tokenizer() -> BertTokenizer:
    return spelling_tokenizer()


def ideal_outputs(features: list[dict[str, Any]]) -> tuple[np.ndarray, np.ndarray]:
    """The logits of a model that knows: 9 at the right places, 0 elsewhere, -100 for padding."""
    longest = max(len(row["input_ids"]) for row in features)
    outputs = []
    for key in ("start_positions", "end_positions"):
        logits = np.full((len(features), longest), IGNORE, dtype=np.float32)
        for row, values in zip(features, logits, strict=True):
            values[: len(row["input_ids"])] = 0
            values[row[key]] = 9
        outputs.append(logits)
    return outputs[0], outputs[1]


# ------------------------------------------------------------------------------------------------------------ files


def test_both_versions_of_squad_and_tables_are_read(tmp_path: Path):
    task = QuestionAnsweringTask()
    old = squad(asked("a", "1939", "in 1939"))
    new = squad(asked("a", "1945"), asked("b") | {"is_impossible": True, "plausible_answers": [{"text": "x"}]})
    line = {"question": "When?", "context": TEXT, "answers": [{"text": "1939", "answer_start": TEXT.index("1939")}]}
    lists = {"text": ["1939"], "answer_start": [TEXT.index("1939")]}  # as the library `datasets` writes them
    read = [
        task.read(write(tmp_path / "old.json", old)),
        task.read(write(tmp_path / "new.json", new)),
        task.read(write(tmp_path / "x.jsonl", json.dumps(line))),
        task.read(write(tmp_path / "y.jsonl", json.dumps(line | {"answers": lists}))),
    ]
    assert [[len(answers) for answers in examples.truths] for examples in read] == [[2], [1, 0], [1], [1]]
    assert read[3].truths == read[2].truths
    assert read[0][0].columns["title"] == "One"
    asking = task.read(write(tmp_path / "x.tsv", "question\tcontext\nWhen?\tIn 1939.\n"), truths="if told")
    assert (asking[0].given["question"], asking.have_truth) == ("When?", False)


def test_the_refusal_of_another_ending_names_squads_own(tmp_path: Path):
    with pytest.raises(InputError, match=r"must end in one of \.json, \.tsv"):
        QuestionAnsweringTask().read(write(tmp_path / "x.xml", "<squad/>"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "no readable JSON"),
        ("[]", "must be a JSON object"),
        ({"articles": []}, "'data' is missing. Found articles"),
        ({"data": {}}, "'data' must be a list"),
        ({"data": []}, "has no questions"),
        ({"data": ["x"]}, "article 1: an object with 'paragraphs' is needed. Found 'x'"),
        ({"data": [{"paragraphs": [{"qas": []}]}]}, "article 1, paragraph 1: 'context' is missing. Found qas"),
        (squad({"id": "a", "answers": []}), "question 1: 'question' is missing"),
        (squad(asked("a"), context=" "), "the context is empty"),
        (squad(asked("a", question=" ")), "the question is empty"),
        (squad(asked("a"), asked("a")), "ids belong to several questions, the first is 'a'"),
        (squad(asked("a", "1939") | {"is_impossible": True}), "is_impossible is true, but there are answers"),
        (squad(asked("a") | {"answers": [{"text": "1939"}]}), "'answer_start' is missing"),
        (squad(asked("a") | {"answers": {"text": ["1939"]}}), "'answer_start' is missing"),
        (
            squad(asked("a") | {"answers": {"text": ["1939"], "answer_start": []}}),
            "1 answers need as many numbers in 'answer_start'. Found 0",
        ),
        (squad(asked("a") | {"answers": {"text": ["1939"], "answer_start": ["1"]}}), "must be a whole number"),
        (squad(asked("a") | {"answers": [{"text": "1939", "answer_start": "13"}]}), "must be a whole number"),
        (squad(asked("a") | {"answers": [{"text": "1939", "answer_start": True}]}), "must be a whole number"),
        (
            squad(asked("a") | {"answers": [{"text": "1939", "answer_start": 14}]}),
            "'1939' does not stand at answer_start 14 of its context, where '939.' does; it stands at 13. 1 of",
        ),
        (
            squad(asked("a") | {"answers": [{"text": "1939", "answer_start": -7}]}),
            "does not stand at answer_start -7",
        ),
        (squad(asked("a") | {"answers": [{"text": "1938", "answer_start": 5000}]}), "where '' does. 1 of"),
        (squad(asked("a") | {"answers": [{"text": " ", "answer_start": 4}]}), "the answer ' ' does not stand"),
        (squad({"id": "a", "question": "When?"}), "1 questions have no 'answers', the first is 'a'"),
        (squad({"id": "a", "question": "When?", "answers": None}), "1 questions have no 'answers', the first is 'a'"),
    ],
)
def test_a_bad_file_is_told_in_one_sentence(tmp_path: Path, content: Any, message: str):
    with pytest.raises(InputError) as caught:
        QuestionAnsweringTask().read(write(tmp_path / "bad.json", content))
    assert message in str(caught.value)
    assert "bad.json" in str(caught.value)


def test_a_file_without_any_answer_teaches_nothing(tmp_path: Path):
    task = QuestionAnsweringTask()
    with pytest.raises(InputError, match="not one of the 1 questions has an answer"):
        task.learn_labels(task.read(write(tmp_path / "x.json", squad(asked("a")))))


def test_a_question_from_the_command_line_is_two_texts():
    examples = QuestionAnsweringTask().from_texts(["When?", TEXT])
    assert (examples[0].given["question"], examples[0].given["context"]) == ("When?", TEXT)
    with pytest.raises(InputError, match=r"Give two texts, the question and .*: found 1"):
        QuestionAnsweringTask().from_texts(["When?"])
    with pytest.raises(InputError, match="The question is empty"):
        QuestionAnsweringTask().from_texts([" ", TEXT])


def test_a_split_by_article_keeps_every_question_and_divides_no_article(tmp_path: Path):
    articles = [
        squad(*(asked(f"{i}-{j}", "1939") for j in range(i % 3 + 1)), title=f"T{i % 10}")["data"][0]
        for i in range(14)  # four of the ten in two entries
    ]
    whole = write(tmp_path / "all.json", {"version": "1.1", "data": articles})
    flags = [whole, "--dev", 0.2, "--test", 0.3, "--seed", 5]
    call("data.squad", *flags, "--out", tmp_path / "one")
    call("data.squad", *flags, "--out", tmp_path / "two")
    parts = {name: read_squad(tmp_path / "one" / f"{name}.json") for name in ("train", "dev", "test")}
    titles = {name: {question.columns["title"] for question in part} for name, part in parts.items()}
    assert [len(titles[name]) for name in ("train", "dev", "test")] == [5, 2, 3]
    assert len(set.union(*titles.values())) == 10
    assert sorted(q.id for part in parts.values() for q in part) == sorted(q.id for q in read_squad(whole))
    assert all((tmp_path / "two" / f"{name}.json").read_bytes() == (tmp_path / "one" / f"{name}.json").read_bytes()
               for name in parts)  # fmt: skip


@pytest.mark.parametrize("title", ["", None])
def test_articles_without_a_title_are_not_one(title: str | None, tmp_path: Path):
    articles = [squad(asked(str(i), "1939"))["data"][0] | {"title": title} for i in range(10)]
    call("data.squad", write(tmp_path / "all.json", {"data": articles}), "--out", tmp_path / "cut")
    parts = [read_squad(tmp_path / "cut" / f"{name}.json") for name in ("train", "dev", "test")]
    assert [len(part) for part in parts] == [6, 2, 2]
    assert [question.columns["title"] for question in parts[1]] == ["1", "2"]


def test_a_split_replaces_no_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    articles = [squad(asked(str(i), "1939"), title=str(i))["data"][0] for i in range(10)]
    whole = write(tmp_path / "train.json", {"version": "1.1", "data": articles})
    before = whole.read_text()
    with pytest.raises(CommandError):
        call("data.squad", whole, "--out", tmp_path)
    assert f"{tmp_path} has train.json already: choose another --out." in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["train.json"]
    assert whole.read_text() == before


def test_half_a_split_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    articles = [squad(asked(str(i), "1939"), title=str(i))["data"][0] for i in range(10)]
    whole = write(tmp_path / "all.json", {"version": "1.1", "data": articles})
    full_disk(monkeypatch, "test.json")
    with pytest.raises(CommandError, match="2"):
        call("data.squad", whole, "--out", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["all.json"]


def test_a_split_that_leaves_nothing_to_learn_from_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    one = write(tmp_path / "one.json", squad(asked("a", "1939")))
    with pytest.raises(CommandError):
        call("data.squad", one, "--out", tmp_path / "out", "--dev", 0.9)
    assert "has 1 articles: 1 for dev and 0 for test leave 0 to learn from" in capsys.readouterr().err
    articles = [squad(asked(str(i), "1939"), title=str(i))["data"][0] for i in range(4)]
    four = write(tmp_path / "four.json", {"version": "1.1", "data": articles})
    with pytest.raises(CommandError):
        call("data.squad", four, "--out", tmp_path / "out", "--dev", 0.1, "--test", 0.3)
    assert "has 4 articles: 0 for dev and 1 for test leave 3 to learn from" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


# --------------------------------------------------------------------------------------------------------- features


@given(st.integers(1, 60), st.integers(1, 20), st.data())
def test_windows_leave_no_token_out_and_share_exactly_the_stride(length, room, data):
    stride = data.draw(st.integers(0, room - 1))
    tokens = list(range(length))
    found = [tokens[window] for window in windows(length, room, stride)]
    assert sorted(set().union(*found)) == tokens
    assert all(len(window) <= room for window in found)
    for one, two in pairwise(found):
        assert len(one) == room
        assert (one[-stride:] if stride else []) == two[:stride]
        assert len(two) > stride  # else it would say nothing new


def test_a_row_reads_question_and_window_and_points_at_the_answer(tokenizer: BertTokenizer):
    tokenizer.model_max_length = 40
    examples = Examples(Path("x"), [example(TEXT, "1945—so called"), example(TEXT)])
    rows = QuestionAnsweringTask(stride=15).features(examples, tokenizer)
    assert {row["example"] for row in rows} == {0, 1}
    held = 0
    for row in rows:
        ids, at = row["input_ids"], row["text_at"]
        assert len(ids) == len(row["token_type_ids"]) <= 40
        assert row["token_type_ids"] == [0] * at + [1] * (len(ids) - at)
        assert (ids[0], ids[at - 1], ids[-1]) == (2, 3, 3)
        assert len(row["offsets"]) == len(ids) - at - 1
        first, last = row["start_positions"], row["end_positions"]
        if (first, last) != (0, 0):
            held += 1
            assert TEXT[row["offsets"][first - at][0] : row["offsets"][last - at][1]] == "1945—so called"
    assert held >= 1
    assert all(row["start_positions"] == row["end_positions"] == 0 for row in rows if row["example"] == 1)


def test_training_keeps_every_window_with_the_answer_and_one_without(tokenizer: BertTokenizer):
    tokenizer.model_max_length = 24
    examples = Examples(Path("x"), [example(TEXT * 3, "1939"), example(TEXT * 3)])
    task = QuestionAnsweringTask(stride=9)
    everything, chosen = (task.features(examples, tokenizer, training) for training in (False, True))
    tokenizer.model_max_length = 384
    with_answer = [row for row in everything if row["start_positions"] > 0]
    assert 1 <= len(with_answer) < len(everything) - 10
    assert [row for row in chosen if row["start_positions"] > 0] == with_answer
    assert [row["example"] for row in chosen if row["start_positions"] == 0] == [0, 1]
    assert all(row in everything for row in chosen)


@pytest.mark.parametrize(
    ("answer", "covered"),
    [("kg", "kg"), ("  1939", "1939"), ("939", "1939"), ("bergang o", "Übergang of"), ("Łódź", "Łódź")],
)
def test_an_answer_inside_a_word_is_learnt_by_the_fewest_tokens_that_hold_it(answer: str, covered: str):
    words = word_tokenizer("3", "kg", "1939", "ubergang", "of", "łodz", "lodz", "##kg")
    context = TEXT.replace(" 1939", "  1939")
    _, offsets = qa._tokenize(context, words)
    first, last = qa._answer_tokens([{"text": answer, "answer_start": context.index(answer)}], offsets)
    assert context[offsets[first][0] : offsets[last][1]] == covered


def test_an_accent_that_the_tokenizer_strips_stays_with_its_letter(tokenizer: BertTokenizer):
    context, answer = "The cafe\u0301 of Zu\u0308rich", "cafe\u0301"
    _, offsets = qa._tokenize(context, tokenizer)
    first, last = qa._answer_tokens([{"text": answer, "answer_start": 4}], offsets)
    assert context[offsets[first][0] : offsets[last][1]] == answer
    assert all(before[1] <= after[0] for before, after in pairwise(offsets))


def test_an_answer_that_no_token_holds_is_not_learnt(tokenizer: BertTokenizer):
    context = "a \ufffd\ufffd b"  # characters that BERT's tokenizer drops
    row = QuestionAnsweringTask().features(Examples(Path("x"), [example(context, "\ufffd\ufffd")]), tokenizer)[0]
    assert (row["start_positions"], row["end_positions"]) == (IGNORE, IGNORE)


def test_a_special_token_written_in_a_text_is_a_word_like_any_other(tokenizer: BertTokenizer):
    examples = Examples(Path("x"), [example("a [SEP] b [CLS] c", "b", question="[CLS] [MASK]?")])
    (row,) = QuestionAnsweringTask().features(examples, tokenizer)
    assert [row["input_ids"].count(i) for i in (2, 3, 4)] == [1, 2, 0]


def test_a_question_never_takes_the_room_of_the_text(tokenizer: BertTokenizer):
    tokenizer.model_max_length = 21
    examples = Examples(Path("x"), [example(TEXT, "1939", question="why " * 50)])
    rows = QuestionAnsweringTask().features(examples, tokenizer)
    assert all(len(row["input_ids"]) <= 21 and row["offsets"] for row in rows)
    with pytest.raises(InputError, match=r"--max-length 21 .* no room for a --stride of 9 tokens"):
        QuestionAnsweringTask(stride=9).features(examples, tokenizer)
    tokenizer.model_max_length = 384


# ---------------------------------------------------------------------------------------------------------- answers


@given(st.lists(st.tuples(st.integers(-5, 5), st.integers(-5, 5)), min_size=1, max_size=7), st.integers(1, 9))
def test_the_best_spans_are_those_that_trying_all_finds(pairs, longest):
    begins, ends = (np.array(column, dtype=np.float32) for column in zip(*pairs, strict=True))
    n = len(pairs)
    every = sorted((float(begins[i] + ends[j]), i, j) for i in range(n) for j in range(i, min(n, i + longest)))
    for count in (1, 4, 100):
        found = best_spans(begins, ends, longest, count)
        assert [span[0] for span in found] == [span[0] for span in every[::-1][:count]]
        assert set(found) <= set(every)


@pytest.mark.parametrize("answer", ["Łódź", "1945—so called—took 2.5", "[SEP] were left.", TEXT])
@pytest.mark.parametrize("max_length", [30, 50, 384])
def test_a_model_that_knows_answers_with_the_very_slice_of_the_text(tokenizer, answer: str, max_length: int):
    tokenizer.model_max_length = max_length
    task = QuestionAnsweringTask(stride=5, max_answer_length=500)
    examples = Examples(Path("x"), [example("Nothing here.", "here"), example(TEXT, answer, question="?")])
    features = task.features(examples, tokenizer)
    rows = [row for row in features if row["example"] == 1 and row["start_positions"] > 0]
    found = task.answers(examples, features, ideal_outputs(features))[1]
    tokenizer.model_max_length = 384
    if rows:  # it fits into a window
        assert found["answer"] == answer == TEXT[found["start"] : found["end"]]
        assert found["probability"] == found["n_best"][0]["probability"] > 0.9
    else:
        assert len(answer) > max_length - 30


def test_nearly_every_answer_of_real_files_is_within_reach(shared_dir: Path, minilm_dir: Path):
    real = BertTokenizer.from_pretrained(minilm_dir)
    real.model_max_length = 384
    task = QuestionAnsweringTask(max_answer_length=200)
    for name, count in (("squad/dev-v1.1_shared.json", 150), ("covid_qa/covid_qa_200423_repaired.json", 8)):
        examples = task.read(shared_dir / "data" / name).subset(range(count))
        features = task.features(examples, real)
        metrics = task.metrics(examples, task.answers(examples, features, ideal_outputs(features)))
        assert metrics["exact_match"] > 0.99


@pytest.mark.parametrize(("later", "best"), [(1, "n"), (-1, "h")])  # what a later window adds to what it likes
def test_the_best_window_wins_and_a_span_seen_twice_counts_once(tokenizer: BertTokenizer, later: int, best: str):
    tokenizer.model_max_length = 16
    task = QuestionAnsweringTask(stride=5)
    examples = Examples(Path("x"), [example("a b c d e f g h i j k l m n o p", "n", question="?")])
    features = task.features(examples, tokenizer)
    tokenizer.model_max_length = 384
    assert len(features) > 1
    begins, ends = np.zeros((2, len(features), 16), dtype=np.float32)
    for number, row in enumerate(features):  # both windows have an "h", the second one an "n", too
        for place, (first, _) in enumerate(row["offsets"]):
            if (letter := examples[0].given["context"][first]) in "hn":
                liking = 9 + later * number + {"h": 3.0, "n": 3.5}[letter]
                begins[number, row["text_at"] + place] = ends[number, row["text_at"] + place] = liking
    (answer,) = task.answers(examples, features, (begins, ends))
    assert answer["answer"] == best
    places = [(span["start"], span["end"]) for span in answer["n_best"]]
    assert len(set(places)) == len(places)


def test_no_answer_is_given_when_every_window_says_so(tokenizer: BertTokenizer):
    examples = Examples(Path("x"), [example("a b c", "b", question="?")])
    always, sometimes = QuestionAnsweringTask(), QuestionAnsweringTask(no_answer_threshold=1.5)
    (row,) = always.features(examples, tokenizer)
    logits = np.zeros((2, 1, len(row["input_ids"])), dtype=np.float32)
    logits[:, 0, row["text_at"] + 1] = 1  # the best span is worth 2
    for no_answer, expected in ((3, "b"), (4, "")):
        logits[:, 0, 0] = no_answer / 2
        (answer,) = sometimes.answers(examples, [row], tuple(logits))
        assert answer["answer"] == expected
        assert answer["no_answer_score"] == no_answer - 2
        assert answer["n_best"][-1]["answer"] == ""
        shares = np.exp([2, 1, 1, 0, 0, 0, no_answer])  # of "b"; "a b", "b c"; "a", "c", "a b c"; and nothing
        shown = [one["probability"] for one in answer["n_best"]]
        assert shown == pytest.approx((shares / shares.sum())[[0, 1, 2, 3, 4, -1]], abs=1e-6)
        assert always.answers(examples, [row], tuple(logits))[0]["answer"] == "b"
    # One window that thinks it holds the answer is enough.
    twice = np.concatenate([logits, logits], axis=1)
    twice[:, 1, 0] = 0
    for windows_of_both in (twice, twice[:, ::-1]):
        (answer,) = sometimes.answers(examples, [row, row], tuple(windows_of_both))
        assert (answer["answer"], answer["no_answer_score"]) == ("b", -2)


@given(st.lists(st.tuples(st.integers(-3, 3), st.integers(0, 4), st.integers(0, 1)), min_size=1, max_size=8))
@hypothesis_example([(0, 1, 0), (1, 1, 0), (1, 0, 1), (1, 0, 1)])  # no threshold tells equal margins apart
def test_the_threshold_is_the_best_that_trying_all_finds(rows):
    margins, answered, silent = (np.array(column, dtype=float) for column in zip(*rows, strict=True))

    def earned(threshold: float) -> float:
        return float(np.where(margins > threshold, silent, answered).sum())

    best = max(earned(threshold) for threshold in np.arange(-4.5, 5))
    assert earned(best_threshold(margins, answered, silent)) == best


def test_the_threshold_is_chosen_on_the_dev_set_and_saved(tokenizer: BertTokenizer):
    examples = Examples(Path("x"), [example("a b c", "b"), example("d e f"), example("g h i", "g")])
    task = QuestionAnsweringTask(stride=100, max_answer_length=9)
    task.learn_labels(examples)
    assert task.no_answer_threshold == 0
    features = task.features(examples, tokenizer)
    begins, ends = ideal_outputs(features)
    begins[:, 0] = ends[:, 0] = 20  # too ready to say that there is no answer, though less so where there is one
    begins[1, 0] = 30
    assert task.metrics(examples, task.answers(examples, features, (begins, ends)))["f1"] == pytest.approx(1 / 3)
    task.tune(examples, features, (begins, ends))
    metrics = task.metrics(examples, task.answers(examples, features, (begins, ends)))
    assert (metrics["f1"], metrics["exact_match"]) == (1, 1)
    config = SMALL.replace(**task.config_changes())
    assert vars(QuestionAnsweringTask.from_config(config, Columns())) == vars(task)


def test_metrics_tell_kinds_of_questions_apart():
    rows = [
        example("a b", "a", question="When, and who?"),
        example("a b c", "a", "b c", question="So WHO was it?"),
        example("a b", question="Is it?"),
    ]
    answers = [{"answer": "x"}, {"answer": "c"}, {"answer": ""}]
    metrics = QuestionAnsweringTask().metrics(Examples(Path("x"), rows), answers)
    assert (metrics["questions"], metrics["exact_match"]) == (3, pytest.approx(1 / 3))
    assert metrics["f1"] == pytest.approx((0 + 2 / 3 + 1) / 3)
    assert metrics["answerable"] == {"questions": 2, "exact_match": 0, "f1": pytest.approx(1 / 3)}
    assert metrics["unanswerable"] == {"questions": 1, "exact_match": 1, "f1": 1}
    assert {word: found["questions"] for word, found in metrics["by_question_word"].items()} == {
        "when": 1,
        "who": 1,
        "other": 1,
    }
    assert question_word(rows[0]) == "when"


def test_a_model_learns_to_find_an_answer_in_any_window(tokenizer: BertTokenizer):
    chooser = random.Random(0)

    def questions(count: int) -> Examples:
        rows = []
        for _ in range(count):
            words = [chooser.choice("abcdefgh") for _ in range(15)]
            words.insert(chooser.randrange(16), "q")
            rows.append(example(" ".join(words), "q", question="?"))
        return Examples(Path("x"), rows)

    tokenizer.model_max_length = 16
    metrics = learn(QuestionAnsweringTask(stride=4), questions(128), questions(16), tokenizer, steps=30)
    tokenizer.model_max_length = 384
    assert metrics["exact_match"] > 0.9


# --------------------------------------------------------------------------------------------------------- commands


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run on questions of which some have no answer."""
    folder = tmp_path_factory.mktemp("qa")
    save_small_model(folder / "small")
    chooser = random.Random(0)
    words = [chooser.choice(["Anna", "Ben", "Eva"]) + f" came in {year}." for year in range(1900, 1940)]
    context = " ".join(words)
    questions = [asked(str(i), str(1900 + i), context=context, question=words[i][:3]) for i in range(6)]
    questions.append(asked("none") | {"is_impossible": True})
    write(folder / "train.json", squad(*questions, context=context))
    write(folder / "dev.json", squad(*questions[3:], context=context, title="<b>Two</b>"))
    unlabelled = [{key: value for key, value in question.items() if key != "answers"} for question in questions]
    write(folder / "test.json", squad(*unlabelled, context=context))
    flags: list[object] = [
        flag for split in ("train", "dev", "test") for flag in (f"--{split}", folder / f"{split}.json")
    ]
    flags += ["--model", folder / "small", "--max-length", 64, "--epochs", 1, "--out", folder / "out"]
    call("finetune", "--task", "qa", *flags)
    return folder / "out"


def test_a_run_writes_what_the_official_script_reads(finished: Path):
    lines = [json.loads(line) for line in (finished / "predictions.jsonl").read_text().splitlines()]
    for split, count in (("dev", 4), ("test", 7)):
        official = json.loads((finished / f"{split}_predictions.json").read_text())
        assert official == {line["id"]: line["predicted"] for line in lines if line["split"] == split}
        assert len(official) == count
    context = json.loads((finished.parent / "dev.json").read_text())["data"][0]["paragraphs"][0]["context"]
    for line in lines:
        assert "context" not in line
        if line["predicted"]:
            assert context[line["start"] : line["end"]] == line["predicted"]


def test_the_report_shows_the_mistakes_and_escapes_what_it_shows(finished: Path):
    page = (finished / "report.html").read_text()
    assert "The most confident mistakes" in page
    assert "<mark class='" in page
    assert "<b>Two" not in page


def test_the_saved_model_knows_its_settings_and_answers_the_same(finished: Path, capsys: pytest.CaptureFixture[str]):
    metrics = json.loads((finished / "metrics.json").read_text())
    assert metrics["unanswerable"]["questions"] == 1
    assert "test" not in metrics
    call("evaluate", "--model", finished, "--data", finished.parent / "dev.json", "--slice", "title")
    evaluated = json.loads(capsys.readouterr().out)
    for name in ("exact_match", "f1", "no_answer_threshold"):
        assert evaluated[name] == metrics[name]
    assert evaluated["slices"]["<b>Two</b>"]["f1"] == metrics["f1"]
    call("predict", "--model", finished, "--input", finished.parent / "dev.json")
    said = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    official = json.loads((finished / "dev_predictions.json").read_text())
    assert {line["id"]: line["answer"] for line in said} == official
    call("predict", "--model", finished, "Who came?", "Anna came in 1900.")
    assert json.loads(capsys.readouterr().out)["answer"] in "Anna came in 1900."


def test_the_saved_folder_opens_in_transformers_with_the_same_logits(finished: Path):
    theirs = transformers.AutoModelForQuestionAnswering.from_pretrained(finished).eval()
    batch = BertTokenizer.from_pretrained(finished)("Who came?", "Anna came.", return_tensors="pt")
    with torch.no_grad():
        ours = BertForQuestionAnswering.from_pretrained(finished).eval()(**batch)
        peer = theirs(**batch)
    torch.testing.assert_close(ours.start_logits, peer.start_logits, rtol=0, atol=1e-6)
    torch.testing.assert_close(ours.end_logits, peer.end_logits, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"--train": squad(asked("a") | {"answers": [{"text": "1939", "answer_start": 0}]})}, "does not stand at"),
        ({"--dev": squad({"id": "a", "question": "When?"})}, "questions have no 'answers'"),
        ({"--stride": 60}, "no room for a --stride of 60"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_written(finished, tmp_path, capsys, change, message: str):
    flags = {"--train": finished.parent / "train.json", "--dev": finished.parent / "dev.json", "--max-length": 64}
    for flag, value in change.items():
        flags[flag] = write(tmp_path / "bad.json", value) if isinstance(value, dict) else value
    listed = [part for pair in flags.items() for part in pair]
    with pytest.raises(CommandError, match="2"):
        call("finetune", "--task", "qa", *listed, "--model", finished.parent / "small", "--out", tmp_path / "out")
    errors = capsys.readouterr().err
    assert message in errors
    assert not (tmp_path / "out").exists()
