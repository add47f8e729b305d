"""Inference against other programs with the same weights, on the same padded inputs.

minibert takes the padding out and puts it back within the time that is measured.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..config import BertConfig
from ..device import best_device
from ..linear import ONEDNN_PAYS, pack_weights
from .comparison import (
    OURS,
    Build,
    Lengths,
    Run,
    Step,
    add_memory,
    available,
    check_close,
    check_lengths,
    measure,
    report,
    speeds,
)
from .lengths import inference_workloads, own_batches
from .models import Setting, UnavailableError, library, open_with_minibert, open_with_transformers, weights
from .targets import INFERENCE, INFERENCE_BF16, targets_table
from .texts import padded_batch

TOLERANCE, TOLERANCE_BF16 = 1e-5, 4e-2  # of the answer's size
EVERY_TOKEN, CLS = "BertModel", "BertForSequenceClassification"

Batch = Mapping[str, Tensor]


class Work(NamedTuple):
    """Batches of texts, and whether every token's state is wanted or a class for each text. calls: see `Run`."""

    name: str
    batches: Sequence[Lengths]
    head: str = EVERY_TOKEN
    calls: int = 1


def bench_inference(arguments: argparse.Namespace) -> None:
    """Compare minibert with every program that is there; print a table, and write JSON if asked.

    Before anything is timed, the answers to the first batch must be equal.
    """
    notes: list[str] = []
    results: list[dict[str, Any]] = []
    with weights(CLS, arguments.model, arguments.size) as setting:
        setting = setting.but(bf16=arguments.bf16)
        works = chosen_works(arguments)
        check_lengths([batch for work in works for batch in work.batches], setting.config)
        for work in works:
            print(f"{work.name} ...", file=sys.stderr)
            results += compare(work, setting.but(head=work.head), arguments, notes)
    notes = list(dict.fromkeys(notes))  # each but once
    targets = targets_table(INFERENCE_BF16 if arguments.bf16 else INFERENCE, speeds(results))
    report(f"Inference in {dtype_of(setting)}", arguments, results, notes, targets)


def chosen_works(arguments: argparse.Namespace) -> list[Work]:
    """The lengths in the file, or the usual ones and a single sentence to classify."""
    count = arguments.rounds + 1
    if arguments.lengths:
        return [Work(arguments.lengths, own_batches(arguments.lengths, arguments.batch_size))]
    works = [Work(name, batches) for name, batches in inference_workloads(arguments.batch_size, count).items()]
    return [*works, Work("classify one of 32", [[32]], CLS, calls=20)]


def compare(work: Work, setting: Setting, arguments: argparse.Namespace, notes: list[str]) -> list[dict[str, Any]]:
    """The results of all programs at one work."""
    programs: dict[str, tuple[Build, Setting]] = {name: (build, setting) for name, build in PROGRAMS.items()}
    if arguments.compile and work.head == CLS:
        compiled = setting.but(compiled=True)
        programs |= {
            "minibert, compiled": (loaded_program, compiled),
            "transformers, compiled": (transformers_program, compiled),
        }
    steps = available(programs, notes)
    batches = [make_batch(lengths, setting.config, seed) for seed, lengths in enumerate(work.batches)]
    wanted = real_answers(steps[OURS](batches[0]), batches[0])
    for name, step in list(steps.items()):
        try:
            answer = real_answers(step(batches[0]), batches[0])
        except RuntimeError as error:  # a program may have no kernel for this device, or the compiler no tools
            del steps[name]
            reason = str(error).partition("\n")[0] or type(error).__name__
            notes.append(f"{name} is left out. It fails here: {reason}")
            continue
        check_close(name, answer, wanted, TOLERANCE_BF16 if setting.bf16 else TOLERANCE)
    runs = [Run(work.name, name, step, batches, work.batches, work.calls) for name, step in steps.items()]
    results = measure(runs, arguments.rounds)
    largest = max(work.batches, key=lambda lengths: len(lengths) * max(lengths))
    for result in results:
        add_memory(result, *programs[result["program"]], make_batch, largest, steps=1)
    return results


def make_batch(lengths: Lengths, config: BertConfig, seed: int = 0) -> Batch:
    """A padded batch, where the models are."""
    return {name: tensor.to(best_device()) for name, tensor in padded_batch(lengths, config, seed).items()}


def real_answers(answer: Tensor, batch: Batch) -> Tensor:
    """Without what stands at padded places: programs differ there, and nobody reads it."""
    return answer[batch["attention_mask"].bool()] if answer.dim() == 3 else answer  # (batch, seq, ...) -> (tokens, ...)


def dtype_of(setting: Setting) -> torch.dtype:
    return torch.bfloat16 if setting.bf16 else torch.float32


# ------------------------------------------------------------------------------------------------------- the programs
# Each is built from a setting and then called with a batch. It returns the states (batch, seq, hidden) or the logits
# (batch, labels).


