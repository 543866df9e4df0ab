"""The shares of the classes that a job expects: given, taken from the seeds, or none."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import AfterValidator

from ssl_dask.labels import Labels
from ssl_dask.spec_model import SpecModel, checked_shares

ClassShares = Annotated[
    Literal["none", "seeds"] | dict[bool | int | str, float], AfterValidator(checked_shares)
]
"""none; seeds: as among the seeds; or {class: share} of all rows, which sum to 1."""


def expected_shares(
    shares: Literal["none", "seeds"] | dict[bool | int | str, float],
    labels: Labels,
    hidden: npt.NDArray[np.bool_],
) -> npt.NDArray[np.float64] | None:
    """Return the share of each class that each group expects, float64 (G, C); None for "none".

    Parameters
    ----------
    hidden
        bool (G, S): the seeds that each group does not see.

    Raises
    ------
    ValueError
        The classes that are named are not those of the seeds.
    """
    if shares == "none":
        return None
    if shares == "seeds":
        counts = np.stack(
            [np.bincount(labels.codes[~mask], minlength=labels.n_classes) for mask in hidden]
        )
        return counts / counts.sum(axis=1, keepdims=True)
    classes = labels.classes.tolist()
    # 1 and True are equal in Python, and different classes to a reader.
    named = {(type(key), key): share for key, share in shares.items()}
    wanted = [(type(value), value) for value in classes]
    if set(named) != set(wanted):
        unknown = [key for kind, key in named if (kind, key) not in wanted]
        which = f" {', '.join(map(repr, unknown))} is none of them;" if unknown else ""
        raise ValueError(
            f"shares are given for {len(named)} classes;{which} they must be given for exactly the"
            f" {len(classes)} classes of the seeds, in their type"
        )
    q = np.array([named[key] for key in wanted], dtype=np.float64)
    return np.tile(q / q.sum(), (len(hidden), 1))


def expected_rows(spec: SpecModel, labels: Labels) -> npt.NDArray[np.float64]:
    """Return the shares of the classes, float64 (C,), that a method's answer is compared with.

    Those that the job gives with the method, else those of the seeds.
    """
    given: Any = getattr(spec, "class_mass", getattr(spec, "class_shares", "seeds"))
    if not isinstance(given, dict):
        given = "seeds"
    shares = expected_shares(given, labels, np.zeros((1, labels.n_seeds), dtype=np.bool_))
    assert shares is not None
    return shares[0]
