"""`python -m minibert.compare`: ways to fine-tune one model on few examples, side by side, over several seeds."""

from __future__ import annotations

import argparse

from .commandline import Parser, check_names, positive_float, positive_int, run

# The name of each way, and the flags of `finetune` that it stands for. Learning rates are finetune's defaults.
WAYS: dict[str, list[str]] = {
    "full": [],
    "layer-decay": ["--layer-decay", "0.8"],
    "gradual": ["--gradual-unfreezing"],
    "reinit-1": ["--reinit-top", "1"],
    "top-2": [],  # all but two blocks are frozen: how many that are depends on the model
    "head": ["--freeze", "encoder"],
    "mix": ["--mix", "learned"],
    "bitfit": ["--bitfit"],
    "lora": ["--lora"],
    "lora-all": ["--lora", "--lora-targets", "query,key,value,attention_output,intermediate,output"],
    "pfeiffer": ["--adapters", "pfeiffer"],
    "houlsby": ["--adapters", "houlsby"],
    "prefix": ["--prefix"],
}


def ways(text: str) -> list[str]:
    """The type of a flag: names of ways, between commas."""
    names = text.split(",")
    for name in names:
        if name not in WAYS:
            raise argparse.ArgumentTypeError(f"there is no way '{name}': choose from {', '.join(WAYS)}")
    return names


def build_parser() -> Parser:
    parser = Parser(
        "compare",
        "Fine-tune one model in several ways, each with several seeds, and compare accuracy, trained parameters, time "
        "and memory. Each run is a process of its own; a comparison that was stopped goes on where it was.",
        "  python -m minibert.compare --train train.tsv --dev dev.tsv --model minibert-tiny-uncased --out ways \\\n"
        "         --examples 100 --seeds 2 --ways full,head",
    )
    data = parser.add_argument_group("data")
    data.add_argument("--train", metavar="FILE", required=True, help="examples to learn from")
    data.add_argument("--dev", metavar="FILE", required=True, help="examples to choose the best epoch by")
    data.add_argument("--test", metavar="FILE", help="examples to judge by (default: those of --dev)")
    data.add_argument("--text-column", metavar="NAME", default="text", help="the column with the text")
    data.add_argument("--text-b-column", metavar="NAME", default="text_b", help="with the second text of pairs")
    data.add_argument("--label-column", metavar="NAME", default="label", help="with the label")
    data.add_argument(
        "--examples", type=positive_int, metavar="N", help="of --train, others for each seed (default: all)"
    )
    what = parser.add_argument_group("what")
    what.add_argument("--model", metavar="NAME_OR_PATH", required=True, help="a known name, or a folder")
    known = ", ".join(WAYS)
    what.add_argument("--ways", type=ways, metavar="LIST", default=list(WAYS), help=f"some of {known} (default: all)")
    what.add_argument("--seeds", type=positive_int, metavar="N", default=5, help="runs of each way")
    what.add_argument("--epochs", type=positive_float, metavar="N", default=3.0, help="passes over the data")
    what.add_argument("--batch-size", type=positive_int, metavar="N", default=32, help="examples a step")
    what.add_argument("--max-length", type=positive_int, metavar="N", default=128, help="tokens a text; more are cut")
    what.add_argument("--out", metavar="DIR", required=True, help="where the figures of all runs are kept")
    return parser


def main(arguments: argparse.Namespace) -> None:
    check_names(arguments)
    from .benchmarks.transfer import compare  # brings torch along

    compare(arguments)


if __name__ == "__main__":
    run(build_parser(), main)
