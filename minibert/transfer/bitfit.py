"""BitFit (Ben Zaken et al. 2022): of the encoder, only the biases are trained, about a thousandth of it.

Nothing is added: the result is an ordinary BERT, which opens anywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ..model import BertModel


@dataclass(frozen=True)
class BitFit:
    """The biases of all linear layers and LayerNorms."""

    method: ClassVar[str] = "bitfit"
    changes_the_function: ClassVar[bool] = False

    def add_to(self, bert: BertModel) -> None:
        for name, parameter in bert.named_parameters():
            if name.endswith("bias"):
                parameter.requires_grad_()
