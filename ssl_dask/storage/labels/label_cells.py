"""What the text of a label says: a number, a truth value, the choices of an annotation tool."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from ssl_dask.label_words import folded

WHOLE = re.compile(r"-?(0|[1-9][0-9]*)(\.0*)?")
"""An integer, or one that became a float because other cells are empty."""
DECIMAL = re.compile(r"-?[0-9]+\.[0-9]*")
NUMBER = re.compile(r"[-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?")
BOOLEANS = {"true": True, "false": False}


class NoChoicesError(ValueError):
    """The text is a JSON list or object, but not of choices."""


def choices_in(text: str) -> list[str] | None:
    """Return the choices in what annotation tools write, or None where the text is no JSON of them.

    Raises
    ------
    NoChoicesError
        A JSON list or object of something else.

    Examples
    --------
    >>> choices_in('{"choices": ["ham"]}'), choices_in('["a", "b"]'), choices_in("[]")
    (['ham'], ['a', 'b'], [])
    >>> choices_in("ham"), choices_in("[INFO]")
    (None, None)
    """
    if text.lstrip()[:1] not in ("[", "{"):
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return choices_of(found)


def choices_of(found: Any) -> list[str]:
    """Return the choices in a JSON list, or in an object with the one key `choices`.

    Raises
    ------
    NoChoicesError
        It is something else.
    """
    if isinstance(found, dict) and list(found) == ["choices"]:
        found = found["choices"]
    if isinstance(found, list) and len(found) == 1 and isinstance(found[0], dict):
        return choices_of(found[0])
    many = [found] if found is None or isinstance(found, str) else found
    if not isinstance(many, list) or any(isinstance(one, (dict, list)) for one in many):
        raise NoChoicesError
    return [one if isinstance(one, str) else json.dumps(one) for one in many if one is not None]


def label_key(value: object) -> str:
    """Return the text by which a label is compared with `input.unlabelled`.

    >>> [label_key(one) for one in (0, 0.0, " NA ", True)]
    ['0', '0', 'na', 'true']
    """
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return folded(str(value))


def values_of_cells(cells: list[str], turn: Callable[[str], Any]) -> tuple[list[Any], list[bool]]:
    """Return the value of each cell, None where empty or wrong, and whether it is not wrong.

    `turn` raises ValueError or KeyError for a wrong cell.
    """
    values: list[Any] = []
    kept: list[bool] = []
    for cell in cells:
        value, right = None, True
        if cell != "":
            try:
                value = turn(cell)
            except (ValueError, KeyError):
                right = False
        values.append(value)
        kept.append(right)
    return values, kept


def as_number(cell: str) -> float:
    """Return the number of a cell; raise ValueError where it is none."""
    if not NUMBER.fullmatch(cell.strip()):
        raise ValueError
    # -0.0 becomes 0.0, as in a column.
    return float(cell) + 0.0


def as_whole(cell: str) -> int:
    """Return the whole number of a cell, 7 for 7.0; raise ValueError where it is none."""
    if not WHOLE.fullmatch(cell.strip()):
        raise ValueError
    return int(cell.strip().partition(".")[0])


def as_int64(cell: str) -> int:
    """Return the whole number of a cell; raise ValueError where it is none that int64 holds."""
    value = as_whole(cell)
    if not -(2**63) <= value < 2**63:
        raise ValueError
    return value
