"""Small graphs and seeds, and blocks of arrays as tasks, for tests of propagation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import dask
import numpy as np
import scipy.sparse as sp
from dask.delayed import Delayed

from ssl_dask.execution import Execution
from ssl_dask.graph.block.block_graph import BlockGraph
from ssl_dask.graph.block.node_order import NodeOrder
from ssl_dask.labels import Labels

N_CLASSES = 4


def random_weights(n: int, seed: int, *, density: float = 0.08) -> sp.csr_array:
    rng = np.random.default_rng(seed)
    W = sp.random_array((n, n), density=density, rng=rng, format="csr", dtype=np.float32)
    W = sp.csr_array((W + W.T) * np.float32(0.5))
    W.setdiag(0)
    W.eliminate_zeros()
    return W


def graph_of_nodes(
    W: Any, node_of_row: np.ndarray, row_chunks: Sequence[int], n_strips: int = 3
) -> BlockGraph:
    """Return a graph whose rows have the nodes of W that they are told."""
    plain = BlockGraph.from_scipy(W, n_strips=n_strips)
    order = NodeOrder(cut(node_of_row, row_chunks), tuple(row_chunks), W.shape[0])
    return BlockGraph(plain.strips, plain.node_chunks, plain.n_edges, plain.settings, order)


def path_graph(n: int) -> sp.csr_array:
    ones = np.ones(n - 1, dtype=np.float32)
    return sp.csr_array(sp.diags_array([ones, ones], offsets=[-1, 1]))


def some_codes(n: int, seed: int, n_seeds: int = 12) -> np.ndarray:
    rng = np.random.default_rng(seed)
    codes = np.full(n, -1)
    rows = rng.choice(n, n_seeds, replace=False)
    codes[rows] = np.arange(n_seeds) % N_CLASSES
    return codes


def few_labels(truth: np.ndarray, per_class: int, draw: int) -> np.ndarray:
    """Return codes of `per_class` rows of each class, and -1."""
    rng = np.random.default_rng(draw)
    y = np.full(len(truth), -1)
    for c in np.unique(truth):
        y[rng.choice(np.flatnonzero(truth == c), per_class, replace=False)] = c
    return y


def labels_of(codes: np.ndarray) -> Labels:
    return Labels.from_codes(codes, np.arange(N_CLASSES))


def delay(block: np.ndarray) -> Delayed:
    return dask.delayed(block, pure=False, traverse=False)


def cut(values: Any, chunks: Sequence[int]) -> tuple[Delayed, ...]:
    return tuple(delay(part) for part in np.split(np.asarray(values), np.cumsum(chunks)[:-1]))


def fetch(array: Any, execution: Execution) -> np.ndarray:
    return np.concatenate(execution.compute(list(array.to_delayed().ravel())))
