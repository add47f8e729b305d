"""Seeds, folds and searches: the right runs, once each, and sound figures over them."""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minibert.data.folds import assign_folds
from minibert.errors import DivergedError, InputError
from minibert.search import build_parser, with_setting
from minibert.tasks import task_class
from minibert.tasks.multilabel import MultilabelTask
from minibert.tasks.ner import NerTask
from minibert.tasks.similarity import MATCHED
from minibert.tasks.summarization import SummarizationTask
from minibert.tasks.task import Columns, Example, Examples, Task
from minibert.training import finetuning
from minibert.training.run_folder import TRIALS
from minibert.training.search import fold_files, settings_of
from minibert.training.trials import WEIGHTS, Result, Trial, _drop_weights, _keep, best_result, summarize

from .helpers import GOOD, full_disk, write_table
from .test_commands import RESULTS, CommandError, call, one_line, start

labels_and_folds = st.tuples(st.lists(st.sampled_from("abc"), min_size=6, max_size=60), st.integers(2, 6))

# ------------------------------------------------------------------------------------------------ folds


@given(labels_and_folds, st.integers(0, 9))
def test_folds_share_out_every_label_evenly(case, seed):
    labels, folds = case
    assigned = assign_folds(labels, folds, seed)
    sizes = Counter(assigned)
    assert set(sizes) <= set(range(folds))
    assert max(sizes.values()) - min(sizes[fold] for fold in range(folds)) <= 1
    for label in set(labels):
        counts = Counter(fold for fold, found in zip(assigned, labels, strict=True) if found == label)
        assert max(counts.values()) - min(counts[fold] for fold in range(folds)) <= 1


@given(labels_and_folds, st.data())
def test_a_group_stays_in_one_fold_and_no_fold_stays_empty(case, data):
    labels, folds = case
    groups = data.draw(st.lists(st.integers(0, 9), min_size=len(labels), max_size=len(labels)))
    if len(set(groups)) < folds:
        with pytest.raises(InputError, match=rf"{folds} folds need at least {folds} groups: found {len(set(groups))}"):
            assign_folds(labels, folds, 0, groups)
        return
    assigned = assign_folds(labels, folds, 0, groups)
    assert len(set(zip(groups, assigned, strict=True))) == len(set(groups))
    assert len(set(assigned)) == folds


def test_groups_are_dealt_so_that_labels_stay_even():
    labels = ["a"] * 4 + ["b"] * 4
    assert assign_folds(labels, 2, 0, groups=[1, 1, 2, 2, 3, 3, 4, 4]) in (
        [0, 0, 1, 1, 0, 0, 1, 1],
        [0, 0, 1, 1, 1, 1, 0, 0],
        [1, 1, 0, 0, 0, 0, 1, 1],
        [1, 1, 0, 0, 1, 1, 0, 0],
    )


def test_numbers_are_dealt_over_their_range_and_seeds_deal_differently():
    labels = [float(i) for i in range(20)]
    assigned = assign_folds(labels, 2, 0)
    assert all(set(assigned[i : i + 2]) == {0, 1} for i in range(0, 20, 2))
    shuffled = ["a"] * 20
    assert assign_folds(shuffled, 2, 0) == assign_folds(shuffled, 2, 0) != assign_folds(shuffled, 2, 1)


def test_too_few_examples_are_refused():
    with pytest.raises(InputError, match="3 folds need at least 3 examples: found 2"):
        assign_folds(["a", "b"], 3, 0)


# ------------------------------------------------------------------------------------------------ settings


def test_a_grid_is_all_combinations():
    settings = settings_of(["lr=1e-5,3e-5", "--batch-size=8,16"], None, 0)
    assert settings == [{"lr": lr, "batch-size": size} for lr in ("1e-5", "3e-5") for size in ("8", "16")]
    assert settings_of([], None, 0) == [{}]
    models = ["model=../small,..\\large"]  # places, and no range
    assert settings_of(models, None, 0) == [{"model": "../small"}, {"model": "..\\large"}]
    assert sorted(setting["model"] for setting in settings_of(models, 2, 0)) == ["../small", "..\\large"]


