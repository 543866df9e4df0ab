"""Self-training: a classifier labels the rows that it is sure of, and learns from them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import dask.array as da
import numpy as np
import numpy.typing as npt
from distributed import Client
from pydantic import Field
from sklearn.utils import Tags

from ssl_dask.execution import Execution
from ssl_dask.kernels.confidence_histogram import confidence_counts
from ssl_dask.labels import UNLABELLED, Labels
from ssl_dask.self_labeled.best_rows import BestRows, Cut, taken
from ssl_dask.self_labeled.learners import Learner, LearnerSpec, learner_of
from ssl_dask.self_labeled.round_classifier import RoundClassifier, learner_for
from ssl_dask.self_labeled.round_method import (
    Assignment,
    BlockRows,
    Distributions,
    Ints,
    Piece,
    Query,
    RoundCounts,
    RoundMethod,
    Selection,
    TrackState,
)
from ssl_dask.self_labeled.rounds import Checkpoint, OnRound, Resume, SelfLabeled, run_rounds
from ssl_dask.spec_model import SpecModel


class SelfTrainingSpec(SpecModel):
    """Self-training (Yarowsky 1995): a classifier learns from what it is sure of."""

    name: Literal["self_training"] = "self_training"
    learner: LearnerSpec = LearnerSpec()
    """The classifier."""
    criterion: Literal["threshold", "k_best"] = "threshold"
    """threshold: rows above it are labelled; k_best: the k most confident rows of a round."""
    threshold: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.75
    """Confidence above which a row is labelled."""
    k_best: Annotated[int, Field(ge=1)] = 10
    """Rows that a round labels."""
    rescore: bool = True
    """Whether labels are given anew in every round, and may be taken back; false: once given, they
    stay, as in scikit-learn."""
    max_iter: Annotated[int, Field(ge=1)] | None = 10
    """Most rounds; null: no limit."""
    patience: Annotated[int, Field(ge=1)] | None = 3
    """Rounds without a lower loss on hidden seeds after which the rounds end, and the answer is
    that of the best; null: the last round answers."""
    random_state: Annotated[int, Field(ge=0)] = 0
    """Of learners that are random."""


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
    """

    rows: Ints
    codes: npt.NDArray[np.int32]
    confidence: npt.NDArray[np.float64]


@dataclass(frozen=True)
class SelfQuery(Query):
    """Asks where exactly the best rows end."""

    best: BestRows


@dataclass(frozen=True)
class SelfSelection(Selection):
    """Rows above `threshold`, or before the `cuts`."""

    threshold: float = 0.0
    cuts: tuple[Cut, ...] | None = None


@dataclass(frozen=True)
class SelfTraining(RoundMethod):
    """The rounds of self-training.

    Parameters
    ----------
    learner
        Makes the classifier.
    n_classes
        C.
    criterion, threshold, k_best, rescores
        See `SelfTrainingSpec`.
    """

    learner: Learner
    n_classes: int
    criterion: str
    threshold: float
    k_best: int
    rescores: bool

    def fit(self, learner: int, pieces: Sequence[Piece], key: tuple[int, ...]) -> Any:
        """Return the classifier, fitted on seeds and pseudo-labels."""
        return self.learner.fit(pieces, self.n_classes, key)

    def score(self, models: Sequence[Any], block: BlockRows, assignment: Assignment) -> SelfScores:
        """Return the most likely class of each row, and how likely it is."""
        p = models[0].probabilities(block.only, block.place)
        codes = p.argmax(axis=1)
        confidence = p[np.arange(len(codes)), codes].astype(np.float64)
        return SelfScores(block.rows, codes.astype(np.int32), confidence)

    def _group(self, scores: SelfScores, assignment: Assignment) -> npt.NDArray[np.int32]:
        """Return 0 for the rows that may be labelled in this round, else -1."""
        free = assignment.codes[:, 0] == UNLABELLED
        if self.rescores:
            free = ~assignment.is_seed
        return np.where(free, np.int32(0), np.int32(-1)).astype(np.int32)

    def survey(self, scores: SelfScores, assignment: Assignment, query: Query | None) -> Any:
        """Return the histogram of confidences of the rows that may be labelled."""
        group = self._group(scores, assignment)
        if isinstance(query, SelfQuery):
            return Survey(query.best.survey(scores.confidence, scores.rows, group), query.best)
        return Survey(confidence_counts(scores.confidence, group, 1), None)

    def select(self, survey: Any, state: TrackState) -> Query | Selection:
        """Return the threshold, or the cut after the k best rows."""
        if self.criterion == "threshold":
            thresholds = (self.threshold,) * self.n_classes
            return SelfSelection(state.round, thresholds, threshold=self.threshold)
        if survey.best is None:
            k = max(round(self.k_best * state.share), 1)
            wanted = k * state.round if self.rescores else k
            best = BestRows.begin(survey.counts, [wanted])
        else:
            best = survey.best.refined(survey.counts, state.n_total)
        if not best.found:
            return SelfQuery(best)
        thresholds = (best.cuts[0].confidence,) * self.n_classes
        return SelfSelection(state.round, thresholds, cuts=best.cuts)

    def assign(
        self, scores: SelfScores, assignment: Assignment, selection: Selection
    ) -> tuple[Assignment, RoundCounts]:
        """Return the labels after the round."""
        assert isinstance(selection, SelfSelection)
        group = self._group(scores, assignment)
        if selection.cuts is None:
            chosen = (group >= 0) & (scores.confidence > selection.threshold)
        else:
            chosen = taken(selection.cuts, scores.confidence, scores.rows, group)
        # Rows that stand outside this round keep what they have; the others lose it unless chosen.
        keep = np.where(group >= 0, UNLABELLED, assignment.codes[:, 0])
        codes = np.where(chosen, scores.codes, keep)
        weights = np.ones_like(assignment.weights)
        return assignment.relabelled(codes[:, None], weights, selection.round, self.n_classes)

    def distributions(self, models: Sequence[Any], block: BlockRows) -> Distributions:
        """Return the classifier's probabilities, float32 (n, C)."""
        return models[0].probabilities(block.only, block.place).astype(np.float32)


