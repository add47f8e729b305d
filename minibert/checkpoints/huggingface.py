"""Hugging Face folders: `config.json` beside the weights, in any of the forms that `transformers` has written.

The weights are one `model.safetensors`, or several with `model.safetensors.index.json` saying which tensor is where, or
the older `pytorch_model.bin` (a pickle, read with `weights_only=True`, so that no code in it runs), whole or in parts.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ..errors import InputError
from ..files import replacing
from .shards import WEIGHTS, weight_map


class HuggingFaceWeights(Mapping[str, Tensor]):
    """The tensors of a folder under today's names, read from disk when asked for.

    Raises `InputError` naming the file for anything that is missing or broken.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self._readers: dict[Path, Any] = {}
        self._places: dict[str, tuple[Path, str]] = {}  # today's name -> file, name in it
        places = self._find()
        bare = not any(name.startswith("bert.") for name in places)
        for name, path in places.items():
            today = todays_name(name, bare)
            if today in self._places:
                raise InputError(f"{path}: '{name}' and '{self._places[today][1]}' are the same tensor twice.")
            self._places[today] = (path, name)
        self._leave_out_copies()

    def __getitem__(self, name: str) -> Tensor:
        path, own_name = self._places[name]
        try:
            reader = self._open(path)
            return reader.get_tensor(own_name) if path.suffix == ".safetensors" else reader[own_name]
        except (SafetensorError, KeyError) as error:
            raise InputError(
                f"{path}: '{own_name}' cannot be read ({error}). The file is damaged: fetch it again."
            ) from error

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def _leave_out_copies(self) -> None:
        """The MLM head's output matrix is the word embeddings and its bias a copy, under names of their own."""
        decoder, words = "cls.predictions.decoder.weight", "bert.embeddings.word_embeddings.weight"
        if decoder in self and words in self and not torch.equal(self[decoder], self[words]):
            raise InputError(
                f"{self.folder}: {decoder} differs from the word embeddings. In BERT they are one matrix: this is "
                "another model."
            )
        if "cls.predictions.bias" not in self and "cls.predictions.decoder.bias" in self:
            self._places["cls.predictions.bias"] = self._places["cls.predictions.decoder.bias"]
        for name in (decoder, "cls.predictions.decoder.bias", "bert.embeddings.position_ids"):
            self._places.pop(name, None)

    def _find(self) -> dict[str, Path]:
        """Which tensor is in which file, under the names that stand there."""
        for filename in WEIGHTS:
            path = self.folder / filename
            if path.is_file():
                if path.suffix == ".json":
                    return self._read_index(path)
                return dict.fromkeys(self._open(path).keys(), path)
        found = ", ".join(sorted(entry.name for entry in self.folder.iterdir())) or "nothing"
        # In one of these files hidden_act "gelu" means tanh's form, in the other erf's: nobody but the user knows.
        google = any(self.folder.glob("*.index"))
        advice = " For a TensorFlow checkpoint, rename config.json to bert_config.json." if google else ""
        raise InputError(
            f"{self.folder} has no weights that minibert reads ({', '.join(WEIGHTS)}). It holds {found}.{advice}"
        )

    def _read_index(self, path: Path) -> dict[str, Path]:
        places = {name: self.folder / shard for name, shard in weight_map(path).items()}
        for name, shard in places.items():
            if not shard.is_file():
                raise InputError(f"{path} says that '{name}' is in {shard.name}, but there is no such file.")
        return places

    def _open(self, path: Path) -> Any:
        if path not in self._readers:
            try:
                path.open("rb").close()  # safetensors calls a file missing that may not be read
                if path.suffix == ".safetensors":
                    self._readers[path] = safe_open(path, framework="pt")
                else:
                    self._readers[path] = _read_pickle(path)
            except Exception as error:  # a damaged pickle raises anything at all
                reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
                raise InputError(f"{path} is no readable weight file: {reason}") from error
        return self._readers[path]


def todays_name(name: str, bare: bool) -> str:
    """A tensor's name as `transformers` writes it today, with `bert.` in front.

    Files of 2018 say `gamma` and `beta` for a LayerNorm's weight and bias, as TensorFlow does; files of a model without
    head (`bare`) have no `bert.`.
    """
    name = name.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")
    if bare and name.startswith(("embeddings.", "encoder.", "pooler.")):
        name = f"bert.{name}"
    return name


def write_weights(path: Path, tensors: dict[str, Tensor], notes: Mapping[str, str] | None = None) -> None:
    """`tensors` and notes as a safetensors file, complete or not at all. Raises `OSError` if the disk is full."""
    with replacing(path) as temporary:
        try:
            save_file(tensors, temporary, metadata={"format": "pt", **(notes or {})})
        except SafetensorError as error:
            raise OSError(f"{path} cannot be written: {error}") from error


def _read_pickle(path: Path) -> dict[str, Tensor]:
    contents = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    if not isinstance(contents, dict) or not all(map(_is_named_tensor, contents.items())):
        raise ValueError("it holds something else than named tensors")
    return contents


def _is_named_tensor(item: tuple[Any, Any]) -> bool:
    """Whether it is a name and an array of numbers: no sparse tensor, nor one of which only the shape was saved."""
    name, value = item
    return isinstance(name, str) and isinstance(value, Tensor) and value.layout == torch.strided and not value.is_meta
