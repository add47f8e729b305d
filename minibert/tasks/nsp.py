"""Next sentence prediction, BERT's second pretraining task (Devlin et al. 2018, section 3.1): does B follow A?

To ask a pretrained model, not to train one: that is what `minibert.pretrain` does. Files: tables as for
`classification`, with `text`, `text_b` and the label `follows` or `random`. On the command line, every two texts are a
pair. Features: [CLS] A [SEP] B [SEP]. Head: `BertForNextSentencePrediction`; its class 0 is "B follows A".
"""

from __future__ import annotations

import argparse

from ..config import BertConfig
from ..errors import InputError
from ..heads import BertForNextSentencePrediction
from .classification import ClassificationTask
from .task import Columns

LABELS = ("follows", "random")


class NspTask(ClassificationTask):
    """One of two labels for a pair of texts, by the head that pretraining leaves."""

    name = "nsp"
    model_class = BertForNextSentencePrediction  # type: ignore[assignment]  # another head for the same answers

    def __init__(self, columns: Columns) -> None:
        super().__init__(columns, LABELS, pairs=True)

    @classmethod
    def from_arguments(cls, arguments: argparse.Namespace) -> NspTask:
        raise InputError(
            "Which sentence follows is learnt from plain text, by pretraining: "
            "python -m minibert.pretrain --init-from MODEL --corpus TEXT."
        )

    @classmethod
    def from_config(cls, config: BertConfig, columns: Columns) -> NspTask:
        return cls(columns)
