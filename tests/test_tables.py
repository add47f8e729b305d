"""Tables of examples: what is read, and the one sentence for what cannot be."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minibert import InputError
from minibert.data.tables import read_lines, read_table

# Text as it may stand in a cell: no control characters, no half characters.
cells = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\u2028\u2029\x85\ufeff"), max_size=20
)
tables = st.lists(st.tuples(cells, cells), min_size=1, max_size=6)


@given(tables)
def test_a_tsv_gives_back_what_was_written_quotes_and_all(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("t") / "x.tsv"
    path.write_text("text\tlabel\n" + "".join(f"x{a}\t{b}\n" for a, b in rows), encoding="utf-8", newline="")
    assert [tuple(row.values.values()) for row in read_table(path).rows] == [(f"x{a}", b) for a, b in rows]


@given(tables)
def test_a_csv_gives_back_what_was_written(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("t") / "x.csv"
    buffer = io.StringIO()
    csv.writer(buffer).writerows([("text", "label"), *rows])
    path.write_text(buffer.getvalue(), encoding="utf-8", newline="")
    assert [tuple(row.values.values()) for row in read_table(path).rows] == rows


@given(st.lists(st.dictionaries(st.text(), st.text() | st.integers() | st.none(), min_size=1), min_size=1, max_size=5))
def test_a_jsonl_gives_back_what_was_written(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("t") / "x.jsonl"
    path.write_text("".join(json.dumps(row) + "\n\n" for row in rows), encoding="utf-8")
    assert [row.values for row in read_table(path).rows] == rows


def test_lines_are_counted_as_an_editor_does(tmp_path: Path):
    path = tmp_path / "x.csv"
    path.write_text('text,label\n"two\nlines",a\n\nlast,b\n', encoding="utf-8")
    assert [(row.values["text"], row.line) for row in read_table(path).rows] == [("two\nlines", 2), ("last", 5)]


def test_windows_line_ends_and_byte_order_marks_are_no_part_of_the_data(tmp_path: Path):
    for name in ("x.tsv", "x.csv", "x.jsonl"):
        text = '{"text": "a", "label": "b"}\r\n' if name.endswith("jsonl") else "text\tlabel\r\na\tb\r\n"
        (tmp_path / name).write_bytes(b"\xef\xbb\xbf" + text.encode())
        assert read_table(tmp_path / name).rows[0].values == {"text": "a", "label": "b"}


def test_a_csv_that_is_separated_by_tabs_is_read_with_its_quotes(tmp_path: Path):
    (tmp_path / "x.csv").write_text('id\ttext\n1\t"a ""b"", c"\n', encoding="utf-8")
    assert read_table(tmp_path / "x.csv").rows[0].values == {"id": "1", "text": 'a "b", c'}


def test_a_csv_as_spreadsheets_write_it_where_the_comma_is_for_decimals(tmp_path: Path):
    text = '\r\ntext;label;;\n"a; b, ""c""";1,5;;\n'  # below an empty line, with two columns that were never filled
    (tmp_path / "x.csv").write_text(text, encoding="utf-8")
    assert read_table(tmp_path / "x.csv").rows[0].values == {"text": 'a; b, "c"', "label": "1,5", "": ""}


WRONG_FILES = {
    "empty": ("x.tsv", b"", "x.tsv is empty"),
    "only a header": ("x.csv", b"text,label\n", "has no rows below its header"),
    "empty lines": ("x.jsonl", b"\n\n", "is empty"),
    "too few fields": (
        "x.tsv",
        b"text\tlabel\na\tb\nc\n",
        r"line 3: the header has 2 fields \(text, label\), this line 1",
    ),
    "too many fields": (
        "x.csv",
        b"text,label\na,b,c\n",
        r"line 2: the header has 2 fields .*, this line 3",
    ),
    "a column twice": ("x.tsv", b"text\ttext\na\tb\n", "line 1: two columns have the same name"),
    "not UTF-8": ("x.tsv", b"text\tlabel\nok\ta\ncaf\xe9\tb\n", r"line 3: the file is not UTF-8 \(byte 0xe9\)"),
    "an open quote": ("x.csv", b'text,label\n"a,b\nc,d\n', "line 2: .*Are the quotes in order"),
    "broken JSON": ("x.jsonl", b'{"a": 1}\n{"a": \n', r"line 2: this is no JSON"),
    "countless brackets": ("x.jsonl", b"[" * 100_000, "line 1: this is no JSON"),
    "half a character": ("x.jsonl", b'{"a": "\\ud83d"}', r"line 1: this is no JSON \(\\ud83d is half a character\)"),
    "a JSON list": ("x.jsonl", b"[1]\n", "line 1: a JSON object is needed, found list"),
    "another kind of file": ("x.xlsx", b"PK", r"one of \.tsv, \.csv, \.jsonl; predict and similar read a \.txt"),
}


@pytest.mark.parametrize("case", WRONG_FILES)
def test_a_wrong_file_gets_a_sentence(case: str, tmp_path: Path):
    name, content, sentence = WRONG_FILES[case]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=sentence) as caught:
        read_table(tmp_path / name)
    assert str(tmp_path / name) in str(caught.value)


def test_a_missing_file_and_a_folder_get_a_sentence(tmp_path: Path):
    with pytest.raises(InputError, match="no such file or directory"):
        read_table(tmp_path / "none.tsv")
    (tmp_path / "folder.tsv").mkdir()
    with pytest.raises(InputError, match="is a directory"):
        read_table(tmp_path / "folder.tsv")


def test_a_missing_column_names_those_there_are_and_the_flag(tmp_path: Path):
    (tmp_path / "x.tsv").write_text("sentence\tlabel\na\tb\n")
    with pytest.raises(InputError, match=r"no column 'text', but sentence, label\. Name the right one with --text"):
        read_table(tmp_path / "x.tsv").texts("text", "--text-column")


def test_text_must_be_text(tmp_path: Path):
    (tmp_path / "x.jsonl").write_text('{"text": "a"}\n{"text": null}\n')
    with pytest.raises(InputError, match="line 2: 'text' must be text: found null"):
        read_table(tmp_path / "x.jsonl").texts("text", "--text-column")


def test_lines_of_text_are_read_without_blank_ones(tmp_path: Path):
    (tmp_path / "x.txt").write_text("one\n\n two \n", encoding="utf-8")
    assert read_lines(tmp_path / "x.txt") == ["one", " two "]
    odd = ["a\x0cb", "c\u2028d", "e\x85f", "g\x1ch"]  # no editor ends a line there, nor does any other format here
    (tmp_path / "x.txt").write_bytes("\r\n".join(odd).encode())
    assert read_lines(tmp_path / "x.txt") == odd
    (tmp_path / "y.txt").write_text("\n", encoding="utf-8")
    with pytest.raises(InputError, match="has no text"):
        read_lines(tmp_path / "y.txt")
