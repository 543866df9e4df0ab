"""Features carried along the edges: what the neighbourhood of a row is like, for any classifier.

Where rows have both columns and edges, these and logistic regression are the strongest simple
method. F. Wu et al.: Simplifying Graph Convolutional Networks, ICML 2019, eq. 8 (the last hop).
F. Frasca et al.: SIGN: Scalable Inception Graph Neural Networks, 2020, eq. 5 (all hops).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any, Literal

import dask.array as da
import numpy as np
import scipy.sparse as sp
from dask import delayed
from dask.delayed import Delayed
from pydantic import Field

from ssl_dask.array_types import Bool, Float32, Float64, Int32, Int64
from ssl_dask.block_exchange import block_tasks
from ssl_dask.dask_arrays import array_of_blocks, as_dask_array, rows_in_blocks
from ssl_dask.errors import GraphError
from ssl_dask.execution import AnyClient, Execution
from ssl_dask.features.dask_ml_adapter import predict_proba_blocks
from ssl_dask.graph.block.block_graph import BlockGraph
from ssl_dask.kernels.arithmetic.linear_scores import ordered_sums
from ssl_dask.kernels.distributions.class_evidence import UNIT_BITS, unit_totals
from ssl_dask.kernels.distributions.class_votes import paired_difference_interval
from ssl_dask.kernels.distributions.label_distributions import predicted_codes
from ssl_dask.kernels.propagation.sweep import row_degrees
from ssl_dask.method import JobShape, Method, MethodCost, MethodInputs
from ssl_dask.propagation.engine.node_vectors import largest_degree, rows_of
from ssl_dask.propagation.engine.propagated import STOP_WORDS, Propagated, graph_of
from ssl_dask.propagation.engine.recurrence import one_step_of_the_walk
from ssl_dask.propagation.engine.session import DenseSources, PropagationSession
from ssl_dask.run_control import Losses, RunControl, retried
from ssl_dask.spec_model import SpecModel
from ssl_dask.supervised import SupervisedSpec, fit_folds, fit_supervised, require_converged

COLUMNS_AT_ONCE = 64
"""Features are carried in groups of so many, the last one filled up with zeros: a sweep is compiled
for a number of columns, and for one number only."""
MAX_FEATURES = 20_000

WALK = one_step_of_the_walk("propagated_features")
"""Z = D^-1 W X."""
PENALTIES = (1.0, 100.0)
"""Inverse strengths that are tried where the spec leaves C open: for few and for many seeds."""


class PropagatedFeaturesSpec(SpecModel):
    """Logistic regression over features averaged along the edges (Wu et al. 2019)."""

    name: Literal["propagated_features"] = "propagated_features"
    n_hops: Annotated[int, Field(ge=1, le=10)] = 2
    """Edges that features are carried along."""
    hops: Literal["auto", "last", "all"] = "auto"
    """last: the features after n_hops (SGC); all: those after 0, 1, ... n_hops side by side, which
    tells rows that are unlike their neighbours too (SIGN). auto: last, unless all says more hidden
    seeds right than chance explains."""
    unit_rows: bool = False
    """Bring the features of a row after each hop to length 1."""
    C: Annotated[float, Field(gt=0.0)] | Literal["auto"] = "auto"
    """Inverse strength of the penalty of the regression, for features whose variances sum to 1.
    auto: 1, unless 100 says more hidden seeds right than chance explains."""
    max_iter: Annotated[int, Field(ge=1)] = 1000
    """Most iterations of the regression's solver."""


