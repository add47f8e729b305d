"""Where a training run is, on disk: a folder `checkpoint-STEP` that holds everything to go on from there.

The model and tokenizer are saved as for use (the folder opens like any model; of an adapted one, see `transfer/`, what
was trained is saved), beside them `trainer_state.json`, what a person may want to read, and `training_state.pt`, the
optimizer's moments and the random generators.
"""

from __future__ import annotations

import json
import pickle
import random
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from ..checkpoints.huggingface import HuggingFaceWeights
from ..checkpoints.names import to_minibert
from ..errors import InputError
from ..files import replacing, write_text
from ..model import BertPreTrainedModel
from ..transfer.adapter_files import load_trained, save_adapter
from .distributed import divided_like, load_optimizer_state, lost_contact
from .meter import Reading
from .shared_encoder import SharedEncoder


class Saves(Protocol):
    """Anything that is saved beside a model, such as its tokenizer."""

    def save_pretrained(self, directory: Path) -> Any: ...


@dataclass
class TrainerState:
    """Where a run is, as `transformers` names it."""

    global_step: int = 0
    max_steps: int = 0
    epoch: float = 0.0
    train_seconds: float = 0.0  # over all calls, if the run was stopped and taken up again
    total_loss: float = 0.0  # the sum over all steps that are logged
    total_tokens: int = 0
    unlogged: Reading = field(default_factory=lambda: Reading({}, 0, 0, 0.0))  # of the steps since, at a checkpoint
    next_instance: tuple[int, int] = (0, 0)  # in pretraining: block and index
    best_metric: float | None = None
    best_model_checkpoint: str | None = None
    log_history: list[dict[str, float]] = field(default_factory=list)


class OwnCheckpoints:
    """The checkpoints of one run, in a folder where those of an earlier run may lie, too, and are left alone."""

    def __init__(self, output_dir: Path) -> None:
        self._output_dir = output_dir
        self._strangers = checkpoints(output_dir)

    def saved(self) -> list[Path]:
        """Oldest first."""
        return [path for path in checkpoints(self._output_dir) if path not in self._strangers]

    def claim(self, step: int) -> Path:
        """The place of a checkpoint that the run is going to write."""
        folder = self._output_dir / f"checkpoint-{step}"
        self._strangers = [path for path in self._strangers if path != folder]
        return folder

    def claim_up_to(self, step: int) -> None:
        """The run goes on from there: what was saved until then is its own."""
        self._strangers = [path for path in self._strangers if step_of(path) > step]

    def discard(self, step: int) -> None:
        """Delete it if there is one."""
        for path in self.saved():
            if step_of(path) == step:
                shutil.rmtree(path, ignore_errors=True)


def save_checkpoint(
    folder: Path,
    model: BertPreTrainedModel,
    optimizer_state: dict[str, Any],
    state: TrainerState,
    processing_class: Saves | None,
) -> None:
    """Write the folder, complete or not at all."""
    partial = folder.parent / f".{folder.name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        save_pretrained(partial, model, processing_class)
        # A line a field: indented, a long log would take seven times as long to write.
        lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(value)}" for name, value in vars(state).items())
        write_text(partial / "trainer_state.json", f"{{\n{lines}\n}}\n")
        generators: dict[str, Any] = {
            "torch": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
            "python": random.getstate(),
            "numpy": [np.asarray(part).tolist() for part in np.random.get_state()],
        }
        with replacing(partial / "training_state.pt") as path:
            _save(path, {"optimizer": optimizer_state, "generators": generators})
        shutil.rmtree(folder, ignore_errors=True)
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _save(path: Path, value: Any) -> None:
    """`torch.save`, but a full disk is an `OSError`; torch hides that behind one about its own archive format."""
    with open(path, "wb") as file:
        try:
            torch.save(value, file)
        except RuntimeError as error:
            cause = error.__context__ or error
            # That a worker has died is told by a signal, wherever the program is.
            if isinstance(cause, OSError) or "DataLoader worker" in str(cause):
                raise cause from None
            raise OSError(f"{path} cannot be written: {cause}") from error


def load_checkpoint(folder: Path, model: BertPreTrainedModel, optimizer: torch.optim.Optimizer) -> TrainerState:
    """Put the model, the optimizer and the random generators where the run was. Raises `InputError` if it cannot."""
    try:
        state = TrainerState(**json.loads((folder / "trainer_state.json").read_text(encoding="utf-8")))
        saved = torch.load(folder / "training_state.pt", map_location=model.device, weights_only=True)
        load_weights(folder, model)
        load_optimizer_state(optimizer, saved["optimizer"])
        generators = saved["generators"]
        torch.set_rng_state(generators["torch"].cpu())
        if torch.cuda.is_available() and len(generators["cuda"]) == torch.cuda.device_count():
            torch.cuda.set_rng_state_all([generator.cpu() for generator in generators["cuda"]])
        random.setstate(generators["python"])
        np.random.set_state(tuple(generators["numpy"]))
    except (OSError, ValueError, LookupError, TypeError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        if isinstance(error, RuntimeError) and lost_contact(error):  # while tensors were divided among the processes
            raise
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise InputError(f"{folder} is no checkpoint that this run can go on from: {reason}.") from error
    return state


def load_weights(folder: Path, model: BertPreTrainedModel) -> None:
    """The weights of a saved model of the same kind and shape, into this one; of an adapted one, what was trained."""
    if isinstance(model, SharedEncoder):
        for name, part in model.by_task.items():
            load_weights(folder / name, part)
        return
    if model.adaptation is not None:
        load_trained(model, folder)
        return
    current = model.state_dict()
    weights = to_minibert(current, HuggingFaceWeights(folder), "hugging_face")
    model.load_state_dict({name: divided_like(tensor, current[name]) for name, tensor in weights.items()})


def save_pretrained(folder: Path, model: BertPreTrainedModel, processing_class: Saves | None) -> None:
    """The model, or of an adapted one what was trained; and the tokenizer if there is one."""
    if model.adaptation is not None:
        save_adapter(model, folder)
    else:
        model.save_pretrained(folder)
    if processing_class is not None:
        processing_class.save_pretrained(folder)


def checkpoints(output_dir: Path) -> list[Path]:
    """The checkpoints in a folder, oldest first."""
    found = [path for path in output_dir.glob("checkpoint-*") if re.fullmatch(r"checkpoint-\d+", path.name)]
    return sorted(found, key=step_of)


def step_of(checkpoint: Path) -> int:
    """The number of steps that the run had done."""
    return int(checkpoint.name.removeprefix("checkpoint-"))


def keep_newest(saved: Sequence[Path], limit: int, best: str | None) -> None:
    """Delete all but the newest `limit` of the checkpoints, and the best one."""
    for path in saved[:-limit]:
        if str(path) != best:
            shutil.rmtree(path)
