"""Small models and batches with everything in them that can go wrong."""

from __future__ import annotations

import errno
import string
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor

import minibert
from minibert import BertTokenizer, Trainer, TrainingArguments, files
from minibert import pretrain as pretrain_command
from minibert.checkpoints.names import from_minibert
from minibert.commandline import run
from minibert.config import BertConfig
from minibert.model import BertPreTrainedModel
from minibert.tasks.task import Examples, Task
from minibert.tokenization.learn import SPECIAL_TOKENS

ROOT = Path(minibert.__file__).parents[1]

SMALL = BertConfig(
    vocab_size=61,
    hidden_size=20,
    num_hidden_layers=3,
    num_attention_heads=5,
    intermediate_size=28,
    max_position_embeddings=16,
    type_vocab_size=3,
    num_labels=7,
)

# minibert's class -> that of transformers with the same weights
PEERS = {
    "BertModel": "BertModel",
    "BertForPreTraining": "BertForPreTraining",
    "BertForMaskedLM": "BertForMaskedLM",
    "BertForNextSentencePrediction": "BertForNextSentencePrediction",
    "BertForSequenceClassification": "BertForSequenceClassification",
    "BertForTokenClassification": "BertForTokenClassification",
    "BertForQuestionAnswering": "BertForQuestionAnswering",
    "BertForMultipleChoice": "BertForMultipleChoice",
    "BertForExtractiveSummarization": "BertForTokenClassification",  # one label a token, read only at [CLS]
}


def make_model(name: str, config: BertConfig = SMALL, attn_implementation: str = "eager") -> Any:
    """A model with large, uneven weights everywhere, so that a forgotten bias or a transposed matrix shows."""
    model = getattr(minibert, name)(config, attn_implementation).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() > 1:
                parameter.normal_(std=0.3)
            else:
                parameter.normal_(mean=1.0 if "norm.weight" in name else 0.0, std=0.2)
    return model


def make_peer(model: BertPreTrainedModel) -> Any:
    """transformers' model with the same weights."""
    config = transformers.BertConfig(**model.config.to_dict(), attn_implementation="eager")
    peer = getattr(transformers, PEERS[type(model).__name__])(config).eval().to(next(model.parameters()).dtype)
    peer.load_state_dict(in_their_names(model, model.state_dict()), strict=False)
    return peer


def in_their_names(model: BertPreTrainedModel, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Parameters or gradients of minibert's model under transformers' names."""
    theirs = from_minibert(tensors, "hugging_face")
    if type(model).__name__ == "BertModel":
        theirs = {name.removeprefix("bert."): tensor for name, tensor in theirs.items()}
    return theirs


def make_batch(config: BertConfig = SMALL, empty_row: bool = False) -> dict[str, Tensor]:
    """Rows: full length; padded; with holes in the mask; a single token; (none at all). Own positions and segments."""
    seq = config.max_position_embeddings
    mask = torch.ones(5 if empty_row else 4, seq, dtype=torch.long)
    mask[1, seq // 2 :] = 0
    mask[2, 3:6] = mask[2, -2:] = 0
    mask[3, 1:] = 0
    mask[4:] = 0
    return {
        "input_ids": torch.randint(config.vocab_size, mask.shape),
        "attention_mask": mask,
        "token_type_ids": torch.randint(config.type_vocab_size, mask.shape),
        "position_ids": torch.stack([torch.randperm(seq) for _ in mask]),
    }


def learn(task: Task, train: Examples, dev: Examples, tokenizer: BertTokenizer, steps: int) -> dict[str, Any]:
    """The metrics of a small random model after a short training."""
    config = SMALL.replace(
        vocab_size=len(tokenizer),
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=128,
        max_position_embeddings=64,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    settings = TrainingArguments(
        max_steps=steps, per_device_train_batch_size=16, learning_rate=2e-3, save_strategy="no", disable_tqdm=True
    )
    trainer = Trainer(
        task.model_class(config), settings, task.collate, train_dataset=task.features(train, tokenizer, training=True)
    )
    trainer.train()
    features = task.features(dev, tokenizer)
    return task.metrics(dev, task.answers(dev, features, trainer.predict(features).predictions))


def word_tokenizer(*tokens: str, **settings: Any) -> BertTokenizer:
    """It knows the special tokens, with the ids 0 to 4, and these."""
    return BertTokenizer({token: number for number, token in enumerate([*SPECIAL_TOKENS, *tokens])}, **settings)


def spelling_tokenizer() -> BertTokenizer:
    """Words are spelt: a token for every character, at the beginning of a word and within it."""
    letters = [*string.ascii_lowercase, *string.digits]
    return word_tokenizer(*letters, *(f"##{c}" for c in letters), *string.punctuation)


def save_small_model(folder: Path) -> Path:
    """A folder with a BERT that is too small to be any good, and the tokenizer above."""
    tokenizer = spelling_tokenizer()
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
    )
    minibert.BertModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def full_disk(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """From the file of this name on there is no more room."""
    replacing = files.replacing

    def refuse(path: Any) -> Any:
        if Path(path).name == name:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        return replacing(path)

    monkeypatch.setattr(files, "replacing", refuse)


def pretrain(*words: object) -> None:
    """`python -m minibert.pretrain`, in this process."""
    run(pretrain_command.build_parser(), pretrain_command.main, [str(word) for word in words])


def pretrain_fails(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    """The one line that it ends with, after a progress bar perhaps, if something is wrong."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as end:
        pretrain(*words)
    assert end.value.code == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.endswith("\n")
    last = captured.err.splitlines()[-1]
    assert last.startswith("python -m minibert.pretrain")
    return last


GOOD = [("a good film", "good"), ("a bad film", "bad"), ("good fun", "good"), ("bad sound", "bad")]


def write_table(path: Path, rows: Sequence[tuple[str, ...]], header: tuple[str, ...] = ("text", "label")) -> Path:
    path.write_text("".join("\t".join(row) + "\n" for row in [header, *rows]), encoding="utf-8")
    return path
