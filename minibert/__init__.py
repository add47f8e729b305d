"""minibert: BERT that you can read, step through, teach from and really use.

Everything here is loaded when it is first used, so that `import minibert` and every `--help` answer at once.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .config import BertConfig
    from .errors import InputError
    from .heads import (
        BertForExtractiveSummarization,
        BertForMaskedLM,
        BertForMultipleChoice,
        BertForNextSentencePrediction,
        BertForPreTraining,
        BertForQuestionAnswering,
        BertForSequenceClassification,
        BertForTokenClassification,
    )
    from .model import BertModel
    from .packing import PackedBatch
    from .tokenization import BertTokenizer, BertTokenizerFast
    from .tracing import trace
    from .training.arguments import TrainingArguments
    from .training.trainer import EvalPrediction, Trainer

__version__ = "0.1.0"

_PLACES = {
    "BertConfig": "config",
    "InputError": "errors",
    "BertForExtractiveSummarization": "heads",
    "BertForMaskedLM": "heads",
    "BertForMultipleChoice": "heads",
    "BertForNextSentencePrediction": "heads",
    "BertForPreTraining": "heads",
    "BertForQuestionAnswering": "heads",
    "BertForSequenceClassification": "heads",
    "BertForTokenClassification": "heads",
    "BertModel": "model",
    "PackedBatch": "packing",
    "BertTokenizer": "tokenization",
    "BertTokenizerFast": "tokenization",
    "TrainingArguments": "training.arguments",
    "EvalPrediction": "training.trainer",
    "Trainer": "training.trainer",
    "trace": "tracing",
}

__all__ = [
    "BertConfig",
    "BertForExtractiveSummarization",
    "BertForMaskedLM",
    "BertForMultipleChoice",
    "BertForNextSentencePrediction",
    "BertForPreTraining",
    "BertForQuestionAnswering",
    "BertForSequenceClassification",
    "BertForTokenClassification",
    "BertModel",
    "BertTokenizer",
    "BertTokenizerFast",
    "EvalPrediction",
    "InputError",
    "PackedBatch",
    "Trainer",
    "TrainingArguments",
    "__version__",
    "trace",
]

# What notebooks import from `transformers` in the same line. Changed to ours, that line has to say where it is.
_GOES_WITH_THESE = frozenset(
    """
    DataCollatorForLanguageModeling DataCollatorForMultipleChoice DataCollatorForTokenClassification
    DataCollatorWithPadding EarlyStoppingCallback default_data_collator get_linear_schedule_with_warmup get_scheduler
    pipeline set_seed
    """.split()
)


def __getattr__(name: str) -> Any:
    if name in _GOES_WITH_THESE:
        raise ImportError(f"{name} is not in minibert: import it from transformers, it goes with what is here.")
    if name == "AdamW":
        raise ImportError("AdamW is not in minibert: import it from torch.optim.")
    if name.startswith("Auto"):
        known = ", ".join(sorted(known for known in _PLACES if known.startswith("Bert")))
        raise ImportError(f"{name} is not in minibert, where all models are BERTs. There are {known}.")
    if name not in _PLACES:
        raise AttributeError(f"module 'minibert' has no attribute '{name}'")
    value = getattr(importlib.import_module(f".{_PLACES[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
