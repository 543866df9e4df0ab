"""Committees: labels of every round as the papers' tables give them, and their classifiers."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.tree import DecisionTreeClassifier

from ssl_dask.estimators import (
    CoForestClassifier,
    DemocraticCoLearningClassifier,
    TriTrainingClassifier,
)
from ssl_dask.kernels.arithmetic.row_keys import Purpose
from ssl_dask.self_labeled.methods.democratic_co_learning import expected_worth
from ssl_dask.self_labeled.methods.tri_training import first_size, rows_to_learn
from tests.committee_case import N_CLASSES, codes_of, labels_of, made_rows, seeded_fit, views_of
from tests.oracles import committees
from tests.rounds_by_keywords import co_forest, democratic_co_learning, tri_training

N_TREES = 7
STUMP = {"name": "decision_tree", "parameters": {"max_depth": 2}}
TREE = {"name": "decision_tree", "parameters": {"max_features": "sqrt", "max_depth": 4}}
LEARNERS = ({"name": "gaussian_nb"}, STUMP, {"name": "knn", "parameters": {"n_neighbors": 3}})
ESTIMATORS = [GaussianNB(), DecisionTreeClassifier(max_depth=2), KNeighborsClassifier(3)]


def drawn(sample: Purpose, bag: Purpose) -> tuple[Callable, Callable]:
    """Return what the oracles draw with: bootstrap samples, and keys of rows."""

    def of_seeds(i: int, given: np.ndarray, codes: np.ndarray) -> np.ndarray:
        return committees.bootstrap(given, codes, 0, 0, bag, i)

    def keys(_: str, t: int, i: int) -> list[int]:
        return [committees.row_key(row, 0, 0, sample, t, i) for row in range(240)]

    return of_seeds, keys


def tri_training_of_paper(X: np.ndarray, seeds: np.ndarray) -> committees.Rounds:
    fit = seeded_fit([DecisionTreeClassifier(max_depth=2)])
    draw = drawn(Purpose.TRI_SAMPLE, Purpose.TRI_BOOTSTRAP)
    return committees.tri_training(X, seeds, fit, *draw)


def co_forest_of_paper(X: np.ndarray, seeds: np.ndarray) -> committees.Rounds:
    fit = seeded_fit([DecisionTreeClassifier(max_features="sqrt", max_depth=4)])
    draw = drawn(Purpose.FOREST_SAMPLE, Purpose.FOREST_BAG)
    return committees.co_forest(X, seeds, fit, *draw, N_TREES, N_CLASSES)


def vote_shares(X: np.ndarray, found: committees.Rounds) -> np.ndarray:
    votes = np.stack([one(X).argmax(axis=1) for one in found.models], axis=1)
    # Learners that were all the same would prove nothing.
    assert 0 < (votes[:, 0] != votes[:, 1]).mean() < 0.5
    return np.stack([(votes == c).sum(axis=1) / 3 for c in range(N_CLASSES)], axis=1)


def group_shares(X: np.ndarray, found: committees.Rounds) -> np.ndarray:
    H, weights = found.models
    votes = np.stack([one(X).argmax(axis=1) for one in H], axis=1)
    groups = committees.combine(votes, weights, N_CLASSES)
    return groups / groups.sum(axis=1, keepdims=True)


@dataclass(frozen=True)
class Committee:
    """A method, its oracle, and how the oracle's last models answer."""

    run: Callable
    parameters: dict[str, Any]
    by_the_paper: Callable
    answer: Callable
    per_class: int
    n_learners: int = 3


HARD = {"voting": "hard"}
TRI = Committee(tri_training, {"learner": STUMP, **HARD}, tri_training_of_paper, vote_shares, 6)
DEMOCRATIC = Committee(
    democratic_co_learning,
    {"learners": LEARNERS, **HARD},
    lambda X, seeds: committees.democratic(X, seeds, seeded_fit(ESTIMATORS), 3, N_CLASSES),
    group_shares,
    10,
)
FOREST = Committee(
    co_forest,
    {"n_estimators": N_TREES, "tree": TREE},
    co_forest_of_paper,
    lambda X, found: sum(one(X) for one in found.models) / N_TREES,
    8,
    N_TREES,
)


