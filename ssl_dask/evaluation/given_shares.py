"""The shares of the classes among all rows, seeds included, as a job gives them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import AfterValidator

from ssl_dask.array_types import Float64, Int64
from ssl_dask.labels import Labels

ROUNDING = 1e-3
"""By so much shares that are written with few digits may miss 1."""
TWO_DIGITS = 1.05
"""Times as many as a share that is written with two digits says."""


def _checked(shares: Any) -> Any:
    if not isinstance(shares, dict):
        return shares
    if not shares:
        raise ValueError("give at least one class its share, such as {fraud: 0.008}")
    for name, share in shares.items():
        low, high = _ends(share)
        if not (math.isfinite(low + high) and 0.0 < low <= high < 1.0):
            raise ValueError(
                f"the share of {name!r} must be a number above 0 and below 1, or a range"
                " [low, high] of such numbers"
            )
    if sum(_ends(share)[0] for share in shares.values()) > 1.0 + ROUNDING:
        raise ValueError("shares of classes sum to more than 1")
    return shares


GivenShares = Annotated[
    Literal["estimate", "seeds"] | dict[bool | int | str, float | tuple[float, float]],
    AfterValidator(_checked),
]
"""estimate; seeds: they are a random sample of the rows; or {class: share or [low, high]}."""


def share_ranges(
    shares: Mapping[Any, float | tuple[float, float]], labels: Labels
) -> tuple[Float64, Float64]:
    """Return the ends of the range of each class, float64 (C,) each, in the order of the classes.

    Classes that are not named share what is left as their seeds do.

    Raises
    ------
    ValueError
        A class is named that no seed has; the shares of all classes cannot sum to 1; or a class has
        more seeds than rows.
    """
    # 1 and True are equal in Python, and different classes to a reader.
    named = {(type(key), key): _ends(share) for key, share in shares.items()}
    classes = [(type(value), value) for value in labels.classes.tolist()]
    if unknown := [key for kind, key in named if (kind, key) not in classes]:
        raise ValueError(f"{', '.join(map(repr, unknown))} is none of the classes of the seeds")
    given = np.array([one in named for one in classes])
    low, high = np.array([named.get(one, (0.0, 0.0)) for one in classes], dtype=np.float64).T
    least, most = low.sum(), high.sum()
    if given.all() and not least - ROUNDING <= 1.0 <= most + ROUNDING:
        found = f"{least:.6g}" if least == most else f"{least:.6g} to {most:.6g}"
        raise ValueError(f"the shares of all classes must sum to 1; these sum to {found}")
    if not given.all():
        counts = np.where(given, 0, labels.class_counts())
        rest = counts / counts.sum()
        if most >= 1.0:
            raise ValueError("nothing is left for the classes that are not named")
        low, high = low + (1.0 - most) * rest, high + (1.0 - least) * rest
    n, seeds = labels.n_rows, labels.class_counts()
    for code in np.flatnonzero(seeds > TWO_DIGITS * high * n + 1.0)[:1]:
        raise ValueError(
            f"class {labels.class_names[code]} would have at most {high[code]:.6g} of the {n:,}"
            f" rows, which is {high[code] * n:,.0f}, and {seeds[code]:,} seeds are of it"
        )
    return low, high


def ranges_of_rest(
    ranges: tuple[Float64, Float64], seeds: Int64, n_rows: int
) -> tuple[Float64, Float64]:
    """Return the ends of the ranges among the rows that are no seeds, float64 (C,) each.

    Parameters
    ----------
    ranges
        Of all rows, as of `share_ranges`.
    seeds
        int64 (C,): seeds by class.
    n_rows
        All rows.
    """
    n_rest = n_rows - seeds.sum()
    if n_rest == 0:
        return ranges
    # Half a row at least: with a share of 0 no row could get the class.
    low, high = (np.maximum(one * n_rows - seeds, 0.5) / n_rest for one in ranges)
    return low, high


def _ends(share: float | tuple[float, float]) -> tuple[float, float]:
    return share if isinstance(share, tuple) else (share, share)
