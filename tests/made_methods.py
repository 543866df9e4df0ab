"""Every method on the same made rows and graph, cut into any number of blocks.

Tables of tests run over `VARIANTS`; a new method is in them with the parameters of its defaults.
"""

from __future__ import annotations

from typing import Any

import dask.array as da
import numpy as np

from ssl_dask.execution import Execution
from ssl_dask.graph.block.block_graph import BlockGraph
from ssl_dask.labels import NumberLabels
from ssl_dask.method import MethodInputs, MethodResult
from ssl_dask.methods import METHODS
from ssl_dask.run_control import RunControl
from tests.committee_case import labels_of, made_rows
from tests.made_graphs import random_weights
from tests.made_points import in_chunks

BAYES = {"name": "gaussian_nb"}
TREE = {"name": "decision_tree", "parameters": {"max_depth": 2}}
PARAMETERS: dict[str, list[dict[str, Any]]] = {
    "anchor_graph": [{"n_anchors": 40}],
    "label_propagation": [{"tol": 0.05}, {"tol": 0.05, "class_mass": "seeds"}],
    "poisson": [{}, {"class_shares": "seeds"}],
    "poisson_mbo": [{"n_rounds": 3}],
    "propagated_features": [{"n_hops": 2}],
    "self_training": [
        {"threshold": 0.7, "max_iter": 3, "patience": None},
        {"threshold": 0.7, "max_iter": 3, "patience": None, "rescore": False},
        {"criterion": "k_best", "k_best": 60, "max_iter": 3, "patience": None},
        {"criterion": "k_best", "k_best": 60, "max_iter": 3, "patience": None, "rescore": False},
    ],
    "multi_view": [{"learner": BAYES, "max_iter": 3, "patience": None}],
    "semi_supervised_nb": [{"alpha": 0.1, "max_iter": 4, "tol": 0.0, "patience": None}],
    "co_training": [{"learner": BAYES, "max_iter": 4, "patience": None}],
    "tri_training": [{"learner": TREE, "patience": None}],
    "democratic_co_learning": [{"learners": (TREE, BAYES, TREE), "patience": None}],
    "co_forest": [{"n_estimators": 5, "patience": None}],
}
VARIANTS = [
    (f"{name} {number}" if number else name, name, parameters)
    for name in METHODS
    for number, parameters in enumerate(PARAMETERS.get(name, [{}]))
]


def bounds(n: int, n_blocks: int) -> list[int]:
    """Return where blocks of unequal sizes begin, and n; one of several has a single row."""
    if n_blocks == 1:
        return [0, n]
    return [0, 1, *np.linspace(n / 3, n, n_blocks - 1).astype(int).tolist()]


def in_blocks(X: Any, n_blocks: int) -> da.Array:
    return in_chunks(X, np.diff(bounds(X.shape[0], n_blocks)))


def inputs_of(name: str, n_blocks: int) -> MethodInputs:
    """Return 240 rows of 3 classes, 18 of them seeds, of which each of two folds hides a half."""
    method = METHODS[name]
    X, _, codes = made_rows(seed=4)
    # Naive Bayes counts: no value is below 0.
    X -= X.min(axis=0)
    labels = labels_of(codes)
    if method.target == "numbers":
        labels = NumberLabels(len(X), labels.rows, X[labels.rows, 0].astype(float)).as_labels()
    whole = in_blocks(X, n_blocks)
    views = {"left": whole[:, :4], "right": whole[:, 4:]} if method.named_views else {"X": whole}
    has = np.random.default_rng(1).random((2, len(X))) < 0.8
    present = dict(zip(views, (in_blocks(one, n_blocks) for one in has), strict=False))
    W = random_weights(len(X), 1, density=0.05)
    return MethodInputs(
        labels,
        hidden=[np.arange(labels.n_seeds) % 2 == fold for fold in range(2)],
        graph=BlockGraph.from_scipy(W, n_strips=n_blocks) if "graph" in method.needs else None,
        X=whole,
        X_seeds=X[labels.rows],
        views=views if method.needs == "rounds" else {},
        present=present if method.knows_present else {},
    )


def run(name: str, parameters: dict[str, Any], n_blocks: int, control: RunControl) -> MethodResult:
    method = METHODS[name]
    return method.run(inputs_of(name, n_blocks), method.spec(name=name, **parameters), control)


def told(found: MethodResult, execution: Execution) -> list[Any]:
    """Return all that a method answers, less its seconds."""
    records = [{**one.as_dict(), "seconds": 0} for one in found.records]
    assigned = execution.compute(getattr(found, "assignment", []))
    codes = [one.assignment.codes for one in assigned]
    F = execution.compute(list(found.F.to_delayed().ravel()))
    # Not degenerate: rows differ, and some hidden seed is answered.
    assert len(np.unique(np.concatenate(F), axis=0)) > 5
    assert np.nan_to_num(found.fold_F[0]).any()
    return [
        np.concatenate(F),
        list(found.fold_F),
        records,
        found.reason,
        np.concatenate(codes) if codes else None,
    ]
