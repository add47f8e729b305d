"""`python -m minibert.finetune`: fine-tune a BERT on your own files. Without arguments, on the sample that ships."""

from __future__ import annotations

import argparse

from .commandline import OneOrMore, Parser, check_names, positive_float, positive_int, run, seed, share, whole_number
from .data.public import PUBLIC
from .tasks import TASKS
from .tasks.spans import SCHEMES


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
    data.add_argument(
        "--task",
        choices=list(TASKS),
        action=OneOrMore,
        help="what to learn (default: classification); given more than once, all by one encoder, with --train "
        "TASK=FILE, --dev TASK=FILE and --test TASK=FILE for each",
    )
    data.add_argument(
        "--sampling",
        choices=["proportional", "square-root"],
        default="proportional",
        help="how often each of several tasks comes, by its number of examples",
    )
    data.add_argument(
        "--dataset", choices=list(PUBLIC), metavar="NAME", help=f"instead of files, fetch one of {', '.join(PUBLIC)}"
    )
    data.add_argument("--train", metavar="FILE", action=OneOrMore, help="examples to learn from")
    data.add_argument("--dev", metavar="FILE", action=OneOrMore, help="examples to choose the best epoch by")
    data.add_argument(
        "--test", metavar="FILE", action=OneOrMore, help="examples to judge the result by, labelled or not"
    )
    data.add_argument("--text-column", metavar="NAME", default="text", help="the column with the text")
    data.add_argument("--text-b-column", metavar="NAME", default="text_b", help="with the second text of pairs")
    data.add_argument("--label-column", metavar="NAME", default="label", help="with the label")
    texts = parser.add_argument_group("--task classification, regression and multilabel")
    texts.add_argument(
        "--long-texts",
        choices=["head", "tail", "both", "windows"],
        default="head",
        help="what is kept of texts over --max-length; windows: everything, and the mean of the logits",
    )
    texts.add_argument(
        "--label-separator", metavar="TEXT", default=",", help="of several labels in a cell, for multilabel"
    )
    classification = parser.add_argument_group("--task classification")
    classification.add_argument(
        "--calibrate", action="store_true", help="fit a temperature on dev, so that probabilities mean what they say"
    )
    tags = parser.add_argument_group("--task ner (CoNLL columns, .conllu, or .jsonl with tokens and tags)")
    tags.add_argument(
        "--tag-scheme",
        choices=SCHEMES,
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
    model.add_argument("--dropout", type=share, metavar="RATE", help="in all layers (default: the model's own, 0.1)")
    _add_transfer(parser)
    training = parser.add_argument_group("training")
    training.add_argument(
        "--epochs",
        type=positive_float,
        metavar="N",
        help="passes over the data (default: 3; for a model up to 256 wide, 5)",
    )
    training.add_argument("--batch-size", type=positive_int, default=32, metavar="N", help="examples a step")
    training.add_argument(
        "--lr",
        type=positive_float,
        metavar="RATE",
        help="highest learning rate (default: 5e-5; with a frozen encoder, or for a model up to 256 wide, 1e-3)",
    )
    training.add_argument(
        "--schedule", choices=["linear", "cosine", "polynomial", "constant"], default="linear", help="its way down"
    )
    training.add_argument("--warmup-ratio", type=share, default=0.1, metavar="SHARE", help="of the steps, to get there")
    training.add_argument("--weight-decay", type=share, default=0.01, metavar="RATE", help="not for biases and norms")
    training.add_argument(
        "--max-length",
        type=positive_int,
        metavar="N",
        help="tokens the model reads at once; more are cut, or read in several windows "
        "(default: 128; qa 384, summarization 512)",
    )
    training.add_argument("--seed", type=seed, default=0, metavar="N", help="of shuffling, dropout and the new head")
    training.add_argument(
        "--seeds", type=positive_int, default=1, metavar="N", help="train so often, with seeds from --seed on"
    )
    training.add_argument("--find-lr", metavar="PAGE", help="only try learning rates, and draw the losses (an .html)")
    training.add_argument("--accumulation", type=positive_int, default=1, metavar="N", help="batches a step")
    training.add_argument(
        "--eval-steps", type=positive_int, metavar="N", help="judge dev after every N steps, not after every epoch"
    )
    training.add_argument(
        "--patience", type=positive_int, metavar="N", help="stop after N epochs, or judgements, without a gain"
    )
    training.add_argument("--minimal-gain", type=share, default=0.0, metavar="GAIN", help="what counts as one: more")
    training.add_argument("--label-smoothing", type=share, default=0.0, metavar="SHARE", help="of each label, to all")
    rare = training.add_mutually_exclusive_group()
    rare.add_argument("--class-weights", action="store_true", help="examples of rare classes count more")
    rare.add_argument("--balanced-sampling", action="store_true", help="or are drawn more often")
    training.add_argument(
        "--adversarial",
        type=positive_float,
        default=0.0,
        metavar="EPSILON",
        help="learn each batch a second time with the words' vectors moved so far to the worse, such as 1",
    )
    training.add_argument(
        "--average", type=share, default=0.0, metavar="DECAY", help="keep a moving average of the weights, such as 0.99"
    )
    training.add_argument("--checkpoint-activations", action="store_true", help="less memory, a third more work")
    training.add_argument("--bf16", action="store_true", help="matrix products in bfloat16, where the chip has it")


def _add_transfer(parser: argparse.ArgumentParser) -> None:
    """What of the model is trained: one way, and --reinit-top with it."""
    group = parser.add_argument_group("transfer (default: all weights are trained alike)")
    way = group.add_mutually_exclusive_group()
    way.add_argument(
        "--freeze", metavar="WHAT", help="embeddings; or N, them and the N lowest blocks; or encoder: all but the head"
    )
    way.add_argument("--gradual-unfreezing", action="store_true", help="the head first, in the last epoch everything")
    way.add_argument(
        "--layer-decay", type=positive_float, metavar="FACTOR", help="of the rate, from block to block, such as 0.8"
    )
    way.add_argument("--mix", choices=["last_four", "learned"], help="encoder frozen, the head reads several layers")
    way.add_argument("--lora", type=positive_int, nargs="?", const=8, metavar="RANK", help="low-rank updates (8)")
    way.add_argument("--adapters", choices=["houlsby", "pfeiffer"], help="small bottlenecks in each block")
    way.add_argument("--bitfit", action="store_true", help="the biases alone")
    way.add_argument("--prefix", type=positive_int, nargs="?", const=16, metavar="LENGTH", help="trained keys (16)")
    group.add_argument(
        "--lora-alpha", type=positive_float, default=8.0, metavar="X", help="weight of the updates: X / RANK"
    )
    group.add_argument(
        "--lora-targets", default="query,value", metavar="LIST",
        help="of query, key, value, attention_output, intermediate, output"
    )  # fmt: skip
    group.add_argument("--adapter-size", type=positive_int, default=64, metavar="N", help="width of the bottlenecks")
    group.add_argument(
        "--reinit-top", type=whole_number, metavar="N", help="fresh weights for the pooler and the N highest blocks"
    )


def main(arguments: argparse.Namespace) -> None:
    check_names(arguments)
    if arguments.seeds > 1:
        from .training.search import search

        search("finetune", arguments, [("", arguments)])
    elif isinstance(arguments.task, list):
        from .training.multitask import finetune_together  # brings torch along

        finetune_together(arguments)
    else:
        from .training.finetuning import finetune

        finetune(arguments)


if __name__ == "__main__":
    run(build_parser(), main)
