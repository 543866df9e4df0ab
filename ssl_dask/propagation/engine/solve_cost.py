"""What sweeps over a graph cost, for the plan of a job."""

from __future__ import annotations

from ssl_dask.method import JobShape, MethodCost
from ssl_dask.propagation.engine.session import CONJUGATE_BYTES

SWEEPS_UNTIL_REST = {0.9: 30, 0.99: 60, 1.0: 100}
"""Sweeps of Chebyshev iteration until labels rest, by the alpha up to which they are enough; as
many are usual for conjugate gradients with few seeds."""
CONJUGATE_VECTORS = CONJUGATE_BYTES // 8


def sweeps_for(alpha: float) -> int:
    """Return about how many sweeps a solve with this alpha takes; 1 for label propagation."""
    return next(count for limit, count in sorted(SWEEPS_UNTIL_REST.items()) if alpha <= limit)


def spreading_cost(alpha: float, shape: JobShape) -> MethodCost:
    """Return the cost of one solve by Chebyshev iteration."""
    columns = shape.n_classes * (1 + shape.n_folds)
    return sweeps_cost(sweeps_for(alpha), columns, vectors=2, size=4)


def conjugate_cost(shape: JobShape, more_sweeps: int = 0) -> MethodCost:
    """Return the cost of one solve by conjugate gradients, with a column a class and fold.

    Parameters
    ----------
    more_sweeps
        Beside those of the solve.
    """
    columns = shape.n_classes * (1 + shape.n_folds)
    sweeps = sweeps_for(1.0) + more_sweeps
    return sweeps_cost(sweeps, columns, vectors=CONJUGATE_VECTORS, size=8)


def sweeps_cost(
    sweeps: int, columns: int, *, vectors: int, size: int, fixed: int = 0, flops: float = 0.0
) -> MethodCost:
    """Return the cost of sweeps over a graph.

    Parameters
    ----------
    sweeps, columns
        How many, and numbers of each node that go through one.
    vectors
        Vectors of so many columns that are held.
    size
        Bytes of a number.
    fixed
        Bytes that every worker needs whatever its rows.
    flops
        Operations a row of a regression beside the sweeps; 0: there is none.
    """
    more = "; logistic regression N d C G" if flops else ""
    held = ", and 8 N on each" if fixed else ""
    return MethodCost(
        sweeps=sweeps,
        columns=columns,
        bytes_per_node=vectors * size * columns,
        bytes_a_sweep=size * columns,
        fixed_bytes=fixed,
        row_flops=flops,
        time=f"about {sweeps:,} sweeps of {columns:,} columns: E C G{more}",
        memory=f"{vectors} vectors of {size} N {columns:,} bytes over all workers{held}, those of"
        " the halos, and the graph's 16 E",
    )
