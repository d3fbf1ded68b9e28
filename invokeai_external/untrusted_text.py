"""Makes text from outside fit to be shown: no control codes, no hidden or reversed writing, no keys, no endless length.

Everything that a provider, a server or a file says passes ``fit_to_show`` before it is in an error, a notice, metadata
or on a terminal: headers, messages, ids, model versions, the model's own text.
"""

from __future__ import annotations

import re
import unicodedata

__all__ = ["ID", "NAME", "QUOTE", "TEXT", "fit_to_show", "printable", "quoted", "shows_nothing", "without_keys"]

QUOTE = 300
"""How many characters of a message are quoted."""

ID = 128
"""How many characters of an id or of a model's version are shown; real ones have about forty."""

NAME = 255
"""How many characters of a name are shown: file systems allow no longer names of files."""

TEXT = 32_000
"""How many characters of a model's text are stored: as many as the longest prompt has (OpenAI's API reference)."""

_LOOKS_LIKE_A_KEY = re.compile(r"AIza[\w*-]{8,}|\b(?:sk-[\w*-]{8,}|AQ\.[\w*-]{8,}|Bearer\s+[\w.*-]{8,})", re.ASCII)
"""OpenAI's and Google's keys begin with sk-, AIza or AQ. Providers quote keys with asterisks in place of some parts."""

_SHORTEST_KEY = 8
"""In characters. A shorter key is not a secret, and its letters are in many words."""

_SHORTEST_UNIQUE_KEY = 16
"""A shorter key is only removed where it is a whole word; the letters of a longer one are nowhere else by accident."""

_NOT_PLAIN = re.compile(r"[^\n\t\x20-\x7e]+")
_LINE_END = re.compile("\r\n?|[\x0b\x0c\x85\u2028\u2029]")

_HIDDEN = frozenset({"Cc", "Cf"})
"""Unicode's categories of control and format characters: escape codes, reversed writing, characters without a width."""

_MARKS = frozenset({"Mn", "Me"})
"""Unicode's categories of marks on the character before them, such as the selectors of an emoji's form."""

_JOINERS = "\u200c\u200d"
"""They have no width, but emoji and many scripts need one between two of their characters."""

_USELESS_JOINER = re.compile(rf"\A[{_JOINERS}]+|[{_JOINERS}]+\Z|(?<=[{_JOINERS}])[{_JOINERS}]+")

_INVISIBLE = "\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0"
"""Letters and marks that Unicode lets programs show as nothing at all (Default_Ignorable_Code_Point)."""

_BLANK = "\u2800"
"""The Braille pattern without dots, which is a symbol to Unicode."""

_WORD = "".join(map(chr, range(0x21, 0x7F)))
"""The characters that a key may have."""

_SLACK = 4
"""How much longer than the result a text may be before it is cut: most of it may be hidden."""


def fit_to_show(value: object, most: int = QUOTE, *, key: str = "", keeps_lines: bool = False) -> str:
    """A text from outside as it may be shown.

    Args:
        value: The text; anything else gives an empty text.
        most: The most characters; a longer text ends with an ellipsis, and never within a word that may be a key.
        key: The key in use, which is removed like anything else that looks like a key; may be empty.
        keeps_lines: True for a text with lines, such as a model's; else the result is one line with single spaces.
    """
    if not isinstance(value, str):
        return ""
    start = _cut(value, most * _SLACK)
    shown = printable(start)
    if not keeps_lines:
        shown = " ".join(shown.split())
    shown = without_keys(shown, key)
    end = _cut(shown, most)
    return f"{end.rstrip()}…" if len(end) < len(shown) or len(start) < len(value) else end


def printable(text: str) -> str:
    """The whole text without what a terminal acts on and what nobody sees; line breaks and tabs stay.

    Control codes, reversed writing and characters without a width are removed, half characters become question marks.
    Joiners stay between two characters beyond ASCII, where emoji and many scripts need them.
    """
    if text.isascii() and text.isprintable():
        return text
    text = _LINE_END.sub("\n", text)
    return _NOT_PLAIN.sub(_plain, text)


def shows_nothing(text: str) -> bool:
    """True for a text without a single character to see: blanks, control codes, characters without a width."""
    return all(
        sign.isspace() or sign in _JOINERS or sign in _BLANK or _is_hidden(sign) or unicodedata.category(sign) in _MARKS
        for sign in text
    )


def quoted(value: object) -> str:
    """A value that a user wrote, as an error repeats it: a text in quotes, and nothing longer than an id."""
    shown = fit_to_show(value if isinstance(value, str) else repr(value), ID)
    return repr(shown) if isinstance(value, str) else shown


def without_keys(text: str, key: str = "") -> str:
    """The text without the key in use (which may be empty) and without anything that looks like a key."""
    if len(key) >= _SHORTEST_UNIQUE_KEY:
        text = text.replace(key, "[key]")
    elif len(key) >= _SHORTEST_KEY:
        text = re.sub(rf"(?<![\w-]){re.escape(key)}(?![\w-])", "[key]", text, flags=re.ASCII)
    return _LOOKS_LIKE_A_KEY.sub("[key]", text)


def _plain(found: re.Match[str]) -> str:
    """A run of characters beyond printable ASCII, without those that are hidden."""
    shown = "".join("?" if _is_half(sign) else sign for sign in found[0] if not _is_hidden(sign))
    return _USELESS_JOINER.sub("", shown)


def _is_half(sign: str) -> bool:
    return unicodedata.category(sign) == "Cs"


def _is_hidden(sign: str) -> bool:
    return (unicodedata.category(sign) in _HIDDEN and sign not in _JOINERS) or sign in _INVISIBLE


def _cut(text: str, most: int) -> str:
    """The beginning of a text. It does not end within a word in ASCII: half a key would not be recognised as one."""
    start = text[:most]
    return start.rstrip(_WORD) if len(text) > most and text[most] in _WORD else start
