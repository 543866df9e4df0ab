"""Logistic regression on the seeds' features: as a method, a baseline, or a part of a method."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from ssl_dask.array_types import Bool, Float32, Float64, Int32
from ssl_dask.errors import QualityError
from ssl_dask.kernels.learners.supervised_model import Rows, SupervisedModel
from ssl_dask.spec_model import SpecModel


class SupervisedSpec(SpecModel):
    """Logistic regression on the seeds alone, without any graph."""

    name: Literal["supervised"] = "supervised"
    """Name of the method."""

    C: float = Field(default=1.0, gt=0.0)
    """Inverse strength of the L2 penalty, as in scikit-learn."""

    max_iter: int = Field(default=1000, ge=1)
    """Most iterations of the solver."""


def fit_supervised(
    X_seeds: Rows,
    codes: Int32,
    n_classes: int,
    spec: SupervisedSpec,
    sample_weight: Float64 | None = None,
) -> SupervisedModel:
    """Return logistic regression fitted to the seeds' features.

    Parameters
    ----------
    X_seeds
        Features of the seeds, (S, d), in the order of `codes`; at least one row.
    codes
        int32 (S,): their classes.
    n_classes
        All classes C, with or without seeds.
    sample_weight
        float64 (S,): weight of each seed; None: 1 each.
    """
    return SupervisedModel(n_classes, spec.C, spec.max_iter).fit(X_seeds, codes, sample_weight)


def require_converged(model: SupervisedModel) -> SupervisedModel:
    """Return a fitted model; raise QualityError if its solver did not converge."""
    if not model.converged:
        raise QualityError(
            f"logistic regression did not converge within {model.max_iter} iterations",
            hint="raise method.max_iter",
        )
    return model


def fit_folds(
    X_seeds: Rows,
    codes: Int32,
    hidden: Sequence[Bool],
    n_classes: int,
    spec: SupervisedSpec,
    sample_weight: Float64 | None = None,
) -> tuple[list[Float32], int]:
    """Call `fit_supervised` for each fold with the seeds outside it, and score those in it.

    Parameters
    ----------
    hidden
        For each fold bool (S,): the seeds that it hides.

    Returns
    -------
    (fold_F, not_converged)
        For each fold float32 (n_hidden, C): the hidden seeds' probabilities by a model that had not
        seen them; and in how many folds the solver ran out of iterations.
    """
    fold_F, not_converged = [], 0
    for mask in hidden:
        weights = None if sample_weight is None else sample_weight[~mask]
        model = fit_supervised(X_seeds[~mask], codes[~mask], n_classes, spec, weights)
        fold_F.append(model.predict_proba(X_seeds[mask]))
        not_converged += not model.converged
    return fold_F, not_converged
