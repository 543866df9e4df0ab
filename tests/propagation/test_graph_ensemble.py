"""The graph ensemble: a dense oracle, equal bits anywhere, folds, checkpoints, whole jobs."""

from __future__ import annotations

from operator import attrgetter
from typing import Any

import dask.array as da
import numpy as np
import pytest
import scipy.sparse as sp
from dask import delayed
from sklearn.datasets import load_digits

from ssl_dask.errors import ResumeMismatchError, WorkersChangedError
from ssl_dask.estimators import GraphEnsemble
from ssl_dask.execution import Execution
from ssl_dask.graph.block.block_graph import BlockGraph
from ssl_dask.graph.block.node_order import NodeOrder
from ssl_dask.graph.build.neighbour_graph import knn_graph
from ssl_dask.kernels.distributions import class_evidence as ce
from ssl_dask.kernels.distributions.class_evidence import fitted_weights
from ssl_dask.labels import Labels
from ssl_dask.propagation.engine.propagated import Propagated
from ssl_dask.propagation.ensemble import ensemble_run, pseudo_label_pass
from ssl_dask.propagation.ensemble.mixing_weights import stacking_folds
from ssl_dask.propagation.methods.graph_ensemble import ENSEMBLE_WEIGHTS
from ssl_dask.round_record import RoundRecord
from tests.by_keywords import graph_ensemble, logistic_regression
from tests.oracles import ensemble as oracle

Arrays = tuple[np.ndarray, ...]

N_CLASSES = 5
N_ROWS = 420


@pytest.fixture(scope="module")
def digits() -> Arrays:
    """Digits 0 to 4, unequally many of each."""
    X, y = load_digits(return_X_y=True)
    keep = np.concatenate([np.flatnonzero(y == c)[: 120 - 18 * c] for c in range(N_CLASSES)])
    keep = np.sort(keep)
    assert len(keep) == N_ROWS
    return X[keep].astype(np.float32), y[keep]


@pytest.fixture(scope="module")
def graph(digits: Arrays) -> BlockGraph:
    return knn_graph(digits[0], 10, weights=ENSEMBLE_WEIGHTS)


def labels_of(y: np.ndarray, per_class: tuple[int, ...], draw: int = 0) -> Labels:
    order = np.random.default_rng(draw).permutation(len(y))
    codes = np.full(len(y), -1)
    for c, n in enumerate(per_class):
        codes[order[y[order] == c][:n]] = c
    return Labels.from_codes(codes, np.arange(len(per_class)))


def recut(graph: BlockGraph, n_strips: int) -> BlockGraph:
    """Return the graph in other strips, with its further weights."""
    both = graph, graph.weighted("steep_gaussian")
    plain, steep = (BlockGraph.from_scipy(one.to_scipy(), n_strips=n_strips) for one in both)
    data = tuple(delayed(attrgetter("data"))(strip) for strip in steep.strips)
    shape = plain.strips, plain.node_chunks, plain.n_edges, plain.settings
    return BlockGraph(*shape, alternatives={"steep_gaussian": data})


def run(graph: BlockGraph, X: np.ndarray, labels: Labels, **more: Any) -> Propagated:
    classifier = logistic_regression(X, X[labels.rows], labels)
    return graph_ensemble(graph, labels, classifier=classifier, **more)


@pytest.mark.parametrize("per_class", [(1, 1, 1, 1, 1), (4, 1, 2, 1, 1)])
def test_dense_oracle_below_three_seeds_a_class(
    per_class: tuple[int, ...], digits: Arrays, graph: BlockGraph
) -> None:
    X, y = digits
    labels = labels_of(y, per_class)
    found = run(graph, X, labels)
    W = graph.to_scipy().toarray().astype(np.float64)
    steep = graph.weighted("steep_gaussian").to_scipy().toarray().astype(np.float64)
    want, balanced = oracle.evidence_below_three(W, steep, labels.to_codes(), N_CLASSES)
    F = found.F.compute()
    assert found.details["balanced"] == balanced
    weight = 8.0 / (labels.n_seeds / N_CLASSES)
    shares = oracle.softmax(1.8 / np.hypot(1.0, weight) * want)
    assert np.abs(F - shares).mean() < 0.03
    assert np.mean(F.argmax(axis=1) == want.argmax(axis=1)) > 0.995
    # The plain kernel, without mixture and second pass, says something else of more rows.
    B = np.zeros((N_ROWS, N_CLASSES))
    B[labels.rows, labels.codes] = 1.0
    plain = oracle.kernel(W, B, 0.99).argmax(axis=1)
    assert np.mean(plain != want.argmax(axis=1)) > 0.015
    assert len(set(F.argmax(axis=1))) == N_CLASSES
    np.testing.assert_allclose(F.sum(axis=1), 1.0, rtol=1e-5)


