"""Shares of the classes, told from scores of hidden seeds and of rows."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize

from ssl_dask.kernels.distributions.class_mixture import ScoreCells, cell_counts, draw_mixtures
from ssl_dask.kernels.distributions.class_shares import (
    MAX_CLASSES,
    em_shares,
    estimate_shares,
    share_ratios,
    shares_of_sample,
    stated_shares,
    unknown_shares,
)

APART = 1.8


def posterior(z: np.ndarray, prior: float) -> np.ndarray:
    """Return the chances of two normal classes where the second has the share `prior`."""
    second, first = np.exp(-0.5 * (z - APART) ** 2) * prior, np.exp(-0.5 * z**2) * (1.0 - prior)
    return np.stack([first, second], axis=1) / (first + second)[:, None]


def drawn(rng: np.random.Generator, y: np.ndarray, prior: float = 0.2) -> np.ndarray:
    return posterior(rng.normal(APART * y, 1.0), prior).astype(np.float32)


def skewed(seed: int, share: float, n: int = 20_000) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return distributions of 60 + 240 hidden seeds, their classes, and distributions of rows."""
    rng = np.random.default_rng(seed)
    codes = np.repeat(np.array([1, 0], dtype=np.int32), [60, 240])
    rows = (rng.random(n) < share).astype(np.int32)
    return drawn(rng, codes), codes, drawn(rng, rows)


def test_em_is_that_of_quapy_run_to_convergence() -> None:
    rng = np.random.default_rng(5)
    y = (rng.random(4000) < 0.03).astype(int)
    P = posterior(rng.normal(APART * y, 1.0), 0.2)
    found = em_shares(P, np.array([0.8, 0.2]))
    # EMQ.EM of QuaPy 0.2.3 with epsilon 1e-12; with its own 1e-4 it stops at 0.03808.
    assert found[1] == pytest.approx(0.037804573055220815, abs=1e-8)


def test_em_finds_the_largest_likelihood() -> None:
    rng = np.random.default_rng(8)
    P = rng.dirichlet([1.0, 2.0, 3.0], 500)
    prior = np.array([0.5, 0.3, 0.2])
    found = em_shares(P, prior)

    def loss(free: np.ndarray) -> float:
        pi = np.exp(np.append(free, 0.0))
        return -float(np.log((P / prior) @ (pi / pi.sum())).sum())

    best = np.exp(np.append(minimize(loss, np.zeros(2), tol=1e-12).x, 0.0))
    assert found == pytest.approx(best / best.sum(), abs=1e-5)


def test_intervals_hold_the_share() -> None:
    inside = []
    for share, factor in ((0.01, 3.0), (0.05, 1.5), (0.3, 1.2)):
        found = [estimate_shares(*skewed(seed, share), 0.9) for seed in range(30)]
        inside += [one.low[1] <= share <= one.high[1] for one in found]
        assert 1 / factor <= np.median([one.values[1] for one in found]) / share <= factor
        assert {one.origin for one in found} == {"estimated"}
        assert all(one.values.sum() == pytest.approx(1) for one in found)
    assert np.mean(inside) >= 0.85


def test_shares_of_seeds_that_are_no_sample_are_excluded_and_those_of_a_sample_are_not() -> None:
    seeds = np.array([0.8, 0.2])
    assert sum(estimate_shares(*skewed(k, 0.01), 0.9).excludes(seeds) for k in range(10)) >= 8
    assert not any(estimate_shares(*skewed(k, 0.2), 0.9).excludes(seeds) for k in range(10))


def test_scores_without_signal_say_nothing() -> None:
    rng = np.random.default_rng(3)
    codes = np.repeat(np.array([0, 1], dtype=np.int32), [100, 100])
    noise = rng.dirichlet([5.0, 5.0], 2200).astype(np.float32)
    found = estimate_shares(noise[:200], codes, noise[200:], 0.9)
    assert found.high[1] - found.low[1] > 0.5


