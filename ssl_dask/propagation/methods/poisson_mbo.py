"""Poisson-MBO: Poisson learning whose labels are sharpened in rounds, with given class shares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Literal

import numpy as np
from dask.delayed import Delayed
from pydantic import Field

from ssl_dask.array_types import Bool, Float64, Int64
from ssl_dask.block_exchange import block_tasks
from ssl_dask.kernels.propagation.class_multipliers import class_offsets
from ssl_dask.kernels.propagation.sweep import Scores
from ssl_dask.method import Method, MethodInputs
from ssl_dask.propagation.engine.class_shares import (
    ClassShares,
    expected_shares,
    project_blocks,
    sampled_nodes,
)
from ssl_dask.propagation.engine.node_vectors import rows_at
from ssl_dask.propagation.engine.partitions import TASK_LABEL
from ssl_dask.propagation.engine.propagated import (
    STOP_WORDS,
    Propagated,
    Solved,
    distributions,
    seeds_and_graph,
)
from ssl_dask.propagation.engine.recurrence import heat_flow
from ssl_dask.propagation.engine.seed_sources import NodeSources
from ssl_dask.propagation.engine.seeded_components import SeededComponents
from ssl_dask.propagation.engine.session import DenseSources, PropagationSession, identity_of
from ssl_dask.propagation.engine.solve_cost import conjugate_cost
from ssl_dask.propagation.methods.poisson import (
    centred_sources,
    poisson_recurrence,
    signed_to_distributions,
)
from ssl_dask.run_control import LastKept, RunControl, retried
from ssl_dask.spec_model import SpecModel, given_shares

FLOW_TIME = 10.0
"""How long labels flow in a round. The paper's 40 steps of 1 / max d make 40 d / max d for a row of
degree d: about 10 for the mean row of a neighbour graph."""
SWEEPS_A_ROUND = 17
"""What that takes."""
NATS = 10.0
"""Labels that have flown are between 0 and 1; where shares of the classes are fitted, 1 is so many
nats."""
ABSENT = -1e6
"""Score of a class that has no seed in the row's component."""


class PoissonMBOSpec(SpecModel):
    """Poisson-MBO (Calder et al. 2020): for few labels a class where the classes' shares are known.

    Costs 17 sweeps a round more than `poisson`.
    """

    name: Literal["poisson_mbo"] = "poisson_mbo"
    class_shares: ClassShares = "none"
    """Hold the answer to these shares of the classes: none; seeds: as among the seeds; or
    {class: share}. Wrong shares hurt."""
    n_rounds: Annotated[int, Field(ge=1)] = 20
    """Rounds of diffusion and decision."""
    max_iter: Annotated[int, Field(ge=1)] = 10_000
    """Most sweeps of the Poisson learning that it begins with."""
    tol: Annotated[float, Field(ge=0.0)] = 1e-3
    """Largest error of a score there, relative to the largest source."""


def poisson_mbo(inputs: MethodInputs, spec: PoissonMBOSpec, control: RunControl) -> Propagated:
    """Decide by Poisson learning; then again and again: let the decision flow, decide anew.

    A round follows du/dt = -D^-1 (L u - b) for the time 10 from u = 1 at each row's class, b the
    sources of `poisson`, and decides with `class_shares`. With the solution u* of L u* = b it is
    u(t) = u* + exp(-t D^-1 L) (u(0) - u*), see `heat_flow`. The paper's steps are those of explicit
    Euler for du/dt = -(L u - b), 1 / max d long, which a single hub makes short; here each row
    flows at the pace of its own degree, which descends the same energy.

    Raises
    ------
    ValueError
        `class_shares` names other classes than the seeds have. For others see `session.propagate`.

    Notes
    -----
    17 sweeps a round. Checkpoints are those of the Poisson learning: when workers are lost in the
    rounds, or the run is killed there, the rounds begin anew.

    References
    ----------
    J. Calder, B. Cook, M. Thorpe, D. Slepcev: Poisson Learning: Graph Based Semi-Supervised
    Learning at Very Low Label Rates, ICML 2020, algorithm 2.
    """
    graph, sources = seeds_and_graph(inputs)
    execution = control.execution
    shares = expected_shares(spec.class_shares, inputs.labels, sources.hidden)
    at_nodes = sources.at_nodes(graph, execution)
    components = SeededComponents.find(graph, at_nodes, execution)
    centred = centred_sources(at_nodes, components)
    first = poisson_recurrence("poisson_mbo", spec.tol)
    last = LastKept(control)

    def find() -> Propagated:
        solved = session.solve(
            first,
            sources=centred,
            max_iter=spec.max_iter,
            tol=spec.tol,
            identity=identity_of(graph, sources, first),
            control=last.control,
        )
        scores = _Rounds(session, at_nodes, components, solved, shares).run(spec.n_rounds)
        F = signed_to_distributions(at_nodes, scores, components, graph, execution)
        solved = replace(
            solved,
            blocks=F if shares is None else project_blocks(graph, F, shares, execution),
            scale=1.0,
            n_iter=solved.n_iter + spec.n_rounds * SWEEPS_A_ROUND,
        )
        return distributions(graph, at_nodes, first, solved, execution)

    with PropagationSession(
        graph, execution, n_columns=sources.n_columns, conjugate=True, losses=control.losses
    ) as session:
        return retried(find, control.losses)


