"""Learners that learn piece by piece: which rows, in which order, and what comes out of it."""

from __future__ import annotations

import json
from typing import Any

import dask.array as da
import numpy as np
import pytest
from distributed import Client
from pydantic import ValidationError
from sklearn.datasets import load_digits
from sklearn.linear_model import SGDClassifier
from sklearn.naive_bayes import MultinomialNB

from ssl_dask.errors import JobSpecError
from ssl_dask.execution import Execution
from ssl_dask.kernels.learners.row_samples import PIECES_MIXED, piece_count, piece_numbers
from ssl_dask.labels import Labels
from ssl_dask.method import MethodInputs
from ssl_dask.self_labeled.learners.learner import Learner
from ssl_dask.self_labeled.learners.learner_spec import LearnerSpec, learner_of
from ssl_dask.self_labeled.loop.round_answer import SelfLabeled
from ssl_dask.self_labeled.loop.round_spec import check_learners
from ssl_dask.self_labeled.loop.track import make_tracks
from ssl_dask.self_labeled.methods.co_training import CoTrainingSpec
from ssl_dask.self_labeled.methods.tri_training import TriTrainingSpec
from tests.rounds_by_keywords import co_training, self_training, tri_training

Arrays = tuple[np.ndarray, ...]

MOST = 90


@pytest.fixture(scope="module")
def digits() -> Arrays:
    """500 digits sorted by class, 20 of each class with their label."""
    X, y = load_digits(return_X_y=True)
    order = np.argsort(y[:500], kind="stable")
    X, y = X[:500][order] / 16, y[:500][order]
    hidden = np.full(500, -1)
    for c in range(10):
        hidden[np.flatnonzero(y == c)[:20]] = c
    return X.astype(np.float32), hidden


def run(
    data: Arrays, name: str, chunks: int, execution: Execution | None = None, **settings: Any
) -> SelfLabeled:
    X, y = data
    own, passes = settings.pop("own", {}), settings.pop("passes", None)
    spec = LearnerSpec(name=name, partial_fit=True, parameters=own, passes=passes)
    return self_training(
        {"X": da.from_array(X, chunks=(chunks, -1))},
        Labels.from_codes(y, np.arange(10)),
        learner=spec,
        execution=execution or Execution(threads=2),
        **{"max_fit_rows": MOST, "patience": None, "max_iter": 2, "threshold": 0.6, **settings},
    )


def learned(found: SelfLabeled) -> Arrays:
    """Rows, classes and weights that the last models have learned from."""
    parts = [one.compute(scheduler="sync").assignment for one in found.assignment]
    codes = np.concatenate([part.codes[:, 0] for part in parts])
    weights = np.concatenate([part.weights[:, 0] for part in parts])
    rows = np.flatnonzero(codes >= 0)
    return rows, codes[rows], weights[rows]


