"""Lines from other people's notebooks, run with `transformers` and with minibert: the answers are the same."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import transformers
from tokenizers import AddedToken
from torch import Tensor

import minibert
from minibert import BertConfig, InputError

from .helpers import PEERS, SMALL, make_model, spelling_tokenizer

IDS = torch.arange(4, 24).reshape(2, 10)
LIBRARIES = [transformers, minibert]
SHARED = [name for name, peer in PEERS.items() if name == peer]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A saved model, which both libraries open."""
    make_model("BertForPreTraining", SMALL.replace(num_labels=2)).save_pretrained(tmp_path / "bert")
    return tmp_path / "bert"


@pytest.fixture
def words(folder: Path) -> Path:
    """A tokenizer beside the model, which both libraries open."""
    spelling_tokenizer().save_pretrained(folder)
    return folder


def with_equal_heads(model: Any) -> Any:
    """The weights of a new head are drawn at random; here they are these."""
    for name in ("classifier", "qa_outputs"):
        if hasattr(model, name):
            weight = getattr(model, name).weight
            weight.data = torch.linspace(-1, 1, weight.numel()).reshape(weight.shape)
            getattr(model, name).bias.data.fill_(0.1)
    return model


def assert_same(ours: Any, theirs: Any) -> None:
    assert len(ours) == len(theirs)
    for our_part, their_part in zip(ours, theirs, strict=True):
        if isinstance(their_part, Tensor):
            torch.testing.assert_close(our_part, their_part, rtol=1e-4, atol=1e-4)
        else:
            assert_same(our_part, their_part)


@pytest.mark.parametrize("name", SHARED)
def test_a_call_returns_a_plain_tuple_where_it_says_so(name: str, folder: Path):
    ids = IDS.unsqueeze(0) if name == "BertForMultipleChoice" else IDS

    def snippet(library: ModuleType) -> tuple[Any, Any]:
        model = with_equal_heads(getattr(library, name).from_pretrained(folder))
        with torch.no_grad():
            return model(ids, return_dict=False), model(ids, return_dict=True).to_tuple()

    theirs, ours = map(snippet, LIBRARIES)
    assert type(ours[0]) is tuple
    assert_same(ours, theirs)


@pytest.mark.parametrize("name", SHARED)
def test_states_and_attentions_that_the_config_asks_for_come_with_every_call(name: str, folder: Path, tmp_path: Path):
    ids = IDS.unsqueeze(0) if name == "BertForMultipleChoice" else IDS
    asked = {"output_hidden_states": True, "output_attentions": True}

    def snippet(library: ModuleType) -> Any:
        model_class = getattr(library, name)
        model = model_class.from_pretrained(folder, **asked, attn_implementation="eager")
        model.save_pretrained(tmp_path / library.__name__)
        config = library.BertConfig.from_pretrained(folder, **asked)
        with torch.no_grad():
            outputs = [
                model(ids),
                model_class.from_pretrained(folder, config=config, attn_implementation="eager")(ids),
                minibert_or_theirs(library, name, tmp_path)(ids),
            ]
            assert model(ids, output_hidden_states=False, output_attentions=False).hidden_states is None
            assert model(ids, output_attentions=False).attentions is None
        return [(output.hidden_states, output.attentions) for output in outputs]

    theirs, ours = map(snippet, LIBRARIES)
    assert len(ours[0][0]) == SMALL.num_hidden_layers + 1
    assert_same(ours, theirs)


def minibert_or_theirs(library: ModuleType, name: str, tmp_path: Path) -> Any:
    """What one library opens of what the other has saved, or transformers of its own, which comes first."""
    saved = tmp_path / "minibert" if (tmp_path / "minibert").is_dir() else tmp_path / "transformers"
    return getattr(library, name).from_pretrained(saved, attn_implementation="eager")


def test_only_what_was_asked_for_is_in_a_saved_config(tmp_path: Path):
    make_model("BertModel").save_pretrained(tmp_path)
    assert "output" not in (tmp_path / "config.json").read_text(encoding="utf-8")
    make_model("BertModel", SMALL.replace(output_attentions=True)).save_pretrained(tmp_path)
    values = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    assert values["output_attentions"] is True
    assert "output_hidden_states" not in values
    with pytest.raises(InputError, match="output_attentions must be true or false: found 'yes'"):
        SMALL.replace(output_attentions="yes")


