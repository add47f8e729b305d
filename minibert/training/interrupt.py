"""Ctrl-C without damage: a run stops between two steps, not in the middle of one."""

from __future__ import annotations

import signal
import threading
import time
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

from ..commandline import resume_command
from .state import TrainerState, checkpoints

SIGNALS = (signal.SIGINT, signal.SIGTERM)
SAME = 2.0  # seconds: sooner, a signal is the first one again, which torchrun has passed on


class InterruptGuard:
    """`with InterruptGuard() as guard:` notes the first Ctrl-C (or SIGTERM) in `guard.asked` and lets the work go on.

    Two seconds later, a second one interrupts at once, as always. Outside the main thread Python delivers no signals:
    nothing is changed.
    """

    def __init__(self) -> None:
        self.asked = False
        self._since = 0.0
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> InterruptGuard:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()

    def _note(self, number: int, frame: FrameType | None) -> None:
        if not self.asked:
            self.asked, self._since = True, time.monotonic()
        elif time.monotonic() - self._since > SAME:
            self._restore()
            signal.raise_signal(number)

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}


def stopped(state: TrainerState, command: str, out: Path, folder: Path) -> KeyboardInterrupt:
    """What to raise when a run of a command was interrupted: what is saved, and how to go on.

    folder: of the checkpoints. A second Ctrl-C may have come before the last one was written.
    """
    saved = checkpoints(folder)
    if not saved:
        return KeyboardInterrupt("interrupted before anything was saved.")
    step = saved[-1].name.removeprefix("checkpoint-")
    return KeyboardInterrupt(
        f"stopped and saved after step {step} of {state.max_steps}. Go on with: {resume_command(command, out)}"
    )
