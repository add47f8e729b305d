"""From raw text to a tokenizer with a vocabulary of its own."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence

from tqdm import tqdm

from ..errors import InputError
from ..tokenization import BertTokenizer
from ..tokenization.learn import count_words, learn_wordpiece_fast
from .corpus import find_files, read_documents


def learn_tokenizer(
    paths: Sequence[str | os.PathLike[str]], size: int, do_lower_case: bool = True
) -> tuple[BertTokenizer, Counter[str]]:
    """A tokenizer of `size` tokens, learnt from text files as `corpus.py` describes them, and the words with counts.

    Raises `InputError` for files that cannot be used, for text without a word, and for a size without room for letters.
    """
    files = find_files(paths)
    total = sum(file.stat().st_size for file in files)
    with tqdm(total=total, desc="count words", unit="B", unit_scale=True, dynamic_ncols=True) as bar:
        lines = (line for file in files for document in read_documents(file, bar.update) for line in document)
        words = count_words(lines, do_lower_case)
    if not words:
        raise InputError(f"There is no text in {', '.join(map(str, paths))}.")
    with tqdm(total=size, desc="learn", unit=" tokens", dynamic_ncols=True) as bar:
        vocab = learn_wordpiece_fast(words, size, bar.update)
    return BertTokenizer({token: i for i, token in enumerate(vocab)}, do_lower_case=do_lower_case), words
