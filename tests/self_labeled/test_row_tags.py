"""Rows stand by tag where their order could count: in fits, and in the sample that folds see."""

from __future__ import annotations

from typing import Any

import dask.array as da
import numpy as np
import pytest
import scipy.sparse as sp
from dask.delayed import delayed

from ssl_dask.dask_arrays import array_of_blocks
from ssl_dask.execution import Execution
from ssl_dask.self_labeled.rows.block_rows import BlockRows, Piece, joined_pieces
from ssl_dask.self_labeled.rows.row_blocks import blocks_of, gathered

N, KEY = 90, 5
RNG = np.random.default_rng(0)
TAGS, X = RNG.permutation(10**6)[:N], RNG.integers(0, 4, (N, 3)).astype(np.float32)
CODES = RNG.integers(0, 3, N).astype(np.int32)
BY_TAG = np.argsort(TAGS)


def plain(rows: Any) -> np.ndarray:
    return rows.toarray() if sp.issparse(rows) else rows


@pytest.mark.parametrize("store", [np.asarray, sp.csr_array])
@pytest.mark.parametrize("cuts", [[], [40], [13, 13, 70]])
def test_a_fit_takes_its_rows_by_tag(store: Any, cuts: list[int]) -> None:
    ones, none = np.ones(N, np.float32), np.zeros(N, np.bool_)
    whole = Piece(TAGS, store(X), CODES, ones, none)
    pieces = [whole.at(at) for at in np.split(np.arange(N), cuts)]
    found = joined_pieces(pieces)
    np.testing.assert_array_equal(found.tags, TAGS[BY_TAG])
    np.testing.assert_array_equal(plain(found.X), X[BY_TAG])
    np.testing.assert_array_equal(found.codes, CODES[BY_TAG])
    # What stands by tag is left as it is.
    assert joined_pieces([found]) is found


@pytest.mark.parametrize("store", [np.asarray, sp.csr_array])
def test_the_rows_that_folds_see_do_not_depend_on_the_order_of_rows(store: Any) -> None:
    def seen(order: np.ndarray, chunks: tuple[int, ...]) -> BlockRows:
        tags = da.from_array(TAGS[order], chunks=(chunks,))
        parts = [delayed(store(one)) for one in np.split(X[order], np.cumsum(chunks)[:-1])]
        meta = store(np.zeros((0, 3), np.float32))
        views = {"X": array_of_blocks(parts, chunks, (3,), np.float32, meta)}
        blocks, starts = blocks_of(views, {}, chunks, tags), np.cumsum([0, *chunks])
        wanted = np.flatnonzero(np.isin(order, [3, 80, 41]))
        task = gathered(blocks, starts, wanted, share=0.3, key=KEY)
        return Execution(threads=1).compute([task])[0]

    first = seen(np.arange(N), (90,))
    mixed = seen(np.random.default_rng(1).permutation(N), (20, 50, 20))
    np.testing.assert_array_equal(first.tags, mixed.tags)
    assert (np.diff(first.tags) > 0).all()
    assert set(TAGS[[3, 80, 41]]) <= set(first.tags.tolist())
    assert 10 < first.n_rows < 60
    row = {tag: number for number, tag in enumerate(TAGS.tolist())}
    for block in (first, mixed):
        own = X[[row[tag] for tag in block.tags.tolist()]]
        np.testing.assert_array_equal(plain(block.only), own)
