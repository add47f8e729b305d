"""`BertTokenizer`: its tokens against the definition, its call against transformers, its files both ways, errors."""

from __future__ import annotations

import json
import math
import pickle
import subprocess
import sys
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer

from minibert.errors import InputError
from minibert.tokenization import BertTokenizer

from .test_wordpiece import EXTRACT, RELEASES

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
LETTERS = "abcdefghijklmnopqrstuvwxyzé"


def vocab_of(*tokens: str) -> dict[str, int]:
    return {token: i for i, token in enumerate(dict.fromkeys(tokens))}


VOCAB = vocab_of(
    *SPECIAL,
    *(prefix + char for char in "abcdefghijklmnopqrstuvwxyzéABCDEFGHIJKLMNOPQRSTUVWXYZ" for prefix in ("", "##")),
    *("the", "cat", "sat", "un", "##aff", "##able", "ab", "##bc", "caf", "café"),
    *".,!?'-[]#()0123456789中文",
)


@pytest.fixture(scope="module")
def tokenizer() -> BertTokenizer:
    return BertTokenizer(VOCAB)


@pytest.fixture(scope="module")
def peer() -> Any:
    return transformers.BertTokenizer(vocab=VOCAB, model_max_length=512)


# ---------------------------------------------------------------------------------------------------- the definition


@pytest.mark.parametrize("setting", ["uncased", "uncased_nolower", "cased"])
def test_splitting_special_tokens_makes_it_equal_to_google_on_an_extract(setting):
    extract = EXTRACT[setting]
    vocab = {token: i for i, token in enumerate(extract["vocab"])}
    tokenizer = BertTokenizer(vocab, extract["do_lower_case"], split_special_tokens=True)
    for line in extract["lines"]:
        assert tokenizer.tokenize(line["text"]) == line["tokens"]


@pytest.mark.parametrize("release", RELEASES)
def test_every_recorded_line_equals_google_or_has_a_special_token_written_in_it(release, shared_dir):
    folder = shared_dir / "golden" / "wordpiece"
    vocab_name, do_lower_case = RELEASES[release]
    tokenizer = BertTokenizer(folder / vocab_name, do_lower_case)
    differing = []
    for line in map(json.loads, (folder / f"{release}.jsonl").read_text().splitlines()):
        assert tokenizer.tokenize(line["text"], split_special_tokens=True) == line["tokens"]
        if tokenizer.tokenize(line["text"]) != line["tokens"]:
            differing.append(line["text"])
    assert len(differing) == 9
    assert all(any(token in text for token in SPECIAL) for text in differing)


CAUSES_MENDED = {
    "a word of 200 characters": "a" * 200,
    "final sigma": "ΟΔΟΣ, ΟΔΟΣ ΣΑΣ' Σ ΑΣ'Α ΑʰΣ",
    "private use": "a\ue000b \U000f0000",
    "the end of CJK extension E": "a\U0002b820b \U0002b91f",
    "a young format character": "a\u08e2b",
    "a young accent": "a\u0898b",
    "young punctuation": "a\u2e52b",
    "half a surrogate pair": "a\ud83d b",
}


@pytest.mark.parametrize("cause", CAUSES_MENDED)
def test_a_cause_of_difference_that_is_mended(cause):
    text = CAUSES_MENDED[cause]
    if any(unicodedata.category(char) == "Cn" for char in text):
        pytest.skip("it is younger than this Python's Unicode, too")
    letters = "οδασς\ue000\u0898\u08e2\U0002b820\U0002b91f\u2e52"
    tokenizer = BertTokenizer(vocab_of(*VOCAB, *letters, *(f"##{letter}" for letter in letters)))
    assert tokenizer.tokenize(text) == tokenizer.wordpiece.tokenize(text)


def test_special_tokens_in_the_text_are_kept_or_split_as_asked(tokenizer):
    text = "the[MASK]cat"
    assert tokenizer.tokenize(text) == ["the", "[MASK]", "cat"]
    split = ["the", "[", "m", "##a", "##s", "##k", "]", "cat"]
    assert tokenizer.tokenize(text, split_special_tokens=True) == split == tokenizer.wordpiece.tokenize(text)
    assert tokenizer.tokenize(text) == ["the", "[MASK]", "cat"]
    always = BertTokenizer(VOCAB, split_special_tokens=True)
    assert always.tokenize(text) == split
    assert always.tokenize(text, split_special_tokens=False) == ["the", "[MASK]", "cat"]


def words_of(tokenizer: BertTokenizer, text: str) -> list[str]:
    """What the engine makes of a text before it looks for pieces."""
    normalized = tokenizer._engine.normalizer.normalize_str(text)
    return [word for word, _ in tokenizer._engine.pre_tokenizer.pre_tokenize_str(normalized)]


def differing_characters(tokenizer: BertTokenizer, codes: range) -> list[str]:
    """The characters among these of which the engine and the definition make different words: halves, until found."""
    text = " ".join(f"a{char}b" for char in map(chr, codes) if not "\ud800" <= char <= "\udfff")
    if words_of(tokenizer, text) == tokenizer.wordpiece.basic.tokenize(text):
        return []
    if len(codes) == 1:
        return [chr(codes[0])]
    half = len(codes) // 2
    return differing_characters(tokenizer, codes[:half]) + differing_characters(tokenizer, codes[half:])


NO_ACCENT_SINCE_14 = {"\u1734"} if unicodedata.unidata_version.startswith("13.") else set()


@pytest.mark.parametrize("do_lower_case", [True, False])
def test_characters_of_living_scripts_are_treated_alike(do_lower_case):
    differing = differing_characters(BertTokenizer(VOCAB, do_lower_case), range(0x3100))
    known = {char for char in differing if unicodedata.category(char) != "Cn"}
    assert known <= NO_ACCENT_SINCE_14


