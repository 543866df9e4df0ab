"""The smallest keys up to a total, against sorting."""

from __future__ import annotations

import numpy as np
import pytest

from ssl_dask.kernels.arithmetic.radix_selection import (
    Cut,
    KeyRange,
    all_keys,
    is_below,
    narrowed,
    range_histograms,
)


def select(
    keys: np.ndarray, channels: np.ndarray, most: float, channel: int = 0, n_blocks: int = 1
) -> tuple[Cut, int]:
    """Return the cut, and how many passes it took, of rows in `n_blocks` blocks."""
    at: KeyRange | Cut = all_keys(channels.shape[1])
    for passes in range(1, 8):
        assert isinstance(at, KeyRange)
        parts = np.array_split(np.arange(len(keys)), n_blocks)
        group = np.zeros(len(keys), dtype=np.int32)
        histogram = sum(
            range_histograms(keys[rows], group[rows], channels[rows], [at])[0] for rows in parts
        )
        at = narrowed(at, histogram, most=most, channel=channel)
        if isinstance(at, Cut):
            return at, passes
    raise AssertionError("no cut after seven passes")


@pytest.mark.parametrize("n_blocks", [1, 5])
@pytest.mark.parametrize("size", [0, 1, 137, 999, 1000, 5000])
def test_as_many_rows_as_asked_for(size: int, n_blocks: int) -> None:
    keys = np.random.default_rng(1).integers(0, 2**64, 1000, dtype=np.uint64)
    cut, passes = select(keys, np.ones((1000, 1), dtype=np.int64), size, n_blocks=n_blocks)
    expected = np.sort(keys)[: min(size, 1000)]
    np.testing.assert_array_equal(np.sort(keys[is_below(keys, cut.limit)]), expected)
    assert cut.totals == (min(size, 1000),)
    assert passes <= 2


def test_rows_up_to_a_total_of_weights() -> None:
    rng = np.random.default_rng(2)
    keys = rng.integers(0, 2**64, 3000, dtype=np.uint64)
    weights = rng.integers(1, 6, 3000)
    sure = np.where(rng.random(3000) < 0.5, weights, 0)
    channels = np.stack([np.ones(3000, dtype=np.int64), weights, sure], axis=1)
    cut, _ = select(keys, channels, 1234.5, channel=1, n_blocks=3)
    order = np.argsort(keys)
    taken = order[np.cumsum(weights[order]) <= 1234.5]
    np.testing.assert_array_equal(np.flatnonzero(is_below(keys, cut.limit)), np.sort(taken))
    assert cut.totals == (len(taken), weights[taken].sum(), sure[taken].sum())
    assert 1225 < cut.totals[1] < 1235


def test_keys_that_differ_in_their_last_bits_only() -> None:
    keys = np.uint64(2**63 + 2**40) + np.arange(100, dtype=np.uint64)
    cut, passes = select(keys, np.ones((100, 1), dtype=np.int64), 42)
    assert is_below(keys, cut.limit).sum() == 42
    assert passes == 6


def test_groups_are_searched_side_by_side() -> None:
    rng = np.random.default_rng(3)
    keys = rng.integers(0, 2**64, 500, dtype=np.uint64)
    group = rng.integers(-1, 3, 500).astype(np.int32)
    ones = np.ones((500, 1), dtype=np.int64)
    at: list[KeyRange | Cut] = [all_keys(), Cut(0, (0,)), all_keys()]
    while any(isinstance(one, KeyRange) for one in at):
        histograms = range_histograms(keys, group, ones, at)
        assert histograms[1].sum() == 0
        at = [
            narrowed(one, histogram, most=20) if isinstance(one, KeyRange) else one
            for one, histogram in zip(at, histograms, strict=True)
        ]
    for number in (0, 2):
        cut = at[number]
        assert isinstance(cut, Cut)
        mine = keys[group == number]
        assert is_below(mine, cut.limit).sum() == 20 < len(mine)


def test_all_rows_where_nothing_bounds_them() -> None:
    keys = np.array([0, 2**64 - 1], dtype=np.uint64)
    cut, passes = select(keys, np.ones((2, 1), dtype=np.int64), np.inf)
    assert is_below(keys, cut.limit).all()
    assert (cut.totals, passes) == ((2,), 1)
