"""The connected components of a graph that lies in strips."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dask.delayed import Delayed

from ssl_dask.block_exchange import block_tasks
from ssl_dask.execution import Execution
from ssl_dask.kernels.graph.components import component_sizes, joined_forest, strip_forest

N_LARGEST = 20


@dataclass(frozen=True)
class Components:
    """The connected components of a graph of N rows."""

    labels: Delayed
    """On a worker: int32 array (N,) (int64 from 2**31 rows on), the smallest row number of each
    row's component."""
    n_components: int
    """How many there are; an isolated row is one."""
    largest_sizes: tuple[int, ...]
    """Rows of the largest ones, at most 20, largest first."""
    n_isolated: int
    """Rows without an edge."""


def connected_components(
    strips: Sequence[Delayed], node_starts: Sequence[int], execution: Execution
) -> Components:
    """Return the connected components of the graph whose rows are in `strips`.

    Exact, and the same for any strips. One task a strip and one a pair of strips to be joined,
    each of about 8 N bytes; a worker holds the labels at the end, this process only the sizes.
    """
    forests = block_tasks(strip_forest, [strips, node_starts])
    while len(forests) > 1:
        n_pairs = len(forests) // 2
        joined = block_tasks(joined_forest, [forests[: 2 * n_pairs : 2], forests[1::2]])
        forests = joined + forests[2 * n_pairs :]
    (labels,) = execution.persist(forests, "components")
    counted = execution.compute(block_tasks(component_sizes, [[labels]], N_LARGEST), "components")
    n_components, largest, n_isolated = counted[0]
    return Components(labels, n_components, tuple(largest), n_isolated)
