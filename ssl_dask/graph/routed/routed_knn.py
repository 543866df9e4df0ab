"""The k-nearest-neighbour lists of many rows: near rows are brought together, then searched.

Rows are routed to overlapping shards that fit a task; a shard looks for the neighbours of the rows
it owns among those and the rows that it borrows; what it finds for a borrowed row goes back to its
owner. Near-linear in the number of rows, and bounded in memory: a task holds a shard, whatever N.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import dask
import numpy as np
from dask.delayed import Delayed

from ssl_dask.array_types import Int32
from ssl_dask.block_exchange import block_tasks, fetch_rows, row_starts
from ssl_dask.errors import QualityError
from ssl_dask.execution import Execution
from ssl_dask.graph.block.node_order import NodeOrder, strip_bounds
from ssl_dask.graph.knn.distinct_rows import (
    Copies,
    DistinctRows,
    copy_mask,
    distinct_positions,
    distinct_rows,
)
from ssl_dask.graph.knn.recall import SAMPLED_ROWS, Recall, measured_recall
from ssl_dask.graph.knn.row_kind import SPARSE
from ssl_dask.graph.knn.row_strips import RowStrips, in_chunks
from ssl_dask.graph.routed.routed_index import write_about
from ssl_dask.graph.routed.routed_plan import (
    Attempt,
    RoutedOptions,
    RoutedPlan,
    aligned_chunks,
    attempts,
    plan_routed,
    sparse_attempts,
)
from ssl_dask.graph.routed.row_exchange import FileExchange, RowExchange
from ssl_dask.graph.routed.shard_tasks import (
    FoundLists,
    completed_lists,
    kept_shard,
    searched_shard,
)
from ssl_dask.kernels.arithmetic.sparse_rows import stacked_rows
from ssl_dask.kernels.knn.neighbour_lists import Distances, RowIds
from ssl_dask.kernels.knn.routing import Routing, RowPlaces, route_rows, train_routing
from ssl_dask.kernels.knn.shard_dense import SearchEffort
from ssl_dask.kernels.knn.shard_sparse import SparseEffort

SEED = 20_000


@dataclass(frozen=True)
class RoutedLists:
    """Neighbour lists in the order of nodes."""

    lists: list[Delayed]
    """For each strip or shard a handle to (distances, indices) of its nodes."""
    node_chunks: tuple[int, ...]
    """Nodes of each."""
    order: NodeOrder | None
    """The node of each row; None: node i is row i."""
    facts: dict[str, Any]
    """What a report says of the search, in JSON types."""


def routed_lists(
    rows: RowStrips, n_neighbors: int, metric: str, options: RoutedOptions, execution: Execution
) -> RoutedLists:
    """Return the nearest neighbours that a routed search finds, and how many it finds.

    Copies of a row are one node. Distances are exact; which rows are compared is not. The same
    bits for any chunks, workers and threads of one kind of machine.

    Raises
    ------
    GraphError
        A shard does not fit a task.
    QualityError
        The hardest search finds less than `options.target_recall`.
    """
    stages = _Stages()
    exchange = RowExchange() if options.scratch is None else FileExchange(options.scratch)
    planned = partial(
        plan_routed,
        cost=rows.cost(n_neighbors),
        shard_memory=options.shard_memory,
        memory_per_task=execution.memory_per_task,
        n_slots=execution.n_slots,
    )
    plan = planned(rows.n_rows)
    rows = in_chunks(rows, aligned_chunks(rows.n_rows, plan.n_strips), execution)
    copies = distinct_rows(rows, execution)
    if copies.n_copies:
        plan = planned(rows.n_rows - copies.n_copies)
    stages.done("duplicates")
    routing = _trained(rows, copies, plan, metric, execution)
    stages.done("train")
    search = _RoutedSearch(rows, copies, routing, n_neighbors, metric, exchange, execution)
    recall = search.until_enough(options.target_recall, plan.n_shards, stages)
    if options.index_folder is not None:
        search.keep_index(str(Path(options.index_folder).absolute()))
    found = search.result(recall, stages.seconds)
    # A list that is lost later is searched again. With the handles gone, that routes the rows again
    # first; a handle that is still there would name files that are removed.
    del search
    _close(exchange)
    return found


def _close(exchange: RowExchange) -> None:
    # A wait that timed out leaves its error, and the handles with it, in a cycle.
    gc.collect()
    exchange.close()


class _Stages:
    """Wall seconds of each stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._began = time.perf_counter()

    def done(self, name: str) -> None:
        now = time.perf_counter()
        self.seconds[name] = round(self.seconds.get(name, 0.0) + now - self._began, 4)
        self._began = now


