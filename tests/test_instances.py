"""Pretraining instances: by hand, by statistics, and by what must hold for every one of them."""

from __future__ import annotations

import itertools
import math
import pickle
import random
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from minibert import BertConfig, BertForMaskedLM, BertForPreTraining, BertTokenizer, InputError
from minibert.data.batches import pack_examples
from minibert.data.instances import (
    Block,
    Instance,
    InstanceSettings,
    PretrainingInstances,
    plan_pairs,
    plan_texts,
    truncate_seq_pair,
)
from minibert.data.masking import Masking, choose_spans, choose_tokens, choose_words
from minibert.data.prepare import prepare
from minibert.data.shards import Corpus
from minibert.tokenization.learn import SPECIAL_TOKENS

from .helpers import word_tokenizer

# Every document has words of its own, `a0 a1 ...`, so that a token tells where it comes from.
DOCUMENTS = 40
WORDS = [f"{chr(97 + d // 26)}{chr(97 + d % 26)}{i:03}" for d in range(DOCUMENTS) for i in range(150)]
TOKENIZER = word_tokenizer(".", *WORDS)
CLS, SEP, MASK = TOKENIZER.cls_token_id, TOKENIZER.sep_token_id, TOKENIZER.mask_token_id


def document_of(token_id: int) -> int:
    return (token_id - len(SPECIAL_TOKENS) - 1) // 150


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """Two shards."""
    return write_corpus(tmp_path_factory.mktemp("corpus"), 20_000)


