"""Public data sets by name. What the hub would give is made up: by a stand-in for the `datasets` library, and, where
that is installed, in folders that look like the hub's, which the library itself reads."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import huggingface_hub
import pytest

from minibert import InputError
from minibert.data.public import PUBLIC, fetch
from minibert.tasks import TASKS

from .test_commands import CommandError, call, one_line


class Split(list[dict[str, Any]]):
    """Rows, and what kind each column is of, as the library gives them."""

    def __init__(self, rows: list[dict[str, Any]], **names: Any) -> None:
        super().__init__(rows)
        self.features = {column: SimpleNamespace() for row in rows for column in row} | names


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Installs a `datasets` whose `load_dataset` returns `library.parts`, and counts its calls; an empty cache."""
    module: Any = ModuleType("datasets")
    module.calls, module.parts = [], {}

    def load_dataset(*arguments: Any) -> Any:
        module.calls.append(arguments)
        return module.parts

    module.load_dataset = load_dataset
    monkeypatch.setitem(sys.modules, "datasets", module)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HOME", str(tmp_path / "cache"))
    return module


def read_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def sentiment(*labels: int) -> Split:
    names = SimpleNamespace(names=["negative", "positive"])
    return Split([{"sentence": f"text {i}", "label": label, "idx": i} for i, label in enumerate(labels)], label=names)


def test_texts_come_with_the_names_of_their_labels_and_secret_ones_without(library: Any):
    library.parts = {"train": sentiment(0, 1), "validation": sentiment(1), "test": sentiment(-1, -1)}
    files = fetch("sst2")
    assert library.calls == [("nyu-mll/glue", "sst2")]
    assert read_lines(files["train"])[1] == {"text": "text 1", "label": "positive"}
    assert read_lines(files["dev"]) == [{"text": "text 0", "label": "positive"}]
    assert read_lines(files["test"]) == [{"text": "text 0"}, {"text": "text 1"}]


def test_what_was_fetched_once_is_not_fetched_again(library: Any):
    library.parts = {"train": sentiment(0, 1), "validation": sentiment(1), "test": sentiment(-1)}
    assert fetch("sst2") == fetch("sst2")
    assert len(library.calls) == 1


def test_rows_on_which_the_annotators_did_not_agree_are_left_out(library: Any):
    names = SimpleNamespace(names=["entailment", "neutral", "contradiction"])
    rows = [{"premise": "a", "hypothesis": "b", "label": label} for label in (2, -1, 0)]
    library.parts = dict.fromkeys(("train", "validation", "test"), Split(rows, label=names))
    for path in fetch("snli").values():
        assert [row["label"] for row in read_lines(path)] == ["contradiction", "entailment"]
        assert read_lines(path)[0]["text_b"] == "b"


def test_scores_stay_numbers(library: Any):
    rows = Split([{"sentence1": "a", "sentence2": "b", "label": 3.8}])
    library.parts = dict.fromkeys(("train", "validation", "test"), rows)
    assert read_lines(fetch("stsb")["train"]) == [{"text": "a", "text_b": "b", "label": 3.8}]


