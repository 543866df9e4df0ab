"""`ssl-dask graph` and the jobs that use what it stored; new rows that find their neighbours."""

from __future__ import annotations

import json
import shutil

import dask.array as da
import numpy as np
import pytest
from typer.testing import CliRunner

from ssl_dask.cli import app
from ssl_dask.errors import GraphError, JobSpecError, StorageError
from ssl_dask.execution import Execution
from ssl_dask.graph.block.block_graph import BlockGraph
from ssl_dask.graph.block.graph_summary import graph_summary
from ssl_dask.graph.build.neighbour_graph import knn_graph
from ssl_dask.graph.routed.routed_index import RoutedIndex
from ssl_dask.job_file import resolve_job
from ssl_dask.pipeline.commands import store_graph as graph_job
from ssl_dask.pipeline.commands.run import run_job
from ssl_dask.pipeline.commands.store_graph import store_graph
from ssl_dask.storage.runs.stored_folder import StoredFolder
from tests.made_job import Heard, answer, assert_useful, made_job, made_rows, write_job, write_rows
from tests.made_points import sheets
from tests.oracles.brute_force_graph import cosine_distances, nearest, squared_distances

ROUTED = {"n_neighbors": 8, "search": "routed", "target_recall": 0.9, "shard_memory": "16MiB"}


@pytest.fixture
def rows(tmp_path):
    return write_rows(tmp_path / "rows", made_rows())


def stored(folder, rows, tmp_path, client, **more):
    job = made_job(rows, tmp_path / "unused", graph=ROUTED, **more)
    return store_graph(resolve_job(job), folder, client=client)


def test_a_job_on_a_stored_graph_gives_the_labels_of_one_that_builds_it(
    rows, tmp_path, cluster_client, monkeypatch
):
    folder = tmp_path / "graph"
    # What is lost while it is counted is made again from the rows that go through files.
    counted_beside = []

    def counted(*arguments):
        counted_beside.extend(tmp_path.rglob("exchange"))
        return graph_summary(*arguments)

    monkeypatch.setattr(graph_job, "graph_summary", counted)
    made = stored(folder, rows, tmp_path, cluster_client)
    assert len(counted_beside) == 1
    assert not list(tmp_path.rglob("exchange"))
    assert made.summary["n_rows"] == 320
    assert made.summary["settings"]["search"] == "routed"
    graph = BlockGraph.load(folder / "graph")
    assert graph.recall["n_sampled"] == 320
    assert graph.to_scipy().shape == (320, 320)
    again = stored(folder, rows, tmp_path, cluster_client)
    assert again.already_stored
    heard = Heard()
    built = run_job(made_job(rows, tmp_path / "a", graph=ROUTED), client=cluster_client)
    job = made_job(rows, tmp_path / "b", graph={"path": str(folder)})
    used = run_job(job, client=cluster_client, listener=heard)
    assert heard.named("stored_graph_used")
    assert_useful(used.path)
    assert answer(built.path) == answer(used.path)
    assert used.report.graph["recall"]["estimate"] > 0.9


def test_a_graph_of_something_else_is_refused_and_names_what_differs(
    rows, tmp_path, cluster_client
):
    folder = tmp_path / "graph"
    stored(folder, rows, tmp_path, cluster_client)
    two = {"numbers": {"numeric": ["a", "b"], "scale": "none"}}
    job = made_job(rows, tmp_path / "out", graph={"path": str(folder)}, features=two)
    with pytest.raises(GraphError, match=r"not the same are features\.numbers"):
        run_job(job, client=cluster_client)
    other = write_rows(tmp_path / "other", made_rows(seed=1))
    with pytest.raises(GraphError, match="not the same are input files"):
        run_job(
            made_job(other, tmp_path / "out", graph={"path": str(folder)}), client=cluster_client
        )
    job = made_job(rows, tmp_path / "unused", graph=ROUTED | {"n_neighbors": 9})
    with pytest.raises(GraphError, match=r"another graph\.n_neighbors"):
        store_graph(resolve_job(job), folder, client=cluster_client)
    with pytest.raises(GraphError, match="no stored graph here"):
        run_job(made_job(rows, tmp_path / "out", graph={"path": str(rows)}), client=cluster_client)
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").glob("latest*"))


