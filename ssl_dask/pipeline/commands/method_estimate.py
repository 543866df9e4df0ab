"""What a method will cost beside its graph: sweeps, columns, memory, and how both grow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ssl_dask.job_spec import JobSpec
from ssl_dask.method import JobShape, MethodCost
from ssl_dask.methods import METHODS
from ssl_dask.propagation.engine.distributed_partitions import HALO_SHARE
from ssl_dask.propagation.engine.session import CONJUGATE_BYTES
from ssl_dask.propagation.methods.poisson_mbo import SWEEPS_A_ROUND
from ssl_dask.self_labeled import METHODS as SELF_LABELED

SWEEPS_UNTIL_REST = {0.9: 30, 0.99: 60, 1.0: 100}
"""Sweeps of Chebyshev iteration until labels rest, by the alpha up to which they are enough; as
many are usual for conjugate gradients with few seeds."""
HELD_BYTES_PER_NODE = 40
CONJUGATE_VECTORS = CONJUGATE_BYTES // 8
ADSORPTION_SWEEPS = 60
ENSEMBLE_SWEEPS = 150
ENSEMBLE_VECTORS = 8
KMEANS_PASSES = 10
FLOPS_PER_PRODUCT = 2


@dataclass(frozen=True)
class MethodEstimate:
    """What a method costs.

    Parameters
    ----------
    sweeps, columns
        Over the graph, and how many numbers of each node go through one. 0 without a graph.
    bytes_per_node
        Of the vectors of a solve, over all workers together.
    bytes_a_sweep
        Of a node, sent in a sweep to each worker that holds a neighbour of it.
    fixed_bytes
        What every worker needs whatever its rows.
    row_flops
        Floating point operations a row beside the sweeps.
    time, memory
        How they grow, in words: N rows, E edges, C classes, G = 1 + folds, d features.
    tasks, bytes_moved
        Of rounds; those of sweeps depend on the graph.
    """

    sweeps: int
    columns: int
    bytes_per_node: int
    bytes_a_sweep: int
    fixed_bytes: int
    row_flops: float
    time: str
    memory: str
    tasks: int = 0
    bytes_moved: int = 0

    def bytes_of_worker(
        self, n_nodes: int, n_edges: float, n_workers: int, halo: float = 0.0
    ) -> int:
        """Return what a worker needs that holds one of `n_workers` parts of the graph.

        `halo`: nodes of other parts for each of its own, see `halo_share`.
        """
        if not self.sweeps:
            return self.fixed_bytes
        vectors = (1.0 + halo) * self.bytes_per_node
        share = n_nodes / n_workers * (HELD_BYTES_PER_NODE + vectors)
        return int(16 * n_edges / n_workers + share + self.fixed_bytes)

    def halo_bytes(self, n_nodes: int, halo: float) -> float:
        """Return what all sweeps send between workers."""
        return halo * n_nodes * self.bytes_a_sweep * self.sweeps


def estimate_method(
    spec: JobSpec,
    *,
    n_rows: int,
    n_features: int,
    n_classes: int,
    sparse: bool = False,
    n_blocks: int = 1,
    n_workers: int = 1,
) -> MethodEstimate | MethodCost:
    """Return what the job's method will cost.

    Parameters
    ----------
    n_features
        Features d of a row.
    n_classes
        C, a guess where no row has been read.
    sparse, n_blocks, n_workers
        Whether rows are sparse, their blocks, and the workers: of methods that label in rounds.
    """
    method: Any = spec.method
    groups = 1 + spec.evaluation.folds
    K = n_classes * groups
    regression = FLOPS_PER_PRODUCT * n_features * K
    match method.name:
        case "label_spreading" | "balanced_spreading":
            return _on_graph(sweeps_for(method.alpha), K, vectors=2, size=4)
        case "label_propagation" | "poisson":
            return _on_graph(sweeps_for(1.0), K, vectors=CONJUGATE_VECTORS, size=8)
        case "harmonic_regression":
            return _on_graph(sweeps_for(1.0), groups, vectors=CONJUGATE_VECTORS, size=8)
        case "poisson_mbo":
            sweeps = sweeps_for(1.0) + SWEEPS_A_ROUND * method.n_rounds
            return _on_graph(sweeps, K, vectors=CONJUGATE_VECTORS, size=8)
        case "modified_adsorption":
            # Each fold is a solve of its own, one after the other.
            return _on_graph(
                ADSORPTION_SWEEPS * groups,
                n_classes + 1,
                vectors=CONJUGATE_VECTORS + 1,
                size=8,
                fixed=8 * n_rows,
            )
        case "graph_ensemble":
            wants = method.classifier != "none"
            flops = regression if wants else 0.0
            return _on_graph(ENSEMBLE_SWEEPS, K, vectors=ENSEMBLE_VECTORS, size=4, flops=flops)
        case "correct_and_smooth":
            sweeps = sweeps_for(method.correct_alpha) + sweeps_for(method.smooth_alpha)
            return _on_graph(sweeps, K, vectors=4, size=4, flops=regression)
        case "propagated_features":
            # "auto" tries both and keeps what "all" keeps while it does.
            kept = 1 if method.hops == "last" else 1 + method.n_hops
            return MethodEstimate(
                method.n_hops,
                n_features,
                4 * n_features * (2 + kept),
                4 * n_features,
                0,
                regression * kept,
                f"{method.n_hops} sweeps of d columns: E d, then N d C",
                f"{2 + kept} vectors of 4 N d bytes over all workers, and the graph's 16 E",
            )
        case "anchor_graph":
            m = method.n_anchors
            fixed = 8 * m * (m + n_features + K)
            flops = FLOPS_PER_PRODUCT * float(m) * n_features + 2 * method.n_nearest**2 * groups
            return MethodEstimate(
                0,
                0,
                0,
                0,
                fixed,
                flops + KMEANS_PASSES * FLOPS_PER_PRODUCT * m * n_features * _sampled(n_rows),
                f"one pass over the rows: N m d for m = {m:,} anchors, then m^3",
                "a block of rows, and 8 m (m + d + C G) bytes, whatever N",
            )
        case name if name in SELF_LABELED:
            optional = sum(group.optional for group in spec.features.values())
            shape = JobShape(
                n_rows,
                n_features,
                n_classes,
                spec.evaluation.folds,
                len(spec.features),
                optional,
                sparse,
                n_blocks,
                n_workers,
            )
            return METHODS[name].cost(method, shape)
        case _:
            return MethodEstimate(
                0, 0, 0, 0, 0, regression, "one pass over the rows: N d C", "a block of rows"
            )


def halo_share(parts: Sequence[tuple[str, float]], n_nodes: int, n_workers: int) -> float:
    """Return about how many nodes of other workers a worker reads, for each node of its own.

    Parameters
    ----------
    parts
        Of a sum of graphs, or the graph alone: how its edges were found, as in
        `GraphEstimate.search`, and how many they are, both directions counted.

    Notes
    -----
    Neighbours by features lie in cell order, so that few are on another worker. Edges and entities
    have no such order: each edge may lead to another node elsewhere. A dense graph joins all nodes.
    """
    others = float(n_workers - 1)
    share = 0.0
    for search, n_edges in parts:
        if search in ("exact", "routed", "knn"):
            share += HALO_SHARE
        elif search in ("edges", "entities"):
            share += n_edges / max(n_nodes, 1)
        else:
            share += others
    return min(share, others)


def sweeps_for(alpha: float) -> int:
    """Return about how many sweeps a solve with this alpha takes; 1 for label propagation."""
    return next(count for limit, count in sorted(SWEEPS_UNTIL_REST.items()) if alpha <= limit)


def _on_graph(
    sweeps: int, columns: int, *, vectors: int, size: int, fixed: int = 0, flops: float = 0.0
) -> MethodEstimate:
    more = "; logistic regression N d C G" if flops else ""
    held = ", and 8 N on each" if fixed else ""
    return MethodEstimate(
        sweeps,
        columns,
        vectors * size * columns,
        size * columns,
        fixed,
        flops,
        f"about {sweeps:,} sweeps of {columns:,} columns: E C G{more}",
        f"{vectors} vectors of {size} N {columns:,} bytes over all workers{held}, those of the"
        " halos, and the graph's 16 E",
    )


def _sampled(n_rows: int) -> float:
    """Return the share of the rows that k-means looks at."""
    return min(1.0, 100_000 / max(n_rows, 1))
