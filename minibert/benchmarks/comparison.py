"""Programs at the same work, side by side: what a run is, how it is measured, and the table that comes of it."""

from __future__ import annotations

import argparse
import gc
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from typing import Any, TypeVar

import torch
from torch import Tensor

from ..config import BertConfig
from ..errors import InputError
from ..training.measure import peak_memory_mb
from .measure import describe_machine, markdown_table, publish, ratios, spread, spread_ms, take_turns
from .models import Setting, UnavailableError

OURS = "minibert"

Result = TypeVar("Result")
Lengths = Sequence[int]  # of the texts in a batch
Step = Callable[[Any], Tensor]  # what a program does with a batch
Build = Callable[[Setting], Step]  # a program: told what to load, it is ready to do the work
Make = Callable[..., Any]  # a batch out of lengths, for a config, from a seed


@dataclass(frozen=True)
class Run:
    """A program at its work: it takes one batch a round, and the first ones again when all are done.

    calls: how often it does so in a round, one after the other, as a server would. Right after another program a short
    call is slow: the caches are cold, and the threads of ONNX Runtime and of OpenMP wait for a while by running.
    """

    work: str
    program: str
    step: Step
    batches: Sequence[Any]
    lengths: Sequence[Lengths]  # of each batch
    calls: int = 1

    def turns(self) -> Iterator[None]:
        """Each item is a round's work, done when it is asked for."""
        for batch in itertools.cycle(self.batches):
            for _ in range(self.calls):
                self.step(batch)
            yield


def available(programs: Mapping[str, tuple[Build, Setting]], notes: list[str]) -> dict[str, Step]:
    """The programs that can do the work here, ready; a sentence is added to the notes on each that cannot."""
    steps = {}
    for name, (build, setting) in programs.items():
        try:
            steps[name] = build(setting)
        except UnavailableError as why:
            notes.append(f"{name} is left out. {why}")
    return steps


def measure(runs: Sequence[Run], rounds: int) -> list[dict[str, Any]]:
    """Let the runs take turns; a result for each. Programs are compared with minibert at the same work."""
    turns = {str(number): partial(next, run.turns()) for number, run in enumerate(runs)}
    rounds_of_all = take_turns(turns, rounds).values()
    seconds = [[total / run.calls for total in totals] for run, totals in zip(runs, rounds_of_all, strict=True)]
    ours = {run.work: times for run, times in zip(runs, seconds, strict=True) if run.program == OURS}
    results = []
    for run, times in zip(runs, seconds, strict=True):
        timed = list(itertools.islice(itertools.cycle(run.lengths), 1, 1 + rounds))  # the first one was the warm-up
        tokens, places = sum(map(sum, timed)), sum(len(batch) * max(batch) for batch in timed)
        results.append(
            {
                "work": run.work,
                "program": run.program,
                "tokens": tokens / rounds,
                "padding": 1 - tokens / places,
                "milliseconds": spread_ms(times),
                "tokens_per_second": tokens / sum(times),
                "minibert_times_as_fast": spread(ratios(ours[run.work], times)),
            }
        )
    return results


def add_memory(
    result: dict[str, Any], build: Build, setting: Setting, make: Make, lengths: Lengths, steps: int
) -> None:
    """Add the peak of a process that does nothing but so many steps of this work."""
    result |= in_fresh_process(peak_memory, build, setting, make, lengths, steps)


def peak_memory(build: Build, setting: Setting, make: Make, lengths: Lengths, steps: int) -> dict[str, float | None]:
    """The most memory that this process has needed so far (on a GPU, the GPU's): before the first step, and after."""
    step, batch = build(setting), make(lengths, setting.config)
    before = peak_memory_mb()
    for _ in range(steps):
        step(batch)
    return {"memory_before_mb": before, "peak_memory_mb": peak_memory_mb()}


def in_fresh_process(function: Callable[..., Result], *arguments: Any) -> Result:
    """What the function returns in a new process. Raises `InputError` if that was killed."""
    gc.collect()  # trainers that were dropped are in circles, and hold their models until then
    torch.cuda.empty_cache()  # of a GPU's memory, the new process could not have what this one keeps for later
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        try:
            return process.submit(function, *arguments).result()
        except BrokenProcessPool as error:
            raise InputError(
                "A process that measured memory was killed, most likely for lack of it: choose a smaller --size or "
                "--batch-size."
            ) from error


def check_close(program: str, answer: Tensor, wanted: Tensor, tolerance: float) -> None:
    """Raise if a program does not compute what minibert does: then its time says nothing."""
    error = (answer.double() - wanted.double()).norm() / wanted.double().norm()
    if not error <= tolerance:
        raise RuntimeError(
            f"{program}'s answer differs from minibert's by {error:.1e} of its size, where {tolerance:.0e} is allowed: "
            f"nothing was timed."
        )


def speeds(results: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """How many times as fast minibert is, by "work, program"."""
    return {f"{result['work']}, {result['program']}": result["minibert_times_as_fast"]["median"] for result in results}


def report(
    what: str, arguments: argparse.Namespace, results: Sequence[Mapping[str, Any]], notes: Sequence[str], targets: str
) -> None:
    """Print a table with all that belongs to it, and the one of `targets_table`; write JSON if asked."""
    title = (
        f"{what}, {arguments.rounds} rounds; medians and quartiles. Peak memory is that of a new process that does "
        "nothing else, with its libraries."
    )
    settings = {name: value for name, value in vars(arguments).items() if name != "json"} | {"notes": list(notes)}
    publish(arguments.json, describe_machine(), settings, results, title, *notes, as_table(results), targets)


def as_table(results: Sequence[Mapping[str, Any]]) -> str:
    """The results in Markdown, one line each."""
    columns = ["work", "tokens", "padding", "program", "ms (quartiles)", "tokens/s", "peak MB", "minibert is as fast"]
    rows = []
    for result in results:
        time, ratio, memory = result["milliseconds"], result["minibert_times_as_fast"], result["peak_memory_mb"]
        rows.append(
            [
                result["work"],
                f"{result['tokens']:,.0f}",
                f"{result['padding']:.0%}",
                result["program"],
                f"{time['median']:.1f} ({time['low']:.1f}-{time['high']:.1f})",
                f"{result['tokens_per_second']:,.0f}",
                "-" if memory is None else f"{memory:,.0f}",
                f"{ratio['median']:.2f}x ({ratio['low']:.2f}-{ratio['high']:.2f})" if result["program"] != OURS else "",
            ]
        )
    return markdown_table(columns, rows)


def check_lengths(batches: Sequence[Lengths], config: BertConfig) -> None:
    """Raise `InputError` for a text that is longer than the model can read."""
    longest = max(max(batch) for batch in batches)
    if longest > config.max_position_embeddings:
        raise InputError(
            f"A text of {longest} tokens is too long for the model, which knows {config.max_position_embeddings} "
            f"positions: choose shorter ones (--lengths, --max-length), or another --model."
        )
