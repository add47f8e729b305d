"""Where one English sentence ends and the next begins.

A full stop ends a sentence, unless it belongs to an abbreviation or an initial; an abbreviation may also be the
sentence's last word. Whether it is, the next word tells: "the U.S. Army" goes on, "in the U.S. The army" does not,
because *The* has no reason for its capital but to begin a sentence (the idea of Kiss & Strunk 2006, "Unsupervised
Multilingual Sentence Boundary Detection", section 4.1.3, who learn such words; here they are listed).

Pretraining needs no perfect splitter: sentences are the grains out of which text A and text B are put together. Where
it is unclear, no cut is made. A text without any capital, which someone has lower-cased, is cut at its full stops, but
there an abbreviation or a quoted question never ends a sentence, since no capital can show that it does. Other
languages that end sentences with `.`, `!` or `?` are cut, too, but without a list of their abbreviations. The full
stops of Chinese, Japanese, Hindi and Urdu, and the Arabic question mark, belong to no abbreviation and need no space
behind them; but whether a sentence goes on behind a closing quotation mark, nothing tells there.
"""

from __future__ import annotations

import re

# Never the end: a name or a number follows.
TITLES = frozenset(
    """
    adm brig capt cmdr col cpl dr esq fr gen gov hon lieut lt maj messrs mgr mlle mme mons mr mrs ms mt prof rep rev
    sen sgt st supt al approx ca cf eg ie viz vs
    """.split()
)
# Never the end before a number, be it Roman.
NUMBERED = frozenset("art ch chap fig figs no nos op p para pl pp sec sect vol vols ver".split())
# The end if the next word has no other reason for its capital.
OTHERS = frozenset(
    """
    assn ave blvd bros co corp dept dist est etc inc jr ltd rd sr univ
    jan feb mar apr jun jul aug sep sept oct nov dec
    """.split()
)
STARTERS = frozenset(
    """
    a after all although an and as at because before but by during each every few first for from he her his how
    however i if in it its many more most much my no nobody none not nothing now of on one or other others our several
    she since so some such that the their then there these they this those though thus to today two under until we what
    when where which while who why with yes yet you your
    """.split()
)

CLOSING = "\"'”’»)\\]"
OPENING = "\"'“‘«(\\[$£€"
SURE = "。！？।۔؟"
# A mark with the quotes that close after it, white space, and something that can begin a sentence; or a sure mark.
CANDIDATE = re.compile(
    rf"(?P<mark>[.!?…])(?P<closing>[{CLOSING}]*)\s+(?=[{OPENING}—–-]*(?P<next>[^\W_]+))"
    rf"|(?P<sure>[{SURE}])(?![{SURE}…」』）》〉】{CLOSING}])\s*(?=\S)"
)
LAST_WORD = re.compile(r"[^\s\"'“‘«(\[—–-]*$")
ROMAN_OR_NUMBER = re.compile(r"\d+|[IVXLCDM]+")
LETTER_AND_DOT = re.compile(r"[^\W\d_]\.")  # "u.s", but not "3.5"
REACH = 30  # as far back as an abbreviation can begin, in characters


def split_sentences(text: str) -> list[str]:
    """The sentences of a line or paragraph, without white space around them; none is empty.

    Put together again they are the text, but for its white space between sentences.
    """
    sentences = []
    start = 0
    is_end = _is_end_in_lower_case if text.islower() else _is_end
    for candidate in CANDIDATE.finditer(text):
        if candidate["sure"] or is_end(text, candidate):
            sentences.append(text[start : candidate.end()].strip())
            start = candidate.end()
    if rest := text[start:].strip():
        sentences.append(rest)
    return sentences


def _is_end(text: str, candidate: re.Match[str]) -> bool:
    following = candidate["next"]
    if not (following[0].isupper() or following[0].isdecimal()):
        return False
    if _is_pause(text, candidate):
        return following != "I"  # which has its capital anyway, so that this may be a mere pause
    if candidate["mark"] != ".":
        return True
    word = _word_before(text, candidate)
    plain = word.lower().replace(".", "")
    if plain in TITLES:
        return False
    if plain in NUMBERED:
        return not ROMAN_OR_NUMBER.fullmatch(following)
    is_initial = len(word) == 1 and word.isupper() and word != "I"
    if plain in OTHERS or is_initial or "." in word:  # "U.S", "a.m", "Ph.D"
        return following.lower() in STARTERS and not (is_initial and len(following) == 1)
    return True


def _is_end_in_lower_case(text: str, candidate: re.Match[str]) -> bool:
    if _is_pause(text, candidate) or candidate.start("mark") == 0:
        return False
    if candidate["mark"] != ".":
        return not candidate["closing"]
    word = _word_before(text, candidate)
    if word in NUMBERED:
        return not ROMAN_OR_NUMBER.fullmatch(candidate["next"].upper())
    is_initial = len(word) == 1 and word.isalpha() and word != "i"
    return not (word in TITLES or word in OTHERS or is_initial or LETTER_AND_DOT.search(word))


def _is_pause(text: str, candidate: re.Match[str]) -> bool:
    at = candidate.start("mark")
    return candidate["mark"] == "…" or text[at - 1 : at] == "."


def _word_before(text: str, candidate: re.Match[str]) -> str:
    at = candidate.start("mark")
    found = LAST_WORD.search(text, max(0, at - REACH), at)
    return found[0] if found else ""
