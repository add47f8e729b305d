"""The losses of the heads, and what labels must be like.

Labels are checked on the CPU only: on a GPU, looking at their values would make the program wait for it.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .errors import InputError
from .familiar import Familiar
from .packing import Layout, check_device

IGNORE = -100  # the label that counts for nothing


def cross_entropy(logits: Tensor, labels: Tensor, name: str = "labels") -> Tensor:
    """Mean over the labels that are not -100; 0 if there are none. logits (rows, classes), labels rows numbers."""
    check_device(name, labels, logits.device)
    if labels.is_floating_point():
        raise InputError(f"{name} must hold whole numbers: found {labels.dtype}.")
    labels = labels.reshape(-1).long()
    check_labels(name, labels, logits.shape[1], logits[:, 0])
    total = F.cross_entropy(full_precision(logits), labels, ignore_index=IGNORE, reduction="sum")
    return total / (labels != IGNORE).sum().clamp(min=1)


def classification_loss(model: Familiar, logits: Tensor, labels: Tensor) -> Tensor:
    """By `config.problem_type`, or by what the labels look like, as `transformers` chooses. logits (batch, labels).

    What is not plain classification is noted in the model's config: who opens the saved model, such as a pipeline of
    `transformers`, makes answers of its logits by that.
    """
    check_device("labels", labels, logits.device)
    kind = model.config.problem_type
    if kind is None and (model.num_labels == 1 or labels.is_floating_point()):
        kind = "regression" if model.num_labels == 1 else "multi_label_classification"
    if kind in ("regression", "multi_label_classification"):
        if labels.numel() != logits.numel():
            hint = " To tell one class of each text, they must be whole numbers." if labels.is_floating_point() else ""
            raise InputError(
                f"labels must have the shape of the logits, {tuple(logits.shape)}: found {tuple(labels.shape)}.{hint}"
            )
        if kind == "multi_label_classification" and labels.device.type == "cpu":
            wrong = labels[(labels < 0) | (labels > 1)]
            if len(wrong):
                raise InputError(f"labels must be from 0 to 1, one for each class: found {wrong[0].item():g}.")
        if model.config.problem_type is None:
            model.config = model.config.replace(problem_type=kind)
        loss = F.mse_loss if kind == "regression" else F.binary_cross_entropy_with_logits
        logits = full_precision(logits)
        return loss(logits, labels.reshape(logits.shape).to(logits.dtype))
    return cross_entropy(logits, labels)


def check_labels(name: str, labels: Tensor, classes: int, like: Tensor) -> None:
    """Raise `InputError` for labels of another shape or device than `like`, or not in 0..classes - 1 (or -100)."""
    check_device(name, labels, like.device)
    if labels.shape != like.shape:
        raise InputError(f"{name} must be of shape {tuple(like.shape)}: found {tuple(labels.shape)}.")
    if labels.device.type == "cpu":
        wrong = ((labels < 0) | (labels >= classes)) & (labels != IGNORE)
        if wrong.any():
            found = labels[wrong][0].item()
            raise InputError(f"{name} must be in 0..{classes - 1}, or {IGNORE} to ignore: found {found}.")


def check_in_text(layout: Layout, positions: Tensor, name: str) -> None:
    """Raise `InputError` for a position in the padding, where no answer is. positions (batch,) or (batch, 1)."""
    if layout.mask is not None and positions.device.type == "cpu":
        positions = positions.reshape(-1).long()  # as `cross_entropy` takes them
        inside = positions.clamp(0, layout.seq - 1).unsqueeze(1)  # (batch) -> (batch, 1)
        wrong = ~layout.mask.gather(1, inside).squeeze(1) & (positions >= 0)  # (batch, 1) -> (batch)
        if wrong.any():
            row = int(wrong.nonzero()[0])
            raise InputError(f"{name}: row {row} has no token at {positions[row].item()}, only padding.")


def full_precision(logits: Tensor) -> Tensor:
    """Losses are not computed in half precision."""
    return logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits


def lowest(tensor: Tensor) -> float:
    """The lowest finite number of the tensor's dtype."""
    return torch.finfo(tensor.dtype).min
