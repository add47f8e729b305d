"""From examples to packed batches."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from minibert import BertForTokenClassification, InputError, PackedBatch
from minibert.data.batches import batches_by_length, length_grouped_batches, move, pack_examples
from minibert.packing import Layout

from .helpers import SMALL, make_model

lengths = st.lists(st.integers(1, 60), min_size=1, max_size=300)


@given(lengths, st.integers(1, 40), st.integers(0, 9), st.integers(0, 9))
def test_every_example_comes_once_an_epoch(lengths, batch_size, seed, epoch):
    for batches in (length_grouped_batches(lengths, batch_size, seed, epoch), batches_by_length(lengths, batch_size)):
        assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
        assert sorted(map(len, batches), reverse=True)[:-1] == [batch_size] * (len(batches) - 1)


def test_evaluation_begins_with_the_longest_so_that_a_lack_of_memory_shows_at_once():
    assert batches_by_length([3, 9, 1, 7, 4], 2) == [[1, 3], [4, 0], [2]]


def test_batches_hold_sentences_of_similar_length_in_an_order_that_depends_on_seed_and_epoch():
    lengths = torch.randint(1, 100, (3000,)).tolist()
    batches = length_grouped_batches(lengths, 20, seed=0, epoch=0)
    padding = sum(20 * max(lengths[i] for i in batch) for batch in batches) / sum(lengths)
    assert padding < 1.05  # a random batch would be padded to about twice its tokens
    first_lengths = [lengths[batch[0]] for batch in batches[:50]]
    assert first_lengths != sorted(first_lengths)
    with torch.device("meta"):  # the default device has no say in it
        assert batches == length_grouped_batches(lengths, 20, seed=0, epoch=0)
    assert batches != length_grouped_batches(lengths, 20, seed=0, epoch=1)
    assert batches != length_grouped_batches(lengths, 20, seed=1, epoch=0)


def test_packing_by_hand():
    batch = PackedBatch.from_sequences([[5, 6, 7], [8], [9, 10]], [[0, 0, 1], [0], [0, 1]])
    assert batch.input_ids.tolist() == [5, 6, 7, 8, 9, 10]
    assert batch.token_type_ids.tolist() == [0, 0, 1, 0, 0, 1]
    assert batch.position_ids.tolist() == [0, 1, 2, 0, 0, 1]
    assert batch.layout.cu_seqlens.tolist() == [0, 3, 4, 6]
    assert batch.layout.pad(batch.input_ids).tolist() == [[5, 6, 7], [8, 0, 0], [9, 10, 0]]
    assert batch.cls_layout.select(batch.input_ids).tolist() == [5, 8, 9]


def test_a_mask_with_holes_and_an_empty_row_by_hand():
    mask = torch.tensor([[1, 0, 1], [0, 0, 0], [0, 1, 1]]).bool()
    layout = Layout.from_mask(mask)
    assert layout.cu_seqlens.tolist() == [0, 2, 2, 4]
    assert layout.pack(torch.arange(9).view(3, 3)).tolist() == [0, 2, 7, 8]
    first = layout.first_tokens()
    assert first.select(torch.tensor([0, 2, 7, 8])).tolist() == [0, 7]
    assert first.pad(torch.tensor([0, 7]), fill=-1).tolist() == [[0], [-1], [7]]


def test_a_layout_of_some_tokens_by_hand():
    """Of the sentences 0 1 | 2 3 4 | (empty) | 5 the tokens 1 | 2 4 | | are kept."""
    layout = Layout.from_mask(torch.tensor([[1, 1, 0], [1, 1, 1], [0, 0, 0], [1, 0, 0]]).bool())
    some = layout.only(torch.tensor([1, 2, 4]))
    assert some.cu_seqlens.tolist() == [0, 1, 3, 3, 3]
    assert some.seq == 2
    kept = some.select(torch.arange(6))
    assert kept.tolist() == [1, 2, 4]
    assert some.pad(kept, fill=-1).tolist() == [[1, -1], [2, 4], [-1, -1], [-1, -1]]


@given(st.lists(st.lists(st.booleans(), max_size=6), min_size=1, max_size=5))
def test_a_layout_of_some_tokens_keeps_each_in_its_row(keep):
    """For each sentence, whether each of its tokens is kept."""
    lengths = torch.tensor([len(row) for row in keep])
    layout = Layout.from_mask(torch.arange(6) < lengths.unsqueeze(1))
    flat = [kept for row in keep for kept in row]
    chosen = torch.tensor([place for place, kept in enumerate(flat) if kept], dtype=torch.int64)
    some = layout.only(chosen)
    row_of = torch.tensor([number for number, row in enumerate(keep) for _ in row], dtype=torch.int64)
    padded = some.pad(some.select(row_of), fill=-1)
    expected = [[number] * sum(row) + [-1] * (some.seq - sum(row)) for number, row in enumerate(keep)]
    assert padded.tolist() == expected


@given(st.integers(1, 5), st.integers(1, 7), st.randoms())
def test_packing_and_padding_undo_each_other(batch, seq, random):
    mask = torch.tensor([[random.random() < 0.6 for _ in range(seq)] for _ in range(batch)])
    values = torch.arange(batch * seq * 2).view(batch, seq, 2) + 1
    layout = Layout.from_mask(mask)
    assert torch.equal(layout.pad(layout.pack(values)), values * mask.unsqueeze(2))
    assert layout.first_tokens().pad(torch.ones(int(mask.any(1).sum()))).squeeze(1).tolist() == mask.any(1).tolist()


def test_padding_that_examples_bring_along_is_left_out():
    padded = [
        {"input_ids": [1, 5, 2, 0, 0], "attention_mask": [1, 1, 1, 0, 0], "token_type_ids": [0] * 5, "labels": 3},
        {
            "input_ids": torch.tensor([1, 5, 6, 7, 2]),
            "attention_mask": np.ones(5),
            "token_type_ids": [0] * 5,
            "labels": 4,
        },
    ]
    batch = pack_examples(padded)
    assert batch["input_ids"].input_ids.tolist() == [1, 5, 2, 1, 5, 6, 7, 2]
    assert batch["labels"].tolist() == [3, 4]
    assert set(batch) == {"input_ids", "labels"}


def test_positions_that_examples_bring_along_are_packed():
    examples = [
        {"input_ids": [1, 5, 2, 0], "attention_mask": [1, 1, 1, 0], "position_ids": [4, 5, 6, 0]},
        {"input_ids": [1, 6, 7, 2], "attention_mask": [1, 1, 1, 1], "position_ids": [0, 3, 2, 1]},
    ]
    for padded in (False, True):
        batch = pack_examples(examples, padded)
        assert set(batch) == {"input_ids"}
        assert batch["input_ids"].position_ids.tolist() == [4, 5, 6, 0, 3, 2, 1]
    model = make_model("BertForSequenceClassification")
    columns = {key: torch.tensor([example[key] for example in examples]) for key in examples[0]}
    torch.testing.assert_close(model(**batch).logits, model(**columns).logits)


def test_labels_of_tokens_are_packed_with_them_and_padded_with_them():
    examples = [{"input_ids": [1, 5, 2], "label": [-100, 4, -100]}, {"input_ids": [1, 2], "label": [-100, -100]}]
    assert pack_examples(examples)["labels"].tolist() == [-100, 4, -100, -100, -100]
    batch = pack_examples(examples, padded=True)
    assert batch["labels"].tolist() == [[-100, 4, -100], [-100, -100, -100]]
    assert BertForTokenClassification(SMALL)(**batch).logits.shape == (2, 3, 7)


def test_several_labels_of_a_sentence_are_not_taken_for_labels_of_its_tokens():
    examples = [
        {"input_ids": [1, 5, 2], "labels": [0.0, 1.0, 0.0]},
        {"input_ids": [1, 6, 2], "labels": [1.0, 1.0, 0.0]},
    ]
    assert pack_examples(examples)["labels"].tolist() == [[0.0, 1.0, 0.0], [1.0, 1.0, 0.0]]


def test_examples_with_different_values_are_refused():
    examples = [{"input_ids": [1, 2]}, {"input_ids": [1, 2], "token_type_ids": [0, 1]}]
    for batch in (examples, examples[::-1]):
        with pytest.raises(InputError, match="must have the same values: found input_ids"):
            pack_examples(batch)


@pytest.mark.parametrize(("device", "later"), [("cuda", True), ("mps", False), ("cpu", False)])
def test_only_cuda_may_copy_a_batch_later(device: str, later: bool, monkeypatch: pytest.MonkeyPatch):
    """PyTorch keeps the source alive there; on an Apple GPU the copy would read memory that has been released."""
    calls: list[bool] = []

    def record(tensor: torch.Tensor, device: torch.device, non_blocking: bool) -> torch.Tensor:
        calls.append(non_blocking)
        return tensor

    monkeypatch.setattr(torch.Tensor, "to", record)
    move(PackedBatch.from_sequences([[1, 2], [3]]), torch.device(device))
    move(torch.ones(2), torch.device(device))
    assert set(calls) == {later}


def test_holes_and_choices_stay_padded():
    holes = [
        {"input_ids": [1, 5, 2], "attention_mask": [1, 0, 1]},
        {"input_ids": [1, 5, 2], "attention_mask": [1, 1, 1]},
    ]
    assert pack_examples(holes)["attention_mask"].tolist() == [[1, 0, 1], [1, 1, 1]]
    choices = [{"input_ids": [[1, 2], [1, 3]], "attention_mask": [[1, 1], [1, 1]], "labels": 0}]
    assert pack_examples(choices)["input_ids"].shape == (1, 2, 2)
    bare = [{"input_ids": [[1, 2], [1, 3]], "labels": 0}] * 2  # no padding, and so no mask
    assert pack_examples(bare)["attention_mask"].tolist() == [[[1, 1], [1, 1]]] * 2
    with pytest.raises(InputError, match="they must be numbers, and of one length"):
        pack_examples([{"input_ids": [1, 2], "attention_mask": [0, 1]}, {"input_ids": [1], "attention_mask": [1]}])
