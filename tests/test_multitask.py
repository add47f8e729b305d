"""Several tasks on one encoder: what is shared, which batches come, and what is written."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file

from minibert import BertForSequenceClassification, BertForTokenClassification, BertModel, Trainer, TrainingArguments
from minibert.embeddings import BertForSimilarity
from minibert.tasks.regression import RegressionTask
from minibert.tasks.task import Columns, Example, Examples
from minibert.training.finetuning import Run, Split
from minibert.training.multitask import MultitaskTrainer, shares
from minibert.training.shared_encoder import SharedEncoder
from minibert.training.state import load_weights

from .helpers import SMALL, write_table
from .test_commands import CommandError, call, one_line


def make_shared() -> SharedEncoder:
    torch.manual_seed(1)
    classes = (BertForSequenceClassification, BertForTokenClassification, BertForSimilarity)
    return SharedEncoder({name: cls(SMALL) for name, cls in zip(("one", "two", "three"), classes, strict=True)})


def test_the_encoder_is_one_and_the_heads_are_their_own():
    model = make_shared()
    one, two, three = model.by_task.values()
    for other in (two, three):
        assert other.bert.blocks is one.bert.blocks  # type: ignore[union-attr]
        assert other.bert.embeddings is one.bert.embeddings  # type: ignore[union-attr]
    names = [name for name, _ in model.named_parameters()]
    encoder = [name for name in names if ".embeddings." in name or ".blocks." in name]
    assert len(encoder) == sum(".embeddings." in name or ".blocks." in name for name, _ in one.named_parameters())
    assert {name.split(".")[1] for name in names if "classifier" in name} == {"one", "two"}


def test_each_batch_moves_the_encoder_and_its_own_head_alone():
    model = make_shared()
    model(task="two", input_ids=torch.tensor([[5, 6, 7]]), labels=torch.tensor([[1, 2, 3]])).loss.backward()
    moved = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert any("blocks.0" in name for name in moved)
    assert any("two.classifier" in name for name in moved)
    assert not any("one.classifier" in name or "pooler" in name for name in moved)


def test_saved_and_loaded_it_is_the_same_and_still_shared(tmp_path: Path):
    model = make_shared()
    model.save_pretrained(tmp_path)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    load_weights(tmp_path, model)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    one, two, _ = model.by_task.values()
    assert one.bert.blocks is two.bert.blocks  # type: ignore[union-attr]


def test_shares_of_an_epoch():
    batches = {"large": 900, "small": 100}
    assert shares(batches, "proportional") == batches
    assert shares(batches, "square-root") == {"large": 750, "small": 250}
    assert shares({"large": 10_000, "tiny": 1}, "square-root")["tiny"] >= 1


def make_trainer(sampling: str, size: int = 2, **settings: Any) -> MultitaskTrainer:
    """Two tasks with 18 and 2 examples, in batches of `size`."""
    args = TrainingArguments(per_device_train_batch_size=size, disable_tqdm=True, **settings)
    runs = {}
    for name, count in (("large", 18), ("small", 2)):
        config = SMALL.replace(num_labels=1, problem_type="regression")
        rows = [{"input_ids": [1, 5 + i, 2], "labels": i / 10} for i in range(count)]
        trainer = Trainer(BertForSequenceClassification(config), args, train_dataset=rows)
        examples = Examples(Path(name), [Example({"text": "a"}, row["labels"]) for row in rows])
        runs[name] = Run(RegressionTask(Columns()), trainer, examples, [Split("dev", examples, rows)])
    return MultitaskTrainer(runs, args, sampling)


def test_in_proportion_every_example_comes_once_an_epoch():
    trainer = make_trainer("proportional")
    for epoch in range(2):
        seen = Counter((name, i) for name, indices in trainer.epoch_batches(epoch) for i in indices)
        assert seen == Counter([("large", i) for i in range(18)] + [("small", i) for i in range(2)])
    assert trainer.epoch_batches(0) != trainer.epoch_batches(1)
    assert trainer.epoch_batches(1) == trainer.epoch_batches(1)


def test_by_square_roots_a_task_goes_on_where_it_stopped():
    trainer = make_trainer("square-root")  # 9 and 1 batches: 7.5 and 2.5, rounded to even
    batches = [trainer.epoch_batches(epoch) for epoch in range(9)]
    assert Counter(name for name, _ in batches[0]) == {"large": 8, "small": 2}
    seen = Counter(i for epoch in batches for name, indices in epoch for i in indices if name == "large")
    assert seen == dict.fromkeys(range(18), 8)  # 9 epochs of 8 batches are 8 rounds of 9


def test_a_step_counts_its_batches_alike_however_many_labels_they_have():
    trainer = make_trainer("proportional")
    trainer.model.eval()
    batches = []
    for name, indices in (("large", [3, 4]), ("small", [1])):
        run = trainer.runs[name].trainer
        batches.append({"task": name, **run.batch(run.train_dataset, indices)})
    one, other = (trainer.model(**batch).loss.item() for batch in batches)
    figures, _ = trainer._forward_backward(batches)
    assert figures["loss"].item() == pytest.approx((one + other) / 2)


def test_the_examples_of_an_epoch_are_counted_not_the_places_in_its_batches():
    for size in (2, 5, 32):
        assert make_trainer("proportional", size)._plan().examples == 20
    assert make_trainer("square-root")._plan().examples == 20  # 8 batches of two, and the small task's one batch twice
    assert make_trainer("square-root", 5)._plan().examples == 18  # 3 of the 4 batches with 18 examples, and 2 of two


def test_accumulation_joins_batches_of_different_tasks():
    trainer = make_trainer("proportional", gradient_accumulation_steps=10, max_steps=-1, num_train_epochs=1)
    trainer.args.save_strategy = "no"
    assert trainer.train().global_step == 1


def test_a_run_that_is_taken_up_again_ends_alike(tmp_path: Path):
    settings: dict[str, Any] = {"output_dir": str(tmp_path), "num_train_epochs": 2}
    settings |= {"save_strategy": "steps", "save_steps": 7}
    torch.manual_seed(0)
    whole = make_trainer("square-root", **settings)
    torch.manual_seed(0)
    again = make_trainer("square-root", **settings)
    whole.train()
    again.train(resume_from_checkpoint=tmp_path / "checkpoint-7")  # in the middle of the first epoch
    others = dict(again.model.named_parameters())
    assert all(torch.equal(parameter, others[name]) for name, parameter in whole.model.named_parameters())


def tables(folder: Path) -> list[object]:
    """The flags for two tasks with a file each."""
    texts = [("a good film", "good"), ("bad sound", "bad")]
    pairs = [("good", "good fun", "5"), ("good", "bad", "0"), ("fun", "sound", "2")]
    flags: list[object] = ["--task", "classification", "--task", "similarity"]
    for part, times in (("train", 4), ("dev", 1)):
        one = write_table(folder / f"{part}1.tsv", texts * times)
        two = write_table(folder / f"{part}2.tsv", pairs * times, ("text", "text_b", "label"))
        flags += [f"--{part}", f"classification={one}", f"--{part}", f"similarity={two}"]
    return flags


def test_a_run_end_to_end(small_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    out = tmp_path / "out"
    flags = [*tables(tmp_path), "--test", f"classification={tmp_path / 'dev1.tsv'}", "--model", small_model]
    call("finetune", *flags, "--out", out, "--epochs", 1, "--batch-size", 4, "--sampling", "square-root", "--calibrate")
    assert {path.name for path in out.iterdir()} == {"tasks", "metrics.json", "log.jsonl"}
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["classification"]["test"]["accuracy"] == metrics["classification"]["accuracy"]
    folders = [out / "tasks" / name for name in ("classification", "similarity")]
    for folder in folders:
        assert (folder / "report.html").exists()
        assert json.loads((folder / "metrics.json").read_text()) == metrics[folder.name]
    capsys.readouterr()
    call("evaluate", "--model", folders[1], "--data", tmp_path / "dev2.tsv")
    assert json.loads(capsys.readouterr().out)["spearman"] == pytest.approx(metrics["similarity"]["spearman"])
    encoders = [
        transformers.AutoModel.from_pretrained(folder, add_pooling_layer=False).state_dict() for folder in folders
    ]
    assert all(torch.equal(tensor, encoders[1][name]) for name, tensor in encoders[0].items())
    call("finetune", *flags, "--out", out, "--epochs", 1, "--overwrite")
    own = [str(flag).replace(f"={tmp_path / 'dev1.tsv'}", f"={folders[0] / 'predictions.jsonl'}") for flag in flags]
    capsys.readouterr()
    with pytest.raises(CommandError, match="2"):
        call("finetune", *own, "--out", out, "--overwrite")
    assert "--overwrite would delete the data itself" in one_line(capsys.readouterr().err)
    assert (folders[0] / "predictions.jsonl").exists()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            ["--dev", "ner=dev.txt"],
            "--dev is TASK=FILE, once for each of classification, similarity: found 'ner=dev.txt'",
        ),
        (["--test", "dev.tsv"], "--test is TASK=FILE, once for each of classification, similarity: found 'dev.tsv'"),
        (["--task", "similarity"], "Each --task can be given once"),
        (["--dataset", "sst2"], "--dataset is for one task at a time"),
        (["--class-weights"], "--class-weights is for one task at a time"),
        (["--stride", "5"], "--stride is for --task qa, not for classification and similarity"),
        (["--lora"], "--lora is for one task at a time"),
        (["--reinit-top", "0"], "--reinit-top is for one task at a time"),
    ],
)
def test_wrong_flags_get_one_line(
    changes: list[str], sentence: str, small_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    with pytest.raises(CommandError, match="2"):
        call("finetune", *tables(tmp_path), *changes, "--model", small_model, "--out", tmp_path / "out")
    assert sentence in one_line(capsys.readouterr().err)
    assert not (tmp_path / "out").exists()


def test_without_a_model_several_tasks_start_from_the_one_that_ships(tmp_path: Path):
    call("finetune", *tables(tmp_path), "--epochs", 1, "--out", tmp_path / "out")
    weights = [load_file(tmp_path / f"out/tasks/{name}/model.safetensors") for name in ("classification", "similarity")]
    words = "bert.embeddings.word_embeddings.weight"
    shipped = BertModel.from_pretrained("minibert-tiny-uncased").embeddings.word_embeddings.weight
    assert torch.equal(weights[0][words], weights[1][words.removeprefix("bert.")])
    torch.testing.assert_close(weights[0][words], shipped.detach(), rtol=0, atol=0.02)  # few steps away from it
    log = [json.loads(line) for line in (tmp_path / "out/log.jsonl").read_text().splitlines()]
    assert max(line.get("lr", 0) for line in log) == 1e-3  # as for one task


def test_missing_parts_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    flags = tables(tmp_path)
    with pytest.raises(CommandError, match="2"):
        call("finetune", *flags[:6], "--model", "anything")
    assert "--train similarity=FILE is missing" in one_line(capsys.readouterr().err)
    with pytest.raises(CommandError, match="2"):
        call("finetune", "--train", "a.tsv", "--train", "b.tsv", "--dev", "c.tsv")
    assert "--train can be given more than once only with several tasks" in one_line(capsys.readouterr().err)
