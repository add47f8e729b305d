from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

from minibert.checkpoints.catalog import CATALOG, GOOGLE_SHA256, HUB_SHA256, find, suggest


def test_every_name_finds_its_own_model_and_no_other():
    for entry in CATALOG:
        for name in entry.names:
            assert find(name) is entry
            assert find(name.upper()) is entry


def test_an_unknown_name_finds_nothing():
    assert find("gpt2") is None
    assert find("") is None


def test_the_24_miniatures_are_there_and_four_have_names():
    miniatures = [entry for entry in CATALOG if entry.repo_id.startswith("google/bert_uncased")]
    assert len({(entry.num_hidden_layers, entry.hidden_size) for entry in miniatures}) == len(miniatures) == 24
    tiny = find("bert-tiny")
    assert tiny is not None
    assert tiny.repo_id == "google/bert_uncased_L-2_H-128_A-2"
    assert tiny.google_zip == "https://storage.googleapis.com/bert_models/2020_02_20/uncased_L-2_H-128_A-2.zip"


def test_sizes_agree_with_those_in_googles_file_names():
    for entry in CATALOG:
        if entry.google_release is not None:
            size = re.search(r"L-(\d+)_H-(\d+)_A-(\d+)$", entry.google_release)
            assert size is not None
            layers, hidden, heads = map(int, size.groups())
            assert (entry.num_hidden_layers, entry.hidden_size) == (layers, hidden)
            assert heads * 64 == hidden


# Elements in the safetensors files on the hub, as counted in github.com/huggingface/safetensors, temp.md (2023). The
# files hold the heads of pretraining too.
@pytest.mark.parametrize(
    ("name", "elements"),
    [
        ("bert-base-uncased", 110_106_428),
        ("bert-base-cased", 108_932_934),
        ("bert-large-uncased", 336_226_108),
        ("bert-large-cased", 334_661_958),
        ("bert-base-chinese", 102_882_442),
        ("bert-base-multilingual-uncased", 168_055_961),
        ("bert-base-multilingual-cased", 178_566_653),
        ("bert-large-uncased-whole-word-masking", 336_226_108),
    ],
)
def test_parameters_agree_with_the_published_files(name, elements):
    entry = find(name)
    assert entry is not None
    hidden = entry.hidden_size
    masked_words = hidden * hidden + hidden + 2 * hidden + entry.vocab_size  # transform, LayerNorm, bias of the words
    next_sentence = 2 * hidden + 2
    assert entry.parameters + masked_words + next_sentence == elements


def test_minilm_has_the_published_number_of_parameters():
    entry = find("sentence-transformers/all-MiniLM-L6-v2")
    assert entry is not None
    assert entry.parameters == 22_713_216
    assert entry.google_zip is None


@pytest.mark.parametrize("table", [GOOGLE_SHA256, HUB_SHA256])
def test_checksums_belong_to_known_models_and_have_the_form_of_sha256(table):
    names = {entry.name for entry in CATALOG}
    assert set(table) <= names
    for files in table.values():
        for checksum in files.values():
            assert re.fullmatch("[0-9a-f]{64}", checksum)


@pytest.mark.parametrize(
    ("file", "model"), [("vocab.txt", "bert-base-uncased"), ("vocab_cased.txt", "bert-large-cased")]
)
def test_checksum_of_the_vocabulary_is_that_of_the_real_file(shared_dir, file, model):
    vocabulary = (shared_dir / "golden" / "wordpiece" / file).read_bytes()
    assert GOOGLE_SHA256[model]["vocab.txt"] == hashlib.sha256(vocabulary).hexdigest()


def test_a_misspelt_name_is_answered_with_the_nearest_ones():
    assert suggest("bert-bse-uncased")[0] == "bert-base-uncased"
    assert suggest("google/bert-base-uncased")[0] == "bert-base-uncased"
    assert suggest("google/bert_uncased_L-2_H128_A-2")[0] == "bert-tiny"
    assert suggest("BERT-Larg-Cased")[0] == "bert-large-cased"
    assert suggest("zzz") == []


def test_reading_the_catalog_does_not_load_torch():
    code = "import sys, minibert.checkpoints.catalog; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).resolve().parents[1])
