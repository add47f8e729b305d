"""The settings of a training run, under the names that `transformers` made well known."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import InputError


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
    warmup_steps: int = 0  # linear from 0; then linear to 0 at the last step
    warmup_ratio: float = 0.0  # the same as a share of all steps, if warmup_steps is 0

    eval_strategy: str = "no"  # "no", "steps" (every eval_steps) or "epoch"
    eval_steps: int | None = None  # None: as logging_steps
    save_strategy: str = "steps"  # "no", "steps" (every save_steps) or "epoch"
    save_steps: int = 500
    save_total_limit: int | None = None  # keep only so many checkpoints, and the best
    load_best_model_at_end: bool = False
    metric_for_best_model: str | None = None  # None: "loss"
    greater_is_better: bool | None = None  # None: yes, unless the metric is a loss

    logging_dir: str | None = None  # if set, every log line is also appended to log.jsonl in it
    logging_steps: int = 500
    disable_tqdm: bool = False

    seed: int = 42
    bf16: bool = False  # matrix products in bfloat16; weights, sums and losses stay in float32

    def __post_init__(self) -> None:
        for name in ("per_device_train_batch_size", "per_device_eval_batch_size", "gradient_accumulation_steps"):
            _require(getattr(self, name) >= 1, name, "at least 1", getattr(self, name))
        for name in ("logging_steps", "save_steps"):
            _require(getattr(self, name) >= 1, name, "at least 1", getattr(self, name))
        for name in ("learning_rate", "weight_decay", "adam_epsilon", "max_grad_norm", "warmup_steps"):
            _require(getattr(self, name) >= 0, name, "0 or more", getattr(self, name))
        for name in ("adam_beta1", "adam_beta2", "warmup_ratio"):
            _require(0 <= getattr(self, name) < 1, name, "in [0, 1)", getattr(self, name))
        _require(self.max_steps > 0 or self.num_train_epochs > 0, "num_train_epochs", "above 0", self.num_train_epochs)
        for name in ("eval_strategy", "save_strategy"):
            value = getattr(self, name)
            _require(value in ("no", "steps", "epoch"), name, "'no', 'steps' or 'epoch'", value)
        if self.load_best_model_at_end and (
            "no" in (self.eval_strategy, self.save_strategy) or self.eval_strategy != self.save_strategy
        ):
            raise InputError(
                "load_best_model_at_end needs eval_strategy and save_strategy to be the same, 'steps' or 'epoch': "
                f"found '{self.eval_strategy}' and '{self.save_strategy}'."
            )

    @property
    def best_metric(self) -> str:
        """The key of the metric that decides which checkpoint is best, as it stands in the evaluation's result."""
        name = self.metric_for_best_model or "loss"
        return name if name.startswith("eval_") else f"eval_{name}"

    def is_better(self, new: float, old: float | None) -> bool:
        """Whether a value of `best_metric` beats the best so far."""
        greater = self.greater_is_better
        if greater is None:
            greater = not self.best_metric.endswith("loss")
        return old is None or (new > old if greater else new < old)


def _require(holds: bool, name: str, rule: str, value: object) -> None:
    if not holds:
        raise InputError(f"{name} must be {rule}: found {value!r}.")
