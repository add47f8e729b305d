"""The attention implementations against each other, alone: no linear layers, one layer's query, key and value."""

from __future__ import annotations

import argparse
import itertools
import sys
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ..attention import IMPLEMENTATIONS, Attention, get_attention
from ..config import BertConfig
from ..errors import InputError
from ..packing import Layout
from .lengths import attention_workloads, read_lengths
from .measure import describe_machine, markdown_table, publish, spread_ms, take_turns, times_as_fast

BASELINE = "sdpa"
# (what is measured, dropout, with backward pass)
WORK = [("inference", 0.0, False), ("training", 0.0, True), ("training, dropout 0.1", 0.1, True)]
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 2e-2}


def bench_attention(arguments: argparse.Namespace) -> None:
    """Time every implementation on every batch of lengths; print a table, and write JSON if asked.

    Only what equals eager on a batch, forward and backward, is timed there; a note tells of the others.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    dtype = torch.bfloat16 if arguments.bf16 else torch.float32
    config = BertConfig.preset(arguments.size)
    batches = attention_workloads(arguments.batch_size)
    if arguments.lengths:
        batches = {arguments.lengths: read_lengths(arguments.lengths)}
    attentions, notes = available_attentions(device)
    machine = describe_machine()
    results = []
    for (batch, lengths), (work, dropout, training) in itertools.product(batches.items(), WORK):
        print(f"{batch}, {work} ...", file=sys.stderr)
        layout = Layout.from_lengths(torch.tensor(lengths)).to(device)
        shape = sum(lengths), 3, config.num_attention_heads, config.head_dim
        tokens = torch.randn(shape, device=device, dtype=dtype, requires_grad=training)
        candidates = {}
        for name, attend in attentions.items():
            candidate = partial(attend_once, attend, tokens, layout, dropout, training)
            try:
                check_equal(name, attend, tokens, layout)
                candidate()
            except Exception as error:  # kernels fail in many ways on a GPU that they were never tried on
                if name == BASELINE:
                    raise
                reason = str(error).partition("\n")[0] or type(error).__name__
                notes.append(f"{name} is left out of {batch}, {work}. It fails here: {reason}")
            else:
                candidates[name] = candidate
        seconds = take_turns(candidates, arguments.rounds)
        results += [
            {
                "lengths": batch,
                "rows": len(lengths),
                "tokens": sum(lengths),
                "work": work,
                "attention": name,
                "milliseconds": spread_ms(seconds[name]),
                f"times_as_fast_as_{BASELINE}": times_as_fast(seconds, name, BASELINE),
            }
            for name in candidates
        ]
    settings = {"size": arguments.size, "dtype": str(dtype), "rounds": arguments.rounds, "notes": notes}
    title = f"One layer of BERT-{arguments.size} in {dtype}, {arguments.rounds} rounds; medians and quartiles."
    publish(arguments.json, machine, settings, results, title, *notes, as_table(results))


def available_attentions(device: torch.device) -> tuple[dict[str, Attention], list[str]]:
    """The implementations that can be timed here, by name, and a sentence on each that cannot."""
    attentions, notes = {}, []
    for name in IMPLEMENTATIONS:
        if name == "triton" and device.type != "cuda":
            notes.append("triton is left out: without a GPU its kernels are interpreted.")
        elif name != "auto":
            try:
                attentions[name] = get_attention(name)
            except InputError as error:
                notes.append(f"{name} is left out. {error}")
    return attentions, notes


def attend_once(
    attend: Attention, tokens: Tensor, layout: Layout, dropout: float, training: bool
) -> tuple[Tensor, Tensor | None]:
    """The context of tokens (tokens, 3, heads, head_dim); in training also their gradient."""
    with torch.set_grad_enabled(training):
        query, key, value = tokens.unbind(1)  # (tokens, 3, heads, head_dim) -> 3 of (tokens, heads, head_dim)
        context = attend(query, key, value, layout, layout, dropout)[0]
    if not training:
        return context, None
    return context.detach(), torch.autograd.grad(context, tokens, context.detach())[0]


def check_equal(name: str, attend: Attention, tokens: Tensor, layout: Layout) -> None:
    """Raise if an implementation, without dropout, is not what eager is in float32."""
    training = tokens.requires_grad
    wide = tokens.detach().float().requires_grad_(training)
    wanted = attend_once(get_attention("eager"), wide, layout, 0.0, training)
    results = attend_once(attend, tokens, layout, 0.0, training)
    for result, reference in zip(results, wanted, strict=True):
        if result is not None and reference is not None:
            error = (result.float() - reference).norm() / reference.norm()
            if not error <= TOLERANCE[tokens.dtype]:
                raise RuntimeError(f"{name} attention differs from eager by {error:.1e} of its size.")


def as_table(results: list[dict[str, Any]]) -> str:
    """The results in Markdown, one line each."""
    columns = ["lengths", "rows", "tokens", "work", "attention", "ms (quartiles)", f"times as fast as {BASELINE}"]
    rows = []
    for result in results:
        time = result["milliseconds"]
        cells = [str(result[key]) for key in ("lengths", "rows", "tokens", "work", "attention")]
        cells.append(f"{time['median']:.2f} ({time['low']:.2f}-{time['high']:.2f})")
        rows.append([*cells, f"{result[f'times_as_fast_as_{BASELINE}']:.2f}"])
    return markdown_table(columns, rows)
