"""Make the notebooks from their sources: `python tutorials/build.py` runs each and keeps what it prints and draws.

`NN_name.py` is the source of a tutorial, in percent format; `NN_name.ipynb` is made from it, for reading on the web.
`--check` makes nothing: it says whether each notebook has the cells of its source, and runs them all.

    python tutorials/build.py                   # all of them
    python tutorials/build.py 04 05             # those two
    python tutorials/build.py --check
    python tutorials/build.py --holes DIR 20    # for a class: without the solutions, into another folder
    python tutorials/build.py --pictures DIR 04 # for slides: its pictures, larger, into a folder
"""

from __future__ import annotations

import argparse
import base64
import math
import os
import re
import shutil
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode

HERE = Path(__file__).parent
LONGEST_RUN = 120  # seconds, on one core
HELPERS = ("pictures.py", "broken.py", "data")  # what the tutorials need from beside them
HOLE = "raise NotImplementedError('Your turn.')"
SOLUTION = re.compile(r"^( *)# BEGIN SOLUTION\n.*?^ *# END SOLUTION$", re.MULTILINE | re.DOTALL)
FAILURES = (CellExecutionError, CellTimeoutError, DeadKernelError)


def sources(folder: Path = HERE) -> list[Path]:
    """The sources of the tutorials, in order."""
    return sorted(folder.glob("[0-9][0-9]_*.py"))


def notebook_of(source: Path) -> NotebookNode:
    """The cells of a source as a notebook that has not run yet. The same source gives the same notebook."""
    notebook = jupytext.read(source)
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number:02}"  # jupytext draws them at random
        cell.metadata = {}
    notebook.metadata = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    return notebook


def with_holes(notebook: NotebookNode) -> NotebookNode:
    """The notebook with a place to fill in for each solution. (The marks are those of nbgrader.)"""
    for cell in notebook.cells:
        cell.source = SOLUTION.sub(rf"\1{HOLE}", cell.source)
    return notebook


def disagreement(source: Path) -> str | None:
    """In a sentence, where a source and its notebook differ; None if they agree."""
    path = source.with_suffix(".ipynb")
    if not path.is_file():
        return f"{path.name} is missing: run python tutorials/build.py"
    stored = nbformat.read(path, as_version=4)
    wanted = [(cell.cell_type, cell.source) for cell in notebook_of(source).cells]
    found = [(cell.cell_type, cell.source) for cell in stored.cells]
    if wanted == found:
        return None
    same = next((i for i, (one, other) in enumerate(zip(wanted, found, strict=False)) if one != other), None)
    where = f"in cell {same}" if same is not None else f"in length ({len(wanted)} cells, {len(found)})"
    return f"{path.name} differs from {source.name} {where}: run python tutorials/build.py"


def run(notebook: NotebookNode, folder: Path, timeout: int = 5 * LONGEST_RUN) -> float:
    """Run all cells, which then hold their outputs. Returns the seconds it took; one of `FAILURES` if it cannot.

    timeout: of a cell, in seconds.
    """
    start = time.perf_counter()
    NotebookClient(
        notebook,
        timeout=timeout,
        resources={"metadata": {"path": str(folder)}},
        record_timing=False,
        coalesce_streams=True,  # or what a cell prints comes in as many pieces as the kernel happened to send
    ).execute(env=os.environ | {"TQDM_DISABLE": "1"})  # or a bar that a busy machine draws stays in the notebook
    notebook.metadata.pop("language_info", None)  # the version of Python is no part of the tutorial
    return time.perf_counter() - start


