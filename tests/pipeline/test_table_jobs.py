"""Jobs over tables: one version from first to last, whatever is written to them meanwhile."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from ssl_dask.errors import InputDataError, JobSpecError, ResumeMismatchError
from ssl_dask.job_file import resolve_job
from ssl_dask.pipeline.commands.plan import plan_job
from ssl_dask.pipeline.commands.predict import predict_rows, prediction_rows
from ssl_dask.pipeline.commands.run import run_job
from tests.made_job import answer, made_job, made_rows, read_parts
from tests.stops import Stopped, StopsAfter

Append = Callable[[pa.Table], str]
"""Appends rows to a table, or makes it of them; returns its version in words."""


def delta_table(folder: Path) -> Append:
    deltalake = pytest.importorskip("deltalake", reason="pip install ssl-dask[delta]")

    def append(rows: pa.Table) -> str:
        deltalake.write_deltalake(str(folder), rows, mode="append", schema_mode="merge")
        return f"version {deltalake.DeltaTable(str(folder)).version()}"

    return append


def iceberg_table(folder: Path) -> Append:
    pytest.importorskip("sqlalchemy", reason="pip install pyiceberg[sql-sqlite]")
    memory = pytest.importorskip("pyiceberg.catalog.memory", reason="pip install ssl-dask[iceberg]")
    catalog = memory.InMemoryCatalog("c")
    catalog.create_namespace("n")

    def append(rows: pa.Table) -> str:
        place = {"location": f"file://{folder}"}
        table = catalog.create_table_if_not_exists("n.t", schema=rows.schema, **place)
        with table.update_schema() as change:
            change.union_by_name(rows.schema)
        table.append(rows)
        return f"snapshot {table.metadata.current_snapshot_id}"

    return append


TABLES = {"delta": delta_table, "iceberg": iceberg_table}


@pytest.fixture(params=TABLES)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def more_rows(n: int, seed: int) -> pa.Table:
    """Return rows with ids that no other seed has."""
    rows = made_rows(seed=seed).slice(0, n)
    return rows.set_column(0, "id", pc.add(rows["id"], seed * 10**6))


def table_job(kind: str, folder: Path, out: Path, **more: Any) -> dict[str, Any]:
    job = made_job(folder, out, cluster={"kind": "local"}, **more)
    job["input"]["format"] = kind
    return job


def test_a_resumed_run_reads_the_version_that_was_killed(tmp_path: Path, kind: str) -> None:
    append = TABLES[kind](tmp_path / "t")
    first = append(made_rows())
    job = table_job(kind, tmp_path / "t", tmp_path / "out")
    undisturbed = run_job(table_job(kind, tmp_path / "t", tmp_path / "whole"))
    assert dict(plan_job(resolve_job(job)))["input table"] == first
    stopped = StopsAfter("graph", 0)
    with pytest.raises(Stopped):
        run_job(job, listener=stopped)
    second = append(more_rows(40, seed=1))
    assert second != first

    resumed = run_job(job, resume=True)
    assert resumed.run_id == stopped.run_id
    assert answer(resumed.path) == answer(undisturbed.path)
    report = json.loads((resumed.path / "report.json").read_text())
    manifest = json.loads((resumed.path / "manifest.json").read_text())
    assert report["versions"]["input table"] == first
    assert manifest["versions"]["input table"] == first
    assert report["job"]["input"]["path"] == str(tmp_path / "t")
    assert not {"version", "snapshot"} & set(report["job"]["input"])

    anew = run_job(job)
    assert read_parts(anew.path).num_rows == read_parts(resumed.path).num_rows + 40
    assert run_job(job, resume=True).run_id == anew.run_id


def test_a_version_that_the_job_names_is_not_that_of_a_killed_run(tmp_path: Path) -> None:
    append = delta_table(tmp_path / "t")
    append(made_rows())
    append(more_rows(40, seed=1))
    job = table_job("delta", tmp_path / "t", tmp_path / "out")
    job["input"]["version"] = 0
    with pytest.raises(Stopped):
        run_job(job, listener=StopsAfter("graph", 0))
    job["input"]["version"] = 1
    with pytest.raises(ResumeMismatchError, match="input files"):
        run_job(job, resume=True)


def test_labels_that_came_later(tmp_path: Path, kind: str) -> None:
    append = TABLES[kind](tmp_path / "t")
    rows = made_rows()
    labelled = rows.filter(rows["seed"].is_valid())
    append(rows.filter(rows["seed"].is_null()).drop_columns(["seed", "truth"]))
    append(labelled)
    job = table_job(kind, tmp_path / "t", tmp_path / "out")
    del job["input"]["truth"]
    job["output"]["columns"] = ["truth"]
    result = read_parts(run_job(job).path)
    assert result.num_rows == len(rows)
    assert result["source"].to_pylist().count("seed") == len(labelled)
    kept = dict(zip(result["id"].to_pylist(), result["truth"].to_pylist(), strict=True))
    given = dict(zip(labelled["id"].to_pylist(), labelled["truth"].to_pylist(), strict=True))
    assert kept == dict.fromkeys(rows["id"].to_pylist()) | given


def test_features_and_ids_that_came_later_are_refused(tmp_path: Path) -> None:
    append = delta_table(tmp_path / "t")
    append(made_rows().drop_columns(["a", "id"]))
    append(made_rows())
    with pytest.raises(InputDataError) as caught:
        run_job(table_job("delta", tmp_path / "t", tmp_path / "out"))
    problems = {one.column: one for one in caught.value.problems}
    assert set(problems) == {"a", "id"}
    assert all(one.rows == len(made_rows()) and one.hint for one in problems.values())


def test_models_label_the_rows_of_a_table(tmp_path: Path, kind: str) -> None:
    append = TABLES[kind](tmp_path / "t")
    append(made_rows())
    method = {"name": "self_training", "max_iter": 1}
    job = table_job(kind, tmp_path / "t", tmp_path / "out", method=method, graph=None)
    job["output"]["models"] = True
    run = run_job(job)
    new = TABLES[kind](tmp_path / "new")
    first = new(more_rows(50, seed=1))
    new(more_rows(30, seed=2))
    latest = predict_rows(run.path, str(tmp_path / "new"), tmp_path / "all")
    assert latest.summary["rows"] == 80
    chosen = {"version": 0} if kind == "delta" else {"snapshot": int(first.split()[1])}
    found = predict_rows(run.path, {"path": str(tmp_path / "new"), **chosen}, tmp_path / "some")
    assert found.summary["rows"] == 50
    assert ("input table", first) in prediction_rows(found.summary)
    manifest = json.loads((found.path / "manifest.json").read_text())
    assert manifest["versions"]["input table"] == first
    plain = {"path": str(tmp_path / "new"), "format": "parquet"}
    with pytest.raises(InputDataError, match="files of a table of"):
        predict_rows(run.path, plain, tmp_path / "none")
    with pytest.raises(JobSpecError, match="goes with a table"):
        predict_rows(run.path, {**plain, **chosen}, tmp_path / "none")
