"""`BertTokenizer`: text to what a model reads, with the call that people know from `transformers`.

Three steps, each in a file of its own: `inputs.py` looks at what was given, `engine.py` cuts it into tokens (as the
definition in `wordpiece.py` does, but for what its table lists), and `encoding.py` is what comes out. `files.py` reads
what was saved.
"""

from __future__ import annotations

import os
import reprlib
import threading
import warnings
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, overload

from tokenizers import AddedToken, Encoding

from ..config import DONE_OTHERWISE
from ..errors import InputError
from ..files import LONE_SURROGATE, write_json, write_text
from ..foreign import ANYTHING, foreign
from .encoding import BatchEncoding, as_lists, as_tensors, kind_of_tensor
from .engine import build_engine, standard_json
from .files import CONFIG, SETTINGS, SPECIAL_TOKENS, TOKENIZER, VOCAB, tokenizer_arguments
from .inputs import as_batch
from .padding import as_columns, pad_columns
from .wordpiece import WordPieceTokenizer, load_vocab

CHUNK = 1000  # texts to ask about at a time: what the engine notes of a token takes a hundred times the room of its id
MAX_LENGTH = 512  # every BERT that Google released has as many position embeddings
NO_LIMIT = 10**20  # transformers writes 10**30 for a tokenizer without a longest input

PADDINGS = {False: None, True: "longest", "longest": "longest", "max_length": "max_length", "do_not_pad": None}
TRUNCATIONS = {
    False: None,
    True: "longest_first",
    "longest_first": "longest_first",
    "only_first": "only_first",
    "only_second": "only_second",
    "do_not_truncate": None,
}

# What `clean_up_tokenization_spaces` of transformers closes up, in its order.
ENGLISH_GAPS = (" .", " ?", " !", " ,", " ' ", " n't", " 'm", " 's", " 've", " 're")

# What else those of transformers take, see `foreign`.
FOREIGN_OPTIONS: dict[str, tuple[tuple[Any, ...], str]] = {
    "verbose": ((ANYTHING,), ""),
    "return_length": ((False,), "len(ids) tells it for each row of input_ids"),
    "pad_to_max_length": ((False,), "padding='max_length' and truncation=True do it"),
}
FOREIGN_SETTINGS: dict[str, tuple[tuple[Any, ...], str]] = {
    "use_fast": ((ANYTHING,), ""),  # both kinds give the same
    "clean_up_tokenization_spaces": ((False, None), "decode takes it"),
    "additional_special_tokens": ((None, [], ()), "add_special_tokens adds them afterwards"),
    "extra_special_tokens": ((None, [], ()), "add_special_tokens adds them afterwards"),
    **{name: ((None, False), instead) for name, instead in DONE_OTHERWISE.items()},
}

# How to truncate and pad is a state of the engine: no other thread may set it between setting it and using it.
_engine_lock = threading.Lock()


