"""The training loop: the same as transformers' where both can be compared, exact when resumed, honest when it fails."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
import transformers

import minibert
from minibert import (
    BertForMaskedLM,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertForTokenClassification,
    InputError,
    Trainer,
    TrainingArguments,
)
from minibert.errors import DivergedError
from minibert.training.interrupt import InterruptGuard, stopped
from minibert.training.optimizer import create_optimizer, parameter_groups
from minibert.training.schedules import linear_schedule
from minibert.training.state import TrainerState, checkpoints

from .helpers import SMALL, in_their_names, make_model, make_peer

QUIET = SMALL.replace(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, num_labels=3)


def make_examples(count: int, labels: int = 3) -> list[dict[str, Any]]:
    """Sentences of random tokens; the label is told by the token after [CLS]."""
    generator = torch.Generator().manual_seed(1)
    examples = []
    for _ in range(count):
        length = int(torch.randint(4, 12, (), generator=generator))
        ids = torch.randint(10, SMALL.vocab_size, (length,), generator=generator).tolist()
        ids[0], ids[1], ids[-1] = 1, 3 + int(torch.randint(labels, (), generator=generator)), 2
        examples.append({"input_ids": ids, "token_type_ids": [0] * length, "labels": ids[1] - 3})
    return examples


def accuracy(prediction: Any) -> dict[str, float]:
    return {"accuracy": float((prediction.predictions.argmax(-1) == prediction.label_ids).mean())}


def arguments(folder: Path, **changes: Any) -> TrainingArguments:
    settings: dict[str, Any] = {
        "output_dir": str(folder),
        "num_train_epochs": 2,
        "per_device_train_batch_size": 4,
        "learning_rate": 1e-3,
        "save_strategy": "no",
        "logging_steps": 1,
        "disable_tqdm": True,
    }
    return TrainingArguments(**settings | changes)


def run_snippet(library: ModuleType, model: Any, folder: Path, data: list[dict[str, Any]]) -> tuple[Any, Any, Any]:
    """A snippet as it stands in many notebooks: only the library differs."""
    args = library.TrainingArguments(
        output_dir=str(folder),
        num_train_epochs=4,
        per_device_train_batch_size=24,
        per_device_eval_batch_size=8,
        learning_rate=2e-3,
        weight_decay=0.1,
        warmup_steps=2,
        logging_steps=1,
        eval_strategy="epoch",
        save_strategy="epoch",
        load_best_model_at_end=True,
        metric_for_best_model="accuracy",
        seed=7,
        disable_tqdm=True,
        **({"report_to": "none"} if library is transformers else {"logging_dir": str(folder / "logs")}),
    )
    trainer = library.Trainer(
        model=model,
        args=args,
        train_dataset=data,
        eval_dataset=data[:10],
        compute_metrics=accuracy,
        **({"data_collator": padded_for_transformers} if library is transformers else {}),
    )
    result = trainer.train()
    evaluation = trainer.evaluate()
    prediction = trainer.predict(data[:5])
    trainer.save_model(str(folder / "final"))
    return result, evaluation, prediction


def padded_for_transformers(examples: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
    longest = max(len(example["input_ids"]) for example in examples)
    ids = [example["input_ids"] + [0] * (longest - len(example["input_ids"])) for example in examples]
    mask = [[1] * len(e["input_ids"]) + [0] * (longest - len(e["input_ids"])) for e in examples]
    labels = [example["labels"] for example in examples]
    return {"input_ids": torch.tensor(ids), "attention_mask": torch.tensor(mask), "labels": torch.tensor(labels)}


@pytest.mark.filterwarnings("ignore")
def test_a_snippet_for_transformers_runs_with_the_import_changed_and_learns_the_same(tmp_path: Path):
    """All examples in one batch and no dropout: then chance plays no part, and both must take the same steps."""
    ours = make_model("BertForSequenceClassification", QUIET).double()  # else Adam makes large steps of rounding errors
    theirs = make_peer(ours)
    data = make_examples(24)
    our_result, our_evaluation, our_prediction = run_snippet(minibert, ours, tmp_path / "ours", data)
    their_result, their_evaluation, their_prediction = run_snippet(transformers, theirs, tmp_path / "theirs", data)
    assert our_result.global_step == their_result.global_step == 4
    assert our_result.training_loss == pytest.approx(their_result.training_loss, abs=1e-6)
    for key in ("eval_loss", "eval_accuracy", "epoch"):
        assert our_evaluation.get(key, 4.0) == pytest.approx(their_evaluation[key], abs=1e-6)
    np.testing.assert_allclose(our_prediction.predictions, their_prediction.predictions, atol=1e-6)
    np.testing.assert_array_equal(our_prediction.label_ids, their_prediction.label_ids)
    assert our_prediction.metrics["test_accuracy"] == their_prediction.metrics["test_accuracy"]
    their_state = theirs.state_dict()
    for name, tensor in in_their_names(ours, ours.state_dict()).items():
        torch.testing.assert_close(tensor, their_state[name], rtol=0, atol=1e-6)
    transformers.BertForSequenceClassification.from_pretrained(tmp_path / "ours" / "final")


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("head", ["BertForSequenceClassification", "BertForTokenClassification"])
def test_gradient_accumulation_takes_the_steps_of_the_larger_batch(head: str, weighted: bool, tmp_path: Path):
    """With tags, too, of which the parts of a step have 4 and 10: each counts alike, wherever it stands."""
    data = make_examples(8)
    for number, example in enumerate(data):  # equal lengths, so that both runs see the same batches
        example["input_ids"] = example["input_ids"][:4]
        example["token_type_ids"] = [0] * 4
        if head == "BertForTokenClassification":
            example["labels"] = (
                [-100, number % 2, number % 3, 1] if number in (3, 6, 7) else [-100, number % 2, -100, -100]
            )
    results = []
    for size, accumulation in ((8, 1), (4, 2)):
        torch.manual_seed(0)
        model = make_model(head, QUIET).double()  # rounding must not hide behind Adam
        args = arguments(
            tmp_path,
            per_device_train_batch_size=size,
            gradient_accumulation_steps=accumulation,
            class_weights=weighted,
        )
        Trainer(model, args, train_dataset=data).train()
        results.append(model)
    plain = head == "BertForSequenceClassification" and not weighted
    tolerance = 1e-9 if plain else 1e-7  # 4/14 is rounded in float32, as weights are, and 4/8 is not
    for left, right in zip(results[0].parameters(), results[1].parameters(), strict=True):
        torch.testing.assert_close(left, right, rtol=0, atol=tolerance)


def test_it_learns(tmp_path: Path):
    torch.manual_seed(0)
    data = make_examples(200, labels=2)  # with these settings, from ten of ten seeds, with two versions of torch
    args = arguments(tmp_path, num_train_epochs=10, per_device_train_batch_size=16, learning_rate=5e-3)
    trainer = Trainer(BertForSequenceClassification(QUIET), args, train_dataset=data, compute_metrics=accuracy)
    assert trainer.predict(data).metrics["test_accuracy"] < 0.6
    trainer.train()
    assert not trainer.model.training  # ready to be asked
    assert trainer.predict(data).metrics["test_accuracy"] > 0.95


def test_no_decay_for_biases_and_norms():
    model = make_model("BertForPreTraining")
    decayed, spared = parameter_groups(model, 0.1)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    for parameter in decayed["params"]:
        assert "bias" not in names[id(parameter)]
        assert "norm" not in names[id(parameter)]
    assert (decayed["weight_decay"], spared["weight_decay"]) == (0.1, 0.0)
    assert len(decayed["params"]) + len(spared["params"]) == len(names)


def test_the_settings_of_adam_reach_it():
    settings = TrainingArguments(learning_rate=1e-3, adam_beta1=0.8, adam_beta2=0.95, adam_epsilon=1e-6)
    found = create_optimizer(BertForSequenceClassification(QUIET), settings).defaults
    assert (found["lr"], found["betas"], found["eps"]) == (1e-3, (0.8, 0.95), 1e-6)


def test_the_schedule_rises_to_1_and_falls_to_0():
    assert [linear_schedule(step, 2, 6) for step in range(7)] == [0, 0.5, 1, 0.75, 0.5, 0.25, 0]
    assert [linear_schedule(step, 0, 2) for step in range(3)] == [1, 0.5, 0]


def test_warmup_steps_below_1_are_a_share_as_in_transformers(tmp_path: Path):
    def steps(total: int, **settings: Any) -> list[int]:
        theirs = transformers.TrainingArguments(output_dir=str(tmp_path), report_to="none", **settings)
        return [TrainingArguments(**settings).warmup(total), theirs.get_warmup_steps(total)]

    assert steps(101, warmup_steps=0.1) == [11, 11]
    assert steps(101, warmup_steps=7) == [7, 7]
    assert steps(101) == [0, 0]
    assert TrainingArguments(warmup_ratio=0.1).warmup(101) == 11
    assert TrainingArguments(warmup_ratio=0.1, warmup_steps=7).warmup(101) == 7


class StopAt:
    """Data that sends this process a Ctrl-C when a certain example is asked for the n-th time."""

    def __init__(self, data: list[dict[str, Any]], after: int) -> None:
        self.data, self.left = data, after

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> dict[str, Any]:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGINT)
        return self.data[index]


@pytest.fixture
def _ctrl_c_raises() -> Iterator[None]:
    """As in a process of its own, whatever runs the tests."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_ctrl_c_raises")
