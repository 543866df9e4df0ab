"""Features carried along the edges: what the neighbourhood of a row is like, for any classifier.

Where rows have both columns and edges, these and logistic regression are the strongest simple
method.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import dask.array as da
import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from dask import delayed
from dask.delayed import Delayed
from pydantic import Field

from ssl_dask.errors import GraphError
from ssl_dask.execution import Execution
from ssl_dask.graph.block_graph import BlockGraph
from ssl_dask.propagation.engine import MAX_ATTEMPTS
from ssl_dask.propagation.solver import PropagationSession, Recurrence
from ssl_dask.propagation.worker_parts import WorkersChangedError
from ssl_dask.spec_model import SpecModel

COLUMNS_AT_ONCE = 64
"""Features are carried in groups of so many, the last one filled up with zeros: a sweep is compiled
for a number of columns, and for one number only."""
MAX_FEATURES = 20_000

Rows = npt.NDArray[np.float32]


class PropagatedFeaturesSpec(SpecModel):
    """Logistic regression over features averaged along the edges (Wu et al. 2019)."""

    name: Literal["propagated_features"] = "propagated_features"
    n_hops: Annotated[int, Field(ge=1, le=10)] = 2
    """Edges that features are carried along."""
    hops: Literal["last", "all"] = "all"
    """last: the features after n_hops (SGC); all: those after 0, 1, ... n_hops side by side, which
    tells rows that are unlike their neighbours too (SIGN)."""
    unit_rows: bool = True
    """Bring the features of a row after each hop to length 1: means over many neighbours are
    shorter than those over few."""
    self_share: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.25
    """What a row keeps of its own at each hop; the rest comes from its neighbours."""
    C: Annotated[float, Field(gt=0.0)] = 1.0
    """Inverse strength of the penalty of the regression."""
    max_iter: Annotated[int, Field(ge=1)] = 1000
    """Most iterations of the regression's solver."""