def test_what_cannot_be_told_is_unknown_and_says_why() -> None:
    F, codes, rows = skewed(0, 0.1, 50)
    few = np.r_[np.flatnonzero(codes == 0), np.flatnonzero(codes == 1)[:2]]
    many = MAX_CLASSES + 1
    for found in (
        estimate_shares(F[few], codes[few], rows, 0.9),
        estimate_shares(F, codes, rows[:0], 0.9),
        estimate_shares(np.eye(many, dtype=np.float32), np.arange(many, dtype=np.int32), rows, 0.9),
    ):
        assert found.origin == "unknown"
        assert found.reason
        assert not found.excludes(found.values)


def test_unknown_shares_are_those_of_the_seeds_and_may_be_anything() -> None:
    found = unknown_shares(np.array([3, 1]), "why")
    assert found.values.tolist() == [0.75, 0.25]
    assert (found.low.tolist(), found.high.tolist()) == ([0.0, 0.0], [1.0, 1.0])


def test_ranges_are_drawn_in_their_ends_and_numbers_are_kept() -> None:
    number = stated_shares(np.array([0.98, 0.02]), np.array([0.98, 0.02]))
    assert np.ptp(number.draws, axis=0) == pytest.approx([0.0, 0.0], abs=1e-15)
    ends = stated_shares(np.array([0.9, 0.01]), np.array([0.99, 0.1]))
    assert ends.draws[:, 1].min() >= 0.01
    assert ends.draws[:, 1].max() <= 0.1
    assert np.ptp(ends.draws[:, 1]) > 0.05
    assert ends.draws.sum(axis=1) == pytest.approx(1.0)


def test_a_number_stays_beside_ranges_and_no_share_leaves_its_range() -> None:
    low, high = np.array([0.2, 0.1, 0.1]), np.array([0.2, 0.7, 0.7])
    found = stated_shares(low, high)
    assert found.draws[:, 0] == pytest.approx(0.2, abs=1e-12)
    assert (found.draws >= low - 1e-12).all()
    assert (found.draws <= high + 1e-12).all()
    assert found.draws.sum(axis=1) == pytest.approx(1.0)
    assert found.values == pytest.approx([0.2, 0.4, 0.4])
    assert np.ptp(found.draws[:, 1]) > 0.5


def test_a_random_sample_has_the_interval_of_its_counts() -> None:
    found = shares_of_sample(np.array([190, 10]), 0.9)
    assert found.values.tolist() == [0.95, 0.05]
    # Jeffreys interval of 10 in 200.
    assert found.low[1] == pytest.approx(0.0290, abs=0.004)
    assert found.high[1] == pytest.approx(0.0796, abs=0.006)


def test_cells_are_by_class_then_by_score() -> None:
    F = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.0, 0.0]], dtype=np.float32)
    cells = ScoreCells((np.array([0.7]), np.array([])))
    assert cells.classes.tolist() == [0, 0, 1, 2]
    assert cells.places(F).tolist() == [1, 0, 2, 3]
    codes = np.array([0, 1, 1, 0], dtype=np.int32)
    counts = cell_counts(cells.places(F), codes, cells.classes)
    assert counts.tolist() == [[0, 1, 0, 1], [1, 0, 1, 0]]


def test_cells_hold_about_as_many_seeds_each() -> None:
    F, codes, _ = skewed(1, 0.1, 10)
    cells = ScoreCells.of_seeds(F)
    counts = cell_counts(cells.places(F), codes, cells.classes).sum(axis=0)
    assert counts.sum() == len(F)
    assert counts[:-1].min() >= 8


def test_the_mixture_is_that_of_the_rows_and_the_shares_that_are_given_stay() -> None:
    F, codes, rows = skewed(2, 0.05)
    cells = ScoreCells.of_seeds(F)
    seeds = cell_counts(cells.places(F), codes, cells.classes)
    found = np.bincount(cells.places(rows), minlength=len(cells.classes))
    free = draw_mixtures(seeds, found, cells.classes)
    mixed = np.einsum("dc,dck->dk", free.shares, free.rates)
    assert np.abs(mixed - found / found.sum()).max() < 0.03
    known = np.tile([0.95, 0.05], (50, 1))
    assert draw_mixtures(seeds, found, cells.classes, known).shares.tolist() == known.tolist()


def test_more_seeds_make_narrower_intervals() -> None:
    F, codes, rows = skewed(4, 0.05)
    cells = ScoreCells.of_seeds(F)
    seeds = cell_counts(cells.places(F), codes, cells.classes)
    found = np.bincount(cells.places(rows), minlength=len(cells.classes))
    few, many = (draw_mixtures(k * seeds, found, cells.classes).shares[:, 1] for k in (1, 20))
    assert many.std() < few.std() / 2