def propagated_features(
    graph: BlockGraph,
    X: Any,
    *,
    n_hops: int = 2,
    hops: Literal["last", "all"] = "last",
    unit_rows: bool = False,
    client: AnyClient = None,
    execution: Execution | None = None,
    losses: Losses | None = None,
) -> Float32 | da.Array:
    """Return S^k X, or [X, S X, ..., S^k X] for `hops="all"`.

    S = (D + w I)^-1/2 (W + w I) (D + w I)^-1/2: each row has an edge to itself of weight w, the
    mean weight of an edge, whatever the unit of weights. A row without edges keeps its features.
    k sweeps over d columns, 64 at a time; 4 N d bytes for each hop that is returned.

    Parameters
    ----------
    graph, X
        Graph of N rows, where rows that share a node have the features of the first; (N, d): NumPy
        array, CSR, or Dask array chunked by rows (dense or CSR chunks).
    n_hops, hops, unit_rows
        k >= 1; "last": d features (SGC); "all": (k + 1) d features (SIGN); whether each hop's
        features of a row are brought to Euclidean length 1, where they are not all 0.
    client, execution, losses
        Client of the cluster that computes, or "local": this process. Default: the open client, if
        any. Or where to run instead of it, and how often workers may be lost.

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

    Examples
    --------
    >>> graph = BlockGraph.from_edges([0], [1], n_rows=3)
    >>> propagated_features(graph, np.array([[2.0], [4.0], [5.0]]), n_hops=1).tolist()
    [[3.0], [3.0], [5.0]]
    """
    execution, losses = Execution.of(client, execution), losses or Losses()
    spec = PropagatedFeaturesSpec(n_hops=n_hops, hops=hops, unit_rows=unit_rows)
    X = as_dask_array(X)
    _check_features(graph, X, spec)
    rows = rows_in_blocks(X, graph.row_chunks, execution.place)
    joined = _carried_rows(graph, rows, int(X.shape[1]), spec, execution, losses)
    if not isinstance(X, da.Array):
        return np.concatenate(execution.compute(joined, "features"))
    width = (X.shape[1] * (n_hops + 1 if hops == "all" else 1),)
    return array_of_blocks(joined, graph.row_chunks, width, np.float32).rechunk({0: X.chunks[0]})


def _check_features(graph: BlockGraph, X: Any, spec: PropagatedFeaturesSpec) -> None:
    """Raise unless the features can be carried."""
    if spec.hops == "auto":
        raise ValueError(f'hops must be "last" or "all"; got {spec.hops!r}')
    d = int(X.shape[1])
    if X.shape[0] != graph.n_rows:
        raise ValueError(f"X has {X.shape[0]} rows, the graph {graph.n_rows}")
    if not 0 < d <= MAX_FEATURES:
        raise GraphError(
            f"{d:,} features are to be carried along the edges; there may be 1 to {MAX_FEATURES:,}",
            hint="take fewer: n_features of a text group, n_components of others",
        )


