"""The steps of the graph ensemble: members, their mixture, the second pass, the answer."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, Protocol

import dask.array as da
import numpy as np
import numpy.typing as npt

from ssl_dask.array_types import Bool, Float32, Float64
from ssl_dask.graph.block.block_graph import BlockGraph
from ssl_dask.kernels.distributions import class_evidence as ce
from ssl_dask.kernels.distributions.label_distributions import row_mass
from ssl_dask.kernels.propagation.sweep import Scores
from ssl_dask.labels import Labels
from ssl_dask.propagation.engine.node_vectors import NodeVectors
from ssl_dask.propagation.engine.partitions import Vector
from ssl_dask.propagation.engine.propagated import Solved
from ssl_dask.propagation.engine.recurrence import unit_source_kernel
from ssl_dask.propagation.engine.seed_sources import SeedSources
from ssl_dask.propagation.engine.session import DenseSources, PropagationSession
from ssl_dask.propagation.ensemble.ensemble_state import EnsembleState
from ssl_dask.propagation.ensemble.mixing_weights import weights_by_group
from ssl_dask.propagation.ensemble.pseudo_label_pass import SHARPNESS, Pass, SecondPass
from ssl_dask.round_record import RoundRecord
from ssl_dask.run_control import RunControl

FAR, NEAR = 0.99, 0.9
MEMBER_TOL = 1e-2
"""Relative error of the members' scores; labels hardly change below it."""
MAX_SWEEPS = 1000
MEMBER_STRENGTH, PASS_STRENGTH = 0.3, 1.0
UNFITTED_POWER = 0.5
"""Without fitted weights, the mass of a class is the root of its number of seeds."""
PASS_WEIGHT = 8.0
"""Weight of the second pass for one seed a class; with more, less in proportion."""
ROUNDS_UNFITTED, ROUNDS_FITTED = 6, 3

Step = Callable[[EnsembleState], None]


class SeedClassifier(Protocol):
    """A classifier of rows, trained on some of the seeds."""

    def __call__(self, seen: Bool) -> da.Array:
        """Return class probabilities float32 (N, C) of all rows by the seeds `seen`, bool (S,)."""


@dataclass(frozen=True)
class Member:
    """One of the methods that are mixed."""

    name: str
    source: Literal["seeds", "smoothed", "classifier"]
    """seeds: balanced spreading. smoothed: the classifier's probabilities, spread."""
    alpha: float
    """Share that comes from the neighbours."""
    steep: bool
    """Whether it goes over the steeper weights of the graph."""
    start: float
    """Weight without evidence."""


MEMBERS = (
    Member("far", "seeds", FAR, False, 1.0),
    Member("near", "seeds", NEAR, False, 0.0),
    Member("classifier", "classifier", 0.0, False, 0.0),
    Member("smoothed_classifier", "smoothed", NEAR, False, 0.3),
    Member("far_steep", "seeds", FAR, True, 1.0),
)