def test_random_settings_are_within_their_ranges_all_different_and_repeatable():
    drawn = settings_of(["lr=1e-5..1e-3", "epochs=2..4", "bf16=yes,no"], 400, 3)
    assert len({tuple(setting.items()) for setting in drawn}) == 400
    rates = sorted(float(setting["lr"]) for setting in drawn)
    assert 1e-5 <= rates[0] < rates[-1] <= 1e-3
    assert 150 <= sum(rate < 1e-4 for rate in rates) <= 250  # each order of magnitude has the same chance
    epochs = Counter(setting["epochs"] for setting in drawn)
    assert epochs.keys() == {"2", "3", "4"}
    assert epochs["2"] > 1.3 * epochs["3"]  # the ends are no rarer for being rounded to
    assert drawn == settings_of(["lr=1e-5..1e-3", "epochs=2..4", "bf16=yes,no"], 400, 3)
    assert len(settings_of(["bf16=yes,no"], 10, 0)) == 2  # there are no more


@pytest.mark.parametrize(
    ("tries", "draws", "sentence"),
    [
        (["lr"], None, "--try needs a flag and its values, as in lr=1e-5,3e-5: found 'lr'"),
        (["lr=1e-5,,"], None, "found 'lr=1e-5,,'"),
        (["lr=1", "lr=2"], None, "--try lr stands there twice"),
        (["lr=1e-5,1e-5"], None, "values that are all different: found '1e-5,1e-5'"),
        (["lr=1e-5..1e-3"], None, "is a range: say with --random how many to draw"),
        (["lr=1e-3..1e-5"], 3, "the lower one first: found '1e-3..1e-5'"),
        (["lr=a..b"], 3, "a range of two numbers above 0"),
        (["lr=1..2..3"], 3, "a range of two numbers above 0"),
    ],
)
def test_a_try_that_cannot_be_is_refused(tries: list[str], draws: int | None, sentence: str):
    with pytest.raises(InputError, match=sentence):
        settings_of(tries, draws, 0)


def test_a_setting_is_read_as_on_the_command_line():
    arguments = build_parser().parse_args(["--lr", "1e-4", "--epochs", "2", "--try", "lr=1"])
    changed = with_setting(arguments, {"lr": "3e-5", "bf16": "yes", "batch-size": "8"})
    assert (changed.lr, changed.bf16, changed.batch_size, changed.epochs) == (3e-5, True, 8, 2)
    assert (arguments.lr, arguments.bf16) == (1e-4, False)
    for flag, value in (("out", "x"), ("help", "yes")):
        with pytest.raises(InputError, match=rf"--try cannot vary --{flag}\."):
            with_setting(arguments, {flag: value})
    with pytest.raises(InputError, match="--try bf16 can be yes or no: found 'on'"):
        with_setting(arguments, {"bf16": "on"})


# ------------------------------------------------------------------------------------------------ figures over runs


def result(setting: str, accuracy: float | None, name: str = "run", majority: float = 0.5) -> Result:
    """A run on 100 dev examples, of which a share `majority` has one label."""
    rows = [[round(100 * majority), 0], [100 - round(100 * majority), 0]]
    metrics = {"accuracy": accuracy, "confusion_matrix": rows, "test": {"accuracy": 0.5}}
    return Result(Trial(name, setting, argparse.Namespace(seed=0)), None if accuracy is None else metrics, ["accuracy"])


