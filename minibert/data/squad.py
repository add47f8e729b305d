"""SQuAD's files: articles of paragraphs with questions, whose answers are slices of the paragraph.

    {"version": "v2.0", "data": [{"title": ..., "paragraphs": [{"context": ..., "qas": [
        {"id": ..., "question": ..., "answers": [{"text": ..., "answer_start": ...}], "is_impossible": false}]}]}]}

`answer_start` counts characters (Unicode code points) from 0. Version 1.1 has no `is_impossible`: every question has an
answer there. In version 2.0 a question may have none.

As a command it cuts one file into several, by article: `python -m minibert.data.squad FILE --out DIR`. Questions about
one article are alike, and its paragraphs repeat each other, so a split by question would flatter the model.
"""

from __future__ import annotations

import argparse
import random
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ..commandline import Parser, run, seed, share
from ..errors import InputError
from ..files import new_folder, parse_json_object, write_json
from .tables import Row, read_table

KINDS = {str: "text", list: "a list", dict: "an object", int: "a whole number"}


class Question(NamedTuple):
    """One question of a file. answers: {"text", "answer_start"} each, [] if the text has none; None if not told."""

    id: str
    question: str
    context: str
    answers: list[dict[str, Any]] | None
    line: int  # of a table; 0 for SQuAD's JSON
    columns: Mapping[str, Any]


def read_squad(path: str | Path, with_answers: bool = True) -> list[Question]:
    """The questions of a SQuAD `.json`, or of a table with the columns `question`, `context`, perhaps `id`, `answers`.

    Raises `InputError` for a broken file, and for an answer that does not stand where it is said to.
    with_answers=False: nothing is read of the answers.
    """
    path = Path(path)
    if path.suffix == ".json":
        questions = list(_squad_questions(path, _contents(path)["data"], with_answers))
    else:
        table = read_table(path, others=[".json"])
        questions = [_table_question(path, row, with_answers) for row in table.rows]
    if not questions:
        raise InputError(f"{path} has no questions.")
    twice = [name for name, count in Counter(question.id for question in questions).items() if count > 1]
    if twice:
        raise InputError(f"{path}: {len(twice)} ids belong to several questions, the first is '{twice[0]}'.")
    _check_answers(path, questions)
    return questions


