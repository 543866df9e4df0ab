"""Where the rows of a label file stand: the number of the line or row, and the part's name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FIRST_SHOWN = 5
"""Rows that a message names."""


@dataclass(frozen=True)
class LabelPlaces:
    """The places of the rows of a label file, which may be of several parts."""

    parts: Sequence[tuple[str, str]]
    """(name of the part, what its rows are numbered by, such as "line") of each part."""
    part: npt.NDArray[np.int64]
    """int64 (S,): position of each row's part in `parts`."""
    number: npt.NDArray[np.int64]
    """int64 (S,): its line, or row counted from 1, in that part."""

    @classmethod
    def of(cls, parts: Iterable[tuple[str, str, Sequence[int]]]) -> LabelPlaces:
        """Return the places of all rows, given name, unit and numbers of each part."""
        known = list(parts)
        lengths = [len(numbers) for _, _, numbers in known]
        number = np.fromiter((one for _, _, numbers in known for one in numbers), dtype=np.int64)
        names = [(name, unit) for name, unit, _ in known]
        return cls(names, np.repeat(np.arange(len(known)), lengths), number)

    @classmethod
    def joined(cls, places: Sequence[LabelPlaces]) -> LabelPlaces:
        """Return the places of the rows of several files, one after the other."""
        first = np.cumsum([0, *(len(one.parts) for one in places)])
        parts = [one.part + start for one, start in zip(places, first[:-1], strict=True)]
        number = np.concatenate([one.number for one in places])
        return cls([part for one in places for part in one.parts], np.concatenate(parts), number)

    def keep(self, kept: npt.NDArray[np.bool_]) -> LabelPlaces:
        """Return the places of the rows of a mask, bool (S,)."""
        return LabelPlaces(self.parts, self.part[kept], self.number[kept])

    def told(self, rows: npt.NDArray[np.int64]) -> str:
        """Return the first places of rows in words: line 3, line 7; or with the parts' names."""
        words = []
        for row in rows[:FIRST_SHOWN].tolist():
            name, unit = self.parts[self.part[row]]
            here = f"{name}, " if len(self.parts) > 1 else ""
            words.append(f"{here}{unit} {self.number[row]:,}")
        more = ", ..." if len(rows) > FIRST_SHOWN else ""
        return ("; " if len(self.parts) > 1 else ", ").join(words) + more