def test_a_set_without_a_dev_part_gives_every_tenth_row_for_it(library: Any):
    names = SimpleNamespace(names=["neg", "pos"])
    train = Split([{"text": str(i), "label": i // 10} for i in range(20)], label=names)
    library.parts = {"train": train, "test": train}
    files = fetch("imdb")
    assert [row["text"] for row in read_lines(files["dev"])] == ["0", "10"]
    assert len(read_lines(files["train"])) == 18
    assert {row["text"] for row in read_lines(files["train"])}.isdisjoint({"0", "10"})


def test_tagged_words(library: Any):
    kind = SimpleNamespace(feature=SimpleNamespace(names=["O", "B-PER"]))  # of a list of class labels
    rows = Split([{"id": "0", "tokens": ["Ada", "runs"], "ner_tags": [1, 0], "pos_tags": [3, 4]}], ner_tags=kind)
    library.parts = dict.fromkeys(("train", "validation", "test"), rows)
    assert read_lines(fetch("conll2003")["test"]) == [{"tokens": ["Ada", "runs"], "tags": ["B-PER", "O"]}]


def test_choices(library: Any):
    row = {"sent1": "She sits.", "sent2": "She", **{f"ending{i}": f"does {i}." for i in range(4)}, "label": 2}
    library.parts = {"train": Split([row]), "validation": Split([row]), "test": Split([row | {"label": -1}])}
    files = fetch("swag")
    found = read_lines(files["dev"])[0]
    assert found == {"question": "She sits.", "choices": [f"She does {i}." for i in range(4)], "label": 2}
    assert "label" not in read_lines(files["test"])[0]


def test_questions_become_squads_own_layout(library: Any):
    def question(number: int, title: str, context: str, *answers: str) -> dict[str, Any]:
        found = {"text": list(answers), "answer_start": [context.index(answer) for answer in answers]}
        return {"id": str(number), "title": title, "context": context, "question": f"{number}?", "answers": found}

    rows = [
        question(1, "Sea", "It is blue.", "blue"),
        question(2, "Sea", "It is blue."),
        question(3, "Sky", "Up.", "Up"),
    ]
    library.parts = {"train": Split(rows), "validation": Split(rows)}
    files = fetch("squad_v2")
    assert set(files) == {"train", "dev"}
    sea, sky = json.loads(files["dev"].read_text())["data"]
    assert (sea["title"], len(sea["paragraphs"]), sky["paragraphs"][0]["context"]) == ("Sea", 1, "Up.")
    first, second = sea["paragraphs"][0]["qas"]
    assert first["answers"] == [{"text": "blue", "answer_start": 6}]
    assert (first["is_impossible"], second["is_impossible"]) == (False, True)


def test_the_library_itself_reads_the_layouts_of_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    datasets = pytest.importorskip("datasets", reason="needs the extra: pip install -e '.[datasets]'")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "library")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.chdir(tmp_path)  # a folder of a set's name goes before the set on the hub
    text, words = datasets.Value("string"), datasets.Sequence(datasets.Value("string"))

    def put(repository: str, configuration: str, row: dict[str, Any], **features: Any) -> None:
        folder = tmp_path / repository / configuration
        folder.mkdir(parents=True)
        table = datasets.Dataset.from_list([row], features=datasets.Features(features))
        files = ""
        for part in ("train", "validation", "test"):
            table.to_parquet(folder / f"{part}-00000-of-00001.parquet")
            files += f"  - split: {part}\n    path: {configuration}/{part}-*\n"
        (folder.parent / "README.md").write_text(
            f"---\nconfigs:\n- config_name: {configuration}\n  data_files:\n{files}---\n"
        )

    kind = datasets.ClassLabel(names=["negative", "positive"])
    put("nyu-mll/glue", "sst2", {"sentence": "so good", "label": 1}, sentence=text, label=kind)
    tags = datasets.Sequence(datasets.ClassLabel(names=["O", "B-PER"]))
    put("lhoestq/conll2003", "default", {"tokens": ["Ada", "ran"], "ner_tags": [1, 0]}, tokens=words, ner_tags=tags)
    question = {"id": "1", "title": "Sea", "context": "It is blue.", "question": "How?"}
    answers = {"text": ["blue"], "answer_start": [6]}
    kinds = {"text": words, "answer_start": datasets.Sequence(datasets.Value("int32"))}
    put("rajpurkar/squad", "default", {**question, "answers": answers}, **dict.fromkeys(question, text), answers=kinds)

    assert read_lines(fetch("sst2")["dev"]) == [{"text": "so good", "label": "positive"}]
    assert read_lines(fetch("conll2003")["test"]) == [{"tokens": ["Ada", "ran"], "tags": ["B-PER", "O"]}]
    (article,) = json.loads(fetch("squad")["train"].read_text())["data"]
    assert article["paragraphs"][0]["qas"][0]["answers"] == [{"text": "blue", "answer_start": 6}]
    with pytest.raises(InputError, match=r"snli: .*OfflineMode.* Without a network, give files of your own"):
        fetch("snli")


def test_without_the_library_it_says_how_to_get_it(library: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(InputError, match=r"pip install 'minibert-torch\[datasets\]'"):
        fetch("sst2")


def test_without_a_network_it_says_what_to_do_and_leaves_nothing(library: Any, tmp_path: Path):
    def offline(*_: Any) -> Any:
        raise ConnectionError("Couldn't reach the hub.\nA long story.")

    library.load_dataset = offline
    with pytest.raises(InputError, match=r"nyu-mll/glue: Couldn't reach the hub\. Without a network, give files"):
        fetch("sst2")
    assert not (tmp_path / "cache" / "minibert" / "sst2").exists()


def test_finetune_takes_files_and_task_from_the_set(library: Any, small_model: Path, tmp_path: Path):
    rows = [{"sentence1": "a good film", "sentence2": "fun", "label": score} for score in (0.0, 2.5, 5.0, 1.0)]
    library.parts = {"train": Split(rows), "validation": Split(rows), "test": Split([rows[0] | {"label": -1.0}])}
    out = tmp_path / "out"
    call("finetune", "--dataset", "stsb", "--model", small_model, "--out", out, "--epochs", 1)
    assert json.loads((out / "metrics.json").read_text())["task"] == "regression"
    lines = read_lines(out / "predictions.jsonl")
    assert [line["split"] for line in lines] == ["dev"] * 4 + ["test"]


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--dataset", "sst2", "--dev", "dev.tsv"], "--dataset brings files of its own"),
        (["--dataset", "sst9"], "invalid choice: 'sst9'"),
    ],
)
def test_wrong_flags_get_one_line(flags: list[str], sentence: str, library: Any, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(CommandError, match="2"):
        call("finetune", *flags)
    assert sentence in one_line(capsys.readouterr().err)
    assert not library.calls


def test_every_set_is_for_a_task_that_there_is():
    assert {known.task for known in PUBLIC.values()} <= TASKS.keys()