@pytest.mark.parametrize("n_blocks", [1, 4])
@pytest.mark.parametrize(
    ("one", "seed"),
    [(TRI, 1), (TRI, 5), (DEMOCRATIC, 4), (DEMOCRATIC, 7), (FOREST, 0), (FOREST, 3)],
    ids=lambda value: value.run.args[0] if isinstance(value, Committee) else str(value),
)
def test_labels_of_every_round_are_the_papers(one: Committee, seed: int, n_blocks: int) -> None:
    X, _, seeds = made_rows(seed=seed, per_class=one.per_class)
    expected = one.by_the_paper(X, seeds)
    views, labels = views_of(X, n_blocks), labels_of(seeds)
    # More blocks may go wrong in one round or the other, but then the last one shows it.
    every = enumerate(expected.codes, 1)
    for t, codes in every if n_blocks == 1 else [(len(expected.codes), expected.codes[-1])]:
        found = one.run(views, labels, **one.parameters, max_iter=t)
        np.testing.assert_array_equal(codes_of(found, one.n_learners), codes)
    assert found.n_iter == len(expected.codes) >= 2
    learned = (expected.codes[-1] >= 0).sum(axis=0) - (seeds >= 0).sum()
    assert learned.max() > 0
    if one is FOREST:
        # Some trees learn from a sample, not from all that the others are sure of.
        assert 0 < learned.min() < learned.max() < (seeds < 0).sum()
    np.testing.assert_allclose(found.F.compute(), one.answer(X, expected), rtol=1e-6, atol=1e-7)


def test_a_sample_is_drawn_where_all_rows_would_be_too_many() -> None:
    sampled = 0
    for case in range(4):
        X, _, seeds = made_rows(seed=case, per_class=10, flip=0.3)
        expected = tri_training_of_paper(X, seeds)
        found = tri_training(views_of(X, 3), labels_of(seeds), learner=STUMP)
        np.testing.assert_array_equal(codes_of(found, 3), expected.codes[-1])
        for record, votes in zip(found.records, expected.votes, strict=True):
            sizes = record.notes["rows_learned"]
            for i, (j, k) in enumerate(((1, 2), (0, 2), (0, 1))):
                agreed = ((votes[:, j] == votes[:, k]) & (seeds < 0)).sum()
                sampled += 0 < sizes[i] < agreed
    assert sampled >= 2


@pytest.mark.parametrize(
    ("error", "agreed", "last_error", "expected"),
    [
        (0.5, 100, 0.5, 0),  # the pair is no better than before
        (0.0, 100, 0.5, 100),  # no noise: all of them
        (0.1, 1, 0.5, 0),  # no more rows than before
        (0.1, 4, 0.5, 4),  # 0.1 * 4 < 0.5 * 1
        (0.1, 5, 0.5, 4),  # all would be too noisy: ceil(0.5 * 1 / 0.1 - 1)
        (0.25, 100, 0.5, 3),  # floor(0.25 / 0.25 + 1) = 2, and ceil(0.5 * 2 / 0.25 - 1)
    ],
)
def test_the_bound_of_tri_training(
    error: float, agreed: int, last_error: float, expected: int
) -> None:
    last = first_size(error, last_error) if error < last_error else 0
    assert rows_to_learn(error, agreed, last_error, last) == expected


def test_more_labels_are_worth_nothing_if_half_are_wrong() -> None:
    assert expected_worth(100, 10) == pytest.approx(64.0)
    assert expected_worth(200, 10) > expected_worth(100, 10)
    assert expected_worth(200, 90) < expected_worth(100, 10)
    assert expected_worth(100, 60) == 0.0


@pytest.mark.parametrize(
    ("model", "least"),
    [
        (TriTrainingClassifier("decision_tree", n_folds=0), 0.75),
        (DemocraticCoLearningClassifier(ESTIMATORS, n_folds=0), 0.75),
        (CoForestClassifier(n_folds=0), 0.8),
    ],
    ids=lambda value: type(value).__name__,
)
def test_the_estimator_labels_rows(model: Any, least: float) -> None:
    X, y, seeds = made_rows(n=600, sep=2.0, per_class=10, flip=0.02)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "[0-9,]+ of [0-9,]+ unlabelled rows got no label")
        model.fit(X, seeds)
    assert model.termination_condition_ == "no_change"
    assert (model.predict(X) == y)[seeds < 0].mean() > least
    assert (model.labeled_iter_[seeds >= 0] == 0).all()
    np.testing.assert_array_equal(model.transduction_[seeds >= 0], seeds[seeds >= 0])
