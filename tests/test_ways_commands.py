"""The flags of `finetune` that say what is trained, and `compare`, as people use them."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import transformers

from minibert import BertConfig, BertForSequenceClassification, BertTokenizer
from minibert.benchmarks.transfer import KEPT, table
from minibert.checkpoints.huggingface import HuggingFaceWeights
from minibert.training import trainer
from minibert.transfer import load_adapter

from .helpers import GOOD, write_table
from .test_commands import CommandError, call

QUICK = ("--epochs", 2, "--batch-size", 8, "--lr", 1e-2)


def finetune(files: list[object], model: Path, out: Path, *flags: object) -> dict[str, Any]:
    call("finetune", *files, "--model", model, "--out", out, *QUICK, *flags)
    metrics: dict[str, Any] = json.loads((out / "metrics.json").read_text())
    return metrics


def changed(before: Path, after: Path) -> set[str]:
    """The tensors that differ between two folders, in Hugging Face's names."""
    one, two = HuggingFaceWeights(before), HuggingFaceWeights(after)
    return {name for name in one if not torch.equal(one[name], two[name])}


@pytest.mark.parametrize(
    ("flags", "frozen"),
    [
        (("--freeze", "embeddings"), ("bert.embeddings",)),
        (("--freeze", 1), ("bert.embeddings", "bert.encoder.layer.0.")),
        (("--freeze", "encoder"), ("bert.embeddings", "bert.encoder")),
        (("--freeze", "encoder", "--reinit-top", 0), ("bert.embeddings", "bert.encoder")),
        (("--layer-decay", 0.5, "--reinit-top", 1), ()),
    ],
)
def test_frozen_parts_come_out_as_they_went_in(
    flags: Any, frozen: Any, small_model: Path, files: list[object], tmp_path: Path
):
    metrics = finetune(files, small_model, tmp_path / "out", *flags)
    names = set(HuggingFaceWeights(small_model))
    unread = {"bert.embeddings.word_embeddings.weight", "bert.embeddings.position_embeddings.weight"}
    kept = names - changed(small_model, tmp_path / "out")
    expected = {name for name in names if frozen and name.startswith(frozen)}
    assert expected <= kept <= expected | unread | {name for name in names if "token_type" in name}
    assert (metrics["trained_parameters"] == metrics["parameters"]) == (not frozen)
    transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "out")


@pytest.mark.parametrize("flags", [("--lora",), ("--lora", 2, "--lora-targets", "key,output"), ("--bitfit",)], ids=str)
def test_what_can_be_merged_opens_in_transformers_and_the_adapter_on_the_base(
    flags: Any, small_model: Path, files: list[object], tmp_path: Path
):
    metrics = finetune(files, small_model, tmp_path / "out", *flags)
    merged = BertForSequenceClassification.from_pretrained(tmp_path / "out")
    theirs = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "out").eval()
    onto = BertForSequenceClassification.from_pretrained(small_model)
    load_adapter(onto, tmp_path / "out" / "adapter")
    batch = BertTokenizer.from_pretrained(tmp_path / "out")(["good sound", "bad"], padding=True, return_tensors="pt")
    with torch.no_grad():
        for other in (theirs, onto):
            torch.testing.assert_close(other(**batch).logits, merged(**batch).logits, rtol=0, atol=1e-5)
    assert metrics["adapter_bytes"] == (tmp_path / "out" / "adapter" / "adapter_model.safetensors").stat().st_size
    assert metrics["trained_parameters"] < metrics["parameters"] / 2
    assert changed(small_model, tmp_path / "out") >= {"classifier.weight"}


@pytest.mark.parametrize(
    "flags", [("--adapters", "houlsby", "--adapter-size", 2), ("--prefix", 3), ("--mix", "learned")], ids=str
)
def test_what_cannot_be_merged_is_an_adapter_that_predict_and_evaluate_know(
    flags: Any,
    small_model: Path,
    files: list[object],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
):
    finetune(files, small_model, tmp_path / "out", *flags)
    found = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"adapter_config.json", "adapter_model.safetensors", "config.json", "vocab.txt"} <= found
    assert "model.safetensors" not in found
    written = [json.loads(line) for line in (tmp_path / "out" / "predictions.jsonl").read_text().splitlines()]
    capsys.readouterr()
    call("predict", "--model", tmp_path / "out", *(line["text"] for line in written))
    for line, answer in zip(written, map(json.loads, capsys.readouterr().out.splitlines()), strict=True):
        assert answer["probabilities"] == pytest.approx(line["probabilities"], abs=1e-5)
    call("evaluate", "--model", tmp_path / "out", "--data", files[3])
    assert json.loads(capsys.readouterr().out)["accuracy"] >= 0
    with pytest.raises(OSError, match=r"model\.safetensors"):  # and not a model without its adapters
        transformers.BertForSequenceClassification.from_pretrained(tmp_path / "out")
    finetune(files, small_model, tmp_path / "out", "--overwrite")
    assert not (tmp_path / "out" / "adapter_config.json").exists()


