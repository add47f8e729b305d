"""Tagging: files, windows, features, answers."""

from __future__ import annotations

import json
from argparse import Namespace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from minibert import BertConfig, BertTokenizer, InputError
from minibert.data.windows import split_windows
from minibert.tasks.ner import NerTask
from minibert.tasks.spans import Span, read_spans, write_tags
from minibert.tasks.task import Columns, Example, Examples, Features
from minibert.tokenization.words import word_places

WORDS = "[PAD] [UNK] [CLS] [SEP] [MASK] rolf ek ##eus ##e ##us in paris york new , . u n a b c".split()
CONLL = """-DOCSTART- -X- O O

Rolf NNP I-NP I-PER
Ekeus NNP I-NP I-PER
in IN I-PP O
Paris NNP I-NP I-LOC
\t
Paris NNP I-NP I-LOC
"""


def make_tokenizer(length: int = 32) -> BertTokenizer:
    return BertTokenizer({word: number for number, word in enumerate(WORDS)}, model_max_length=length)


def task(scheme: str | None = None, **columns: str) -> NerTask:
    return NerTask(Columns(**columns), scheme)


def write(folder: Path, name: str, text: str) -> Path:
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def examples(*sentences: str, scheme: str | None = None) -> tuple[NerTask, Examples]:
    """A task that has learnt its labels from "word/TAG word/TAG ..."."""
    rows = []
    for sentence in sentences:
        pairs = [pair.split("/") for pair in sentence.split()]
        rows.append(Example({"tokens": [word for word, _ in pairs]}, [tag for _, tag in pairs], line=1))
    found, judge = Examples(Path("train.txt"), rows), task(scheme)
    judge.learn_labels(found)
    return judge, found


def perfect_logits(judge: NerTask, features: Features, truths: list[list[str]]) -> list[NDArray[np.float32]]:
    """What a model would say that reads the right tags at the first sub-words, and nonsense at the others."""
    outputs = []
    for feature in features:
        logits = np.random.default_rng(0).normal(size=(len(feature["input_ids"]), len(judge.names))) + 5
        for word, head in enumerate(feature["heads"]):
            logits[head] = 0
            logits[head, judge.names.index(truths[feature["example"]][feature["first_word"] + word])] = 9
        outputs.append(logits.astype(np.float32))
    return outputs


# ------------------------------------------------------------------------------------------------------------- files


def test_columns_of_conll_are_read_sentence_by_sentence(tmp_path):
    file = task().read(write(tmp_path, "train.txt", CONLL))
    assert file.given("tokens") == [["Rolf", "Ekeus", "in", "Paris"], ["Paris"]]
    assert file.truths == [["I-PER", "I-PER", "O", "I-LOC"], ["I-LOC"]]
    assert [row.line for row in file] == [3, 8]


def test_any_column_can_be_the_tag(tmp_path):
    path = write(tmp_path, "train.txt", CONLL)
    judge = task(label="2")
    file = judge.read(path)
    assert file.truths[0] == ["NNP", "NNP", "IN", "NNP"]
    judge.learn_labels(file)
    assert (judge.scheme, judge.names) == ("plain", ["IN", "NNP"])


def test_tabs_keep_the_spaces_in_a_word(tmp_path):
    file = task().read(write(tmp_path, "a.conll", "New York\tB-LOC\r\nin \tO\r\n"))
    assert file.given("tokens") == [["New York", "in"]]


def test_tabs_at_the_end_of_lines_are_no_columns_and_a_word_may_be_a_no_break_space(tmp_path):
    file = task().read(write(tmp_path, "a.conll", "Paris\tB-LOC\t\n\u00a0\tO\t\r\n\t\nParis\tB-LOC\n"))
    assert file.given("tokens") == [["Paris", "\u00a0"], ["Paris"]]
    assert file.truths == [["B-LOC", "O"], ["B-LOC"]]


def test_comments_before_a_sentence_are_read_over(tmp_path):
    text = "# text = Paris\nParis\tB-LOC\n#\tO\n\n# id 5-a\tdomain=en\n#\tO\n"
    file = task().read(write(tmp_path, "a.conll", text))
    assert file.given("tokens") == [["Paris", "#"], ["#"]]
    assert [row.line for row in file] == [2, 6]


