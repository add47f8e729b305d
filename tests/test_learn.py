"""Learning a vocabulary: the definition by hand, the fast way against it, and how well it covers real text."""

from __future__ import annotations

import lzma
import math
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minibert import InputError
from minibert.tokenization import learn
from minibert.tokenization.learn import SPECIAL_TOKENS, count_words, coverage, learn_wordpiece, learn_wordpiece_fast
from minibert.tokenization.wordpiece import BasicTokenizer, WordPiece

# Worked out by hand. Pieces: e 100, ##s 100, ##t 60, n 60, q 30, ##u 30, z 1, ##x 1; 382 in all. The gains:
#   es 40 ln(40 * 382 / 10000) = 17    et 60 ln(60 * 382 / 6000) = 80.4    ns the same    qu 30 ln(382 / 30) = 76.3
#   zx 1 ln 382 = 6                                                        -> et, which is before ns
# Then 322 pieces, 40 of them e:    ns 60 ln(60 * 322 / 6000) = 70.2    qu 30 ln(322 / 30) = 71.2    -> qu
# Then 292:                         es 40 ln(40 * 292 / 4000) = 42.9    ns 60 ln(60 * 292 / 6000) = 64.3    -> ns
# Then es is left, 40 ln(40 * 232 / 1600) = 70.3, and zx at last. (BPE: et, ns, es, qu, zx. By n / (left * right): zx.)
WORDS = {"es": 40, "et": 60, "ns": 60, "qu": 30, "zx": 1}
CHARACTERS = ["##s", "##t", "##u", "##x", "e", "n", "q", "z"]
LEARNT = ["et", "qu", "ns", "es", "zx"]

word_counts = st.dictionaries(st.text("abcd", min_size=1, max_size=7), st.integers(1, 50), min_size=1, max_size=12)


@pytest.fixture(autouse=True)
def _every_character_counts(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small tests have characters that are rare in a large text."""
    if "shared_dir" not in request.fixturenames:
        monkeypatch.setattr(learn, "COVERAGE", 1.0)


@pytest.mark.parametrize("learn", [learn_wordpiece, learn_wordpiece_fast])
def test_an_example_by_hand(learn):
    first = [*SPECIAL_TOKENS, *CHARACTERS]
    for learnt in range(len(LEARNT) + 1):
        assert learn(WORDS, len(first) + learnt) == [*first, *LEARNT[:learnt]]
    assert learn(WORDS, 1000) == [*first, *LEARNT]


def test_the_gain_by_hand():
    assert float(learn.gain(30, 30, 30, 382)) == pytest.approx(30 * math.log(382 / 30))


@settings(max_examples=200, deadline=None)
@given(word_counts, st.integers(0, 20))
def test_the_fast_way_gives_the_same_vocabulary_as_the_definition(counts, learnt):
    size = len(learn_wordpiece(counts, 10**6)) if learnt == 20 else 5 + 8 + learnt
    assert learn_wordpiece_fast(counts, size) == learn_wordpiece(counts, size)


@settings(deadline=None)
@given(word_counts, st.randoms())
def test_the_order_of_words_does_not_matter(counts, random):
    items = list(counts.items())
    random.shuffle(items)
    assert learn_wordpiece_fast(dict(items), 20) == learn_wordpiece_fast(counts, 20)


@settings(deadline=None)
@given(word_counts)
def test_no_token_stands_twice_and_every_word_can_be_spelled(counts):
    vocab = learn_wordpiece_fast(counts, 20)
    assert len(vocab) == len(set(vocab)) <= 20
    wordpiece = WordPiece({token: i for i, token in enumerate(vocab)})
    for word in counts:
        assert "".join(wordpiece.tokenize(word)).replace("##", "") == word


@settings(deadline=None)
@given(st.lists(st.text(max_size=30)), st.booleans())
def test_words_are_those_of_the_basic_tokenizer(lines, do_lower_case):
    words = Counter(word for line in lines for word in BasicTokenizer(do_lower_case).tokenize(line))
    assert count_words(lines, do_lower_case) == words


def test_many_different_words_are_counted_in_several_rounds(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(learn, "MANY_WORDS", 2)
    assert count_words(["a b c", "a B d.", "a"]) == {"a": 3, "b": 2, "c": 1, "d": 1, ".": 1}


def test_a_character_that_hardly_occurs_gets_no_token(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(learn, "COVERAGE", 0.99)
    counts = {"ab": 500, "aλ": 3, "μ": 8}  # 11 of 1,014 characters are Greek: 8 of them are too many to leave out
    assert learn_wordpiece_fast(counts, 20) == [*SPECIAL_TOKENS, "##b", "a", "μ", "ab"]
    assert coverage(learn_wordpiece_fast(counts, 20), counts) == (1.0, 3 / 511)


def test_a_vocabulary_larger_than_memory_ends_where_the_text_does():
    assert learn_wordpiece_fast({"ab": 2, "c": 1}, 10**12)[-1] == "ab"


def test_too_small_a_vocabulary_gets_a_sentence():
    for function in (learn_wordpiece, learn_wordpiece_fast):
        with pytest.raises(InputError, match=r"vocabulary of 12 has no room: .* are 13 already"):
            function(WORDS, 12)


def test_coverage_of_real_text(shared_dir):
    """Learnt from one half of a text, a vocabulary spells the other half."""
    with lzma.open(shared_dir / "data/pretrain/wikipedia_gensim_sample.txt.xz", "rt", encoding="utf-8") as file:
        lines = file.read(600_000).split("\n")
    vocab = learn_wordpiece_fast(count_words(lines[::2]), 2000)
    tokens_per_word, unknown = coverage(vocab, count_words(lines[1::2]))
    assert len(vocab) == 2000
    assert tokens_per_word < 1.75
    assert unknown < 0.002
