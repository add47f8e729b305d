"""Word vectors by counting: the counts by hand, the vectors against NumPy's SVD, and a BERT that begins with them."""

from __future__ import annotations

import math
import random
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest
import torch

from minibert import BertConfig, BertForPreTraining, BertTokenizer
from minibert.data import cooccurrence
from minibert.data.cooccurrence import count_vectors, factors, neighbour_counts, ppmi, turned
from minibert.data.prepare import prepare
from minibert.data.shards import Corpus
from minibert.data.unigram import token_counts
from minibert.training.pretraining_trainer import PretrainingTrainer

from .helpers import pretrain, word_tokenizer

WORDS = ["the", "of", "cat", "dog", "salt", "milk", "purrs", "barks"]


@pytest.fixture
def tokenizer() -> BertTokenizer:
    return word_tokenizer(*WORDS)


def corpus_of(text: str, tokenizer: BertTokenizer, folder: Path) -> Corpus:
    (folder / "text.txt").write_text(text)
    prepare([folder / "text.txt"], tokenizer, folder / "corpus")
    return Corpus(folder / "corpus")


def random_text(words: int) -> str:
    chance = random.Random(0)
    return "\n".join(" ".join(chance.choices(WORDS[:-1], k=8)) for _ in range(words // 8))


@pytest.mark.parametrize("chunk", [1_000_000, 7])
def test_neighbours_are_counted_by_their_distance_on_both_sides(
    chunk: int, tokenizer: BertTokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(cooccurrence, "CHUNK", chunk)
    monkeypatch.setattr(cooccurrence, "MOST_NEIGHBOURS", 4)
    corpus = corpus_of(random_text(400), tokenizer, tmp_path)
    tokens = np.concatenate([sentence for number in range(len(corpus)) for sentence in corpus[number]]).tolist()
    expected: defaultdict[tuple[int, int], float] = defaultdict(float)
    for start in range(0, len(tokens), chunk):
        part = tokens[start : start + chunk]
        for i, one in enumerate(part):
            for j, other in enumerate(part):
                if 0 < abs(i - j) <= 5:
                    expected[one, other] += 1 / abs(i - j)
    frequent = [token for token, _ in sorted(Counter(tokens).items(), key=lambda pair: (-pair[1], pair[0]))[:4]]
    counts = neighbour_counts(corpus)
    assert counts.shape == (len(tokenizer), 4)
    wanted = [[expected[token, neighbour] for neighbour in frequent] for token in range(len(tokenizer))]
    np.testing.assert_allclose(counts, wanted, rtol=1e-5)
    assert not counts[tokenizer.get_vocab()["barks"]].any()  # it never occurs


def test_information_compares_with_chance_by_hand():
    # Of 8 neighbours, the first token has 2 and 2, the second 0 and 4. Smoothed, the neighbours' shares are
    # 2^.75 : 6^.75 = 0.305 : 0.695.
    share = 2**0.75 / (2**0.75 + 6**0.75)
    table = ppmi(np.array([[2, 2], [0, 4], [0, 0]], dtype=np.float32))
    wanted = np.array([[math.log(2 / (4 * share)), 0], [0, math.log(4 / (4 * (1 - share)))], [0, 0]])
    np.testing.assert_allclose(table, wanted, rtol=1e-5)


def test_vectors_are_those_of_the_singular_value_decomposition():
    table = np.random.default_rng(0).random((9, 5)).astype(np.float32)
    left, values, _ = np.linalg.svd(table, full_matrices=False)
    for size in (2, 5):
        found = factors(table, size)
        wanted = left[:, :size] * np.sqrt(values[:size])
        np.testing.assert_allclose(found @ found.T, wanted @ wanted.T, atol=1e-4)  # columns may have another sign
    assert not factors(table, 8)[:, 5:].any()
    assert not factors(np.outer([1, 2, 0], [1, 1]).astype(np.float32), 2)[:, 1:].any()  # rank 1


def test_words_with_the_same_neighbours_get_similar_vectors(tokenizer: BertTokenizer, tmp_path: Path):
    chance = random.Random(0)
    lines = []
    for _ in range(300):
        animal, food = chance.choice(["cat", "dog"]), chance.choice(["salt", "milk"])
        lines += [f"the {animal} purrs", f"of {food} barks"]
        chance.shuffle(lines)
    vectors = count_vectors(corpus_of("\n\n".join(lines), tokenizer, tmp_path), 4)
    cat, dog, salt, milk = (vectors[tokenizer.get_vocab()[word]] for word in ("cat", "dog", "salt", "milk"))

    def cosine(one: np.ndarray, other: np.ndarray) -> float:
        return float(one @ other / np.linalg.norm(one) / np.linalg.norm(other))

    assert min(cosine(cat, dog), cosine(salt, milk)) > 0.9 > 0.5 > max(cosine(cat, salt), cosine(dog, milk))


def test_of_a_large_corpus_shards_from_everywhere_are_read(
    tokenizer: BertTokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("minibert.data.prepare.TEXT_PER_SHARD", 1000)
    text = "\n\n".join(random_text(80) for _ in range(40))
    corpus = corpus_of(text, tokenizer, tmp_path)
    assert len(corpus.records) >= 6
    monkeypatch.setattr(cooccurrence, "ENOUGH_TOKENS", corpus.tokens // 3)
    read: list[int] = []

    def remember(part: Corpus) -> np.ndarray:
        read.extend(part.numbers)
        return neighbour_counts(part)

    monkeypatch.setattr(cooccurrence, "neighbour_counts", remember)
    count_vectors(corpus, 4)
    assert read == list(range(0, len(corpus.records), 3))


def test_a_bert_begins_with_them(tokenizer: BertTokenizer, tmp_path: Path):
    corpus = corpus_of("\n\n".join(random_text(80) for _ in range(20)), tokenizer, tmp_path)
    words = ["--corpus", corpus.folder, "--size", "tiny", "--max-length", 16, "--batch-size", 8, "--max-steps", 1]
    words += ["--lr", 1e-9, "--warmup-ratio", 0]
    weights = {}
    for start in ("random", "counts"):
        pretrain(*words, "--embeddings", start, "--out", tmp_path / start)
        model = BertForPreTraining.from_pretrained(tmp_path / start)
        weights[start] = model.bert.embeddings.word_embeddings.weight.detach()
    expected = torch.from_numpy(count_vectors(corpus, 128))
    known = expected.norm(dim=1) > 0
    assert known.sum() == 7
    torch.testing.assert_close(weights["counts"][~known], weights["random"][~known])  # the others stay random
    alike = torch.cosine_similarity(weights["counts"][known], expected[known])
    torch.testing.assert_close(alike, torch.ones(7))
    torch.testing.assert_close(weights["counts"].norm(dim=1), weights["random"].norm(dim=1))


def test_vectors_are_turned_to_lie_near_others():
    chance = np.random.default_rng(0)
    vectors = chance.standard_normal((20, 6)).astype(np.float32)
    rotation, _ = np.linalg.qr(chance.standard_normal((6, 6)))
    weights = chance.integers(1, 100, 20)
    np.testing.assert_allclose(turned(vectors, vectors @ rotation, weights), vectors @ rotation, atol=1e-5)
    others = chance.standard_normal((20, 6)).astype(np.float32)
    found = turned(vectors, others, weights)
    np.testing.assert_allclose(found @ found.T, vectors @ vectors.T, atol=1e-4)  # angles and lengths stay

    def distance(one: np.ndarray) -> float:
        return float((weights[:, None] * (one - others) ** 2).sum())

    for _ in range(20):  # no small turn further is nearer
        small, _ = np.linalg.qr(np.eye(6) + 0.01 * chance.standard_normal((6, 6)))
        small *= np.sign(np.diag(small))
        assert distance(found) < distance(found @ small)


def test_a_trained_bert_keeps_half_of_its_own(tokenizer: BertTokenizer, tmp_path: Path):
    corpus = corpus_of("\n\n".join(random_text(80) for _ in range(20)), tokenizer, tmp_path)
    words = ["--corpus", corpus.folder, "--max-length", 16, "--batch-size", 8, "--max-steps", 1, "--warmup-ratio", 0]
    config = BertConfig.preset("tiny", vocab_size=len(tokenizer) + 3)  # room for more tokens than there are
    BertForPreTraining(config).save_pretrained(tmp_path / "trained")
    tokenizer.save_pretrained(tmp_path / "trained")
    weights = {}
    for start in ([], ["--embeddings", "counts"]):
        out = tmp_path / f"out-{len(start)}"
        pretrain(*words, "--init-from", tmp_path / "trained", "--lr", 1e-9, *start, "--out", out)
        weights[bool(start)] = BertForPreTraining.from_pretrained(out).bert.embeddings.word_embeddings.weight.detach()
    vectors = count_vectors(corpus, 128)
    known = np.flatnonzero(vectors.any(axis=1))
    unknown = sorted({*range(config.vocab_size)} - {*known.tolist()})
    torch.testing.assert_close(weights[True][unknown], weights[False][unknown])
    torch.testing.assert_close(weights[True].norm(dim=1), weights[False].norm(dim=1))
    own, both = (torch.nn.functional.normalize(weights[start]).numpy()[known] for start in (False, True))
    counted = vectors[known] / np.linalg.norm(vectors[known], axis=1, keepdims=True)
    counted = turned(counted, own, token_counts(corpus)[known])
    near = (both * own).sum(axis=1)
    np.testing.assert_allclose(near, (both * counted).sum(axis=1), rtol=1e-4)  # just between the two
    assert near.min() > 0.7


def test_an_interrupted_run_counts_nothing_again(
    tokenizer: BertTokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    corpus = corpus_of("\n\n".join(random_text(80) for _ in range(20)), tokenizer, tmp_path)
    words = ["--corpus", corpus.folder, "--size", "tiny", "--max-length", 16, "--batch-size", 8, "--max-steps", 4]
    words += ["--embeddings", "counts", "--out", tmp_path / "out"]
    counted = []

    def count(*arguments: object) -> np.ndarray:
        counted.append(arguments)
        return count_vectors(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr("minibert.training.pretraining.count_vectors", count)
    with monkeypatch.context() as interrupted:
        interrupted.setattr(PretrainingTrainer, "_must_stop", lambda *_: True)
        with pytest.raises(SystemExit) as end:
            pretrain(*words)
    assert end.value.code == 130
    assert list(tmp_path.glob("out/checkpoints/checkpoint-*"))
    assert len(counted) == 1
    pretrain(*words, "--resume")
    assert len(counted) == 1
