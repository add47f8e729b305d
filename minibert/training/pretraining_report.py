"""`report.html` and `curves.png` of a pretraining run."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from .. import plots
from ..files import replacing
from ..pages import cards, duration, heading, picture, table, write_page


def write_pretraining_report(
    out: Path, settings: Mapping[str, Any], metrics: Mapping[str, Any], history: Sequence[Mapping[str, Any]]
) -> None:
    """Numbers, curves and settings. metrics: as in `metrics.json`. history: the lines of `log.jsonl`.

    Without matplotlib there is no `curves.png`, and the page says why.
    """
    title = f"{metrics['parameters'] / 1e6:.1f} million parameters, pretrained on {metrics['tokens']:,} tokens"
    measured = "held_out" if "held_out" in metrics else "training"
    figures = metrics[measured]
    entropy, vocab_size = metrics["unigram_entropy"], metrics["vocab_size"]
    headline = {
        "loss of the masked words": f"{figures['mlm_loss']:.3f}",
        "masked words right": f"{figures['mlm_accuracy']:.1%}",
        **({"next sentences right": f"{figures['nsp_accuracy']:.1%}"} if "nsp_accuracy" in figures else {}),
        **({"loss of the bags of words": f"{figures['bag_loss']:.3f}"} if "bag_loss" in figures else {}),
        "steps": f"{metrics['steps']:,}",
        "training": duration(metrics["train_seconds"]),
    }
    costs = {name: metrics[name] for name in ("tokens_per_second", "peak_memory_mb")}
    source = "Figures of held-out documents." if measured == "held_out" else "Figures of the last training steps."
    parts = [f"<p class=sub>{source}</p>", cards(headline), heading("Curves")]
    figure = partial(plots.pretraining_curves, history, entropy)
    if importlib.util.find_spec("matplotlib"):
        with replacing(out / "curves.png") as temporary:
            figure().savefig(temporary, format="png", dpi=150)
    alt = f"The loss of the masked words over {metrics['steps']} steps ends at {figures['mlm_loss']:.2f}."
    parts.append(picture(figure, alt))
    parts += [
        f"<p>The dashed line is the unigram entropy of the corpus, {entropy:.2f} nats: the loss of a model that "
        f"ignores the context and only knows how frequent each token is. A run falls there quickly from "
        f"{math.log(vocab_size):.2f} (all {vocab_size:,} tokens alike) and may stay there for a long time before it "
        f"falls on: only below the line has it learnt anything from the context.</p>",
        heading("Settings and costs"),
        table(["", ""], [[name, _told(value)] for name, value in {**settings, **costs}.items() if value is not None]),
    ]
    write_page(out / "report.html", title, parts)


def _told(value: Any) -> Any:
    return ", ".join(map(str, value)) if isinstance(value, list) else value
