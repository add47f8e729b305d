"""Extractive summarization: sentences, windows, the oracle, and what is chosen."""

from __future__ import annotations

import json
import random
from itertools import chain, combinations, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st

from minibert import BertForExtractiveSummarization, BertTokenizer
from minibert.errors import InputError
from minibert.metrics.rouge import longest_common_subsequence
from minibert.tasks.summarization import SummarizationTask, choose, oracle, sentences, windows
from minibert.tasks.task import Columns, Example, Examples

from .helpers import learn, save_small_model, spelling_tokenizer
from .test_commands import CommandError, call

ARTICLE = "Rain fell in Rome.\n\nThe mayor spoke. He wore a hat! Nobody liked the hat.\nIt rained on. The end."


@pytest.fixture(scope="module")
def tokenizer() -> BertTokenizer:
    return spelling_tokenizer()


def article(text: str, summary: str | None = None) -> Examples:
    return Examples(Path("x.jsonl"), [Example({"article": text}, summary)], have_truth=summary is not None)


def write_lines(path: Path, lines: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


# ------------------------------------------------------------------------------------------------------------ files


def test_articles_are_read_under_their_own_names_or_the_users(tmp_path: Path):
    own = write_lines(tmp_path / "a.jsonl", [{"article": ARTICLE, "summary": "Rain."}])
    other = tmp_path / "b.csv"
    other.write_text('document,short,label\n"Rain\n\nfell.",Rain.,x\n')
    for path, columns in ((own, Columns()), (other, Columns("document", "", "short"))):
        examples = SummarizationTask(columns).read(path)
        assert examples.truths == ["Rain."]
    assert sentences(examples[0]) == ("Rain", "fell.")
    for row in ({"article": "Rain."}, {"article": "Rain.", "summary": ""}):
        path = write_lines(tmp_path / "c.jsonl", [row])
        assert not SummarizationTask(Columns()).read(path, truths="if told").have_truth


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ({"text_": "Rain."}, "there is no column 'text', but text_. Name the right one with --text-column"),
        ({"article": "Rain."}, "there is no column 'label', but article. Name the right one with --label-column"),
        ({"article": ["Rain."], "summary": "Rain."}, "'article' must be text"),
        ({"article": " \n", "summary": "Rain."}, "'article' is empty"),
        ({"article": "Rain.", "summary": ""}, "'summary' is empty"),
    ],
)
def test_a_bad_file_is_told_in_one_sentence(tmp_path: Path, line: dict[str, Any], message: str):
    with pytest.raises(InputError) as caught:
        SummarizationTask(Columns()).read(write_lines(tmp_path / "x.jsonl", [line]))
    assert message in str(caught.value)
    assert "x.jsonl, line 1" in str(caught.value)


def test_summaries_that_share_no_word_with_their_articles_teach_nothing():
    with pytest.raises(InputError, match="no article shares a word with its summary"):
        SummarizationTask(Columns()).learn_labels(article("Дождь. Rain.", "Дождь."))


def test_a_text_file_is_one_article(tmp_path: Path):
    path = tmp_path / "a.txt"
    path.write_text(ARTICLE)
    assert SummarizationTask(Columns()).from_text_file(path).given("article") == [ARTICLE]
    path.write_text("\n")
    with pytest.raises(InputError, match="no text to summarize"):
        SummarizationTask(Columns()).from_text_file(path)


# --------------------------------------------------------------------------------------------------------- features


@given(st.lists(st.integers(1, 9), min_size=1, max_size=12), st.integers(9, 30))
def test_windows_hold_every_sentence_once_and_are_as_few_and_as_even_as_can_be(lengths, room):
    found = [lengths[window] for window in windows(lengths, room)]
    assert list(chain(*found)) == lengths
    assert all(part and sum(part) <= room for part in found)
    # Of all ways to cut into as many windows, none has a smaller longest window; and none has fewer windows.
    places = range(1, len(lengths))
    for cuts in range(len(found)):
        longest = min(
            max(sum(lengths[start:end]) for start, end in pairwise([0, *chosen, len(lengths)]))
            for chosen in combinations(places, cuts)
        )
        assert longest > room if cuts < len(found) - 1 else longest == max(map(sum, found))


def test_a_row_has_a_cls_and_a_label_for_each_sentence_and_alternating_types(tokenizer: BertTokenizer):
    tokenizer.model_max_length = 64
    examples = article(ARTICLE, "The mayor spoke. Nobody liked the hat.")
    rows = SummarizationTask(Columns()).features(examples, tokenizer)
    assert len(rows) > 1
    assert list(chain(*(row["labels"] for row in rows))) == [0, 1, 0, 1, 0, 0]
    for row in rows:
        ids, types = row["input_ids"], row["token_type_ids"]
        assert len(ids) == len(types) <= 64
        starts = [place for place, token in enumerate(ids) if token == tokenizer.cls_token_id]
        assert len(starts) == len(row["labels"]) == row["sentences"] == ids.count(tokenizer.sep_token_id)
        assert [types[place] for place in starts] == [number % 2 for number in range(len(starts))]
        assert all(types[place] == types[place + 1] or place + 1 in starts for place in range(len(ids) - 1))


