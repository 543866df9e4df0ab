"""What one iteration or round did, in numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class RoundRecord:
    """One iteration of a solver, or one round of self-labelling."""

    iteration: int
    """Counts from 1."""
    labels_changed: int
    """Rows whose most likely class differs from the round before. Solvers on a graph count nodes:
    rows that are copies of each other count once."""
    residual: float
    """Relative residual in the maximum norm (see the solver for its definition)."""
    class_mass: tuple[float, ...]
    """Share of rows (nodes) whose most likely class is c, for each class; those without evidence
    are left out, so the sum may be below 1."""
    seconds: float
    """Wall time of this round."""
    labeled: tuple[int, ...] | None = None
    taken_back: tuple[int, ...] | None = None
    """Self-labelling, for each class: rows that got a label of it in this round, and rows that had
    one and have it no more. None: no round of self-labelling."""
    thresholds: tuple[float | None, ...] | None = None
    """The least confidence with which a row is labelled, for each class; None if no row of it
    is."""
    hidden_accuracy: float | None = None
    hidden_loss: float | None = None
    """Share of hidden seeds that models without them name right, and the mean negative logarithm of
    what they give the true class; None without hidden seeds."""
    notes: Mapping[str, Any] | None = None
    """Numbers and words of the method, by name."""

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