def test_universal_dependencies_are_read_with_the_words_of_the_text(tmp_path):
    def line(number: str, word: str, kind: str) -> str:
        return "\t".join([number, word, word.lower(), kind, *"______"])

    rows = [line("1-2", "Don't", "_"), line("1", "Do", "AUX"), line("2", "n't", "PART"), line("2.1", "you", "PRON")]
    rows += [line("3", "New York", "PROPN"), ""]
    text = "\n".join(["# newdoc", "# text = Don't", *rows, "# sent_id = 2", line("1", "#", "SYM"), ""])
    file = task().read(write(tmp_path, "a.conllu", text))
    assert file.given("tokens") == [["Do", "n't", "New York"], ["#"]]
    assert file.truths == [["AUX", "PART", "PROPN"], ["SYM"]]
    assert [row.line for row in file] == [4, 10]
    lemmas = task(text="3", label="5").read(tmp_path / "a.conllu")
    assert lemmas[0].given["tokens"] == ["do", "n't", "new york"]
    assert lemmas.truths[0] == ["_", "_", "_"]


def test_a_file_without_blank_lines_is_warned_of(tmp_path, caplog):
    assert len(task().read(write(tmp_path, "a.tsv", "a film\tgood\n" * 501))) == 1
    assert "no blank line between its words" in caplog.text
    caplog.clear()
    assert len(task().read(write(tmp_path, "b.tsv", "a film\tgood\n" * 501 + "\na film\tgood\n"))) == 2
    assert len(task().read(write(tmp_path, "c.tsv", "a film\tgood\n" * 20))) == 1
    assert not caplog.text


def test_json_lines_and_files_without_tags(tmp_path):
    row = {"tokens": ["Paris", "in"], "tags": ["B-LOC", "O"], "source": "web"}
    file = task().read(write(tmp_path, "a.jsonl", json.dumps(row)))
    assert (file.given("tokens"), file.truths, file[0].columns["source"]) == ([row["tokens"]], [row["tags"]], "web")
    words_alone = task().read(write(tmp_path, "words.txt", "Paris\n\nin\n"), truths="if told")
    assert (words_alone.given("tokens"), words_alone.have_truth) == ([["Paris"], ["in"]], False)
    row = {"words": ["Paris"], "parts": ["NNP"]}
    file = task(text="words", label="parts").read(write(tmp_path, "named.jsonl", json.dumps(row)))
    assert (file.given("tokens"), file.truths) == ([["Paris"]], [["NNP"]])
    for line in ('{"tokens": ["Paris"]}', '{"tokens": ["Paris"], "tags": null}'):
        untagged = task().read(write(tmp_path, "untagged.jsonl", line), truths="if told")
        assert (untagged.given("tokens"), untagged.have_truth) == ([["Paris"]], False)
    texts = task().read(write(tmp_path, "texts.jsonl", '{"text": "in Paris."}'), truths="if told")
    assert (texts.given("tokens"), texts.have_truth) == ([["in", "Paris", "."]], False)


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("a.txt", "", "a.txt has no sentences"),
        ("a.txt", "-DOCSTART- O\n\n", "a.txt has no sentences"),
        ("a.txt", "Paris B-LOC\nin\n", "line 2: 2 columns are needed, .* found 'in'"),
        ("a.txt", "Paris\tB-LOC\nin\t\n", r"line 2: 2 columns are needed, .* found 'in\\t'"),
        ("a.txt", "Paris\tB-LOC\n\tO\n", r"line 2: 2 columns are needed, .* found '\\tO'"),
        ("a.txt", "Paris\nin\n", "the words need tags in another column, but there is only 1"),
        ("a.jsonl", '{"tokens": ["a"]}', "no column 'tags', but tokens"),
        ("a.jsonl", '{"tokens": "a b", "tags": ["O", "O"]}', "'tokens' must be a list of strings, .* found \"a b\""),
        ("a.jsonl", '{"tokens": ["a", ""], "tags": ["O", "O"]}', "'tokens' must be a list of strings, none empty"),
        ("a.jsonl", '{"tokens": ["a"], "tags": [0]}', r"'tags' must be a list of strings, none empty: found \[0\]"),
        ("a.jsonl", '{"tokens": ["a", "b"], "tags": ["O"]}', "line 1: 2 tokens need as many tags: found 1"),
    ],
)
def test_a_bad_file_is_told_in_a_sentence(tmp_path, name, text, problem):
    with pytest.raises(InputError, match=problem):
        task().read(write(tmp_path, name, text))


@pytest.mark.parametrize(
    ("columns", "problem"),
    [
        ({"label": "ner"}, "columns of CoNLL's files have numbers, from 1: found 'ner'"),
        ({"label": "0"}, "columns of CoNLL's files have numbers, from 1: found '0'"),
        ({"label": "5"}, "has 4 columns: there is no column 5"),
    ],
)
def test_a_column_that_is_not_there_is_told_in_a_sentence(tmp_path, columns, problem):
    with pytest.raises(InputError, match=problem):
        task(**columns).read(write(tmp_path, "a.txt", CONLL))


