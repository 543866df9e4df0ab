"""What a graph has to beat where labels are numbers: ridge regression on the seeds, their mean."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ssl_dask.array_types import Float64
from ssl_dask.hidden_seeds import HiddenSeeds
from ssl_dask.kernels.learners.ridge_model import RidgeModel
from ssl_dask.kernels.learners.supervised_model import Rows


@dataclass(frozen=True)
class RidgeBaseline:
    """Ridge regression on the same seeds and the same folds."""

    model: RidgeModel
    """Fitted on all seeds, to give numbers to rows on the workers."""
    hidden_values: Float64
    """float64 (S,): what each hidden seed was given by the model that had not seen it; NaN for
    seeds that were never hidden."""

    @classmethod
    def fit(cls, X_seeds: Rows, values: Float64, folds: HiddenSeeds) -> RidgeBaseline:
        """Fit once on all seeds and once for each fold on the seeds outside it.

        Parameters
        ----------
        X_seeds
            Features of the seeds, (S, d), in the order of `values`.
        values
            float64 (S,): their numbers.
        """
        hidden_values = np.full(len(values), np.nan)
        for fold in range(folds.n_folds):
            hidden = folds.hidden(fold)
            model = RidgeModel().fit(X_seeds[~hidden], values[~hidden])
            hidden_values[hidden] = model.predict(X_seeds[hidden])
        return cls(RidgeModel().fit(X_seeds, values), hidden_values)


def mean_of_others(values: Float64, folds: HiddenSeeds) -> Float64:
    """Return the mean of the seeds outside each hidden seed's fold, float64 (S,); else NaN."""
    means = np.full(len(values), np.nan)
    for fold in range(folds.n_folds):
        hidden = folds.hidden(fold)
        means[hidden] = values[~hidden].mean()
    return means
