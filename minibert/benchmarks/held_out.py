"""How well a pretrained model knows text that it has not read, beside what can be guessed without any model.

The text is the held-out part of a prepared corpus, which no training on that corpus sees; the instances are those that
`python -m minibert.pretrain` itself evaluates by, with its default seed. All figures are of the same tokens and pairs.
"""

from __future__ import annotations

import argparse
import math
from functools import partial
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from ..data.instances import Instance, InstanceSettings, PretrainingInstances, first_instances
from ..data.shards import Corpus
from ..data.stream import pack_instances
from ..data.unigram import token_counts
from ..device import best_device
from ..errors import InputError
from ..heads import BertForPreTraining
from ..tokenization import BertTokenizer
from ..training.objective import PretrainingLoss, tally_of
from .measure import describe_machine, markdown_table, publish

BATCH_SIZE = 64


def held_out_card(arguments: argparse.Namespace) -> None:
    """The subcommand `held-out`: prints the table, and writes JSON if asked.

    Raises `InputError` for a model without both pretraining heads, or a corpus of another vocabulary.
    """
    tokenizer = BertTokenizer.from_pretrained(arguments.model)
    training, held_out = Corpus(arguments.corpus), Corpus(arguments.corpus, "held_out")
    training.check_tokenizer(tokenizer)
    model = BertForPreTraining.from_pretrained(arguments.model)
    if model.new_weights:
        raise InputError(
            f"{arguments.model} was not pretrained with masked words and pairs: its file has no such heads."
        )
    settings = InstanceSettings(max_length=min(arguments.max_length, model.config.max_position_embeddings))
    instances = first_instances(PretrainingInstances(held_out, tokenizer, settings))
    results = [
        judge(model.to(best_device()), instances, arguments.model),
        guess_by_frequency(instances, training),
        guess_blindly(len(tokenizer)),
    ]
    title = f"{len(instances):,} held-out instances of {arguments.corpus}, up to {settings.max_length} tokens long."
    publish(arguments.json, describe_machine(), {"instances": len(instances)}, results, title, as_table(results))


def judge(model: BertForPreTraining, instances: list[Instance], name: str) -> dict[str, Any]:
    """What a model makes of the instances."""
    tally = tally_of(PretrainingLoss(model), instances, BATCH_SIZE, partial(tqdm, unit="batch", leave=False, delay=1))
    figures = {key: value.item() for key, value in tally.figures().items()}
    return {"who": name, **{key: figures[key] for key in ("mlm_loss", "mlm_accuracy", "nsp_accuracy")}}


def guess_by_frequency(instances: list[Instance], training: Corpus) -> dict[str, Any]:
    """By how often each token stands in the training part (each once more, lest one be impossible); the pairs, by the
    answer that is more frequent."""
    counts = token_counts(training) + 1
    truth = pack_instances(instances)
    wanted, of_pairs = (truth[key].numpy() for key in ("masked_lm_ids", "next_sentence_labels"))
    return {
        "who": "word frequencies alone",
        "mlm_loss": float(-np.log(counts[wanted] / counts.sum()).mean()),
        "mlm_accuracy": float((wanted == counts.argmax()).mean()),
        "nsp_accuracy": float(np.bincount(of_pairs).max() / len(of_pairs)),
    }


def guess_blindly(vocab_size: int) -> dict[str, Any]:
    """All tokens alike, and a coin for the pairs."""
    return {
        "who": f"guessing among all {vocab_size:,}",
        "mlm_loss": math.log(vocab_size),
        "mlm_accuracy": 1 / vocab_size,
        "nsp_accuracy": 0.5,
    }


def as_table(results: list[dict[str, Any]]) -> str:
    """The results in Markdown, one line each."""
    columns = ["", "loss of masked words", "masked words right", "next sentences right"]
    rows = [
        [
            result["who"],
            f"{result['mlm_loss']:.2f}",
            *(f"{100 * result[key]:.3g} %" for key in ("mlm_accuracy", "nsp_accuracy")),
        ]
        for result in results
    ]
    return markdown_table(columns, rows)
