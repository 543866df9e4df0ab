"""Co-training: two views of the same rows, each with a learner that labels rows for the other."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from ssl_dask.array_types import Float32, Float64, Floating, Int32, Int64
from ssl_dask.kernels.arithmetic.row_keys import Purpose, row_keys
from ssl_dask.kernels.learners.co_training import error_dependence, joined_views, split_columns
from ssl_dask.labels import UNLABELLED
from ssl_dask.method import MethodInputs
from ssl_dask.run_control import RunControl
from ssl_dask.self_labeled.learners.fitted_learner import FittedLearner
from ssl_dask.self_labeled.learners.learner import LEARNER_TYPES, Learner
from ssl_dask.self_labeled.learners.learner_spec import LearnerSpec, learner_of
from ssl_dask.self_labeled.loop.round_answer import SelfLabeled
from ssl_dask.self_labeled.loop.round_cost import RoundsMethod
from ssl_dask.self_labeled.loop.round_method import Query, RoundMethod, Selection, TrackState
from ssl_dask.self_labeled.loop.round_spec import CommitteeSpec
from ssl_dask.self_labeled.loop.rounds import RoundLimits, run_rounds
from ssl_dask.self_labeled.rows.block_rows import Assignment, BlockRows, RoundCounts
from ssl_dask.self_labeled.rows.view_pair import N_VIEWS, check_views_vary, chosen_views
from ssl_dask.self_labeled.selection.best_rows import BestQuery, BestSelection, BestSurvey, taken

ORDER_BITS = 62
STRONG_DEPENDENCE, CHANCE = 0.3, 0.01
"""Least correlation of the views' errors within classes that is reported, and largest p-value."""


class CoTrainingSpec(CommitteeSpec):
    """Co-training (Blum & Mitchell 1998): the learner of each view labels rows for the other's."""

    fits_in_pieces = True

    name: Literal["co_training"] = "co_training"
    view_names: Annotated[tuple[str, ...], Field(min_length=2, max_length=2)] | None = None
    """Two groups of features, each enough to tell the classes; null: the two groups that the job
    has, or halves of the features of one group, split at random."""
    learner: LearnerSpec = LearnerSpec()
    """The classifier of the first view."""
    second_learner: LearnerSpec | None = None
    """That of the second view; null: the same kind."""
    k_best: Annotated[int, Field(ge=1)] | None = None
    """Rows that a learner labels in a round, shared out to the classes as the labels are; null: so
    many that `max_iter` rounds reach all rows."""
    threshold: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.5
    """Rows below this confidence are not labelled."""
    rescore: bool = True
    """Whether labels are given anew in every round, and may be taken back; false: once given, they
    stay, as in the paper."""
    max_iter: Annotated[int, Field(ge=1)] = 10
    """Most rounds."""

    def learners_of_group(self, group: str, groups: Sequence[str]) -> list[LearnerSpec]:
        """Return the learner of a view, or both where the group is split."""
        names = chosen_views(groups, self.view_names)
        both = [self.learner, self.second_learner or self.learner]
        if len(names) == 1:
            return both
        return [one for name, one in zip(names, both, strict=True) if name == group]


@dataclass(frozen=True)
class CoScores:
    """Predictions of the learner of each view for a block."""

    order: Int64
    """int64 (n,), below 2**62: of rows that are equally sure, those with small ones are taken."""
    codes: Int32
    """int32 (n, 2): the most likely class, the first of equals."""
    confidence: Float64
    """float64 (n, 2): its probability."""


