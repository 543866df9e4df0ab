"""A case of the golden runs, and what it is given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.goldens.content import Items
from tests.goldens.places import Places

QUICK, USUAL, FULL = 0, 1, 2
"""Sizes of a recording; each has the cases of the smaller ones."""


@dataclass(frozen=True)
class Work:
    """What all cases share.

    Parameters
    ----------
    folder
        Holds the inputs; cases make folders of their own in it.
    places
        Where jobs run.
    keep
        Folder for reports as they are compared, or None.
    """

    folder: Path
    places: Places
    keep: Path | None = None

    def kept(self, case: str) -> Path | None:
        """Return the file to keep the report of a case in."""
        return None if self.keep is None else self.keep / f"{case.replace('/', '+')}.json"


@dataclass(frozen=True)
class Case:
    """A name, the smallest size of a recording that has it, and what finds its items."""

    name: str
    size: int
    items: Callable[[Work], Items]
