"""Figures at the shares of the rows, against scikit-learn and brute force."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, average_precision_score

from ssl_dask.kernels.distributions import weighted_figures
from ssl_dask.kernels.distributions.class_votes import paired_difference_interval, wilson_interval
from ssl_dask.kernels.distributions.weighted_figures import (
    average_precision,
    class_figure,
    drawn_weights,
    largest_class_figure,
    percentile_interval,
    rare_class,
    seed_weights,
    weighted_difference,
    weighted_share,
)


def case(n: int = 120, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (codes, scores with many ties, weights)."""
    rng = np.random.default_rng(seed)
    codes = (rng.random(n) < 0.3).astype(np.int32)
    scores = np.round(rng.normal(codes, 1.0), 1).astype(np.float32)
    return codes, scores, seed_weights(codes, np.array([0.95, 0.05]))


def test_average_precision_is_that_of_scikit_learn_ties_and_weights_included() -> None:
    rng = np.random.default_rng(1)
    for seed in range(20):
        codes, scores, weights = case(40 + seed, seed=seed)
        assert len(np.unique(scores)) < len(scores)
        rows = np.stack([weights, np.ones(len(codes)), rng.integers(0, 3, len(codes)) * weights])
        rows[2, codes == 1] += 1e-3
        wanted = [average_precision_score(codes, scores, sample_weight=row) for row in rows]
        found = average_precision(scores, codes == 1, rows)
        np.testing.assert_allclose(found, wanted, rtol=1e-12)
        assert 0.0 < min(wanted) < max(wanted) < 1.0


def test_a_constant_score_has_the_share_as_its_average_precision() -> None:
    codes, scores, weights = case()
    found = average_precision(np.zeros_like(scores), codes == 1, weights[None])
    assert found == pytest.approx(0.05)
    assert largest_class_figure(codes, np.array([0.95, 0.05])) == pytest.approx(0.05)
    assert largest_class_figure(codes, np.array([0.4, 0.6])) == pytest.approx(0.6)


def test_weights_have_the_shares_of_the_classes() -> None:
    codes = np.array([0, 0, 0, 2], np.int32)
    weights = seed_weights(codes, np.array([0.3, 0.5, 0.2]))
    np.testing.assert_allclose(weights, [0.2, 0.2, 0.2, 0.4])
    np.testing.assert_allclose(seed_weights(codes, np.array([0.0, 1.0, 0.0])), 0.25)


def test_equal_weights_give_the_plain_intervals() -> None:
    rng = np.random.default_rng(2)
    first, second = rng.random((2, 80)) < [[0.7], [0.6]]
    weights = np.full(80, 1 / 80)
    found = weighted_difference(first, second, weights, 0.9)
    only = int((first & ~second).sum()), int((second & ~first).sum())
    assert found.value == pytest.approx(first.mean() - second.mean())
    assert found[1:] == pytest.approx(paired_difference_interval(*only, 80, 0.9))
    share = weighted_share(first, 3.0 * weights, 0.9)
    assert share == pytest.approx((first.mean(), *wilson_interval(int(first.sum()), 80, 0.9)))
    assert weighted_share(first, 0.0 * weights, 0.9) is None


def test_the_interval_of_a_weighted_difference_covers_it() -> None:
    # A class of a fifth of the rows has half of the seeds, and the two differ in it alone.
    rng = np.random.default_rng(3)
    codes = np.repeat([0, 1], 40).astype(np.int32)
    weights = seed_weights(codes, np.array([0.8, 0.2]))
    truth, inside, narrow = 0.2 * (0.5 - 0.8), 0, 0
    for _ in range(400):
        draws = rng.random((2, 80))
        first = draws[0] < np.where(codes == 0, 0.9, 0.5)
        second = draws[1] < np.where(codes == 0, 0.9, 0.8)
        found = weighted_difference(first, second, weights, 0.9)
        inside += found.low <= truth <= found.high
        narrow += found.high < 0.1
    assert 0.86 <= inside / 400 <= 0.99
    assert narrow > 200


def test_every_draw_has_the_seeds_of_each_class_and_batches_make_them_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    codes, scores, weights = case(60)
    (drawn,) = drawn_weights(codes, weights)
    assert drawn.shape == (500, 60)
    counts = drawn / weights
    assert (counts[:, codes == 1].sum(axis=1).round(6) == (codes == 1).sum()).all()
    assert np.unique(counts.round(6)).tolist()[:3] == [0.0, 1.0, 2.0]
    wanted = [average_precision_score(codes, scores, sample_weight=row) for row in drawn]
    found = average_precision(scores, codes == 1, drawn)
    np.testing.assert_allclose(found, wanted, rtol=1e-12)
    low, high = percentile_interval(found, 0.9)
    assert ((found < low).mean(), (found > high).mean()) == pytest.approx((0.05, 0.05))
    monkeypatch.setattr(weighted_figures, "MOST_CELLS", 60 * 64)
    sizes = [len(batch) for batch in drawn_weights(codes, weights)]
    assert sum(sizes) == 500
    assert max(sizes) == 64


def test_the_rarer_of_two_classes_is_measured_where_it_is_rare_enough() -> None:
    assert rare_class(np.array([0.25, 0.75])) == 0
    assert rare_class(np.array([0.26, 0.74])) is None
    assert rare_class(np.array([0.1, 0.45, 0.45])) is None
    codes, scores, weights = case()
    F = np.column_stack([-scores, scores])
    F = np.exp(F - F.max(axis=1, keepdims=True)).astype(np.float32)
    shares = np.array([0.95, 0.05])
    by_score = average_precision_score(codes, F[:, 1], sample_weight=weights)
    assert class_figure(F, codes, shares) == pytest.approx(by_score)
    # Four seeds of the rare class say too little of their order.
    few = np.flatnonzero((codes == 0) | (np.cumsum(codes) <= 4))
    assert codes[few].sum() == 4
    right = accuracy_score(
        codes[few], F[few].argmax(axis=1), sample_weight=seed_weights(codes[few], shares)
    )
    tied = F[few, 0] == F[few, 1]
    assert class_figure(F[few], codes[few], shares) == pytest.approx(right, abs=0.02 * tied.sum())
