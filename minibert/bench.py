"""`python -m minibert.bench`: how fast minibert is on your machine, as a table and JSON."""

from __future__ import annotations

import argparse

from .commandline import Parser, PlainParser, positive_int, run
from .config import PRESETS
from .files import check_output


def build_parser() -> Parser:
    parser = Parser(
        "bench",
        "Measure minibert on this machine, beside other programs with the same weights. Writes a Markdown table to the "
        "standard output.",
        "  python -m minibert.bench inference --size mini --rounds 3",
    )
    subjects = parser.add_subparsers(
        dest="subject",
        metavar="inference|finetune|pretrain|attention|curves|startup|scorecard|held-out",
        required=True,
        parser_class=PlainParser,
    )
    inference = subjects.add_parser("inference", help="against transformers, torch's encoder and ONNX Runtime")
    _add_model(inference, rounds=5)
    inference.add_argument("--compile", action="store_true", help="the single sentence through torch.compile, too")
    finetune = subjects.add_parser("finetune", help="training steps for classification against transformers' Trainer")
    _add_model(finetune)
    pretrain = subjects.add_parser("pretrain", help="training steps for masked words against transformers' Trainer")
    _add_model(pretrain, batch_size=16)
    pretrain.add_argument(
        "--max-length", type=positive_int, default=128, metavar="N", help="tokens of the longest text"
    )
    pretrain.add_argument("--compile", action="store_true", help="both through torch.compile")
    attention = subjects.add_parser("attention", help="the attention implementations against each other")
    _add_work(attention, batch_size=32)
    curves = subjects.add_parser("curves", help="time and memory as texts, batches and models grow")
    curves.add_argument("--size", choices=list(PRESETS), default="mini", help="of random weights")
    curves.add_argument("--longest", type=positive_int, default=4096, metavar="N", help="tokens")
    curves.add_argument("--most", type=positive_int, default=64, metavar="N", help="texts in a batch")
    curves.add_argument("--most-text", type=positive_int, default=256, metavar="N", help="million characters of text")
    curves.add_argument("--picture", metavar="FILE", help="a .png file, drawn with matplotlib")
    _add_rounds(curves, rounds=3)
    startup = subjects.add_parser("startup", help="how long imports and --help take")
    _add_rounds(startup, rounds=3)
    card = subjects.add_parser("scorecard", help="what pretraining is worth: fine-tuned from a model, or from random")
    card.add_argument("--model", metavar="NAME_OR_PATH", default="minibert-tiny-uncased", help="pretrained weights")
    card.add_argument("--train", metavar="FILE", required=True, help="labelled examples to draw from")
    card.add_argument("--dev", metavar="FILE", required=True, help="labelled examples to judge by")
    card.add_argument("--text-column", metavar="NAME", default="text", help="the column with the text")
    card.add_argument("--text-b-column", metavar="NAME", default="text_b", help="with the second text of pairs")
    card.add_argument("--label-column", metavar="NAME", default="label", help="with the label")
    card.add_argument(
        "--examples",
        type=positive_int,
        nargs="+",
        default=[100, 1000, 10_000],
        metavar="N",
        help="how many to draw (default: 100, 1000 and 10000)",
    )
    card.add_argument("--seeds", type=positive_int, default=5, metavar="N", help="runs of each")
    card.add_argument("--out", metavar="DIR", help="where scorecard.json and scorecard.png are written")
    held_out = subjects.add_parser("held-out", help="how well a pretrained model knows text that it has not read")
    held_out.add_argument("--model", metavar="NAME_OR_PATH", default="minibert-tiny-uncased", help="pretrained weights")
    held_out.add_argument("--corpus", metavar="DIR", required=True, help="made by pretrain prepare --held-out")
    held_out.add_argument("--max-length", type=positive_int, default=128, metavar="N", help="tokens")
    held_out.add_argument("--json", metavar="FILE", help="where the figures are written as JSON as well")
    return parser


def _add_model(parser: argparse.ArgumentParser, batch_size: int = 32, rounds: int = 10) -> None:
    parser.add_argument("--model", metavar="NAME_OR_PATH", help="a known name, or a folder or release file")
    _add_work(parser, batch_size, rounds)


def _add_work(parser: argparse.ArgumentParser, batch_size: int, rounds: int = 10) -> None:
    parser.add_argument("--size", choices=list(PRESETS), default="base", help="of random weights")
    parser.add_argument("--batch-size", type=positive_int, default=batch_size, metavar="N", help="texts")
    parser.add_argument("--lengths", metavar="FILE", help="tokens of each text, one number a line, instead of ours")
    parser.add_argument("--bf16", action="store_true", help="in bfloat16 instead of float32")
    _add_rounds(parser, rounds)


def _add_rounds(parser: argparse.ArgumentParser, rounds: int) -> None:
    parser.add_argument("--rounds", type=positive_int, default=rounds, metavar="N", help="timed runs")
    parser.add_argument("--json", metavar="FILE", help="where the figures are written as JSON as well")


def main(arguments: argparse.Namespace) -> None:
    given = vars(arguments)
    if given.get("json") is not None:
        check_output(given["json"], [given.get("lengths")])
    # What is imported here brings torch along.
    if arguments.subject == "attention":
        from .benchmarks.attention import bench_attention as bench
    elif arguments.subject == "inference":
        from .benchmarks.inference import bench_inference as bench
    elif arguments.subject == "finetune":
        from .benchmarks.training import bench_finetune as bench
    elif arguments.subject == "pretrain":
        from .benchmarks.training import bench_pretrain as bench
    elif arguments.subject == "curves":
        from .benchmarks.curves import bench_curves as bench
    elif arguments.subject == "scorecard":
        from .benchmarks.scorecard import score_card as bench
    elif arguments.subject == "held-out":
        from .benchmarks.held_out import held_out_card as bench
    else:
        from .benchmarks.startup import bench_startup as bench
    bench(arguments)


if __name__ == "__main__":
    run(build_parser(), main)