class BertTokenizer:
    """A vocabulary, and how to cut text by it.

    vocab_file: the path of a `vocab.txt`, or the vocabulary itself, each token with its id.
    do_lower_case: as the vocabulary was made; `from_pretrained` knows which.
    strip_accents: None, as for Google's models, means: if and only if `do_lower_case`.
    tokenize_chinese_chars: make each Chinese character a word.
    added_tokens: tokens that are found before the text is cut; those not in the vocabulary get the ids after it.
    split_special_tokens: cut `[MASK]` and the like, where they are written in a text, as any other text.
    model_max_length: in tokens; what truncation without `max_length` cuts to.
    padding_side, truncation_side: "right" or "left".

    Raises `InputError` for a vocabulary that cannot be read, is damaged or lacks a special token.
    """

    is_fast = True  # as transformers calls those with the Rust engine inside

    @foreign(FOREIGN_SETTINGS)
    def __init__(
        self,
        vocab_file: str | os.PathLike[str] | Mapping[str, int],
        do_lower_case: bool = True,
        *,
        strip_accents: bool | None = None,
        tokenize_chinese_chars: bool = True,
        unk_token: str = "[UNK]",
        sep_token: str = "[SEP]",
        pad_token: str = "[PAD]",
        cls_token: str = "[CLS]",
        mask_token: str = "[MASK]",
        added_tokens: Sequence[AddedToken] = (),
        split_special_tokens: bool = False,
        model_max_length: float = MAX_LENGTH,
        padding_side: str = "right",
        truncation_side: str = "right",
    ) -> None:
        if padding_side not in ("left", "right") or truncation_side not in ("left", "right"):
            raise InputError(
                f"A side can be 'left' or 'right': found padding_side {padding_side!r} "
                f"and truncation_side {truncation_side!r}."
            )
        if not isinstance(model_max_length, (int, float)) or not model_max_length >= 1:
            raise InputError(f"model_max_length must be at least 1: found {model_max_length!r}.")
        self._vocab = _in_order(vocab_file if isinstance(vocab_file, Mapping) else load_vocab(Path(vocab_file)))
        self._ids = dict(self._vocab)
        for token in added_tokens:
            self._ids.setdefault(token.content, len(self._ids))
        self._tokens = {token_id: token for token, token_id in self._ids.items()}
        special = [unk_token, sep_token, pad_token, cls_token, mask_token]
        if missing := [t for t in special if t not in self._ids or (t == unk_token and t not in self._vocab)]:
            raise InputError(
                f"The vocabulary of {len(self._vocab)} tokens lacks {', '.join(missing)}, which every BERT needs. "
                f"If they have other names here, pass these, as in mask_token='<mask>'."
            )
        self.do_lower_case = do_lower_case
        self.strip_accents = strip_accents
        self.tokenize_chinese_chars = tokenize_chinese_chars
        self.unk_token = unk_token
        self.sep_token = sep_token
        self.pad_token = pad_token
        self.cls_token = cls_token
        self.mask_token = mask_token
        self.split_special_tokens = split_special_tokens
        self.model_max_length = model_max_length
        self.padding_side = padding_side
        self.truncation_side = truncation_side
        self.unk_token_id = self._ids[unk_token]
        self.sep_token_id = self._ids[sep_token]
        self.pad_token_id = self._ids[pad_token]
        self.cls_token_id = self._ids[cls_token]
        self.mask_token_id = self._ids[mask_token]
        self.additional_special_tokens = [t.content for t in added_tokens if t.special and t.content not in special]
        self.all_special_tokens = list(dict.fromkeys(special + self.additional_special_tokens))
        self.all_special_ids = [self._ids[token] for token in self.all_special_tokens]
        given = [token.content for token in added_tokens]
        self._engine = build_engine(
            self._vocab,
            [*added_tokens, *(AddedToken(t, special=True, normalized=False) for t in special if t not in given)],
            unk_token=unk_token,
            cls=(cls_token, self.cls_token_id),
            sep=(sep_token, self.sep_token_id),
            do_lower_case=do_lower_case,
            strip_accents=do_lower_case if strip_accents is None else strip_accents,
            split_cjk=tokenize_chinese_chars,
        )

    # ------------------------------------------------------------------------------------------------ files

    @classmethod
    def from_pretrained(cls, name_or_path: str | os.PathLike[str], **overrides: Any) -> BertTokenizer:
        """The tokenizer in a folder, or of a `vocab.txt`; `overrides` are arguments of `BertTokenizer`.

        Opens what Google released, and what `transformers` or `save_pretrained` saved: see `files.py`. Raises
        `InputError` if there is none, or if it is broken or no BERT's.
        """
        from ..checkpoints.locate import read_tokenizer_files  # that room knows this one, not the reverse

        files = read_tokenizer_files(name_or_path)
        return cls(**(tokenizer_arguments(files, str(name_or_path)) | overrides))

    def save_vocabulary(self, save_directory: str | os.PathLike[str]) -> tuple[str]:
        """Write `vocab.txt` alone, the tokens without those added later, in a folder that is there; its path."""
        path = Path(save_directory) / VOCAB
        try:
            write_text(path, "".join(f"{token}\n" for token in self._vocab))
        except OSError as error:
            raise InputError(f"The vocabulary cannot be saved to {path}: {error.strerror}.") from error
        return (str(path),)

    def save_pretrained(self, save_directory: str | os.PathLike[str]) -> None:
        """Write `vocab.txt`, `tokenizer.json` and `tokenizer_config.json`, as `transformers` reads them.

        There they give the same ids but for the characters that the table in `engine.py` calls mended.
        """
        settings = {name: getattr(self, name) for name in (*SETTINGS, *SPECIAL_TOKENS, "additional_special_tokens")}
        standard = standard_json(
            self._engine,
            do_lower_case=self.do_lower_case,
            strip_accents=self.strip_accents,
            split_cjk=self.tokenize_chinese_chars,
        )
        folder = Path(save_directory)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self.save_vocabulary(folder)
            write_text(folder / TOKENIZER, standard)
            write_json(folder / CONFIG, {"tokenizer_class": "BertTokenizer"} | settings)
        except OSError as error:
            raise InputError(f"The tokenizer cannot be saved to {folder}: {error.strerror}.") from error

    # ------------------------------------------------------------------------------------------------ text to ids

    @foreign(FOREIGN_OPTIONS)
    def __call__(
        self,
        text: str | Sequence[Any],
        text_pair: str | Sequence[Any] | None = None,
        *,
        add_special_tokens: bool = True,
        padding: bool | str = False,
        truncation: bool | str | None = None,
        max_length: int | None = None,
        stride: int = 0,
        is_split_into_words: bool = False,
        pad_to_multiple_of: int | None = None,
        return_tensors: str | None = None,
        return_token_type_ids: bool = True,
        return_attention_mask: bool = True,
        return_overflowing_tokens: bool = False,
        return_special_tokens_mask: bool = False,
        return_offsets_mapping: bool = False,
        split_special_tokens: bool | None = None,
    ) -> BatchEncoding:
        """What a model reads: `[CLS] text [SEP]`, or `[CLS] text [SEP] text_pair [SEP]`, as ids.

        text, text_pair: one text each, or a list each; text alone may also be a list of pairs. With
            `is_split_into_words` every text is a list of words.
        padding: True or "longest", to the longest of the batch; "max_length", to max_length; False.
        truncation: True or "longest_first" (of a pair the longer one is cut), "only_first", "only_second", False; None
            truncates if there is a max_length and no padding.
        max_length: in tokens, with the special ones; None is model_max_length.
        pad_to_multiple_of: padding goes on to a multiple of this (8 suits GPUs).
        return_overflowing_tokens: what truncation cut off comes as further rows; each repeats the last `stride` tokens
            of the one before, and `overflow_to_sample_mapping` says from which text a row is.
        return_tensors: "pt" or "np", int64 of shape (rows, tokens); None, lists.
        split_special_tokens: None, as the tokenizer was made.

        Has `input_ids`, `token_type_ids` (0 up to the first [SEP], then 1), `attention_mask` (0 for padding), and if
        asked for `special_tokens_mask` (1 for special tokens) and `offset_mapping` (first character of each token, and
        the one after its last). The same as `transformers` returns for a `BertTokenizer`; raises `InputError` for
        what is no text, and for lengths that cannot be met.
        """
        batch, is_batch = as_batch(text, text_pair, is_split_into_words)
        if truncation is None:
            truncation = max_length is not None and padding is False
        pad_to, cut, length = self._lengths(padding, truncation, max_length, pad_to_multiple_of)
        if cut is not None:
            self._check_room(length, stride, any(isinstance(item, tuple) for item in batch), add_special_tokens)
        with _engine_lock:
            self._engine.encode_special_tokens = (
                self.split_special_tokens if split_special_tokens is None else split_special_tokens
            )
            if cut is None:
                self._engine.no_truncation()
            else:
                self._engine.enable_truncation(length, stride=stride, strategy=cut, direction=self.truncation_side)
            if pad_to is None:
                self._engine.no_padding()
            else:
                self._engine.enable_padding(
                    length=length if pad_to == "max_length" else None,
                    direction=self.padding_side,
                    pad_id=self.pad_token_id,
                    pad_token=self.pad_token,
                    pad_to_multiple_of=pad_to_multiple_of,
                )
            encodings = self._encode_batch(batch, is_split_into_words, add_special_tokens)

        rows: list[Encoding] = []
        sources: list[int] = []
        for source, encoding in enumerate(encodings):
            parts = [encoding, *encoding.overflowing] if return_overflowing_tokens else [encoding]
            rows += parts
            sources += [source] * len(parts)
        values: dict[str, list[Any]] = {"input_ids": [row.ids for row in rows]}
        if return_token_type_ids:
            values["token_type_ids"] = [row.type_ids for row in rows]
        if return_attention_mask:
            values["attention_mask"] = [row.attention_mask for row in rows]
        if return_special_tokens_mask:
            values["special_tokens_mask"] = [row.special_tokens_mask for row in rows]
        if return_offsets_mapping:
            values["offset_mapping"] = [row.offsets for row in rows]
        if return_overflowing_tokens:
            values["overflow_to_sample_mapping"] = sources
        elif not is_batch and return_tensors is None:
            values = {name: value[0] for name, value in values.items()}
        return BatchEncoding(as_tensors(values, return_tensors), rows)

    encode_plus = batch_encode_plus = __call__  # its older names in transformers, which many notebooks have

    def encode(self, text: str | Sequence[Any], text_pair: str | Sequence[Any] | None = None, **options: Any) -> Any:
        """The `input_ids` alone; `options` are those of the call."""
        return self(text, text_pair, **options)["input_ids"]

    def tokenize(
        self,
        text: str,
        pair: str | None = None,
        *,
        add_special_tokens: bool = False,
        split_special_tokens: bool | None = None,
    ) -> list[str]:
        """The tokens of one text, or of a pair, as strings."""
        if not isinstance(text, str):
            raise InputError(f"tokenize takes one string, found {reprlib.repr(text)}; tokenizer(texts) takes many.")
        return self(
            text, pair, add_special_tokens=add_special_tokens, split_special_tokens=split_special_tokens
        ).tokens()

    @cached_property
    def wordpiece(self) -> WordPieceTokenizer:
        """The definition in plain Python, for the same vocabulary."""
        return WordPieceTokenizer(
            self._vocab,
            self.do_lower_case,
            strip_accents=self.strip_accents,
            split_cjk=self.tokenize_chinese_chars,
            unk_token=self.unk_token,
        )

    def num_special_tokens_to_add(self, pair: bool = False) -> int:
        """How many tokens `add_special_tokens` adds to a text, or to a pair."""
        return self._engine.num_special_tokens_to_add(pair)

    def get_special_tokens_mask(
        self,
        token_ids_0: Sequence[int],
        token_ids_1: Sequence[int] | None = None,
        already_has_special_tokens: bool = False,
    ) -> list[int]:
        """1 for each special token, 0 for the others: of these ids, or of what comes of them once [CLS] and [SEP] are
        added. Collators for masked words ask for it."""
        if not already_has_special_tokens:
            pair = [] if token_ids_1 is None else [*[0] * len(token_ids_1), 1]
            return [1, *[0] * len(token_ids_0), 1, *pair]
        if token_ids_1 is not None:
            raise InputError("Ids with special tokens are one list: leave token_ids_1 out.")
        return [int(token_id in self.all_special_ids) for token_id in token_ids_0]

    def build_inputs_with_special_tokens(
        self, token_ids_0: Sequence[int], token_ids_1: Sequence[int] | None = None
    ) -> list[int]:
        """Ids of a text, or of a pair, with [CLS] and [SEP] added."""
        pair = [] if token_ids_1 is None else [*token_ids_1, self.sep_token_id]
        return [self.cls_token_id, *token_ids_0, self.sep_token_id, *pair]

    def pad(
        self,
        encoded_inputs: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        padding: bool | str = True,
        *,
        max_length: int | None = None,
        pad_to_multiple_of: int | None = None,
        return_attention_mask: bool = True,
        return_tensors: str | None = None,
    ) -> BatchEncoding:
        """One batch out of encodings of different lengths: a list of dicts, or a dict of lists.

        Pads `input_ids`, `token_type_ids`, `attention_mask` (made if it is not there) and `special_tokens_mask`; all
        else, such as labels, goes through as it is. Tensors come back as tensors. The options are those of the call.
        """
        columns = as_columns(encoded_inputs)
        if return_tensors is None:
            return_tensors = kind_of_tensor(columns["input_ids"])
        to, _, length = self._lengths(padding, False, max_length, pad_to_multiple_of)
        padded = pad_columns(
            {name: as_lists(column) for name, column in columns.items()},
            to=to,
            max_length=length,
            multiple=pad_to_multiple_of or 1,
            pad_token_id=self.pad_token_id,
            side=self.padding_side,
            make_attention_mask=return_attention_mask,
        )
        return BatchEncoding(as_tensors(padded, return_tensors))

    # ------------------------------------------------------------------------------------------------ ids to text

    def decode(
        self, token_ids: Any, skip_special_tokens: bool = False, clean_up_tokenization_spaces: bool = False
    ) -> Any:
        """The text of one list of ids, or a list of texts for a batch of them; tensors and arrays do as well.

        It reads like the text did, but not exactly: case, accents and spaces do not come back.
        `clean_up_tokenization_spaces` joins what English joins, such as "isn ' t".
        """
        ids = as_lists(token_ids)
        if isinstance(ids, (list, tuple)) and ids and isinstance(ids[0], (list, tuple)):
            return self.batch_decode(ids, skip_special_tokens, clean_up_tokenization_spaces)
        ids = [ids] if isinstance(ids, int) else ids
        self.convert_ids_to_tokens(ids)  # raises what is wrong with them
        text = self._engine.decode(ids, skip_special_tokens=skip_special_tokens)
        for gap in ENGLISH_GAPS if clean_up_tokenization_spaces else ():
            text = text.replace(gap, gap.strip())
        return text

    def batch_decode(
        self, sequences: Any, skip_special_tokens: bool = False, clean_up_tokenization_spaces: bool = False
    ) -> list[str]:
        """The text of each list of ids."""
        return [self.decode(ids, skip_special_tokens, clean_up_tokenization_spaces) for ids in as_lists(sequences)]

    @overload
    def convert_tokens_to_ids(self, tokens: str) -> int: ...
    @overload
    def convert_tokens_to_ids(self, tokens: list[str] | tuple[str, ...]) -> list[int]: ...
    def convert_tokens_to_ids(self, tokens: str | list[str] | tuple[str, ...]) -> int | list[int]:
        """The id of a token, or of each; that of the unknown token for what is none."""
        if isinstance(tokens, str):
            return self._ids.get(tokens, self.unk_token_id)
        return [self._ids.get(token, self.unk_token_id) for token in tokens]

    @overload
    def convert_ids_to_tokens(self, ids: int, skip_special_tokens: bool = False) -> str: ...
    @overload
    def convert_ids_to_tokens(self, ids: Iterable[int], skip_special_tokens: bool = False) -> list[str]: ...
    def convert_ids_to_tokens(self, ids: int | Iterable[int], skip_special_tokens: bool = False) -> str | list[str]:
        """The token of an id, or of each. Raises `InputError` for a number that is no id."""
        ids = as_lists(ids)
        if isinstance(ids, int):
            return self._token(ids)
        if not isinstance(ids, Iterable):
            raise InputError(f"Ids are whole numbers, one or a list of them: found {ids!r}.")
        special = self.all_special_ids if skip_special_tokens else ()
        return [self._token(token_id) for token_id in ids if token_id not in special]

    def convert_tokens_to_string(self, tokens: Sequence[str]) -> str:
        """Join tokens to words and words to text."""
        text: str = self._engine.decoder.decode(list(tokens))
        return text

    # ------------------------------------------------------------------------------------------------ vocabulary

    @property
    def special_tokens_map(self) -> dict[str, str]:
        """BERT's five, by what they are for."""
        return {name: getattr(self, name) for name in SPECIAL_TOKENS}

    @property
    def vocab_size(self) -> int:
        """How many tokens the vocabulary has, without those added later."""
        return len(self._vocab)

    def __len__(self) -> int:
        """How many tokens there are: as many rows the embeddings of a model must have."""
        return len(self._ids)

    def get_vocab(self) -> dict[str, int]:
        """Each token with its id, added ones too."""
        return dict(self._ids)

    @property
    def vocab(self) -> dict[str, int]:
        """The same."""
        return self.get_vocab()

    def add_tokens(
        self, new_tokens: str | AddedToken | Sequence[str | AddedToken], special_tokens: bool = False
    ) -> int:
        """Tokens that from now on are found before the text is cut. How many of them are not among the added ones yet.

        Those not in the vocabulary get the ids after the last one; a model needs a row for each:
        `model.resize_token_embeddings(len(tokenizer))`. special_tokens: they are left out where special tokens are.
        """
        given = [new_tokens] if isinstance(new_tokens, (str, AddedToken)) else new_tokens
        added = [
            token
            if isinstance(token, AddedToken)
            else AddedToken(token, special=special_tokens, normalized=not special_tokens)
            for token in given
        ]
        for token in added:
            if not token.content or LONE_SURROGATE.search(token.content):
                raise InputError(f"{token.content!r} cannot be a token: no text has it.")
        with _engine_lock:
            # An `AddedToken` becomes special by it.
            count: int = self._engine.add_special_tokens(added) if special_tokens else self._engine.add_tokens(added)
        for token in added:
            token_id: int = self._engine.token_to_id(token.content)  # type: ignore[assignment]  # it is there now
            self._ids[token.content] = token_id
            self._tokens[token_id] = token.content
            if token.special and token.content not in self.all_special_tokens:
                self.additional_special_tokens.append(token.content)
                self.all_special_tokens.append(token.content)
                self.all_special_ids.append(token_id)
        return count

    def add_special_tokens(self, special_tokens_dict: Mapping[str, Sequence[str | AddedToken]]) -> int:
        """`add_tokens` for {"additional_special_tokens": [...]}, in `transformers` 5 "extra_special_tokens".

        Raises `InputError` for others: those of BERT stand in every input, and have to be there when the tokenizer is
        made.
        """
        more: Sequence[str | AddedToken] = ()
        for name, token in special_tokens_dict.items():
            if name in ("additional_special_tokens", "extra_special_tokens"):
                more = token
            elif name not in SPECIAL_TOKENS:
                raise InputError(f"BERT has no '{name}': add it as one of 'additional_special_tokens'.")
            elif token != getattr(self, name):
                raise InputError(
                    f"'{name}' is chosen when the tokenizer is made: BertTokenizer.from_pretrained(..., "
                    f"{name}={token!r}). add_special_tokens adds 'additional_special_tokens'."
                )
        return self.add_tokens(more, special_tokens=True)

    def __repr__(self) -> str:
        return (
            f"BertTokenizer({len(self)} tokens, do_lower_case={self.do_lower_case}, "
            f"model_max_length={self.model_max_length})"
        )

    # ------------------------------------------------------------------------------------------------ inside

    def _lengths(
        self, padding: bool | str, truncation: bool | str, max_length: int | None, pad_to_multiple_of: int | None
    ) -> tuple[str | None, str | None, int]:
        """To what to pad, what to cut, and to how many tokens."""
        pad_to = _choice("padding", padding, PADDINGS)
        cut = _choice("truncation", truncation, TRUNCATIONS)
        if padding is True and max_length is not None and cut is None:
            warnings.warn(
                "max_length does nothing here: truncation=True cuts to it, padding='max_length' pads to it.",
                stacklevel=3,
            )
        if pad_to_multiple_of is not None:
            _check_count("pad_to_multiple_of", pad_to_multiple_of, least=1)
        if max_length is not None:
            _check_count("max_length", max_length, least=0)
        elif self.model_max_length > NO_LIMIT:
            return ("longest" if pad_to == "longest" else None), None, 0  # a length that nothing uses
        else:
            max_length = int(self.model_max_length)
        if pad_to and cut and pad_to_multiple_of and max_length % pad_to_multiple_of:
            raise InputError(
                f"max_length {max_length} is no multiple of pad_to_multiple_of {pad_to_multiple_of}: "
                f"a batch cannot be cut to the one and padded to the other."
            )
        return pad_to, cut, max_length

    def _check_room(self, max_length: int, stride: int, pair: bool, add_special_tokens: bool) -> None:
        special = self.num_special_tokens_to_add(pair)
        if add_special_tokens and max_length < special:
            raise InputError(f"max_length {max_length} leaves no room: there are {special} special tokens already.")
        _check_count("stride", stride, least=0)
        if not add_special_tokens:
            special = self.num_special_tokens_to_add()  # the engine counts these in any case
        if stride > 0 and stride >= max_length - special:
            raise InputError(
                f"stride {stride} must be smaller than {max_length - special}, the tokens of text in max_length "
                f"{max_length}, or no row would get further than the one before."
            )

    def _encode_batch(self, batch: list[Any], is_split_into_words: bool, add_special_tokens: bool) -> list[Encoding]:
        try:
            return self._engine.encode_batch(batch, is_split_into_words, add_special_tokens)
        except BaseException as error:  # nothing narrower: Exception itself, or a panic, if the stride is too wide
            if not str(error).startswith("Truncation error") and type(error).__name__ != "PanicException":
                raise
            raise InputError(
                "Truncation cannot keep to max_length: 'only_second' needs a text_pair, and the text that is not to be "
                "cut must leave room for more than `stride` tokens of the other. Try a greater max_length, a smaller "
                "stride, or truncation=True."
            ) from error

    def _token(self, token_id: int) -> str:
        if token_id not in self._tokens:
            raise InputError(
                f"{token_id!r} is no id: they go from 0 to {len(self) - 1}. "
                f"(-100 marks a label to be ignored: leave it out.)"
            )
        return self._tokens[token_id]


def _in_order(vocab: Mapping[str, int]) -> dict[str, int]:
    """The vocabulary by id. Raises `InputError` for ids with gaps, and for tokens that no `vocab.txt` can hold."""
    ids = list(vocab.values())
    if not all(type(token_id) is int for token_id in ids) or sorted(ids) != list(range(len(ids))):
        raise InputError(f"The ids of a vocabulary of {len(ids)} tokens must be 0 to {len(ids) - 1}, each once.")
    for token in vocab:
        if not isinstance(token, str) or "\n" in token or LONE_SURROGATE.search(token):
            raise InputError(f"{token!r} cannot be a token: it is no string that fits in one line.")
    return dict(sorted(vocab.items(), key=lambda item: item[1]))


def _choice(name: str, value: Any, choices: Mapping[Any, str | None]) -> str | None:
    if not isinstance(value, (bool, str)) or value not in choices:
        raise InputError(f"{name} can be {', '.join(map(repr, choices))}: found {value!r}.")
    return choices[value]


def _check_count(name: str, value: Any, *, least: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise InputError(f"{name} must be a whole number, {least} or more: found {value!r}.")
