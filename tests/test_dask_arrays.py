"""Arrays of other packages that are chunked as Dask's are: taken by what they can do.

The package dask-array is used where it is there; else a class with the same protocol stands in.
"""

from __future__ import annotations

import logging
import pickle

import dask
import dask.array as da
import numpy as np
import pytest
import scipy.sparse as sp
from dask.base import DaskMethodsMixin

from ssl_dask.dask_arrays import array_of_blocks, as_dask_array, row_handles, rows_in_blocks
from ssl_dask.errors import GraphError, UnknownChunksError
from ssl_dask.execution import Execution
from ssl_dask.graph.build.entity_graph import entity_graph
from ssl_dask.graph.build.knn_search import knn_search
from ssl_dask.graph.build.neighbour_graph import knn_graph
from ssl_dask.propagation.estimators.graph_classifiers import LabelSpreading
from ssl_dask.self_labeled.estimators.self_training_classifier import SelfTrainingClassifier


class ChunkedArray(DaskMethodsMixin):
    """The protocol of a Dask array, without being one."""

    def __init__(self, array):
        self.inner = array
        self.chunks, self.dtype, self.shape = array.chunks, array.dtype, array.shape
        self._meta = array._meta

    def __dask_graph__(self):
        return self.inner.__dask_graph__()

    def __dask_keys__(self):
        return self.inner.__dask_keys__()

    def to_delayed(self):
        return self.inner.to_delayed()


def stand_in(values, chunks):
    return ChunkedArray(da.from_array(values, chunks=chunks))


def of_package(values, chunks):
    return pytest.importorskip("dask_array").from_array(values, chunks=chunks)


@pytest.fixture(params=[stand_in, of_package])
def make(request):
    return request.param


def rows():
    rng = np.random.default_rng(0)
    side = rng.integers(0, 2, 90)
    X = (rng.normal(size=(90, 4)) + 3 * side[:, None]).astype(np.float32)
    return X, np.where(np.arange(90) < 10, side, -1)


def test_graphs_and_searches_take_them(make):
    X, _ = rows()
    given = make(X, (40, 4))
    assert not isinstance(given, da.Array)
    assert as_dask_array(given).chunks == ((40, 40, 10), (4,))
    left, right = knn_graph(given, 5).to_scipy(), knn_graph(X, 5).to_scipy()
    assert left.data.tobytes() == right.data.tobytes()
    assert left.nnz > 90
    distances, _ = knn_search(given, X, 3)
    assert distances.chunks[0] == (40, 40, 10)
    assert distances.compute().tobytes() == knn_search(X, X, 3)[0].tobytes()


@pytest.mark.parametrize("estimator", [LabelSpreading, SelfTrainingClassifier])
def test_estimators_take_them(make, estimator):
    X, y = rows()
    found = estimator().fit(make(X, (40, 4)), make(y, (40,)))
    want = estimator().fit(X, y)
    assert isinstance(found.label_distributions_, da.Array)
    assert found.label_distributions_.chunks[0] == (40, 40, 10)
    for name in ("label_distributions_", "transduction_"):
        left, right = (np.asarray(getattr(one, name)) for one in (found, want))
        assert left.tobytes() == right.tobytes()
    assert set(np.asarray(found.transduction_).tolist()) >= {0, 1}
    left, right = (np.asarray(one.predict_proba(rows_)) for one, rows_ in ((found, X), (want, X)))
    assert left.tobytes() == right.tobytes()


def test_sparse_chunks_stay_sparse():
    X, _ = rows()
    given = ChunkedArray(da.from_array(X, chunks=(40, 4)).map_blocks(sp.csr_array))
    assert sp.issparse(as_dask_array(given).blocks[0].compute())


def test_chunks_of_unknown_length_are_refused_with_the_cure():
    X, y = rows()
    lazy = da.from_array(X, chunks=(40, 4))
    some = lazy[lazy[:, 0] > 0]
    for call in (
        lambda: knn_graph(ChunkedArray(some), 5),
        lambda: LabelSpreading().fit(ChunkedArray(some), y),
    ):
        with pytest.raises(UnknownChunksError) as raised:
            call()
        assert "compute_chunk_sizes" in raised.value.problems[0].hint
    with pytest.raises(GraphError) as refused:
        knn_graph(some, 5)
    assert "compute_chunk_sizes" in refused.value.problems[0].hint


def test_what_is_no_array_stays_as_it_is():
    X, _ = rows()
    graph = knn_graph(X, 3)
    assert as_dask_array(graph) is graph
    assert as_dask_array(X) is X


class LikeAFrame:
    """A Dask collection that becomes an array, as data frames of Dask do."""

    def __dask_graph__(self):
        return {"one": 1}

    def to_dask_array(self, lengths=None):
        raise AssertionError("nobody asked for it")


def test_what_numpy_would_compute_here_is_refused_with_the_cure():
    X, y = rows()
    calls = (
        lambda: LabelSpreading().fit(LikeAFrame(), y),
        lambda: SelfTrainingClassifier().fit(X, LikeAFrame()),
    )
    for call in calls:
        with pytest.raises(ValueError, match=r"LikeAFrame has no .*\.to_dask_array\(lengths"):
            call()
    with pytest.raises(ValueError, match=r"Delayed has no known shape.*from_delayed"):
        LabelSpreading().fit(dask.delayed(X), y)
    with pytest.raises(GraphError, match="column 'card' is a Dask Array"):
        entity_graph({"card": da.from_array(np.arange(6) % 2, chunks=3)})


def test_one_name_has_one_graph(cluster_client):
    execution = Execution(cluster_client)
    blocks = execution.persist([dask.delayed(np.full)((30, 3), float(i)) for i in (1, 2)])
    X = array_of_blocks(blocks, (30, 30), (3,), np.float64)
    heard = []
    listener = logging.Handler()
    listener.emit = lambda record: heard.append(record.getMessage())
    scheduler = logging.getLogger("distributed.scheduler")
    scheduler.addHandler(listener)
    try:
        graph = knn_graph(X, 3, execution=execution)
        more = X.map_blocks(np.add, 1.0, dtype=np.float64)
        assert execution.compute(row_handles(more))[1][0, 0] == 3.0
    finally:
        scheduler.removeHandler(listener)
    assert graph.n_rows == 60
    assert not [text for text in heard if "run_spec" in text]


def test_rows_of_this_process_are_placed_not_carried_in_tasks(cluster_client):
    X = np.arange(200_000.0).reshape(-1, 2)
    execution = Execution(cluster_client)
    for given in (X, sp.csr_array(X)):
        blocks = rows_in_blocks(given, (60_000, 40_000), execution.place)
        carried = [len(pickle.dumps(dict(one.dask))) for one in blocks]
        assert max(carried) < 10_000
        first, second = execution.compute(blocks)
        assert first.shape == (60_000, 2)
        found = second.toarray() if sp.issparse(second) else second
        np.testing.assert_array_equal(found, X[60_000:])


def test_chunks_of_columns_are_put_together():
    X = np.random.default_rng(0).normal(size=(60, 4))
    y = np.where(np.arange(60) < 20, X[:, 0] > 0, -1)
    for rows in (X, X + 1e9):
        cut = da.from_array(rows, chunks=(25, 3))
        graph, whole = knn_graph(cut, 4), knn_graph(rows, 4)
        assert (graph.to_scipy() != whole.to_scipy()).nnz == 0
        found = LabelSpreading(n_neighbors=4).fit(cut, y).transduction_.compute()
        np.testing.assert_array_equal(
            found, LabelSpreading(n_neighbors=4).fit(rows, y).transduction_
        )
