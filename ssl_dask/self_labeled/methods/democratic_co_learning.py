"""Democratic co-learning: different classifiers teach those that the majority outvotes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from ssl_dask.array_types import Bool, Float32, Int32, Int64
from ssl_dask.kernels.distributions.class_votes import (
    group_confidences,
    weighted_majority,
    wilson_interval,
)
from ssl_dask.labels import UNLABELLED
from ssl_dask.method import MethodInputs
from ssl_dask.run_control import RunControl
from ssl_dask.self_labeled.learners.fitted_learner import FittedLearner
from ssl_dask.self_labeled.learners.learner import LEARNER_TYPES, Learner
from ssl_dask.self_labeled.learners.learner_spec import LearnerSpec, learner_of
from ssl_dask.self_labeled.loop.learner_votes import joint_distributions, votes_of
from ssl_dask.self_labeled.loop.round_answer import SelfLabeled
from ssl_dask.self_labeled.loop.round_cost import RoundsMethod
from ssl_dask.self_labeled.loop.round_method import Query, RoundMethod, Selection, TrackState
from ssl_dask.self_labeled.loop.round_spec import CommitteeSpec
from ssl_dask.self_labeled.loop.rounds import RoundLimits, run_rounds
from ssl_dask.self_labeled.rows.block_rows import (
    Assignment,
    BlockRows,
    Piece,
    RoundCounts,
    joined_pieces,
)

LEAST_WEIGHT = 0.5
"""Learners that are not surely better than this do not answer, unless none is."""

FEWEST_LEARNERS, MOST_LEARNERS = 3, 20
DEFAULT_LEARNERS = (
    LearnerSpec(name="logistic_regression"),
    LearnerSpec(name="random_forest"),
    LearnerSpec(name="knn", parameters={"n_neighbors": 3}),
)


class DemocraticCoLearningSpec(CommitteeSpec):
    """Democratic co-learning (Zhou & Goldman 2004): the outvoted learn from the majority."""

    name: Literal["democratic_co_learning"] = "democratic_co_learning"
    learners: Annotated[
        tuple[LearnerSpec, ...], Field(min_length=FEWEST_LEARNERS, max_length=MOST_LEARNERS)
    ] = DEFAULT_LEARNERS
    """Three or more classifiers of different kinds: alike ones have nobody to learn from."""
    confidence: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.95
    """Of the intervals of the learners' accuracy."""
    voting: Literal["soft", "hard"] = "soft"
    """How the learners answer together: weighted mean of their probabilities, or the groups of the
    paper."""


@dataclass(frozen=True)
class Voter:
    """A fitted learner, and how sure one is of it."""

    model: FittedLearner
    """The learner."""
    weight: float
    """Middle of the interval of its accuracy on the seeds."""
    low: float
    """Lower end of the interval of its accuracy on all rows that it was fitted on."""


@dataclass(frozen=True)
class Proposals:
    """How many rows the majority would teach each learner; those of blocks add up."""

    sizes: Int64
    """int64 (L,): rows that each learner has learned from so far, |L_i|."""
    proposed: Int64
    """int64 (L,): rows that it would learn, |L_i'|."""
    lows: tuple[float, ...]
    """Lower ends of the accuracies of the voters."""

    def __add__(self, other: Proposals) -> Proposals:
        return Proposals(self.sizes + other.sizes, self.proposed + other.proposed, self.lows)


def expected_worth(size: float, wrong: float) -> float:
    """Return q = size (1 - 2 wrong / size)^2, what noisy labels are worth; 0 above half wrong.

    References
    ----------
    D. Angluin, P. Laird: Learning from Noisy Examples, Machine Learning 1988; as in Y. Zhou,
    S. Goldman: Democratic Co-Learning, ICTAI 2004.
    """
    share = 1.0 - 2.0 * wrong / size if size else 0.0
    return size * max(share, 0.0) ** 2


@dataclass(frozen=True)
class DemocraticSelection(Selection):
    """Which learners are taught: accepted, a bool each."""

    accepted: tuple[bool, ...] = ()


@dataclass(frozen=True)
class DemocraticScores:
    """Votes of the learners for a block."""

    majority: Int32
    """int32 (n,): class of the majority by heads and by weights; -1 where there is none."""
    proposed: Bool
    """bool (n, L): rows that the learner names otherwise and has not learned."""
    lows: tuple[float, ...]
    """Of the voters."""


