"""Label spreading and propagation: closed forms, equal bits anywhere, folds, checkpoints."""

from __future__ import annotations

import gc
from collections.abc import Callable
from functools import partial
from itertools import combinations
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from distributed import Client
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits
from sklearn.neighbors import kneighbors_graph

from ssl_dask.errors import QualityError, ResumeMismatchError
from ssl_dask.execution import Execution
from ssl_dask.graph.block.block_graph import BlockGraph
from ssl_dask.propagation.engine.propagated import Propagated
from ssl_dask.round_record import RoundRecord
from tests.by_keywords import by_keywords
from tests.known_methods import GRAPH_CLASSIFIERS
from tests.made_graphs import N_CLASSES, labels_of, path_graph, random_weights, some_codes
from tests.oracles import closed_forms as forms

Arrays = tuple[np.ndarray, ...]

Oracle = Callable[[np.ndarray, np.ndarray], np.ndarray]


@pytest.fixture(scope="module")
def digits() -> Arrays:
    """Gaussian 10-neighbour graph of 600 digits, true classes, two seeds for each of 4 classes."""
    X, y = load_digits(return_X_y=True)
    keep = np.flatnonzero(y < N_CLASSES)[:600]
    X, y = X[keep], y[keep]
    near = kneighbors_graph(X, 10, mode="distance")
    width = np.repeat(near.max(axis=1).toarray().ravel(), 10)
    near.data = np.exp(-4 * (near.data / width) ** 2)
    W = sp.csr_array(((near + near.T) / 2).astype(np.float32))
    codes = np.full(len(y), -1)
    for c in range(N_CLASSES):
        codes[np.flatnonzero(y == c)[[5, 50]]] = c
    return W, y, codes


def run(method: str, graph: BlockGraph, codes: np.ndarray, **parameters: Any) -> Propagated:
    return by_keywords(GRAPH_CLASSIFIERS[method])(graph, labels_of(codes), **parameters)


# The ensemble is many solves, with tests of its own.
SOLVERS = [name for name in GRAPH_CLASSIFIERS if name != "graph_ensemble"]
MU = {"mu1": 1.0, "mu2": 0.5, "mu3": 0.014}
adsorbed = partial(forms.modified_adsorption, mu=tuple(MU.values()))


def class_mass(*shares: float) -> Oracle:
    def oracle(W: np.ndarray, Y: np.ndarray) -> np.ndarray:
        seeds = Y.any(axis=1)
        q = np.array(shares) if shares else np.bincount(Y[seeds].argmax(axis=1))
        return forms.class_mass_normalised(forms.harmonic(W, Y), ~seeds, q)

    return oracle


GIVEN = {0: 0.1, 1: 0.2, 2: 0.3, 3: 0.4}
CLOSED_FORMS: list[tuple[str, dict[str, Any], Oracle]] = [
    *(
        ("label_spreading", {"alpha": alpha, "tol": tol}, partial(forms.spread, alpha=alpha))
        for alpha, tol in ((0.5, 1e-6), (0.9, 1e-6), (0.99, 3e-6))
    ),
    ("balanced_spreading", {"alpha": 0.95, "tol": 1e-6}, partial(forms.balanced, alpha=0.95)),
    ("label_propagation", {"tol": 5e-6}, forms.harmonic),
    ("label_propagation", {"tol": 5e-6, "class_mass": "seeds"}, class_mass()),
    ("label_propagation", {"tol": 5e-6, "class_mass": GIVEN}, class_mass(*GIVEN.values())),
    ("modified_adsorption", {"tol": 1e-8, **MU}, adsorbed),
]


