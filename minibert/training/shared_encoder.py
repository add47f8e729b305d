"""Several task models on one encoder (Caruana 1997; for BERT, Liu et al. 2019, "MT-DNN")."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from ..model import BertPreTrainedModel


class SharedEncoder(BertPreTrainedModel):
    """Models of one shape that from now on have the first one's embeddings and blocks; each keeps its pooler and head.

    It is told with each batch which of them the batch is for. On disk, each is a model of its own in a folder of its
    name, for whoever has only that task.
    """

    def __init__(self, models: Mapping[str, BertPreTrainedModel]) -> None:
        encoders: list[Any] = [model.bert for model in models.values()]
        super().__init__(next(iter(models.values())).config)
        for encoder in encoders[1:]:
            encoder.embeddings, encoder.blocks = encoders[0].embeddings, encoders[0].blocks
        self.by_task = dict(models)
        self._registered = nn.ModuleDict(self.by_task)  # what torch reads to find the parameters

    def forward(self, task: str, **inputs: Any) -> Any:
        """The output of the model for this task."""
        return self.by_task[task](**inputs)

    def save_pretrained(self, directory: str | os.PathLike[str]) -> None:
        for name, model in self.by_task.items():
            model.save_pretrained(Path(directory) / name)
