"""Self-training: as scikit-learn's where that is asked for, and the same for any blocks."""

from __future__ import annotations

import json
from typing import Any

import dask.array as da
import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from ssl_dask.execution import Execution
from ssl_dask.kernels.distributions.label_distributions import fit_temperature
from ssl_dask.labels import Labels
from ssl_dask.method import MethodInputs
from ssl_dask.run_control import RunControl
from ssl_dask.self_labeled.learners.learner import Learner
from ssl_dask.self_labeled.loop.hidden_loss import TEMPERATURE_SPREAD, HiddenLoss
from ssl_dask.self_labeled.loop.round_answer import SelfLabeled
from ssl_dask.self_labeled.loop.round_fits import default_fit_rows
from ssl_dask.self_labeled.loop.rounds import RoundLimits, run_rounds
from ssl_dask.self_labeled.methods.self_training import SelfTraining, SelfTrainingSpec
from tests.made_points import in_chunks
from tests.oracles.self_training_rounds import rounds_of_sklearn
from tests.rounds_by_keywords import self_training

REGRESSION = LogisticRegression(max_iter=2000)
HERE = Execution(threads=2)


def digits(n_per_class: int = 4, n_rows: int = 500) -> tuple[np.ndarray, np.ndarray]:
    X, y = load_digits(return_X_y=True)
    X, y = X[:n_rows] / 16.0, y[:n_rows]
    random = np.random.default_rng(3)
    hidden = np.full(len(y), -1)
    for c in range(10):
        rows = random.choice(np.flatnonzero(y == c), n_per_class, replace=False)
        hidden[rows] = c
    return X, hidden


def run(
    X: Any, y: np.ndarray, n_blocks: int = 2, estimator: Any = REGRESSION, **settings: Any
) -> SelfLabeled:
    labels = Labels.from_codes(y, np.arange(10))
    view = in_chunks(X, np.diff(np.linspace(0, len(y), n_blocks + 1).astype(int)))
    return self_training(
        {"X": view},
        labels,
        learner=Learner.of_estimator(estimator),
        patience=None,
        execution=HERE,
        **{"mass": None, "class_shares": "none", **settings},
    )


def fetched(found: SelfLabeled) -> dict[str, np.ndarray]:
    parts = [one.assignment for one in HERE.compute(found.assignment)]
    names = {"labels": "codes", "rounds": "since", "weights": "weights"}
    taken = {k: np.concatenate([getattr(p, v)[:, 0] for p in parts]) for k, v in names.items()}
    return {**taken, "F": np.concatenate(HERE.compute(list(found.F.to_delayed().ravel())))}


@pytest.mark.parametrize(
    "settings",
    [
        {"criterion": "threshold", "threshold": 0.6, "max_iter": 4},
        {"criterion": "threshold", "threshold": 0.5, "max_iter": None},
        {"criterion": "k_best", "k_best": 77, "max_iter": 4},
        {"criterion": "k_best", "k_best": 150, "max_iter": None},
    ],
    ids=["threshold", "threshold_to_end", "k_best", "k_best_to_end"],
)
def test_same_rows_in_same_rounds_as_scikit_learn(settings: dict) -> None:
    X, y = digits()
    theirs = rounds_of_sklearn(REGRESSION, X, y, **settings)
    labelled = (theirs["rounds"] > 0).sum()
    assert labelled > 200
    assert len(np.unique(theirs["rounds"])) > 3
    for n_blocks in (1, 8):
        found = run(X, y, n_blocks, rescore=False, **settings)
        ours = fetched(found)
        np.testing.assert_array_equal(ours["rounds"], theirs["rounds"])
        np.testing.assert_array_equal(ours["labels"], theirs["labels"])
        assert found.reason == theirs["reason"]
        assert found.n_iter == theirs["n_iter"]
        np.testing.assert_allclose(ours["F"], theirs["probabilities"], atol=1e-6)


