"""`python -m minibert.predict`: what a fine-tuned model says about your own texts, as JSON lines."""

from __future__ import annotations

import argparse
import json

from .commandline import Parser, positive_int, run
from .errors import InputError


def build_parser() -> Parser:
    parser = Parser(
        "predict",
        "Ask a fine-tuned model. Writes one JSON object a text to the standard output.",
        "  python -m minibert.finetune --out my-first-model\n"
        "  python -m minibert.predict --model my-first-model 'Warm bread, cold butter, happy me.'",
    )
    parser.add_argument("texts", nargs="*", metavar="TEXT", help="texts to judge")
    parser.add_argument("--model", metavar="DIR", required=True, help="what minibert.finetune wrote to --out")
    parser.add_argument("--input", metavar="FILE", help="a .tsv, .csv or .jsonl of texts, or a .txt with one a line")
    parser.add_argument("--text-column", metavar="NAME", default="text", help="the column with the text")
    parser.add_argument("--text-b-column", metavar="NAME", default="text_b", help="with the second text of pairs")
    parser.add_argument("--batch-size", type=positive_int, default=32, metavar="N", help="texts at a time")
    return parser


def main(arguments: argparse.Namespace) -> None:
    if bool(arguments.texts) == bool(arguments.input):
        raise InputError("Give either texts or --input FILE.")
    from .data.tables import read_lines
    from .tasks.task import Columns
    from .training.judging import Judge

    judge = Judge(arguments.model, arguments.batch_size, Columns.from_arguments(arguments))
    if not arguments.input:
        examples = judge.task.from_texts(arguments.texts)
    elif arguments.input.endswith(".txt"):
        examples = judge.task.from_texts(read_lines(arguments.input))
    else:
        examples = judge.task.read(arguments.input, need_truth=False)
    for line in judge.predict(examples):
        print(json.dumps(line, ensure_ascii=False))


if __name__ == "__main__":
    run(build_parser(), main)