@pytest.mark.parametrize("n_seeds", [3, 6])
def test_dense_oracle_with_fitted_weights(
    n_seeds: int, digits: Arrays, graph: BlockGraph, monkeypatch: pytest.MonkeyPatch
) -> None:
    # With members solved to 1 %, as they are, logarithms of small shares move the weights a little.
    monkeypatch.setattr(ensemble_run, "MEMBER_TOL", 1e-5)
    monkeypatch.setattr(pseudo_label_pass, "FIRST_SWEEPS", 150)
    monkeypatch.setattr(pseudo_label_pass, "NEXT_SWEEPS", 100)
    X, y = digits
    labels = labels_of(y, (n_seeds,) * N_CLASSES)
    classifier = logistic_regression(X, X[labels.rows], labels)
    found = run(graph, X, labels)
    W = graph.to_scipy().toarray().astype(np.float64)
    steep = graph.weighted("steep_gaussian").to_scipy().toarray().astype(np.float64)
    folds = stacking_folds(labels)
    want, weights, both = oracle.evidence_fitted(
        W,
        steep,
        labels.to_codes(),
        N_CLASSES,
        folds,
        lambda seen: np.asarray(classifier(seen).compute(), dtype=np.float64),
    )
    mine = [found.details["weights"][name] for name in
            ("far", "near", "classifier", "smoothed_classifier", "far_steep")]  # fmt: skip
    np.testing.assert_allclose(mine, weights, atol=0.02)
    np.testing.assert_allclose(found.details["second_pass"], both, atol=0.02)
    assert np.abs(weights - [1.0, 0.0, 0.0, 0.3, 1.0]).max() > 0.4
    F = found.F.compute()
    assert np.abs(F - oracle.softmax(want)).mean() < 0.01
    assert np.mean(F.argmax(axis=1) == want.argmax(axis=1)) > 0.99
    assert len(set(F.argmax(axis=1))) == N_CLASSES


def test_hidden_seeds_are_judged_without_their_own_labels(
    digits: Arrays, graph: BlockGraph
) -> None:
    X, y = digits
    labels = labels_of(y, (5,) * N_CLASSES)
    hidden = [np.arange(labels.n_seeds) % 4 == fold for fold in range(4)]
    found = run(graph, X, labels, hidden=hidden)
    for mask, F in zip(hidden, found.fold_F, strict=True):
        assert F.shape == (mask.sum(), N_CLASSES)
    right = [F.argmax(axis=1) == labels.codes[m] for m, F in zip(hidden, found.fold_F, strict=True)]
    assert np.concatenate(right).mean() > 0.8
    # A seed's own label moves nothing that is said of it while it is hidden.
    lie = labels.codes.copy()
    lie[np.flatnonzero(hidden[0])[0]] = (lie[np.flatnonzero(hidden[0])[0]] + 1) % N_CLASSES
    lied = Labels(labels.n_rows, labels.rows, lie, labels.classes)
    other = run(graph, X, lied, hidden=hidden)
    assert other.fold_F[0].argmax(axis=1)[0] == found.fold_F[0].argmax(axis=1)[0]


