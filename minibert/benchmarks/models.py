"""Equal weights for all programs: one folder, which each of them opens in its own way."""

from __future__ import annotations

import importlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

import minibert

from ..config import BertConfig
from ..model import BertPreTrainedModel


class UnavailableError(Exception):
    """A program cannot be measured here. The text says why."""


@dataclass(frozen=True)
class Setting:
    """What a program is given, in this process or in another one.

    folder: the weights, in Hugging Face's layout.
    head: the model's class, which has the same name in minibert and in transformers.
    bf16: inference with weights in bfloat16, training with matrix products in bfloat16.
    compiled: through `torch.compile`.
    dropout: as the config says; or none, which makes training comparable.
    """

    folder: Path
    head: str
    bf16: bool = False
    compiled: bool = False
    dropout: bool = True

    @property
    def config(self) -> BertConfig:
        return BertConfig.from_json_file(self.folder / "config.json")

    def but(self, **changes: Any) -> Setting:
        return replace(self, **changes)


@contextmanager
def weights(head: str, model: str | None, size: str, **overrides: Any) -> Iterator[Setting]:
    """A folder with the model of that name or path, or with random weights of that size. It vanishes in the end."""
    model_class: type[BertPreTrainedModel] = getattr(minibert, head)
    torch.manual_seed(0)
    ours = model_class.from_pretrained(model) if model else model_class(BertConfig.preset(size, **overrides))
    with tempfile.TemporaryDirectory(prefix="minibert-bench-", ignore_cleanup_errors=True) as folder:
        ours.save_pretrained(folder)
        del ours
        yield Setting(Path(folder), head)


def open_with_minibert(setting: Setting, dtype: torch.dtype = torch.float32) -> Any:
    """minibert's model with these weights."""
    return getattr(minibert, setting.head).from_pretrained(setting.folder, dtype=dtype, **_overrides(setting))


def open_with_transformers(setting: Setting, dtype: torch.dtype = torch.float32) -> Any:
    """transformers' model with these weights and its fused attention. Raises `UnavailableError` if it is missing."""
    transformers = library("transformers")
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    return getattr(transformers, setting.head).from_pretrained(
        setting.folder, dtype=dtype, attn_implementation="sdpa", **_overrides(setting)
    )


def library(name: str) -> Any:
    """An optional library. Raises `UnavailableError` if it is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UnavailableError(f"{name} is not installed ({error}).") from error


def _overrides(setting: Setting) -> dict[str, float]:
    names = ("hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout")
    return {} if setting.dropout else dict.fromkeys(names, 0.0)
