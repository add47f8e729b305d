"""`python -m minibert`: which commands there are."""

from __future__ import annotations

import importlib
import sys

from .commandline import COMMANDS, PlainParser


def build_parser() -> PlainParser:
    lines = "".join(f"\n  python -m minibert.{command:<9} {_purpose(command)}" for command in COMMANDS)
    return PlainParser(
        prog="python -m minibert",
        usage="python -m minibert.COMMAND ...",
        description=f"BERT that you can read, step through, teach from and really use. Its commands:\n{lines}",
        epilog="Each has a --help with an example.",
    )


def _purpose(command: str) -> str:
    """What its file says of itself in the first line, behind its name."""
    said = importlib.import_module(f"minibert.{command}").__doc__ or ""
    return said.partition("\n")[0].partition(": ")[2]


if __name__ == "__main__":
    parser = build_parser()
    if sys.argv[1:2] and sys.argv[1] in COMMANDS:
        parser.error(f"write it with a dot: python -m minibert.{sys.argv[1]}")
    parser.parse_args()
    parser.print_help()
