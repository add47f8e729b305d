"""The files of a tokenizer, and what they say: the arguments of `BertTokenizer`.

| file | who writes it | holds |
| --- | --- | --- |
| `vocab.txt` | Google, transformers up to 4 | the tokens, one a line |
| `tokenizer.json` | transformers | the vocabulary, the switches, tokens that were added later |
| `tokenizer_config.json` | transformers | the switches, the names of the special tokens, the longest input |
| `special_tokens_map.json` | transformers up to 4 | the names of the special tokens, in old folders nowhere else |
| `added_tokens.json` | transformers up to 4 | the ids of tokens that were added later, likewise |

As in transformers, the vocabulary of `tokenizer.json` goes before `vocab.txt`, and what `tokenizer_config.json` says
before all others. Google's releases have `vocab.txt` alone: whether to lower the case is then
read off the name of the release, or off the vocabulary.
"""

from __future__ import annotations

import re
import reprlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tokenizers import AddedToken

from ..errors import InputError
from ..files import LONE_SURROGATE, parse_json_object
from .wordpiece import CONTINUES, parse_vocab

VOCAB = "vocab.txt"
TOKENIZER = "tokenizer.json"
CONFIG = "tokenizer_config.json"
SPECIAL_TOKENS_MAP = "special_tokens_map.json"
ADDED_TOKENS = "added_tokens.json"

# Classes of transformers that cut text as BERT does, without the "Fast" that older names end with. The last two stand
# for whatever is in `tokenizer.json`.
BERT_CLASSES = (
    "BertTokenizer",
    "BertTokenizerLegacy",
    "DistilBertTokenizer",
    "ElectraTokenizer",
    "PreTrainedTokenizer",
    "TokenizersBackend",
)

