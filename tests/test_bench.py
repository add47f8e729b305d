"""The benchmarks measure what they say: fair turns, right statistics, and nothing timed that is wrong."""

from __future__ import annotations

import json
import math
import os
import statistics
import subprocess
import sys
import time
import weakref
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from minibert import BertConfig, BertForPreTraining, BertForSequenceClassification, BertTokenizer, bench
from minibert.attention import IMPLEMENTATIONS
from minibert.attention.eager import eager_attention
from minibert.benchmarks import comparison, corpora, curves, inference, scorecard, startup, targets, training
from minibert.benchmarks.attention import check_equal
from minibert.benchmarks.comparison import check_close
from minibert.benchmarks.lengths import SST2_COUNTS, attention_workloads, read_lengths, two_thirds_full
from minibert.benchmarks.measure import markdown_table, spread, take_turns, times_as_fast
from minibert.benchmarks.models import Setting
from minibert.benchmarks.roofline import training_flops
from minibert.benchmarks.scorecard import Score
from minibert.benchmarks.targets import INFERENCE, INFERENCE_BF16, STARTUP, Target, targets_table
from minibert.benchmarks.texts import classified_examples, made_up_ids, masked_examples, padded_batch
from minibert.commandline import COMMANDS, run
from minibert.data.instances import InstanceSettings, PretrainingInstances
from minibert.data.shards import Corpus
from minibert.errors import InputError
from minibert.linear import ONEDNN_PAYS
from minibert.losses import IGNORE
from minibert.packing import Layout
from minibert.training.arguments import TrainingArguments
from minibert.training.measure import process_peak_mb
from minibert.training.trainer import Trainer

from .helpers import pretrain, save_small_model, spelling_tokenizer


