"""What one iteration or round did, in numbers."""

from __future__ import annotations

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
    """

    iteration: int
    labels_changed: int
    residual: float
    class_mass: tuple[float, ...]
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as JSON types."""
        return asdict(self)
