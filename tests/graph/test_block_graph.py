"""Graphs that are given, not searched: checks, cutting, saving."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from ssl_dask.errors import GraphError
from ssl_dask.execution import Execution
from ssl_dask.graph.block.block_graph import BlockGraph
from tests.made_graphs import random_weights


def symmetric(n=40, density=0.1, seed=0):
    return random_weights(n, seed, density=density)


@pytest.mark.parametrize("n_strips", [1, 3, 8, 40])
def test_round_trip_for_any_strips(n_strips):
    W = symmetric()
    graph = BlockGraph.from_scipy(W, n_strips=n_strips)
    back = graph.to_scipy()
    np.testing.assert_array_equal(back.toarray(), W.toarray())
    assert graph.n_edges == W.nnz == back.nnz > 100
    assert graph.n_rows == sum(graph.node_chunks) == 40
    assert len(graph.strips) == n_strips
    assert graph.node_starts == tuple(np.cumsum((0, *graph.node_chunks))[:-1])
    for strip, n in zip(Execution().compute(graph.strips), graph.node_chunks, strict=True):
        assert strip.shape == (n, 40)
        assert strip.dtype == np.float32
        assert strip.indices.dtype == strip.indptr.dtype == np.int32
        assert strip.has_sorted_indices


def test_self_edges_and_stored_zeros_are_removed_and_counted():
    W = sp.coo_array(([2.0, 1, 1, 0, 0], ([0, 0, 1, 1, 2], [0, 1, 0, 2, 1])), shape=(3, 3))
    graph = BlockGraph.from_scipy(W)
    assert graph.n_edges == 2
    assert graph.settings["self_edges_removed"] == 1
    assert not graph.settings["rounded_to_symmetric"]


def test_rounding_is_evened_out_and_a_directed_graph_refused():
    W = symmetric(seed=2).astype(np.float64)
    W.data *= 1 + 4e-7 * np.random.default_rng(0).random(W.nnz)
    graph = BlockGraph.from_scipy(W)
    back = graph.to_scipy().toarray()
    np.testing.assert_array_equal(back, back.T)
    assert graph.settings["rounded_to_symmetric"]
    directed = symmetric(seed=2)
    directed.data[0] *= 1.01
    with pytest.raises(GraphError, match=r"not symmetric.*\(W \+ W\.T\) / 2"):
        BlockGraph.from_scipy(directed)
    with pytest.raises(GraphError, match="not symmetric"):
        BlockGraph.from_scipy(sp.triu(symmetric()))


@pytest.mark.parametrize("bad", [-1.0, np.nan, np.inf, 1e39])
def test_weights_that_are_no_weights_are_refused(bad):
    W = symmetric().astype(np.float64)
    W.data[3] = bad
    with pytest.raises(GraphError, match="1 weights are not numbers"):
        BlockGraph.from_scipy(W)


@pytest.mark.parametrize("shape", [(3, 4), (0, 0)])
def test_matrices_that_are_not_square_are_refused(shape):
    with pytest.raises(GraphError, match="square"):
        BlockGraph.from_scipy(sp.csr_array(shape))


@pytest.mark.parametrize("n_strips", [0, 41])
def test_number_of_strips_is_checked(n_strips):
    with pytest.raises(GraphError, match="n_strips"):
        BlockGraph.from_scipy(symmetric(), n_strips=n_strips)


def test_argument_is_not_changed():
    W = symmetric()
    W.setdiag(1)
    before = W.copy()
    BlockGraph.from_scipy(W)
    assert (before != W).nnz == 0
    assert W.nnz == before.nnz


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_edges_equal_a_plain_loop(data):
    n = data.draw(st.integers(1, 12))
    ends = st.integers(0, n - 1)
    edges = data.draw(
        st.lists(st.tuples(ends, ends, st.sampled_from([0.0, 0.5, 1.0, 4.0])), max_size=40)
    )
    duplicates = data.draw(st.sampled_from(["sum", "max"]))
    want = np.zeros((n, n))
    for u, v, w in edges:
        if u != v:
            want[u, v] = want[v, u] = want[u, v] + w if duplicates == "sum" else max(want[u, v], w)
    u, v, w = (np.array([edge[i] for edge in edges], dtype=t) for i, t in enumerate("iif"))
    graph = BlockGraph.from_edges(u, v, w, n_rows=n, duplicates=duplicates)
    np.testing.assert_array_equal(graph.to_scipy().toarray(), want)
    assert graph.settings["self_edges_dropped"] == sum(a == b for a, b, _ in edges)


def test_edges_by_id_drop_and_count_unknown_ids():
    graph = BlockGraph.from_edges(
        ["b", "x", "a", "c"], ["a", "a", "y", "b"], [1.0, 2.0, 3.0, 4.0], ids=["a", "b", "c"]
    )
    want = [[0, 1, 0], [1, 0, 4], [0, 4, 0]]
    assert graph.to_scipy().toarray().tolist() == want
    assert graph.settings["edges_with_unknown_ends_dropped"] == 2
    assert graph.settings["edges_given"] == 4


@pytest.mark.parametrize(
    ("source", "target", "arguments", "message"),
    [
        ([0, 5], [1, 1], {"n_rows": 5}, "row 5; rows are 0 to 4"),
        ([0, -1], [1, 1], {"n_rows": 5}, "row -1"),
        ([0.5], [1], {"n_rows": 5}, "integers"),
        ([0, 1], [1], {"n_rows": 5}, "2 entries and target 1"),
        ([0], [1], {"n_rows": 5, "weight": [1.0, 2.0]}, r"\(1,\)"),
        ([0], [1], {"n_rows": 5, "weight": [-1.0]}, "1 weights"),
        ([0], [1], {"n_rows": 5, "weight": [np.nan]}, "1 weights"),
        ([0], [1], {"n_rows": 5, "duplicates": "mean"}, "'sum' or 'max'"),
        ([0], [1], {}, "either n_rows"),
        ([0], [1], {"n_rows": 2, "ids": [0, 1]}, "either n_rows"),
        ([0], [1], {"ids": [0, 1, 1]}, "distinct"),
        ([], [], {"n_rows": 0}, "at least one row"),
        ([0, 0], [1, 1], {"n_rows": 2, "weight": [3e38, 3e38]}, "float32 can hold"),
    ],
)
def test_edges_that_do_not_fit_are_refused(source, target, arguments, message):
    with pytest.raises(GraphError, match=message):
        BlockGraph.from_edges(source, target, **arguments)


def test_saved_graph_is_loaded_bit_for_bit(tmp_path, cluster_client):
    graph = BlockGraph.from_scipy(symmetric(50, 0.2, 3), n_strips=4)
    execution = Execution(cluster_client)
    graph.save(tmp_path, execution)
    loaded = BlockGraph.load(tmp_path)
    assert loaded.node_chunks == graph.node_chunks
    assert loaded.n_edges == graph.n_edges
    assert loaded.settings == graph.settings
    left, right = loaded.to_scipy(execution), graph.to_scipy()
    assert left.data.tobytes() == right.data.tobytes()
    assert left.indices.tolist() == right.indices.tolist()
    assert left.indices.dtype == np.int32


def test_folders_that_hold_no_whole_graph_are_refused(tmp_path):
    with pytest.raises(GraphError, match=r"graph\.json is missing"):
        BlockGraph.load(tmp_path)
    BlockGraph.from_scipy(symmetric(), n_strips=2).save(tmp_path)
    torn = tmp_path / "strip-00001.npz"
    content = torn.read_bytes()
    torn.write_bytes(content[: len(content) // 2])
    with pytest.raises(GraphError, match="cannot be read"):
        BlockGraph.load(tmp_path).to_scipy()
    torn.unlink()
    with pytest.raises(GraphError, match="missing"):
        BlockGraph.load(tmp_path)
    about = json.loads((tmp_path / "graph.json").read_text())
    (tmp_path / "graph.json").write_text(json.dumps({**about, "format": 99}))
    with pytest.raises(GraphError, match="format 99"):
        BlockGraph.load(tmp_path)


def test_a_strip_that_is_written_again_is_there_whole_at_any_time(tmp_path, monkeypatch):
    """Dask runs a task again whose worker is gone, or seems to be, and either may be cut off."""
    graph = BlockGraph.from_scipy(np.ones((6, 6)), n_strips=2)
    graph.save(tmp_path)
    want = sorted(path.name for path in tmp_path.iterdir())

    def cut_off(file, **arrays):
        file.write(b"PK")
        assert BlockGraph.load(tmp_path).to_scipy().nnz == 30
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "savez", cut_off)
    with pytest.raises(OSError, match="No space left") as caught:
        graph.save(tmp_path, Execution(threads=1))
    assert Path(caught.value.filename).name in want
    assert sorted(path.name for path in tmp_path.iterdir()) == want
    assert BlockGraph.load(tmp_path).to_scipy().nnz == 30
    monkeypatch.undo()
    (tmp_path / "strip-00000.npz.0123.tmp").write_bytes(b"of a killed worker")
    graph.save(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == want