def test_a_model_answers_for_its_numbers(folder: Path):
    def snippet(library: ModuleType) -> list[Any]:
        model = library.BertForTokenClassification.from_pretrained(folder, num_labels=3, dtype=torch.bfloat16)
        for parameter in model.base_model.parameters():
            parameter.requires_grad = False
        words = model.get_input_embeddings()
        return [
            model.device, model.dtype, model.num_labels, model.num_parameters(), model.num_parameters(True),
            words is model.bert.embeddings.word_embeddings, library.BertForMaskedLM(model.config).num_parameters(),
        ]  # fmt: skip

    theirs, ours = map(snippet, LIBRARIES)
    assert ours == theirs


def test_blocks_are_frozen_by_their_name_there(folder: Path):
    trained, embeddings = [], []
    for library in LIBRARIES:
        model: Any = library.BertForSequenceClassification.from_pretrained(folder)
        for parameter in model.bert.encoder.layer[:1].parameters():
            parameter.requires_grad = False
        trained.append(model.num_parameters(only_trainable=True))
        for parameter in model.bert.encoder.parameters():
            parameter.requires_grad = False
        embeddings.append(model.num_parameters(only_trainable=True))
    assert len(set(trained)) == len(set(embeddings)) == 1
    assert trained[0] > embeddings[0]
    assert not any("layer." in name for name, _ in model.named_parameters())


@pytest.mark.parametrize("size", [70, 50])
@pytest.mark.parametrize("name", ["BertModel", "BertForMaskedLM", "BertForPreTraining"])
def test_a_model_takes_more_or_fewer_words(name: str, size: int, folder: Path, tmp_path: Path):
    model = getattr(minibert, name).from_pretrained(folder)
    before = model(IDS)[0][..., :50]
    words = model.resize_token_embeddings(size)
    assert words is model.get_input_embeddings()
    assert (words.num_embeddings, model.config.vocab_size, model.base_model.config.vocab_size) == (size, size, size)
    torch.testing.assert_close(model(IDS)[0][..., :50], before)
    model.save_pretrained(tmp_path / "resized")
    again = getattr(transformers, name).from_pretrained(tmp_path / "resized")
    assert_same(model(IDS).to_tuple(), again(IDS).to_tuple())
    assert again.get_input_embeddings().num_embeddings == size


def test_word_embeddings_can_be_replaced(folder: Path):
    def snippet(library: ModuleType) -> Any:
        model = library.BertModel.from_pretrained(folder)
        words = torch.nn.Embedding(80, SMALL.hidden_size)
        words.weight.data = torch.linspace(-1, 1, words.weight.numel()).reshape(words.weight.shape)
        model.set_input_embeddings(words)
        return model(IDS).to_tuple()

    theirs, ours = map(snippet, LIBRARIES)
    assert_same(ours, theirs)


def test_activations_are_checkpointed_by_a_word(folder: Path):
    def snippet(library: ModuleType) -> Any:
        model = with_equal_heads(
            library.BertForTokenClassification.from_pretrained(
                folder, num_labels=7, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0
            )
        )
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        model.train()
        loss = model(IDS, labels=IDS % 7).loss
        loss.backward()
        return loss.detach(), model.bert.embeddings.word_embeddings.weight.grad

    theirs, ours = map(snippet, LIBRARIES)
    assert_same(ours, theirs)


def test_a_head_of_another_size_is_left_out(folder: Path, tmp_path: Path):
    minibert.BertForSequenceClassification(SMALL.replace(num_labels=5)).save_pretrained(tmp_path / "five")
    options: Any = {"ignore_mismatched_sizes": True, "low_cpu_mem_usage": True, "torch_dtype": torch.float16}
    three = SMALL.replace(num_labels=3)
    model = minibert.BertForSequenceClassification.from_pretrained(tmp_path / "five", config=three, **options)
    assert (model.num_labels, model.dtype, sorted(model.new_weights)) == (
        3, torch.float16, ["classifier.bias", "classifier.weight"],
    )  # fmt: skip
    with pytest.raises(InputError, match=r"embeddings.word_embeddings.weight is \(61, 20\), not \(60, 20\)"):
        minibert.BertModel.from_pretrained(folder, vocab_size=60, ignore_mismatched_sizes=True)


def test_a_config_says_how_it_is_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(dataclasses.FrozenInstanceError, match=r"config = config\.replace\(num_labels=3\)"):
        SMALL.num_labels = 3  # type: ignore[misc]
    SMALL.save_pretrained(tmp_path / "config")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    for place in (tmp_path / "config", "~/config"):
        assert BertConfig.from_pretrained(place) == SMALL
    assert transformers.BertConfig.from_pretrained(tmp_path / "config").num_labels == 7


def test_a_model_is_not_traced_for_one_batch_alone(folder: Path):
    model = minibert.BertModel.from_pretrained(folder)
    with pytest.raises(InputError, match="A traced model would go on with the lengths of this one batch"):
        torch.jit.trace(model, (IDS,))


