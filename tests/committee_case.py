"""Rows, seeds and learners that the tests of committees share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import dask.array as da
import numpy as np
from sklearn.base import clone
from sklearn.datasets import make_classification

from ssl_dask.execution import Execution
from ssl_dask.labels import Labels
from ssl_dask.self_labeled.loop.round_answer import SelfLabeled
from tests.oracles.committees import mixed

N_CLASSES = 3


def made_rows(
    n: int = 240, per_class: int = 6, seed: int = 0, flip: float = 0.1, sep: float = 1.5
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return float32 rows (n, 8), true classes, and seeds (n,) with -1 for unlabelled."""
    X, y = make_classification(
        n_samples=n,
        n_features=8,
        n_informative=6,
        n_redundant=0,
        n_classes=N_CLASSES,
        n_clusters_per_class=1,
        class_sep=sep,
        flip_y=flip,
        random_state=seed,
    )
    rng = np.random.default_rng(seed)
    seeds = np.full(n, -1, dtype=np.int32)
    for c in range(N_CLASSES):
        mine = rng.choice(np.flatnonzero(y == c), per_class, replace=False)
        seeds[mine] = c
    return X.astype(np.float32), y, seeds


def seeded_fit(estimators: Sequence[Any], track: int = 0, random_state: int = 0) -> Callable:
    """Return the oracles' `fit`: scikit-learn's, with the random state that a learner gets."""

    def fit(i: int, X: np.ndarray, codes: np.ndarray, weights: np.ndarray) -> Callable:
        model = clone(estimators[i % len(estimators)])
        if "random_state" in model.get_params():
            model.set_params(random_state=mixed(random_state, track, i) >> 32)
        if (weights == 1).all():
            model.fit(X, codes)
        else:
            model.fit(X, codes, sample_weight=weights.astype(np.float64))

        def probabilities(rows: np.ndarray) -> np.ndarray:
            out = np.zeros((len(rows), N_CLASSES))
            out[:, model.classes_] = model.predict_proba(rows)
            return out

        return probabilities

    return fit


def views_of(X: np.ndarray, n_blocks: int, columns: dict[str, slice] | None = None) -> dict:
    """Return X as Dask arrays of uneven blocks."""
    n = len(X)
    cuts = np.unique(np.linspace(0, n, n_blocks + 1).astype(int) + np.arange(n_blocks + 1) % 2)
    cuts[0], cuts[-1] = 0, n
    chunks = tuple(np.diff(cuts).tolist())
    return {
        name: da.from_array(np.ascontiguousarray(X[:, one]), chunks=(chunks, -1))
        for name, one in (columns or {"X": slice(None)}).items()
    }


def labels_of(seeds: np.ndarray) -> Labels:
    """Return seeds as `Labels` of all classes."""
    return Labels.from_codes(seeds, np.arange(N_CLASSES))


def codes_of(found: SelfLabeled, n_columns: int, client: Any = None) -> np.ndarray:
    """Return the labels of each learner after the last round, int32 (n, L)."""
    execution = Execution(client)
    blocks = [
        list(found.transduction(column)[0].to_delayed(False).ravel()) for column in range(n_columns)
    ]
    flat = execution.compute([task for column in blocks for task in column])
    width = len(blocks[0])
    return np.stack(
        [np.concatenate(flat[c * width : (c + 1) * width]) for c in range(n_columns)], axis=1
    )
