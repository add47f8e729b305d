"""The trace of a forward pass: complete, true to the code, and without any effect on what is computed."""

from __future__ import annotations

import inspect
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

import minibert
from minibert import InputError, trace
from minibert.attention import eager
from minibert.packing import PackedBatch
from minibert.transfer import Adapters, BitFit, LayerMix, Lora, Prefix, adapt

from .helpers import SMALL, make_batch, make_model


def traced(name: str = "BertModel", **options: Any) -> minibert.tracing.Trace:
    with torch.no_grad():
        return trace(make_model(name, attn_implementation="auto"), **make_batch(empty_row=True), **options)


@pytest.mark.parametrize("name", ["BertModel", "BertForPreTraining", "BertForSequenceClassification"])
def test_tracing_changes_no_number(name: str):
    model, batch = make_model(name), make_batch()
    with torch.no_grad():
        plain = model(**batch).to_tuple()
        assert_close(trace(model, **batch).output.to_tuple(), plain, rtol=0, atol=0)


@pytest.mark.parametrize("name", ["BertModel", "BertForMaskedLM", "BertForQuestionAnswering"])
def test_every_row_stands_beside_the_line_that_makes_it(name: str):
    steps = traced(name, output_attentions=True)
    for row in steps.rows:
        last = row.name.rpartition(".")[2].partition("[")[0]
        assert last in row.code or row.code.startswith(("return", "def forward(", "batch = ", "output = ")), row
    projected = next(row for row in steps.rows if row.name.endswith("projected"))
    lines, first = inspect.getsourcelines(minibert.model.BertSelfAttention)
    file, _, number = projected.where.partition(":")
    assert file == "model.py"
    assert lines[int(number) - first].strip() == projected.code
    assert projected.code.startswith("projected = ")


def test_every_name_of_the_attention_that_is_the_definition_has_a_row():
    names = {row.name for row in traced(output_attentions=True).rows}
    bound = set(inspect.getclosurevars(eager.eager_attention).unbound) | set(eager.eager_attention.__code__.co_varnames)
    bound &= {"query", "key", "value", "scores", "padding", "probabilities", "weights", "context"}
    assert len(bound) == 8
    for block in range(SMALL.num_hidden_layers):
        assert {f"blocks.{block}.attention.eager_attention.{name}" for name in bound} <= names


def test_rows_are_packed_inside_and_padded_at_the_end():
    batch = make_batch(empty_row=True)
    tokens, width = int(batch["attention_mask"].sum()), SMALL.hidden_size
    steps = traced()
    assert steps["input_ids"].shape == batch["input_ids"].shape
    assert steps["batch.input_ids"].shape == (tokens,)
    assert steps["embeddings.words"].shape == (tokens, width)
    assert steps["blocks.2.feed_forward.wide"].shape == (tokens, SMALL.intermediate_size)
    assert steps["last_hidden_state"].shape == (*batch["input_ids"].shape, width)
    assert steps.rows[-1].name == "last_hidden_state"


def test_the_numbers_of_the_rows_fit_together():
    model, batch = make_model("BertModel"), make_batch()
    with torch.no_grad():
        steps = trace(model, **batch, output_attentions=True)
        added = steps["embeddings.words"] + steps["embeddings.positions"] + steps["embeddings.segments"]
        assert_close(model.embeddings.layer_norm(added), steps["embeddings"])
        scores = steps["blocks.0.attention.eager_attention.scores"]
        assert_close(scores.softmax(dim=-1), steps["blocks.0.attention.probabilities"])
        assert_close(model.blocks[0].attention.output(steps["blocks.0.attention.joined"]), steps["blocks.0.attended"])


def test_logits_that_are_computed_when_read_are_in_the_trace():
    steps = traced("BertForMaskedLM")
    assert steps["logits"] is steps.output.logits
    assert steps["mlm.expected"].shape == steps["bert.hidden"].shape