def test_rescoring_takes_labels_back() -> None:
    X, y = digits(2)
    found = run(X, y, 3, criterion="k_best", k_best=40, max_iter=3)
    taken_back = sum(sum(record.taken_back or ()) for record in found.records)
    assert taken_back > 0
    last = fetched(found)
    assert (last["rounds"][y >= 0] == 0).all()
    np.testing.assert_array_equal(last["labels"][y >= 0], y[y >= 0])


def test_sparse_rows_get_the_same_labels_as_dense_ones() -> None:
    X, y = digits()
    settings = {"criterion": "k_best", "k_best": 100, "max_iter": 3}
    dense = fetched(run(X, y, 2, **settings))
    sparse = fetched(run(sp.csr_array(X), y, 3, **settings))
    assert (dense["labels"] == sparse["labels"]).mean() > 0.99


def test_hidden_seeds_choose_the_round() -> None:
    X, y = digits(5)
    seeds = np.flatnonzero(y >= 0)
    fold = np.arange(len(seeds)) % 5
    hidden = [fold == f for f in range(5)]
    labels = Labels.from_codes(y, np.arange(10))
    answers = []
    for chunks in (500, 130):
        found = self_training(
            {"X": da.from_array(X, chunks=(chunks, -1))}, labels, hidden=hidden, max_iter=4
        )
        losses = [found.baseline_loss, *(record.hidden_loss for record in found.records)]
        assert found.kept_round == 0 or losses[found.kept_round] < losses[0]
        assert len(found.fold_F) == 5
        assert found.fold_F[0].shape == (10, 10)
        answers.append((losses, found.F.compute(scheduler="sync")))
    assert answers[0][0] == answers[1][0]
    np.testing.assert_array_equal(answers[0][1], answers[1][1])


def test_rows_at_the_threshold_are_not_labelled_where_a_class_has_its_share() -> None:
    X, y = digits()
    settings = {"threshold": 0.75, "max_iter": 1}
    known = y >= 0
    knn = KNeighborsClassifier(4).fit(X[known], y[known])
    confidence = knn.predict_proba(X).max(axis=1)
    at = (confidence == 0.75) & (y < 0)
    assert at.sum() > 50
    for shares in ("none", {**dict.fromkeys(range(9), 1 / 9.01), 9: 0.01 / 9.01}):
        found = run(X, y, 2, KNeighborsClassifier(4), class_shares=shares, **settings)
        labels = fetched(found)["labels"]
        assert (labels[at] == -1).all()
        assert (labels[(confidence > 0.75) & (y < 0)] >= 0).sum() > 50


@pytest.mark.parametrize("rescore", [False, True])
@pytest.mark.parametrize(
    "settings",
    [
        {"criterion": "k_best", "k_best": 60},
        {"criterion": "k_best", "k_best": 5000},
        {"threshold": 0.3, "class_shares": "baseline"},
        {"threshold": 0.3, "class_shares": "none"},
        {"criterion": "adaptive", "class_shares": "seeds"},
    ],
    ids=["k_best", "all_rows", "threshold", "no_shares", "adaptive"],
)
def test_pseudo_labels_weigh_the_mass_together(settings: dict[str, Any], rescore: bool) -> None:
    X, y = digits()
    found = run(X, y, 2, rescore=rescore, mass=0.5, max_iter=4, **settings)
    assert len(found.records) >= (1 if settings.get("k_best") == 5000 else 3)
    given = fetched(found)
    weights = given["weights"][given["rounds"] > 0].astype(float).sum()
    assert weights == pytest.approx(0.5 * (y >= 0).sum(), rel=1e-5)


@pytest.mark.parametrize("rescore", [False, True])
def test_no_class_has_more_rows_than_its_share(rescore: bool) -> None:
    X, y = digits()
    shares = {**dict.fromkeys(range(9), 0.11), 9: 0.01}
    found = run(X, y, 3, class_shares=shares, threshold=0.2, rescore=rescore)
    labels = fetched(found)["labels"]
    counts = np.bincount(labels[(y < 0) & (labels >= 0)], minlength=10)
    most = np.ceil(np.array(list(shares.values())) * (y < 0).sum())
    assert (counts <= most).all()
    assert (counts == most).sum() >= 3