class EnsembleRun:
    """The steps, and what they share; `records` has all counted sweeps and rounds.

    Parameters
    ----------
    graph, steep
        The graph, and the same edges with weights that favour the nearest more; None: there is one
        weighting.
    labels, sample_weight
        The seeds, and their weights (S,), or None.
    folds
        Bool (S,) each: seeds hidden together.
    fitted
        Weights are fitted on the hidden seeds.
    classifier
        None: no such members.
    control
        Where it runs, its listener and its losses.
    """

    def __init__(
        self,
        graph: BlockGraph,
        steep: BlockGraph | None,
        labels: Labels,
        folds: Sequence[Bool],
        *,
        fitted: bool,
        classifier: SeedClassifier | None,
        sample_weight: npt.ArrayLike | None,
        control: RunControl,
    ) -> None:
        self.graph, self.steep, self.labels, self.folds = graph, steep, labels, list(folds)
        self.fitted, self.classifier, self.control = fitted, classifier, control
        execution = control.execution
        self.members = [
            member
            for member in MEMBERS
            if (steep is not None or not member.steep)
            and (member.source == "seeds" or (classifier is not None and fitted))
            and (fitted or member.start == 1.0)
        ]
        power = 0.0 if fitted else UNFITTED_POWER
        self.sources = SeedSources.from_folds(labels, folds, sample_weight).balanced(power)
        self.at_nodes = self.sources.at_nodes(graph, execution)
        self.vectors = NodeVectors(graph, labels.n_classes, execution)
        self.seeds_a_class = labels.n_seeds / np.count_nonzero(labels.class_counts())
        self._session: tuple[bool, PropagationSession] | None = None
        push = max(1.0, PASS_WEIGHT / 2 / self.seeds_a_class)
        self.second = SecondPass(self.vectors, self.at_nodes, push, self._placed, self._tell)

    def steps(self) -> list[Step]:
        """Return all steps in order."""
        steps: list[Step] = [partial(self._add_member, member) for member in self.members]
        steps.append(self._mix)
        n_groups = self.sources.n_groups
        if self.fitted:
            whole = tuple(range(n_groups))

            def over_all(state: EnsembleState) -> Pass:
                return Pass(whole, (False,) * n_groups, state.numbers["steep"])

            return [*steps, *self._rounds(over_all, ROUNDS_FITTED), self._weigh_pass]
        ways = [False] if self.steep is None else [False, True]
        for steep in ways:
            both = Pass((0, 0), (False, True), steep)
            steps += self._rounds(partial(_always, both), ROUNDS_UNFITTED)
            steps.append(partial(self._keep, steep))
        steps.append(partial(self._choose, ways))
        if self.folds:
            for steep in ways:
                steps += self._rounds(partial(self._pass_of_folds, steep), ROUNDS_UNFITTED)
                steps.append(partial(self._keep, steep))
            steps.append(partial(self._join_folds, ways))
        return steps

    def close(self) -> None:
        """Free the memory of the parts."""
        if self._session is not None:
            self._session[1].parts.close()
            self._session = None

    def answer(self, state: EnsembleState) -> tuple[Vector, Float32]:
        """Return distributions (m_i, C) of the nodes, and of each seed while it was hidden."""
        weights = np.array(state.numbers["second_pass"])
        vectors = [state.vectors[name] for name in ("mixture", "second", "reached")]
        final = self.vectors.mapped(_distributions, vectors, weights, self.labels.n_classes)
        hidden = self.vectors.hidden_rows(final, self.at_nodes).astype(np.float32)
        return self.vectors.picked(final, [0]), hidden

    # Members and their mixture

    def _add_member(self, member: Member, state: EnsembleState) -> None:
        width, vectors = self.sources.n_columns, self.vectors
        if member.source == "classifier":
            self._classify(state)
            scores = state.vectors["probabilities"]
        else:
            solved = self._solve_member(member, state)
            scores = solved.blocks
        shares = vectors.mapped(ce.log_shares, [scores], vectors.n_classes)
        if member.name == "far":
            reached = vectors.mapped(_reached, [scores], vectors.n_classes)
            state.put("reached", reached, self.sources.n_groups)
            mass = vectors.mapped(_first_mass, [scores], vectors.n_classes, solved.scale)
            state.put("mass", mass, 0)
        state.put(member.name, shares, width)

    def _solve_member(self, member: Member, state: EnsembleState) -> Solved:
        session = self._placed(member.steep)
        kernel = unit_source_kernel("graph_ensemble", member.alpha, MEMBER_TOL)
        n_sweeps = sweeps_for(member.alpha, MEMBER_TOL)
        if member.name == "far":
            # The stop rule goes on until all rows are reached that a path leads to.
            solved = session.solve(
                kernel,
                sources=self.at_nodes,
                max_iter=MAX_SWEEPS,
                tol=MEMBER_TOL,
                control=RunControl(self.control.execution, on_round=partial(self._tell, state)),
            )
            state.numbers["converged"] = solved.converged
        elif member.source == "seeds":
            solved = session.solve(kernel, sources=self.at_nodes, max_iter=n_sweeps, tol=None)
        else:
            solved = session.solve(
                replace(kernel, powers=(0.0, 0.0)),
                dense=DenseSources(
                    state.vectors["probabilities"], self.labels.n_classes, self.sources.n_groups
                ),
                max_iter=n_sweeps,
                tol=None,
            )
        state.n_iter += solved.n_iter
        return solved

    def _classify(self, state: EnsembleState) -> None:
        assert self.classifier is not None
        groups = [self.vectors.of_rows(self.classifier(~mask)) for mask in self.sources.hidden]
        state.put("probabilities", self.vectors.side_by_side(groups), self.sources.n_columns)

    def _mix(self, state: EnsembleState) -> None:
        names = [member.name for member in self.members]
        members = [state.vectors[name] for name in names]
        spreads = np.array([self.vectors.spreads(vector)[0] for vector in members])
        start = np.array([member.start for member in self.members])
        weights = np.tile(start, (self.sources.n_groups, 1))
        if self.fitted:
            hidden = [self.vectors.hidden_rows(vector, self.at_nodes) for vector in members]
            evidence = np.stack(hidden) / spreads[:, None, None]
            weights = weights_by_group(
                evidence, self.labels.codes, self.folds, start, MEMBER_STRENGTH
            )
        found = dict(zip(names, weights[0].tolist(), strict=True))
        state.numbers["weights"] = found
        # The second pass goes over the weights that the hidden seeds prefer.
        state.numbers["steep"] = found.get("far_steep", -1.0) >= found["far"]
        weights = weights / spreads
        mixed = self._weighted(members, weights)
        mixed = self._weighted(members, weights / self.vectors.spreads(mixed)[0])
        state.put("mixture", mixed, self.sources.n_columns)
        state.drop(*names, "probabilities")

    def _weighted(self, vectors: list[Vector], weights: Float64) -> Vector:
        return self.vectors.mapped(_weighted, vectors, weights, self.labels.n_classes)

    # The second pass

    def _rounds(self, chosen: Callable[[EnsembleState], Pass], n_rounds: int) -> list[Step]:
        def one(number: int, state: EnsembleState) -> None:
            last = number + 1 == n_rounds
            self.second.round(number, chosen(state), state, last=last)

        return [partial(one, number) for number in range(n_rounds)]

    def _weigh_pass(self, state: EnsembleState) -> None:
        """Weigh mixture and second pass by the hidden seeds."""
        pair = [state.vectors["mixture"], state.vectors["round"]]
        evidence = np.stack([self.vectors.hidden_rows(vector, self.at_nodes) for vector in pair])
        start = SHARPNESS * np.array([1.0, PASS_WEIGHT / self.seeds_a_class])
        weights = weights_by_group(evidence, self.labels.codes, self.folds, start, PASS_STRENGTH)
        state.numbers["second_pass"] = weights.tolist()
        state.put("second", state.vectors["round"], self.sources.n_columns)
        state.drop("round", "solution")

    def _keep(self, steep: bool, state: EnsembleState) -> None:
        state.put(f"pass{int(steep)}", state.vectors["round"], state.widths["round"])
        state.drop("round", "solution")

    def _mean_pass(self, ways: list[bool], state: EnsembleState) -> Vector:
        names = [f"pass{int(steep)}" for steep in ways]
        found = [state.vectors[name] for name in names]
        state.drop(*names)
        return found[0] if len(found) == 1 else self.vectors.mapped(_mean, found)

    def _choose(self, ways: list[bool], state: EnsembleState) -> None:
        """Take the candidate whose labels cut less of the graph.

        Where classes are unequal, making them equal cuts through dense regions, and costs a half
        more; where they are equal it cuts less, or as much.
        """
        weight = PASS_WEIGHT / self.seeds_a_class
        found = self._mean_pass(ways, state)
        mixtures = self.vectors.picked(state.vectors["mixture"], [0, 0])
        labels = self.vectors.mapped(_labels, [mixtures, found], weight, self.labels.n_classes)
        seeded = self.at_nodes.values[:, 0].sum(axis=0) > 0.0
        cuts = self.second.cuts(labels, 2, seeded)
        balanced = bool(cuts[1] < cuts[0])
        # Both together are as sharp as the mixture alone.
        weights = SHARPNESS / math.hypot(1.0, weight) * np.array([1.0, weight])
        state.numbers["cuts"], state.numbers["balanced"] = cuts.tolist(), balanced
        state.numbers["second_pass"] = [weights.tolist()] * self.sources.n_groups
        state.put("second", self.vectors.picked(found, [int(balanced)]), self.labels.n_classes)

    def _pass_of_folds(self, steep: bool, state: EnsembleState) -> Pass:
        groups = tuple(range(1, self.sources.n_groups))
        return Pass(groups, (state.numbers["balanced"],) * len(groups), steep)

    def _join_folds(self, ways: list[bool], state: EnsembleState) -> None:
        both = [state.vectors["second"], self._mean_pass(ways, state)]
        state.put("second", self.vectors.side_by_side(both), self.sources.n_columns)

    # Where it runs, and its listener

    def _placed(self, steep: bool) -> PropagationSession:
        steep = steep and self.steep is not None
        if self._session is None or self._session[0] != steep:
            self.close()
            graph = self.steep if steep and self.steep is not None else self.graph
            n_columns = max(self.sources.n_columns, 2 * self.labels.n_classes)
            session = PropagationSession(
                graph, self.control.execution, n_columns=n_columns, losses=self.control.losses
            )
            self._session = (steep, session)
        return self._session[1]

    def _tell(self, state: EnsembleState, record: RoundRecord) -> None:
        state.records.append(record)
        if self.control.on_round is not None:
            self.control.on_round(record)


