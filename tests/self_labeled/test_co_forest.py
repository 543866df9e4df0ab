"""Co-forest against the paper's table, round by round, for any blocks and on workers."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.tree import DecisionTreeClassifier

from ssl_dask.estimators import CoForestClassifier
from ssl_dask.kernels.arithmetic.row_keys import Purpose
from tests.committee_case import N_CLASSES, codes_of, labels_of, made_rows, seeded_fit, views_of
from tests.oracles import committees
from tests.rounds_by_keywords import co_forest

N_TREES = 7
TREE = {"name": "decision_tree", "parameters": {"max_features": "sqrt", "max_depth": 4}}


def by_the_paper(X: np.ndarray, seeds: np.ndarray) -> committees.Rounds:
    rows = np.arange(len(X))

    def keys(_: str, t: int, i: int) -> list[int]:
        return [committees.row_key(row, 0, 0, Purpose.FOREST_SAMPLE, t, i) for row in rows]

    def bag(i: int, given: np.ndarray, codes: np.ndarray) -> np.ndarray:
        return committees.bootstrap(given, codes, 0, 0, Purpose.FOREST_BAG, i)

    fit = seeded_fit([DecisionTreeClassifier(max_features="sqrt", max_depth=4)])
    return committees.co_forest(X, seeds, fit, bag, keys, N_TREES, N_CLASSES)


@pytest.mark.parametrize("n_blocks", [1, 4])
@pytest.mark.parametrize("case", [0, 3])
def test_labels_of_every_round_are_the_papers(case: int, n_blocks: int) -> None:
    X, _, seeds = made_rows(seed=case, per_class=8)
    expected = by_the_paper(X, seeds)
    # More blocks may go wrong in one round or the other, but then the last one shows it.
    every = enumerate(expected.codes, 1)
    for t, codes in every if n_blocks == 1 else [(len(expected.codes), expected.codes[-1])]:
        found = co_forest(
            views_of(X, n_blocks), labels_of(seeds), n_estimators=N_TREES, tree=TREE, max_iter=t
        )
        np.testing.assert_array_equal(codes_of(found, N_TREES), codes)
    assert found.n_iter == len(expected.codes) >= 2
    learned = (expected.codes[-1] >= 0).sum(axis=0) - (seeds >= 0).sum()
    # Some trees learn from a sample, not from all that the others are sure of.
    assert 0 < learned.min() < learned.max() < (seeds < 0).sum()
    mean = sum(one(X) for one in expected.models) / N_TREES
    np.testing.assert_allclose(found.F.compute(), mean, rtol=1e-6, atol=1e-7)


def test_the_estimator_labels_rows() -> None:
    X, y, seeds = made_rows(n=600, sep=2.0, per_class=10, flip=0.02)
    model = CoForestClassifier(n_folds=0).fit(X, seeds)
    assert (model.predict(X) == y)[seeds < 0].mean() > 0.8
    assert len(model.models_) == 30
    with pytest.raises(ValueError, match="threshold"):
        CoForestClassifier(threshold=1.0).fit(X, seeds)
