"""What a value of the labels is: a label, no label, or refused, and what is said then."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple

from ssl_dask.errors import Problem

LabelKind = Literal["integer", "boolean", "string", "number"]
LabelValue = int | bool | str | float

WRITE_NULL = "write null (in CSV an empty cell) where a row is unlabelled"
_NOT_KNOWN = (
    f"{WRITE_NULL}, or list the value in input.unlabelled; in input.classes, with all other"
    " classes, if it is one"
)
REFUSALS: dict[str, tuple[str, str]] = {
    "outside": (
        "labels that are none of the classes of the job",
        "correct them, or list them in input.classes, or in input.unlabelled if they mean 'not"
        " known'",
    ),
    "empty": ("labels that are empty text", _NOT_KNOWN),
    "placeholder": ("labels that are words for 'no value'", _NOT_KNOWN),
    "negative": (
        "negative labels; scikit-learn's -1 for 'unlabelled' would become a class",
        _NOT_KNOWN,
    ),
    "several": (
        "labels that are several choices in one JSON list",
        "a row has one class: keep one choice, or leave the label empty",
    ),
    "json": (
        "labels that are JSON, and no list of choices",
        "write the name of the class, or leave the label empty",
    ),
    "utf8": ("labels that are not valid UTF-8", "write them again as UTF-8"),
    "nan": ("labels that are NaN", "write null where a row is unlabelled"),
    "huge": ("labels beyond 1e100", "correct them, or give them in another unit"),
    "infinite": ("labels that are infinite", "correct them, or write null where it is unknown"),
}
"""Why a value is no label -> what a message calls such values, and the cure."""


class Verdict(NamedTuple):
    """What a value is: a label, no label (both None), or refused."""

    label: LabelValue | None
    """The label."""
    refused: str | None = None
    """Why it is refused, a key of `REFUSALS`."""
    word: str = ""
    """The word for "no value" that it is: of what is refused as it stands there, of an entry of
    `input.unlabelled` as `label_key` gives it."""

    @property
    def says_none(self) -> bool:
        """Whether there is no label, and nothing is wrong."""
        return self.label is None and self.refused is None


NO_LABEL = Verdict(None)


def said_none(verdicts: Iterable[Verdict]) -> Counter[str]:
    """Return how many rows an entry of `input.unlabelled` leaves without a label, by its word."""
    return Counter(one.word for one in verdicts if one.says_none and one.word)


MOST_WORDS = 5
"""Words that a message names."""


def refusals(
    counts: Mapping[Verdict, int], shown: str, group: int | None, column: str | None
) -> list[Problem]:
    """Return a problem for each cause that values of one place are refused for, with their rows."""
    problems = []
    for why in sorted({str(one.refused) for one in counts}):
        rows = sum(n for one, n in counts.items() if one.refused == why)
        words = sorted({f"'{one.word}'" for one in counts if one.refused == why and one.word})
        named = f" ({', '.join(words[:MOST_WORDS])})" if words else ""
        text, hint = REFUSALS[why]
        problems.append(Problem(f"{text}{named}: {rows:,}", shown, group, column, rows, hint))
    return problems