def test_adaptive_thresholds_are_those_of_the_paper() -> None:
    X, y = digits()
    found = run(X, y, 3, criterion="adaptive", max_iter=1)
    known = y >= 0
    p = REGRESSION.fit(X[known], y[known]).predict_proba(X)
    means = p[~known].mean(axis=0)
    tau = p[~known].max(axis=1).mean() * means / means.max()
    np.testing.assert_allclose(found.records[0].thresholds, tau, atol=1 / 4096)
    confidence, codes = p.max(axis=1), p.argmax(axis=1)
    far = np.abs(confidence - tau[codes]) > 1 / 4096
    labels = fetched(found)["labels"]
    wanted = np.where(confidence > tau[codes], codes, -1)
    np.testing.assert_array_equal(labels[far & ~known], wanted[far & ~known])
    assert 100 < (labels[~known] >= 0).sum() < 400
    assert np.ptp(tau) > 0.1


def test_a_resume_where_nothing_changed_keeps_the_models() -> None:
    X, y = digits()
    stored: dict[int, Any] = {}

    def checkpoint(iteration: int, state: Any, meta: dict[str, Any]) -> Any:
        stored[iteration] = (iteration, state, json.loads(json.dumps(meta)))
        return stored[iteration]

    settings = {"threshold": 0.95, "rescore": False, "max_iter": 30}
    forest = RandomForestClassifier(n_estimators=10, max_depth=6)
    whole = run(X, y, 3, forest, checkpoint=checkpoint, **settings)
    assert whole.reason == "no_change"
    assert whole.n_iter >= 3
    for iteration in (whole.n_iter - 1, whole.n_iter):
        again = run(X, y, 3, forest, resume=stored[iteration], **settings)
        assert (again.reason, again.n_iter) == (whole.reason, whole.n_iter)
        np.testing.assert_array_equal(again.F.compute(), whole.F.compute())


def test_a_single_fold_is_enough() -> None:
    X, y = digits()
    hidden = [np.arange((y >= 0).sum()) % 4 == 0]
    found = run(X, y, 2, max_iter=1, hidden=hidden)
    assert found.baseline_accuracy is not None
    assert found.fold_F[0].shape == (10, 10)


def test_wide_rows_fill_no_more_than_narrow_ones() -> None:
    wide = da.zeros((10, 2_000), chunks=(5, -1), dtype=np.float32)
    assert default_fit_rows({"X": wide}) == 2**28 // 8_000
    assert default_fit_rows({"X": wide[:, :10].astype(np.float64)}) == 2**28 // 80
    sparse = wide.map_blocks(sp.csr_array)
    assert default_fit_rows({"X": sparse}) == 2**28 // 1_024


def test_what_hidden_seeds_were_called_is_kept_for_three_rounds_only() -> None:
    codes = np.array([0, 1, 0, 1], dtype=np.int32)
    loss = HiddenLoss(codes, [np.array([True, True, False, False])])
    said = [np.array([[a, 1 - a], [1 - a, a]], np.float32) for a in (0.6, 0.9, 0.4, 0.3, 0.2)]
    for F in said:
        loss.add([F])
    assert loss.kept_round == 1
    assert loss.rounds_without_gain == 3
    stored = json.loads(json.dumps(loss.as_dict()))
    assert [number for number, _ in stored["fold_F"]] == [0, 1, 4]
    again = HiddenLoss(codes, loss.hidden)
    again.restore(stored)
    again.repeat()
    for number, F in ((0, said[0]), (1, said[1]), (5, said[4])):
        np.testing.assert_array_equal(again.fold_F(number)[0], F)
    assert again.accuracy(again.last) == 0.0
    assert again.accuracy(0) == 1.0


