"""From one dialect to the other on disk, and a look at whether a checkpoint is sound."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .. import heads
from ..config import BertConfig
from ..errors import InputError
from ..files import whole_folder, write_json, write_text
from ..model import BertPreTrainedModel
from ..tokenization import BertTokenizer
from . import tensorflow
from .catalog import CATALOG
from .huggingface import write_weights
from .locate import NameOrPath, read_tokenizer_files
from .names import FLOATS, Dialect, translate
from .pretrained import (
    ADAPTER_CONFIG,
    GOOGLE_CONFIG,
    Checkpoint,
    check_fit,
    open_checkpoint,
    read_parameters,
    write_config,
)
from .shards import WEIGHTS

log = logging.getLogger("minibert")

# The heads that a checkpoint may hold, by a tensor of theirs in Hugging Face's dialect, and the model that has them.
HEADS = {
    "cls.predictions.bias": "masked words",
    "cls.seq_relationship.bias": "next sentence",
    "classifier.bias": "classifier",
    "qa_outputs.bias": "questions",
}
ARCHITECTURES = {
    ("masked words", "next sentence"): "BertForPreTraining",
    ("masked words",): "BertForMaskedLM",
    ("next sentence",): "BertForNextSentencePrediction",
    ("classifier",): "BertForSequenceClassification",
    ("questions",): "BertForQuestionAnswering",
    (): "BertModel",
}

# What stands in Google's `bert_config.json`; all else is fixed in Google's code.
GOOGLE_KEYS = (
    "attention_probs_dropout_prob",
    "hidden_act",
    "hidden_dropout_prob",
    "hidden_size",
    "initializer_range",
    "intermediate_size",
    "max_position_embeddings",
    "num_attention_heads",
    "num_hidden_layers",
    "type_vocab_size",
    "vocab_size",
)


def convert(source: NameOrPath, destination: str | Path, dialect: Dialect) -> None:
    """Write a checkpoint again in `dialect`, with its config and tokenizer. Numbers are carried over bit by bit; for
    Google's code, which restores nothing else, they become float32.

    Raises `InputError` if the source is no sound BERT, or the destination is not empty.
    """
    checkpoint = open_checkpoint(source)
    verify_shapes(checkpoint)
    destination = Path(destination)
    if destination.exists() and (not destination.is_dir() or any(destination.iterdir())):
        raise InputError(f"{destination} is there already: choose a new folder.")
    tensors = translate(checkpoint.tensors, checkpoint.dialect, dialect)
    tokenizer = BertTokenizer.from_pretrained(source) if read_tokenizer_files(source) else None
    with whole_folder(destination):
        if dialect == "google":
            _write_google(destination, checkpoint.config, tensors, tokenizer)
        else:
            _write_hugging_face(destination, checkpoint, tensors, tokenizer)


def verify(source: NameOrPath) -> dict[str, Any]:
    """Read every number of a checkpoint, and say what it is. Raises `InputError` if anything is wrong with it.

    In Google's format that verifies the checksum of every block and tensor. Safetensors have none, so that the shapes,
    the file's own bookkeeping, and that all numbers are finite is what can be checked.
    """
    checkpoint = open_checkpoint(source)
    verify_shapes(checkpoint)
    config = checkpoint.config
    count = 0
    for name, tensor in checkpoint.tensors.items():
        count += tensor.numel()
        if tensor.dtype in FLOATS and not tensor.isfinite().all():
            raise InputError(f"{checkpoint.where}: {name} holds numbers that are infinite or none (NaN).")
    tokenizer = BertTokenizer.from_pretrained(source) if read_tokenizer_files(source) else None
    if tokenizer is not None and len(tokenizer) > config.vocab_size:
        raise InputError(
            f"{checkpoint.where}: the tokenizer has {len(tokenizer)} tokens, but the model knows {config.vocab_size}."
        )
    known = translate(checkpoint.tensors, checkpoint.dialect, "hugging_face")
    return {
        "where": str(checkpoint.where),
        "format": {"google": "Google's TensorFlow", "hugging_face": "Hugging Face"}[checkpoint.dialect],
        "layers": config.num_hidden_layers,
        "hidden_size": config.hidden_size,
        "heads": config.num_attention_heads,
        "vocab_size": config.vocab_size,
        "tensors": len(checkpoint.tensors),
        "numbers": count,
        "dtype": _dtype(known),
        "on top": ", ".join(head for name, head in HEADS.items() if name in known) or "nothing",
        "tokenizer": "none" if tokenizer is None else "lower-cased" if tokenizer.do_lower_case else "cased",
        "published as": published_as(checkpoint) or "not known: no published checksum is that of these files",
    }


def verify_shapes(checkpoint: Checkpoint) -> None:
    """Raise `InputError` unless the tensors are the encoder that the config describes, with heads that fit it."""
    if (checkpoint.where / ADAPTER_CONFIG).is_file():
        raise InputError(f"{checkpoint.where} holds an adapter: name the whole model that its {ADAPTER_CONFIG} names.")
    kinds = [heads.BertForPreTraining, getattr(heads, checkpoint.architecture or "", None)]
    known = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BertPreTrainedModel)]
    with torch.device("meta"):  # shapes only
        states = [kind(checkpoint.config).state_dict() for kind in known]
    shapes = {name: tensor.shape for state in states for name, tensor in state.items()}
    check_fit(checkpoint, shapes, read_parameters(checkpoint, shapes))


def published_as(checkpoint: Checkpoint) -> str | None:
    """The catalog's name for these very files, by their published SHA-256; None if no such checksum is known."""
    if checkpoint.dialect == "google":
        with tensorflow.open_checkpoint(checkpoint.where) as google:
            small, large = f"{tensorflow.RELEASE_NAME}.index", f"{tensorflow.RELEASE_NAME}.data-00000-of-00001"
            index = google.sha256(small)
            for entry in CATALOG:
                published = entry.google_sha256
                if index is not None and published.get(small) == index and published[large] == google.sha256(large):
                    return f"{entry.name}, Google's release"
        return None
    weights = checkpoint.where / WEIGHTS[0]
    if weights.is_file():
        found = hashlib.sha256(weights.read_bytes()).hexdigest()
        for entry in CATALOG:
            if entry.hub_sha256.get(WEIGHTS[0]) == found:
                return f"{entry.name}, on the hub"
    return None


