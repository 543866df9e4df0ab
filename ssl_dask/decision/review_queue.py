"""The rows that a person should label next, best first.

Three groups, in this order:

1. islands: components of the graph without any seed and with at least `MIN_ISLAND_ROWS` rows, the
   largest first; one label there gives labels to the whole component;
2. rows with evidence that are no seeds, by smallest margin (margin sampling; ties have margin 0);
3. rows without evidence, by row number: a label there helps that row alone.

Equal usefulness goes to the smaller row number. Margin sampling looks at each row by itself, so
near-duplicates can stand side by side in the queue.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ssl_dask.array_types import Float32, Int32, Int64
from ssl_dask.decision.labelling import SOURCES, Decided

MIN_ISLAND_ROWS = 10

_SEED = SOURCES.index("seed")
_ISLAND, _UNSURE, _NO_EVIDENCE = 0, 1, 2


@dataclass(frozen=True)
class ReviewQueue:
    """Rows to be labelled by hand, best first."""

    row: Int64
    """int64 (m,): global row number."""
    label: Int32
    """int32 (m,): what was decided for the row, -1 where it abstained."""
    probability: Float32
    margin: Float32
    """float32 (m,), as decided."""
    reason: npt.NDArray[np.uint8]
    """uint8 (m,): position in `REASONS`."""
    group: npt.NDArray[np.uint8]
    """uint8 (m,): 0 island, 1 unsure, 2 without evidence (see the module)."""
    releases: Int64
    """int64 (m,): rows of the island, 1 for others."""

    def __len__(self) -> int:
        return len(self.row)

    def take(self, order: Int64) -> ReviewQueue:
        """Return the entries at positions `order`, in that order."""
        return ReviewQueue(*(getattr(self, name)[order] for name in self.__dataclass_fields__))


def review_block(
    decided: Decided, start: int, budget: int, islands: Mapping[int, int] | None = None
) -> ReviewQueue:
    """Return the `budget` most useful rows of one block.

    Parameters
    ----------
    decided
        The block's decisions.
    start
        Global number of the block's first row.
    budget
        At most so many rows.
    islands
        First row of a component without seeds -> its number of rows; a few dozen at most. None
        where there is no graph.
    """
    n = decided.n_rows
    group = np.where(decided.probability > 0, _UNSURE, _NO_EVIDENCE).astype(np.uint8)
    releases = np.ones(n, dtype=np.int64)
    for row, size in (islands or {}).items():
        if start <= row < start + n and size >= MIN_ISLAND_ROWS:
            group[row - start] = _ISLAND
            releases[row - start] = size
    whole = ReviewQueue(
        np.arange(start, start + n, dtype=np.int64),
        decided.label,
        decided.probability,
        decided.margin,
        decided.reason,
        group,
        releases,
    )
    return _best(whole.take(np.flatnonzero(decided.source != _SEED)), budget)


def merge_review(queues: Sequence[ReviewQueue], budget: int) -> ReviewQueue:
    """Return the `budget` most useful rows of all blocks; holds budget x blocks entries.

    The answer does not depend on the order or the size of the blocks.
    """
    names = ReviewQueue.__dataclass_fields__
    joined = ReviewQueue(
        *(np.concatenate([getattr(queue, name) for queue in queues]) for name in names)
    )
    return _best(joined, budget)


def _best(queue: ReviewQueue, budget: int) -> ReviewQueue:
    # lexsort: the last key is the first criterion.
    order = np.lexsort((queue.row, queue.margin, -queue.releases, queue.group))
    return queue.take(order[:budget])
