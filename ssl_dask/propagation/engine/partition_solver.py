"""One solve on one part of the graph: its vectors, and what a superstep does to them.

A part runs several sweeps in a row. Before each it gets the rows of its halo from the parts that
hold them, through `Links`; how these get there is no concern of this module.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np

from ssl_dask.array_types import Float32, Float64
from ssl_dask.kernels.arithmetic.pairwise_sums import joined_products, weighted_products
from ssl_dask.kernels.propagation.graph_parts import GraphPart
from ssl_dask.kernels.propagation.step import (
    SparseSources,
    SweepCounts,
    add_sources,
    conjugate_step,
    count_changes,
    plain_rows,
    step_with_residual,
)
from ssl_dask.kernels.propagation.sweep import Scores, sweep
from ssl_dask.propagation.engine.recurrence import (
    ConjugateSteps,
    LinearSystem,
    RecurrenceSteps,
    Steps,
    StepsDone,
)

CHUNK_BYTES = 2**18
"""Rows that are counted together: they stay in the cache between sweep and count."""
MAX_SOURCE = 2.0**100
"""A source of 1 becomes no more than this. Nodes whose edges weigh next to nothing would make it
infinite where it is divided by the degree, and then all nodes that a path leads to."""
SOLVED = 1e-26
"""A column whose <r, r> has come down to this share of the first is solved: what is left is
rounding, and steps after it would walk along the null space of a singular system for ever."""

Key = tuple[Any, ...]


class Aborted(Exception):
    """The superstep was stopped: another worker is lost."""


class Links(Protocol):
    """How a part reaches the others."""

    def send(self, part: int, key: Key, value: Any) -> None:
        """Give `value` to part `part` under `key`; may return before it is there."""

    def take(self, key: Key) -> Any:
        """Return what another part gave under `key`; waits for it."""

    def flush(self) -> None:
        """Wait until all that was sent has arrived."""


class PartRun:
    """The vectors of one solve on one part, one of `n_parts`.

    Parameters
    ----------
    sparse
        Sources at a few of its nodes, and which are clamped.
    dense
        float32 (n_own, K): sources at all of its nodes, or None.
    value
        What both are multiplied by, a power of two.
    n_threads
        Threads that share a sweep.

    Attributes
    ----------
    vectors
        Z_t and Z_{t-1} of a recurrence; of conjugate gradients x, r, p and A p. Own rows first,
        then the halo where there is one.
    version
        Counts the states that the vectors were in.
    largest_source
        Largest |F| that a source alone makes.
    """

    def __init__(
        self,
        part: GraphPart,
        n_parts: int,
        system: LinearSystem,
        sparse: SparseSources,
        dense: Float32 | None,
        value: float,
        n_threads: int = 1,
    ) -> None:
        self.part, self.n_parts, self.system = part, n_parts, system
        degree = part.degree
        enters, leaves = system.powers
        self.row_scale = degree**leaves
        self._weights = degree
        self._dtype = np.dtype(system.dtype)
        self._sparse = sparse
        into = np.minimum(value * degree**-enters, MAX_SOURCE)
        self._seeds = sparse.scaled(into, self._dtype)
        self._dense: Scores | None = None
        largest = [np.abs(self._seeds * self.row_scale[sparse.positions, None]).max(initial=0.0)]
        if dense is not None:
            self._dense = np.empty(dense.shape, dtype=self._dtype)
            # A few rows at a time: products are float64, and twice as large as all vectors.
            for rows in _slices(len(dense), 1 + dense.nbytes // CHUNK_BYTES):
                self._dense[rows] = dense[rows] * into[rows, None]
                size = np.abs(self._dense[rows] * self.row_scale[rows, None])
                largest.append(size.max(initial=0.0))
        self.largest_source = float(max(largest))
        self.vectors: list[Scores] = []
        self.version = 0
        self._n_threads, self._n_entries = n_threads, part.n_entries
        self._ranges = part.row_ranges(4 * n_threads if n_threads > 1 else 1)

    def start(self, factor: float, *, conjugate: bool) -> None:
        """Set Z_0 = `factor` times the sources (clamped rows: the source itself)."""
        n_held = self.part.n_own + len(self.part.halo)
        Z = np.zeros((n_held, self.system.n_columns), dtype=self._dtype)
        own = Z[: self.part.n_own]
        if self._dense is not None:
            np.multiply(self._dense, self._dtype.type(factor), out=own)
        add_sources(own, 0, self._sparse, self._seeds, factor, 0, len(own), hold=True)
        if conjugate:
            self.vectors = [Z, np.zeros_like(Z), np.zeros_like(own), np.zeros_like(own)]
        else:
            self.vectors = [Z, Z.copy()]
        self.version += 1

    def restore(self, blocks: Sequence[Scores]) -> None:
        """Set the vectors from their own rows."""
        n_own, self.vectors = self.part.n_own, []
        for number, block in enumerate(blocks):
            rows = n_own + len(self.part.halo) if number < 2 else n_own
            vector = np.zeros((rows, self.system.n_columns), dtype=self._dtype)
            vector[:n_own] = block
            self.vectors.append(vector)
        self.version += 1

    def own_rows(self, vector: int, start: int, stop: int) -> Scores:
        """Return a copy of rows of a vector, by node number."""
        return self.vectors[vector][start - self.part.start : stop - self.part.start].copy()

    def advance(self, steps: Steps, links: Links) -> StepsDone:
        """Run a superstep.

        Raises
        ------
        Aborted
            It was stopped; the vectors must not be used any more.
        """
        self.version += 1
        with _Threads(self._n_threads) as threads:
            if isinstance(steps, ConjugateSteps):
                done = self._conjugate(steps, links, threads)
            else:
                done = self._recur(steps, links, threads)
        links.flush()
        return done

    def _recur(self, steps: RecurrenceSteps, links: Links, threads: _Threads) -> StepsDone:
        counts = None
        for number, coefficients in enumerate(steps.coefficients):
            last = number + 1 == len(steps.coefficients)
            Z, before = self.vectors
            self._exchange(Z, ("halo", number), links)
            if last and steps.counted:
                counts = self._counted_sweep(Z, before, coefficients, threads)
            else:
                self._sweep(Z, before, coefficients, threads, hold=True)
            self.vectors = [before, Z]
        return StepsDone(counts)

    def _conjugate(self, steps: ConjugateSteps, links: Links, threads: _Threads) -> StepsDone:
        """Preconditioned conjugate gradients with one reduction a sweep.

        The system A Z = source, A = I - p D^-1 W, is symmetric in the inner product with weights
        D: that is the diagonal preconditioner (Chronopoulos and Gear 1989, s-step iterative
        methods, section 2).
        """
        p, q = self.system.target
        x, r, direction, image = self.vectors
        n_own = self.part.n_own
        gamma, alpha, first_gamma = steps.gamma, steps.alpha, steps.first
        if gamma is None:
            self._exchange(x, ("start",), links)
            self._sweep(x, r, (p, -1.0, 0.0, q), threads, hold=False)
        old, product = x[:n_own], np.zeros_like(direction)
        gammas, alphas = [], []
        for number in range(steps.n_sweeps):
            self._exchange(r, ("halo", number), links)
            self._sweep(r, product, (-p, 1.0, 0.0, 0.0), threads, hold=False)
            new_gamma, delta = self._products(r[:n_own], product, ("sums", number), links)
            first_gamma = new_gamma if first_gamma is None else first_gamma
            alpha, beta = conjugate_scalars(new_gamma, delta, gamma, alpha, SOLVED * first_gamma)
            gamma = new_gamma
            if number + 1 == steps.n_sweeps:
                old = x[:n_own].copy()

            def update(rows: slice, alpha: Any = alpha, beta: Any = beta) -> None:
                conjugate_step(
                    x[:n_own][rows], r[:n_own][rows], direction[rows], image[rows],
                    product[rows], alpha, beta,
                )  # fmt: skip

            threads.map(update, _slices(n_own, self._n_threads))
            gammas.append(gamma)
            alphas.append(alpha)
        counts = SweepCounts.none(self.system.n_groups, self.system.n_classes)
        count_changes(x[:n_own], old, r[:n_own], self.row_scale, counts)
        return StepsDone(counts, np.array(gammas), np.array(alphas))

    def _products(
        self, r: Scores, product: Scores, key: Key, links: Links
    ) -> tuple[Float64, Float64]:
        mine = tuple(
            weighted_products(r, other, self._weights, self.part.start) for other in (r, product)
        )
        for other in range(self.n_parts):
            if other != self.part.number:
                links.send(other, (*key, self.part.number, other), mine)
        parts = [
            mine if other == self.part.number else links.take((*key, other, self.part.number))
            for other in range(self.n_parts)
        ]
        columns = self.system.n_columns
        left, right = ([part[i] for part in parts] for i in (0, 1))
        return joined_products(left, columns), joined_products(right, columns)

    def _exchange(self, vector: Scores, key: Key, links: Links) -> None:
        """Fill the rows of the halo."""
        me = self.part.number
        for other, rows in self.part.send.items():
            # Not vector[rows], which takes three times as long.
            links.send(other, (*key, me, other), vector.take(rows, axis=0))
        halo = vector[self.part.n_own :]
        for other, slots in self.part.receive.items():
            halo[slots] = links.take((*key, other, me))

    def _sweep(
        self,
        Z: Scores,
        out: Scores,
        coefficients: tuple[float, float, float, float],
        threads: _Threads,
        *,
        hold: bool,
    ) -> None:
        dense = self._dense if coefficients[3] != 0.0 else None

        def run(rows: tuple[int, int, int]) -> None:
            piece, start, stop = rows
            first, walk = self.part.pieces[piece]
            low, high = first + start, first + stop
            sweep(walk, start, stop, first, Z, out, low, coefficients, dense, self._n_entries)
            self._add_sources(out, low, coefficients[3], low, high, hold=hold)

        threads.map(run, self._ranges)

    def _counted_sweep(
        self,
        Z: Scores,
        out: Scores,
        coefficients: tuple[float, float, float, float],
        threads: _Threads,
    ) -> SweepCounts:
        p, q = self.system.target
        n_columns = self.system.n_columns
        chunk = max(CHUNK_BYTES // (n_columns * self._dtype.itemsize), 16)

        def run(rows: tuple[int, int, int]) -> SweepCounts:
            counts = SweepCounts.none(self.system.n_groups, self.system.n_classes)
            first, walk = self.part.pieces[rows[0]]
            plain = plain_rows(walk)
            residual = np.zeros((min(chunk, rows[2] - rows[1]), n_columns), dtype=self._dtype)
            for low in range(rows[1], rows[2], chunk):
                high = min(low + chunk, rows[2])
                at = slice(first + low, first + high)
                left = residual[: high - low]
                step_with_residual(
                    walk, plain, low, high, first, Z, out[at], left, coefficients, (p, q),
                    self._dense, self._n_entries,
                )  # fmt: skip
                self._add_sources(left, 0, q, at.start, at.stop, hold=False)
                self._add_sources(out, at.start, coefficients[3], at.start, at.stop, hold=True)
                count_changes(out[at], Z[at], left, self.row_scale[at], counts)
            return counts

        total = SweepCounts.none(self.system.n_groups, self.system.n_classes)
        for counts in threads.map(run, self._ranges):
            total = total.joined(counts)
        return total

    def _add_sources(
        self, out: Scores, out_first: int, factor: float, start: int, stop: int, *, hold: bool
    ) -> None:
        add_sources(out, out_first, self._sparse, self._seeds, factor, start, stop, hold=hold)


def conjugate_scalars(
    gamma: Float64,
    delta: Float64,
    last_gamma: Float64 | None,
    last_alpha: Float64 | None,
    solved: Float64,
) -> tuple[Float64, Float64]:
    """Return (alpha, beta), float64 (K,); 0 in columns whose gamma is not above `solved`."""
    if last_gamma is None or last_alpha is None:
        beta, less = np.zeros_like(gamma), np.zeros_like(gamma)
    else:
        going = (last_gamma > 0.0) & (last_alpha > 0.0)
        beta = np.divide(gamma, last_gamma, where=going, out=np.zeros_like(gamma))
        less = np.divide(beta * gamma, last_alpha, where=going, out=np.zeros_like(gamma))
    energy = delta - less
    usable = (gamma > solved) & (energy > 0.0)
    return np.divide(gamma, energy, where=usable, out=np.zeros_like(gamma)), beta


class _Threads:
    """Maps in this thread, or over a few of its own."""

    def __init__(self, number: int) -> None:
        self._pool = ThreadPoolExecutor(number) if number > 1 else None

    def __enter__(self) -> _Threads:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown()

    def map(self, function: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
        if self._pool is None or len(items) < 2:
            return [function(item) for item in items]
        return list(self._pool.map(function, items))


def _slices(n_rows: int, n_parts: int) -> list[slice]:
    cuts = np.linspace(0, n_rows, n_parts + 1).astype(int).tolist()
    return [slice(a, b) for a, b in itertools.pairwise(cuts)]
