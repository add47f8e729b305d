"""Well-known public data sets by name, as the files that the tasks read: `finetune --dataset NAME`.

The `datasets` library fetches them from the hub (`pip install minibert-torch[datasets]`). What came is written once, as
`train`, `dev` and `test` in a folder of Hugging Face's cache, and read from there ever after, without a network. Their
licences are those of their authors: see the page of each at huggingface.co/datasets.
"""

from __future__ import annotations

import importlib
import logging
import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import InputError
from ..files import write_json_lines

Row = Mapping[str, Any]
Names = Mapping[str, list[str]]
UNKNOWN = -1  # how the hub's sets write that a label is kept secret, or that the annotators did not agree
DEV_EVERY = 10  # where a set has no dev part, every so many-th training row is held out

log = logging.getLogger("minibert")


class PublicSet(NamedTuple):
    """Where a set lies, the task it is for, and how one of its rows becomes one of that task's files.

    convert: from a row, and the names that stand behind the numbers of its columns. dev, test: what the set calls these
    parts, or None.
    """

    task: str
    repository: str
    convert: Callable[[Row, Names], dict[str, Any]]
    configuration: str | None = None
    dev: str | None = "validation"
    test: str | None = "test"


def _texts(text: str, text_b: str | None = None, label: str = "label") -> Callable[[Row, Names], dict[str, Any]]:
    """For tables of texts: the names of their columns."""

    def convert(row: Row, names: Names) -> dict[str, Any]:
        found = {"text": row[text]} | ({} if text_b is None else {"text_b": row[text_b]})
        if row[label] == UNKNOWN:
            return found
        return found | {"label": names[label][row[label]] if label in names else row[label]}

    return convert


def _tagged_words(row: Row, names: Names) -> dict[str, Any]:
    return {"tokens": row["tokens"], "tags": [names["ner_tags"][tag] for tag in row["ner_tags"]]}


def _choices(row: Row, names: Names) -> dict[str, Any]:
    found = {"question": row["sent1"], "choices": [f"{row['sent2']} {row[f'ending{i}']}" for i in range(4)]}
    return found if row["label"] == UNKNOWN else found | {"label": int(row["label"])}


def _as_it_is(row: Row, names: Names) -> dict[str, Any]:
    return dict(row)


def _glue(configuration: str, text: str, text_b: str | None = None, **parts: Any) -> PublicSet:
    """One of the nine tasks of GLUE (Wang et al. 2018). Their test labels are secret."""
    task = "regression" if configuration == "stsb" else "classification"
    return PublicSet(task, "nyu-mll/glue", _texts(text, text_b), configuration, **parts)


PUBLIC = {
    "cola": _glue("cola", "sentence"),
    "sst2": _glue("sst2", "sentence"),
    "mrpc": _glue("mrpc", "sentence1", "sentence2"),
    "qqp": _glue("qqp", "question1", "question2"),
    "stsb": _glue("stsb", "sentence1", "sentence2"),
    "mnli": _glue("mnli", "premise", "hypothesis", dev="validation_matched", test="test_matched"),
    "qnli": _glue("qnli", "question", "sentence"),
    "rte": _glue("rte", "sentence1", "sentence2"),
    "wnli": _glue("wnli", "sentence1", "sentence2"),
    "snli": PublicSet("classification", "stanfordnlp/snli", _texts("premise", "hypothesis")),
    "imdb": PublicSet("classification", "stanfordnlp/imdb", _texts("text"), dev=None),
    "clinc150": PublicSet("classification", "clinc/clinc_oos", _texts("text", label="intent"), "plus"),
    "conll2003": PublicSet("ner", "lhoestq/conll2003", _tagged_words),
    "squad": PublicSet("qa", "rajpurkar/squad", _as_it_is, test=None),
    "squad_v2": PublicSet("qa", "rajpurkar/squad_v2", _as_it_is, test=None),
    "swag": PublicSet("choice", "allenai/swag", _choices, "regular"),
}


def fetch(name: str) -> dict[str, Path]:
    """The files of a set by part, `train`, `dev` and perhaps `test`; fetched if they are not here yet.

    Raises `InputError` without the library, without a network, or for a set that the hub does not have any more.
    """
    from huggingface_hub import constants  # takes a while, and the command's --help reads only the names

    folder = Path(constants.HF_HOME) / "minibert" / name
    if not folder.is_dir():
        parts = _load(name)
        partial = folder.with_name(f".{name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        for part, rows in parts.items():
            if PUBLIC[name].task == "qa":
                write_json_lines(partial / f"{part}.json", [_as_squad(rows)])
            else:
                write_json_lines(partial / f"{part}.jsonl", rows)
        partial.rename(folder)
        log.info(f"{name} is now in {folder}. Its terms: https://huggingface.co/datasets/{PUBLIC[name].repository}")
    return {path.stem: path for path in sorted(folder.iterdir())}


def _load(name: str) -> dict[str, list[dict[str, Any]]]:
    """The rows of each part, as the task of the set reads them."""
    known = PUBLIC[name]
    try:
        library = importlib.import_module("datasets")
    except ImportError as error:
        raise InputError(
            f"To fetch {name}, the datasets library is needed: pip install 'minibert-torch[datasets]'."
        ) from error
    try:
        found = library.load_dataset(known.repository, known.configuration)
    except Exception as error:  # the library and the HTTP clients below it share no base class for their errors
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise InputError(
            f"{name} could not be fetched from huggingface.co/datasets/{known.repository}: {reason.rstrip('.')}. "
            "Without a network, give files of your own with --train and --dev."
        ) from error
    parts = {"train": found["train"], "dev": known.dev and found[known.dev], "test": known.test and found[known.test]}
    rows = {part: _converted(known, split) for part, split in parts.items() if split is not None}
    if "dev" not in rows:
        rows["dev"] = rows["train"][::DEV_EVERY]
        del rows["train"][::DEV_EVERY]
    return rows


def _converted(known: PublicSet, split: Any) -> list[dict[str, Any]]:
    # A column of numbers that stand for names says so itself, also if it holds a list of them in each row.
    kinds = {column: getattr(kind, "feature", kind) for column, kind in split.features.items()}
    names = {column: kind.names for column, kind in kinds.items() if hasattr(kind, "names")}
    rows = [known.convert(row, names) for row in split]
    labelled = [row for row in rows if "label" in row]
    return labelled or rows  # no row of a secret test part has one, nor do those of tasks with another kind of truth


def _as_squad(rows: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """The questions of one article, and of one paragraph, together, as in SQuAD's own files."""
    articles: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for row in rows:
        given = row["answers"]
        answers = [
            {"text": text, "answer_start": start}
            for text, start in zip(given["text"], given["answer_start"], strict=True)
        ]
        question = {"id": row["id"], "question": row["question"], "answers": answers, "is_impossible": not answers}
        articles.setdefault(row["title"], {}).setdefault(row["context"], []).append(question)
    return {
        "data": [
            {"title": title, "paragraphs": [{"context": context, "qas": qas} for context, qas in paragraphs.items()]}
            for title, paragraphs in articles.items()
        ]
    }
