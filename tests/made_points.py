"""Points with near neighbours, and what two graphs of them share."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import dask.array as da
import numpy as np
import scipy.sparse as sp

from ssl_dask.graph.block.block_graph import BlockGraph


def sheets(n=2500, d=8, seed=0, n_clusters=6):
    """Rows on curved two-dimensional sheets: neighbours lie across any border of cells."""
    rng = np.random.default_rng(seed)
    label = rng.integers(0, n_clusters, n)
    z = rng.normal(size=(n, 2))
    A = rng.normal(size=(n_clusters, 2, d))
    centres = 3 * rng.normal(size=(n_clusters, d))
    X = np.einsum("ij,ijk->ik", z, A[label]) + np.sin(np.einsum("ij,ijk->ik", z, A[label] * 0.7))
    return (X + centres[label] + 0.05 * rng.normal(size=(n, d))).astype(np.float32)


def token_rows(n=1000, seed=0, n_templates=60, d=2**10):
    """Rows of weighted tokens, like log lines: those of a template, and four that vary."""
    rng = np.random.default_rng(seed)
    fixed = [rng.choice(400, rng.integers(6, 14), replace=False) for _ in range(n_templates)]
    rows, columns, values = [], [], []
    for i in range(n):
        template = fixed[min(rng.zipf(1.4) - 1, n_templates - 1)]
        slots = np.where(rng.random(4) < 0.6, 400 + rng.integers(0, 80, 4), rng.integers(480, d, 4))
        tokens = np.unique(np.concatenate([template, slots]))
        rows.append(np.full(len(tokens), i))
        columns.append(tokens)
        values.append(1 + rng.random(len(tokens)))
    parts = (np.concatenate(rows), np.concatenate(columns))
    return sp.csr_array((np.concatenate(values), parts), shape=(n, d), dtype=np.float32)


def in_chunks(X: Any, chunks: Sequence[int]) -> da.Array:
    """Return rows, dense or sparse, as a Dask array of so many a block."""
    bounds = np.cumsum([0, *chunks])
    blocks = [X[a:b] for a, b in pairwise(bounds.tolist())]
    return da.concatenate([da.from_array(b, chunks=b.shape, asarray=False) for b in blocks])


def assert_same(left: Any, right: Any) -> None:
    """Fail unless two graphs, or two CSR matrices, are equal bit for bit."""
    a, b = (one.to_scipy() if isinstance(one, BlockGraph) else one for one in (left, right))
    assert a.indptr.tolist() == b.indptr.tolist()
    assert a.indices.tolist() == b.indices.tolist()
    assert a.data.tobytes() == b.data.tobytes()