def test_a_sentence_longer_than_a_window_is_cut_and_special_tokens_in_texts_are_words(tokenizer: BertTokenizer):
    tokenizer.model_max_length = 16
    rows = SummarizationTask(Columns()).features(article("A [CLS] b [SEP]. " + "Long words here. " * 3), tokenizer)
    assert [row["sentences"] for row in rows] == [1, 1, 1, 1]
    assert all(len(row["input_ids"]) <= 16 and row["input_ids"].count(tokenizer.cls_token_id) == 1 for row in rows)
    tokenizer.model_max_length = 2
    with pytest.raises(InputError, match="--max-length 2 has no room for a word"):
        SummarizationTask(Columns()).features(article("A b."), tokenizer)


def test_a_batch_gives_every_sentence_its_own_label_and_the_loss_ignores_the_filling(
    tokenizer: BertTokenizer, tmp_path: Path
):
    tokenizer.model_max_length = 64
    task = SummarizationTask(Columns())
    rows = task.features(article(ARTICLE, "Rain fell."), tokenizer)
    rows += task.features(article("One. Two.", "Two."), tokenizer)
    inputs = [{key: row[key] for key in ("input_ids", "token_type_ids", "labels")} for row in rows]
    model = BertForExtractiveSummarization.from_pretrained(save_small_model(tmp_path)).eval()
    with torch.no_grad():
        together = model(**task.collate(inputs))
        alone = [model(**task.collate([row])) for row in inputs]
    counts = [row["sentences"] for row in rows]
    assert len(set(counts)) > 1
    for logits, single, count in zip(together.logits, alone, counts, strict=True):
        torch.testing.assert_close(logits[:count], single.logits[0])
    mean = sum(single.loss * count for single, count in zip(alone, counts, strict=True)) / sum(counts)
    torch.testing.assert_close(together.loss, mean)


# ----------------------------------------------------------------------------------------------- oracle and answers


def test_the_oracle_by_hand():
    texts = ("the cat sat", "a dog ran off", "the cat sat down", "it rained")
    assert oracle(texts, "a dog ran; the cat sat") == (0, 1)
    assert oracle(texts, "nothing") == ()
    assert oracle(("one two", "one two"), "one two") == (0,)  # saying it twice makes it worse


def test_real_summaries_are_found_again_in_their_lower_cased_articles(shared_dir: Path):
    examples = SummarizationTask(Columns("document")).read(shared_dir / "data" / "bbc_news_summary" / "valid.csv")
    chosen = examples.subset(range(40))
    found = [oracle(sentences(example), example.truth) for example in chosen]
    metrics = SummarizationTask(Columns()).metrics(chosen, [{"sentences": list(numbers)} for numbers in found])
    assert metrics["rouge1"] == metrics["oracle"]["rouge1"] > 0.99
    assert metrics["lead_3"]["rouge1"] < 0.5


words = st.lists(st.sampled_from("abcd"), min_size=1, max_size=5).map(" ".join)


@settings(deadline=None)
@given(st.lists(words, min_size=1, max_size=5), words)
def test_no_sentence_more_would_better_the_oracle(texts, summary):
    def value(chosen: set[int]) -> float:
        total = 0.0
        for size in (1, 2):
            grams: list[list[tuple[str, ...]]] = [[], []]
            for side, parts in enumerate(([texts[number] for number in sorted(chosen)], [summary])):
                for part in map(str.split, parts):
                    grams[side] += [tuple(part[at : at + size]) for at in range(len(part) - size + 1)]
            shared = sum(min(grams[0].count(gram), grams[1].count(gram)) for gram in set(grams[0]))
            total += 2 * shared / max(1, len(grams[0]) + len(grams[1]))
        return total

    found = set(oracle(tuple(texts), summary))
    others = [found | {number} for number in range(len(texts))]
    assert all(value(other) <= value(found) + 1e-9 for other in others)
    assert not found or value(found) >= max(value({number}) for number in range(len(texts))) - 1e-9


@given(st.lists(st.sampled_from("abc"), max_size=9), st.lists(st.sampled_from("abc"), max_size=9))
def test_the_longest_common_subsequence_is_that_of_the_textbook(one, other):
    table = np.zeros((len(one) + 1, len(other) + 1), dtype=int)
    for i, left in enumerate(one):
        for j, right in enumerate(other):
            table[i + 1, j + 1] = table[i, j] + 1 if left == right else max(table[i, j + 1], table[i + 1, j])
    assert longest_common_subsequence(one, other) == table[-1, -1]


def test_what_repeats_three_words_in_a_row_is_left_out():
    texts = ["the cat sat down", "here the cat sat", "a cat sat", "nothing new"]
    assert choose(texts, [0.9, 0.8, 0.1, 0.5], 2) == [0, 3]
    assert choose(texts, [0.1, 0.8, 0.9, 0.5], 3) == [1, 2, 3]
    assert choose(texts[:2], [0.9, 0.8], 2) == [0]