@pytest.mark.slow
@pytest.mark.parametrize("do_lower_case", [True, False])
def test_the_characters_treated_differently_are_few_and_unknown_to_one_side(do_lower_case):
    tokenizer = BertTokenizer(VOCAB, do_lower_case)
    blocks = range(0, sys.maxunicode + 1, 256)
    differing = [char for start in blocks for char in differing_characters(tokenizer, range(start, start + 256))]
    assert len(differing) < 400
    known = {char for char in differing if unicodedata.category(char) != "Cn"} - NO_ACCENT_SINCE_14
    assert known <= {"\U0001171e", "\U00011938"}  # an accent no more since Unicode 15, and one that came apart in 13


NASTY = st.text(
    st.sampled_from("ΣΣσΑαaAé.,'’-·: \u0301ʰ1中^𝐀ª\u0345\u00ad\u200d\u2028\x85\u3000\ue000\0\ufffdß"), max_size=12
)


@settings(deadline=None)
@given(NASTY)
def test_equals_the_definition_on_nasty_mixtures(text):
    for do_lower_case in (True, False):
        tokenizer = BertTokenizer(VOCAB, do_lower_case)
        assert words_of(tokenizer, text) == tokenizer.wordpiece.basic.tokenize(text)


@settings(deadline=None)
@given(NASTY)
def test_offsets_point_at_the_text_that_a_token_came_from(text):
    tokenizer = BertTokenizer(VOCAB)
    encoding = tokenizer(text, return_offsets_mapping=True, add_special_tokens=False)
    for token, (start, end) in zip(encoding.tokens(), encoding.offset_mapping, strict=True):
        if token != "[UNK]":
            assert tokenizer.wordpiece.basic.tokenize(text[start:end]) == [token.removeprefix("##")]


def test_offsets_stay_right_where_characters_were_dropped_or_taken_apart(tokenizer):
    text = "\u200bA\0b\u0301 É中[MASK]\ue000!"
    encoding = tokenizer(text, return_offsets_mapping=True, add_special_tokens=False)
    assert encoding.tokens() == ["ab", "e", "中", "[MASK]", "[UNK]", "!"]
    assert encoding.offset_mapping == [(1, 4), (6, 7), (7, 8), (8, 14), (14, 15), (15, 16)]


# ---------------------------------------------------------------------------------------------------- transformers

# Characters that the engine's parts for BERT, as transformers uses them, treat as Google does.
TEXT = st.text(st.sampled_from("abcatTé.,!-'[]# \t\n中文\u0301\u200b\0\ufffd\u3000🙂"), max_size=14) | st.sampled_from(
    ["the cat sat", "[MASK]the[SEP]", "Unaffable cats, un", "the cat sat the cat sat the cat", ""]
)
WORDS = st.lists(TEXT, max_size=5)


@st.composite
def calls(draw):
    """Arguments of a call in all its forms."""
    in_words = draw(st.booleans())
    item = WORDS if in_words else TEXT
    form = draw(st.sampled_from(["one", "one and one", "batch", "batch and batch", "batch of pairs"]))
    if form.startswith("one"):
        arguments = [draw(item)] + ([draw(item)] if form == "one and one" else [])
    else:
        batch = draw(st.lists(st.tuples(item, item), min_size=1, max_size=4))
        firsts, seconds = ([pair[i] for pair in batch] for i in (0, 1))
        arguments = {"batch": [firsts], "batch and batch": [firsts, seconds], "batch of pairs": [batch]}[form]
    optional: dict[str, st.SearchStrategy[Any]] = {
        "add_special_tokens": st.booleans(),
        "padding": st.sampled_from([False, True, "longest", "max_length", "do_not_pad"]),
        "truncation": st.sampled_from(
            [None, False, True, "longest_first", "only_first", "only_second", "do_not_truncate"]
        ),
        "max_length": st.none() | st.integers(0, 20),
        "stride": st.integers(0, 3),
        "pad_to_multiple_of": st.sampled_from([None, 4, 8]),
        "return_token_type_ids": st.booleans(),
        "return_attention_mask": st.booleans(),
        "return_overflowing_tokens": st.booleans(),
        "return_special_tokens_mask": st.booleans(),
        "return_offsets_mapping": st.booleans(),
        "split_special_tokens": st.booleans(),
    }
    return arguments, draw(st.fixed_dictionaries({"is_split_into_words": st.just(in_words)}, optional=optional))


def assert_same(ours: Any, theirs: Any) -> None:
    assert list(ours) == list(theirs)
    for key in theirs:
        assert ours[key] == theirs[key], key
    assert len(ours.encodings) == len(theirs.encodings)
    for row in range(len(theirs.encodings)):
        assert ours.tokens(row) == theirs.tokens(row)
        assert ours.word_ids(row) == theirs.word_ids(row)
        assert ours.sequence_ids(row) == theirs.sequence_ids(row)
        for place in range(len(ours.tokens(row))):
            assert ours.token_to_chars(row, place) == theirs.token_to_chars(row, place)
        for char in range(6):
            assert ours.char_to_token(row, char) == theirs.char_to_token(row, char)
            assert ours.char_to_token(row, char, 1) == theirs.char_to_token(row, char, 1)


def outcome(
    call: Callable[..., Any], arguments: list[Any], options: dict[str, Any]
) -> tuple[Any, BaseException | None]:
    try:
        return call(*arguments, **options), None
    except BaseException as error:  # a Rust panic is no Exception
        return None, error