@pytest.mark.parametrize("labels", [[[0.5], [1.5]], [[0.0, 1.0], [1.0, 1.0]], [0, 1]])
def test_a_pipeline_makes_the_same_answers_of_a_saved_model(labels: Any, words: Path, tmp_path: Path):
    def snippet(library: ModuleType) -> Any:
        count = 2 if labels == [0, 1] else len(labels[0])
        model = with_equal_heads(library.BertForSequenceClassification.from_pretrained(words, num_labels=count))
        model(IDS, labels=torch.tensor(labels)).loss.backward()
        options = {"safe_serialization": True, "is_main_process": True, "save_function": torch.save}
        model.save_pretrained(tmp_path / library.__name__, **(options if library is minibert else {}))
        library.BertTokenizer.from_pretrained(words).save_pretrained(tmp_path / library.__name__)
        answer = transformers.pipeline("text-classification", model=str(tmp_path / library.__name__), device="cpu")
        return [value for found in answer(["a b", "c"], top_k=None) for value in sorted(f["score"] for f in found)]

    theirs, ours = map(snippet, LIBRARIES)
    assert ours == pytest.approx(theirs, abs=1e-4)


def test_a_model_is_saved_as_safetensors_alone(tmp_path: Path):
    options: Any = {"safe_serialization": False}
    with pytest.raises(InputError, match="'safe_serialization' cannot be False here: weights are always written as"):
        minibert.BertModel(SMALL).save_pretrained(tmp_path, **options)


def test_an_import_says_where_else_to_look():
    with pytest.raises(ImportError, match=r"AdamW is not in minibert: import it from torch\.optim"):
        from minibert import AdamW  # noqa: F401
    with pytest.raises(ImportError, match="EarlyStoppingCallback is not in minibert: import it from transformers"):
        from minibert import EarlyStoppingCallback  # noqa: F401
    with pytest.raises(ImportError, match=r"AutoTokenizer is not in minibert, .* There are BertConfig, BertForEx"):
        from minibert import AutoTokenizer  # noqa: F401
    assert not hasattr(minibert, "GPT2Model")
    for name in minibert._GOES_WITH_THESE:
        assert hasattr(transformers, name)


# ------------------------------------------------------------------------------------------------------- the tokenizer


def test_tokens_are_added(words: Path, tmp_path: Path):
    text = "see <e1> the covid19 </e1> here"

    def snippet(library: ModuleType) -> list[Any]:
        tokenizer = library.BertTokenizer.from_pretrained(words)
        added = [
            tokenizer.add_tokens(["covid19", "covid19", "a"]),
            tokenizer.add_tokens("[E3]", special_tokens=True),
            tokenizer.add_special_tokens(
                {"additional_special_tokens": ["<e1>", AddedToken("</e1>")], "pad_token": "[PAD]"}
            ),
            tokenizer.add_special_tokens({"extra_special_tokens": ["<e2>"]}),
        ]
        ids = tokenizer(text)["input_ids"]
        tokenizer.save_pretrained(tmp_path / library.__name__)
        again = minibert.BertTokenizer.from_pretrained(tmp_path / library.__name__)
        theirs_again = transformers.BertTokenizer.from_pretrained(tmp_path / library.__name__)
        return [
            added, ids, tokenizer.tokenize(text), tokenizer.decode(ids),
            tokenizer.decode(ids, skip_special_tokens=True),
            len(tokenizer), tokenizer.vocab_size, tokenizer.convert_tokens_to_ids(["covid19", "[E3]", "</e1>"]),
            again(text)["input_ids"], theirs_again(text)["input_ids"],
            len(again), again.decode(ids, skip_special_tokens=True), tokenizer.get_vocab()["<e1>"],
        ]  # fmt: skip

    theirs, ours = map(snippet, LIBRARIES)
    assert ours == theirs


def test_a_model_learns_about_added_tokens(words: Path):
    tokenizer = minibert.BertTokenizer.from_pretrained(words)
    model = minibert.BertForMaskedLM(SMALL.replace(vocab_size=len(tokenizer)))
    tokenizer.add_tokens(["covid19"])
    inputs = tokenizer("a covid19", return_tensors="pt")
    with pytest.raises(InputError, match="input_ids must be in"):
        model(**inputs)
    model.resize_token_embeddings(len(tokenizer))
    assert model(**inputs).logits.shape == (1, 4, len(tokenizer))


