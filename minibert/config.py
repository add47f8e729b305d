"""The numbers that define one BERT.

The field names are those of Google's `bert_config.json` (class `BertConfig` in google-research/bert `modeling.py`) and
of Hugging Face's `config.json`, so that either file can be read, and what is written here opens in `transformers`.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial, wraps
from pathlib import Path
from typing import Any

from .errors import InputError
from .files import parse_json_object, write_json

# (num_hidden_layers, hidden_size). Heads are 64 wide and the feed-forward is four times as wide as the hidden state in
# all of them. base and large: Devlin et al. 2018, section 3; the small ones: Turc et al. 2019, table 1.
PRESETS = {
    "tiny": (2, 128),
    "mini": (4, 256),
    "small": (4, 512),
    "medium": (8, 512),
    "base": (12, 768),
    "large": (24, 1024),
}

HIDDEN_ACTS = ("gelu", "gelu_new", "relu", "tanh")
PROBLEM_TYPES = ("regression", "single_label_classification", "multi_label_classification")

# What else stands in the config files that people have: book-keeping of the libraries that wrote the file, settings of
# text generation, what a library on top does with the logits, and a pooler description that Google's multilingual files
# carry. None of it changes what an encoder computes, so all of it is read over.
BOOKKEEPING = frozenset(
    """
    _attn_implementation _attn_implementation_autoset _commit_hash _name_or_path _num_labels adapters
    add_cross_attention architectures auto_map bad_words_ids begin_suppress_tokens bos_token_id
    chunk_size_feed_forward cross_attention_hidden_size decoder_start_token_id directionality diversity_penalty
    do_sample dtype early_stopping encoder_no_repeat_ngram_size eos_token_id eos_token_ids
    exponential_decay_length_penalty finetuning_task forced_bos_token_id forced_eos_token_id gradient_checkpointing
    is_encoder_decoder length_penalty max_length min_length model_type no_repeat_ngram_size num_beam_groups
    num_beams num_return_sequences output_past output_scores pooler_fc_size
    pooler_num_attention_heads pooler_num_fc_layers pooler_size_per_head pooler_type prefix remove_invalid_values
    repetition_penalty return_dict return_dict_in_generate sbert_ce_default_activation_function
    sentence_transformers sep_token_id suppress_tokens temperature tf_legacy_loss tie_encoder_decoder
    tokenizer_class top_k top_p torch_dtype torchscript transformers_version typical_p use_bfloat16 use_cache
    xla_device
    """.split()
)

# What a config can set in `transformers`, and where it is set here.
SET_ELSEWHERE = {
    "torch_dtype": "from_pretrained takes dtype=torch.bfloat16",
    "gradient_checkpointing": "TrainingArguments takes it",
}

# What `from_pretrained` there can be asked to do, and what is always so here.
ALWAYS_SO = ("low_cpu_mem_usage", "trust_remote_code", "use_safetensors")

# What only `from_pretrained` takes there, beside the config's keys.
DONE_OTHERWISE = {
    "device_map": "move the model with .to(device)",
    "cache_dir": "let the environment variable HF_HOME name the folder",
    "local_files_only": "set the environment variable HF_HUB_OFFLINE to 1",
    "token": "set the environment variable HF_TOKEN",
    "use_auth_token": "set the environment variable HF_TOKEN",
    "force_download": "delete the model from the cache of huggingface_hub",
    "revision": "minibert.checkpoints.hub.download(name, revision) gives a folder to load",
    "subfolder": "give the path of that folder",
    "from_tf": "give the path of Google's checkpoint alone",
}

# Settings that do change the computation. minibert computes only the value beside them: BERT's own.
BERTS_OWN: dict[str, Any] = {
    "is_decoder": False,
    "position_embedding_type": "absolute",
    "pruned_heads": {},
    "quantization_config": None,
    "tie_word_embeddings": True,
}


# Far above any BERT's. Without bounds, a damaged config would have torch overflow, or make blocks without end.
MOST, MOST_LAYERS = 2**24, 10_000


def _whole(value: Any, least: int = 1, most: int = MOST) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _share(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 1


def _positive(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < math.inf


RULES: tuple[tuple[str, str, Callable[[Any], bool]], ...] = (
    ("vocab_size", f"a whole number, 1 to {MOST:,}", _whole),
    ("hidden_size", f"a whole number, 1 to {MOST:,}", _whole),
    ("num_hidden_layers", f"a whole number, 1 to {MOST_LAYERS:,}", partial(_whole, most=MOST_LAYERS)),
    ("num_attention_heads", f"a whole number, 1 to {MOST:,}", _whole),
    ("intermediate_size", f"a whole number, 1 to {MOST:,}", _whole),
    ("max_position_embeddings", f"a whole number, 1 to {MOST:,}", _whole),
    ("type_vocab_size", f"a whole number, 1 to {MOST:,}", _whole),
    ("num_labels", f"a whole number, 1 to {MOST:,}", _whole),
    ("pad_token_id", f"a whole number, 0 to {MOST:,}", partial(_whole, least=0)),
    ("hidden_dropout_prob", "in [0, 1)", _share),
    ("attention_probs_dropout_prob", "in [0, 1)", _share),
    ("classifier_dropout", "in [0, 1), or null", lambda value: value is None or _share(value)),
    ("initializer_range", "a positive number", _positive),
    ("layer_norm_eps", "a positive number", _positive),
    ("hidden_act", f"one of {', '.join(HIDDEN_ACTS)}", lambda value: value in HIDDEN_ACTS),
    ("problem_type", f"null or one of {', '.join(PROBLEM_TYPES)}", lambda value: value in (None, *PROBLEM_TYPES)),
    ("output_hidden_states", "true or false", lambda value: isinstance(value, bool)),
    ("output_attentions", "true or false", lambda value: isinstance(value, bool)),
    ("task_specific_params", "null or an object", lambda value: value is None or isinstance(value, Mapping)),
)


@dataclass(frozen=True)
class BertConfig:
    """One BERT, by its numbers. Immutable; `config.replace(...)` makes a changed copy.

    Raises `InputError` when the numbers do not fit together; for an unknown key, naming the nearest known one; and for
    a setting that would change the computation in a way that minibert does not have. What else a config in
    `transformers` takes, such as `label2id`, does as well.
    """

    vocab_size: int = 30522
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    hidden_act: str = "gelu"  # "gelu" is x * Phi(x) by erf; "gelu_new" the tanh approximation of Google's own code
    hidden_dropout_prob: float = 0.1
    attention_probs_dropout_prob: float = 0.1
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    initializer_range: float = 0.02
    layer_norm_eps: float = 1e-12
    pad_token_id: int = 0
    classifier_dropout: float | None = None  # None: as hidden_dropout_prob
    num_labels: int = 2
    id2label: Mapping[int, str] = None  # type: ignore[assignment]  # None: LABEL_0, LABEL_1 and so on
    problem_type: str | None = None  # None: "regression" for one label, else by the dtype of the labels
    output_hidden_states: bool = False  # whether a call of the model that does not say returns them,
    output_attentions: bool = False  # and these
    task_specific_params: Mapping[str, Any] | None = None  # what a fine-tuned model's task has to remember

    def __post_init__(self) -> None:
        for name, rule, holds in RULES:
            if not holds(getattr(self, name)):
                raise InputError(f"{name} must be {rule}: found {getattr(self, name)!r}.")
        if self.hidden_size % self.num_attention_heads:
            raise InputError(
                f"hidden_size must be a multiple of num_attention_heads, so that every head gets an equal share: "
                f"found hidden_size {self.hidden_size} and num_attention_heads {self.num_attention_heads}."
            )
        if self.pad_token_id >= self.vocab_size:
            raise InputError(f"pad_token_id must be below vocab_size, {self.vocab_size}: found {self.pad_token_id}.")
        if self.id2label is None or self.id2label == _nameless(len(self.id2label)):
            object.__setattr__(self, "id2label", _nameless(self.num_labels))
        if sorted(self.id2label) != list(range(self.num_labels)):
            raise InputError(
                f"id2label must name the labels 0 to {self.num_labels - 1} (num_labels is {self.num_labels}): "
                f"found {sorted(self.id2label)}."
            )
        # Sorted as texts, "10" stands before "2"; but logits go by number.
        object.__setattr__(self, "id2label", dict(sorted(self.id2label.items())))

    @property
    def head_dim(self) -> int:
        """Width of one attention head."""
        return self.hidden_size // self.num_attention_heads

    @property
    def label2id(self) -> dict[str, int]:
        """The inverse of `id2label`."""
        return {label: i for i, label in self.id2label.items()}

    @property
    def head_dropout_prob(self) -> float:
        """Dropout before a classifier: `classifier_dropout` if it is set."""
        return self.hidden_dropout_prob if self.classifier_dropout is None else self.classifier_dropout

    def replace(self, **changes: Any) -> BertConfig:
        """A changed copy. A new number of labels makes it forget their names; a single one is for a number.

        Raises `InputError` as the constructor, and for what is done otherwise: nobody asks for it to change nothing.
        """
        changes = {key: value for key, value in changes.items() if key not in ALWAYS_SO}
        for key, place in DONE_OTHERWISE.items():
            if changes.pop(key, None):
                raise InputError(f"A config does not set '{key}' here: {place}.")
        values = self.to_dict()
        renamed = changes.keys() & {"id2label", "label2id"}
        if renamed or changes.get("num_labels", self.num_labels) != self.num_labels:
            for key in ("num_labels", "id2label", "label2id"):
                values.pop(key, None)
        config = BertConfig(**(values | changes))
        # One class is nothing to tell apart, and transformers opens no such config: one label is for a number.
        one_class = config.num_labels == 1 and config.problem_type == "single_label_classification"
        return config.replace(problem_type=None) if one_class and "problem_type" not in changes else config

    @classmethod
    def preset(cls, size: str, **overrides: Any) -> BertConfig:
        """The published size `tiny`, `mini`, `small`, `medium`, `base` or `large`."""
        if size not in PRESETS:
            raise InputError(f"There is no preset '{size}'. The presets are {', '.join(PRESETS)}.")
        layers, hidden = PRESETS[size]
        sizes = {
            "num_hidden_layers": layers,
            "hidden_size": hidden,
            "num_attention_heads": hidden // 64,
            "intermediate_size": 4 * hidden,
        }
        return cls.from_dict(sizes | overrides)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], where: str = "config") -> BertConfig:
        """A config from the contents of a JSON file, Google's or Hugging Face's.

        Keys that only keep books are read over. Raises `InputError`, beginning with `where`, as the constructor, and
        for another kind of model.
        """
        if values.get("model_type", "bert") != "bert":
            raise InputError(f"{where}: model_type is {values['model_type']!r}, but minibert reads only 'bert'.")
        try:
            return cls(**{key: value for key, value in values.items() if key not in BOOKKEEPING})
        except (ValueError, TypeError) as error:  # InputError is a ValueError
            raise InputError(f"{where}: {error}") from error

    @classmethod
    def from_json_file(cls, path: str | Path) -> BertConfig:
        """A config from `config.json` or `bert_config.json`. Raises `InputError` naming the file."""
        try:
            content = Path(path).read_bytes()
        except OSError as error:
            raise InputError(f"The config {path} cannot be read: {error.strerror}.") from error
        return cls.from_dict(parse_json_object(content, str(path)), str(path))

    @classmethod
    def from_pretrained(cls, name_or_path: str | Path, **changes: Any) -> BertConfig:
        """That of a model which `BertModel.from_pretrained` would load, changed. Raises `InputError` likewise."""
        file = Path(os.path.expanduser(name_or_path)) / "config.json"
        if os.path.isfile(file):  # perhaps without weights
            return cls.from_json_file(file).replace(**changes)
        from .checkpoints.pretrained import open_checkpoint  # brings torch along

        return open_checkpoint(name_or_path).config.replace(**changes)

    def save_pretrained(self, directory: str | Path) -> None:
        """Write the config alone, as `config.json` in this folder. A model's `save_pretrained` writes it, too."""
        Path(directory).mkdir(parents=True, exist_ok=True)
        write_json(Path(directory) / "config.json", {"model_type": "bert", **self.to_dict()})

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON can hold them, in the form that Hugging Face writes (labels both ways)."""
        values = dataclasses.asdict(self)
        for name in ("output_hidden_states", "output_attentions"):
            if not values[name]:
                del values[name]
        labels = values.pop("id2label")
        if self.task_specific_params is None:
            del values["task_specific_params"]
        if labels != _nameless(self.num_labels):
            values["id2label"] = {str(i): label for i, label in labels.items()}
            values["label2id"] = self.label2id
        if "id2label" in values or self.num_labels == 2:
            del values["num_labels"]
        return values


def _refuse(config: BertConfig, name: str, value: Any) -> None:
    raise dataclasses.FrozenInstanceError(
        f"A config stays as it is, for models are built by it. Make a changed one, and then the model from that: "
        f"config = config.replace({name}={value!r})."
    )


BertConfig.__setattr__ = _refuse  # type: ignore[assignment, method-assign]  # that of dataclasses does not say what to do


def _known(init: Callable[..., None]) -> Callable[..., None]:
    """The constructor for all that a config can be given: that of dataclasses takes fields alone."""

    @wraps(init)
    def checked(self: BertConfig, /, *numbers: Any, **named: Any) -> None:
        init(self, *numbers, **_fields(named))

    return checked


BertConfig.__init__ = _known(BertConfig.__init__)  # type: ignore[method-assign]


def _fields(values: Mapping[str, Any]) -> dict[str, Any]:
    """What the fields of a config are to be. Raises `InputError` for what a BERT cannot be given."""
    fields = [field.name for field in dataclasses.fields(BertConfig)]
    for key, value in values.items():
        if key in BERTS_OWN and value is not None and value != BERTS_OWN[key]:
            raise InputError(f"'{key}' is {value!r}, but BERT has {BERTS_OWN[key]!r}: this is another model.")
        if key in SET_ELSEWHERE and value:
            raise InputError(f"A config does not set '{key}' here: {SET_ELSEWHERE[key]}.")
        if key not in (*fields, *BERTS_OWN, *BOOKKEEPING, "label2id"):
            nearest = difflib.get_close_matches(key, fields, n=1, cutoff=0.0)[0]
            raise InputError(f"'{key}' is no known key. The nearest known one is '{nearest}'.")
    own = {key: value for key, value in values.items() if key in fields}
    names = _label_names(values)
    if names is not None:
        own |= {"id2label": names, "num_labels": own.get("num_labels", len(names))}
    return own


def _label_names(values: Mapping[str, Any]) -> dict[int, str] | None:
    """What `id2label` or else `label2id` of a JSON file says, by number; None if there is neither."""
    given = values.get("id2label")
    try:
        if given is None and values.get("label2id") is not None:
            given = {i: label for label, i in values["label2id"].items()}
        return None if given is None else {int(i): str(label) for i, label in given.items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise InputError(
            'id2label must have a name for each number, as in {"0": "no", "1": "yes"}, and label2id a number for each '
            f"name: found {given or values['label2id']!r}."
        ) from error


def _nameless(labels: int) -> dict[int, str]:
    """The names that labels have if nobody names them, in `transformers`, too."""
    return {i: f"LABEL_{i}" for i in range(labels)}
