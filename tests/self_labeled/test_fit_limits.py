"""Rows that learners take together are those that each of them would take alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

from ssl_dask.self_labeled.learners.learner_spec import LearnerSpec, learner_of
from ssl_dask.self_labeled.loop.fit_limits import FitLimit, learners_together, shared_rows
from ssl_dask.self_labeled.methods.co_forest import CoForest
from ssl_dask.self_labeled.rows.block_rows import Assignment, BlockRows, RoundCounts

N, L, C = 200, 4, 3


def made_block(kind: str) -> tuple[BlockRows, Assignment]:
    rng = np.random.default_rng(3)
    X = rng.normal(size=(N, 5)) * (rng.random((N, 5)) < 0.6)
    codes = np.where(rng.random((N, L)) < 0.3, rng.integers(0, C, (N, L)), -1).astype(np.int32)
    seeds = rng.choice(N, 9, replace=False)
    codes[seeds] = rng.integers(0, C, 9)[:, None]
    since = np.where(codes >= 0, 2, -1).astype(np.int32)
    since[seeds] = 0
    weights = rng.choice([0.0, 0.5, 1.0], (N, L)).astype(np.float32)
    weights[seeds] = 1.0
    rows = np.sort(rng.choice(10**6, N, replace=False))
    block = BlockRows(rows, {"X": sp.csr_array(X) if kind == "sparse" else X}, {}, 0)
    return block, Assignment(codes, weights, since, np.zeros((N, 0), np.float32))


def plain(X: Any) -> np.ndarray:
    return X.toarray() if sp.issparse(X) else X


@pytest.mark.parametrize("kind", ["dense", "sparse"])
@pytest.mark.parametrize("most", [1000, 20])
def test_each_learner_gets_its_own_rows(kind: str, most: int) -> None:
    block, assignment = made_block(kind)
    learners, key = range(1, 4), (5, 0, 7)
    labelled = (assignment.codes >= 0) & (assignment.weights > 0)
    limits = [FitLimit(int(labelled[:, one].sum()), most) for one in learners]
    method = CoForest(learner_of(LearnerSpec(name="decision_tree")), C, L, 0.75, 0)
    shared = shared_rows(method, block, assignment, learners, limits, key)
    taken = set()
    for place, learner in enumerate(learners):
        piece = shared.of_learner(place)
        # The rows with a label and weight; of too many the seeds, and others by their keys.
        want = np.flatnonzero(labelled[:, learner])
        if most < len(want):
            chosen = limits[place].chosen(
                block.tags[want], assignment.is_seed[want], (*key, learner)
            )
            assert chosen[assignment.is_seed[want]].all()
            assert (
                0.4 * most < (chosen & ~assignment.is_seed[want]).sum() < 2 * most < 2 * len(want)
            )
            want = want[chosen]
        np.testing.assert_array_equal(piece.tags, block.tags[want])
        np.testing.assert_array_equal(plain(piece.X), plain(block.only)[want])
        np.testing.assert_array_equal(piece.codes, assignment.codes[want, learner])
        np.testing.assert_array_equal(piece.weights, assignment.weights[want, learner])
        np.testing.assert_array_equal(piece.given, assignment.is_seed[want])
        taken.add(tuple(want))
    assert len(taken) == 3
    # Each row once, and none that nobody takes.
    assert len(np.unique(shared.tags)) == len(shared.tags) == len(set().union(*taken))


def test_learners_whose_rows_are_too_many_for_a_worker_take_turns() -> None:
    def counts(labelled: list[int], unlabelled: int) -> RoundCounts:
        total = np.array([[n, 0] for n in labelled])
        zeros = np.zeros(2, np.int64)
        return RoundCounts(zeros, zeros, 0, total, unlabelled, 0, 1000)

    assert learners_together(counts([300, 300, 300, 300], 700), 4, 150) == [range(4)]
    # More than two fits take: none of 100, 90 and 100 more than 100, two of them at a time.
    runs = learners_together(counts([300, 90, 250, 40], 500), 4, 100)
    assert runs == [range(2), range(2, 4)]
    assert learners_together(counts([300] * 5, 500), 5, 100) == [range(2), range(2, 4), range(4, 5)]