@pytest.mark.parametrize("n_rows", [1, 5, 31, 32, 64, 65, 160, 161, 999])
def test_each_row_is_in_one_piece_that_is_not_too_large(n_rows: int) -> None:
    most = 5
    pieces = piece_numbers(np.arange(n_rows), n_rows, most, 3)
    sizes = np.bincount(pieces)
    assert len(sizes) == piece_count(n_rows, most) == -(-n_rows // most)
    assert sizes.sum() == n_rows
    assert sizes.max() <= most
    assert (sizes > 0).all()
    for first in range(0, len(sizes), PIECES_MIXED):
        assert np.ptp(sizes[first : first + PIECES_MIXED]) <= 1
    for cut in (1, n_rows // 2, n_rows - 1):
        parts = [np.arange(cut), np.arange(cut, n_rows)]
        again = np.concatenate([piece_numbers(part, n_rows, most, 3) for part in parts])
        np.testing.assert_array_equal(again, pieces)


def test_pieces_mix_rows_that_are_sorted_or_take_turns() -> None:
    ranks = np.arange(8_000)
    pieces = piece_numbers(ranks, 8_000, 1_000, 0)
    for classes in (ranks // 4_000, ranks % 8 // 4, ranks % 8):
        for piece in range(8):
            counts = np.bincount(classes[pieces == piece])
            assert len(counts) == classes.max() + 1
            assert counts.min() > 0.7 * counts.max()


@pytest.mark.parametrize("mass", [None, 1.0])
def test_same_coefficients_as_partial_fit_by_hand(digits: Any, mass: float | None) -> None:
    X, _ = digits
    found = [run(digits, "sgd", chunks, mass=mass, passes=2) for chunks in (500, 37)]
    rows, codes, weights = learned(found[0])
    assert len(rows) > 3 * MOST
    assert (weights < 1).any() == (mass is not None)
    seed = found[0].models[0].compute(scheduler="sync").model.random_state
    by_hand = SGDClassifier(loss="log_loss", random_state=seed)
    numbers = piece_numbers(np.arange(len(rows)), len(rows), MOST, 0)
    for number in [*range(numbers.max() + 1)] * 2:
        mine = numbers == number
        weigh = {} if mass is None else {"sample_weight": weights[mine].astype(np.float64)}
        by_hand.partial_fit(X[rows[mine]], codes[mine], classes=np.arange(10), **weigh)
    for one in found:
        (model,) = (task.compute(scheduler="sync").model for task in one.models)
        np.testing.assert_array_equal(model.coef_, by_hand.coef_)
        np.testing.assert_array_equal(model.intercept_, by_hand.intercept_)
        assert (one.records[-1].notes or {}) == {"pieces_fitted": numbers.max() + 1}


def test_naive_bayes_knows_what_a_fit_on_all_rows_would(digits: Any) -> None:
    X, _ = digits
    found = run(digits, "multinomial_nb", 90)
    rows, codes, weights = learned(found)
    assert len(rows) > 3 * MOST
    whole = MultinomialNB().fit(X[rows].astype(float), codes, weights)
    (model,) = (task.compute(scheduler="sync").model for task in found.models)
    np.testing.assert_allclose(model.feature_count_, whole.feature_count_, rtol=1e-5)
    np.testing.assert_allclose(model.feature_log_prob_, whole.feature_log_prob_, rtol=1e-5)
    np.testing.assert_allclose(found.F.compute(), whole.predict_proba(X), atol=1e-4)


def test_no_task_gets_more_rows_than_it_may(digits: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[np.ndarray] = []
    inner = Learner.fit_more

    def fit_more(self: Learner, before: Any, pieces: Any, whole: Any, key: Any) -> Any:
        rows = np.concatenate([piece.tags for piece in pieces])
        assert len(rows) <= MOST
        taken.append(rows)
        return inner(self, before, pieces, whole, key)

    monkeypatch.setattr(Learner, "fit_more", fit_more)
    found = run(digits, "gaussian_nb", 70, max_iter=1, mass=None)
    rows, _, _ = learned(found)
    n_last = piece_count(len(rows), MOST)
    np.testing.assert_array_equal(np.sort(np.concatenate(taken[-n_last:])), rows)
    assert n_last > 3
    np.testing.assert_array_equal(
        np.sort(np.concatenate(taken[:-n_last])), np.flatnonzero(digits[1] >= 0)
    )


@pytest.mark.parametrize(("most", "chunks"), [(199, (200, 200, 100)), (200, (245,))])
def test_seeds_that_are_too_many_for_a_worker_stay_where_they_are(
    digits: Any, most: int, chunks: tuple[int, ...]
) -> None:
    X, y = digits
    labels, view = Labels.from_codes(y, np.arange(10)), {"X": da.from_array(X, chunks=(200, -1))}
    inputs = MethodInputs(labels, hidden=[np.arange(200) < 50], views=view)
    limits = {"pool_rows": 45, "max_fit_rows": most, "random_state": 0}
    tracks = make_tracks(inputs, **limits, execution=Execution(threads=1))
    # About 45 of the other rows.
    assert [len(one.row_chunks) for one in tracks] == [3, len(chunks)]
    assert abs(sum(tracks[1].row_chunks) - sum(chunks)) < 20
    assert tracks[1].state.class_seeds.sum() == 150


def test_a_resume_goes_on_with_the_same_models_on_a_cluster(
    digits: Any, cluster_client: Client
) -> None:
    stored: list[Any] = []

    def checkpoint(iteration: int, state: Any, meta: dict[str, Any]) -> Any:
        stored.append((iteration, state, json.loads(json.dumps(meta))))
        return stored[-1]

    hidden = [np.arange(200) % 2 == 0]
    own = {"hidden_layer_sizes": [8]}
    settings = {"hidden": hidden, "patience": 2, "own": own, "passes": 1}
    whole = run(digits, "mlp", 500, **settings)
    there = Execution(cluster_client)
    far = run(digits, "mlp", 170, there, checkpoint=checkpoint, **settings)
    again = run(digits, "mlp", 170, there, resume=stored[-1], **settings)
    F = whole.F.compute(scheduler="sync")
    for other in (far, again):
        assert other.reason == whole.reason
        parts = there.compute(list(other.F.to_delayed().ravel()))
        np.testing.assert_array_equal(np.concatenate(parts), F)
        np.testing.assert_array_equal(np.concatenate(other.fold_F), np.concatenate(whole.fold_F))


def test_co_training_fits_both_views_in_pieces(digits: Any) -> None:
    X, y = digits
    labels = Labels.from_codes(y, np.arange(10))
    answers = []
    for chunks in (500, 80):
        view = {"X": da.from_array(X, chunks=(chunks, -1))}
        learner = LearnerSpec(name="multinomial_nb", partial_fit=True)
        settings = {"max_fit_rows": MOST, "max_iter": 1, "patience": None}
        found = co_training(view, labels, learner=learner, **settings)
        assert (found.records[-1].notes or {})["pieces_fitted"] >= 3
        answers.append(found.F.compute(scheduler="sync"))
    np.testing.assert_array_equal(*answers)
    assert (answers[0].argmax(axis=1) == y)[y >= 0].mean() > 0.7


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("knn", {}, "no partial_fit"),
        ("logistic_regression", {}, "no partial_fit"),
        ("mlp", {"solver": "lbfgs"}, "no partial_fit"),
        ("mlp", {"early_stopping": True}, "early_stopping"),
        ("sgd", {"class_weight": "balanced", "loss": "log_loss"}, "class_weight"),
    ],
)
def test_what_cannot_learn_in_pieces_is_refused(
    name: str, parameters: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        LearnerSpec(name=name, parameters=parameters, partial_fit=True)
    path = type(learner_of(LearnerSpec(name=name, parameters=parameters))._blank(2))
    dotted = f"{path.__module__}.{path.__name__}"
    if dotted.startswith("sklearn."):
        spec = LearnerSpec(name=dotted, parameters=parameters, partial_fit=True)
        with pytest.raises(JobSpecError, match=message):
            learner_of(spec, ["sklearn"], in_pieces=True)


def test_how_often_pieces_are_learned_from() -> None:
    def passes(n_rows: int, **spec: Any) -> int:
        made = LearnerSpec(partial_fit=True, **spec)
        return learner_of(made, ["sklearn"], in_pieces=True).passes_over(n_rows)

    assert [passes(n, name="sgd") for n in (10**3, 10**5, 10**5 + 1, 10**7)] == [20, 10, 10, 1]
    assert passes(10**3, name="gaussian_nb") == 1
    assert passes(10**3, name="sklearn.naive_bayes.BernoulliNB") == 1
    assert passes(10**7, name="mlp", passes=3) == 3
    with pytest.raises(ValidationError, match="needs one pass"):
        LearnerSpec(name="gaussian_nb", partial_fit=True, passes=2)
    with pytest.raises(ValidationError, match="goes with partial_fit"):
        LearnerSpec(name="sgd", passes=2)


def test_methods_that_look_at_all_rows_at_once_refuse_pieces(digits: Any) -> None:
    spec = LearnerSpec(name="sgd", partial_fit=True)
    check_learners(CoTrainingSpec(learner=spec), {}, ())
    with pytest.raises(JobSpecError, match="all rows of a fit at once"):
        check_learners(TriTrainingSpec(learner=spec), {}, ())
    X, y = digits
    view = {"X": da.from_array(X, chunks=(500, -1))}
    with pytest.raises(JobSpecError, match="all rows of a fit at once"):
        tri_training(view, Labels.from_codes(y, np.arange(10)), learner=spec)