def test_a_class_without_sure_rows_is_told_in_plain_json() -> None:
    # Class 9 has no row above the threshold, and class 0 more than its share.
    X, y = digits()
    X, y = X.copy(), y.copy()
    X[y == 9] = X[y == 8] + 1e-3
    shares = {**dict.fromkeys(range(10), 1 / 9.01), 0: 0.01 / 9.01}
    stored = []

    def checkpoint(iteration: int, state: Any, meta: dict[str, Any]) -> Any:
        stored.append(json.dumps(meta, allow_nan=False))
        return iteration, state, json.loads(stored[-1])

    settings = {"class_shares": shares, "threshold": 0.6, "max_iter": 1}
    found = run(X, y, 2, checkpoint=checkpoint, **settings)
    thresholds = found.records[0].thresholds
    assert thresholds[9] is None
    assert min(one for one in thresholds if one is not None) == 0.6
    assert thresholds[0] > 0.6
    assert json.loads(stored[0])["selection"]["thresholds"] == list(thresholds)


def test_what_a_criterion_does_not_look_at_is_refused() -> None:
    X, y = digits()
    with pytest.raises(ValueError, match="criterion"):
        run(X, y, 1, criterion="best")
    with pytest.raises(ValueError, match="k_best takes the surest rows of any class"):
        run(X, y, 1, criterion="k_best", class_shares="seeds")
    with pytest.raises(ValueError, match="k_best takes the surest rows of any class"):
        SelfTrainingSpec(criterion="k_best", class_shares={0: 0.5, 1: 0.5})
    assert SelfTrainingSpec(criterion="k_best").class_shares == "baseline"


@pytest.mark.parametrize(
    "shares", [dict.fromkeys(range(9), 1 / 9), {**dict.fromkeys(range(9), 0.1), "9": 0.1}]
)
def test_shares_must_be_of_all_classes(shares: dict[Any, float]) -> None:
    X, y = digits()
    with pytest.raises(ValueError, match="exactly the 10 classes"):
        run(X, y, 1, class_shares=shares)


def told_by_others(X: np.ndarray, y: np.ndarray, hidden: np.ndarray) -> np.ndarray:
    """Return what a model of the other seeds says of the hidden ones, float32."""
    model = REGRESSION.fit(X[~hidden], y[~hidden])
    assert len(model.classes_) == 10
    return model.predict_proba(X[hidden]).astype(np.float32)


def test_confidences_are_calibrated_on_hidden_seeds_or_that_is_told() -> None:
    X, y = digits(6)
    n_seeds = int((y >= 0).sum())
    hidden = [np.arange(n_seeds) % 3 == fold for fold in range(3)]
    settings = {"threshold": 0.8, "max_iter": 1}
    plain = run(X, y, 2, hidden=hidden, **settings)
    warm = run(X, y, 2, hidden=hidden, calibrate=True, **settings)
    assert warm.findings == ()
    # Hidden seeds are told better than this weak learner thinks: more rows are sure.
    known = y >= 0
    T = fit_temperature(
        np.concatenate([told_by_others(X[known], y[known], mask) for mask in hidden]),
        np.concatenate([y[known][mask] for mask in hidden]).astype(np.int32),
        TEMPERATURE_SPREAD,
    )
    assert T < 0.9
    p = REGRESSION.fit(X[known], y[known]).predict_proba(X)
    powers = p ** (1 / T)
    sure = (powers / powers.sum(axis=1, keepdims=True)).max(axis=1) > 0.8
    np.testing.assert_array_equal((fetched(warm)["labels"] >= 0) | known, sure | known)
    assert sure.sum() > (fetched(plain)["labels"] >= 0).sum() + 20
    alone = run(X, y, 2, calibrate=True, **settings)
    assert any("not calibrated" in note for note in alone.warnings)


def test_a_pseudo_label_weighs_no_more_than_it_may() -> None:
    X, y = digits()
    settings = {"threshold": 0.6, "max_iter": 1}
    found = run(X, y, 2, weight=0.25, **settings)
    given = fetched(found)
    weights = given["weights"]
    assert set(weights[given["rounds"] > 0].tolist()) == {0.25}
    assert set(weights[given["rounds"] == 0].tolist()) == {1.0}
    known = given["labels"] >= 0
    theirs = REGRESSION.fit(X[known], given["labels"][known], weights[known]).predict_proba(X)
    np.testing.assert_allclose(given["F"], theirs, atol=1e-5)


