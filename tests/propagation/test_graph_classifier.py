"""LabelSpreading and LabelPropagation as scikit-learn classifiers."""

from __future__ import annotations

from typing import Any

import dask
import dask.array as da
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from distributed import Client
from sklearn import semi_supervised
from sklearn.base import clone
from sklearn.datasets import load_digits, load_iris, make_blobs
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ssl_dask.errors import GraphError, WorkersChangedError
from ssl_dask.estimators import LabelPropagation, LabelPropagationRegressor, LabelSpreading
from ssl_dask.execution import Execution
from ssl_dask.graph.block.block_graph import BlockGraph
from ssl_dask.graph.build.neighbour_graph import knn_graph
from ssl_dask.propagation.engine.session import PropagationSession
from ssl_dask.sklearn_skin import decided_codes
from tests.made_graphs import delay, few_labels

Arrays = tuple[np.ndarray, ...]

BOTH = pytest.mark.parametrize("Classifier", [LabelSpreading, LabelPropagation])


@pytest.fixture(scope="module")
def blobs() -> Arrays:
    """400 rows in 3 clouds, true classes, y with 4 rows of each class labelled."""
    X, truth = make_blobs(400, n_features=5, centers=3, cluster_std=2.0, random_state=3)
    y = np.full(400, -1)
    for c in range(3):
        y[np.flatnonzero(truth == c)[:4]] = c
    return X, truth, y


@BOTH
def test_clouds_are_labelled(blobs: Arrays, Classifier: Any) -> None:
    X, truth, y = blobs
    before = X.copy(), y.copy()
    model = Classifier().fit(X, y)
    np.testing.assert_array_equal(X, before[0])
    np.testing.assert_array_equal(y, before[1])
    np.testing.assert_array_equal(model.classes_, [0, 1, 2])
    assert model.transduction_.dtype == y.dtype
    assert (model.transduction_ == truth)[y < 0].mean() > 0.97
    assert not model.abstained_.any()
    assert model.label_distributions_.dtype == np.float32
    np.testing.assert_allclose(model.label_distributions_.sum(axis=1), 1, atol=1e-6)
    assert model.n_iter_ > 3
    assert model.graph_.n_rows == 400
    assert model.n_features_in_ == 5
    assert model.score(X, truth) > 0.97
    assert Classifier().fit(X, y).label_distributions_.tobytes() == (
        model.label_distributions_.tobytes()
    )


@pytest.mark.parametrize("Estimator", [LabelSpreading, LabelPropagationRegressor])
def test_a_fit_begins_anew_when_scores_go_with_a_worker(
    Estimator: Any, blobs: Arrays, monkeypatch: pytest.MonkeyPatch
) -> None:
    X, _, y = blobs
    graph = knn_graph(X, 7)
    if Estimator is LabelPropagationRegressor:
        y = np.where(y < 0, np.nan, y)
    compute, solve = Execution.compute, PropagationSession.solve
    log: list[str] = []
    lost_at = 0

    def counted_solve(*arguments: Any, **more: Any) -> Any:
        log.append("solve")
        return solve(*arguments, **more)

    def losing_compute(self: Execution, tasks: Any, what: str = "") -> Any:
        log.append(what)
        if len(log) == lost_at:
            raise WorkersChangedError("a worker was lost")
        return compute(self, tasks, what)

    monkeypatch.setattr(PropagationSession, "solve", counted_solve)
    monkeypatch.setattr(Execution, "compute", losing_compute)
    expected = Estimator().fit(graph, y).transduction_
    # The answer is fetched last, outside of what the methods do again themselves.
    lost_at = len(log)
    log.clear()
    again = Estimator().fit(graph, y)
    assert log.count("solve") == 2
    np.testing.assert_array_equal(again.transduction_, expected)


