"""How fast, and how much memory."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .trainer import LABELS, Trainer

EXAMPLES = 100  # to measure latency with


def latencies_ms(trainer: Trainer, features: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Milliseconds from one encoded example to its logits, one at a time: the median and the 95th percentile."""
    times = []
    rows = [{key: value for key, value in row.items() if key not in LABELS} for row in features[:EXAMPLES]]
    trainer.model.eval()
    with torch.inference_mode():
        for number in [0, *range(len(rows))]:  # the first one, which warms up, is not counted
            start = time.perf_counter()
            trainer.model(**trainer.batch(rows, [number]))
            if trainer.model.device.type == "cuda":
                torch.cuda.synchronize()
            times.append(1000 * (time.perf_counter() - start))
    return {
        "latency_ms_p50": float(np.percentile(times[1:], 50)),
        "latency_ms_p95": float(np.percentile(times[1:], 95)),
    }


def peak_memory_mb() -> float | None:
    """The most memory in use so far, in MiB: of the GPU if there is one, else of the process; None on Windows."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**20
    return process_peak_mb()


def process_peak_mb() -> float | None:
    """The most memory that this process has taken so far, in MiB; None on Windows."""
    status = Path("/proc/self/status")
    if status.exists():  # Linux, where getrusage counts the process that started this one as well
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) / 2**10
    return usage_peak_mb("RUSAGE_SELF")


def usage_peak_mb(who: str) -> float | None:
    """What the system's getrusage says of the most memory, in MiB: of this process ("RUSAGE_SELF"), or of those that it
    has started and that have ended ("RUSAGE_CHILDREN"); None on Windows."""
    try:
        import resource  # not on Windows
    except ImportError:
        return None
    peak = resource.getrusage(getattr(resource, who)).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10
