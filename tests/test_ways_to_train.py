"""What the trainer can do beyond plain fine-tuning: each setting must do what it says, and be exact when resumed."""

from __future__ import annotations

import copy
import itertools
import math
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers.trainer_pt_utils import LabelSmoother

from minibert import (
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertForTokenClassification,
    InputError,
    Trainer,
    TrainingArguments,
)
from minibert.losses import lowest
from minibert.outputs import TaskOutput
from minibert.training.activation_checkpointing import checkpoint_activations
from minibert.training.adversarial import words_moved
from minibert.training.averaging import WeightAverage
from minibert.training.balance import balanced_draw, class_weights
from minibert.training.class_loss import class_loss
from minibert.training.early_stopping import evaluations_without_gain
from minibert.training.learning_rate_finder import find_learning_rate
from minibert.training.schedules import SCHEDULES
from minibert.training.state import checkpoints
from minibert.transfer import Adapters, BitFit, LayerMix, Lora, Prefix, adapt, freeze, remember_features
from minibert.transfer.freezing import depth_of

from .helpers import SMALL, make_batch, make_model
from .test_trainer import QUIET, StopAt, accuracy, arguments, losses, make_examples

# ---------------------------------------------------------------------------------------------------------- schedules


@pytest.mark.parametrize("name", list(SCHEDULES))
@pytest.mark.parametrize("warmup", [0, 3])
def test_schedules_are_those_of_transformers(name: str, warmup: int):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = transformers.get_scheduler(
        name,
        optimizer,
        num_warmup_steps=warmup,
        num_training_steps=11,
        scheduler_specific_kwargs={"power": 2, "lr_end": 0.0} if name == "polynomial" else None,
    )
    for step in range(12):
        assert SCHEDULES[name](step, warmup, 11) == pytest.approx(theirs.get_last_lr()[0], abs=1e-9)
        optimizer.step()
        theirs.step()


def test_the_schedule_that_was_asked_for_is_followed(tmp_path: Path):
    args = arguments(tmp_path, lr_scheduler_type="cosine")
    trainer = Trainer(make_model("BertForSequenceClassification", QUIET), args, train_dataset=make_examples(12))
    trainer.train()
    rates = [entry["lr"] for entry in trainer.state.log_history if "lr" in entry]
    assert rates == pytest.approx([1e-3 * (1 + math.cos(math.pi * step / 6)) / 2 for step in range(6)])


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"lr_scheduler_type": "wavy"}, "lr_scheduler_type must be one of linear, .*: found 'wavy'"),
        ({"layer_decay": 0.0}, "layer_decay must be above 0 and at most 1: found 0.0"),
        ({"label_smoothing_factor": 1.0}, r"label_smoothing_factor must be in \[0, 1\)"),
        ({"average_decay": 1.0}, r"average_decay must be in \[0, 1\)"),
        ({"adversarial_epsilon": -1.0}, "adversarial_epsilon must be 0 or more: found -1.0"),
        ({"adversarial_epsilon": 1.0, "gradual_unfreezing": True}, "that gradual_unfreezing freezes: choose one"),
        ({"early_stopping_patience": 0, "eval_strategy": "epoch"}, "early_stopping_patience must be at least 1"),
        ({"early_stopping_patience": 2}, "eval_strategy must be 'steps' or 'epoch', to stop early: found 'no'"),
        ({"class_weights": True, "balanced_sampling": True}, "count rare classes twice: choose one"),
    ],
)
def test_settings_that_no_run_can_have_get_a_sentence(changes: dict[str, Any], sentence: str):
    with pytest.raises(InputError, match=sentence):
        TrainingArguments(**changes)


# ------------------------------------------------------------------------------------------------- rates, unfreezing