@pytest.fixture(scope="module")
def many_shards(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """The same documents in ten shards."""
    return write_corpus(tmp_path_factory.mktemp("many"), 3_000)


def write_corpus(folder: Path, characters: int, held_out: float = 0.0) -> Corpus:
    """Documents of 150 words, in order, cut into sentences of 1 to 20; so many characters a shard."""
    chance = random.Random(0)
    texts = []
    for document in range(DOCUMENTS):
        words = iter(WORDS[document * 150 : (document + 1) * 150])
        lines = []
        while line := " ".join(itertools.islice(words, chance.randint(1, 20))):
            lines.append(line)
        texts.append("\n".join(lines))
    (folder / "x.txt").write_text("\n\n".join(texts))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("minibert.data.prepare.TEXT_PER_SHARD", characters)
        prepare([folder / "x.txt"], TOKENIZER, folder / "out", held_out=held_out)
    return Corpus(folder / "out")


def make(corpus: Corpus, **changes) -> PretrainingInstances:
    return PretrainingInstances(corpus, TOKENIZER, InstanceSettings(**({"max_length": 32, "seed": 3} | changes)))


def all_of(block: Block) -> list[Instance]:
    return [block[index] for index in range(len(block))]


def original(instance) -> np.ndarray:
    """The ids before masking."""
    return np.where(instance["labels"] == -100, instance["input_ids"], instance["labels"])


def texts_of(instance) -> tuple[list[int], list[int]]:
    """A and B, before masking."""
    ids = original(instance).tolist()
    first = ids.index(SEP)
    return ids[1:first], ids[first + 1 : -1]


def interval(share: float, draws: int) -> float:
    """Half the width of the 99.9 % interval of a share."""
    return 3.29 * math.sqrt(share * (1 - share) / draws)


# ------------------------------------------------------------------------------------------------------ every instance


@pytest.mark.parametrize("masking", ["token", "whole_word", "span"])
def test_an_instance_is_two_texts_of_the_corpus(corpus: Corpus, masking: str):
    for instance in all_of(make(corpus, masking=masking).block(0)):
        ids = original(instance)
        text, pair = texts_of(instance)
        assert 5 <= len(ids) <= 32
        assert ids[0] == CLS
        assert np.flatnonzero(ids == SEP).tolist() == [len(text) + 1, len(ids) - 1]
        assert instance["token_type_ids"].tolist() == [0] * (len(text) + 2) + [1] * (len(pair) + 1)
        for part in (text, pair):  # within a document, words stand in the order of their ids
            assert part == list(range(part[0], part[0] + len(part)))
        same = document_of(text[0]) == document_of(pair[0])
        assert instance["next_sentence_label"] == (0 if same else 1)
        if same:
            assert pair[0] > text[-1]
        assert all(instance[key].dtype == np.int64 for key in ("input_ids", "token_type_ids", "labels"))


def test_without_truncation_b_begins_where_a_ends(corpus: Corpus):
    """Short targets leave room for the last sentence, so nothing is cut off."""
    adjacent = 0
    for instance in all_of(make(corpus, max_length=512, short_seq_prob=1.0).block(0)):
        text, pair = texts_of(instance)
        if instance["next_sentence_label"] == 0:
            assert pair[0] == text[-1] + 1
            adjacent += 1
    assert adjacent > 20


@pytest.mark.parametrize("masking", ["token", "whole_word", "span"])
def test_special_tokens_are_never_masked_and_labels_restore_the_original(corpus: Corpus, masking: str):
    instances = make(corpus, masking=masking, masked_lm_prob=0.5)
    plain = make(corpus, masking=masking, masked_lm_prob=1e-9)  # always one token
    for index, instance in enumerate(all_of(instances.block(0))):
        chosen = instance["labels"] != -100
        assert set(instance["labels"][chosen]).isdisjoint(TOKENIZER.all_special_ids)
        seen_special = np.isin(instance["input_ids"], [0, 1])
        assert not seen_special.any()
        assert (instance["input_ids"][np.isin(original(instance), [CLS, SEP])] != MASK).all()
        assert original(instance).tolist() == original(plain.block(0)[index]).tolist()


def test_the_number_of_masked_tokens_is_googles(corpus: Corpus):
    for instance in all_of(make(corpus).block(0)):
        assert (instance["labels"] != -100).sum() == max(1, round(len(instance["labels"]) * 0.15))
    for instance in all_of(make(corpus, max_predictions_per_seq=2, masked_lm_prob=0.9).block(0)):
        assert (instance["labels"] != -100).sum() == 2


def test_every_sentence_of_a_document_is_used_in_every_epoch(corpus: Corpus):
    """Nothing is lost but what truncation cuts off: with room enough, every word is there as A or as its B."""
    seen: set[int] = set()
    for instance in all_of(make(corpus, max_length=512, short_seq_prob=0).block(0)):
        text, pair = texts_of(instance)
        seen.update(text)
        if instance["next_sentence_label"] == 0:
            seen.update(pair)
    assert len(seen) == DOCUMENTS * 150


# -------------------------------------------------------------------------------------------------------------- blocks


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of up to three shards each, where a corpus has many."""
    monkeypatch.setattr("minibert.data.instances.SHARDS_PER_BLOCK", 3)


def documents_in(block: Block) -> set[int]:
    """Those that are A somewhere."""
    return {document_of(texts_of(instance)[0][0]) for instance in all_of(block)}


def test_the_blocks_of_an_epoch_share_out_the_documents(many_shards: Corpus, small_blocks: None):
    assert len(many_shards.shards) == 10
    instances = make(many_shards)
    assert instances.blocks == 4
    epochs = [[documents_in(instances.block(4 * epoch + part)) for part in range(4)] for epoch in range(2)]
    for blocks in epochs:
        assert sum(map(len, blocks)) == DOCUMENTS
        assert set.union(*blocks) == set(range(DOCUMENTS))
    assert epochs[0] != epochs[1]  # the shards meet others in every epoch
    again = make(many_shards)
    again.block(0)
    assert [documents_in(again.block(4 + part)) for part in range(4)] == epochs[1]


def test_a_random_text_is_of_another_document_of_the_same_block(many_shards: Corpus, small_blocks: None):
    instances = make(many_shards)
    for number in range(instances.blocks):
        block = instances.block(number)
        here = documents_in(block)
        for instance in all_of(block):
            text, pair = texts_of(instance)
            assert document_of(pair[0]) in here
            assert (document_of(pair[0]) == document_of(text[0])) == (instance["next_sentence_label"] == 0)


def test_a_block_holds_nothing_of_the_rest_of_the_corpus(many_shards: Corpus, small_blocks: None):
    """However large the corpus is, its files are not even opened."""
    whole = Corpus(many_shards.folder)
    block = make(whole).block(0)
    assert len(block.corpus.shards) == 3
    assert set(block.plan["document"].tolist()) == set(range(len(block.corpus)))
    assert "shards" not in vars(whole)


def test_shards_without_documents_of_the_split_are_in_no_block(tmp_path: Path, small_blocks: None):
    held_out = Corpus(write_corpus(tmp_path, 2_000, held_out=0.3).folder, "held_out")
    filled = sum(len(shard) > 0 for shard in held_out.shards)
    assert 3 < filled < len(held_out.shards)
    instances = make(held_out, next_sentence=False)
    assert instances.blocks == math.ceil(filled / 3)
    blocks = [documents_in(instances.block(number)) for number in range(instances.blocks)]
    assert all(blocks)
    assert sum(map(len, blocks)) == len(held_out)


# -------------------------------------------------------------------------------------------------------------- purity


def same(one, other) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("changes", [{}, {"masking": "whole_word"}, {"masking": "span"}, {"next_sentence": False}])
def test_an_instance_depends_on_seed_block_and_index_alone(corpus: Corpus, changes):
    block = make(corpus, **changes).block(2)
    forwards = [block[i] for i in range(len(block))]
    again = make(corpus, **changes)
    again.block(0)[0]
    order = np.random.default_rng(0).permutation(len(block)).tolist()
    assert all(same(again.block(2)[i], forwards[i]) for i in order[:50])
    assert all(same(pickle.loads(pickle.dumps(block))[i], forwards[i]) for i in order[:5])
    for other in (make(corpus, **changes).block(3), make(corpus, seed=4, **changes).block(2)):
        assert sum(same(other[i], forwards[i]) for i in range(min(len(other), len(forwards)))) <= 1
    with pytest.raises(IndexError):
        block[len(block)]


@pytest.mark.parametrize("workers", [0, 2])
def test_any_number_of_loader_workers_gives_the_same_stream(corpus: Corpus, workers: int):
    block = make(corpus).block(0)
    loader: DataLoader[Instance] = DataLoader(block, batch_size=8, num_workers=workers, collate_fn=list)  # type: ignore[arg-type]
    for i, instance in enumerate(itertools.chain.from_iterable(itertools.islice(loader, 4))):
        assert same(instance, block[i])


# ---------------------------------------------------------------------------------------------------------- statistics


@pytest.mark.parametrize("masking", ["token", "whole_word"])
def test_of_100_000_tokens_15_percent_are_chosen_and_these_go_80_10_10(masking: str):
    counts: Counter[str] = Counter()
    chance = np.random.default_rng(7)
    mask = Masking(TOKENIZER, masking, 0.15, 1000)
    places = np.zeros(100)
    for _ in range(1000):
        ids = chance.integers(6, len(TOKENIZER), size=100)
        seen, labels = mask(ids, chance)
        chosen = labels != -100
        places += chosen
        counts["chosen"] += int(chosen.sum())
        counts["masked"] += int((seen[chosen] == MASK).sum())
        counts["kept"] += int((seen[chosen] == ids[chosen]).sum())
        counts["random"] += int(((seen[chosen] != MASK) & (seen[chosen] != ids[chosen])).sum())
        assert (seen[~chosen] == ids[~chosen]).all()
    assert counts["chosen"] == 15_000
    for name, share in {"masked": 0.8, "kept": 0.1, "random": 0.1}.items():
        assert abs(counts[name] / 15_000 - share) < interval(share, 15_000), name
    assert (abs(places / 1000 - 0.15) < 1.5 * interval(0.15, 1000)).all()  # every place alike


def test_random_replacements_are_spread_over_all_ordinary_tokens():
    small = BertTokenizer({token: i for i, token in enumerate(["a", "b", *SPECIAL_TOKENS, "c", "d"])})
    mask, chance = Masking(small, "token", 0.9, 100_000), np.random.default_rng(0)
    seen = Counter(mask(np.zeros(100_000, dtype=np.int64), chance)[0].tolist())  # one text: each place has its own
    assert set(seen) == {0, 1, 7, 8, small.mask_token_id}
    assert abs(seen[7] / 90_000 - 0.025) < interval(0.025, 90_000)


def googles_walk(lengths: list[int], max_num_tokens: int, short_seq_prob: float, chance: random.Random):
    """`create_instances_from_document` as a loop over one document: (sentences in A, sentences in B or None) each."""
    target = chance.randint(2, max_num_tokens) if chance.random() < short_seq_prob else max_num_tokens
    instances: list[tuple[int, int, int | None]] = []
    at = 0
    while at < len(lengths):
        end, size = at, 0
        while end < len(lengths) and size < target:
            size += lengths[end]
            end += 1
        in_a = chance.randint(1, end - at - 1) if end - at > 1 else 1
        if end - at == 1 or chance.random() < 0.5:
            instances.append((at, in_a, None))
            at += in_a
        else:
            instances.append((at, in_a, end - at - in_a))
            at = end
    return instances


def test_the_plan_has_the_statistics_of_googles_loop(corpus: Corpus):
    """Over many epochs: instances, random next texts, sentences in A and B, and where A begins."""
    shard, chance = corpus.shards[0], random.Random(1)
    config = InstanceSettings(max_length=48, short_seq_prob=0.3)
    lengths = [[len(sentence) for sentence in shard.document(d)] for d in range(len(shard))]
    rounds = 150
    mine, theirs = [], []
    sentence_at = {int(offset): i for i, offset in enumerate(shard.sentences)}
    for number in range(rounds):
        plan = plan_pairs(shard.sentences, shard.documents, config, np.random.default_rng(number))
        for document, start, middle, end, wanted in plan.tolist():
            first = sentence_at[start] - int(shard.documents[document])
            in_b = None if wanted else sentence_at[end] - sentence_at[middle]
            mine.append((first, sentence_at[middle] - sentence_at[start], in_b))
        for document in lengths:
            theirs += googles_walk(document, config.max_num_tokens, config.short_seq_prob, chance)
    assert abs(len(mine) / len(theirs) - 1) < 0.02
    for what in (
        lambda first, in_a, in_b: in_b is None,
        lambda first, in_a, in_b: in_a == 1,
        lambda first, in_a, in_b: in_b == 1,
        lambda first, in_a, in_b: first < 5,
        lambda first, in_a, in_b: in_a > 3,
    ):
        share = sum(what(*instance) for instance in theirs) / len(theirs)
        # instances of a document are not independent, and both sides are samples: twice the interval
        assert abs(sum(what(*instance) for instance in mine) / len(mine) - share) < 2 * interval(share, len(mine))


def test_random_texts_come_from_all_other_documents_alike(corpus: Corpus):
    instances = make(corpus, short_seq_prob=1.0)
    sources: Counter[int] = Counter()
    for number in range(6):
        for instance in all_of(instances.block(number)):
            text, pair = texts_of(instance)
            if instance["next_sentence_label"] == 1:
                assert document_of(text[0]) != document_of(pair[0])
                sources[document_of(pair[0])] += 1
    expected = sources.total() / DOCUMENTS
    assert len(sources) == DOCUMENTS
    assert all(abs(count - expected) < 4.5 * math.sqrt(expected) for count in sources.values())


# ------------------------------------------------------------------------------------------------------------- by hand


def test_chunks_by_hand(tmp_path: Path):
    """A document of three sentences, of 3, 4 and 2 words, and one of a single sentence."""
    (tmp_path / "x.txt").write_text("aa000 aa001 aa002\naa003 aa004 aa005 aa006\naa007 aa008\n\nab000 ab001")
    prepare([tmp_path / "x.txt"], TOKENIZER, tmp_path / "out")
    shard = Corpus(tmp_path / "out").shards[0]
    assert shard.sentences.tolist() == [0, 3, 7, 9, 11]
    assert shard.documents.tolist() == [0, 3, 4]
    outcomes = set()
    for seed in range(60):
        plan = plan_pairs(
            shard.sentences,
            shard.documents,
            InstanceSettings(max_length=9, short_seq_prob=0),
            np.random.default_rng(seed),
        )
        outcomes.add(tuple(sorted(plan.tolist())))
    alone = (1, 9, 11, 11, 4)  # B must be random, and have the 4 tokens that are missing to 6
    assert outcomes == {
        ((0, 0, 3, 7, 0), (0, 7, 9, 9, 4), alone),  # the first two sentences are a pair, the third is left
        ((0, 0, 3, 7, 3), (0, 3, 7, 9, 0), alone),  # a random B for the first sentence, the others are a pair
        ((0, 0, 3, 7, 3), (0, 3, 7, 9, 2), (0, 7, 9, 9, 4), alone),
    }


def test_texts_by_hand(tmp_path: Path):
    """Sentences of 3, 4, 2 and 12 words, in pieces of up to 7, without pairs."""
    words = [f"aa{i:03}" for i in range(21)]
    lines = [words[:3], words[3:7], words[7:9], words[9:]]
    (tmp_path / "x.txt").write_text("\n".join(map(" ".join, lines)) + "\n\nab000 ab001")
    prepare([tmp_path / "x.txt"], TOKENIZER, tmp_path / "out")
    corpus = Corpus(tmp_path / "out")
    config = InstanceSettings(max_length=9, next_sentence=False, short_seq_prob=0)
    shard = corpus.shards[0]
    plan = plan_texts(shard.sentences, shard.documents, config, np.random.default_rng(0))
    pieces = sorted((start, middle) for _, start, middle, *_ in plan.tolist())
    assert pieces == [(0, 7), (7, 9), (9, 16), (16, 21), (21, 23)]
    block = PretrainingInstances(corpus, TOKENIZER, config).block(0)
    rows = sorted(TOKENIZER.decode(original(instance)) for instance in all_of(block))
    assert rows[-1] == "[CLS] ab000 ab001 [SEP]"  # nothing of another document beside it
    assert set(block[0]) == {"input_ids", "token_type_ids", "labels"}


@settings(deadline=None)
@given(st.lists(st.lists(st.integers(1, 30), min_size=1), min_size=1), st.integers(5, 40), st.integers(0, 99))
def test_without_pairs_every_token_is_used_once(lengths, max_length, seed):
    sentences = np.cumsum([0, *itertools.chain.from_iterable(lengths)])
    documents = np.cumsum([0, *map(len, lengths)])
    config = InstanceSettings(max_length=max_length, next_sentence=False, short_seq_prob=0.5)
    plan = plan_texts(sentences, documents, config, np.random.default_rng(seed))
    pieces = sorted((start, middle) for _, start, middle, *_ in plan.tolist())
    assert [start for start, _ in pieces] == [0, *(middle for _, middle in pieces[:-1])]
    assert pieces[-1][1] == sentences[-1]
    assert all(middle - start <= max_length - 2 for start, middle in pieces)
    assert {middle for _, middle in pieces} >= set(sentences[documents[1:]].tolist())  # none goes over a document's end


@pytest.mark.parametrize("plan", [plan_pairs, plan_texts])
def test_a_shard_without_documents_has_no_instances(plan):
    """As it may be where few documents are held out."""
    assert len(plan(np.array([0, 5]), np.array([1]), InstanceSettings(), np.random.default_rng(0))) == 0


@settings(deadline=None)
@given(st.integers(0, 40), st.integers(0, 40), st.integers(2, 60))
def test_truncation_leaves_what_googles_loop_leaves(text, pair, max_num_tokens):
    expected_text, expected_pair = text, pair
    while expected_text + expected_pair > max_num_tokens:
        if expected_text > expected_pair:
            expected_text -= 1
        else:
            expected_pair -= 1
    cut_text, cut_pair = truncate_seq_pair(
        np.arange(text), np.arange(pair), max_num_tokens, np.random.default_rng(text)
    )
    for cut, expected in ((cut_text, expected_text), (cut_pair, expected_pair)):
        assert len(cut) == expected
        assert (np.diff(cut) == 1).all()


def test_truncation_takes_from_both_ends_alike():
    chance = np.random.default_rng(0)
    fronts = [int(truncate_seq_pair(np.arange(20), np.arange(1), 11, chance)[0][0]) for _ in range(10_000)]
    assert abs(np.mean(fronts) - 5) < 3.29 * math.sqrt(10 / 4 / 10_000)
    assert abs(np.var(fronts) - 2.5) < 0.2


# Places 1..8 and 10..12 can be chosen: two texts with [SEP] between. The words are 1, 2-3, 4, 5-6-7, 8 | 10-11, 12.
CANDIDATES = np.array([1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12])
BEGINS = np.array([1, 1, 0, 1, 1, 0, 0, 1, 1, 0, 1], dtype=bool)
WHOLE = [{1}, {2, 3}, {4}, {5, 6, 7}, {8}, {10, 11}, {12}]


def test_whole_words_are_chosen_whole():
    chosen_words: set[int] = set()
    for seed in range(200):
        places, units = choose_words(CANDIDATES, BEGINS, 4, np.random.default_rng(seed))
        assert len(places) == len(set(places.tolist())) == len(units) == 4
        chosen = set(places.tolist())
        words = [word for word in WHOLE if word & chosen]
        assert set.union(*words) == chosen
        chosen_words.update(map(min, words))
    assert chosen_words == {1, 2, 4, 5, 8, 10, 12}


def test_a_word_too_many_is_passed_over():
    assert {len(choose_words(np.arange(3), np.array([True, False, False]), 2, np.random.default_rng(0))[0])} == {0}


def test_spans_are_runs_of_whole_words_within_a_text():
    for seed in range(300):
        places, units = choose_spans(CANDIDATES, BEGINS, 5, np.random.default_rng(seed))
        assert len(places) == len(set(places.tolist())) <= 5
        assert set(units.tolist()) == set(range(len(set(units.tolist()))))
        assert set.union(*(word for word in WHOLE if word & set(places.tolist()))) == set(places.tolist())
        for unit in set(units.tolist()):
            run = places[units == unit]
            assert run.tolist() == list(range(run[0], run[0] + len(run)))  # 9, the [SEP], is never bridged


def test_spans_have_the_lengths_of_the_paper():
    """Geometric with 0.2, none over 10 words: their mean is 3.8."""
    chance = np.random.default_rng(0)
    lengths: Counter[int] = Counter()
    for _ in range(5000):
        _, units = choose_spans(np.arange(1000), np.ones(1000, dtype=bool), 20, chance)
        lengths[int((units == 0).sum())] += 1
    shares = {n: 0.2 * 0.8 ** (n - 1) / (1 - 0.8**10) for n in range(1, 11)}
    assert set(lengths) == set(shares)
    for length, share in shares.items():
        assert abs(lengths[length] / 5000 - share) < interval(share, 5000)
    assert sum(n * share for n, share in shares.items()) == pytest.approx(3.8, abs=0.01)


def test_a_span_has_one_fate():
    mask, chance = Masking(TOKENIZER, "span", 0.15, 1000), np.random.default_rng(0)
    fates: Counter[str] = Counter()
    for _ in range(2000):
        ids = np.arange(6, 106)
        mask.choose = lambda *given: (np.arange(10, 15), np.zeros(5, dtype=np.int64))
        seen, labels = mask(ids, chance)
        part = seen[10:15]
        fates["masked"] += (part == MASK).all()
        fates["kept"] += (part == labels[10:15]).all()
        fates["random"] += (part != MASK).all() and (part != labels[10:15]).all()
    assert fates.total() >= 1998  # a random token may by chance be the right one
    assert abs(fates["masked"] / 2000 - 0.8) < interval(0.8, 2000)


def test_a_piece_that_truncation_left_at_the_beginning_is_a_word_of_its_own():
    vocab = word_tokenizer("a", "##b")
    mask = Masking(vocab, "whole_word", 0.15, 20)
    given_words: list[list[bool]] = []

    def note(candidates, begins_word, count, generator):
        given_words.append(begins_word.tolist())
        return choose_tokens(candidates, begins_word, count, generator)

    mask.choose = note
    mask(np.array([2, 6, 5, 6, 3, 6, 6, 1, 6, 3]), np.random.default_rng(0))  # [CLS] ##b a ##b [SEP] ##b ##b [UNK] ##b
    assert given_words == [[True, True, False, True, False, True]]


@pytest.mark.parametrize("masking", ["token", "whole_word", "span"])
def test_a_text_of_unknown_words_alone_has_nothing_to_predict(masking: str):
    ids = np.array([CLS, 1, 1, SEP, 1, SEP])
    seen, labels = Masking(TOKENIZER, masking, 0.15, 20)(ids, np.random.default_rng(0))
    assert seen.tolist() == ids.tolist()
    assert set(labels.tolist()) == {-100}


# ------------------------------------------------------------------------------------------------------ models, faults


def test_models_take_batches_of_them(corpus: Corpus):
    config = BertConfig.preset("tiny", vocab_size=len(TOKENIZER), num_hidden_layers=1)
    pairs, texts = make(corpus).block(0), make(corpus, next_sentence=False).block(0)
    loss = BertForPreTraining(config)(**pack_examples([pairs[i] for i in range(8)])).loss
    assert abs(loss.item() - math.log(len(TOKENIZER)) - math.log(2)) < 0.5
    loss = BertForMaskedLM(config)(**pack_examples([texts[i] for i in range(8)])).loss
    assert abs(loss.item() - math.log(len(TOKENIZER))) < 0.5


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"max_length": 4}, "max_length must be at least 5"),
        ({"short_seq_prob": 1.5}, "short_seq_prob must be from 0 to 1"),
        ({"masked_lm_prob": 0}, "masked_lm_prob must be between 0 and 1"),
        ({"max_predictions_per_seq": 0}, "max_predictions_per_seq must be at least 1"),
        ({"masking": "sentence"}, "masking must be one of token, whole_word, span: found 'sentence'"),
        ({"seed": -1}, "seed must be at least 0"),
    ],
)
def test_settings_that_cannot_be_used_get_a_sentence(changes, sentence: str):
    with pytest.raises(InputError, match=sentence):
        InstanceSettings(**changes)


def test_a_single_document_gets_a_sentence(tmp_path: Path):
    (tmp_path / "x.txt").write_text("aa000\naa001\n")
    prepare([tmp_path / "x.txt"], TOKENIZER, tmp_path / "out")
    with pytest.raises(InputError, match="a single document, and next-sentence prediction needs a second"):
        make(Corpus(tmp_path / "out"))
    assert len(make(Corpus(tmp_path / "out"), next_sentence=False).block(0)) == 1


def test_another_tokenizer_gets_a_sentence(corpus: Corpus):
    other = word_tokenizer("a")
    with pytest.raises(InputError, match="made with another tokenizer"):
        PretrainingInstances(corpus, other, InstanceSettings())
