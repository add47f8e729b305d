"""Characters that should not be there: traces of wrong encodings, of web pages, of file formats.

A pretrained model has hardly seen any of them. Each check is a function from a text to what it found, or None.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Callable

TAGS = "a abbr b blockquote body br center code div em font form h1 h2 h3 h4 h5 h6 head hr html i iframe img input li"
TAGS += " link meta nobr ol option p pre q s script select small span strike strong style sub sup table tbody td tr tt"
TAGS += " u ul"
TAG = re.compile(rf"</?(?:{'|'.join(TAGS.split())})(?:\s[^<>]*)?/?>", re.IGNORECASE)
ENTITY = re.compile(r"&(?:#\d{1,7}|#x[0-9a-f]{1,6}|[a-z]{2,20}\d{0,2});", re.IGNORECASE)
ESCAPE = re.compile(r"\\(?:[nrt](?![a-z])|u[0-9a-f]{4}|x[0-9a-f]{2}|[/\"'])", re.IGNORECASE)
NOT_ASCII = re.compile(r"[^\x00-\x7f]+")
ASCII_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
LATIN_CONTROL = re.compile(r"[\x80-\x9f]")
WORD = re.compile(r"[^\W\d_]+")

# These are needed in Persian, in the scripts of India and in emoji: zero width joiner and non-joiner.
JOINERS = "\u200c\u200d"
LOOKALIKES = ("LATIN", "CYRILLIC", "GREEK")


def mojibake(text: str) -> str | None:
    """UTF-8 that was read as Windows-1252 or Latin-1, "cafÃ©": read the other way round, it makes sense again.

    Or Windows-1252 that was read as Latin-1: its quotes and dashes become control characters, U+0080 to U+009F.
    """
    if found := LATIN_CONTROL.search(text):
        return f"U+{ord(found[0]):04X}"
    for run in NOT_ASCII.findall(text):
        for wrong in ("cp1252", "latin-1"):
            try:
                run.encode(wrong).decode("utf-8")
            except UnicodeError:
                continue
            return run
    return None


def lost_characters(text: str) -> str | None:
    """U+FFFD, which stands where a decoder met bytes that it could not read: what was there is gone."""
    return "\ufffd" if "\ufffd" in text else None


def control_characters(text: str) -> str | None:
    """What steers a terminal, but for tabs and line ends. Tokenizers drop them, and may join two words so."""
    found = ASCII_CONTROL.search(text)
    return f"U+{ord(found[0]):04X}" if found else None


def invisible_characters(text: str) -> str | None:
    """Unicode's category Cf, such as soft hyphens, zero-width spaces and marks of the writing direction."""
    if text.isascii():  # nearly always, and much faster
        return None
    found = next(
        (char for char in dict.fromkeys(text) if unicodedata.category(char) == "Cf" and char not in JOINERS), None
    )
    return None if found is None else f"U+{ord(found):04X} {unicodedata.name(found, '')}".rstrip()


def html_remains(text: str) -> str | None:
    """Tags, and entities such as `&amp;`."""
    if tag := TAG.search(text):
        return tag[0]
    return next((entity for entity in ENTITY.findall(text) if html.unescape(entity) != entity), None)


def escapes(text: str) -> str | None:
    r"""Escape sequences of programs, left in the text: `\n`, `\/`, `\u00e9`; and the doubled quotes of CSV files."""
    if escape := ESCAPE.search(text):
        return escape[0]
    return '""' if '""' in text else None


def mixed_scripts(text: str) -> str | None:
    """A word with letters of two scripts that look alike, such as a Cyrillic "а" in a Latin word."""
    if text.isascii():
        return None
    for word in WORD.findall(text):
        if not word.isascii() and len({script(char) for char in word} & set(LOOKALIKES)) > 1:
            return word
    return None


def script(char: str) -> str:
    """The script of a letter, as its Unicode name tells: LATIN, CYRILLIC, HIRAGANA, CJK, ...; "" without a name."""
    return unicodedata.name(char, "").partition(" ")[0]


CHECKS: dict[str, tuple[Callable[[str], str | None], str]] = {
    "mojibake": (
        mojibake,
        "the source was read in the wrong encoding: read it again in its own, often UTF-8 or Windows-1252",
    ),
    "lost characters": (lost_characters, "bytes were lost in the wrong encoding: read the source again in its own"),
    "control characters": (control_characters, "remove them"),
    "invisible characters": (invisible_characters, "remove them, unless the language needs them"),
    "HTML left-overs": (html_remains, "turn tags into spaces and entities into characters (html.unescape)"),
    "escape sequences": (escapes, "the file was written by one rule of quoting and read by another"),
    "mixed scripts in a word": (mixed_scripts, "letters that look alike: they make a word unknown"),
}