def test_it_goes_on_from_any_checkpoint_in_other_strips(digits: Arrays, graph: BlockGraph) -> None:
    X, y = digits
    labels = labels_of(y, (2,) * N_CLASSES)
    more = {"hidden": [np.arange(labels.n_seeds) % 3 == fold for fold in range(3)]}
    kept: list[Any] = []

    def keep(iteration: int, state: Any, meta: dict[str, Any]) -> Any:
        kept.append((iteration, [list(vector) for vector in state], meta))
        return kept[-1]

    whole = run(graph, X, labels, checkpoint=keep, checkpoint_seconds=0.0, **more)
    F = whole.F.compute()
    assert (F.argmax(axis=1) == y)[labels.to_codes() < 0].mean() > 0.9
    assert len(kept) > 6
    for n_strips, saved in ((8, None), (3, kept[0]), (3, kept[len(kept) // 2]), (3, kept[-1])):
        again = run(recut(graph, n_strips), X, labels, resume=saved, **more)
        np.testing.assert_array_equal(again.F.compute(), F)
        np.testing.assert_equal(again.fold_F, whole.fold_F)
        assert (again.details, again.n_iter) == (whole.details, whole.n_iter)
    with pytest.raises(ResumeMismatchError, match="seeds"):
        run(graph, X, labels_of(y, (2,) * N_CLASSES, draw=1), resume=kept[0], **more)


def test_rows_without_a_path_to_a_seed_stay_empty(digits: Arrays, graph: BlockGraph) -> None:
    X, y = digits
    W = graph.to_scipy().tolil()
    apart = np.arange(10)
    W[apart] = 0
    W[:, apart] = 0
    W[0, 1] = W[1, 0] = 1.0
    labels = labels_of(y, (5,) * N_CLASSES)
    labels = labels.subset(labels.rows >= 10)
    found = run(BlockGraph.from_scipy(W.tocsr()), X, labels)
    F = found.F.compute()
    assert found.n_without_evidence == 10
    assert not F[apart].any()
    assert F[10:].any(axis=1).all()


def test_estimator_beats_its_parts_on_few_labels() -> None:
    X, y = load_digits(return_X_y=True)
    right = {"ensemble": [], "without classifier": []}
    for draw in range(2):
        codes = labels_of(y, (5,) * 10, draw).to_codes()
        for name, model in (
            ("ensemble", GraphEnsemble()),
            ("without classifier", GraphEnsemble(classifier="none")),
        ):
            labels = model.fit(X, codes).transduction_
            right[name].append(np.mean(labels[codes < 0] == y[codes < 0]))
    assert set(model.details_["weights"]) == {"far", "near", "far_steep"}
    assert np.mean(right["ensemble"]) > 0.95
    assert np.mean(right["without classifier"]) > 0.94


def test_weights_follow_what_is_right_and_rest_where_nothing_is_known() -> None:
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 3, 60).astype(np.int32)
    good = np.eye(3)[codes] + 0.3 * rng.normal(size=(60, 3))
    noise = rng.normal(size=(60, 3))
    w = fitted_weights(np.stack([good, noise]), codes, np.array([1.0, 1.0]), 0.3)
    assert w[0] > 1.5
    assert w[1] < 0.3
    nothing = fitted_weights(np.zeros((2, 0, 3)), codes[:0], np.array([1.0, 0.5]), 0.3)
    np.testing.assert_allclose(nothing, [1.0, 0.5])


def test_stacking_folds_hide_every_seed_once_but_those_that_are_alone() -> None:
    codes = np.full(100, -1)
    codes[:21] = [0] * 10 + [1] * 10 + [2]
    labels = Labels.from_codes(codes, np.arange(3))
    folds = stacking_folds(labels)
    np.testing.assert_array_equal(np.sum(folds, axis=0), labels.codes < 2)
    for fold in folds:
        assert set(labels.codes[~fold]) == {0, 1, 2}
    assert stacking_folds(labels.subset(np.arange(21) % 4 == 0)) == []


def test_stacking_folds_leave_equal_classes_equal() -> None:
    codes = np.full(100, -1)
    codes[10:40] = np.repeat(np.arange(5), 6)
    labels = Labels.from_codes(codes, np.arange(5))
    folds = stacking_folds(labels)
    assert len(folds) == 4
    for fold in folds:
        assert len(set(np.bincount(labels.codes[~fold]).tolist())) == 1


def test_evidence_is_what_numpy_says() -> None:
    rng = np.random.default_rng(1)
    scores = rng.random((50, 6)).astype(np.float32)
    scores[3, :3] = 0.0
    shares = ce.log_shares(scores, 3)
    want = oracle.log_shares(scores[:, 3:].astype(np.float64))
    np.testing.assert_allclose(shares[:, 3:], want, rtol=1e-5, atol=1e-6)
    assert not shares[3, :3].any()
    bias = np.array([0.0, 0.5, -1.0, 0.0, 0.0, 0.0])
    found = ce.class_probabilities(shares, bias, 3, 1.8)
    np.testing.assert_allclose(
        found[:, :3], oracle.softmax(1.8 * shares[:, :3] + bias[:3]), rtol=2e-6
    )
    whole = ce.unit_totals(found)
    np.testing.assert_array_equal(whole, ce.unit_totals(found[:20]) + ce.unit_totals(found[20:]))
    np.testing.assert_allclose(whole / 2.0**32, found.sum(axis=0, dtype=float), rtol=1e-7)
    squares = ce.square_totals(shares) / 2.0**22
    np.testing.assert_allclose(squares, (shares.astype(float) ** 2).sum(axis=0), rtol=1e-5)


def test_a_node_gets_what_its_first_row_has() -> None:
    nodes = np.array([2, 0, 1, 0, 2, 2])
    order = NodeOrder((delayed(nodes[:4]), delayed(nodes[4:])), (4, 2), 3)
    rows = da.from_array(np.arange(12.0).reshape(6, 2), chunks=((4, 2), 2))
    blocks = order.first_rows_of_nodes(list(rows.to_delayed().ravel()), (1, 2), Execution())
    found = np.concatenate([block.compute() for block in blocks])
    np.testing.assert_array_equal(found, [[2.0, 3.0], [4.0, 5.0], [0.0, 1.0]])


def test_edges_that_weigh_next_to_nothing_make_no_score_infinite(
    digits: Arrays, graph: BlockGraph
) -> None:
    X, y = digits
    labels = labels_of(y, (1,) * N_CLASSES)
    W = graph.to_scipy().toarray()
    weak = [int(labels.rows[0]), 7, 8]
    W[weak] *= np.float32(2.0**-100)
    W[:, weak] = W[weak].T
    found = run(BlockGraph.from_scipy(sp.csr_array(W)), X, labels)
    F = found.F.compute()
    assert np.isfinite(F).all()
    np.testing.assert_allclose(F.sum(axis=1), 1.0, rtol=1e-5)
    # A weak seed reaches little, and the other classes are labelled as before.
    other = run(graph, X, labels).F.compute().argmax(axis=1)
    strong = (y > labels.codes[0]) | (y < labels.codes[0])
    assert np.mean(F.argmax(axis=1)[strong] == y[strong]) > 0.8
    assert len(set(other)) == N_CLASSES


def test_steps_that_are_done_again_are_recorded_once(
    digits: Arrays, graph: BlockGraph, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = labels_of(digits[1], (1,) * N_CLASSES)
    expected = [record.iteration for record in graph_ensemble(graph, labels).records]
    evidence, calls = pseudo_label_pass.SecondPass.evidence, []

    def lost_once(self: Any, *arguments: Any) -> Any:
        calls.append(arguments)
        if len(calls) == 4:
            raise WorkersChangedError("a worker was lost")
        return evidence(self, *arguments)

    monkeypatch.setattr(pseudo_label_pass.SecondPass, "evidence", lost_once)
    found = [record.iteration for record in graph_ensemble(graph, labels).records]
    assert len(calls) > 8
    assert found == expected
    assert len(expected) > 4
    assert found == sorted(set(found))


def test_a_round_that_is_done_again_begins_with_what_its_checkpoint_says(
    digits: Arrays, graph: BlockGraph
) -> None:
    """A round changes the offsets of the classes before a worker is lost in it."""
    labels = labels_of(digits[1], (3, 1, 1, 1, 1))
    told: list[RoundRecord] = []
    whole = graph_ensemble(graph, labels, on_round=told.append)
    lost: list[RoundRecord] = []

    def lose(record: RoundRecord) -> None:
        if record.iteration == told[-1].iteration and not lost:
            lost.append(record)
            raise WorkersChangedError("a worker was lost")

    def keep(iteration: int, state: Any, meta: dict[str, Any]) -> Any:
        return iteration, [list(vector) for vector in state], dict(meta)

    again = graph_ensemble(graph, labels, on_round=lose, checkpoint=keep, checkpoint_seconds=0.0)
    assert lost
    assert again.F.compute().tobytes() == whole.F.compute().tobytes()
    assert again.details == whole.details
