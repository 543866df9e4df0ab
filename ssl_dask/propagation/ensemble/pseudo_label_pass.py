"""The second pass of the ensemble: every row becomes a source of its class probabilities."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ssl_dask.array_types import Bool, Float64, Int64
from ssl_dask.execution import Execution
from ssl_dask.kernels.distributions import class_evidence as ce
from ssl_dask.propagation.engine.node_vectors import NodeVectors
from ssl_dask.propagation.engine.partitions import Vector
from ssl_dask.propagation.engine.recurrence import one_step_of_the_walk, unit_source_kernel
from ssl_dask.propagation.engine.seed_sources import NodeSources
from ssl_dask.propagation.engine.session import DenseSources, PropagationSession
from ssl_dask.propagation.ensemble.ensemble_state import EnsembleState
from ssl_dask.round_record import RoundRecord
from ssl_dask.run_control import RunControl

ALPHA = 0.99
SHARPNESS = 1.8
"""Evidence of standard deviation 1, times this, is about the logarithm of a probability."""
PSEUDO_MASS = 16.0
"""Mass of the rows' own opinions for each unit of mass of the seeds."""
FIRST_SWEEPS, NEXT_SWEEPS = 30, 10
"""A round starts at the solution of the one before, which is near."""
BIAS_UPDATES = 2
CUT_STEP = one_step_of_the_walk("graph_ensemble")
"""Z = P B: of each node's edges, the share that ends in each class."""


@dataclass(frozen=True)
class Pass:
    """Which groups of the mixture a pass takes, and how."""

    groups: tuple[int, ...]
    """Groups of the mixture, in the order of the pass's own groups."""
    balanced: tuple[bool, ...]
    """For each, whether classes are moved to equal numbers of rows (by the mass of their seeds)."""
    steep: bool
    """It goes over the steeper weights of the graph."""


