"""Self-training: as scikit-learn's where that is asked for, and the same for any blocks."""

from __future__ import annotations

import itertools
from typing import Any

import dask.array as da
import numpy as np
import pytest
import scipy.sparse as sp
from distributed import Client
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from ssl_dask.execution import Execution
from ssl_dask.labels import Labels
from ssl_dask.self_labeled import SelfLabeled, self_training
from ssl_dask.self_labeled.learners import Learner
from tests.oracles.self_training_rounds import rounds_of_sklearn

REGRESSION = LogisticRegression(max_iter=2000)


def digits(n_per_class: int = 4, n_rows: int = 500) -> tuple[np.ndarray, np.ndarray]:
    X, y = load_digits(return_X_y=True)
    X, y = X[:n_rows] / 16.0, y[:n_rows]
    random = np.random.default_rng(3)
    hidden = np.full(len(y), -1)
    for c in range(10):
        rows = random.choice(np.flatnonzero(y == c), n_per_class, replace=False)
        hidden[rows] = c
    return X, hidden


def run(
    X: Any, y: np.ndarray, estimator: Any, n_blocks: int, execution: Execution, **settings: Any
) -> SelfLabeled:
    labels = Labels.from_codes(y, np.arange(10))
    cuts = np.linspace(0, len(y), n_blocks + 1).astype(int)
    chunks = tuple(np.diff(cuts).tolist())
    blocks = [X[a:b] for a, b in itertools.pairwise(cuts)]
    view = da.concatenate([da.from_array(b, asarray=False, chunks=b.shape) for b in blocks])
    assert view.chunks[0] == chunks
    return self_training(
        {"X": view},
        labels,
        learner=Learner.of_estimator(estimator),
        patience=None,
        execution=execution,
        **{"mass": None, "class_shares": "none", **settings},
    )


def answers(found: SelfLabeled) -> dict[str, np.ndarray]:
    parts = [one.compute(scheduler="sync").assignment for one in found.assignment]
    return {
        "labels": np.concatenate([part.codes[:, 0] for part in parts]),
        "rounds": np.concatenate([part.since[:, 0] for part in parts]),
        "F": found.F.compute(scheduler="sync"),
    }


def fetched(found: SelfLabeled, execution: Execution) -> dict[str, np.ndarray]:
    parts = [one.assignment for one in execution.compute(found.assignment)]
    F = execution.compute(list(found.F.to_delayed().ravel()))
    return {
        "labels": np.concatenate([part.codes[:, 0] for part in parts]),
        "rounds": np.concatenate([part.since[:, 0] for part in parts]),
        "F": np.concatenate(F),
    }


@pytest.mark.parametrize(
    "settings",
    [
        {"criterion": "threshold", "threshold": 0.6, "max_iter": 4},
        {"criterion": "threshold", "threshold": 0.5, "max_iter": None},
        {"criterion": "k_best", "k_best": 77, "max_iter": 4},
        {"criterion": "k_best", "k_best": 150, "max_iter": None},
    ],
    ids=["threshold", "threshold_to_end", "k_best", "k_best_to_end"],
)
def test_same_rows_in_same_rounds_as_scikit_learn(settings: dict) -> None:
    X, y = digits()
    theirs = rounds_of_sklearn(REGRESSION, X, y, **settings)
    labelled = (theirs["rounds"] > 0).sum()
    assert labelled > 200
    assert len(np.unique(theirs["rounds"])) > 3
    for n_blocks in (1, 8):
        execution = Execution(threads=2)
        found = run(X, y, REGRESSION, n_blocks, execution, rescore=False, **settings)
        ours = fetched(found, execution)
        np.testing.assert_array_equal(ours["rounds"], theirs["rounds"])
        np.testing.assert_array_equal(ours["labels"], theirs["labels"])
        assert found.reason == theirs["reason"]
        assert found.n_iter == theirs["n_iter"]
        np.testing.assert_allclose(ours["F"], theirs["probabilities"], atol=1e-6)


@pytest.mark.parametrize("rescore", [False, True])
@pytest.mark.parametrize("criterion", ["threshold", "k_best"])
def test_same_bits_on_a_cluster(cluster_client: Client, criterion: str, rescore: bool) -> None:
    X, y = digits()
    settings = {"criterion": criterion, "threshold": 0.7, "k_best": 150, "rescore": rescore}
    here = Execution(threads=2)
    ours = fetched(run(X, y, REGRESSION, 1, here, max_iter=4, **settings), here)
    there = Execution(cluster_client)
    theirs = fetched(run(X, y, REGRESSION, 8, there, max_iter=4, **settings), there)
    for name in ours:
        np.testing.assert_array_equal(ours[name], theirs[name])
    assert len(np.unique(ours["rounds"])) > 3


def test_rescoring_takes_labels_back() -> None:
    X, y = digits(2)
    found = run(X, y, REGRESSION, 3, Execution(), criterion="k_best", k_best=40, max_iter=3)
    taken_back = sum(sum(record.taken_back or ()) for record in found.records)
    assert taken_back > 0
    last = fetched(found, Execution())
    assert (last["rounds"][y >= 0] == 0).all()
    np.testing.assert_array_equal(last["labels"][y >= 0], y[y >= 0])


def test_sparse_rows_get_the_same_labels_as_dense_ones() -> None:
    X, y = digits()
    execution = Execution()
    settings = {"criterion": "k_best", "k_best": 100, "max_iter": 3}
    dense = fetched(run(X, y, REGRESSION, 2, execution, **settings), execution)
    sparse = fetched(run(sp.csr_array(X), y, REGRESSION, 3, execution, **settings), execution)
    assert (dense["labels"] == sparse["labels"]).mean() > 0.99


def test_hidden_seeds_choose_the_round() -> None:
    X, y = digits(5)
    seeds = np.flatnonzero(y >= 0)
    fold = np.arange(len(seeds)) % 5
    hidden = [fold == f for f in range(5)]
    labels = Labels.from_codes(y, np.arange(10))
    answers = []
    for chunks in (500, 130):
        found = self_training(
            {"X": da.from_array(X, chunks=(chunks, -1))}, labels, hidden=hidden, max_iter=4
        )
        losses = [found.baseline_loss, *(record.hidden_loss for record in found.records)]
        assert found.kept_round == 0 or losses[found.kept_round] < losses[0]
        assert len(found.fold_F) == 5
        assert found.fold_F[0].shape == (10, 10)
        answers.append((losses, found.F.compute(scheduler="sync")))
    assert answers[0][0] == answers[1][0]
    np.testing.assert_array_equal(answers[0][1], answers[1][1])
