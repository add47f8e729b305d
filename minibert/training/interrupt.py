"""Ctrl-C without damage: a run stops between two steps, not in the middle of one."""

from __future__ import annotations

import signal
import threading
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import torch.distributed as dist

from ..commandline import resume_command
from .state import TrainerState, step_of

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class InterruptGuard:
    """`with InterruptGuard() as guard:` notes the first Ctrl-C (or SIGTERM) in `guard.asked` and lets the work go on.

    A second Ctrl-C interrupts at once, as always. Programs repeat a signal without meaning more by it: `timeout` sends
    SIGTERM to a process and to its group, and torchrun sends every signal twice to processes that never hear the
    terminal itself. Outside the main thread Python delivers no signals: nothing is changed.
    """

    def __init__(self) -> None:
        self.asked = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> InterruptGuard:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        self._restore()

    def _note(self, number: int, frame: FrameType | None) -> None:
        if not self.asked:
            self.asked = True
        elif number == signal.SIGINT and not dist.is_torchelastic_launched():
            self._restore()
            signal.raise_signal(number)

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}


def stopped(state: TrainerState, saved: Sequence[Path], command: str, out: Path) -> KeyboardInterrupt:
    """What to raise when a run of a command was interrupted: how far it came, what of it is saved, how to go on.

    saved: its checkpoints, oldest first. The newest is older than the last step if a second Ctrl-C came.
    """
    where = f"after step {state.global_step} of {state.max_steps}" if state.global_step else "before the first step"
    if not saved:
        return KeyboardInterrupt(f"interrupted {where}, before anything was saved.")
    newest = step_of(saved[-1])
    how = (
        f"stopped and saved {where}" if newest == state.global_step else f"interrupted {where}; step {newest} is saved"
    )
    return KeyboardInterrupt(f"{how}. Go on with: {resume_command(command, out)}")