def test_a_second_ctrl_c_interrupts_at_once(monkeypatch: pytest.MonkeyPatch):
    """However soon it follows. SIGTERM comes twice from programs that mean it once: it interrupts no saving."""
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    with InterruptGuard() as guard:
        signal.raise_signal(signal.SIGTERM)
        assert guard.asked
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    with InterruptGuard() as guard:
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        assert guard.asked
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.usefixtures("_ctrl_c_raises")
def test_a_ctrl_c_that_torchrun_sends_twice_is_one(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "any")
    with InterruptGuard() as guard:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        assert guard.asked
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_what_an_interrupted_run_says_is_saved_is_saved(tmp_path: Path):
    """After a second Ctrl-C the newest checkpoint is an older one, or there is none."""
    state = TrainerState(global_step=7, max_steps=9)
    for saved, text in (
        ([5, 7], r"stopped and saved after step 7 of 9\. Go on with: .* --resume"),
        ([3, 5], r"interrupted after step 7 of 9; step 5 is saved\. Go on with: .* --resume"),
        ([], r"interrupted after step 7 of 9, before anything was saved\."),
    ):
        folders = [tmp_path / f"checkpoint-{step}" for step in saved]
        assert re.fullmatch(text, str(stopped(state, folders, "pretrain", tmp_path)))
    early = str(stopped(TrainerState(), [], "finetune", tmp_path))  # how many steps there are is not known yet
    assert early == "interrupted before the first step, before anything was saved."


