"""A fine-tuned model at work: `predict` and `evaluate`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..checkpoints.pretrained import open_checkpoint
from ..errors import InputError
from ..linear import pack_weights
from ..patience import told
from ..tasks import TASKS, task_class
from ..tasks.task import Columns, Examples, Features, Task, saved_settings
from ..tokenization import BertTokenizer
from .arguments import TrainingArguments
from .counterfactuals import counterfactuals
from .measure import latencies_ms, peak_memory_mb
from .slices import slice_metrics, slice_values
from .trainer import PredictionOutput, Trainer


class Judge:
    """A saved model of a task, with its tokenizer. Raises `InputError` if the folder holds something else.

    task_name: what to ask of a model that can do several things; None: what its config says.
    """

    def __init__(
        self, folder: str | Path, batch_size: int, columns: Columns | None = None, task_name: str | None = None
    ) -> None:
        self.folder = folder
        self.task = saved_task(folder, columns or Columns(), task_name)
        self.model = self.task.model_class.from_pretrained(folder)
        if self.model.new_weights:
            raise InputError(f"{folder} was not trained for --task {self.task.name}: see the weights that it lacks.")
        self.tokenizer = BertTokenizer.from_pretrained(folder)
        # One from elsewhere may know no limit.
        limit = self.model.config.max_position_embeddings
        self.tokenizer.model_max_length = min(self.tokenizer.model_max_length, limit)
        arguments = TrainingArguments(per_device_eval_batch_size=batch_size)
        self._trainer = Trainer(
            self.model, arguments, self.task.collate, preprocess_logits_for_metrics=self.task.reduce
        )
        pack_weights(self.model)  # when it is where it will stay

    def answer(self, examples: Examples, purpose: str = "predict") -> list[dict[str, Any]]:
        """What the model says to each example. purpose: stands before the progress bar."""
        features = self.task.features(examples, self.tokenizer)
        return self.task.answers(examples, features, self._ask(features, purpose).predictions)

    def predict(self, examples: Examples, purpose: str = "predict") -> list[dict[str, Any]]:
        """A line for each example: what was asked, and the answer. Labels in the file do not matter."""
        examples = replace(examples, have_truth=False)
        answers = self.answer(examples, purpose)
        return [self.task.asked(example) | answer for example, answer in zip(examples, answers, strict=True)]

    def evaluate(
        self, examples: Examples, slice_column: str | None = None, swaps: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        """Metrics on labelled examples, and speed.

        slice_column: also the metrics of the examples of each of its values, see `slice_metrics`.
        swaps: also what changes when these words are swapped, see `counterfactuals`.
        """
        values = None if slice_column is None else slice_values(examples, slice_column)
        with told("Tokenizing the texts"):
            features = self.task.features(examples, self.tokenizer)
        output = self._ask(features, "eval")
        answers = self.task.answers(examples, features, output.predictions)
        metrics: dict[str, Any] = {
            "examples": len(examples),
            **self.task.metrics(examples, answers),
            "eval_samples_per_second": output.metrics["eval_samples_per_second"],
            **latencies_ms(self._trainer, features),
            "peak_memory_mb": peak_memory_mb(),
        }
        if values is not None:
            with told("Judging each slice, and how sure that is"):
                metrics["slices"] = slice_metrics(self.task, examples, answers, values)
        if swaps is not None:
            metrics["swap"] = counterfactuals(self.task, examples, answers, swaps, self.answer)
        return metrics

    def _ask(self, features: Features, purpose: str) -> PredictionOutput:
        """What the model computes. Raises `InputError` if that is no number.

        purpose: stands before the progress bar, and before the names of the speeds.
        """
        output = self._trainer.predict(features, purpose)
        found = output.predictions if isinstance(output.predictions, tuple) else (output.predictions,)
        if any(np.isnan(array).any() for array in found):
            raise InputError(
                f"{self.folder} answers with what is no number (NaN), so its weights must be broken: "
                "python -m minibert.weights verify tells where."
            )
        return output


def saved_task(folder: str | Path, columns: Columns, name: str | None = None) -> Task:
    """The task of a saved model: `name`; or what its config notes; or, from elsewhere, that of its architecture."""
    checkpoint = open_checkpoint(folder)
    learnt = saved_settings(checkpoint.config).get("task")
    # Another task's head may have the same shape, and would answer nonsense; vectors can be had of any model.
    if name not in (None, learnt, "similarity") and learnt is not None:
        raise InputError(f"{folder} was trained for --task {learnt}, not for {name}.")
    name = name or learnt
    if name is None:
        architecture, problem = checkpoint.architecture, checkpoint.config.problem_type
        if checkpoint.dialect == "google":  # whose files name no architecture; Google released what it pretrained
            architecture = "BertForPreTraining"
        name = next((task for task, places in TASKS.items() if (architecture, problem) in places.models), None)
    if not isinstance(name, str) or name not in TASKS:
        raise InputError(
            f"{folder} is no fine-tuned model ({checkpoint.architecture or 'no architecture'} in its config): "
            "make one with python -m minibert.finetune."
        )
    return task_class(name).from_config(checkpoint.config, columns)