@dataclass(frozen=True)
class SecondPass:
    """Rounds of the second pass.

    Every row is a source of its class probabilities. All rows taken for a class together have
    `PSEUDO_MASS` times the mass of its seeds, whatever their number, so that no class can grow by
    growing. (Poisson-MBO, Calder et al. 2020, holds the volumes of classes in a like way; here
    labels stay soft.)
    """

    vectors: NodeVectors
    """Vectors over the graph."""
    at_nodes: NodeSources
    """All groups of sources."""
    push: float
    """Weight of what a round found, in the mixture that makes the next."""
    placed: Callable[[bool], PropagationSession]
    """Returns the session over the graph's weights, or over the steeper ones."""
    on_round: Callable[[EnsembleState, RoundRecord], None]
    """Called after each round with the state, and what the round did to the first group."""

    def round(self, number: int, chosen: Pass, state: EnsembleState, *, last: bool) -> None:
        """Do round `number`, from 0: `state` gets the vector "round", scaled log shares."""
        began = time.perf_counter()
        vectors, width = self.vectors, len(chosen.groups) * self.vectors.n_classes
        sources = self._of_groups(chosen.groups)
        mass = sources.values.sum(axis=0, dtype=np.float64)
        evidence = self.evidence(state, chosen.groups, self.push if number else 0.0)
        bias = np.array(state.numbers["bias"]) if number else np.zeros(mass.shape)
        opinions, sums = self._opinions(evidence, bias, mass, chosen.balanced)
        factor = PSEUDO_MASS * mass / np.maximum(sums, 1e-9)
        solved = self.placed(chosen.steep).solve(
            unit_source_kernel("graph_ensemble", ALPHA, 0.0),
            sources=sources,
            dense=DenseSources(
                vectors.mapped(_scaled, [opinions], factor.ravel()),
                vectors.n_classes,
                len(chosen.groups),
            ),
            max_iter=NEXT_SWEEPS if number else FIRST_SWEEPS,
            tol=None,
            control=_starting_at(state.vectors["solution"], vectors.execution) if number else None,
        )
        state.n_iter += solved.n_iter
        shares = vectors.mapped(ce.log_shares, [solved.blocks], vectors.n_classes)
        if not last:
            state.put("solution", vectors.mapped(np.array, [solved.blocks]), width)
        scale = np.repeat(1.0 / vectors.spreads(shares), vectors.n_classes)
        state.put("round", vectors.mapped(_scaled, [shares], scale), width)
        state.numbers["bias"] = bias.tolist()
        after = self.evidence(state, chosen.groups, self.push)
        self.on_round(state, self._record(state.n_iter, evidence, after, began))

    def evidence(self, state: EnsembleState, groups: tuple[int, ...], push: float) -> Vector:
        """Return the mixture of the groups plus `push` times what the last round has found."""
        mixture = self.vectors.picked(state.vectors["mixture"], groups)
        if push == 0.0:
            return mixture
        return self.vectors.mapped(_pushed, [mixture, state.vectors["round"]], push)

    def cuts(self, labels: Vector, n_groups: int, seeded: Bool) -> Any:
        """Return how much of the graph labels cut, see `NodeVectors.mean_cuts`."""
        near = self.placed(False).solve(
            CUT_STEP,
            dense=DenseSources(labels, self.vectors.n_classes, n_groups),
            max_iter=1,
            tol=None,
            scale=1.0,
        )
        return self.vectors.mean_cuts(labels, near.blocks, seeded)

    def _opinions(
        self, evidence: Vector, bias: Float64, mass: Float64, balanced: tuple[bool, ...]
    ) -> tuple[Vector, Float64]:
        """Return each node's probabilities and their sums (G, C); brings `bias` up to date."""
        vectors = self.vectors
        wanted = mass / mass.sum(axis=1, keepdims=True) * vectors.graph.n_nodes
        fixed = (mass <= 0.0) | ~np.array(balanced)[:, None]
        for _ in range(BIAS_UPDATES if any(balanced) else 0):
            opinions = self._probabilities(evidence, bias)
            found = np.maximum(vectors.column_sums(opinions), 1e-9)
            bias += np.where(fixed, 0.0, np.log(np.maximum(wanted, 1e-9) / found))
        opinions = self._probabilities(evidence, bias)
        return opinions, vectors.column_sums(opinions)

    def _probabilities(self, evidence: Vector, bias: Float64) -> Vector:
        C = self.vectors.n_classes
        return self.vectors.mapped(ce.class_probabilities, [evidence], bias.ravel(), C, SHARPNESS)

    def _of_groups(self, groups: tuple[int, ...]) -> NodeSources:
        given, order = self.at_nodes, list(groups)
        hidden = given.sources.hidden
        weights = np.broadcast_to(given.sources.weights, hidden.shape)[order]
        sources = replace(given.sources, hidden=hidden[order], weights=weights)
        return replace(
            given, sources=sources, values=given.values[:, order], seen=given.seen[:, order]
        )

    def _record(self, n_iter: int, before: Vector, after: Vector, began: float) -> RoundRecord:
        counts = self.vectors.total(_changes, [before, after], self.vectors.n_classes)
        shares = tuple((counts[1:] / self.vectors.graph.n_nodes).tolist())
        changed = int(counts[0])
        moving = changed / self.vectors.graph.n_nodes
        return RoundRecord(n_iter, changed, moving, shares, time.perf_counter() - began)


def _starting_at(solution: Vector, execution: Execution) -> RunControl:
    """Return a control that starts at a solution; Chebyshev's first step uses no earlier step."""
    meta: dict[str, Any] = {
        "method": "graph_ensemble",
        "stop_rule": None,
        "records": [],
        "scalars": None,
    }
    return RunControl(execution, resume=(0, [solution, solution], meta))


def _pushed(mixture: ce.Evidence, second: ce.Evidence, push: float) -> ce.Evidence:
    return mixture + np.float32(push) * second


def _scaled(block: ce.Evidence, factor: Float64) -> ce.Evidence:
    return (block * factor).astype(np.float32)


def _changes(before: ce.Evidence, after: ce.Evidence, n_classes: int) -> Int64:
    """Return (nodes whose best class differs, nodes of each best class) in the first group."""
    old, new = before[:, :n_classes], after[:, :n_classes]
    there = new.any(axis=1)
    best = new.argmax(axis=1)[there]
    changed = np.count_nonzero(old.argmax(axis=1)[there] != best)
    return np.concatenate([[changed], np.bincount(best, minlength=n_classes)])
