"""Two ways to run the sweeps of a recurrence: in this process, and as tasks on a cluster.

Both hold Z_t and Z_{t-1} of `kernels.propagation_step` and call the same kernel: bits are equal.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from dask import delayed
from dask.delayed import Delayed

from ssl_dask.execution import Execution
from ssl_dask.graph.block_graph import BlockGraph
from ssl_dask.kernels.propagation_step import (
    Coefficients,
    Scores,
    StripScaling,
    StripSeeds,
    SweepCounts,
    initial_values,
    strip_scaling,
    sweep_strip,
)

WHAT = "propagation"

Values = Scores


class StripSetup(NamedTuple):
    """What a strip needs in each sweep, apart from its weights."""

    scaling: StripScaling
    seeds: StripSeeds


class Sweeps(ABC):
    """State of a propagation: Z_t and Z_{t-1} in blocks, one for each strip of the graph.

    Parameters
    ----------
    graph
        The graph.
    seeds
        The seeds of each strip.
    symmetric
        As in the recurrence.
    execution
        Where the tasks run.
    """

    def __init__(
        self,
        graph: BlockGraph,
        seeds: Sequence[StripSeeds],
        *,
        symmetric: bool,
        dtype: npt.DTypeLike,
        execution: Execution,
    ) -> None:
        self.graph = graph
        self.execution = execution
        self.dtype = np.dtype(dtype)
        self.n_columns = seeds[0].values.shape[1]
        self.strips = execution.persist(graph.strips, "graph")
        self.setups = execution.persist(
            [
                delayed(_strip_setup, pure=False)(strip, part, symmetric)
                for strip, part in zip(self.strips, seeds, strict=True)
            ],
            WHAT,
        )

    @abstractmethod
    def start(self, factor: float) -> None:
        """Set Z_0 = `factor` times B (clamped rows: B itself) and Z_{-1} = Z_0."""

    @abstractmethod
    def restore(self, state: Sequence[Sequence[Delayed]]) -> None:
        """Set Z_t and Z_{t-1} from blocks of any sizes, (n, G * C) each, in row order."""

    @abstractmethod
    def advance(self, coefficients: Coefficients) -> SweepCounts:
        """Do one sweep and return what changed, over all rows."""

    @abstractmethod
    def state(self) -> list[list[Delayed]]:
        """Return the blocks of Z_t and of Z_{t-1}, (n_i, G * C) each."""

    def close(self) -> None:  # noqa: B027 (nothing to give back unless a subclass says so)
        """Give back what the sweeps held; blocks that were returned stay good."""

    @abstractmethod
    def current(self) -> list[Delayed]:
        """Return the blocks of Z_t alone, good until the next sweep."""


def make_sweeps(
    graph: BlockGraph,
    seeds: Sequence[StripSeeds],
    *,
    symmetric: bool,
    dtype: npt.DTypeLike,
    execution: Execution,
) -> Sweeps:
    """Return the sweeps that fit `execution`: tasks on its cluster, or arrays of this process."""
    kind = SweepsInProcess if execution.client is None else SweepsOnCluster
    return kind(graph, seeds, symmetric=symmetric, dtype=dtype, execution=execution)


class SweepsInProcess(Sweeps):
    """Two arrays (N, G * C) in this process; threads share the strips, without any scheduling."""

    Z: Values
    Z_before: Values

    def start(self, factor: float) -> None:
        """Set Z_0 and Z_{-1}."""
        self._fetch_parts()
        blocks = [
            initial_values(n, setup.seeds, setup.scaling, factor, self.dtype)
            for n, (_, _, setup) in zip(self.graph.node_chunks, self._parts, strict=True)
        ]
        self.Z = np.concatenate(blocks)
        self.Z_before = self.Z.copy()

    def restore(self, state: Sequence[Sequence[Delayed]]) -> None:
        """Set Z_t and Z_{t-1} from blocks of any sizes."""
        self._fetch_parts()
        self.Z, self.Z_before = (
            np.concatenate(self.execution.compute(blocks, "checkpoint")) for blocks in state
        )

    def advance(self, coefficients: Coefficients) -> SweepCounts:
        """Do one sweep and return what changed."""

        def sweep(part: tuple[int, sp.csr_array, StripSetup]) -> SweepCounts:
            first, strip, setup = part
            rows = slice(first, first + strip.shape[0])
            values, counts = sweep_strip(
                strip,
                self.Z,
                first,
                self.Z_before[rows],
                setup.seeds,
                setup.scaling,
                coefficients,
            )
            # No other strip looks at these rows of Z_{t-1}: Z_{t+1} takes their place.
            self.Z_before[rows] = values
            return counts

        counts = _join_counts(list(self._threads.map(sweep, self._parts)))
        self.Z, self.Z_before = self.Z_before, self.Z
        return counts

    def state(self) -> list[list[Delayed]]:
        """Return the blocks of Z_t and of Z_{t-1}."""
        # Copies: the arrays are written over by the next sweep.
        return [self._cut(self.Z.copy()), self._cut(self.Z_before.copy())]

    def current(self) -> list[Delayed]:
        """Return the blocks of Z_t."""
        return self._cut(self.Z)

    def _cut(self, values: Values) -> list[Delayed]:
        return [
            delayed(values[first : first + n], pure=False, traverse=False)
            for first, n in zip(self.graph.node_starts, self.graph.node_chunks, strict=True)
        ]

    def _fetch_parts(self) -> None:
        strips = self.execution.compute(self.strips)
        setups = self.execution.compute(self.setups)
        self._parts = list(zip(self.graph.node_starts, strips, setups, strict=True))
        self._threads = ThreadPoolExecutor(min(self.execution.n_slots, len(strips)))

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown()


class SweepsOnCluster(Sweeps):
    """One task for each strip and sweep; Z_t goes once to each worker.

    Notes
    -----
    Tasks of a sweep: strips + 2. Bytes moved: 4 N G C to each worker but one. Memory of a
    worker: its strips, and N G C numbers for Z_t. This process sees counts and maxima only.
    """

    # Each block is the pair (values, counts) that a sweep returns.
    blocks: list[Delayed]
    blocks_before: list[Delayed]

    def start(self, factor: float) -> None:
        """Set Z_0 and Z_{-1}."""
        self.blocks = self.execution.persist(
            [
                delayed(_initial_block, pure=False)(n, setup, factor, self.dtype)
                for n, setup in zip(self.graph.node_chunks, self.setups, strict=True)
            ],
            WHAT,
        )
        self.blocks_before = self.blocks

    def restore(self, state: Sequence[Sequence[Delayed]]) -> None:
        """Set Z_t and Z_{t-1} from blocks of any sizes."""

        def cut(blocks: Sequence[Delayed]) -> list[Delayed]:
            whole = delayed(_join_arrays, pure=False)(list(blocks))
            return self.execution.persist(
                [
                    delayed(_cut_block, pure=False)(whole, first, n)
                    for first, n in zip(self.graph.node_starts, self.graph.node_chunks, strict=True)
                ],
                "checkpoint",
            )

        self.blocks, self.blocks_before = cut(state[0]), cut(state[1])

    def advance(self, coefficients: Coefficients) -> SweepCounts:
        """Do one sweep and return what changed."""
        whole = delayed(_join_values, pure=False)(self.blocks)
        task = delayed(_sweep_block, pure=False)
        swept = [
            task(strip, whole, first, before, setup, tuple(coefficients))
            for strip, first, before, setup in zip(
                self.strips, self.graph.node_starts, self.blocks_before, self.setups, strict=True
            )
        ]
        counts = delayed(_counts_of_blocks, pure=False)(swept)
        *blocks, counts = self.execution.persist([*swept, counts], WHAT)
        self.blocks_before, self.blocks = self.blocks, blocks
        return self.execution.compute([counts], WHAT)[0]

    def state(self) -> list[list[Delayed]]:
        """Return the blocks of Z_t and of Z_{t-1}."""
        return [
            [delayed(_values_of_block, pure=False)(block) for block in blocks]
            for blocks in (self.blocks, self.blocks_before)
        ]

    def current(self) -> list[Delayed]:
        """Return the blocks of Z_t."""
        return self.state()[0]


Block = tuple[Values, SweepCounts | None]


def _strip_setup(strip: sp.csr_array, seeds: StripSeeds, symmetric: bool) -> StripSetup:
    return StripSetup(strip_scaling(strip, symmetric=symmetric), seeds)


def _initial_block(n_rows: int, setup: StripSetup, factor: float, dtype: npt.DTypeLike) -> Block:
    return initial_values(n_rows, setup.seeds, setup.scaling, factor, dtype), None


def _sweep_block(
    strip: sp.csr_array,
    Z: Values,
    first_row: int,
    before: Block,
    setup: StripSetup,
    coefficients: tuple[float, ...],
) -> Block:
    return sweep_strip(
        strip,
        Z,
        first_row,
        before[0],
        setup.seeds,
        setup.scaling,
        Coefficients(*coefficients),
    )


def _join_values(blocks: list[Block]) -> Values:
    return np.concatenate([values for values, _ in blocks])


def _join_arrays(arrays: list[Values]) -> Values:
    return np.concatenate(arrays)


def _cut_block(whole: Values, first_row: int, n_rows: int) -> Block:
    return whole[first_row : first_row + n_rows].copy(), None


def _values_of_block(block: Block) -> Values:
    return block[0]


def _counts_of_blocks(blocks: list[Block]) -> SweepCounts:
    return _join_counts([counts for _, counts in blocks if counts is not None])


def _join_counts(parts: Sequence[SweepCounts]) -> SweepCounts:
    total = parts[0]
    for part in parts[1:]:
        total = total.joined(part)
    return total