def _write_hugging_face(
    folder: Path, checkpoint: Checkpoint, tensors: Mapping[str, Tensor], tokenizer: BertTokenizer | None
) -> None:
    on_top = tuple(head for name, head in HEADS.items() if name in tensors)
    architecture = checkpoint.architecture or ARCHITECTURES.get(on_top, "BertForPreTraining")
    named = {name if on_top else name.removeprefix("bert."): tensor for name, tensor in tensors.items()}
    write_weights(folder / WEIGHTS[0], named)
    write_config(folder, checkpoint.config, architecture, _dtype(tensors))
    if tokenizer is not None:
        tokenizer.save_pretrained(folder)


def _write_google(
    folder: Path, config: BertConfig, tensors: Mapping[str, Tensor], tokenizer: BertTokenizer | None
) -> None:
    values = {key: value for key, value in config.to_dict().items() if key in GOOGLE_KEYS}
    if config.hidden_act == "gelu_new":
        values["hidden_act"] = "gelu"
    elif config.hidden_act == "gelu":
        log.warning(
            "This model computes GELU's erf form. Google's code has only the tanh form: there, its outputs will differ "
            "in the third decimal."
        )
    if config.layer_norm_eps != BertConfig.layer_norm_eps:
        log.warning(
            f"This model's layer_norm_eps is {config.layer_norm_eps}. Google's code has only "
            f"{BertConfig.layer_norm_eps}: there, its outputs will differ a little."
        )
    write_json(folder / GOOGLE_CONFIG, values)
    arrays = {name: tensor.float().numpy() for name, tensor in tensors.items()}
    tensorflow.write_checkpoint(folder / tensorflow.RELEASE_NAME, arrays)
    if tokenizer is not None:
        words = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
        write_text(folder / "vocab.txt", "".join(f"{word}\n" for word, _ in words))


def _dtype(tensors: Mapping[str, Tensor]) -> str:
    return str(next(iter(tensors.values())).dtype).removeprefix("torch.")