class _Rounds:
    """Flow and decision in turn; scores are in nats, `ABSENT` where a class cannot be."""

    def __init__(
        self,
        session: PropagationSession,
        at_nodes: NodeSources,
        components: SeededComponents,
        solved: Solved,
        shares: Float64 | None,
    ) -> None:
        self.session, self.shares = session, shares
        self.graph, self.execution = session.graph, session.execution
        self.present = components.sums(at_nodes.values) > 0.0
        self.places = self.execution.persist(components.of_strips(self.graph), TASK_LABEL)
        self.resting, self.scale = solved.blocks, solved.scale
        self.recurrence, n_sweeps = heat_flow("poisson_mbo", FLOW_TIME)
        assert n_sweeps == SWEEPS_A_ROUND
        self.sample = None if shares is None else sampled_nodes(self.graph, self.execution)
        self.offsets: list[Float64 | None] = [None] * self.present.shape[1]

    def run(self, n_rounds: int) -> list[Delayed]:
        """Return the scores after some rounds, float64 (m_i, G * C)."""
        # The first decision is that of Poisson learning, whatever the shares.
        scores = self._ended([None] * len(self.places))
        for number in range(n_rounds):
            addends = self._addends(scores) if number else np.zeros(self.present.shape[1:])
            starts = block_tasks(_begin_flow, [scores, self.resting], self.scale, addends)
            flowed = self.session.solve(
                self.recurrence,
                dense=DenseSources(starts, self.present.shape[2], self.present.shape[1]),
                max_iter=SWEEPS_A_ROUND,
                tol=None,
                scale=1.0,
            )
            scores = self.execution.persist(self._ended(flowed.blocks), TASK_LABEL)
        return scores

    def _ended(self, flowed: Sequence[Delayed | None]) -> list[Delayed]:
        columns = [flowed, self.resting, self.places]
        return block_tasks(_end_flow, columns, self.scale, self.present)

    def _addends(self, scores: list[Delayed]) -> Float64:
        """Return (G, C): what added to the scores gives the classes their shares."""
        _, n_groups, n_classes = self.present.shape
        addends = np.zeros((n_groups, n_classes))
        if self.shares is None or self.sample is None:
            return addends
        rows = rows_at(self.graph, scores, self.sample, self.execution)
        grouped = rows.reshape(len(rows), n_groups, n_classes)
        for group, q in enumerate(self.shares):
            own = grouped[grouped[:, group].max(axis=1) > ABSENT, group]
            wanted = q > 0.0
            addends[group, ~wanted] = ABSENT
            if len(own) and wanted.any():
                found = class_offsets(own[:, wanted], q[wanted], self.offsets[group])
                self.offsets[group] = addends[group, wanted] = found
        return addends


def _begin_flow(scores: Scores, resting: Scores, scale: float, addends: Float64) -> Scores:
    """Return 1 at the most likely class of each group, the first of equals, less u*, float32."""
    groups = scores.reshape(len(scores), *addends.shape)
    one_hot = np.eye(addends.shape[1])[(groups + addends).argmax(axis=2)]
    one_hot[groups.max(axis=2) <= ABSENT] = 0.0
    return (one_hot.reshape(scores.shape) - resting / scale).astype(np.float32)


def _end_flow(
    flowed: Scores | None, resting: Scores, place: Int64, scale: float, present: Bool
) -> Scores:
    """Return u = u* + what has flown, in nats, `ABSENT` at classes without a seed, float64."""
    u = resting / scale if flowed is None else flowed + resting / scale
    there = present[place] & (place >= 0)[:, None, None]
    return np.where(there.reshape(u.shape), NATS * u, ABSENT)


METHOD = Method(
    PoissonMBOSpec,
    poisson_mbo,
    "graph",
    cost=lambda spec, shape: conjugate_cost(shape, SWEEPS_A_ROUND * spec.n_rounds),
    fallbacks=lambda spec: (("label_propagation", {"class_mass": "seeds"}), ("poisson", {})),
    class_shares=lambda spec: given_shares(spec.class_shares),
    moves_answer=True,
    stop_words=STOP_WORDS,
)
