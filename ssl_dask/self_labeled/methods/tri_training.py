"""Tri-training: three learners, of which two that agree label for the third."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ssl_dask.array_types import Bool, Float32, Int32, Int64
from ssl_dask.kernels.arithmetic.field_sums import FieldSums
from ssl_dask.kernels.arithmetic.radix_selection import KEY_BITS, Cut, all_keys
from ssl_dask.kernels.arithmetic.row_keys import Purpose
from ssl_dask.kernels.learners.row_samples import stratified_bootstrap
from ssl_dask.method import MethodInputs
from ssl_dask.run_control import RunControl
from ssl_dask.self_labeled.learners.fitted_learner import FittedLearner
from ssl_dask.self_labeled.learners.learner import LEARNER_TYPES, Learner
from ssl_dask.self_labeled.learners.learner_spec import LearnerSpec, learner_of
from ssl_dask.self_labeled.loop.learner_votes import joint_distributions, votes_of
from ssl_dask.self_labeled.loop.round_answer import SelfLabeled
from ssl_dask.self_labeled.loop.round_cost import RoundsMethod
from ssl_dask.self_labeled.loop.round_method import Query, Selection, TrackState
from ssl_dask.self_labeled.loop.round_spec import CommitteeSpec
from ssl_dask.self_labeled.loop.rounds import RoundLimits, run_rounds
from ssl_dask.self_labeled.rows.block_rows import Assignment, BlockRows, Piece, joined_pieces
from ssl_dask.self_labeled.selection.sampled_committee import (
    SampledCommittee,
    SampleHistograms,
    SampleQuery,
    SampleSelection,
)

N_LEARNERS = 3
OTHERS = ((1, 2), (0, 2), (0, 1))
"""The two learners that label for each of the three."""
FIRST_ERROR = 0.5
"""Error before the first round: that of a learner that guesses one of two classes."""


class TriTrainingSpec(CommitteeSpec):
    """Tri-training (Zhou & Li 2005): two learners that agree on a row label it for the third."""

    name: Literal["tri_training"] = "tri_training"
    learner: LearnerSpec = LearnerSpec()
    """The classifier of which three are fitted, first on three bootstrap samples of the labels."""
    voting: Literal["soft", "hard"] = "soft"
    """How the three answer together: mean of their probabilities, or votes as in the paper."""


@dataclass(frozen=True)
class PairErrors(FieldSums):
    """How often the two others of each learner agree, and err together; those of blocks add up."""

    seeds_agreed: Int64
    seeds_wrong: Int64
    """int64 (3,): seeds on which the pair agrees, and those of them that it names wrongly."""
    rows_agreed: Int64
    """int64 (3,): other rows on which the pair agrees."""

    def error(self, learner: int) -> float:
        """Return the share of seeds that the pair names wrongly where it agrees; 1 if nowhere."""
        agreed = int(self.seeds_agreed[learner])
        return int(self.seeds_wrong[learner]) / agreed if agreed else 1.0


def rows_to_learn(error: float, agreed: int, last_error: float, last_size: int) -> int:
    """Return how many of the rows that a pair agrees on its third learner may learn from; 0: none.

    Parameters
    ----------
    error
        Share of errors of the pair where it agrees, e.
    agreed
        Rows without a seed on which it agrees, |L|.
    last_error, last_size
        e' and |L'| of the last round in which the learner was fitted anew; before that 0.5 and
        `first_size`.

    References
    ----------
    Z.-H. Zhou, M. Li: Tri-Training: Exploiting Unlabeled Data Using Three Classifiers, TKDE 2005,
    eq. 9 to 11 and table 1: noise must fall, e |L| < e' |L'|, and |L| must grow.
    """
    if error >= last_error:
        return 0
    if last_size >= agreed:
        return 0
    if error * agreed < last_error * last_size:
        return agreed
    if last_size > error / (last_error - error):
        return math.ceil(last_error * last_size / error - 1.0)
    return 0


def first_size(error: float, last_error: float) -> int:
    """Return |L'| before a learner is fitted anew: the least that a sample could be drawn for."""
    return math.floor(error / (last_error - error) + 1.0)


@dataclass(frozen=True)
class TriScores:
    """Votes of the three for a block: tags of rows int64 (n,) and votes int32 (n, 3)."""

    tags: Int64
    votes: Int32

    def agreed(self, learner: int) -> Bool:
        """Return where the two others agree, bool (n,)."""
        j, k = OTHERS[learner]
        return self.votes[:, j] == self.votes[:, k]


