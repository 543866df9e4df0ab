"""The rounds of self-training: which rows are labelled, by how sure the model is of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ssl_dask.kernels.arithmetic.confidence_histogram import BINS, confidence_counts
from ssl_dask.kernels.distributions.label_distributions import tempered
from ssl_dask.labels import UNLABELLED
from ssl_dask.self_labeled.learners.fitted_learner import FittedLearner
from ssl_dask.self_labeled.learners.learners import Learner
from ssl_dask.self_labeled.loop.round_method import (
    Distributions,
    Query,
    RoundMethod,
    Selection,
    TrackState,
)
from ssl_dask.self_labeled.rows.block_rows import (
    Assignment,
    BlockRows,
    FitRows,
    Ints,
    Piece,
    RoundCounts,
)
from ssl_dask.self_labeled.selection.best_rows import BestRows, Cut, taken

UNITS = 2**30
"""Probabilities are summed as integers of this unit, whose sum has no order."""
MOMENTUM = 0.5
"""Of what was known of the confidences before, in adaptive thresholds."""


@dataclass(frozen=True)
class SelfScores:
    """What the model says of a block.

    Parameters
    ----------
    rows
        int64 (n,): their numbers.
    codes
        int32 (n,): the most likely class, the first of equals.
    confidence
        float64 (n,): its probability.
    units
        int64 (C + 1,): sums over the rows that are no seeds of the probabilities of each class and
        of the confidence, in units of 2**-30; zeros unless thresholds adapt.
    """

    rows: Ints
    codes: npt.NDArray[np.int32]
    confidence: npt.NDArray[np.float64]
    units: Ints


@dataclass(frozen=True)
class SelfQuery(Query):
    """Asks where exactly the best rows of each group end.

    Parameters
    ----------
    best
        The search.
    by_class
        Whether the groups are the classes, or one of all.
    """

    best: BestRows
    by_class: bool


@dataclass(frozen=True)
class SelfSelection(Selection):
    """Rows above the thresholds of their classes, or before the cuts.

    Parameters
    ----------
    above
        float64 (C,): rows of a class are taken above this confidence.
    cuts
        Instead, and for all: one for each class, or a single one.
    weights
        float32 (C,): of the labels.
    """

    above: tuple[float, ...] = ()
    cuts: tuple[Cut, ...] | None = None
    weights: tuple[float, ...] = ()


@dataclass(frozen=True)
class Survey:
    """Counts of rows by class and confidence, summed over blocks.

    Parameters
    ----------
    counts
        int64 (G, 4096): rows that may be labelled; those above the threshold, if it is fixed.
    rows
        int64 (C,): rows that may be labelled, whatever their confidence; zeros for a query.
    units
        See `SelfScores`.
    query
        What asked for them; None in the first survey of a round.
    """

    counts: npt.NDArray[np.int64]
    rows: Ints
    units: Ints
    query: SelfQuery | None

    def __add__(self, other: Survey) -> Survey:
        return Survey(
            self.counts + other.counts,
            self.rows + other.rows,
            self.units + other.units,
            self.query,
        )


@dataclass(frozen=True)
class SelfTraining(RoundMethod):
    """The rounds of self-training.

    Parameters
    ----------
    learner
        Makes the classifier.
    n_classes
        C.
    shares
        float64 (C,) of the classes, or "none" or "baseline".
    criterion, threshold, k_best, rescores, weight, mass, calibrate
        See `SelfTrainingSpec`.
    temperature
        Of the confidences in this round.
    """

    learner: Learner
    n_classes: int
    shares: tuple[float, ...] | str
    criterion: str = "threshold"
    threshold: float = 0.75
    k_best: int = 10
    rescores: bool = True
    weight: float = 1.0
    mass: float | None = None
    calibrate: bool = False
    temperature: float = 1.0

    def made_by(self, learner: int) -> Learner:
        """Return what makes the models."""
        return self.learner

    def fit(self, learner: int, pieces: Sequence[Piece], key: tuple[int, ...]) -> Any:
        """Return the classifier, fitted on seeds and pseudo-labels."""
        return self.learner.fit(pieces, self.n_classes, key)

    def fit_more(
        self,
        learner: int,
        before: FittedLearner | None,
        pieces: Sequence[Piece],
        whole: FitRows,
        key: tuple[int, ...],
    ) -> FittedLearner:
        """Return the classifier after one more piece."""
        return self.learner.fit_more(before, pieces, whole, key)

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
        return SelfScores(block.rows, codes.astype(np.int32), confidence, units)

    def _free(self, assignment: Assignment) -> npt.NDArray[np.bool_]:
        """Return which rows get a label in this round or none, bool (n,); others keep theirs."""
        if self.rescores:
            return ~assignment.is_seed
        return assignment.codes[:, 0] == UNLABELLED

    def _group(
        self, scores: SelfScores, assignment: Assignment, *, by_class: bool = True
    ) -> npt.NDArray[np.int32]:
        """Return the class (or 0) of rows that may be labelled in this round, -1 of others."""
        free = self._free(assignment)
        if self.criterion == "threshold":
            free = free & (scores.confidence > self.threshold)
        group = scores.codes if by_class else np.zeros_like(scores.codes)
        return np.where(free, group, np.int32(-1)).astype(np.int32)

    def survey(self, scores: SelfScores, assignment: Assignment, query: Query | None) -> Survey:
        """Return the histogram of confidences of the rows that may be labelled."""
        if isinstance(query, SelfQuery):
            group = self._group(scores, assignment, by_class=query.by_class)
            counts = query.best.survey(scores.confidence, scores.rows, group)
            return Survey(counts, np.zeros(self.n_classes, dtype=np.int64), scores.units, query)
        group = self._group(scores, assignment)
        counts = confidence_counts(scores.confidence, group, self.n_classes)
        free = scores.codes[self._free(assignment)]
        rows = np.bincount(free, minlength=self.n_classes).astype(np.int64)
        return Survey(counts, rows, scores.units, None)

    def select(self, survey: Survey, state: TrackState) -> Query | Selection:
        """Return by what rows are chosen: thresholds, or cuts after the best."""
        if survey.query is not None:
            best = survey.query.best.refined(survey.counts, state.n_total)
            if not best.found:
                return replace(survey.query, best=best)
            return self._cut(best, survey.query.by_class, state)
        if state.round == 1:
            # The model of the seeds alone; one more of each, so that none is missing.
            state.memory["baseline"] = (survey.rows + 1).tolist()
        shares, given = self._shares(state), self._given(state)
        if self.criterion == "k_best":
            k = max(round(self.k_best * state.share), 1)
            wanted = min(k * state.round if self.rescores else k, int(survey.counts.sum()))
            total = int(given.sum()) + wanted
            state.memory["taken"] = [total, *[0] * (self.n_classes - 1)]
            best = BestRows.begin(survey.counts.sum(axis=0, keepdims=True), [wanted])
            query = SelfQuery(best, by_class=False)
            return self._cut(best, False, state) if best.found else query
        above, over = self._thresholds(survey, state)
        most = over
        if shares is not None:
            allowed = np.ceil(shares * state.n_unlabelled).astype(np.int64)
            most = np.maximum(allowed - given, 0)
        taken_rows = np.minimum(over, most)
        state.memory["taken"] = (given + taken_rows).tolist()
        if (over > most).any():
            best = BestRows.begin(survey.counts, taken_rows.tolist())
            query = SelfQuery(best, by_class=True)
            return self._cut(best, True, state) if best.found else query
        return SelfSelection(
            state.round,
            tuple(above.tolist()),
            above=tuple(above.tolist()),
            weights=self._weights(state),
        )

    def _given(self, state: TrackState) -> Ints:
        """Return the pseudo-labels of each class that stay whatever this round does, int64 (C,)."""
        if self.rescores:
            return np.zeros(self.n_classes, dtype=np.int64)
        assert state.counts is not None
        return state.counts.total[0] - state.class_seeds

    def _cut(self, best: BestRows, by_class: bool, state: TrackState) -> SelfSelection:
        floor = self.threshold if self.criterion == "threshold" else 0.0
        found = [cut.confidence for cut in best.cuts]
        least = [None if one is None else max(one, floor) for one in found]
        thresholds = tuple(least if by_class else least * self.n_classes)
        weights = self._weights(state)
        return SelfSelection(state.round, thresholds, cuts=best.cuts, weights=weights)

    def _thresholds(
        self, survey: Survey, state: TrackState
    ) -> tuple[npt.NDArray[np.float64], Ints]:
        """Return the confidence of each class above which rows are labelled, and how many are."""
        if self.criterion == "threshold":
            return np.full(self.n_classes, self.threshold), survey.counts.sum(axis=1)
        means = survey.units / (UNITS * max(state.n_unlabelled, 1))
        before = state.memory.get("means")
        if before is not None:
            means = MOMENTUM * np.array(before) + (1.0 - MOMENTUM) * means
        state.memory["means"] = means.tolist()
        p, confidence = means[:-1], means[-1]
        # Down to the edge of a bin, so that the histogram says exactly how many rows lie above.
        bins = np.minimum((confidence * p / p.max() * BINS).astype(np.int64), BINS - 1)
        over = [row[first:].sum() for row, first in zip(survey.counts, bins, strict=True)]
        return np.nextafter(bins / BINS, -1.0), np.array(over)

    def _shares(self, state: TrackState) -> npt.NDArray[np.float64] | None:
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
        if self.criterion == "k_best" or shares is None:
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
        group = self._group(scores, assignment, by_class=self.criterion != "k_best")
        if selection.cuts is None:
            above = np.array(selection.above)[scores.codes]
            chosen = (group >= 0) & (scores.confidence > above)
        else:
            chosen = taken(selection.cuts, scores.confidence, scores.rows, group)
        # Rows that stand outside this round keep what they have; the others lose it unless chosen.
        keep = np.where(self._free(assignment), UNLABELLED, assignment.codes[:, 0])
        codes = np.where(chosen, scores.codes, keep)
        # Earlier labels too: all together weigh no more than the mass.
        weights = np.array(selection.weights, dtype=np.float32)[codes]
        return assignment.relabelled(
            codes[:, None], weights[:, None], selection.round, self.n_classes
        )

    def distributions(self, models: Sequence[Any], block: BlockRows) -> Distributions:
        """Return the classifier's probabilities, float32 (n, C)."""
        return models[0].probabilities(block.only, block.place).astype(np.float32)
