"""From a name or a path to a model, and from a model to a folder."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor

from ..config import BertConfig
from ..errors import InputError
from ..files import parse_json_object, write_json
from . import tensorflow
from .huggingface import HuggingFaceWeights, write_weights
from .locate import NameOrPath, locate
from .names import Dialect, block_number, from_minibert, is_encoder, to_minibert
from .shards import WEIGHTS

if TYPE_CHECKING:
    from ..model import BertPreTrainedModel

Model = TypeVar("Model", bound="BertPreTrainedModel")

CONFIG = "config.json"
GOOGLE_CONFIG = "bert_config.json"
ADAPTER_CONFIG = "adapter_config.json"

log = logging.getLogger("minibert")


@dataclass(frozen=True)
class Checkpoint:
    """Weights with their config, as they are on disk."""

    where: Path
    dialect: Dialect
    config: BertConfig
    tensors: Mapping[str, Tensor]  # under the dialect's names
    architecture: str | None = None  # the class of the model, where the config names it


def open_checkpoint(name_or_path: NameOrPath) -> Checkpoint:
    """The weights behind a name or path. Raises `InputError` if there is no BERT, or a damaged one.

    In Google's format `hidden_act` "gelu" is read as "gelu_new", for that is what Google's code computes.
    """
    path = locate(name_or_path)
    if path.is_dir() and (path / CONFIG).is_file():
        where = str(path / CONFIG)
        values = parse_json_object((path / CONFIG).read_bytes(), where)
        architecture = next(iter(values.get("architectures") or []), None)
        # An adapter's weights are its base's: see `load_adapted`.
        tensors = {} if (path / ADAPTER_CONFIG).is_file() else HuggingFaceWeights(path)
        return Checkpoint(path, "hugging_face", BertConfig.from_dict(values, where), tensors, architecture)
    if path.is_dir() and any((path / name).is_file() for name in WEIGHTS):
        raise InputError(f"{path} has weights, but no {CONFIG} that says of what shape.")
    with tensorflow.open_checkpoint(path) as google:
        text = google.read_text(GOOGLE_CONFIG)
        if text is None:
            raise InputError(f"There is no {GOOGLE_CONFIG} beside the checkpoint {path}, to say of what shape it is.")
        where = f"{path}: {GOOGLE_CONFIG}"
        config = BertConfig.from_dict(parse_json_object(text.encode(), where), where)
        if config.hidden_act == "gelu":
            config = config.replace(hidden_act="gelu_new")
        names = tensorflow.model_variables(google)
        tensors = {name: torch.from_numpy(values) for name, values in google.stream(names)}
    return Checkpoint(path, "google", config, tensors)


def load_model(
    model_class: type[Model],
    name_or_path: NameOrPath,
    attn_implementation: str,
    dtype: torch.dtype | None,
    config_overrides: Mapping[str, Any],
) -> Model:
    """See `BertPreTrainedModel.from_pretrained`."""
    if (Path(name_or_path) / ADAPTER_CONFIG).is_file():
        return load_adapted(model_class, Path(name_or_path), attn_implementation, dtype, config_overrides)
    model = _load_whole(model_class, name_or_path, attn_implementation, dtype, config_overrides)
    _announce(model)
    return model.eval()


def load_adapted(
    model_class: type[Model],
    folder: Path,
    attn_implementation: str,
    dtype: torch.dtype | None,
    config_overrides: Mapping[str, Any],
) -> Model:
    """A model out of a saved adapter and the base model that it names: see `transfer/adapter_files.py`."""
    from ..transfer.adapter_files import load_adapter  # that room knows this one, not the reverse

    base = parse_json_object((folder / ADAPTER_CONFIG).read_bytes(), str(folder / ADAPTER_CONFIG)).get(
        "base_model_name_or_path"
    )
    if not isinstance(base, str):
        raise InputError(
            f"{folder} is an adapter that does not name its base model. Load that model yourself, and then the adapter "
            "with minibert.transfer.load_adapter."
        )
    if (folder / CONFIG).is_file():  # a folder written by PEFT has none
        own = BertConfig.from_json_file(folder / CONFIG)
        config_overrides = {**own.to_dict(), "num_labels": own.num_labels, **config_overrides}
    try:
        model = _load_whole(model_class, base, attn_implementation, dtype, config_overrides)
    except InputError as error:
        raise InputError(f"{folder} is an adapter on the base {base}, which cannot be loaded: {error}") from error
    brought = load_adapter(model, folder)
    model.new_weights = [name for name in model.new_weights if name not in brought]
    _announce(model)
    return model.eval()


def _load_whole(
    model_class: type[Model],
    name_or_path: NameOrPath,
    attn_implementation: str,
    dtype: torch.dtype | None,
    config_overrides: Mapping[str, Any],
) -> Model:
    """Weights for all parameters that the checkpoint has, and fresh ones for its `new_weights`."""
    checkpoint = open_checkpoint(name_or_path)
    with torch.device("meta"):  # shapes only: nothing is drawn at random that is about to be replaced
        config = checkpoint.config.replace(**config_overrides)
        model = model_class(config, attn_implementation)  # type: ignore[call-arg]  # as every model has it
    shapes = {name: tensor.shape for name, tensor in model.state_dict().items()}
    found = to_minibert(shapes, checkpoint.tensors, checkpoint.dialect)
    if "num_labels" in config_overrides or "id2label" in config_overrides:  # then another head is meant
        for name in ("classifier.weight", "classifier.bias"):
            if name in found and found[name].shape != shapes[name]:
                del found[name]
    check_fit(checkpoint, shapes, found)

    new = [name for name in shapes if name not in found]
    for name in new:
        found[name] = torch.empty(shapes[name])
    model.load_state_dict({name: tensor.to(dtype or torch.float32) for name, tensor in found.items()}, assign=True)
    model.initialize_weights(new)
    model.new_weights = new
    model.name_or_path = str(Path(name_or_path).resolve() if Path(name_or_path).exists() else name_or_path)
    return model


def _announce(model: BertPreTrainedModel) -> None:
    if model.new_weights:
        names, kind = ", ".join(model.new_weights), type(model).__name__
        log.warning(f"{model.name_or_path} has no {names}: new in {kind}, and still to be trained.")


def save_model(model: BertPreTrainedModel, directory: NameOrPath) -> None:
    """See `BertPreTrainedModel.save_pretrained`."""
    if model.adaptation is not None and model.adaptation.changes_the_function:
        raise InputError(
            f"This model is more than a BERT, it has {model.adaptation}: write what was trained, with "
            "minibert.transfer.save_adapter. (LoRA can be merged into the weights first, with merge_lora.)"
        )
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    tensors = from_minibert(model.state_dict(), "hugging_face")
    if type(model).__name__ == "BertModel":
        tensors = {name.removeprefix("bert."): tensor for name, tensor in tensors.items()}
    dtype = str(next(iter(tensors.values())).dtype).removeprefix("torch.")
    write_weights(directory / WEIGHTS[0], tensors)
    write_config(directory, model.config, type(model).__name__, dtype)


def write_config(directory: Path, config: BertConfig, architecture: str, dtype: str = "float32") -> None:
    """`config.json` as `transformers` reads it."""
    values = {"architectures": [architecture], "model_type": "bert", **config.to_dict(), "dtype": dtype}
    write_json(directory / CONFIG, values)


def check_fit(checkpoint: Checkpoint, shapes: Mapping[str, torch.Size], found: Mapping[str, Tensor]) -> None:
    """Raise `InputError`, with a list, if these are the weights of something else."""
    problems = [f"{name} is missing" for name in shapes if is_encoder(name) and name not in found]
    problems += [
        f"{name} is {tuple(tensor.shape)}, not {tuple(shapes[name])}"
        for name, tensor in found.items()
        if tensor.shape != shapes[name]
    ]
    layers = checkpoint.config.num_hidden_layers
    deeper = [name for name in checkpoint.tensors if block_number(name) >= layers]
    problems += [f"{name} is there, but the config has only {layers} layers" for name in deeper]
    if problems:
        more = f"; and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise InputError(f"{checkpoint.where} is not a BERT as its config describes: {'; '.join(problems[:5])}{more}.")
