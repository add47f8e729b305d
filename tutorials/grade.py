"""Judge what a class hands in: `python tutorials/grade.py handed-in/*.ipynb --out grades.csv`.

Of a notebook only what stands in the holes that `build.py --holes` left is taken. It is put into the chapter as it is
in this repository, one exercise at a time among our own solutions, and the chapter's own checks judge it: whoever
changes a check, deletes a cell or fails in one exercise changes nothing for the others. It runs what students wrote, so
run it where that may do no harm; and whoever means to deceive, by a solution that redefines what its check calls, can.
"""

from __future__ import annotations

import argparse
import csv
import io
import os
import re
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path

import nbformat
from build import FAILURES, HERE, HOLE, LONGEST_RUN, SOLUTION, notebook_of, run, sources, with_holes
from nbclient.exceptions import CellExecutionError, CellTimeoutError
from nbformat import NotebookNode
from tqdm import tqdm

from minibert.errors import InputError
from minibert.files import check_output, write_text

COLOURS = re.compile(r"\x1b\[[0-9;]*m")
SIGNATURE = re.compile(r"^( *def \w+).*")
# What students print, nobody reads; and reading lines of a million letters would take longer than any timeout.
SILENCE = "import os, sys\nsys.stdout = sys.stderr = open(os.devnull, 'w')"


@dataclass(frozen=True)
class Exercise:
    """A solution of a chapter, and where it stands; cells are counted from 0."""

    chapter: Path
    title: str
    cell: int
    number: int  # among the solutions of its cell, from 0
    end: int  # the cell where the next section begins


@dataclass(frozen=True)
class Grade:
    """What became of an exercise in a notebook: "right", "wrong" or "not done", and why."""

    file: Path
    exercise: Exercise
    result: str
    why: str = ""


def exercises(chapter: Path) -> Iterator[Exercise]:
    """All of a chapter, in order; each has the titles of its section and of the part of it."""
    title = ""
    cells = notebook_of(chapter).cells
    headings = [
        re.findall(r"^(##+) (.+)", cell.source, re.MULTILINE) if cell.cell_type == "markdown" else [] for cell in cells
    ]
    sections = [number for number, found in enumerate(headings) if "##" in dict(found)]
    for number, cell in enumerate(cells):
        for level, heading in headings[number]:
            title = heading if level == "##" else f"{title.partition(' / ')[0]} / {heading}"
        for place, _ in enumerate(SOLUTION.finditer(cell.source)):
            end = min((start for start in sections if start > number), default=len(cells))
            yield Exercise(chapter, title, number, place, end)


def answers(given: str, handed_in: str) -> list[str]:
    """What stands in each hole of a cell: all between the lines next to the hole that are still as they were given.

    Of the first line of a function it is enough if its name is: types may have been left out.
    """
    lines = handed_in.splitlines()
    before, after = ([SIGNATURE.sub(r"\1", line) for line in text] for text in (given.splitlines(), lines))
    blocks = SequenceMatcher(None, before, after, autojunk=False).get_matching_blocks()
    same = {i + k: j + k for i, j, size in blocks for k in range(size) if before[i + k].strip() not in ("", HOLE)}
    holes = [number for number, line in enumerate(before) if line.strip() == HOLE]
    found = []
    for hole in holes:
        first = max((there for here, there in same.items() if here < hole), default=-1) + 1
        last = min((there for here, there in same.items() if here > hole), default=len(lines))
        found.append("\n".join(lines[first:last]).strip("\n") if same else "")
    return found


def cell_of(given: NotebookNode, handed_in: NotebookNode) -> str:
    """The code of the cell that was made from the given one: the one of its name, or the likest."""
    cells = [cell for cell in handed_in.cells if cell.cell_type == "code"]
    named = [cell.source for cell in cells if cell.get("id") == given.id]
    likeness = SequenceMatcher(b=given.source, autojunk=False)

    def ratio(source: str) -> float:
        likeness.set_seq1(source)
        return likeness.ratio()

    return max(named or [cell.source for cell in cells], key=ratio, default="")


