"""Whole jobs on graphs that users have: edges, shared values, and sums with neighbours."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from distributed import Client

from ssl_dask.errors import GraphError, InputDataError, JobSpecError
from ssl_dask.estimators import LabelSpreading
from ssl_dask.graphs import BlockGraph, entity_graph, knn_graph, sum_graphs
from ssl_dask.job_file import resolve_job
from ssl_dask.pipeline.commands.plan import plan_job
from ssl_dask.pipeline.commands.run import RunResult, run_job
from ssl_dask.pipeline.commands.store_graph import GraphResult, store_graph
from ssl_dask.pipeline.commands.validate import validate_job
from tests.made_job import (
    N_LOOPS,
    N_ROWS,
    N_UNKNOWN,
    NAMES,
    answer,
    assert_useful,
    made_job,
    made_rows,
    rows_that_share,
    some_edges,
    with_column,
    write_rows,
)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("graphs")
    rows = rows_that_share()
    write_rows(folder / "rows", rows)
    write_rows(folder / "other_rows", rows, files=1, group_rows=1000)
    edges = some_edges(rows)
    write_rows(folder / "edges", edges, files=3, group_rows=100)
    write_rows(folder / "other_edges", edges, files=1, group_rows=10_000)
    return folder


def run(folder: Path, out: Path, client: Client, *, other: bool = False, **graph: Any) -> RunResult:
    job = made_job(folder / ("other_rows" if other else "rows"), out, graph=graph)
    if other:
        job["input"]["block_rows"] = 47
    return run_job(job, client=client)


def assert_labels(result: RunResult, graph: BlockGraph, rows: pa.Table) -> None:
    """Fail unless the job's labels are those of the graph, where it gives any."""
    found = np.array([label or "" for label in assert_useful(result.path)["label"].to_pylist()])
    seeds = rows["seed"].to_pylist()
    y = np.array([-1 if seed is None else NAMES.index(seed) for seed in seeds])
    F = LabelSpreading(alpha=0.9).fit(graph, y).label_distributions_
    want = np.where(F.any(axis=1), np.array(NAMES)[F.argmax(axis=1)], "")
    given = found != ""
    assert given.sum() > 200
    np.testing.assert_array_equal(found[given], want[given])


def test_edges_in_files_are_the_graph(shared: Path, tmp_path: Path, cluster_client: Client) -> None:
    edges = {"path": str(shared / "edges"), "source": "from", "target": "to", "weight": "w"}
    result = run(shared, tmp_path / "out", cluster_client, edges=edges)
    about = result.report.graph
    assert about["kind"] == "edges"
    assert about["edges_given"] == 4 * N_ROWS + N_LOOPS + N_UNKNOWN
    assert about["edges_with_unknown_ends_dropped"] == N_UNKNOWN
    assert about["self_edges_dropped"] >= N_LOOPS
    assert f"{N_UNKNOWN} of" in about["notes"][0]
    rows, table = rows_that_share(), some_edges(rows_that_share())
    columns = (table[name].to_numpy() for name in ("from", "to", "w"))
    graph = BlockGraph.from_edges(*columns, ids=rows["id"].to_numpy())
    assert about["n_edges"] == graph.n_edges // 2
    assert_labels(result, graph, rows)
    assert result.report.evaluation.truth.unlabelled.accuracy_all.value > 0.9
    moved = {**edges, "path": str(shared / "other_edges")}
    again = run(shared, tmp_path / "other", cluster_client, other=True, edges=moved)
    assert answer(again.path) == answer(result.path)


def test_a_stored_graph_of_edges_that_have_changed_is_not_taken_for_the_same(
    shared: Path, tmp_path: Path, cluster_client: Client
) -> None:
    edges = some_edges(rows_that_share())
    write_rows(tmp_path / "edges", edges)
    graph = {"edges": {"path": str(tmp_path / "edges"), "source": "from", "target": "to"}}
    job = made_job(shared / "rows", tmp_path / "out", graph=graph)

    def store(job: dict[str, Any] = job, **options: Any) -> GraphResult:
        return store_graph(resolve_job(job), tmp_path / "kept", client=cluster_client, **options)

    first = store()
    assert store().already_stored
    by_row = {**job, "input": {key: job["input"][key] for key in job["input"] if key != "id"}}
    with pytest.raises(GraphError, match=r"not the same are input\.id"):
        store(by_row)
    # A job that uses the stored graph may name its rows as it likes.
    used = {**by_row, "graph": {"path": str(tmp_path / "kept")}}
    run_job(used, client=cluster_client)
    shutil.rmtree(tmp_path / "edges")
    write_rows(tmp_path / "edges", edges.slice(0, 500))
    with pytest.raises(GraphError, match="not the same are edge files"):
        store()
    second = store(force=True)
    assert second.summary["n_edges"] < first.summary["n_edges"]