def test_runs_are_summed_up_by_setting_the_best_mean_first():
    results = [
        result("a", 0.6),
        result("b", 0.9, "luck"),
        result("a", 0.7, "best of a"),
        result("b", 0.3),
        result("c", None),
    ]
    summaries = summarize(results, ["accuracy"])
    assert [summary.setting for summary in summaries] == ["a", "b", "c"]
    assert summaries[0].dev["accuracy"].mean == pytest.approx(0.65)
    assert summaries[0].dev["accuracy"].deviation == pytest.approx(0.1 / 2**0.5)
    assert summaries[0].test["accuracy"].runs == 2
    assert (summaries[1].degenerate, summaries[2].runs, summaries[2].dev) == (["run"], 1, {})
    best = best_result(results, summaries, "accuracy")
    assert best is not None
    assert best.trial.name == "best of a"  # not the luckiest of all
    assert best_result(results[4:], summaries[2:], "accuracy") is None


def test_of_each_setting_the_weights_of_its_best_run_alone_are_kept(tmp_path: Path):
    results = []
    for run in (result("a", 0.6, "first"), result("b", 0.9, "lucky"), result("a", 0.7, "best"), result("a", 0.7, "as")):
        results.append(run)
        (tmp_path / TRIALS / run.trial.name).mkdir(parents=True)
        (tmp_path / TRIALS / run.trial.name / WEIGHTS).touch()
        _drop_weights(tmp_path, [*results, result("b", None, "diverged")], "accuracy")
    assert {path.parent.name for path in tmp_path.rglob(WEIGHTS)} == {"lucky", "best"}


def test_a_run_that_is_no_better_than_the_majority_is_degenerate():
    assert result("a", 0.8, majority=0.8).degenerate
    assert not result("a", 0.81, majority=0.8).degenerate
    assert result("a", None).degenerate


@pytest.mark.parametrize(
    ("task", "metrics", "nothing"),
    [
        ("ner", {"f1": 0.0}, True),
        ("ner", {"f1": 0.1, "accuracy": 0.0}, False),
        ("regression", {"pearson": 0.0}, True),
        ("qa", {"f1": 0.25, "questions": 16, "unanswerable": {"questions": 4}}, True),
        ("qa", {"f1": 0.26, "questions": 16, "unanswerable": {"questions": 4}}, False),
        ("choice", {"accuracy": 0.5, "chance": 0.5}, True),
        ("choice", {"accuracy": 0.6, "chance": 0.5}, False),
        ("multilabel", {"f1_micro": 0.5, "baseline": 0.5}, True),
        ("summarization", {"rouge1": 0.41, "baseline": 0.4}, False),
    ],
)
def test_a_run_without_classes_is_degenerate_if_a_constant_answer_does_as_well(task, metrics, nothing):
    trial = Trial("run", "a", argparse.Namespace(seed=0))
    assert Result(trial, metrics, task_class(task).headline).degenerate == nothing


@pytest.mark.parametrize(
    ("judge", "truths", "answer"),
    [
        (MultilabelTask(Columns(), ["a", "b", "c"]), [["a"], ["a"], ["a", "b"], []], {"labels": ["a"]}),
        (NerTask(Columns(), "plain", ["IN", "NN"]), [["NN", "NN"], ["IN", "NN"]], {"tags": ["NN", "NN"]}),
        (SummarizationTask(Columns(), 1), ["it rained", "a dog ran"], {"sentences": [0]}),
    ],
)
def test_the_same_answer_to_everything_is_degenerate(judge: Task, truths: list[Any], answer: dict[str, Any]):
    given = {"article": "A cat sat. A dog ran. It rained.", "tokens": ["a", "b"]}
    examples = Examples(Path("-"), [Example(given, truth) for truth in truths])
    metrics = judge.metrics(examples, [answer] * len(truths))
    trial = Trial("run", "a", argparse.Namespace(seed=0))
    assert metrics[judge.headline[0]] > 0
    assert Result(trial, metrics, judge.headline).degenerate


# ------------------------------------------------------------------------------------------------ commands