def propagated_features(
    graph: BlockGraph,
    X: Any,
    *,
    n_hops: int = 2,
    hops: Literal["last", "all"] = "all",
    unit_rows: bool = True,
    self_share: float = 0.25,
    execution: Execution | None = None,
) -> Rows | da.Array:
    """Return T^k X, or [X, T X, ..., T^k X] for `hops="all"`, with T = s I + (1 - s) D^-1 W.

    The papers put an edge of weight 1 from each row to itself, which depends on the unit of the
    weights; T keeps the same share s of every row instead. A row without edges keeps its features
    times s^k.

    Parameters
    ----------
    graph
        Graph of N rows. Where rows share a node, the first stands for all; a node without rows
        starts at 0.
    X
        (N, d): NumPy array, CSR, or Dask array chunked by rows (dense or CSR chunks).
    n_hops
        k >= 1.
    hops
        "last": d features (SGC); "all": (k + 1) d features (SIGN).
    unit_rows
        Each hop's features of a row are brought to Euclidean length 1, where they are not all 0.
    self_share
        s in [0, 1).
    execution
        Where it runs; default: this process.

    Returns
    -------
    float32, dense: a Dask array chunked as X if that is one, else a NumPy array.

    Raises
    ------
    ValueError
        A parameter is not usable, or X has not N rows.
    GraphError
        More than 20,000 features: they become dense.
    ComputeError
        Workers were lost again and again, or lack memory.

    Notes
    -----
    k (for "all" k (k + 1) / 2) sweeps over d columns, 64 at a time; 4 N d bytes are kept of each
    hop that is returned. The same bits for any strips, parts and workers.

    References
    ----------
    F. Wu, T. Zhang, A. Holanda de Souza, C. Fifty, T. Yu, K. Weinberger: Simplifying Graph
    Convolutional Networks, ICML 2019, eq. 8. F. Frasca, E. Rossi, D. Eynard, B. Chamberlain,
    M. Bronstein, F. Monti: SIGN: Scalable Inception Graph Neural Networks, 2020, eq. 5.
    """
    execution = execution or Execution()
    PropagatedFeaturesSpec(n_hops=n_hops, hops=hops, self_share=self_share)
    d = int(X.shape[1])
    if X.shape[0] != graph.n_rows:
        raise ValueError(f"X has {X.shape[0]} rows, the graph {graph.n_rows}")
    if not 0 < d <= MAX_FEATURES:
        raise GraphError(
            f"{d:,} features are to be carried along the edges; there may be 1 to {MAX_FEATURES:,}",
            hint="take fewer: n_features of a text group, n_components of others",
        )
    rows, row_chunks = _row_blocks(graph, X)
    wanted = range(1, n_hops + 1) if hops == "all" else (n_hops,)
    groups: list[list[Delayed]] = [rows] if hops == "all" else []
    width = min(d, COLUMNS_AT_ONCE)
    with PropagationSession(graph, execution, n_columns=width) as session:
        for hop in wanted:
            for first in range(0, d, width):
                part = [delayed(_columns, pure=False)(b, first, width) for b in rows]
                groups.append(_carried(session, part, width, hop, self_share))
    n_features = d * (n_hops + 1) if hops == "all" else d
    per_hop = -(-d // width)
    joined = [
        delayed(_side_by_side, pure=False)(d, per_hop, hops == "all", unit_rows, *blocks)
        for blocks in zip(*groups, strict=True)
    ]
    joined = execution.persist(joined, "features")
    arrays = [
        da.from_delayed(block, (n, n_features), dtype=np.float32)
        for block, n in zip(joined, row_chunks, strict=True)
    ]
    if isinstance(X, da.Array):
        return da.concatenate(arrays).rechunk({0: X.chunks[0]})
    return np.concatenate(execution.compute(joined, "features"))


def _row_blocks(graph: BlockGraph, X: Any) -> tuple[list[Delayed], tuple[int, ...]]:
    """Return X in blocks of rows as the graph has them, and their sizes."""
    chunks = graph.node_chunks if graph.order is None else graph.order.row_chunks
    if isinstance(X, da.Array):
        blocks = X.rechunk({0: chunks, 1: -1}).to_delayed(optimize_graph=False).ravel()
        return list(blocks), chunks
    stops = np.cumsum(chunks)
    return [
        delayed(X[stop - n : stop], pure=False, traverse=False)
        for stop, n in zip(stops.tolist(), chunks, strict=True)
    ], chunks


def _carried(
    session: PropagationSession,
    rows: list[Delayed],
    width: int,
    n_hops: int,
    self_share: float,
) -> list[Delayed]:
    """Return T^k of some columns, in the blocks of rows."""
    graph, execution = session.graph, session.execution
    nodes = rows
    if graph.order is not None:
        nodes = graph.order.first_rows_of_nodes(rows, graph.node_chunks, execution)
    walk = Recurrence(
        name="propagated_features",
        target=(1.0, 0.0),
        steps=lambda _: (1.0 - self_share, self_share, 0.0, 0.0),
        settings={},
        powers=(0.0, 0.0),
        first=1.0,
    )
    for attempt in range(MAX_ATTEMPTS + 1):
        try:
            solved = session.solve(
                walk, dense=nodes, n_classes=width, max_iter=n_hops, tol=None, scale=1.0
            )
            found = solved.blocks
            if graph.order is not None:
                return graph.order.rows_of_nodes(found, graph.node_chunks, execution)
            return execution.persist(found, "features")
        except WorkersChangedError:
            if attempt == MAX_ATTEMPTS:
                raise
    raise AssertionError("unreachable")


def _columns(block: Any, first: int, width: int) -> Rows:
    part = block[:, first : first + width]
    dense = np.zeros((part.shape[0], width), dtype=np.float32)
    dense[:, : part.shape[1]] = part.toarray() if sp.issparse(part) else part
    return dense


def _side_by_side(d: int, per_hop: int, with_own: bool, unit_rows: bool, *blocks: Any) -> Rows:
    """Join groups of columns, `per_hop` a hop; the features themselves first if `with_own`."""
    own = [_columns(blocks[0], 0, d)] if with_own else []
    groups = blocks[1:] if with_own else blocks
    hops = [
        np.concatenate(groups[first : first + per_hop], axis=1)[:, :d]
        for first in range(0, len(groups), per_hop)
    ]
    return np.concatenate([_of_unit_length(h) if unit_rows else h for h in [*own, *hops]], axis=1)


def _of_unit_length(X: Rows) -> Rows:
    squares = np.zeros(len(X))
    # Column by column: np.sum over an axis changes its order of addition with the shape.
    for column in X.T:
        squares += column.astype(np.float64) ** 2
    return (X / np.sqrt(np.where(squares > 0.0, squares, 1.0))[:, None]).astype(np.float32)