def test_with_layer_decay_lower_layers_take_smaller_steps(tmp_path: Path):
    model = make_model("BertForSequenceClassification", QUIET).double()
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    args = arguments(tmp_path, layer_decay=0.5, max_steps=1, weight_decay=0.0, learning_rate=1e-3)
    Trainer(model, args, train_dataset=make_examples(8)).train()
    for name, parameter in model.named_parameters():
        # The first step of Adam is as long as the learning rate, wherever there is a gradient.
        assert (parameter - before[name]).abs().max().item() == pytest.approx(
            1e-3 * 0.5 ** (4 - depth_of(name, 3)), rel=1e-2
        ), name


class Watched(list[dict[str, Any]]):
    """Data that notes how deep the training goes when its examples are asked for."""

    def __init__(self, data: list[dict[str, Any]], model: Any) -> None:
        super().__init__(data)
        self.model = model
        self.depths: list[int] = []

    def __getitem__(self, index: Any) -> Any:
        trained = [depth_of(name, 3) for name, parameter in self.model.named_parameters() if parameter.requires_grad]
        self.depths.append(min(trained))
        return super().__getitem__(index)


def test_gradual_unfreezing_goes_down_epoch_by_epoch(tmp_path: Path):
    model = make_model("BertForSequenceClassification", QUIET)
    data = Watched(make_examples(8), model)
    args = arguments(tmp_path, num_train_epochs=5, gradual_unfreezing=True)
    Trainer(model, args, train_dataset=data).train()
    assert data.depths[8:] == [4] * 8 + [3] * 8 + [2] * 8 + [1] * 8 + [0] * 8  # after the look at all lengths
    adapt(model, BitFit())
    with pytest.raises(InputError, match=r"has BitFit\(\), which says what is trained"):
        Trainer(model, args, train_dataset=data).train()
    model = make_model("BertForSequenceClassification", QUIET)
    with pytest.raises(InputError, match="takes two epochs or more"):
        Trainer(model, arguments(tmp_path, num_train_epochs=1, gradual_unfreezing=True), train_dataset=data).train()


class Scripted(Trainer):
    """Its losses are known beforehand; each step moves all weights."""

    script = (2.0,) * 30 + (1.0,) * 30 + (50.0,) * 40

    def training_step(self, optimizer: Any, batches: Any, learning_rate: float) -> Any:
        self.rates = [*getattr(self, "rates", []), learning_rate]
        with torch.no_grad():
            for parameter in self.model.parameters():
                parameter.add_(1)
        return {"loss": torch.tensor(self.script[len(self.rates) - 1])}, 1


def test_the_rate_finder_goes_up_until_the_loss_explodes_and_puts_the_weights_back(tmp_path: Path):
    model = BertForSequenceClassification(QUIET)
    before = copy.deepcopy(model.state_dict())
    trainer = Scripted(model, arguments(tmp_path), train_dataset=make_examples(9))
    sweep = find_learning_rate(trainer)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert sweep.rates == trainer.rates[:60]  # that of the explosion is left out
    assert len(trainer.rates) == 61
    factors = [after / rate for rate, after in itertools.pairwise(sweep.rates)]
    assert sweep.rates[0] == 1e-7
    assert factors == pytest.approx([10 ** (7 / 99)] * 59)
    assert sweep.losses[:30] == pytest.approx([2.0] * 30)  # smoothed, but not towards 0
    assert sweep.suggestion == sweep.rates[-1] / 10


# --------------------------------------------------------------------------------------------------------- the losses


@pytest.mark.parametrize("head", [BertForSequenceClassification, BertForTokenClassification])
def test_label_smoothing_is_that_of_transformers(head: Any):
    model = make_model(head.__name__, QUIET)
    batch = make_batch(QUIET)
    shape = (4,) if head is BertForSequenceClassification else (4, 16)
    labels = torch.randint(3, shape)
    labels[-1] = -100
    output = model(**batch)
    expected = LabelSmoother(0.2)({"logits": output.logits}, labels)
    torch.testing.assert_close(class_loss(output, labels, 0.2, None), expected)
    torch.testing.assert_close(class_loss(output, labels, 0.0, None), F.cross_entropy(
        output.logits.flatten(0, -2), labels.flatten(), ignore_index=-100
    ))  # fmt: skip


