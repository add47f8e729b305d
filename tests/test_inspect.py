"""`inspect`: it finds what was planted, counts it right, and says nothing about clean data."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minibert.inspection.characters import CHECKS
from minibert.inspection.duplicates import NEAR, jaccard, near_across, near_within, normalize, wording
from minibert.inspection.facts import Facts, inspect_splits
from minibert.inspection.labels import is_numeric
from minibert.inspection.languages import language, main_script
from minibert.inspection.page import lines
from minibert.inspection.splits import Finding, read_split, read_tagged_split
from minibert.tasks.task import Columns
from minibert.tokenization import BertTokenizer

from .helpers import word_tokenizer
from .test_commands import CommandError, call, one_line

word_sets = st.lists(st.frozensets(st.sampled_from("abcdefgh"), min_size=1), max_size=12)


def facts_of(tmp_path: Path, tokenizer: BertTokenizer | None = None, max_length: int = 128, **files: str) -> Facts:
    """What is found in files (train, dev, test) of these lines."""
    splits = []
    for name, text in files.items():
        path = tmp_path / f"{name}.tsv"
        path.write_text(text, encoding="utf-8")
        splits.append(read_split(name, path, Columns()))
    return inspect_splits(splits, tokenizer, max_length)


def found(facts: Facts, what: str) -> Finding:
    """The one finding whose text begins so."""
    (finding,) = [finding for finding in facts.findings if finding.what.startswith(what)]
    return finding


def table(*rows: str) -> str:
    return "text\tlabel\n" + "".join(row + "\n" for row in rows)


# ------------------------------------------------------------------------------------------------ duplicates


@given(word_sets, word_sets)
def test_near_duplicates_are_exactly_those_that_comparing_all_pairs_finds(sets, earlier):
    within = {pair.place for pair in near_within(sets)}
    assert within == {i for i, one in enumerate(sets) if any(jaccard(one, other) >= NEAR for other in sets[:i])}
    across = {pair.place for pair in near_across(sets, earlier)}
    assert across == {i for i, one in enumerate(sets) if any(jaccard(one, other) >= NEAR for other in earlier)}
    for pair in near_across(sets, earlier):
        assert pair.similarity == jaccard(sets[pair.place], earlier[pair.of]) >= NEAR


def test_jaccard_by_hand():
    assert jaccard(wording("a b c d e").words, wording("E d, c b").words) == 4 / 5
    assert (
        jaccard(wording("a b", "c").words, wording("a b c").words) == 2 / 4
    )  # on the other side of a pair, c is another word


def test_duplicates_are_found_whatever_their_capitals_and_blanks(tmp_path: Path):
    facts = facts_of(
        tmp_path, train=table("A good  film\tyes", "bad\tno", "a good film \tyes", "ﬁlm ﬁne\tno", "film fine\tno")
    )
    finding = found(facts, "exact duplicates")
    assert (finding.rows, finding.of) == (2, 5)
    assert [(row["line"], row["times"]) for row in finding.examples] == [(2, 2), (5, 2)]
    assert normalize("ﬁlm ﬁne") == "film fine"


def test_the_same_text_with_two_labels_is_a_serious_finding_that_shows_both(tmp_path: Path):
    facts = facts_of(tmp_path, train=table("so so\tgood", "so so\tgood", "fine\tgood", "So so\tbad"))
    finding = found(facts, "the same text with different labels")
    assert (finding.rows, finding.serious) == (3, True)
    assert [row["label"] for row in finding.examples] == ["good", "bad"]


def test_dev_rows_that_are_in_train_are_found_exact_and_near(tmp_path: Path):
    long = "one two three four five six seven eight nine ten"
    facts = facts_of(
        tmp_path,
        train=table(f"{long}\tyes", "something else\tno"),
        dev=table(f"{long} eleven\tyes", "Something else\tno", "quite new\tno"),
    )
    exact, near = found(facts, "rows that are also in train"), found(facts, "near duplicates of rows in train")
    assert (exact.file, exact.rows, exact.of, exact.serious) == ("dev", 1, 3, True)
    assert (near.rows, near.of) == (1, 3)
    assert [(row["file"], row["line"]) for row in near.examples] == [("train", 2), ("dev", 2)]
    assert near.examples[1]["similarity"] == pytest.approx(10 / 11, abs=0.01)


# ------------------------------------------------------------------------------------------------ characters, languages


def test_common_words_that_train_never_has_are_found(tmp_path: Path):
    train = [f"Row {number} (of many)\tyes" for number in range(100)]
    dev = [f"row {number} -LRB- of many )\tno" for number in range(5)] + ["other -rrb-\tno"] * 15
    facts = facts_of(tmp_path, train=table(*train), dev=table(*dev), test=table(*dev[:4], *train[:16]))
    finding = found(facts, "words that train never has")
    assert (finding.file, finding.rows, finding.of, finding.serious) == ("dev", 20, 20, False)
    assert [row["found"] for row in finding.examples] == [") -lrb- many of"] * 5  # cut at other places, too
    too_few = facts_of(tmp_path, train=table(*train[:20]), dev=table(*dev, *train[:20]))
    assert not [finding for finding in too_few.findings if "never has" in finding.what]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("a cafÃ© in Paris", "mojibake"),
        ("itâ€™s fine", "mojibake"),
        ("it\x92s fine", "mojibake"),  # an apostrophe of Windows-1252, read as Latin-1
        ("na\ufffdve", "lost characters"),
        ("a bell\x07 rings", "control characters"),
        ("zero\u200bwidth", "invisible characters"),
        ("good<br />bad", "HTML left-overs"),
        ("R&amp;B", "HTML left-overs"),
        (r"either\/or", "escape sequences"),
        ('he said ""no""', "escape sequences"),
        ("p\u0430ypal", "mixed scripts in a word"),  # a Cyrillic а
    ],
)
def test_odd_characters_are_told_apart(text: str, what: str):
    assert [name for name, (check, _) in CHECKS.items() if check(text)] == [what]


@pytest.mark.parametrize(
    "text",
    [
        "naïve café, 20 °C, «déjà vu», Übergröße", "Привет, мир", "日本語のテキスト", "5 < 6 and 7 > 3",
        "3 µm, β-blocker", "AT&T",
        "👩‍👩‍👧 family", "C:\\temp", "a <unk> b", "می‌خواهم",
    ],
)  # fmt: skip
def test_characters_that_are_meant_are_no_findings(text: str):
    assert [name for name, (check, _) in CHECKS.items() if check(text)] == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The film is good, and it was not too long for me", "English"),
        ("Der Film ist gut und auch nicht zu lang", "German"),
        ("Le film est bon, mais il y a des longueurs dans la fin", "French"),
        ("La película es buena, pero el final no está a la altura de los actores", "Spanish"),
        ("O filme é bom, mas não foi o melhor do ano", "Portuguese"),
        ("Il film è bello, ma non è il migliore della serie", "Italian"),
        ("De film is goed, maar het einde van het verhaal is niet zo sterk", "Dutch"),
        ("good film", None),
        ("How do I write a song? How do I do a song?", "English"),
    ],
)
def test_languages_are_told_by_their_small_words(text: str, expected: str | None):
    assert language(text) == expected


def test_a_row_in_another_script_or_language_is_found(tmp_path: Path):
    rows = ["the film is good and it was fun\tyes"] * 3
    facts = facts_of(tmp_path, train=table(*rows, "Фильм хороший\tyes", "der Film ist nicht gut und auch zu lang\tno"))
    assert found(facts, "another script").examples[0]["found"] == "Cyrillic"
    assert found(facts, "another language").examples[0]["line"] == 6
    assert main_script("日本") == "CJK"
    assert main_script("42!") is None


# ------------------------------------------------------------------------------------------------ labels, rows, lengths


def test_labels_are_counted_and_their_faults_found(tmp_path: Path):
    facts = facts_of(
        tmp_path,
        train=table(*[f"text {i}\tyes" for i in range(20)], "x y\tno", "z\tYes ", "w\t"),
        dev=table("new\tmaybe", "newer\tno"),
    )
    assert facts.splits["train"]["labels"]["counts"] == {"yes": 20, "no": 1, "Yes ": 1}
    assert found(facts, "most labels are 'yes'").rows == 20
    assert found(facts, "2 label(s) that occur fewer than 10 times").rows == 2
    assert found(facts, "labels that differ in capitals or white space only ('yes', 'Yes ')").rows == 21
    assert found(facts, "rows without a label").examples[0]["line"] == 24
    unknown = found(facts, "labels that train does not have")
    assert (unknown.file, unknown.rows, unknown.serious) == ("dev", 1, True)


def test_sentences_with_tags_are_counted_by_entities_and_compared_by_tags(tmp_path: Path, capsys: Any):
    paris, visit = "Paris I-LOC\nsleeps O\n\n", "Ann I-PER\nsaw O\nBob I-PER\n\n"
    (tmp_path / "train.conll").write_text(paris * 6 + visit * 6 + "Paris I-PER\nsleeps O\n\n")
    (tmp_path / "dev.conll").write_text(paris + "Acme I-ORG\n\n")
    words = ["--task", "ner", "--json", "--model", "minibert-tiny-uncased", "--max-length", 3]
    call("inspect", tmp_path / "train.conll", "--dev", tmp_path / "dev.conll", *words)
    facts = json.loads(capsys.readouterr().out)
    assert facts["splits"]["train"]["labels"]["counts"] == {"PER": 13, "LOC": 6}
    by_name = {(finding["file"], finding["what"]): finding for finding in facts["findings"]}
    torn = by_name["train", "the same text with different labels"]
    assert (torn["rows"], [row["label"] for row in torn["examples"]]) == (7, ["I-LOC O", "I-PER O"])
    assert by_name["train", "1 label(s) that occur fewer than 10 times"]["rows"] == 6
    assert by_name["dev", "rows that are also in train"]["examples"][0]["line"] == 1
    assert ("train", "longer than 3 tokens, so cut") not in by_name  # but read in windows
    assert by_name["dev", "labels that train does not have"]["examples"][0]["text"] == "Acme"


@pytest.mark.parametrize("other", ["PER", "LOC"])
def test_entities_of_one_kind_or_mostly_of_one_are_no_fault(other: str, tmp_path: Path):
    path = tmp_path / "train.conll"
    path.write_text("".join(f"w{number} I-{'PER' if number < 90 else other}\nrests O\n\n" for number in range(100)))
    assert not inspect_splits([read_tagged_split("train", path, Columns())], None, 128).findings


def squad_file(path: Path, *paragraphs: tuple[str, list[tuple[str, list[str]]]]) -> Path:
    """A SQuAD file of contexts with their questions, of each its answers."""
    paragraph = [
        {"context": context, "qas": [
            {"id": f"{path.stem}-{i}-{j}", "question": question, "answers": [
                {"text": answer, "answer_start": context.index(answer)} for answer in answers
            ]} for j, (question, answers) in enumerate(questions)
        ]} for i, (context, questions) in enumerate(paragraphs)
    ]  # fmt: skip
    path.write_text(json.dumps({"data": [{"title": "Birds", "paragraphs": paragraph}]}))
    return path


def test_questions_are_compared_with_others_about_the_same_text_and_the_texts_with_each_other(tmp_path: Path, capsys):
    rook = "The rook lives in large colonies near fields " + "and " * 31 + "woods."
    crow = "The crow lives alone with its mate in the tall trees of a park."
    owl = "The owl hunts mice by night and it sleeps through the day in a barn."
    where, colonies = "Where does it live?", [("Where does it live?", ["large colonies"])]
    train = squad_file(
        tmp_path / "train.json",
        (rook, [*colonies, ("Where  does it LIVE?", ["fields"]), ("How is it near?", [rook[rook.index("near") :]])]),
        (crow, [(where, ["tall trees of a par"]), ("What does it eat, and what does the crow eat now?", ["mate"])]),
        (crow.replace("park", "garden"), [("What does it eat, and what does the crow eat now?", ["mate"])]),
    )
    dev = squad_file(
        tmp_path / "dev.json",
        (rook, [*colonies, ("Does it sing?", ["woods"])]),
        (owl, [(where, [])]),
        ("猫坐在垫子上。", [("谁?", ["猫"])]),
    )
    call("inspect", train, "--dev", dev, "--task", "qa", "--json", "--html", tmp_path / "page.html")
    facts = json.loads(capsys.readouterr().out)
    by_name = {(finding["file"], finding["what"]): finding for finding in facts["findings"]}
    assert {name: figures["rows"] for name, figures in facts["splits"].items()} == {
        "train": 6, "dev": 4, "train contexts": 3, "dev contexts": 3
    }  # fmt: skip
    assert facts["splits"]["dev"]["labels"]["counts"] == {"an answer": 3, "(no answer)": 1}
    torn = by_name["train", "the same text with different labels"]  # but not that about the crow
    assert [(row["line"], row["label"]) for row in torn["examples"]] == [
        ("question train-0-0", "large colonies"), ("question train-0-1", "fields")
    ]  # fmt: skip
    assert by_name["dev", "rows that are also in train"]["rows"] == 1
    assert by_name["dev", "labels that train does not have"]["rows"] == 1
    assert by_name["dev contexts", "rows that are also in train contexts"]["rows"] == 1
    assert by_name["train contexts", "near duplicates of an earlier row"]["rows"] == 1
    assert by_name["train", "answers longer than 30 words"]["examples"][0]["text"] == "How is it near?"
    assert by_name["train", "answers that begin or end within a word"]["rows"] == 1
    assert ("dev", "answers that begin or end within a word") not in by_name  # Chinese does not part its words
    assert ("train", "near duplicates of an earlier row") not in by_name  # the same question, of other texts
    assert "question train-0-0" in (tmp_path / "page.html").read_text()


def test_measured_numbers_are_no_classes(tmp_path: Path):
    assert is_numeric(["0.5", "2", "3"])
    assert not is_numeric(["0.0", "1.0", ""])  # two classes, written as fractions
    assert not is_numeric(["1", "2", "good"])
    assert not is_numeric(["nan", "inf", "0.5"])
    labels = facts_of(tmp_path, train=table("a\t1.5", "b\t2.5", "c\t3.5")).splits["train"]["labels"]
    assert (labels["mean"], labels["least"], labels["most"]) == (2.5, 1.5, 3.5)
    assert sum(labels["histogram"]["rows"]) == 3
    nearly_one = facts_of(tmp_path, train=table(f"a\t{0.1 + 0.2}", "b\t0.3")).splits["train"]["labels"]
    assert sum(nearly_one["histogram"]["rows"]) == 2


def test_a_training_file_without_labels_is_told_of(tmp_path: Path):
    """Such as one that calls its column of labels otherwise: it had no findings."""
    unlabelled = "text\tsentiment\nred hats\tgood\nblue wine\tbad\n"
    facts = facts_of(tmp_path, train=unlabelled, dev=unlabelled.replace("red", "green").replace("blue", "white"))
    rows = [finding for finding in facts.findings if finding.what == "rows without a label"]
    assert [(finding.file, finding.rows, finding.serious) for finding in rows] == [("train", 2, False)]
    assert "--label-column" in rows[0].advice


def test_advice_that_asks_ends_in_a_question_mark(tmp_path: Path):
    pairs = "text\ttext_b\tlabel\nred hats\tred hats\tyes\nblue wine\twarm rain\tno\n"
    told = "\n".join(lines(facts_of(tmp_path, train=pairs)))
    assert "are they meant?\n" in told
    assert "?." not in told


def test_empty_and_wordless_rows_are_found(tmp_path: Path):
    facts = facts_of(tmp_path, train=table("  \tyes", "?!\tno", "words\tno"))
    assert found(facts, "empty texts").examples[0]["line"] == 2
    assert found(facts, "texts without a word").examples[0]["line"] == 3


def test_lengths_count_the_special_tokens_and_what_is_cut_and_unknown(tmp_path: Path):
    tokenizer = word_tokenizer("a", "good", "film", "##s")
    facts = facts_of(tmp_path, tokenizer, 5, train=table("a good film\tyes", "films a good film\tno", "a Kurosawa\tno"))
    lengths = facts.splits["train"]["lengths"]
    assert lengths["mean"] == (5 + 7 + 4) / 3
    assert lengths["cut"]["5"] == pytest.approx(1 / 3)
    assert lengths["tokens_lost"] == 2 / 16
    assert lengths["unknown_words"] == {"Kurosawa": 1}
    assert lengths["unknown_share"] == 1 / 10  # [CLS] and [SEP] stand for no word
    assert lengths["tokens_per_word"] == 10 / 9
    assert found(facts, "longer than 5 tokens").examples[0]["tokens"] == 7


def test_clean_data_has_no_findings(tmp_path: Path):
    words = "red green blue black white brown pink grey gold plum teal navy lime rust sand sky ivory jade ruby coal"
    rows = [f"the {word} hat\t{'yes' if i % 2 else 'no'}" for i, word in enumerate(words.split())]
    assert facts_of(tmp_path, train=table(*rows), dev=table("a green tree\tno", "some red wine\tyes")).findings == []


def test_what_could_steer_a_terminal_is_shown_as_an_escape(tmp_path: Path, capsys):
    rows = [{"text": "\x1b[31mred\nand\u200b on", "label": "x\u202e"}, {"text": None, "label": 3}]
    (tmp_path / "data.jsonl").write_text("\n".join(map(json.dumps, rows)))
    call("inspect", tmp_path / "data.jsonl", "--html", tmp_path / "page.html")
    said = capsys.readouterr().out
    assert r"line 1: \x1b[31mred and\u200b on  [label: x\u202e" in said
    assert "empty texts, 1 of 2 rows" in said


def count_comparisons(monkeypatch: pytest.MonkeyPatch, sets: list[frozenset[str]]) -> int:
    compared = 0

    def counting(one: frozenset[str], other: frozenset[str]) -> float:
        nonlocal compared
        compared += 1
        return jaccard(one, other)

    with monkeypatch.context() as patch:
        patch.setattr("minibert.inspection.duplicates.jaccard", counting)
        near_within(sets)
    return compared


def test_texts_that_share_too_few_words_are_not_compared_though_they_share_rare_ones(monkeypatch: pytest.MonkeyPatch):
    sets = [wording(f"zebra {i} xylophone {i + 100} quorum {i + 200}").words for i in range(50)]
    assert count_comparisons(monkeypatch, sets) == 0
    template = [wording(f"your order number {i} has gone to customer {100 + i} today").words for i in range(50)]
    again = wording("your order number 7 has gone to customer 107 today again").words
    assert near_across([again], template)[0].of == 7


def test_many_texts_of_a_few_words_take_no_more_comparisons_than_is_said(monkeypatch: pytest.MonkeyPatch):
    draw = random.Random(0)
    sets = [frozenset(draw.sample("abcdefghijklmn", 10)) for _ in range(50)]
    assert count_comparisons(monkeypatch, sets) > 5 * 50
    monkeypatch.setattr("minibert.inspection.duplicates.MOST_COMPARED", 5)
    assert 100 < count_comparisons(monkeypatch, sets) <= 5 * 50
    monkeypatch.setattr("minibert.inspection.duplicates.MOST_LISTED", 1)
    assert count_comparisons(monkeypatch, sets) <= 50


# ------------------------------------------------------------------------------------------------ the command


def test_a_folder_is_no_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "train.tsv").write_text(table("so so\tgood", "so so\tbad"))
    with pytest.raises(CommandError, match="2"):
        call("inspect", tmp_path / "train.tsv", "--html", tmp_path)
    assert f"{tmp_path} is a folder: name a file to write to." in one_line(capsys.readouterr().err)
    assert [path.name for path in tmp_path.iterdir()] == ["train.tsv"]


def test_the_command_writes_lines_json_and_a_page_that_needs_no_network(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    train = tmp_path / "train.tsv"
    train.write_text(table("so so\tgood", "so so\tbad", "a <b>bold</b> film\tbad"))
    call("inspect", train, "--html", tmp_path / "page.html")
    said = capsys.readouterr().out
    assert "!! train: the same text with different labels, 2 of 3 rows (66.7%)" in said
    assert "train, line 3: so so  [label: bad]" in said
    page = (tmp_path / "page.html").read_text()
    assert "a &lt;b&gt;bold&lt;/b&gt; film" in page
    assert page.count("<svg") == 2
    assert not re.search(r"<(script|link|iframe|img)\b| src=", page)
    call("inspect", train, "--json")
    facts = json.loads(capsys.readouterr().out)
    assert facts["splits"]["train"]["labels"]["counts"] == {"bad": 2, "good": 1}
    assert facts["findings"][0]["serious"] is True


@pytest.mark.parametrize(
    ("content", "flags", "sentence"),
    [
        ('{"text": 5, "label": 1}\n', [], "line 1: 'text' must be text: found 5"),
        (f'{{"text": ["{"x" * 999}"]}}\n', [], f"'text' must be text: found ['{'x' * 58}."),
        ('{"body": "x"}\n', [], "there is no column 'text', but body. Name the right one with --text-column"),
        (
            '{"text": "x", "label": "y"}\n',
            ["--label-column", "lable"],
            "no column 'lable', but text, label. Name the right",
        ),
        ("", [], "is empty"),
        ('{"text": "x"}\n', ["--html", "NOWHERE/page.html"], "NOWHERE/page.html: there is no folder "),
        ('{"text": "x"}\n', ["--html", "DATA"], "data.jsonl is a file that is read: choose another name to write to"),
        ('{"text": "x"}\n', ["--dev", "caf\udce9.tsv"], "The name 'caf\\udce9.tsv' is not UTF-8"),
        ('{"text": "x"}\n', ["--dev", "nowhere.tsv"], "nowhere.tsv: no such file"),
        ('{"text": "x"}\n', ["--max-length", "0"], "a whole number, at least 1"),
        ('{"question": "x?"}\n', ["--task", "qa"], "line 1: 'context' is missing"),
    ],
)
def test_a_bad_file_or_flag_gets_one_line(content: str, flags: list[str], sentence: str, tmp_path: Path, capsys):
    (tmp_path / "data.jsonl").write_text(content)
    flags = [flag.replace("NOWHERE", str(tmp_path / "NOWHERE")) for flag in flags]
    flags = [str(tmp_path / "data.jsonl") if flag == "DATA" else flag for flag in flags]
    with pytest.raises(CommandError, match="2"):
        call("inspect", tmp_path / "data.jsonl", *flags)
    assert sentence in one_line(capsys.readouterr().err)
    assert (tmp_path / "data.jsonl").read_text() == content
