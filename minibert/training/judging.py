"""A fine-tuned model at work: `predict` and `evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..checkpoints.pretrained import open_checkpoint
from ..errors import InputError
from ..tasks import TASKS, task_class
from ..tasks.task import Columns, Examples, Task, saved_settings
from ..tokenization import BertTokenizer
from .arguments import TrainingArguments
from .measure import latencies_ms, peak_memory_mb
from .trainer import Trainer


class Judge:
    """A saved model of a task, with its tokenizer. Raises `InputError` if the folder holds something else."""

    def __init__(self, folder: str | Path, batch_size: int, columns: Columns | None = None) -> None:
        self.task = saved_task(folder, columns or Columns())
        self.model = self.task.model_class.from_pretrained(folder)
        self.tokenizer = BertTokenizer.from_pretrained(folder)
        arguments = TrainingArguments(per_device_eval_batch_size=batch_size)
        self._trainer = Trainer(self.model, arguments, data_collator=self.task.collate)

    def predict(self, examples: Examples) -> list[dict[str, Any]]:
        """A line for each example: what was asked, and the answer."""
        features = self.task.features(examples, self.tokenizer)
        answers = self.task.answers(examples, features, self._trainer.predict(features).predictions)
        return [example.given | answer for example, answer in zip(examples, answers, strict=True)]

    def evaluate(self, examples: Examples, slice_column: str | None = None) -> dict[str, Any]:
        """Metrics on labelled examples, and speed; with a column's name also the metrics of each of its values."""
        values = None if slice_column is None else _values(examples, slice_column)
        features = self.task.features(examples, self.tokenizer)
        output = self._trainer.predict(features, "eval")
        answers = self.task.answers(examples, features, output.predictions)
        metrics: dict[str, Any] = {
            "examples": len(examples),
            **self.task.metrics(examples, answers),
            "eval_samples_per_second": output.metrics["eval_samples_per_second"],
            **latencies_ms(self._trainer, features),
            "peak_memory_mb": peak_memory_mb(),
        }
        if values is not None:
            slices = {}
            for value in sorted(set(values)):
                chosen = [number for number, found in enumerate(values) if found == value]
                found = self.task.metrics(examples.subset(chosen), [answers[number] for number in chosen])
                slices[value] = {"examples": len(chosen), **{name: found[name] for name in self.task.headline}}
            metrics["slices"] = dict(sorted(slices.items(), key=lambda item: item[1][self.task.headline[0]]))
        return metrics


def saved_task(folder: str | Path, columns: Columns) -> Task:
    """The task of a saved model: as its config notes, or, if it comes from elsewhere, that of its architecture."""
    checkpoint = open_checkpoint(folder)
    name = saved_settings(checkpoint.config).get("task")
    if name is None:
        architecture, problem = checkpoint.architecture, checkpoint.config.problem_type
        name = next((task for task, places in TASKS.items() if (architecture, problem) in places.models), None)
    if name not in TASKS:
        raise InputError(
            f"{folder} is no fine-tuned model ({checkpoint.architecture or 'no architecture'} in its config): "
            "make one with python -m minibert.finetune."
        )
    return task_class(name).from_config(checkpoint.config, columns)


def _values(examples: Examples, column: str) -> list[str]:
    """The values of a column, as text."""
    for example in examples:
        if column not in example.columns:
            found = ", ".join(map(str, example.columns)) or "no columns"
            raise examples.fault(
                example, f"there is no column '{column}', but {found}. Name the right one with --slice"
            )
    return [str(example.columns[column]) for example in examples]
