"""Sentence embeddings: vectors, their losses, what they are judged by, and search."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st

from minibert import BertModel, BertTokenizer, InputError
from minibert.embeddings import TEMPERATURE, BertForSimilarity, encode, nearest, similarity_loss
from minibert.packing import PackedBatch
from minibert.tasks.similarity import SimilarityTask, has_scores, partner_ranks, topics
from minibert.tasks.task import Columns, Example, Examples
from minibert.training.judging import saved_task

from .helpers import SMALL, make_batch, write_table
from .test_commands import CommandError, call, one_line

# ------------------------------------------------------------------------------------------------------- the model


def test_vectors_are_the_mean_over_the_real_tokens_of_transformers():
    model = BertForSimilarity(SMALL).eval()
    theirs = transformers.BertModel(transformers.BertConfig(**SMALL.to_dict()), add_pooling_layer=False).eval()
    inputs = make_batch()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.normal_(std=0.3)
        model.load_state_dict(_in_our_names(theirs))
        hidden = theirs(**inputs).last_hidden_state
        mask = inputs["attention_mask"].unsqueeze(2)
        expected = (hidden * mask).sum(dim=1) / mask.sum(dim=1)
        vectors = model(**inputs).logits
    torch.testing.assert_close(vectors, expected.unflatten(0, (2, 2)), rtol=1e-4, atol=1e-4)


def _in_our_names(theirs: transformers.BertModel) -> dict[str, torch.Tensor]:
    from minibert.checkpoints.names import to_minibert

    tensors = {f"bert.{name}": tensor for name, tensor in theirs.state_dict().items()}
    return to_minibert(BertForSimilarity(SMALL).state_dict(), tensors, "hugging_face")


def test_an_odd_row_has_no_partner():
    with pytest.raises(InputError, match="A pair is two rows: found 3 rows"):
        BertForSimilarity(SMALL)(torch.ones(3, 4, dtype=torch.long))


def test_the_saved_folder_is_a_bert_model_with_its_settings(tmp_path: Path):
    model = BertForSimilarity(SMALL).eval()
    model.config = model.config.replace(**SimilarityTask(Columns(), 0.0, 5.0).config_changes())
    model.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["architectures"] == ["BertModel"]
    assert config["task_specific_params"]["minibert"]["pooling"] == "mean"
    task = saved_task(tmp_path, Columns())
    assert isinstance(task, SimilarityTask)
    assert (task.lowest, task.highest) == (0.0, 5.0)
    theirs = transformers.AutoModel.from_pretrained(tmp_path, add_pooling_layer=False).eval()
    again = BertForSimilarity.from_pretrained(tmp_path)
    ids = torch.tensor([[5, 6, 7], [8, 9, 10]])
    with torch.no_grad():
        mean = theirs(ids).last_hidden_state.mean(dim=1)
        torch.testing.assert_close(again(ids).logits[0], mean, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(again(ids).logits, model(ids).logits)


# ------------------------------------------------------------------------------------------------------- the losses

VECTORS = torch.tensor([[[1.0, 0.0], [3.0, 4.0]], [[0.0, 2.0], [0.0, 1.0]]])  # cosines 0.6 and 1; crossed 0 and 0.8


def test_the_loss_of_scores_by_hand():
    loss = similarity_loss(VECTORS, torch.tensor([0.5, 0.5]))
    assert loss.item() == pytest.approx((0.1**2 + 0.5**2) / 2)


def test_the_loss_of_pairs_by_hand():
    right, wrong = [0.6, 1.0], [0.0, 0.8]
    expected = [-math.log(1 / (1 + math.exp((b - a) / TEMPERATURE))) for a, b in zip(right, wrong, strict=True)]
    assert similarity_loss(VECTORS, torch.tensor([0, 1])).item() == pytest.approx(sum(expected) / 2, rel=1e-4)


def test_pairs_about_the_same_are_no_wrong_answers_to_each_other():
    assert similarity_loss(VECTORS, torch.tensor([7, 7])).item() == 0
    other = torch.cat([VECTORS, VECTORS.flip(2)])
    assert similarity_loss(other, torch.tensor([0, 1, 0, 1])) < similarity_loss(other, torch.tensor([0, 1, 2, 3]))


def test_a_loss_needs_one_label_a_pair():
    with pytest.raises(InputError, match=r"one a pair, \(2,\): found \(4,\)"):
        similarity_loss(VECTORS, torch.zeros(4))


# ---------------------------------------------------------------------------------------------------- pairs and files


def make_pairs(*pairs: tuple[str, str], scores: Sequence[float | None] | None = None) -> Examples:
    truths = scores if scores is not None else [None] * len(pairs)
    rows = [Example({"text": a, "text_b": b}, truth) for (a, b), truth in zip(pairs, truths, strict=True)]
    return Examples(Path("pairs.tsv"), rows)


def test_pairs_with_a_text_in_common_are_about_the_same_however_long_the_chain():
    pairs = make_pairs(("a", "b"), ("x", "y"), ("b", "c"), ("d", "c"), ("y", "z"), ("q", "q"))
    assert topics(pairs) == [0, 1, 0, 0, 1, 2]


@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.sampled_from("abcdefgh")), min_size=1, max_size=12))
def test_topics_are_connected_components(pairs: list[tuple[str, str]]):
    reached = {letter: {letter} for letter in "abcdefgh"}
    for _ in pairs:
        for a, b in pairs:
            reached[a] = reached[b] = reached[a] | reached[b]
    found = topics(make_pairs(*pairs))
    for i, (a, _) in enumerate(pairs):
        for j, (b, _) in enumerate(pairs):
            connected = any(a in group and b in group for group in reached.values())
            assert (found[i] == found[j]) == connected


def test_the_rank_of_a_partner_counts_the_better_ones_of_other_topics():
    first = np.eye(3, dtype=np.float32)
    second = np.array([[0.5, 0.9, 0], [0.6, 0.8, 0], [0.7, 0, 0.1]], dtype=np.float32)
    assert partner_ranks(first, second, [0, 1, 2]) == [3, 2, 1]
    assert partner_ranks(first, second, [0, 0, 1]) == [2, 1, 1]


def test_a_model_for_which_all_texts_are_alike_finds_no_partner():
    alike = np.ones((3, 1), dtype=np.float32)
    assert partner_ranks(alike, alike, [0, 1, 2]) == [3, 3, 3]


def test_a_pair_goes_through_features_and_collate_as_two_rows(small_model: Path):
    tokenizer = BertTokenizer.from_pretrained(small_model)
    task = SimilarityTask(Columns(), 1.0, 5.0)
    features = task.features(make_pairs(("a good film", "bad"), ("a", "fun"), scores=[2.0, 5.0]), tokenizer)
    batch = task.collate(features)
    expected = tokenizer(["a good film", "bad", "a", "fun"])["input_ids"]
    assert batch["labels"].tolist() == [0.25, 1.0]
    packed = batch["input_ids"]
    assert isinstance(packed, PackedBatch)
    bounds = packed.layout.cu_seqlens.tolist()
    rows = [packed.input_ids[a:b].tolist() for a, b in pairwise(bounds)]
    assert rows == expected
    assert packed.token_type_ids.sum() == 0


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("text\tlabel\na\t1\n", "similarity is about pairs, but there is no column 'text_b'"),
        ("text\ttext_b\tlabel\na\tb\tvery\n", "line 2: 'label' must be a number: found 'very'"),
        ("text\ttext_b\tlabel\na\tb\t3\nb\tc\t3\n", "all 2 rows have the label 3. Pairs that simply belong together"),
    ],
)
def test_a_bad_file_gets_one_line(content: str, sentence: str, small_model: Path, tmp_path: Path, capsys):
    train = tmp_path / "train.tsv"
    train.write_text(content)
    flags = ["--task", "similarity", "--train", train, "--dev", train, "--model", small_model]
    with pytest.raises(CommandError, match="2"):
        call("finetune", *flags, "--out", tmp_path / "out")
    assert sentence in one_line(capsys.readouterr().err)
    assert not (tmp_path / "out").exists()


def test_a_model_without_a_head_has_nothing_beside_the_encoder_to_train(small_model: Path, tmp_path: Path, capsys):
    train = write_table(tmp_path / "train.tsv", PAIRS, ("text", "text_b"))
    flags = ["--task", "similarity", "--train", train, "--dev", train, "--model", small_model]
    with pytest.raises(CommandError, match="2"):
        call("finetune", *flags, "--freeze", "encoder", "--out", tmp_path / "out")
    assert "--freeze encoder leaves nothing to train in BertForSimilarity" in one_line(capsys.readouterr().err)
    with pytest.raises(CommandError, match="2"):
        call("finetune", *flags, "--gradual-unfreezing", "--epochs", 2, "--out", tmp_path / "out")
    assert "begins with the head, and BertForSimilarity has none" in one_line(capsys.readouterr().err)
    deeper = BertModel.from_pretrained(small_model).config.replace(num_hidden_layers=4)
    BertModel(deeper).save_pretrained(tmp_path / "deeper")
    BertTokenizer.from_pretrained(small_model).save_pretrained(tmp_path / "deeper")
    with pytest.raises(CommandError, match="2"):
        call("finetune", *flags[:-1], tmp_path / "deeper", "--mix", "last_four", "--out", tmp_path / "out")
    assert "--mix last_four leaves nothing to train in BertForSimilarity" in one_line(capsys.readouterr().err)


def test_files_with_and_without_scores_do_not_go_together():
    task = SimilarityTask(Columns())
    with pytest.raises(InputError, match="Either both files have the column 'label' or neither"):
        task.check(make_pairs(("a", "b")), make_pairs(("a", "b"), scores=[1.0]))


# ----------------------------------------------------------------------------------------------------- the commands

PAIRS = [("good film", "a good film"), ("bad film", "a bad film"), ("good sound", "fun sound"), ("a a", "fun")]


def test_learning_from_scores_end_to_end(small_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    rows = [(a, b, str(score)) for (a, b), score in zip(PAIRS, (5, 4, 2, 0), strict=True)]
    header = ("text", "text_b", "label")
    train, dev = write_table(tmp_path / "train.tsv", rows * 4, header), write_table(tmp_path / "dev.tsv", rows, header)
    out = tmp_path / "out"
    flags = ["--task", "similarity", "--train", train, "--dev", dev, "--model", small_model, "--out", out]
    call("finetune", *flags, "--epochs", 3, "--batch-size", 4, "--lr", 1e-2)
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["spearman"] > 0.7
    capsys.readouterr()
    call("evaluate", "--model", out, "--data", dev)
    assert json.loads(capsys.readouterr().out)["pearson"] == pytest.approx(metrics["pearson"], abs=1e-4)
    lines = [json.loads(line) for line in (out / "predictions.jsonl").read_text().splitlines()]
    call("predict", "--model", out, *PAIRS[0])
    assert json.loads(capsys.readouterr().out)["similarity"] == pytest.approx(lines[0]["predicted"], abs=1e-4)
    assert "Cosine against score" in (out / "report.html").read_text()


def test_learning_from_pairs_that_belong_together(small_model: Path, tmp_path: Path):
    header = ("text", "text_b")
    train = write_table(tmp_path / "train.tsv", PAIRS * 4, header)
    dev, test = (write_table(tmp_path / f"{part}.tsv", PAIRS, header) for part in ("dev", "test"))
    out = tmp_path / "out"
    files = ["--train", train, "--dev", dev, "--test", test]
    flags = ["--task", "similarity", *files, "--model", small_model, "--out", out]
    call("finetune", *flags, "--epochs", 3, "--batch-size", 8, "--lr", 1e-2)
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["test"] == {name: metrics[name] for name in ("accuracy_at_1", "mrr")}
    lines = [json.loads(line) for line in (out / "predictions.jsonl").read_text().splitlines()[: len(PAIRS)]]
    assert metrics["accuracy_at_1"] == np.mean([line["rank"] == 1 for line in lines])
    assert metrics["mrr"] == np.mean([1 / line["rank"] for line in lines])
    assert "hardest to find" in (out / "report.html").read_text()


def test_slices_of_pairs_that_belong_together(small_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    BertForSimilarity.from_pretrained(small_model).save_pretrained(tmp_path)
    BertTokenizer.from_pretrained(small_model).save_pretrained(tmp_path)
    rows = [(*pair, kind) for pair, kind in zip(PAIRS, "xxyy", strict=True)]
    data = write_table(tmp_path / "data.tsv", rows, ("text", "text_b", "kind"))
    call("evaluate", "--model", tmp_path, "--data", data, "--slice", "kind")
    metrics = json.loads(capsys.readouterr().out)
    assert {"x", "y"} == metrics["slices"].keys()
    assert sum(part["mrr"] for part in metrics["slices"].values()) / 2 == pytest.approx(metrics["mrr"])


def test_a_bert_from_elsewhere_can_be_judged_as_it_is(tmp_path: Path, small_model: Path):
    BertForSimilarity.from_pretrained(small_model).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config.pop("task_specific_params", None)
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert isinstance(saved_task(tmp_path, Columns()), SimilarityTask)


def test_encode_gives_unit_vectors_in_order_whatever_the_batch(small_model: Path):
    model, tokenizer = BertForSimilarity.from_pretrained(small_model), BertTokenizer.from_pretrained(small_model)
    texts = ["a good film", "bad", "fun fun fun fun sound", "", "a bad film"]
    vectors = encode(texts, model, tokenizer, batch_size=2)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(5), abs=1e-5)
    assert vectors.dtype == np.float32
    for text, vector in zip(texts, vectors, strict=True):
        np.testing.assert_allclose(encode([text], model, tokenizer)[0], vector, atol=1e-5)
    assert encode([], model, tokenizer).shape == (0, 16)
    with pytest.raises(InputError, match="a list of texts: found one text"):
        encode("fun", model, tokenizer)


def test_nearest_by_hand():
    vectors = np.array([[1, 0], [0, 1], [0.6, 0.8]], dtype=np.float32)
    numbers, cosines = nearest(np.array([[0, 1]], dtype=np.float32), vectors, 2)
    assert numbers.tolist() == [[1, 2]]
    assert cosines[0] == pytest.approx([1, 0.8])
    assert nearest(vectors, vectors, 9)[0].shape == (3, 3)


def test_search_in_a_file(small_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    table = write_table(tmp_path / "texts.tsv", [("a good film",), ("bad sound",), ("fun",), ("fun",)], ("title",))
    flags = ["--model", small_model, "--input", table, "--text-column", "title"]
    call("similar", *flags, "--top", 9, "bad sound", "fun")
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["query"] for line in lines] == ["bad sound", "fun"]
    assert [line["nearest"][0]["text"] for line in lines] == ["bad sound", "fun"]
    assert [len(line["nearest"]) for line in lines] == [3, 3]  # the doubled text stands there once
    assert lines[0]["nearest"][0]["similarity"] == pytest.approx(1, abs=1e-5)
    with pytest.raises(CommandError, match="2"):
        call("similar", "--model", small_model, "--input", table, "bad sound")
    assert "there is no column 'text', but title" in one_line(capsys.readouterr().err)


def test_scored_files_are_told_apart():
    assert has_scores(make_pairs(("a", "b"), scores=[0.0]))
    assert not has_scores(make_pairs(("a", "b")))


def test_reading_many_texts_shows_a_progress_bar(small_model: Path, monkeypatch: pytest.MonkeyPatch):
    bars = []

    def bar(batches: list[list[int]], desc: str, **options: Any) -> list[list[int]]:
        bars.append((desc, len(batches)))
        return batches

    monkeypatch.setattr("minibert.embeddings.tqdm", bar)
    model, tokenizer = BertForSimilarity.from_pretrained(small_model), BertTokenizer.from_pretrained(small_model)
    encode(["a", "b", "c"], model, tokenizer, batch_size=2)
    assert bars == [("encode", 2)]


def test_encode_cuts_texts_to_the_limit_of_the_tokenizer(small_model: Path):
    model, tokenizer = BertForSimilarity.from_pretrained(small_model), BertTokenizer.from_pretrained(small_model)
    tokenizer.model_max_length = 6
    long, cut = encode(["fun bad a good film film", "fun bad a good"], model, tokenizer)
    np.testing.assert_allclose(long, cut, atol=1e-5)


def test_encode_gives_single_precision_also_from_a_model_in_half(small_model: Path):
    model = BertForSimilarity.from_pretrained(small_model, dtype=torch.bfloat16)
    assert encode(["a good film"], model, BertTokenizer.from_pretrained(small_model)).dtype == np.float32
