"""Self-training: a classifier labels the rows that it is sure of, and learns from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import AfterValidator, Field, model_validator

from ssl_dask.array_types import Bool, Float32, Float64, Int32, Int64
from ssl_dask.kernels.arithmetic.radix_selection import BINS
from ssl_dask.kernels.distributions.label_distributions import tempered
from ssl_dask.labels import UNLABELLED, Labels
from ssl_dask.method import MethodInputs
from ssl_dask.run_control import RunControl
from ssl_dask.self_labeled.learners.learner import LEARNER_TYPES, Learner
from ssl_dask.self_labeled.learners.learner_spec import LearnerSpec, learner_of
from ssl_dask.self_labeled.loop.round_answer import SelfLabeled
from ssl_dask.self_labeled.loop.round_cost import RoundsMethod
from ssl_dask.self_labeled.loop.round_method import Query, RoundMethod, Selection, TrackState
from ssl_dask.self_labeled.loop.round_spec import RoundSpec
from ssl_dask.self_labeled.loop.rounds import RoundLimits, run_rounds
from ssl_dask.self_labeled.rows.block_rows import Assignment, BlockRows, RoundCounts
from ssl_dask.self_labeled.selection.best_rows import (
    BestQuery,
    BestRows,
    BestSelection,
    BestSurvey,
    taken,
)
from ssl_dask.spec_model import checked_shares, given_shares

UNITS = 2**30
"""Probabilities are summed as integers of this unit, whose sum has no order."""
MOMENTUM = 0.5
"""Of what was known of the confidences before, in adaptive thresholds."""
NOT_CALIBRATED = (
    "Confidences are not calibrated, because no seed could be hidden: label two rows or more of"
    " each class, or take calibrate: false."
)


class SelfTrainingSpec(RoundSpec):
    """Self-training (Yarowsky 1995): a classifier learns from what it is sure of."""

    fits_in_pieces = True

    name: Literal["self_training"] = "self_training"
    learner: LearnerSpec = LearnerSpec()
    """The classifier."""
    criterion: Literal["threshold", "adaptive", "k_best"] = "threshold"
    """threshold: rows above it are labelled; adaptive: above a threshold for each class that rises
    with what the model is sure of (FreeMatch); k_best: the most confident, so many more a round."""
    threshold: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.75
    """Confidence above which a row is labelled."""
    k_best: Annotated[int, Field(ge=1)] = 10
    """Rows that a round adds."""
    rescore: bool = True
    """Whether labels are given anew in every round, and may be taken back; false: once given, they
    stay, as in scikit-learn."""
    weight: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    """Most that a pseudo-label weighs beside a seed's 1."""
    mass: Annotated[float, Field(gt=0.0)] | None = 4.0
    """Most that all pseudo-labels weigh together, in multiples of the seeds: they are many, and
    would drown the seeds; null: no limit."""
    class_shares: Annotated[
        Literal["none", "baseline", "seeds"] | dict[bool | int | str, float],
        AfterValidator(checked_shares),
    ] = "baseline"
    """How the mass is shared out, and how many rows a class may have at most: as the model of the
    seeds alone sees the classes, as the seeds, as given (a number for each class, 1 in
    all), or none: as they come. With k_best rows come as they come."""
    calibrate: bool = False
    """Whether confidences are made as sure as they are right, on hidden seeds; told where there are
    none."""
    max_iter: Annotated[int, Field(ge=0)] | None = 10
    """Most rounds; 0: the seeds alone are learned from; null: no limit."""
    patience: Annotated[int, Field(ge=1)] | None = 3
    """Rounds without a lower loss on hidden seeds after which the rounds end, and the answer is
    that of the best, or of the seeds alone; null: the last round answers."""
    random_state: Annotated[int, Field(ge=0)] = 0
    """Of learners that are random, and of the rows that a fit takes where they are too many."""

    @model_validator(mode="after")
    def _keys_of_the_criterion(self) -> SelfTrainingSpec:
        """Refuse a number that the criterion does not look at: nothing is ignored."""
        default = type(self).model_fields
        for key in ("threshold", "k_best"):
            if self.criterion != key and getattr(self, key) != default[key].default:
                raise ValueError(
                    f"{key} is for criterion: {key}, and criterion is {self.criterion}: leave {key}"
                    " out, or change criterion"
                )
        if self.criterion == "k_best" and self.class_shares not in ("none", "baseline"):
            raise ValueError(
                "class_shares: k_best takes the surest rows of any class; take criterion threshold"
                " or adaptive for shares, or leave class_shares out"
            )
        return self