def minibert_program(setting: Setting) -> Step:
    """As `predict` does it: the weights are packed first, where that pays."""
    model = open_with_minibert(setting, dtype_of(setting)).to(best_device())
    pack_weights(model)
    return _ready(model, setting)


def unpacked_program(setting: Setting) -> Step:
    """Without that: a row of its own only where it makes a difference."""
    if best_device().type != "cpu" or not ONEDNN_PAYS:
        raise UnavailableError("Weights are packed on a CPU with AVX-512 alone.")
    return loaded_program(setting)


def loaded_program(setting: Setting) -> Step:
    """minibert's model as it is loaded; the compiler wants it so."""
    return _ready(open_with_minibert(setting, dtype_of(setting)), setting)


def transformers_program(setting: Setting) -> Step:
    return _ready(open_with_transformers(setting, dtype_of(setting)), setting)


def torch_program(setting: Setting) -> Step:
    """`torch.nn.TransformerEncoder`, whose fast path for inference leaves the padding out, too, with our embeddings."""
    config = setting.config
    if setting.head != EVERY_TOKEN:
        raise UnavailableError("It has no head: it does not classify.")
    if config.hidden_act != "gelu":
        raise UnavailableError(f"Its fast path does not know hidden_act '{config.hidden_act}'.")
    model = open_with_minibert(setting, dtype_of(setting)).to(best_device())
    layer = nn.TransformerEncoderLayer(
        config.hidden_size,
        config.num_attention_heads,
        config.intermediate_size,
        activation=F.gelu,
        layer_norm_eps=config.layer_norm_eps,
        batch_first=True,
    )
    warnings.filterwarnings("ignore", "The PyTorch API of nested tensors")
    encoder = nn.TransformerEncoder(layer, config.num_hidden_layers).to(best_device(), dtype_of(setting)).eval()
    for layer, block in zip(encoder.layers, model.blocks, strict=True):
        for theirs, ours in (
            ("self_attn.in_proj_", "attention.query_key_value."),
            ("self_attn.out_proj.", "attention.output."),
            ("linear1.", "feed_forward.intermediate."),
            ("linear2.", "feed_forward.output."),
            ("norm1.", "attention_norm."),
            ("norm2.", "feed_forward_norm."),
        ):
            for kind in ("weight", "bias"):
                layer.get_parameter(theirs + kind).data.copy_(block.get_parameter(ours + kind))
    return partial(_encode, model, encoder)


def onnx_program(setting: Setting) -> Step:
    """ONNX Runtime, with transformers' model as torch exports it."""
    if setting.bf16 or best_device().type != "cpu":
        raise UnavailableError("It is measured in float32 on the CPU alone.")
    runtime = library("onnxruntime")
    file = setting.folder / f"{setting.head}.onnx"
    if not file.exists():  # the process that measures memory finds it there, and needs no more than its users do
        _export(open_with_transformers(setting), setting.config, file)
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = runtime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    return partial(_run_session, session)


PROGRAMS: dict[str, Build] = {
    OURS: minibert_program,
    "minibert, not packed": unpacked_program,
    "transformers": transformers_program,
    "torch TransformerEncoder": torch_program,
    "ONNX Runtime": onnx_program,
}


def _ready(model: Any, setting: Setting) -> Step:
    model = model.to(best_device()).eval()
    if setting.compiled:
        for module in model.modules():
            if type(module).__name__ in ("BertBlock", "BertLayer"):
                module.compile()  # one block is compiled for all, in seconds; the model as a whole takes a minute
    return partial(_answer, model)


@torch.inference_mode()
def _answer(model: Any, batch: Batch) -> Tensor:
    return model(**batch)[0]


@torch.inference_mode()
def _encode(model: Any, encoder: nn.TransformerEncoder, batch: Batch) -> Tensor:
    rectangle = model.pack(batch["input_ids"])  # padding and all
    hidden = rectangle.restore(model.embeddings(rectangle))  # (tokens, hidden) -> (batch, seq, hidden)
    padding = batch["attention_mask"] == 0
    return encoder(hidden, src_key_padding_mask=padding if padding.any() else None)


class _FirstOutput(nn.Module):
    """A model as the exporter wants it: tensors in, by their places, and a tensor out."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        return self.model(input_ids=input_ids, attention_mask=attention_mask)[0]


def _export(model: Any, config: BertConfig, file: Path) -> None:
    inputs = padded_batch([4, 3], config)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about paths of the code that depend on the values of tensors
        torch.onnx.export(
            _FirstOutput(model),
            tuple(inputs.values()),
            file,
            input_names=list(inputs),
            output_names=["answer"],
            dynamic_axes={name: {0: "batch", 1: "seq"} for name in inputs},
            dynamo=False,  # the newer exporter wants further packages
        )


def _run_session(session: Any, batch: Batch) -> Tensor:
    return torch.from_numpy(session.run(["answer"], {name: tensor.numpy() for name, tensor in batch.items()})[0])
