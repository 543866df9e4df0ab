"""Votes of several learners, against counting by hand."""

from __future__ import annotations

import numpy as np
import pytest

from ssl_dask.kernels.distributions.class_votes import (
    group_confidences,
    others_plurality,
    vote_shares,
    weighted_majority,
)
from tests.oracles.committees import combine

N_CLASSES = 4


@pytest.fixture(params=[3, 6])
def votes(request: pytest.FixtureRequest) -> np.ndarray:
    rng = np.random.default_rng(request.param)
    return rng.integers(0, N_CLASSES, (400, request.param)).astype(np.int32)


def test_others_plurality_leaves_one_learner_out(votes: np.ndarray) -> None:
    codes, counts, voters = others_plurality(votes, N_CLASSES)
    ties = 0
    for i, row in enumerate(votes):
        for j in range(len(row)):
            heads = np.bincount(np.delete(row, j), minlength=N_CLASSES)
            assert (codes[i, j], counts[i, j]) == (heads.argmax(), heads.max())
            ties += (heads == heads.max()).sum() > 1
    assert (voters == votes.shape[1] - 1).all()
    # Ties are where a mistake would hide.
    assert ties > 100


def test_votes_that_do_not_count_are_left_out(votes: np.ndarray) -> None:
    counted = np.random.default_rng(0).random(votes.shape) < 0.5
    codes, counts, voters = others_plurality(votes, N_CLASSES, counted)
    for i, row in enumerate(votes):
        for j in range(len(row)):
            heard = np.delete(row, j)[np.delete(counted[i], j)]
            heads = np.bincount(heard, minlength=N_CLASSES)
            assert voters[i, j] == len(heard)
            assert counts[i, j] == heads.max()
            assert codes[i, j] == (heads.argmax() if len(heard) else -1)
    assert (voters == 0).any()


def test_weighted_majority_needs_heads_and_weights(votes: np.ndarray) -> None:
    weights = np.linspace(0.2, 1.0, votes.shape[1])
    found = weighted_majority(votes, weights, N_CLASSES)
    for row, code in zip(votes, found, strict=True):
        most = np.bincount(row, minlength=N_CLASSES).argmax()
        mass = [sum(weights[row == c]) for c in range(N_CLASSES)]
        wins = all(mass[most] > mass[c] for c in range(N_CLASSES) if c != most)
        assert code == (most if wins else -1)
    assert 0 < (found == -1).sum() < len(found)


def test_group_confidences_are_those_of_the_paper(votes: np.ndarray) -> None:
    weights = np.linspace(0.3, 0.9, votes.shape[1]).tolist()
    used = [w if w > 0.5 else 0.0 for w in weights]
    found = group_confidences(votes, used, N_CLASSES)
    np.testing.assert_allclose(found, combine(votes, weights, N_CLASSES), rtol=1e-15)
    assert len(np.unique(found)) >= 4


def test_vote_shares_sum_to_one(votes: np.ndarray) -> None:
    shares = vote_shares(votes, N_CLASSES)
    assert shares.dtype == np.float32
    np.testing.assert_allclose(shares.sum(axis=1), 1.0, rtol=1e-6)
    assert shares[0, votes[0, 0]] >= 1 / votes.shape[1] - 1e-6


def test_a_row_does_not_depend_on_its_block(votes: np.ndarray) -> None:
    weights = np.linspace(0.2, 1.0, votes.shape[1])
    whole = group_confidences(votes, weights, N_CLASSES)
    parts = [group_confidences(votes[a:b], weights, N_CLASSES) for a, b in ((0, 7), (7, 400))]
    np.testing.assert_array_equal(np.concatenate(parts), whole)
