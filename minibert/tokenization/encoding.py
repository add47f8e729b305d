"""What a tokenizer returns: a dict of lists or tensors that also knows where in the text each token came from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..errors import InputError

if TYPE_CHECKING:
    import numpy.typing as npt
    import torch
    from tokenizers import Encoding


class BatchEncoding(dict[str, Any]):
    """`encoding["input_ids"]`, also as `encoding.input_ids`; `model(**encoding)` takes it as it is.

    `encodings` are the engine's own records, one a row: what the methods here read. It is empty for a batch that
    `BertTokenizer.pad` put together, of which the text is not known any more.
    """

    is_fast = True  # as transformers calls those that know where tokens came from

    def __init__(self, values: dict[str, Any], encodings: Sequence[Encoding] = ()) -> None:
        super().__init__(values)
        self.encodings = encodings

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"no '{name}' here, but {', '.join(self)}") from None

    def to(self, device: str | int | torch.device, *, non_blocking: bool = False) -> BatchEncoding:
        """Move its tensors to a device, and return it."""
        for name, value in self.items():
            if hasattr(value, "to"):
                self[name] = value.to(device=device, non_blocking=non_blocking)
        return self

    def tokens(self, batch_index: int = 0) -> list[str]:
        """The tokens of one row, special and padding ones too."""
        return self._row(batch_index).tokens

    def word_ids(self, batch_index: int = 0) -> list[int | None]:
        """For each token of one row the number of the word it is of, None for special tokens.

        Words are counted from 0 in each text: those that were given (`is_split_into_words`), or else what white space,
        punctuation and Chinese characters make of the text.
        """
        return self._row(batch_index).word_ids

    def sequence_ids(self, batch_index: int = 0) -> list[int | None]:
        """For each token of one row 0 (of the first text), 1 (of the second) or None (special)."""
        return self._row(batch_index).sequence_ids

    def char_to_token(
        self, batch_or_char_index: int, char_index: int | None = None, sequence_index: int = 0
    ) -> int | None:
        """The token that holds a character of the text, or None if none does (white space, or cut off).

        Called as `char_to_token(char)` for the first row, or `char_to_token(row, char)`. `sequence_index`: 0 for a
        place in the first text, 1 in the second.
        """
        row, char = self._at(batch_or_char_index, char_index)
        return row.char_to_token(char, sequence_index)

    def token_to_chars(self, batch_or_token_index: int, token_index: int | None = None) -> tuple[int, int] | None:
        """Where in its text a token stands: its first character and the one after its last; None for special ones.

        Called as `token_to_chars(token)` for the first row, or `token_to_chars(row, token)`.
        """
        row, token = self._at(batch_or_token_index, token_index)
        return row.token_to_chars(token)

    def token_to_word(self, batch_or_token_index: int, token_index: int | None = None) -> int | None:
        """The number of the word that a token is of, None for special ones. Called as `token_to_chars` is."""
        row, token = self._at(batch_or_token_index, token_index)
        return row.token_to_word(token)

    def char_to_word(
        self, batch_or_char_index: int, char_index: int | None = None, sequence_index: int = 0
    ) -> int | None:
        """The number of the word that a character of the text is in. Called as `char_to_token` is."""
        row, char = self._at(batch_or_char_index, char_index)
        return row.char_to_word(char, sequence_index)

    def word_to_tokens(
        self, batch_or_word_index: int, word_index: int | None = None, sequence_index: int = 0
    ) -> tuple[int, int] | None:
        """The first token of a word and the one after its last; None if there is no such word.

        Called as `word_to_tokens(word)` for the first row, or `word_to_tokens(row, word)`. `sequence_index` as above.
        """
        row, word = self._at(batch_or_word_index, word_index)
        return row.word_to_tokens(word, sequence_index)

    def word_to_chars(
        self, batch_or_word_index: int, word_index: int | None = None, sequence_index: int = 0
    ) -> tuple[int, int] | None:
        """Where in its text a word stands: its first character and the one after its last. Called likewise."""
        row, word = self._at(batch_or_word_index, word_index)
        return row.word_to_chars(word, sequence_index)

    def _at(self, batch_or_place: int, place: int | None) -> tuple[Encoding, int]:
        """A row and a place in it: one number alone is a place in the first row."""
        return (self._row(0), batch_or_place) if place is None else (self._row(batch_or_place), place)

    def _row(self, index: int) -> Encoding:
        if not self.encodings:
            raise InputError("This batch does not know its texts any more: ask the result of tokenizer(...) itself.")
        if not -len(self.encodings) <= index < len(self.encodings):
            raise InputError(f"There is no row {index} in a batch of {len(self.encodings)}.")
        return self.encodings[index]


def as_tensors(values: dict[str, Any], return_tensors: str | None) -> dict[str, Any]:
    """The lists as tensors ("pt"), arrays ("np"), or as they are (None). Whole numbers are int64.

    Raises `InputError` for rows of different lengths, and for what is not made of numbers.
    """
    if return_tensors is None:
        return values
    if return_tensors not in ("pt", "np"):
        raise InputError(f"return_tensors can be 'pt', 'np' or None: found {return_tensors!r}.")
    arrays = {name: _as_array(name, value) for name, value in values.items()}
    if return_tensors == "np":
        return arrays
    import torch

    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}  # from lists it takes 5 times as long
    return {
        name: tensor.to(torch.get_default_dtype()) if tensor.is_floating_point() else tensor
        for name, tensor in tensors.items()
    }


def _as_array(name: str, value: Any) -> npt.NDArray[Any]:
    import numpy as np

    try:
        array = np.asarray(value)
    except ValueError as error:
        raise InputError(
            f"The rows of '{name}' have different lengths, and a tensor needs equal ones: "
            f"pass padding=True, and truncation=True to cut off what is too long for the model."
        ) from error
    if array.size == 0 or array.dtype.kind in "iu":
        return array.astype(np.int64, copy=False)
    if array.dtype.kind not in "bf":
        raise InputError(f"'{name}' cannot become a tensor: it holds something else than numbers.")
    return array


def as_lists(value: Any) -> Any:
    """Tensors and arrays as lists, in a list too; anything else as it is."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, (list, tuple)) and value and hasattr(value[0], "tolist"):
        return [as_lists(item) for item in value]
    return value


def kind_of_tensor(value: Any) -> str | None:
    """What `return_tensors` calls it: "pt" for a tensor or a list of them, "np" for arrays, None for lists."""
    if isinstance(value, (list, tuple)):
        return kind_of_tensor(value[0]) if value else None
    if hasattr(value, "numpy"):
        return "pt"
    return "np" if hasattr(value, "tolist") else None
