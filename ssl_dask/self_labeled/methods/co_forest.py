"""Co-forest: each tree learns from the rows that all the other trees are sure of."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from ssl_dask.array_types import Bool, Float32, Int32, Int64
from ssl_dask.kernels.arithmetic.field_sums import FieldSums
from ssl_dask.kernels.arithmetic.radix_selection import Cut, all_keys
from ssl_dask.kernels.arithmetic.row_keys import Purpose
from ssl_dask.kernels.distributions.class_votes import others_plurality
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

FIRST_ERROR = 0.5
FIRST_SHARE, FIRST_MOST = 10, 100
"""Weight of the labels before the first round: a tenth of the rows without one, 100 at most."""

RANDOM_TREE = LearnerSpec(name="decision_tree", parameters={"max_features": "sqrt"})


class CoForestSpec(CommitteeSpec):
    """Co-forest (Li & Zhou 2007): a random forest in which each tree learns from the others."""

    name: Literal["co_forest"] = "co_forest"
    n_estimators: Annotated[int, Field(ge=3, le=200)] = 30
    """Trees. Each row takes 12 bytes a tree on the workers."""
    tree: LearnerSpec = RANDOM_TREE
    """What is fitted as a tree; trees differ by their samples and by what is random in them."""
    threshold: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.75
    """Share of the other trees that must agree on a row for a tree to learn from it."""


@dataclass(frozen=True)
class Tree:
    """A fitted tree, and the seeds of its first sample."""

    model: FittedLearner
    """The tree."""
    bag: Int64
    """int64, ascending: row numbers of the seeds in its bootstrap sample. It does not judge the
    others on these."""


@dataclass(frozen=True)
class OutOfBagErrors(FieldSums):
    """Errors of the other trees on seeds out of their bags; those of blocks add up."""

    judged: Int64
    wrong: Int64
    """int64 (L,): for each tree, seeds of which some other tree may judge, and those of them that
    most of these trees name wrongly."""

    def error(self, tree: int) -> float:
        """Return the share of errors of the others of a tree; 1 if nothing can be judged."""
        judged = int(self.judged[tree])
        return int(self.wrong[tree]) / judged if judged else 1.0


@dataclass(frozen=True)
class ForestScores:
    """Votes of the other trees of each tree for a block."""

    tags: Int64
    """int64 (n,): those of the rows."""
    codes: Int32
    votes: Int32
    """int32 (n, L): the class that most others name, and how many do."""
    errors: OutOfBagErrors
    """Of the seeds in the block."""


@dataclass(frozen=True)
class CoForest(SampledCommittee):
    """The rounds of co-forest."""

    tree: Learner
    """Makes the trees."""
    n_classes: int
    """C."""
    n_estimators: int
    threshold: float
    """Keys of the method, by the same names."""
    random_state: int
    """Of the samples of the rows."""

    purpose = Purpose.FOREST_SAMPLE

    @property
    def n_learners(self) -> int:  # type: ignore[override]
        """Each tree is a learner."""
        return self.n_estimators

    def made_by(self, learner: int) -> Learner:
        """Return what makes the models."""
        return self.tree

    def fit(self, learner: int, pieces: Sequence[Piece], key: tuple[int, ...]) -> Tree:
        """Fit a tree on a bootstrap sample of the seeds, or on all seeds and the sure rows."""
        random_state, track = key[:2]
        piece = joined_pieces(pieces)
        given = piece.take(piece.given)
        sample = stratified_bootstrap(
            given.tags, given.codes, random_state, track, Purpose.FOREST_BAG, learner
        )
        if piece.given.all():
            piece = given.at(sample)
        model = self.tree.fit([piece], self.n_classes, (random_state, track, learner))
        return Tree(model, np.unique(given.tags[sample]))

    def score(
        self, models: Sequence[Tree], block: BlockRows, assignment: Assignment
    ) -> ForestScores:
        """Return what the others say of each row, and how they err on the seeds."""
        votes = votes_of([tree.model for tree in models], block)
        codes, counts, _ = others_plurality(votes, self.n_classes)
        at = np.flatnonzero(assignment.is_seed)
        out = np.stack([~np.isin(block.tags[at], tree.bag) for tree in models], axis=1)
        said, _, voters = others_plurality(votes[at], self.n_classes, out)
        judged = voters > 0
        wrong = judged & (said != assignment.codes[at])
        errors = OutOfBagErrors(
            judged.sum(axis=0).astype(np.int64), wrong.sum(axis=0).astype(np.int64)
        )
        return ForestScores(block.tags, codes, counts, errors)

    def errors(self, scores: ForestScores, assignment: Assignment) -> OutOfBagErrors:
        """Return the errors on the seeds, which `score` has counted."""
        return scores.errors

    def counted(self, scores: ForestScores, tree: int) -> tuple[Bool, Int64]:
        """Return all rows, and for each 1, its votes, and its votes if the others are sure."""
        votes = scores.votes[:, tree].astype(np.int64)
        sure = np.where(self._sure(scores, tree), votes, 0)
        counts = np.stack([np.ones_like(votes), votes, sure], axis=1)
        return np.ones(len(votes), dtype=np.bool_), counts

    def taught(self, scores: ForestScores, tree: int) -> tuple[Bool, Int32, Float32]:
        """Return the rows that the others are sure of, their class, and the share of votes."""
        weights = scores.votes[:, tree] / (self.n_learners - 1)
        return self._sure(scores, tree), scores.codes[:, tree], weights.astype(np.float32)

    def select(
        self, survey: OutOfBagErrors | SampleHistograms, state: TrackState
    ) -> Query | Selection:
        """Decide which trees are fitted anew; the search for their rows takes more surveys."""
        memory, n_trees = state.memory, self.n_learners
        if not memory:
            weight = min(state.n_unlabelled / FIRST_SHARE, FIRST_MOST)
            memory.update(errors=[FIRST_ERROR] * n_trees, weights=[float(weight)] * n_trees)
        if isinstance(survey, OutOfBagErrors):
            query = self._first_query(survey, state)
        else:
            query = survey.query.narrowed(survey.histograms)
        cuts = query.found
        if cuts is None:
            return query
        limits: list[int | None] = []
        for tree, cut in enumerate(cuts):
            weight = cut.totals[2] / (n_trees - 1)
            error, last = query.errors[tree], memory["errors"][tree] * memory["weights"][tree]
            limits.append(None)
            if weight > 0.0 and error * weight < last:
                limits[tree] = cut.limit
                memory["errors"][tree], memory["weights"][tree] = error, weight
        notes = {
            "errors_of_others": list(query.errors),
            "trees_fitted_anew": sum(limit is not None for limit in limits),
        }
        return SampleSelection(state.round, notes=notes, track=state.track, limits=tuple(limits))

    def distributions(self, models: Sequence[Tree], block: BlockRows) -> Float32:
        """Return the mean of what the leaves of the trees say, as random forests do."""
        return joint_distributions([tree.model for tree in models], block, "soft")

    def _sure(self, scores: ForestScores, tree: int) -> Bool:
        return scores.votes[:, tree] > self.threshold * (self.n_learners - 1)

    def _first_query(self, found: OutOfBagErrors, state: TrackState) -> SampleQuery:
        errors = tuple(found.error(tree) for tree in range(self.n_learners))
        most, cuts = [], []
        for tree, error in enumerate(errors):
            last_error, last_weight = (state.memory[name][tree] for name in ("errors", "weights"))
            learns = error < last_error
            weight = last_error * last_weight / error if error > 0.0 else math.inf
            most.append(weight * (self.n_learners - 1) if learns else 0.0)
            cuts.append(all_keys(3) if learns else Cut(0, (0, 0, 0)))
        return SampleQuery(state.track, state.round, errors, tuple(most), tuple(cuts), channel=1)


def co_forest(inputs: MethodInputs, spec: CoForestSpec, control: RunControl) -> SelfLabeled:
    """Run co-forest over the rows of a single view.

    Notes
    -----
    Errors are judged by trees whose first sample missed the seed, and are counted without weights;
    the first weight of the pseudo-labels is a tenth of the rows, 100 at most, as in the program of
    the authors.

    References
    ----------
    M. Li, Z.-H. Zhou: Improve Computer-Aided Diagnosis With Machine Learning Techniques Using
    Undiagnosed Samples, IEEE Transactions on Systems, Man, and Cybernetics A, 2007, table 1.
    """
    method = CoForest(
        learner_of(spec.tree, inputs.trusted),
        inputs.labels.n_classes,
        spec.n_estimators,
        spec.threshold,
        spec.random_state,
    )
    return run_rounds(method, inputs, RoundLimits.of(spec), control)


METHOD = RoundsMethod(
    spec=CoForestSpec,
    run=co_forest,
    rounds=CoForest,
    n_learners=lambda spec, n_groups: spec.n_estimators,
    # Rows, votes, and votes of the rows that are sure, for each tree.
    n_histograms=lambda spec, n_classes: 3 * spec.n_estimators,
    model_types=(CoForest, Tree, *LEARNER_TYPES),
)