@dataclass(frozen=True)
class CoTraining(RoundMethod):
    """The rounds of co-training."""

    learners: tuple[Learner, Learner]
    """Of the two views."""
    n_classes: int
    """C."""
    views: tuple[str, ...]
    """Names of the two views; one name: its features are split at random."""
    k_best: int | None
    threshold: float
    max_iter: int
    random_state: int
    rescores: bool
    """Keys of the method, by the same names."""

    n_learners = N_VIEWS
    own_labels = True
    compares_learners = True

    def features(self, learner: int, block: BlockRows, at: Int64 | None = None) -> Any:
        """Return a learner's features of the rows at these positions; None: of all."""
        if len(self.views) == N_VIEWS:
            X = block.views[self.views[learner]]
            return X if at is None else X[at]
        X = block.views[self.views[0]]
        X = X if at is None else X[at]
        return X[:, split_columns(X.shape[1], self.random_state)[learner]]

    def made_by(self, learner: int) -> Learner:
        """Return what makes the models."""
        return self.learners[learner]

    def score(
        self, models: Sequence[FittedLearner], block: BlockRows, assignment: Assignment
    ) -> CoScores:
        """Return the most likely class of each row by each view, and how likely it is."""
        codes = np.empty((block.n_rows, N_VIEWS), dtype=np.int32)
        confidence = np.empty((block.n_rows, N_VIEWS))
        for view, p in enumerate(self._said(models, block)):
            codes[:, view] = p.argmax(axis=1)
            confidence[:, view] = p[np.arange(len(p)), codes[:, view]]
        # Trees and neighbours are equally sure of many rows, and files are often sorted: the first
        # rows of a file would stand for all.
        order = row_keys(block.tags, self.random_state, Purpose.TIES) >> np.uint64(64 - ORDER_BITS)
        return CoScores(order.astype(np.int64), codes, confidence)

    def survey(self, scores: CoScores, assignment: Assignment, query: Query | None) -> BestSurvey:
        """Return histograms of the confidences of rows that a learner may label for the other.

        Groups are the classes of the first learner, then those of the second. Totals: rows without
        a seed that both learners name alike, and such rows in all.
        """
        groups = self._groups(scores, assignment)
        free = ~assignment.is_seed
        totals = np.array([(free & (scores.codes[:, 0] == scores.codes[:, 1])).sum(), free.sum()])
        rows = (scores.confidence.T.ravel(), np.tile(scores.order, N_VIEWS), groups.T.ravel())
        return BestSurvey.of_block(query, rows, N_VIEWS * self.n_classes, totals)

    def select(self, survey: BestSurvey, state: TrackState) -> Query | Selection:
        """Take the best rows of each learner and class, as many as the class has a share in."""
        best = survey.best(self._wanted(state) * N_VIEWS, 2**ORDER_BITS)
        if not best.found:
            return BestQuery(best)
        agreed, rows = survey.totals.tolist()
        share = agreed / max(rows, 1)
        notes = {"agreement": share, "disagreement": 1.0 - share}
        by_class = zip(best.cuts[: self.n_classes], best.cuts[self.n_classes :], strict=True)
        thresholds = tuple(self._least(a.confidence, b.confidence) for a, b in by_class)
        return BestSelection(state.round, thresholds, notes, best.cuts)

    def _least(self, *taken: float | None) -> float | None:
        """Return the least confidence with which one of the learners labels; None if none does."""
        found = [one for one in taken if one is not None]
        return max(min(found), self.threshold) if found else None

    def assign(
        self, scores: CoScores, assignment: Assignment, selection: Selection
    ) -> tuple[Assignment, RoundCounts]:
        """Give the rows that each learner has chosen to the other one."""
        assert isinstance(selection, BestSelection)
        groups = self._groups(scores, assignment)
        chosen = np.stack(
            [
                taken(selection.cuts, scores.confidence[:, view], scores.order, groups[:, view])
                for view in range(N_VIEWS)
            ],
            axis=1,
        )
        # Swap the two columns: rows chosen by view 0 become labels for view 1, and the reverse.
        given, codes = chosen[:, ::-1], scores.codes[:, ::-1]
        keep = np.where(self.rescores, UNLABELLED, assignment.codes)
        new = np.where(given, codes, keep)
        weights = np.ones_like(assignment.weights)
        return assignment.relabelled(new, weights, selection.round, self.n_classes)

    def distributions(self, models: Sequence[FittedLearner], block: BlockRows) -> Float32:
        """Return the geometric mean of the views' probabilities, scaled to sum to 1."""
        return joined_views(list(self._said(models, block)))

    def opinions(self, models: Sequence[FittedLearner], block: BlockRows) -> Int32:
        """Return the class that each view's learner names, int32 (n, 2)."""
        named = [p.argmax(axis=1) for p in self._said(models, block)]
        return np.stack(named, axis=1).astype(np.int32)

    def findings(self, opinions: Int32, truth: Int32) -> tuple[str, ...]:
        """Return a warning if the views err together more often than chance explains."""
        found = error_dependence(opinions != truth[:, None], truth)
        if found.correlation < STRONG_DEPENDENCE or found.p_value > CHANCE:
            return ()
        return (
            "The two views depend on each other given the class: on hidden seeds their errors have"
            f" a correlation of {found.correlation:.2f} within the classes ({found.n_rows} seeds,"
            f" chance {found.p_value:.1g}). Co-training needs views that err on other rows: take"
            " other columns, or self-training on all of them.",
        )

    def _said(self, models: Sequence[FittedLearner], block: BlockRows) -> Iterator[Floating]:
        """Yield the class probabilities of each view, (n, C)."""
        for view, model in enumerate(models):
            yield model.probabilities(self.features(view, block), block.place)

    def _groups(self, scores: CoScores, assignment: Assignment) -> Int32:
        """Return int32 (n, 2): learner and class of rows that a learner may label, else -1.

        Where the two name different classes, the surer one labels, and none if both are as sure.
        """
        free = ~assignment.is_seed[:, None]
        if not self.rescores:
            # Labels that a learner gives stand in the column of the other one.
            free = assignment.codes[:, ::-1] == UNLABELLED
        alike = scores.codes[:, :1] == scores.codes[:, 1:]
        surer = scores.confidence > scores.confidence[:, ::-1]
        free = free & (scores.confidence > self.threshold) & (alike | surer)
        first = np.array([0, self.n_classes], dtype=np.int32)
        return np.where(free, scores.codes + first, np.int32(-1)).astype(np.int32)

    def _wanted(self, state: TrackState) -> list[int]:
        """Return how many rows of each class a learner labels in this round."""
        k = math.ceil(state.n_unlabelled / self.max_iter)
        if self.k_best is not None:
            k = max(round(self.k_best * state.share), 1)
        if self.rescores:
            k *= state.round
        seeds = state.class_seeds
        shares = seeds / max(int(seeds.sum()), 1)
        return [max(round(k * share), 1) if share else 0 for share in shares.tolist()]