def test_candidates_take_turns_in_both_orders_after_a_warm_up():
    calls: list[str] = []
    seconds = take_turns({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, rounds=2)
    assert calls == ["b", "a", "a", "b", "b", "a"]
    assert [len(seconds[name]) for name in "ab"] == [2, 2]
    assert min(seconds["a"]) > 0


def test_short_work_is_done_several_times_in_a_row_on_the_same_batch(monkeypatch: pytest.MonkeyPatch):
    def take_turns(turns: dict[str, Any], rounds: int) -> dict[str, list[float]]:
        for turn in [*turns.values()] * (1 + rounds):
            turn()
        return {name: [6.0] for name in turns}

    monkeypatch.setattr(comparison, "take_turns", take_turns)
    done: list[str] = []

    def step(batch: str) -> torch.Tensor:
        done.append(batch)
        return torch.empty(0)

    (result,) = comparison.measure([comparison.Run("work", comparison.OURS, step, "ab", [[3], [5]], calls=3)], 1)
    assert done == ["a"] * 3 + ["b"] * 3
    assert result["milliseconds"]["median"] == 2000  # of one call
    assert result["tokens_per_second"] == 5 / 2


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
    layout = Layout.from_lengths(torch.tensor([3, 5]))
    tokens = torch.randn(8, 3, 2, 4, requires_grad=training)
    check_equal("right", eager_attention, tokens, layout)
    with pytest.raises(RuntimeError, match="wrong attention differs from eager by"):
        check_equal("wrong", lambda query, *rest: (query, None), tokens, layout)


def test_attention_that_is_wrong_or_fails_is_left_out_and_the_others_are_timed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    def fails_with_dropout(query: Tensor, *rest: Any) -> Any:
        if rest[-1]:
            raise ValueError("out of resources\nshared memory")
        return eager_attention(query, *rest)

    monkeypatch.setitem(IMPLEMENTATIONS, "wrong", lambda query, *_: (query, None))
    monkeypatch.setitem(IMPLEMENTATIONS, "new", fails_with_dropout)
    call("attention", "--size", "tiny", "--batch-size", 2, "--rounds", 1)
    printed = capsys.readouterr().out
    assert "wrong is left out of SST-2, inference. It fails here: wrong attention differs from eager by" in printed
    assert "new is left out of SST-2, training, dropout 0.1. It fails here: out of resources\n" in printed
    assert printed.count("| new ") == 2 * 5
    assert printed.count("| wrong ") == 0
    assert printed.count("| packed ") == 3 * 5


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


def test_unwritable_result_is_refused_before_anything_is_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    for path, fault in (("/no/such/folder/figures.json", "there is no folder "), (str(tmp_path), "is a folder: ")):
        with pytest.raises(SystemExit) as end:
            run(bench.build_parser(), bench.main, ["attention", "--json", path])
        assert end.value.code == 2
        assert fault in capsys.readouterr().err


def test_figures_do_not_take_the_place_of_the_lengths(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    lengths = tmp_path / "lengths"
    lengths.write_text("3\n")
    with pytest.raises(SystemExit):
        run(bench.build_parser(), bench.main, ["attention", "--lengths", str(lengths), "--json", str(lengths)])
    assert "is a file that is read" in capsys.readouterr().err
    assert lengths.read_text() == "3\n"


def test_help_answers_without_torch():
    code = (
        "import sys\nfrom minibert import bench\nbench.build_parser().format_help()\nsys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


LITTLE: dict[str, Any] = {
    "vocab_size": 50,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 40,
}


@pytest.fixture
def little(tmp_path: Path) -> Path:
    """A folder with a model that takes no time."""
    BertForSequenceClassification(BertConfig(**LITTLE)).save_pretrained(tmp_path / "little")
    return tmp_path / "little"


def call(*flags: object) -> None:
    run(bench.build_parser(), bench.main, [str(flag) for flag in flags])


def write_lengths(folder: Path, *lengths: int) -> Path:
    path = folder / "lengths"
    path.write_text("\n".join(map(str, lengths)))
    return path


@pytest.fixture
def measured_in_this_process(monkeypatch: pytest.MonkeyPatch):
    """A new process takes seconds to import everything; one test below starts it."""
    monkeypatch.setattr(comparison, "in_fresh_process", in_this_process)


@pytest.mark.usefixtures("measured_in_this_process")
@pytest.mark.parametrize("bf16", [False, True])
def test_inference_bench_tells_padding_ratio_and_memory_of_every_program(
    tmp_path: Path, little: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, bf16: bool
):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    lengths, out = write_lengths(tmp_path, 3, 12, 9, 7), tmp_path / "figures.json"
    flags = ["--model", little, "--rounds", 2, "--batch-size", 2, "--lengths", lengths, "--json", out]
    call("inference", *flags, *["--bf16"] * bf16)
    figures, printed = json.loads(out.read_text()), capsys.readouterr().out
    reason = "float32" if bf16 else "onnxruntime is not installed"
    assert any(note.startswith("ONNX Runtime is left out") and reason in note for note in figures["settings"]["notes"])
    assert figures["settings"]["notes"][0] in printed
    results = {result["program"]: result for result in figures["results"]}
    plain = {"minibert, not packed"} if ONEDNN_PAYS else set()
    assert set(results) == {"minibert", "transformers", "torch TransformerEncoder"} | plain
    for result in results.values():
        assert result["tokens"] == (3 + 12 + 9 + 7) / 2
        assert result["padding"] == pytest.approx(1 - (3 + 12 + 9 + 7) / (24 + 18))
        assert min(result["peak_memory_mb"], result["memory_before_mb"]) > 0
        assert f"| {result['program']} " in printed
    assert results["minibert"]["minibert_times_as_fast"]["median"] == 1


def test_usual_work_is_three_kinds_of_batches_and_one_sentence_to_classify():
    arguments = bench.build_parser().parse_args(["inference", "--rounds", "2", "--batch-size", "4"])
    works = {work.name: work for work in inference.chosen_works(arguments)}
    assert [len(works[name].batches) for name in ("SST-2", "uniform 1-128", "all 128")] == [3, 3, 1]
    assert works["classify one of 32"].batches == [[32]]


@pytest.mark.usefixtures("measured_in_this_process")
def test_compiled_programs_are_timed_beside_the_others(little: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(torch.nn.Module, "compile", lambda module: compiled.append(type(module).__name__))
    monkeypatch.setattr(inference, "chosen_works", lambda arguments: [inference.Work("one", [[5]], inference.CLS)])
    compiled: list[str] = []
    call("inference", "--model", little, "--rounds", 1, "--compile", "--json", tmp_path / "out.json")
    programs = [result["program"] for result in json.loads((tmp_path / "out.json").read_text())["results"]]
    assert {"minibert, compiled", "transformers, compiled"} < set(programs)
    assert set(compiled) == {"BertBlock", "BertLayer"}


def test_onnx_runtime_gets_the_same_weights(little: Path):
    pytest.importorskip("onnxruntime")
    setting = Setting(little, "BertModel")
    batch = padded_batch([3, 9], setting.config)
    ours, theirs = inference.minibert_program(setting)(batch), inference.onnx_program(setting)(batch)
    check_close("ONNX Runtime", inference.real_answers(theirs, batch), inference.real_answers(ours, batch), 1e-5)


@pytest.mark.usefixtures("measured_in_this_process")
def test_inference_that_differs_is_not_timed(little: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    def wrong(setting: Setting) -> Any:
        step = inference.minibert_program(setting)
        return lambda batch: step(batch) + 1e-3

    monkeypatch.setitem(inference.PROGRAMS, "transformers", wrong)
    monkeypatch.setattr(comparison, "take_turns", lambda *_: pytest.fail("it was timed"))
    with pytest.raises(RuntimeError, match="transformers's answer differs from minibert's by"):
        call("inference", "--model", little, "--lengths", write_lengths(tmp_path, 3, 5))


@pytest.mark.usefixtures("measured_in_this_process")
def test_program_that_fails_here_is_left_out_with_its_reason(
    little: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    def without_kernel(batch: Any) -> Any:
        raise RuntimeError("no kernel for this device\nand many more lines")

    monkeypatch.setitem(inference.PROGRAMS, "torch TransformerEncoder", lambda setting: without_kernel)
    out = tmp_path / "out.json"
    lengths = write_lengths(tmp_path, 3, 5)
    call("inference", "--model", little, "--rounds", 1, "--lengths", lengths, "--json", out)
    figures = json.loads(out.read_text())
    programs = {result["program"] for result in figures["results"]}
    assert {"minibert", "transformers"} <= programs
    assert "torch TransformerEncoder" not in programs
    assert (
        "torch TransformerEncoder is left out. It fails here: no kernel for this device" in figures["settings"]["notes"]
    )


@pytest.mark.usefixtures("measured_in_this_process")
@pytest.mark.parametrize("bf16", [False, True])
def test_finetuning_bench_compares_equal_steps_in_both_orders(
    tmp_path: Path, little: Path, capsys: pytest.CaptureFixture[str], bf16: bool
):
    pytest.importorskip("accelerate")
    out = tmp_path / "figures.json"
    flags = ["--model", little, "--rounds", 2, "--batch-size", 2, "--lengths", write_lengths(tmp_path, 12, 4, 3, 11)]
    call("finetune", *flags, "--json", out, *["--bf16"] * bf16)
    results = json.loads(out.read_text())["results"]
    programs = ["minibert", "transformers", *["transformers, float32"] * bf16]
    assert [(result["work"], result["program"]) for result in results] == [
        (order, program) for order in (training.AS_IT_COMES, training.BY_LENGTH) for program in programs
    ]
    assert {result["tokens"] for result in results} == {15}  # all four texts in two rounds, in either order
    assert {round(result["padding"], 4) for result in results} == {0.3478, 0.0625}  # 30 tokens on 46 and on 32 places
    assert "Each in its own order, transformers: minibert is" in capsys.readouterr().out


@pytest.mark.usefixtures("measured_in_this_process")
def test_pretraining_bench_is_two_thirds_full(tmp_path: Path, little: Path):
    pytest.importorskip("accelerate")
    out = tmp_path / "figures.json"
    call("pretrain", "--model", little, "--rounds", 1, "--batch-size", 4, "--max-length", 36, "--json", out)
    results = json.loads(out.read_text())["results"]
    assert [result["program"] for result in results] == ["minibert", "transformers"]
    assert all(result["padding"] == pytest.approx(1 / 3) for result in results)
    assert all(0 < result["share_of_product"] < 1 for result in results)


@pytest.mark.usefixtures("measured_in_this_process")
def test_pretraining_bench_compiles_both(
    little: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    pytest.importorskip("accelerate")
    for name in ("BACKEND", "MODE"):  # transformers sets them: to be put back afterwards
        monkeypatch.setenv(f"ACCELERATE_DYNAMO_{name}", "")
    compiled = []

    def note(what: Any, **_: Any) -> Any:
        compiled.append(f"{getattr(what, '__self__', what).__class__.__module__.partition('.')[0]} {what}")
        return what

    monkeypatch.setattr(torch, "compile", note)
    call("pretrain", "--model", little, "--rounds", 1, "--batch-size", 4, "--max-length", 36, "--compile")
    assert any(what.startswith("minibert") and "BertBlock" in what for what in compiled)
    assert any(what.startswith("transformers BertForMaskedLM") for what in compiled)
    assert "MLM pretraining steps in float32, compiled" in capsys.readouterr().out


def test_training_flops_of_a_hand_computed_case():
    """4 H² + 2 H I = 96 weights in each of two blocks; texts of 1 and 3 tokens: (1 + 9) / 4 = 2.5 tokens are seen."""
    config = BertConfig(**LITTLE | {"hidden_size": 4, "intermediate_size": 4, "num_attention_heads": 1})
    per_token = 6 * 2 * 96 + 12 * 2 * 4 * 2.5
    assert config.num_hidden_layers == 2
    assert training_flops(config, [[1], [3]], tokens_per_second=10) == pytest.approx(10 * per_token)


def test_trainers_without_transformers_are_told(little: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "accelerate", None)
    notes: list[str] = []
    program = training.transformers_program, Setting(little, "BertForMaskedLM")
    assert comparison.available({"transformers": program}, notes) == {}
    assert notes[0].startswith("transformers is left out. accelerate is not installed")


@pytest.mark.parametrize("wrong", [{"adam_epsilon": 0.01}, {"adam_beta1": 0.5}, {"bf16": True}])
def test_training_that_differs_in_a_detail_is_not_timed(
    little: Path, monkeypatch: pytest.MonkeyPatch, wrong: dict[str, Any]
):
    pytest.importorskip("accelerate")
    setting = Setting(little, "BertForSequenceClassification")
    batches = [classified_examples(lengths, setting.config) for lengths in ([3, 12], [4, 11])]
    programs = {
        "minibert": (training.minibert_program, setting),
        "transformers": (training.transformers_program, setting),
    }
    training.check_equal(programs, batches, training.TOLERANCE)

    def other(**settings: Any) -> TrainingArguments:
        return TrainingArguments(**(settings | wrong))

    monkeypatch.setattr(training, "TrainingArguments", other)
    with pytest.raises(RuntimeError, match="transformers's answer differs"):
        training.check_equal(programs, batches, training.TOLERANCE)


def test_peak_memory_is_that_of_a_process_of_its_own():
    """The array is large here, and not in the other process."""
    here = torch.ones(200 * 2**18)  # 200 MiB
    there = comparison.in_fresh_process(process_peak_mb)
    assert there is None or there < (process_peak_mb() or 0) - 150
    assert here.sum() == 200 * 2**18


def test_process_that_measures_memory_finds_the_gpu_empty(monkeypatch: pytest.MonkeyPatch):
    held: list[object] = []
    model = torch.nn.Linear(1, 1)
    model.register_module("itself", torch.nn.Sequential(model))  # trainers are in such circles
    gone = weakref.ref(model)
    del model
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: held.append(gone()))
    assert comparison.in_fresh_process(os.getpid) != os.getpid()
    assert held == [None]


def test_process_that_is_killed_is_told_in_a_sentence():
    with pytest.raises(InputError, match="was killed, most likely for lack of it: choose a smaller --size"):
        comparison.in_fresh_process(os._exit, 9)


def test_text_longer_than_the_model_can_read_is_refused(
    tmp_path: Path, little: Path, capsys: pytest.CaptureFixture[str]
):
    for subject in ("inference", "finetune", "pretrain"):
        with pytest.raises(SystemExit) as end:
            call(subject, "--model", little, "--lengths", write_lengths(tmp_path, 41))
        assert end.value.code == 2
        assert "A text of 41 tokens is too long for the model, which knows 40 positions" in capsys.readouterr().err


def test_pretraining_lengths_of_a_hand_computed_case():
    assert two_thirds_full(3, 90) == [90, 60, 30]
    assert two_thirds_full(1, 90) == [90]
    assert two_thirds_full(16, 1) == [1] * 16  # no text has none


def test_the_shortest_batch_has_a_token_to_predict():
    labels = [masked_examples([1], BertConfig.preset("tiny"), seed)[0]["labels"] for seed in range(20)]
    assert all(label != [IGNORE] for label in labels)


def test_made_up_ids_are_known_and_no_padding():
    config = BertConfig(**LITTLE).replace(pad_token_id=7)
    ids = [number for row in made_up_ids([40] * 50, config) for number in row]
    assert set(ids) == set(range(50)) - {7}


def in_this_process(function: Any, *arguments: Any) -> Any:
    return function(*arguments)


def test_curves_hold_every_point_and_are_drawn(tmp_path: Path, little: Path, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("matplotlib")
    pytest.importorskip("accelerate")

    @contextmanager
    def little_weights(*_: Any, **__: Any) -> Iterator[Setting]:
        yield Setting(little, "BertForMaskedLM")

    points = [curves.Point(axis, "mini", lengths) for axis in (curves.LENGTH, curves.TEXTS) for lengths in ([4], [8])]
    monkeypatch.setattr(curves, "in_fresh_process", in_this_process)
    monkeypatch.setattr(curves, "weights", little_weights)
    monkeypatch.setattr(curves, "chosen_points", lambda *_: points)
    monkeypatch.setattr(corpora, "in_fresh_process", in_this_process)
    monkeypatch.setattr(corpora, "MILLION", 4000)
    call("curves", "--rounds", 1, "--most-text", 4, "--json", tmp_path / "out.json", "--picture", tmp_path / "out.png")
    results = json.loads((tmp_path / "out.json").read_text())["results"]
    of_corpora = [result for result in results if result["axis"] == corpora.CORPUS]
    assert [result["work"] for result in of_corpora] == ["prepare", "plan of a block"] * 2
    assert of_corpora[2]["value"] > of_corpora[0]["value"] > 0
    assert len(results) - len(of_corpora) == len(points) * 2 * 2  # works and programs
    assert [result["value"] for result in results if result["axis"] == curves.LENGTH] == [4] * 4 + [8] * 4
    assert min(result["milliseconds"]["median"] for result in results) > 0
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG")


def test_curves_grow_along_each_axis_as_far_as_was_said():
    points = curves.chosen_points("tiny", longest=200, most=5)
    assert [point.lengths for point in points if point.axis == curves.LENGTH] == [[64], [128]]
    assert [len(point.lengths) for point in points if point.axis == curves.TEXTS] == [1, 4]
    assert [point.size for point in points if point.axis == curves.SIZE] == ["tiny", "mini", "small", "medium", "base"]


def test_picture_that_cannot_be_drawn_is_refused_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    for path in (tmp_path / "curves.gif", tmp_path / "missing" / "curves.png"):
        with pytest.raises(SystemExit):
            call("curves", "--picture", path)
        assert "it must be a .png file in a folder that is there" in capsys.readouterr().err


def test_without_matplotlib_no_picture_is_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr("minibert.plots.importlib.util.find_spec", lambda _: None)
    (tmp_path / "data.tsv").write_text("text\tlabel\ngood\tyes\nbad\tno\n")
    data = ["--train", tmp_path / "data.tsv", "--dev", tmp_path / "data.tsv", "--examples", 2]
    for words, flag in (
        (["curves", "--picture", tmp_path / "curves.png"], "--picture"),
        (["scorecard", *data, "--out", tmp_path / "card"], "--out"),
    ):
        with pytest.raises(SystemExit):
            call(*words)
        assert f"{flag} needs matplotlib, which is not installed: pip install" in capsys.readouterr().err
    assert not (tmp_path / "card").exists()


def test_targets_are_told_beside_what_was_found_and_only_those():
    wanted = [
        Target("speed", "at least", 2.0, "x"),
        Target("memory", "at most", 0.6, "x"),
        Target("never measured", "at most", 1.0, "s"),
    ]
    assert targets_table(wanted, {"other": 1.0}) == ""
    for speed, memory, states in ((2.0, 0.6, ["reached", "reached"]), (1.99, 0.61, ["short", "short"])):
        rows = targets_table(wanted, {"speed": speed, "memory": memory}).splitlines()[-2:]
        assert [row.strip("| ").split(" | ")[-1].strip() for row in rows] == states
        assert f"| {speed:.2f} x" in rows[0]


def test_no_target_for_a_cpu_is_held_against_a_gpu(monkeypatch):
    monkeypatch.setattr(targets, "best_device", lambda: torch.device("cuda"))
    assert targets_table([Target("speed", "at least", 2.0, "x")], {"speed": 1.0}) == ""


def test_every_target_is_about_a_figure_that_its_benchmark_finds():
    arguments = bench.build_parser().parse_args(["inference"])
    works = {work.name for work in inference.chosen_works(arguments)}
    for target in (*INFERENCE, *INFERENCE_BF16):
        work, _, program = target.what.partition(", ")
        assert work in works
        assert program in inference.PROGRAMS


def test_memory_is_a_share_of_the_other_programs():
    results = [
        {"work": "16 x 128", "program": program, "peak_memory_mb": peak}
        for program, peak in (("minibert", 300.0), ("transformers", 600.0), ("elsewhere", None))
    ]
    shares = training.memory_shares(results)
    assert shares["16 x 128, transformers: peak memory"] == 0.5
    assert "16 x 128, elsewhere: peak memory" not in shares


def test_startup_bench_times_every_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    started: list[list[str]] = []

    def start(command: list[str], told: list[float] | None = None) -> None:
        started.append(command)
        if told is not None:
            told.append(float(len(started)))

    monkeypatch.setattr(startup, "start", start)
    call("startup", "--rounds", 1, "--json", tmp_path / "out.json")
    results = {result["what"]: result for result in json.loads((tmp_path / "out.json").read_text())["results"]}
    assert {f"{command} --help" for command in COMMANDS} < set(results)
    beyond = {
        name: result["seconds_beyond_torch"] for name, result in results.items() if "seconds_beyond_torch" in result
    }
    assert list(beyond) == list(startup.WITH_TORCH)
    assert all(told["median"] > len(results) for told in beyond.values())  # the warm-up does not count
    assert ["-m", "minibert.finetune", "--help"] in started
    assert len(startup.figures(list(results.values())).keys() & {target.what for target in STARTUP}) == len(STARTUP)


def test_command_that_fails_at_startup_is_no_figure():
    with pytest.raises(subprocess.CalledProcessError):
        startup.start(["-c", "raise SystemExit(1)"])


def test_what_comes_after_torch_is_timed_by_itself():
    told: list[float] = []
    began = time.perf_counter()
    startup.start(["-c", startup.timed_after_torch("time.sleep(0.05)")], told)
    assert len(told) == 1
    assert 0.05 <= told[0] < time.perf_counter() - began


def test_score_card_compares_the_weights_with_random_ones_on_the_same_examples(
    small_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Two sizes, two starts, two seeds."""
    begun: list[tuple[torch.Tensor, list[list[int]]]] = []

    class Watched(Trainer):
        def __init__(self, model: BertForSequenceClassification, *rest: Any, **named: Any) -> None:
            super().__init__(model, *rest, **named)
            examples = [list(example["input_ids"]) for example in named["train_dataset"]]
            begun.append((model.bert.embeddings.word_embeddings.weight.detach().clone(), examples))

    monkeypatch.setattr(scorecard, "Trainer", Watched)
    monkeypatch.setattr(scorecard, "LEAST_STEPS", 1)
    monkeypatch.setattr(scorecard, "RATES", {"pretrained": (1e-3,), "random": (1e-3,)})
    words = ["good", "bad", "fun", "sound"]
    rows = [f"{first} {second}\t{first}" for first in ("good", "bad") for second in words]
    (tmp_path / "data.tsv").write_text("text\tlabel\n" + "\n".join(rows) + "\n")
    data = ["--train", tmp_path / "data.tsv", "--dev", tmp_path / "data.tsv"]
    torch.manual_seed(99)  # or the random weights of seed 0 would be these
    model = BertForSequenceClassification(BertConfig.from_json_file(small_model / "config.json"))
    model.save_pretrained(tmp_path / "model")
    BertTokenizer.from_pretrained(small_model).save_pretrained(tmp_path / "model")
    flags = [*data, "--model", tmp_path / "model", "--examples", 4, 2, "--seeds", 2, "--out", tmp_path / "card"]
    run(bench.build_parser(), bench.main, ["scorecard", *map(str, flags)])

    trained = model.bert.embeddings.word_embeddings.weight
    assert [torch.equal(weights, trained) for weights, _ in begun] == [True, True, False, False] * 2
    assert not torch.equal(begun[2][0], begun[3][0])  # another seed, other random weights
    assert [len(examples) for _, examples in begun] == [2] * 4 + [4] * 4
    assert begun[0][1] == begun[2][1] != begun[1][1] == begun[3][1]

    card = json.loads((tmp_path / "card" / "scorecard.json").read_text())
    assert [(score["start"], score["examples"], len(score["accuracies"])) for score in card["scores"]] == [
        ("pretrained", 2, 2), ("random", 2, 2), ("pretrained", 4, 2), ("random", 4, 2)
    ]  # fmt: skip
    assert (tmp_path / "card" / "scorecard.png").stat().st_size > 0


def test_score_card_has_means_deviations_and_the_gain():
    """By hand: the deviation of 60 and 70 is the square root of 50."""
    scores = [Score("pretrained", 100, 1e-3, [0.6, 0.7]), Score("random", 100, 3e-4, [0.5, 0.6])]
    row = scorecard._report(scores, {}).splitlines()[-1]
    assert [cell.strip() for cell in row.split("|")[1:-1]] == ["100", "65.0 ± 7.1", "55.0 ± 7.1", "+10.0"]


# -------------------------------------------------------------------------------------------------------- held-out


@pytest.fixture(scope="module")
def spelt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus of 60 documents, of which about a third are held out."""
    folder = tmp_path_factory.mktemp("spelt")
    sentences = (f"{word} {number} is not {number + 1}." for number in range(60) for word in ("surely", "a", "rarely"))
    (folder / "text.txt").write_text("\n\n".join("\n".join(lines) for lines in zip(*[sentences] * 3, strict=True)))
    save_small_model(folder / "model")
    pretrain(
        "prepare", folder / "text.txt", "--vocab", folder / "model", "--held-out", 0.3, "--workers", 1,
        "--out", folder / "corpus",
    )  # fmt: skip
    return folder / "corpus"


def held_out_figures(model: Path, corpus: Path, out: Path, *words: str) -> dict[str, Any]:
    arguments = ["held-out", "--model", str(model), "--corpus", str(corpus), "--json", str(out), *words]
    run(bench.build_parser(), bench.main, arguments)
    return {result["who"]: result for result in json.loads(out.read_text())["results"]}


def test_the_held_out_figures_of_saved_weights_are_those_that_pretraining_ended_with(
    spelt: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    out = tmp_path / "out"
    pretrain("--corpus", spelt, "--size", "tiny", "--max-steps", 2, "--batch-size", 8, "--max-length", 40, "--out", out)
    figures = held_out_figures(out, spelt, tmp_path / "figures.json", "--max-length", "40")[str(out)]
    held_out = json.loads((out / "metrics.json").read_text())["held_out"]
    for name in ("mlm_loss", "mlm_accuracy", "nsp_accuracy"):
        assert figures[name] == pytest.approx(held_out[name], rel=1e-5)
    assert f"| {100 * held_out['nsp_accuracy']:.3g} %" in capsys.readouterr().out


def test_guesses_are_made_from_the_training_part_and_judged_by_the_held_out_one(spelt: Path, tmp_path: Path):
    model = tmp_path / "model"
    BertForPreTraining.from_pretrained(spelt.parent / "model").save_pretrained(model)
    spelling_tokenizer().save_pretrained(model)
    figures = held_out_figures(model, spelt, tmp_path / "figures.json", "--max-length", "40")
    counts = Counter(spelling_tokenizer().get_vocab().values())  # one each
    training = Corpus(spelt)
    counts.update(
        token for document in range(len(training)) for sentence in training[document] for token in sentence.tolist()
    )
    settings = InstanceSettings(max_length=40)
    instances = PretrainingInstances(Corpus(spelt, "held_out"), spelling_tokenizer(), settings).block(0)
    labels = [int(label) for number in range(len(instances)) for label in instances[number]["labels"] if label >= 0]
    guess = figures["word frequencies alone"]
    [(most, _)] = counts.most_common(1)
    assert guess["mlm_accuracy"] == pytest.approx(labels.count(most) / len(labels))
    assert guess["mlm_loss"] == pytest.approx(
        -statistics.mean(math.log(counts[label] / counts.total()) for label in labels)
    )
    assert figures[f"guessing among all {len(spelling_tokenizer())}"]["nsp_accuracy"] == 0.5


def test_held_out_figures_need_both_heads(spelt: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        held_out_figures(spelt.parent / "model", spelt, tmp_path / "figures.json")
    assert "was not pretrained with masked words and pairs" in capsys.readouterr().err