@BOTH
def test_all_kinds_of_arrays_give_the_same_bits(
    blobs: Arrays, Classifier: Any, cluster_client: Client
) -> None:
    X, _, y = blobs
    X = np.where(np.abs(X) < 1, 0, X).astype(np.float32)
    new = X[::7] + np.float32(0.25)
    model = Classifier(tol=0.01).fit(X, y)
    F, predicted = model.label_distributions_, model.predict(new)
    assert len(np.unique(predicted)) == 3

    chunked = Classifier(tol=0.01).fit(
        da.from_array(X, chunks=(90, 5)), da.from_array(y, chunks=170)
    )
    assert chunked.label_distributions_.chunks[0] == (90, 90, 90, 90, 40)
    assert chunked.label_distributions_.compute().tobytes() == F.tobytes()
    np.testing.assert_array_equal(chunked.transduction_.compute(), model.transduction_)
    assert chunked.transduction_.dtype == y.dtype
    np.testing.assert_array_equal(chunked.abstained_.compute(), model.abstained_)
    lazily = chunked.predict(da.from_array(new, chunks=(20, 5)))
    assert isinstance(lazily, da.Array)
    np.testing.assert_array_equal(lazily.compute(), predicted)
    np.testing.assert_array_equal(chunked.predict(new), predicted)

    on_cluster = Classifier(tol=0.01, client=cluster_client).fit(X, y)
    assert on_cluster.label_distributions_.tobytes() == F.tobytes()
    assert on_cluster.n_iter_ == model.n_iter_
    np.testing.assert_array_equal(on_cluster.predict(new), predicted)

    both = Classifier(tol=0.01, client=cluster_client).fit(da.from_array(X, chunks=(150, 5)), y)
    assert cluster_client.compute(both.label_distributions_).result().tobytes() == F.tobytes()
    answers = [both.predict(da.from_array(new, chunks=(30, 5))) for _ in range(4)]
    # What was promised can be had when the model and all it held are gone.
    del both
    for lazily in answers:
        np.testing.assert_array_equal(cluster_client.compute(lazily).result(), predicted)


@BOTH
@pytest.mark.parametrize("kernel", ["knn", "rbf"])
def test_sparse_rows(blobs: Arrays, Classifier: Any, kernel: str) -> None:
    X, _, y = blobs
    X = np.where(np.abs(X) < 1, 0, X / 4).astype(np.float32)[:200]
    y = np.where(np.arange(200) % 20 == 0, blobs[1][:200], -1)
    new = X[::9] * np.float32(1.1)
    settings = {"kernel": kernel, **({"gamma": 2.0} if kernel == "rbf" else {})}
    dense = Classifier(**settings).fit(X, y)
    for make in (sp.csr_matrix, sp.csr_array, sp.csc_array):
        sparse = Classifier(**settings).fit(make(X), y)
        np.testing.assert_array_equal(sparse.transduction_, dense.transduction_)
        np.testing.assert_array_equal(sparse.predict(make(new)), dense.predict(new))
    np.testing.assert_array_equal(sparse.predict(new), dense.predict(new))
    np.testing.assert_array_equal(dense.predict(make(new)), dense.predict(new))
    chunks = [sp.csr_array(X[:70]), sp.csr_array(X[70:])]
    blocks = [da.from_delayed(delay(c), c.shape, dtype=np.float32) for c in chunks]
    lazy = Classifier(**settings).fit(da.concatenate(blocks), y)
    np.testing.assert_array_equal(lazy.transduction_.compute(), dense.transduction_)
    np.testing.assert_array_equal(lazy.predict(sp.csr_array(new)), dense.predict(new))


