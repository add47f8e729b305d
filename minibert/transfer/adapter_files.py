"""Adapters on disk: a folder that holds only what was trained, and says on which base model it belongs.

    adapter_config.json          the technique with its settings, and where the base model is
    adapter_model.safetensors    the trained tensors: new ones, changed ones, and the head
    config.json                  the model's, with the names of its labels

LoRA is written as the library PEFT does (see `peft_files.py`); for the others there is no common form, and the tensors
have minibert's names. A checksum of the base's frozen weights lies beside them, for on another base they mean nothing.
"""

from __future__ import annotations

import os
import zlib
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ..checkpoints.huggingface import write_weights
from ..checkpoints.names import is_encoder
from ..checkpoints.pretrained import ADAPTER_CONFIG, write_config
from ..errors import InputError
from ..files import parse_json_object, write_json
from ..model import BertPreTrainedModel
from .adaptation import Adaptation, adapt
from .adapters import Adapters
from .bitfit import BitFit
from .lora import Lora
from .mixing import LayerMix
from .peft_files import from_peft_config, peft_config, peft_names
from .prefix import Prefix

ADAPTER_WEIGHTS = "adapter_model.safetensors"
CHECKSUM = "base_checksum"
METHODS: dict[str, type[Any]] = {kind.method: kind for kind in (Adapters, BitFit, LayerMix, Prefix)}


def save_adapter(model: BertPreTrainedModel, directory: str | os.PathLike[str]) -> int:
    """Write the trained part of an adapted model. Returns the size of its tensors' file, in bytes.

    Raises `InputError` if nothing was adapted, or everything is frozen.
    """
    if model.adaptation is None:
        raise InputError("The model has no adapter to save: save it as a whole, with save_pretrained.")
    if not _trained(model):
        raise InputError("All of the model is frozen, and what is trained is what is saved: save it before freezing.")
    directory = Path(directory)
    if str(directory.resolve()) == model.name_or_path:
        raise InputError(f"{directory} is the base model, which the adapter needs as it is: choose another folder.")
    directory.mkdir(parents=True, exist_ok=True)
    names = _names_in_file(model)
    tensors = {names[name]: tensor.detach().contiguous() for name, tensor in _trained(model).items()}
    write_weights(directory / ADAPTER_WEIGHTS, tensors, {CHECKSUM: base_checksum(model)})
    if isinstance(model.adaptation, Lora):
        values = peft_config(model)
    else:
        values = {"method": model.adaptation.method, "settings": asdict(model.adaptation)}
        values["base_model_name_or_path"] = model.name_or_path
    write_json(directory / ADAPTER_CONFIG, values)
    write_config(directory, model.config, type(model).__name__)
    return (directory / ADAPTER_WEIGHTS).stat().st_size


def load_adapter(model: BertPreTrainedModel, directory: str | os.PathLike[str]) -> list[str]:
    """Put a saved adapter on its base model. Returns the names of the parameters that it brought.

    Raises `InputError` for a broken folder, for a base of another shape or with other weights, and if the model is
    adapted already. (A model for which it raised is no longer what it was.)
    """
    path = Path(directory) / ADAPTER_CONFIG
    if not path.is_file():
        raise InputError(f"{directory} has no {ADAPTER_CONFIG}: it is no adapter.")
    values = parse_json_object(path.read_bytes(), str(path))
    adaptation = _adaptation(values, path)
    _check_size(adaptation, model, path)
    adapt(model, adaptation)
    return load_trained(model, directory)


def load_trained(model: BertPreTrainedModel, directory: str | os.PathLike[str]) -> list[str]:
    """The tensors of a saved adapter, into a model that is adapted in the same way. As `load_adapter`."""
    path = Path(directory) / ADAPTER_WEIGHTS
    trained, names = _trained(model), _names_in_file(model)
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no dict)
            checksum = (file.metadata() or {}).get(CHECKSUM)
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path} is no readable file of an adapter: {error}.") from error
    problems = [f"{name} is unknown" for name in tensors if name not in names.values()]
    for name, parameter in trained.items():
        found = tensors.get(names[name])
        # A file of PEFT need not bring pooler and head: then those of the base stay.
        if found is None and (is_encoder(name) or not isinstance(model.adaptation, Lora)):
            problems.append(f"{names[name]} is missing")
        elif found is not None and found.shape != parameter.shape:
            problems.append(f"{names[name]} is {tuple(found.shape)}, not {tuple(parameter.shape)}")
    if problems:
        more = f"; and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise InputError(f"{path} does not fit this model: {'; '.join(problems[:3])}{more}.")
    whole = next(model.parameters()).dtype == torch.float32  # in half precision, the base's weights are rounded
    if whole and checksum not in (None, base_checksum(model)):
        base = model.name_or_path or "this model"
        raise InputError(f"{path} was trained on a base with other weights than those of {base}: load that base.")
    brought = [name for name in trained if names[name] in tensors]
    with torch.no_grad():
        for name in brought:
            trained[name].copy_(tensors[names[name]])
    return brought


def base_checksum(model: BertPreTrainedModel) -> str:
    """A checksum (CRC-32) of all weights that are not trained. It guards against mistakes, not against malice."""
    checksum = 0
    for _, parameter in sorted(model.named_parameters()):
        if not parameter.requires_grad:
            checksum = zlib.crc32(parameter.detach().float().cpu().numpy().tobytes(), checksum)
    return f"{checksum:08x}"


def _trained(model: BertPreTrainedModel) -> dict[str, Tensor]:
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def _names_in_file(model: BertPreTrainedModel) -> dict[str, str]:
    names = list(_trained(model))
    return peft_names(model, names) if isinstance(model.adaptation, Lora) else {name: name for name in names}


def _adaptation(values: dict[str, Any], path: Path) -> Adaptation:
    if "peft_type" in values:
        return from_peft_config(values, path)
    method, settings = values.get("method"), values.get("settings", {})
    if not isinstance(method, str) or method not in METHODS:
        raise InputError(f"{path}: the method is {method!r}; minibert knows {', '.join(METHODS)}, and PEFT's LoRA.")
    known = {field.name: type(field.default) for field in fields(METHODS[method])}
    if not isinstance(settings, dict) or any(type(value) is not known.get(name) for name, value in settings.items()):
        expected = ", ".join(f"{name} ({kind.__name__})" for name, kind in known.items()) or "none"
        raise InputError(f"{path}: the settings of '{method}' are {expected}: found {str(settings)[:80]}.")
    adaptation: Adaptation = METHODS[method](**settings)
    return adaptation


def _check_size(adaptation: Adaptation, model: BertPreTrainedModel, path: Path) -> None:
    """Raise `InputError` for sizes far beyond those of the tensors' file, before memory is taken for them.

    A rank, a bottleneck's width or a prefix's length stands for so many rows of `hidden_size` numbers in each block,
    of one byte at least.
    """
    weights = path.with_name(ADAPTER_WEIGHTS)
    if not weights.is_file():
        raise InputError(f"{path.parent} has no {ADAPTER_WEIGHTS}: it is no whole adapter.")
    size = weights.stat().st_size
    for name, value in vars(adaptation).items():
        if isinstance(value, int) and value * model.config.hidden_size * model.config.num_hidden_layers > size:
            raise InputError(
                f"{path}: {name} {value} is too much for the {size:,} bytes of {ADAPTER_WEIGHTS} beside it."
            )
