"""What takes long and has no progress bar says so, and nothing else does."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import pytest

from minibert.patience import told

from .helpers import GOOD, write_table
from .test_commands import call


def test_only_what_takes_long_is_told(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO, logger="minibert")
    monkeypatch.setattr("minibert.patience.PATIENCE", 0.05)
    with told("Quick work"):
        pass
    with told("Slow work"):
        while not caplog.messages:
            time.sleep(0.01)
    assert caplog.messages == ["Slow work ..."]


def test_inspect_says_that_it_looks_at_many_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    file = write_table(tmp_path / "train.tsv", GOOD)
    monkeypatch.setattr("minibert.patience.PATIENCE", 0)
    call("inspect", file)
    assert "Looking at all rows ..." in capsys.readouterr().err