def test_tokens_that_cannot_be_added_are_told(words: Path):
    tokenizer = minibert.BertTokenizer.from_pretrained(words)
    with pytest.raises(InputError, match="'' cannot be a token"):
        tokenizer.add_tokens(["new", ""])
    with pytest.raises(InputError, match=r"from_pretrained\(\.\.\., pad_token='<pad>'\)"):
        tokenizer.add_special_tokens({"pad_token": "<pad>"})
    with pytest.raises(InputError, match="BERT has no 'eos_token': add it as one of 'additional_special_tokens'"):
        tokenizer.add_special_tokens({"eos_token": "<eos>"})
    assert len(tokenizer) == tokenizer.vocab_size
    with pytest.raises(
        InputError, match=r"'additional_special_tokens' cannot be .* add_special_tokens adds them after"
    ):
        minibert.BertTokenizer.from_pretrained(words, additional_special_tokens=["<e1>"])
    with pytest.raises(InputError, match="model_max_length must be at least 1: found None"):
        minibert.BertTokenizer.from_pretrained(words, model_max_length=None)


def test_the_tokenizer_answers_to_its_older_names(words: Path, tmp_path: Path):
    tokenizer: Any = minibert.BertTokenizerFast.from_pretrained(words, use_fast=True, cache_dir=None)
    options: Any = {"max_length": 8, "truncation": True, "padding": "max_length", "return_tensors": "pt"}
    one, many = tokenizer.encode_plus("a b", **options), tokenizer.batch_encode_plus(["a", "b c"], **options)
    assert one["input_ids"].equal(tokenizer("a b", **options)["input_ids"])
    assert many["input_ids"].equal(tokenizer(["a", "b c"], verbose=False, **options)["input_ids"])
    a, b = (tokenizer.convert_tokens_to_ids(list(text)) for text in ("ab", "c"))
    assert tokenizer.build_inputs_with_special_tokens(a) == tokenizer("a b", add_special_tokens=True)["input_ids"]
    assert tokenizer.build_inputs_with_special_tokens(a, b) == tokenizer("a b", "c")["input_ids"]
    (path,) = tokenizer.save_vocabulary(tmp_path)
    assert minibert.BertTokenizer(path).get_vocab() == tokenizer.get_vocab()
    with pytest.raises(InputError, match="The vocabulary cannot be saved to"):
        tokenizer.save_vocabulary(tmp_path / "nowhere")


def test_the_tokenizer_tells_its_special_tokens(words: Path):
    ours, theirs = (library.BertTokenizer.from_pretrained(words) for library in (minibert, transformers))
    assert ours.special_tokens_map == theirs.special_tokens_map


def test_words_characters_and_tokens_are_found_from_one_another(words: Path):
    def snippet(library: ModuleType) -> list[Any]:
        tokenizer = library.BertTokenizer.from_pretrained(words)
        found = tokenizer(["the film", "a good one"], ["now", "it is"], padding=True)
        return [
            tokenizer.is_fast, found.is_fast, found.token_to_word(2), found.token_to_word(1, 5), found.token_to_word(0),
            found.char_to_word(5), found.char_to_word(1, 2), found.char_to_word(1, 4, sequence_index=1),
            tuple(found.word_to_tokens(1)), tuple(found.word_to_tokens(1, 1)), found.word_to_tokens(1, 9),
            tuple(found.word_to_tokens(1, 1, sequence_index=1)), tuple(found.word_to_chars(1, 2)),
            tuple(found.word_to_chars(0, 0, 1)),
        ]  # fmt: skip

    theirs, ours = map(snippet, LIBRARIES)
    assert ours == theirs


@pytest.mark.parametrize("clean", [True, False])
def test_spaces_are_cleaned_up(words: Path, clean: bool):
    text = "he isn't here, we've 2.5, i'm (not) sure! o'clock 'quoted' it's they're don't ?"

    def snippet(library: ModuleType) -> list[str]:
        tokenizer = library.BertTokenizer.from_pretrained(words)
        ids = tokenizer([text, text[:20]])["input_ids"]
        options = {"skip_special_tokens": True, "clean_up_tokenization_spaces": clean}
        return [tokenizer.decode(ids[0], **options), *tokenizer.batch_decode(ids, **options)]

    theirs, ours = map(snippet, LIBRARIES)
    assert ours == theirs


def test_options_of_other_tokenizers_are_told_what_to_do(words: Path):
    with pytest.raises(InputError, match="'cache_dir' cannot be 'x' here: let the environment variable HF_HOME"):
        minibert.BertTokenizer.from_pretrained(words, cache_dir="x")
    tokenizer: Any = minibert.BertTokenizer.from_pretrained(words)
    with pytest.raises(InputError, match="'pad_to_max_length' cannot be True here: padding='max_length' and"):
        tokenizer("a", pad_to_max_length=True)
    with pytest.raises(TypeError, match="paddin"):
        tokenizer("a", paddin=True)


