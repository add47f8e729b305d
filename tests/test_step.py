"""`python -m minibert.step`: what it shows is what the model computes."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from minibert import BertForMaskedLM, BertTokenizer, step
from minibert.commandline import run

from .helpers import SMALL, make_model

WORDS = "the cat sat on mat . dog ran".split()
TEXT = "The cat sat on the [MASK]."


@pytest.fixture
def model_dir(tmp_path: Path) -> Path:
    vocab = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    (tmp_path / "vocab.txt").write_text("\n".join(vocab) + "\n", encoding="utf-8")
    BertTokenizer(str(tmp_path / "vocab.txt")).save_pretrained(tmp_path)
    make_model("BertForMaskedLM", SMALL.replace(vocab_size=len(vocab))).save_pretrained(tmp_path)
    return tmp_path


def walk(capsys: pytest.CaptureFixture[str], model: Path, text: str) -> str:
    run(step.build_parser(), step.main, [text, "--model", str(model)])
    return capsys.readouterr().out


def test_shown_are_tokens_with_their_ids_and_places(capsys: pytest.CaptureFixture[str], model_dir: Path):
    out = walk(capsys, model_dir, TEXT)
    tokens = "[CLS] the cat sat on the [MASK] . [SEP]".split()
    ids = BertTokenizer.from_pretrained(model_dir).convert_tokens_to_ids(tokens)
    table = re.findall(r"^  (\S+) +(\d+) +0 +(\d+)$", out, re.MULTILINE)
    assert table == [(token, str(i), str(place)) for place, (token, i) in enumerate(zip(tokens, ids, strict=True))]
    assert "the token [MASK], number 6" in out


def test_shown_numbers_and_answers_are_those_of_the_model(capsys: pytest.CaptureFixture[str], model_dir: Path):
    out = walk(capsys, model_dir, TEXT)
    tokenizer = BertTokenizer.from_pretrained(model_dir)
    with torch.no_grad():
        output = BertForMaskedLM.from_pretrained(model_dir)(
            **tokenizer(TEXT, return_tensors="pt"), output_hidden_states=True
        )
    embedded = output.hidden_states[0][0, 6, :5].tolist()
    assert "  ".join(f"{number:.3f}" for number in embedded) in out
    chances = output.logits[0, 6].softmax(dim=-1)
    best = tokenizer.convert_ids_to_tokens(int(chances.argmax()))
    assert re.search(rf"of token 6, \[MASK\]:\n +{re.escape(best)} +{chances.max():.2%}", out)


def test_each_stage_names_the_code(capsys: pytest.CaptureFixture[str], model_dir: Path):
    out = walk(capsys, model_dir, TEXT)
    assert re.findall(r"^(\d)\. ", out, re.MULTILINE) == ["1", "2", "3", "4", "5", "6"]
    for line in ("scores = query @ key.mT", "wide = self.intermediate", "words = self.word_embeddings"):
        assert line in out


def test_what_is_bent_by_the_activation_is_bent(capsys: pytest.CaptureFixture[str], model_dir: Path):
    out = walk(capsys, model_dir, TEXT)
    wide, bent = (
        torch.tensor([float(number) for number in re.findall(r"-?\d\.\d{3}", numbers)])
        for numbers in re.findall(r"four times as wide\n.*\n(.*)\n.*bent by the activation\n.*\n(.*)", out)[0]
    )
    torch.testing.assert_close(bent, torch.nn.functional.gelu(wide), atol=2e-3, rtol=0)


def test_every_mask_is_answered_and_none_need_be_there(capsys: pytest.CaptureFixture[str], model_dir: Path):
    out = walk(capsys, model_dir, "[MASK] cat [MASK]")
    assert "in place of token 1," in out
    assert "in place of token 3," in out
    assert "Nothing was asked" in walk(capsys, model_dir, "")


@pytest.mark.parametrize(
    ("text", "model", "message"),
    [
        ("cat " * 99, None, "reads 16 at most: take a shorter one"),
        (TEXT, "nowhere", "neither a file or folder here nor a known"),
    ],
)
def test_what_cannot_be_walked_through_is_one_line(
    text: str, model: str | None, message: str, capsys: pytest.CaptureFixture[str], model_dir: Path
):
    with pytest.raises(SystemExit, match="2"):
        walk(capsys, Path(model) if model else model_dir, text)
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert not captured.out


def test_help_is_there_without_torch():
    code = "import sys\nfrom minibert import step\nstep.build_parser().format_help()\nassert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[1])
