"""The same WordPiece in Rust: the `tokenizers` engine, put together so that it equals the definition.

The engine's own parts for BERT (`BertNormalizer`, `BertPreTokenizer`) differ from Google's code in small ways. Here one
general part stands for each step of `wordpiece.py`, in the same order, which mends most of them and is no slower:

| where the engine's parts for BERT differ from Google's code                              | here                  |
| ---------------------------------------------------------------------------------------- | --------------------- |
| words of 101 to 200 characters become [UNK]                                              | mended                |
| the capital sigma at the end of a word becomes σ, it should be ς                         | mended                |
| private-use characters are dropped                                                       | mended                |
| the Chinese characters U+2B820 to U+2B91F are not set apart                              | mended                |
| format characters, accents and punctuation younger than those parts count as letters     | mended                |
| special tokens written in the text, such as [MASK], are kept whole                       | split_special_tokens  |
| characters on which the engine's version of Unicode and Python's differ                  | remain, see below     |

With Python 3.11, which has Unicode 14, these are 171 of 1.1 million code points, and Python knows two of them.
"""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from .wordpiece import CJK_RANGES, CONTINUES, MAX_WORD_LENGTH

INVISIBLE = Regex("[\\p{Cc}\\p{Cf}\ufffd&&[^\t\n\r]]")
ACCENT = Regex(r"\p{Mn}")

# Python lower-cases a capital sigma at the end of a word to ς by Unicode's rule (chapter 3.13, Final_Sigma): there is a
# letter with cases before it and none after it, not counting what may stand in between, such as an apostrophe.
LETTER = r"[\p{Cased}&&\P{Case_Ignorable}]"
FINAL_SIGMA = Regex(rf"(?<={LETTER}\p{{Case_Ignorable}}*)Σ(?!\p{{Case_Ignorable}}*{LETTER})")


def build_engine(
    vocab: Mapping[str, int],
    added_tokens: Sequence[AddedToken],
    *,
    unk_token: str,
    cls: tuple[str, int],
    sep: tuple[str, int],
    do_lower_case: bool,
    strip_accents: bool,
    split_cjk: bool,
) -> Tokenizer:
    """The engine for a vocabulary. `cls` and `sep` are the tokens put around a text, with their ids.

    `added_tokens` are found in the text before it is cut, and those that are `normalized` after case and accents have
    been dealt with, in the tokens, too. Those not in the vocabulary get the ids after it, in order.
    """
    engine = Tokenizer(
        models.WordPiece(
            dict(vocab),
            unk_token=unk_token,
            continuing_subword_prefix=CONTINUES,
            max_input_chars_per_word=MAX_WORD_LENGTH,
        )
    )
    engine.normalizer = _normalizer(do_lower_case, strip_accents)
    engine.add_tokens(list(added_tokens))  # after the normalizer: up to 0.22 it is used on tokens that are added later
    engine.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(_set_apart(split_cjk), "isolated"), pre_tokenizers.WhitespaceSplit()]
    )
    engine.post_processor = processors.BertProcessing(sep, cls)
    engine.decoder = decoders.WordPiece(CONTINUES)
    return engine


def standard_json(engine: Tokenizer, *, do_lower_case: bool, strip_accents: bool | None, split_cjk: bool) -> str:
    """The engine as other programs expect a BERT in `tokenizer.json`: with the engine's own BERT parts."""
    standard = Tokenizer.from_str(engine.to_str())
    standard.no_truncation()
    standard.no_padding()
    standard.normalizer = normalizers.BertNormalizer(
        clean_text=True, handle_chinese_chars=split_cjk, strip_accents=strip_accents, lowercase=do_lower_case
    )
    standard.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return standard.to_str(pretty=True)


def _normalizer(do_lower_case: bool, strip_accents: bool) -> normalizers.Normalizer:
    steps: list[normalizers.Normalizer] = [normalizers.Replace(INVISIBLE, "")]
    if do_lower_case:
        steps += [normalizers.Replace(FINAL_SIGMA, "ς"), normalizers.Lowercase()]
    if strip_accents:
        steps += [normalizers.NFD(), normalizers.Replace(ACCENT, "")]
    return normalizers.Sequence(steps)


def _set_apart(split_cjk: bool) -> Regex:
    """Every character that is a word by itself: punctuation, and Chinese."""
    punctuation = "".join(f"\\{char}" for char in string.punctuation)
    cjk = "".join(f"{chr(first)}-{chr(last)}" for first, last in CJK_RANGES) if split_cjk else ""
    return Regex(f"[\\p{{P}}{punctuation}{cjk}]")