class _RoutedSearch:
    """One routing, searched ever harder until enough is found."""

    def __init__(
        self,
        rows: RowStrips,
        copies: DistinctRows,
        routing: Delayed,
        n_neighbors: int,
        metric: str,
        exchange: RowExchange,
        execution: Execution,
    ) -> None:
        self.rows, self.copies = rows, copies
        self.routing, self.exchange, self.execution = routing, exchange, execution
        self.n_neighbors, self.metric = n_neighbors, metric
        ((shard_of_cell, self._sketched),) = execution.compute(
            [dask.delayed(_shards_of)(routing)], "route"
        )
        self.shard_of_cell = shard_of_cell
        self.n_shards = int(shard_of_cell[-1]) + 1
        self._n_routes = 0
        self._drop_routed()
        self.lists: list[Delayed] = []

    def until_enough(self, target_recall: float, n_shards: int, stages: _Stages) -> Recall:
        """Search, ever harder; return the first recall that is no less than the target."""
        rows, sampled = self.rows, _recall_sample(self.rows, self.copies, self.execution)
        if rows.nonzeros_per_row is None:
            tried = attempts(rows.n_columns, target_recall, n_shards)
        else:
            tried = sparse_attempts(target_recall, n_shards, rows.nonzeros_per_row)
        for attempt in tried:
            self.run(attempt, stages)
            recall = self.recall(sampled)
            stages.done("check")
            if recall.estimate >= target_recall:
                return recall
        raise QualityError(
            f"the hardest search found {recall.estimate:.4f} of the true neighbours of"
            f" {recall.n_sampled} sampled rows; target_recall is {target_recall:g}",
            hint="lower target_recall, or let search be exact",
        )

    def run(self, attempt: Attempt, stages: _Stages) -> None:
        """Route, where that is new, and search all shards."""
        self.attempt = attempt
        # What is held is made again when its worker is lost, though nobody needs it any more.
        self.lists = []
        if attempt.n_routes != self._n_routes:
            self._drop_routed()
            _close(self.exchange)
            self._route(attempt.n_routes)
            stages.done("route")
        self._search(attempt.effort)
        stages.done("search")

    def _drop_routed(self) -> None:
        self._handles: list[Delayed] = []
        self._places: list[Delayed] = []
        self._nodes: list[Delayed] = []

    def _route(self, n_routes: int) -> None:
        self._n_routes = n_routes
        task = dask.delayed(_routed, nout=2, pure=False)
        pairs = [
            task(self.exchange, number, strip, part, self.routing, n_routes)
            for number, (strip, part) in enumerate(
                zip(self.rows.strips, self.copies.of_strips(), strict=True)
            )
        ]
        kept = self.execution.persist([part for pair in pairs for part in pair], "route")
        self._handles, self._places = kept[0::2], kept[1::2]
        counts = self.execution.compute([places.counts for places in self._places])
        total = np.sum(counts, axis=0)
        offsets = strip_bounds(total)
        # bases[b][c]: number of the first node of cell c that lies in strip b.
        self._bases = offsets[:-1] + np.cumsum([np.zeros_like(total), *counts[:-1]], axis=0)
        self.node_starts = offsets[np.searchsorted(self.shard_of_cell, range(self.n_shards + 1))]
        self._nodes = self._node_numbers()

    def _node_numbers(self) -> list[Delayed]:
        """Return for each strip the node of each row, -1 for copies."""
        return self.execution.persist(block_tasks(_numbered, [self._places, self._bases]), "route")

    def _search(self, effort: SearchEffort | SparseEffort) -> None:
        how = (self.n_neighbors, effort, self.metric)
        shards = [range(self.n_shards), self._pieces()]
        tasks = block_tasks(searched_shard, shards, self.routing, *self._numbering(), *how)
        found = self.execution.persist(tasks, "neighbours")
        facts = self.execution.compute(block_tasks(_shown_and_reached, [found]))
        self._n_shown = [n_shown for n_shown, _ in facts]
        returned: list[list[Delayed]] = [[] for _ in range(self.n_shards)]
        for part, (_, reached) in zip(found, facts, strict=True):
            for shard in reached.tolist():
                returned[shard].append(dask.delayed(FoundLists.edges_to)(part, shard))
        columns = [found, self.node_starts[:-1].tolist(), returned]
        self.lists = self.execution.persist(block_tasks(completed_lists, columns), "merge")

    def _pieces(self) -> list[list[Any]]:
        return [self.exchange.pieces(self._handles, shard) for shard in range(self.n_shards)]

    def _numbering(self) -> tuple[Delayed, Delayed]:
        """Return handles to `_bases` and `node_starts`: each task would carry its own copy."""
        kept = (self._bases, self.node_starts)
        return tuple(dask.delayed(one, pure=False, traverse=False) for one in kept)

    def recall(self, sampled: RowIds) -> Recall:
        """Return the share of the true neighbours found of sampled rows, none of them a copy."""
        order = NodeOrder(tuple(self._nodes), self.rows.row_chunks, int(self.node_starts[-1]))
        nodes = order.nodes_of(sampled, self.execution)
        lists = fetch_rows(
            self.lists,
            self.node_starts,
            nodes,
            self.execution,
            "recall",
            take=_lists_at,
            stack=_stacked_lists,
        )
        more = (self._nodes, self.routing, self.metric, self.execution)
        return measured_recall(self.rows, sampled, lists, nodes, *more)

    def keep_index(self, folder: str) -> None:
        """Write the shards, where their rows lie, and the routing."""
        bases, _ = self._numbering()
        shards = [range(self.n_shards), self._pieces()]
        kept = block_tasks(kept_shard, shards, bases, self.metric, folder)
        self.execution.compute(kept, "index")
        shape = (int(self.node_starts[-1]), self.rows.n_columns, self.rows.kind is SPARSE)
        about = dask.delayed(write_about, pure=False)(folder, self.routing, self.metric, *shape)
        self.execution.compute([about], "index")

    def _order(self) -> NodeOrder:
        chunks = self.rows.row_chunks
        blocks = self.copies.spread(self._nodes, chunks, self.execution)
        return NodeOrder(tuple(blocks), chunks, int(self.node_starts[-1]))

    def result(self, recall: Recall, seconds: dict[str, float]) -> RoutedLists:
        """Return the lists and what is to be said of them."""
        effort = self.attempt.effort
        facts: dict[str, Any] = {
            "search": "routed",
            "recall": recall.as_dict(),
            "n_shards": self.n_shards,
            "replication": round(sum(self._n_shown) / max(int(self.node_starts[-1]), 1), 4),
            "largest_shard_rows": max(self._n_shown),
            "n_routing_cells": len(self.shard_of_cell),
            "n_routes": self._n_routes,
            "n_probes": effort.n_probes,
            "n_joined": effort.n_joined,
            "n_rounds": effort.n_rounds,
            "sketch": self._sketched or self.rows.kind is SPARSE,
            "n_copies": self.copies.n_copies,
            "seconds": seconds,
        }
        if isinstance(effort, SparseEffort):
            facts |= {"column_share": effort.column_share, "n_candidates": effort.n_candidates}
        else:
            facts |= {"reach": effort.reach}
        chunks = tuple(np.diff(self.node_starts).tolist())
        return RoutedLists(self.lists, chunks, self._order(), facts)