def test_a_run_stopped_by_ctrl_c_goes_on_as_if_nothing_had_happened(tmp_path: Path):
    data = make_examples(20)
    settings = {"num_train_epochs": 3, "eval_strategy": "epoch", "save_strategy": "epoch"}
    finals = {}
    for name in ("whole", "stopped"):
        torch.manual_seed(0)
        model = BertForSequenceClassification(SMALL.replace(num_labels=3))  # with dropout
        args = arguments(tmp_path / name, logging_dir=str(tmp_path / name), **settings)
        if name == "stopped":
            stopping = StopAt(data, after=20 + 28)  # 20 looks at lengths, then in step 7 of 15, within the second epoch
            with pytest.raises(KeyboardInterrupt):
                Trainer(model, args, train_dataset=stopping, eval_dataset=data).train()
            assert [path.name for path in checkpoints(tmp_path / name)] == ["checkpoint-5", "checkpoint-7"]
            torch.manual_seed(99)
            model = BertForSequenceClassification(SMALL.replace(num_labels=3))
        trainer = Trainer(model, args, train_dataset=data, eval_dataset=data)
        result = trainer.train(resume_from_checkpoint=name == "stopped" or None)
        finals[name] = (model.state_dict(), result, trainer.state)
    whole, stopped = finals["whole"], finals["stopped"]
    assert all(torch.equal(whole[0][name], stopped[0][name]) for name in whole[0])
    assert whole[1].training_loss == stopped[1].training_loss
    assert losses(whole[2].log_history) == losses(stopped[2].log_history)
    lines = [json.loads(line) for line in (tmp_path / "stopped" / "log.jsonl").read_text().splitlines()]
    assert losses(lines) == losses(whole[2].log_history)


