"""A fine-tuned classifier at work: `predict` and `evaluate`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..checkpoints.pretrained import open_checkpoint
from ..errors import InputError
from ..heads import BertForSequenceClassification
from ..tasks.classification import Examples, answers, classification_metrics, encode
from ..tokenization import BertTokenizer
from .arguments import TrainingArguments
from .measure import latencies_ms, peak_memory_mb
from .trainer import PredictionOutput, Trainer

LATENCY_EXAMPLES = 100


class Judge:
    """A saved classifier with its tokenizer. Raises `InputError` if the folder holds something else."""

    def __init__(self, folder: str | Path, batch_size: int) -> None:
        architecture = open_checkpoint(folder).architecture
        if architecture != "BertForSequenceClassification":
            raise InputError(
                f"{folder} is no fine-tuned classifier ({architecture or 'no architecture'} in its config): "
                "make one with python -m minibert.finetune."
            )
        self.model = BertForSequenceClassification.from_pretrained(folder)
        self.tokenizer = BertTokenizer.from_pretrained(folder)
        config = self.model.config
        self.names = list((config.id2label or {i: f"LABEL_{i}" for i in range(config.num_labels)}).values())
        self._trainer = Trainer(self.model, TrainingArguments(per_device_eval_batch_size=batch_size))

    def predict(self, texts: Sequence[str], texts_b: Sequence[str] | None) -> list[dict[str, Any]]:
        """A line for each text: the text, the label, its probability, and the probabilities of all labels."""
        logits = self._trainer.predict(encode(texts, texts_b, self.tokenizer)).predictions
        pairs = [{"text": text} for text in texts]
        for line, text_b in zip(pairs, texts_b or [], strict=False):
            line["text_b"] = text_b
        return [line | answer for line, answer in zip(pairs, answers(logits, self.names), strict=True)]

    def evaluate(self, examples: Examples, slice_column: str | None = None) -> dict[str, Any]:
        """Metrics on labelled examples, and speed; with a column's name also the metrics of each of its values."""
        labels = np.array(examples.label_ids(self.names))
        groups = examples.table.column(slice_column, "--slice") if slice_column else None
        encoded = encode(examples.texts, examples.texts_b, self.tokenizer)
        output: PredictionOutput = self._trainer.predict(encoded, "eval")
        predicted = output.predictions.argmax(axis=1)
        metrics: dict[str, Any] = {
            "examples": len(examples),
            **classification_metrics(labels, predicted, self.names),
            "eval_samples_per_second": output.metrics["eval_samples_per_second"],
            **latencies_ms(self.model, encoded[:LATENCY_EXAMPLES]),
            "peak_memory_mb": peak_memory_mb(),
        }
        if groups is not None:
            values = np.array([str(value) for value in groups])
            slices = {value: self._slice(labels, predicted, values == value) for value in np.unique(values).tolist()}
            metrics["slices"] = dict(sorted(slices.items(), key=lambda item: item[1]["accuracy"]))
        return metrics

    def _slice(self, labels: Any, predicted: Any, chosen: Any) -> dict[str, Any]:
        metrics = classification_metrics(labels[chosen], predicted[chosen], self.names)
        return {"examples": int(chosen.sum())} | {name: metrics[name] for name in ("accuracy", "f1_macro", "mcc")}
