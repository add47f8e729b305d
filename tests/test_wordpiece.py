"""WordPiece in plain Python: equal to what Google's code was recorded to give, and right in cases worked by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minibert.errors import InputError
from minibert.tokenization.wordpiece import (
    BasicTokenizer,
    WordPiece,
    WordPieceTokenizer,
    clean,
    is_cjk,
    is_control,
    is_punctuation,
    is_whitespace,
    load_vocab,
    set_cjk_apart,
    split_on_punctuation,
    strip_accents,
)

EXTRACT = json.loads((Path(__file__).parent / "golden" / "wordpiece.json").read_text(encoding="utf-8"))
RELEASES = {  # recorded file: vocabulary and do_lower_case
    "google_uncased": ("vocab.txt", True),
    "google_uncased_nolower": ("vocab.txt", False),
    "google_cased": ("vocab_cased.txt", False),
}


@pytest.mark.parametrize("setting", ["uncased", "uncased_nolower", "cased"])
def test_equals_google_on_an_extract(setting):
    extract = EXTRACT[setting]
    vocab = {token: i for i, token in enumerate(extract["vocab"])}
    tokenizer = WordPieceTokenizer(vocab, extract["do_lower_case"])
    assert len(extract["lines"]) == 50
    for line in extract["lines"]:
        assert tokenizer.basic.tokenize(line["text"]) == line["basic"]
        assert tokenizer.tokenize(line["text"]) == line["tokens"]


@pytest.mark.parametrize("release", RELEASES)
def test_equals_google_on_every_recorded_line(release, shared_dir):
    folder = shared_dir / "golden" / "wordpiece"
    vocab_name, do_lower_case = RELEASES[release]
    tokenizer = WordPieceTokenizer(load_vocab(folder / vocab_name), do_lower_case)
    lines = [json.loads(line) for line in (folder / f"{release}.jsonl").read_text().splitlines()]
    assert len(lines) == 2427
    for line in lines:
        assert tokenizer.basic.tokenize(line["text"]) == line["basic"]
        tokens = tokenizer.tokenize(line["text"])
        assert tokens == line["tokens"]
        assert tokenizer.convert_tokens_to_ids(tokens) == line["ids"]


# ---------------------------------------------------------------------------------------------------- words


def test_cleaning_drops_the_invisible_and_makes_spaces_plain():
    assert clean("a\0b\ufffdc\u200bd\x7f") == "abcd"
    assert clean("a\tb\nc\rd\u3000e\u00a0f") == "a b c d e f"


def test_line_separators_split_words_although_they_are_no_white_space_to_google():
    assert not is_whitespace("\u2028")
    assert BasicTokenizer().tokenize("a\u2028b") == ["a", "b"]


def test_tab_and_line_ends_are_white_space_and_not_control():
    for char in "\t\n\r":
        assert is_whitespace(char)
        assert not is_control(char)


def test_cjk_ranges_are_exact_at_both_ends():
    for first, last in [(0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2A6DF), (0xF900, 0xFAFF), (0x2F800, 0x2FA1F)]:
        assert [is_cjk(chr(code)) for code in (first - 1, first, last, last + 1)] == [False, True, True, False]
    assert is_cjk("\U0002b91f")


def test_chinese_characters_stand_alone_and_kana_stay_together():
    assert set_cjk_apart("a中文b") == "a 中  文 b"
    assert BasicTokenizer().tokenize("日本のテスト") == ["日", "本", "のテスト"]
    assert BasicTokenizer(split_cjk=False).tokenize("日本のテスト") == ["日本のテスト"]


def test_accents_go_whether_they_were_written_in_one_character_or_two():
    assert strip_accents("café") == strip_accents("cafe\u0301") == "cafe"


def test_accents_and_case_can_be_set_apart():
    assert BasicTokenizer(True).tokenize("CAFÉ") == ["cafe"]
    assert BasicTokenizer(True, strip_accents=False).tokenize("CAFÉ") == ["café"]
    assert BasicTokenizer(False).tokenize("CAFÉ") == ["CAFÉ"]
    assert BasicTokenizer(False, strip_accents=True).tokenize("CAFÉ") == ["CAFE"]


def test_every_punctuation_mark_is_a_word():
    assert split_on_punctuation("(isn't!?)") == ["(", "isn", "'", "t", "!", "?", ")"]
    assert split_on_punctuation("") == []


def test_all_ascii_symbols_count_as_punctuation_and_others_only_by_category():
    ascii_symbols = {chr(code) for code in range(33, 127) if not chr(code).isalnum()}
    assert {chr(code) for code in range(128) if is_punctuation(chr(code))} == ascii_symbols
    assert is_punctuation("、")
    assert not is_punctuation("€")


@settings(deadline=None)
@given(st.text())
def test_words_hold_nothing_but_visible_characters(text):
    for word in BasicTokenizer().tokenize(text):
        assert word
        assert not any(char.isspace() or is_control(char) for char in word)
        assert len(word) == 1 or not any(is_punctuation(char) or is_cjk(char) for char in word)


# ---------------------------------------------------------------------------------------------------- pieces


def vocab_of(*tokens: str) -> dict[str, int]:
    return {token: i for i, token in enumerate(["[UNK]", *tokens])}


def test_the_longest_piece_is_taken_first():
    pieces = WordPiece(vocab_of("un", "una", "##aff", "##ffa", "##able", "##ble"))
    assert pieces.tokenize("unaffable") == ["una", "##ffa", "##ble"]


def test_a_greedy_start_is_not_taken_back_even_if_the_rest_cannot_be_spelled():
    assert WordPiece(vocab_of("a", "ab", "##bc")).tokenize("abc") == ["[UNK]"]


def test_a_word_with_one_unknown_letter_is_unknown_as_a_whole():
    assert WordPiece(vocab_of("a", "##a")).tokenize("aaax") == ["[UNK]"]


def test_a_piece_inside_a_word_needs_its_own_entry():
    assert WordPiece(vocab_of("a", "b")).tokenize("ab") == ["[UNK]"]


def test_words_of_200_characters_are_cut_and_of_201_are_unknown():
    pieces = WordPiece(vocab_of("a", "##a"))
    assert pieces.tokenize("a" * 200) == ["a"] + ["##a"] * 199
    assert pieces.tokenize("a" * 201) == ["[UNK]"]


@settings(deadline=None)
@given(st.text("abc", max_size=200))
def test_pieces_spell_their_word(word):
    pieces = WordPiece(vocab_of("a", "b", "c", "##a", "##b", "##c", "ab", "##bc", "cab", "##abc"))
    assert "".join(piece.removeprefix("##") for piece in pieces.tokenize(word)) == word


def test_tokens_without_an_id_are_refused():
    tokenizer = WordPieceTokenizer(vocab_of("a"))
    assert tokenizer.convert_tokens_to_ids(["a", "[UNK]"]) == [1, 0]
    with pytest.raises(InputError, match=r"'b' is not in the vocabulary of 2 tokens"):
        tokenizer.convert_tokens_to_ids(["a", "b"])


def test_only_strings_are_texts():
    with pytest.raises(InputError, match="must be a string: found None"):
        WordPieceTokenizer(vocab_of("a")).tokenize(None)  # type: ignore[arg-type]


# ---------------------------------------------------------------------------------------------------- vocab.txt


def test_the_id_of_a_token_is_its_line(tmp_path):
    path = tmp_path / "vocab.txt"
    path.write_bytes("[UNK]\r\nthe \n\n\u2028\nend".encode())
    assert load_vocab(path) == {"[UNK]": 0, "the": 1, "": 2, "\u2028": 3, "end": 4}


def test_a_byte_order_mark_is_no_part_of_the_first_token(tmp_path):
    path = tmp_path / "vocab.txt"
    path.write_text("[UNK]\na\n", encoding="utf-8-sig")
    assert load_vocab(path) == {"[UNK]": 0, "a": 1}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        ("größe".encode("latin-1"), r"not UTF-8 text \(byte 2 is 0xf6\)"),
        ("[UNK]\na\n".encode("utf-16"), "not UTF-8"),
        (b"[UNK]\nthe\na\nthe\n", "'the' twice, in lines 2 and 4"),
    ],
)
def test_broken_vocabularies_are_refused_with_the_reason(content, message, tmp_path):
    path = tmp_path / "vocab.txt"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        load_vocab(path)


def test_a_vocabulary_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InputError, match=r"vocab\.txt cannot be read: No such file"):
        load_vocab(tmp_path / "vocab.txt")


def test_a_file_that_is_no_vocabulary_lacks_the_unknown_token():
    with pytest.raises(InputError, match=r"has no \[UNK\].*\(1 tokens found\)"):
        WordPieceTokenizer({"label\ttext": 0})
