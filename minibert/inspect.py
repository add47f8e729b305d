"""`python -m minibert.inspect`: what may be wrong with a data set, before anything is learnt from it."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from .commandline import Parser, check_names, positive_int, run
from .files import check_output


def build_parser() -> Parser:
    parser = Parser(
        "inspect",
        "Look at a data set: labels, lengths, duplicates, rows of dev and test that are also in train, contradicting "
        "labels, and odd rows, characters and languages.",
        "  python -m minibert.inspect train.tsv --dev dev.tsv --model bert-base-uncased --html faults.html",
    )
    parser.add_argument(
        "train",
        metavar="FILE",
        help="the examples to learn from (.tsv, .csv or .jsonl; for ner CoNLL's columns, for qa SQuAD's .json, too)",
    )
    parser.add_argument(
        "--task",
        choices=["classification", "ner", "qa"],
        default="classification",
        help="what a row is: a text, or two, with a label or number; a sentence with tags; or a question about a text "
        "(default: classification)",
    )
    parser.add_argument("--dev", metavar="FILE", help="the examples to choose by")
    parser.add_argument("--test", metavar="FILE", help="the examples to judge by")
    parser.add_argument("--text-column", metavar="NAME", default="text", help="the column with the text")
    parser.add_argument("--text-b-column", metavar="NAME", default="text_b", help="with the second text of pairs")
    parser.add_argument("--label-column", metavar="NAME", default="label", help="with the label")
    parser.add_argument(
        "--model", metavar="NAME_OR_PATH", help="count in tokens of this model, and find what it cannot spell"
    )
    parser.add_argument(
        "--max-length", type=positive_int, metavar="N", help="tokens that training will read at once (128; qa 384)"
    )
    parser.add_argument("--json", action="store_true", help="write one JSON object instead of lines")
    parser.add_argument("--html", metavar="PAGE", help="also write a page with plots")
    return parser


def main(arguments: argparse.Namespace) -> None:
    check_names(arguments)
    from .inspection.facts import inspect_splits
    from .inspection.page import lines, write_inspection_page
    from .inspection.questions import inspect_questions
    from .inspection.splits import read_split, read_tagged_split, same_columns
    from .patience import told
    from .tasks import task_class
    from .tasks.task import Columns
    from .tokenization import BertTokenizer
    from .training.flags import check_readers

    check_readers(arguments, [arguments.task])
    given = {"train": arguments.train, "dev": arguments.dev, "test": arguments.test}
    files = {name: Path(path) for name, path in given.items() if path is not None}
    if arguments.html is not None:
        check_output(arguments.html, files.values())
    tokenizer = None if arguments.model is None else BertTokenizer.from_pretrained(arguments.model)
    max_length = arguments.max_length or task_class(arguments.task).max_length
    with told("Looking at all rows"):
        if arguments.task == "qa":
            facts = inspect_questions(files, tokenizer, max_length)
        else:
            columns = Columns.from_arguments(arguments)
            read = read_tagged_split if arguments.task == "ner" else read_split
            splits = [read(name, path, columns) for name, path in files.items()]
            same_columns(splits)
            facts = inspect_splits(splits, tokenizer, max_length)
    if arguments.json:
        print(json.dumps(facts.to_dict(), indent=2, ensure_ascii=False))
    else:
        print(*lines(facts), sep="\n")
    if arguments.html is not None:
        write_inspection_page(Path(arguments.html), f"What is in {Path(arguments.train).name}", facts)


if __name__ == "__main__":
    run(build_parser(), main)
