"""Similarity: sentence embeddings, by which texts are compared and found (Reimers & Gurevych 2019, "Sentence-BERT").

Files: `.tsv`, `.csv` or `.jsonl` with the columns `text`, `text_b`, and one of two kinds of truth:
- with a column `label`: how alike the two are, a number. The cosine of their vectors is brought to it by the squared
  error, the lowest label of the training file standing for cosine 0, the highest for 1. Figure: Spearman's correlation;
- without: the two belong together, as a question and its answer. Each text has to find its partner among those of its
  batch (InfoNCE). Figures: how often it finds it first among all of the file, and the mean reciprocal rank.
Features: [CLS] text [SEP] and [CLS] text_b [SEP], one row after the other. Head: `BertForSimilarity`, which is a plain
`BertModel` on disk. Answer: the cosine of both vectors.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from .. import plots
from ..config import BertConfig
from ..embeddings import BertForSimilarity, token_ids
from ..errors import InputError
from ..packing import PackedBatch
from ..pages import heading, paragraph, picture, table
from ..tokenization import CHUNK, BertTokenizer
from .regression import parse_number, pearson, ranks
from .task import Columns, Examples, Features, Task, Truth, saved_number
from .texts import TWO_TEXTS, has_pairs, pairs_from_texts, read_texts

MISTAKES = 25  # in a report
SCORED, MATCHED = ("spearman", "pearson"), ("accuracy_at_1", "mrr")  # the figures of both kinds of files


class SimilarityTask(Task):
    """How alike two texts are, by their vectors."""

    name = "similarity"
    model_class = BertForSimilarity
    answer_key = "similarity"
    headline = SCORED

    def __init__(self, columns: Columns, lowest: float = 0.0, highest: float = 1.0) -> None:
        self.columns = columns
        self.lowest, self.highest = lowest, highest

    @classmethod
    def from_arguments(cls, arguments: argparse.Namespace) -> SimilarityTask:
        return cls(Columns.from_arguments(arguments))

    @classmethod
    def from_config(cls, config: BertConfig, columns: Columns) -> SimilarityTask:
        return cls(columns, saved_number(config, "lowest", 0.0), saved_number(config, "highest", 1.0))

    def read(self, path: str | Path, truths: Truth = "needed") -> Examples:
        # Scores are not needed: a file without them says which texts belong together.
        wanted: Truth = "ignored" if truths == "ignored" else "if told"
        examples = read_texts(path, self.columns, parse_number, wanted)
        if not has_pairs(examples):
            raise InputError(
                f"{path}: similarity is about pairs, but there is no column '{self.columns.text_b}'. Name the right "
                "one with --text-b-column."
            )
        if truths == "needed":
            self.headline = SCORED if has_scores(examples) else MATCHED
        return replace(examples, have_truth=examples.have_truth or self.headline == MATCHED)

    def from_texts(self, texts: Sequence[str]) -> Examples:
        return pairs_from_texts(texts)

    def to_try(self) -> str:
        return TWO_TEXTS

    def learn_labels(self, train: Examples) -> None:
        """The range of the scores. Raises `InputError` if all are the same."""
        if not has_scores(train):
            return
        self.lowest, self.highest = min(train.truths), max(train.truths)
        if self.lowest == self.highest:
            raise InputError(
                f"{train.path}: all {len(train)} rows have the label {self.lowest:g}. Pairs that simply belong "
                "together need no such column."
            )

    def check(self, train: Examples, other: Examples) -> None:
        if has_scores(train) != has_scores(other) and other.have_truth:
            raise InputError(
                f"Either both files have the column '{self.columns.label}' or neither: {train.path} and {other.path} "
                "differ."
            )

    def config_changes(self) -> dict[str, Any]:
        return self.settings(lowest=self.lowest, highest=self.highest, pooling="mean")

    def features(self, examples: Examples, tokenizer: BertTokenizer, training: bool = False) -> Features:
        first, second = (token_ids(examples.given(key), tokenizer) for key in ("text", "text_b"))
        # The two rows of a pair lie one after the other, and positions begin anew where the second one begins.
        rows: Features = [
            {"input_ids": one + two, "position_ids": [*range(len(one)), *range(len(two))]}
            for one, two in zip(first, second, strict=True)
        ]
        if examples.have_truth:
            for row, label in zip(rows, self._labels(examples), strict=True):
                row["labels"] = label
        return rows

    def _labels(self, examples: Examples) -> list[float] | list[int]:
        if has_scores(examples):
            return [(score - self.lowest) / (self.highest - self.lowest) for score in examples.truths]
        return topics(examples)

    @staticmethod
    def collate(rows: list[dict[str, Any]]) -> dict[str, Any]:
        """The pairs as neighbouring rows, each text by itself."""
        texts = []
        for row in rows:
            begin = row["position_ids"].index(0, 1)
            texts += [row["input_ids"][:begin], row["input_ids"][begin:]]
        batch: dict[str, Any] = {"input_ids": PackedBatch.from_sequences(texts)}
        if "labels" in rows[0]:
            batch["labels"] = torch.tensor([row["labels"] for row in rows])
        return batch

    def answers(self, examples: Examples, features: Features, outputs: Any) -> list[dict[str, Any]]:
        vectors = outputs / np.linalg.norm(outputs, axis=2, keepdims=True)  # (pairs, 2, hidden)
        first, second = vectors[:, 0], vectors[:, 1]
        found = [{"similarity": round(float(cosine), 6)} for cosine in (first * second).sum(axis=1)]
        if examples.have_truth and not has_scores(examples):
            for answer, rank in zip(found, partner_ranks(first, second, topics(examples)), strict=True):
                answer["rank"] = rank
        return found

    def metrics(self, examples: Examples, answers: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        if has_scores(examples):
            cosines, scores = np.array([answer["similarity"] for answer in answers]), np.array(examples.truths)
            return {"spearman": pearson(ranks(cosines), ranks(scores)), "pearson": pearson(cosines, scores)}
        place = np.array([answer["rank"] for answer in answers])
        return {"accuracy_at_1": float(np.mean(place == 1)), "mrr": float(np.mean(1 / place))}

    def report(self, examples: Examples, answers: Sequence[Mapping[str, Any]], metrics: Mapping[str, Any]) -> list[str]:
        """Cosines against scores, and the pairs farthest from their place; or the partners that are hardest to find."""
        cosines = [answer["similarity"] for answer in answers]
        pairs = list(zip(examples, answers, strict=True))
        if not has_scores(examples):
            pairs.sort(key=lambda pair: -pair[1]["rank"])
            return [
                heading("The partners that were hardest to find"),
                paragraph(f"Rank among {len(examples):,} texts of the dev set, by the cosine with the first text."),
                table(
                    ["rank", "cosine", "text", "its partner"],
                    [
                        [answer["rank"], f"{answer['similarity']:.3f}", example.given["text"], example.given["text_b"]]
                        for example, answer in pairs[:MISTAKES]
                    ],
                ),
            ]
        # Scores and cosines differ in unit: what can be compared is how far up in its list a pair stands.
        shares = (ranks(np.array(cosines)) - ranks(np.array(examples.truths))) / len(examples)
        worst = np.argsort(-np.abs(shares), kind="stable")[:MISTAKES]
        return [
            heading("Cosine against score"),
            picture(
                partial(plots.scatter, examples.truths, cosines, "score", "cosine"),
                f"Scatter plot of {len(cosines)} pairs; Spearman's correlation is {metrics['spearman']:.3f}.",
            ),
            heading("The pairs that stand farthest from their place"),
            table(
                ["places off", "cosine", "score", "text", "text b"],
                [
                    [
                        f"{100 * shares[number]:+.0f} %",
                        f"{cosines[number]:.3f}",
                        f"{examples[number].truth:g}",
                        examples[number].given["text"],
                        examples[number].given["text_b"],
                    ]
                    for number in worst
                ],
            ),
        ]

    def describe(self) -> str:
        if self.headline == MATCHED:
            return f"pairs that belong together (there is no column '{self.columns.label}')"
        return f"pairs with scores from {self.lowest:g} to {self.highest:g}"


def has_scores(examples: Examples) -> bool:
    """Whether the file says how alike its pairs are."""
    return examples[0].truth is not None


def topics(examples: Examples) -> list[int]:
    """What each pair is about: a number that two pairs share if they have a text in common, or each with a third."""
    parents: dict[str, str] = {}

    def root(text: str) -> str:
        while parents.setdefault(text, text) != text:
            parents[text] = text = parents[parents[text]]  # halves the way for those that come later
        return text

    for example in examples:
        parents[root(example.given["text"])] = root(example.given["text_b"])
    numbers: dict[str, int] = {}
    return [numbers.setdefault(root(example.given["text"]), len(numbers)) for example in examples]


def partner_ranks(first: NDArray[np.float32], second: NDArray[np.float32], topics: Sequence[int]) -> list[int]:
    """At which place each first text finds its own second one: 1 plus those of other topics that are no less similar.

    So a model for which all texts are alike, such as one that can spell none of them, finds nothing.
    first, second: (pairs, hidden), of length 1.
    """
    topic = np.array(topics)
    found: list[int] = []
    for start in range(0, len(first), CHUNK):
        chunk = slice(start, start + CHUNK)
        cosines = first[chunk] @ second.T  # (pairs, hidden) -> (chunk, pairs)
        own = np.take_along_axis(cosines, np.arange(len(first))[chunk, None], axis=1)  # (chunk, pairs) -> (chunk, 1)
        rivals = (cosines >= own) & (topic[chunk, None] != topic)
        found += (1 + rivals.sum(axis=1)).tolist()  # (chunk, pairs) -> (chunk)
    return found
