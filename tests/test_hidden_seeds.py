"""Folds of the seeds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ssl_dask.evaluation.evaluation_spec import EvaluationSpec
from ssl_dask.hidden_seeds import hide_seeds
from ssl_dask.kernels.arithmetic.row_keys import splitmix64
from ssl_dask.labels import Labels


def some_labels(counts: list[int], seed: int) -> Labels:
    random = np.random.default_rng(seed)
    codes = np.repeat(np.arange(len(counts)), counts).astype(np.int32)
    random.shuffle(codes)
    rows = np.sort(random.choice(10_000, len(codes), replace=False)).astype(np.int64)
    return Labels(10_000, rows, codes, np.arange(len(counts)))


@settings(max_examples=100, deadline=None)
@given(
    counts=st.lists(st.integers(0, 9), min_size=1, max_size=8),
    n_folds=st.integers(2, 10),
    seed=st.integers(0, 1000),
)
def test_every_class_keeps_a_seed_and_folds_are_even(
    counts: list[int], n_folds: int, seed: int
) -> None:
    labels = some_labels(counts, seed)
    folds = hide_seeds(labels, n_folds, seed)
    single = {code for code, count in enumerate(counts) if count == 1}
    hideable = sum(count for count in counts if count > 1)
    assert set(folds.never_hidden) == single
    assert folds.n_hidden == hideable
    assert folds.n_folds == min(n_folds, hideable)
    sizes = [int(folds.hidden(fold).sum()) for fold in range(folds.n_folds)]
    if sizes:
        assert max(sizes) - min(sizes) <= 1
    for fold in range(folds.n_folds):
        kept = labels.subset(~folds.hidden(fold))
        assert (kept.class_counts() > 0).tolist() == [count > 0 for count in counts]
        of_class = np.bincount(labels.codes[folds.hidden(fold)], minlength=len(counts))
        assert all(
            n <= -(-count // folds.n_folds) for n, count in zip(of_class, counts, strict=True)
        )


def test_a_seed_number_decides_and_nothing_else_does() -> None:
    labels = some_labels([20, 30], 1)
    first = hide_seeds(labels, 5, 7)
    np.testing.assert_array_equal(first.fold, hide_seeds(labels, 5, 7).fold)
    assert (first.fold != hide_seeds(labels, 5, 8).fold).any()
    longer = Labels(2**40, labels.rows, labels.codes, labels.classes)
    np.testing.assert_array_equal(first.fold, hide_seeds(longer, 5, 7).fold)


def test_folds_do_not_follow_the_rows() -> None:
    # Rows sorted by time must not put neighbours into one fold, nor deal them in turn.
    labels = Labels(1000, np.arange(1000), np.zeros(1000, np.int32), np.array([0]))
    fold = hide_seeds(labels, 2, 0).fold
    same = (fold[1:] == fold[:-1]).mean()
    assert 0.4 < same < 0.6


def test_nothing_to_hide() -> None:
    for labels, n_folds in ((some_labels([1, 1], 0), 5), (some_labels([5, 5], 0), 0)):
        folds = hide_seeds(labels, n_folds, 0)
        assert folds.n_folds == 0
        assert (folds.fold == -1).all()


def test_splitmix64_gives_the_published_values() -> None:
    # First outputs of the generator for state 0: state advances by the golden gamma.
    gamma = 0x9E3779B97F4A7C15
    states = np.array([0, gamma, 2 * gamma % 2**64], dtype=np.uint64)
    wanted = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]
    assert splitmix64(states).tolist() == wanted


def test_one_fold_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 2"):
        EvaluationSpec(folds=1)
    assert EvaluationSpec(folds=0).folds == 0


def test_folds_go_by_the_tags_of_seeds_where_they_have_some() -> None:
    labels = some_labels([20, 30], 4)
    tags = np.sort(np.random.default_rng(5).choice(2**62, 50, replace=False))
    moved = np.random.default_rng(6).permutation(10_000)[:50]
    one, other = (
        Labels(10_000, rows, labels.codes, labels.classes, tags=tags)
        for rows in (labels.rows, moved)
    )
    np.testing.assert_array_equal(hide_seeds(one, 5, 7).fold, hide_seeds(other, 5, 7).fold)
    assert (hide_seeds(one, 5, 7).fold != hide_seeds(labels, 5, 7).fold).any()
    positions, places = other.between(2_000, 6_000)
    assert sorted((positions + 2_000).tolist()) == sorted(moved[(moved >= 2_000) & (moved < 6_000)])
    assert 0 < len(places) < 50
    np.testing.assert_array_equal(moved[places], positions + 2_000)
    second = labels.codes == 1
    np.testing.assert_array_equal(other.subset(second).tags, tags[second])
