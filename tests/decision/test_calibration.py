"""Calibration: probabilities that mean what they say, and keep the most likely class."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ssl_dask.decision.calibration import (
    MIN_HIDDEN_SEEDS,
    Calibration,
    calibration_quality,
    fit_calibration,
)


def softmax(scores: np.ndarray) -> np.ndarray:
    weights = np.exp(scores - scores.max(axis=1, keepdims=True))
    return weights / weights.sum(axis=1, keepdims=True)


def flattened(
    n: int, n_classes: int, exponent: float, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Return rows of F that are the true probabilities to the power `exponent`, and true codes."""
    random = np.random.default_rng(seed)
    scores = 2.0 * random.normal(size=(n, n_classes))
    true = softmax(scores)
    codes = (true.cumsum(axis=1) > random.random((n, 1))).argmax(axis=1)
    return softmax(exponent * scores).astype(np.float32), codes.astype(np.int32)


@pytest.mark.parametrize("exponent", [0.3, 1.0, 3.0])
def test_a_known_distortion_is_undone(exponent: float) -> None:
    F, codes = flattened(3000, 4, exponent)
    found = fit_calibration(F, codes, np.arange(3000, dtype=np.int32) % 5)
    assert found.calibrated
    assert found.cross_fitted
    assert found.temperature == pytest.approx(1 / exponent, rel=0.12)
    assert found.floor < 0.05
    assert found.quality.expected_calibration_error < 0.03
    if exponent != 1.0:
        assert found.quality_before.expected_calibration_error > 0.08
        assert found.quality.brier < found.quality_before.brier - 0.005


def test_the_floor_answers_to_confident_mistakes() -> None:
    # One-hot rows, 80 % right: only the floor can say so.
    codes = np.zeros(1000, dtype=np.int32)
    F = np.zeros((1000, 3), dtype=np.float32)
    F[np.arange(1000), (np.arange(1000) % 5 == 0).astype(int)] = 1.0
    found = fit_calibration(F, codes)
    assert found.apply(F).max() == pytest.approx(0.8, abs=0.01)
    assert not found.cross_fitted


def test_twenty_right_seeds_do_not_make_certainty() -> None:
    codes = (np.arange(20) % 4).astype(np.int32)
    F = np.eye(4, dtype=np.float32)[codes]
    probability = fit_calibration(F, codes).apply(F).max(axis=1)
    np.testing.assert_allclose(probability, 21 / 22, atol=0.01)
    many = (np.arange(2000) % 4).astype(np.int32)
    F = np.eye(4, dtype=np.float32)[many]
    assert fit_calibration(F, many).apply(F).max() > 0.998


@pytest.mark.parametrize("n", [0, 1, MIN_HIDDEN_SEEDS - 1])
def test_too_few_hidden_seeds_are_said_in_words(n: int) -> None:
    F, codes = flattened(n + 3, 3, 1.0)
    F[:3] = 0.0
    found = fit_calibration(F, codes)
    assert not found.calibrated
    assert found.n_hidden == n
    assert found.n_without_mass == 3
    assert f"only {n} seeds" in (found.reason or "")
    assert str(MIN_HIDDEN_SEEDS) in (found.reason or "")
    np.testing.assert_array_equal(found.apply(F), F)
    assert found.apply(F) is not F


def test_unreached_seeds_are_counted_and_do_not_matter() -> None:
    F, codes = flattened(200, 3, 2.0)
    with_empty = np.vstack([F, np.zeros((7, 3), np.float32)])
    more_codes = np.concatenate([codes, np.full(7, 1, np.int32)])
    a, b = fit_calibration(F, codes), fit_calibration(with_empty, more_codes)
    assert b.n_without_mass == 7
    assert (a.temperature, a.floor) == (b.temperature, b.floor)


def test_quality_is_measured_on_unseen_folds() -> None:
    # Codes that have nothing to do with F: in-sample looks better than the truth.
    random = np.random.default_rng(1)
    F = softmax(3 * random.normal(size=(40, 5))).astype(np.float32)
    codes = random.integers(0, 5, 40).astype(np.int32)
    inside = fit_calibration(F, codes)
    honest = fit_calibration(F, codes, (np.arange(40) % 5).astype(np.int32))
    assert honest.quality.brier > inside.quality.brier
    assert (inside.temperature, inside.floor) == (honest.temperature, honest.floor)
    assert sum(one.count for one in honest.bins) == 40


def test_quality_of_known_rows() -> None:
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [0.6, 0.4]])
    quality = calibration_quality(probabilities, np.array([0, 1, 0, 0], np.int32))
    # Bins .9 (one of two right) and .6 (both right): gaps .4 and .4.
    assert quality.expected_calibration_error == pytest.approx(0.4)
    assert quality.brier == pytest.approx((0.02 + 1.62 + 0.32 + 0.32) / 4)


@settings(max_examples=60, deadline=None)
@given(
    temperature=st.floats(0.02, 50),
    floor=st.floats(0, 0.97),
    n_classes=st.integers(1, 7),
    seed=st.integers(0, 99),
)
def test_rows_are_distributions_that_keep_the_order(
    temperature: float, floor: float, n_classes: int, seed: int
) -> None:
    random = np.random.default_rng(seed)
    F = random.dirichlet(np.full(n_classes, 0.3), 50).astype(np.float32)
    F[3] = 0.0
    F[4] = np.eye(n_classes)[0]
    before = F.copy()
    p = Calibration(temperature=temperature, floor=floor, calibrated=True).apply(F)
    np.testing.assert_array_equal(F, before)
    assert p.dtype == np.float32
    reached = F.max(axis=1) > 0
    np.testing.assert_allclose(p[reached].sum(axis=1), 1.0, atol=2e-6)
    assert not p[~reached].any()
    assert reached.sum() == 49
    best = F.argmax(axis=1)
    assert (p[np.arange(50), best] == p.max(axis=1)).all()


@settings(max_examples=40, deadline=None)
@given(cuts=st.lists(st.integers(0, 300), max_size=6), n_classes=st.integers(2, 20))
def test_bits_do_not_depend_on_the_blocks(cuts: list[int], n_classes: int) -> None:
    random = np.random.default_rng(n_classes)
    F = random.dirichlet(np.full(n_classes, 0.5), 300).astype(np.float32)
    calibration = Calibration(temperature=1.7, floor=0.03, calibrated=True)
    whole = calibration.apply(F)
    edges = [0, *sorted(cuts), 300]
    pieces = [calibration.apply(F[a:b]) for a, b in itertools.pairwise(edges)]
    np.testing.assert_array_equal(np.vstack(pieces), whole)