def test_jobs_that_make_no_graph_are_refused(rows, tmp_path):
    for graph, method in [({"path": "x"}, "label_spreading"), (None, "supervised")]:
        job = made_job(rows, tmp_path / "out", graph=graph, method={"name": method})
        with pytest.raises(JobSpecError, match="makes no graph"):
            store_graph(resolve_job(job), tmp_path / "graph")


def test_the_command_stores_a_graph_and_says_what_it_is_like(rows, tmp_path):
    job = write_job(tmp_path / "job.yaml", made_job(rows, tmp_path / "out", graph=ROUTED))
    command = ["graph", str(job), "-o", str(tmp_path / "kept")]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    assert str(tmp_path / "kept") in result.stdout
    assert "recall" in result.stdout
    planned = CliRunner().invoke(
        app, ["plan", str(job), "--set", f"graph={{path: {tmp_path / 'kept'}}}"]
    )
    assert planned.exit_code == 0, planned.output
    assert "stored in" in planned.stdout


def write_and_fail(target):
    with StoredFolder.open(target) as folder:
        (folder.new("part") / "file").write_text("half")
        raise RuntimeError


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
    target = tmp_path / "kept"
    with pytest.raises(RuntimeError):
        write_and_fail(target)
    assert not target.exists()
    with StoredFolder.open(target) as folder:
        (folder.new("part") / "file").write_text("old")
        folder.commit("about", b"{}")
    with pytest.raises(RuntimeError):
        write_and_fail(target)
    assert (target / "part" / "file").read_text() == "old"
    # Killed between the renames: the old one is put back.
    target.rename(tmp_path / ".kept.work" / "replaced")
    with StoredFolder.open(target) as folder:
        assert (target / "part" / "file").read_text() == "old"
        (folder.new("part") / "file").write_text("new")
        folder.commit("about", b"{}")
    assert (target / "part" / "file").read_text() == "new"


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_new_rows_find_their_true_neighbours(metric, tmp_path, cluster_client):
    X = sheets(1400)
    old, new = X[:1200], X[1200:].copy()
    new[7] = 0
    routed = {"search": "routed", "shard_memory": 300_000, "target_recall": 0.9}
    places = {"index_folder": tmp_path, "client": cluster_client}
    graph = knn_graph(old, 10, metric=metric, **routed, **places)
    assert graph.settings["n_shards"] >= 4
    index = RoutedIndex.load(tmp_path)
    distances, nodes = index.search(new, 10)
    on_cluster = index.search(da.from_array(new, chunks=(70, -1)), 10, client=cluster_client)
    np.testing.assert_array_equal(nodes, on_cluster[1])
    np.testing.assert_array_equal(distances, on_cluster[0])
    node = graph.order.to_array(Execution(cluster_client))
    exact = (squared_distances if metric == "euclidean" else cosine_distances)(new, old)
    best, index_of = nearest(exact, 10, without_self=False)
    if metric == "cosine":
        assert (nodes[7] == -1).all()
    kept = np.arange(len(new)) != 7
    found = np.mean([np.isin(node[index_of[i]], nodes[i]).mean() for i in np.flatnonzero(kept)])
    assert found > 0.97
    right = nodes[:, 0] == node[index_of[:, 0]]
    scale = np.sqrt(best) if metric == "euclidean" else best
    np.testing.assert_allclose(distances[right & kept, 0], scale[right & kept, 0], atol=1e-6)
    assert np.mean(right[kept]) > 0.97


