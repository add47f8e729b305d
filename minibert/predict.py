"""`python -m minibert.predict`: what a fine-tuned model says about your own texts, as JSON lines."""

from __future__ import annotations

import argparse

from .commandline import Parser, positive_int, run
from .errors import InputError
from .files import json_line
from .patience import told
from .tasks import TASKS

PIECE = 10_000  # examples whose tokens and answers are in memory at a time


def build_parser() -> Parser:
    parser = Parser(
        "predict",
        "Ask a fine-tuned model. Ask a pretrained one which word belongs at [MASK], or with --task nsp whether the "
        "second of two texts follows the first. Writes one JSON object a text to the standard output.",
        "  python -m minibert.finetune --out my-first-model\n"
        "  python -m minibert.predict --model my-first-model 'Warm bread, cold butter, happy me.'",
    )
    parser.add_argument(
        "--model", metavar="NAME_OR_PATH", required=True, help="what finetune wrote to --out; or a pretrained one"
    )
    parser.add_argument("--task", choices=list(TASKS), help="what to ask (default: what the model was trained for)")
    parser.add_argument("texts", nargs="*", metavar="TEXT", help="texts to judge; for qa, a question and a text")
    parser.add_argument(
        "--input",
        metavar="FILE",
        help="a file of the task's format, or a .txt with a text a line; - for the standard input, a text a line",
    )
    parser.add_argument("--text-column", metavar="NAME", default="text", help="the column with the text")
    parser.add_argument("--text-b-column", metavar="NAME", default="text_b", help="with the second text of pairs")
    parser.add_argument("--top-k", type=positive_int, default=5, metavar="N", help="words to tell for each [MASK]")
    parser.add_argument("--batch-size", type=positive_int, default=32, metavar="N", help="texts at a time")
    return parser


def main(arguments: argparse.Namespace) -> None:
    if bool(arguments.texts) == bool(arguments.input):
        raise InputError("Give either texts or --input FILE.")
    from .data.tables import STDIN, read_lines
    from .tasks.task import Columns
    from .training.flags import check_readers
    from .training.judging import Judge

    judge = Judge(arguments.model, arguments.batch_size, Columns.from_arguments(arguments), arguments.task)
    check_readers(arguments, [judge.task.name])
    judge.task.flags(arguments)
    with told("Reading the file"):
        if not arguments.input:
            examples = judge.task.from_texts(arguments.texts)
        elif arguments.input == STDIN:
            examples = judge.task.from_texts(read_lines(STDIN))
        elif arguments.input.endswith(".txt"):
            examples = judge.task.from_text_file(arguments.input)
        else:
            examples = judge.task.read(arguments.input, "ignored")
    starts = range(0, len(examples), PIECE)
    for number, start in enumerate(starts, start=1):
        piece = examples.subset(range(start, min(start + PIECE, len(examples))))
        for line in judge.predict(piece, f"predict, part {number} of {len(starts)}" if len(starts) > 1 else "predict"):
            print(json_line(line))


if __name__ == "__main__":
    run(build_parser(), main)
