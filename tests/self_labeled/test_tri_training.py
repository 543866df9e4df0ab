"""Tri-training against the paper's table, round by round, for any blocks and on workers."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.tree import DecisionTreeClassifier

from ssl_dask.estimators import TriTrainingClassifier
from ssl_dask.kernels.arithmetic.row_keys import Purpose
from ssl_dask.self_labeled.methods.tri_training import (
    first_size,
    rows_to_learn,
)
from tests.committee_case import codes_of, labels_of, made_rows, seeded_fit, views_of
from tests.oracles import committees
from tests.rounds_by_keywords import tri_training

STUMP = {"name": "decision_tree", "parameters": {"max_depth": 2}}


def by_the_paper(X: np.ndarray, seeds: np.ndarray) -> committees.Rounds:
    rows = np.arange(len(X))

    def keys(_: str, t: int, i: int) -> list[int]:
        return [committees.row_key(row, 0, 0, Purpose.TRI_SAMPLE, t, i) for row in rows]

    def bag(i: int, given: np.ndarray, codes: np.ndarray) -> np.ndarray:
        return committees.bootstrap(given, codes, 0, 0, Purpose.TRI_BOOTSTRAP, i)

    fit = seeded_fit([DecisionTreeClassifier(max_depth=2)])
    return committees.tri_training(X, seeds, fit, bag, keys)


@pytest.mark.parametrize("n_blocks", [1, 5])
@pytest.mark.parametrize("case", [1, 5])
def test_labels_of_every_round_are_the_papers(case: int, n_blocks: int) -> None:
    X, _, seeds = made_rows(seed=case)
    expected = by_the_paper(X, seeds)
    # More blocks may go wrong in one round or the other, but then the last one shows it.
    every = enumerate(expected.codes, 1)
    for t, codes in every if n_blocks == 1 else [(len(expected.codes), expected.codes[-1])]:
        found = tri_training(
            views_of(X, n_blocks), labels_of(seeds), learner=STUMP, voting="hard", max_iter=t
        )
        np.testing.assert_array_equal(codes_of(found, 3), codes)
    assert found.n_iter == len(expected.codes) >= 2
    votes = np.stack([one(X).argmax(axis=1) for one in expected.models], axis=1)
    shares = np.stack([(votes == c).sum(axis=1) / 3 for c in range(3)], axis=1)
    np.testing.assert_array_equal(found.F.compute(), shares.astype(np.float32))
    # Learners that were all the same would prove nothing.
    assert 0 < (votes[:, 0] != votes[:, 1]).mean() < 0.5


def test_a_sample_is_drawn_where_all_rows_would_be_too_many() -> None:
    sampled = 0
    for case in range(4):
        X, _, seeds = made_rows(seed=case, per_class=10, flip=0.3)
        expected = by_the_paper(X, seeds)
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
def test_the_bound_of_the_paper(
    error: float, agreed: int, last_error: float, expected: int
) -> None:
    last = first_size(error, last_error) if error < last_error else 0
    assert rows_to_learn(error, agreed, last_error, last) == expected


def test_a_hidden_seed_is_judged_by_models_that_have_not_seen_it() -> None:
    X, _, seeds = made_rows(seed=2, per_class=8)
    labels = labels_of(seeds)
    hidden = [np.arange(labels.n_seeds) % 3 == f for f in range(3)]
    found = tri_training(views_of(X, 3), labels, learner=STUMP, hidden=hidden)
    assert [len(rows) for rows in found.fold_F] == [8, 8, 8]
    again = tri_training(views_of(X, 1), labels, learner=STUMP, hidden=hidden)
    for one, other in zip(found.fold_F, again.fold_F, strict=True):
        np.testing.assert_array_equal(one, other)
    assert found.kept_round == again.kept_round


def test_the_estimator_labels_rows() -> None:
    X, y, seeds = made_rows(n=600, sep=2.0, flip=0.02)
    model = TriTrainingClassifier("decision_tree", n_folds=0).fit(X, seeds)
    assert model.termination_condition_ == "no_change"
    assert (model.predict(X) == y)[seeds < 0].mean() > 0.75
    assert (model.labeled_iter_[seeds >= 0] == 0).all()
    np.testing.assert_array_equal(model.transduction_[seeds >= 0], seeds[seeds >= 0])
    with pytest.raises(ValueError, match="voting"):
        TriTrainingClassifier(voting="loud").fit(X, seeds)