def test_label_smoothing_spreads_to_no_choice_that_a_question_lacks():
    logits = torch.tensor([[1.0, 0.5, 2.0], [1.0, 3.0, lowest(torch.ones(1))]], requires_grad=True)
    labels = torch.tensor([2, 0])
    found = class_loss(TaskOutput(None, logits), labels, 0.3, None)
    whole, part = (
        F.cross_entropy(logits[row : row + 1, :choices], labels[row : row + 1], label_smoothing=0.3)
        for row, choices in enumerate((3, 2))
    )
    torch.testing.assert_close(found, (whole + part) / 2)
    found.backward()
    assert logits.grad is not None
    assert logits.grad[1, 2] == 0


def test_class_weights_are_those_of_torch_and_smoothing_reaches_the_trainer(tmp_path: Path):
    model = make_model("BertForSequenceClassification", QUIET)
    data = make_examples(9)
    weights = class_weights([example["labels"] for example in data], 3)
    trainer = Trainer(model, arguments(tmp_path, class_weights=True, label_smoothing_factor=0.1), train_dataset=data)
    batch = trainer.batch(data, list(range(9)))
    model.train()
    expected = F.cross_entropy(model(**batch).logits, batch["labels"], weights, label_smoothing=0.1)
    torch.testing.assert_close(trainer._loss_of(batch), expected)
    plain = Trainer(model, arguments(tmp_path))  # evaluation goes without both
    assert trainer.evaluate(data)["eval_loss"] == plain.evaluate(data)["eval_loss"]


def test_class_weights_are_those_of_the_data_at_hand(tmp_path: Path):
    """A trainer may be given other data between two runs."""
    trainer = Trainer(make_model("BertForSequenceClassification", QUIET), arguments(tmp_path, class_weights=True))
    for data in make_examples(20)[:8], make_examples(20)[8:]:
        trainer.train_dataset = data
        trainer.train()
        batch = trainer.batch(data, list(range(len(data))))
        weights = class_weights([example["labels"] for example in data], 3)
        trainer.model.train()
        expected = F.cross_entropy(trainer.model(**batch).logits, batch["labels"], weights)
        torch.testing.assert_close(trainer._loss_of(batch), expected)


def test_class_weights_by_hand():
    assert class_weights([0, 0, 0, 1], 3).tolist() == pytest.approx([4 / 9, 4 / 3, 0])
    assert class_weights([[0, -100, 1], [1, 1]], 2).tolist() == pytest.approx([2, 2 / 3])
    with pytest.raises(InputError, match=r"Class weights need labels 0 to 1: found 0\.5"):
        class_weights([0.5, 1.0], 2)
    with pytest.raises(InputError, match="Class weights need labels 0 to 1: found 2"):
        class_weights([2, 2], 2)


def test_a_batch_without_any_label_has_no_loss():
    output = make_model("BertForSequenceClassification", QUIET)(**make_batch(QUIET))
    assert class_loss(output, torch.full((4,), -100), 0.1, torch.ones(3)).item() == 0


def test_heads_that_choose_no_class_refuse_smoothing(tmp_path: Path):
    spans = [{"input_ids": [1, 5, 2], "labels": 0, "start_positions": 0, "end_positions": 1}]
    args = arguments(tmp_path, label_smoothing_factor=0.1)
    regression = BertForSequenceClassification(SMALL.replace(num_labels=1))
    with pytest.raises(InputError, match="heads that choose one of several classes: this one does not"):
        Trainer(regression, args, train_dataset=[{"input_ids": [1, 5, 2], "labels": 0.5}]).train()
    with pytest.raises(InputError, match="heads that choose one of several classes: this one does not"):
        Trainer(regression, args, train_dataset=[{"input_ids": [1, 5, 2], "labels": 3}]).train()
    with pytest.raises(InputError, match="heads that choose one of several classes: this one does not"):
        Trainer(BertForQuestionAnswering(SMALL), args, train_dataset=spans).train()