@dataclass(frozen=True)
class SelfScores:
    """Predictions of the model for a block."""

    tags: Int64
    """int64 (n,): those of the rows."""
    codes: Int32
    """int32 (n,): the most likely class, the first of equals."""
    confidence: Float64
    """float64 (n,): its probability."""
    units: Int64
    """int64 (C + 1,): sums over the rows that are no seeds of the probabilities of each class and
    of the confidence, in units of 2**-30; zeros unless thresholds adapt."""


@dataclass(frozen=True)
class SelfSelection(BestSelection):
    """Rows above the thresholds `above` of their classes, float64 (C,), or before the cuts.

    `weights` are those of the labels, float32 (C,).
    """

    above: tuple[float, ...] = ()
    weights: tuple[float, ...] = ()


@dataclass(frozen=True)
class SelfTraining(RoundMethod):
    """The rounds of self-training."""

    learner: Learner
    """Makes the classifier."""
    n_classes: int
    """C."""
    shares: tuple[float, ...] | str
    """float64 (C,) of the classes, or "none" or "baseline"."""
    criterion: str = "threshold"
    threshold: float = 0.75
    k_best: int = 10
    rescores: bool = True
    weight: float = 1.0
    mass: float | None = None
    calibrate: bool = False
    """Keys of the method, by the same names."""
    temperature: float = 1.0
    """Of the confidences in this round."""

    @property
    def by_class(self) -> bool:
        """Whether rows compete within their class, or all with each other."""
        return self.criterion != "k_best"

    def made_by(self, learner: int) -> Learner:
        """Return what makes the models."""
        return self.learner

    def fit_key(self, learner: int, key: tuple[int, ...]) -> tuple[int, ...]:
        """Return a key with the round: what is random differs from round to round."""
        return key

    def prepared(self, state: TrackState) -> RoundMethod:
        """Return the same with the temperature of the round, if confidences are calibrated."""
        return replace(self, temperature=state.temperature) if self.calibrate else self

    def score(self, models: Sequence[Any], block: BlockRows, assignment: Assignment) -> SelfScores:
        """Return the most likely class of each row, and how likely it is."""
        p = models[0].probabilities(block.only, block.place)
        if self.temperature != 1.0:
            p = tempered(p, self.temperature)
        codes = p.argmax(axis=1)
        confidence = np.minimum(p[np.arange(len(codes)), codes].astype(np.float64), 1.0)
        units = np.zeros(self.n_classes + 1, dtype=np.int64)
        if self.criterion == "adaptive":
            free = ~assignment.is_seed
            units[:-1] = np.rint(p[free] * UNITS).astype(np.int64).sum(axis=0)
            units[-1] = np.rint(confidence[free] * UNITS).astype(np.int64).sum()
        return SelfScores(block.tags, codes.astype(np.int32), confidence, units)

    def _free(self, assignment: Assignment) -> Bool:
        """Return which rows get a label in this round or none, bool (n,); others keep theirs."""
        if self.rescores:
            return ~assignment.is_seed
        return assignment.codes[:, 0] == UNLABELLED

    def _group(self, scores: SelfScores, assignment: Assignment, *, by_class: bool = True) -> Int32:
        """Return the class (or 0) of rows that may be labelled in this round, -1 of others."""
        free = self._free(assignment)
        if self.criterion == "threshold":
            free = free & (scores.confidence > self.threshold)
        group = scores.codes if by_class else np.zeros_like(scores.codes)
        return np.where(free, group, np.int32(-1)).astype(np.int32)

    def survey(self, scores: SelfScores, assignment: Assignment, query: Query | None) -> BestSurvey:
        """Return the histogram of confidences of the rows that may be labelled.

        Totals: by class the rows that may be labelled, whatever their confidence; and `units`.
        """
        group = self._group(scores, assignment, by_class=query is None or self.by_class)
        free = scores.codes[self._free(assignment)]
        totals = np.concatenate([np.bincount(free, minlength=self.n_classes), scores.units])
        rows = (scores.confidence, scores.tags, group)
        return BestSurvey.of_block(query, rows, self.n_classes, totals)

    def select(self, survey: BestSurvey, state: TrackState) -> Query | Selection:
        """Return by what rows are chosen: thresholds, or cuts after the best."""
        if survey.query is not None:
            return self._cut(survey.query.best.refined(survey.counts, state.n_tags), state)
        if state.round == 1:
            # The model of the seeds alone; one more of each, so that none is missing.
            state.memory["baseline"] = (survey.totals[: self.n_classes] + 1).tolist()
        shares, given = self._shares(state), self._given(state)
        if not self.by_class:
            k = max(round(self.k_best * state.share), 1)
            wanted = min(k * state.round if self.rescores else k, int(survey.counts.sum()))
            total = int(given.sum()) + wanted
            state.memory["taken"] = [total, *[0] * (self.n_classes - 1)]
            whole = survey.counts.sum(axis=0, keepdims=True)
            return self._cut(BestRows.begin(whole, [wanted]), state)
        above, over = self._thresholds(survey, state)
        most = over
        if shares is not None:
            allowed = np.ceil(shares * state.n_unlabelled).astype(np.int64)
            most = np.maximum(allowed - given, 0)
        taken_rows = np.minimum(over, most)
        state.memory["taken"] = (given + taken_rows).tolist()
        if (over > most).any():
            return self._cut(BestRows.begin(survey.counts, taken_rows.tolist()), state)
        thresholds = tuple(above.tolist())
        weights = self._weights(state)
        return SelfSelection(state.round, thresholds, above=thresholds, weights=weights)

    def _given(self, state: TrackState) -> Int64:
        """Return the pseudo-labels of each class that stay whatever this round does, int64 (C,)."""
        if self.rescores:
            return np.zeros(self.n_classes, dtype=np.int64)
        assert state.counts is not None
        return state.counts.total[0] - state.class_seeds

    def _cut(self, best: BestRows, state: TrackState) -> Query | Selection:
        if not best.found:
            return BestQuery(best)
        floor = self.threshold if self.criterion == "threshold" else 0.0
        found = [cut.confidence for cut in best.cuts]
        least = [None if one is None else max(one, floor) for one in found]
        thresholds = tuple(least if self.by_class else least * self.n_classes)
        weights = self._weights(state)
        return SelfSelection(state.round, thresholds, cuts=best.cuts, weights=weights)

    def _thresholds(self, survey: BestSurvey, state: TrackState) -> tuple[Float64, Int64]:
        """Return the confidence of each class above which rows are labelled, and how many are."""
        if self.criterion == "threshold":
            return np.full(self.n_classes, self.threshold), survey.counts.sum(axis=1)
        means = survey.totals[self.n_classes :] / (UNITS * max(state.n_unlabelled, 1))
        before = state.memory.get("means")
        if before is not None:
            means = MOMENTUM * np.array(before) + (1.0 - MOMENTUM) * means
        state.memory["means"] = means.tolist()
        p, confidence = means[:-1], means[-1]
        # Down to the edge of a bin, so that the histogram gives the exact number of rows above.
        bins = np.minimum((confidence * p / p.max() * BINS).astype(np.int64), BINS - 1)
        over = [row[first:].sum() for row, first in zip(survey.counts, bins, strict=True)]
        return np.nextafter(bins / BINS, -1.0), np.array(over)

    def _shares(self, state: TrackState) -> Float64 | None:
        if self.shares == "none":
            return None
        shares = state.memory["baseline"] if self.shares == "baseline" else self.shares
        found = np.array(shares, dtype=np.float64)
        return found / found.sum()

    def _weights(self, state: TrackState) -> tuple[float, ...]:
        """Return the weight of a label of each class, by how many there are."""
        if self.mass is None:
            return (self.weight,) * self.n_classes
        taken_rows = np.array(state.memory["taken"], dtype=np.float64)
        total = self.mass * float(state.class_seeds.sum())
        shares = self._shares(state)
        if not self.by_class or shares is None:
            rows = max(float(taken_rows.sum()), 1.0)
            return (min(self.weight, total / rows),) * self.n_classes
        shares = np.where(taken_rows > 0, shares, 0.0)
        shares = shares / (shares.sum() or 1.0)
        heavy = total * shares / np.maximum(taken_rows, 1.0)
        return tuple(np.minimum(heavy, self.weight).tolist())

    def assign(
        self, scores: SelfScores, assignment: Assignment, selection: Selection
    ) -> tuple[Assignment, RoundCounts]:
        """Return the labels after the round."""
        assert isinstance(selection, SelfSelection)
        group = self._group(scores, assignment, by_class=self.by_class)
        if not selection.cuts:
            above = np.array(selection.above)[scores.codes]
            chosen = (group >= 0) & (scores.confidence > above)
        else:
            chosen = taken(selection.cuts, scores.confidence, scores.tags, group)
        # Rows that stand outside this round keep what they have; the others lose it unless chosen.
        keep = np.where(self._free(assignment), UNLABELLED, assignment.codes[:, 0])
        codes = np.where(chosen, scores.codes, keep)
        # Earlier labels too: all together weigh no more than the mass.
        weights = np.array(selection.weights, dtype=np.float32)[codes]
        return assignment.relabelled(
            codes[:, None], weights[:, None], selection.round, self.n_classes
        )

    def distributions(self, models: Sequence[Any], block: BlockRows) -> Float32:
        """Return the classifier's probabilities, float32 (n, C)."""
        return models[0].probabilities(block.only, block.place).astype(np.float32)


