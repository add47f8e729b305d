"""SQuAD's and ROUGE's numbers are those of their reference implementations, on any texts."""

from __future__ import annotations

import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minibert.metrics import rouge, squad

# Texts in which articles, punctuation, capitals and repeated words abound.
pieces = st.sampled_from(["the", "The", "a", "an", "theory", "1914", "U.S.", "É", "—", "!", "cat", "Cat's", "\n"])
texts = st.lists(pieces, max_size=8).map(" ".join) | st.text(max_size=12)


class OfficialRules:
    """SQuAD's rules once more, word for word and with nothing in common with `metrics/squad.py`.

    Lower the text; delete every character of `string.punctuation`; put a space for each of the words a, an, the;
    make white space single. F1 is over the bag of the words left; where one side has none, both must have none.
    Right answers of which nothing is left do not count, unless there is no other: then the empty answer is right.
    """

    @staticmethod
    def words(text: str) -> list[str]:
        kept = "".join(character for character in text.lower() if character not in set(string.punctuation))
        return re.sub(r"(?<!\w)(?:an?|the)(?!\w)", " ", kept).split()

    @classmethod
    def scores(cls, answer: str, right: list[str]) -> tuple[float, float]:
        golds = [words for words in map(cls.words, right) if words] or [[]]
        said = cls.words(answer)
        return float(any(said == gold for gold in golds)), max(cls.overlap(said, gold) for gold in golds)

    @staticmethod
    def overlap(said: list[str], gold: list[str]) -> float:
        if not said or not gold:
            return 1.0 if said == gold else 0.0
        left, same = list(gold), 0
        for word in said:
            if word in left:
                left.remove(word)
                same += 1
        return 0.0 if same == 0 else 2 * (same / len(said)) * (same / len(gold)) / (same / len(said) + same / len(gold))


@given(texts, st.lists(texts, max_size=3))
def test_exact_match_and_f1_follow_the_official_rules(answer, right):
    assert (squad.exact_match(answer, right), squad.f1(answer, right)) == pytest.approx(
        OfficialRules.scores(answer, right)
    )


@pytest.mark.parametrize(
    ("answer", "right", "exact", "f1"),
    [
        ("the Broncos", ["Denver Broncos", "broncos!"], 1, 1),
        ("Denver's Broncos", ["Denver Broncos"], 0, 0.5),  # "denvers" is another word
        ("in 1914", ["1914"], 0, 2 / 3),
        ("cat cat", ["cat"], 0, 2 / 3),
        ("", [], 1, 1),
        ("the", [], 1, 1),  # nothing is left of it
        ("1914", [], 0, 0),
        ("", ["1914"], 0, 0),
        ("a", ["the"], 1, 1),
    ],
)
def test_exact_match_and_f1_by_hand(answer, right, exact, f1):
    assert squad.exact_match(answer, right) == exact
    assert squad.f1(answer, right) == pytest.approx(f1)


@pytest.fixture(scope="module")
def scorer():
    """Google's implementation."""
    return pytest.importorskip("rouge_score.rouge_scorer").RougeScorer(["rouge1", "rouge2", "rougeL"])


@given(summary=texts, reference=texts)
def test_rouge_is_that_of_the_package_rouge_score(scorer, summary, reference):
    theirs = scorer.score(reference, summary)
    assert rouge.rouge_n(summary, reference, 1) == pytest.approx(tuple(theirs["rouge1"]))
    assert rouge.rouge_n(summary, reference, 2) == pytest.approx(tuple(theirs["rouge2"]))
    assert rouge.rouge_l(summary, reference) == pytest.approx(tuple(theirs["rougeL"]))


def test_rouge_by_hand():
    summary, reference = "The cat sat down.", "the cat lay down down"
    assert rouge.rouge_n(summary, reference, 1) == pytest.approx((3 / 4, 3 / 5, 2 / 3))
    assert rouge.rouge_n(summary, reference, 2) == pytest.approx((1 / 3, 1 / 4, 2 / 7))
    assert rouge.rouge_l("down the cat", reference) == pytest.approx((2 / 3, 2 / 5, 1 / 2))
    assert rouge.rouge("", "cat") == {"rouge1": 0, "rouge2": 0, "rougeL": 0}
