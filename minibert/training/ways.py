"""The flags of `finetune` that say what is trained, put to work: see `minibert/transfer/`."""

from __future__ import annotations

import argparse
import logging
import math
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..model import BertPreTrainedModel
from ..transfer.adaptation import Adaptation, adapt, trained_parameters
from ..transfer.adapter_files import ADAPTER_WEIGHTS, save_adapter
from ..transfer.adapters import Adapters
from ..transfer.bitfit import BitFit
from ..transfer.features import remember_features
from ..transfer.freezing import freeze
from ..transfer.gradual_unfreezing import unfreeze_gradually
from ..transfer.lora import Lora, merge_lora
from ..transfer.mixing import LayerMix
from ..transfer.prefix import Prefix
from ..transfer.reinitialization import reinitialize_top
from .adversarial import check_words_learn

log = logging.getLogger("minibert")

ADAPTER = "adapter"  # the folder of an adapter that is also in the weights of the model beside it


def adaptation_of(arguments: argparse.Namespace) -> Adaptation | None:
    """The parameter-efficient technique that was asked for. Raises `InputError` for settings that cannot be."""
    if arguments.mix is not None:
        return LayerMix(arguments.mix)
    if arguments.lora is not None:
        return Lora(arguments.lora, arguments.lora_alpha, tuple(arguments.lora_targets.split(",")))
    if arguments.adapters is not None:
        return Adapters(arguments.adapters, arguments.adapter_size)
    if arguments.prefix is not None:
        return Prefix(arguments.prefix)
    return BitFit() if arguments.bitfit else None


def encoder_is_frozen(arguments: argparse.Namespace) -> bool:
    """Whether only few weights are trained, which then take large steps."""
    return arguments.freeze == "encoder" or adaptation_of(arguments) is not None


def prepare_transfer(arguments: argparse.Namespace, model: BertPreTrainedModel) -> None:
    """Freeze and add to a fresh model what the flags say. Raises `InputError` for what cannot be."""
    adaptation = adaptation_of(arguments)
    if arguments.reinit_top is not None:
        reinitialize_top(model, arguments.reinit_top)
    if arguments.freeze is not None:
        freeze(model, int(arguments.freeze) if arguments.freeze.isdecimal() else arguments.freeze)
    if arguments.freeze == "encoder":
        remember_features(model)
    if adaptation is not None:
        adapt(model, adaptation)
    if not trained_parameters(model):  # sentence embeddings have no head
        way = f"--mix {arguments.mix}" if arguments.freeze is None else f"--freeze {arguments.freeze}"
        raise InputError(f"{way} leaves nothing to train in {type(model).__name__}.")
    if arguments.gradual_unfreezing:
        for epoch in (0, math.ceil(arguments.epochs)):  # the first may be refused; in the last, everything is trained
            unfreeze_gradually(model, epoch, arguments.epochs)
    if arguments.adversarial:
        check_words_learn(model)
    if arguments.reinit_top is not None:
        blocks = model.base_model.blocks
        fresh = blocks[len(blocks) - arguments.reinit_top :]
        if not all(parameter.requires_grad for parameter in fresh.parameters()):
            raise InputError("--reinit-top makes blocks random, so they must be trained: freeze fewer.")


def settle(model: BertPreTrainedModel, out: Path) -> dict[str, Any]:
    """After training, make an ordinary BERT of it if that is possible, and keep what was trained apart.

    LoRA is merged, and BitFit is a BERT already: for them there is a folder `adapter` in `out`. Of the others, only
    minibert knows what they compute: `out` itself becomes the adapter's folder when the model is saved. Returns figures
    for `metrics.json`.
    """
    figures: dict[str, Any] = {
        "parameters": model.num_parameters(),
        "trained_parameters": trained_parameters(model),
    }
    if model.adaptation is not None:
        becomes_a_bert = isinstance(model.adaptation, (Lora, BitFit))
        folder = out / ADAPTER if becomes_a_bert else out
        figures["adapter_bytes"] = save_adapter(model, folder)
        log.info(
            f"{folder / ADAPTER_WEIGHTS} holds what was trained: {figures['trained_parameters']:,} parameters, "
            f"{figures['adapter_bytes'] / 1e6:.2f} MB."
        )
        if isinstance(model.adaptation, Lora):
            merge_lora(model)
        elif becomes_a_bert:
            model.adaptation = None
        else:
            log.info(f"The model opens in minibert alone, and needs its base, {model.name_or_path}.")
    return figures
