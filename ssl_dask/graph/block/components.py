"""The connected components of a graph that lies in strips."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import dask
from dask.delayed import Delayed

from ssl_dask.execution import Execution
from ssl_dask.kernels.graph.components import component_sizes, joined_forest, strip_forest

N_LARGEST = 20


@dataclass(frozen=True)
class Components:
    """The connected components of a graph of N rows.

    Parameters
    ----------
    labels
        On a worker: int32 array (N,) (int64 from 2**31 rows on), the smallest row number of each
        row's component.
    n_components
        How many there are; an isolated row is one.
    largest_sizes
        Rows of the largest ones, at most 20, largest first.
    n_isolated
        Rows without an edge.
    """

    labels: Delayed
    n_components: int
    largest_sizes: tuple[int, ...]
    n_isolated: int


def connected_components(
    strips: Sequence[Delayed], node_starts: Sequence[int], execution: Execution
) -> Components:
    """Return the connected components of the graph whose rows are in `strips`.

    Exact, and the same for any strips. One task a strip and one a pair of strips to be joined,
    each of about 8 N bytes; a worker holds the labels at the end, this process only the sizes.
    """
    forests = [
        dask.delayed(strip_forest)(strip, start)
        for strip, start in zip(strips, node_starts, strict=True)
    ]
    while len(forests) > 1:
        joined = [
            dask.delayed(joined_forest)(left, right)
            for left, right in zip(forests[::2], forests[1::2], strict=False)
        ]
        forests = joined + forests[2 * len(joined) :]
    (labels,) = execution.persist(forests, "components")
    ((n_components, largest, n_isolated),) = execution.compute(
        [dask.delayed(component_sizes)(labels, N_LARGEST)], "components"
    )
    return Components(labels, n_components, tuple(largest), n_isolated)