# ------------------------------------------------------------------------------------------------------------- balance


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 5), st.integers(0, 5))
def test_a_balanced_draw_takes_every_class_alike(seed: int, epoch: int):
    labels = [0] * 900 + [1] * 90 + [2] * 10
    drawn = balanced_draw(labels, seed, epoch)
    assert len(drawn) == 1000
    assert all(abs(count - 333) < 75 for count in Counter(labels[index] for index in drawn).values())  # 5 deviations
    with torch.device("meta"):  # the default device has no say in it
        assert drawn == balanced_draw(labels, seed, epoch)
    assert drawn != balanced_draw(labels, seed, epoch + 1)


def test_balanced_sampling_reaches_the_trainer(tmp_path: Path):
    data = make_examples(200)
    rare = [example for example in data if example["labels"] == 0][:2]
    data = [example for example in data if example["labels"] != 0] + rare
    seen: Counter[int] = Counter()

    class Counted(list[dict[str, Any]]):
        def __getitem__(self, index: Any) -> Any:
            example = super().__getitem__(index)
            seen[example["labels"]] += 1
            return example

    args = arguments(tmp_path, num_train_epochs=1, per_device_train_batch_size=32, balanced_sampling=True)
    Trainer(make_model("BertForSequenceClassification", QUIET), args, train_dataset=Counted(data)).train()
    assert seen[0] > len(data) / 6


@pytest.mark.parametrize("accumulation", [1, 3])
def test_what_is_drawn_is_what_is_learnt_in_batches_of_like_length(accumulation: int, tmp_path: Path):
    data = make_examples(50)
    learnt: list[list[list[int]]] = []  # the rows of each batch

    class Noting(Trainer):
        def training_step(self, optimizer: Any, batches: Any, learning_rate: float) -> Any:
            for packed in (batch["input_ids"] for batch in batches):
                rows = packed.input_ids.split(packed.layout.cu_seqlens.diff().tolist())
                learnt.append([row.tolist() for row in rows])
            return super().training_step(optimizer, batches, learning_rate)

    args = arguments(tmp_path, balanced_sampling=True, gradient_accumulation_steps=accumulation, seed=5)
    Noting(make_model("BertForSequenceClassification", QUIET), args, train_dataset=data).train()
    assert len(learnt) == 2 * 13
    for epoch in range(2):
        batches = sorted(learnt[13 * epoch : 13 * (epoch + 1)], key=lambda batch: (len(batch[0]), len(batch[-1])))
        drawn = balanced_draw([example["labels"] for example in data], 5, epoch)
        assert sorted(row for batch in batches for row in batch) == sorted(data[index]["input_ids"] for index in drawn)
        for shorter, longer in itertools.pairwise(batches):
            assert max(map(len, shorter)) <= min(map(len, longer))


@pytest.mark.parametrize("balanced", [False, True])
def test_the_learning_rate_is_sought_with_the_batches_that_will_be_learnt(balanced: bool, tmp_path: Path):
    steps: list[list[list[int]]] = []

    class Noting(Trainer):
        def training_step(self, optimizer: Any, batches: Any, learning_rate: float) -> Any:
            steps.append([batch["input_ids"].input_ids.tolist() for batch in batches])
            return super().training_step(optimizer, batches, learning_rate)

    args = arguments(tmp_path, gradient_accumulation_steps=3, balanced_sampling=balanced, seed=5)
    trainer = Noting(make_model("BertForSequenceClassification", QUIET), args, train_dataset=make_examples(50))
    sweep = find_learning_rate(trainer)
    sought = steps[: len(sweep.rates)]
    steps.clear()
    trainer.train()
    assert len(steps[0]) == 3
    assert len(sought) > len(steps)  # so the second epoch is among them
    assert sought[: len(steps)] == steps


