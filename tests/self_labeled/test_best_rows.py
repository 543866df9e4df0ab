"""Exactly the k best of all blocks, against sorting all rows."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssl_dask.kernels.arithmetic.radix_selection import BINS, confidence_counts
from ssl_dask.self_labeled.selection.best_rows import BestRows, taken


def chosen(
    confidence: np.ndarray, group: np.ndarray, wanted: list[int], n_blocks: int
) -> tuple[np.ndarray, int]:
    """Which rows are taken, by blocks that are asked one after the other; and how many surveys."""
    n = len(confidence)
    rows = np.arange(n)
    cuts = np.linspace(0, n, n_blocks + 1).astype(int)
    blocks = [slice(a, b) for a, b in itertools.pairwise(cuts)]
    G = len(wanted)
    best = BestRows.begin(
        sum(confidence_counts(confidence[b], group[b], G) for b in blocks), wanted
    )
    surveys = 1
    while not best.found:
        counts = sum(best.survey(confidence[b], rows[b], group[b]) for b in blocks)
        best = best.refined(counts, n)
        surveys += 1
    parts = [taken(best.cuts, confidence[b], rows[b], group[b]) for b in blocks]
    return np.concatenate(parts), surveys


def by_sorting(confidence: np.ndarray, group: np.ndarray, wanted: list[int]) -> np.ndarray:
    out = np.zeros(len(confidence), dtype=bool)
    for g, k in enumerate(wanted):
        rows = np.flatnonzero(group == g)
        order = np.lexsort((rows, -confidence[rows]))
        out[rows[order[:k]]] = True
    return out


@pytest.mark.parametrize("kind", ["spread", "crowded", "ties", "ones", "float32"])
@pytest.mark.parametrize("n_blocks", [1, 7])
def test_takes_the_best_of_each_group(kind: str, n_blocks: int) -> None:
    random = np.random.default_rng(1)
    n = 5000
    p = random.random(n)
    if kind == "crowded":
        p = 1.0 - 1e-9 * p
    elif kind == "ties":
        p = np.round(p, 2)
    elif kind == "ones":
        p = np.where(p > 0.2, 1.0, p)
    elif kind == "float32":
        p = p.astype(np.float32).astype(np.float64)
    group = random.integers(-1, 3, n).astype(np.int32)
    wanted = [7, 900, 10**6]
    ours, surveys = chosen(p, group, wanted, n_blocks)
    np.testing.assert_array_equal(ours, by_sorting(p, group, wanted))
    assert surveys <= 9
    assert 907 < ours.sum() < n


@given(
    st.lists(st.sampled_from([0.0, -0.0, 0.25, 0.5, np.nextafter(0.5, 1), 0.75, 1.0]), min_size=1),
    st.integers(0, 12),
)
def test_takes_equals_by_their_numbers(values: list[float], k: int) -> None:
    p = np.array(values)
    group = np.zeros(len(p), dtype=np.int32)
    ours, _ = chosen(p, group, [k], 2)
    np.testing.assert_array_equal(ours, by_sorting(np.abs(p), group, [k]))


def test_a_survey_is_small_however_many_rows() -> None:
    p = np.random.default_rng(0).random(100_000)
    best = BestRows.begin(confidence_counts(p, np.zeros(len(p), np.int32), 1), [500])
    counts = best.survey(p, np.arange(len(p)), np.zeros(len(p), np.int32))
    assert counts.shape == (1, BINS)
    assert counts.sum() < 100


@pytest.mark.parametrize("k", [2, 3])
def test_the_threshold_is_near_the_last_row_that_is_taken(k: int) -> None:
    # Two rows lie in one bin: the cut is between them, or after both.
    p = np.array([0.9, 0.5001, 0.50005, 0.1])
    group = np.zeros(4, dtype=np.int32)
    best = BestRows.begin(confidence_counts(p, group, 1), [k])
    while not best.found:
        best = best.refined(best.survey(p, np.arange(4), group), 4)
    (cut,) = best.cuts
    assert 0 <= p[k - 1] - cut.confidence < 1e-7