@pytest.mark.filterwarnings("ignore:.*max_length")
@settings(max_examples=400, deadline=None)
@given(call=calls())
def test_every_form_of_the_call_gives_what_transformers_gives(call, tokenizer, peer):
    ours, our_error = outcome(tokenizer, *call)
    theirs, their_error = outcome(peer, *call)
    if our_error is None:
        assert their_error is None
        assert_same(ours, theirs)
        return
    assert isinstance(our_error, InputError)
    if their_error is None:  # transformers does not truncate then, and fails once a text is long enough
        assert "leaves no room" in str(our_error) or "must be smaller" in str(our_error)
    else:
        assert "max_length" in str(our_error)
        assert type(their_error).__name__ in ("Exception", "PanicException", "ValueError")


@pytest.mark.parametrize("side", ["padding_side", "truncation_side"])
def test_padding_and_truncation_on_the_left_are_those_of_transformers(side):
    left: dict[str, Any] = {side: "left"}
    ours, theirs = BertTokenizer(VOCAB, **left), transformers.BertTokenizer(vocab=VOCAB, **left)
    options: dict[str, Any] = {"padding": True, "truncation": True, "max_length": 6, "return_overflowing_tokens": True}
    texts = ["the cat", "the cat sat un able, the cat"]
    assert_same(ours(texts, **options), theirs(texts, **options))


@pytest.mark.parametrize("max_length", [None, 5])
@pytest.mark.parametrize("text", ["the cat sat the cat", ["the cat", "the"]])
def test_tensors_and_arrays_are_those_of_transformers(text, max_length, tokenizer, peer):
    options = {"padding": True, "truncation": True, "max_length": max_length, "return_offsets_mapping": True}
    ours, theirs = (each(text, return_tensors="pt", **options) for each in (tokenizer, peer))
    assert list(ours) == list(theirs)
    for name in theirs:
        assert ours[name].dtype == torch.int64
        assert torch.equal(ours[name], theirs[name])
        assert np.array_equal(tokenizer(text, return_tensors="np", **options)[name], theirs[name].numpy())


def test_strings_of_numpy_are_strings(tokenizer):
    texts = np.array(["the", "cat"])
    assert tokenizer(list(texts)).input_ids == tokenizer(["the", "cat"]).input_ids


def test_no_tokens_at_all_are_an_empty_tensor_of_whole_numbers(tokenizer):
    ids = tokenizer("", add_special_tokens=False, return_tensors="pt").input_ids
    assert (ids.shape, ids.dtype) == ((1, 0), torch.int64)


def test_without_a_limit_nothing_is_cut_or_padded_to_it():
    ours = BertTokenizer(VOCAB, model_max_length=10**30)
    theirs = transformers.BertTokenizer(vocab=VOCAB)
    text = "cat " * 600
    assert_same(ours(text, truncation=True, padding="max_length"), theirs(text, truncation=True, padding="max_length"))
    assert len(BertTokenizer(VOCAB)(text, truncation=True).input_ids) == 512


def test_max_length_that_does_nothing_is_warned_of(tokenizer):
    with pytest.warns(UserWarning, match="max_length does nothing here"):
        tokenizer("the cat", padding=True, max_length=5)


@pytest.mark.filterwarnings("ignore:.*max_length")
@settings(deadline=None)
@given(
    batch=st.lists(TEXT, min_size=1, max_size=4),
    as_rows=st.booleans(),
    options=st.fixed_dictionaries(
        {},
        optional={
            "padding": st.sampled_from([False, True, "longest", "max_length", "do_not_pad"]),
            "max_length": st.none() | st.integers(0, 40),
            "pad_to_multiple_of": st.sampled_from([None, 8]),
        },
    ),
)
def test_pad_gives_what_transformers_gives(batch, as_rows, options, tokenizer, peer):
    encodings = [dict(peer(text, return_special_tokens_mask=True)) | {"labels": i} for i, text in enumerate(batch)]
    columns = {name: [encoding[name] for encoding in encodings] for name in encodings[0]}
    given_to = [[dict(encoding) for encoding in encodings] if as_rows else dict(columns) for _ in range(2)]
    assert dict(tokenizer.pad(given_to[0], **options)) == dict(peer.pad(given_to[1], **options))
    assert dict(tokenizer.pad(encodings[0], **options)) == dict(peer.pad(dict(encodings[0]), **options))


def test_pad_makes_a_batch_of_tensors_out_of_tensors(tokenizer):
    rows = [{"input_ids": torch.tensor(ids), "labels": torch.tensor(0.5)} for ids in ([2, 5, 3], [2, 3])]
    batch = tokenizer.pad(rows)
    assert torch.equal(batch.input_ids, torch.tensor([[2, 5, 3], [2, 3, 0]]))
    assert torch.equal(batch.attention_mask, torch.tensor([[1, 1, 1], [1, 1, 0]]))
    assert batch.labels.dtype == torch.float32
    assert torch.equal(batch.labels, torch.tensor([0.5, 0.5]))
    masked = [{"input_ids": [2, 5, 3], "attention_mask": [1, 0, 1]}, {"input_ids": [2], "attention_mask": [1]}]
    assert tokenizer.pad(masked)["attention_mask"] == [[1, 0, 1], [1, 0, 0]]
    left = BertTokenizer(VOCAB, padding_side="left").pad(
        [{"input_ids": np.array([2, 3])}, {"input_ids": np.array([2])}]
    )
    assert left.input_ids.tolist() == [[2, 3], [0, 2]]


