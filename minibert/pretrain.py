"""`python -m minibert.pretrain`: a BERT out of raw text; or first only a vocabulary, or a tokenized corpus."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from .commandline import Parser, PlainParser, check_names, positive_float, positive_int, run, seed, share, whole_number
from .config import PRESETS
from .errors import InputError
from .files import whole_folder


def build_parser() -> Parser:
    parser = Parser(
        "pretrain",
        "Pretrain a BERT on raw text, or on a corpus prepared from it: masked words and next sentences.",
        "  python -m minibert.pretrain --corpus novels.txt.xz --size tiny --max-steps 100 --batch-size 32 --out bert\n"
        "the same in three steps, for large corpora and several processes (torchrun -m minibert.pretrain ...):\n"
        "  python -m minibert.pretrain vocabulary novels.txt.xz --size 8000 --out my-tokenizer\n"
        "  python -m minibert.pretrain prepare novels.txt.xz --vocab my-tokenizer --out my-corpus --held-out 0.01\n"
        "  python -m minibert.pretrain --corpus my-corpus --size tiny --max-steps 100 --batch-size 32 --out bert",
    )
    _add_training(parser)
    commands = parser.add_subparsers(
        dest="command",
        metavar="vocabulary | prepare",
        help="do only this step: see `vocabulary --help`, `prepare --help`",
        parser_class=PlainParser,
    )
    vocabulary = commands.add_parser("vocabulary", help="learn a WordPiece vocabulary from text")
    _add_files(vocabulary)
    vocabulary.add_argument("--size", type=positive_int, default=8000, metavar="N", help="tokens")
    vocabulary.add_argument("--cased", action="store_true", help="keep capitals and accents")
    vocabulary.add_argument("--out", required=True, metavar="DIR", help="a new folder, for the tokenizer")
    prepare = commands.add_parser("prepare", help="cut text into sentences and tokens, ready to be trained on")
    _add_files(prepare)
    prepare.add_argument("--vocab", required=True, metavar="DIR", help="a tokenizer: a folder, or a known model's name")
    prepare.add_argument(
        "--out", required=True, metavar="DIR", help="a new folder, or one where this was interrupted: it then goes on"
    )
    prepare.add_argument(
        "--held-out", type=share, default=0.0, metavar="SHARE", help="of the documents, for evaluation"
    )
    prepare.add_argument(
        "--workers", type=positive_int, default=os.cpu_count() or 1, metavar="N", help="processes (default: all cores)"
    )
    return parser


def main(arguments: argparse.Namespace) -> None:
    check_names(arguments)
    if arguments.command == "vocabulary":
        learn_vocabulary(arguments)
    elif arguments.command == "prepare":
        prepare_corpus(arguments)
    elif arguments.corpus is None or arguments.out is None:
        raise InputError("--corpus and --out are needed: what to learn from, and where to write the model. See --help.")
    else:
        from .training.pretraining import pretrain  # brings torch along

        pretrain(arguments)


def learn_vocabulary(arguments: argparse.Namespace) -> None:
    """The subcommand `vocabulary`."""
    from .data.vocabulary import learn_tokenizer
    from .tokenization.learn import coverage

    out = Path(arguments.out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} exists already: name another folder.")
    with whole_folder(out):  # before the text is read, which may take hours
        tokenizer, words = learn_tokenizer(arguments.files, arguments.size, do_lower_case=not arguments.cased)
        tokenizer.save_pretrained(out)
    tokens_per_word, unknown = coverage(list(tokenizer.get_vocab()), words)
    print(f"{len(tokenizer):,} tokens; {tokens_per_word:.3f} a word, {unknown:.3%} of the words are [UNK]")


def prepare_corpus(arguments: argparse.Namespace) -> None:
    """The subcommand `prepare`."""
    from .data.prepare import prepare
    from .tokenization import BertTokenizer

    tokenizer = BertTokenizer.from_pretrained(arguments.vocab)
    manifest = prepare(
        arguments.files, tokenizer, arguments.out, workers=arguments.workers, held_out=arguments.held_out
    ).to_dict()
    print(", ".join(f"{manifest[key]:,} {key}" for key in ("documents", "sentences", "tokens")))


def _add_training(parser: argparse.ArgumentParser) -> None:
    data = parser.add_argument_group("data")
    data.add_argument(
        "--corpus", nargs="+", metavar="PATH", help="a prepared corpus; or text files and folders, prepared in --out"
    )
    data.add_argument("--vocab", metavar="DIR", help="a tokenizer for text (default: one learnt from it)")
    data.add_argument("--vocab-size", type=positive_int, metavar="N", help="tokens, if learnt (default: 8000)")
    data.add_argument(
        "--held-out", type=share, metavar="SHARE", help="of the documents of text, for evaluation (default: 0.01)"
    )
    data.add_argument("--max-length", type=positive_int, default=128, metavar="N", help="tokens an instance, at most")
    data.add_argument(
        "--masking", choices=["token", "whole_word", "span"], default="token", help="what is masked together"
    )
    data.add_argument("--masked-lm-prob", type=share, default=0.15, metavar="SHARE", help="of the tokens, to predict")
    data.add_argument("--no-next-sentence", action="store_true", help="masked words alone, on one text an instance")
    data.add_argument("--bag-of-words", action="store_true", help="a third task: the pooler tells a text's words")
    model = parser.add_argument_group("model")
    model.add_argument("--size", choices=PRESETS, help="how large a BERT (default: mini)")
    model.add_argument(
        "--embeddings",
        choices=["random", "counts"],
        help="of words, to begin with: random, as BERT's (the default); or from counts of which stand near each other, "
        "before anything is learnt; with --init-from, half from counts",
    )
    model.add_argument("--init-from", metavar="MODEL", help="go on from existing weights, with their tokenizer")
    model.add_argument("--out", metavar="DIR", help="a new folder, for everything that is written")
    model.add_argument("--resume", action="store_true", help="go on with an interrupted run in --out")
    training = parser.add_argument_group("training")
    budget = training.add_mutually_exclusive_group()
    budget.add_argument("--max-steps", type=positive_int, metavar="N", help="how long: in steps,")
    budget.add_argument("--epochs", type=positive_float, metavar="N", help="or in passes over the corpus (default: 1),")
    budget.add_argument("--tokens", type=positive_float, metavar="N", help="or in tokens that are read, such as 1e9")
    training.add_argument(
        "--batch-size", type=positive_int, default=256, metavar="N", help="instances a step, over all processes"
    )
    training.add_argument(
        "--accumulation", type=positive_int, default=1, metavar="N", help="parts a step is cut into, to save memory"
    )
    training.add_argument(
        "--optimizer",
        choices=["adamw", "muon", "google"],
        default="adamw",
        help="PyTorch's AdamW; Muon for the blocks' matrices, which learns more from each text; or that "
        "of Google's BERT",
    )
    training.add_argument(
        "--lr", type=positive_float, default=5e-4, metavar="RATE", help="highest learning rate; base and large: 1e-4"
    )
    training.add_argument(
        "--warmup-ratio", type=share, default=0.05, metavar="SHARE", help="of the steps, to get there"
    )
    training.add_argument("--weight-decay", type=share, default=0.01, metavar="RATE", help="not for biases and norms")
    training.add_argument(
        "--dropout", type=share, metavar="RATE", help="in a single pass, 0 learns more (default: the model's, 0.1)"
    )
    training.add_argument(
        "--eval-steps", type=positive_int, default=1000, metavar="N", help="steps between evaluations"
    )
    training.add_argument("--save-steps", type=positive_int, default=500, metavar="N", help="steps between checkpoints")
    training.add_argument(
        "--keep", type=positive_int, default=2, metavar="N", help="newest checkpoints, and the best one"
    )
    training.add_argument("--seed", type=seed, default=0, metavar="N", help="of weights, instances and dropout")
    training.add_argument(
        "--workers", type=whole_number, metavar="N", help="processes that make batches (default: 0; with a GPU, 4)"
    )
    training.add_argument(
        "--fsdp", action="store_true", help="divide the model itself among the processes of torchrun, to save memory"
    )
    training.add_argument("--checkpoint-activations", action="store_true", help="less memory, a third more work")
    training.add_argument("--compile", action="store_true", help="through torch.compile, for GPUs: slow to begin")
    training.add_argument("--bf16", action="store_true", help="matrix products in bfloat16, where the chip has it")


def _add_files(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "files", nargs="+", metavar="FILE_OR_FOLDER", help=".txt (a blank line ends a document), .jsonl, .gz or .xz"
    )


if __name__ == "__main__":
    run(build_parser(), main)
