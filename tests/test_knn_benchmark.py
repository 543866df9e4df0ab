"""The benchmark of the neighbour graph: its rows, its judge, and how it measures."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

import knn_data
import knn_entrants
import knn_recall
import measured

K = 5


def _exact(rows, sample):
    X = rows.read()
    search = NearestNeighbors(n_neighbors=K + 1, metric=rows.metric, algorithm="brute").fit(X)
    distances, found = search.kneighbors(X)
    return distances[sample], knn_entrants.without_self(found, K)


@pytest.mark.parametrize("name", ["digits64", "sparse"])
def test_recall_is_that_of_brute_force(tmp_path, name):
    rows = knn_data.write_rows(name, 2500, tmp_path / name)
    truth = knn_recall.find_truth(rows, K)
    distances, lists = _exact(rows, truth.sample)
    last = distances[:, K]
    np.testing.assert_allclose(truth.limits, last**2 if name == "digits64" else last, atol=1e-5)
    position = np.repeat(np.arange(len(truth.sample)), K)
    found = lists[truth.sample]
    assert knn_recall.share_found(rows, truth, position, found.ravel()) == 1.0
    # The last three of five are taken away, the row itself and a copy of a pair count nothing.
    worse = found.copy()
    worse[:, 2], worse[:, 3], worse[:, 4] = truth.sample, found[:, 0], -1
    assert knn_recall.share_found(rows, truth, position, worse.ravel()) == pytest.approx(0.4)


def test_truth_spans_blocks(tmp_path, monkeypatch):
    rows = knn_data.write_rows("digits64", 2500, tmp_path / "rows")
    whole = knn_recall.find_truth(rows, K)
    monkeypatch.setattr(knn_recall, "TRUTH_ROWS", 300)
    np.testing.assert_array_equal(knn_recall.find_truth(rows, K).limits, whole.limits)


def test_rows_are_the_first_of_an_endless_set(tmp_path, monkeypatch):
    monkeypatch.setattr(knn_data, "BLOCK_ROWS", 1000)
    for name in knn_data.MADE:
        few = knn_data.write_rows(name, 1200, tmp_path / f"{name}-few")
        many = knn_data.write_rows(name, 3000, tmp_path / f"{name}-many")
        X = many.read()
        assert len(np.unique(X, axis=0)) == 3000
        assert X.std() > 0.1
        np.testing.assert_array_equal(few.read(), X[:1200])
        np.testing.assert_array_equal(many.as_dask(2000, 700).compute(), X[:2000])
        np.testing.assert_array_equal(many.take(np.array([2999, 0])), X[[2999, 0]])


def test_sparse_rows_are_read_in_parts(tmp_path):
    rows = knn_data.write_rows("sparse", 1500, tmp_path / "rows")
    X = rows.read()
    assert (rows.n_rows, X.dtype) == (1500, np.float32)
    assert 12 < X.nnz / 1500 < 22
    parts = rows.as_dask(1500, 400).to_delayed().ravel()
    assert [part.compute().shape[0] for part in parts] == [400, 400, 400, 300]
    assert (parts[1].compute() != X[400:800]).nnz == 0


def _spin(job, stopwatch):
    held = b"x"
    with stopwatch.running():
        held = held * job
        sum(range(3_000_000))
    return len(held)


def _fail(job, stopwatch):
    raise KeyError("told")


def test_a_process_is_measured():
    size = 200 * 2**20
    run = measured.measure(_spin, size)
    assert run.answer == size
    assert run.peak_mib > 200
    assert 0 < run.wall_s < 60
    assert 0 < run.cpu_s < 60


def test_a_failure_in_the_process_is_told():
    with pytest.raises(measured.MeasuringError, match="told"):
        measured.measure(_fail, None)
