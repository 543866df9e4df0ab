"""Anchor graph: rows are joined through a few anchors, without a neighbour graph; O(N).

For more rows than a neighbour graph can be made of, and for new rows: what is learned are m x C
numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import dask.array as da
import numpy as np
import scipy.sparse as sp
from dask import delayed
from pydantic import Field
from scipy.linalg import lstsq
from scipy.sparse.csgraph import connected_components

from ssl_dask.array_types import Bool, Float32, Float64, Int32, Int64
from ssl_dask.block_exchange import block_tasks, row_starts
from ssl_dask.dask_arrays import row_handles
from ssl_dask.errors import GraphError
from ssl_dask.execution import Execution
from ssl_dask.kernels.arithmetic.offsets import MAX_FLOAT32, beyond_told, number_beyond
from ssl_dask.kernels.arithmetic.row_keys import Purpose, keys_below, row_keys
from ssl_dask.kernels.distributions.label_distributions import normalise_rows
from ssl_dask.kernels.knn.cells import ROWS_PER_CENTRE, k_means
from ssl_dask.kernels.propagation.anchor_weights import UNITS, anchor_products, anchor_weights
from ssl_dask.labels import Labels
from ssl_dask.method import FLOPS_PER_PRODUCT, JobShape, Method, MethodCost, MethodInputs
from ssl_dask.one_thread import one_thread
from ssl_dask.propagation.engine.node_vectors import rows_of
from ssl_dask.propagation.engine.propagated import STOP_WORDS, Propagated
from ssl_dask.propagation.engine.seed_sources import SeedSources
from ssl_dask.run_control import RunControl
from ssl_dask.spec_model import SpecModel

TASK_LABEL = "anchor graph"
MAX_SAMPLE = 100_000
MAX_ANCHORS = 10_000
KMEANS_PASSES = 10
"""Over the sampled rows, about."""


class AnchorGraphSpec(SpecModel):
    """Anchor graph regularisation (Liu et al. 2010): for more rows than a neighbour graph bears."""

    name: Literal["anchor_graph"] = "anchor_graph"
    n_anchors: Annotated[int, Field(ge=2, le=MAX_ANCHORS)] = 1000
    """Anchors, centres of k-means; more follow finer shapes."""
    n_nearest: Annotated[int, Field(ge=1, le=50)] = 3
    """Anchors that each row is joined with."""
    gamma: Annotated[float, Field(gt=0.0)] = 0.01
    """Weight of smoothness beside the seeds' labels."""
    random_state: Annotated[int, Field(ge=0)] = 0
    """Of the choice of the anchors."""


@dataclass(frozen=True)
class AnchorModel:
    """What an anchor graph has learned."""

    anchors: Float32
    """float32 (m, d)."""
    scores: Float64
    """float64 (G, m, C): of each group, scores of the anchors over the mass of the class."""
    n_nearest: int
    """Anchors of a row."""

    def distributions(self, X: Any, group: int = 0) -> Float32:
        """Return the distributions of a block of rows, float32 (n, C); 0 where no seed reaches."""
        near, units = anchor_weights(_dense(X), self.anchors, self.n_nearest)
        F = np.zeros((len(near), self.scores.shape[2]))
        for j in range(near.shape[1]):
            F += (units[:, j, None] / UNITS) * self.scores[group][near[:, j]]
        return normalise_rows(F)


def anchor_graph(inputs: MethodInputs, spec: AnchorGraphSpec, control: RunControl) -> Propagated:
    """Fit an anchor graph to the rows; they are scored when they are used.

    See `fit_anchors`. `details` has the `model`.
    """
    if inputs.X is None:
        raise ValueError("this method needs features: X")
    sources = SeedSources.from_folds(inputs.labels, inputs.hidden, inputs.sample_weight)
    model, fold_F = fit_anchors(inputs.X, sources, spec, control.execution, inputs.tags)
    F = score_rows(model, inputs.X)
    return Propagated(F=F, fold_F=fold_F, lasting=True, details={"model": model})


