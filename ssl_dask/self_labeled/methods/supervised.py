"""Supervised learning: logistic regression on the seeds alone, without any rounds."""

from __future__ import annotations

from ssl_dask.features.dask_ml_adapter import predict_proba_blocks
from ssl_dask.method import JobShape, Method, MethodCost, MethodInputs, MethodResult
from ssl_dask.run_control import RunControl
from ssl_dask.supervised import SupervisedSpec, fit_folds, fit_supervised, require_converged


def supervised(inputs: MethodInputs, spec: SupervisedSpec, control: RunControl) -> MethodResult:
    """Fit logistic regression on the seeds; the rows are scored when they are written.

    Raises
    ------
    QualityError
        The solver did not converge.
    """
    labels, weights = inputs.labels, inputs.sample_weight
    fold_F, not_converged = fit_folds(
        inputs.X_seeds, labels.codes, inputs.hidden, labels.n_classes, spec, weights
    )
    model = require_converged(
        fit_supervised(inputs.X_seeds, labels.codes, labels.n_classes, spec, weights)
    )
    assert inputs.X is not None
    return MethodResult(
        F=predict_proba_blocks(model, inputs.X),
        fold_F=fold_F,
        source="supervised",
        lasting=True,
        folds_not_converged=not_converged,
    )


def _cost(spec: SupervisedSpec, shape: JobShape) -> MethodCost:
    return MethodCost(
        row_flops=shape.regression_flops,
        time="one pass over the rows: N d C",
        memory="a block of rows",
    )


METHOD = Method(
    SupervisedSpec,
    supervised,
    "features",
    cost=_cost,
    stage="supervised",
    keeps_X=False,
    is_baseline=True,
    stop_words={"converged": "the stop rule was met"},
)
