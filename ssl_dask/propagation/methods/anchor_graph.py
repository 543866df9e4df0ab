"""Anchor graph: rows are joined through a few anchors, without a neighbour graph; O(N).

For more rows than a neighbour graph can be made of, and for new rows: what is learned are m x C
numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import dask.array as da
import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from dask import delayed
from pydantic import Field
from scipy.linalg import lstsq
from scipy.sparse.csgraph import connected_components

from ssl_dask.errors import GraphError
from ssl_dask.execution import Execution
from ssl_dask.kernels.distributions.label_distributions import normalise_rows
from ssl_dask.kernels.knn.cells import ROWS_PER_CENTRE, k_means
from ssl_dask.kernels.propagation.anchor_weights import UNITS, anchor_products, anchor_weights
from ssl_dask.labels import Labels
from ssl_dask.one_thread import one_thread
from ssl_dask.propagation.engine.seed_sources import SeedSources
from ssl_dask.spec_model import SpecModel

WHAT = "anchor graph"
MAX_SAMPLE = 100_000
MAX_ANCHORS = 10_000

Rows = npt.NDArray[np.float32]


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
    """What an anchor graph has learned.

    Parameters
    ----------
    anchors
        float32 (m, d).
    scores
        float64 (G, m, C): of each group, scores of the anchors over the mass of the class.
    n_nearest
        Anchors of a row.
    """

    anchors: Rows
    scores: npt.NDArray[np.float64]
    n_nearest: int

    def distributions(self, X: Any, group: int = 0) -> Rows:
        """Return the distributions of a block of rows, float32 (n, C); 0 where no seed reaches."""
        near, units = anchor_weights(_dense(X), self.anchors, self.n_nearest)
        F = np.zeros((len(near), self.scores.shape[2]))
        for j in range(near.shape[1]):
            F += (units[:, j, None] / UNITS) * self.scores[group][near[:, j]]
        return normalise_rows(F)


def anchor_graph(
    X: Any,
    labels: Labels,
    *,
    n_anchors: int = 1000,
    n_nearest: int = 3,
    gamma: float = 0.01,
    random_state: int = 0,
    sample_weight: npt.ArrayLike | None = None,
    hidden: Sequence[npt.NDArray[np.bool_]] = (),
    execution: Execution | None = None,
) -> tuple[AnchorModel, list[Rows]]:
    """Fit F = Z A with A = (Z_l' Z_l + gamma L)^-1 Z_l' Y, L = Z'Z - Z'Z D^-1 Z'Z, D = diag(Z'1).

    Z has each row's weights of its nearest anchors, which are centres of k-means. Rows are then
    decided by F_ic over the mass of the class, as in the paper (section 3.3).

    Parameters
    ----------
    X
        (N, d): NumPy array or Dask array chunked by rows, dense.
    labels
        The seeds.
    n_anchors, n_nearest
        m and s.
    gamma
        Above 0.
    random_state
        Of the sample of rows that anchors are made of.
    sample_weight
        (S,): weight > 0 of each seed, in row order; None: 1 each.
    hidden
        For each fold a bool array (S,): the seeds that it hides.
    execution
        Where it runs; default: this process.

    Returns
    -------
    (model, fold_F)
        And for each fold float32 (n_hidden, C): the rows of the seeds that it hides.

    Raises
    ------
    ValueError
        A parameter is not usable, or X has not N rows.
    GraphError
        X is sparse.
    QualityError
        There is no seed, or a fold hides them all.

    Notes
    -----
    2 N m d flops, one pass; m^2 integers a block and the features of 48 m rows (100,000 at most)
    come to this process, where a system of m equations is solved for each fold. The sums are exact,
    hence the same bits for any blocks and workers.

    References
    ----------
    W. Liu, J. He, S.-F. Chang: Large Graph Construction for Scalable Semi-Supervised Learning, ICML
    2010, eq. 5 and 8.
    """
    spec = AnchorGraphSpec(
        n_anchors=n_anchors, n_nearest=n_nearest, gamma=gamma, random_state=random_state
    )
    execution = execution or Execution()
    sources = SeedSources.from_folds(labels, hidden, sample_weight)
    if X.shape[0] != labels.n_rows:
        raise ValueError(f"X has {X.shape[0]} rows, labels are of {labels.n_rows}")
    blocks, starts = _blocks(X)
    rng = np.random.default_rng([spec.random_state, labels.n_rows])
    wanted = min(labels.n_rows, spec.n_anchors * ROWS_PER_CENTRE, MAX_SAMPLE)
    sampled = np.sort(rng.choice(labels.n_rows, wanted, replace=False))
    rows = _rows_at(blocks, starts, np.union1d(sampled, labels.rows), execution)
    both = np.union1d(sampled, labels.rows)
    with one_thread():
        anchors = k_means(rows[np.searchsorted(both, sampled)], spec.n_anchors, spec.random_state)
    s = min(spec.n_nearest, len(anchors))
    count = delayed(_products_of_block, pure=False)
    shared = delayed(anchors, pure=False, traverse=False)
    parts = execution.compute([count(block, shared, s) for block in blocks], WHAT)
    products = np.sum(parts, axis=0)
    at_seeds = anchor_weights(rows[np.searchsorted(both, labels.rows)], anchors, s)
    scores = np.stack(
        [
            _anchor_scores(products, at_seeds, labels, ~mask, sources.weights, spec.gamma)
            for mask in sources.hidden
        ]
    )
    model = AnchorModel(anchors, scores, s)
    seeds = rows[np.searchsorted(both, labels.rows)]
    fold_F = [model.distributions(seeds[mask], g) for g, mask in enumerate(sources.hidden) if g]
    return model, fold_F


def score_rows(model: AnchorModel, X: Any) -> Rows | da.Array:
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


def _dense(X: Any) -> Rows:
    if sp.issparse(X):
        raise GraphError(
            "the anchor graph takes dense features only; those of texts and of many categories are"
            " sparse",
            hint="give texts as a column of vectors, leave such groups out, or take another method",
        )
    return np.ascontiguousarray(X, dtype=np.float32)


def _blocks(X: Any) -> tuple[list[Any], npt.NDArray[np.int64]]:
    if isinstance(X, da.Array):
        starts = np.cumsum([0, *X.chunks[0]])
        blocks = X.rechunk({1: -1}).to_delayed(optimize_graph=False).ravel()
        return list(blocks), starts
    return [delayed(X, pure=False, traverse=False)], np.array([0, X.shape[0]])


def _rows_at(
    blocks: Sequence[Any],
    starts: npt.NDArray[np.int64],
    rows: npt.NDArray[np.int64],
    execution: Execution,
) -> Rows:
    cuts = np.searchsorted(rows, starts)
    take = delayed(_take, pure=False)
    tasks = [
        take(block, rows[cuts[b] : cuts[b + 1]] - starts[b])
        for b, block in enumerate(blocks)
        if cuts[b] < cuts[b + 1]
    ]
    return np.concatenate(execution.compute(tasks, WHAT))


def _take(block: Any, positions: npt.NDArray[np.int64]) -> Rows:
    return _dense(block[positions])


def _products_of_block(block: Any, anchors: Rows, n_nearest: int) -> npt.NDArray[np.int64]:
    return anchor_products(*anchor_weights(_dense(block), anchors, n_nearest), len(anchors))


def _anchor_scores(
    products: npt.NDArray[np.int64],
    at_seeds: tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]],
    labels: Labels,
    seen: npt.NDArray[np.bool_],
    weights: npt.NDArray[np.float64],
    gamma: float,
) -> npt.NDArray[np.float64]:
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