OTHER_TASKS: dict[str, list[dict[str, Any]]] = {
    "ner": [
        {"tokens": ["good", "film"], "tags": ["B-X", "O"]},
        {"tokens": ["bad", "sound", "fun"], "tags": ["O", "B-X", "I-X"]},
    ],
    "regression": [{"text": "a good film", "label": 4.5}, {"text": "a bad film", "label": 1}],
    "qa": [
        {"question": "good film", "context": "a good sound", "answers": [{"text": "good", "answer_start": 2}]},
        {"question": "bad film", "context": "a bad sound fun", "answers": [{"text": "fun", "answer_start": 12}]},
    ],
    "similarity": [{"text": "a good film", "text_b": "good fun"}, {"text": "bad", "text_b": "a bad sound"}],
}


@pytest.mark.parametrize("folds", [None, 2])
@pytest.mark.parametrize("task", OTHER_TASKS)
def test_a_search_works_for_other_tasks_too(small_model: Path, tmp_path: Path, capsys, task: str, folds: int | None):
    data = tmp_path / "data.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in OTHER_TASKS[task] * 4))
    out = tmp_path / "out"
    flags = ["--task", task, "--train", data, "--model", small_model, "--out", out, "--epochs", 1, "--max-length", 16]
    call("search", *flags, *(["--dev", data] if folds is None else ["--folds", folds]), "--try", "lr=1e-2,1e-3")
    assert "The best setting: lr 1e-" in capsys.readouterr().out
    found = json.loads((out / "trials.json").read_text())
    headline = MATCHED if task == "similarity" else task_class(task).headline  # it depends on the columns of the file
    for run in found["runs"]:
        assert list(run["dev"]) == list(headline)
    kept = json.loads((out / "metrics.json").read_text())
    best = next(run for run in found["runs"] if run["run"] == found["best_run"])
    assert {name: kept[name] for name in headline} == best["dev"]
    assert (out / "model.safetensors").is_file()


def test_several_seeds_leave_one_model_and_the_figures_of_all(files, small_model: Path, tmp_path: Path, capsys):
    out = tmp_path / "out"
    flags = [*files, "--model", small_model, "--epochs", 1, "--lr", 1e-2]
    call("finetune", *flags, "--seeds", 3, "--seed", 7, "--out", out)
    said = capsys.readouterr().out
    assert " dev: accuracy " in said
    assert "3 runs)" in said
    assert {path.name for path in out.iterdir()} == RESULTS | {"trials", "trials.json", "trials.html"}
    assert not list((out / "trials").rglob("*.safetensors"))
    found = json.loads((out / "trials.json").read_text())
    assert [run["seed"] for run in found["runs"]] == [7, 8, 9]
    accuracies = {run["run"]: run["dev"]["accuracy"] for run in found["runs"]}
    assert found["settings"][0]["dev"]["accuracy"]["mean"] == pytest.approx(sum(accuracies.values()) / 3)
    kept = json.loads((out / "metrics.json").read_text())
    assert kept["accuracy"] == accuracies[found["best_run"]] == max(accuracies.values())
    call("evaluate", "--model", out, "--data", files[3])
    assert json.loads(capsys.readouterr().out)["accuracy"] == kept["accuracy"]
    call("finetune", *flags, "--seed", 8, "--out", tmp_path / "alone")
    alone = json.loads((tmp_path / "alone" / "metrics.json").read_text())
    assert (
        alone["confusion_matrix"]
        == json.loads((out / "trials" / "seed-8" / "metrics.json").read_text())["confusion_matrix"]
    )


