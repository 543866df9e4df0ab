"""Poisson-MBO: Poisson learning whose labels are sharpened in rounds, with given class shares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from dask import delayed
from dask.delayed import Delayed
from pydantic import Field

from ssl_dask.execution import Execution
from ssl_dask.graph.block.block_graph import BlockGraph
from ssl_dask.kernels.propagation.class_multipliers import class_offsets
from ssl_dask.kernels.propagation.sweep import Scores
from ssl_dask.labels import Labels
from ssl_dask.propagation.engine.partitions import WHAT, WorkersChangedError
from ssl_dask.propagation.engine.propagate import (
    CHECKPOINT_SECONDS,
    MAX_ATTEMPTS,
    Checkpoint,
    OnRound,
    Propagated,
    PropagationSession,
    Resume,
    distributions,
    identity_of,
)
from ssl_dask.propagation.engine.seed_sources import NodeSources, SeedSources
from ssl_dask.propagation.engine.session import LastKept, Solved
from ssl_dask.propagation.methods.class_shares import ClassShares, expected_shares
from ssl_dask.propagation.methods.heat_flow import heat_flow
from ssl_dask.propagation.methods.poisson import (
    centred_sources,
    poisson_recurrence,
    signed_to_distributions,
)
from ssl_dask.propagation.methods.prior_projection import project_blocks, rows_at, sampled_nodes
from ssl_dask.propagation.methods.seeded_components import SeededComponents
from ssl_dask.spec_model import SpecModel

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


def poisson_mbo(
    graph: BlockGraph,
    labels: Labels,
    *,
    class_shares: Any = "none",
    n_rounds: int = 20,
    max_iter: int = 10_000,
    tol: float = 1e-3,
    sample_weight: npt.ArrayLike | None = None,
    hidden: Sequence[npt.NDArray[np.bool_]] = (),
    execution: Execution | None = None,
    on_round: OnRound | None = None,
    checkpoint: Checkpoint | None = None,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    resume: Resume | None = None,
) -> Propagated:
    """Decide by Poisson learning; then again and again: let the decision flow, decide anew.

    A round follows du/dt = -D^-1 (L u - b) for the time 10 from u = 1 at each row's class, b the
    sources of `poisson`, and decides with `class_shares`. With the solution u* of L u* = b it is
    u(t) = u* + exp(-t D^-1 L) (u(0) - u*), see `heat_flow`. The paper's steps are those of explicit
    Euler for du/dt = -(L u - b), 1 / max d long, which a single hub makes short; here each row
    flows at the pace of its own degree, which descends the same energy.

    Parameters
    ----------
    graph
        Graph of N rows.
    labels
        The seeds.
    class_shares
        "none"; "seeds"; or {class: share}: see `prior_projection`.
    n_rounds
        Rounds; 17 sweeps each.
    sample_weight
        (S,): weight > 0 of each seed, in row order; None: 1 each.
    hidden
        For each fold a bool array (S,): the seeds that it hides; see `Propagated.fold_F`.
    execution
        Where it runs; default: this process.
    max_iter, tol, on_round, checkpoint, checkpoint_seconds, resume
        Of the Poisson learning, see `engine.propagate`. Rounds are not checkpointed: when workers
        are lost in them, or the run is killed, they begin anew.

    Raises
    ------
    ValueError
        `class_shares` names other classes than the seeds have.

    References
    ----------
    J. Calder, B. Cook, M. Thorpe, D. Slepcev: Poisson Learning: Graph Based Semi-Supervised
    Learning at Very Low Label Rates, ICML 2020, algorithm 2.
    """
    if labels.n_rows != graph.n_rows:
        raise ValueError(f"labels of {labels.n_rows} rows, a graph of {graph.n_rows}")
    execution = execution or Execution()
    sources = SeedSources.from_folds(labels, hidden, sample_weight)
    shares = expected_shares(class_shares, labels, sources.hidden)
    at_nodes = sources.at_nodes(graph, execution)
    components = SeededComponents.find(graph, at_nodes, execution)
    centred = centred_sources(at_nodes, components)
    first = poisson_recurrence("poisson_mbo", tol)
    n_columns = sources.n_columns
    last = LastKept(checkpoint, resume)
    with PropagationSession(graph, execution, n_columns=n_columns, conjugate=True) as session:
        for attempt in range(MAX_ATTEMPTS + 1):
            try:
                solved = session.solve(
                    first,
                    sources=centred,
                    max_iter=max_iter,
                    tol=tol,
                    identity=identity_of(graph, sources, first),
                    on_round=on_round,
                    checkpoint=last.checkpoint,
                    checkpoint_seconds=checkpoint_seconds,
                    resume=last.resume,
                )
                rounds = _Rounds(session, at_nodes, components, solved, shares)
                scores = rounds.run(n_rounds)
                F = signed_to_distributions(at_nodes, scores, components, graph, execution)
                solved = replace(
                    solved,
                    blocks=F if shares is None else project_blocks(graph, F, shares, execution),
                    scale=1.0,
                    n_iter=solved.n_iter + n_rounds * SWEEPS_A_ROUND,
                )
                return distributions(graph, at_nodes, first, solved, execution)
            except WorkersChangedError:
                if attempt == MAX_ATTEMPTS:
                    raise
    raise AssertionError("unreachable")


class _Rounds:
    """Flow and decision in turn; scores are in nats, `ABSENT` where a class cannot be."""

    def __init__(
        self,
        session: PropagationSession,
        at_nodes: NodeSources,
        components: SeededComponents,
        solved: Solved,
        shares: npt.NDArray[np.float64] | None,
    ) -> None:
        self.session, self.shares = session, shares
        self.graph, self.execution = session.graph, session.execution
        self.present = components.sums(at_nodes.values) > 0.0
        self.places = self.execution.persist(components.of_strips(self.graph), WHAT)
        self.resting, self.scale = solved.blocks, solved.scale
        self.recurrence, n_sweeps = heat_flow("poisson_mbo", FLOW_TIME)
        assert n_sweeps == SWEEPS_A_ROUND
        self.sample = None if shares is None else sampled_nodes(self.graph, self.execution)
        self.offsets: list[npt.NDArray[np.float64] | None] = [None] * self.present.shape[1]

    def run(self, n_rounds: int) -> list[Delayed]:
        """Return the scores after some rounds, float64 (m_i, G * C)."""
        begin, end = delayed(_begin_flow, pure=False), delayed(_end_flow, pure=False)
        # The first decision is that of Poisson learning, whatever the shares.
        scores = [
            end(None, rest, self.scale, place, self.present)
            for rest, place in zip(self.resting, self.places, strict=True)
        ]
        for number in range(n_rounds):
            addends = self._addends(scores) if number else np.zeros(self.present.shape[1:])
            starts = [
                begin(block, rest, self.scale, addends)
                for block, rest in zip(scores, self.resting, strict=True)
            ]
            flowed = self.session.solve(
                self.recurrence,
                dense=starts,
                n_classes=self.present.shape[2],
                n_groups=self.present.shape[1],
                max_iter=SWEEPS_A_ROUND,
                tol=None,
                scale=1.0,
            )
            scores = self.execution.persist(
                [
                    end(block, rest, self.scale, place, self.present)
                    for block, rest, place in zip(
                        flowed.blocks, self.resting, self.places, strict=True
                    )
                ],
                WHAT,
            )
        return scores

    def _addends(self, scores: list[Delayed]) -> npt.NDArray[np.float64]:
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


def _begin_flow(
    scores: Scores, resting: Scores, scale: float, addends: npt.NDArray[np.float64]
) -> Scores:
    """Return 1 at the most likely class of each group, the first of equals, less u*, float32."""
    groups = scores.reshape(len(scores), *addends.shape)
    one_hot = np.eye(addends.shape[1])[(groups + addends).argmax(axis=2)]
    one_hot[groups.max(axis=2) <= ABSENT] = 0.0
    return (one_hot.reshape(scores.shape) - resting / scale).astype(np.float32)


def _end_flow(
    flowed: Scores | None,
    resting: Scores,
    scale: float,
    place: npt.NDArray[np.int64],
    present: npt.NDArray[np.bool_],
) -> Scores:
    """Return u = u* + what has flown, in nats, `ABSENT` at classes without a seed, float64."""
    u = resting / scale if flowed is None else flowed + resting / scale
    there = present[place] & (place >= 0)[:, None, None]
    return np.where(there.reshape(u.shape), NATS * u, ABSENT)