def test_the_mask_of_special_tokens_and_their_collator_for_masked_words(tokenizer, peer):
    ids = tokenizer("the cat", "sat xyz [MASK] 中 日")["input_ids"]
    found = tokenizer.get_special_tokens_mask(ids, already_has_special_tokens=True)
    assert found == peer.get_special_tokens_mask(ids, already_has_special_tokens=True)
    first, second = ([5, 6], [7, 8, 9])
    assert tokenizer.get_special_tokens_mask(first) == [1, 0, 0, 1]
    assert tokenizer.get_special_tokens_mask(first, second) == [1, 0, 0, 1, 0, 0, 0, 1]
    with pytest.raises(InputError, match="leave token_ids_1 out"):
        tokenizer.get_special_tokens_mask(first, second, already_has_special_tokens=True)
    batches = []
    for each in (tokenizer, peer):
        collator = transformers.DataCollatorForLanguageModeling(each, seed=1, mlm_probability=0.5)
        batches.append(collator([dict(each("the cat sat")), dict(each("unaffable cat, the cat"))]))
    ours, theirs = batches
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert (ours["labels"] != -100).any()


@settings(deadline=None)
@given(st.lists(st.integers(0, len(VOCAB) - 1), max_size=12), st.booleans())
def test_ids_to_text_and_back_are_those_of_transformers(ids, skip_special_tokens):
    tokenizer, peer = BertTokenizer(VOCAB), transformers.BertTokenizer(vocab=VOCAB)
    assert tokenizer.decode(ids, skip_special_tokens) == peer.decode(ids, skip_special_tokens)
    assert tokenizer.batch_decode([ids, ids]) == peer.batch_decode([ids, ids])
    tokens = tokenizer.convert_ids_to_tokens(ids, skip_special_tokens)
    assert tokens == peer.convert_ids_to_tokens(ids, skip_special_tokens)
    assert tokenizer.convert_tokens_to_ids(tokens) == peer.convert_tokens_to_ids(tokens)
    assert tokenizer.convert_tokens_to_string(tokens) == peer.convert_tokens_to_string(tokens)


def test_decoding_takes_tensors_arrays_batches_and_one_id(tokenizer):
    the, cat = VOCAB["the"], VOCAB["cat"]
    assert tokenizer.decode(the) == tokenizer.decode(torch.tensor(the)) == tokenizer.decode(np.int64(the)) == "the"
    assert tokenizer.decode(torch.tensor([[2, the, 3], [cat, 3, 0]]), True) == ["the", "cat"]
    assert tokenizer.batch_decode(np.array([[the, cat]])) == ["the cat"]
    assert tokenizer.convert_ids_to_tokens(torch.tensor([the])) == ["the"]


def test_the_small_questions_have_the_answers_of_transformers(tokenizer, peer):
    for name in ("unk", "sep", "pad", "cls", "mask"):
        assert getattr(tokenizer, f"{name}_token") == getattr(peer, f"{name}_token")
        assert getattr(tokenizer, f"{name}_token_id") == getattr(peer, f"{name}_token_id")
    assert tokenizer.all_special_tokens == peer.all_special_tokens
    assert tokenizer.all_special_ids == peer.all_special_ids
    assert tokenizer.get_vocab() == tokenizer.vocab == peer.get_vocab() == VOCAB
    assert (len(tokenizer), tokenizer.vocab_size) == (len(peer), peer.vocab_size)
    assert [tokenizer.num_special_tokens_to_add(pair) for pair in (False, True)] == [2, 3]
    assert tokenizer.encode("the cat", "sat") == peer.encode("the cat", "sat")
    assert tokenizer.tokenize("the cats", "sat", add_special_tokens=True) == peer.tokenize(
        "the cats", "sat", add_special_tokens=True
    )
    assert tokenizer.convert_tokens_to_ids("zebra") == peer.convert_tokens_to_ids("zebra") == tokenizer.unk_token_id


# ---------------------------------------------------------------------------------------------------- the encoding


def test_the_encoding_is_a_dict_whose_keys_are_also_attributes(tokenizer):
    assert isinstance(tokenizer("the"), dict)
    encoding = tokenizer("the cat", return_tensors="pt")
    assert encoding.input_ids is encoding["input_ids"]
    assert encoding.to("meta") is encoding
    assert encoding.input_ids.device.type == "meta"
    with pytest.raises(AttributeError, match="no 'labels' here, but input_ids, token_type_ids, attention_mask"):
        _ = encoding.labels
    assert pickle.loads(pickle.dumps(encoding)).tokens() == ["[CLS]", "the", "cat", "[SEP]"]


def test_rows_that_are_not_there_and_texts_no_longer_known_are_named(tokenizer):
    with pytest.raises(InputError, match="no row 1 in a batch of 1"):
        tokenizer("the").tokens(1)
    with pytest.raises(InputError, match="does not know its texts any more"):
        tokenizer.pad([{"input_ids": [2, 3]}]).word_ids()


# ---------------------------------------------------------------------------------------------------- threads, imports


def test_threads_do_not_disturb_each_other(tokenizer):
    texts = ["the cat sat the cat sat"] * 20

    def cut_to(length: int) -> set[int]:
        return {len(row) for _ in range(30) for row in tokenizer(texts, truncation=True, max_length=length).input_ids}

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(cut_to, [3, 4, 5, 6] * 3)) == [{3}, {4}, {5}, {6}] * 3


def test_a_tokenizer_can_be_sent_to_another_process(tokenizer):
    copy = pickle.loads(pickle.dumps(tokenizer))
    text = "the[MASK] Unaffable ΑΣ"
    assert copy(text).input_ids == tokenizer(text).input_ids
    assert copy.wordpiece.tokenize(text) == tokenizer.wordpiece.tokenize(text)