def test_iris_is_scikit_learns() -> None:
    X, truth = load_iris(return_X_y=True)
    X, free = X[:, :2], np.random.RandomState(42).rand(len(truth)) > 0.1
    y = np.where(free, -1, truth)
    assert (~free).sum() == 18
    theirs = semi_supervised.LabelPropagation().fit(X, y)
    ours = LabelPropagation(kernel="rbf", gamma=20).fit(X, y)
    np.testing.assert_array_equal(ours.transduction_, theirs.transduction_)
    right = ours.transduction_ == truth
    assert right[~free].mean() == 1.0
    assert round(float(right.mean()), 3) == 0.707
    assert round(float(right[free].mean()), 3) == 0.667
    # New rows too; those that no weight joins with a training row abstain, as in `fit`.
    new = np.random.default_rng(0).random((200, 2)) * 4 + 3
    nearest = ((new[:, None] - X) ** 2).sum(axis=2).min(axis=1)
    near = np.exp(-20 * nearest) >= np.finfo(np.float32).tiny
    assert 100 < near.sum() < 200
    np.testing.assert_array_equal(ours.predict(new[near]), theirs.predict(new[near]))
    assert (ours.predict(new[~near]) == -1).all()
    assert not ours.predict_proba(new[~near]).any()
    with np.errstate(invalid="ignore"):
        assert np.isnan(theirs.predict_proba([[100.0, 3.0]])).all()


def test_gamma_alone_is_the_kernel_that_has_it(blobs: Arrays) -> None:
    X, _, y = blobs
    alone = LabelSpreading(gamma=0.05).fit(X, y)
    named = LabelSpreading("rbf", gamma=0.05, n_neighbors=3).fit(X, y)
    assert alone.graph_.settings["kind"] == "rbf"
    assert alone.label_distributions_.tobytes() == named.label_distributions_.tobytes()
    beside = LabelSpreading("knn", gamma=0.05).fit(X, y)
    assert beside.graph_.settings["kind"] == "knn"


@BOTH
def test_a_function_of_rows_is_a_kernel(blobs: Arrays, Classifier: Any) -> None:
    X, _, y = blobs
    new = X[::11] + 0.1

    def radial(A: Any, B: Any) -> np.ndarray:
        return np.exp(-0.05 * ((A[:, None] - B) ** 2).sum(axis=2))

    ours = Classifier(lambda A, B: sp.csc_array(radial(A, B)), tol=1e-6).fit(X, y)
    known = Classifier("rbf", gamma=0.05, tol=1e-6).fit(X, y)
    np.testing.assert_allclose(ours.label_distributions_, known.label_distributions_, atol=1e-5)
    np.testing.assert_allclose(ours.predict_proba(new), known.predict_proba(new), atol=1e-5)
    lazily = ours.predict_proba(da.from_array(new, chunks=(9, 5)))
    np.testing.assert_array_equal(lazily.compute(), ours.predict_proba(new))
    # The two affinities of a pair are averaged.
    skew = Classifier(lambda A, B: radial(A, B) * (A[:, :1] > B[:, 0]) * 2).fit(X, y)
    W = radial(X, X) * (1 - np.eye(len(X)))
    np.testing.assert_allclose(skew.graph_.to_scipy().toarray(), W, rtol=1e-5, atol=1e-30)
    with pytest.raises(GraphError, match=r"needs all rows at once.*kernel 'knn'"):
        Classifier(radial).fit(da.from_array(X, chunks=(90, 5)), y)
    with pytest.raises(GraphError, match=r"shape \(1, 400\) for 400 rows"):
        Classifier(lambda A, B: radial(A[:1], B)).fit(X, y)
    sums = np.asarray(ours._build_graph().sum(axis=1)).ravel()
    assert (np.abs(sums - 1) < 1e-9).all() == (Classifier is LabelPropagation)


