"""What hidden seeds say of the models of each round, and which round is the best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ssl_dask.self_labeled.round_method import Distributions

LEAST_PROBABILITY = 1e-6
"""What the logarithm takes for a class that was given less, so that one seed cannot decide all."""
BETTER_BY = 1.0
"""Standard errors by which a round must beat the baseline, seed by seed."""


class HiddenLoss:
    """Log loss of the hidden seeds, round by round; round 0 is the baseline.

    Parameters
    ----------
    codes
        int32 (S,): classes of all seeds.
    hidden
        For each fold a bool array (S,).
    """

    def __init__(
        self, codes: npt.NDArray[np.int32], hidden: Sequence[npt.NDArray[np.bool_]]
    ) -> None:
        self.codes, self.hidden = codes, hidden
        self.kept_round = 0
        self._fold_F: list[list[Distributions]] = []

    def add(self, fold_F: list[Distributions]) -> None:
        """Take what the models of the next round say of the hidden seeds of each fold (n, C)."""
        self._fold_F.append(fold_F)
        if self.hidden and self._is_best():
            self.kept_round = len(self._fold_F) - 1

    def repeat(self) -> None:
        """Take a round whose models are those of the round before."""
        self._fold_F.append(self._fold_F[-1])

    def fold_F(self, round_number: int) -> list[Distributions]:
        """Return what the models of a round say of the hidden seeds of each fold."""
        return self._fold_F[round_number]

    @property
    def accuracy(self) -> float | None:
        """Share of hidden seeds that the last models name right; None without any."""
        return self._accuracy(-1)

    @property
    def mean(self) -> float | None:
        """Mean loss of the last models."""
        return self._mean(-1)

    @property
    def baseline_accuracy(self) -> float | None:
        """Share of hidden seeds that models of the seeds alone name right."""
        return self._accuracy(0)

    @property
    def baseline_loss(self) -> float | None:
        """Mean loss of models of the seeds alone."""
        return self._mean(0)

    @property
    def rounds_without_gain(self) -> int:
        """Rounds since the mean loss was lowest."""
        means = [self._losses(number).mean() for number in range(len(self._fold_F))]
        return len(means) - 1 - int(np.argmin(means))

    def as_dict(self) -> dict[str, Any]:
        """Return everything in JSON types."""
        return {
            "kept_round": self.kept_round,
            "fold_F": [[F.tolist() for F in folds] for folds in self._fold_F],
        }

    def restore(self, stored: Mapping[str, Any]) -> None:
        """Go back to what `as_dict` returned."""
        self.kept_round = stored["kept_round"]
        self._fold_F = [
            [np.array(F, dtype=np.float32) for F in folds] for folds in stored["fold_F"]
        ]

    def _is_best(self) -> bool:
        """Tell whether the last round beats the kept one, and the baseline by more than chance."""
        number = len(self._fold_F) - 1
        if number == 0:
            return True
        own = self._losses(number)
        if own.mean() >= self._losses(self.kept_round).mean():
            return False
        gain = self._losses(0) - own
        error = gain.std(ddof=1) / np.sqrt(len(gain)) if len(gain) > 1 else np.inf
        return bool(gain.mean() > BETTER_BY * error)

    def _losses(self, number: int) -> npt.NDArray[np.float64]:
        losses = []
        for mask, F in zip(self.hidden, self._fold_F[number], strict=True):
            truth = self.codes[mask]
            p = F[np.arange(len(truth)), truth].astype(np.float64)
            losses.append(-np.log(np.maximum(p, LEAST_PROBABILITY)))
        return np.concatenate(losses)

    def _accuracy(self, number: int) -> float | None:
        if not self.hidden:
            return None
        right = [
            F.argmax(axis=1) == self.codes[mask]
            for mask, F in zip(self.hidden, self._fold_F[number], strict=True)
        ]
        return float(np.concatenate(right).mean())

    def _mean(self, number: int) -> float | None:
        return float(self._losses(number).mean()) if self.hidden else None
