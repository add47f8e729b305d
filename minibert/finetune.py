"""`python -m minibert.finetune`: fine-tune a BERT on your own files. Without arguments, on the sample that ships."""

from __future__ import annotations

import argparse

from .commandline import Parser, positive_float, positive_int, run, share, whole_number
from .tasks import TASKS


def build_parser() -> Parser:
    parser = Parser(
        "finetune",
        "Fine-tune a BERT on your own files. Without arguments: on the review sentences that ship with minibert.",
        "  python -m minibert.finetune --out my-first-model",
    )
    add_flags(parser)
    return parser


def add_flags(parser: Parser) -> None:
    """The flags of a fine-tuning, which a search has, too."""
    data = parser.add_argument_group("data (.tsv or .csv with a header, or .jsonl; see below for other tasks)")
    data.add_argument("--task", choices=list(TASKS), default="classification", help="what to learn")
    data.add_argument("--train", metavar="FILE", help="examples to learn from")
    data.add_argument("--dev", metavar="FILE", help="examples to choose the best epoch by")
    data.add_argument("--test", metavar="FILE", help="examples to judge the result by, labelled or not")
    data.add_argument("--text-column", metavar="NAME", default="text", help="the column with the text")
    data.add_argument("--text-b-column", metavar="NAME", default="text_b", help="with the second text of pairs")
    data.add_argument("--label-column", metavar="NAME", default="label", help="with the label")
    classification = parser.add_argument_group("--task classification")
    classification.add_argument(
        "--calibrate", action="store_true", help="fit a temperature on dev, so that probabilities mean what they say"
    )
    tags = parser.add_argument_group("--task ner (CoNLL columns, or .jsonl with tokens and tags)")
    tags.add_argument(
        "--tag-scheme",
        choices=["iob1", "iob2", "bioes", "plain"],
        help="of the tags; plain: they mean nothing but themselves (default: as they look)",
    )
    qa = parser.add_argument_group("--task qa (SQuAD's .json)")
    qa.add_argument(
        "--stride",
        type=whole_number,
        metavar="N",
        help="tokens that neighbouring windows of a long text share (default: a third of --max-length)",
    )
    qa.add_argument("--max-answer-length", type=positive_int, default=30, metavar="N", help="tokens an answer may have")
    summarization = parser.add_argument_group("--task summarization (columns article and summary)")
    summarization.add_argument(
        "--summary-sentences", type=positive_int, default=3, metavar="N", help="sentences a summary has"
    )
    model = parser.add_argument_group("model")
    model.add_argument("--model", metavar="NAME_OR_PATH", help="a known name, or a folder or release file")
    model.add_argument("--out", metavar="DIR", help="where everything is written (default: a new folder in runs/)")
    model.add_argument("--overwrite", action="store_true", help="replace an earlier run in --out")
    model.add_argument("--resume", action="store_true", help="go on with an interrupted run in --out")
    training = parser.add_argument_group("training")
    training.add_argument("--epochs", type=positive_float, metavar="N", help="passes over the data (default: 3)")
    training.add_argument("--batch-size", type=positive_int, default=32, metavar="N", help="examples a step")
    training.add_argument("--lr", type=positive_float, metavar="RATE", help="highest learning rate (default: 5e-5)")
    training.add_argument("--warmup-ratio", type=share, default=0.1, metavar="SHARE", help="of the steps, to get there")
    training.add_argument("--weight-decay", type=share, default=0.01, metavar="RATE", help="not for biases and norms")
    training.add_argument(
        "--max-length",
        type=positive_int,
        metavar="N",
        help="tokens the model reads at once; more are cut, or read in several windows "
        "(default: 128; qa 384, summarization 512)",
    )
    training.add_argument("--seed", type=int, default=0, metavar="N", help="of shuffling, dropout and the new head")
    training.add_argument(
        "--seeds", type=positive_int, default=1, metavar="N", help="train so often, with seeds from --seed on"
    )
    training.add_argument("--bf16", action="store_true", help="matrix products in bfloat16, where the chip has it")


def main(arguments: argparse.Namespace) -> None:
    if arguments.seeds > 1:
        from .training.search import search

        search("finetune", arguments, [("", arguments)])
        return
    from .training.finetuning import finetune  # brings torch along

    finetune(arguments)


if __name__ == "__main__":
    run(build_parser(), main)
