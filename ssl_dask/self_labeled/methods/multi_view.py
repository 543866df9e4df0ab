"""Multi-view training: a classifier for each group of features, and rows that lack some of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from ssl_dask.array_types import Bool, Float32, Float64, Int32, Int64
from ssl_dask.kernels.distributions.class_evidence import (
    class_probabilities,
    log_shares,
    weighted_sum,
)
from ssl_dask.labels import UNLABELLED
from ssl_dask.method import MethodInputs
from ssl_dask.run_control import RunControl
from ssl_dask.self_labeled.learners.learner import LEARNER_TYPES, Learner
from ssl_dask.self_labeled.learners.learner_spec import LearnerSpec, learner_of
from ssl_dask.self_labeled.learners.view_models import START, ViewFit, ViewModel, weights_by_seeds
from ssl_dask.self_labeled.loop.round_answer import SelfLabeled
from ssl_dask.self_labeled.loop.round_cost import RoundsMethod
from ssl_dask.self_labeled.loop.round_method import Query, RoundMethod, Selection, TrackState
from ssl_dask.self_labeled.loop.round_spec import RoundSpec
from ssl_dask.self_labeled.loop.rounds import RoundLimits, run_rounds
from ssl_dask.self_labeled.rows.block_rows import Assignment, BlockRows, RoundCounts
from ssl_dask.self_labeled.selection.best_rows import BestQuery, BestSelection, BestSurvey, taken


class MultiViewSpec(RoundSpec):
    """Each group of features has a classifier of its own; together they label rows in rounds.

    Rows that lack an `optional` group are learned from, and labelled, by the groups that they have.
    """

    name: Literal["multi_view"] = "multi_view"
    learner: LearnerSpec = LearnerSpec()
    """The classifier of every view that `learners` does not name."""
    learners: dict[str, LearnerSpec] = Field(default_factory=dict)
    """Classifiers of some views, by the name of their group of features."""
    fusion: Literal["learned", "equal"] = "learned"
    """How views are weighed where they are joined: by what they say of seeds that they have not
    seen, or all alike."""
    share: Annotated[float, Field(gt=0.0, le=1.0)] = 0.9
    """Share of the unlabelled rows, the most certain ones of each class, that the last round
    labels; every round labels as many more. Of each class there are at most so many as its share
    of the seeds says."""
    mass: Annotated[float, Field(gt=0.0, allow_inf_nan=False)] = 4.0
    """Most that all pseudo-labels of a class weigh together, in multiples of its seeds: they are
    many, and would drown the seeds."""
    max_iter: Annotated[int, Field(ge=1)] = 5
    """Rounds."""
    patience: Annotated[int, Field(ge=1)] | None = 3
    """Rounds without a lower loss on hidden seeds after which the rounds end, and the answer is
    that of the best; null: the last round answers."""
    random_state: Annotated[int, Field(ge=0)] = 0
    """Of learners that are random."""

    def learners_of_group(self, group: str, groups: Sequence[str]) -> list[LearnerSpec]:
        """Return the learner of a view."""
        return [self.learners.get(group, self.learner)]


@dataclass(frozen=True)
class ViewScores:
    """Predictions of all views together for a block."""

    tags: Int64
    """int64 (n,): those of the rows."""
    codes: Int32
    """int32 (n,): the most likely class, -1 for rows without a view that was fitted."""
    confidence: Float64
    """float64 (n,): its probability."""
    agree: Bool
    """bool (n,): whether all views that the row has name that class."""
    weights: tuple[float, ...]
    """float64 (V,): of the views."""


class MultiView(RoundMethod):
    """The rounds of multi-view training; learner v is that of the v-th view."""

    rescores = True
    weighs_anew = True

    def __init__(
        self,
        learners: Mapping[str, Learner],
        n_classes: int,
        *,
        shares: Float64,
        learned_fusion: bool = True,
        share: float = 0.9,
        mass: float = 4.0,
        n_rounds: int = 5,
    ) -> None:
        self.names = tuple(learners)
        self.learners = tuple(learners.values())
        self.n_learners = len(self.names)
        self.n_classes = n_classes
        self.learned_fusion = learned_fusion
        self.shares = shares
        self.share, self.mass, self.n_rounds = share, mass, n_rounds

    def labelled_at(self, learner: int, block: BlockRows, assignment: Assignment) -> Int64:
        """Return where the labelled rows of a block stand that have the view."""
        at = super().labelled_at(learner, block, assignment)
        return at[self._has(learner, block)[at]]

    def features(self, learner: int, block: BlockRows, at: Int64) -> Any:
        """Return the features of the view."""
        return block.views[self.names[learner]][at]

    def made_by(self, learner: int) -> Learner:
        """Return what makes the models of a view."""
        return self.learners[learner]

    def fit(self, learner: int, pieces: Sequence[Any], key: tuple[int, ...]) -> ViewModel:
        """Return the classifier of a view, and what it says of seeds that are hidden in turn."""
        by_shares = ViewFit(self.names[learner], self.learners[learner], self.shares, self.mass)
        return by_shares.model(pieces, key)

    def view_weights(self, models: Sequence[ViewModel]) -> Float64:
        """Return the weight of each view, float64 (V,), by what it says of hidden seeds."""
        if not self.learned_fusion:
            return np.full(len(models), START)
        return weights_by_seeds(models, self.n_classes)

    def score(
        self, models: Sequence[ViewModel], block: BlockRows, assignment: Assignment
    ) -> ViewScores:
        """Return the class of each row by all its views, and how likely it is."""
        weights = self.view_weights(models)
        members = self._evidence(models, block)
        p = self._fused(members, weights)
        codes = p.argmax(axis=1).astype(np.int32)
        agree = np.ones(len(codes), dtype=np.bool_)
        for member in members:
            agree &= ~member.any(axis=1) | (member.argmax(axis=1) == codes)
        confidence = p[np.arange(len(codes)), codes].astype(np.float64)
        codes[~self._known(models, block)] = UNLABELLED
        return ViewScores(block.tags, codes, confidence, agree, tuple(weights.tolist()))

    def survey(self, scores: ViewScores, assignment: Assignment, query: Query | None) -> BestSurvey:
        """Return the histograms of confidences of the rows that are no seeds, by class."""
        group = _groups(scores, assignment)
        agreeing = np.array([(scores.agree & (group >= 0)).sum()])
        rows = (scores.confidence, scores.tags, group)
        return BestSurvey.of_block(query, rows, self.n_classes, agreeing, scores.weights)

    def select(self, survey: BestSurvey, state: TrackState) -> Query | Selection:
        """Return the cuts after the best rows of each class; every round takes more."""
        wanted: list[int] = []
        if survey.query is None:
            part = self.share * min(state.round / self.n_rounds, 1.0)
            found = survey.counts.sum(axis=1)
            most = np.ceil(part * self.shares * state.n_unlabelled).astype(np.int64)
            wanted = np.minimum(found, most).tolist()
            n_free = int(found.sum())
            state.memory["notes"] = {
                "agreement": int(survey.totals[0]) / n_free if n_free else 1.0,
                "view_weights": dict(zip(self.names, survey.alike, strict=True)),
            }
        best = survey.best(wanted, state.n_tags)
        if not best.found:
            return BestQuery(best)
        thresholds = tuple(cut.confidence for cut in best.cuts)
        return BestSelection(state.round, thresholds, state.memory["notes"], best.cuts)

    def assign(
        self, scores: ViewScores, assignment: Assignment, selection: Selection
    ) -> tuple[Assignment, RoundCounts]:
        """Return the labels after the round: all are given anew."""
        assert isinstance(selection, BestSelection)
        group = _groups(scores, assignment)
        chosen = taken(selection.cuts, scores.confidence, scores.tags, group)
        codes = np.where(chosen, scores.codes, UNLABELLED)[:, None]
        weights = np.ones(codes.shape, dtype=np.float32)
        return assignment.relabelled(codes, weights, selection.round, self.n_classes)

    def distributions(self, models: Sequence[ViewModel], block: BlockRows) -> Float32:
        """Return what all views of a row say together, float32 (n, C); zeros where it has none."""
        members = self._evidence(models, block)
        p = self._fused(members, self.view_weights(models))
        p[~self._known(models, block)] = 0.0
        return p

    def _known(self, models: Sequence[ViewModel], block: BlockRows) -> Bool:
        """Return which rows have a view that some labelled row has, bool (n,)."""
        known = np.zeros(block.n_rows, dtype=np.bool_)
        for number, model in enumerate(models):
            if model.fitted is not None:
                known |= self._has(number, block)
        return known

    def _has(self, learner: int, block: BlockRows) -> Bool:
        everywhere = np.ones(block.n_rows, dtype=np.bool_)
        return block.present.get(self.names[learner], everywhere)

    def _evidence(self, models: Sequence[ViewModel], block: BlockRows) -> list[Float32]:
        """Return the evidence of each view for each row, float32 (n, C): 0 where a row lacks it."""
        found = []
        for number, model in enumerate(models):
            evidence = np.zeros((block.n_rows, self.n_classes), dtype=np.float32)
            if model.fitted is not None:
                X = block.views[self.names[number]]
                p = model.fitted.probabilities(X, block.place)
                evidence = log_shares(p, self.n_classes)
                evidence[~self._has(number, block)] = 0.0
            found.append(evidence)
        return found

    def _fused(self, members: list[Float32], weights: Float64) -> Float32:
        mixed = weighted_sum(members, weights[None], self.n_classes)
        return class_probabilities(mixed, np.zeros(self.n_classes), self.n_classes, 1.0)


def _groups(scores: ViewScores, assignment: Assignment) -> Int32:
    """Return the class of each row that may be labelled, else -1."""
    return np.where(assignment.is_seed, np.int32(UNLABELLED), scores.codes).astype(np.int32)


def multi_view(inputs: MethodInputs, spec: MultiViewSpec, control: RunControl) -> SelfLabeled:
    """Fit a classifier to each view, join what they say, and label the rows in rounds.

    1. Each view's classifier is fitted on the labelled rows that have it.
    2. P(c | row) is proportional to prod_v p_v(c | row)^w_v over the views that the row has: a
       logarithmic opinion pool. Float32 w_v are fitted on seeds that the classifiers have not seen.
    3. The most certain rows of each class get pseudo-labels, in every round anew and more of them,
       in the classes' shares of the seeds.

    Raises
    ------
    ValueError
        `spec.learners` or `inputs.present` name no view.

    References
    ----------
    T. Heskes: Selecting weighting factors in logarithmic opinion pools, NIPS 1997, eq. 1. K. Nigam,
    R. Ghani: Analyzing the effectiveness and applicability of co-training, CIKM 2000.
    """
    views, labels = inputs.views, inputs.labels
    unknown = sorted({*spec.learners, *inputs.present} - set(views))
    if unknown:
        raise ValueError(f"{unknown} are no views; there are {', '.join(views)}")
    mass_of_classes = np.bincount(labels.codes, inputs.sample_weight, minlength=labels.n_classes)
    each = {
        name: learner_of(spec.learners.get(name, spec.learner), inputs.trusted) for name in views
    }
    method = MultiView(
        each,
        labels.n_classes,
        learned_fusion=spec.fusion == "learned",
        shares=mass_of_classes / mass_of_classes.sum(),
        share=spec.share,
        mass=spec.mass,
        n_rounds=spec.max_iter,
    )
    return run_rounds(method, inputs, RoundLimits.of(spec), control)


def _check_groups(spec: MultiViewSpec, groups: Sequence[str]) -> None:
    if unknown := sorted(set(spec.learners) - set(groups)):
        raise ValueError(
            f"learners names {unknown}, which are none of the groups under features:"
            f" {', '.join(groups)}"
        )


METHOD = RoundsMethod(
    spec=MultiViewSpec,
    run=multi_view,
    rounds=MultiView,
    named_views=True,
    knows_present=True,
    check_groups=_check_groups,
    n_learners=lambda spec, n_groups: n_groups,
    n_histograms=lambda spec, n_classes: n_classes,
    model_types=(MultiView, ViewModel, *LEARNER_TYPES),
)
