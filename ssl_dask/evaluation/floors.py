"""Figures on hidden seeds that a job demands before anything is published."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ssl_dask.array_types import Float32, Float64, Int32
from ssl_dask.errors import JobSpecError, Problem, QualityError
from ssl_dask.evaluation.contest import CONFIDENCE
from ssl_dask.kernels.distributions.weighted_figures import (
    Figure,
    average_precision,
    drawn_weights,
    percentile_interval,
    rare_class,
    seed_weights,
    weighted_share,
)
from ssl_dask.labels import Labels

Wanted = tuple[str, str, float, Figure | None]
"""Key of the job, what it is of, the floor, and the figure; None where it is not known."""


def check_floors(floors: Mapping[str, Any], labels: Labels) -> None:
    """Raise JobSpecError if a floor, as of `require_floors`, is of a class that there is not."""
    wanted = floors.get("min_precision")
    if isinstance(wanted, dict):
        _by_code(wanted, labels)
    for name in ("min_average_precision", "min_precision"):
        if labels.n_classes != 2 and isinstance(floors.get(name), float):
            raise JobSpecError(
                f"decision.{name}: {floors[name]:g} is of the rarer of two classes, and the seeds"
                f" have {labels.n_classes}",
                hint="take min_accuracy, or min_precision: {CLASS: floor}",
            )


def _by_code(wanted: Mapping[Any, float], labels: Labels) -> dict[int, float]:
    # 1 and True are equal in Python, and different classes to a reader.
    codes = {(type(value), value): code for code, value in enumerate(labels.classes.tolist())}
    if unknown := [name for name in wanted if (type(name), name) not in codes]:
        raise JobSpecError(
            f"decision.min_precision: {unknown[0]!r} is none of the classes of the seeds",
            hint=f"name one of {', '.join(map(repr, labels.classes.tolist()[:10]))}",
        )
    return {codes[type(name), name]: floor for name, floor in wanted.items()}


def _precision_floors(wanted: Any, labels: Labels, shares: Float64) -> dict[int, float]:
    """Return the floors of `decision.min_precision` by the code of the class."""
    if isinstance(wanted, dict):
        return _by_code(wanted, labels)
    rare = rare_class(shares)
    if rare is None:
        raise JobSpecError(
            f"decision.min_precision: {wanted:g} is of the rarer of two classes, and none has half"
            " of an even share or less",
            hint=f"name the class: min_precision: {{{labels.class_names[0]}: {wanted:g}}}",
        )
    return {rare: wanted}


def require_floors(
    floors: Mapping[str, Any],
    labels: Labels,
    shares: Float64,
    truth: Int32,
    F: Float32,
    given: Int32,
    own_weights: Float64 | None = None,
) -> None:
    """Raise QualityError if a figure on hidden seeds is below its floor, or is not known.

    Parameters
    ----------
    floors
        Of `min_accuracy`, `min_precision` and `min_average_precision` those that are set.
    shares
        float64 (C,): shares of the classes among all rows.
    truth, F, given
        int32 (n,), float32 (n, C) and int32 (n,): classes, distributions and labels of the hidden
        seeds, -1 for none.
    own_weights
        float64 (n,): how much each counts among those of its class; None: 1.

    Raises
    ------
    QualityError
        A figure is below its floor.
    JobSpecError
        A number is of the rare class, and there is none; see `check_floors` too.
    """
    check_floors(floors, labels)
    weights = seed_weights(truth, shares, own_weights) if len(truth) else np.empty(0)
    problems = [
        Problem(
            _sentence(len(truth), *one),
            hint=f"take other features or another method, label more rows, or lower {one[0]}",
        )
        for one in _figures(floors, labels, weights, shares, F, truth, given)
        if one[3] is None or one[3].value < one[2]
    ]
    if problems:
        raise QualityError(problems)


def _figures(
    floors: Mapping[str, Any],
    labels: Labels,
    weights: Float64,
    shares: Float64,
    F: Float32,
    truth: Int32,
    given: Int32,
) -> Iterator[Wanted]:
    right = given == truth
    if "min_accuracy" in floors:
        found = weighted_share(right, weights * (given >= 0), CONFIDENCE)
        yield "min_accuracy", "accuracy of the labels", float(floors["min_accuracy"]), found
    if "min_precision" in floors:
        for code, floor in _precision_floors(floors["min_precision"], labels, shares).items():
            found = weighted_share(right, weights * (given == code), CONFIDENCE)
            yield "min_precision", f"precision of class {labels.class_names[code]}", floor, found
    if "min_average_precision" in floors:
        code = int(shares.argmin())
        name = f"average precision of class {labels.class_names[code]}"
        found = _average_precision(F[:, code], truth, code, weights)
        yield "min_average_precision", name, float(floors["min_average_precision"]), found


def _average_precision(scores: Float32, truth: Int32, code: int, weights: Float64) -> Figure | None:
    positive = truth == code
    if not weights[positive].any() or not weights[~positive].any():
        return None
    value = float(average_precision(scores, positive, weights[None])[0])
    draws = [average_precision(scores, positive, drawn) for drawn in drawn_weights(truth, weights)]
    return Figure(value, *percentile_interval(np.concatenate(draws), CONFIDENCE))


def _sentence(n: int, key: str, what: str, floor: float, figure: Figure | None) -> str:
    if figure is None:
        return f"decision.{key} is {floor:g}, and no hidden seed of {n:,} says what the {what} is"
    return (
        f"the {what} is {figure.value:.3g} on {n:,} hidden seeds (between {figure.low:.3g} and"
        f" {figure.high:.3g} at {CONFIDENCE:.0%}), below decision.{key}: {floor:g}"
    )