def test_shared_values_are_the_graph(shared: Path, tmp_path: Path, cluster_client: Client) -> None:
    graph = {"entities": {"card": 1.0, "device": 0.1}, "max_entity_rows": 50}
    result = run(shared, tmp_path / "out", cluster_client, **graph)
    about = result.report.graph
    assert about["n_rows"] == N_ROWS
    assert about["n_nodes"] > N_ROWS + 50
    device = about["entities"]["device"]
    assert (device["dropped"], device["dropped_rows"], device["largest"]) == (1, 100, 100)
    assert "'device'" in about["notes"][0]
    rows = rows_that_share()
    columns = {name: np.array(rows[name].to_pylist(), dtype=object) for name in ("card", "device")}
    local = entity_graph(columns, weights={"device": 0.1}, max_entity_rows=50)
    assert local.n_nodes == about["n_nodes"]
    assert local.n_edges // 2 == about["n_edges"]
    assert_labels(result, local, rows)
    again = run(shared, tmp_path / "other", cluster_client, other=True, **graph)
    assert answer(again.path) == answer(result.path)


def test_neighbours_edges_and_shared_values_add_up(
    shared: Path, tmp_path: Path, cluster_client: Client
) -> None:
    edges = {"path": str(shared / "edges"), "source": "from", "target": "to"}
    parts = [
        {"n_neighbors": 8},
        {"entities": ["card"], "weight": 2.0},
        {"edges": edges, "weight": 0.5},
    ]
    result = run(shared, tmp_path / "out", cluster_client, parts=parts)
    about = result.report.graph
    assert [part["kind"] for part in about["parts"]] == ["knn", "entities", "edges"]
    assert [part["weight"] for part in about["parts"]] == [1.0, 2.0, 0.5]
    rows, table = rows_that_share(), some_edges(rows_that_share())
    X = np.column_stack([rows[name].to_numpy() for name in "abc"]).astype(np.float32)
    cards = entity_graph({"card": np.array(rows["card"].to_pylist(), dtype=object)})
    ends = (table[name].to_numpy() for name in ("from", "to"))
    joined = BlockGraph.from_edges(*ends, ids=rows["id"].to_numpy())
    local = sum_graphs([(knn_graph(X, 8), 1.0), (cards, 2.0), (joined, 0.5)])
    assert about["n_edges"] == local.n_edges // 2
    assert_labels(result, local, rows)
    assert "card" in (result.path / "report.html").read_text(encoding="utf-8")
    again = run(shared, tmp_path / "other", cluster_client, other=True, parts=parts)
    assert answer(again.path) == answer(result.path)


def test_plan_and_validate_tell_of_every_part(shared: Path, tmp_path: Path) -> None:
    edges = {"path": str(shared / "edges"), "source": "from", "target": "to"}
    parts = [{"n_neighbors": 8}, {"entities": ["card"], "weight": 2}, {"edges": edges}]
    spec = resolve_job(made_job(shared / "rows", tmp_path / "out", graph={"parts": parts}))
    shown = [value for name, value in plan_job(spec) if name == "graph"]
    assert len(shown) == 3
    assert "exact 8 nearest" in shown[0]
    assert shown[1].startswith("2 x rows through card")
    assert f"{4 * N_ROWS + N_LOOPS + N_UNKNOWN:,} edges" in shown[2]
    assert dict(validate_job(spec, schema_only=True))["edges"].startswith("1,290 in ")


def test_mistakes_are_found_before_anything_runs(shared: Path, tmp_path: Path) -> None:
    def validated(**graph: Any) -> list[str]:
        job = made_job(shared / "rows", tmp_path / "out", graph=graph)
        with pytest.raises((InputDataError, JobSpecError)) as caught:
            validate_job(resolve_job(job), schema_only=True)
        return [str(one) for one in caught.value.problems]

    edges = {"path": str(shared / "edges"), "source": "form", "target": "to", "weight": "weight"}
    found = validated(edges=edges)
    assert len(found) == 2
    assert "from" in found[0]
    (found_one,) = validated(edges={"path": str(tmp_path / "nothing")})
    assert "nothing" in found_one
    assert any("entities are integers" in one for one in validated(entities=["a"]))
    assert any("no such column" in one for one in validated(entities=["cart"]))
    assert any("the labels or the truth" in one for one in validated(entities=["truth"]))
    assert any("no two rows share" in one for one in validated(entities=["id"]))