def _contents(path: Path) -> dict[str, Any]:
    """A whole SQuAD file, of which only this is known: its "data" is a list."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: {(error.strerror or str(error)).lower()}.") from error
    contents = parse_json_object(content, str(path))
    _field(contents, "data", list, str(path))
    return contents


def _squad_questions(path: Path, articles: list[Any], with_answers: bool) -> Iterator[Question]:
    for i, article in enumerate(articles):
        where = f"{path}, article {i + 1}"
        for j, paragraph in enumerate(_field(article, "paragraphs", list, where)):
            in_paragraph = f"{where}, paragraph {j + 1}"
            context = _field(paragraph, "context", str, in_paragraph)
            for k, question in enumerate(_field(paragraph, "qas", list, in_paragraph)):
                in_question = f"{in_paragraph}, question {k + 1}"
                columns = {"title": article.get("title") or str(i + 1)}
                default_id = f"{i + 1}-{j + 1}-{k + 1}"
                yield _question(question, context, in_question, default_id, 0, columns, with_answers)


def _table_question(path: Path, row: Row, with_answers: bool) -> Question:
    where = f"{path}, line {row.line}"
    context = _field(row.values, "context", str, where)
    return _question(row.values, context, where, str(row.line), row.line, row.values, with_answers)


def _question(
    values: Any, context: str, where: str, default_id: str, line: int, columns: Mapping[str, Any], with_answers: bool
) -> Question:
    text = _field(values, "question", str, where)
    for name, value in (("context", context), ("question", text)):
        if not value.strip():
            raise InputError(f"{where}: the {name} is empty.")
    answers = None
    if with_answers and values.get("answers") is not None:
        answers = [
            {name: _field(answer, name, kind, where) for name, kind in (("text", str), ("answer_start", int))}
            for answer in _list_of_answers(values, where)
        ]
        if values.get("is_impossible") and answers:
            raise InputError(f"{where}: is_impossible is true, but there are answers.")
    return Question(str(values.get("id", default_id)), text, context, answers, line, columns)


def _list_of_answers(values: dict[str, Any], where: str) -> list[Any]:
    """One object an answer; the library `datasets` writes one object of lists, as does who exports SQuAD with it."""
    if not isinstance(values["answers"], dict):
        return _field(values, "answers", list, where)
    texts, starts = (_field(values["answers"], name, list, where) for name in ("text", "answer_start"))
    if len(texts) != len(starts):
        raise InputError(f"{where}: {len(texts)} answers need as many numbers in 'answer_start'. Found {len(starts)}.")
    return [{"text": text, "answer_start": start} for text, start in zip(texts, starts, strict=True)]


def _field(values: Any, name: str, kind: type, where: str) -> Any:
    """One entry of a JSON object. Raises `InputError` if it is missing or of another kind."""
    if not isinstance(values, dict):
        raise InputError(f"{where}: an object with '{name}' is needed. Found {values!r:.60}.")
    if name not in values:
        raise InputError(f"{where}: '{name}' is missing. Found {', '.join(map(str, values))[:200] or 'nothing'}.")
    if not isinstance(values[name], kind) or isinstance(values[name], bool):
        raise InputError(f"{where}: '{name}' must be {KINDS[kind]}. Found {values[name]!r:.60}.")
    return values[name]


def _check_answers(path: Path, questions: list[Question]) -> None:
    """Raise `InputError` if an answer does not stand where it is said to."""
    wrong = []
    for question in questions:
        for answer in question.answers or []:
            text, start = answer["text"], answer["answer_start"]
            if not text.strip() or start < 0 or question.context[start : start + len(text)] != text:
                wrong.append((question, text, start))
    if wrong:
        question, text, start = wrong[0]
        elsewhere = question.context.find(text) if text.strip() else -1
        there = question.context[max(0, start) : max(0, start) + len(text)]
        raise InputError(
            f"{path}, question '{question.id}': the answer {text!r:.80} does not stand at answer_start {start} of its "
            f"context, where {there!r:.80} does"
            + (f"; it stands at {elsewhere}" if elsewhere >= 0 else "")
            + f". {len(wrong):,} of the file's answers are wrong in this way: answer_start counts characters from 0."
        )


# -------------------------------------------------------------------------------------------------- split by article


def build_parser() -> Parser:
    parser = Parser(
        "data.squad",
        "Cut a SQuAD file by article: writes train.json, dev.json and test.json. No article stands in two of them.",
        "  python -m minibert.data.squad dev-v1.1.json --out squad-by-article",
    )
    parser.add_argument("file", metavar="FILE", help="a SQuAD .json, version 1.1 or 2.0")
    parser.add_argument("--out", metavar="DIR", required=True, help="a folder, made if it does not exist")
    parser.add_argument("--dev", type=share, default=0.15, metavar="SHARE", help="of the articles, to choose by")
    parser.add_argument("--test", type=share, default=0.15, metavar="SHARE", help="of the articles, to judge by")
    parser.add_argument("--seed", type=seed, default=0, metavar="N", help="of the choice")
    return parser


def main(arguments: argparse.Namespace) -> None:
    path = Path(arguments.file)
    if path.suffix != ".json":
        raise InputError(f"{path}: a SQuAD .json is needed.")
    read_squad(path)  # raises what is wrong with the file
    contents = _contents(path)
    articles: dict[str, list[Any]] = {}  # by title; some files have a title several times
    for number, article in enumerate(contents["data"]):
        articles.setdefault(str(article.get("title") or number), []).append(article)
    shares = (arguments.dev, arguments.test)
    dev, test = (round(part * len(articles)) for part in shares)
    left = len(articles) - dev - test
    if dev + test == 0 or left < 1 or any(part and not count for part, count in zip(shares, (dev, test), strict=True)):
        raise InputError(
            f"{path} has {len(articles)} articles: {dev} for dev and {test} for test leave {left} to learn from. "
            "Choose other shares with --dev and --test."
        )
    titles = list(articles)
    chosen = random.Random(arguments.seed).sample(titles, dev + test)
    splits = {"train": set(titles) - set(chosen), "dev": set(chosen[:dev]), "test": set(chosen[dev:])}
    out = Path(arguments.out)
    files = {name: out / f"{name}.json" for name in splits}
    there = [file.name for file in files.values() if file.exists()]
    if there:
        raise InputError(f"{out} has {' and '.join(there)} already: choose another --out.")
    with new_folder(out):
        try:
            for name, taken in splits.items():
                if taken:
                    part = [article for title in titles if title in taken for article in articles[title]]
                    write_json(files[name], contents | {"data": part})
                    questions = sum(len(paragraph["qas"]) for article in part for paragraph in article["paragraphs"])
                    print(f"{files[name]}: {len(taken):,} articles, {questions:,} questions")
        except BaseException:  # such as a full disk: some of the articles are not all
            for file in files.values():
                file.unlink(missing_ok=True)
            raise


if __name__ == "__main__":
    run(build_parser(), main)