@dataclass(frozen=True)
class Survey:
    """Counts of rows by confidence, summed over blocks.

    Parameters
    ----------
    counts
        int64 (G, 4096).
    best
        The search that asked for them; None in the first survey of a round.
    """

    counts: npt.NDArray[np.int64]
    best: BestRows | None

    def __add__(self, other: Survey) -> Survey:
        return Survey(self.counts + other.counts, self.best)


def self_training(
    views: Mapping[str, da.Array],
    labels: Labels,
    *,
    learner: LearnerSpec | Learner | None = None,
    criterion: str = "threshold",
    threshold: float = 0.75,
    k_best: int = 10,
    rescore: bool = True,
    max_iter: int | None = 10,
    patience: int | None = 3,
    random_state: int = 0,
    sample_weight: npt.NDArray[np.float64] | None = None,
    hidden: Sequence[npt.NDArray[np.bool_]] = (),
    trusted: Collection[str] = (),
    execution: Execution | None = None,
    on_round: OnRound | None = None,
    checkpoint: Checkpoint | None = None,
    resume: Resume | None = None,
) -> SelfLabeled:
    """Run self-training over the rows of a single view.

    Parameters
    ----------
    views
        One Dask array (N, d) by its name.
    labels
        The seeds.
    learner, criterion, threshold, k_best, rescore, max_iter, patience, random_state
        See `SelfTrainingSpec`.
    trusted
        See `learner_of`.
    sample_weight, hidden, execution, on_round, checkpoint, resume
        See `run_rounds`.

    References
    ----------
    D. Yarowsky: Unsupervised word sense disambiguation rivaling supervised methods, ACL 1995.
    """
    if not isinstance(learner, Learner):
        learner = learner_of(learner or LearnerSpec(), trusted)
    method = SelfTraining(learner, labels.n_classes, criterion, threshold, k_best, rescore)
    return run_rounds(
        method,
        views,
        labels,
        sample_weight=sample_weight,
        hidden=hidden,
        random_state=random_state,
        max_iter=max_iter,
        patience=patience,
        execution=execution,
        on_round=on_round,
        checkpoint=checkpoint,
        resume=resume,
    )


class SelfTrainingClassifier(RoundClassifier):
    """Self-training as a scikit-learn classifier, over rows that need not fit one machine.

    With `rescore=False` and `patience=None` it labels the same rows in the same rounds as
    scikit-learn's class of the same name.

    Parameters
    ----------
    estimator
        A scikit-learn classifier with `predict_proba`, or a name of `learners.LEARNERS`; None:
        logistic regression over features that are centred and scaled by one number.
    criterion, threshold, k_best, rescore, max_iter, patience, random_state
        See `SelfTrainingSpec`.
    n_folds
        Seeds are hidden in so many turns to judge the rounds by; 0: none are, and the last round
        answers.
    client
        A `distributed.Client`: runs on its cluster. None: in this process. The answer is the same.

    Attributes
    ----------
    classes_
        Array (C,) of the distinct class labels, sorted.
    label_distributions_
        float32 (N, C): what the models of the kept round say of the rows.
    transduction_, labeled_iter_
        Array (N,): label of each row after the last round, -1 or None without one; and the round in
        which it got it, 0 for seeds and -1 without. Dask arrays if X is one.
    termination_condition_
        "all_labeled", "max_iter", "no_change" or "hidden_loss".
    n_iter_, rounds_
        Number of rounds, and a `RoundRecord` of each.
    kept_round_
        The round whose models answer; 0: the seeds alone.
    models_
        These models.
    n_features_in_
        Number of features d.
    """

    method_parameters = (
        "criterion",
        "threshold",
        "k_best",
        "rescore",
        "max_iter",
        "patience",
        "random_state",
    )
    method_spec = SelfTrainingSpec
    method_run: ClassVar[Any] = staticmethod(self_training)

    def __init__(
        self,
        estimator: Any = None,
        *,
        criterion: str = "threshold",
        threshold: float = 0.75,
        k_best: int = 10,
        rescore: bool = True,
        max_iter: int | None = 10,
        patience: int | None = 3,
        n_folds: int = 5,
        random_state: int = 0,
        client: Client | None = None,
    ) -> None:
        self.estimator = estimator
        self.criterion = criterion
        self.threshold = threshold
        self.k_best = k_best
        self.rescore = rescore
        self.max_iter = max_iter
        self.patience = patience
        self.n_folds = n_folds
        self.random_state = random_state
        self.client = client

    def _checked_parameters(self) -> dict[str, Any]:
        return {**super()._checked_parameters(), "learner": learner_for(self.estimator)}

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        with suppress(ValueError):
            tags.input_tags.sparse = learner_for(self.estimator).takes_sparse
        return tags
