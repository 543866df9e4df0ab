"""Words that stand for no value, and names that look alike."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

WORDS_FOR_NOTHING = frozenset(
    """
    na n/a n.a #n/a #na <na> null <null> (null) \\n nil none <none> (none) nan -nan nat
    1.#ind -1.#ind 1.#qnan #null! #value! #ref! #div/0! #name? #num!
    undefined undef unknown unk unlabeled unlabelled unset unspecified unassigned missing <missing>
    (missing) blank (blank) empty (empty) n\\a tbd tba todo pending
    """.split()  # noqa: SIM905
) | {
    "",
    "not known",
    "not labeled",
    "not labelled",
    "no label",
    "no value",
    "not available",
    "not applicable",
    "not set",
    "no answer",
    "to do",
    "#n/a n/a",
    "#n/d",
    "n.d",
}
"""What programs and people write for "no value", as `folded` returns it, full stops at the end
left out."""
MARKS_FOR_NOTHING = re.compile("[-?.~_\u2013\u2014\u2212]+|[-\u2212]0*1(\\.0*)?(e\\+?0+)?")
"""What else they write: marks alone, such as ???, dashes and dots; minus one as a number."""
WRAPPED = frozenset(str(2**bits - 1) for bits in (32, 64))
"""Minus one as text that has been an unsigned integer."""
QUOTES = "'\"`;"
"""What stands around a word that was written as text of text."""

ENDS_OF_TYPES = frozenset(2**bits - 1 for bits in (8, 15, 16, 31, 32, 63))
"""Largest numbers of integer types, with which masks and rasters mark what is not known."""

_BLANKS = re.compile(r"\s+")


def folded(text: str) -> str:
    """Return what a reader sees of a text: no capitals, no blanks around it, nothing invisible.

    >>> folded(" N/A\\u200b"), folded("cafe\\u0301") == folded("CAF\\u00c9")
    ('n/a', True)
    """
    if text.isascii() and text.isprintable():
        return _BLANKS.sub(" ", text).strip().casefold()
    plain = unicodedata.normalize("NFKC", text)
    # Cf: zero-width characters, the byte order mark, marks of direction; Cc: NUL and its like.
    seen = "".join(
        one for one in plain if one.isspace() or unicodedata.category(one) not in ("Cf", "Cc")
    )
    return unicodedata.normalize("NFKC", _BLANKS.sub(" ", seen).strip().casefold())


def stands_for_nothing(value: object) -> bool:
    """Return whether `value` is what programs write for "no value": None, NaN, -1, or a word.

    >>> [stands_for_nothing(one) for one in (" n/a", "????", -1.0, 0, False, "no")]
    [True, True, True, False, False, False]
    """
    if isinstance(value, str):
        seen = folded(value).strip(QUOTES)
        words = {seen.rstrip("."), re.sub("[_-]+", " ", seen).strip()}
        return bool(MARKS_FOR_NOTHING.fullmatch(seen) or words & (WORDS_FOR_NOTHING | WRAPPED))
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return not isinstance(value, bool) and bool(value == -1 or value != value)


def wrapped_minus_one(bits: int) -> int:
    """Return what -1 becomes in an unsigned integer, and what many programs write for "no label".

    >>> wrapped_minus_one(8)
    255
    """
    return int(2**bits - 1)


def code_for_nothing(classes: Sequence[int]) -> int | None:
    """Return the class that looks like a code for "not known" among integers, or None.

    The largest one, where it is of nines alone or the largest number of an integer type, and more
    than ten times all others.

    >>> code_for_nothing([0, 1, 2, 99]), code_for_nothing([0, 255]), code_for_nothing([98, 99])
    (99, 255, None)
    """
    *others, last = sorted(classes) or [0]
    is_code = last in ENDS_OF_TYPES or (last > 9 and set(str(last)) == {"9"})
    return last if others and is_code and last > 10 * others[-1] else None


def alike_names(names: Sequence[str]) -> str | None:
    """Return a warning if class names look alike, else None.

    >>> alike_names(["Spam", "ham", "spam "])[:54]
    'Classes whose names differ by capitals, blanks or char'
    """
    spelled: dict[str, list[str]] = {}
    for name in names:
        spelled.setdefault(folded(name), []).append(name)
    alike = [_told_apart(group) for group in spelled.values() if len(group) > 1]
    if not alike:
        return None
    return (
        "Classes whose names differ by capitals, blanks or characters that look alike:"
        f" {', '.join(alike)}. Each is a class of its own; if they are one, spell their labels"
        " alike."
    )


def _told_apart(group: Sequence[str]) -> str:
    """Return names in quotes; their characters as numbers where they would print the same."""
    plain = {" ".join(name.split()).casefold() for name in group}
    return " and ".join(map(repr if len(plain) == 1 else ascii, group))