@pytest.mark.parametrize("flags", [("--freeze", "encoder"), ("--freeze", 1), ("--gradual-unfreezing",)], ids=str)
def test_an_adapted_model_is_not_frozen_otherwise(
    flags: Any, small_model: Path, files: list[object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    finetune(files, small_model, tmp_path / "first", "--prefix", 3, "--epochs", 1)
    finetune(files, tmp_path / "first", tmp_path / "second", "--epochs", 1)
    before = (tmp_path / "second" / "metrics.json").read_text()
    with pytest.raises(CommandError):
        finetune(files, tmp_path / "first", tmp_path / "second", "--overwrite", *flags)
    assert "has Prefix(length=3), which says what is trained" in capsys.readouterr().err.splitlines()[-1]
    assert (tmp_path / "second" / "metrics.json").read_text() == before


def test_a_frozen_encoder_takes_a_higher_rate_by_itself(small_model: Path, files: list[object], tmp_path: Path):
    wide = tmp_path / "wide"  # at 256 the rate is higher anyway
    shutil.copytree(small_model, wide)
    config = BertConfig.from_pretrained(small_model).replace(hidden_size=258, num_attention_heads=2)
    BertForSequenceClassification(config).save_pretrained(wide)
    for flags, rate in [((), 5e-5), (("--lora",), 1e-3), (("--freeze", "encoder"), 1e-3), (("--freeze", 1), 5e-5)]:
        out = tmp_path / f"run-{len(flags)}-{rate}"
        call("finetune", *files, "--model", wide, "--out", out, "--epochs", 1, "--warmup-ratio", 0, *flags)
        assert json.loads((out / "log.jsonl").read_text().splitlines()[0])["lr"] == rate


def test_dropout_schedule_patience_and_the_rest_reach_the_run(small_model: Path, files: list[object], tmp_path: Path):
    flags = ["--dropout", 0.3, "--schedule", "constant", "--patience", 1, "--minimal-gain", 0.9, "--accumulation", 2]
    flags += ["--average", 0.9, "--checkpoint-activations", "--class-weights", "--label-smoothing", 0.1]
    metrics = finetune(files, small_model, tmp_path / "out", *flags, "--epochs", 4, "--warmup-ratio", 0)
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["hidden_dropout_prob"] == config["attention_probs_dropout_prob"] == 0.3
    log = [json.loads(line) for line in (tmp_path / "out" / "log.jsonl").read_text().splitlines()]
    assert {line["lr"] for line in log if "lr" in line} == {1e-2}
    assert max(line["step"] for line in log) == 4  # 32 examples, 16 a step, and no gain of 0.9 in the second epoch
    assert metrics["best_epoch"] in (1, 2)


def test_adversarial_training_reaches_the_run(small_model: Path, files: list[object], tmp_path: Path, monkeypatch):
    moved: list[float] = []

    @contextmanager
    def watched(model: BertForSequenceClassification, epsilon: float) -> Iterator[None]:
        moved.append(epsilon)
        yield

    monkeypatch.setattr(trainer, "words_moved", watched)
    finetune(files, small_model, tmp_path / "out", "--adversarial", 0.5, "--epochs", 1)
    assert moved == [0.5] * 4  # 32 examples, 8 a step


def test_dev_is_judged_within_an_epoch_and_the_best_moment_kept(small_model: Path, files: list[object], tmp_path: Path):
    out = tmp_path / "out"
    metrics = finetune(files, small_model, out, "--batch-size", 8, "--eval-steps", 3, "--epochs", 2)
    log = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    judged = {line["step"]: line["eval_accuracy"] for line in log if "eval_accuracy" in line}
    assert list(judged) == [3, 6, 8]  # 32 examples: four steps an epoch; and the end
    assert metrics["accuracy"] == max(judged.values())
    assert metrics["best_epoch"] == round(max(judged, key=lambda step: judged[step]) / 4, 3)


def test_the_learning_rate_finder_draws_a_page_and_trains_nothing(
    small_model: Path,
    files: list[object],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
):
    page = tmp_path / "rates.html"
    checkpointed: list[Any] = []
    monkeypatch.setattr("minibert.training.trainer.checkpoint_activations", checkpointed.append)
    flags = ["--model", small_model, "--out", tmp_path / "out", "--checkpoint-activations"]
    call("finetune", *files, *flags, "--find-lr", page)
    assert len(checkpointed) == 1
    assert not (tmp_path / "out").exists()
    assert re.search("<h1>Learning rates</h1>.*<svg", page.read_text(), re.DOTALL)
    assert "A tenth of the rate with the lowest loss: " in capsys.readouterr().out
    train = Path(str(files[1]))
    before = train.read_text()
    with pytest.raises(CommandError):
        call("finetune", *files, "--model", small_model, "--find-lr", train)
    assert "train.tsv is a file that is read: choose another name" in capsys.readouterr().err.splitlines()[-1]
    assert train.read_text() == before


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (("--freeze", "head"), "What to freeze is 'embeddings', 'encoder', or 1 to 2 blocks: found 'head'"),
        (("--freeze", "3"), "1 to 2 blocks: found 3"),
        (("--lora", "--lora-targets", "query,all"), "targets of LoRA are some of query"),
        (("--lora", "--bitfit"), "not allowed with argument"),
        (("--lora", "0"), "at least 1, is needed: found '0'"),
        (("--reinit-top", "3"), "0 to 2 of them can be re-initialised, found 3"),
        (("--reinit-top", "1", "--lora"), "so they must be trained: freeze fewer"),
        (("--mix", "last_four"), "has 2 blocks, too few for the mean of the last 4"),
        (("--gradual-unfreezing", "--epochs", "1"), "takes two epochs or more: found 1"),
        (("--layer-decay", "1.5"), "layer_decay must be above 0 and at most 1"),
        (("--class-weights", "--balanced-sampling"), "not allowed with argument"),
        (("--resume",), "no interrupted run"),
        (("--max-length", "33"), "--max-length 33 is more than the 32 positions"),
        (("--lora-targets", "key"), "--lora-targets is a setting of --lora, which is missing"),
        (("--adapter-size", "8", "--lora"), "--adapter-size is a setting of --adapters, which is missing"),
        (("--minimal-gain", "0.1"), "--minimal-gain is a setting of --patience, which is missing"),
        (("--tag-scheme", "iob1"), "--tag-scheme is for --task ner, not for classification: leave it out"),
        (("--stride", "5"), "--stride is for --task qa, not for classification"),
        (("--max-answer-length", "5"), "--max-answer-length is for --task qa"),
        (("--summary-sentences", "2"), "--summary-sentences is for --task summarization"),
        (("--label-separator", ";"), "--label-separator is for --task multilabel"),
        (("--task", "regression", "--calibrate"), "--calibrate is for --task classification, not for regression"),
        (("--task", "ner", "--long-texts", "tail"), "--long-texts is for --task classification or multilabel or"),
        (("--task", "qa", "--text-column", "x"), "--text-column is for --task"),
        (("--sampling", "square-root"), "--sampling mixes several tasks, and there is one"),
        (("--text-b-column", "sentence2"), "there is no column 'sentence2', but text, label"),
    ],
)
def test_flags_that_do_not_fit_get_one_line_and_write_nothing(
    flags: Any,
    sentence: str,
    small_model: Path,
    files: list[object],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
):
    with pytest.raises(CommandError) as error:
        finetune(files, small_model, tmp_path / "out", *flags)
    assert error.value.args == (2,)
    assert sentence in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "out").exists()


