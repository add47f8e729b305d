"""What is wanted of minibert's speed, beside what was found: the last table of a benchmark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ..device import best_device
from .measure import markdown_table

SETTING = "Targets, set for two CPU cores and the shape of BERT-base (fine-tuning: 6 layers, 384 wide):"


class Target(NamedTuple):
    """A figure to reach. what: its name, as `found` in `targets_table` has it."""

    what: str
    rule: str  # "at least" or "at most"
    wanted: float
    unit: str  # "x", times as fast or as much as another program; or "s"

    def is_reached(self, found: float) -> bool:
        return found >= self.wanted if self.rule == "at least" else found <= self.wanted


INFERENCE = [
    Target("SST-2, transformers", "at least", 2.0, "x"),
    Target("uniform 1-128, transformers", "at least", 1.8, "x"),
    Target("all 128, transformers", "at least", 1.05, "x"),
    Target("classify one of 32, ONNX Runtime", "at least", 0.95, "x"),
]
INFERENCE_BF16 = [
    Target("SST-2, transformers", "at least", 1.8, "x"),
    Target("uniform 1-128, transformers", "at least", 1.7, "x"),
    Target("all 128, transformers", "at least", 1.0, "x"),
]
FINETUNING = [Target("each in its own order, transformers", "at least", 2.0, "x")]
FINETUNING_BF16 = [Target("each in its own order, transformers, float32", "at least", 4.0, "x")]
PRETRAINING = [
    Target("16 x 128, transformers", "at least", 2.2, "x"),
    Target("16 x 128, transformers: peak memory", "at most", 0.6, "x"),
]
STARTUP = [
    Target("everything of minibert beyond torch", "at most", 0.15, "s"),
    Target("the slowest --help", "at most", 0.3, "s"),
]


def targets_table(targets: Sequence[Target], found: Mapping[str, float]) -> str:
    """A line for each target whose figure was found, in Markdown, below a sentence; without any, and on a GPU, ""."""
    if best_device().type != "cpu":
        return ""
    rows = [
        [
            target.what,
            f"{target.rule} {target.wanted:g} {target.unit}",
            f"{found[target.what]:.2f} {target.unit}",
            "reached" if target.is_reached(found[target.what]) else "short",
        ]
        for target in targets
        if target.what in found
    ]
    return f"{SETTING}\n\n{markdown_table(['figure', 'target', 'found', ''], rows)}" if rows else ""
