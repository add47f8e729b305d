"""Files that are complete or not there at all."""

from __future__ import annotations

import json
import os
import stat
import tracemalloc
from pathlib import Path

import pytest
import torch

from minibert.checkpoints.huggingface import write_weights
from minibert.errors import InputError
from minibert.files import write_json, write_json_lines, write_text


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")
def test_a_file_has_the_permissions_of_any_other_and_no_thread_sees_another_umask(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "plain").touch()
    monkeypatch.delattr(os, "umask")  # a call sets it for all threads
    write_text(tmp_path / "text", "")
    write_weights(tmp_path / "weights", {"a": torch.ones(2)})
    assert len({path.stat().st_mode for path in tmp_path.iterdir()}) == 1
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_what_is_no_file_is_not_replaced(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="pipe is no file: name a file to write to"):
        write_text(tmp_path / "pipe", "")
    assert [stat.S_ISFIFO(path.stat().st_mode) for path in tmp_path.iterdir()] == [True]


def test_many_lines_are_written_without_all_of_them_in_memory(tmp_path: Path):
    tracemalloc.start()
    write_json_lines(tmp_path / "lines", ({"text": "é" * 10_000} for _ in range(500)))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (tmp_path / "lines").stat().st_size == 500 * (20_000 + len('{"text": ""}\n'))
    assert peak < 1_000_000


def test_a_matrix_is_written_row_by_row(tmp_path: Path):
    value = {
        "matrix": [[1, -2.5e-07], [3, 4]],
        "none": [],
        "mixed": [1, "two"],
        "text": "[\n  1,\n  2\n]",
        "one": {"a": [7]},
    }
    write_json(tmp_path / "value.json", value)
    text = (tmp_path / "value.json").read_text()
    assert json.loads(text) == value
    assert '"matrix": [\n    [1, -2.5e-07],\n    [3, 4]\n  ],' in text
