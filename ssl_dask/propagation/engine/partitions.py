"""Where the parts of a graph live during sweeps, and the parts of this process."""

from __future__ import annotations

import itertools
import threading
from abc import ABC, abstractmethod
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from dask import delayed
from dask.delayed import Delayed

from ssl_dask.execution import Execution
from ssl_dask.graph.block.block_graph import BlockGraph
from ssl_dask.kernels.arithmetic.pairwise_sums import LEAF_ROWS
from ssl_dask.kernels.propagation.graph_parts import (
    GraphPart,
    even_cuts,
    leaf_entries,
    part_of_strips,
)
from ssl_dask.kernels.propagation.step import SparseSources
from ssl_dask.kernels.propagation.sweep import Scores
from ssl_dask.propagation.engine.partition_solver import Aborted, Key, PartRun
from ssl_dask.propagation.engine.recurrence import LinearSystem, Steps, StepsDone
from ssl_dask.propagation.engine.seed_sources import NodeSources
from ssl_dask.run_control import State

TASK_LABEL = "propagation"
NO_MESSAGE_SECONDS = 600.0

Vector = list[Delayed]
"""Blocks of a vector over the nodes, one a strip."""


class RightHandSide(NamedTuple):
    """What a solve begins with: seeds, or a source at every node, or both."""

    sources: NodeSources | None
    dense: Sequence[Delayed] | None
    """float32 (m_i, K), one for each strip."""
    value: float
    """What sources are multiplied by, a power of two."""


