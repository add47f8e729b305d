"""From a name or a path to a model, and from a model to a folder."""

from __future__ import annotations

import inspect
import logging
import math
import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ..config import BertConfig
from ..errors import InputError
from ..files import parse_json_object, write_json
from . import tensorflow
from .huggingface import HuggingFaceWeights, write_weights
from .locate import NameOrPath, locate
from .names import FLOATS, Dialect, block_number, from_minibert, is_encoder, strangers, to_minibert
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
        architecture = _first_text(values.get("architectures"))
        # An adapter's weights are its base's: see `load_model`.
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
        if "output_bias" in names:  # of a classifier: Google's config does not tell how many classes it has
            config = config.replace(num_labels=math.prod(google.shape("output_bias")))
    return Checkpoint(path, "google", config, GoogleWeights(path, names))


class GoogleWeights(Mapping[str, Tensor]):
    """The model's variables in a TensorFlow checkpoint, by name. All are read when the first one is asked for.

    So whoever asks for names or the config alone need not wait, and a zip is unpacked once, from front to back.
    """

    def __init__(self, path: Path, names: Collection[str]) -> None:
        self._path = path
        self._names = names

    @cached_property
    def _tensors(self) -> dict[str, Tensor]:
        with tensorflow.open_checkpoint(self._path) as google:
            return {name: torch.from_numpy(values) for name, values in google.stream(self._names)}

    def __getitem__(self, name: str) -> Tensor:
        return self._tensors[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __contains__(self, name: object) -> bool:
        return name in self._names


def _first_text(values: Any) -> str | None:
    return next((value for value in values if isinstance(value, str)), None) if isinstance(values, list) else None


def load_model(
    model_class: type[Model],
    name_or_path: NameOrPath,
    attn_implementation: str,
    dtype: torch.dtype | None,
    config: BertConfig | None,
    config_overrides: Mapping[str, Any],
) -> Model:
    """See `BertPreTrainedModel.from_pretrained`. A saved adapter is put on the base model that it names."""
    config_overrides = dict(config_overrides)
    dtype = config_overrides.pop("torch_dtype", None) or dtype  # as it was called in transformers 4
    other_sizes = config_overrides.pop("ignore_mismatched_sizes", False)
    if dtype not in (None, *FLOATS):
        raise InputError(f"dtype must be one of torch's for weights, such as torch.bfloat16: found {dtype!r}.")
    name_or_path = os.path.expanduser(name_or_path)
    adapter = Path(name_or_path) if os.path.isfile(Path(name_or_path) / ADAPTER_CONFIG) else None
    if adapter is not None:
        name_or_path = base_of(adapter)
        if config is None:
            config_overrides = {**_config_of(adapter), **config_overrides}
    own = {name: config_overrides[name] for name in _arguments_of(model_class) if name in config_overrides}
    config_overrides = {name: value for name, value in config_overrides.items() if name not in own}
    try:
        checkpoint = open_checkpoint(name_or_path)
        with torch.device("meta"), _NothingDrawn():  # shapes only: all is about to be replaced
            config = (config or checkpoint.config).replace(**config_overrides)
            model = model_class(config, attn_implementation, **own)  # type: ignore[call-arg]  # as every model has it
        asked_for = other_sizes or "num_labels" in config_overrides or "id2label" in config_overrides
        _fill(model, checkpoint, dtype, asked_for or config.num_labels != checkpoint.config.num_labels)
    except InputError as error:
        if adapter is None:
            raise
        raise InputError(
            f"{adapter} is an adapter on the base {name_or_path}, which cannot be loaded: {error}"
        ) from error
    model.name_or_path = str(Path(name_or_path).resolve() if Path(name_or_path).exists() else name_or_path)
    if adapter is not None:
        from ..transfer.adapter_files import load_adapter  # that room knows this one, not the reverse

        brought = load_adapter(model, adapter)
        model.new_weights = [name for name in model.new_weights if name not in brought]
    if model.new_weights:
        names = ", ".join(model.new_weights)
        log.warning(
            f"{model.name_or_path} has no {names} that fits {model_class.__name__}: new, and still to be trained."
        )
    return model.eval()


class _NothingDrawn(TorchFunctionMode):
    """Leaves out what layers draw at random: to draw numbers that are not there, torch would load its compiler."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(function, "__module__", None) == nn.init.__name__:
            return kwargs["tensor"]
        if function in (Tensor.erfinv_, Tensor.clamp_):  # of `trunc_normal_`, where a version takes it apart
            return args[0]
        return function(*args, **(kwargs or {}))


def _arguments_of(model_class: type[BertPreTrainedModel]) -> list[str]:
    """What its constructor takes beside the two that all models take, such as `add_pooling_layer`."""
    return [name for name in inspect.signature(model_class).parameters if name not in ("config", "attn_implementation")]


def base_of(adapter: Path) -> str:
    """Name or path of the base model of the adapter in a folder: see `transfer/adapter_files.py`."""
    config = adapter / ADAPTER_CONFIG
    base = parse_json_object(config.read_bytes(), str(config)).get("base_model_name_or_path")
    if not isinstance(base, str):
        raise InputError(
            f"{adapter} is an adapter that does not name its base model. Load that model yourself, and then the "
            "adapter with minibert.transfer.load_adapter."
        )
    return base


def _config_of(adapter: Path) -> dict[str, Any]:
    """What the adapter's own config says, if it has one: a folder written by PEFT has none."""
    if not (adapter / CONFIG).is_file():
        return {}
    own = BertConfig.from_json_file(adapter / CONFIG)
    return {**own.to_dict(), "num_labels": own.num_labels}


def _fill(model: BertPreTrainedModel, checkpoint: Checkpoint, dtype: torch.dtype | None, another_head: bool) -> None:
    """Weights for all parameters that the checkpoint has, and fresh ones for the model's `new_weights`.

    A head of another shape is left out, and so new, if `another_head` is meant or if it belongs to another class of
    model. Else it is an error, as is anything in the encoder that does not fit.
    """
    shapes = {name: tensor.shape for name, tensor in model.state_dict().items()}
    found = read_parameters(checkpoint, shapes)
    if another_head or checkpoint.architecture not in (None, type(model).__name__):
        others = [name for name in found if not is_encoder(name) and found[name].shape != shapes[name]]
        found = {name: tensor for name, tensor in found.items() if name not in others}
    check_fit(checkpoint, shapes, found)

    model.new_weights = [name for name in shapes if name not in found]
    for name in model.new_weights:
        found[name] = torch.empty(shapes[name])
    device, dtype = torch.empty(0).device, dtype or torch.float32  # torch 2.6 tells no `with torch.device(...)`
    model.load_state_dict({name: tensor.to(device, dtype) for name, tensor in found.items()}, assign=True)
    model.initialize_weights(model.new_weights)


def save_model(model: BertPreTrainedModel, directory: NameOrPath) -> None:
    """See `BertPreTrainedModel.save_pretrained`."""
    if model.adaptation is not None and model.adaptation.changes_the_function:
        raise InputError(
            f"This model is more than a BERT, it has {model.adaptation}: write what was trained, with "
            "minibert.transfer.save_adapter. (LoRA can be merged into the weights first, with merge_lora.)"
        )
    directory = Path(directory)
    if (directory / ADAPTER_CONFIG).is_file():
        raise InputError(
            f"{directory} holds an adapter, and would be opened as that one still, not as this model: choose another "
            f"folder, or remove {ADAPTER_CONFIG} there."
        )
    tensors = from_minibert(model.state_dict(), "hugging_face")
    if type(model).__name__ == "BertModel":
        tensors = {name.removeprefix("bert."): tensor for name, tensor in tensors.items()}
    dtype = str(next(iter(tensors.values())).dtype).removeprefix("torch.")
    directory.mkdir(parents=True, exist_ok=True)
    write_weights(directory / WEIGHTS[0], tensors)
    write_config(directory, model.config, type(model).__name__, dtype)


def write_config(directory: Path, config: BertConfig, architecture: str, dtype: str = "float32") -> None:
    """`config.json` as `transformers` reads it."""
    values = {"architectures": [architecture], "model_type": "bert", **config.to_dict(), "dtype": dtype}
    write_json(directory / CONFIG, values)


def read_parameters(checkpoint: Checkpoint, names: Iterable[str]) -> dict[str, Tensor]:
    """Those of minibert's parameters that the checkpoint has. Raises `InputError` for what can be no weights."""
    try:
        return to_minibert(names, checkpoint.tensors, checkpoint.dialect)
    except InputError as error:
        raise InputError(f"{checkpoint.where}: {error}") from error


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
    problems += [f"{name} is there, but BERT has none" for name in strangers(checkpoint.tensors, checkpoint.dialect)]
    if problems:
        more = f"; and {len(problems) - 5} more" if len(problems) > 5 else ""
        sentence = f"{checkpoint.where} is not a BERT as its config describes: {'; '.join(problems[:5])}{more}."
        beginnings = {name.partition(".")[0] for name in checkpoint.tensors}
        if not found and len(beginnings) == 1:
            sentence += f" All its names begin with '{beginnings.pop()}.': was a wrapper saved, not the model inside?"
        raise InputError(sentence)