@pytest.mark.parametrize("kernel", ["knn", "rbf"])
def test_scikit_learn_on_our_graph(blobs: Arrays, kernel: str) -> None:
    X, _, y = blobs
    parameters = {"kernel": kernel, **({"gamma": 0.05} if kernel == "rbf" else {})}
    ours = LabelSpreading(alpha=0.8, tol=1e-6, **parameters).fit(X, y)
    W = ours.graph_.to_scipy().toarray().astype(np.float64)
    theirs = semi_supervised.LabelSpreading(
        kernel=lambda a, b: W.copy(), alpha=0.8, max_iter=2000, tol=1e-12
    ).fit(X, y)
    np.testing.assert_allclose(ours.label_distributions_, theirs.label_distributions_, atol=2e-5)
    np.testing.assert_array_equal(ours.transduction_, theirs.transduction_)

    ours = LabelPropagation(tol=1e-5, max_iter=50_000, **parameters).fit(X, y)
    theirs = semi_supervised.LabelPropagation(
        kernel=lambda a, b: W.copy(), max_iter=50_000, tol=1e-9
    ).fit(X, y)
    np.testing.assert_allclose(ours.label_distributions_, theirs.label_distributions_, atol=1e-4)
    assert (ours.transduction_ == theirs.transduction_).all()


@BOTH
def test_a_graph_of_the_users_own(blobs: Arrays, Classifier: Any) -> None:
    X, _, y = blobs
    graph = knn_graph(X, n_neighbors=15)
    model = Classifier().fit(graph, y)
    assert (
        model.label_distributions_.tobytes()
        == Classifier().fit(X, y).label_distributions_.tobytes()
    )
    assert model.graph_ is graph
    assert not hasattr(model, "n_features_in_")
    with pytest.raises(ValueError, match="fitted on a graph"):
        model.predict(X)
    with pytest.raises(ValueError, match="n_neighbors=7 is not used here"):
        Classifier(n_neighbors=7).fit(graph, y)
    # A model that knew features forgets them.
    again = Classifier().fit(X, y).fit(graph, y)
    assert not hasattr(again, "X_")
    assert not hasattr(again, "n_features_in_")


@BOTH
def test_rows_without_a_path_to_a_seed_are_refused(Classifier: Any) -> None:
    W = sp.block_diag([np.ones((3, 3)), np.ones((2, 2)), np.ones((1, 1))])
    y = np.array(["a", None, None, None, None, None], dtype=object)
    model = Classifier().fit(BlockGraph.from_scipy(W), y)
    np.testing.assert_array_equal(model.transduction_, ["a", "a", "a", None, None, None])
    np.testing.assert_array_equal(model.abstained_, [False] * 3 + [True] * 3)
    np.testing.assert_array_equal(model.label_distributions_[3:], 0.0)
    numbers = Classifier().fit(BlockGraph.from_scipy(W), np.array([0, 1, -1, -1, 1, -1]))
    np.testing.assert_array_equal(numbers.transduction_[3:], [1, 1, -1])


@BOTH
def test_ties_are_refused(Classifier: Any) -> None:
    path = np.diag(np.ones(4), 1)
    model = Classifier().fit(BlockGraph.from_scipy(path + path.T), [0, -1, -1, -1, 1])
    np.testing.assert_array_equal(model.transduction_, [0, 0, -1, 1, 1])
    np.testing.assert_array_equal(model.abstained_, [False, False, True, False, False])
    np.testing.assert_allclose(model.label_distributions_[2], [0.5, 0.5], atol=1e-6)


def test_new_rows_beside_refused_rows_are_refused_unless_every_row_gets_a_class() -> None:
    X = np.concatenate([np.arange(6.0), np.arange(1000.0, 1004.0)])[:, None]
    names = np.array(["b", "b", None, None, None, "a", None, None, None, None], dtype=object)
    model = LabelSpreading(n_neighbors=2).fit(X, names)
    np.testing.assert_array_equal(model.abstained_, [False] * 6 + [True] * 4)
    new = np.array([[0.2], [4.9], [1001.5]])
    assert model.predict(new).tolist() == ["b", "a", None]
    np.testing.assert_array_equal(model.predict_proba(new)[2], 0.0)
    # The class of most seeds where there is no evidence.
    decided = model.predict(new, abstain=False)
    assert decided.tolist() == ["b", "a", "b"]
    lazily = model.predict(da.from_array(new, chunks=(2, 1)), abstain=False)
    assert lazily.compute().tolist() == decided.tolist()
    F = np.array([[0.5, 0.5], [0.0, 0.0], [0.2, 0.8]])
    assert decided_codes(F, True, -1).tolist() == [-1, -1, 1]
    # A tie goes to its first class.
    assert decided_codes(F, False, 1).tolist() == [0, 1, 1]


