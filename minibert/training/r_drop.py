"""R-Drop: two dropout masks should lead to one answer (Liang et al. 2021, "R-Drop: Regularized Dropout for Neural
Networks").

Each batch goes through the model twice. What is learnt is the mean loss of both passes, plus how far their answers are
apart: the mean of the Kullback-Leibler divergences in both directions (equation 2 there).
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from ..errors import InputError
from ..losses import full_precision


def disagreement(first: Tensor, second: Tensor, labels: Tensor | None) -> Tensor:
    """How far two answers to the same texts are apart, in nats a text.

    first, second: logits, (batch, classes). labels: (batch,) class numbers. Raises `InputError` for a head that does
    not choose a class for each text.
    """
    if labels is None or labels.is_floating_point() or labels.shape != first.shape[:-1] or labels.dim() != 1:
        raise InputError("R-Drop is for heads that choose a class for each text: this one does not.")
    one, other = (F.log_softmax(full_precision(logits), dim=-1) for logits in (first, second))
    there = F.kl_div(one, other, reduction="batchmean", log_target=True)  # (batch, classes) -> ()
    back = F.kl_div(other, one, reduction="batchmean", log_target=True)  # (batch, classes) -> ()
    return (there + back) / 2