def test_edges_that_join_nothing_are_refused(
    shared: Path, tmp_path: Path, cluster_client: Client
) -> None:
    pq.write_table(pa.table({"source": [1, 2], "target": [2, 3]}), tmp_path / "edges.parquet")
    edges = {"path": str(tmp_path / "edges.parquet")}
    with pytest.raises(InputDataError, match="none of the 2 edges joins two rows"):
        run(shared, tmp_path / "out", cluster_client, edges=edges)


@pytest.mark.parametrize("alike", [True, False])
def test_a_graph_without_signal_is_told(
    alike: bool, tmp_path: Path, cluster_client: Client
) -> None:
    rows = made_rows()
    kinds = np.array(rows["truth"].to_pylist())
    rng = np.random.default_rng(3)
    ids = rows["id"].to_numpy()
    order = np.argsort(kinds, kind="stable") if alike else np.arange(len(ids))
    place = np.arange(len(ids))
    ends = np.concatenate([(place + step) % len(ids) for step in rng.integers(1, 9, 6)])
    table = pa.table({"from": ids[order][np.tile(place, 6)], "to": ids[order][ends]})
    # Half of the rows are seeds, so that many edges join two.
    seeds = [
        kind if keep else None for kind, keep in zip(kinds, rng.random(len(ids)) < 0.5, strict=True)
    ]
    rows = with_column(rows, "seed", seeds)
    write_rows(tmp_path / "rows", rows)
    write_rows(tmp_path / "edges", table)
    edges = {"path": str(tmp_path / "edges"), "source": "from", "target": "to"}
    job = made_job(tmp_path / "rows", tmp_path / "out", graph={"edges": edges})
    report = run_job(job, client=cluster_client).report
    told = [text for text in report.warnings if "no signal" in text]
    assert bool(told) == (not alike)
    assert report.graph["edges_between_seeds"] > 100


def job_of_views(
    folder: Path, out: Path, *, cut: int | None = None, **graph: Any
) -> dict[str, Any]:
    """A job whose text some rows lack, with a graph of numbers and one of texts."""
    parts = [{"features": "numbers", "n_neighbors": 8}]
    parts.append({"features": ["words"], "n_neighbors": 6, "metric": "cosine"})
    features = {
        "numbers": {"numeric": ["a", "b", "c"], "scale": "none"},
        "words": {"text": "text", "n_features": 512, "optional": True},
    }
    job = made_job(folder, out, features=features, graph={"parts": parts, **graph})
    if cut is not None:
        job["input"]["block_rows"] = cut
    return job


def test_each_view_has_a_graph_and_its_weight_is_learned(
    tmp_path: Path, cluster_client: Client
) -> None:
    rows = made_rows()
    lacking = np.random.default_rng(8).random(N_ROWS) < 0.3
    texts = pa.array(rows["text"].to_pylist(), mask=lacking)
    rows = with_column(rows, "text", texts)
    write_rows(tmp_path / "rows", rows)
    write_rows(tmp_path / "other", rows, files=1, group_rows=1000)
    job = job_of_views(tmp_path / "rows", tmp_path / "out", part_weights="learned")
    learned = run_job(job, client=cluster_client)
    about = learned.report.graph
    numbers, words = about["parts"]
    assert (numbers["features"], words["features"]) == (["numbers"], ["words"])
    assert words["n_rows_without_features"] == lacking.sum()
    weights = [numbers["weight"], words["weight"]]
    assert max(weights) == 1.0
    assert min(weights) < 1.0
    assert learned.report.evaluation.truth.unlabelled.accuracy_all.value > 0.85
    other = job_of_views(tmp_path / "other", tmp_path / "again", cut=47, part_weights="learned")
    again = run_job(other, client=cluster_client)
    assert answer(again.path) == answer(learned.path)
    given = job_of_views(tmp_path / "rows", tmp_path / "given")
    for part, weight in zip(given["graph"]["parts"], weights, strict=True):
        part["weight"] = weight
    assert answer(run_job(given, client=cluster_client).path) == answer(learned.path)
    with pytest.raises(JobSpecError, match="stored graph serves other"):
        store_graph(resolve_job(job), tmp_path / "kept")
