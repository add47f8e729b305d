"""Tags, spans and their counts: by hand, and against seqeval."""

from __future__ import annotations

import pytest
import seqeval.metrics as reference
from hypothesis import given
from hypothesis import strategies as st

from minibert.tasks.spans import Span, detect_scheme, read_spans, span_metrics, write_tags

KINDS = ("PER", "creative-work", "fromloc.city_name")
any_tag = st.sampled_from(["O", *(f"{prefix}-{kind}" for prefix in "BIES" for kind in KINDS)])
rows_of_tags = st.lists(st.lists(st.tuples(any_tag, any_tag), min_size=1, max_size=12), min_size=1, max_size=5)


@st.composite
def sentences(draw):
    """The number of words of a sentence, and its entities."""
    spans = []
    place = 0
    for _ in range(draw(st.integers(0, 4))):
        start = place + draw(st.integers(0, 2))
        place = start + draw(st.integers(1, 3))
        spans.append(Span(start, place, draw(st.sampled_from(("", *KINDS)))))
    return place + draw(st.integers(0, 2)), spans


@pytest.mark.parametrize(
    ("scheme", "tags"),
    [
        ("iob1", "I-ORG O I-PER I-PER O I-LOC B-LOC I-MISC"),
        ("iob2", "B-ORG O B-PER I-PER O B-LOC B-LOC B-MISC"),
        ("bioes", "S-ORG O B-PER E-PER O S-LOC S-LOC S-MISC"),
    ],
)
def test_the_schemes_by_hand(scheme, tags):
    spans = [Span(0, 1, "ORG"), Span(2, 4, "PER"), Span(5, 6, "LOC"), Span(6, 7, "LOC"), Span(7, 8, "MISC")]
    assert write_tags(spans, 8, scheme) == tags.split()
    assert read_spans(tags.split(), scheme) == spans
    assert detect_scheme([tags.split()]) == scheme


def test_plain_tags_are_read_one_by_one():
    tags = ["DT", "NN", "NN", "B"]
    assert detect_scheme([tags]) == "plain"
    assert read_spans(tags, "plain") == [Span(0, 1, "DT"), Span(1, 2, "NN"), Span(2, 3, "NN"), Span(3, 4, "B")]
    assert write_tags(read_spans(tags, "plain"), 4, "plain") == tags


def test_a_first_entity_of_the_nameless_type_touches_nothing():
    assert write_tags([Span(0, 1, ""), Span(1, 2, "")], 2, "iob1") == ["I", "B"]


def test_tags_that_break_their_scheme_are_read_as_conlleval_reads_them():
    tags = "O I-PER I-LOC B-LOC E-LOC I-LOC O E-PER S-PER I-PER".split()
    assert read_spans(tags, "bioes") == [
        Span(1, 2, "PER"), Span(2, 3, "LOC"), Span(3, 5, "LOC"), Span(5, 6, "LOC"),
        Span(7, 8, "PER"), Span(8, 9, "PER"), Span(9, 10, "PER"),
    ]  # fmt: skip


@given(sentences(), st.sampled_from(["iob1", "iob2", "bioes"]))
def test_what_is_written_is_read_again(sentence, scheme):
    words, spans = sentence
    tags = write_tags(spans, words, scheme)
    assert len(tags) == words
    assert read_spans(tags, scheme) == spans


@given(st.lists(any_tag, max_size=12))
def test_spans_are_those_of_seqeval(tags):
    theirs = [(start, end + 1, kind) for kind, start, end in reference.sequence_labeling.get_entities(tags)]
    assert [tuple(span) for span in read_spans(tags, "bioes")] == theirs


@given(rows_of_tags)
@pytest.mark.filterwarnings("ignore")  # seqeval warns of ratios with nothing below their line
def test_metrics_are_those_of_seqeval(rows):
    truths, predictions = ([[pair[side] for pair in row] for row in rows] for side in (0, 1))
    ours = span_metrics(*([read_spans(row, "bioes") for row in side] for side in (truths, predictions)))
    assert ours["precision"] == pytest.approx(reference.precision_score(truths, predictions))
    assert ours["recall"] == pytest.approx(reference.recall_score(truths, predictions))
    assert ours["f1"] == pytest.approx(reference.f1_score(truths, predictions))
    if ours["per_type"]:
        theirs = reference.classification_report(truths, predictions, output_dict=True)
        assert list(ours["per_type"]) == [kind for kind in theirs if not kind.endswith(" avg")]
        for kind, numbers in ours["per_type"].items():
            expected = [theirs[kind][key] for key in ("precision", "recall", "f1-score", "support")]
            assert list(numbers.values()) == pytest.approx(expected)


def test_metrics_by_hand():
    truth = [Span(0, 2, "PER"), Span(3, 4, "LOC"), Span(5, 6, "LOC")]
    found = [Span(0, 2, "PER"), Span(3, 5, "LOC")]
    metrics = span_metrics([truth], [found])
    assert (metrics["precision"], metrics["recall"], metrics["f1"]) == (1 / 2, 1 / 3, 2 / 5)
    assert metrics["per_type"]["PER"] == {"precision": 1.0, "recall": 1.0, "f1": 1.0, "support": 1}
    assert metrics["per_type"]["LOC"] == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 2}


@pytest.mark.parametrize(
    ("sentences", "scheme"),
    [
        (["I-PER O", "I-LOC B-LOC"], "iob1"),
        (["B-PER O", "I-LOC O", "B-LOC O"], "iob2"),  # one slip does not make it IOB1
        (["I-LOC B-LOC B-LOC"], "iob1"),
        (["B-PER O B-PER", "I-LOC O", "I-LOC O"], "iob2"),
        (["O O"], "iob2"),
        (["B I I O"], "iob2"),
        (["S-PER O"], "bioes"),
        (["B-PER PER"], "plain"),
    ],
)
def test_the_scheme_of_a_file_is_recognised(sentences, scheme):
    assert detect_scheme([sentence.split() for sentence in sentences]) == scheme
