"""Made-up texts of given lengths: speed depends on how long texts are, not on what they say."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..config import BertConfig
from ..losses import IGNORE

MASKED = 0.15  # the share of tokens to predict in pretraining


def made_up_ids(lengths: Sequence[int], config: BertConfig, seed: int = 0) -> list[list[int]]:
    """Random ids, a list for each length. None of them is [PAD]."""
    generator = random.Random(seed)
    known = [number for number in range(config.vocab_size) if number != config.pad_token_id]
    return [generator.choices(known, k=length) for length in lengths]


def padded_batch(lengths: Sequence[int], config: BertConfig, seed: int = 0) -> dict[str, Tensor]:
    """A batch as every BERT reads it: input_ids and attention_mask, both (batch, seq) int64."""
    longest = max(lengths)
    padding = [longest - length for length in lengths]
    rows = zip(made_up_ids(lengths, config, seed), padding, strict=True)
    return {
        "input_ids": torch.tensor([ids + [config.pad_token_id] * places for ids, places in rows]),
        "attention_mask": torch.tensor([[1] * (longest - places) + [0] * places for places in padding]),
    }


def classified_examples(lengths: Sequence[int], config: BertConfig, seed: int = 0) -> list[dict[str, Any]]:
    """Examples as a tokenizer makes them, with a label of two."""
    return [_example(ids) | {"labels": len(ids) % 2} for ids in made_up_ids(lengths, config, seed)]


def masked_examples(lengths: Sequence[int], config: BertConfig, seed: int = 0) -> list[dict[str, Any]]:
    """Examples with labels for 15 % of their tokens, as masked language modelling has them; for one token at least."""
    generator = random.Random(seed)
    examples: list[dict[str, Any]] = [
        _example(ids) | {"labels": [token if generator.random() < MASKED else IGNORE for token in ids]}
        for ids in made_up_ids(lengths, config, seed)
    ]
    if all(label == IGNORE for example in examples for label in example["labels"]):
        examples[0]["labels"][0] = examples[0]["input_ids"][0]
    return examples


def _example(ids: list[int]) -> dict[str, Any]:
    return {"input_ids": ids, "token_type_ids": [0] * len(ids), "attention_mask": [1] * len(ids)}
