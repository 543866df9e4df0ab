"""What one iteration or round did, in numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class RoundRecord:
    """One iteration of a solver, or one round of self-labelling.

    Parameters
    ----------
    iteration
        Counts from 1.
    labels_changed
        Rows whose most likely class differs from the round before. Solvers on a graph count nodes:
        rows that are copies of each other count once.
    residual
        Relative residual in the maximum norm (see the solver for its definition).
    class_mass
        Share of rows (nodes) whose most likely class is c, for each class; those without evidence
        are left out, so the sum may be below 1.
    seconds
        Wall time of this round.
    labeled, taken_back
        Self-labelling, for each class: rows that got a label of it in this round, and rows that had
        one and have it no more. None: no round of self-labelling.
    thresholds
        The least confidence with which a row is labelled, for each class; None if no row of it is.
    hidden_accuracy, hidden_loss
        Share of hidden seeds that models without them name right, and the mean negative logarithm
        of what they give the true class; None without hidden seeds.
    notes
        Numbers and words of the method, by name.
    """

    iteration: int
    labels_changed: int
    residual: float
    class_mass: tuple[float, ...]
    seconds: float
    labeled: tuple[int, ...] | None = None
    taken_back: tuple[int, ...] | None = None
    thresholds: tuple[float | None, ...] | None = None
    hidden_accuracy: float | None = None
    hidden_loss: float | None = None
    notes: Mapping[str, Any] | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as JSON types."""
        return asdict(self)

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> RoundRecord:
        """Return the record that `as_dict` was of, after a way through JSON."""
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in stored.items()
        }
        return cls(**values)
