"""What makes one method of propagation differ from another: a few numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Recurrence:
    """What makes one method differ from another: a few numbers.

    Parameters
    ----------
    name
        Name of the method.
    target
        (p, q) of the fixed point F = p S F + q B.
    steps
        Called with t = 1, 2, ...; returns (a, b, c, d) of
        F_t = a S F_{t-1} + b F_{t-1} + c F_{t-2} + d B. None: block conjugate gradients with the
        diagonal preconditioner, for targets whose spectrum is not known.
    settings
        The parameters of the method, in JSON types: a checkpoint fits only the same.
    powers
        (s, r): sources enter as D^-s B and scores leave as D^r Z, Z being those of the random
        walk D^-1 W. (1/2, 1/2) makes S the symmetric D^-1/2 W D^-1/2; (0, 0) the walk itself;
        (1, 0) solves (D - p W) Z = q B.
    clamp_seeds
        Seeds keep their value.
    dtype
        Type that scores are kept in.
    first
        F_0 is so many times B; None: q.
    """

    name: str
    target: tuple[float, float]
    steps: Callable[[int], tuple[float, float, float, float]] | None
    settings: Mapping[str, Any]
    powers: tuple[float, float] = (0.5, 0.5)
    clamp_seeds: bool = False
    dtype: Literal["float32", "float64"] = "float32"
    first: float | None = None

    @property
    def conjugate(self) -> bool:
        """Whether conjugate gradients find the target."""
        return self.steps is None
