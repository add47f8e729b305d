"""Fair timing on machines whose speed drifts, and the report: a header, a Markdown table, JSON.

Candidates take turns: every round runs each of them once, and every second round in the opposite order, so that a slow
moment hits all alike. Ratios are taken within a round and only then summed up as a median.
"""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from .. import __version__
from ..files import write_json


def take_turns(candidates: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each candidate in each round, after one round that does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for number in range(rounds + 1):
        names = list(candidates) if number % 2 else list(reversed(list(candidates)))
        for name in names:
            finish_gpu_work()
            start = time.perf_counter()
            candidates[name]()
            finish_gpu_work()
            if number:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def finish_gpu_work() -> None:
    """Wait until the GPU has done what it was told; a CPU has always done it."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    if torch.backends.mps.is_available():
        torch.mps.synchronize()


def spread(values: Sequence[float]) -> dict[str, float]:
    """The median, and the quartiles around it."""
    low, median, high = statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else [*values] * 3
    return {"median": median, "low": low, "high": high}


def spread_ms(seconds: Sequence[float]) -> dict[str, float]:
    """The same in milliseconds."""
    return {key: 1e3 * value for key, value in spread(seconds).items()}


def ratios(seconds: Sequence[float], baseline: Sequence[float]) -> list[float]:
    """How many times as fast as the baseline, in each round."""
    return [theirs / ours for ours, theirs in zip(seconds, baseline, strict=True)]


def times_as_fast(seconds: Mapping[str, Sequence[float]], name: str, baseline: str) -> float:
    """How many times as fast as `baseline` a candidate is: the median over the rounds."""
    return statistics.median(ratios(seconds[name], seconds[baseline]))


def describe_machine() -> dict[str, Any]:
    """Everything that a figure depends on besides the code: hardware, threads, load, versions, date."""
    return {
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "instructions": torch.backends.cpu.get_cpu_capability(),  # AVX2 has no bfloat16
        "load": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,  # Windows has none
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "python": platform.python_version(),
        "minibert": __version__,
        "torch": torch.__version__,
        **{package: _version(package) for package in ("triton", "transformers", "accelerate", "onnxruntime")},
    }


def publish(
    path: str | None, machine: Mapping[str, Any], settings: Mapping[str, Any], results: Sequence[Any], *texts: str
) -> None:
    """Print the machine and the texts; write everything as JSON if a path is given."""
    if path:
        write_json(path, {"machine": machine, "settings": settings, "results": results})
    print(header(machine))
    print(*texts, sep="\n", end="")


def header(machine: Mapping[str, Any]) -> str:
    """`describe_machine` in one paragraph."""
    return ", ".join(f"{name} {value}" for name, value in machine.items() if value is not None) + "\n"


def markdown_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The rows in Markdown, with aligned columns, so that it also reads well in a terminal."""
    widths = [max(map(len, column)) for column in zip(columns, *rows, strict=True)]
    lines = [columns, ["-" * width for width in widths], *rows]
    return "".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |\n"
        for line in lines
    )


def _processor() -> str:
    information = Path("/proc/cpuinfo")  # platform.processor() is empty on most Linux systems
    if information.exists():
        for line in information.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
