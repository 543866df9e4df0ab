"""Supervised learning on the seeds alone: the answer that a graph has to beat."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ssl_dask.evaluation.evaluation_spec import SupervisedSpec
from ssl_dask.evaluation.metrics import predicted_codes
from ssl_dask.hidden_seeds import HiddenSeeds
from ssl_dask.kernels.learners.supervised_model import Rows, SupervisedModel
from ssl_dask.labels import UNLABELLED


def fit_supervised(
    X_seeds: Rows, codes: npt.NDArray[np.int32], n_classes: int, spec: SupervisedSpec
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
    spec
        Penalty and iterations.
    """
    return SupervisedModel(n_classes, spec.C, spec.max_iter).fit(X_seeds, codes)


def fit_folds(
    X_seeds: Rows,
    codes: npt.NDArray[np.int32],
    folds: HiddenSeeds,
    n_classes: int,
    spec: SupervisedSpec,
) -> tuple[npt.NDArray[np.float32], int]:
    """Fit once for each fold on the seeds outside it, and score those in it.

    Parameters
    ----------
    X_seeds, codes, n_classes, spec
        As `fit_supervised`.
    folds
        Which seeds are hidden together.

    Returns
    -------
    (hidden_F, not_converged)
        float32 (S, C): each seed's probabilities by the model that had not seen it, zeros for
        seeds that were never hidden; and in how many folds the solver ran out of iterations.
    """
    hidden_F = np.zeros((len(codes), n_classes), dtype=np.float32)
    not_converged = 0
    for fold in range(folds.n_folds):
        hidden = folds.hidden(fold)
        model = fit_supervised(X_seeds[~hidden], codes[~hidden], n_classes, spec)
        hidden_F[hidden] = model.predict_proba(X_seeds[hidden])
        not_converged += not model.converged
    return hidden_F, not_converged


@dataclass(frozen=True)
class SupervisedBaseline:
    """Logistic regression on the same seeds and the same folds.

    Parameters
    ----------
    model
        Fitted on all seeds, to label rows on the workers.
    hidden_codes
        int32 (S,): what each hidden seed was called by the model that had not seen it; -1 for
        seeds that were never hidden.
    converged
        Whether the solver settled for `model` and in every fold.
    """

    model: SupervisedModel
    hidden_codes: npt.NDArray[np.int32]
    converged: bool

    @classmethod
    def fit(
        cls,
        X_seeds: Rows,
        codes: npt.NDArray[np.int32],
        folds: HiddenSeeds,
        n_classes: int,
        spec: SupervisedSpec | None = None,
    ) -> SupervisedBaseline:
        """Fit once on all seeds and once for each fold on the seeds outside it.

        Parameters
        ----------
        X_seeds, codes, n_classes
            As `fit_supervised`.
        folds
            Which seeds are hidden together.
        spec
            Default: scikit-learn's penalty, C = 1.
        """
        spec = spec or SupervisedSpec()
        hidden_F, not_converged = fit_folds(X_seeds, codes, folds, n_classes, spec)
        was_hidden = folds.fold >= 0
        hidden_codes = np.full(len(codes), UNLABELLED, dtype=np.int32)
        hidden_codes[was_hidden] = predicted_codes(hidden_F[was_hidden])
        model = fit_supervised(X_seeds, codes, n_classes, spec)
        return cls(model, hidden_codes, model.converged and not not_converged)
