"""The tutorials: their notebooks say what their sources say, and the sources run as scripts."""

from __future__ import annotations

import ast
import csv
import importlib
import inspect
import os
import re
import shutil
import subprocess
import sys
from functools import cache, reduce
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("jupytext", reason="needs the extra: pip install -e '.[tutorials]'")

import nbformat

from tutorials import build

sys.path.insert(0, build.__file__.rpartition(os.sep)[0])  # as for a script that lies there
grade: Any = importlib.import_module("grade")

REPOSITORY = Path(__file__).resolve().parents[1]
SOURCES = build.sources()


def name_of(source: Path) -> str:
    return source.stem


@cache
def package_text() -> str:
    return "\n".join(path.read_text(encoding="utf-8") for path in (REPOSITORY / "minibert").rglob("*.py"))


def test_there_are_tutorials():
    assert len(SOURCES) >= 5


@pytest.mark.parametrize("source", SOURCES, ids=name_of)
def test_notebook_has_the_cells_of_its_source(source: Path):
    assert build.disagreement(source) is None


@pytest.mark.parametrize("source", SOURCES, ids=name_of)
def test_notebook_was_executed_and_every_picture_has_a_text(source: Path):
    notebook = nbformat.read(source.with_suffix(".ipynb"), as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error" or output.get("name") == "stderr"]
    assert "at 0x" not in str(outputs)  # an address in memory would differ with every run
    pictures = [output for output in outputs if "image/png" in output.get("data", {})]
    assert pictures
    assert all(len(picture.metadata["image/png"]["alt"]) > 20 for picture in pictures)
    assert source.with_suffix(".ipynb").stat().st_size < 1_000_000


def test_every_data_file_has_a_line_that_says_what_it_is():
    folder = REPOSITORY / "tutorials" / "data"
    readme = (folder / "README.md").read_text(encoding="utf-8")
    files = {path.name for path in folder.iterdir()} - {"README.md"}
    assert files == set(re.findall(r"^\| `([^`]+)` \|", readme, re.MULTILINE))


def test_a_changed_source_is_noticed(tmp_path: Path):
    source = Path(shutil.copy(SOURCES[0], tmp_path))
    shutil.copy(SOURCES[0].with_suffix(".ipynb"), tmp_path)
    assert build.disagreement(source) is None
    text = source.read_text(encoding="utf-8")
    source.write_text(text.replace("\nimport ", "\nimport sys\nimport ", 1), encoding="utf-8")
    assert "in cell 1:" in str(build.disagreement(source))
    source.write_text(text + "\n# %%\nprint('new')\n", encoding="utf-8")
    assert "in length" in str(build.disagreement(source))
    source.with_suffix(".ipynb").unlink()
    assert "is missing" in str(build.disagreement(source))


def test_no_progress_bar_stays_in_a_notebook(tmp_path: Path):
    cell = nbformat.v4.new_code_cell("from tqdm import tqdm\nprint(sum(tqdm(range(3))))")
    build.run(nbformat.v4.new_notebook(cells=[cell]), tmp_path)
    assert [(output.name, output.text) for output in cell.outputs] == [("stdout", "3\n")]


def test_an_unknown_tutorial_is_an_error():
    command = [sys.executable, str(REPOSITORY / "tutorials" / "build.py"), "99"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "There is no tutorial 99" in done.stderr


WITH_SOLUTIONS = [source for source in SOURCES if "# BEGIN SOLUTION" in source.read_text(encoding="utf-8")]


@pytest.mark.parametrize("source", WITH_SOLUTIONS, ids=name_of)
def test_the_version_for_a_class_has_holes_where_the_solutions_were(source: Path):
    given = [cell.source for cell in build.notebook_of(source).cells]
    holes = build.with_holes(build.notebook_of(source)).cells
    assert len(holes) == len(given)
    for cell, solved in zip(holes, given, strict=True):
        solutions = solved.count("# BEGIN SOLUTION\n")
        assert cell.source.count("raise NotImplementedError('Your turn.')") == solutions
        assert (cell.source == solved) == (solutions == 0)
        if cell.cell_type == "code":
            assert "SOLUTION" not in cell.source
            compile(cell.source, "cell", "exec")


def test_holes_are_written_with_all_that_the_chapters_open(tmp_path: Path):
    command = [sys.executable, str(REPOSITORY / "tutorials" / "build.py"), "--holes", str(tmp_path), "20"]
    subprocess.run(command, check=True)
    assert {path.name for path in tmp_path.iterdir()} == {"20_debugging.ipynb", *build.HELPERS}
    text = (tmp_path / "20_debugging.ipynb").read_text(encoding="utf-8")
    assert text.count("raise NotImplementedError('Your turn.')") == 3
    assert "scores.softmax(dim=-1)" not in text


def test_holes_are_written_over_nobody_s_work(tmp_path: Path):
    work = tmp_path / "04_attention.ipynb"
    work.write_text("mine", encoding="utf-8")
    faults = {tmp_path: "has 04_attention.ipynb already", work: "is no folder", SOURCES[0].parent: "already"}
    for folder, fault in faults.items():
        command = [sys.executable, str(REPOSITORY / "tutorials" / "build.py"), "--holes", str(folder), "03", "04"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert fault in done.stderr
        assert "Traceback" not in done.stderr
    assert work.read_text(encoding="utf-8") == "mine"
    assert [path.name for path in tmp_path.iterdir()] == [work.name]


@pytest.mark.parametrize("source", WITH_SOLUTIONS, ids=name_of)
def test_of_a_notebook_that_is_handed_in_the_answers_are_found(source: Path):
    """Whatever else students changed, and whether or not their editor kept the names of the cells."""
    exercises = [*grade.exercises(source)]
    notebooks = build.notebook_of(source), build.with_holes(build.notebook_of(source))
    for exercise in exercises:
        assert exercise.title.startswith(str(int(source.stem[:2])))
        solved, given = (notebook.cells[exercise.cell] for notebook in notebooks)
        handed_in = build.notebook_of(source)
        for number, cell in enumerate(handed_in.cells):
            cell.id = f"other-{number}"
            if number == exercise.cell:
                cell.source = f"# mine\n{cell.source}\nprint(1)"
        solution = [*build.SOLUTION.finditer(solved.source)][exercise.number].group()
        assert grade.answers(given.source, grade.cell_of(given, handed_in))[exercise.number] == solution
        assert grade.answers(given.source, given.source)[exercise.number].strip() == build.HOLE
        assert grade.answers(given.source, "something = else_")[exercise.number] == ""


def test_a_hole_may_be_filled_with_anything():
    given = f"def f(x):\n    {build.HOLE}\n\n\nassert f(1) == 2\ny = {{\n    {build.HOLE}\n}}"
    first, second = "    y = x\n\n    return y + 1", "    1: 2,"
    filled = given.replace(f"    {build.HOLE}", first, 1).replace(f"    {build.HOLE}", second)
    assert grade.answers(given, filled) == [first, second]
    assert grade.answers(given, filled.replace("def f(x):", "def f(x: int) -> int:")) == [first, second]
    left = given.replace(build.HOLE, f"return x + 1\n    {build.HOLE}", 1)  # the line that is to go was left
    assert grade.answers(given, left) == [f"    return x + 1\n    {build.HOLE}", f"    {build.HOLE}"]


@pytest.mark.slow
def test_a_class_is_graded(tmp_path: Path):
    source = next(path for path in SOURCES if path.stem == "11_questions")

    def hand_in(name: str, answers: list[str]) -> None:
        notebook = build.with_holes(build.notebook_of(source))
        for cell in notebook.cells:
            cell.source = re.sub(f" *{re.escape(build.HOLE)}", lambda _: answers.pop(0), cell.source)
        nbformat.write(notebook, tmp_path / f"{name}-{source.stem}.ipynb")

    cells = build.notebook_of(source).cells
    ours = [solution.group() for cell in cells for solution in build.SOLUTION.finditer(cell.source)]
    hand_in("ada", ours.copy())
    noise = "    print('x' * 1_000_000)\n    return []"  # in lines that would take hours to look through
    hand_in("bob", ["    while True: pass", "    import os; os._exit(1)", noise])
    hand_in("eve", ["    return (", ours[1], f"    {build.HOLE}"])
    hand_in("mal", ["    raise ValueError('\\x1b[31mred')", *[f"    {build.HOLE}"] * 2])
    grades = tmp_path / "grades.csv"
    command = [
        sys.executable,
        "tutorials/grade.py",
        *map(str, tmp_path.glob("*.ipynb")),
        "--timeout",
        "30",
        "--out",
        str(grades),
    ]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    with grades.open(newline="", encoding="utf-8") as file:
        rows = [*csv.DictReader(file)]
    names = ("ada", "bob", "eve", "mal")
    results = {name: [row for row in rows if Path(row["file"]).name.startswith(name)] for name in names}
    assert [row["result"] for row in results["ada"]] == ["right"] * 3
    assert [row["result"] for row in results["bob"]] == ["wrong"] * 3
    assert [row["result"] for row in results["eve"]] == ["wrong", "right", "not done"]
    assert results["bob"][0]["why"] == "a cell took longer than 30 s"
    assert "Python itself was ended" in results["bob"][1]["why"]
    assert results["bob"][2]["why"].startswith("AssertionError")
    assert "at: assert best_by_loops(" in results["bob"][2]["why"]
    assert results["mal"][0]["why"].startswith("ValueError: [31mred, at: ")  # nothing that steers a terminal
    assert results["eve"][0]["why"].startswith("SyntaxError: '(' was never closed (line ")


@pytest.mark.parametrize(
    ("name", "text", "fault"),
    [
        ("x.ipynb", "{}", "Which chapter is"),
        ("04_attention.ipynb", "{nope", "is no readable notebook"),
        ("04_attention.ipynb", "[]", "04_attention.ipynb is no readable notebook"),
        (
            "04_attention.ipynb",
            '{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [{"metadata": {}, "source": "x"}]}',
            "is no readable notebook (cell_type)",
        ),
        ("04_attention.ipynb", None, "No such file or directory"),
    ],
)
def test_what_cannot_be_graded_gets_a_sentence(name: str, text: str | None, fault: str, tmp_path: Path):
    if text is not None:
        (tmp_path / name).write_text(text, encoding="utf-8")
    command = [sys.executable, str(REPOSITORY / "tutorials" / "grade.py"), str(tmp_path / name)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert fault in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_pictures_are_written_for_slides(tmp_path: Path):
    command = [sys.executable, "tutorials/build.py", "--pictures", str(tmp_path), "04"]
    subprocess.run(command, cwd=REPOSITORY, check=True)
    captions = (tmp_path / "04_attention.txt").read_text(encoding="utf-8").splitlines()
    assert len(captions) == len([*tmp_path.glob("*.png")]) > 2
    for line in captions:
        png = (tmp_path / line.partition(":")[0]).read_bytes()
        assert int.from_bytes(png[16:20], "big") > 1200  # its width


@pytest.mark.parametrize("source", SOURCES, ids=name_of)
def test_links_lead_to_files(source: Path):
    prose = "\n".join(cell.source for cell in build.notebook_of(source).cells if cell.cell_type == "markdown")
    targets = re.findall(r"\]\(([^)#]+)\)", prose)
    assert targets
    for target in targets:
        assert (source.parent / target).is_file(), f"{source.name} links to {target}"


@pytest.mark.parametrize("source", SOURCES, ids=name_of)
def test_what_is_named_beside_a_link_is_in_that_file(source: Path):
    prose = "\n".join(cell.source for cell in build.notebook_of(source).cells if cell.cell_type == "markdown")
    links = re.findall(r"\]\(([^)]+\.py)\)\s*\(([^)]*)\)", prose)
    assert links
    for target, names in links:
        code = (source.parent / target).read_text(encoding="utf-8")
        for name in re.findall(r"`(?:\w+\.)*(\w+)`", names):
            assert re.search(rf"(?:def|class) {name}\b|^{name}\b", code, re.MULTILINE), f"{target} has no {name}"


@pytest.mark.parametrize("source", SOURCES, ids=name_of)
def test_what_a_tutorial_imports_from_the_package_is_there(source: Path):
    for statement in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(statement, ast.ImportFrom) and str(statement.module).split(".")[0] == "minibert":
            module = importlib.import_module(str(statement.module))
            for name in statement.names:
                assert hasattr(module, name.name), f"{statement.module} has no {name.name}"


@pytest.mark.parametrize("source", SOURCES, ids=name_of)
def test_the_code_that_a_notebook_shows_is_still_that_of_the_package(source: Path):
    imported: dict[str, Any] = {}
    for statement in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(statement, ast.ImportFrom) and str(statement.module).split(".")[0] == "minibert":
            module = importlib.import_module(str(statement.module))
            imported |= {name.name: getattr(module, name.name) for name in statement.names}
    for cell in nbformat.read(source.with_suffix(".ipynb"), as_version=4).cells:
        for path in re.findall(r"inspect\.getsource\(([\w.]+)\)", cell.source):
            first, *rest = path.split(".")
            if first in imported:
                printed = "".join(output.get("text", "") for output in cell.outputs)
                assert inspect.getsource(reduce(getattr, rest, imported[first])) in printed, f"{path} has changed"
        if "ast.get_source_segment(" in cell.source:  # of code that cannot be imported everywhere
            printed = "".join(output.get("text", "") for output in cell.outputs)
            for part in printed.strip().split("\n\n"):
                assert part in package_text(), f"the package has no longer: {part}"


@pytest.mark.parametrize("source", SOURCES, ids=name_of)
def test_the_traced_lines_that_a_notebook_shows_are_still_in_the_package(source: Path):
    for cell in nbformat.read(source.with_suffix(".ipynb"), as_version=4).cells:
        if "row.code" in cell.source:
            printed = "".join(output.get("text", "") for output in cell.outputs)
            for line in re.findall(r" {2}((?:return )?[a-z]\w*(?:, \w+)* ?[=.].*)$", printed, re.MULTILINE):
                assert line in package_text(), f"the package has no longer: {line}"


@pytest.mark.slow
@pytest.mark.parametrize("source", SOURCES, ids=name_of)
def test_runs_as_a_script(source: Path):
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")]),
        "MPLBACKEND": "Agg",
        "OMP_NUM_THREADS": "1",  # as in `build.py`; two chapters with two threads each would wait for one another
    }
    done = subprocess.run([sys.executable, str(source)], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


WRONG = {  # what a student may well write: its chapter, and the part of the solution that it replaces
    "15 % of the candidates": ("07", "round(0.15 * len(ids))", "round(0.15 * len(candidates))"),
    "only whole tokens": ("11", "if first < end and last > begin]", "if first >= begin and last <= end]"),
    "padding counts": ("12", "(hidden * real).sum(dim=1) / real.sum(dim=1)", "hidden.mean(dim=1)"),
    "each label anew": (
        "14",
        "turn % hands for turn, card",
        "[labels[other] for other in order[:turn]].count(labels[card]) % hands for turn, card",
    ),
    "upper bin": (
        "14",
        "(confidences > number / bins) & (confidences <= (number + 1) / bins)",
        "(confidences >= number / bins) & (confidences < (number + 1) / bins)",
    ),
}
RIGHT = {"two floats": ("11", "float(begins[i] + ends[j])", "float(begins[i]) + float(ends[j])")}


@pytest.mark.slow
@pytest.mark.parametrize("what", [*WRONG, *RIGHT])
def test_checks_reject_what_is_wrong_and_take_what_is_right(what: str, tmp_path: Path):
    chapter, ours, theirs = (WRONG | RIGHT)[what]
    source = next(path for path in SOURCES if path.name.startswith(chapter))
    before, after = source.read_text(encoding="utf-8").split(ours)
    script = tmp_path / "chapter.py"
    script.write_text(before + theirs + after.split("\n# %%")[0], encoding="utf-8")  # up to the check, and no further
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(REPOSITORY), str(source.parent), os.environ.get("PYTHONPATH", "")]),
        "MPLBACKEND": "Agg",
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, str(script)]
    done = subprocess.run(command, env=environment, cwd=source.parent, capture_output=True, text=True, check=False)
    if what in RIGHT:
        assert done.returncode == 0, done.stderr
    else:
        assert "AssertionError" in done.stderr
