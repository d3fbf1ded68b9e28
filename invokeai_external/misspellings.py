"""Which of the known names a user meant: for names of options and values, and for model ids. Pure.

A model id that nobody knows may be a new model, which must work without a release, or a misspelling, which must not
be sent. ``meant_model`` decides:

- Its numbers say which. ``gpt-image-2.7-flare`` has other digits than every known id, so it is a newer version.
- An id that continues a known one after a hyphen is a variant of that, unless it is a misspelling of another one.
- With the digits of a known id, and words that are the same or nearly the same, it is a misspelling of that id. So
  is the same in another case, or with other separators.
- Everything else is a new model.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import SequenceMatcher, get_close_matches

__all__ = ["meant_model", "meant_name", "nearest", "or_nearest"]

_NEARLY_THE_SAME = 0.8
"""From which share of common letters on two words are taken for the same: *flair* and *flare*, not *blaze*."""

_WORTH_ASKING = 0.7
"""The same, for a name that is wrong in any case."""

_WORTH_A_SLIP = 3
"""In letters: two of three are too few common ones, yet rde is red."""

_DATE = re.compile(r"-\d{4}-\d{2}-\d{2}$")
"""The end of the id of a snapshot."""


def meant_name(name: str, known: Iterable[str]) -> str | None:
    """The known name nearest to a name that is wrong in any case; None if no name is near.

    Without a near one, it is the only one that begins or ends with the name as a word: ``block_none`` for ``none``.
    """
    by_plain = {_plain(one): one for one in known}
    plain = _plain(name)
    if found := get_close_matches(plain, by_plain, n=1, cutoff=_WORTH_ASKING):
        return by_plain[found[0]]
    if len(plain) >= _WORTH_A_SLIP and (
        slips := [one for other, one in by_plain.items() if _is_one_slip(plain, other)]
    ):
        return slips[0]
    word = re.escape(name.casefold())
    longer = [one for one in by_plain.values() if plain and re.search(rf"[\W_]{word}$|^{word}[\W_]", one)]
    return longer[0] if len(longer) == 1 else None


def or_nearest(name: str, known: Iterable[str]) -> str:
    """The beginning of a remedy that asks whether the nearest name was meant; empty if no name is near."""
    meant = meant_name(name, known)
    return f"Did you mean {meant}? " if meant else ""


def meant_model(model_id: str, known: Iterable[str]) -> str | None:
    """The known id of which an unknown id is a misspelling; None if it is a new model or a variant of a known one.

    The date of a snapshot is not compared: it stays as it is.
    """
    bare = _DATE.sub("", model_id)
    date = model_id.removeprefix(bare)
    candidates = [one for one in known if not re.match(rf"{re.escape(one)}(-\w|$)", bare)]
    meant = nearest(bare, candidates)
    return f"{meant}{date}" if meant else None


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name of which another is a misspelling, word for word; None for any other name."""
    return max(
        (one for one in known if _is_misspelling(name, one)),
        key=lambda one: SequenceMatcher(None, name, one).ratio(),
        default=None,
    )


def _is_misspelling(model_id: str, of: str) -> bool:
    if _digits(model_id) != _digits(of):
        return False
    words, right_words = _words(model_id), _words(of)
    if len(words) == len(right_words):
        return all(map(_is_nearly, words, right_words))
    # A separator is missing, or there is one too many.
    joined, right = "".join(words), "".join(right_words)
    return joined == right or _is_one_slip(joined, right)


def _is_nearly(word: str, right: str) -> bool:
    return _is_one_slip(word, right) or SequenceMatcher(None, word, right).ratio() >= _NEARLY_THE_SAME


def _is_one_slip(word: str, right: str) -> bool:
    """True if one letter is missing, added or different, or two neighbours are swapped."""
    if word == right:
        return True
    if len(word) != len(right):
        longer, shorter = sorted((word, right), key=len, reverse=True)
        is_one_longer = len(longer) == len(shorter) + 1
        return is_one_longer and any(longer[:i] + longer[i + 1 :] == shorter for i in range(len(longer)))
    wrong = [i for i, (a, b) in enumerate(zip(word, right, strict=True)) if a != b]
    first, last = wrong[0], wrong[-1]
    is_swapped = last == first + 1 and word[first] + word[last] == right[last] + right[first]
    return len(wrong) == 1 or is_swapped


def _words(name: str) -> list[str]:
    return re.findall(r"[^\W\d_]+", name.casefold())


def _digits(name: str) -> str:
    return "".join(re.findall(r"\d", name))


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "", name.casefold())
