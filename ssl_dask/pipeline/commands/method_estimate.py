"""What a method will cost beside its graph: sweeps, columns, memory, and how both grow."""

from __future__ import annotations

from collections.abc import Sequence

from ssl_dask.job_spec import JobSpec
from ssl_dask.method import JobShape, MethodCost
from ssl_dask.methods import METHODS
from ssl_dask.propagation.engine.distributed_partitions import HALO_SHARE


def estimate_method(
    spec: JobSpec,
    *,
    n_rows: int,
    n_features: int,
    n_classes: int,
    sparse: bool = False,
    n_blocks: int = 1,
    n_workers: int = 1,
) -> MethodCost:
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
    shape = JobShape(
        n_rows=n_rows,
        n_features=n_features,
        n_classes=n_classes,
        n_folds=spec.evaluation.folds,
        n_groups=len(spec.features),
        n_optional=sum(group.optional for group in spec.features.values()),
        sparse=sparse,
        n_blocks=n_blocks,
        n_workers=n_workers,
    )
    return METHODS[spec.method.name].cost(spec.method, shape)


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