def test_the_ratios_make_the_chances_of_other_shares() -> None:
    z = np.linspace(-2.0, 4.0, 50)
    ratios = share_ratios(np.array([0.97, 0.03]), np.array([240, 60]))
    p = posterior(z, 0.2) * ratios
    assert p / p.sum(axis=1, keepdims=True) == pytest.approx(posterior(z, 0.03), abs=1e-6)
    assert ratios.max() == 1.0


def test_seeds_of_which_no_mixture_makes_the_rows_tell_nothing() -> None:
    F, codes, rows = skewed(0, 0.05)
    # Only those of the first class that look like the second are its seeds.
    chosen = (codes == 1) | (F[:, 1] > 0.6)
    found = estimate_shares(F[chosen], codes[chosen], rows, 0.9)
    assert found.origin == "unknown"
    assert "no fair sample" in str(found.reason)


def test_a_random_sample_tells_what_scores_do_not() -> None:
    alone, together, inside = [], [], []
    for seed in range(40):
        F, codes, rows = skewed(seed, 0.1)
        # Scores that know little: the interval without a sample is wide.
        weak = np.random.default_rng(seed)
        F, rows = (
            (one**0.3 * np.exp(weak.normal(0.0, 0.5, one.shape))).astype(np.float32)
            for one in (F, rows)
        )
        F, rows = (one / one.sum(axis=1, keepdims=True) for one in (F, rows))
        sampled = np.bincount(weak.random(200) < 0.1, minlength=2)
        first = estimate_shares(F, codes, rows, 0.9)
        found = estimate_shares(F, codes, rows, 0.9, sampled=sampled)
        alone.append(first.high[1] - first.low[1])
        together.append(found.high[1] - found.low[1])
        inside.append(found.low[1] <= 0.1 <= found.high[1])
    assert np.median(together) < 0.7 * np.median(alone)
    assert np.mean(inside) >= 0.8


def test_a_random_sample_tells_the_shares_where_scores_cannot() -> None:
    F, codes, rows = skewed(0, 0.1, 50)
    few = np.flatnonzero(codes == 0)
    found = estimate_shares(F[few], codes[few], rows, 0.9, sampled=np.array([180, 20]))
    assert found.origin == "estimated"
    assert found.values[1] == pytest.approx(0.1, abs=0.005)
    assert (
        estimate_shares(F[few], codes[few], rows, 0.9, sampled=np.array([9, 1])).origin == "unknown"
    )


def test_shares_that_are_given_as_those_of_the_seeds_are_not_excluded() -> None:
    for n_first in range(1, 60):
        counts = np.array([n_first, 37])
        share = n_first / counts.sum()
        ends = np.array([share, 1.0 - share])
        assert not stated_shares(ends, ends).excludes(counts / counts.sum())


def test_a_class_without_hidden_seeds_is_what_the_others_leave_of_the_rows() -> None:
    seeds = np.array([[20, 0, 0, 0], [0, 20, 0, 0], [0, 0, 0, 0]])
    rows, known = np.array([700, 300, 0, 0]), np.tile([0.4, 0.3, 0.3], (50, 1))
    found = draw_mixtures(seeds, rows, np.array([0, 1, 2, 3]), known)
    assert found.rates.sum(axis=2) == pytest.approx(1.0)
    mixed = np.einsum("dc,dck->dk", found.shares, found.rates)
    assert mixed.mean(axis=0) == pytest.approx(rows / 1000, abs=0.02)
    assert found.rates[:, 2, 0].mean() > 0.9


def test_rows_and_seeds_without_evidence_tell_nothing() -> None:
    F, codes, rows = skewed(3, 0.05)
    found = estimate_shares(F, codes, rows, 0.9)
    dark = np.zeros((3_000, 2), dtype=np.float32)
    more = np.append(codes, np.zeros(40, dtype=np.int32))
    same = estimate_shares(np.r_[F, dark[:40]], more, np.r_[dark, rows], 0.9)
    assert (same.draws == found.draws).all()
    assert estimate_shares(F, codes, dark, 0.9).origin == "unknown"
