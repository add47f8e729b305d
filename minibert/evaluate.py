"""`python -m minibert.evaluate`: how good a fine-tuned model is on any labelled file, as one JSON object."""

from __future__ import annotations

import argparse
import json

from .commandline import Parser, positive_int, run
from .patience import told
from .tasks import TASKS


def build_parser() -> Parser:
    parser = Parser(
        "evaluate",
        "Judge a fine-tuned model by a labelled file. Writes one JSON object to the standard output.",
        "  python -m minibert.finetune --out my-first-model\n"
        "  python -m minibert.evaluate --model my-first-model --data test.tsv --slice domain",
    )
    parser.add_argument("--model", metavar="DIR", required=True, help="what minibert.finetune wrote to --out")
    parser.add_argument("--task", choices=list(TASKS), help="what to ask (default: what the model was trained for)")
    parser.add_argument("--data", metavar="FILE", required=True, help="labelled examples, in the task's format")
    parser.add_argument(
        "--slice", metavar="COLUMN", help="also judge the examples of each value of this column, largest gaps first"
    )
    parser.add_argument(
        "--swap",
        metavar="FILE",
        help="also ask again with words swapped: a table of two words a line, such as he and she, below a header",
    )
    parser.add_argument("--text-column", metavar="NAME", default="text", help="the column with the text")
    parser.add_argument("--text-b-column", metavar="NAME", default="text_b", help="with the second text of pairs")
    parser.add_argument("--label-column", metavar="NAME", default="label", help="with the label")
    parser.add_argument("--batch-size", type=positive_int, default=32, metavar="N", help="texts at a time")
    return parser


def main(arguments: argparse.Namespace) -> None:
    from .tasks.task import Columns
    from .training.counterfactuals import read_swaps
    from .training.flags import check_readers
    from .training.judging import Judge

    swaps = None if arguments.swap is None else read_swaps(arguments.swap)
    judge = Judge(arguments.model, arguments.batch_size, Columns.from_arguments(arguments), arguments.task)
    check_readers(arguments, [judge.task.name])
    with told("Reading the file"):
        examples = judge.task.read(arguments.data)
    metrics = judge.evaluate(examples, arguments.slice, swaps)
    print(json.dumps(metrics, indent=2, ensure_ascii=False))


if __name__ == "__main__":
    run(build_parser(), main)
