"""`python -m minibert.bench`: how fast minibert is on your machine, as a table and JSON."""

from __future__ import annotations

import argparse

from .commandline import Parser, PlainParser, positive_int, run
from .config import PRESETS


def build_parser() -> Parser:
    parser = Parser(
        "bench",
        "Measure minibert on this machine. Writes a Markdown table to the standard output.",
        "  python -m minibert.bench attention --size mini --batch-size 8 --rounds 3",
    )
    subjects = parser.add_subparsers(dest="subject", metavar="attention", required=True, parser_class=PlainParser)
    attention = subjects.add_parser("attention", help="the attention implementations against each other")
    attention.add_argument("--size", choices=list(PRESETS), default="base", help="whose heads (default: base)")
    attention.add_argument(
        "--batch-size", type=positive_int, default=32, metavar="N", help="rows in a batch (default: 32)"
    )
    attention.add_argument("--lengths", metavar="FILE", help="tokens of each text, one number a line, as one batch")
    attention.add_argument("--rounds", type=positive_int, default=10, metavar="N", help="timed runs (default: 10)")
    attention.add_argument("--bf16", action="store_true", help="in bfloat16 instead of float32")
    attention.add_argument("--json", metavar="FILE", help="where the figures are written as JSON as well")
    return parser


def main(arguments: argparse.Namespace) -> None:
    from .benchmarks.attention import bench_attention  # brings torch along

    bench_attention(arguments)


if __name__ == "__main__":
    run(build_parser(), main)
