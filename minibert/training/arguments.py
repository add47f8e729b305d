"""The settings of a training run, under the names that `transformers` made well known."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from numbers import Integral, Real

from ..errors import InputError
from ..foreign import foreign
from .foreign_arguments import OLD_TRAINING_ARGUMENTS, TRAINING_ARGUMENTS
from .schedules import SCHEDULES


@dataclass
class TrainingArguments:
    """Defaults are those of `transformers`. Raises `InputError` for values that no run can have."""

    output_dir: str = "trainer_output"  # checkpoints go to output_dir/checkpoint-STEP

    num_train_epochs: float = 3.0
    max_steps: int = -1  # if positive, the number of optimizer steps, whatever num_train_epochs says
    per_device_train_batch_size: int = 8
    per_device_eval_batch_size: int = 8
    gradient_accumulation_steps: int = 1  # so many batches make one optimizer step

    learning_rate: float = 5e-5
    weight_decay: float = 0.0  # not for biases and LayerNorms
    adam_beta1: float = 0.9
    adam_beta2: float = 0.999
    adam_epsilon: float = 1e-8
    max_grad_norm: float = 1.0  # 0: no clipping
    lr_scheduler_type: str = "linear"  # a key of `schedules.SCHEDULES`
    warmup_steps: float = 0  # linear from 0, before it; below 1, a share of all steps
    warmup_ratio: float = 0.0  # the same share, if warmup_steps is 0

    layer_decay: float = 1.0  # each block takes so much of the learning rate of the one above it
    gradual_unfreezing: bool = False  # the head first, everything in the last epoch
    label_smoothing_factor: float = 0.0
    class_weights: bool = False  # examples of rare classes count more,
    balanced_sampling: bool = False  # or are drawn more often
    adversarial_epsilon: float = 0.0  # above 0: learn each batch twice, once with the word embeddings moved so far
    average_decay: float = 0.0  # above 0: evaluate and save a moving average of the weights, which remembers so much
    gradient_checkpointing: bool = False  # less memory, more work

    eval_strategy: str = "no"  # "no", "steps" (every eval_steps) or "epoch"
    eval_steps: int | None = None  # None: as logging_steps
    save_strategy: str = "steps"  # "no", "steps" (every save_steps) or "epoch"
    save_steps: int = 500
    save_total_limit: int | None = None  # keep only so many checkpoints, and the best; None or 0: all
    load_best_model_at_end: bool = False
    metric_for_best_model: str | None = None  # None: "loss"
    greater_is_better: bool | None = None  # None: yes, unless the metric is a loss
    early_stopping_patience: int | None = None  # stop after so many evaluations in a row without a gain
    early_stopping_threshold: float = 0.0  # what is a gain: more than this over the best before

    logging_dir: str | None = None  # if set, every log line is also appended to log.jsonl in it
    logging_strategy: str = "steps"  # "no", "steps" (every logging_steps) or "epoch"
    logging_steps: int = 500
    disable_tqdm: bool = False
    report_to: str | list[str] = "none"  # or []: all there is, so that snippets which say it run; see log.jsonl

    seed: int = 42
    bf16: bool = False  # matrix products in bfloat16; weights, sums and losses stay in float32

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.type == "int" or (field.type == "int | None" and value is not None):
                _require(isinstance(value, Integral), field.name, "a whole number", value)
                setattr(self, field.name, int(value))  # JSON, and so a checkpoint, knows no numbers of NumPy
            elif field.type == "float":
                _require(isinstance(value, Real), field.name, "a number", value)
                setattr(self, field.name, value if isinstance(value, int) else float(value))
        for name in ("per_device_train_batch_size", "per_device_eval_batch_size", "gradient_accumulation_steps"):
            _require(getattr(self, name) >= 1, name, "at least 1", getattr(self, name))
        for name in ("logging_steps", "save_steps", "eval_steps"):
            value = getattr(self, name)
            _require(value is None or value >= 1, name, "at least 1", value)
        _require((self.save_total_limit or 0) >= 0, "save_total_limit", "0 or more", self.save_total_limit)
        for name in (
            "learning_rate", "weight_decay", "adam_epsilon", "max_grad_norm", "warmup_steps", "adversarial_epsilon",
            "early_stopping_threshold",
        ):  # fmt: skip
            _require(getattr(self, name) >= 0, name, "0 or more", getattr(self, name))
        for name in ("adam_beta1", "adam_beta2", "warmup_ratio", "label_smoothing_factor", "average_decay"):
            _require(0 <= getattr(self, name) < 1, name, "in [0, 1)", getattr(self, name))
        _require(0 < self.layer_decay <= 1, "layer_decay", "above 0 and at most 1", self.layer_decay)
        _require(0 <= self.seed < 2**32, "seed", "from 0 to 2**32 - 1", self.seed)
        known = ", ".join(SCHEDULES)
        _require(self.lr_scheduler_type in SCHEDULES, "lr_scheduler_type", f"one of {known}", self.lr_scheduler_type)
        _require(self.max_steps > 0 or self.num_train_epochs > 0, "num_train_epochs", "above 0", self.num_train_epochs)
        for name in ("eval_strategy", "save_strategy", "logging_strategy"):
            value = getattr(self, name)
            _require(value in ("no", "steps", "epoch"), name, "'no', 'steps' or 'epoch'", value)
        _require(self.report_to in ("none", []), "report_to", "'none': read log.jsonl in logging_dir", self.report_to)
        if self.load_best_model_at_end and (
            "no" in (self.eval_strategy, self.save_strategy) or self.eval_strategy != self.save_strategy
        ):
            raise InputError(
                "load_best_model_at_end needs eval_strategy and save_strategy to be the same, 'steps' or 'epoch': "
                f"found '{self.eval_strategy}' and '{self.save_strategy}'."
            )
        if self.early_stopping_patience is not None:
            patience = self.early_stopping_patience
            _require(patience >= 1, "early_stopping_patience", "at least 1", patience)
            _require(self.eval_strategy != "no", "eval_strategy", "'steps' or 'epoch', to stop early", "no")
        if self.adversarial_epsilon and self.gradual_unfreezing:
            raise InputError("adversarial_epsilon moves embeddings that gradual_unfreezing freezes: choose one.")
        if self.class_weights and self.balanced_sampling:
            raise InputError("class_weights and balanced_sampling would count rare classes twice: choose one.")

    def warmup(self, total_steps: int) -> int:
        """The number of steps of the warm-up."""
        if self.warmup_steps >= 1:
            return int(self.warmup_steps)
        return math.ceil(total_steps * (self.warmup_steps or self.warmup_ratio))

    @property
    def best_metric(self) -> str:
        """The key of the metric that decides which checkpoint is best, as it stands in the evaluation's result."""
        name = self.metric_for_best_model or "loss"
        return name if name.startswith("eval_") else f"eval_{name}"

    @property
    def needs_metric(self) -> bool:
        """Whether the run cannot do without `best_metric`."""
        return bool(self.load_best_model_at_end or self.early_stopping_patience or self.metric_for_best_model)

    @property
    def more_is_better(self) -> bool:
        """Whether a greater value of `best_metric` is better."""
        return not self.best_metric.endswith("loss") if self.greater_is_better is None else self.greater_is_better

    def is_better(self, new: float, old: float | None) -> bool:
        """Whether a value of `best_metric` beats the best so far."""
        if old is None or math.isnan(old):
            return True
        return new > old if self.more_is_better else new < old


TrainingArguments.__init__ = foreign(TRAINING_ARGUMENTS, OLD_TRAINING_ARGUMENTS)(  # type: ignore[method-assign]
    TrainingArguments.__init__
)


def _require(holds: bool, name: str, rule: str, value: object) -> None:
    if not holds:
        raise InputError(f"{name} must be {rule}: found {value!r}.")
