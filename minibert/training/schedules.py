"""The learning rate's way up and down: functions of (step, warmup_steps, total_steps), steps counted from 0.

All return the share of the full learning rate that the step takes; all but `constant` rise linearly from 0 to 1 over
the warm-up first. Names and, but for `polynomial`, values are those of `lr_scheduler_type` in `transformers`.
"""

from __future__ import annotations

import math
from collections.abc import Callable

Schedule = Callable[[int, int, int], float]


def linear_schedule(step: int, warmup_steps: int, total_steps: int) -> float:
    """Linear to 0 at `total_steps` (paper, appendix A.2)."""
    return _after_warmup(step, warmup_steps, total_steps, lambda done: 1 - done)


def cosine_schedule(step: int, warmup_steps: int, total_steps: int) -> float:
    """Half a wave of the cosine (Loshchilov & Hutter 2017): slow in the beginning and at the end."""
    return _after_warmup(step, warmup_steps, total_steps, lambda done: (1 + math.cos(math.pi * done)) / 2)


def polynomial_schedule(step: int, warmup_steps: int, total_steps: int) -> float:
    """A parabola: steep first, and flat at the end. (`transformers` takes power 1 unless it is told another.)"""
    return _after_warmup(step, warmup_steps, total_steps, lambda done: (1 - done) ** 2)


def constant_schedule(step: int, warmup_steps: int, total_steps: int) -> float:
    """All the way at the top."""
    return 1.0


def constant_schedule_with_warmup(step: int, warmup_steps: int, total_steps: int) -> float:
    """At the top after the warm-up."""
    return _after_warmup(step, warmup_steps, total_steps, lambda done: 1.0)


SCHEDULES: dict[str, Schedule] = {
    "linear": linear_schedule,
    "cosine": cosine_schedule,
    "polynomial": polynomial_schedule,
    "constant": constant_schedule,
    "constant_with_warmup": constant_schedule_with_warmup,
}


def _after_warmup(step: int, warmup_steps: int, total_steps: int, fall: Callable[[float], float]) -> float:
    if step < warmup_steps:
        return step / warmup_steps
    return fall(min(1.0, (step - warmup_steps) / max(1, total_steps - warmup_steps)))