def test_balanced_sampling_needs_one_label_an_example(tmp_path: Path):
    args = arguments(tmp_path, balanced_sampling=True)
    tags = [example | {"labels": example["input_ids"]} for example in make_examples(4)]
    with pytest.raises(InputError, match="needs one label an example"):
        Trainer(make_model("BertForTokenClassification"), args, train_dataset=tags).train()


# ---------------------------------------------------------------------------------------- early stopping and averages


def test_evaluations_without_gain_by_hand():
    assert evaluations_without_gain([], 0.0, True) == 0
    assert evaluations_without_gain([0.5, 0.6, 0.6, 0.55], 0.0, True) == 2
    assert evaluations_without_gain([0.5, 0.6, 0.61, 0.62], 0.015, True) == 0  # slowly, but over the last gain
    assert evaluations_without_gain([0.5, 0.6, 0.61, 0.605], 0.05, True) == 2
    assert evaluations_without_gain([2.0, 1.0, 1.5, 0.9], 0.0, False) == 0
    assert evaluations_without_gain([2.0, 1.0, 1.5, 1.1], 0.0, False) == 2
    assert evaluations_without_gain([math.nan, 0.1, 0.2, math.nan], 0.0, True) == 1
    assert evaluations_without_gain([math.nan, math.nan], 0.0, True) == 2


def test_a_run_stops_early_and_a_resumed_one_at_the_same_place(tmp_path: Path):
    scores = {4: 0.5, 8: 0.7, 12: 0.7, 16: 0.6, 20: 0.9}
    data = make_examples(16)
    for resumed in (False, True):
        model = make_model("BertForSequenceClassification", QUIET)
        args = arguments(
            tmp_path, num_train_epochs=5, eval_strategy="epoch", save_strategy="epoch", load_best_model_at_end=True,
            metric_for_best_model="score", early_stopping_patience=2,
        )  # fmt: skip
        trainer = Trainer(model, args, train_dataset=data, eval_dataset=data)
        trainer.compute_metrics = lambda _, trainer=trainer: {"score": scores[trainer.state.global_step]}
        assert trainer.train(resume_from_checkpoint=True if resumed else None).global_step == 16
    best = BertForSequenceClassification.from_pretrained(tmp_path / "checkpoint-8")
    assert all(torch.equal(a, b) for a, b in zip(best.state_dict().values(), model.state_dict().values(), strict=True))


def test_an_average_of_weights_by_hand():
    weight = torch.nn.Parameter(torch.tensor([0.0]))
    optimizer = torch.optim.SGD([weight], lr=1.0, momentum=0.5)
    average = WeightAverage(optimizer, 0.5)
    expected = None
    for step in range(6):
        weight.grad = torch.tensor([-1.0])
        optimizer.step()
        average.update(step)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = weight.item() if expected is None else decay * expected + (1 - decay) * weight.item()
    last = weight.item()
    with average.in_use():
        assert weight.item() == pytest.approx(expected)
    assert weight.item() == last != pytest.approx(expected)


def test_the_average_is_evaluated_saved_and_left_in_the_model(tmp_path: Path):
    data = make_examples(16)
    models = {}
    for decay in (0.0, 0.9):
        torch.manual_seed(0)
        models[decay] = BertForSequenceClassification(QUIET)
        args = arguments(
            tmp_path / str(decay), average_decay=decay, eval_strategy="epoch", save_strategy="epoch"
        )  # fmt: skip
        trainer = Trainer(models[decay], args, train_dataset=data, eval_dataset=data)
        trainer.train()
        last = [entry["eval_loss"] for entry in trainer.state.log_history if "eval_loss" in entry][-1]
        assert trainer.evaluate()["eval_loss"] == pytest.approx(last, abs=1e-6)
        saved = BertForSequenceClassification.from_pretrained(checkpoints(tmp_path / str(decay))[-1])
        assert torch.equal(saved.classifier.weight, models[decay].classifier.weight)
    assert not torch.equal(models[0.0].classifier.weight, models[0.9].classifier.weight)