def _carried_rows(
    graph: BlockGraph,
    rows: list[Delayed],
    d: int,
    spec: PropagatedFeaturesSpec,
    execution: Execution,
    losses: Losses,
) -> list[Delayed]:
    """Carry the columns group by group, and join the hops that are kept, block by block."""
    width, n_hops, with_own = min(d, COLUMNS_AT_ONCE), spec.n_hops, spec.hops == "all"
    kept = range(1, n_hops + 1) if with_own else (n_hops,)
    by_hop: dict[int, list[list[Delayed]]] = {hop: [] for hop in kept}
    with PropagationSession(graph, execution, n_columns=width, losses=losses) as session:
        own_weight = _mean_weight(graph, execution)
        for first in range(0, d, width):
            part = block_tasks(_columns, [rows], first, width)
            carry = partial(_carried, session, part, width, n_hops, own_weight)
            for hop, found in enumerate(retried(carry, losses), 1):
                if hop in by_hop:
                    by_hop[hop].append(found)
    groups = [found for hop in kept for found in by_hop[hop]]
    if with_own:
        groups.insert(0, rows)
    per_hop = -(-d // width)
    joined = [
        delayed(_side_by_side, pure=False)(d, per_hop, with_own, spec.unit_rows, *blocks)
        for blocks in zip(*groups, strict=True)
    ]
    return execution.persist(joined, "features")


def _carried(
    session: PropagationSession, rows: list[Delayed], width: int, n_hops: int, own_weight: float
) -> list[list[Delayed]]:
    """Return S X, ..., S^k X of some columns, in the blocks of rows."""
    graph, execution = session.graph, session.execution
    nodes, hops = graph.at_nodes(rows, execution), []
    for _ in range(n_hops):
        nodes = _one_hop(session, nodes, width, own_weight)
        hops.append(graph.at_rows(nodes, execution))
    return hops


def _one_hop(
    session: PropagationSession, nodes: list[Delayed], width: int, own_weight: float
) -> list[Delayed]:
    """Return S X of the nodes. The engine does the walk D^-1 W; the edge to oneself is added."""
    strips, execution = session.graph.strips, session.execution
    tasks = block_tasks(_over_root, [strips, nodes], own_weight)
    entering = execution.persist(tasks, "features")
    dense = DenseSources(entering, width)
    solved = session.solve(WALK, dense=dense, max_iter=1, tol=None, scale=1.0)
    left = block_tasks(_with_itself, [strips, entering, solved.blocks], own_weight)
    return execution.persist(left, "features")


def _mean_weight(graph: BlockGraph, execution: Execution) -> float:
    """Return the mean weight of an edge, the same bits for any strips; 1 without edges."""
    largest = largest_degree(graph, execution)
    parts = execution.compute(block_tasks(_degree_and_edges, [graph.strips], largest), "features")
    degree, n_edges = np.sum(parts, axis=0).tolist()
    return float(degree / 2.0**UNIT_BITS * largest / n_edges) if n_edges else 1.0


def _degrees(strip: Any) -> Float64:
    """Return the degrees (n, 1); those of nodes without edges are 0, not the engine's 1."""
    degree = np.where(np.diff(strip.indptr) > 0, row_degrees(strip.indptr, strip.data), 0.0)
    return np.asarray(degree[:, None])


def _degree_and_edges(strip: Any, largest: float) -> Int64:
    """Return (sum of the degrees, in steps of `largest` / 2**32, number of stored edges)."""
    shares = _degrees(strip) / largest
    return np.array([unit_totals(shares)[0], len(strip.data)])


def _over_root(strip: Any, block: Float32, own_weight: float) -> Float32:
    return (block / np.sqrt(_degrees(strip) + own_weight)).astype(np.float32)


def _with_itself(strip: Any, own: Float32, near: Float32, own_weight: float) -> Float32:
    """Return (D near + w own) / (D + w)^1/2, where near = D^-1 W own."""
    degree = _degrees(strip)
    summed = degree * near.astype(np.float64) + own_weight * own.astype(np.float64)
    return (summed / np.sqrt(degree + own_weight)).astype(np.float32)


def _columns(block: Any, first: int, width: int) -> Float32:
    part = block[:, first : first + width]
    dense = np.zeros((part.shape[0], width), dtype=np.float32)
    dense[:, : part.shape[1]] = part.toarray() if sp.issparse(part) else part
    return dense


def _side_by_side(d: int, per_hop: int, with_own: bool, unit_rows: bool, *blocks: Any) -> Float32:
    """Join groups of columns, `per_hop` a hop; the features themselves first if `with_own`."""
    own = [_columns(blocks[0], 0, d)] if with_own else []
    groups = blocks[1:] if with_own else blocks
    hops = [
        np.concatenate(groups[first : first + per_hop], axis=1)[:, :d]
        for first in range(0, len(groups), per_hop)
    ]
    return np.concatenate([_of_unit_length(h) if unit_rows else h for h in [*own, *hops]], axis=1)


def _of_unit_length(X: Float32) -> Float32:
    squares = ordered_sums(X.astype(np.float64) ** 2)
    return (X / np.sqrt(np.where(squares > 0.0, squares, 1.0))[:, None]).astype(np.float32)


def regression_on_propagated_features(
    inputs: MethodInputs, spec: PropagatedFeaturesSpec, control: RunControl
) -> Propagated:
    """Carry the features along the edges and fit logistic regression on the seeds.

    The hidden seeds choose what the spec leaves open; for the seeds of a fold, those of the other
    folds choose. Settings are tried from the simplest on. A later one is taken if it predicts more
    hidden seeds right than chance explains.

    Raises
    ------
    QualityError
        The solver did not converge.
    GraphError
        There are too many features.
    ComputeError
        Workers were lost again and again, or ran out of memory.
    """
    graph, labels, hidden = graph_of(inputs), inputs.labels, inputs.hidden
    if inputs.X is None:
        raise ValueError("this method needs features: X")
    carried = propagated_features(
        graph,
        inputs.X,
        n_hops=spec.n_hops,
        hops="all" if spec.hops == "auto" else spec.hops,
        unit_rows=spec.unit_rows,
        execution=control.execution,
        losses=control.losses,
    )
    if control.keep is not None:
        carried = control.keep(carried)
    at_seeds = rows_of(carried, labels.rows, control.execution)
    hops = ("last", "all") if spec.hops == "auto" else (spec.hops,)
    penalties = PENALTIES if spec.C == "auto" else (spec.C,)
    settings = [(name, C) for name in hops for C in penalties]
    # The columns of the last hop stand at the end.
    first = {"all": 0, "last": carried.shape[1] - inputs.X.shape[1]}
    weights = inputs.sample_weight
    columns = [(at_seeds[:, first[name] :], C) for name, C in settings]
    fits = [(X, _regression(C, X, spec.max_iter)) for X, C in columns]
    tried = [
        fit_folds(X, labels.codes, hidden, labels.n_classes, regression, weights)
        for X, regression in fits
    ]
    predicted = [_codes_of_hidden(hidden, fold_F, labels.n_seeds) for fold_F, _ in tried]
    judged = np.logical_or.reduce([np.zeros(labels.n_seeds, dtype=np.bool_), *hidden])
    choice = _simplest_of_the_best(predicted, labels.codes, judged)
    (name, C), (X, regression) = settings[choice], fits[choice]
    fitted = fit_supervised(X, labels.codes, labels.n_classes, regression, weights)
    model = require_converged(fitted)
    others = [_simplest_of_the_best(predicted, labels.codes, judged & ~mask) for mask in hidden]
    return Propagated(
        F=predict_proba_blocks(model, carried[:, first[name] :]),
        fold_F=[tried[other][0][fold] for fold, other in enumerate(others)],
        source="supervised",
        lasting=control.keep is not None,
        folds_not_converged=tried[choice][1],
        notes=(f"features after {'each' if name == 'all' else 'the last'} hop, C = {C:g}",),
    )


def _regression(C: float, columns: Any, max_iter: int) -> SupervisedSpec:
    """Return the regression whose C is that for features with variances that sum to 1.

    `SupervisedModel` scales them to a mean variance of 1: with thousands of words and a few seeds,
    the penalty would be none.
    """
    n_varying = np.count_nonzero(columns.max(axis=0) > columns.min(axis=0))
    return SupervisedSpec(C=C / max(1, int(n_varying)), max_iter=max_iter)


def _codes_of_hidden(hidden: Sequence[Bool], fold_F: Sequence[Any], n_seeds: int) -> Int32:
    """Return the predicted class of each hidden seed, int32 (S,), -1 for the others."""
    codes = np.full(n_seeds, -1, dtype=np.int32)
    for mask, F in zip(hidden, fold_F, strict=True):
        codes[mask] = predicted_codes(F)
    return codes


def _simplest_of_the_best(predicted: Sequence[Int32], truth: Int32, judged: Bool) -> int:
    best, n = 0, int(np.count_nonzero(judged))
    right = [(codes == truth)[judged] for codes in predicted]
    for later in range(1, len(predicted) if n else 1):
        only_later = int((right[later] & ~right[best]).sum())
        only_best = int((~right[later] & right[best]).sum())
        if paired_difference_interval(only_later, only_best, n)[0] > 0.0:
            best = later
    return best


def _cost(spec: PropagatedFeaturesSpec, shape: JobShape) -> MethodCost:
    # "auto" tries both and keeps what "all" keeps while it does.
    kept = 1 if spec.hops == "last" else 1 + spec.n_hops
    return MethodCost(
        sweeps=spec.n_hops,
        columns=shape.n_features,
        bytes_per_node=4 * shape.n_features * (2 + kept),
        bytes_a_sweep=4 * shape.n_features,
        row_flops=shape.regression_flops * kept,
        time=f"{spec.n_hops} sweeps of d columns: E d, then N d C",
        memory=f"{2 + kept} vectors of 4 N d bytes over all workers, and the graph's 16 E",
    )


METHOD = Method(
    PropagatedFeaturesSpec,
    regression_on_propagated_features,
    "graph and features",
    cost=_cost,
    runs_at_features=True,
    stop_words=STOP_WORDS,
)
