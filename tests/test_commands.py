"""The commands as people use them: what they write, and what they say to a bad file or a wrong flag."""

from __future__ import annotations

import argparse
import errno
import importlib
import io
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import pytest
import torch
import transformers

import minibert
from minibert import BertForSequenceClassification, BertTokenizer, InputError, trace
from minibert.checkpoints import huggingface
from minibert.checkpoints.locate import shipped_models
from minibert.commandline import resume_command, run
from minibert.files import replacing
from minibert.packing import PackedBatch
from minibert.tasks.classification import ClassificationTask
from minibert.tasks.task import Columns
from minibert.training import finetuning
from minibert.training.finetuning import Run, print_summary
from minibert.training.judging import Judge
from minibert.training.run_folder import complete_folder, free_folder
from minibert.training.state import TrainerState, save_checkpoint

from .helpers import GOOD, make_model, write_table

COMMANDS = (
    "finetune", "search", "inspect", "predict", "evaluate", "similar", "weights", "data.squad", "compare",
)  # fmt: skip
RESULTS = {
    "config.json", "log.jsonl", "metrics.json", "model.safetensors", "predictions.jsonl", "report.html",
    "tokenizer.json", "tokenizer_config.json", "vocab.txt",
}  # fmt: skip


class CommandError(Exception):
    """A command ended with a status other than 0."""


def call(command: str, *argv: object) -> None:
    """Run a command in this process."""
    module = importlib.import_module(f"minibert.{command}")
    try:
        run(module.build_parser(), module.main, [str(argument) for argument in argv])
    except SystemExit as exit:
        raise CommandError(exit.code) from exit


def start(*argv: object, **options: Any) -> subprocess.Popen[str]:
    """Start a command in a process of its own."""
    threads = str(torch.get_num_threads())  # as many as here: the last digits of sums depend on it
    environment = os.environ | {"OMP_NUM_THREADS": threads, "PYTHONPATH": str(Path(__file__).parents[1])}
    command = [sys.executable, "-m", *map(str, argv)]
    return subprocess.Popen(
        command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options
    )


