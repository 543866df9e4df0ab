"""The answers that a method has to beat before its own are published."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import dask.array as da
import numpy as np
import numpy.typing as npt
from dask import delayed

from ssl_dask.array_types import Bool, Float32, Float64, Int32, Int64
from ssl_dask.evaluation.baselines import SupervisedBaseline
from ssl_dask.evaluation.value_baselines import RidgeBaseline, mean_of_others
from ssl_dask.execution import Execution
from ssl_dask.features.dask_ml_adapter import predict_blocks, predict_proba_blocks
from ssl_dask.hidden_seeds import HiddenSeeds
from ssl_dask.kernels.arithmetic.row_keys import Purpose, row_keys
from ssl_dask.kernels.learners.forest_model import ForestModel
from ssl_dask.labels import Labels

MAJORITY = "majority"
"""Name of the answer that is one class for every row: that of the largest share of the rows."""
MOST_FOREST_SEEDS = 5_000
"""Of more seeds a forest is fitted to so many: ten seconds a fold of words, a second of numbers."""
MOST_FOREST_CELLS = 200_000
"""Seeds times classes, where these are many: 320 MB of trees."""


@dataclass(frozen=True)
class Rival:
    """A baseline whose labels may be published in a method's place."""

    name: str
    """What reports and logs call it."""
    title: str
    """The same in words."""
    hidden: npt.NDArray[Any]
    """Its answers for hidden seeds: float32 (S, C), zeros for seeds never hidden; or float64 (S,),
    NaN for them."""
    all_rows: Callable[[da.Array], da.Array]
    """Called with the features of all rows (N, d), returns its answers, lazily: fitted on all
    seeds."""
    note: str = ""
    """What is to be known of it."""


def class_rivals(
    X_seeds: Any,
    labels: Labels,
    folds: HiddenSeeds,
    shares: Float64,
    execution: Execution,
    logistic: SupervisedBaseline | None,
) -> tuple[Rival, ...]:
    """Return logistic regression, a forest and the largest class, in this order.

    Parameters
    ----------
    X_seeds, labels, folds
        Features (S, d) and classes of the seeds, and which are hidden together.
    shares
        float64 (C,): shares of the classes among all rows.
    execution
        Where the forests of the folds grow, a task each.
    logistic
        None: it is the method itself.
    """
    found = [forest_rival(X_seeds, labels, folds, execution), largest_class(labels, folds, shares)]
    if logistic is not None:
        title, answer = "logistic regression", partial(predict_proba_blocks, logistic.model)
        found.insert(0, Rival("supervised", title, logistic.hidden_F, answer))
    return tuple(found)


def forest_rival(X_seeds: Any, labels: Labels, folds: HiddenSeeds, execution: Execution) -> Rival:
    """Return a forest on the same seeds and the same folds; where these are very many, on a part.

    Sends the seeds' features to the workers once.
    """
    codes, n_classes = labels.codes, labels.n_classes
    used = _drawn_seeds(labels.known_by, min(MOST_FOREST_SEEDS, MOST_FOREST_CELLS // n_classes))
    (X,) = execution.place([X_seeds], lasting=True)
    fit = delayed(_hidden_forest, pure=False)
    tasks = [fit(X, codes, used, mask, n_classes) for mask in folds.masks]
    fold_F = execution.compute(tasks, "forest")
    never = np.zeros((len(codes), n_classes), dtype=np.float32)
    note = "" if used.all() else f"fitted to {used.sum():,} of {len(used):,} seeds, drawn at random"

    def answer(rows: da.Array) -> da.Array:
        model = ForestModel(n_classes).fit(X_seeds[used], codes[used])
        return predict_proba_blocks(model, rows)

    return Rival("forest", "a forest of 100 trees", folds.gathered(fold_F, never), answer, note)


def largest_class(labels: Labels, folds: HiddenSeeds, shares: Float64) -> Rival:
    """Return the answer that names the class of the largest share for every row."""
    F = np.zeros(labels.n_classes, dtype=np.float32)
    F[shares.argmax()] = 1.0
    hidden = (folds.fold >= 0)[:, None] * F
    name = labels.class_names[int(shares.argmax())]
    return Rival(MAJORITY, f"always class {name}", hidden, partial(_same_rows, values=F))


def number_rivals(values: Float64, folds: HiddenSeeds, ridge: RidgeBaseline) -> tuple[Rival, ...]:
    """Return ridge regression and the mean of the seeds, in this order."""
    mean = np.float64(values.mean())
    return (
        Rival(
            "ridge", "ridge regression", ridge.hidden_values, partial(predict_blocks, ridge.model)
        ),
        Rival(
            "mean",
            "the mean of the seeds",
            mean_of_others(values, folds),
            partial(_same_rows, values=mean),
        ),
    )


def _drawn_seeds(tags: Int64, most: int) -> Bool:
    """Return which of the seeds a forest is fitted to, bool (S,)."""
    used = np.zeros(len(tags), dtype=bool)
    order = np.argsort(row_keys(tags, Purpose.BASELINE_SEEDS), kind="stable")
    used[order[:most]] = True
    return used


def _hidden_forest(X: Any, codes: Int32, used: Bool, hidden: Bool, n_classes: int) -> Float32:
    """Return the probabilities of the hidden seeds by a forest that has not seen them."""
    known = used & ~hidden
    return ForestModel(n_classes).fit(X[known], codes[known]).predict_proba(X[hidden])


def _same_rows(X: da.Array, values: Any) -> da.Array:
    """Return `values` for each row of X, lazily, in its blocks of rows."""
    shape = np.shape(values)
    chunks = [(n, *shape) for n in X.chunks[0]]
    blocks = [da.full(one, 0, chunks=-1, dtype=values.dtype) + values for one in chunks]
    return da.concatenate(blocks) if len(blocks) > 1 else blocks[0]
