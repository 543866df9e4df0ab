"""Multi-view training: a classifier for each group of features, and rows that lack some of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, Literal, Unpack

import dask.array as da
import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from dask import delayed
from distributed import Client
from pydantic import Field
from sklearn.utils import Tags
from sklearn.utils.validation import validate_data

from ssl_dask.errors import QualityError
from ssl_dask.execution import Execution
from ssl_dask.kernels.class_evidence import class_probabilities, log_shares, weighted_sum
from ssl_dask.kernels.confidence_histogram import confidence_counts
from ssl_dask.kernels.evidence_weights import fitted_weights
from ssl_dask.kernels.row_keys import row_keys
from ssl_dask.labels import UNLABELLED, Labels
from ssl_dask.self_labeled.best_rows import BestRows, Cut, taken
from ssl_dask.self_labeled.block_rows import (
    Assignment,
    BlockRows,
    Ints,
    Piece,
    RoundCounts,
    joined_pieces,
)
from ssl_dask.self_labeled.fitted_learner import FittedLearner
from ssl_dask.self_labeled.learners import Learner, LearnerSpec, learner_of
from ssl_dask.self_labeled.round_answer import SelfLabeled
from ssl_dask.self_labeled.round_classifier import RoundClassifier, held_rows, learner_for
from ssl_dask.self_labeled.round_method import (
    Distributions,
    Query,
    RoundMethod,
    Selection,
    TrackState,
)
from ssl_dask.self_labeled.round_spec import RoundSpec
from ssl_dask.self_labeled.rounds import RunKeywords, run_rounds

WHOLE = "X"
"""Name of the view of all columns."""
INNER_FOLDS = 5
FOLD_KEY = 31
"""Purpose of the pseudo-random numbers that deal seeds to inner folds."""
START, STRENGTH = 1.0, 0.3
"""Weight of a view without any hidden seed, and how many seeds it takes to leave it."""


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


@dataclass(frozen=True)
class ViewModel:
    """The classifier of one view, and what it says of seeds that it has not seen.

    Parameters
    ----------
    fitted
        On all rows that have the view; None where none has.
    seeds
        int64 (s,): rows of the seeds that were hidden once.
    codes
        int32 (s,): their classes.
    evidence
        float32 (s, C) of `log_shares`: what a classifier of the other seeds says of each.
    """

    fitted: FittedLearner | None
    seeds: Ints
    codes: npt.NDArray[np.int32]
    evidence: npt.NDArray[np.float32]


@dataclass(frozen=True)
class ViewScores:
    """What the views together say of a block.

    Parameters
    ----------
    rows
        int64 (n,): their numbers.
    codes
        int32 (n,): the most likely class, -1 where no view says anything.
    confidence
        float64 (n,): its probability.
    agree
        bool (n,): whether all views that the row has name that class.
    weights
        float64 (V,): of the views.
    """

    rows: Ints
    codes: npt.NDArray[np.int32]
    confidence: npt.NDArray[np.float64]
    agree: npt.NDArray[np.bool_]
    weights: tuple[float, ...]


@dataclass(frozen=True)
class ViewSurvey:
    """Counts of the rows that may be labelled, summed over blocks.

    Parameters
    ----------
    counts
        int64 (C, 4096): by class and confidence.
    agreeing
        Rows on which all their views agree.
    weights
        Of the views.
    best
        The search that asked for the counts; None in the first survey of a round.
    """

    counts: npt.NDArray[np.int64]
    agreeing: int
    weights: tuple[float, ...]
    best: BestRows | None

    def __add__(self, other: ViewSurvey) -> ViewSurvey:
        return ViewSurvey(
            self.counts + other.counts, self.agreeing + other.agreeing, self.weights, self.best
        )


@dataclass(frozen=True)
class ViewQuery(Query):
    """Asks where exactly the best rows of each class end."""

    best: BestRows
    notes: Mapping[str, Any]


@dataclass(frozen=True)
class ViewSelection(Selection):
    """The rows of each class before its cut."""

    cuts: tuple[Cut, ...] = ()


class MultiView(RoundMethod):
    """The rounds of multi-view training; learner v is that of the v-th view."""

    rescores = True
    weighs_anew = True

    def __init__(
        self,
        learners: Mapping[str, Learner],
        n_classes: int,
        *,
        shares: npt.NDArray[np.float64],
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

    def labelled_at(self, learner: int, block: BlockRows, assignment: Assignment) -> Ints:
        """Return where the labelled rows of a block stand that have the view."""
        at = super().labelled_at(learner, block, assignment)
        return at[self._has(learner, block)[at]]

    def features(self, learner: int, block: BlockRows, at: Ints) -> Any:
        """Return the features of the view."""
        return block.views[self.names[learner]][at]

    def made_by(self, learner: int) -> Learner:
        """Return what makes the models of a view."""
        return self.learners[learner]

    def fit(self, learner: int, pieces: Sequence[Any], key: tuple[int, ...]) -> ViewModel:
        """Return the classifier of a view, and what it says of hidden seeds.

        Classes weigh what they weigh among all seeds, whatever part of them has the view: a
        classifier would else be told by it which class is frequent. Costs five more fits on the
        seeds alone.
        """
        name = self.names[learner]
        empty = np.zeros((0, self.n_classes), dtype=np.float32)
        nothing = np.zeros(0, dtype=np.int64)
        if not any(len(piece.rows) for piece in pieces):
            return ViewModel(None, nothing, nothing.astype(np.int32), empty)
        try:
            piece = joined_pieces(pieces)
            fitted = self._fitted(learner, piece, key)
        except QualityError as error:
            raise QualityError(f"view {name!r}: {error}", hint=error.problems[0].hint) from error
        seeds = piece.take(piece.given)
        fold = _inner_folds(seeds, key[0])
        hidden = np.flatnonzero(fold >= 0)
        said = np.zeros((len(seeds.rows), self.n_classes), dtype=np.float32)
        for number in range(fold.max(initial=-1) + 1):
            out = fold == number
            inner = self._fitted(learner, seeds.take(~out), key)
            said[out] = inner.probabilities(seeds.X[np.flatnonzero(out)])
        evidence = log_shares(said[hidden], self.n_classes)
        return ViewModel(fitted, seeds.rows[hidden], seeds.codes[hidden], evidence)

    def _fitted(self, learner: int, piece: Piece, key: tuple[int, ...]) -> FittedLearner:
        """Return a classifier of rows whose weights are brought to the classes' shares.

        The seeds of a class weigh together its share of all seeds; its pseudo-labels `mass` times
        that, and none more than 1.
        """
        weights = piece.weights.astype(np.float64)
        seeds = piece.given
        total = float(weights[seeds].sum()) or 1.0
        for code in np.unique(piece.codes):
            mine = piece.codes == code
            own, pseudo = mine & seeds, mine & ~seeds
            if own.any():
                weights[own] *= self.shares[code] * total / weights[own].sum()
            if pseudo.any():
                heavy = self.mass * self.shares[code] * total / pseudo.sum()
                weights[pseudo] = min(heavy, 1.0)
        even = replace(piece, weights=weights.astype(np.float32))
        return self.learners[learner].fit([even], self.n_classes, key)

    def view_weights(self, models: Sequence[ViewModel]) -> npt.NDArray[np.float64]:
        """Return the weight of each view, float64 (V,), by what it says of hidden seeds.

        Weights w >= 0 minimise the loss of softmax(sum_v w_v e_v) over the seeds, e_v being 0 where
        a seed lacks view v or was never hidden from it.
        """
        start = np.full(len(models), START)
        rows = np.unique(np.concatenate([model.seeds for model in models]))
        if not self.learned_fusion or len(rows) == 0:
            return start
        evidence = np.zeros((len(models), len(rows), self.n_classes))
        codes = np.zeros(len(rows), dtype=np.int32)
        for number, model in enumerate(models):
            place = np.searchsorted(rows, model.seeds)
            evidence[number, place] = model.evidence
            codes[place] = model.codes
        return fitted_weights(evidence, codes, start, STRENGTH)

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
        return ViewScores(block.rows, codes, confidence, agree, tuple(weights.tolist()))

    def survey(self, scores: ViewScores, assignment: Assignment, query: Query | None) -> ViewSurvey:
        """Return the histograms of confidences of the rows that are no seeds, by class."""
        group = _groups(scores, assignment)
        free = group >= 0
        agreeing = int((scores.agree & free).sum())
        if isinstance(query, ViewQuery):
            counts = query.best.survey(scores.confidence, scores.rows, group)
            return ViewSurvey(counts, agreeing, scores.weights, query.best)
        counts = confidence_counts(scores.confidence, group, self.n_classes)
        return ViewSurvey(counts, agreeing, scores.weights, None)

    def select(self, survey: ViewSurvey, state: TrackState) -> Query | Selection:
        """Return the cuts after the best rows of each class; every round takes more."""
        if survey.best is None:
            part = self.share * min(state.round / self.n_rounds, 1.0)
            found = survey.counts.sum(axis=1)
            most = np.ceil(part * self.shares * state.n_unlabelled).astype(np.int64)
            wanted = np.minimum(found, most).tolist()
            n_free = int(found.sum())
            notes = {
                "agreement": survey.agreeing / n_free if n_free else 1.0,
                "view_weights": dict(zip(self.names, survey.weights, strict=True)),
            }
            best = BestRows.begin(survey.counts, wanted)
            state.memory["notes"] = notes
        else:
            best = survey.best.refined(survey.counts, state.n_total)
            notes = state.memory["notes"]
        if not best.found:
            return ViewQuery(best, notes)
        thresholds = tuple(cut.confidence for cut in best.cuts)
        return ViewSelection(state.round, thresholds, notes, best.cuts)

    def assign(
        self, scores: ViewScores, assignment: Assignment, selection: Selection
    ) -> tuple[Assignment, RoundCounts]:
        """Return the labels after the round: all are given anew."""
        assert isinstance(selection, ViewSelection)
        group = _groups(scores, assignment)
        chosen = taken(selection.cuts, scores.confidence, scores.rows, group)
        codes = np.where(chosen, scores.codes, UNLABELLED)[:, None]
        weights = np.ones(codes.shape, dtype=np.float32)
        return assignment.relabelled(codes, weights, selection.round, self.n_classes)

    def distributions(self, models: Sequence[ViewModel], block: BlockRows) -> Distributions:
        """Return what all views of a row say together, float32 (n, C); zeros where it has none."""
        members = self._evidence(models, block)
        p = self._fused(members, self.view_weights(models))
        p[~self._known(models, block)] = 0.0
        return p

    def _known(self, models: Sequence[ViewModel], block: BlockRows) -> npt.NDArray[np.bool_]:
        """Return which rows have a view that some labelled row has, bool (n,)."""
        known = np.zeros(block.n_rows, dtype=np.bool_)
        for number, model in enumerate(models):
            if model.fitted is not None:
                known |= self._has(number, block)
        return known

    def _has(self, learner: int, block: BlockRows) -> npt.NDArray[np.bool_]:
        everywhere = np.ones(block.n_rows, dtype=np.bool_)
        return block.present.get(self.names[learner], everywhere)

    def _evidence(
        self, models: Sequence[ViewModel], block: BlockRows
    ) -> list[npt.NDArray[np.float32]]:
        """Return what each view says of each row, float32 (n, C): 0 where a row lacks it."""
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

    def _fused(
        self, members: list[npt.NDArray[np.float32]], weights: npt.NDArray[np.float64]
    ) -> Distributions:
        mixed = weighted_sum(members, weights[None], self.n_classes)
        return class_probabilities(mixed, np.zeros(self.n_classes), self.n_classes, 1.0)


def _groups(scores: ViewScores, assignment: Assignment) -> npt.NDArray[np.int32]:
    """Return the class of each row that may be labelled, else -1."""
    return np.where(assignment.is_seed, np.int32(UNLABELLED), scores.codes).astype(np.int32)


def _inner_folds(seeds: Piece, random_state: int) -> npt.NDArray[np.int64]:
    """Deal the seeds of each class to folds, int64 (s,); -1 for the only seed of a class.

    By pseudo-random numbers of their rows: a seed's place depends on the seeds of its class alone.
    """
    keys = row_keys(seeds.rows, FOLD_KEY, random_state)
    fold = np.full(len(seeds.rows), -1, dtype=np.int64)
    for code in np.unique(seeds.codes):
        mine = np.flatnonzero(seeds.codes == code)
        if len(mine) > 1:
            fold[mine[np.lexsort((seeds.rows[mine], keys[mine]))]] = (
                np.arange(len(mine)) % INNER_FOLDS
            )
    return fold


def multi_view(
    views: Mapping[str, da.Array],
    labels: Labels,
    *,
    present: Mapping[str, da.Array] | None = None,
    learner: LearnerSpec | Learner | Mapping[str, Any] | None = None,
    learners: Mapping[str, Any] | None = None,
    fusion: str = "learned",
    share: float = 0.9,
    mass: float = 4.0,
    max_iter: int = 5,
    patience: int | None = 3,
    random_state: int = 0,
    trusted: Collection[str] = (),
    **run: Unpack[RunKeywords],
) -> SelfLabeled:
    """Fit a classifier to each view, join what they say, and label the rows in rounds.

    1. Each view's classifier is fitted on the labelled rows that have it.
    2. P(c | row) is proportional to prod_v p_v(c | row)^w_v over the views that the row has: a
       logarithmic opinion pool. Weights w_v are fitted on seeds that the classifiers have not seen.
    3. The most certain rows of each class get pseudo-labels, in every round anew and more of them,
       in the classes' shares of the seeds.

    Parameters
    ----------
    views
        By name: Dask arrays (N, d_v) in the same blocks of rows.
    labels
        The seeds.
    present
        By name of a view that rows may lack: Dask array bool (N,).
    learner, learners, fusion, share, mass, max_iter, patience, random_state
        See `MultiViewSpec`.
    trusted
        See `learner_of`.
    **run
        See `run_rounds`, also for what it raises and costs.

    Raises
    ------
    ValueError
        `learners` or `present` name no view.

    References
    ----------
    T. Heskes: Selecting weighting factors in logarithmic opinion pools, NIPS 1997, eq. 1. K. Nigam,
    R. Ghani: Analyzing the effectiveness and applicability of co-training, CIKM 2000.
    """
    unknown = sorted({*(learners or {}), *(present or {})} - set(views))
    if unknown:
        raise ValueError(f"{unknown} are no views; there are {', '.join(views)}")

    def made(spec: Any) -> Learner:
        if isinstance(spec, Learner):
            return spec
        return learner_of(LearnerSpec.model_validate(spec), trusted)

    usual = learner or LearnerSpec()
    mass_of_classes = np.bincount(
        labels.codes, run.get("sample_weight"), minlength=labels.n_classes
    )
    each = {name: made((learners or {}).get(name, usual)) for name in views}
    method = MultiView(
        each,
        labels.n_classes,
        learned_fusion=fusion == "learned",
        shares=mass_of_classes / mass_of_classes.sum(),
        share=share,
        mass=mass,
        n_rounds=max_iter,
    )
    return run_rounds(
        method,
        views,
        labels,
        present=present,
        random_state=random_state,
        max_iter=max_iter,
        patience=patience,
        **run,
    )


class MultiViewClassifier(RoundClassifier):
    """Multi-view training as a scikit-learn classifier; see `multi_view`.

    Parameters
    ----------
    views
        By name: the columns of X of each view, as a list of numbers or a slice. A row whose columns
        of a view are all NaN lacks it; a row with some of them is refused. None: all columns are
        one view, which every row has.
    estimator
        A scikit-learn classifier with `predict_proba`, or a name of `learners.LEARNERS`, for every
        view; None: logistic regression. By name of a view for one of its own, in `estimators`.
    estimators
        Views that have a classifier of their own, by name.
    fusion, share, mass, max_iter, patience, max_fit_rows, random_state
        See `MultiViewSpec`.
    n_folds
        Seeds are hidden in so many turns, dealt by `random_state`, to judge the rounds by; 0: none
        answers.
    client
        A `distributed.Client`: runs on its cluster. None: in this process. The answer is the same.

    Attributes
    ----------
    view_weights_
        By name: weight of each view in the models that answer.
    classes_, label_distributions_, transduction_, labeled_iter_, termination_condition_, n_iter_,
    rounds_, kept_round_, models_, n_features_in_
        As of `SelfTrainingClassifier`. Distributions of a row that lacks all views are 0.
    """

    method_parameters = (
        "fusion",
        "share",
        "mass",
        "max_iter",
        "patience",
        "max_fit_rows",
        "random_state",
    )
    method_spec = MultiViewSpec
    method_run: ClassVar[Any] = staticmethod(multi_view)

    def __init__(
        self,
        views: Mapping[str, Any] | None = None,
        estimator: Any = None,
        *,
        estimators: Mapping[str, Any] | None = None,
        fusion: str = "learned",
        share: float = 0.9,
        mass: float = 4.0,
        max_iter: int = 5,
        patience: int | None = 3,
        max_fit_rows: int | None = None,
        n_folds: int = 5,
        random_state: int = 0,
        client: Client | None = None,
    ) -> None:
        self.views = views
        self.estimator = estimator
        self.estimators = estimators
        self.fusion = fusion
        self.share = share
        self.mass = mass
        self.max_iter = max_iter
        self.patience = patience
        self.max_fit_rows = max_fit_rows
        self.n_folds = n_folds
        self.random_state = random_state
        self.client = client

    def _checked_parameters(self) -> dict[str, Any]:
        if self.views is not None and not self.views:
            raise ValueError("views is empty: name the columns of one view at least")
        own = {name: learner_for(one) for name, one in (self.estimators or {}).items()}
        unknown = sorted(set(own) - set(self.views or (WHOLE,)))
        if unknown:
            raise ValueError(f"estimators names {unknown}, which are none of the views")
        return {
            **super()._checked_parameters(),
            "learner": learner_for(self.estimator),
            "learners": own,
        }

    def _checked_rows(self, X: Any, *, reset: bool) -> Any:
        if isinstance(X, da.Array) or self.views is None:
            return super()._checked_rows(X, reset=reset)
        return validate_data(
            self,
            X,
            reset=reset,
            accept_sparse="csr",
            dtype=[np.float64, np.float32],
            ensure_all_finite="allow-nan",
        )

    def _views(
        self, rows: Any, execution: Execution
    ) -> tuple[dict[str, da.Array], dict[str, da.Array]]:
        held = held_rows(rows, execution)
        if self.views is None:
            return {WHOLE: held}, {}
        cut, look = delayed(_view_of, pure=False), delayed(_has_view, pure=False)
        blocks = list(held.to_delayed(False).ravel())
        views, present = {}, {}
        for name, columns in self.views.items():
            at = _columns_of(name, columns, held.shape[1])
            parts = execution.persist([cut(block, name, at) for block in blocks], "features")
            has = execution.persist([look(block, at) for block in blocks], "features")
            sizes = held.chunks[0]
            empty = held._meta[:, : len(at)]
            views[name] = da.concatenate(
                [
                    da.from_delayed(part, (n, len(at)), dtype=held.dtype, meta=empty)
                    for part, n in zip(parts, sizes, strict=True)
                ]
            )
            present[name] = da.concatenate(
                [
                    da.from_delayed(part, (n,), dtype=np.bool_)
                    for part, n in zip(has, sizes, strict=True)
                ]
            )
        return views, present

    def _keep(self, found: SelfLabeled, labels: Labels, X: Any, execution: Execution) -> None:
        super()._keep(found, labels, X, execution)
        assert isinstance(self.method_, MultiView)
        weights = self.method_.view_weights(self.models_)
        self.view_weights_ = dict(zip(self.method_.names, weights.tolist(), strict=True))

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = self.views is not None
        return tags


def _columns_of(name: str, columns: Any, n_features: int) -> Ints:
    """Return the numbers of the columns of a view, int64 (d_v,)."""
    if isinstance(columns, slice):
        columns = np.arange(n_features)[columns]
    found = np.asarray(columns)
    if found.ndim != 1 or len(found) == 0 or found.dtype.kind not in "iu":
        raise ValueError(f"views[{name!r}] must be a slice or a list of numbers of columns")
    if len(np.unique(found)) < len(found):
        raise ValueError(f"views[{name!r}] names a column twice")
    if found.min() < 0 or found.max() >= n_features:
        raise ValueError(f"views[{name!r}] names columns beyond the {n_features} of X")
    return found.astype(np.int64)


def _has_view(block: Any, columns: Ints) -> npt.NDArray[np.bool_]:
    if sp.issparse(block):
        absent = block[:, columns].copy()
        absent.data = np.isnan(absent.data).astype(np.float64)
        return np.asarray(absent.sum(axis=1)).ravel() < len(columns)
    return ~np.isnan(block[:, columns]).all(axis=1)


def _view_of(block: Any, name: str, columns: Ints) -> Any:
    """Return the columns of a view, zeros where a row lacks it."""
    part = block[:, columns]
    values = part.data if sp.issparse(part) else part
    lacking = ~_has_view(block, columns)
    if sp.issparse(part):
        wrong = np.isnan(values) & ~np.repeat(lacking, np.diff(part.indptr))
    else:
        wrong = np.isnan(values) & ~lacking[:, None]
    if wrong.any():
        raise ValueError(
            f"view {name!r}: {int(wrong.sum())} values are NaN in rows that have others; fill them,"
            " or make all of a row's NaN"
        )
    if sp.issparse(part):
        part = sp.csr_array(part)
        part.data = np.nan_to_num(values)
        part.eliminate_zeros()
        return part
    return np.nan_to_num(part)
