"""Stratified cross-validation over the seeds: each fold hides seeds to judge the others on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ssl_dask.array_types import Bool, Int32
from ssl_dask.kernels.arithmetic.row_keys import row_keys
from ssl_dask.labels import Labels


@dataclass(frozen=True)
class HiddenSeeds:
    """Stratified folds of the seeds.

    Examples
    --------
    >>> labels = Labels.from_codes([0, 0, 1, 1, 2], ["a", "b", "c"])
    >>> folds = hide_seeds(labels, n_folds=2, random_state=0)
    >>> folds.n_folds, folds.n_hidden, folds.never_hidden
    (2, 4, (2,))
    """

    fold: Int32
    """int32 (S,), in the order of `Labels.rows`: fold that hides the seed; -1: none."""
    n_folds: int
    """Number of folds; 0 if no seed can be hidden."""
    never_hidden: tuple[int, ...]
    """Codes of the classes with a single seed: hiding it would remove the class."""

    @property
    def n_hidden(self) -> int:
        """Number of seeds that are hidden once."""
        return int((self.fold >= 0).sum())

    def hidden(self, fold: int) -> Bool:
        """Return bool (S,): the seeds hidden in `fold`."""
        return self.fold == fold

    @property
    def masks(self) -> tuple[Bool, ...]:
        """For each fold bool (S,): the seeds that it hides."""
        return tuple(self.hidden(fold) for fold in range(self.n_folds))

    def gathered(self, fold_rows: Sequence[npt.NDArray[Any]], empty: npt.NDArray[Any]) -> Any:
        """Return rows of the hidden seeds of all folds in the order of the seeds, (S, ...).

        Parameters
        ----------
        fold_rows
            For each fold (n_hidden, ...): rows of its hidden seeds, in row order.
        empty
            (S, ...): rows of seeds that are never hidden.
        """
        rows = empty.copy()
        for mask, found in zip(self.masks, fold_rows, strict=True):
            rows[mask] = found
        return rows


def hide_seeds(labels: Labels, n_folds: int, random_state: int) -> HiddenSeeds:
    """Deal the seeds of each class to `n_folds` folds.

    Every class with two or more seeds keeps at least one outside each fold. The fold of a seed
    depends only on `random_state` and the tags of its class and of earlier classes.

    Parameters
    ----------
    n_folds
        0, or at least 2; fewer folds are made if fewer seeds can be hidden.
    random_state
        Chooses the folds.
    """
    fold = np.full(labels.n_seeds, -1, dtype=np.int32)
    counts = labels.class_counts()
    single = tuple(int(code) for code in np.flatnonzero(counts == 1))
    hideable = int(counts[counts > 1].sum())
    n_folds = min(n_folds, hideable)
    if n_folds < 2:
        return HiddenSeeds(fold, 0, single)
    tags = labels.known_by
    shuffled = np.lexsort((tags, row_keys(tags, random_state), labels.codes))
    dealt = shuffled[counts[labels.codes[shuffled]] > 1]
    # One deal over all classes, so that folds have equal sizes too.
    fold[dealt] = np.arange(hideable) % n_folds
    return HiddenSeeds(fold, n_folds, single)
