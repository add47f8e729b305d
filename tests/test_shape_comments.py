"""The shape comments of the model cannot lie: they are read, and compared with a forward pass that is watched.

A comment is `# (tokens, hidden) -> (queries, hidden)`, perhaps without its left side, or with `3 of (...)` on the
right; it stands at the end of the line, or alone on the line above it. While every model runs, each line with such a
comment is evaluated: some tensor in it must have the shape on the left, and its result that on the right (with "or
unchanged", or the shape of that tensor). And a line whose result has another shape than all its tensors must have one.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
from collections.abc import Iterator
from types import CodeType, FrameType
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from minibert import heads, losses, model, packing
from minibert.attention import eager, packed, sdpa
from minibert.config import BertConfig

FILES = {str(module.__file__): module for module in (model, heads, losses, packing, eager, sdpa, packed)}
SHAPES = re.compile(r"(?:(?P<left>\([^()]*\)) )?-> (?:(?P<count>\d) of )?(?P<right>\([^()]*\))")

CONFIG = BertConfig(
    vocab_size=61,
    hidden_size=12,
    num_hidden_layers=2,
    num_attention_heads=3,
    intermediate_size=28,
    max_position_embeddings=16,
    num_labels=9,
)
LENGTHS = [16, 7, 11, 1, 0]  # tokens in each row
MASKED = 10
SENTENCES = [5, 2, 1, 1, 0]  # in each row
# What the words in the comments stand for. Where there are two numbers, the same line works on all tokens and on [CLS]
# alone, or (in packing.py) on sentences.
MEANING: dict[str, set[int]] = {
    "batch": {5, 10},  # 10: five questions with two choices
    "seq": {16, 1, 5},
    "query_seq": {16, 1},
    "tokens": {35, 4, 9, 70, 8},
    "queries": {35, 4, 70, 8},
    "asked": {16, 7, 11, 1, 0},
    "length": {16, 7, 11, 1, 0},
    "rows": {4, 5, 8, 10},
    "chosen": {4, 8},
    "hidden": {12},
    "heads": {3},
    "head_dim": {4},
    "intermediate": {28},
    "vocab": {61},
    "labels": {9},
    "masked": {MASKED, 35},
    "choices": {2},
    "sentences": {5},
    "all_sentences": {9},
}


class Comment(NamedTuple):
    left: str | None
    how_many: int
    right: str
    or_unchanged: bool


class Statement:
    """A line of the source: its expression, and its shape comment if it has one."""

    def __init__(self, node: ast.expr, comment: Comment | None, where: str) -> None:
        self.code = compile(ast.Expression(node), where, "eval")
        self.inputs = [
            compile(ast.Expression(part), where, "eval")
            for part in ast.walk(node)
            if isinstance(part, (ast.Name, ast.Attribute)) and isinstance(part.ctx, ast.Load) and _is_path(part)
        ]
        self.comment = comment
        self.where = where

    def check(self, frame: FrameType) -> str | None:
        result = eval(self.code, {**frame.f_globals, **frame.f_locals})
        results = [part for part in (result if isinstance(result, tuple) else (result,)) if isinstance(part, Tensor)]
        shapes = [shape for code in self.inputs if (shape := _shape_of(code, frame)) is not None]
        if self.comment is None:
            changed = isinstance(result, Tensor) and result.dim() and shapes and result.shape not in shapes
            return f"{self.where} changes a shape to {tuple(result.shape)} without a comment" if changed else None
        if self.comment.or_unchanged and results[0].shape in shapes:
            return None
        results = results[: self.comment.how_many]
        alike = len(results) == self.comment.how_many and all(tensor.shape == results[0].shape for tensor in results)
        meanings = list(_bindings(self.comment.right, results[0].shape)) if alike else []
        if self.comment.left is not None:
            meanings = [m for m in meanings if any(any(_bindings(self.comment.left, shape, m)) for shape in shapes)]
        if meanings:
            return None
        found = f"{[tuple(shape) for shape in shapes]} -> {[tuple(tensor.shape) for tensor in results]}"
        return f"{self.where} says {self.comment.left} -> {self.comment.right}: found {found}"


def _is_path(node: ast.expr) -> bool:
    """`name` or `name.attribute.attribute`: to read it changes nothing."""
    return isinstance(node, ast.Name) or (isinstance(node, ast.Attribute) and _is_path(node.value))


def _shape_of(code: CodeType, frame: FrameType) -> torch.Size | None:
    try:
        value = eval(code, {**frame.f_globals, **frame.f_locals})
    except (NameError, AttributeError):  # the variable of a comprehension
        return None
    return value.shape if isinstance(value, Tensor) else None


def _bindings(text: str, shape: torch.Size, bound: dict[str, int] | None = None) -> Iterator[dict[str, int]]:
    """All meanings of the words under which `text` is `shape`."""
    terms = [term.strip() for term in text.strip("()").split(",") if term.strip()]
    if "..." in terms:
        at = terms.index("...")
        rest = len(shape) - (len(terms) - 1)
        if rest < 0:
            return
        terms[at : at + 1] = [str(size) for size in shape[at : at + rest]]
    if len(terms) != len(shape):
        return
    yield from _solve(list(zip(terms, shape, strict=True)), bound or {})


def _solve(equations: list[tuple[str, int]], bound: dict[str, int]) -> Iterator[dict[str, int]]:
    if not equations:
        yield bound
        return
    (term, size), *rest = equations
    words = [word for word in re.findall(r"[a-z_]+", term) if word not in bound]
    if not words:
        if eval(term, {}, bound) == size:
            yield from _solve(rest, bound)
        return
    for number in MEANING[words[0]]:
        yield from _solve(equations, bound | {words[0]: number})


def _statements(path: str) -> dict[int, list[Statement]]:
    """The statements to watch, by the line on which Python announces them."""
    source = inspect.getsource(FILES[path])
    lines = source.splitlines()
    comments: dict[int, Comment] = {}
    for number, line in enumerate(lines, start=1):
        code, _, text = line.partition("#")
        if match := SHAPES.search(text):
            comments[number if code.strip() else number + 1] = Comment(
                match["left"], int(match["count"] or 1), match["right"], "or unchanged" in text
            )
    found: dict[int, list[Statement]] = {}
    for statement in ast.walk(ast.parse(source)):
        if not isinstance(statement, (ast.Assign, ast.AugAssign, ast.Return)) or statement.value is None:
            continue
        parts: list[ast.expr] = [statement.value]
        if statement.lineno != statement.end_lineno:  # comments may stand beside single arguments
            parts += [
                node
                for node in ast.walk(statement.value)
                if isinstance(node, ast.expr) and node.lineno == node.end_lineno and node.lineno in comments
            ]
            parts = [
                max(group, key=lambda node: (node.end_col_offset or 0) - node.col_offset) for group in _by_line(parts)
            ]
        for part in parts:
            if "super()" in ast.unparse(part):
                continue  # it cannot be evaluated from outside
            where = f"{path.rpartition('/')[2]}:{part.lineno}"
            last = part.end_lineno if part is statement.value else part.lineno
            comment = comments.pop(last or 0, None)
            found.setdefault(statement.lineno, []).append(Statement(part, comment, where))
    assert not comments, f"{path}: no statement belongs to the comments on lines {sorted(comments)}"
    return found


def _by_line(nodes: list[ast.expr]) -> list[list[ast.expr]]:
    groups: dict[int, list[ast.expr]] = {}
    for node in nodes:
        groups.setdefault(node.end_lineno or 0, []).append(node)
    return list(groups.values())


class Watch:
    """Evaluates the statements of the watched files just before they run."""

    def __init__(self) -> None:
        self.statements = {path: _statements(path) for path in FILES}
        self.faults: set[str] = set()
        self.seen: set[str] = set()

    def __enter__(self) -> Watch:
        sys.settrace(self._call)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(None)

    def _call(self, frame: FrameType, event: str, argument: Any) -> Any:
        code = frame.f_code  # constructors make no tensors worth a comment, and <genexpr> has a frame of its own
        skipped = code.co_filename not in self.statements or code.co_name.startswith(("__init__", "initialize", "<"))
        return None if skipped else self._line

    def _line(self, frame: FrameType, event: str, argument: Any) -> Any:
        if event == "line":
            sys.settrace(None)
            for statement in self.statements[frame.f_code.co_filename].get(frame.f_lineno, []):
                fault = statement.check(frame)
                if fault:
                    self.faults.add(fault)
                self.seen.add(statement.where)
            sys.settrace(self._call)
        return self._line


def padded_inputs() -> dict[str, Tensor]:
    mask = torch.arange(16) < torch.tensor(LENGTHS).unsqueeze(1)
    ids = torch.randint(2, 61, mask.shape)
    ids[:, 0] = 1
    for row, count in enumerate(SENTENCES):
        ids[row, :count] = 1
    return {"input_ids": ids, "attention_mask": mask.long()}


def run_every_model(attention: str) -> None:
    inputs = padded_inputs()
    rows_of_ids = [[1] * length for length in LENGTHS]
    model.BertModel(CONFIG, attention)(packing.PackedBatch.from_sequences(rows_of_ids, rows_of_ids))
    mlm_labels = torch.full((5, 16), -100)
    mlm_labels[0, :MASKED] = 3
    rows = torch.zeros(5, dtype=torch.long)
    for training in (False, True):
        model.BertModel(CONFIG, attention).train(training)(**inputs)
        pretraining = heads.BertForPreTraining(CONFIG, attention).train(training)
        pretraining(**inputs, labels=mlm_labels, next_sentence_label=rows).prediction_logits  # noqa: B018
        heads.BertForMaskedLM(CONFIG, attention).train(training)(**inputs, labels=mlm_labels).logits  # noqa: B018
        heads.BertForNextSentencePrediction(CONFIG, attention).train(training)(**inputs, labels=rows)
        classifier = heads.BertForSequenceClassification(CONFIG, attention).train(training)
        classifier(**inputs, labels=rows)
        classifier(**inputs, output_hidden_states=True)
        heads.BertForTokenClassification(CONFIG, attention).train(training)(**inputs, labels=mlm_labels)
        heads.BertForQuestionAnswering(CONFIG, attention).train(training)(
            **inputs, start_positions=rows - 100, end_positions=rows - 100
        )
        heads.BertForExtractiveSummarization(CONFIG, attention).train(training)(
            **inputs, labels=torch.zeros(5, 5, dtype=torch.long)
        )
        choices = {key: torch.stack([value, value], 1) for key, value in inputs.items()}
        heads.BertForMultipleChoice(CONFIG, attention).train(training)(**choices, labels=rows)
        heads.BertForMultipleChoice(CONFIG, attention).train(training)(
            packing.PackedBatch.from_sequences(2 * rows_of_ids), choices=5 * [2], labels=rows
        )


@pytest.fixture(scope="module")
def watch() -> Watch:
    with Watch() as watch:
        run_every_model("eager")
        run_every_model("sdpa")
        run_every_model("packed")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(packed, "COSTS", (0, 2.0))  # these few tokens would not be worth a call for each sentence
            run_every_model("packed")
            patch.setattr(packed, "flash_is_slow", lambda *_: True)  # as in bfloat16
            model.BertModel(CONFIG, "packed").eval()(**padded_inputs())
    return watch


def test_shape_comments_are_true_and_complete(watch: Watch):
    assert not watch.faults, "\n" + "\n".join(sorted(watch.faults))


def test_every_shape_comment_was_checked(watch: Watch):
    commented = {
        statement.where
        for statements in watch.statements.values()
        for group in statements.values()
        for statement in group
        if statement.comment
    }
    assert commented <= watch.seen, f"no test runs {sorted(commented - watch.seen)}"
    assert len(commented) > 40