def test_predicted_distributions_are_the_weighted_mean() -> None:
    rng = np.random.default_rng(4)
    X, y = rng.random((60, 3)), np.where(np.arange(60) % 3 == 0, rng.integers(0, 3, 60), -1)
    new = rng.random((10, 3))
    distances = np.sqrt(((new[:, None] - X) ** 2).sum(axis=2))
    near = np.argsort(distances, axis=1)[:, :6]
    d = np.take_along_axis(distances, near, axis=1)
    for weights in ("gaussian", "uniform"):
        model = LabelSpreading(n_neighbors=6, weights=weights).fit(X, y)
        w = np.exp(-4 * (d / d[:, -1:]) ** 2) if weights == "gaussian" else np.ones_like(d)
        F = np.einsum("ik,ikc->ic", w, model.label_distributions_[near])
        F /= F.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(model.predict_proba(new), F, atol=1e-5)
    cosine = LabelSpreading(n_neighbors=6, metric="cosine").fit(X, y)
    unit, units = new / np.linalg.norm(new, axis=1)[:, None], X / np.linalg.norm(X, axis=1)[:, None]
    far = 1 - unit @ units.T
    near = np.argsort(far, axis=1)[:, :6]
    d = np.take_along_axis(far, near, axis=1)
    F = np.einsum("ik,ikc->ic", np.exp(-4 * d / d[:, -1:]), cosine.label_distributions_[near])
    np.testing.assert_allclose(
        cosine.predict_proba(new), F / F.sum(axis=1, keepdims=True), atol=1e-4
    )


@BOTH
def test_a_row_is_predicted_alike_in_any_company(blobs: Arrays, Classifier: Any) -> None:
    X, _, y = blobs
    for kernel, more in (("knn", {}), ("rbf", {"gamma": 0.05})):
        model = Classifier(kernel, **more).fit(X[:150], y[:150])
        together = model.predict_proba(X[150:170])
        alone = np.concatenate([model.predict_proba(X[i : i + 1]) for i in range(150, 170)])
        assert together.tobytes() == alone.tobytes()


@BOTH
def test_strings_data_frames_and_pipelines(blobs: Arrays, Classifier: Any) -> None:
    X, truth, y = blobs
    names = np.array(["ham", "spam", "eggs"], dtype=object)
    words = np.where(y < 0, None, names[y])
    frame = pd.DataFrame(X, columns=list("vwxyz"))
    model = Classifier().fit(frame, words)
    np.testing.assert_array_equal(model.feature_names_in_, list("vwxyz"))
    np.testing.assert_array_equal(model.classes_, sorted(names))
    assert (model.transduction_ == names[truth]).mean() > 0.97
    with pytest.raises(ValueError, match="feature names"):
        model.predict(frame.rename(columns={"v": "other"}))
    piped = make_pipeline(StandardScaler(), Classifier()).fit(frame, words)
    assert (piped.predict(frame) == names[truth]).mean() > 0.97


def test_a_seed_without_weight_is_none() -> None:
    X, y = np.random.default_rng(2).random((60, 3)), np.full(60, -1)
    y[:8] = [0, 1] * 4
    weights = np.where(np.isin(np.arange(60), [1, 3]), 0.0, 1.0)
    model = LabelSpreading().fit(X, y, sample_weight=weights)
    same = LabelSpreading().fit(X, np.where(weights > 0, y, -1))
    np.testing.assert_array_equal(model.label_distributions_, same.label_distributions_)
    for wrong, message in (
        (np.zeros(60), "zero for all labelled rows"),
        (np.ones(59), "has 59 values"),
        (-np.ones(60), "finite number of at least 0"),
    ):
        with pytest.raises(ValueError, match=message):
            LabelSpreading().fit(X, y, sample_weight=wrong)