def test_only_the_queries_of_the_last_block_are_fewer_where_only_cls_is_read():
    steps = traced("BertForSequenceClassification")
    rows = 4  # with a [CLS]
    assert steps["bert.blocks.1.hidden"].shape == (steps["batch.input_ids"].numel(), SMALL.hidden_size)
    assert steps["bert.blocks.2.hidden"].shape == (rows, SMALL.hidden_size)


def test_a_packed_batch_is_traced_under_its_own_name():
    with torch.no_grad():
        steps = trace(make_model("BertModel"), input_ids=PackedBatch.from_sequences([[1, 2, 3], [4]]))
    assert steps["input_ids.layout.cu_seqlens"].tolist() == [0, 3, 4]


@pytest.mark.parametrize(
    ("adaptation", "shapes"),
    [
        (Lora(2, targets=("query",)), {"attention.query_key_value.updates.query.thin": (3, 2)}),
        (Adapters("pfeiffer", 4), {"feed_forward_norm.adapter.thin": (3, 4)}),
        (Prefix(2), {"attention.prefix.key": (5, 5, 4), "attention.prefix.eager_attention.scores": (1, 5, 3, 5)}),
        (LayerMix("learned"), {}),
        (BitFit(), {}),
    ],
    ids=str,
)
def test_an_adapted_model_is_traced_in_its_own_files_alone(adaptation: Any, shapes: dict[str, tuple[int, ...]]):
    model = make_model("BertForTokenClassification")
    adapt(model, adaptation)
    with torch.no_grad():
        steps = trace(model, input_ids=PackedBatch.from_sequences([[1, 2, 3]]))
    files = {path.name for path in Path(minibert.__file__).parent.rglob("*.py")}
    assert {row.where.partition(":")[0] for row in steps.rows} <= files
    for name, shape in shapes.items():
        assert steps[f"bert.blocks.0.{name}"].shape == shape


class Doubling(nn.Module):
    """A module that somebody else wrote."""

    def forward(self, numbers: Tensor) -> Tensor:
        twice = numbers * 2
        with torch.no_grad():
            return twice + 1


def test_modules_of_other_files_are_traced_too():
    steps = trace(nn.Sequential(Doubling()), input=torch.ones(2))
    assert [row.name for row in steps.rows] == ["0.numbers", "0.twice", "0"]
    assert steps.rows[2].code == "return twice + 1"


def test_gradients_can_be_kept_for_any_row():
    steps = trace(make_model("BertModel"), **make_batch())
    steps["blocks.0.attention.context"].retain_grad()
    steps.output.pooler_output.sum().backward()
    gradient = steps["blocks.0.attention.context"].grad
    assert gradient is not None
    assert gradient.abs().sum() > 0


def test_the_table_has_a_line_for_each_row_with_shape_dtype_and_code():
    steps = traced()
    lines = str(steps).splitlines()
    assert len(lines) == len(steps.rows) + 1
    wide = next(line for line in lines if line.startswith("blocks.0.feed_forward.wide"))
    tokens = steps["batch.input_ids"].numel()
    assert f"({tokens}, {SMALL.intermediate_size})" in wide
    assert "float32" in wide
    assert "wide = self.intermediate(hidden)" in wide


def test_an_unknown_name_is_an_error_that_names_the_nearest():
    with pytest.raises(InputError, match=r"no 'embedding\.word'. The nearest name in it is 'embeddings\.words'"):
        traced()["embedding.word"]


def test_a_debugger_that_was_there_before_is_there_afterwards_even_after_an_error():
    def other(*_: object) -> None:
        return None

    before = sys.gettrace()
    sys.settrace(other)
    try:
        with pytest.raises(InputError, match="vocab_size"):
            trace(make_model("BertModel"), input_ids=torch.tensor([[10**6]]))
        assert sys.gettrace() is other
    finally:
        sys.settrace(before)