def grade(file: Path, handed_in: NotebookNode, exercise: Exercise, timeout: int) -> Grade:
    """Run the chapter with the student's answer to one exercise, to the end of its section, where its checks stand.

    timeout: of a cell, in seconds.
    """
    given = with_holes(notebook_of(exercise.chapter)).cells[exercise.cell]
    answer = answers(given.source, cell_of(given, handed_in))[exercise.number]
    if answer.strip() in ("", HOLE):
        return Grade(file, exercise, "not done")
    notebook = notebook_of(exercise.chapter)
    del notebook.cells[exercise.end :]
    cell = notebook.cells[exercise.cell]
    solution = [*SOLUTION.finditer(cell.source)][exercise.number]
    cell.source = cell.source[: solution.start()] + answer + cell.source[solution.end() :]
    notebook.cells.insert(0, nbformat.v4.new_code_cell(SILENCE))
    try:
        run(notebook, HERE, timeout)
    except CellTimeoutError:
        return Grade(file, exercise, "wrong", f"a cell took longer than {timeout} s")
    except CellExecutionError as error:
        return Grade(file, exercise, "wrong", explanation(error))
    except FAILURES:
        return Grade(file, exercise, "wrong", "Python itself was ended: by the memory it took, or by exit()")
    return Grade(file, exercise, "right")


def explanation(error: CellExecutionError) -> str:
    """The error in a line, with the line of the cell where it arose."""
    first = error.evalue.strip().partition("\n")[0]
    first = re.sub(r"\(\d+\.py, line (\d+)\)", r"(line \1 of the cell)", first)  # of a syntax error
    lines = re.findall(r"^-+> *\d+ +(.+)", COLOURS.sub("", error.traceback), re.MULTILINE)
    told = f"{error.ename}{': ' if first else ''}{first}" + (f", at: {lines[0].strip()}" if lines else "")
    return "".join(filter(str.isprintable, told))  # what else students write could steer the terminal


def chapter_of(file: Path) -> Path | None:
    """The chapter that a file's name speaks of, such as `ada-04_attention.ipynb`."""
    return next((source for source in sources() if source.stem in file.stem), None)


def main() -> int:
    """Exit status 0 if all is right, 1 if not, 2 if nothing could be judged."""
    parser = argparse.ArgumentParser(description="Judge the notebooks that a class hands in.")
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="such as ada/04_attention.ipynb")
    parser.add_argument("--out", type=Path, metavar="FILE", help="a table (.csv) for the grade book")
    parser.add_argument(
        "--timeout", type=int, default=LONGEST_RUN, metavar="S", help="seconds a cell may take; %(default)s"
    )
    arguments = parser.parse_args()
    if arguments.timeout < 1:
        parser.error(f"--timeout {arguments.timeout} lets no cell run: give it a second or more.")

    if arguments.out:
        try:
            check_output(arguments.out, arguments.files)
        except InputError as error:
            parser.error(str(error))
    work = []
    for file in arguments.files:
        chapter = chapter_of(file)
        if chapter is None:
            parser.error(f"Which chapter is {file}? Its name must contain that of one, such as {sources()[0].stem}.")
        try:
            handed_in = nbformat.read(file, as_version=4)
            "".join(cell.cell_type + cell.source for cell in handed_in.cells)  # are they texts? Before any is judged
        except (OSError, ValueError, TypeError, AttributeError, nbformat.ValidationError) as error:
            reason = getattr(error, "strerror", None) or str(error).partition("\n")[0]
            parser.error(f"{file} is no readable notebook ({reason}). Nothing was judged.")
        work += [(file, handed_in, exercise, arguments.timeout) for exercise in exercises(chapter)]

    os.environ.setdefault("OMP_NUM_THREADS", "1")  # of each kernel: as many of them run at once as there are cores
    grades = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for found in tqdm(pool.map(grade, *zip(*work, strict=True)), total=len(work), unit="exercise"):
            grades.append(found)
            told = f"{found.file}: {found.exercise.title}: {found.result}"
            tqdm.write(told + (f" ({found.why})" if found.why else ""), file=sys.stdout)
    if arguments.out:
        table = io.StringIO()
        writer = csv.writer(table, lineterminator="\n")
        writer.writerow(["file", "chapter", "exercise", "result", "why"])
        writer.writerows(
            [each.file, each.exercise.chapter.stem, each.exercise.title, each.result, each.why] for each in grades
        )
        write_text(arguments.out, table.getvalue())
    return 0 if all(found.result == "right" for found in grades) else 1


if __name__ == "__main__":
    sys.exit(main())