@pytest.mark.parametrize(("method", "parameters", "oracle"), CLOSED_FORMS)
@pytest.mark.parametrize("kind", ["sparse", "dense", "weighted"])
def test_closed_forms_of_all_seeds_and_of_a_fold(
    method: str, parameters: dict[str, Any], oracle: Oracle, kind: str
) -> None:
    W = random_weights(150, 1)
    if kind == "dense":
        points = np.random.default_rng(8).random((150, 2))
        square = ((points[:, None] - points) ** 2).sum(axis=2)
        W = sp.csr_array(np.exp(-20 * square).astype(np.float32))
        W.setdiag(0)
        assert W.nnz > 0.9 * 150**2
    codes = some_codes(150, 2, n_seeds=10)
    rows, fold = np.flatnonzero(codes >= 0), np.isin(np.arange(10), [0, 5])
    weights = np.random.default_rng(0).uniform(0.4, 2.5, 10) if kind == "weighted" else np.ones(10)
    dense, Y = W.toarray().astype(np.float64), forms.one_hot(codes, N_CLASSES)
    Y[rows] *= weights[:, None]
    scores = oracle(dense, Y)
    graph = BlockGraph.from_scipy(W, n_strips=3)
    found = run(method, graph, codes, sample_weight=weights, hidden=[fold], **parameters)
    assert found.converged
    assert found.reason == "converged"
    F = found.F.compute()
    assert F.dtype == np.float32
    assert found.F.chunks[0] == graph.node_chunks
    np.testing.assert_allclose(F, forms.normalised(scores), atol=2e-5)
    assert found.n_without_evidence == (~scores.any(axis=1)).sum()
    if "spreading" in method:
        mass = found.mass.compute()
        np.testing.assert_allclose(mass, scores.sum(axis=1), atol=1e-5 * scores.max(), rtol=1e-4)
    Y[rows[fold]] = 0
    hidden = forms.normalised(oracle(dense, Y))[rows[fold]]
    np.testing.assert_allclose(found.fold_F[0], hidden, atol=2e-5)
    # Not degenerate: every class is the answer somewhere, and hiding and weights move it.
    assert set(scores[scores.any(axis=1)].argmax(axis=1)) == set(range(N_CLASSES))
    assert np.abs(hidden - F[rows[fold]]).max() > 0.05
    equal = forms.normalised(oracle(dense, forms.one_hot(codes, N_CLASSES)))
    assert (np.abs(equal - F).max() > 0.05) == (kind == "weighted")


def test_methods_are_not_each_other_in_other_words() -> None:
    W, codes = random_weights(150, 1).toarray().astype(float), some_codes(150, 2, n_seeds=10)
    Y = forms.one_hot(codes, N_CLASSES)
    answers = [CLOSED_FORMS[number][2](W, Y).argmax(axis=1) for number in (1, 3, 4, 5, 7)]
    for one, other in combinations(answers, 2):
        assert (one != other).mean() > 0.02


def test_the_client_holds_no_growing_graph(cluster_client: Client, digits: Arrays) -> None:
    W, _, codes = digits
    graph = BlockGraph.from_scipy(W, n_strips=3)
    # Tests before may have left some in cycles of references.
    gc.collect()
    before = len(cluster_client.futures)
    sizes = []

    def look(record: RoundRecord) -> None:
        sizes.append(len(cluster_client.futures) - before)

    execution = Execution(cluster_client)
    more = {"alpha": 0.99, "max_iter": 50, "tol": 0, "execution": execution, "on_round": look}
    run("label_spreading", graph, codes, **more)
    assert len(sizes) == 6
    # Tasks of a superstep leave nothing behind; the strips and what was placed stay.
    assert max(sizes) < 20


@pytest.mark.parametrize(
    ("method", "more"),
    [*((name, {}) for name in SOLVERS), ("label_propagation", {"class_mass": "seeds"})],
)
def test_folds_equal_runs_without_the_hidden_seeds(method: str, more: dict[str, Any]) -> None:
    W, codes = random_weights(120, 3), some_codes(120, 4)
    rows = np.flatnonzero(codes >= 0)
    folds = [np.isin(np.arange(12), chosen) for chosen in ([0, 5], [1, 6, 11])]
    graph = BlockGraph.from_scipy(W, n_strips=4)
    # tol 0: the same number of sweeps with and without further groups.
    more = {**more, "max_iter": 15, "tol": 0}
    together, plain = (run(method, graph, codes, hidden=some, **more) for some in (folds, []))
    rounds = 20 * 17 if method == "poisson_mbo" else 0
    assert together.n_iter == plain.n_iter == 15 + rounds
    F = together.F.compute()
    assert F.tobytes() == plain.F.compute().tobytes()
    for fold, rows_of_F in zip(folds, together.fold_F, strict=True):
        without = np.where(np.isin(np.arange(120), rows[fold]), -1, codes)
        at_hidden = run(method, graph, without, **more).F.compute()[rows[fold]]
        assert rows_of_F.shape == (fold.sum(), N_CLASSES)
        assert rows_of_F.tobytes() == at_hidden.tobytes()
        assert not np.array_equal(rows_of_F, F[rows[fold]])