def test_search_over_parameters(blobs: Arrays) -> None:
    X, truth, _ = blobs
    search = GridSearchCV(LabelSpreading(), {"alpha": [0.5, 0.9]}, cv=StratifiedKFold(2))
    search.fit(X[:90], truth[:90])
    assert search.best_score_ > 0.9


def test_a_copy_shares_the_client(cluster_client: Client) -> None:
    copy = clone(LabelSpreading(alpha=0.5, client=cluster_client))
    assert copy.client is cluster_client
    assert copy.alpha == 0.5
    assert LabelSpreading().get_params()["client"] is None


def test_numbers_of_numpy_are_numbers(blobs: Arrays) -> None:
    X, _, y = blobs
    numbers = {"n_neighbors": np.int64(8), "alpha": np.float32(0.5), "max_iter": np.int32(500)}
    assert LabelSpreading(**numbers).fit(X, y).n_iter_ > 1


@BOTH
def test_bad_rows_are_refused(Classifier: Any) -> None:
    X, y = np.random.default_rng(0).random((20, 2)), np.arange(20) % 3 - 1
    with pytest.raises(NotFittedError):
        Classifier().predict(X)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        Classifier().fit(X, y[:-1])
    with pytest.raises(ValueError, match="no labelled rows"):
        Classifier().fit(X, np.full(20, -1))
    with pytest.raises(ValueError, match="Expected 2D array"):
        Classifier().fit(da.from_array(X[:, 0]), y)
    model = Classifier().fit(X, y)
    with pytest.raises(ValueError, match="expecting 2 features"):
        model.predict(da.from_array(np.ones((4, 3))))
    broken = np.where(X > 0.9, np.nan, X)
    assert np.isnan(broken).any()
    with pytest.raises(GraphError, match="NaN"):
        Classifier().fit(da.from_array(broken), y)
    with pytest.raises(GraphError, match="NaN"):
        Classifier("rbf").fit(X, y).predict(da.from_array(broken)).compute()


@BOTH
def test_too_few_iterations_are_told(blobs: Arrays, Classifier: Any) -> None:
    X, _, y = blobs
    told = r"max_iter=3 was reached without convergence: the error of .* raise max_iter or tol"
    with pytest.warns(ConvergenceWarning, match=told):
        model = Classifier(max_iter=3).fit(X, y)
    assert model.n_iter_ == 3
    with pytest.warns(ConvergenceWarning, match="float32"):
        Classifier(tol=0.0, max_iter=100_000).fit(X, y)


@pytest.mark.parametrize(("per_class", "least"), [(1, 0.84), (2, 0.90), (5, 0.945)])
def test_digits_with_few_labels(per_class: int, least: float) -> None:
    X, truth = load_digits(return_X_y=True)
    graph = knn_graph(X, n_neighbors=10)
    accuracies = []
    for draw in range(3):
        y = few_labels(truth, per_class, draw)
        model = LabelSpreading(alpha=0.99).fit(graph, y)
        accuracies.append((model.transduction_ == truth)[y < 0].mean())
    assert np.mean(accuracies) >= least
    assert np.max(accuracies) < 1.0


def test_dask_hands_a_fitted_estimator_back_as_it_is() -> None:
    # It builds dataclasses anew from their fields, and what was fitted would be lost.
    model = LabelSpreading(n_neighbors=1).fit([[0.0], [1.0], [5.0], [6.0]], [0, -1, 1, -1])
    _, back = dask.compute(dask.delayed(1), model)
    assert back is model