# ------------------------------------------------------------------------------------------------------------ labels


def test_iob1_is_learnt_as_iob2_and_bioes_as_it_is():
    judge, _ = examples("Rolf/I-PER Ekeus/I-PER in/O New/I-LOC Paris/B-LOC")
    assert (judge.scheme, judge.names) == ("iob1", ["O", "B-LOC", "B-PER", "I-PER"])
    judge, _ = examples("Rolf/B-PER Ekeus/E-PER in/O Paris/S-LOC")
    assert (judge.scheme, judge.names) == ("bioes", ["O", "S-LOC", "B-PER", "E-PER"])


def test_a_tag_that_does_not_fit_the_others_is_told_with_its_place():
    with pytest.raises(InputError, match=r"line 1: tag 2 is 'IPER', but .* --tag-scheme plain"):
        examples("Rolf/B-PER Ekeus/IPER in/O")
    assert examples("Rolf/B-PER Ekeus/IPER in/O", scheme="plain")[0].names == ["O", "IPER", "B-PER"]


def test_a_file_with_one_tag_teaches_nothing():
    with pytest.raises(InputError, match="all words have the tag 'O'"):
        examples("Rolf/O Ekeus/O")


def test_a_file_without_words_teaches_nothing(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"tokens": [], "tags": []}\n' * 2)
    task = NerTask(Columns())
    with pytest.raises(InputError, match="not one of the 2 sentences has a word"):
        task.learn_labels(task.read(tmp_path / "a.jsonl"))


def test_a_type_that_the_training_file_lacks_is_warned_of_and_counts_as_missed(caplog):
    judge, _ = examples("Paris/B-LOC in/O")
    _, dev = examples("Paris/B-LOC Rolf/B-PER in/O")
    features = judge.features(dev, make_tokenizer())
    assert "train.txt has tags that the model never met: B-PER." in caplog.text
    assert features[0]["labels"] == [-100, 1, -100, 0, -100]
    answers = judge.answers(dev, features, perfect_logits(judge, features, [["B-LOC", "O", "O"]]))
    assert judge.metrics(dev, answers)["recall"] == 0.5


def test_the_config_brings_the_task_back():
    judge, _ = examples("Rolf/I-PER in/O")
    config = BertConfig().replace(**judge.config_changes())
    again = NerTask.from_config(config, Columns())
    assert (again.scheme, again.names) == (judge.scheme, judge.names)


def test_a_model_from_elsewhere_tells_its_scheme_by_its_labels():
    def scheme(*labels: str) -> str | None:
        return NerTask.from_config(
            BertConfig(num_labels=len(labels), id2label=dict(enumerate(labels))), Columns()
        ).scheme

    assert scheme("O", "B-PER", "I-PER") == "iob2"
    assert scheme("S-PER", "B-PER", "I-PER", "E-PER", "O") == "bioes"
    assert scheme("NOUN", "VERB") == "plain"


# -------------------------------------------------------------------------------------------- words, windows, features


@given(st.text(alphabet=st.sampled_from("ab É東.,'s$@ \t\u200b\u00a0"), max_size=20) | st.text(max_size=20))
def test_words_are_the_whole_text_but_for_white_space(text):
    places = word_places(text)
    assert all(start < end for start, end in places)
    assert all(end <= next_start for (_, end), (next_start, _) in pairwise(places))
    assert "".join(text[start:end] for start, end in places) == "".join(text.split())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("J. Smith's 9.30 (U.N.)", "J. Smith 's 9.30 ( U.N. )"),
        ('"Yes," she said...', '" Yes , " she said . . .'),
        ("東京タワー, @home at 5 a.m.", "東 京 タワー , @home at 5 a.m."),
        ("it’s $5!", "it ’s $ 5 !"),
        (" 's ' @ ", "' s ' @"),
    ],
)
def test_words_by_hand(text, words):
    assert [text[start:end] for start, end in word_places(text)] == words.split()


@given(st.integers(1, 20).flatmap(lambda room: st.tuples(st.just(room), st.lists(st.integers(1, room), max_size=40))))
def test_windows_cover_all_words_and_go_on(case):
    room, lengths = case
    windows = split_windows(lengths, room)
    assert windows[0][0] == 0
    assert windows[-1][1] == len(lengths)
    assert all(sum(lengths[start:end]) <= room for start, end in windows)
    for (start, end), (next_start, next_end) in pairwise(windows):
        assert start < next_start <= end < next_end
        assert sum(lengths[next_start:end]) <= room / 4


