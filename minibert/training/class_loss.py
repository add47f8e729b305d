"""The loss of a head that chooses among classes, with label smoothing and class weights."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from ..errors import InputError
from ..losses import IGNORE, full_precision, lowest
from ..outputs import ModelOutput


def class_loss(output: ModelOutput, labels: Tensor | None, smoothing: float, weights: Tensor | None) -> Tensor:
    """Cross-entropy, averaged over the labels that are not -100, by the weights of their classes.

    output: with `.logits` (..., classes). labels: (...), class numbers. smoothing: the share of each label that is
    spread over all classes (Szegedy et al. 2016, section 7), against too much confidence. weights: (classes,). Raises
    `InputError` for a head of another kind.
    """
    logits = getattr(output, "logits", None)
    if (
        logits is None
        or labels is None
        or labels.is_floating_point()
        or logits.shape[:-1] != labels.shape
        or logits.shape[-1] == 1
    ):
        raise InputError(
            "Label smoothing and class weights are for heads that choose one of several classes: this one does not."
        )
    flat = full_precision(logits).flatten(0, -2)  # (..., classes) -> (rows, classes)
    wanted = labels.flatten()  # (...) -> (rows)
    kept = wanted != IGNORE
    # In multiple choice, the lowest number fills up the logits of questions with fewer choices: they get no share.
    there = (logits > lowest(logits)).flatten(0, -2)  # (..., classes) -> (rows, classes)
    shares = smoothing * there / there.sum(dim=1, keepdim=True)
    shares += (1 - smoothing) * F.one_hot(wanted.clamp(min=0), flat.shape[1])  # (rows) -> (rows, classes)
    total = F.cross_entropy(flat, (shares * kept.unsqueeze(1)).to(flat), weights, reduction="sum")
    return total / label_weight(wanted, weights).clamp(min=1e-8)


def label_weight(labels: Tensor, weights: Tensor | None) -> Tensor:
    """What the labels that are not -100 count for together, by the weights of their classes, or one each. A number."""
    kept = labels != IGNORE
    return kept.sum() if weights is None else (weights[labels.clamp(min=0)] * kept).sum()