def fit_anchors(
    X: Any,
    sources: SeedSources,
    spec: AnchorGraphSpec,
    execution: Execution,
    tags: da.Array | None = None,
) -> tuple[AnchorModel, list[Float32]]:
    """Fit F = Z A with A = (Z_l' Z_l + gamma L)^-1 Z_l' Y, L = Z'Z - Z'Z D^-1 Z'Z, D = diag(Z'1).

    Z holds the weights of each row's nearest anchors, which are centres of k-means. A row's class
    is the largest F_ic over the mass of the class, as in the paper (section 3.3).

    Parameters
    ----------
    X
        (N, d): NumPy array or Dask array chunked by rows, dense.
    sources, spec
        The seeds and the folds; anchors, neighbours and smoothness.
    tags
        int64 (N,), chunked as X: by which the rows are drawn that anchors are learned from; None:
        by row numbers.

    Returns
    -------
    (model, fold_F)
        `fold_F` has float32 (n_hidden, C) of each fold: the rows of the seeds that it hides.

    Raises
    ------
    ValueError
        X has not N rows.
    GraphError
        X is sparse.

    Notes
    -----
    2 N m d flops, one pass. m^2 integers a block and the features of 48 m rows (100,000 at most)
    come to this process, which solves a system of m equations for each fold. The sums are exact.

    References
    ----------
    W. Liu, J. He, S.-F. Chang: Large Graph Construction for Scalable Semi-Supervised Learning, ICML
    2010, eq. 5 and 8.
    """
    labels = sources.labels
    if X.shape[0] != labels.n_rows:
        raise ValueError(f"X has {X.shape[0]} rows, labels are of {labels.n_rows}")
    array = X if isinstance(X, da.Array) else da.from_array(X, chunks=-1)
    anchors, seeds = _anchors_and_seeds(array, tags, labels, spec, execution)
    s = min(spec.n_nearest, len(anchors))
    products = _summed_products(array, anchors, s, execution)
    shared = (products, anchor_weights(seeds, anchors, s), labels)
    scores = np.stack(
        [_anchor_scores(*shared, ~mask, sources.weights, spec.gamma) for mask in sources.hidden]
    )
    model = AnchorModel(anchors, scores, s)
    fold_F = [model.distributions(seeds[mask], g) for g, mask in enumerate(sources.hidden) if g]
    return model, fold_F


def _summed_products(X: da.Array, anchors: Any, s: int, execution: Execution) -> Any:
    """Return the sum over all blocks of X of what `_products_of_block` returns."""
    shared = delayed(anchors, pure=False, traverse=False)
    tasks = block_tasks(_products_of_block, [row_handles(X.rechunk({1: -1}))], shared, s)
    return np.sum(execution.compute(tasks, TASK_LABEL), axis=0)


def _anchors_and_seeds(
    X: da.Array,
    tags: da.Array | None,
    labels: Labels,
    spec: AnchorGraphSpec,
    execution: Execution,
) -> tuple[Float32, Float32]:
    """Return the anchors, float32 (m, d), and the features of the seeds, float32 (S, d)."""
    wanted = min(labels.n_rows, spec.n_anchors * ROWS_PER_CENTRE, MAX_SAMPLE)
    if tags is None:
        rng = np.random.default_rng([spec.random_state, labels.n_rows])
        sampled = np.sort(rng.choice(labels.n_rows, wanted, replace=False))
    else:
        sampled = _drawn_by_tag(tags, wanted / labels.n_rows, spec.random_state, execution)
    both = np.union1d(sampled, labels.rows)
    rows = _dense(rows_of(X, both, execution))
    with one_thread():
        anchors = k_means(rows[np.searchsorted(both, sampled)], spec.n_anchors, spec.random_state)
    return anchors, rows[np.searchsorted(both, labels.rows)]