def _trained(
    rows: RowStrips, copies: DistinctRows, plan: RoutedPlan, metric: str, execution: Execution
) -> Delayed:
    drawn = copies.drawn(rows.row_chunks, plan.n_sample, SEED)
    parts = block_tasks(_sampled, [rows.strips, drawn, copies.of_strips()])
    trained = dask.delayed(_train)(parts, metric, plan.n_cells, plan.n_shards)
    return execution.persist([trained], "train")[0]


def _recall_sample(rows: RowStrips, copies: DistinctRows, execution: Execution) -> RowIds:
    """Return the numbers of some rows that are no copies, ascending."""
    drawn = copies.drawn(rows.row_chunks, SAMPLED_ROWS, SEED + 1)
    columns = [drawn, copies.of_strips(), rows.row_chunks]
    positions = execution.compute(block_tasks(distinct_positions, columns), "recall")
    starts = row_starts(rows.row_chunks)
    return np.concatenate([p + start for p, start in zip(positions, starts, strict=True)])


def _sampled(strip: Any, drawn: RowIds, copies: Copies | None) -> Any:
    return strip[distinct_positions(drawn, copies, strip.shape[0])]


def _train(parts: Sequence[Any], metric: str, n_cells: int, n_shards: int) -> Routing:
    return train_routing(
        stacked_rows(parts),
        cosine=metric == "cosine",
        n_cells=n_cells,
        n_shards=n_shards,
        seed=SEED,
    )


def _shards_of(routing: Routing) -> tuple[Int32, bool]:
    return routing.shard_of_cell, routing.axes is not None


def _routed(
    exchange: RowExchange,
    number: int,
    strip: Any,
    copies: Copies | None,
    routing: Routing,
    n_routes: int,
) -> tuple[Any, RowPlaces]:
    routed, places = route_rows(strip, copy_mask(copies, strip.shape[0]), routing, n_routes)
    return exchange.keep(number, n_routes, routed), places


def _numbered(places: RowPlaces, bases: RowIds) -> RowIds:
    return np.where(places.cell >= 0, bases[places.cell] + places.place, -1)


def _shown_and_reached(found: FoundLists) -> tuple[int, RowIds]:
    return found.n_shown, found.shards_reached()


def _lists_at(lists: tuple[Distances, RowIds], positions: RowIds) -> tuple[Distances, RowIds]:
    return lists[0][positions], lists[1][positions]


def _stacked_lists(parts: list[tuple[Distances, RowIds]]) -> tuple[Distances, RowIds]:
    distances, indices = zip(*parts, strict=True)
    return np.concatenate(distances), np.concatenate(indices)
