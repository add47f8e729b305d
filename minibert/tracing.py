"""Every named intermediate of a forward pass, beside the line of code that made it: `print(trace(model, ...))`.

The model's own files stay as they are. Python calls a function of ours before each line that it executes
(`sys.settrace`, as debuggers do), and whatever tensor a line has bound to a name becomes a row of the table. So the
names in the table are those in the code, and a row can be neither forgotten nor out of date.
"""

from __future__ import annotations

import difflib
import linecache
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from types import FrameType, FunctionType
from typing import Any, NamedTuple

from torch import Tensor, nn

from . import dropout, linear
from .attention import IMPLEMENTATIONS
from .errors import InputError


class Row(NamedTuple):
    """One tensor at the moment when a line gave it a name.

    name: the module's place in the model, then the name in the code: `blocks.0.attention.query`. What a module returns
        without a name has the module's: `blocks.0.feed_forward`.
    where, code: the file with the number of the line, and the line.
    """

    name: str
    tensor: Tensor
    where: str
    code: str


@dataclass(frozen=True)
class Trace:
    """What `trace` gives: the rows in the order in which they were computed, and the model's output.

    `trace["blocks.0.attention.query"]` is the tensor of that name; the last one, where a name was given twice. It is
    the tensor itself and no copy: with gradients on, `retain_grad()` works. Printed, it is a table.
    """

    rows: list[Row]
    output: Any

    def __getitem__(self, name: str) -> Tensor:
        found = [row.tensor for row in self.rows if row.name == name]
        if not found:
            nearest = difflib.get_close_matches(name, [row.name for row in self.rows], n=1, cutoff=0.0)
            raise InputError(f"The trace has no '{name}'. The nearest name in it is '{nearest[0]}'.")
        return found[-1]

    def __str__(self) -> str:
        table = [("name", "shape", "dtype", "line", "code")]
        table += [(row.name, str(tuple(row.tensor.shape)), _dtype(row), row.where, row.code) for row in self.rows]
        *widths, _ = (max(map(len, column)) for column in zip(*table, strict=True))
        return "\n".join(
            "  ".join([*(cell.ljust(width) for cell, width in zip(line, widths, strict=False)), line[-1]])
            for line in table
        )

    __repr__ = __str__


def trace(model: nn.Module, **inputs: Any) -> Trace:
    """Run `model(**inputs)` once and record every tensor that gets a name on the way.

    Watched are the files of the model's modules and of its attention. Inside, there is no padding: the rows show the
    packed `(tokens, ...)` that the model computes with, and where it is padded again. The attention probabilities exist
    only where they are computed: ask for them with `output_attentions=True`. Logits that a model computes when they are
    first read (`outputs.py`) are read here, and so are in the table.

    Gradients are recorded as the caller has set it: wrap it in `torch.no_grad()` for a mere look. All tensors are kept
    as long as the trace is. A debugger's breakpoints are not reached meanwhile. Raises what the model raises.
    """
    recorder = _Recorder(model)
    before = sys.gettrace()
    sys.settrace(recorder.enter)
    try:
        output = model(**inputs)
        if hasattr(output, "to_tuple"):
            output.to_tuple()
    finally:
        sys.settrace(before)
    return Trace(recorder.rows, output)


class _Recorder:
    """Watches the lines of a model while they are executed."""

    def __init__(self, model: nn.Module) -> None:
        self.names = {id(module): name for name, module in model.named_modules()}
        code = [function.__code__ for module in model.modules() for function in _own_functions(type(module))]
        code += [attend.__code__ for attend in IMPLEMENTATIONS.values()]
        self.files = {each.co_filename for each in code}
        self.rows: list[Row] = []
        self.seen: set[int] = set()  # the ids of tensors with a row, which are kept alive by it

    def enter(self, frame: FrameType, event: str, argument: Any) -> Callable[..., Any] | None:
        """Python calls this for every function. The answer is what it shall call for every line, or nothing."""
        if not self._is_watched(frame):
            return None
        path = self._path(frame)
        known = dict(frame.f_locals)
        executed = frame.f_lineno
        if not self.rows:  # the outermost call: its arguments are the inputs
            self._bind(path, {}, known, frame, executed)

        def line(frame: FrameType, event: str, argument: Any) -> Callable[..., Any]:
            nonlocal known, executed
            now = dict(frame.f_locals)
            self._bind(path, known, now, frame, executed)
            known = now
            if not _code(frame, executed).startswith("return"):  # after it, Python goes back to the head of a `with`
                executed = frame.f_lineno
            if event == "return" and not self._is_watched(frame.f_back):  # a watched caller gives it a name itself
                for name, tensor in _tensors(argument):
                    self._add_unseen((path + name).lstrip("."), tensor, frame, executed)
            return line

        return line

    def _is_watched(self, frame: FrameType | None) -> bool:
        if frame is None:
            return False
        code = frame.f_code  # <listcomp> and its like have frames of their own, with no names that are worth a row
        return code.co_filename in self.files and not code.co_name.startswith("<")

    def _path(self, frame: FrameType) -> str:
        """The name of the module whose method this is; that of a function follows the path of its caller."""
        owner = frame.f_locals.get("self")
        if id(owner) in self.names:
            return self.names[id(owner)]
        caller = frame.f_back
        above = self._path(caller) if caller is not None and self._is_watched(caller) else ""
        return f"{above}.{frame.f_code.co_name}".lstrip(".")

    def _bind(self, path: str, known: dict[str, Any], now: dict[str, Any], frame: FrameType, line: int) -> None:
        """Rows for the names that are new or that now mean something else."""
        for name, value in now.items():
            if name == "self" or (name in known and known[name] is value):
                continue
            full = f"{path}.{name}".lstrip(".")
            if isinstance(value, Tensor):
                self._add(full, value, frame, line)
            else:
                for part, tensor in _tensors(value):
                    self._add_unseen(full + part, tensor, frame, line)

    def _add_unseen(self, name: str, tensor: Tensor, frame: FrameType, line: int) -> None:
        if id(tensor) not in self.seen:
            self._add(name, tensor, frame, line)

    def _add(self, name: str, tensor: Tensor, frame: FrameType, line: int) -> None:
        self.seen.add(id(tensor))
        self.rows.append(Row(name, tensor, f"{Path(frame.f_code.co_filename).name}:{line}", _code(frame, line)))


def _tensors(value: Any, name: str = "") -> Iterator[tuple[str, Tensor]]:
    """The tensors in a value, with what leads to each: a batch and a layout have fields, a tuple has places."""
    if isinstance(value, Tensor):
        yield name, value
    elif isinstance(value, tuple):
        for place, part in enumerate(value):
            yield from _tensors(part, f"{name}[{place}]")
    elif is_dataclass(value) and not isinstance(value, type):
        for field in fields(value):
            yield from _tensors(getattr(value, field.name), f"{name}.{field.name}")


def _code(frame: FrameType, line: int) -> str:
    return linecache.getline(frame.f_code.co_filename, line).strip()


def _dtype(row: Row) -> str:
    return str(row.tensor.dtype).removeprefix("torch.")


def _own_functions(kind: type[nn.Module]) -> list[FunctionType]:
    """What a class of modules computes with, its `forward` and other methods, without torch's, made faster or not."""
    functions = [value for value in (kind.forward, *vars(kind).values()) if isinstance(value, FunctionType)]
    torchs = ("torch.", linear.__name__, dropout.__name__)
    return [function for function in functions if not function.__module__.startswith(torchs)]