@dataclass(frozen=True)
class DemocraticCoLearning(RoundMethod):
    """The rounds of democratic co-learning."""

    learners: tuple[Learner, ...]
    """L of them."""
    n_classes: int
    """C."""
    confidence: float
    voting: str
    """Keys of the method, by the same names."""

    # A row that all learners name alike is labelled for none of them: that all rows have a label
    # is not how the rounds end.
    rescores = True
    own_labels = True
    shares_rows = True

    @property
    def n_learners(self) -> int:  # type: ignore[override]
        """Number of learners L."""
        return len(self.learners)

    def made_by(self, learner: int) -> Learner:
        """Return what makes the models."""
        return self.learners[learner]

    def fit(self, learner: int, pieces: Sequence[Piece], key: tuple[int, ...]) -> Voter:
        """Fit a learner on its rows, and see how often it is right on them and on the seeds."""
        random_state, track = key[:2]
        piece = joined_pieces(pieces)
        model = self.learners[learner].fit([piece], self.n_classes, (random_state, track, learner))
        right = model.probabilities(piece.X).argmax(axis=1) == piece.codes
        seeds = right[piece.given]
        on_seeds = wilson_interval(int(seeds.sum()), len(seeds), self.confidence)
        on_all = wilson_interval(int(right.sum()), len(right), self.confidence)
        return Voter(model, sum(on_seeds) / 2.0, on_all[0])

    def score(
        self, models: Sequence[Voter], block: BlockRows, assignment: Assignment
    ) -> DemocraticScores:
        """Return the majority, and whom it would teach."""
        votes = votes_of([voter.model for voter in models], block)
        weights = [voter.weight for voter in models]
        majority = weighted_majority(votes, weights, self.n_classes)
        outvoted = (majority[:, None] != UNLABELLED) & (votes != majority[:, None])
        proposed = outvoted & (assignment.codes == UNLABELLED)
        return DemocraticScores(majority, proposed, tuple(voter.low for voter in models))

    def survey(
        self, scores: DemocraticScores, assignment: Assignment, query: Query | None
    ) -> Proposals:
        """Count the rows that each learner has, and would get."""
        sizes = (assignment.codes != UNLABELLED).sum(axis=0).astype(np.int64)
        return Proposals(sizes, scores.proposed.sum(axis=0).astype(np.int64), scores.lows)

    def select(self, survey: Proposals, state: TrackState) -> Selection:
        """Teach the learners for which more labels outweigh the wrong ones among them."""
        memory = state.memory
        if not memory:
            memory.update(wrong=[0.0] * self.n_learners)
        error = 1.0 - sum(survey.lows) / self.n_learners
        accepted = []
        for learner in range(self.n_learners):
            size, new = int(survey.sizes[learner]), int(survey.proposed[learner])
            wrong = memory["wrong"][learner]
            more = wrong + error * new
            better = expected_worth(size + new, more) > expected_worth(size, wrong)
            accepted.append(new > 0 and better)
            if accepted[-1]:
                memory["wrong"][learner] = more
        notes = {
            "rows_proposed": survey.proposed.tolist(),
            "accepted": accepted,
            "share_wrong": error,
        }
        return DemocraticSelection(state.round, notes=notes, accepted=tuple(accepted))

    def assign(
        self, scores: DemocraticScores, assignment: Assignment, selection: Selection
    ) -> tuple[Assignment, RoundCounts]:
        """Add the rows that the majority labels to those of the learners that are taught."""
        assert isinstance(selection, DemocraticSelection)
        taught = scores.proposed & np.array(selection.accepted)
        codes = np.where(taught, scores.majority[:, None], assignment.codes)
        weights = np.where(taught, np.float32(1.0), assignment.weights)
        return assignment.relabelled(codes, weights, selection.round, self.n_classes)

    def distributions(self, models: Sequence[Voter], block: BlockRows) -> Float32:
        """Return what the learners say together, those that are surely better than 0.5."""
        weights = [voter.weight if voter.weight > LEAST_WEIGHT else 0.0 for voter in models]
        if not any(weights):
            weights = [voter.weight for voter in models]
        fitted = [voter.model for voter in models]
        if self.voting == "soft":
            return joint_distributions(fitted, block, "soft", weights)
        groups = group_confidences(votes_of(fitted, block), weights, self.n_classes)
        total = np.zeros(len(groups))
        for column in groups.T:
            total += column
        return (groups / total[:, None]).astype(np.float32)


def democratic_co_learning(
    inputs: MethodInputs, spec: DemocraticCoLearningSpec, control: RunControl
) -> SelfLabeled:
    """Run democratic co-learning over the rows of a single view.

    Accuracies of the learners are counted without weights.

    References
    ----------
    Y. Zhou, S. Goldman: Democratic Co-Learning, ICTAI 2004, figures 1 and 2.
    """
    learners = tuple(learner_of(one, inputs.trusted) for one in spec.learners)
    method = DemocraticCoLearning(learners, inputs.labels.n_classes, spec.confidence, spec.voting)
    return run_rounds(method, inputs, RoundLimits.of(spec), control)


METHOD = RoundsMethod(
    spec=DemocraticCoLearningSpec,
    run=democratic_co_learning,
    rounds=DemocraticCoLearning,
    n_learners=lambda spec, n_groups: len(spec.learners),
    model_types=(DemocraticCoLearning, Voter, *LEARNER_TYPES),
)