def self_training(inputs: MethodInputs, spec: SelfTrainingSpec, control: RunControl) -> SelfLabeled:
    """Run self-training over the rows of a single view.

    Raises
    ------
    ValueError
        `class_shares` names other classes than the seeds'.
    QualityError
        The learner cannot be fitted on the labels there are.

    Notes
    -----
    With rescore false, mass None, class_shares "none" and patience None it labels the same rows in
    the same rounds as scikit-learn's SelfTrainingClassifier.

    References
    ----------
    D. Yarowsky: Unsupervised word sense disambiguation rivaling supervised methods, ACL 1995.
    Y. Wang et al.: FreeMatch: Self-adaptive Thresholding for Semi-supervised Learning, ICLR 2023,
    eq. 5 to 8 (adaptive). C. Wei et al.: CReST: A Class-Rebalancing Self-Training Framework for
    Imbalanced Semi-Supervised Learning, CVPR 2021 (shares of the classes).
    """
    method = SelfTraining(
        learner_of(spec.learner, inputs.trusted, in_pieces=True),
        inputs.labels.n_classes,
        _given_shares(spec.class_shares, inputs.labels),
        criterion=spec.criterion,
        threshold=spec.threshold,
        k_best=spec.k_best,
        rescores=spec.rescore,
        weight=spec.weight,
        mass=spec.mass,
        calibrate=spec.calibrate,
    )
    found = run_rounds(method, inputs, RoundLimits.of(spec), control)
    if not spec.calibrate or len(inputs.hidden):
        return found
    warning = (NOT_CALIBRATED,)
    return replace(found, findings=warning, warnings=(*warning, *found.warnings))


def _given_shares(
    class_shares: str | Mapping[Any, float], labels: Labels
) -> tuple[float, ...] | str:
    if class_shares in ("none", "baseline"):
        return str(class_shares)
    if class_shares == "seeds":
        return tuple(labels.class_counts().astype(np.float64).tolist())
    assert not isinstance(class_shares, str)
    return tuple(labels.in_order(class_shares).tolist())


METHOD = RoundsMethod(
    spec=SelfTrainingSpec,
    run=self_training,
    rounds=SelfTraining,
    class_shares=lambda spec: given_shares(spec.class_shares),
    n_histograms=lambda spec, n_classes: n_classes,
    model_types=(SelfTraining, *LEARNER_TYPES),
)