def test_a_search_over_folds_tries_every_setting_on_every_fold(small_model: Path, tmp_path: Path, capsys):
    rows = [(*row, str(number % 4)) for number, row in enumerate(GOOD * 4)]
    train = write_table(tmp_path / "train.tsv", rows, ("text", "label", "author"))
    out = tmp_path / "out"
    flags = ["--train", train, "--model", small_model, "--out", out, "--epochs", 1, "--batch-size", 4]
    call("search", *flags, "--folds", 2, "--group-column", "author", "--try", "lr=1e-2,1e-4")
    said = capsys.readouterr().out
    assert "  1. lr 1e-" in said
    assert "The best setting: lr 1e-" in said
    found = json.loads((out / "trials.json").read_text())
    assert [run["run"] for run in found["runs"]] == [f"setting-{s}-fold-{f}-seed-0" for s in (1, 2) for f in (1, 2)]
    assert [setting["runs"] for setting in found["settings"]] == [2, 2]
    judged: list[tuple[str, str]] = []
    for fold in (1, 2):
        parts = {
            part: [json.loads(line) for line in (out / "trials" / f"fold-{fold}-{part}.jsonl").read_text().splitlines()]
            for part in ("train", "dev")
        }
        authors = {part: {row["author"] for row in parts[part]} for part in parts}
        assert not authors["train"] & authors["dev"]
        judged += [(row["text"], row["label"]) for row in parts["dev"]]
    assert Counter(judged) == Counter(GOOD * 4)
    assert "<svg" in (out / "trials.html").read_text()


def test_a_setting_that_diverges_is_noted_and_the_search_goes_on(
    files, small_model: Path, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
):
    really = finetuning.finetune

    def diverge(arguments: argparse.Namespace, summary: bool) -> dict[str, Any]:
        if arguments.lr == 9:
            raise DivergedError("The loss became nan.")
        return really(arguments, summary)

    monkeypatch.setattr("minibert.training.trials.finetune", diverge)
    out = tmp_path / "out"
    call("search", *files, "--model", small_model, "--epochs", 1, "--try", "lr=9,1e-2", "--out", out)
    assert "2. lr 9: all runs diverged, 1 of 1 runs degenerate" in capsys.readouterr().out
    found = json.loads((out / "trials.json").read_text())
    assert [run["diverged"] for run in found["runs"]] == [True, False]
    assert found["best_run"] == "setting-2-seed-0"
    assert (out / "model.safetensors").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_a_killed_search_goes_on_to_the_same_figures_without_doing_runs_again(files, small_model: Path, tmp_path: Path):
    flags = [*files, "--model", small_model, "--epochs", 4, "--batch-size", 2, "--seeds", 2, "--lr", 1e-2]
    call("finetune", *flags, "--out", tmp_path / "whole")
    out = tmp_path / "killed"
    process = start("minibert.finetune", *flags, "--out", out)
    while not (out / "trials" / "seed-1" / "checkpoints").exists():
        assert process.poll() is None, "the runs were over before they could be stopped"
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    done = (out / "trials" / "seed-0" / "metrics.json").stat().st_mtime_ns
    assert not (out / "trials.json").exists()
    call("finetune", *flags, "--out", out, "--resume")
    assert (out / "trials" / "seed-0" / "metrics.json").stat().st_mtime_ns == done
    left, right = (json.loads((folder / "trials.json").read_text()) for folder in (tmp_path / "whole", out))
    assert [run["dev"] for run in left["runs"]] == [run["dev"] for run in right["runs"]]
    assert {path.name for path in out.iterdir()} == RESULTS | {"trials", "trials.json", "trials.html"}
    call("finetune", *flags, "--out", out, "--resume")  # with nothing left to do
    assert json.loads((out / "trials.json").read_text()) == right


