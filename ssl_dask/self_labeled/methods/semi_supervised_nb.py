"""EM with multinomial naive Bayes: the generative classic for texts, two sums a round."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from ssl_dask.array_types import Float32, Int32, Int64
from ssl_dask.kernels.learners.multinomial_nb import (
    LIKELIHOOD_BITS,
    ClassFeatureCounts,
    MultinomialModel,
    check_not_negative,
    count_rows,
    fit_counts,
    likelihood_units,
)
from ssl_dask.method import MethodInputs
from ssl_dask.run_control import RunControl
from ssl_dask.self_labeled.loop.round_answer import SelfLabeled
from ssl_dask.self_labeled.loop.round_cost import STOP_WORDS, RoundsMethod
from ssl_dask.self_labeled.loop.round_method import Query, RoundMethod, Selection, TrackState
from ssl_dask.self_labeled.loop.rounds import RoundLimits, run_rounds
from ssl_dask.self_labeled.rows.block_rows import Assignment, BlockRows, RoundCounts
from ssl_dask.spec_model import SpecModel


class SemiSupervisedNBSpec(SpecModel):
    """Naive Bayes whose classes explain all rows, labelled or not (Nigam et al. 2000)."""

    name: Literal["semi_supervised_nb"] = "semi_supervised_nb"
    alpha: Annotated[float, Field(gt=0.0, allow_inf_nan=False)] = 0.01
    """How much of each feature every class is taken to hold before a row is seen. 1 suits counts of
    words; weighted rows of length 1, as text groups make them, hold far less than a text has words.
    """
    unlabelled_weight: Annotated[float, Field(ge=0.0, le=1.0)] = 1.0
    """How much an unlabelled row counts beside a labelled one: the paper's lambda. 1: as much."""
    learn_prior: bool = True
    """Whether shares of classes are learned; false: all classes are taken as equally likely."""
    max_iter: Annotated[int, Field(ge=1)] = 20
    """Most rounds; the first is the classifier of the labelled rows alone."""
    tol: Annotated[float, Field(ge=0.0)] = 1e-4
    """Relative change of the log likelihood at which the rounds end."""
    patience: Annotated[int, Field(ge=1)] | None = 3
    """Rounds after which the rounds end if hidden seeds speak for none of them; the answer is that
    of the latest round that is as good as the best, up to chance; null: the last round answers."""


@dataclass(frozen=True)
class BlockLikelihood:
    """The log likelihood of a block; add two for that of both."""

    units: int
    """Of the rows, in steps of 2**-16."""
    density: float
    """That of the model's parameters, the same for all blocks."""

    def __add__(self, other: BlockLikelihood) -> BlockLikelihood:
        return replace(self, units=self.units + other.units)

    @property
    def value(self) -> float:
        """The objective that EM raises: log likelihood of rows and parameters."""
        return self.units / 2.0**LIKELIHOOD_BITS + self.density


@dataclass(frozen=True)
class _Scores:
    shares: Float32
    likelihood: BlockLikelihood