# --------------------------------------------------------------------------------------------------------- the trainer


def examples(count: int = 12) -> list[dict[str, Any]]:
    return [
        {"input_ids": [2, 5 + i % 7, 12 + i % 5, 3], "attention_mask": [1] * 4, "labels": i % 2} for i in range(count)
    ]


def test_the_usual_settings_of_a_notebook_train_the_same(folder: Path, tmp_path: Path):
    def snippet(library: ModuleType) -> Any:
        old = {"evaluation_strategy": "epoch"} if library is minibert else {"eval_strategy": "epoch"}
        settings = library.TrainingArguments(
            output_dir=tmp_path / library.__name__, num_train_epochs=9, per_device_train_batch_size=12,
            learning_rate=1e-3, save_strategy="epoch", logging_strategy="epoch", load_best_model_at_end=True,
            push_to_hub=False,
            metric_for_best_model="steady", greater_is_better=True, fp16=False, optim="adamw_torch", do_train=True,
            dataloader_num_workers=0, remove_unused_columns=True, report_to="none", disable_tqdm=True,
            label_names=["labels"], dataloader_pin_memory=False, run_name="x", use_cpu=False,
            gradient_checkpointing_kwargs={"use_reentrant": False}, **old,
        )  # fmt: skip
        options = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
        model = with_equal_heads(library.BertForSequenceClassification.from_pretrained(folder, **options))
        trainer = library.Trainer(
            model, settings, train_dataset=examples(), eval_dataset=examples(),
            compute_metrics=lambda prediction: {"steady": 0.5},
            callbacks=[transformers.EarlyStoppingCallback(early_stopping_patience=2)],
        )  # fmt: skip
        result = trainer.train()
        trainer.log_metrics("train", result.metrics)
        trainer.save_metrics("train", result.metrics)
        written = json.loads((tmp_path / library.__name__ / "train_results.json").read_text(encoding="utf-8"))
        losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
        return result.global_step, len(losses), written["train_loss"], losses, trainer.evaluate()["eval_loss"]

    theirs, ours = map(snippet, LIBRARIES)
    assert ours[:2] == theirs[:2] == (3, 3)
    assert ours[2:] == (
        pytest.approx(theirs[2], abs=1e-4),
        pytest.approx(theirs[3], abs=1e-3),
        pytest.approx(theirs[4], abs=1e-4),
    )


def test_the_tokenizer_has_its_older_name_in_the_trainer(words: Path, tmp_path: Path):
    tokenizer: Any = minibert.BertTokenizer.from_pretrained(words)
    options: Any = {"tokenizer": tokenizer, "optimizers": (None, None)}
    trainer = minibert.Trainer(minibert.BertForSequenceClassification(SMALL), **options)
    assert trainer.processing_class is tokenizer
    with pytest.raises(InputError, match="'tokenizer' is the old name of 'processing_class': give one of them"):
        minibert.Trainer(trainer.model, processing_class=tokenizer, **options)


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ({"fp16": True}, "'fp16' cannot be True here: bf16=True"),
        ({"optim": "adafactor"}, "'optim' cannot be 'adafactor' here: AdamW is the optimizer"),
        ({"group_by_length": False}, "'group_by_length' cannot be False here: sentences of like length"),
        ({"push_to_hub": True}, "upload the folder with huggingface_hub"),
        ({"logging_strategy": "daily"}, "logging_strategy must be 'no', 'steps' or 'epoch': found 'daily'"),
    ],
)
def test_settings_that_are_not_here_are_told_what_to_do(setting: dict[str, Any], sentence: str):
    with pytest.raises(InputError, match=sentence):
        minibert.TrainingArguments(**setting)


@pytest.mark.parametrize(
    ("argument", "sentence"),
    [
        (
            {"callbacks": [transformers.TrainerCallback()]},
            "only callback here is EarlyStoppingCallback, found TrainerC",
        ),
        ({"model_init": print}, "'model_init' cannot be <built-in function print> here: call it, and pass"),
        ({"optimizers": (1, 2)}, r"'optimizers' cannot be \(1, 2\) here"),
        ({"model": torch.nn.Linear(1, 1)}, "found Linear without a config. Derive it from one of them"),
    ],
)
def test_what_this_trainer_does_not_take_is_told_what_to_do(argument: dict[str, Any], sentence: str):
    with pytest.raises(InputError, match=sentence):
        minibert.Trainer(**{"model": minibert.BertForSequenceClassification(SMALL)} | argument)
