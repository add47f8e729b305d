"""Learning rates that fall from layer to layer, towards the input.

Howard & Ruder 2018 (ULMFiT, section 3.2) call them discriminative: lower layers hold what is common to all texts, and
should change less. Clark et al. 2020 (ELECTRA, appendix B) fine-tune with them, a factor of 0.8 or 0.9 a layer.
"""

from __future__ import annotations

from .freezing import depth_of


def layer_rate(parameter: str, blocks: int, decay: float) -> float:
    """The share of the learning rate that a parameter takes, by its name: 1 for the head, `decay` for the top block,
    `decay`² for the one below, and so on."""
    return decay ** (blocks + 1 - depth_of(parameter, blocks))