def _always(chosen: Pass, _: EnsembleState) -> Pass:
    return chosen


def sweeps_for(alpha: float, tol: float) -> int:
    """Return the sweeps after which Chebyshev's error bound 2 q^m is at most `tol`."""
    root = math.sqrt((1.0 + alpha) / (1.0 - alpha))
    return math.ceil(math.log(tol / 2.0) / math.log((root - 1.0) / (root + 1.0)))


def _reached(scores: Scores, n_classes: int) -> Float32:
    groups = scores.reshape(len(scores), -1, n_classes)
    return np.asarray((groups > 0).any(axis=2), dtype=np.float32)


def _first_mass(scores: Scores, n_classes: int, scale: float) -> Float64:
    return row_mass(scores[:, :n_classes]) / scale


def _weighted(*arguments: Any) -> ce.Evidence:
    *members, weights, n_classes = arguments
    return ce.weighted_sum(members, weights, n_classes)


def _mean(first: ce.Evidence, second: ce.Evidence) -> ce.Evidence:
    return (first + second) * np.float32(0.5)


def _labels(
    mixture: ce.Evidence, second: ce.Evidence, weight: float, n_classes: int
) -> ce.Evidence:
    return ce.one_hot(mixture + np.float32(weight) * second, n_classes)


def _distributions(
    mixture: ce.Evidence, second: ce.Evidence, reached: Float32, weights: Float64, n_classes: int
) -> ce.Evidence:
    evidence = ce.weighted_sum([mixture, second], weights, n_classes)
    shares = ce.class_probabilities(evidence, np.zeros(evidence.shape[1]), n_classes, 1.0)
    return shares * np.repeat(reached, n_classes, axis=1)