def test_a_search_over_folds_goes_on_from_another_place(
    small_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    train = write_table(tmp_path / "train.tsv", GOOD * 2)
    flags = ["--train", train, "--model", small_model, "--epochs", 1, "--max-length", 16, "--folds", 2]
    call("search", *flags, "--out", tmp_path / "out")
    before = json.loads((tmp_path / "out" / "trials.json").read_text())
    (tmp_path / "out").rename(tmp_path / "moved")
    monkeypatch.chdir(tmp_path)
    call("search", *flags, "--out", "moved", "--resume")
    assert json.loads((tmp_path / "moved" / "trials.json").read_text()) == before


def test_what_a_killed_search_left_half_written_is_gone_in_the_end(files, small_model: Path, tmp_path: Path):
    flags = [*files, "--model", small_model, "--epochs", 1, "--seeds", 2, "--out", tmp_path / "out"]
    call("finetune", *flags)
    (tmp_path / "out" / ".trials.json.k2_l9x0a").write_text("{")
    (tmp_path / "out" / "trials" / "seed-0" / ".model.safetensors.abcdefgh").write_text("half")
    call("finetune", *flags, "--resume")
    assert {path.name for path in (tmp_path / "out").iterdir()} == RESULTS | {"trials", "trials.json", "trials.html"}
    assert not list((tmp_path / "out").rglob(".*"))


def test_a_run_without_its_report_is_not_taken_for_finished(
    files, small_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    flags = [*files, "--model", small_model, "--epochs", 1, "--seeds", 2, "--out", tmp_path / "out"]
    monkeypatch.setattr(finetuning, "write_report", interrupted)
    with pytest.raises(CommandError, match="130"):
        call("finetune", *flags)
    monkeypatch.undo()
    call("finetune", *flags, "--resume")
    assert (tmp_path / "out" / "trials" / "seed-0" / "report.html").is_file()


def test_what_is_kept_of_the_best_run_has_its_adapter(tmp_path: Path):
    run, out = tmp_path / "trials" / "seed-1", tmp_path / "out"
    for folder in (run / "adapter", run / "checkpoints", out):
        folder.mkdir(parents=True)
    for name in ("metrics.json", "model.safetensors", "adapter/adapter_config.json"):
        (run / name).write_text(name)
    _keep(run, out)
    found = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert found == {"metrics.json", "model.safetensors", "adapter/adapter_config.json"}


@pytest.mark.parametrize("where", ["finetune", "_one_line"])  # in a run, and just after one
def test_ctrl_c_says_in_which_run_and_how_to_go_on(
    where: str, files, small_model: Path, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
):
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    flags = [str(flag) for flag in [*files, "--model", small_model, "--try", "lr=1e-3,1e-4", "--out", tmp_path / "out"]]
    monkeypatch.setattr(f"minibert.training.trials.{where}", interrupted)
    monkeypatch.setattr(sys, "argv", ["search", *flags])
    with pytest.raises(CommandError, match="130"):
        call("search", *flags)
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert "stopped in run 1 of 2, setting-1-seed-0. Go on with: python -m minibert.search" in said
    assert said.endswith("--resume")


@pytest.mark.parametrize(
    ("command", "flags", "sentence"),
    [
        ("search", [], "There is nothing to search: name values with --try"),
        ("search", ["--folds", "1"], "--folds needs at least 2"),
        ("search", ["--group-column", "x", "--try", "lr=1"], "it needs --folds"),
        ("search", ["--try", "lr=fast"], "a number above 0 is needed: found 'fast'"),
        ("search", ["--freeze", "1", "--try", "lora=2,4"], "--freeze and --lora are different ways to train"),
        ("search", ["--try", "rl=1"], "unrecognized arguments: --rl=1. Did you mean --lr?"),
        ("search", ["--try", "lr=1e-3", "--folds", "2"], "give --train, and no --dev"),
        ("search", ["--try", "lr=1e-3", "--resume", "--out", "nowhere"], "nowhere has no interrupted run to --resume"),
        ("finetune", ["--seeds", "0"], "a whole number, at least 1"),
        ("finetune", ["--seeds", "2", "--seed", "4294967295"], "go beyond the last, 4294967295"),
        ("finetune", ["--seeds", "2", "--model", "SMALL", "--label-column", "x"], "there is no column 'x'"),
        ("finetune", ["--seeds", "2", "--find-lr", "page.html"], "--find-lr tries learning rates by itself"),
        ("finetune", ["--seeds", "2", "--task", "ner", "--task", "qa"], "are for one task, not for several"),
    ],
)
def test_a_mistake_gets_one_line_and_nothing_is_written(
    command: str, flags: list[str], sentence: str, files, small_model: Path, tmp_path: Path, capsys
):
    before = {path.name for path in tmp_path.iterdir()}
    flags = [str(small_model) if flag == "SMALL" else flag for flag in flags]
    with pytest.raises(CommandError, match="2"):
        call(command, *files, "--out", tmp_path / "out", *flags)
    assert sentence in one_line(capsys.readouterr().err)
    assert {path.name for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("task", ["classification", "multilabel"])
def test_a_label_that_only_one_fold_has_is_refused(small_model: Path, tmp_path: Path, capsys, task: str):
    train = write_table(tmp_path / "train.tsv", [*GOOD, ("once", "rare")])
    with pytest.raises(CommandError, match="2"):
        call(
            "search", "--task", task, "--train", train, "--folds", 2, "--model", small_model, "--out", tmp_path / "out"
        )
    assert "all rows with the label 'rare' are in one of the 2 folds" in one_line(capsys.readouterr().err)
    assert not (tmp_path / "out").exists()


def test_a_summary_is_no_label_that_every_fold_must_have(tmp_path: Path):
    rows = [{"article": f"Good film. Bad sound {number}.", "summary": f"Sound {number}."} for number in range(4)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    arguments = build_parser().parse_args(["--task", "summarization", "--train", str(tmp_path / "rows.jsonl")])
    assert len(fold_files(arguments, 2)) == 4


def test_runs_with_other_settings_are_not_taken_up(files, small_model: Path, tmp_path: Path, capsys):
    flags = [*files, "--model", small_model, "--epochs", 1, "--seeds", 2, "--out", tmp_path / "out"]
    call("finetune", *flags)
    before = (tmp_path / "out" / "trials.json").read_text()
    with pytest.raises(CommandError, match="2"):
        call("finetune", *flags, "--lr", 1e-2, "--resume")
    assert "holds runs with other settings" in one_line(capsys.readouterr().err)
    with pytest.raises(CommandError, match="2"):
        call("finetune", *flags)
    assert "is not empty. Choose another --out, or --overwrite" in one_line(capsys.readouterr().err)
    assert (tmp_path / "out" / "trials.json").read_text() == before
    call("finetune", *flags[:-4], "--out", tmp_path / "out", "--overwrite")  # a single run takes the place of all
    assert {path.name for path in (tmp_path / "out").iterdir()} == RESULTS


@pytest.mark.parametrize(
    ("command", "flags", "sentence"),
    [
        ("finetune", ["--seeds", 2, "--model", "minibert-tinny"], "minibert-tinny"),
        ("finetune", ["--seeds", 2, "--max-length", 9999], "--max-length 9999 is more than the 32 positions"),
        ("search", ["--try", "max-length=16,9999"], "--max-length 9999 is more than the 32 positions"),
        ("search", ["--folds", 2, "--test", "missing.tsv"], "missing.tsv: no such file"),
        ("finetune", ["--gradual-unfreezing"], "Gradual unfreezing takes two epochs or more: found 1"),
        ("finetune", ["--adversarial", 1, "--lora"], "moves the word embeddings, which are frozen here"),
        ("finetune", ["--task", "regression", "--label-smoothing", 0.1], "--label-smoothing is for --task choice"),
        ("finetune", ["--task", "regression", "--balanced-sampling"], "--balanced-sampling is for --task choice"),
        ("finetune", ["--task", "regression", "--class-weights"], "--class-weights is for --task classification"),
    ],
)
def test_an_earlier_run_is_not_overwritten_by_a_command_that_fails(
    command: str, flags: list[object], sentence: str, small_model: Path, tmp_path: Path, capsys, monkeypatch
):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    numbers = [(text, str(place)) for place, (text, _) in enumerate(GOOD)]
    table = write_table(tmp_path / "train.tsv", numbers * 2)
    old = tmp_path / "old"
    old.mkdir()
    for name in ("metrics.json", "model.safetensors"):
        (old / name).write_text("weeks of work")
    data = ["--train", table] if "--folds" in flags else ["--train", table, "--dev", table]
    with pytest.raises(CommandError, match="2"):
        call(command, *data, "--model", small_model, "--epochs", 1, "--out", old, "--overwrite", *flags)
    assert sentence in one_line(capsys.readouterr().err)
    assert {path.name: path.read_text() for path in old.rglob("*")} == {
        "metrics.json": "weeks of work",
        "model.safetensors": "weeks of work",
    }


def test_a_model_that_is_to_be_tried_is_not_overwritten(files, small_model: Path, tmp_path: Path, capsys):
    shutil.copytree(small_model, tmp_path / "old")
    names = {path.name for path in (tmp_path / "old").iterdir()}
    tries = ["--try", f"model={small_model},{tmp_path / 'old'}"]
    with pytest.raises(CommandError, match="2"):
        call("search", *files, *tries, "--out", tmp_path / "old", "--overwrite")
    assert f"--overwrite would delete the model itself, {tmp_path / 'old'}" in one_line(capsys.readouterr().err)
    assert {path.name for path in (tmp_path / "old").iterdir()} == names


def test_runs_that_cannot_go_on_are_not_deleted(files, small_model: Path, tmp_path: Path, capsys, monkeypatch):
    def stop(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr("minibert.training.trials.finetune", stop)
    flags = [*files, "--model", small_model, "--epochs", 1, "--seeds", 2, "--out", tmp_path / "out"]
    error: BaseException = KeyboardInterrupt()
    with pytest.raises(CommandError, match="130"):
        call("finetune", *flags)
    error = InputError("The checkpoint is broken.")
    with pytest.raises(CommandError, match="2"):
        call("finetune", *flags, "--resume")
    assert "The checkpoint is broken." in one_line(capsys.readouterr().err)
    assert (tmp_path / "out" / "trials" / "plan.json").exists()


@pytest.mark.parametrize("full", ["settings.json", "plan.json"])
def test_a_search_that_finds_the_disk_full_at_its_beginning_leaves_nothing(
    files, small_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, full: str
):
    full_disk(monkeypatch, full)
    with pytest.raises(CommandError, match="2"):
        call("finetune", *files, "--model", small_model, "--epochs", 1, "--seeds", 2, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("folds", [None, 2])
def test_runs_on_other_data_are_not_taken_up(folds: int | None, small_model: Path, tmp_path: Path, capsys):
    train, dev, test = (write_table(tmp_path / f"{name}.tsv", GOOD * 4) for name in ("train", "dev", "test"))
    data = ["--train", train, "--test", test, *(["--folds", folds] if folds else ["--dev", dev])]
    flags = [*data, "--model", small_model, "--epochs", 1, "--out", tmp_path / "out"]
    command = "search" if folds else "finetune"
    flags += [] if folds else ["--seeds", 2]
    call(command, *flags)
    for path in [train, test] if folds else [train, dev, test]:
        whole = path.read_text()
        write_table(path, GOOD * 2)
        with pytest.raises(CommandError, match="2"):
            call(command, *flags, "--resume")
        said = one_line(capsys.readouterr().err)
        assert re.search(f"--{path.stem} of the run in .*trials held other data: --resume with the same", said)
        path.write_text(whole)
    call(command, *flags, "--resume")


def test_a_file_with_one_label_is_named_itself_not_its_folds(small_model: Path, tmp_path: Path, capsys):
    train = write_table(tmp_path / "train.tsv", [("fine", "good")] * 4)
    with pytest.raises(CommandError, match="2"):
        call("search", "--train", train, "--folds", 2, "--model", small_model, "--out", tmp_path / "out")
    assert f"{train}: all 4 rows have the label 'good'" in one_line(capsys.readouterr().err)
    assert not (tmp_path / "out").exists()