def _drawn_by_tag(tags: da.Array, share: float, random_state: int, execution: Execution) -> Int64:
    """Return the numbers of about this share of the rows, int64, in the order of their tags."""
    tasks = block_tasks(_drawn_of_block, [row_handles(tags)], share, random_state)
    found = execution.compute(tasks, TASK_LABEL)
    starts = row_starts(tags.chunks[0])
    rows = np.concatenate([at + start for (at, _), start in zip(found, starts, strict=True)])
    return rows[np.argsort(np.concatenate([tag for _, tag in found]), kind="stable")]


def score_rows(model: AnchorModel, X: Any) -> Float32 | da.Array:
    """Return the distributions of all rows; a lazy Dask array chunked as X if that is one."""
    if not isinstance(X, da.Array):
        return model.distributions(X)
    n_classes = model.scores.shape[2]
    return X.map_blocks(
        model.distributions,
        dtype=np.float32,
        chunks=(X.chunks[0], (n_classes,)),
        meta=np.empty((0, n_classes), dtype=np.float32),
    )


def _dense(X: Any) -> Float32:
    if sp.issparse(X):
        raise GraphError(
            "the anchor graph takes dense features only; those of texts and of many categories are"
            " sparse",
            hint="give texts as a column of vectors, leave such groups out, or take another method",
        )
    # Distances are sums of d products of differences, in float32.
    limit = float(np.sqrt(MAX_FLOAT32 / (4.0 * X.shape[1])))
    if (beyond := number_beyond(X, limit)) is not None:
        text, hint = beyond_told("rows", beyond, limit)
        raise GraphError(f"{text} for distances between them", hint=hint)
    return np.ascontiguousarray(X, dtype=np.float32)


def _drawn_of_block(tags: Int64, share: float, random_state: int) -> tuple[Int64, Int64]:
    drawn = row_keys(tags, Purpose.ANCHOR_ROWS, random_state) <= keys_below(share)
    return np.flatnonzero(drawn), tags[drawn]


def _products_of_block(block: Any, anchors: Float32, n_nearest: int) -> Int64:
    return anchor_products(*anchor_weights(_dense(block), anchors, n_nearest), len(anchors))


def _anchor_scores(
    products: Int64,
    at_seeds: tuple[Int32, Int64],
    labels: Labels,
    seen: Bool,
    weights: Float64,
    gamma: float,
) -> Float64:
    """Return the scores of the anchors over the masses of the classes, float64 (m, C)."""
    m = len(products)
    _, part = connected_components(sp.csr_array(products), directed=False)
    near, units = at_seeds[0][seen], at_seeds[1][seen]
    linked = np.isin(part, part[near])
    G = products[np.ix_(linked, linked)] / float(UNITS) ** 2
    degree = G.sum(axis=1)
    L = G - (G / degree) @ G
    Z = np.zeros((len(near), m))
    np.put_along_axis(Z, near.astype(np.int64), units / UNITS, axis=1)
    Z = Z[:, linked]
    w = weights[seen]
    Y = np.eye(labels.n_classes)[labels.codes[seen]]
    with one_thread():
        A, *_ = lstsq(Z.T @ (w[:, None] * Z) + gamma * L, Z.T @ (w[:, None] * Y))
    mass = degree @ A
    scores = np.zeros((m, labels.n_classes))
    scores[linked] = np.divide(A, mass, where=mass > 0.0, out=np.zeros_like(A))
    return scores


def _cost(spec: AnchorGraphSpec, shape: JobShape) -> MethodCost:
    m, d, groups = spec.n_anchors, shape.n_features, 1 + shape.n_folds
    sampled = min(1.0, MAX_SAMPLE / max(shape.n_rows, 1))
    return MethodCost(
        fixed_bytes=8 * m * (m + d + shape.n_classes * groups),
        row_flops=FLOPS_PER_PRODUCT * float(m) * d
        + 2 * spec.n_nearest**2 * groups
        + KMEANS_PASSES * FLOPS_PER_PRODUCT * m * d * sampled,
        time=f"one pass over the rows: N m d for m = {m:,} anchors, then m^3",
        memory="a block of rows, and 8 m (m + d + C G) bytes, whatever N",
    )


METHOD = Method(AnchorGraphSpec, anchor_graph, "features", cost=_cost, stop_words=STOP_WORDS)
