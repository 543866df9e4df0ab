"""Where the evidence enters: seeds as right-hand sides, some hidden in further columns."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ssl_dask.errors import QualityError
from ssl_dask.kernels.propagation_step import StripSeeds
from ssl_dask.labels import Labels


@dataclass(frozen=True)
class SeedSources:
    """Groups of columns, C each: all seeds, then one group for each fold in which some are hidden.

    The groups stand side by side and go through the same sweeps, so that judging a method by hidden
    seeds costs columns, not sweeps.

    Parameters
    ----------
    labels
        The seeds.
    hidden
        bool (G, S): which seeds each group does not see; nothing is hidden in group 0.
    """

    labels: Labels
    hidden: npt.NDArray[np.bool_]

    @classmethod
    def from_folds(cls, labels: Labels, folds: Sequence[npt.NDArray[np.bool_]] = ()) -> SeedSources:
        """Build from the seeds and, for each fold, a bool array (S,) of the seeds that it hides.

        Raises
        ------
        QualityError
            There is no seed, or a fold hides them all.
        ValueError
            A fold is not a bool array of one value for each seed.
        """
        if labels.n_seeds == 0:
            raise QualityError(
                "no labelled rows: nothing can be propagated", hint="label a few rows of each class"
            )
        hidden = np.zeros((len(folds) + 1, labels.n_seeds), dtype=np.bool_)
        for group, fold in enumerate(folds, start=1):
            mask = np.asarray(fold)
            if mask.dtype != np.bool_ or mask.shape != (labels.n_seeds,):
                raise ValueError(
                    f"fold {group} must be bool of shape ({labels.n_seeds},), one value a seed; got"
                    f" {mask.dtype} of shape {mask.shape}"
                )
            if mask.all():
                raise QualityError(f"fold {group} hides all {labels.n_seeds} seeds")
            hidden[group] = mask
        return cls(labels, hidden)

    @property
    def n_groups(self) -> int:
        """Number of groups G."""
        return len(self.hidden)

    @property
    def n_columns(self) -> int:
        """Number of columns G * C."""
        return self.n_groups * self.labels.n_classes

    def digest(self) -> str:
        """Return a SHA-256 of rows, codes and hidden seeds, as hexadecimal text."""
        text = hashlib.sha256()
        for array in (self.labels.rows, self.labels.codes, self.hidden):
            text.update(np.ascontiguousarray(array).tobytes())
        return text.hexdigest()

    def in_rows(self, start: int, stop: int, *, value: float, clamp: bool) -> StripSeeds:
        """Return the seeds of rows `start` to `stop`, each with `value` in its class's column."""
        positions, codes = self.labels.in_rows(start, stop)
        hidden = self.hidden[:, self._slice(start, stop)].T
        values = np.zeros((len(positions), self.n_groups, self.labels.n_classes), dtype=np.float32)
        seed, group = np.nonzero(~hidden)
        values[seed, group, codes[seed]] = value
        clamped = ~hidden if clamp else np.zeros_like(hidden)
        return StripSeeds(
            positions,
            values.reshape(len(positions), self.n_columns),
            np.ascontiguousarray(clamped),
        )

    def hidden_in_rows(
        self, start: int, stop: int
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Return (positions from `start`, groups) of hidden seeds, by group, then row."""
        positions, _ = self.labels.in_rows(start, stop)
        group, seed = np.nonzero(self.hidden[:, self._slice(start, stop)])
        return positions[seed], group

    def _slice(self, start: int, stop: int) -> slice:
        first, last = np.searchsorted(self.labels.rows, [start, stop])
        return slice(int(first), int(last))