def test_an_index_that_is_not_there_or_does_not_fit_is_refused(tmp_path):
    with pytest.raises(GraphError, match="only a routed search makes one"):
        RoutedIndex.load(tmp_path)
    knn_graph(sheets(300), 5, search="routed", index_folder=tmp_path)
    index = RoutedIndex.load(tmp_path)
    with pytest.raises(GraphError, match="3 columns, those of the graph 8"):
        index.search(np.zeros((2, 3)), 5)
    about = json.loads((tmp_path / "index.json").read_text())
    (tmp_path / "index.json").write_text(json.dumps(about | {"format": 9}))
    with pytest.raises(GraphError, match="format 9"):
        RoutedIndex.load(tmp_path)


def test_a_folder_of_something_else_is_never_replaced(rows, tmp_path, cluster_client):
    folder = tmp_path / "precious"
    folder.mkdir()
    (folder / "thesis.txt").write_text("years of work")
    job = resolve_job(made_job(rows, tmp_path / "unused", graph=ROUTED))
    for force in (False, True):
        with pytest.raises(StorageError, match="holds other files and no stored graph") as caught:
            store_graph(job, folder, client=cluster_client, force=force)
        assert caught.value.as_dict()["file"] == str(folder)
    assert (folder / "thesis.txt").read_text() == "years of work"
    (folder / "thesis.txt").unlink()
    assert not store_graph(job, folder, client=cluster_client).already_stored
    assert not store_graph(job, folder, client=cluster_client, force=True).already_stored
    assert BlockGraph.load(folder / "graph").n_edges > 640


def test_a_sum_of_two_searches_is_stored(rows, tmp_path, cluster_client):
    parts = [{"n_neighbors": 4, "weights": "uniform"}, {"n_neighbors": 4, "metric": "cosine"}]
    job = made_job(rows, tmp_path / "unused", graph={"parts": parts})
    made = store_graph(resolve_job(job), tmp_path / "graph", client=cluster_client)
    job = made_job(rows, tmp_path / "unused", graph=parts[0])
    alone = store_graph(resolve_job(job), tmp_path / "alone", client=cluster_client)
    assert made.summary["n_edges"] > alone.summary["n_edges"] > 640
    files = {path.name for path in (tmp_path / "graph").iterdir()}
    assert files == {"graph", "stored_graph.json"}


def test_damaged_files_of_a_saved_graph_are_named(tmp_path):
    whole, folder = tmp_path / "whole", tmp_path / "damaged"
    (whole / "index").mkdir(parents=True)
    (whole / "graph").mkdir()
    graph = knn_graph(sheets(300), 5, search="routed", index_folder=whole / "index")
    graph.save(whole / "graph")
    (nodes,) = [path.name for path in (whole / "graph").glob("nodes-*")]

    def read(name, content, load):
        shutil.copytree(whole, folder, dirs_exist_ok=True)
        (folder / name).write_bytes(content)
        with pytest.raises(GraphError) as caught:
            load()
        assert str(folder) in caught.value.as_dict()["file"]
        assert "again" in caught.value.as_dict()["hint"]
        return str(caught.value)

    def rows():
        return BlockGraph.load(folder / "graph").to_scipy()

    def index():
        return RoutedIndex.load(folder / "index")

    for text in (b"", b"[]", b"null", b"\xff", b"{}"):
        assert "graph" in read("graph/graph.json", text, rows)
        assert "index" in read("index/index.json", text, index)
    content = (whole / "index" / "routing.npz").read_bytes()
    assert "cannot be read" in read("index/routing.npz", content[: len(content) // 2], index)
    for name in ("X", "nodes"):
        shard = read(f"index/shard-00000-{name}.npy", b"", lambda: index().search(sheets(9), 2))
        assert "a shard of the index" in shard
    content = (whole / "graph" / nodes).read_bytes()
    assert "outside 0" in read(f"graph/{nodes}", content[:-4] + b"\x01\0\0\0", rows)
    shutil.copytree(whole, folder, dirs_exist_ok=True)
    assert (rows() != graph.to_scipy()).nnz == 0
    assert index().search(sheets(300)[:3], 2)[1].shape == (3, 2)
