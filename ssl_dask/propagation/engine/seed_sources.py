"""Where the evidence enters: seeds as right-hand sides, some hidden in further columns."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ssl_dask.array_types import Bool, Float32, Float64, Int64
from ssl_dask.errors import QualityError
from ssl_dask.execution import Execution
from ssl_dask.graph.block.block_graph import BlockGraph
from ssl_dask.kernels.propagation.step import SparseSources
from ssl_dask.labels import Labels


@dataclass(frozen=True)
class SeedSources:
    """Groups of columns, C each: all seeds, then one group for each fold in which some are hidden.

    The groups stand side by side and go through the same sweeps, so that judging a method by hidden
    seeds costs columns, not sweeps.
    """

    labels: Labels
    """The seeds."""
    hidden: Bool
    """bool (G, S): which seeds each group does not see; nothing is hidden in group 0."""
    weights: Float64
    """float64 (S,), or (G, S) where groups differ: what stands in B at each seed, in the column of
    its class."""

    @classmethod
    def from_folds(
        cls, labels: Labels, folds: Sequence[Bool] = (), sample_weight: npt.ArrayLike | None = None
    ) -> SeedSources:
        """Build from the seeds and, for each fold, a bool array (S,) of the seeds that it hides.

        Parameters
        ----------
        sample_weight
            (S,): weight > 0 of each seed, in row order; None: 1 each.

        Raises
        ------
        QualityError
            There is no seed, or a fold hides them all.
        ValueError
            A fold is not a bool array of one value for each seed, or a weight not a number > 0.
        """
        if labels.n_seeds == 0:
            raise QualityError(
                "no labelled rows: nothing can be propagated", hint="label a few rows of each class"
            )
        hidden = np.zeros((len(folds) + 1, labels.n_seeds), dtype=np.bool_)
        for group, fold in enumerate(folds, start=1):
            mask = np.asarray(fold)
            if mask.dtype != np.bool_ or mask.shape != (labels.n_seeds,):
                raise ValueError(
                    f"fold {group} must be bool of shape ({labels.n_seeds},), one value a seed; got"
                    f" {mask.dtype} of shape {mask.shape}"
                )
            if mask.all():
                raise QualityError(
                    f"fold {group} hides all {labels.n_seeds} seeds",
                    hint="label more rows, or lower evaluation.folds",
                )
            hidden[group] = mask
        weights = np.ones(labels.n_seeds)
        if sample_weight is not None:
            weights = np.asarray(sample_weight, dtype=np.float64)
            if weights.shape != (labels.n_seeds,):
                raise ValueError(
                    f"sample_weight must have shape ({labels.n_seeds},), one value a seed; got"
                    f" {weights.shape}"
                )
            if not (np.isfinite(weights).all() and (weights > 0.0).all()):
                raise ValueError("sample_weight of a seed must be a finite number above 0")
        return cls(labels, hidden, weights)

    def balanced(self, power: float) -> SeedSources:
        """Return the same seeds, weighted so that classes have masses of their own choosing.

        In each group a class with m seeds gets the total m**power, times what makes the mean over
        the classes that have seeds 1; within a class the weights keep their proportions.

        Parameters
        ----------
        power
            0: all classes weigh the same, however many seeds they have. 1: as many as their seeds.
        """
        n_classes = self.labels.n_classes
        weights = np.zeros(self.hidden.shape)
        given = np.broadcast_to(self.weights, self.hidden.shape)
        for group, hidden in enumerate(self.hidden):
            codes, seen = self.labels.codes[~hidden], given[group, ~hidden]
            counts = np.bincount(codes, minlength=n_classes)
            totals = np.where(counts > 0, counts.astype(np.float64) ** power, 0.0)
            totals /= totals[counts > 0].mean()
            sums = np.bincount(codes, weights=seen, minlength=n_classes)
            weights[group, ~hidden] = seen * totals[codes] / sums[codes]
        return SeedSources(self.labels, self.hidden, weights)

    @property
    def n_groups(self) -> int:
        """Number of groups G."""
        return len(self.hidden)

    @property
    def n_columns(self) -> int:
        """Number of columns G * C."""
        return self.n_groups * self.labels.n_classes

    def class_shares(self) -> Float64:
        """Return the share of each class among the seeds, float64 (C,)."""
        counts = self.labels.class_counts()
        return counts / counts.sum()

    def digest(self) -> str:
        """Return a SHA-256 of rows, codes, weights and hidden seeds, as hexadecimal text."""
        text = hashlib.sha256()
        for array in (self.labels.rows, self.labels.codes, self.hidden, self.weights):
            text.update(np.ascontiguousarray(array).tobytes())
        return text.hexdigest()

    def at_nodes(self, graph: BlockGraph, execution: Execution) -> NodeSources:
        """Return the same sources at the nodes of `graph`.

        One small task for each block of rows that holds a seed.
        """
        seed_nodes = graph.nodes_of(self.labels.rows, execution)
        nodes, place = np.unique(seed_nodes, return_inverse=True)
        sums = np.zeros((len(nodes), self.n_groups, self.labels.n_classes))
        visible = np.zeros((len(nodes), self.n_groups))
        seed, group = np.nonzero(~self.hidden.T)
        weights = np.broadcast_to(self.weights, self.hidden.shape)
        np.add.at(sums, (place[seed], group, self.labels.codes[seed]), weights[group, seed])
        np.add.at(visible, (place[seed], group), 1.0)
        means = sums / np.maximum(visible, 1.0)[:, :, None]
        return NodeSources(self, nodes, seed_nodes, means.astype(np.float32), visible > 0.0)


@dataclass(frozen=True)
class NodeSources:
    """The sources at nodes of a graph. Seeds at one node, being copies, are averaged there."""

    sources: SeedSources
    """The seeds by row."""
    nodes: Int64
    """int64 (U,), increasing: the nodes that hold a seed."""
    seed_nodes: Int64
    """int64 (S,): the node of each seed."""
    values: Float32
    """float32 (U, G, C): mean of the rows of B of the seeds that the group sees at the node."""
    seen: Bool
    """bool (U, G): whether the group sees a seed at the node."""

    def in_nodes(self, start: int, stop: int, *, clamp: bool) -> SparseSources:
        """Return the seeds at nodes `start` to `stop`."""
        first, last = np.searchsorted(self.nodes, [start, stop])
        values = self.values[first:last]
        seen = self.seen[first:last]
        return SparseSources(
            self.nodes[first:last] - start,
            values.reshape(len(values), self.sources.n_columns),
            np.ascontiguousarray(seen if clamp else np.zeros_like(seen)),
        )

    def hidden_places(self, graph: BlockGraph) -> list[tuple[Int64, Int64, Int64]]:
        """Return for each strip (positions, groups, seeds) of hidden seeds, by group, then seed."""
        found = []
        for start, n in zip(graph.node_starts, graph.node_chunks, strict=True):
            inside = (self.seed_nodes >= start) & (self.seed_nodes < start + n)
            group, seed = np.nonzero(self.sources.hidden & inside)
            found.append((self.seed_nodes[seed] - start, group, seed))
        return found

    def by_fold(
        self, parts: Sequence[tuple[Int64, Int64]], rows: Sequence[Float32]
    ) -> list[Float32]:
        """Return for each fold the rows, float32 (n_hidden, C), of its hidden seeds in row order.

        `parts` has (groups, seeds) of `hidden_places` for each strip, and `rows` float32 (h, C),
        what was found there.
        """
        n_groups, n_seeds = self.sources.hidden.shape
        found = np.zeros((n_groups, n_seeds, self.sources.labels.n_classes), dtype=np.float32)
        for (groups, seeds), values in zip(parts, rows, strict=True):
            found[groups, seeds] = values
        return [found[g, self.sources.hidden[g]] for g in range(1, n_groups)]
