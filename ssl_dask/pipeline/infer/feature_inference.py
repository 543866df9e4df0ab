"""Step 4 for methods that look at features themselves: anchors, Correct & Smooth, SGC."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from typing import Any

import dask.array as da
import numpy as np
import numpy.typing as npt

from ssl_dask.console import RunListener
from ssl_dask.evaluation.baselines import fit_folds, fit_supervised
from ssl_dask.evaluation.evaluation_spec import SupervisedSpec
from ssl_dask.evaluation.metrics import compare_paired, predicted_codes
from ssl_dask.execution import Execution
from ssl_dask.features.dask_ml_adapter import predict_proba_blocks
from ssl_dask.graph.block.block_graph import BlockGraph
from ssl_dask.hidden_seeds import HiddenSeeds
from ssl_dask.labels import Labels
from ssl_dask.pipeline.infer.inference import Inferred, infer_supervised, reported_graph
from ssl_dask.pipeline.infer.propagation_run import until_kept
from ssl_dask.pipeline.infer.row_sample import fetch_rows
from ssl_dask.propagation.methods.anchor_graph import AnchorGraphSpec, anchor_graph, score_rows
from ssl_dask.propagation.methods.correct_and_smooth import CorrectAndSmoothSpec, correct_and_smooth
from ssl_dask.propagation.methods.propagated_features import (
    PropagatedFeaturesSpec,
    propagated_features,
)
from ssl_dask.storage.runs.checkpoint import Checkpoints

PENALTIES = (1.0, 100.0)
"""Inverse strengths that are tried where the job leaves C open: for few and for many seeds."""


def infer_on_anchors(
    spec: AnchorGraphSpec,
    X: da.Array,
    labels: Labels,
    folds: HiddenSeeds,
    execution: Execution,
) -> Inferred:
    """Fit an anchor graph; the rows are scored when they are written.

    Raises
    ------
    GraphError
        The features are sparse.
    """
    began = time.perf_counter()
    hidden = [folds.hidden(fold) for fold in range(folds.n_folds)]
    parameters = spec.model_dump(exclude={"name"})
    model, fold_F = anchor_graph(X, labels, **parameters, hidden=hidden, execution=execution)
    hidden_F = np.zeros((labels.n_seeds, labels.n_classes), dtype=np.float32)
    for mask, rows in zip(hidden, fold_F, strict=True):
        hidden_F[mask] = rows
    return Inferred(
        F=score_rows(model, X),
        has_seed=None,
        hidden_F=hidden_F,
        records=[],
        converged=True,
        stop_reason="converged",
        graph={},
        islands={},
        seconds={"propagate": time.perf_counter() - began},
    )


def infer_corrected(
    spec: CorrectAndSmoothSpec,
    graph: BlockGraph,
    X: da.Array,
    X_seeds: Any,
    labels: Labels,
    folds: HiddenSeeds,
    execution: Execution,
    checkpoints: Checkpoints,
    listener: RunListener,
) -> Inferred:
    """Fit logistic regression on the seeds, correct it where it errs on them, and smooth it.

    Errors are those at seeds that the classifier had not seen; for each fold it is fitted anew
    without the fold, and once more without each other one.

    Raises
    ------
    ComputeError
        Workers were lost or ran out of memory.
    """
    began = time.perf_counter()
    summary = reported_graph(graph, execution)
    diagnosed = time.perf_counter()
    classifier = SupervisedSpec()
    hidden = [folds.hidden(fold) for fold in range(folds.n_folds)]
    rows, at_seeds, not_converged = [], [], 0
    for out in [np.zeros(labels.n_seeds, dtype=np.bool_), *hidden]:
        model = fit_supervised(X_seeds[~out], labels.codes[~out], labels.n_classes, classifier)
        not_converged += not model.converged
        rows.append(predict_proba_blocks(model, X))
        unseen = np.zeros((labels.n_seeds, labels.n_classes), dtype=np.float32)
        for other in hidden:
            seen = ~out & ~other
            if (out & other).any() or not seen.any():
                continue
            inner = fit_supervised(X_seeds[seen], labels.codes[seen], labels.n_classes, classifier)
            unseen[other] = inner.predict_proba(X_seeds[other])
        at_seeds.append(unseen)
    find = partial(
        correct_and_smooth,
        graph,
        labels,
        rows,
        np.stack(at_seeds),
        **spec.model_dump(exclude={"name"}),
        hidden=hidden,
        execution=execution,
        on_round=listener.round,
    )
    found = until_kept(
        find,
        lambda found, keep: replace(found, F=keep(found.F)),
        execution,
        checkpoints,
        listener,
    )
    hidden_F = np.zeros((labels.n_seeds, labels.n_classes), dtype=np.float32)
    for mask, fold_rows in zip(hidden, found.fold_F, strict=True):
        hidden_F[mask] = fold_rows
    return Inferred(
        F=found.F.rechunk({0: X.chunks[0]}),
        has_seed=None,
        hidden_F=hidden_F,
        records=found.records,
        converged=found.converged,
        stop_reason=found.reason,
        graph=summary,
        islands={},
        seconds={"diagnose": diagnosed - began, "propagate": time.perf_counter() - diagnosed},
        folds_not_converged=not_converged,
    )


def infer_on_propagated_features(
    spec: PropagatedFeaturesSpec,
    graph: BlockGraph,
    X: da.Array,
    labels: Labels,
    folds: HiddenSeeds,
    execution: Execution,
    checkpoints: Checkpoints,
    listener: RunListener,
) -> Inferred:
    """Carry the features along the edges and fit logistic regression on the seeds.

    What the job leaves open, the hidden seeds choose, those of a fold by the seeds of the others.

    Raises
    ------
    QualityError
        The solver did not converge.
    GraphError
        There are too many features.
    ComputeError
        Workers were lost or ran out of memory.
    """
    began = time.perf_counter()
    summary = reported_graph(graph, execution)
    diagnosed = time.perf_counter()
    find = partial(
        propagated_features,
        graph,
        X,
        n_hops=spec.n_hops,
        hops="all" if spec.hops == "auto" else spec.hops,
        unit_rows=spec.unit_rows,
        execution=execution,
    )
    carried = until_kept(find, lambda found, keep: keep(found), execution, checkpoints, listener)
    at_seeds = fetch_rows(carried, labels.rows, execution)
    inferred, note = _by_hidden_seeds(spec, carried, at_seeds, X.shape[1], labels, folds)
    summary["notes"] = [*summary.get("notes", []), note]
    seconds = {"diagnose": diagnosed - began, "propagate": time.perf_counter() - diagnosed}
    return replace(inferred, graph=summary, seconds=seconds)


def _by_hidden_seeds(
    spec: PropagatedFeaturesSpec,
    carried: da.Array,
    at_seeds: Any,
    n_last: int,
    labels: Labels,
    folds: HiddenSeeds,
) -> tuple[Inferred, str]:
    """Fit the best of the settings that the job leaves open; also say which in words.

    Settings are tried from the simplest on. One takes the place of those before it if it names more
    hidden seeds right than chance explains; for the seeds of a fold, those of the others decide.
    """
    hops = ("last", "all") if spec.hops == "auto" else (spec.hops,)
    penalties = PENALTIES if spec.C == "auto" else (spec.C,)
    settings = [(name, C) for name in hops for C in penalties]
    tried = []
    for name, C in settings:
        columns = at_seeds[:, _first_column(name, carried, n_last) :]
        regression = _regression(C, columns, spec.max_iter)
        tried.append(fit_folds(columns, labels.codes, folds, labels.n_classes, regression))
    said = [predicted_codes(hidden_F) for hidden_F, _ in tried]
    judged = folds.fold >= 0
    choice = _simplest_of_the_best(said, labels.codes, judged)
    name, C = settings[choice]
    first = _first_column(name, carried, n_last)
    columns = at_seeds[:, first:]
    regression = _regression(C, columns, spec.max_iter)
    inferred = infer_supervised(regression, carried[:, first:], columns, labels, folds)
    hidden_F = tried[choice][0].copy()
    for fold in range(folds.n_folds):
        hidden = folds.hidden(fold)
        other = _simplest_of_the_best(said, labels.codes, judged & ~hidden)
        hidden_F[hidden] = tried[other][0][hidden]
    note = f"features after {'each' if name == 'all' else 'the last'} hop, C = {C:g}"
    return replace(inferred, hidden_F=hidden_F), note


def _first_column(hops: str, carried: da.Array, n_last: int) -> int:
    """Return where the columns of a setting begin; those of the last hop stand at the end."""
    return carried.shape[1] - n_last if hops == "last" else 0


def _regression(C: float, columns: Any, max_iter: int) -> SupervisedSpec:
    """Return the regression whose C is that for features with variances that sum to 1.

    `SupervisedModel` scales them to a mean variance of 1: with thousands of words and a few seeds,
    the penalty would be none.
    """
    n_varying = np.count_nonzero(columns.max(axis=0) > columns.min(axis=0))
    return SupervisedSpec(C=C / max(1, int(n_varying)), max_iter=max_iter)


def _simplest_of_the_best(
    said: list[npt.NDArray[np.int32]], truth: npt.NDArray[np.int32], judged: npt.NDArray[np.bool_]
) -> int:
    best = 0
    if judged.any():
        for later in range(1, len(said)):
            pair = (said[later][judged], said[best][judged])
            if compare_paired(truth[judged], *pair).low > 0.0:
                best = later
    return best