# ------------------------------------------------------------------------------------------------------------ compare


def test_compare_tells_accuracy_parameters_time_and_memory_and_goes_on(
    small_model: Path,
    files: list[object],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
):
    def run_here(command: list[str], **_: Any) -> Any:
        call(command[2].removeprefix("minibert."), *command[3:])
        return SimpleNamespace(returncode=0)

    flags = [*files, "--model", small_model, "--out", tmp_path / "ways", "--examples", 16, "--epochs", 1]
    flags += ["--max-length", 32]
    call("compare", *flags, "--seeds", 1, "--ways", "full")
    assert [path.name for path in tmp_path.glob("ways/*-seed-*")] == ["full-seed-0.json"]
    first = (tmp_path / "ways" / "full-seed-0.json").read_text()
    capsys.readouterr()
    monkeypatch.setattr("minibert.benchmarks.transfer.subprocess.run", run_here)  # one process has been tested
    call("compare", *flags, "--seeds", 1, "--ways", "full,lora")
    assert (tmp_path / "ways" / "full-seed-0.json").read_text() == first
    lines = capsys.readouterr().out.strip().splitlines()
    assert [line.split()[1] for line in lines[-2:]] == ["full", "lora"]
    runs = json.loads((tmp_path / "ways" / "compare.json").read_text())["runs"]
    assert runs["full"][0]["trained_parameters"] == runs["full"][0]["parameters"]
    assert runs["lora"][0]["trained_parameters"] < runs["full"][0]["parameters"] / 2
    assert runs["lora"][0]["adapter_bytes"] < 4 * runs["full"][0]["parameters"]
    with pytest.raises(CommandError):
        call("compare", *flags, "--seeds", 1, "--ways", "full", "--epochs", 2)
    refusal = capsys.readouterr().err.splitlines()[-1]
    assert re.search("--epochs of the run in .* was 1.0, and is 2.0 now: choose another --out", refusal)
    write_table(Path(str(files[1])), GOOD * 4)
    with pytest.raises(CommandError):
        call("compare", *flags, "--seeds", 1, "--ways", "full")
    refusal = capsys.readouterr().err.splitlines()[-1]
    assert re.search("--train of the run in .* held other data: choose another --out", refusal)