def test_a_checkpoint_of_something_else_is_refused() -> None:
    W, codes = random_weights(60, 1), some_codes(60, 2)
    graph = BlockGraph.from_scipy(W, n_strips=3)
    saved: list[Any] = []

    def keep(*checkpoint: Any) -> Any:
        saved.append(checkpoint)
        return checkpoint

    run("label_spreading", graph, codes, alpha=0.9, checkpoint=keep, checkpoint_seconds=0)
    with pytest.raises(ResumeMismatchError, match="settings"):
        run("label_spreading", graph, codes, alpha=0.8, resume=saved[0])
    with pytest.raises(ResumeMismatchError, match="method"):
        run("label_propagation", graph, codes, resume=saved[0])
    with pytest.raises(ResumeMismatchError, match="n_seeds"):
        run("label_spreading", graph, some_codes(60, 2, n_seeds=8), alpha=0.9, resume=saved[0])
    # Another row holds the same number of seeds.
    moved = np.roll(codes, 1)
    with pytest.raises(ResumeMismatchError, match="seeds"):
        run("label_spreading", graph, moved, alpha=0.9, resume=saved[0])


@given(st.data())
@settings(max_examples=25, deadline=None)
def test_any_mask_of_labels(data: st.DataObject) -> None:
    n = data.draw(st.integers(3, 40))
    # Blocks without edges between them: components with and without seeds.
    sizes = data.draw(st.lists(st.integers(1, n), min_size=1, max_size=4))
    parts = [random_weights(size, i, density=0.5) for i, size in enumerate(sizes)]
    W = sp.csr_array(sp.block_diag(parts, format="csr").astype(np.float32))
    n = W.shape[0]
    codes = np.array(data.draw(st.lists(st.integers(-1, 3), min_size=n, max_size=n)))
    codes[data.draw(st.integers(0, n - 1))] = data.draw(st.integers(0, 3))
    method = data.draw(st.sampled_from(SOLVERS))
    strips = data.draw(st.integers(1, min(n, 4)))
    graph = BlockGraph.from_scipy(W, n_strips=strips)
    found = run(method, graph, codes, tol=1e-4, max_iter=20_000)
    assert found.converged
    F = found.F.compute()
    assert (F >= 0).all()
    reach = forms.reach_of(W.toarray())
    seeded = reach[:, codes >= 0].any(axis=1)
    # Modified adsorption refuses rows with a path as well, a seed without neighbours among them.
    answered = F.any(axis=1) if method == "modified_adsorption" else seeded
    np.testing.assert_allclose(F.sum(axis=1), answered, atol=1e-6)
    np.testing.assert_array_equal(F[~seeded], 0.0)
    assert found.n_without_evidence == (~answered).sum()
    if method == "label_propagation":
        seeds = codes >= 0
        np.testing.assert_array_equal(
            F[seeds], forms.one_hot(codes, N_CLASSES)[seeds].astype(np.float32)
        )


@pytest.mark.parametrize("method", SOLVERS)
def test_order_of_rows_does_not_matter(digits: Arrays, method: str) -> None:
    W, _, codes = digits
    order = np.random.default_rng(7).permutation(len(codes))
    F = run(method, BlockGraph.from_scipy(W, n_strips=2), codes).F.compute()
    shuffled = sp.csr_array(W[order][:, order])
    F_shuffled = run(method, BlockGraph.from_scipy(shuffled), codes[order]).F.compute()
    np.testing.assert_allclose(F_shuffled, F[order], atol=1e-4)
    two = np.sort(F[order], axis=1)[:, -2:]
    clear = two[:, 1] - two[:, 0] > 1e-4
    # Rows that a method refuses have no class in either order.
    assert clear[F[order].any(axis=1)].mean() > 0.99
    np.testing.assert_array_equal(F_shuffled.argmax(1)[clear], F[order].argmax(1)[clear])


def test_records_tell_what_happened(digits: Arrays) -> None:
    W, _, codes = digits
    heard: list[RoundRecord] = []
    found = run("label_spreading", BlockGraph.from_scipy(W), codes, on_round=heard.append)
    assert heard == found.records
    assert [record.iteration for record in heard] == [5, *range(10, found.n_iter + 1, 10)]
    assert heard[0].labels_changed > 0
    assert heard[-1].labels_changed == 0
    assert heard[-1].residual <= 1e-4 < heard[1].residual
    F = found.F.compute()
    shares = np.bincount(F.argmax(axis=1), minlength=N_CLASSES) / len(F)
    np.testing.assert_allclose(heard[-1].class_mass, shares)


def test_an_early_end_is_not_called_converged() -> None:
    W, codes = random_weights(150, 1), some_codes(150, 2)
    found = run("label_propagation", BlockGraph.from_scipy(W), codes, max_iter=3)
    assert (found.converged, found.reason, found.n_iter) == (False, "max_iter", 3)


def test_float32_sets_a_limit_that_is_told() -> None:
    W, codes = random_weights(150, 1), some_codes(150, 2)
    found = run("label_spreading", BlockGraph.from_scipy(W), codes, tol=0.0, max_iter=5_000)
    assert (found.converged, found.reason) == (False, "rounding")
    assert found.n_iter < 1_000
    assert found.records[-1].residual < 1e-5


