"""Copies of rows, found across strips, against plain Python."""

from __future__ import annotations

from itertools import pairwise

import dask.array as da
import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from ssl_dask.execution import Execution
from ssl_dask.graph.knn import distinct_rows as module
from ssl_dask.graph.knn.row_strips import checked_rows


def first_of_equal_rows(X: np.ndarray) -> np.ndarray:
    """Return for each row the number of the first row that equals it."""
    seen: dict[tuple[float, ...], int] = {}
    return np.array([seen.setdefault(tuple(row), i) for i, row in enumerate(X.tolist())])


@pytest.mark.parametrize("kind", ["dense", "sparse"])
@settings(deadline=None, max_examples=30)
@given(
    st.lists(st.integers(1, 40), min_size=1, max_size=6), st.integers(1, 3), st.integers(0, 2**32)
)
def test_every_copy_is_found_with_its_first_row(kind, chunks, span, seed):
    n_rows = sum(chunks)
    X = np.random.default_rng(seed).integers(0, span + 1, (n_rows, 4)).astype(np.float32)
    array = da.from_array(X, chunks=(tuple(chunks), 4))
    rows = checked_rows(array.map_blocks(sp.csr_array) if kind == "sparse" else array, Execution())
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(module, "BUCKET_ROWS", 30)
        found = module.distinct_rows(rows, Execution())
    want = first_of_equal_rows(X)
    is_copy = want != np.arange(n_rows)
    assert found.n_copies == np.count_nonzero(is_copy)
    cuts = np.cumsum([0, *rows.row_chunks])
    assert list(found.per_strip) == [np.count_nonzero(is_copy[a:b]) for a, b in pairwise(cuts)]
    if found.copies is None:
        assert not is_copy.any()
        return
    parts = Execution().compute(list(found.copies))
    for (positions, first), a, b in zip(parts, cuts[:-1], cuts[1:], strict=True):
        np.testing.assert_array_equal(positions, np.flatnonzero(is_copy[a:b]))
        np.testing.assert_array_equal(first, want[a:b][positions])


def test_a_row_that_is_everywhere_leaves_its_strip_once():
    X = np.zeros((1000, 3), np.float32)
    X[::10] = np.arange(100)[:, None]
    *buckets, (positions, first) = module._hashed(X, 5000, 4)
    assert sum(len(numbers) for _, numbers in buckets) == 100
    assert len(positions) == 900
    assert set(first.tolist()) == {5000}
