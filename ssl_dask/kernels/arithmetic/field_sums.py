"""Records of counts whose fields add up: those of two blocks are the sums, field by field."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, Self


class FieldSums:
    """A dataclass of counts, arrays of counts, or None; `a + b` adds them field by field.

    Raises
    ------
    ValueError
        A field is None in one of the two alone.
    """

    def __add__(self, other: Self) -> Self:
        names = [one.name for one in fields(self)]  # type: ignore[arg-type]
        return type(self)(*(_both(getattr(self, name), getattr(other, name)) for name in names))


def _both(a: Any, b: Any) -> Any:
    if (a is None) != (b is None):
        raise ValueError("counts with a truth column cannot be added to counts without one")
    return None if a is None else a + b