def test_the_summary_is_the_best_sentences_of_all_windows_in_the_order_of_the_text(tokenizer: BertTokenizer):
    tokenizer.model_max_length = 64
    task = SummarizationTask(Columns(), summary_sentences=2)
    examples = article(ARTICLE, "Nobody liked the hat. The end.")
    rows = task.features(examples, tokenizer)
    logits = np.full((len(rows), 6), -100, dtype=np.float32)
    wanted = iter([0.0, 0.5, 0.0, 1.0, 0.0, 2.0])
    for row, values in zip(rows, logits, strict=True):
        values[: row["sentences"]] = [next(wanted) for _ in range(row["sentences"])]
    (answer,) = task.answers(examples, rows, logits)
    assert (answer["summary"], answer["sentences"]) == ("Nobody liked the hat. The end.", [3, 5])
    assert answer["probabilities"][0] == 0.5
    metrics = task.metrics(examples, [answer])
    assert (metrics["rouge1"], metrics["rougeL"], metrics["oracle"]["rouge1"]) == (1, 1, 1)
    assert metrics["lead_2"]["rouge1"] == pytest.approx(2 / 13)  # "the" alone, of 7 and 6 words


def test_a_model_learns_which_sentences_belong_in_a_summary(tokenizer: BertTokenizer):
    chooser = random.Random(0)

    def articles(count: int) -> Examples:
        rows = []
        for _ in range(count):
            texts = [" ".join(chooser.choices("abcdefgh", k=2)) + " so." for _ in range(4)]
            wanted = chooser.randrange(4)
            texts[wanted] = "q " + texts[wanted]
            rows.append(Example({"article": " ".join(texts)}, texts[wanted]))
        return Examples(Path("x"), rows)

    tokenizer.model_max_length = 20  # two windows an article
    metrics = learn(SummarizationTask(Columns(), 1), articles(256), articles(16), tokenizer, steps=80)
    assert metrics["rouge1"] > 0.95 > metrics["lead_1"]["rouge1"] + 0.2


# --------------------------------------------------------------------------------------------------------- commands


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run."""
    folder = tmp_path_factory.mktemp("summaries")
    save_small_model(folder / "small")
    lines = [{"article": ARTICLE + f" Number {n} <b>won</b>.", "summary": "The mayor spoke."} for n in range(6)]
    write_lines(folder / "train.jsonl", lines)
    write_lines(folder / "dev.jsonl", [line | {"topic": "rain"} for line in lines[:3]])
    flags = ["--train", folder / "train.jsonl", "--dev", folder / "dev.jsonl", "--model", folder / "small"]
    flags += ["--summary-sentences", 2, "--epochs", 1, "--batch-size", 4, "--out", folder / "out"]
    call("finetune", "--task", "summarization", *flags)
    return folder / "out"


def test_a_run_leaves_metrics_beside_lead_and_oracle_and_a_report(finished: Path):
    metrics = json.loads((finished / "metrics.json").read_text())
    assert metrics["oracle"]["rouge1"] == 1
    for found in (metrics, metrics["lead_2"], metrics["oracle"]):
        assert {"rouge1", "rouge2", "rougeL", "sentences"} <= found.keys()
    page = (finished / "report.html").read_text()
    assert "<mark class='" in page
    assert "<b>won" not in page


def test_the_saved_model_summarizes_the_same(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    call("evaluate", "--model", finished, "--data", finished.parent / "dev.jsonl", "--slice", "topic")
    evaluated = json.loads(capsys.readouterr().out)
    metrics = json.loads((finished / "metrics.json").read_text())
    assert evaluated["slices"]["rain"]["rouge1"] == evaluated["rouge1"] == metrics["rouge1"]
    told = [json.loads(line) for line in (finished / "predictions.jsonl").read_text().splitlines()]
    (tmp_path / "a.txt").write_text(told[0]["article"])
    for flags in (["--input", tmp_path / "a.txt"], [told[0]["article"]]):
        call("predict", "--model", finished, *flags)
        said = json.loads(capsys.readouterr().out)
        assert said["summary"] == told[0]["predicted"]
        assert len(said["sentences"]) == 2


def test_the_saved_folder_opens_in_transformers_with_the_same_scores(finished: Path):
    theirs = transformers.AutoModelForTokenClassification.from_pretrained(finished).eval()
    row = BertTokenizer.from_pretrained(finished)("The mayor spoke.", return_tensors="pt")
    with torch.no_grad():
        ours = BertForExtractiveSummarization.from_pretrained(finished).eval()(**row).logits
        torch.testing.assert_close(ours, theirs(**row).logits[:, 0], rtol=0, atol=1e-6)


def test_what_is_wrong_is_said_before_anything_is_written(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    bad = write_lines(tmp_path / "bad.jsonl", [{"article": "Rain.", "summary": 5}])
    flags = ["--train", bad, "--dev", finished.parent / "dev.jsonl", "--model", finished.parent / "small"]
    with pytest.raises(CommandError, match="2"):
        call("finetune", "--task", "summarization", *flags, "--out", tmp_path / "out")
    assert "bad.jsonl, line 1: 'summary' must be text: found 5" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
