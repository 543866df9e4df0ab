"""Supervised learning on the seeds alone: the answer that a graph has to beat."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ssl_dask.array_types import Float32, Int32
from ssl_dask.hidden_seeds import HiddenSeeds
from ssl_dask.kernels.learners.supervised_model import Rows, SupervisedModel
from ssl_dask.supervised import SupervisedSpec, fit_folds, fit_supervised


@dataclass(frozen=True)
class SupervisedBaseline:
    """Logistic regression on the same seeds and the same folds."""

    model: SupervisedModel
    """Fitted on all seeds, to label rows on the workers."""
    hidden_F: Float32
    """float32 (S, C): what each hidden seed was given by the model that had not seen it; zeros for
    seeds that were never hidden."""
    converged: bool
    """Whether the solver settled for `model` and in every fold."""

    @classmethod
    def fit(
        cls,
        X_seeds: Rows,
        codes: Int32,
        folds: HiddenSeeds,
        n_classes: int,
        spec: SupervisedSpec | None = None,
    ) -> SupervisedBaseline:
        """Fit once on all seeds and once for each fold on the seeds outside it.

        Parameters
        ----------
        X_seeds, codes
            (S, d) and int32 (S,): features and classes of the seeds.
        n_classes
            C.
        spec
            Default: scikit-learn's penalty, C = 1.
        """
        spec = spec or SupervisedSpec()
        fold_F, not_converged = fit_folds(X_seeds, codes, folds.masks, n_classes, spec)
        never = np.zeros((len(codes), n_classes), dtype=np.float32)
        model = fit_supervised(X_seeds, codes, n_classes, spec)
        settled = model.converged and not not_converged
        return cls(model, folds.gathered(fold_F, never), settled)
