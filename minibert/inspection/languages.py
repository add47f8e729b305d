"""Which language a text is in, as far as its smallest words tell.

Function words make up a good part of any running text, and differ from language to language. This is enough to find
the French review among English ones; it says nothing about short or mixed texts, and knows seven languages.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

from .characters import script

# The most frequent of each. A word of several languages, such as "die" or "de", speaks for each of them.
FUNCTION_WORDS = {
    "English": "the and of to is that it was for with as this are be at have from not but they in a on i he do you so",
    "German": "der die das und ist nicht ein eine ich sie mit dem den von auf für sich auch im in zu es wie was",
    "French": "le la les de et des du est une un dans qui pour pas vous avec ce sur plus au je il en que à",
    "Spanish": "el la los de y que en un una las por con no para del se muy lo es su al pero más como a",
    "Italian": "il la che di è e un una gli della non nel sono per con più si ma del i le in da lo ho a",
    "Portuguese": "o a os um uma de que e não em do da para com no na foi muito é se por mais dos ao mas",
    "Dutch": "de het een van en in is niet dat zijn op te voor maar met er ook aan die naar ik je wat was",
}
LANGUAGES_OF: dict[str, list[str]] = {}
for _language, _words in FUNCTION_WORDS.items():
    for _word in _words.split():
        LANGUAGES_OF.setdefault(_word, []).append(_language)
LEAST = 3  # different function words that a verdict needs


def language(text: str) -> str | None:
    """The language of a text in Latin letters; None if its words do not tell. A repeated word speaks once."""
    words = set(re.findall(r"[^\W\d_]+", text.casefold()))
    votes = Counter(language for word in words for language in LANGUAGES_OF.get(word, ()))
    (first, most), (_, second) = [*votes.most_common(2), ("", 0), ("", 0)][:2]
    return first if most >= LEAST and most > second else None


def main_script(text: str) -> str | None:
    """The script of most of a text's letters, None without any."""
    if text.isascii():  # by far the most frequent case, and a hundred times as fast
        return "LATIN" if any(map(str.isalpha, text)) else None
    scripts: Counter[str] = Counter()
    for char, count in Counter(text).items():  # each letter is looked up once
        if char.isalpha():
            scripts[script(char)] += count
    return scripts.most_common(1)[0][0] if scripts else None


def most_frequent(values: Iterable[str | None]) -> str | None:
    """The most frequent value that is not None; None if there is none."""
    counts = Counter(value for value in values if value is not None)
    return counts.most_common(1)[0][0] if counts else None
