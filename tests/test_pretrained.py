"""Weights in and out of Hugging Face's folders, and what is said when they do not fit."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

import minibert
from minibert import InputError
from minibert.checkpoints import tensorflow
from minibert.checkpoints.convert import convert
from minibert.checkpoints.locate import locate, shipped_models
from minibert.checkpoints.names import ROWS, names_of
from minibert.config import DONE_OTHERWISE, SET_ELSEWHERE

from .helpers import PEERS, SMALL, make_batch, make_model, make_peer
from .test_against_transformers import batch_for

HEADS = [name for name in PEERS if name != "BertModel"]


def same_state(left: torch.nn.Module, right: torch.nn.Module) -> bool:
    ours, theirs = left.state_dict(), right.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def logits_of(model, batch):
    with torch.no_grad():
        output = model(**batch)
    names = ("logits", "prediction_logits", "seq_relationship_logits", "start_logits", "last_hidden_state")
    real = batch["attention_mask"].bool()
    found = [output[name] for name in names if hasattr(output, name)]
    return [part[real] if part.shape[: real.dim()] == real.shape else part for part in found]


@pytest.mark.parametrize("name", PEERS)
def test_transformers_opens_what_is_saved_without_a_word(name: str, tmp_path: Path, caplog):
    model = make_model(name)
    model.save_pretrained(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "model.safetensors"]
    transformers.utils.logging.enable_propagation()
    with caplog.at_level(logging.INFO, logger="transformers"):
        peer, info = getattr(transformers, PEERS[name]).from_pretrained(tmp_path, output_loading_info=True)
    transformers.utils.logging.disable_propagation()
    assert not any(info.values()), info
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    if name != "BertForExtractiveSummarization":  # the same scores, read elsewhere
        batch = batch_for(name)
        for ours, theirs in zip(logits_of(model, batch), logits_of(peer.eval(), batch), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", PEERS)
@pytest.mark.parametrize("shard_size", ["50GB", "10KB"])
def test_what_transformers_saved_opens_without_a_word(name: str, shard_size: str, tmp_path: Path, caplog):
    model = make_model(name)
    make_peer(model).save_pretrained(tmp_path, max_shard_size=shard_size)
    assert (tmp_path / "model.safetensors.index.json").exists() == (shard_size == "10KB")
    loaded = getattr(minibert, name).from_pretrained(tmp_path)
    assert same_state(model, loaded)
    assert not loaded.training
    assert not caplog.records


@pytest.mark.parametrize("name", PEERS)
def test_what_is_saved_opens_again(name: str, tmp_path: Path):
    model = make_model(name)
    model.save_pretrained(tmp_path)
    loaded = getattr(minibert, name).from_pretrained(tmp_path)
    assert same_state(model, loaded)
    assert loaded.config == model.config


def test_pickled_weights_open_whole_and_in_parts(tmp_path: Path):
    model = make_model("BertForPreTraining")
    tensors = make_peer(model).state_dict()
    config = {"model_type": "bert", **model.config.to_dict()}
    for folder in ("new", "old", "parts"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "config.json").write_text(json.dumps(config))
    torch.save(tensors, tmp_path / "new" / "pytorch_model.bin")
    torch.save(tensors, tmp_path / "old" / "pytorch_model.bin", _use_new_zipfile_serialization=False)
    names = list(tensors)
    parts = {"pytorch_model-1.bin": names[::2], "pytorch_model-2.bin": names[1::2]}
    for file, chosen in parts.items():
        torch.save({name: tensors[name] for name in chosen}, tmp_path / "parts" / file)
    index = {"weight_map": {name: file for file, chosen in parts.items() for name in chosen}}
    (tmp_path / "parts" / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    for folder in ("new", "old", "parts"):
        assert same_state(model, minibert.BertForPreTraining.from_pretrained(tmp_path / folder)), folder


def test_a_pickle_that_runs_code_is_refused(tmp_path: Path):
    class Trap:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "sprung",))

    (tmp_path / "config.json").write_text("{}")
    torch.save({"bert.pooler.dense.bias": Trap()}, tmp_path / "pytorch_model.bin")
    with pytest.raises(InputError, match="no readable weight file"):
        minibert.BertModel.from_pretrained(tmp_path)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    "contents",
    [
        {0: torch.ones(2)},
        {"a": "text"},
        {"a": torch.ones(2).to_sparse()},
        {"a": torch.ones(2, device="meta")},
        [torch.ones(2)],
    ],
    ids=["numbered", "a text", "sparse", "a shape alone", "a list"],
)
def test_a_pickle_of_something_else_gets_a_sentence(contents: object, tmp_path: Path):
    (tmp_path / "config.json").write_text("{}")
    torch.save(contents, tmp_path / "pytorch_model.bin")
    with pytest.raises(InputError, match="it holds something else than named tensors"):
        minibert.BertModel.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    "content", [b"", b"no pickle", b"\x80\x02h\xc5.", b"\x80\x02", b"\x80\x02cbuiltins\nlen\n."], ids=range(5)
)
def test_a_damaged_pickle_gets_a_sentence(content: bytes, tmp_path: Path):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "pytorch_model.bin").write_bytes(content)
    with pytest.raises(InputError, match=r"pytorch_model\.bin is no readable weight file"):
        minibert.BertModel.from_pretrained(tmp_path)


def test_names_of_2018_open(tmp_path: Path):
    model = make_model("BertForPreTraining")
    model.save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    old = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): tensor
        for name, tensor in tensors.items()
    }
    old["cls.predictions.decoder.weight"] = tensors["bert.embeddings.word_embeddings.weight"].clone()
    old["bert.embeddings.position_ids"] = torch.arange(SMALL.max_position_embeddings).unsqueeze(0)
    save_file(old, tmp_path / "model.safetensors")
    assert same_state(model, minibert.BertForPreTraining.from_pretrained(tmp_path))


def test_an_encoder_opens_with_and_without_its_prefix(tmp_path: Path):
    encoder = make_model("BertModel")
    encoder.save_pretrained(tmp_path)
    assert not any(name.startswith("bert.") for name in load_file(tmp_path / "model.safetensors"))
    task = minibert.BertForSequenceClassification.from_pretrained(tmp_path)
    assert same_state(encoder, task.bert)
    task.save_pretrained(tmp_path)
    assert same_state(encoder, minibert.BertModel.from_pretrained(tmp_path))


def test_a_new_head_says_so_in_one_friendly_line(tmp_path: Path, caplog):
    make_model("BertForMaskedLM").save_pretrained(tmp_path)
    task = minibert.BertForSequenceClassification.from_pretrained(tmp_path, num_labels=3)
    assert [record.getMessage() for record in caplog.records] == [
        f"{tmp_path} has no bert.pooler.dense.weight, bert.pooler.dense.bias, classifier.weight, classifier.bias "
        "that fits BertForSequenceClassification: new, and still to be trained."
    ]
    assert task.classifier.weight.shape == (3, SMALL.hidden_size)
    assert 0 < task.classifier.weight.abs().max() <= 0.04
    assert not task.classifier.bias.any()


def test_a_model_is_on_the_default_device_with_old_and_new_weights(tmp_path: Path):
    make_model("BertModel").save_pretrained(tmp_path)
    with torch.device("meta"):
        model = minibert.BertForSequenceClassification.from_pretrained(tmp_path)
    assert {parameter.device.type for parameter in model.parameters()} == {"meta"}


def test_another_number_of_labels_means_another_head(tmp_path: Path, caplog):
    make_model("BertForSequenceClassification").save_pretrained(tmp_path)
    task = minibert.BertForSequenceClassification.from_pretrained(tmp_path, num_labels=2)
    assert task.classifier.out_features == 2
    assert "has no classifier.weight, classifier.bias" in caplog.text


def test_a_config_of_googles_is_that_of_its_model(google_dir: Path):
    assert minibert.BertConfig.from_pretrained(google_dir).hidden_act == "gelu_new"


@pytest.mark.parametrize("name", ["a" * 300, "a" * 300 + "/b", "x\0y/z"])
def test_a_name_that_no_file_can_have_gets_a_sentence(name: str):
    with pytest.raises(InputError):
        minibert.BertConfig.from_pretrained(name)


def test_of_googles_files_the_config_is_read_without_the_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    make_model("BertForPreTraining").save_pretrained(tmp_path / "ours")
    convert(tmp_path / "ours", tmp_path / "google", "google")
    stream = Mock(wraps=tensorflow.TensorFlowCheckpoint.stream)
    monkeypatch.setattr(tensorflow.TensorFlowCheckpoint, "stream", lambda *given: stream(*given))
    assert minibert.BertConfig.from_pretrained(tmp_path / "google").hidden_size == SMALL.hidden_size
    stream.assert_not_called()
    minibert.BertForPreTraining.from_pretrained(tmp_path / "google")
    stream.assert_called_once()  # front to back, as a zip is best read


def test_a_config_is_read_alone_and_given_to_the_model_as_in_transformers(tmp_path: Path):
    saved = make_model("BertForSequenceClassification")
    saved.save_pretrained(tmp_path)
    assert minibert.BertConfig.from_pretrained(tmp_path) == saved.config
    config = minibert.BertConfig.from_pretrained(tmp_path, num_labels=7, hidden_dropout_prob=0.3)
    model = minibert.BertForSequenceClassification.from_pretrained(tmp_path, config=config)
    assert (model.config, model.classifier.out_features) == (config, 7)
    words = model.bert.embeddings.word_embeddings.weight
    assert torch.equal(words, saved.bert.embeddings.word_embeddings.weight)
    with pytest.raises(minibert.InputError, match="nearest known one is 'hidden_size'"):
        minibert.BertConfig.from_pretrained(tmp_path, hiden_size=8)
    with pytest.raises(minibert.InputError, match="embeddings"):
        minibert.BertModel.from_pretrained(tmp_path, config=config.replace(hidden_size=40))


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("BertForSequenceClassification", "BertForMultipleChoice"),
        ("BertForSequenceClassification", "BertForExtractiveSummarization"),
        ("BertForMultipleChoice", "BertForTokenClassification"),
    ],
)
def test_the_head_of_another_task_is_made_anew_and_the_encoder_kept(source: str, target: str, tmp_path: Path, caplog):
    saved = make_model(source)
    saved.save_pretrained(tmp_path)
    model = getattr(minibert, target).from_pretrained(tmp_path)
    assert torch.equal(model.bert.blocks[0].attention.output.weight, saved.bert.blocks[0].attention.output.weight)
    assert model.new_weights[-2:] == ["classifier.weight", "classifier.bias"]
    assert [record.getMessage() for record in caplog.records] == [
        f"{tmp_path} has no {', '.join(model.new_weights)} that fits {target}: new, and still to be trained."
    ]


def test_half_precision_files_are_read_as_float32(tmp_path: Path):
    model = make_model("BertModel").half()
    model.save_pretrained(tmp_path)
    loaded = minibert.BertModel.from_pretrained(tmp_path)
    assert {parameter.dtype for parameter in loaded.parameters()} == {torch.float32}
    assert torch.equal(loaded.embeddings.word_embeddings.weight, model.embeddings.word_embeddings.weight.float())
    doubled = minibert.BertModel.from_pretrained(tmp_path, dtype=torch.float64)
    assert {parameter.dtype for parameter in doubled.parameters()} == {torch.float64}


def test_the_first_blocks_of_a_model_can_be_taken(tmp_path: Path):
    model = make_model("BertModel")
    model.save_pretrained(tmp_path)
    shorter = minibert.BertModel.from_pretrained(tmp_path, num_hidden_layers=2)
    assert len(shorter.blocks) == 2
    assert same_state(model.blocks[1], shorter.blocks[1])


def test_training_a_loaded_model_leaves_the_file_alone(tmp_path: Path):
    make_model("BertModel").save_pretrained(tmp_path)
    before = (tmp_path / "model.safetensors").read_bytes()
    loaded = minibert.BertModel.from_pretrained(tmp_path)
    with torch.no_grad():
        for parameter in loaded.parameters():
            parameter.add_(1)
    assert (tmp_path / "model.safetensors").read_bytes() == before


def break_tensors(change):
    def change_file(folder: Path) -> None:
        tensors = load_file(folder / "model.safetensors")
        change(tensors)
        save_file(tensors, folder / "model.safetensors")

    return change_file


def break_config(**changes):
    def change_file(folder: Path) -> None:
        values = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(values | changes))

    return change_file


QUERY = "bert.encoder.layer.0.attention.self.query.weight"
WRONG_FOLDERS = {
    "a missing tensor": (
        break_tensors(lambda tensors: tensors.pop("bert.encoder.layer.1.output.dense.bias")),
        r"blocks\.1\.feed_forward\.output\.bias is missing",
    ),
    "another shape": (
        break_tensors(lambda tensors: tensors.update({"bert.embeddings.LayerNorm.bias": torch.zeros(3)})),
        r"embeddings\.layer_norm\.bias is \(3,\), not \(20,\)",
    ),
    "parts of different shapes": (
        break_tensors(lambda tensors: tensors.update({QUERY: torch.tensor(0.0)})),
        r"self\.query\.weight is \(\), .*self\.key\.weight is \(20, 20\), .*they must be alike",
    ),
    "whole numbers": (
        break_tensors(lambda tensors: tensors.update({QUERY: tensors[QUERY].to(torch.int8)})),
        r"self\.query\.weight is stored as int8: only plain",
    ),
    "numbers of 8 bits": (
        break_tensors(lambda tensors: tensors.update({QUERY: tensors[QUERY].to(torch.float8_e4m3fn)})),
        r"self\.query\.weight is stored as float8_e4m3fn: only plain",
    ),
    "more layers than the config says": (break_config(num_hidden_layers=2), "but the config has only 2 layers"),
    "fewer layers than the config says": (break_config(num_hidden_layers=4), "is missing; .*; and 7 more"),
    "another vocabulary": (break_config(vocab_size=62), r"word_embeddings\.weight is \(61, 20\), not \(62, 20\)"),
    "another head": (break_config(num_labels=3, id2label=None), r"classifier\.weight is \(7, 20\), not \(3, 20\)"),
    "a damaged file": (
        lambda folder: (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:5000]),
        r"model\.safetensors is no readable weight file",
    ),
    "an empty file": (lambda folder: (folder / "model.safetensors").write_bytes(b""), "no readable weight file"),
    "no weights": (lambda folder: (folder / "model.safetensors").unlink(), r"has no weights .*It holds config\.json"),
    "a TensorFlow checkpoint": (
        lambda folder: (folder / "model.safetensors").rename(folder / "bert_model.ckpt.index"),
        r"For a TensorFlow checkpoint, rename config\.json to bert_config\.json",
    ),
    "no config": (lambda folder: (folder / "config.json").unlink(), r"has weights, but no config\.json"),
    "a broken config": (lambda folder: (folder / "config.json").write_text("{"), "no readable JSON"),
    "an index without its shard": (
        lambda folder: (
            (folder / "model.safetensors").unlink(),
            (folder / "model.safetensors.index.json").write_text('{"weight_map": {"x": "model-1.safetensors"}}'),
        ),
        r"says that 'x' is in model-1\.safetensors, but there is no such file",
    ),
    "a wrapper's names": (
        break_tensors(lambda tensors: [tensors.update({f"module.{key}": tensors.pop(key)}) for key in [*tensors]]),
        r"All its names begin with 'module\.': was a wrapper saved",
    ),
    "an adapter within": (
        break_tensors(lambda tensors: tensors.update({"bert.encoder.layer.0.adapters.up.weight": torch.ones(2)})),
        r"layer\.0\.adapters\.up\.weight is there, but BERT has none",
    ),
    "an untied output matrix": (
        break_tensors(lambda tensors: tensors.update({"cls.predictions.decoder.weight": torch.zeros(61, 20)})),
        "differs from the word embeddings",
    ),
    "a tensor twice": (
        break_tensors(lambda tensors: tensors.update({"bert.embeddings.LayerNorm.beta": torch.zeros(20)})),
        "are the same tensor twice",
    ),
    "an empty folder": (
        lambda folder: [path.unlink() for path in folder.iterdir()],
        "holds no TensorFlow checkpoint; it holds nothing",
    ),
    "a run of several tasks": (
        lambda folder: (
            [(folder / "tasks/ner").mkdir(parents=True)]
            + [path.rename(folder / "tasks/ner" / path.name) for path in folder.glob("*.*")]
        ),
        r"it holds nothing\. There are models further down: .*ner\.$",
    ),
}


@pytest.mark.parametrize("case", WRONG_FOLDERS)
def test_a_wrong_folder_gets_a_sentence(case: str, tmp_path: Path):
    change, sentence = WRONG_FOLDERS[case]
    make_model("BertForSequenceClassification").save_pretrained(tmp_path)
    change(tmp_path)
    with pytest.raises(InputError, match=sentence) as caught:
        minibert.BertForSequenceClassification.from_pretrained(tmp_path)
    assert str(tmp_path) in str(caught.value)


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may read all")
def test_weights_that_may_not_be_read_are_not_called_missing(tmp_path: Path):
    make_model("BertModel").save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").chmod(0)
    with pytest.raises(InputError, match=r"model\.safetensors is no readable weight file: .*Permission denied"):
        minibert.BertModel.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    "name", ["bert-base-uncasd", "/no/such/folder", "./missing", "~no-such-user/x/y", "no such model"]
)
def test_an_unknown_name_gets_a_sentence(name: str):
    with pytest.raises(InputError, match="is neither a file or folder here nor a known model") as caught:
        minibert.BertModel.from_pretrained(name)
    if name == "bert-base-uncasd":
        assert "Did you mean bert-base-uncased" in str(caught.value)


@pytest.mark.skipif(os.name == "nt", reason="Windows lets few make links")
@pytest.mark.parametrize("mode", [0o700, 0o300], ids=["readable", "unreadable"])
def test_a_known_name_is_known_wherever_one_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int):
    (tmp_path / "itself").symlink_to("itself")
    monkeypatch.chdir(tmp_path)
    tmp_path.chmod(mode)
    try:
        assert locate("minibert-tiny-uncased") == shipped_models()["minibert-tiny-uncased"]
    finally:
        tmp_path.chmod(0o700)


def test_a_wrong_override_names_the_nearest_key(tmp_path: Path):
    make_model("BertModel").save_pretrained(tmp_path)
    with pytest.raises(InputError, match="'num_label' is no known key"):
        minibert.BertModel.from_pretrained(tmp_path, num_label=3)


def test_an_encoder_without_pooler_is_loaded_as_by_transformers(tmp_path: Path):
    make_model("BertModel").save_pretrained(tmp_path)
    ours = minibert.BertModel.from_pretrained(tmp_path, add_pooling_layer=False, hidden_dropout_prob=0.2)
    theirs = transformers.BertModel.from_pretrained(tmp_path, add_pooling_layer=False)
    batch = make_batch()
    output = ours(**batch)
    assert (ours.pooler, output.pooler_output, ours.config.hidden_dropout_prob) == (None, None, 0.2)
    assert not ours.new_weights
    real = batch["attention_mask"].bool()
    torch.testing.assert_close(
        output.last_hidden_state[real], theirs(**batch).last_hidden_state[real], rtol=0, atol=1e-5
    )


class WithAnotherLayer(minibert.BertForSequenceClassification):
    def __init__(self, config: minibert.BertConfig, attn_implementation: str = "auto") -> None:
        super().__init__(config, attn_implementation)
        self.another = torch.nn.Linear(config.hidden_size, config.hidden_size)


def test_a_head_of_ones_own_whose_names_are_in_no_table_gets_a_sentence(tmp_path: Path):
    with pytest.raises(InputError, match=r"^another\.weight has no name in files: give it a row in .*names\.py"):
        WithAnotherLayer(SMALL).save_pretrained(tmp_path / "new")
    assert not (tmp_path / "new").exists()
    make_model("BertModel").save_pretrained(tmp_path)
    with pytest.raises(InputError, match=r": another\.weight has no name in files"):
        WithAnotherLayer.from_pretrained(tmp_path)


def test_an_override_that_would_change_nothing_is_refused(tmp_path: Path):
    make_model("BertModel").save_pretrained(tmp_path)
    for override in (dict.fromkeys(SET_ELSEWHERE | DONE_OTHERWISE, False), {"torch_dtype": None, "return_dict": True}):
        minibert.BertModel.from_pretrained(tmp_path, **override)
    with pytest.raises(InputError, match="does not set 'gradient_checkpointing' here: TrainingArguments takes it"):
        minibert.BertModel.from_pretrained(tmp_path, gradient_checkpointing=True)
    with pytest.raises(InputError, match="does not set 'token' here: set the environment variable HF_TOKEN"):
        minibert.BertModel.from_pretrained(tmp_path, token="secret")
    with pytest.raises(InputError, match=r"dtype must be one of torch's.*: found 'auto'"):
        minibert.BertModel.from_pretrained(tmp_path, dtype="auto")  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"dtype must be one of torch's for weights.*: found torch\.int8"):
        minibert.BertModel.from_pretrained(tmp_path, dtype=torch.int8)


@pytest.mark.parametrize("architectures", [5, [5], "BertModel", [], None])
def test_a_config_with_odd_architectures_opens_like_one_without(architectures: object, tmp_path: Path):
    model = make_model("BertModel")
    model.save_pretrained(tmp_path)
    break_config(architectures=architectures)(tmp_path)
    assert same_state(model, minibert.BertModel.from_pretrained(tmp_path))


def test_the_name_table_gives_every_name_once_and_covers_every_head():
    models = [getattr(minibert, name)(SMALL) for name in HEADS]
    used = {row for row in ROWS for model in models for name in model.state_dict() if row == starred(name)}
    assert used == set(ROWS)
    rows = [row for own in ROWS for row in names_of(own)]
    for column in ("hugging_face", "google"):
        names = [getattr(row, column) for row in rows]
        assert len(set(names)) == len(names)


def starred(name: str) -> str:
    return ".".join("*" if part.isdecimal() else part for part in name.split("."))


def test_a_trained_model_gives_transformers_numbers_on_real_sentences(minilm_dir: Path, shared_dir: Path):
    lines = (shared_dir / "data" / "sst2" / "dev.tsv").read_text(encoding="utf-8").splitlines()[1:201]
    sentences = [line.split("\t")[1] for line in lines]
    tokenizer = minibert.BertTokenizer.from_pretrained(minilm_dir)
    batch = tokenizer(sentences, padding=True, return_tensors="pt")
    theirs = transformers.AutoTokenizer.from_pretrained(minilm_dir)(sentences, padding=True, return_tensors="pt")
    assert len(sentences) == 200
    assert torch.equal(batch["input_ids"], theirs["input_ids"])
    real = batch["attention_mask"].bool()
    with torch.no_grad():
        ours = minibert.BertModel.from_pretrained(minilm_dir)(**batch)
        theirs = transformers.BertModel.from_pretrained(minilm_dir)(**theirs)
    torch.testing.assert_close(ours.last_hidden_state[real], theirs.last_hidden_state[real], rtol=0, atol=1e-5)
    torch.testing.assert_close(ours.pooler_output, theirs.pooler_output, rtol=0, atol=1e-5)


def test_make_batch_is_what_the_other_tests_think_it_is():
    batch = make_batch(empty_row=True)
    assert batch["attention_mask"].sum(1).tolist() == [16, 8, 11, 1, 0]
