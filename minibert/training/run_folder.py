"""The folder that a fine-tuning fills: may it be taken, what is in it while the run goes on, what is left of it.

It ends with everything, or it was never there; of a run that was interrupted, what `--resume` needs.
"""

from __future__ import annotations

import argparse
import itertools
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..checkpoints.pretrained import ADAPTER_CONFIG, base_of
from ..errors import InputError
from ..patience import told
from ..transfer.adapter_files import ADAPTER_WEIGHTS
from .begun import SETTINGS, checksum, fix_settings
from .distributed import ranks
from .interrupt import stopped
from .state import checkpoints
from .trainer import LOG, Trainer
from .ways import ADAPTER

RUNS = Path("runs")
CHECKPOINTS = "checkpoints"
TASK_FOLDERS = "tasks"  # one for each, if several are learnt together
TRIALS = "trials"  # the runs of several seeds or of a search, see trials.py

# Flags that say nothing of what is learnt: where files are, and by what else a result is judged. The examples to learn
# from are compared themselves.
ELSEWHERE = ("out", "resume", "overwrite", "train", "dev", "test", "find_lr")

# What a run writes into its folder: what --overwrite may delete, and nothing else.
RESULTS = (
    "config.json", "model.safetensors", "vocab.txt", "tokenizer.json", "tokenizer_config.json", "metrics.json",
    "predictions.jsonl", "dev_predictions.json", "test_predictions.json", LOG, "report.html", CHECKPOINTS,
    TASK_FOLDERS, ADAPTER, ADAPTER_CONFIG, ADAPTER_WEIGHTS, TRIALS, "trials.json", "trials.html",
)  # fmt: skip


def free_folder(
    arguments: argparse.Namespace, to_resume: str = f"{CHECKPOINTS}/checkpoint-*", models: Sequence[str] = ()
) -> Path:
    """The folder to write to; with --resume it must hold a file or folder like `to_resume`.

    models: that are read beside --model.
    Raises `InputError` if something is in the way, or several processes would write there.
    """
    if ranks() > 1:
        raise InputError("Fine-tuning runs in one process, on one GPU at most: start it without torchrun.")
    if arguments.out is None:
        if arguments.resume:
            raise InputError("--resume needs the --out of the run that is to go on.")
        number = next(n for n in itertools.count(1) if not (RUNS / f"finetune-{n}").exists())
        return RUNS / f"finetune-{number}"
    out = Path(arguments.out)
    if arguments.resume:
        if arguments.overwrite:
            raise InputError("--resume goes on with what is in --out, --overwrite deletes it: choose one.")
        if not any(out.glob(to_resume)):
            raise InputError(f"{out} has no interrupted run to --resume.")
        return out
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file: --out must be a folder, or not exist yet.")
    found = [] if not out.exists() else sorted(path.name for path in out.iterdir())
    if not found:
        return out
    if not arguments.overwrite:
        raise InputError(f"{out} is not empty. Choose another --out, or --overwrite an earlier run in it.")
    strangers = [name for name in found if name not in RESULTS and not _is_leftover(name)]
    if strangers:
        raise InputError(f"{out} holds more than an earlier run ({', '.join(strangers[:3])}): it is not overwritten.")
    read: list[tuple[str, str | Path | None]] = []
    for model in filter(None, (arguments.model, *models)):
        folder = Path(os.path.expanduser(model))
        read.append(("model", folder))
        if os.path.isfile(folder / ADAPTER_CONFIG):  # for an impossible path, Path.is_file raises
            read.append(("base of the model", base_of(folder)))
    for given in (arguments.train, arguments.dev, arguments.test):
        read += [("data", path) for path in (given if isinstance(given, list) else [given])]
    for what, path in read:
        if path is None or not os.path.exists(path):
            continue
        if out.resolve() in (Path(path).resolve(), *Path(path).resolve().parents):
            raise InputError(f"--overwrite would delete the {what} itself, {path}: choose another --out.")
    return out


def prepare_folder(out: Path, arguments: argparse.Namespace, first: str) -> None:
    """Make the folder, and `first` in it, by which other runs see that it is taken.

    --overwrite deletes an earlier run there, --resume what of it is half-written. Raises `InputError` if another run
    has begun there since `free_folder` looked, which may be minutes ago.
    """
    out.mkdir(parents=True, exist_ok=True)
    if arguments.resume or arguments.overwrite:
        _delete(out, [str(path.relative_to(out)) for path in out.rglob(".*") if _is_leftover(path.name)])
    if arguments.overwrite:
        _delete(out, RESULTS)
    elif not arguments.resume and any(out.iterdir()):
        raise InputError(f"{out} is not empty any more: another run has begun there. Choose another --out.")
    (out / first).mkdir(exist_ok=arguments.resume)


@contextmanager
def complete_folder(out: Path, trainer: Trainer, arguments: argparse.Namespace) -> Iterator[None]:
    """`prepare_folder` for a run that fills it. In the end its checkpoints are gone; after a failure, all it wrote.

    Raises `KeyboardInterrupt` with a text that says how to go on.
    """
    is_new = not out.exists()
    prepare_folder(out, arguments, CHECKPOINTS)
    try:
        yield
    except KeyboardInterrupt:
        _clear(out, is_new)
        raise stopped(trainer.state, checkpoints(out / CHECKPOINTS), "finetune", out) from None
    except BaseException:
        _clear(out, is_new)
        raise
    done = out / f".{CHECKPOINTS}.done"  # renamed at once: half of a checkpoint would look like an interrupted run
    (out / CHECKPOINTS).rename(done)
    shutil.rmtree(done, ignore_errors=True)


def fix_run(arguments: argparse.Namespace, out: Path, examples: Any) -> None:
    """Beside the checkpoints, what they belong to; or raise `InputError` if --resume was given with something else.

    examples: those to learn from, one after the other, of all tasks.
    """
    settings = {name: value for name, value in vars(arguments).items() if name not in ELSEWHERE}
    with told("Noting by a checksum what is learnt from"):
        train = checksum(examples)
    fix_settings(out / CHECKPOINTS / SETTINGS, settings, {"train": train})


def _clear(out: Path, is_new: bool) -> None:
    """After a failure: leave what --resume needs if there is anything to go on from, else nothing."""
    if checkpoints(out / CHECKPOINTS):
        _delete(out, [name for name in RESULTS if name not in (LOG, CHECKPOINTS)])
        return
    _delete(out, RESULTS)
    if is_new:
        out.rmdir()


def _is_leftover(name: str) -> bool:
    """Whether it is what a run that was killed was just writing or deleting: see `files.replacing`.

    safetensors writes to a file of its own beside that, such as `.tmp6HUyzp`.
    """
    return any(name.startswith(f".{result}.") for result in RESULTS) or bool(re.fullmatch(r"\.tmp\w{6}", name))


def _delete(folder: Path, names: Iterable[str]) -> None:
    for name in names:
        if (folder / name).is_dir():
            shutil.rmtree(folder / name)
        else:
            (folder / name).unlink(missing_ok=True)