def test_windows_share_a_fourth_of_their_room():
    assert split_windows([1] * 20, 8) == [(0, 8), (6, 14), (12, 20)]


def test_the_first_sub_word_has_the_label():
    judge, found = examples("Rolf/B-PER Ekeus/I-PER in/O Paris/B-LOC")
    (feature,) = judge.features(found, make_tokenizer())
    assert [WORDS[i] for i in feature["input_ids"]] == "[CLS] rolf ek ##eus in paris [SEP]".split()
    assert judge.names == ["O", "B-LOC", "B-PER", "I-PER"]
    assert feature["labels"] == [-100, 2, 3, -100, 0, 1, -100]
    assert feature["heads"] == [1, 2, 4, 5]


def test_words_that_cannot_be_seen_or_look_special_keep_their_places():
    judge, found = examples("\u200b/O [SEP]/O Paris/B-LOC")
    (feature,) = judge.features(found, make_tokenizer())
    assert [WORDS[i] for i in feature["input_ids"]] == "[CLS] [UNK] [UNK] [UNK] [UNK] paris [SEP]".split()
    assert feature["heads"] == [1, 2, 5]


@settings(deadline=None)
@given(
    st.lists(st.sampled_from(["a", "ekeus", "\u200b", "rolf"]), min_size=1, max_size=60), st.integers(3, 40), st.data()
)
def test_of_a_sentence_in_windows_every_word_is_learnt_once_and_read_back(words, length, data):
    places = data.draw(st.lists(st.integers(0, len(words)), max_size=12, unique=True).map(sorted))
    spans = [Span(start, end, "PER") for start, end in pairwise(places)]
    truth = write_tags(spans, len(words), "iob2")
    judge = NerTask(Columns(), scheme="iob2", names=["O", "B-PER", "I-PER"])
    found = Examples(Path("train.txt"), [Example({"tokens": words}, truth)])
    features = judge.features(found, make_tokenizer(length))
    assert all(len(feature["input_ids"]) <= length for feature in features)
    learnt = [judge.names[label] for feature in features for label in feature["labels"] if label != -100]
    assert learnt == truth
    (answer,) = judge.answers(found, features, perfect_logits(judge, features, [truth]))
    assert read_spans(answer["tags"], "iob2") == spans


def test_windows_are_joined_where_neither_sees_an_entity():
    judge = NerTask(Columns(), scheme="iob2", names=["O", "B-PER", "I-PER"])
    found = Examples(Path("-"), [Example({"tokens": ["a"] * 20})], have_truth=False)
    # room for 16: windows of words 0 to 15 and 12 to 19
    features = judge.features(found, make_tokenizer(18))
    assert [feature["first_word"] for feature in features] == [0, 12]
    first = write_tags([Span(12, 15, "PER")], 20, "iob2")
    second = write_tags([Span(13, 16, "PER")], 20, "iob2")  # sees one word more of it, for it knows what follows
    logits = [*perfect_logits(judge, features[:1], [first]), *perfect_logits(judge, features[1:], [second])]
    (answer,) = judge.answers(found, features, logits)
    assert read_spans(answer["tags"], "iob2") == [Span(13, 16, "PER")]
    # Without an entity across it, the cut is in the middle of what they share, before word 14.
    first = write_tags([Span(13, 14, "PER"), Span(14, 15, "PER")], 20, "iob2")
    logits = [*perfect_logits(judge, features[:1], [first]), *perfect_logits(judge, features[1:], [["O"] * 20])]
    (answer,) = judge.answers(found, features, logits)
    assert read_spans(answer["tags"], "iob2") == [Span(13, 14, "PER")]


def test_no_room_for_a_word_is_told_in_a_sentence():
    judge, found = examples("Rolf/B-PER in/O")
    with pytest.raises(InputError, match="In 2 tokens there is no room for a word: raise --max-length"):
        judge.features(found, make_tokenizer(2))


# ----------------------------------------------------------------------------------------------- answers and metrics


