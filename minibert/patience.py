"""A word about work that may take long and has no progress bar."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

PATIENCE = 3.0  # seconds without a word before one wonders

log = logging.getLogger("minibert")


@contextmanager
def told(what: str) -> Iterator[None]:
    """Says what is being done, if it takes longer than that."""
    timer = threading.Timer(PATIENCE, log.info, [f"{what} ..."])
    timer.daemon = True  # a second Ctrl-C waits for nothing
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
