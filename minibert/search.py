"""`python -m minibert.search`: fine-tune with many settings, and tell which is best and how surely."""

from __future__ import annotations

import argparse

from .commandline import Parser, check_names, positive_int, run
from .errors import InputError
from .finetune import add_flags

NOT_TRIED = (
    "dataset", "dev", "find-lr", "folds", "group-column", "help", "out", "overwrite", "random", "resume", "seed",
    "seeds", "task", "test", "train", "try",
)  # fmt: skip


def build_parser() -> Parser:
    parser = Parser(
        "search",
        "Fine-tune with many settings: all combinations of the values given (grid), or some drawn from them (random). "
        "All flags of minibert.finetune hold for every run. With --seeds and --folds, each setting is judged by the "
        "mean of several runs. A search that was stopped goes on with --resume.",
        "  python -m minibert.search --try lr=3e-4,1e-3 --try batch-size=16,64 --epochs 1 --out my-search",
    )
    search = parser.add_argument_group("search")
    search.add_argument(
        "--try",
        action="append",
        default=[],
        dest="tries",
        metavar="FLAG=VALUES",
        help="values of a flag, as in lr=1e-5,3e-5 or bf16=yes,no; with --random also a range, as in lr=1e-5..1e-3",
    )
    search.add_argument("--random", type=positive_int, metavar="N", help="draw so many settings (default: try all)")
    search.add_argument(
        "--folds", type=positive_int, metavar="K", help="cut --train into K parts, judge by each in turn"
    )
    search.add_argument("--group-column", metavar="NAME", help="rows with the same value stay in one fold")
    add_flags(parser)
    return parser


def main(arguments: argparse.Namespace) -> None:
    check_names(arguments)
    if arguments.folds == 1:
        raise InputError("--folds needs at least 2: one part to judge by, the others to learn from.")
    if arguments.group_column is not None and arguments.folds is None:
        raise InputError("--group-column says which rows stay in one fold: it needs --folds.")
    if not arguments.tries and arguments.folds is None:
        raise InputError("There is nothing to search: name values with --try, or cut the data with --folds.")
    from .training.search import in_words, search, settings_of

    settings = settings_of(arguments.tries, arguments.random, arguments.seed)
    search("search", arguments, [(in_words(setting), with_setting(arguments, setting)) for setting in settings])


def with_setting(arguments: argparse.Namespace, setting: dict[str, str]) -> argparse.Namespace:
    """The arguments of one run: these flags set as if they stood on the command line. `yes` and `no` set a switch."""
    parser = build_parser()
    switches = {flag for action in parser._actions if action.nargs == 0 for flag in action.option_strings}
    changed = argparse.Namespace(**vars(arguments))
    for flag, value in setting.items():
        if flag in NOT_TRIED:
            raise InputError(f"--try cannot vary --{flag}.")
        if f"--{flag}" not in switches:
            parser.parse_args([f"--{flag}={value}"], changed)
        elif value not in ("yes", "no"):
            raise InputError(f"--try {flag} can be yes or no: found '{value}'.")
        else:
            setattr(changed, flag.replace("-", "_"), value == "yes")
    for name in ("tries", "random", "folds", "group_column"):  # of the search, not of a run
        delattr(changed, name)
    return changed


if __name__ == "__main__":
    run(build_parser(), main)
