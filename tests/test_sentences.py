"""Where sentences end, and where they only seem to."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minibert.data.sentences import split_sentences

# | is where a sentence ends.
TEXTS = [
    "He came.| She left!| Did they?| Yes.",
    "Mr. Smith met Dr. Jones and Mrs. Hill on St. Ann's Square.| They talked.",
    "J. R. R. Tolkien wrote it.| E. Waugh did not.",
    "So do I.| He knew.",
    "It costs $3.50 or 2.5 pounds.| No. 5 costs more, see p. 7 and vol. II.| He said no.| Then he paid.",
    "The U.S. Army came to the U.S.| The army left at 5 p.m.| It rained.",
    "He has a Ph.D. from Yale.| He is Smith Jr.| His father is Smith Sr.",
    "Acme Inc. and Foo Ltd. Group merged.| I work for Acme Inc.| They pay well.",
    "He came in Jan. 1900, or Feb. 1901, etc.| But nobody saw him.",
    "Some, e.g. Plato, i.e. the philosopher, and others, cf. Kant, vs. Hegel.",
    '"Who is it?" he asked.| "It is I!"| She opened.',
    "“Go,” he said.| “Now.”| ‘Why?’| (Nobody knew.)| [Silence.]| Then it began.",
    "Well... I think so, wait ... what.| He stopped…| Then went on.",
    "Really?!| No way!!| OK.",
    "He paid.| £50 was much.| 1914 was a bad year.",
    "He said .NET is fine, and example.com too.",
    "Élan vital.| Ça va.| Über alles.",
    "he came.| she left.| did they?| 'yes.'| (nobody knew.)| so do i.| he said no.| he knew.",
    "天气很好。|我们去公园吧！|你去吗？！|他说：“好。”然后走了…。|价格是3.5元（很贵。）所以不买。",
    "राम घर गया।| वह सो गया।| हाँ।",
    "کیا حال ہے؟| میں ٹھیک ہوں۔| شکریہ",
    'the u.s. army, mr. smith, j. hill etc. and "who is it?" he asked, no. 5, see vol. ii... well.| it cost 3.50.| ok.',
]


@pytest.mark.parametrize("text", TEXTS)
def test_sentences_end_where_a_reader_would_end_them(text: str):
    expected = [sentence.strip() for sentence in text.split("|")]
    assert split_sentences(text.replace("|", "")) == expected


@settings(deadline=None)
@given(st.text("ab. AB!?…\"' \n\tI1£(。？」", max_size=60))
def test_no_text_is_lost_and_no_sentence_is_empty(text):
    sentences = split_sentences(text)
    assert "".join(" ".join(sentences).split()) == "".join(text.split())
    assert all(sentence == sentence.strip() != "" for sentence in sentences)


def test_a_long_line_without_an_end_takes_no_long_time():
    for text in (
        "a" * 1_000_000,
        ". " * 300_000,
        "'" * 300_000,
        "." * 300_000,
        "." + " " * 500_000 + "a",
        'x."' * 200_000,
        "。" * 300_000,
        " " * 500_000,
    ):
        assert len(split_sentences(text)) <= 1
