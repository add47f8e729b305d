"""`python -m minibert.weights`: list, download, convert and verify pretrained weights."""

from __future__ import annotations

import argparse

from .commandline import Parser, PlainParser, run


def build_parser() -> Parser:
    parser = Parser(
        "weights",
        "Known models, and weights in and out.",
        "  python -m minibert.weights list\n"
        "  python -m minibert.weights verify uncased_L-2_H-128_A-2.zip\n"
        "  python -m minibert.weights convert uncased_L-2_H-128_A-2.zip my-tiny-bert",
    )
    commands = parser.add_subparsers(
        dest="command", metavar="list | download | convert | verify", required=True, parser_class=PlainParser
    )
    commands.add_parser("list", help="the known models: their names, sizes, and where they come from")
    download = commands.add_parser("download", help="fetch a model from the hub, and print its folder")
    download.add_argument("name", metavar="NAME", help="a name that `list` shows, or owner/name on the hub")
    convert = commands.add_parser("convert", help="write a model again, in the same or the other format")
    convert.add_argument("source", metavar="SRC", help="a name, a Hugging Face folder, or a Google checkpoint or zip")
    convert.add_argument("destination", metavar="DST", help="a new folder")
    convert.add_argument("--to", choices=["huggingface", "google"], default="huggingface", help="the format of DST")
    verify = commands.add_parser("verify", help="read all of a model, and say what it is or what is wrong with it")
    verify.add_argument("source", metavar="DIR", help="a name, a Hugging Face folder, or a Google checkpoint or zip")
    return parser


def main(arguments: argparse.Namespace) -> None:
    if arguments.command == "list":
        list_models()
    elif arguments.command == "download":
        from .checkpoints.hub import download
        from .checkpoints.locate import shipped_models

        print(shipped_models().get(arguments.name) or download(arguments.name))
    elif arguments.command == "convert":
        from .checkpoints.convert import convert

        convert(arguments.source, arguments.destination, "google" if arguments.to == "google" else "hugging_face")
        print(arguments.destination)
    else:
        from .checkpoints.convert import verify

        for name, value in verify(arguments.source).items():
            print(f"{name:<13}{value:,}" if isinstance(value, int) else f"{name:<13}{value}")


def list_models() -> None:
    """A line for each model that comes with minibert and for each of the catalog, under a header."""
    from .checkpoints.catalog import CATALOG, encoder_parameters
    from .checkpoints.locate import shipped_models
    from .config import BertConfig

    rows = [("name", "layers", "hidden", "parameters", "text", "on the hub", "Google's own release")]
    for name, folder in shipped_models().items():
        config = BertConfig.from_json_file(folder / "config.json")
        parameters = encoder_parameters(config.num_hidden_layers, config.hidden_size, config.vocab_size)
        size = (str(config.num_hidden_layers), str(config.hidden_size), f"{parameters / 1e6:.1f} M")
        rows.append((name, *size, name.rpartition("-")[2], "comes with minibert", "-"))
    for entry in CATALOG:
        size = (str(entry.num_hidden_layers), str(entry.hidden_size), f"{entry.parameters / 1e6:.1f} M")
        text = "cased" if entry.cased else "uncased"
        rows.append((entry.name, *size, text, entry.repo_id, entry.google_zip or "-"))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


if __name__ == "__main__":
    run(build_parser(), main)