def main() -> int:
    parser = argparse.ArgumentParser(description="Run the tutorials and write their notebooks.")
    parser.add_argument("numbers", nargs="*", metavar="NN", help="only these tutorials; all by default")
    parser.add_argument("--check", action="store_true", help="write nothing; say what does not agree or does not run")
    parser.add_argument("--holes", type=Path, metavar="DIR", help="write them, not run and without solutions, to DIR")
    parser.add_argument(
        "--pictures", type=Path, metavar="DIR", help="write their pictures alone to DIR, three times as large"
    )
    arguments = parser.parse_args()

    chosen = {source.name[:2]: source for source in sources()}
    if unknown := [number for number in arguments.numbers if number not in chosen]:
        parser.error(f"There is no tutorial {', '.join(unknown)}. There are {', '.join(chosen)}.")

    wanted = [chosen[number] for number in arguments.numbers or chosen]
    if arguments.holes:
        if arguments.holes.exists() and not arguments.holes.is_dir():
            parser.error(f"{arguments.holes} is no folder. Name another one.")
        names = [f"{source.stem}.ipynb" for source in wanted]
        if there := [name for name in names if (arguments.holes / name).exists()]:
            parser.error(
                f"{arguments.holes} has {', '.join(there)} already, perhaps with work in it. Name another one."
            )
        arguments.holes.mkdir(parents=True, exist_ok=True)
        for helper in HELPERS:
            if (HERE / helper).is_dir():
                shutil.copytree(HERE / helper, arguments.holes / helper, dirs_exist_ok=True)
            else:
                shutil.copy(HERE / helper, arguments.holes)
        for source in wanted:
            nbformat.write(with_holes(notebook_of(source)), arguments.holes / f"{source.stem}.ipynb")
        return 0

    make = check if arguments.check else build
    if arguments.pictures:
        if arguments.pictures.exists() and not arguments.pictures.is_dir():
            parser.error(f"{arguments.pictures} is no folder. Name another one.")
        arguments.pictures.mkdir(parents=True, exist_ok=True)
        os.environ["PICTURE_DPI"] = "240"
        make = partial(write_pictures, folder=arguments.pictures)

    os.environ.setdefault("OMP_NUM_THREADS", "1")  # of each kernel: as many of them run at once as there are cores
    start = time.perf_counter()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        is_sound = list(pool.map(make, wanted))
    print(f"{'together':24} {time.perf_counter() - start:5.0f} s")
    return 0 if all(is_sound) else 1


def check(source: Path) -> bool:
    """Whether a notebook agrees with its source, and runs in time. Says what is wrong."""
    fault = disagreement(source)
    if fault:
        print(fault, file=sys.stderr)
    return _seconds(source, notebook_of(source)) <= LONGEST_RUN and not fault


def build(source: Path) -> bool:
    """Make the notebook, if it runs. Whether it did, and in time; says what is wrong."""
    notebook = notebook_of(source)
    seconds = _seconds(source, notebook)
    if seconds < math.inf:
        nbformat.write(notebook, source.with_suffix(".ipynb"))
    return seconds <= LONGEST_RUN


def write_pictures(source: Path, folder: Path) -> bool:
    """Run it and write its pictures, `NN_name-1.png` and so on, and what they show, `NN_name.txt`. Whether it ran."""
    notebook = notebook_of(source)
    if _seconds(source, notebook) == math.inf:
        return False
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    pictures = [output for output in outputs if "image/png" in output.get("data", {})]
    captions = [picture.metadata["image/png"]["alt"] for picture in pictures]
    names = [f"{source.stem}-{number}.png" for number in range(1, len(pictures) + 1)]
    for name, picture in zip(names, pictures, strict=True):
        (folder / name).write_bytes(base64.b64decode(picture.data["image/png"]))
    lines = [f"{name}: {caption}\n" for name, caption in zip(names, captions, strict=True)]
    (folder / f"{source.stem}.txt").write_text("".join(lines), encoding="utf-8")
    return True


def _seconds(source: Path, notebook: NotebookNode) -> float:
    """What `run` took, told; infinity if it failed."""
    try:
        seconds = run(notebook, source.parent)
    except FAILURES as error:
        print(f"{source.name} does not run:\n{error}", file=sys.stderr)
        return math.inf
    print(f"{source.name:24} {seconds:5.0f} s", flush=True)
    if seconds > LONGEST_RUN:
        print(f"{source.name} takes longer than {LONGEST_RUN} s", file=sys.stderr)
    return seconds


if __name__ == "__main__":
    sys.exit(main())
