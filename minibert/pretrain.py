"""`python -m minibert.pretrain`: a vocabulary and a tokenized corpus out of raw text, to pretrain a BERT on."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from .commandline import Parser, PlainParser, positive_int, run, share
from .errors import InputError


def build_parser() -> Parser:
    parser = Parser(
        "pretrain",
        "From raw text to what a BERT is pretrained on: first a vocabulary, then a corpus of tokens.",
        "  python -m minibert.pretrain vocabulary novels.txt.xz --size 8000 --out my-tokenizer\n"
        "  python -m minibert.pretrain prepare novels.txt.xz --vocab my-tokenizer --out my-corpus --held-out 0.01",
    )
    commands = parser.add_subparsers(
        dest="command", metavar="vocabulary | prepare", required=True, parser_class=PlainParser
    )
    vocabulary = commands.add_parser("vocabulary", help="learn a WordPiece vocabulary from text", allow_abbrev=False)
    _add_files(vocabulary)
    vocabulary.add_argument("--size", type=positive_int, default=8000, metavar="N", help="tokens (default: 8000)")
    vocabulary.add_argument("--cased", action="store_true", help="keep capitals and accents")
    vocabulary.add_argument("--out", required=True, metavar="DIR", help="a new folder, for the tokenizer")
    prepare = commands.add_parser(
        "prepare", help="cut text into sentences and tokens, ready to be trained on", allow_abbrev=False
    )
    _add_files(prepare)
    prepare.add_argument("--vocab", required=True, metavar="DIR", help="a tokenizer: a folder, or a known model's name")
    prepare.add_argument(
        "--out", required=True, metavar="DIR", help="a new folder, or one where this was interrupted: it then goes on"
    )
    prepare.add_argument(
        "--held-out", type=share, default=0.0, metavar="SHARE", help="of the documents, for evaluation (default: 0)"
    )
    prepare.add_argument(
        "--workers", type=positive_int, default=os.cpu_count() or 1, metavar="N", help="processes (default: all cores)"
    )
    return parser


def main(arguments: argparse.Namespace) -> None:
    if arguments.command == "vocabulary":
        learn_vocabulary(arguments)
    else:
        prepare_corpus(arguments)


def learn_vocabulary(arguments: argparse.Namespace) -> None:
    """The subcommand `vocabulary`."""
    from tqdm import tqdm

    from .data.corpus import find_files, read_documents
    from .tokenization import BertTokenizer
    from .tokenization.learn import count_words, coverage, learn_wordpiece_fast

    out = Path(arguments.out)
    if out.exists():
        raise InputError(f"{out} exists already: name another folder.")
    files = find_files(arguments.files)
    with tqdm(
        total=sum(file.stat().st_size for file in files),
        desc="count words",
        unit="B",
        unit_scale=True,
        dynamic_ncols=True,
    ) as bar:
        lines = (line for file in files for document in read_documents(file, bar.update) for line in document)
        words = count_words(lines, do_lower_case=not arguments.cased)
    if not words:
        raise InputError(f"There is no text in {', '.join(arguments.files)}.")
    with tqdm(total=arguments.size, desc="learn", unit=" tokens", dynamic_ncols=True) as bar:
        vocab = learn_wordpiece_fast(words, arguments.size, bar.update)
    tokenizer = BertTokenizer({token: i for i, token in enumerate(vocab)}, do_lower_case=not arguments.cased)
    tokenizer.save_pretrained(out)
    tokens_per_word, unknown = coverage(vocab, words)
    print(f"{len(vocab):,} tokens; {tokens_per_word:.3f} a word, {unknown:.3%} of the words are [UNK]")


def prepare_corpus(arguments: argparse.Namespace) -> None:
    """The subcommand `prepare`."""
    from .data.prepare import prepare
    from .tokenization import BertTokenizer

    tokenizer = BertTokenizer.from_pretrained(arguments.vocab)
    manifest = prepare(
        arguments.files, tokenizer, arguments.out, workers=arguments.workers, held_out=arguments.held_out
    ).to_dict()
    print(", ".join(f"{manifest[key]:,} {key}" for key in ("documents", "sentences", "tokens")))


def _add_files(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "files", nargs="+", metavar="FILE_OR_FOLDER", help=".txt (a blank line ends a document), .jsonl, .gz or .xz"
    )


if __name__ == "__main__":
    run(build_parser(), main)
