"""Sums, model and shares of naive Bayes, one block at a time."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.naive_bayes import MultinomialNB

from ssl_dask.errors import InputDataError
from ssl_dask.kernels.learners.multinomial_nb import (
    ClassFeatureCounts,
    check_not_negative,
    count_rows,
    fit_counts,
    likelihood_units,
)

RNG = np.random.default_rng(0)
X = (RNG.poisson(1.0, (60, 9)) * RNG.random((60, 9))).astype(np.float32)
X[:, 7] = 0.0
SHARES = RNG.dirichlet(np.full(3, 0.5), 60).astype(np.float32)
SHARES[::7] = 0.0
WEIGHTS = RNG.random(60).astype(np.float32)


def test_counts_are_the_weighted_sums() -> None:
    counts = count_rows(X, SHARES, WEIGHTS)
    weighted = WEIGHTS[:, None].astype(float) * SHARES
    np.testing.assert_allclose(counts.rows / 2**30, weighted.sum(axis=0), atol=1e-7)
    np.testing.assert_allclose(counts.features / 2**30, X.T.astype(float) @ weighted, atol=1e-7)
    assert counts.features.any(axis=0).all()


@settings(deadline=None, max_examples=20)
@given(st.lists(st.integers(1, 59), unique=True, max_size=8), st.randoms())
def test_counts_have_the_same_bits_for_any_blocks_in_any_order(cuts, random) -> None:
    whole = count_rows(sp.csr_array(X), SHARES, WEIGHTS)
    bounds = [0, *sorted(cuts), 60]
    parts = [
        count_rows(sp.csr_array(X[a:b]) if a % 2 else X[a:b], SHARES[a:b], WEIGHTS[a:b])
        for a, b in pairwise(bounds)
    ]
    random.shuffle(parts)
    total = ClassFeatureCounts.zero(9, 3)
    for part in parts:
        total = total + part
    np.testing.assert_array_equal(total.features, whole.features)
    np.testing.assert_array_equal(total.rows, whole.rows)


def test_the_model_is_scikit_learns() -> None:
    codes = RNG.integers(0, 3, 60)
    counts = count_rows(X, np.eye(3, dtype=np.float32)[codes], np.ones(60, np.float32))
    model = fit_counts(counts, alpha=0.3)
    used = np.flatnonzero(X.any(axis=0))
    peer = MultinomialNB(alpha=0.3).fit(X[:, used].astype(float), codes)
    np.testing.assert_allclose(model.log_theta[used].T, peer.feature_log_prob_, atol=1e-7)
    # The prior is smoothed too, as in the paper.
    rows = np.bincount(codes)
    np.testing.assert_allclose(np.exp(model.log_prior), (1 + rows) / (3 + 60), atol=1e-9)
    assert model.log_theta[7].tolist() == [0, 0, 0]
    equal = fit_counts(counts, alpha=0.3, learn_prior=False)
    np.testing.assert_allclose(np.exp(equal.log_prior), 1 / 3)


def test_a_class_without_rows_gets_no_share() -> None:
    one_hot = np.eye(3, dtype=np.float32)[np.arange(60) % 2]
    model = fit_counts(count_rows(X, one_hot, np.ones(60, np.float32)), alpha=0.1)
    shares = model.shares(X)
    assert (shares[:, 2] == 0).all()
    np.testing.assert_allclose(shares.sum(axis=1), 1, atol=1e-6)
    assert model.log_density > -np.inf


def test_a_rows_shares_do_not_depend_on_its_block() -> None:
    model = fit_counts(count_rows(X, SHARES, WEIGHTS), alpha=0.1)
    whole = model.shares(sp.csr_array(X))
    np.testing.assert_array_equal(whole, model.shares(X))
    rows = [model.shares(sp.csr_array(X[i : i + 1])) for i in range(60)]
    np.testing.assert_array_equal(np.vstack(rows), whole)
    assert len(np.unique(whole.argmax(axis=1))) == 3


def test_the_likelihood_is_that_of_the_label_or_of_all_classes() -> None:
    joint = np.log(np.array([[0.1, 0.2], [0.3, 0.05], [0.25, 0.25]]))
    codes = np.array([1, -1, -1], dtype=np.int32)
    weights = np.array([1.0, 0.5, 0.0], dtype=np.float32)
    units = likelihood_units(joint, codes, weights)
    assert units / 2**16 == pytest.approx(np.log(0.2) + 0.5 * np.log(0.35), abs=1e-4)


def test_what_is_no_count_is_refused() -> None:
    check_not_negative(X)
    check_not_negative(sp.csr_array(X))
    for value in (-0.5, np.nan, np.inf):
        wrong = X.copy()
        wrong[3, 2] = value
        with pytest.raises(InputDataError, match="1 features"):
            check_not_negative(wrong)
    with pytest.raises(InputDataError, match="more than"):
        count_rows(np.full((2, 1), 2e9, np.float32), np.ones((2, 1), np.float32), np.ones(2, "f4"))