def test_entities_stand_where_the_text_has_them():
    judge = NerTask(Columns(), scheme="iob1", names=["O", "B-LOC", "I-LOC"])
    asked = judge.from_texts(["In  New York, Paris."])
    features = judge.features(asked, make_tokenizer())
    logits = perfect_logits(judge, features, [["O", "B-LOC", "I-LOC", "O", "I-LOC", "O"]])
    (answer,) = judge.answers(asked, features, logits)
    assert answer["tags"] == ["O", "I-LOC", "I-LOC", "O", "I-LOC", "O"]
    places = [(entity["text"], entity["type"], entity["start"], entity["end"]) for entity in answer["entities"]]
    assert places == [("New York", "LOC", 4, 12), ("Paris", "LOC", 14, 19)]
    assert answer["entities"][0]["probability"] == pytest.approx(np.exp(9) / (np.exp(9) + 2), abs=1e-6)
    words_alone = Examples(Path("-"), [Example({"tokens": asked[0].given["tokens"]})], have_truth=False)
    (answer,) = judge.answers(words_alone, features, logits)
    assert [(entity["start"], entity["end"]) for entity in answer["entities"]] == [(3, 11), (14, 19)]


def test_of_plain_tags_each_has_a_probability():
    judge = NerTask(Columns(), scheme="plain", names=["DT", "NN"])
    asked = Examples(Path("-"), [Example({"tokens": ["in", "Paris"]})], have_truth=False)
    features = judge.features(asked, make_tokenizer())
    (answer,) = judge.answers(asked, features, perfect_logits(judge, features, [["DT", "NN"]]))
    assert answer["tags"] == ["DT", "NN"]
    assert answer["probabilities"] == pytest.approx([np.exp(9) / (np.exp(9) + 1)] * 2, abs=1e-6)


def test_a_text_without_words_has_no_tags():
    judge = NerTask(Columns(), scheme="iob2", names=["O", "B-LOC"])
    asked = judge.from_texts([" ", "in"])
    features = judge.features(asked, make_tokenizer())
    answers = judge.answers(asked, features, perfect_logits(judge, features, [[], ["O"]]))
    assert answers == [{"tags": [], "entities": []}, {"tags": ["O"], "entities": []}]


def test_metrics_and_report_of_entities_and_of_plain_tags():
    judge, found = examples("Rolf/I-PER Ekeus/I-PER in/O <b>/I-LOC")
    answers = [{"tags": ["I-PER", "O", "O", "I-LOC"], "entities": [{"probability": 0.9}, {"probability": 0.8}]}]
    metrics = judge.metrics(found, answers)
    assert (metrics["precision"], metrics["recall"], metrics["f1"], metrics["accuracy"]) == (0.5, 0.5, 0.5, 0.75)
    page = "".join(judge.report(found, answers, metrics))
    assert "Rolf Ekeus: PER" in page
    assert "<b>" not in page
    assert page.count("<mark") == 4

    judge, found = examples("Rolf/NNP in/IN", "")
    answers = [{"tags": ["NNP", "NNP"], "probabilities": [0.9, 0.7]}, {"tags": [], "probabilities": []}]
    metrics = judge.metrics(found, answers)
    assert metrics["f1"] == metrics["accuracy"] == metrics["baseline"] == 0.5
    assert metrics["per_type"]["NNP"]["precision"] == 0.5
    assert "in: IN" in "".join(judge.report(found, answers, metrics))


def test_the_report_begins_with_the_surest_mistakes_and_the_worst_sentences():
    judge, found = examples("Oslo/I-LOC in/O", "Rolf/I-PER in/O Rome/I-LOC")
    answers = [
        {"tags": ["I-PER", "O"], "entities": [{"probability": 0.6}]},
        {"tags": ["I-LOC", "O", "I-PER"], "entities": [{"probability": 0.7}, {"probability": 0.9}]},
    ]
    page = "".join(judge.report(found, answers, judge.metrics(found, answers)))
    mistakes, sentences = page.split("The sentences with most mistakes")
    places = [mistakes.index(probability) for probability in ("0.900", "0.700", "0.600")]
    assert places == sorted(places)
    assert sentences.index("Rolf") < sentences.index("Oslo")


def test_the_command_line_may_tell_the_scheme():
    arguments = Namespace(text_column="text", text_b_column="text_b", label_column="3", tag_scheme="iob2")
    judge = NerTask.from_arguments(arguments)
    assert (judge.columns.label, judge.scheme) == ("3", "iob2")


def test_entities_of_conll_2003_are_as_many_as_published(shared_dir):
    file = task().read(shared_dir / "data" / "conll2003" / "eng.testa")
    judge = task()
    judge.learn_labels(file)
    assert judge.scheme == "iob1"
    kinds = [span.kind for truth in file.truths for span in read_spans(truth, "iob1")]
    counts = {kind: kinds.count(kind) for kind in ("LOC", "MISC", "ORG", "PER")}
    assert (len(file), counts) == (3250, {"LOC": 1837, "MISC": 922, "ORG": 1341, "PER": 1842})