@pytest.fixture(scope="module")
def finished(small_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run, with a test file."""
    folder = tmp_path_factory.mktemp("finished")
    train, dev = write_table(folder / "train.tsv", GOOD * 8), write_table(folder / "dev.tsv", GOOD)
    test = write_table(folder / "test.tsv", GOOD[:3])
    flags = ["--train", train, "--dev", dev, "--test", test, "--model", small_model, "--out", folder / "out"]
    call("finetune", *flags, "--epochs", 2, "--batch-size", 4, "--lr", 1e-2)
    return folder / "out"


# ------------------------------------------------------------------------------------------------ what a run leaves


def test_a_run_leaves_every_file_it_promises(finished: Path):
    assert {path.name for path in finished.iterdir()} == RESULTS


def test_metrics_json_holds_the_promised_numbers(finished: Path):
    metrics = json.loads((finished / "metrics.json").read_text())
    promised = "accuracy f1_macro precision_macro recall_macro mcc per_class confusion_matrix train_seconds "
    promised += "train_samples_per_second eval_samples_per_second latency_ms_p50 latency_ms_p95 peak_memory_mb"
    assert set(promised.split()) <= set(metrics)
    assert metrics["test"].keys() >= {"accuracy", "f1_macro", "mcc"}
    assert sum(map(sum, metrics["confusion_matrix"])) == 4
    assert set(metrics["per_class"]) == {"bad", "good"}
    assert metrics["train_seconds"] > 0


def test_predictions_have_a_line_for_each_dev_and_test_example_in_order(finished: Path):
    lines = [json.loads(line) for line in (finished / "predictions.jsonl").read_text().splitlines()]
    assert [line["split"] for line in lines] == ["dev"] * 4 + ["test"] * 3
    assert [(line["text"], line["label"]) for line in lines[:4]] == GOOD
    metrics = json.loads((finished / "metrics.json").read_text())
    right = [line["label"] == line["predicted"] for line in lines[:4]]
    assert sum(right) / 4 == metrics["accuracy"]
    for line in lines:
        assert max(line["probabilities"].values()) == line["probability"] == line["probabilities"][line["predicted"]]
        assert sum(line["probabilities"].values()) == pytest.approx(1, abs=1e-5)


def test_the_log_has_a_line_for_each_step(finished: Path):
    lines = [json.loads(line) for line in (finished / "log.jsonl").read_text().splitlines()]
    steps = [line for line in lines if "loss" in line]
    assert [line["step"] for line in steps] == list(range(1, 17))  # 32 examples, 4 a step, twice
    assert all({"step", "loss", "lr", "tokens_per_second"} <= line.keys() for line in steps)


def test_the_report_is_one_page_that_needs_no_network(finished: Path):
    page = (finished / "report.html").read_text()
    assert all(part in page for part in ("train.tsv", "Confusion matrix", "<svg"))
    assert not re.search(r"<(script|link|iframe|img)\b|@import|url\(['\"]?http| src=", page)


def test_the_report_shows_the_trace_of_the_first_dev_example(finished: Path):
    page = (finished / "report.html").read_text()
    model, tokenizer = BertForSequenceClassification.from_pretrained(finished), BertTokenizer.from_pretrained(finished)
    first = json.loads((finished / "predictions.jsonl").read_text().splitlines()[0])
    with torch.no_grad():
        steps = trace(model, input_ids=PackedBatch.from_sequences([tokenizer(first["text"])["input_ids"]]))
    hidden, logits = steps["bert.blocks.0.hidden"], steps.output.logits
    for name, tensor in (("bert.blocks.0.hidden", hidden), ("logits", logits)):
        figures = "".join(f"<td class=number>{x:.4g}</td>" for x in (tensor.min(), tensor.mean(), tensor.max()))
        shape = " × ".join(map(str, tensor.shape))
        assert re.search(rf"<td class=text>[^<]*{re.escape(name)}</td><td class=text>{shape}</td>{figures}", page)


def test_the_saved_folder_opens_in_transformers_with_the_same_logits(finished: Path):
    theirs = transformers.AutoModelForSequenceClassification.from_pretrained(finished).eval()
    their_tokenizer = transformers.AutoTokenizer.from_pretrained(finished)
    assert theirs.config.id2label == {0: "bad", 1: "good"}
    ours, our_tokenizer = (
        BertForSequenceClassification.from_pretrained(finished),
        BertTokenizer.from_pretrained(finished),
    )
    texts = ["good sound", "a bad a bad film", "fun"]
    their_batch, our_batch = (t(texts, padding=True, return_tensors="pt") for t in (their_tokenizer, our_tokenizer))
    assert torch.equal(their_batch["input_ids"], our_batch["input_ids"])
    with torch.no_grad():
        torch.testing.assert_close(ours(**our_batch).logits, theirs(**their_batch).logits, rtol=0, atol=1e-6)


def test_the_same_seed_gives_the_same_model(small_model: Path, files: list[object], tmp_path: Path):
    for name in ("one", "two"):
        call("finetune", *files, "--model", small_model, "--out", tmp_path / name, "--epochs", 1, "--seed", 5)
    one, two = (huggingface.HuggingFaceWeights(tmp_path / name) for name in ("one", "two"))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_pairs_and_columns_of_other_names_and_csv(small_model: Path, tmp_path: Path):
    header = "first,second,verdict\n"
    (tmp_path / "train.csv").write_text(header + "a good film,good,1\na bad film,good,0\n" * 4)
    (tmp_path / "dev.jsonl").write_text('{"first": "a film", "second": "a, film", "verdict": 1}\n')
    names = ["--text-column", "first", "--text-b-column", "second", "--label-column", "verdict"]
    flags = ["--train", tmp_path / "train.csv", "--dev", tmp_path / "dev.jsonl", *names, "--model", small_model]
    call("finetune", *flags, "--out", tmp_path / "out", "--epochs", 1)
    line = json.loads((tmp_path / "out" / "predictions.jsonl").read_text())
    assert (line["text"], line["text_b"], line["label"]) == ("a film", "a, film", "1")


# ------------------------------------------------------------------------------------------------ predict, evaluate


def test_predict_answers_texts_of_ones_own(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    call("predict", "--model", finished, "good fun", "bad sound")
    direct = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["text"] for line in direct] == ["good fun", "bad sound"]
    (tmp_path / "texts.txt").write_text("good fun\nbad sound\n")
    call("predict", "--model", finished, "--input", tmp_path / "texts.txt")
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == direct
    write_table(tmp_path / "texts.tsv", [("good fun", "superb"), ("bad sound", "poor")])  # labels that nobody knows
    call("predict", "--model", finished, "--input", tmp_path / "texts.tsv")
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == direct


def test_predict_answers_what_is_piped_into_it(
    finished: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    call("predict", "--model", finished, "good fun", "bäd sound")
    direct = capsys.readouterr().out
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("good fun\n\nbäd sound".encode()), "ascii"))
    call("predict", "--model", finished, "--input", "-")
    assert capsys.readouterr().out == direct
    with pytest.raises(CommandError, match="2"):
        call("predict", "--model", finished, "--input", "-")
    assert one_line(capsys.readouterr().err).endswith("The standard input has no text.")


def test_predict_does_not_mind_labels(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    call("predict", "--model", finished, "good fun", "bad sound")
    wanted = capsys.readouterr().out
    for labels in (("", ""), ("so-so", "never seen"), ("good", "")):
        table = write_table(tmp_path / "texts.tsv", list(zip(("good fun", "bad sound"), labels, strict=True)))
        call("predict", "--model", finished, "--input", table)
        assert capsys.readouterr().out == wanted


def test_a_model_with_broken_weights_gives_no_answers(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    broken = shutil.copytree(finished, tmp_path / "broken")
    model = BertForSequenceClassification.from_pretrained(finished)
    torch.nn.init.constant_(model.classifier.weight, float("nan"))
    model.save_pretrained(broken)
    table = write_table(tmp_path / "texts.tsv", [("good fun", "good"), ("bad sound", "bad")])
    for command, *flags in (("predict", "fun"), ("evaluate", "--data", table)):
        with pytest.raises(CommandError, match="2"):
            call(str(command), "--model", broken, *flags)
        assert "answers with what is no number (NaN)" in one_line(capsys.readouterr().err)


def test_a_test_file_whose_labels_are_all_empty_is_not_judged(tmp_path: Path):
    """As competitions hand it out. One that lacks some of them is refused."""
    task = ClassificationTask(Columns(), ["bad", "good"])
    assert not task.read(write_table(tmp_path / "x.tsv", [("a film", ""), ("fun", "")]), truths="if told").have_truth
    for blank in ("", " "):
        some = write_table(tmp_path / "y.tsv", [("a film", "good"), ("fun", blank)])
        with pytest.raises(InputError, match=f"line 3: 'label' must be a label, which .* number: found '{blank}'"):
            task.read(some, truths="if told")


def test_lines_of_json_are_utf_8_whatever_the_terminal_speaks(finished: Path, monkeypatch: pytest.MonkeyPatch):
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii"))
    texts = ["ein süßer Film 🎬", "caf\udce9"]  # the second is how Python reads a byte that is no UTF-8
    call("predict", "--model", finished, *texts)
    assert [json.loads(line)["text"] for line in written.getvalue().decode().splitlines()] == texts


def test_texts_are_cut_to_what_the_model_knows_if_its_tokenizer_has_no_limit(finished: Path, tmp_path: Path):
    folder = tmp_path / "model"
    shutil.copytree(finished, folder)
    settings = json.loads((folder / "tokenizer_config.json").read_text()) | {"model_max_length": 10**30}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    judge = Judge(folder, batch_size=2)
    long, cut = judge.predict(judge.task.from_texts(["good " * 40, "good " * 30]))
    assert long["probabilities"] == pytest.approx(cut["probabilities"], abs=1e-6)


def test_predict_agrees_with_the_run_that_made_the_model(finished: Path, capsys: pytest.CaptureFixture[str]):
    written = [json.loads(line) for line in (finished / "predictions.jsonl").read_text().splitlines()][:4]
    call("predict", "--model", finished, *(line["text"] for line in written))
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    for answer, line in zip(answers, written, strict=True):
        assert answer["label"] == line["predicted"]
        assert answer["probabilities"] == pytest.approx(line["probabilities"], abs=1e-5)


def test_predict_tells_its_answers_piece_by_piece(
    finished: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    told = []
    answer = Judge.answer

    def noted(*given: Any) -> Any:
        told.append(capsys.readouterr().out)
        return answer(*given)

    monkeypatch.setattr("minibert.predict.PIECE", 2)
    monkeypatch.setattr(Judge, "answer", noted)
    texts = ["one", "two", "three", "four", "five"]
    call("predict", "--model", finished, *texts)
    told.append(capsys.readouterr().out)
    lines = [[json.loads(line)["text"] for line in part.splitlines()] for part in told]
    assert lines == [[], ["one", "two"], ["three", "four"], ["five"]]


def test_evaluate_agrees_with_the_run_and_slices(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    rows = [(text, label, "long" if len(text.split()) > 2 else "short") for text, label in GOOD]
    data = write_table(tmp_path / "data.tsv", rows, ("text", "label", "size"))
    call("evaluate", "--model", finished, "--data", data, "--slice", "size")
    metrics = json.loads(capsys.readouterr().out)
    run_metrics = json.loads((finished / "metrics.json").read_text())
    assert all(metrics[name] == run_metrics[name] for name in ("accuracy", "f1_macro", "mcc", "confusion_matrix"))
    slices = metrics["slices"]
    assert {name: part["examples"] for name, part in slices.items()} == {"long": 2, "short": 2}
    assert sum(part["accuracy"] for part in slices.values()) / 2 == pytest.approx(metrics["accuracy"])


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (["predict", "--model", "MODEL"], "Give either texts or --input FILE"),
        (["predict", "--model", "MODEL", "--input", "nowhere.txt"], "nowhere.txt"),
        (["predict", "--model", "SMALL/vocab.txt", "hello"], "vocab.txt"),
        (["predict", "--model", "nowhere/at-all", "hello"], "nowhere/at-all"),
        (["evaluate", "--model", "MODEL", "--data", "OTHER"], "line 2: label 'so-so' is unknown. The model knows bad"),
        (["evaluate", "--model", "MODEL", "--data", "DEV", "--slice", "size"], "Name the right one with --slice"),
        (["weights", "verify", "nowhere"], "nowhere"),
        (["weights", "convert", "SMALL", "MODEL"], "is there already: choose a new folder"),
    ],
)
def test_other_commands_end_with_one_line_about_a_mistake(
    argv: list[str],
    sentence: str,
    finished: Path,
    small_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    other = write_table(tmp_path / "other.tsv", [("a film", "so-so")])
    places = {"MODEL": finished, "SMALL": small_model, "SMALL/vocab.txt": small_model / "vocab.txt"}
    places |= {"OTHER": other, "DEV": finished.parent / "dev.tsv"}
    with pytest.raises(CommandError, match="2"):
        call(argv[0], *(places.get(argument, argument) for argument in argv[1:]))
    captured = capsys.readouterr()
    assert sentence in one_line(captured.err)
    assert captured.out == ""


# ------------------------------------------------------------------------------------------------ bad files and flags


def one_line(err: str) -> str:
    """The error, which must be the only line that is one, and the last."""
    lines = err.strip().splitlines()
    assert [line for line in lines if "error: " in line] == lines[-1:]
    assert "Traceback" not in err
    return lines[-1]


@pytest.mark.parametrize(
    ("bad", "sentence"),
    [
        ({"train": "text\ttag\na film\tgood\n"}, "train.tsv, line 2: there is no column 'label', but text, tag"),
        ({"train": ""}, "train.tsv is empty"),
        ({"train": "text\tlabel\n"}, "train.tsv has no rows below its header"),
        ({"train": "text\tlabel\na good film\tgood\na film\n"}, "train.tsv, line 3:"),
        ({"dev": "text\tlabel\na film\tso-so\n"}, "dev.tsv, line 2: label 'so-so' is unknown"),
        ({"train": "text\tlabel\na film\tgood\nfun\tgood\n"}, "all 2 rows have the label 'good'"),
        ({"dev": b"text\tlabel\na caf\xe9\tgood\n"}, "dev.tsv"),
        ({"train": None}, "train.tsv"),
    ],
)
def test_a_bad_file_gets_one_line_and_nothing_is_written(
    bad: dict[str, Any],
    sentence: str,
    files: list[object],
    small_model: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
):
    for name, content in bad.items():
        path = tmp_path / f"{name}.tsv"
        if content is None:
            path.unlink()
            path.mkdir()  # a directory of that name
        else:
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(CommandError, match="2"):
        call("finetune", *files, "--model", small_model, "--out", tmp_path / "out")
    assert sentence in one_line(capsys.readouterr().err)
    assert {path.name for path in tmp_path.iterdir()} == {"train.tsv", "dev.tsv"}


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="the administrator may read and write everything")
def test_no_permission_gets_one_line(files: list[object], small_model: Path, tmp_path: Path, capsys: Any):
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    with pytest.raises(CommandError, match="2"):
        call("finetune", *files, "--model", small_model, "--out", locked / "out")
    assert "Permission denied" in one_line(capsys.readouterr().err)
    (tmp_path / "train.tsv").chmod(0)
    with pytest.raises(CommandError, match="2"):
        call("finetune", *files, "--model", small_model, "--out", tmp_path / "out")
    assert "train.tsv: Permission denied" in one_line(capsys.readouterr().err)


def test_a_refusal_by_the_system_gets_one_line(
    files: list[object], small_model: Path, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
):
    """The same for whoever runs the tests as administrator."""

    def refuse(path: Path, *_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(CommandError, match="2"):
        call("finetune", *files, "--model", small_model, "--out", tmp_path / "out")
    assert "out: Permission denied" in one_line(capsys.readouterr().err)


@pytest.mark.skipif(sys.platform == "win32", reason="needs the limits of a POSIX system")
@pytest.mark.parametrize(
    ("limit", "sentence"),  # bytes a file: too few for the weights; for the optimizer's state
    [(2_000, "model.safetensors cannot be written"), (40_000, "training_state.pt: File too large")],
)
def test_a_full_disk_gets_one_line_and_nothing_is_left(
    limit: int,
    sentence: str,
    files: list[object],
    small_model: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
):
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))  # a write that is too much fails as on a full disk
    try:
        with pytest.raises(CommandError, match="2"):
            call("finetune", *files, "--model", small_model, "--out", tmp_path / "out", "--epochs", 1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert sentence in one_line(capsys.readouterr().err)
    assert not (tmp_path / "out").exists()


def test_a_folder_in_use_is_refused_and_an_earlier_run_overwritten_only_when_asked(
    files: list[object], small_model: Path, tmp_path: Path, capsys: Any
):
    out = tmp_path / "out"
    flags = [*files, "--model", small_model, "--out", out, "--epochs", 1]
    call("finetune", *flags)
    before = (out / "metrics.json").read_text()
    with pytest.raises(CommandError, match="2"):
        call("finetune", *flags)
    assert "is not empty. Choose another --out, or --overwrite" in one_line(capsys.readouterr().err)
    assert (out / "metrics.json").read_text() == before
    call("finetune", *flags, "--overwrite")
    assert (out / "metrics.json").read_text() != before  # it took another time
    (out / "thesis.txt").write_text("years of work")
    capsys.readouterr()
    with pytest.raises(CommandError, match="2"):
        call("finetune", *flags, "--overwrite")
    assert "holds more than an earlier run (thesis.txt): it is not overwritten" in one_line(capsys.readouterr().err)
    assert {path.name for path in out.iterdir()} == RESULTS | {"thesis.txt"}


def test_what_a_killed_run_left_half_written_is_overwritten(files: list[object], small_model: Path, tmp_path: Path):
    out = tmp_path / "out"
    (out / ".checkpoints.done" / "checkpoint-4").mkdir(parents=True)
    (out / ".model.safetensors.k2_l9x0a").write_text("half")
    (out / ".tmp6HUyzp").write_text("half")  # as safetensors calls it
    call("finetune", *files, "--model", small_model, "--out", out, "--epochs", 1, "--overwrite")
    assert {path.name for path in out.iterdir()} == RESULTS


def test_a_run_that_is_killed_while_it_deletes_its_checkpoints_is_complete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def killed(folder: Path, **_: Any) -> None:
        (folder / "checkpoint-4" / "training_state.pt").unlink()
        raise SystemExit("killed")

    def train(trainer: Any) -> None:
        with complete_folder(out, trainer, argparse.Namespace(resume=False, overwrite=False)):
            (out / "checkpoints" / "checkpoint-4").mkdir()
            (out / "checkpoints" / "checkpoint-4" / "training_state.pt").touch()

    monkeypatch.setattr(shutil, "rmtree", killed)
    out = tmp_path / "out"
    with pytest.raises(SystemExit, match="killed"):
        train(SimpleNamespace(state=TrainerState()))
    with pytest.raises(InputError, match="has no interrupted run to --resume"):
        free_folder(argparse.Namespace(out=out, resume=True, overwrite=False))


def test_a_model_is_not_overwritten_by_what_is_learnt_from_it(files: list[object], finished: Path, capsys: Any):
    with pytest.raises(CommandError, match="2"):
        call("finetune", *files, "--model", finished, "--out", finished, "--overwrite")
    assert "--overwrite would delete the model itself" in one_line(capsys.readouterr().err)
    answers = ["--train", finished / "predictions.jsonl", "--dev", finished / "predictions.jsonl"]
    with pytest.raises(CommandError, match="2"):
        call("finetune", *answers, "--out", finished, "--overwrite")
    assert "--overwrite would delete the data itself" in one_line(capsys.readouterr().err)
    assert {path.name for path in finished.iterdir()} == RESULTS


def test_a_model_is_not_overwritten_that_is_read_by_another_name(
    files: list[object], finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
):
    adapter = tmp_path / "adapter"
    call("finetune", *files, "--model", finished, "--prefix", 2, "--epochs", 1, "--out", adapter)
    monkeypatch.setenv("HOME", str(finished.parent))
    monkeypatch.setenv("USERPROFILE", str(finished.parent))
    for model, what in ((adapter, "base of the model"), (Path("~", finished.name), "model")):
        capsys.readouterr()
        with pytest.raises(CommandError, match="2"):
            call("finetune", *files, "--model", model, "--out", finished, "--overwrite")
        assert f"--overwrite would delete the {what} itself, {finished}" in one_line(capsys.readouterr().err)
    assert {path.name for path in finished.iterdir()} == RESULTS


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--epoch", "3"], "unrecognized arguments: --epoch 3. Did you mean --epochs?"),
        (["--batch-size", "0"], "a whole number, at least 1, is needed: found '0'"),
        (["--seed", "-1"], "a whole number from 0 to 4294967295 is needed: found '-1'"),
        (["--max-length", "513"], "--max-length 513 is more than the 512 positions that minibert-tiny-uncased knows"),
        (["--lr", "fast"], "a number above 0 is needed: found 'fast'"),
        (["--task", "singing"], "invalid choice: 'singing'"),
        (["--dev", "dev.tsv"], "--train and --dev are needed both"),
        (["--out", "out", "--resume"], "out has no interrupted run to --resume"),
        (["--out", "out", "--resume", "--overwrite"], "choose one"),
        (["--train", "caf\udce9.tsv"], "The name 'caf\\udce9.tsv' is not UTF-8"),
        (["--resume"], "--resume needs the --out of the run that is to go on"),
        (["--model", "brt-base-uncased"], "bert-base-uncased"),
    ],
)
def test_a_wrong_flag_gets_one_line(
    flags: list[str], sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(CommandError, match="2"):
        call("finetune", *flags)
    assert sentence in one_line(capsys.readouterr().err)
    assert not list(tmp_path.iterdir())


# ------------------------------------------------------------------------------------------------ Ctrl-C


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for one process")
def test_ctrl_c_saves_and_says_how_to_go_on_to_the_same_end(
    files: list[object], small_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    flags = [*files, "--model", small_model, "--epochs", 10, "--batch-size", 2, "--lr", 1e-3]
    call("finetune", *flags, "--out", tmp_path / "whole")
    out = tmp_path / "stopped"
    stopped = start("minibert.finetune", *flags, "--out", out)
    while not (out / "checkpoints" / "checkpoint-32").exists():  # at the end of the second epoch of 10
        assert stopped.poll() is None, "the run was over before it could be stopped"
        time.sleep(0.01)
    stopped.send_signal(signal.SIGINT)
    _, err = stopped.communicate(timeout=120)
    assert stopped.returncode == 130
    said = err.strip().splitlines()[-1]
    assert "stopped and saved after step" in said
    assert "Traceback" not in err
    assert not (out / "model.safetensors").exists()
    command, *given = said.partition("Go on with: python -m minibert.")[2].split()
    assert given[-1] == "--resume"
    train = Path(str(files[files.index("--train") + 1]))
    header, *rows = train.read_text().splitlines()
    other = tmp_path / train.with_stem("other").name
    other.write_text("\n".join([header, *reversed(rows)]) + "\n")
    for flag, value in (("--lr", 0.5), ("--seed", 7), ("--train", other)):
        with pytest.raises(CommandError, match="2"):
            call(command, *_but(given, flag), flag, value)
        assert f"{flag} of the run in" in one_line(capsys.readouterr().err)
    call(command, *given)
    assert {path.name for path in out.iterdir()} == RESULTS
    left, right = (huggingface.HuggingFaceWeights(folder) for folder in (tmp_path / "whole", out))
    assert all(torch.equal(left[name], right[name]) for name in left)
    left_log, right_log = (
        [(entry["step"], entry.get("loss")) for entry in map(json.loads, (folder / "log.jsonl").open())]
        for folder in (tmp_path / "whole", out)
    )
    assert left_log == right_log


def _but(words: list[str], flag: str) -> list[str]:
    """Without this flag and its value."""
    place = words.index(flag) if flag in words else len(words)
    return words[:place] + words[place + 2 :]


def test_a_run_that_was_interrupted_before_anything_was_saved_does_not_say_that_it_was(tmp_path: Path):
    trainer: Any = SimpleNamespace(state=TrainerState(global_step=3, max_steps=9))

    def interrupt(out: Path, saved: str) -> None:
        with complete_folder(out, trainer, argparse.Namespace(resume=False, overwrite=False)):
            (out / saved).mkdir(exist_ok=True)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt, match=r"before anything was saved"):
        interrupt(tmp_path / "one", "checkpoints")
    assert not (tmp_path / "one").exists()
    with pytest.raises(KeyboardInterrupt, match=r"step 3 of 9; step 2 is saved\. Go on with: .* --resume"):
        interrupt(tmp_path / "two", "checkpoints/checkpoint-2")
    assert (tmp_path / "two" / "checkpoints" / "checkpoint-2").exists()


@pytest.mark.parametrize(
    ("given", "processes", "command"),
    [
        (
            ["--train", "my file.tsv", "--overwrite"],
            None,
            "python -m minibert.X --train 'my file.tsv' --out o --resume",
        ),
        (["--out=o", "--resume"], None, "python -m minibert.X --out=o --resume"),
        (["--out", "o"], "2", "torchrun --nproc-per-node 2 -m minibert.X --out o --resume"),
    ],
)
def test_the_command_that_goes_on_is_the_one_that_was_given(given, processes, command: str, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["X.py", *given])
    if processes is not None:
        monkeypatch.setenv("LOCAL_WORLD_SIZE", processes)  # as torchrun does
    assert resume_command("X", Path("o")) == command


@pytest.mark.parametrize("flags", [[], ["--seeds", 2]])
def test_of_two_runs_that_begin_at_once_the_second_leaves_the_first_alone(
    flags: list[object], files: list[object], small_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
):
    def prepare(*arguments: Any) -> Run:
        run = honest(*arguments)
        (tmp_path / "out" / "checkpoints").mkdir(parents=True, exist_ok=True)  # of the other run
        return run

    honest = finetuning.prepare
    for module in ("finetuning", "trials"):
        monkeypatch.setattr(f"minibert.training.{module}.prepare", prepare)
    with pytest.raises(CommandError, match="2"):
        call("finetune", *files, "--model", small_model, *flags, "--out", tmp_path / "out")
    assert "another run has begun there" in one_line(capsys.readouterr().err)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["checkpoints"]


def test_several_processes_do_not_write_to_one_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    monkeypatch.setenv("WORLD_SIZE", "2")  # as torchrun does
    with pytest.raises(CommandError):
        call("finetune", "--out", tmp_path / "out")
    assert "start it without torchrun" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


# ------------------------------------------------------------------------------------------------ --help


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_an_example_and_does_not_wait_for_torch(command: str):
    code = f"import runpy, sys; sys.argv = ['{command}', '--help']\n"
    code += f"try: runpy.run_module('minibert.{command}', run_name='__main__')\n"
    code += "except SystemExit as end: print(end.code, 'torch' in sys.modules)"
    process = subprocess.run(
        [sys.executable, "-c", code], text=True, capture_output=True, check=True, cwd=Path(__file__).parents[1]
    )
    *lines, last = process.stdout.splitlines()
    assert last == "0 False"
    assert "example (a minute on a CPU):" in lines
    assert any(line.startswith(f"  python -m minibert.{command}") for line in lines)
    assert "(default: [" not in process.stdout  # as Python writes a list


def test_the_package_itself_lists_every_command_and_does_not_wait_for_torch():
    files = Path(minibert.__file__).parent.glob("*.py")
    commands = {path.stem for path in files if "\n    run(build_parser(), main)" in path.read_text("utf-8")}
    code = "import runpy, sys; sys.argv = ['minibert']; runpy.run_module('minibert', run_name='__main__')\n"
    code += "print('torch' in sys.modules)"
    process = subprocess.run([sys.executable, "-c", code], text=True, capture_output=True, check=True)
    *lines, last = process.stdout.splitlines()
    assert last == "False"
    told = [line.split() for line in lines if line.startswith("  python -m minibert.")]
    assert {words[2].removeprefix("minibert.") for words in told} == commands
    assert min(map(len, told)) > 6  # each with a purpose

    process = subprocess.run([sys.executable, "-m", "minibert", "predict", "x"], text=True, capture_output=True)
    assert process.returncode == 2
    assert "python -m minibert.predict" in process.stderr
    assert process.stderr.count("\n") == 1


def test_the_help_of_a_part_of_a_command_tells_each_default_once():
    for command in ("bench", "pretrain", "weights"):
        parser = importlib.import_module(f"minibert.{command}").build_parser()
        parts = next(action.choices for action in parser._actions if isinstance(action, argparse._SubParsersAction))
        for part in parts.values():
            defaults = [action.default for action in part._actions if action.default != argparse.SUPPRESS]
            told = sum(default is not None and default is not False for default in defaults)
            assert part.format_help().count("(default: ") == told
            assert "(default: [" not in part.format_help()


def test_no_name_of_the_package_waits_for_the_slow_parts_of_torch():
    code = "import sys, minibert\nfor name in minibert.__all__: getattr(minibert, name)\n"
    code += "print([name for name in ('sympy', 'torch._dynamo', 'torch.distributed.tensor') if name in sys.modules])"
    process = subprocess.run([sys.executable, "-c", code], text=True, capture_output=True, check=True)
    assert process.stdout.strip() == "[]"


def test_loading_a_model_does_not_wait_for_the_compiler_of_torch():
    code = "import sys, minibert; minibert.BertForSequenceClassification.from_pretrained('minibert-tiny-uncased')\n"
    code += "print('torch._dynamo' in sys.modules)"
    process = subprocess.run([sys.executable, "-c", code], text=True, capture_output=True, check=True)
    assert process.stdout.strip() == "False"


def test_weights_list_names_googles_models(capsys: pytest.CaptureFixture[str]):
    call("weights", "list")
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("bert-base-uncased ") and "109.5 M" in line for line in lines)
    assert len(lines) > 30


def test_weights_download_of_a_model_that_ships_is_its_folder(capsys: pytest.CaptureFixture[str]):
    call("weights", "download", "minibert-tiny-uncased")
    assert (Path(capsys.readouterr().out.strip()) / "config.json").is_file()


def test_weights_convert_and_verify(small_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    call("weights", "convert", small_model, tmp_path / "google", "--to", "google")
    assert (tmp_path / "google" / "bert_model.ckpt.index").is_file()
    call("weights", "verify", tmp_path / "google")
    said = capsys.readouterr().out
    assert re.search(r"top +classifier", said)
    assert "not known: no published checksum" in said


@pytest.mark.parametrize("dialect", ["google", "huggingface"])
def test_a_conversion_that_finds_the_disk_full_leaves_nothing_half_written(
    dialect: str, small_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    command: list[Any] = ["weights", "convert", small_model, tmp_path / "new", "--to", dialect]
    with monkeypatch.context() as full:
        late = {"google": "tensorflow.write_checkpoint", "huggingface": "write_config"}[dialect]  # not the first file
        full.setattr(f"minibert.checkpoints.convert.{late}", refuse)
        with pytest.raises(CommandError, match="2"):
            call(*command)
    assert not (tmp_path / "new").exists()
    call(*command)  # when there is room again


def test_too_little_memory_is_one_line(files: list[object], tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(CommandError, match="2"):
        call("finetune", *files, "--adapters", "houlsby", "--adapter-size", 10**12, "--out", tmp_path / "out")
    sentence = "not enough memory: a smaller model, --batch-size or --max-length needs less. "
    assert sentence in one_line(capsys.readouterr().err)
    assert not (tmp_path / "out").exists()


def test_a_full_disk_names_the_file_that_was_written(tmp_path: Path):
    with pytest.raises(OSError, match="No space left") as caught, replacing(tmp_path / "answers.jsonl"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert caught.value.filename == str(tmp_path / "answers.jsonl")
    assert not list(tmp_path.iterdir())


def test_a_full_disk_names_the_checkpoints_file_that_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def save(*_: Any) -> None:
        try:
            raise OSError(errno.ENOSPC, "No space left on device")
        finally:
            raise RuntimeError("unexpected pos 704 vs 598")  # as torch does while it closes the file

    monkeypatch.setattr(torch, "save", save)
    folder = tmp_path / "checkpoint-1"
    model = make_model("BertForSequenceClassification")
    with pytest.raises(OSError, match="No space left") as caught:
        save_checkpoint(folder, model, {}, TrainerState(), None)
    assert Path(caught.value.filename).name == "training_state.pt"
    assert not list(tmp_path.iterdir())


def test_a_file_that_cannot_be_written_is_named_and_not_a_temporary_one(tmp_path: Path):
    with pytest.raises(FileNotFoundError) as caught, replacing(tmp_path / "nowhere" / "answers.jsonl"):
        pass
    assert caught.value.filename == str(tmp_path / "nowhere" / "answers.jsonl")


def test_a_run_ends_well_though_nobody_hears_it(files: list[object], small_model: Path, tmp_path: Path):
    """As with `2>&1 | tee log`, where Ctrl-C ends `tee` at once."""
    process = start("minibert.finetune", *files, "--model", small_model, "--epochs", 1, "--out", tmp_path / "out")
    for stream in (process.stdout, process.stderr):
        assert stream is not None
        stream.close()
    assert process.wait() == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == RESULTS


@pytest.mark.parametrize("command", [["weights", "list"], ["finetune"]])
def test_closed_streams_are_no_fault(
    command: list[object], files: list[object], small_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    if command == ["finetune"]:
        command = [*command, *files, "--model", small_model, "--epochs", 1, "--out", tmp_path / "out"]
    call(*map(str, command))


# ------------------------------------------------------------------------------------------------ the shipped sample


@pytest.mark.slow
def test_without_arguments_it_learns_from_the_sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    call("finetune")
    metrics = json.loads((tmp_path / "runs" / "finetune-1" / "metrics.json").read_text())
    assert metrics["accuracy"] > 0.6


def test_a_small_model_is_trained_alike_however_it_is_named(tmp_path: Path):
    """It learns next to nothing at the rate that suits a large one."""
    train, dev = write_table(tmp_path / "train.tsv", GOOD), write_table(tmp_path / "dev.tsv", GOOD)
    tiny = "minibert-tiny-uncased"
    shutil.copytree(shipped_models()[tiny], tmp_path / "own")
    logs = []
    for name, flags in (("default", []), ("named", ["--model", tiny]), ("copied", ["--model", tmp_path / "own"])):
        call("finetune", "--train", train, "--dev", dev, *flags, "--out", tmp_path / name)
        lines = [json.loads(line) for line in (tmp_path / name / "log.jsonl").read_text().splitlines()]
        logs.append([(line["step"], line["loss"], line["lr"]) for line in lines if "lr" in line])
    assert logs[0] == logs[1] == logs[2]
    assert logs[0][-1][0] == 5


def test_the_command_to_try_can_be_copied_whatever_the_folder_is_called(capsys: pytest.CaptureFixture[str]):
    metrics = {"accuracy": 1.0, "f1_macro": 1.0, "mcc": 1.0}
    print_summary(Path("my models/o'ut"), ClassificationTask(Columns()), metrics)
    command = capsys.readouterr().out.partition("Try: ")[2]
    assert shlex.split(command)[3:] == ["--model", str(Path("my models/o'ut")), "your own text"]
