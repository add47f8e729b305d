"""Masked words, BERT's first pretraining task (Devlin et al. 2018, section 3.1): which word stands at each [MASK]?

To ask a pretrained model, not to train one: that is what `minibert.pretrain` does. Files: tables with `text`, in which
words are replaced by [MASK], and the `label`, the words that belong there, with spaces between them.
Features: [CLS] text [SEP], once for each mask in it. Head: that of `BertForMaskedLM`, at one place in each row. Answer:
the words with the highest logits; a softmax over the whole vocabulary gives their probabilities, mask by mask, as if
the others were not to be found.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ..config import BertConfig
from ..errors import InputError
from ..heads import BertForMaskedLM
from ..losses import full_precision
from ..outputs import TaskOutput
from ..packing import PackedBatch
from ..tokenization import BertTokenizer
from .task import Columns, Example, Examples, Features, Task, Truth
from .texts import read_texts, text_features


class OneMaskedWord(BertForMaskedLM):
    """The same weights, asked for one token a row: nothing is computed for the vocabulary at other places."""

    def forward(self, input_ids: PackedBatch, mask_place: Tensor) -> TaskOutput:  # type: ignore[override]
        """mask_place: (batch,), in the row. .logits (batch, vocab)."""
        batch = self.bert.pack(input_ids)
        hidden = self.bert(batch, read=batch.layout).last_hidden_state
        at_masks = hidden[batch.layout.cu_seqlens[:-1] + mask_place]  # (tokens, hidden) -> (batch, hidden)
        logits = self.mlm(at_masks, self.bert.embeddings.word_embeddings.weight)  # (batch, hidden) -> (batch, vocab)
        return TaskOutput(None, logits)


class MlmTask(Task):
    """The words behind the masks. top_k: how many of the most probable ones an answer has for each."""

    name = "mlm"
    model_class = OneMaskedWord
    answer_key = "words"
    headline = ("accuracy", "accuracy_top_k")

    def __init__(self, columns: Columns) -> None:
        self.columns = columns
        self.top_k = 5
        self.tokenizer: BertTokenizer | None = None  # the one of `features`: only it can tell the words of the answers

    @classmethod
    def from_arguments(cls, arguments: argparse.Namespace) -> MlmTask:
        raise InputError(
            "Masked words are learnt from plain text, by pretraining: "
            "python -m minibert.pretrain --init-from MODEL --corpus TEXT."
        )

    @classmethod
    def from_config(cls, config: BertConfig, columns: Columns) -> MlmTask:
        return cls(columns)

    def flags(self, arguments: argparse.Namespace) -> None:
        self.top_k = arguments.top_k

    def read(self, path: str | Path, truths: Truth = "needed") -> Examples:
        return read_texts(path, self.columns, _words, truths)

    def from_texts(self, texts: Sequence[str]) -> Examples:
        return Examples(Path(), [Example({"text": text}) for text in texts], have_truth=False)

    def config_changes(self) -> dict[str, Any]:
        return {}

    def features(self, examples: Examples, tokenizer: BertTokenizer, training: bool = False) -> Features:
        """One a mask. The notes: `example`, its number."""
        self.tokenizer = tokenizer
        features = []
        for example, row in zip(examples, text_features(examples, tokenizer), strict=True):
            places = [place for place, token in enumerate(row["input_ids"]) if token == tokenizer.mask_token_id]
            wanted = sum(text.count(str(tokenizer.mask_token)) for text in example.given.values())
            if len(places) < max(wanted, 1):
                raise InputError(
                    f"Put {tokenizer.mask_token} where a word is wanted, at most {tokenizer.model_max_length} tokens "
                    f"from the beginning: '{example.given['text'][:60]}' has {len(places) or 'none'} there."
                )
            if examples.have_truth and len(example.truth) != len(places):
                raise examples.fault(
                    example, f"{len(places)} {tokenizer.mask_token} need as many words: found {len(example.truth)}"
                )
            features += [{**row, "mask_place": place} for place in places]
        return features

    def reduce(self, logits: Tensor, labels: None) -> tuple[Tensor, Tensor]:
        """The probabilities of the `top_k` best tokens, and these tokens, (masks, top_k) each: not the vocabulary's."""
        probabilities = full_precision(logits).softmax(dim=1)
        best = probabilities.topk(min(self.top_k, probabilities.shape[1]))  # (masks, vocab) -> 2 of (masks, top_k)
        return best.values, best.indices

    def answers(self, examples: Examples, features: Features, outputs: Any) -> list[dict[str, Any]]:
        """outputs: what `reduce` kept.

        `words`, the best for each mask; and for each `candidates`, the `top_k` best with their probabilities.
        """
        candidates = [self._words(*best) for best in zip(*outputs, strict=True)]
        answers = []
        for _, group in groupby(range(len(features)), key=lambda number: features[number]["example"]):
            of_masks = [candidates[number] for number in group]
            answers.append({"words": [best[0]["word"] for best in of_masks], "candidates": of_masks})
        return answers

    def _words(self, probabilities: NDArray[np.float32], tokens: NDArray[np.int64]) -> list[dict[str, Any]]:
        assert self.tokenizer is not None  # `features` sets it
        words = self.tokenizer.convert_ids_to_tokens(tokens.tolist())
        return [
            {"word": word, "probability": round(float(probability), 6)}
            for word, probability in zip(words, probabilities, strict=True)
        ]

    def metrics(self, examples: Examples, answers: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """The share of masks whose word is the best candidate, and of those that have it among their `top_k`.

        A word that the vocabulary has not whole cannot be found.
        """
        assert self.tokenizer is not None  # `features` sets it
        first = among = masks = 0
        for example, answer in zip(examples, answers, strict=True):
            for word, candidates in zip(example.truth, answer["candidates"], strict=True):
                found = [[candidate["word"]] for candidate in candidates]
                truth = self.tokenizer.tokenize(word)
                masks += 1
                if truth != [self.tokenizer.unk_token]:
                    first += truth == found[0]
                    among += truth in found
        return {"accuracy": first / masks, "accuracy_top_k": among / masks}

    def report(self, examples: Examples, answers: Sequence[Mapping[str, Any]], metrics: Mapping[str, Any]) -> list[str]:
        """Nothing: the task is not trained here."""
        return []


def _words(value: Any) -> list[str]:
    if not isinstance(value, str) or not value.split():
        raise ValueError("the right words, one for each mask")
    return value.split()