# ------------------------------------------------------------------------------------------------- activation memory


def test_checkpointed_activations_change_no_gradient_and_save_memory():
    gradients: list[dict[str, Any]] = []
    sizes = []
    for checkpointed in (False, True):
        model = make_model("BertForSequenceClassification", SMALL).train()  # with dropout
        torch.manual_seed(0)
        if not gradients:
            state = model.state_dict()
        model.load_state_dict(state)
        if checkpointed:
            checkpoint_activations(model)
            checkpoint_activations(model)  # asking twice is asking once
        kept: list[int] = []

        def keep(tensor: torch.Tensor, kept: list[int] = kept) -> torch.Tensor:
            kept.append(tensor.numel())
            return tensor

        torch.manual_seed(1)
        batch = make_batch()
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            loss = model(**batch, labels=torch.tensor([0, 1, 2, 3])).loss
        sizes.append(sum(kept))
        loss.backward()
        gradients.append({name: parameter.grad for name, parameter in model.named_parameters()})
    for name, gradient in gradients[0].items():
        assert torch.equal(gradient, gradients[1][name]), name
    assert sizes[1] < sizes[0] / 3


# ------------------------------------------------------------------------------------------------ adversarial training


def test_each_step_learns_a_second_time_with_the_words_moved_along_their_gradient(tmp_path: Path):
    """Against the same written out by hand, with plain gradient descent."""
    data = make_examples(8)
    model = make_model("BertForSequenceClassification", QUIET).double()
    by_hand = copy.deepcopy(model)
    args = arguments(tmp_path, adversarial_epsilon=0.3, max_grad_norm=0, gradient_accumulation_steps=2)
    trainer = Trainer(model, args, train_dataset=data)
    batches = [trainer.batch(data, [0, 1, 2]), trainer.batch(data, [3, 4])]
    optimizer = torch.optim.SGD([{"params": [*model.parameters()], "rate": 1.0}], lr=1.0)
    figures, tokens = trainer.training_step(optimizer, batches, 0.5)

    def mean_loss() -> torch.Tensor:
        return sum(by_hand(**batch).loss * rows / 5 for batch, rows in zip(batches, (3, 2), strict=True))

    loss = mean_loss()
    loss.backward()
    words = by_hand.bert.embeddings.word_embeddings.weight
    shift = 0.3 * words.grad / words.grad.norm()
    words.data += shift
    mean_loss().backward()
    words.data -= shift
    assert figures["loss"].item() == pytest.approx(loss.item())
    assert tokens == sum(len(data[index]["input_ids"]) for index in range(5))
    for (name, parameter), wanted in zip(model.named_parameters(), by_hand.parameters(), strict=True):
        torch.testing.assert_close(parameter, wanted - 0.5 * wanted.grad, msg=name)


def test_an_own_loss_may_take_the_labels_out_of_what_is_learnt_twice(tmp_path: Path):
    """As people write it for `transformers`' Trainer: `labels = inputs.pop("labels")`."""
    asked = []

    class OwnLoss(Trainer):
        def compute_loss(self, model: Any, inputs: dict[str, Any], *_: Any, **__: Any) -> torch.Tensor:
            asked.append(inputs.pop("labels"))
            return F.cross_entropy(model(**inputs).logits, asked[-1])

    data = make_examples(4)
    args = arguments(tmp_path, adversarial_epsilon=0.3, num_train_epochs=1, per_device_train_batch_size=4)
    OwnLoss(make_model("BertForSequenceClassification", QUIET), args, train_dataset=data).train()
    first, again = asked
    assert torch.equal(first, again)