def test_tokenizing_needs_no_torch():
    code = (
        "import sys; from minibert.tokenization import BertTokenizer; "
        f"BertTokenizer({vocab_of(*SPECIAL)})(['a'], padding=True); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# ---------------------------------------------------------------------------------------------------- files

SENTENCES = ["The cat sat, Unaffable!", "Café [MASK] 中文 <e1>", "ABC"]


def write_folder(folder: Path, **files: Any) -> Path:
    """A folder with these files; `vocab=` is `vocab.txt`, what else has a name is JSON."""
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        if name == "vocab":
            (folder / "vocab.txt").write_text("".join(f"{token}\n" for token in content), encoding="utf-8")
        else:
            (folder / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


TOKENIZER_JSON = {
    "added_tokens": [],
    "normalizer": {"type": "BertNormalizer", "lowercase": False, "strip_accents": None, "handle_chinese_chars": True},
    "pre_tokenizer": {"type": "BertPreTokenizer"},
    "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "vocab": VOCAB},
}


@pytest.mark.parametrize("auto_class", [transformers.AutoTokenizer, transformers.BertTokenizer, BertTokenizer])
@pytest.mark.parametrize(
    "arguments",
    [
        {"do_lower_case": True},
        {"do_lower_case": False},
        {"do_lower_case": True, "strip_accents": False},
        {"tokenize_chinese_chars": False},
        {"padding_side": "left", "truncation_side": "left", "model_max_length": 7},
        {"split_special_tokens": True},
        {"added_tokens": [AddedToken("<e1>", special=True), AddedToken("affable")]},
        {"added_tokens": [AddedToken("<e1>"), AddedToken("<mask>", special=True)], "mask_token": "<mask>"},
    ],
)
def test_what_is_saved_opens_as_it_was(auto_class, arguments, tmp_path):
    saved = BertTokenizer(VOCAB, **arguments)
    saved.save_pretrained(tmp_path)
    opened = auto_class.from_pretrained(tmp_path)
    assert_same(opened(SENTENCES, padding=True, truncation=True), saved(SENTENCES, padding=True, truncation=True))
    assert opened.get_vocab() == saved.get_vocab()
    assert (len(opened), opened.vocab_size) == (len(saved), saved.vocab_size)
    assert opened.model_max_length == saved.model_max_length
    assert set(opened.all_special_tokens) == set(saved.all_special_tokens)
    assert opened.decode(saved(SENTENCES[1]).input_ids, skip_special_tokens=True) == saved.decode(
        saved(SENTENCES[1]).input_ids, skip_special_tokens=True
    )


@pytest.mark.parametrize(
    "arguments",
    [
        {"do_lower_case": True},
        {"do_lower_case": True, "strip_accents": False},
        {"do_lower_case": False, "strip_accents": True},
        {"tokenize_chinese_chars": False},
        {"added_tokens": [AddedToken("<e1>", special=True), AddedToken("affable")]},
    ],
)
def test_programs_that_read_tokenizer_json_alone_get_the_same_ids(arguments, tmp_path):
    saved = BertTokenizer(VOCAB, **arguments)
    saved(SENTENCES, padding=True, truncation=True)  # leaves the engine set to pad and cut, which is not to be saved
    saved.save_pretrained(tmp_path)
    engine = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert [encoding.ids for encoding in engine.encode_batch(SENTENCES)] == saved(SENTENCES).input_ids


def test_added_tokens_are_found_again_whatever_their_case(tmp_path):
    ours = BertTokenizer(VOCAB)
    ours.add_tokens("Covíd")
    ours.save_pretrained(tmp_path)
    for tokenizer in (ours, BertTokenizer.from_pretrained(tmp_path)):
        assert tokenizer.tokenize("Covid covíd") == ["covid", "covid"]


def test_the_lines_of_vocab_txt_are_the_ids_whatever_the_order_of_the_vocabulary(tmp_path):
    BertTokenizer(dict(reversed(VOCAB.items()))).save_pretrained(tmp_path)
    assert (tmp_path / "vocab.txt").read_text(encoding="utf-8").splitlines() == list(VOCAB)
    assert BertTokenizer(tmp_path / "vocab.txt").get_vocab() == VOCAB


@pytest.mark.parametrize(
    "arguments",
    [
        {"do_lower_case": True},
        {"do_lower_case": False, "model_max_length": 9, "padding_side": "left"},
        {"do_lower_case": True, "strip_accents": False, "tokenize_chinese_chars": False},
    ],
)
@pytest.mark.parametrize("added", [False, True])
def test_what_transformers_5_saved_opens_here(arguments, added, tmp_path):
    saved = transformers.BertTokenizer(vocab=VOCAB, **arguments)
    if added:
        saved.add_tokens(["<e1>", "affable"])
        saved.add_special_tokens({"extra_special_tokens": ["<sep2>"]})
    saved.save_pretrained(tmp_path)
    assert not (tmp_path / "vocab.txt").exists()
    opened = BertTokenizer.from_pretrained(tmp_path)
    assert_same(opened(SENTENCES, padding=True), saved(SENTENCES, padding=True))
    assert opened.get_vocab() == saved.get_vocab()
    assert opened.all_special_tokens == saved.all_special_tokens
    assert opened.model_max_length == saved.model_max_length


def test_what_transformers_4_saved_without_rust_opens_here(tmp_path):
    def entry(token: str, special: bool) -> dict[str, Any]:
        flags = {"lstrip": False, "normalized": not special, "rstrip": False, "single_word": False}
        return {"content": token, "special": special, **flags}

    decoder = {str(VOCAB[token]): entry(token, True) for token in SPECIAL}
    decoder |= {str(len(VOCAB)): entry("<e1>", True), str(len(VOCAB) + 1): entry("affable", False)}
    config = {
        "tokenizer_class": "BertTokenizer",
        "do_lower_case": False,
        "do_basic_tokenize": True,
        "never_split": None,
        "mask_token": {"__type": "AddedToken", **entry("[MASK]", True)},
        "additional_special_tokens": ["<e1>", "[PAD]"],
        "added_tokens_decoder": decoder,
        "model_max_length": 1000000000000000019884624838656,
    }
    names = {"unk_token": "[UNK]", "mask_token": "[MASK]"}
    folder = write_folder(tmp_path, vocab=VOCAB, tokenizer_config=config, special_tokens_map=names)
    opened, theirs = BertTokenizer.from_pretrained(folder), transformers.BertTokenizer.from_pretrained(folder)
    assert_same(opened(SENTENCES), theirs(SENTENCES))
    assert opened.get_vocab() == theirs.get_vocab()
    assert opened.model_max_length == theirs.model_max_length
    assert opened.tokenize("Unaffable<e1>", add_special_tokens=True) == [
        "[CLS]",
        "U",
        "##n",
        "affable",
        "<e1>",
        "[SEP]",
    ]


def test_names_and_added_tokens_in_files_of_their_own_are_read(tmp_path):
    """As transformers wrote them before `tokenizer_config.json` held both."""
    names = {"unk_token": "[UNK]", "mask_token": {"content": "<mask>"}, "additional_special_tokens": ["<e1>"]}
    renamed = ["<mask>" if token == "[MASK]" else token for token in VOCAB]
    folder = write_folder(
        tmp_path,
        vocab=renamed,
        tokenizer_config={"do_lower_case": False},
        special_tokens_map=names,
        added_tokens={"affable": len(VOCAB) + 1, "<e1>": len(VOCAB)},
    )
    opened, theirs = BertTokenizer.from_pretrained(folder), transformers.BertTokenizer.from_pretrained(folder)
    assert (opened.mask_token, len(opened)) == ("<mask>", len(VOCAB) + 2)
    assert opened.tokenize("Unaffable<e1>") == ["U", "##n", "affable", "<e1>"]
    for sentence in ("The cat sat.", "<mask> Unaffable<e1>"):
        assert_same(opened(sentence), theirs(sentence))
    assert "affable" not in opened.all_special_tokens
    again = BertTokenizer.from_pretrained(write_folder(tmp_path, tokenizer_config={"mask_token": "[CLS]"}))
    assert again.mask_token == "[CLS]"  # what tokenizer_config.json says goes first


def test_a_trained_models_tokenizer_opens_as_in_transformers(minilm_dir):
    opened, theirs = BertTokenizer.from_pretrained(minilm_dir), transformers.AutoTokenizer.from_pretrained(minilm_dir)
    assert_same(opened(SENTENCES, padding=True), theirs(SENTENCES, padding=True))


@pytest.mark.parametrize(
    ("folder", "do_lower_case"),
    [
        ("uncased_L-12_H-768_A-12", True),
        ("cased_L-12_H-768_A-12", False),
        ("multi_cased_L-12_H-768_A-12", False),
        ("multilingual_L-12_H-768_A-12", True),
        ("chinese_L-12_H-768_A-12", True),
        ("bert-base-german-cased", False),
        ("my_model", False),
    ],
)
def test_the_name_of_a_release_says_whether_to_lower_the_case_else_the_vocabulary(folder, do_lower_case, tmp_path):
    path = write_folder(tmp_path / folder, vocab=VOCAB)
    assert BertTokenizer.from_pretrained(path).do_lower_case is do_lower_case
    assert BertTokenizer.from_pretrained(path / "vocab.txt").do_lower_case is do_lower_case
    assert BertTokenizer.from_pretrained(path, do_lower_case=not do_lower_case).do_lower_case is not do_lower_case


def test_a_vocabulary_without_capitals_but_in_special_tokens_is_a_lower_cased_one(tmp_path):
    folder = write_folder(tmp_path / "my_showcased_model", vocab=[*SPECIAL, "[unused0]", "a", "é", "中"])
    assert BertTokenizer.from_pretrained(folder).do_lower_case


def test_tokenizer_json_gives_the_switches_that_the_config_does_not(tmp_path):
    folder = write_folder(tmp_path / "uncased", tokenizer=TOKENIZER_JSON, vocab=["never", "read"])
    assert BertTokenizer.from_pretrained(folder).do_lower_case is False
    write_folder(folder, tokenizer_config={"do_lower_case": True, "strip_accents": False})
    opened = BertTokenizer.from_pretrained(folder)
    assert (opened.do_lower_case, opened.strip_accents) == (True, False)


def changed(path: str, value: Any) -> dict[str, Any]:
    """`TOKENIZER_JSON` with another value at one place."""
    content = json.loads(json.dumps(TOKENIZER_JSON))
    *parents, last = path.split(".")
    part = content
    for name in parents:
        part = part[name]
    part[last] = value
    return content


NO_BERTS: dict[str, tuple[dict[str, Any], str]] = {
    "another model": ({"tokenizer": changed("model.type", "BPE")}, "model should be a WordPiece, found 'BPE'"),
    "another normalizer": ({"tokenizer": changed("normalizer.type", "NFC")}, "normalizer should be a BertNormalizer"),
    "no normalizer": ({"tokenizer": changed("normalizer", None)}, "should be a BertNormalizer, found None"),
    "other words": ({"tokenizer": changed("pre_tokenizer", {"type": "Metaspace"})}, "should be a BertPreTokenizer"),
    "other pieces": ({"tokenizer": changed("model.continuing_subword_prefix", "@@")}, "marks pieces by '##'"),
    "a broken model": ({"tokenizer": changed("model", [])}, "model should be a WordPiece"),
    "no vocabulary": ({"tokenizer": changed("model.vocab", None)}, "has no vocabulary"),
    "a list for a vocabulary": ({"tokenizer": changed("model.vocab", ["a"])}, r"'vocab' cannot be \['a'\]"),
    "ids with gaps": ({"tokenizer": changed("model.vocab", {"[UNK]": 0, "a": 2})}, "must be 0 to 1, each once"),
    "ids that are none": ({"tokenizer": changed("model.vocab", {"[UNK]": "0"})}, "must be 0 to 0, each once"),
    "half a character": ({"tokenizer": changed("model.vocab", {"\ud800": 0})}, "is half a character"),
    "two lines": ({"tokenizer": changed("model.vocab", {"a\nb": 0})}, "cannot be a token"),
    "a switch that is none": ({"tokenizer": changed("normalizer.lowercase", "no")}, "'lowercase' cannot be 'no'"),
    "an added token without id": ({"tokenizer": changed("added_tokens", [{"content": "x"}])}, "should have an id"),
    "an added token with a gap": (
        {"tokenizer": changed("added_tokens", [{"content": "<x>", "id": 999}])},
        f"'<x>' has id 999, but it should have {len(VOCAB)}",
    ),
    "an added token without text": ({"tokenizer": changed("added_tokens", [{"id": len(VOCAB)}])}, "should be a string"),
    "an added token that is half a character": (
        {"tokenizer": changed("added_tokens", [{"content": "\ud800", "id": len(VOCAB)}])},
        "is half a character",
    ),
    "the unknown token only added": (
        {"tokenizer": changed("added_tokens", [{"content": "<unk>", "id": len(VOCAB)}]) | {"model": {"vocab": VOCAB}}}
        | {"tokenizer_config": {"unk_token": "<unk>"}},
        "lacks <unk>",
    ),
    "not an object": ({"tokenizer": [1]}, r"tokenizer.json must be a JSON object: found list"),
    "another class": (
        {"vocab": VOCAB, "tokenizer_config": {"tokenizer_class": "BertJapaneseTokenizer"}},
        "tokenizer_class is 'BertJapaneseTokenizer'",
    ),
    "a number for a class": ({"vocab": VOCAB, "tokenizer_config": {"tokenizer_class": 5}}, "tokenizer_class is 5"),
    "a number for a token": ({"vocab": VOCAB, "tokenizer_config": {"cls_token": 5}}, "should be a string, found 5"),
    "a length that is none": (
        {"vocab": VOCAB, "tokenizer_config": {"model_max_length": "512"}},
        "'model_max_length' cannot be '512'",
    ),
    "no length at all": ({"vocab": VOCAB, "tokenizer_config": {"model_max_length": math.nan}}, "must be at least 1"),
    "a side that is none": ({"vocab": VOCAB, "tokenizer_config": {"padding_side": "up"}}, "'left' or 'right'"),
    "added tokens without ids": (
        {"vocab": VOCAB, "tokenizer_config": {"additional_special_tokens": ["<e1>"]}},
        "no file says its id",
    ),
    "added tokens out of shape": (
        {"vocab": VOCAB, "tokenizer_config": {"added_tokens_decoder": {"x": "y"}}},
        "should map ids to tokens",
    ),
    "added tokens of another shape": ({"vocab": VOCAB, "added_tokens": {"<e1>": "1"}}, "should map tokens to ids"),
    "no mask": ({"vocab": SPECIAL[:4]}, r"lacks \[MASK\], which every BERT needs"),
    "nothing": ({}, "has no vocabulary: vocab.txt or tokenizer.json is needed"),
    "a config alone": ({"tokenizer_config": {}}, "has no vocabulary"),
}


@pytest.mark.parametrize("case", NO_BERTS)
def test_what_is_no_bert_tokenizer_is_refused_with_the_reason(case, tmp_path):
    files, message = NO_BERTS[case]
    write_folder(tmp_path, **files)
    with pytest.raises(InputError, match=message):
        BertTokenizer.from_pretrained(tmp_path)


@pytest.mark.parametrize("content", [b"{", b"\xff{}", b"[" * 100_000])
def test_broken_json_is_named(content, tmp_path):
    (tmp_path / "tokenizer.json").write_bytes(content)
    with pytest.raises(InputError, match=r"tokenizer\.json is no readable JSON"):
        BertTokenizer.from_pretrained(tmp_path)


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InputError, match=r"nowhere. is neither a file or folder here"):
        BertTokenizer.from_pretrained(tmp_path / "nowhere")


def test_a_file_is_no_folder_to_save_to(tokenizer, tmp_path):
    (tmp_path / "model").write_text("")
    with pytest.raises(InputError, match=r"cannot be saved to .*model: File exists"):
        tokenizer.save_pretrained(tmp_path / "model")


# ---------------------------------------------------------------------------------------------------- errors of use

MISTAKES: dict[str, tuple[tuple[Any, ...], dict[str, Any], str]] = {
    "nothing": ((None,), {}, r"text must be a string: found None \(NoneType\)"),
    "a number": ((3,), {}, r"text must be a string: found 3 \(int\)"),
    "bytes": ((b"the",), {}, r"text must be a string: found b'the' \(bytes\)"),
    "an array": (
        (np.array(["the", "cat"]),),
        {},
        r"text must be a string: found array.* \(ndarray\). A batch is a list",
    ),
    "an empty cell": ((["the", math.nan],), {}, r"text\[1\] must be a string: found nan .*empty cell"),
    "an empty cell in a pair": ((["the"], [None]), {}, r"text_pair\[0\] must be a string: found None"),
    "a number in a pair": (([("the", 3)],), {}, r"text\[0\] must be a string: found \('the', 3\)"),
    "words not said to be": (([["the", "cat", "sat"]],), {}, r"text\[0\] must be a string.*is_split_into_words=True"),
    "text said to be words": (("the",), {"is_split_into_words": True}, "text must be a list of words.*found 'the'"),
    "a word that is none": (
        ([["the"], ["cat", 5]],),
        {"is_split_into_words": True},
        r"text\[1\]\[1\] must be a string",
    ),
    "an empty batch": (([],), {}, "text is an empty list"),
    "one pair for a batch": ((["the"], "cat"), {}, "text_pair must be a list as long as text: found 'cat' for 1"),
    "too few pairs": ((["the", "cat"], ["sat"]), {}, "as long as text: found 1 for 2 texts"),
    "a batch of pairs for one": (("the", ["cat"]), {}, r"text_pair must be a string: found \['cat'\]"),
    "padding": (("the",), {"padding": "maximum"}, "padding can be False, True, 'longest'.*found 'maximum'"),
    "truncation": (("the",), {"truncation": ["only_first"]}, "truncation can be .*found"),
    "length": (("the",), {"max_length": "5"}, "max_length must be a whole number, 0 or more: found '5'"),
    "negative length": (("the",), {"max_length": -1}, "max_length must be a whole number"),
    "no room": (("the",), {"max_length": 1}, "max_length 1 leaves no room: there are 2 special tokens"),
    "no room for a pair": (("the", "cat"), {"max_length": 2}, "leaves no room: there are 3 special tokens"),
    "stride": (("the",), {"max_length": 5, "stride": 3}, "stride 3 must be smaller than 3"),
    "stride without special": (
        ("the",),
        {"max_length": 5, "stride": 4, "add_special_tokens": False},
        "stride 4 must be smaller than 3",
    ),
    "negative stride": (("the",), {"max_length": 5, "stride": -1}, "stride must be a whole number, 0 or more"),
    "multiple": (("the",), {"padding": True, "pad_to_multiple_of": 0}, "pad_to_multiple_of must be a whole number, 1"),
    "multiple and length": (
        ("the",),
        {"padding": True, "truncation": True, "max_length": 12, "pad_to_multiple_of": 8},
        "max_length 12 is no multiple of pad_to_multiple_of 8",
    ),
    "second without a pair": (("the cat sat",), {"max_length": 3, "truncation": "only_second"}, "needs a text_pair"),
    "first cannot be cut enough": (
        ("the", "cat sat cat sat"),
        {"max_length": 5, "truncation": "only_first"},
        "must leave room",
    ),
    "stride beside a long question": (
        ("cat " * 9, "the " * 30),
        {"max_length": 16, "stride": 4, "truncation": "only_second"},
        "must leave room for more than `stride` tokens",
    ),
    "tensors": (("the",), {"return_tensors": "tf"}, "return_tensors can be 'pt', 'np' or None: found 'tf'"),
    "ragged tensors": (
        (["the", "the cat"],),
        {"return_tensors": "pt"},
        "'input_ids' have different lengths.*padding=True",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_in_a_call_is_named(mistake, tokenizer):
    arguments, options, message = MISTAKES[mistake]
    with pytest.raises(InputError, match=message):
        tokenizer(*arguments, **options)
    assert tokenizer("the cat").tokens() == ["[CLS]", "the", "cat", "[SEP]"]


def test_ids_that_are_none_are_named(tokenizer):
    for no_id in (-100, len(VOCAB), "the", None):
        with pytest.raises(InputError, match=f"{no_id!r} is no id: they go from 0 to {len(VOCAB) - 1}"):
            tokenizer.convert_ids_to_tokens([5, no_id])
        with pytest.raises(InputError, match="is no id"):
            tokenizer.decode([5, no_id])
    for no_ids in (None, 5.0):
        with pytest.raises(InputError, match=f"found {no_ids}"):
            tokenizer.decode(no_ids)


@pytest.mark.parametrize(
    ("encodings", "message"),
    [
        ([], r"found \[\]"),
        (5, "found 5"),
        ({"labels": [1]}, "need input_ids: found labels"),
        ({"input_ids": []}, "nothing to pad"),
        ([{"input_ids": [2]}, {"labels": [2]}], "same keys: number 1 is not"),
        ([{"input_ids": [2]}, 3], "number 1 is not"),
        ([{"input_ids": [2]}, {"input_ids": None}], "encoding 1 must be a list of numbers: found None"),
        ({"input_ids": [[2], [3]], "token_type_ids": [[0]]}, "'token_type_ids' must have a value for each of the 2"),
        (
            {"input_ids": [[2], [3, 4]], "token_type_ids": [[0], [0]]},
            "'token_type_ids' of encoding 1 has 1 numbers, but input_ids 2",
        ),
    ],
)
def test_what_cannot_be_padded_is_named(encodings, message, tokenizer):
    with pytest.raises(InputError, match=message):
        tokenizer.pad(encodings, return_tensors="np")


def test_labels_of_different_lengths_are_named_when_padding_to_tensors(tokenizer):
    rows = [{"input_ids": [2, 3], "labels": [1, 2]}, {"input_ids": [2], "labels": [1]}]
    with pytest.raises(InputError, match="'labels' have different lengths"):
        tokenizer.pad(rows, return_tensors="pt")
    with pytest.raises(InputError, match="'labels' cannot become a tensor"):
        tokenizer.pad([{"input_ids": [2], "labels": "good"}], return_tensors="pt")


def test_tokenize_takes_one_text(tokenizer):
    with pytest.raises(InputError, match=r"tokenize takes one string, found \['the'\]"):
        tokenizer.tokenize(["the"])
