"""What all commands share: a parser whose errors are one line, and errors that are no tracebacks.

Nothing here, and nothing at the top of a command's own file, imports torch: `--help` answers at once.
"""

from __future__ import annotations

import argparse
import difflib
import io
import logging
import math
import os
import re
import shlex
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, NoReturn

from .errors import InputError
from .files import LONE_SURROGATE

# Each is a file of the package, in the order in which they are told.
COMMANDS = (
    "finetune", "predict", "evaluate", "inspect", "search", "compare", "similar", "pretrain", "weights", "step",
    "bench",
)  # fmt: skip


class PlainParser(argparse.ArgumentParser):
    """An argument parser that shows defaults, and tells a mistake in one line, naming the nearest flag."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(formatter_class=_Formatter, allow_abbrev=False, **settings)

    def error(self, message: str) -> NoReturn:
        unknown = re.search(r"unrecognized arguments: (-\S+)", message)
        given = unknown[1].split("=")[0] if unknown else ""
        flags = [flag for action in self._actions for flag in action.option_strings]
        nearest = difflib.get_close_matches(given, flags, n=1)
        # A subcommand does not know every flag of its command, whose flags these are: it may be the same one.
        hint = f" Did you mean {nearest[0]}?" if nearest and nearest != [given] else ""
        self.exit(2, f"{self.prog}: error: {message}.{hint} See --help.\n")


class Parser(PlainParser):
    """The parser of a whole command: it also shows an example."""

    def __init__(self, command: str, description: str, example: str) -> None:
        super().__init__(
            prog=f"python -m minibert.{command}",
            description=description,
            epilog=f"example (a minute on a CPU):\n{example}",
        )


class OneOrMore(argparse.Action):
    """Of a flag: given once it is a value, given again a list of them."""

    def __call__(
        self, parser: Any, namespace: argparse.Namespace, values: Any, option_string: str | None = None
    ) -> None:
        given = getattr(namespace, self.dest)
        found = values if given is None else [*given, values] if isinstance(given, list) else [given, values]
        setattr(namespace, self.dest, found)


def positive_int(text: str) -> int:
    """The type of a flag: a whole number, at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"a whole number, at least 1, is needed: found '{text}'")
    return int(text)


def whole_number(text: str) -> int:
    """The type of a flag: a whole number, at least 0."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"a whole number, at least 0, is needed: found '{text}'")
    return int(text)


def seed(text: str) -> int:
    """The type of a flag: what every generator of random numbers takes."""
    if not text.isdecimal() or int(text) >= 2**32:
        raise argparse.ArgumentTypeError(f"a whole number from 0 to {2**32 - 1} is needed: found '{text}'")
    return int(text)


def positive_float(text: str) -> float:
    """The type of a flag: a number above 0."""
    return _number(text, "above 0", lambda value: 0 < value < math.inf)


def share(text: str) -> float:
    """The type of a flag: a number from 0 up to, but not including, 1."""
    return _number(text, "from 0 to below 1", lambda value: 0 <= value < 1)


def _number(text: str, rule: str, holds: Callable[[float], bool]) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not holds(value):
        raise argparse.ArgumentTypeError(f"a number {rule} is needed: found '{text}'")
    return value


class _Formatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    def _get_help_string(self, action: argparse.Action) -> str | None:
        none = action.default is None or action.default is False or action.default == []
        return action.help if none or "(default" in (action.help or "") else super()._get_help_string(action)


class _Told:
    """A stream for what is only told: where nobody hears it, as after a Ctrl-C that has ended `tee`, too, work goes on.

    One that is closed, as a daemon's may be, is None.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream or open(os.devnull, "w")  # noqa: SIM115  # for as long as the process

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        try:
            self._stream.write(text)
        except OSError:
            _silence(self._stream)
        return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError:
            _silence(self._stream)


def _silence(stream: Any) -> None:
    """Nothing that is written there, or was and waits, can fail any more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def run(parser: Parser, command: Callable[[argparse.Namespace], None], argv: Sequence[str] | None = None) -> None:
    """Parse and run. The process ends with 2 and one line about what the user can mend, and with 130 after Ctrl-C."""
    with ExitStack() as streams:
        streams.enter_context(redirect_stderr(_Told(sys.stderr)))
        log = logging.getLogger("minibert")
        log.setLevel(logging.INFO)
        log.handlers = [logging.StreamHandler()]  # of this logger alone: other libraries show their warnings themselves
        if isinstance(sys.stdout, io.TextIOWrapper):  # JSON lines are UTF-8, wherever they are written
            sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")
        arguments = parser.parse_args(argv)
        if sys.stdout is None or hasattr(arguments, "out"):  # what counts is written there
            streams.enter_context(redirect_stdout(_Told(sys.stdout)))
        _run(parser, command, arguments)


def _run(parser: Parser, command: Callable[[argparse.Namespace], None], arguments: argparse.Namespace) -> None:
    try:
        command(arguments)
        sys.stdout.flush()
        _leave_torchrun(0)
    except InputError as error:
        _end(parser, " ".join(str(error).split()), 2)
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        _silence(sys.stdout)
        sys.exit(0)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        _end(parser, f"{where}{error.strerror or error}.", 2)
    except (RuntimeError, MemoryError) as error:
        if not _is_out_of_memory(error):
            raise
        advice = "a smaller model, --batch-size or --max-length needs less."
        _end(parser, " ".join(f"There is not enough memory: {advice} {error}".split()), 2)
    except KeyboardInterrupt as interrupt:
        _end(parser, str(interrupt) or "interrupted.", 130)


def check_names(arguments: argparse.Namespace) -> None:
    """For commands that write down what they were given: raise `InputError` for a file name that is not UTF-8."""
    values = [value if isinstance(value, list) else [value] for value in vars(arguments).values()]
    for value in (one for group in values for one in group):
        if isinstance(value, str) and LONE_SURROGATE.search(value):  # so Python shows bytes that are no UTF-8
            raise InputError(f"The name {value!a} is not UTF-8, so that no report can tell it: rename the file.")


def resume_command(command: str, out: Path) -> str:
    """What goes on with this run: the command that was given, with --resume."""
    given = [argument for argument in sys.argv[1:] if argument != "--overwrite"]
    given += [] if any(argument.split("=")[0] == "--out" for argument in given) else ["--out", str(out)]
    given += [] if "--resume" in given else ["--resume"]
    processes = os.environ.get("LOCAL_WORLD_SIZE")  # set by torchrun
    launcher = "python" if processes is None else f"torchrun --nproc-per-node {processes}"
    return f"{launcher} -m minibert.{command} {shlex.join(given)}"


def _is_out_of_memory(error: Exception) -> bool:
    # Known by its name, for torch is not loaded yet; on a CPU, torch has no class for it.
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or "can't allocate memory" in str(error)
    )


def _end(parser: Parser, text: str, status: int) -> NoReturn:
    print(f"{parser.prog}: {'error: ' if status == 2 else ''}{text}", file=sys.stderr)
    _leave_torchrun(status)
    sys.exit(status)


def _leave_torchrun(status: int) -> None:
    """One of several processes, as torchrun starts them, ends here, without Python's own end.

    torch never lets go of a group among which it has divided a model, so gloo's threads still run. If one of them asks
    for Python's lock, to give a tensor back, while Python ends, Python ends the thread, and that the whole process,
    whose work was done: "terminate called without an active exception".
    """
    if "LOCAL_WORLD_SIZE" in os.environ:
        sys.stdout.flush()
        os._exit(status)
