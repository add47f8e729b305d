"""LoRA as the library PEFT writes it, so that PEFT opens ours and minibert opens theirs.

The tensors are called as Hugging Face's BERT calls its modules, `base_model.model.` in front: for
`bert.encoder.layer.0.attention.self.query` there are `...query.lora_A.weight` and `...query.lora_B.weight`.

A head for masked words is an exception: PEFT wants its output matrix, too, in the file and trained by itself, where in
BERT it is the word embeddings. PEFT does not open such a file of ours, and one of theirs with that head is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..checkpoints.names import names_of
from ..errors import InputError
from ..model import BertModel, BertPreTrainedModel
from .lora import TARGETS, Lora

FRONT = "base_model.model."
UPDATE = re.compile(r"(?P<linear>.+)\.updates\.(?P<target>\w+)\.(?P<matrix>lora_[AB])")
TASK_TYPES = {
    "BertModel": "FEATURE_EXTRACTION",
    "BertForSequenceClassification": "SEQ_CLS",
    "BertForTokenClassification": "TOKEN_CLS",
    "BertForQuestionAnswering": "QUESTION_ANS",
}

MOST_ALPHA = 1e9  # JSON can spell numbers that are beyond all floats

# What other kinds of LoRA do differently, with the value that means: not so.
PLAIN = {
    "bias": "none",
    "fan_in_fan_out": False,
    "use_rslora": False,
    "use_dora": False,
    "rank_pattern": {},
    "alpha_pattern": {},
}
# Values of `init_lora_weights` that leave the base as it is. "pissa", "olora" and others begin by changing it.
BEGINNINGS = (None, True, False, "gaussian", "eva", "orthogonal")


def peft_names(model: BertPreTrainedModel, parameters: Iterable[str]) -> dict[str, str]:
    """What PEFT calls these trained parameters of minibert."""
    return {name: FRONT + _their_name(model, name) for name in parameters}


def peft_config(model: BertPreTrainedModel) -> dict[str, Any]:
    """The contents of `adapter_config.json` for a model with LoRA."""
    trained = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    updated = [_their_name(model, name).removesuffix(".lora_A.weight") for name in trained if name.endswith("lora_A")]
    # PEFT saves whole modules beside the updates: `pooler`, `classifier`.
    heads = [_their_name(model, name).removeprefix("bert.") for name in trained if not UPDATE.fullmatch(name)]
    return {
        "peft_type": "LORA",
        "task_type": TASK_TYPES.get(type(model).__name__),
        "base_model_name_or_path": model.name_or_path,
        "inference_mode": True,
        "r": model.adaptation.rank,
        "lora_alpha": model.adaptation.alpha,
        "lora_dropout": 0.0,
        "target_modules": updated,
        "modules_to_save": sorted({name.partition(".")[0] for name in heads}),
        **PLAIN,
    }


def from_peft_config(values: dict[str, Any], path: Path) -> Lora:
    """The settings in PEFT's file. Raises `InputError` for another technique and for kinds of LoRA that differ."""
    if values["peft_type"] != "LORA":
        raise InputError(
            f"{path}: peft_type is {values['peft_type']!r}; of PEFT's techniques, minibert reads only LORA."
        )
    for key, plain in (PLAIN | {"alora_invocation_tokens": None}).items():  # which not every PEFT knows
        if values.get(key, plain) not in (plain, None):
            raise InputError(f"{path}: '{key}' is {values[key]!r}; minibert's LoRA is only that with {plain!r}.")
    if (beginning := values.get("init_lora_weights")) not in BEGINNINGS:
        raise InputError(
            f"{path}: 'init_lora_weights' is {beginning!r}: such a LoRA begins by changing the base's weights, which "
            "are not in its file. PEFT makes a plain one of it: see its path_initial_model_for_weight_conversion."
        )
    rank, alpha, modules = values.get("r"), values.get("lora_alpha"), values.get("target_modules")
    targets = tuple(target for target in TARGETS if isinstance(modules, list) and _is_among(target, modules))
    if not targets or type(rank) is not int or not isinstance(alpha, (int, float)) or not abs(alpha) < MOST_ALPHA:
        raise InputError(f"{path}: numbers 'r' and 'lora_alpha' and a list 'target_modules' are needed for LoRA.")
    return Lora(rank, float(alpha), targets)


def _is_among(target: str, modules: list[str]) -> bool:
    """Whether a list of module names, or ends of such names, means this target."""
    theirs = _module(f"bert.blocks.0.{TARGETS[target][0]}", target)
    return any(theirs == module or theirs.endswith(f".{module}") for module in modules)


def _their_name(model: BertPreTrainedModel, parameter: str) -> str:
    update = UPDATE.fullmatch(parameter)
    if update:
        theirs = f"{_module(update['linear'], update['target'])}.{update['matrix']}.weight"
    else:
        theirs = names_of(parameter)[0].hugging_face
    return theirs.removeprefix("bert.") if isinstance(model, BertModel) else theirs


def _module(linear: str, target: str) -> str:
    """Hugging Face's name of the linear layer that stands for this part of minibert's."""
    return names_of(f"{linear}.weight")[TARGETS[target][1]].hugging_face.removesuffix(".weight")
