"""Democratic co-learning against the paper's figures, round by round, for any blocks."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.tree import DecisionTreeClassifier

from ssl_dask.estimators import DemocraticCoLearningClassifier
from ssl_dask.self_labeled.methods.democratic_co_learning import expected_worth
from tests.committee_case import N_CLASSES, codes_of, labels_of, made_rows, seeded_fit, views_of
from tests.oracles import committees
from tests.rounds_by_keywords import democratic_co_learning

LEARNERS = (
    {"name": "gaussian_nb"},
    {"name": "decision_tree", "parameters": {"max_depth": 2}},
    {"name": "knn", "parameters": {"n_neighbors": 3}},
)
ESTIMATORS = [GaussianNB(), DecisionTreeClassifier(max_depth=2), KNeighborsClassifier(3)]


def by_the_paper(X: np.ndarray, seeds: np.ndarray) -> committees.Rounds:
    return committees.democratic(X, seeds, seeded_fit(ESTIMATORS), 3, N_CLASSES)


@pytest.mark.parametrize("n_blocks", [1, 4])
@pytest.mark.parametrize("case", [4, 7])
def test_labels_of_every_round_are_the_papers(case: int, n_blocks: int) -> None:
    X, _, seeds = made_rows(seed=case, per_class=10)
    expected = by_the_paper(X, seeds)
    # More blocks may go wrong in one round or the other, but then the last one shows it.
    every = enumerate(expected.codes, 1)
    for t, codes in every if n_blocks == 1 else [(len(expected.codes), expected.codes[-1])]:
        found = democratic_co_learning(
            views_of(X, n_blocks), labels_of(seeds), learners=LEARNERS, voting="hard", max_iter=t
        )
        np.testing.assert_array_equal(codes_of(found, 3), codes)
    assert found.n_iter == len(expected.codes) >= 2
    taught = (expected.codes[-1] >= 0).sum(axis=0) - (seeds >= 0).sum()
    assert (taught > 0).any()
    H, weights = expected.models
    votes = np.stack([one(X).argmax(axis=1) for one in H], axis=1)
    groups = committees.combine(votes, weights, N_CLASSES)
    np.testing.assert_allclose(
        found.F.compute(), groups / groups.sum(axis=1, keepdims=True), rtol=1e-6
    )


def test_more_labels_are_worth_nothing_if_half_are_wrong() -> None:
    assert expected_worth(100, 10) == pytest.approx(64.0)
    assert expected_worth(200, 10) > expected_worth(100, 10)
    assert expected_worth(200, 90) < expected_worth(100, 10)
    assert expected_worth(100, 60) == 0.0


def test_the_estimator_labels_rows() -> None:
    X, y, seeds = made_rows(n=600, sep=2.0, per_class=10, flip=0.02)
    model = DemocraticCoLearningClassifier(ESTIMATORS, n_folds=0).fit(X, seeds)
    assert model.termination_condition_ == "no_change"
    assert (model.predict(X) == y)[seeds < 0].mean() > 0.75
    with pytest.raises(ValueError, match="a majority needs 3"):
        DemocraticCoLearningClassifier(ESTIMATORS[:2]).fit(X, seeds)
