"""The review list of a run: what each block looks for, and the rows that are chosen among them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ssl_dask.array_types import Int64
from ssl_dask.decision.decision_spec import ReviewSpec
from ssl_dask.decision.labelling import Decided
from ssl_dask.decision.review_queue import (
    KINDS,
    ReviewQueue,
    choose_rows,
    kind_quotas,
    looked_for,
    merge_review,
    review_block,
)
from ssl_dask.kernels.arithmetic.row_keys import Purpose, row_keys
from ssl_dask.kernels.knn.exact_sparse import row_squares
from ssl_dask.kernels.knn.nearest_rows import nearest_rows
from ssl_dask.labels import Labels
from ssl_dask.pipeline.infer.inference import Inferred
from ssl_dask.pipeline.infer.row_sample import fetch_array_rows
from ssl_dask.pipeline.inputs.run_context import RunContext
from ssl_dask.pipeline.targets.block_task import BlockTask
from ssl_dask.storage.result.part_writer import write_part
from ssl_dask.storage.result.result_schema import review_schema
from ssl_dask.storage.runs.manifest import PartRecord
from ssl_dask.storage.runs.reviewed_rows import remember_reviewed

MAX_SEEDS = 2_000
"""Rows are held against so many seeds at most, drawn at random, to tell how far they are."""
SPARE_ROWS = 100
COPY_DISTANCE = 0.01
"""Rows are copies up to this share of the distance of two seeds (the median)."""


@dataclass(frozen=True)
class ReviewSearch:
    """What every block looks for."""

    quotas: Mapping[str, int]
    """For each kind how many rows."""
    positive: int | None
    """Code of the class that "positive" looks for; None: none."""
    islands: Mapping[int, int]
    """Row of the smallest tag of a component without seeds -> its number of rows."""
    seeds: Any
    """(s, d) dense float32 or CSR: features of seeds; None where no row is to be far from them."""

    @classmethod
    def of(cls, review: ReviewSpec, labels: Labels, inferred: Inferred) -> ReviewSearch:
        """Return what a run looks for."""
        positive = looked_for(review, labels)
        quotas = kind_quotas(review, with_positive=positive is not None)
        order = np.argsort(row_keys(labels.known_by, Purpose.REVIEW, 2), kind="stable")[:MAX_SEEDS]
        seeds = inferred.rows.seeds[np.sort(order)] if quotas["far"] else None
        return cls(quotas, positive, inferred.unseeded, seeds)

    @property
    def n_wanted(self) -> dict[str, int]:
        """For each kind how many candidates: some are copies, or of another kind already."""
        return {kind: 3 * n + SPARE_ROWS if n else 0 for kind, n in self.quotas.items()}

    def of_block(self, decided: Decided, start: int, X: Any, tags: Any) -> ReviewQueue:
        """Return the candidates of a block with features X and tags, or None each."""
        return review_block(
            decided,
            start,
            self.n_wanted,
            positive=self.positive,
            islands=self.islands,
            distances=None if self.seeds is None else nearest_rows(X, self.seeds)[0],
            tags=tags,
        )


def write_review(
    run: RunContext,
    inferred: Inferred,
    task: BlockTask[Any],
    search: ReviewSearch,
    found: Sequence[ReviewQueue],
) -> tuple[list[PartRecord], int]:
    """Choose rows among the candidates of all blocks, and write them with their nearest seeds.

    Returns
    -------
    (parts, n_rows)
        The part, if there is a row.
    """
    labels, rows, execution = run.data.labels, inferred.rows, run.execution
    candidates = merge_review(found, search.n_wanted)
    if not len(candidates):
        return [], 0
    X = fetch_array_rows(rows.X, candidates.row, execution)
    chosen = choose_rows(candidates, search.quotas, X, copy_distance(rows.seeds, labels.known_by))
    queue = candidates.take(chosen)
    if run.spec.input.id is not None:
        # Row numbers are those of other rows tomorrow. Before the list can be seen.
        remember_reviewed(run.output.root, queue.tag, queue.kind == KINDS.index("random"))
    distances, nearest = nearest_rows(X[chosen], rows.seeds)
    seeds, places = np.unique(nearest, return_inverse=True)
    reader, numbered = run.data.reader, task.row_numbers
    table = reader.fetch_table(queue.row, task.columns, execution, row_numbers=numbered)
    ids = reader.fetch_table(
        labels.rows[seeds], () if numbered else task.columns[:1], execution, row_numbers=numbered
    )
    arrays: dict[str, npt.NDArray[Any]] = {
        "row": queue.row,
        "predicted": queue.predicted,
        "probability": queue.probability,
        "margin": queue.margin,
        "reason": queue.reason,
        "review_kind": queue.kind,
        "nearest_seed": places,
        "nearest_seed_label": labels.codes[nearest],
        "nearest_seed_distance": np.sqrt(distances).astype(np.float32),
        "rank": np.arange(1, len(queue) + 1, dtype=np.int64),
    }
    schema = review_schema(task.schema, ids.column(0).combine_chunks(), KINDS)
    added = {column.name: arrays[column.name] for column in schema.added}
    return [write_part(task.stage, task.run_id, 0, table, added, schema)], len(queue)


def copy_distance(seeds: Any, tags: Int64) -> float:
    """Return the squared distance up to which rows are copies, by the (s, d) features of seeds.

    Seeds are paired in an order of their tags, so that the list is that of shuffled rows.
    """
    order = np.argsort(row_keys(tags, Purpose.REVIEW, 2), kind="stable")
    half = len(order) // 2
    apart = seeds[order[:half]] - seeds[order[half : 2 * half]]
    return COPY_DISTANCE**2 * float(np.median(row_squares(apart))) if half else 0.0