def test_a_run_goes_on_that_was_stopped_before_its_first_log_line(tmp_path: Path):
    data = make_examples(8)
    args = arguments(tmp_path, logging_dir=str(tmp_path / "logs"), logging_steps=3, save_strategy="epoch")
    with pytest.raises(KeyboardInterrupt):
        Trainer(
            make_model("BertForSequenceClassification", QUIET), args, train_dataset=StopAt(data, after=8 + 3)
        ).train()
    assert not (tmp_path / "logs").exists()
    Trainer(make_model("BertForSequenceClassification", QUIET), args, train_dataset=data).train(True)
    lines = [json.loads(line) for line in (tmp_path / "logs" / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [3, 4]


def losses(history: list[dict[str, float]]) -> list[tuple[float, float]]:
    return [(entry["step"], entry.get("loss", entry.get("eval_loss", math.nan))) for entry in history]


def test_a_checkpoint_of_another_run_is_refused(tmp_path: Path):
    data = make_examples(8)
    model = make_model("BertForSequenceClassification", QUIET)
    logging = {"logging_dir": str(tmp_path)}
    Trainer(model, arguments(tmp_path, save_strategy="epoch", **logging), train_dataset=data).train()
    log = (tmp_path / "log.jsonl").read_text()
    with pytest.raises(InputError, match="belongs to a run of 4 steps, this one has 6: go on with the same"):
        Trainer(model, arguments(tmp_path, num_train_epochs=3, **logging), train_dataset=data).train(
            tmp_path / "checkpoint-2"
        )
    assert (tmp_path / "log.jsonl").read_text() == log
    with pytest.raises(InputError, match="no checkpoint to go on from"):
        Trainer(model, arguments(tmp_path / "empty"), train_dataset=data).train(resume_from_checkpoint=True)
    (tmp_path / "checkpoint-4" / "training_state.pt").write_bytes(b"broken")
    with pytest.raises(InputError, match="is no checkpoint that this run can go on from"):
        Trainer(model, arguments(tmp_path), train_dataset=data).train(resume_from_checkpoint=True)


def trainer_with_scores(folder: Path, scores: list[float], **settings: Any) -> Trainer:
    """Keeps the best model, by evaluations that give these scores, one after the other."""
    data, found = make_examples(16), iter(scores)
    return Trainer(
        make_model("BertForSequenceClassification", QUIET),
        arguments(folder, load_best_model_at_end=True, metric_for_best_model="score", **settings),
        train_dataset=data,
        eval_dataset=data,
        compute_metrics=lambda _: {"score": next(found)},
    )


def test_the_best_checkpoint_is_kept_and_loaded(tmp_path: Path):
    settings = {"num_train_epochs": 4, "eval_strategy": "epoch", "save_strategy": "epoch", "save_total_limit": 1}
    trainer = trainer_with_scores(tmp_path, [0.2, 0.9, 0.5, 0.4], **settings)
    trainer.train()
    assert [path.name for path in checkpoints(tmp_path)] == ["checkpoint-8", "checkpoint-16"]
    assert trainer.state.best_metric == 0.9
    best = BertForSequenceClassification.from_pretrained(tmp_path / "checkpoint-8")
    assert all(
        torch.equal(a, b) for a, b in zip(best.state_dict().values(), trainer.model.state_dict().values(), strict=True)
    )


def test_the_best_model_is_kept_though_no_checkpoint_is_due(tmp_path: Path):
    settings = {"eval_strategy": "steps", "eval_steps": 1, "save_strategy": "steps", "save_steps": 4}
    trainer = trainer_with_scores(tmp_path, [0.1, 0.2, 0.9, 0.5, 0.4], max_steps=5, save_total_limit=1, **settings)
    trainer.train()
    assert [path.name for path in checkpoints(tmp_path)] == ["checkpoint-3", "checkpoint-5"]
    best = BertForSequenceClassification.from_pretrained(tmp_path / "checkpoint-3")
    assert all(
        torch.equal(a, b) for a, b in zip(best.state_dict().values(), trainer.model.state_dict().values(), strict=True)
    )


def test_what_is_no_number_is_not_best_for_long():
    args = TrainingArguments(metric_for_best_model="score")
    assert args.is_better(math.nan, None)
    assert args.is_better(0.5, math.nan)
    assert not args.is_better(math.nan, 0.5)
    assert [args.is_better(0.5, old) for old in (0.4, 0.5, 0.6)] == [True, False, False]


@pytest.mark.parametrize("number", [np.float32(0.5), np.int64(3), np.array([0.25, 0.5], np.float32), torch.tensor(0.5)])
def test_metrics_may_be_numbers_of_numpy_and_torch(number: Any, tmp_path: Path):
    data = make_examples(4)
    args = arguments(tmp_path, max_steps=1, eval_strategy="epoch", save_strategy="epoch", logging_dir=str(tmp_path))
    model = make_model("BertForSequenceClassification", QUIET)
    Trainer(model, args, train_dataset=data, eval_dataset=data, compute_metrics=lambda _: {"score": number}).train()
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["eval_score"] for line in lines if "eval_score" in line] == [number.tolist()]


def test_metrics_may_lie_in_one_another(tmp_path: Path):
    data = make_examples(4)
    args = arguments(tmp_path, max_steps=1, eval_strategy="epoch", save_strategy="epoch", logging_dir=str(tmp_path))
    nested: Any = {"n": np.int64(3), "by_class": [np.float32(0.5), {np.int64(1): torch.tensor(2)}]}
    model = make_model("BertForSequenceClassification", QUIET)
    Trainer(model, args, train_dataset=data, eval_dataset=data, compute_metrics=lambda _: {"per": nested}).train()
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    found = [line["eval_per"] for line in lines if "eval_per" in line]
    assert found == [{"n": 3, "by_class": [0.5, {"1": 2}]}]


def test_a_run_that_needs_no_best_model_may_evaluate_without_labels(tmp_path: Path):
    data = make_examples(8)
    bare = [{"input_ids": [1, 2, 3]}] * 3
    model = make_model("BertForSequenceClassification", QUIET)
    settings: dict[str, Any] = {"eval_strategy": "epoch", "save_strategy": "epoch"}
    trainer = Trainer(model, arguments(tmp_path, **settings), train_dataset=data, eval_dataset=bare)
    assert trainer.train().global_step == 4
    assert trainer.state.best_model_checkpoint is None
    for asked, name in (
        ({"load_best_model_at_end": True}, "loss"),
        ({"early_stopping_patience": 1}, "loss"),
        ({"metric_for_best_model": "f1"}, "f1"),
    ):
        args = arguments(tmp_path, **settings, **asked)
        with pytest.raises(InputError, match=f"metric_for_best_model is '{name}', but the metrics are eval_runtime, "):
            Trainer(model, args, train_dataset=data, eval_dataset=bare).train()


def test_a_loss_of_ones_own_is_learnt_by_and_told(tmp_path: Path):
    """As in many notebooks: it takes the labels out, and asks the output for its logits."""

    class Doubled(Trainer):
        def compute_loss(
            self,
            model: torch.nn.Module,
            inputs: dict[str, Any],
            return_outputs: bool = False,
            num_items_in_batch: Any = None,
        ) -> Any:
            labels = inputs.pop("labels")
            outputs = model(**inputs)
            loss = 2 * torch.nn.functional.cross_entropy(outputs.get("logits"), labels)
            return (loss, outputs) if return_outputs else loss

    data = make_examples(8)
    results = []
    for kind in (Trainer, Doubled):
        torch.manual_seed(0)
        model = make_model("BertForSequenceClassification", QUIET)
        args = arguments(tmp_path, learning_rate=0, max_grad_norm=0)
        trainer = kind(model, args, train_dataset=data, compute_metrics=accuracy)
        results.append([trainer.train().training_loss, trainer.evaluate(data)["eval_loss"]])
        assert trainer.predict(data).label_ids.tolist() == [example["labels"] for example in data]
        assert trainer.predict([{"input_ids": [1, 5, 2]}]).label_ids is None
    assert results[1] == pytest.approx([2 * loss for loss in results[0]])


def test_an_output_of_ones_own_may_be_a_dict(tmp_path: Path):
    class AsDict(Trainer):
        def compute_loss(self, *arguments: Any, **settings: Any) -> Any:
            loss, outputs = super().compute_loss(*arguments, **settings)
            return loss, {"loss": loss, "logits": outputs.logits}

    model, data = make_model("BertForSequenceClassification", QUIET), make_examples(6)
    plain, other = (kind(model, arguments(tmp_path)).predict(data).predictions for kind in (Trainer, AsDict))
    assert np.array_equal(plain, other)


def test_a_run_whose_folder_was_moved_still_finds_its_best_checkpoint(tmp_path: Path):
    data = make_examples(8)
    scores = iter([0.9, 0.5, 0.4])

    def trainer(folder: Path) -> Trainer:
        settings = {"eval_strategy": "epoch", "save_strategy": "epoch", "save_total_limit": 1}
        args = arguments(folder, load_best_model_at_end=True, metric_for_best_model="score", **settings)
        model = make_model("BertForSequenceClassification", QUIET)
        return Trainer(
            model, args, train_dataset=data, eval_dataset=data, compute_metrics=lambda _: {"score": next(scores)}
        )

    first = trainer(tmp_path / "here")
    first.train()
    shutil.rmtree(tmp_path / "here" / "checkpoint-4")  # as if it had been stopped before
    (tmp_path / "here").rename(tmp_path / "there")
    second = trainer(tmp_path / "there")
    second.train(resume_from_checkpoint=True)
    assert [path.name for path in checkpoints(tmp_path / "there")] == ["checkpoint-2", "checkpoint-4"]
    best = zip(first.model.state_dict().values(), second.model.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in best)


def test_a_run_that_goes_on_in_another_folder_still_finds_its_best_checkpoint(tmp_path: Path):
    settings = {"num_train_epochs": 3, "eval_strategy": "epoch", "save_strategy": "epoch"}
    first = trainer_with_scores(tmp_path / "here", [0.9, 0.5, 0.4], **settings)
    first.train()
    best = str(tmp_path / "here" / "checkpoint-4")
    for start in ("here/checkpoint-8", "there/checkpoint-12"):  # the second time, the best one lies in neither's place
        second = trainer_with_scores(tmp_path / "there", [0.4], **settings)
        second.train(resume_from_checkpoint=tmp_path / start)
        assert second.state.best_model_checkpoint == best
        pairs = zip(first.model.state_dict().values(), second.model.state_dict().values(), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs)
    shutil.rmtree(best)
    with pytest.raises(InputError, match=r"is not there any more: .*checkpoint-4"):  # before the work, not after it
        trainer_with_scores(tmp_path / "there", [], **settings).train(resume_from_checkpoint=True)


def test_a_diverged_run_stops_with_a_sentence(tmp_path: Path):
    model = make_model("BertForSequenceClassification", QUIET)
    with torch.no_grad():
        model.classifier.bias.fill_(math.nan)
    with pytest.raises(InputError, match=r"The loss became nan before step 1: .* lower learning rate \(now 0.001\)"):
        Trainer(model, arguments(tmp_path), train_dataset=make_examples(8)).train()


@pytest.mark.parametrize("save_steps", [1, 3, 20])
@pytest.mark.parametrize("evaluation", ["no", "steps"])
def test_no_checkpoint_of_a_diverged_run_is_kept_though_no_log_line_was_due(
    save_steps: int, evaluation: str, tmp_path: Path
):
    """Already the first step makes the weights far too large. Nothing is judged by them, either."""
    data = make_examples(16)
    args = arguments(
        tmp_path,
        learning_rate=1e20,
        max_steps=20,
        logging_steps=20,
        save_strategy="steps",
        save_steps=save_steps,
        eval_strategy=evaluation,
        eval_steps=3,
    )
    model = make_model("BertForSequenceClassification", QUIET)
    trainer = Trainer(model, args, train_dataset=data, eval_dataset=data)
    with pytest.raises(DivergedError, match="the run has diverged") as raised:
        trainer.train()
    assert "last good checkpoint" not in str(raised.value)
    assert checkpoints(tmp_path) == []
    assert trainer.state.log_history == []


def test_checkpoints_of_an_earlier_run_in_the_folder_are_left_alone(tmp_path: Path):
    """A diverged run neither names nor deletes them, and they are not counted among the newest."""
    data = make_examples(8)
    settings = {"max_steps": 6, "save_strategy": "steps", "save_steps": 3}
    Trainer(
        make_model("BertForSequenceClassification", QUIET), arguments(tmp_path, **settings), train_dataset=data
    ).train()
    earlier = {path: path.stat().st_mtime_ns for path in checkpoints(tmp_path)}
    model = make_model("BertForSequenceClassification", QUIET)
    trainer = Trainer(model, arguments(tmp_path, learning_rate=1e38, max_steps=4), train_dataset=data)
    trainer._schedule = lambda step, *_: float(step >= 3)  # type: ignore[method-assign]
    trainer.args.save_strategy, trainer.args.save_steps = "steps", 4
    with pytest.raises(DivergedError, match=r"norm of the weights .* in step 4") as raised:
        trainer.train()
    assert "last good checkpoint" not in str(raised.value)
    assert {path: path.stat().st_mtime_ns for path in checkpoints(tmp_path)} == earlier

    settings = {"max_steps": 2, "save_strategy": "steps", "save_steps": 1, "save_total_limit": 1}
    Trainer(
        make_model("BertForSequenceClassification", QUIET), arguments(tmp_path, **settings), train_dataset=data
    ).train()
    assert [path.name for path in checkpoints(tmp_path)] == [f"checkpoint-{step}" for step in (2, 3, 6)]


def test_a_run_that_goes_on_from_a_renamed_checkpoint_leaves_later_ones_of_another_run_alone(tmp_path: Path):
    data = make_examples(8)
    settings = {"max_steps": 4, "save_strategy": "steps", "save_steps": 1}
    Trainer(
        make_model("BertForSequenceClassification", QUIET), arguments(tmp_path, **settings), train_dataset=data
    ).train()
    shutil.copytree(tmp_path / "checkpoint-4", tmp_path / "checkpoint-9")
    kept = (tmp_path / "checkpoint-2").rename(tmp_path / "kept")
    args = arguments(tmp_path, **settings, save_total_limit=1)
    Trainer(make_model("BertForSequenceClassification", QUIET), args, train_dataset=data).train(kept)
    assert [path.name for path in checkpoints(tmp_path)] == ["checkpoint-4", "checkpoint-9"]


def test_a_run_that_goes_on_knows_its_checkpoints_from_before(tmp_path: Path):
    data = make_examples(8)
    args = arguments(tmp_path, max_steps=4, save_strategy="steps", save_steps=1)
    Trainer(make_model("BertForSequenceClassification", QUIET), args, train_dataset=data).train()
    trainer = Trainer(make_model("BertForSequenceClassification", QUIET), args, train_dataset=data)
    trainer._schedule = lambda *_: 1e38  # type: ignore[method-assign]
    with pytest.raises(DivergedError, match=r"in step 3: .*The last good checkpoint is .*checkpoint-2\.$"):
        trainer.train(resume_from_checkpoint=tmp_path / "checkpoint-2")


def test_a_frozen_model_is_not_trained(tmp_path: Path):
    model = make_model("BertForSequenceClassification", QUIET).requires_grad_(False)
    with pytest.raises(InputError, match="there is nothing to train"):
        Trainer(model, arguments(tmp_path), train_dataset=make_examples(8)).train()


def test_the_weights_are_looked_at_once_a_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    data = make_examples(8)
    looks: list[None] = []
    whole_check = Trainer._check_unlogged
    monkeypatch.setattr(Trainer, "_check_unlogged", lambda self, *of: looks.append(whole_check(self, *of)))
    args = arguments(tmp_path, max_steps=2, save_strategy="steps", save_steps=1, eval_strategy="steps", eval_steps=2)
    model = make_model("BertForSequenceClassification", QUIET)
    Trainer(model, args, train_dataset=data, eval_dataset=data).train()
    assert len(looks) == 2


def test_an_update_that_ruins_the_weights_is_seen_before_they_are_saved(tmp_path: Path):
    """The losses are numbers up to the end: only the weights tell it."""
    model = make_model("BertForSequenceClassification", QUIET)
    args = arguments(tmp_path, max_steps=2, learning_rate=1e38, save_strategy="steps", save_steps=1)
    trainer = Trainer(model, args, train_dataset=make_examples(8))
    trainer._schedule = lambda step, *_: float(step)  # type: ignore[method-assign]
    with pytest.raises(DivergedError, match=r"norm of the weights became (inf|nan) in step 2: .*checkpoint-1\.$"):
        trainer.train()
    assert [path.name for path in checkpoints(tmp_path)] == ["checkpoint-1"]


def clock(monkeypatch: pytest.MonkeyPatch) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """A collator that takes a second a batch, and metrics that take 100, by a clock that stands otherwise."""
    now = [0.0]
    monkeypatch.setattr("time.perf_counter", lambda: now[0])

    def collate(examples: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        now[0] += 1
        return padded_for_transformers(examples)

    def slow_metrics(prediction: Any) -> dict[str, float]:
        now[0] += 100
        return {}

    return collate, slow_metrics


@pytest.mark.parametrize(("steps", "found"), [(6, [4, 6]), (8, [4, 8])])
def test_the_last_step_is_evaluated_and_saved(steps: int, found: list[int], tmp_path: Path):
    """As in `transformers`, though it is no multiple of eval_steps and save_steps; and once if it is."""
    settings = {"eval_strategy": "steps", "eval_steps": 4, "save_strategy": "steps", "save_steps": 4}
    trainer = trainer_with_scores(tmp_path, [0.1, 0.2], max_steps=steps, **settings)
    trainer.train()
    assert [entry["step"] for entry in trainer.state.log_history if "eval_score" in entry] == found
    assert [path.name for path in checkpoints(tmp_path)] == [f"checkpoint-{step}" for step in found]
    assert trainer.state.best_model_checkpoint == str(tmp_path / f"checkpoint-{steps}")


def test_a_checkpoint_between_two_log_lines_forgets_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Losses and tokens of a resumed run, and its speed, are those of all steps since the last log line."""
    collate, slow_metrics = clock(monkeypatch)

    data = make_examples(16)
    settings: dict[str, Any] = {"max_steps": 10, "logging_steps": 5, "save_steps": 4, "eval_steps": 4}
    args = arguments(tmp_path, save_strategy="steps", eval_strategy="steps", **settings)
    results = []
    for checkpoint in (None, tmp_path / "checkpoint-4", tmp_path / "checkpoint-8"):
        model = make_model("BertForSequenceClassification", QUIET)
        trainer = Trainer(model, args, collate, data, data, compute_metrics=slow_metrics)
        loss = trainer.train(resume_from_checkpoint=checkpoint).training_loss
        log = [entry for entry in trainer.state.log_history if "loss" in entry]
        results.append((loss, trainer.state.total_tokens, log))
    assert results[1] == results[0]
    assert results[2] == results[0]

    path = tmp_path / "checkpoint-8" / "trainer_state.json"  # as before this was kept
    state = json.loads(path.read_text())
    del state["unlogged"]
    path.write_text(json.dumps(state))
    model = make_model("BertForSequenceClassification", QUIET)
    assert Trainer(model, args, collate, data, data).train(path.parent).global_step == 10


def test_the_loss_of_a_run_that_stops_early_counts_what_no_log_line_told(tmp_path: Path):
    data = make_examples(8)
    settings: dict[str, Any] = {"eval_strategy": "epoch", "early_stopping_patience": 1, "early_stopping_threshold": 99}
    found = []
    for every in (1, 500):
        args = arguments(tmp_path, num_train_epochs=9, logging_steps=every, **settings)
        torch.manual_seed(0)
        model = make_model("BertForSequenceClassification", QUIET)
        trainer = Trainer(model, args, train_dataset=data, eval_dataset=data)
        result = trainer.train()
        found.append((result.global_step, pytest.approx(result.training_loss), trainer.state.total_tokens))
    assert found[0][0] == 4
    assert found[0] == found[1]


def test_the_log_has_a_line_a_step(tmp_path: Path):
    args = arguments(tmp_path, logging_dir=str(tmp_path / "log"), eval_strategy="steps", eval_steps=2)
    data = make_examples(12)
    Trainer(make_model("BertForSequenceClassification", QUIET), args, train_dataset=data, eval_dataset=data).train()
    lines = [json.loads(line) for line in (tmp_path / "log" / "log.jsonl").read_text().splitlines()]
    steps = [line for line in lines if "loss" in line]
    assert [line["step"] for line in steps] == [1, 2, 3, 4, 5, 6]
    assert {"step", "epoch", "loss", "grad_norm", "lr", "tokens_per_second"} == set(steps[0])
    assert [line["step"] for line in lines if "eval_loss" in line] == [2, 4, 6]
    assert [line["lr"] for line in steps] == pytest.approx([1e-3 * (6 - step) / 6 for step in range(6)])


def test_the_tokens_per_second_of_training_do_not_count_evaluation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    collate, slow_metrics = clock(monkeypatch)

    data = [example | {"input_ids": [1, 5, 6, 2]} for example in make_examples(12)]
    args = arguments(tmp_path, eval_strategy="steps", eval_steps=2)
    trainer = Trainer(
        make_model("BertForSequenceClassification", QUIET),
        args,
        data_collator=collate,
        train_dataset=data,
        eval_dataset=data,
        compute_metrics=slow_metrics,
    )
    trainer.train()
    speeds = [entry["tokens_per_second"] for entry in trainer.state.log_history if "loss" in entry]
    assert speeds == [16.0] * 6


def test_max_steps_ends_a_run_in_the_middle_of_an_epoch(tmp_path: Path):
    args = arguments(tmp_path, max_steps=5)
    trainer = Trainer(make_model("BertForSequenceClassification", QUIET), args, train_dataset=make_examples(12))
    assert trainer.train().global_step == 5


def test_answers_about_tokens_come_padded_and_in_order(tmp_path: Path):
    data = make_examples(9)
    tags = [example | {"labels": [-100, *[2] * (len(example["input_ids"]) - 2), -100]} for example in data]
    model = BertForTokenClassification(SMALL)
    output = Trainer(model, arguments(tmp_path)).predict(tags)
    longest = max(len(example["input_ids"]) for example in data)
    assert output.predictions.shape == (9, longest, 7)
    for row, example in zip(output.predictions, data, strict=True):
        alone = model(torch.tensor([example["input_ids"]])).logits[0].detach().numpy()
        np.testing.assert_allclose(row[: len(alone)], alone, atol=1e-5)
    for row, example in zip(output.label_ids, tags, strict=True):
        assert row.tolist() == example["labels"] + [-100] * (longest - len(example["labels"]))

    words = [example | {"labels": example["input_ids"]} for example in data]
    assert Trainer(BertForMaskedLM(SMALL), arguments(tmp_path)).predict(words).predictions.shape == (9, longest, 61)

    spans = [
        {key: example[key] for key in ("input_ids",)} | {"start_positions": 0, "end_positions": 1} for example in data
    ]
    answers = Trainer(BertForQuestionAnswering(SMALL), arguments(tmp_path)).predict(spans)
    assert [part.shape for part in answers.predictions] == [(9, longest)] * 2
    assert [part.tolist() for part in answers.label_ids] == [[0] * 9, [1] * 9]
    assert Trainer(BertForQuestionAnswering(SMALL), arguments(tmp_path)).predict(data[:1]).label_ids is None


def test_a_data_collator_of_ones_own_and_columns_for_other_ends(tmp_path: Path):
    data = [example | {"text": "no number", "idx": 3} for example in make_examples(8)]
    model = make_model("BertForSequenceClassification", QUIET)
    plain = Trainer(model, arguments(tmp_path)).predict(data)
    own = Trainer(model, arguments(tmp_path), data_collator=padded_for_transformers).predict(data)
    np.testing.assert_allclose(plain.predictions, own.predictions, atol=1e-5)


def test_bf16_training_keeps_the_weights_in_float32(tmp_path: Path):
    model = make_model("BertForSequenceClassification", QUIET)
    result = Trainer(model, arguments(tmp_path, bf16=True), train_dataset=make_examples(8)).train()
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert math.isfinite(result.training_loss)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"per_device_train_batch_size": 0}, "per_device_train_batch_size must be at least 1: found 0"),
        ({"learning_rate": -1.0}, "learning_rate must be 0 or more"),
        ({"eval_strategy": "always"}, "eval_strategy must be 'no', 'steps' or 'epoch': found 'always'"),
        (
            {"load_best_model_at_end": True},
            "load_best_model_at_end needs eval_strategy and save_strategy to be the same",
        ),
        ({"num_train_epochs": 0}, "num_train_epochs must be above 0"),
        ({"eval_steps": 0.1}, "eval_steps must be a whole number: found 0.1"),
        ({"eval_steps": 0}, "eval_steps must be at least 1: found 0"),
        ({"max_steps": 2.5}, "max_steps must be a whole number: found 2.5"),
        ({"seed": None}, "seed must be a whole number: found None"),
        ({"learning_rate": "2e-5"}, "learning_rate must be a number: found '2e-5'"),
        ({"num_train_epochs": "3"}, "num_train_epochs must be a number: found '3'"),
        ({"save_total_limit": -1}, "save_total_limit must be 0 or more: found -1"),
        ({"report_to": "wandb"}, "report_to must be 'none': read log.jsonl"),
        ({"seed": -1}, "seed must be from 0 to"),
        ({"seed": 1 << 32}, "seed must be from 0 to"),
    ],
)
def test_settings_that_no_run_can_have_get_a_sentence(changes: dict[str, Any], sentence: str):
    with pytest.raises(InputError, match=sentence):
        TrainingArguments(**changes)


def test_settings_that_some_notebooks_have_are_taken(tmp_path: Path):
    """Numbers of NumPy, `report_to=[]`, and 0, by which `transformers` means all checkpoints."""
    settings = {"learning_rate": np.float32(1e-3), "max_steps": np.int64(2), "num_train_epochs": 3, "report_to": []}
    args = arguments(tmp_path, save_strategy="steps", save_steps=1, save_total_limit=0, **settings)
    Trainer(make_model("BertForSequenceClassification", QUIET), args, train_dataset=make_examples(8)).train()
    assert [path.name for path in checkpoints(tmp_path)] == ["checkpoint-1", "checkpoint-2"]


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ([{"text": "a", "labels": 1}], "must hold tokenized examples, with input_ids: number 0 has text, labels"),
        ([([1, 2], 1)], "must hold a dict for each example: number 0 is tuple"),
        ({"input_ids": [[1, 2]], "labels": [1]}, "must be one data set, .* found a dict of input_ids, labels"),
        ((row for row in make_examples(2)), "must have a length and give examples by number: found generator"),
    ],
)
def test_what_is_no_data_set_of_examples_gets_a_sentence(data: Any, sentence: str, tmp_path: Path):
    model, good = make_model("BertForSequenceClassification", QUIET), make_examples(8)
    with pytest.raises(InputError, match=f"train_dataset {sentence}"):
        Trainer(model, arguments(tmp_path), train_dataset=data).train()
    trainer = Trainer(model, arguments(tmp_path, eval_strategy="epoch"), train_dataset=good, eval_dataset=data)
    with pytest.raises(InputError, match=f"eval_dataset {sentence}"):
        trainer.train()
    assert trainer.state.global_step == 0


def test_examples_without_labels_are_no_examples_to_learn_from(tmp_path: Path):
    data = [{"input_ids": example["input_ids"], "target": example["labels"]} for example in make_examples(8)]
    with pytest.raises(InputError, match=r"gives no loss: the examples have input_ids\. It learns from labels or"):
        Trainer(make_model("BertForSequenceClassification", QUIET), arguments(tmp_path), train_dataset=data).train()


def test_a_trainer_without_data_says_so(tmp_path: Path):
    trainer = Trainer(make_model("BertForSequenceClassification", QUIET), arguments(tmp_path))
    with pytest.raises(InputError, match="train_dataset is missing or empty"):
        trainer.train()
    with pytest.raises(InputError, match="eval_dataset is missing or empty"):
        trainer.evaluate()
    trainer.args.eval_strategy, trainer.train_dataset = "epoch", make_examples(8)
    with pytest.raises(InputError, match="eval_dataset is missing or empty"):
        trainer.train()
    assert trainer.state.global_step == 0