@dataclass(frozen=True)
class NaiveBayesRounds(RoundMethod):
    """M step: `labelled` counts a block and `fit` adds up. E step: `score`, kept by `assign`.

    The shares of the classes in each row are kept in `Assignment.extra`, float32 (n, C).
    """

    n_classes: int
    """C."""
    alpha: float
    unlabelled_weight: float
    learn_prior: bool
    tol: float
    """Keys of the method, by the same names."""

    rescores = True
    sums = True
    soft = True
    leeway = 1.0

    def begin(
        self, block: BlockRows, positions: Int64, codes: Int32, weights: Float32
    ) -> Assignment:
        """Return the seeds of a block as shares of 1.

        Raises
        ------
        InputDataError
            A feature is below 0 or not finite.
        """
        check_not_negative(block.only)
        shares = np.zeros((block.n_rows, self.n_classes), dtype=np.float32)
        shares[positions, codes] = 1.0
        return replace(super().begin(block, positions, codes, weights), extra=shares)

    def labelled(
        self, learner: int, block: BlockRows, assignment: Assignment
    ) -> ClassFeatureCounts:
        """Return what each class holds of the block's rows: all that travels."""
        weights = assignment.weights[:, 0]
        return count_rows(block.only, assignment.extra, weights)

    def fit(self, learner: int, pieces: Sequence[Any], key: tuple[int, ...]) -> MultinomialModel:
        """Return the model of the sum over all blocks."""
        (total,) = pieces
        return fit_counts(total, self.alpha, learn_prior=self.learn_prior)

    def score(
        self, models: Sequence[MultinomialModel], block: BlockRows, assignment: Assignment
    ) -> _Scores:
        """Return the shares of the classes in each row, and the likelihood of the block."""
        (model,) = models
        joint = model.joint_log(block.only)
        given = assignment.is_seed
        codes = np.where(given, assignment.codes[:, 0], np.int32(-1)).astype(np.int32)
        weights = np.where(given, assignment.weights[:, 0], self.unlabelled_weight)
        units = likelihood_units(joint, codes, weights.astype(np.float32))
        return _Scores(model.shares_of(joint), BlockLikelihood(units, model.log_density))

    def survey(
        self, scores: _Scores, assignment: Assignment, query: Query | None
    ) -> BlockLikelihood:
        """Return the likelihood of a block."""
        return scores.likelihood

    def select(self, survey: BlockLikelihood, state: TrackState) -> Selection:
        """Keep the likelihood; every row is given its shares."""
        history = state.memory.setdefault("log_likelihood", [])
        history.append(survey.value)
        return Selection(state.round, notes={"log_likelihood": survey.value})

    def assign(
        self, scores: _Scores, assignment: Assignment, selection: Selection
    ) -> tuple[Assignment, RoundCounts]:
        """Give each row its shares; its label is the class with the largest."""
        shares = scores.shares.copy()
        seeds = assignment.is_seed
        shares[seeds] = assignment.extra[seeds]
        codes = shares.argmax(axis=1).astype(np.int32)[:, None]
        weights = np.full(codes.shape, self.unlabelled_weight, dtype=np.float32)
        return assignment.relabelled(codes, weights, selection.round, self.n_classes, shares)

    def distributions(self, models: Sequence[MultinomialModel], block: BlockRows) -> Float32:
        """Return the shares of the classes in each row."""
        (model,) = models
        # Rows that came later may lie below all that a scale was fitted on.
        check_not_negative(block.only)
        return model.shares_of(model.joint_log(block.only))

    def stop(self, state: TrackState) -> str | None:
        """Stop when the likelihood has come to rest; the first round's is of seeds alone."""
        history = state.memory["log_likelihood"]
        if len(history) < 3:
            return None
        last, value = history[-2:]
        return "converged" if abs(value - last) <= self.tol * abs(last) else None


def semi_supervised_nb(
    inputs: MethodInputs, spec: SemiSupervisedNBSpec, control: RunControl
) -> SelfLabeled:
    """Raise the likelihood of all rows, labelled or not, by EM over multinomial naive Bayes.

    Round 0 is fitted on the seeds alone. E step: P(c | row) of every row by the model there is,
    seeds at their labels. M step: the model of largest posterior probability, from two sums over
    the rows: what each class has of rows, and of each feature; unlabelled rows are weighed. The
    single view, dense or CSR, has no values below 0.

    Raises
    ------
    InputDataError
        A feature is below 0, or too large to be added up.

    Notes
    -----
    A worker holds 8 d C bytes for the model and as many for each sum that it adds up, whatever the
    number of rows; 4 C bytes a row are kept. The same bits for any blocks: sums are of integers.

    References
    ----------
    K. Nigam, A. McCallum, S. Thrun, T. Mitchell: Text Classification from Labeled and Unlabeled
    Documents using EM, Machine Learning 39, 2000, tables 1 and 3 and eq. 5 to 8 and 12.
    """
    method = NaiveBayesRounds(
        inputs.labels.n_classes, spec.alpha, spec.unlabelled_weight, spec.learn_prior, spec.tol
    )
    limits = RoundLimits(max_iter=spec.max_iter, patience=spec.patience)
    return run_rounds(method, inputs, limits, control)


METHOD = RoundsMethod(
    spec=SemiSupervisedNBSpec,
    run=semi_supervised_nb,
    rounds=NaiveBayesRounds,
    model_types=(NaiveBayesRounds, MultinomialModel),
    stop_words={**STOP_WORDS, "converged": "the stop rule was met"},
)