def test_a_learner_without_weights_learns_from_rows_drawn_by_weight() -> None:
    X, y = digits()
    settings = {"threshold": 0.7, "max_iter": 3, "mass": 1.0, "class_shares": "baseline"}
    answers = []
    for n_blocks in (1, 8):
        found = run(X, y, n_blocks, KNeighborsClassifier(3), **settings)
        notes = found.records[-1].notes or {}
        (drawn,) = notes["rows_drawn_by_weight_for"]
        assert drawn.endswith(".KNeighborsClassifier")
        answers.append(fetched(found))
    for name in answers[0]:
        np.testing.assert_array_equal(answers[0][name], answers[1][name])
    # The model knows all seeds, and about as many other rows as weigh as much.
    (model,) = (task.compute(scheduler="sync").model for task in found.models)
    assert 60 < len(model._fit_X) < 100
    light = run(X, y, 1, **settings)
    assert "rows_drawn_by_weight_for" not in (light.records[-1].notes or {})


def test_rounds_end_when_hidden_seeds_are_told_no_better() -> None:
    X, y = digits(8)
    labels = Labels.from_codes(y, np.arange(10))
    hidden = [np.arange(labels.n_seeds) % 4 == fold for fold in range(4)]
    view = {"X": da.from_array(X, chunks=(200, -1))}
    settings = {"criterion": "k_best", "k_best": 30, "hidden": hidden, "mass": None}
    found = self_training(view, labels, patience=2, max_iter=30, **settings)
    assert found.reason == "hidden_loss"
    losses = [found.baseline_loss, *(record.hidden_loss for record in found.records)]
    assert found.kept_round == int(np.argmin(losses)) == found.n_iter - 2
    assert found.kept_round > 0
    short = self_training(view, labels, patience=None, max_iter=found.kept_round, **settings)
    np.testing.assert_array_equal(found.F.compute(), short.F.compute())
    last = self_training(view, labels, patience=None, max_iter=found.n_iter, **settings)
    assert last.kept_round == found.n_iter
    assert (last.F.compute() != found.F.compute()).any()


def test_a_fit_takes_no_more_rows_than_it_may() -> None:
    X, y = digits()
    labels = Labels.from_codes(y, np.arange(10))
    hidden = [np.arange(40) % 4 == fold for fold in range(4)]
    sizes: list[int] = []
    taken: list[np.ndarray] = []

    class Counted(Learner):
        def fit(self, pieces: Any, n_classes: int, key: tuple[int, ...]) -> Any:
            rows = np.concatenate([piece.tags for piece in pieces])
            if key[1] == 0:
                sizes.append(len(rows))
                taken.append(rows)
                assert np.isin(labels.rows, rows).all()
            return super().fit(pieces, n_classes, key)

    one = Learner.of_estimator(REGRESSION)
    method = SelfTraining(
        Counted("", {}, one.scoring, one.name, REGRESSION), 10, "none", threshold=0.3
    )
    answers = []
    for chunks in (500, 90):
        view = {"X": da.from_array(X, chunks=(chunks, -1))}
        found = run_rounds(
            method,
            MethodInputs(labels, hidden=hidden, views=view),
            RoundLimits(max_iter=2, max_fit_rows=150, pool_rows=100),
            RunControl(),
        )
        answers.append((found.F.compute(), np.concatenate(found.fold_F)))
        assert (found.records[-1].notes or {})["most_rows_fitted"] == 150
        assert sum(found.records[0].labeled or ()) > 300
    assert sizes[0] == 40
    assert all(100 < size < 230 for size in sizes[1:3])
    # The rows of the round before, but those whose label has come or gone: no new draw.
    assert np.isin(taken[2], taken[1]).mean() > 0.7
    for ours, theirs in zip(*answers, strict=True):
        np.testing.assert_array_equal(ours, theirs)
