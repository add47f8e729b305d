"""The files that weights come in on the hub, and the index that says which tensor is in which of several files."""

from __future__ import annotations

import re
from pathlib import Path

from ..errors import InputError
from ..files import parse_json_object

INDEX_SUFFIX = ".index.json"
# The first that a folder or repository has is taken; `.bin` files last, since they are pickles.
WEIGHTS = (
    "model.safetensors",
    f"model.safetensors{INDEX_SUFFIX}",
    "pytorch_model.bin",
    f"pytorch_model.bin{INDEX_SUFFIX}",
)
MAX_INDEX_BYTES = 16 * 2**20  # an index takes about 100 bytes a tensor, and BERT large has 400 tensors


def weight_map(index_file: Path) -> dict[str, str]:
    """Tensor name -> file name, as a `model.safetensors.index.json` or `pytorch_model.bin.index.json` says.

    The format is Hugging Face's for sharded checkpoints: `{"weight_map": {tensor name: file name}, ...}`. Raises
    `InputError` for anything else, and for a name that is not that of a file of this kind beside the index.
    """
    size = index_file.stat().st_size
    if size > MAX_INDEX_BYTES:
        raise InputError(f"{index_file} has {size:,} bytes; an index of weights has at most {MAX_INDEX_BYTES:,}.")
    places = parse_json_object(index_file.read_bytes(), str(index_file)).get("weight_map")
    if not isinstance(places, dict) or not places:
        raise InputError(f'{index_file} is no index of weights: it needs {{"weight_map": {{tensor: file, ...}}}}.')
    suffix = Path(index_file.name.removesuffix(INDEX_SUFFIX)).suffix
    for shard in places.values():
        if not isinstance(shard, str) or not re.fullmatch(rf"[\w.-]+{re.escape(suffix)}", shard, re.ASCII):
            raise InputError(
                f"{index_file} names the file {shard!r}. Only plain names of {suffix} files beside the index are read: "
                f"the index is broken or malicious."
            )
    return places


def shard_names(index_file: Path) -> list[str]:
    """The file names in an index, sorted, each once. Raises `InputError` as `weight_map`."""
    return sorted(set(weight_map(index_file).values()))
