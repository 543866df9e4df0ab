"""Classes that have collapsed into few: how it is noticed, and what it is answered with.

The harmonic function of many rows with few seeds is nearly constant, and the class whose seeds lie
best takes all rows (Nadler, Srebro and Zhou 2009). The shares of the rows are compared with those
of the seeds; seeds that were hidden may contradict, for classes can be as unequal as that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ssl_dask.array_types import Bool, Float32, Float64
from ssl_dask.labels import Labels

GONE = 0.1
"""A class is gone that has no more than this part of the share of the rows that it should have."""
MISSING_SHARE = 0.5
"""Classes have collapsed if those that are gone should have had so much; or if one alone is left.
"""

MOST_NAMED = 5
"""So many classes are named in a sentence."""


class CollapseWarning(UserWarning):
    """Most classes have got next to no row."""


@dataclass(frozen=True)
class Collapse:
    """Classes that got next to no row."""

    gone: tuple[int, ...]
    """Codes of the classes."""
    n_classes: int
    """Number of classes that have seeds."""
    expected: float
    share: float
    """Their share of the seeds (or what was expected of them), and of the rows with a label."""
    classes: tuple[tuple[str, float, float], ...] = ()
    """Name of each class that is gone, its share of the seeds (or what was expected), and of the
    rows with a label."""
    kept: int = 0
    lost: int = 0
    """Seeds of these classes that got their class while they were hidden, and that did not."""

    @property
    def contradicted(self) -> bool:
        """Whether most of their hidden seeds got their class: the classes are rare, not gone."""
        return self.kept > self.lost

    def judged(self, labels: Labels, hidden: Sequence[Bool], hidden_F: Float32) -> Collapse:
        """Return the same with the hidden seeds counted.

        Parameters
        ----------
        hidden
            bool (S,) each: the seeds that a fold hides.
        hidden_F
            float32 (S, C): the seeds' rows of F while they were hidden.
        """
        was_hidden = np.logical_or.reduce([np.zeros(labels.n_seeds, dtype=np.bool_), *hidden])
        asked = was_hidden & np.isin(labels.codes, self.gone)
        F = hidden_F[asked]
        right = (F.argmax(axis=1) == labels.codes[asked]) & F.any(axis=1)
        kept = int(np.count_nonzero(right))
        return replace(self, kept=kept, lost=int(np.count_nonzero(asked)) - kept)

    def sentence(self) -> str:
        """Return what a person should know."""
        seeds = ""
        if self.kept + self.lost:
            seeds = (
                f", and {self.kept} of {self.kept + self.lost} of their seeds got their class while"
                " hidden"
            )
        named = ", ".join(
            f"{name} (expected {expected:.1%}, found {found:.1%})"
            for name, expected, found in self.classes[:MOST_NAMED]
        )
        more = len(self.classes) - MOST_NAMED
        return (
            f"{len(self.gone)} of {self.n_classes} classes, which were expected to have"
            f" {self.expected:.1%} of the rows, have {self.share:.1%} of those that got a"
            f" label{seeds}: {named}{f' and {more} more' if more > 0 else ''}"
        )


def find_collapse(
    class_rows: npt.ArrayLike, expected: Float64, names: Sequence[str]
) -> Collapse | None:
    """Return which classes are gone, if they are too many.

    Parameters
    ----------
    class_rows
        (C,): rows by most likely class, or their shares.
    expected
        float64 (C,): the shares that are expected, those of the seeds for want of better.
    names
        The C classes as text.
    """
    rows = np.asarray(class_rows, dtype=np.float64)
    present = int(np.count_nonzero(expected))
    if rows.sum() <= 0.0 or present < 2:
        return None
    shares = rows / rows.sum()
    gone = (shares <= GONE * expected) & (expected > 0.0)
    missing = float(expected[gone].sum())
    one_left = np.count_nonzero(gone) == present - 1
    if missing < MISSING_SHARE and not one_left:
        return None
    codes = tuple(np.flatnonzero(gone).tolist())
    classes = tuple((names[code], float(expected[code]), float(shares[code])) for code in codes)
    return Collapse(codes, present, missing, float(shares[gone].sum()), classes)
