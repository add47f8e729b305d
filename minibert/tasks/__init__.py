"""The tasks, one file each."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from .task import Task


class Entry(NamedTuple):
    """Where a task is written; and which models from elsewhere are taken for it, by architecture and problem type."""

    class_name: str
    models: tuple[tuple[str, str | None], ...] = ()


# `--task NAME` is the class in the file NAME.py.
TASKS = {
    "classification": Entry(
        "ClassificationTask",
        (("BertForSequenceClassification", None), ("BertForSequenceClassification", "single_label_classification")),
    ),
    "choice": Entry("ChoiceTask", (("BertForMultipleChoice", None),)),
    "ner": Entry("NerTask", (("BertForTokenClassification", None),)),
    "mlm": Entry("MlmTask", (("BertForMaskedLM", None), ("BertForPreTraining", None))),
    "nsp": Entry("NspTask", (("BertForNextSentencePrediction", None),)),
    "qa": Entry("QuestionAnsweringTask", (("BertForQuestionAnswering", None),)),
    "summarization": Entry("SummarizationTask"),
    "multilabel": Entry("MultilabelTask", (("BertForSequenceClassification", "multi_label_classification"),)),
    "regression": Entry("RegressionTask", (("BertForSequenceClassification", "regression"),)),
    "similarity": Entry("SimilarityTask", (("BertModel", None),)),
}


def task_class(name: str) -> type[Task]:
    """The class of a task. It brings torch along, which `--help` does without."""
    found: Any = getattr(import_module(f".{name}", __package__), TASKS[name].class_name)
    return found