def test_the_words_move_so_far_and_come_back():
    model = make_model("BertForSequenceClassification", QUIET)
    words = model.bert.embeddings.word_embeddings.weight
    before = words.detach().clone()
    words.grad = torch.randn_like(words)
    with suppress(KeyboardInterrupt), words_moved(model, 0.7):
        assert (words - before).norm().item() == pytest.approx(0.7, rel=1e-5)
        assert F.cosine_similarity((words - before).flatten(), words.grad.flatten(), dim=0).item() > 0.9999
        raise KeyboardInterrupt
    assert torch.equal(words, before)
    words.grad.zero_()
    with words_moved(model, 0.7):
        assert torch.equal(words, before)


@pytest.mark.parametrize("frozen", [lambda model: freeze(model, "embeddings"), lambda model: adapt(model, Lora())])
def test_frozen_words_cannot_be_moved(frozen: Any, tmp_path: Path):
    model = make_model("BertForSequenceClassification", QUIET)
    frozen(model)
    trainer = Trainer(model, arguments(tmp_path, adversarial_epsilon=1.0), train_dataset=make_examples(8))
    with pytest.raises(InputError, match="moves the word embeddings, which are frozen here"):
        trainer.train()


# -------------------------------------------------------------------------------------------- exact when taken up again


def frozen_with_features(model: Any) -> None:
    freeze(model, "encoder")
    remember_features(model)


PLAIN_MODELS: dict[str, Any] = {
    "average": {"average_decay": 0.9},
    "gradual": {"gradual_unfreezing": True, "layer_decay": 0.8},
    "adversarial": {"adversarial_epsilon": 1.0},
    "balanced": {"balanced_sampling": True, "label_smoothing_factor": 0.1},
    "weights": {"class_weights": True, "lr_scheduler_type": "cosine", "gradient_checkpointing": True},
}
ADAPTED_MODELS: dict[str, Any] = {
    "lora": lambda model: adapt(model, Lora(2)),
    "adapters": lambda model: adapt(model, Adapters("houlsby", 3)),
    "prefix": lambda model: adapt(model, Prefix(3)),
    "bitfit": lambda model: adapt(model, BitFit()),
    "mix": lambda model: adapt(model, LayerMix()),
    "features": frozen_with_features,
    "frozen": lambda model: freeze(model, 2),
}


@pytest.mark.parametrize("technique", [*PLAIN_MODELS, *ADAPTED_MODELS])
def test_a_stopped_run_goes_on_as_if_nothing_had_happened(technique: str, tmp_path: Path):
    data = make_examples(20)
    config = SMALL.replace(num_labels=3)  # with dropout
    torch.manual_seed(0)
    base = BertForSequenceClassification(config).state_dict()
    finals = {}
    for name in ("whole", "stopped"):
        args = arguments(
            tmp_path / name, num_train_epochs=3, eval_strategy="epoch", save_strategy="epoch",
            load_best_model_at_end=True, metric_for_best_model="accuracy", **PLAIN_MODELS.get(technique, {}),
        )  # fmt: skip

        def fresh_trainer(seed: int, dataset: Any, args: Any = args) -> Trainer:
            model = BertForSequenceClassification(config)
            model.load_state_dict(base)
            torch.manual_seed(seed)
            ADAPTED_MODELS.get(technique, lambda model: None)(model)
            return Trainer(model, args, train_dataset=dataset, eval_dataset=data, compute_metrics=accuracy)

        if name == "stopped":
            looks = 40 if technique == "balanced" else 20  # at lengths, and at labels
            with pytest.raises(KeyboardInterrupt):
                fresh_trainer(0, StopAt(data, after=looks + 28)).train()  # in the second of three epochs
        trainer = fresh_trainer(99 if name == "stopped" else 0, data)
        trainer.train(resume_from_checkpoint=name == "stopped" or None)
        finals[name] = (trainer.model.state_dict(), losses(trainer.state.log_history))
    assert finals["whole"][1] == finals["stopped"][1]
    assert all(torch.equal(tensor, finals["stopped"][0][key]) for key, tensor in finals["whole"][0].items())
    assert not all(torch.equal(tensor, base[key]) for key, tensor in finals["whole"][0].items() if key in base)
