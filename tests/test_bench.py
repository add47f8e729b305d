"""The benchmarks measure what they say: fair turns, right statistics, and nothing timed that is wrong."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from minibert import bench
from minibert.attention.eager import eager_attention
from minibert.benchmarks.attention import check_equal, layout_of
from minibert.benchmarks.lengths import SST2_COUNTS, attention_workloads, read_lengths
from minibert.benchmarks.measure import markdown_table, spread, take_turns, times_as_fast
from minibert.commandline import run
from minibert.errors import InputError


def test_candidates_take_turns_in_both_orders_after_a_warm_up():
    calls: list[str] = []
    seconds = take_turns({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, rounds=2)
    assert calls == ["b", "a", "a", "b", "b", "a"]
    assert [len(seconds[name]) for name in "ab"] == [2, 2]
    assert min(seconds["a"]) > 0


def test_statistics_of_a_hand_computed_case():
    assert spread([5.0, 1.0, 2.0, 4.0, 3.0]) == {"median": 3, "low": 2, "high": 4}
    assert spread([7.0]) == {"median": 7, "low": 7, "high": 7}
    assert times_as_fast({"new": [1.0, 2.0, 10.0], "old": [3.0, 4.0, 10.0]}, "new", "old") == 2


def test_table_lines_are_aligned():
    assert markdown_table(["a", "long"], [["wide", "1"]]) == "| a    | long |\n| ---- | ---- |\n| wide | 1    |\n"


def test_recorded_lengths_are_those_of_all_training_texts():
    assert sum(SST2_COUNTS) == 67_349
    mean = sum(length * count for length, count in enumerate(SST2_COUNTS, start=3)) / sum(SST2_COUNTS)
    batch = attention_workloads(2000)["SST-2"]
    assert abs(statistics.mean(batch) - mean) < 4 * statistics.stdev(batch) / 2000**0.5


def test_workloads_are_the_same_each_time_and_have_the_rows_asked_for():
    assert attention_workloads(16) == attention_workloads(16)
    assert {name: len(lengths) for name, lengths in attention_workloads(16).items()} == {
        "SST-2": 16,
        "uniform 1-128": 16,
        "all 128": 16,
        "all 512": 4,
        "one of 512 among SST-2": 16,
    }


@pytest.mark.parametrize(("content", "found"), [("", "it is empty"), ("3\nx\n", "found 'x'"), ("0", "found '0'")])
def test_file_that_holds_no_lengths_is_refused(tmp_path: Path, content: str, found: str):
    (tmp_path / "lengths").write_text(content)
    with pytest.raises(InputError, match=f"one whole number a line, at least 1: {found}"):
        read_lengths(str(tmp_path / "lengths"))


@pytest.mark.parametrize("training", [False, True])
def test_wrong_implementation_is_not_timed(training: bool):
    layout = layout_of([3, 5], torch.device("cpu"))
    tokens = torch.randn(8, 3, 2, 4, requires_grad=training)
    check_equal("right", eager_attention, tokens, layout)
    with pytest.raises(RuntimeError, match="wrong attention differs from eager by"):
        check_equal("wrong", lambda query, *rest: (query, None), tokens, layout)


def test_attention_bench_writes_a_table_and_the_same_figures_as_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "lengths").write_text("3\n12\n")
    out = tmp_path / "figures.json"
    flags = ["--size", "tiny", "--rounds", "2", "--lengths", str(tmp_path / "lengths"), "--json", str(out)]
    run(bench.build_parser(), bench.main, ["attention", *flags])
    figures = json.loads(out.read_text())
    table = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert len(table) == 2 + len(figures["results"])
    assert figures["machine"]["torch"] == torch.__version__
    for line, result in zip(table[2:], figures["results"], strict=True):
        assert result["tokens"] == 15
        assert f"{result['milliseconds']['median']:.2f}" in line
        if result["attention"] == "sdpa":
            assert result["times_as_fast_as_sdpa"] == 1


def test_unwritable_result_is_refused_before_anything_is_measured(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as end:
        run(bench.build_parser(), bench.main, ["attention", "--json", "/no/such/folder/figures.json"])
    assert end.value.code == 2
    assert "there is no such folder" in capsys.readouterr().err


def test_help_answers_without_torch():
    code = (
        "import sys\nfrom minibert import bench\nbench.build_parser().format_help()\nsys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