class Parts(ABC):
    """The parts of one graph, and the `n_vectors` vectors of the solve that is under way."""

    def __init__(self, graph: BlockGraph, execution: Execution) -> None:
        self.graph, self.execution = graph, execution
        self.cuts: tuple[int, ...] = (0, graph.n_nodes)
        self.n_vectors = 0

    @property
    def n_parts(self) -> int:
        """Number of parts."""
        return len(self.cuts) - 1

    @abstractmethod
    def begin(self, system: LinearSystem, given: RightHandSide) -> float:
        """Make a new system the one that is solved; return the largest |F| a source alone makes.

        Raises BlocksLostError if `given.dense` was made of scores that are gone.
        """

    @abstractmethod
    def start(self, factor: float, *, conjugate: bool) -> None:
        """Set all parts to their beginning, see `PartRun.start`."""

    @abstractmethod
    def restore(self, state: State) -> None:
        """Set the vectors from blocks of any sizes, (n, K) each, in the order of nodes.

        Raises BlocksLostError if the blocks were made of scores that are gone.
        """

    @abstractmethod
    def advance(self, steps: Steps) -> StepsDone:
        """Run a superstep in all parts and return what it did.

        Raises WorkersChangedError if workers were lost, and the vectors with them.
        """

    @abstractmethod
    def vector(self, number: int) -> list[Delayed]:
        """Return a copy of a vector in blocks (m_i, K), one for each strip."""

    def has_new_workers(self) -> bool:
        """Return whether there are workers that hold no part and could."""
        return False

    def place(self) -> None:  # noqa: B027
        """Cut the graph anew for the workers that are there; nothing in this process.

        Raises BlocksLostError if the right-hand side is gone; the graph is placed all the same.
        """

    def state(self) -> list[list[Delayed]]:
        """Return all vectors, what `restore` needs."""
        return [self.vector(number) for number in range(self.n_vectors)]

    @abstractmethod
    def close(self) -> None:
        """Forget the parts; blocks that were returned stay good."""

    def _balanced_cuts(self, strip_entries: Sequence[Any], n_parts: int) -> tuple[int, ...]:
        entries = np.zeros(-(-self.graph.n_nodes // LEAF_ROWS), dtype=np.int64)
        for first, counts in zip(self.graph.node_starts, strip_entries, strict=True):
            leaf = first // LEAF_ROWS
            entries[leaf : leaf + len(counts)] += counts
        return even_cuts(entries, self.graph.n_nodes, n_parts)

    def _overlapping(self, start: int, stop: int) -> list[int]:
        """Return the strips that have nodes from `start` to `stop`."""
        starts, chunks = self.graph.node_starts, self.graph.node_chunks
        return [
            number
            for number, (first, n) in enumerate(zip(starts, chunks, strict=True))
            if n and first < stop and first + n > start
        ]


def sources_of_part(
    sources: NodeSources | None, system: LinearSystem, start: int, stop: int
) -> SparseSources:
    """Return the sparse sources of nodes `start` to `stop`."""
    if sources is not None:
        return sources.in_nodes(start, stop, clamp=system.clamp_seeds)
    return SparseSources(
        np.zeros(0, dtype=np.int64),
        np.zeros((0, system.n_columns), dtype=np.float32),
        np.zeros((0, system.n_groups), dtype=np.bool_),
    )


class Mailbox:
    """What parts gave to each other, by key; the first element of a key is the superstep."""

    def __init__(self) -> None:
        self._held: dict[Key, Any] = {}
        self._stopped: set[str] = set()
        self._changed = threading.Condition()

    def put(self, key: Key, value: Any) -> None:
        """Keep `value` until it is taken; what a stopped superstep sends is dropped."""
        with self._changed:
            if key[0] not in self._stopped:
                self._held[key] = value
                self._changed.notify_all()

    def take(self, key: Key, seconds: float = NO_MESSAGE_SECONDS) -> Any:
        """Return and forget what is kept under `key`, as soon as it is there.

        Raises
        ------
        Aborted
            The superstep was stopped, or nothing came for `seconds`.
        """
        with self._changed:
            arrived = self._changed.wait_for(
                lambda: key in self._held or key[0] in self._stopped, seconds
            )
            if key[0] in self._stopped or not arrived:
                raise Aborted("a message of another part did not come")
            return self._held.pop(key)

    def stop(self, superstep: str) -> None:
        """Wake all that wait for messages of `superstep`, and forget what it has sent."""
        with self._changed:
            self._stopped.add(superstep)
            self._held = {key: held for key, held in self._held.items() if key[0] != superstep}
            self._changed.notify_all()


class ThreadLinks:
    """Links between parts whose threads share this process."""

    def __init__(self, superstep: str) -> None:
        self._superstep, self._mailbox = superstep, Mailbox()

    def send(self, part: int, key: Key, value: Any) -> None:
        """Give `value` to part `part` under `key`."""
        self._mailbox.put((self._superstep, *key), value)

    def take(self, key: Key) -> Any:
        """Return what another part gave under `key`."""
        return self._mailbox.take((self._superstep, *key))

    def flush(self) -> None:
        """Return: nothing is on its way."""


class LocalParts(Parts):
    """Parts in this process: one, whose sweeps threads share.

    Parameters
    ----------
    n_parts
        More than one is for tests: each has a thread.
    """

    def __init__(self, graph: BlockGraph, execution: Execution, *, n_parts: int = 1) -> None:
        super().__init__(graph, execution)
        strips = execution.compute(graph.strips, "graph")
        if n_parts > 1:
            counts = [leaf_entries(s, f) for s, f in zip(strips, graph.node_starts, strict=True)]
            self.cuts = self._balanced_cuts(counts, n_parts)
        self.parts: list[GraphPart] = []
        for number, (start, stop) in enumerate(itertools.pairwise(self.cuts)):
            held = self._overlapping(start, stop)
            first = [graph.node_starts[s] for s in held]
            self.parts.append(part_of_strips([strips[s] for s in held], first, self.cuts, number))
        for part in self.parts:
            for other in part.receive:
                self.parts[other].send[part.number] = part.asked_of(other) - self.cuts[other]
        self._runs: list[PartRun] = []
        self._superstep = 0

    def begin(self, system: LinearSystem, given: RightHandSide) -> float:
        """Make a new system the one that is solved."""
        sources, dense, value = given
        blocks = None if dense is None else self.execution.compute(dense, TASK_LABEL)
        n_threads = self.execution.n_slots if self.n_parts == 1 else 1
        self._runs = []
        starts = self.graph.node_starts
        for part in self.parts:
            ends = (part.start, part.stop)
            sparse = sources_of_part(sources, system, *ends)
            rows = None if blocks is None else rows_between(blocks, starts, *ends)
            self._runs.append(PartRun(part, self.n_parts, system, sparse, rows, value, n_threads))
        return max(run.largest_source for run in self._runs)

    def start(self, factor: float, *, conjugate: bool) -> None:
        """Set all parts to their beginning."""
        for run in self._runs:
            run.start(factor, conjugate=conjugate)
        self.n_vectors = len(self._runs[0].vectors)

    def restore(self, state: State) -> None:
        """Set the vectors from blocks of any sizes."""
        whole = [np.concatenate(self.execution.compute(v, "checkpoint")) for v in state]
        self.n_vectors = len(whole)
        for run, part in zip(self._runs, self.parts, strict=True):
            run.restore([v[part.start : part.stop] for v in whole])

    def advance(self, steps: Steps) -> StepsDone:
        """Run a superstep."""
        self._superstep += 1
        links = ThreadLinks(str(self._superstep))
        if self.n_parts == 1:
            return self._runs[0].advance(steps, links)
        with ThreadPoolExecutor(self.n_parts) as threads:
            done = list(threads.map(lambda run: run.advance(steps, links), self._runs))
        return StepsDone.joined(done)

    def vector(self, number: int) -> list[Delayed]:
        """Return a copy of a vector in blocks, one for each strip."""
        own = [run.own_rows(number, run.part.start, run.part.stop) for run in self._runs]
        whole = own[0] if len(own) == 1 else np.concatenate(own)
        return [
            delayed(whole[first : first + n], pure=False, traverse=False)
            for first, n in zip(self.graph.node_starts, self.graph.node_chunks, strict=True)
        ]

    def close(self) -> None:
        """Forget the parts."""
        self.parts, self._runs = [], []


def rows_between(
    blocks: Sequence[Scores], starts: Sequence[int], start: int, stop: int
) -> npt.NDArray[Any]:
    """Return rows `start` to `stop` of blocks of which each begins at its entry of `starts`."""
    pieces = [
        block[max(start - first, 0) : max(stop - first, 0)]
        for block, first in zip(blocks, starts, strict=True)
    ]
    return np.concatenate(pieces)