SPECIAL_TOKENS = ("unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
ADDITIONAL = "additional_special_tokens"

# What else `tokenizer_config.json` has that is an argument of `BertTokenizer`, with its types.
SETTINGS: dict[str, type | tuple[type, ...]] = {
    "do_lower_case": bool,
    "strip_accents": bool,
    "tokenize_chinese_chars": bool,
    "split_special_tokens": bool,
    "model_max_length": (int, float),
    "padding_side": str,
    "truncation_side": str,
}

# The types of the parts that make `tokenizer.json` a BERT.
BERT_PARTS = {"model": "WordPiece", "normalizer": "BertNormalizer", "pre_tokenizer": "BertPreTokenizer"}


def tokenizer_arguments(files: Mapping[str, bytes], name: str) -> dict[str, Any]:
    """The arguments of `BertTokenizer` that the contents of its files say. `name` is where they come from.

    Raises `InputError` if there is no vocabulary, if a file is broken, or if it describes no WordPiece of BERT's.
    """
    config = parse_json_object(files[CONFIG], f"{name}: {CONFIG}") if CONFIG in files else {}
    if SPECIAL_TOKENS_MAP in files:
        special = parse_json_object(files[SPECIAL_TOKENS_MAP], f"{name}: {SPECIAL_TOKENS_MAP}")
        config = {key: special[key] for key in (*SPECIAL_TOKENS, ADDITIONAL) if key in special} | config
    if ADDED_TOKENS in files and TOKENIZER not in files and "added_tokens_decoder" not in config:
        config["added_tokens_decoder"] = _decoder(files[ADDED_TOKENS], f"{name}: {ADDED_TOKENS}", config)
    if TOKENIZER in files:
        where = f"{name}: {TOKENIZER}"
        arguments = _from_tokenizer_json(parse_json_object(files[TOKENIZER], where), where)
    elif VOCAB in files:
        arguments = {"vocab_file": parse_vocab(files[VOCAB], f"{name}: {VOCAB}")}
    else:
        raise InputError(f"{name} has no vocabulary: {VOCAB} or {TOKENIZER} is needed.")
    arguments |= _from_config(config, arguments, f"{name}: {CONFIG}")
    if "do_lower_case" not in arguments:
        arguments["do_lower_case"] = release_is_lower_cased(name, arguments["vocab_file"])
    return arguments


def release_is_lower_cased(name: str, vocab: Iterable[str]) -> bool:
    """Whether a release without settings was made from lower-cased text.

    Google's releases say so in their names (`validate_case_matches_checkpoint` in `tokenization.py` lists them).
    Otherwise a vocabulary in which lower-casing changes no token is a lower-cased one.
    """
    path = Path(name).resolve()
    for part in [path.name] if path.is_dir() else [path.name, path.parent.name]:
        if part.startswith(("chinese_L-12", "multilingual_L-12")):
            return True
        if found := re.search(r"(?<![a-z])(un)?cased(?![a-z])", part.lower()):
            return found[1] is not None
    return all(token == token.lower() for token in vocab if not re.fullmatch(r"\[.*\]", token))


def _from_tokenizer_json(content: dict[str, Any], where: str) -> dict[str, Any]:
    for part, wanted in BERT_PARTS.items():
        value = content.get(part)
        found = value.get("type", wanted) if isinstance(value, dict) else value  # old files leave out the model's
        if found != wanted:
            raise InputError(
                f"{where} is no BERT tokenizer: its {part} should be a {wanted}, found {reprlib.repr(found)}."
            )
    model, normalizer = content["model"], content["normalizer"]
    if model.get("continuing_subword_prefix", CONTINUES) != CONTINUES or normalizer.get("clean_text") is False:
        raise InputError(f"{where} is no BERT tokenizer: BERT cleans the text and marks pieces by '{CONTINUES}'.")
    vocab = _checked(model, "vocab", dict, where)
    if vocab is None:
        raise InputError(f"{where} has no vocabulary.")
    arguments = {
        "vocab_file": vocab,
        "do_lower_case": _checked(normalizer, "lowercase", bool, where),
        "strip_accents": _checked(normalizer, "strip_accents", bool, where),
        "tokenize_chinese_chars": _checked(normalizer, "handle_chinese_chars", bool, where),
        "unk_token": _checked(model, "unk_token", str, where),
        "added_tokens": _added_tokens(_checked(content, "added_tokens", list, where) or [], vocab, where),
    }
    return {key: value for key, value in arguments.items() if value is not None}


def _from_config(config: dict[str, Any], known: Mapping[str, Any], where: str) -> dict[str, Any]:
    found_class = config.get("tokenizer_class") or "BertTokenizer"
    if not isinstance(found_class, str) or found_class.removesuffix("Fast") not in BERT_CLASSES:
        raise InputError(f"{where} is of no BERT tokenizer: its tokenizer_class is {reprlib.repr(found_class)}.")
    arguments = {key: _checked(config, key, types, where) for key, types in SETTINGS.items()}
    for key in SPECIAL_TOKENS:
        arguments[key] = None if config.get(key) is None else _content(config[key], where)
    if "added_tokens" not in known:
        arguments["added_tokens"] = _added_tokens_of_config(config, known["vocab_file"], where)
    return {key: value for key, value in arguments.items() if value is not None}


def _added_tokens_of_config(config: dict[str, Any], vocab: Mapping[str, int], where: str) -> list[AddedToken]:
    """What transformers 4 wrote down of them for its tokenizers in plain Python, which had no `tokenizer.json`."""
    entries = _checked(config, "added_tokens_decoder", dict, where) or {}
    if not all(key.isdecimal() and isinstance(entry, dict) for key, entry in entries.items()):
        raise InputError(f"{where}: added_tokens_decoder should map ids to tokens.")
    added = _added_tokens([{**entry, "id": int(key)} for key, entry in entries.items()], vocab, where)
    for value in _checked(config, ADDITIONAL, list, where) or []:
        token = _content(value, where)
        if token in [known.content for known in added]:
            continue
        if token not in vocab:
            raise InputError(
                f"{where} names the special token {token!r}, but no file says its id: "
                f"open the tokenizer in transformers, save it there, and take what it saved."
            )
        added.append(AddedToken(token, special=True, normalized=False))
    return added


def _decoder(content: bytes, where: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """What `added_tokens.json` says, ids by token, in the form that took its place, tokens by id."""
    ids = parse_json_object(content, where)
    if not all(isinstance(number, int) and number >= 0 for number in ids.values()):
        raise InputError(f"{where} should map tokens to ids.")
    named = [config.get(key) for key in SPECIAL_TOKENS] + (_checked(config, ADDITIONAL, list, where) or [])
    special = {_content(token, where) for token in named if token is not None}
    return {
        str(number): {"content": token, "special": token in special, "normalized": token not in special}
        for token, number in ids.items()
    }


def _added_tokens(entries: list[Any], vocab: Mapping[str, int], where: str) -> list[AddedToken]:
    added = []
    next_id = len(vocab)
    for entry in entries:
        if not isinstance(entry, dict) or not isinstance(entry.get("id"), int):
            raise InputError(f"{where}: an added token should have an id, found {reprlib.repr(entry)}.")
    for entry in sorted(entries, key=lambda entry: entry["id"]):
        token = _content(entry, where)
        if entry["id"] != vocab.get(token, next_id):
            raise InputError(
                f"{where}: the added token {token!r} has id {entry['id']}, but it should have "
                f"{vocab.get(token, next_id)}: tokens of the vocabulary keep their ids, others follow without a gap."
            )
        next_id += token not in vocab
        flags = ("single_word", "lstrip", "rstrip", "normalized", "special")
        added.append(AddedToken(token, **{flag: entry.get(flag) is True for flag in flags}))
    return added


def _content(token: Any, where: str) -> str:
    """The text of a token, which may stand alone or in an object with its settings."""
    text = token.get("content") if isinstance(token, dict) else token
    if not isinstance(text, str) or not text or LONE_SURROGATE.search(text):
        raise InputError(f"{where}: a special or added token should be a string, found {reprlib.repr(token)}.")
    return text


def _checked(values: Mapping[str, Any], key: str, types: type | tuple[type, ...], where: str) -> Any:
    """`values[key]`, or None if it is not there."""
    value = values.get(key)
    if value is not None and (not isinstance(value, types) or (isinstance(value, bool) and types is not bool)):
        raise InputError(f"{where}: '{key}' cannot be {reprlib.repr(value)}.")
    return value