def co_training(inputs: MethodInputs, spec: CoTrainingSpec, control: RunControl) -> SelfLabeled:
    """Run co-training over rows with two views, or with one that is split.

    Raises
    ------
    ValueError
        A named view is not there, or there are more than two and none is named.
    ConstantViewError
        All rows are alike in a view.

    References
    ----------
    A. Blum, T. Mitchell: Combining Labeled and Unlabeled Data with Co-Training, COLT 1998, table 1.
    """
    names = chosen_views(tuple(inputs.views), spec.view_names)
    learners = (spec.learner, spec.second_learner or spec.learner)
    first, second = (learner_of(one, inputs.trusted, in_pieces=True) for one in learners)
    method = CoTraining(
        (first, second),
        inputs.labels.n_classes,
        names,
        spec.k_best,
        spec.threshold,
        spec.max_iter,
        spec.random_state,
        spec.rescore,
    )
    inputs = replace(inputs, views={name: inputs.views[name] for name in names})
    check_views_vary(inputs.views, spec.random_state, control.execution)
    return run_rounds(method, inputs, RoundLimits.of(spec), control)


METHOD = RoundsMethod(
    spec=CoTrainingSpec,
    run=co_training,
    rounds=CoTraining,
    named_views=True,
    check_groups=lambda spec, groups: chosen_views(groups, spec.view_names),
    n_learners=lambda spec, n_groups: N_VIEWS,
    n_histograms=lambda spec, n_classes: N_VIEWS * n_classes,
    model_types=(CoTraining, *LEARNER_TYPES),
)