@dataclass(frozen=True)
class TriTraining(SampledCommittee):
    """The rounds of tri-training."""

    learner: Learner
    """Makes the three models."""
    n_classes: int
    """C."""
    voting: str
    """"soft": the mean of the probabilities answers; "hard": the votes."""
    random_state: int
    """Of the samples that learners get when all rows would be too many."""

    n_learners = N_LEARNERS
    purpose = Purpose.TRI_SAMPLE

    def made_by(self, learner: int) -> Learner:
        """Return what makes the models."""
        return self.learner

    def fit(self, learner: int, pieces: Sequence[Piece], key: tuple[int, ...]) -> FittedLearner:
        """Fit on a bootstrap sample of the seeds, or on all seeds and the rows of the others."""
        random_state, track = key[:2]
        piece = joined_pieces(pieces)
        if piece.given.all():
            # Not fitted anew yet: the same sample, and the same model, in every round.
            sample = stratified_bootstrap(
                piece.tags, piece.codes, random_state, track, Purpose.TRI_BOOTSTRAP, learner
            )
            piece = piece.at(sample)
        return self.learner.fit([piece], self.n_classes, (random_state, track, learner))

    def score(
        self, models: Sequence[FittedLearner], block: BlockRows, assignment: Assignment
    ) -> TriScores:
        """Return the votes."""
        return TriScores(block.tags, votes_of(models, block))

    def errors(self, scores: TriScores, assignment: Assignment) -> PairErrors:
        """Count where pairs agree and err."""
        seeds = assignment.is_seed
        counts = np.zeros((3, N_LEARNERS), dtype=np.int64)
        for learner in range(N_LEARNERS):
            agreed = scores.agreed(learner)
            wrong = scores.votes[:, OTHERS[learner][0]] != assignment.codes[:, learner]
            counts[0, learner] = (agreed & seeds).sum()
            counts[1, learner] = (agreed & seeds & wrong).sum()
            counts[2, learner] = (agreed & ~seeds).sum()
        return PairErrors(*counts)

    def counted(self, scores: TriScores, learner: int) -> tuple[Bool, Int64]:
        """Return the rows on which the two others agree, each counted once."""
        return scores.agreed(learner), np.ones((len(scores.tags), 1), dtype=np.int64)

    def taught(self, scores: TriScores, learner: int) -> tuple[Bool, Int32, Float32]:
        """Return the rows on which the two others agree, and the class that they name."""
        named = scores.votes[:, OTHERS[learner][0]]
        return scores.agreed(learner), named, np.ones(len(named), dtype=np.float32)

    def select(self, survey: PairErrors | SampleHistograms, state: TrackState) -> Query | Selection:
        """Decide which learners are fitted anew; the rows of a sample may need more surveys."""
        memory = state.memory
        if not memory:
            memory.update(errors=[FIRST_ERROR] * N_LEARNERS, sizes=[0] * N_LEARNERS)
        if isinstance(survey, PairErrors):
            query = _first_query(survey, state)
        else:
            query = survey.query.narrowed(survey.histograms)
        cuts = query.found
        if cuts is None:
            return query
        for learner, size in enumerate(query.most):
            if size > 0:
                memory["errors"][learner] = query.errors[learner]
                memory["sizes"][learner] = size
        limits = tuple(
            cut.limit if size > 0 else None for cut, size in zip(cuts, query.most, strict=True)
        )
        notes = {"pair_errors": list(query.errors), "rows_learned": list(query.most)}
        return SampleSelection(state.round, notes=notes, track=state.track, limits=limits)

    def distributions(self, models: Sequence[FittedLearner], block: BlockRows) -> Float32:
        """Return what the three say together."""
        return joint_distributions(models, block, self.voting)


def _first_query(found: PairErrors, state: TrackState) -> SampleQuery:
    errors = tuple(found.error(learner) for learner in range(N_LEARNERS))
    last_errors, last_sizes = state.memory["errors"], state.memory["sizes"]
    sizes, cuts = [], []
    for learner, error in enumerate(errors):
        agreed = int(found.rows_agreed[learner])
        if last_sizes[learner] == 0 and error < last_errors[learner]:
            last_sizes[learner] = first_size(error, last_errors[learner])
        size = rows_to_learn(error, agreed, last_errors[learner], last_sizes[learner])
        sizes.append(size)
        whole = size in (0, agreed)
        cuts.append(Cut(2**KEY_BITS if size else 0, (size,)) if whole else all_keys())
    return SampleQuery(state.track, state.round, errors, tuple(sizes), tuple(cuts))


def tri_training(inputs: MethodInputs, spec: TriTrainingSpec, control: RunControl) -> SelfLabeled:
    """Run tri-training over the rows of a single view; errors of pairs are counted without weights.

    References
    ----------
    Z.-H. Zhou, M. Li: Tri-Training: Exploiting Unlabeled Data Using Three Classifiers, TKDE 2005,
    table 1.
    """
    learner = learner_of(spec.learner, inputs.trusted)
    method = TriTraining(learner, inputs.labels.n_classes, spec.voting, spec.random_state)
    return run_rounds(method, inputs, RoundLimits.of(spec), control)


METHOD = RoundsMethod(
    spec=TriTrainingSpec,
    run=tri_training,
    rounds=TriTraining,
    n_learners=lambda spec, n_groups: N_LEARNERS,
    n_histograms=lambda spec, n_classes: N_LEARNERS,
    model_types=(TriTraining, *LEARNER_TYPES),
)