@pytest.mark.parametrize("alpha", [0.9, 0.99])
def test_rows_far_from_the_seeds_have_come_to_rest_too(alpha: float) -> None:
    # Scores fall by orders of magnitude along the path: a residual that is small beside the
    # seeds' says nothing about the shares of the classes far from them.
    codes = np.full(400, -1)
    codes[[0, 200, 399]] = [0, 1, 0]
    W = path_graph(400)
    found = run("label_spreading", BlockGraph.from_scipy(W), codes, alpha=alpha)
    exact = forms.normalised(
        forms.spread(W.toarray().astype(float), forms.one_hot(codes, N_CLASSES), alpha)
    )
    assert found.converged
    assert np.abs(found.F.compute() - exact).max() < 0.01
    assert np.sort(exact, axis=1)[:, -1].min() < 0.6


def test_a_slow_front_is_waited_for() -> None:
    # A path of 3,000 rows with a seed at each end: each sweep reaches 2 rows, 0.07 % of them.
    n = 3_000
    codes = np.full(n, -1)
    codes[0], codes[-1] = 1, 2
    graph = BlockGraph.from_scipy(path_graph(n))
    found = run("label_propagation", graph, codes, tol=0.1, max_iter=3_000)
    F = found.F.compute()
    assert found.n_without_evidence == 0
    np.testing.assert_array_equal(F[: n // 2 - 5].argmax(axis=1), 1)
    np.testing.assert_array_equal(F[n // 2 + 5 :].argmax(axis=1), 2)


def test_scores_reach_far() -> None:
    # Each sweep reaches one row more, 0.03 % of them: that alone must not count as rest.
    n = 3_000
    codes = np.full(n, -1)
    codes[0] = 3
    found = run("label_spreading", BlockGraph.from_scipy(path_graph(n)), codes, alpha=0.9)
    reached = n - found.n_without_evidence
    # Without headroom float32 ends after 187 rows.
    assert 250 < reached < n
    F, mass = found.F.compute(), found.mass.compute()
    np.testing.assert_array_equal(F.any(axis=1), np.arange(n) < reached)
    np.testing.assert_array_equal(mass > 0, np.arange(n) < reached)
    assert (np.diff(mass[1 : reached - 20]) < 0).all()
    # What was not reached is still known to be connected.
    assert BlockGraph.from_scipy(path_graph(n)).components(Execution()).n_components == 1


def test_weights_of_any_size_give_the_same_answer() -> None:
    W, codes = random_weights(100, 5), some_codes(100, 6)
    F = run("label_spreading", BlockGraph.from_scipy(W), codes, tol=1e-6).F.compute()
    for exponent in (-100, -20, 40):
        scaled = sp.csr_array(W * np.float32(2.0**exponent))
        F_scaled = run("label_spreading", BlockGraph.from_scipy(scaled), codes, tol=1e-6)
        np.testing.assert_array_equal(F_scaled.F.compute(), F)


def test_weights_as_far_apart_as_float32_allows() -> None:
    W = path_graph(4).toarray()
    W[0, 1] = W[1, 0] = 1e-45
    W[1, 2] = W[2, 1] = 3e38
    codes = np.array([0, -1, 1, -1])
    found = run("label_spreading", BlockGraph.from_scipy(W), codes, alpha=0.5, tol=1e-6)
    F = forms.spread(W.astype(float), forms.one_hot(codes, N_CLASSES), 0.5)
    np.testing.assert_allclose(found.F.compute(), forms.normalised(F), atol=1e-6)


def test_impossible_sources_are_refused() -> None:
    graph = BlockGraph.from_scipy(random_weights(20, 1, density=0.3))
    codes = some_codes(20, 1, n_seeds=4)
    weights = np.zeros(4), np.full(4, np.nan), np.ones(3)
    for kind, message, seeds, more in (
        (QualityError, "no labelled rows", np.full(20, -1), {}),
        (QualityError, "hides all 4 seeds", codes, {"hidden": [np.ones(4, bool)]}),
        (ValueError, "must be bool of shape", codes, {"hidden": [np.ones(3, bool)]}),
        (ValueError, "labels of 19 rows, a graph of 20", codes[:19], {}),
        *((ValueError, "sample_weight", codes, {"sample_weight": wrong}) for wrong in weights),
    ):
        with pytest.raises(kind, match=message):
            run("label_spreading", graph, seeds, **more)


def test_specs_refuse_unknown_keys() -> None:
    for name, method in GRAPH_CLASSIFIERS.items():
        assert method.name == name
        with pytest.raises(ValueError, match="extra"):
            method.spec(name=name, no_such_key=1)