def test_the_table_of_ways_has_their_means_and_what_is_to_be_kept_of_each():
    full = dict.fromkeys(KEPT) | {
        "accuracy": 0.5,
        "parameters": 10**6,
        "trained_parameters": 10**6,
        "train_seconds": 2.0,
    }
    again = full | {"accuracy": 0.7, "train_seconds": 4.0}
    lora = full | {"trained_parameters": 2500, "adapter_bytes": 12_000, "peak_memory_mb": 300.4}
    lines = table({"full": [full, again], "lora": [lora]}).splitlines()
    assert [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]] == [
        ["full", "60.0 ± 14.1", "1,000,000", "100.00 %", "3.0", "", "4.00"],
        ["lora", "50.0", "2,500", "0.25 %", "2.0", "300", "0.01"],
    ]


def test_compare_tells_what_is_wrong(
    small_model: Path, files: list[object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    flags = [*files, "--model", small_model, "--out", tmp_path / "ways", "--seeds", 1]
    for wrong, sentence in [
        (("--ways", "full,magic"), "there is no way 'magic'"),
        (("--test", "caf\udce9.tsv"), r"The name 'caf\\udce9.tsv' is not UTF-8"),
        (("--examples", 99), "--examples 99 is more than the 32"),
        (("--ways", "top-2"), "has 2 blocks: leave top-2 out"),
        (("--ways", "full,gradual", "--epochs", 1), "more than one epoch: leave gradual out"),
        (("--ways", "full", "--label-column", "verdict"), "A run with no flags failed: .*there is no column 'verdict'"),
    ]:
        with pytest.raises(CommandError) as error:
            call("compare", *flags, *wrong)
        assert error.value.args == (2,)
        assert re.search(sentence, capsys.readouterr().err.splitlines()[-1])
        assert not (tmp_path / "ways").exists()
    (tmp_path / "unlabelled.jsonl").write_text(json.dumps({"text": "a good film"}) + "\n")
    with pytest.raises(CommandError):
        call("compare", *flags, "--ways", "full", "--max-length", 32, "--test", tmp_path / "unlabelled.jsonl")
    assert "unlabelled.jsonl has no labels, so no run can be judged by it" in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "ways").exists()
    (tmp_path / "ways").mkdir()
    (tmp_path / "ways" / "settings.json").write_text("{}")  # of another command
    with pytest.raises(CommandError):
        call("compare", *flags, "--ways", "full")
    assert "is not empty, and holds no comparison" in capsys.readouterr().err.splitlines()[-1]
