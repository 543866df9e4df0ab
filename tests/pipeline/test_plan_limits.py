"""What `plan` refuses or warns of: workers that are too small, too many tasks for a scheduler."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ssl_dask.errors import ComputeError
from ssl_dask.job_file import resolve_job
from ssl_dask.pipeline.commands.plan import plan_job

N_ROWS = 4_000_000


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four million rows that are all the same, so that the files are small."""
    folder = tmp_path_factory.mktemp("rows")
    half = N_ROWS // 2
    seeds = pa.array(["a", "b"] + [None] * (half - 2))
    table = pa.table({"x": pa.array(np.zeros(half, np.float32)), "seed": seeds})
    for name in ("one", "two"):
        pq.write_table(table, folder / f"{name}.parquet")
    return folder


def planned(rows: Path, cluster: dict, classes: list[str] | None = None, **graph: object) -> dict:
    job = {
        "name": "large",
        "input": {"path": str(rows), "label": "seed", "classes": classes},
        "features": {"numbers": {"numeric": ["x"]}},
        "graph": {"n_neighbors": 15} | graph,
        "method": {"name": "label_spreading", "alpha": 0.9},
        "output": {"path": str(rows.parent / "out")},
        "cluster": cluster,
    }
    return dict(plan_job(resolve_job(job)))


def test_workers_that_cannot_hold_the_propagation_are_refused_with_what_is_needed(
    rows: Path,
) -> None:
    with pytest.raises(ComputeError, match=r"on each of 1 workers; one has 1\.0 GiB") as caught:
        planned(rows, {"workers": 1, "memory": "1GiB"})
    hint = caught.value.as_dict()["hint"]
    needed = float(hint.split("raise cluster.memory to ")[1].split(" GiB")[0])
    # 16 bytes an edge, 40 a node, two float32 vectors of 2 classes and 5 folds; a fifth is kept.
    edges = 2 * 15 * N_ROWS
    assert 0.5 < needed / ((16 * edges + N_ROWS * (40 + 2 * 4 * 12)) / 0.8 / 2**30) < 1.5
    assert "warning" not in planned(rows, {"workers": 4, "memory": f"{4 * needed:.0f}GiB"})


def test_a_guessed_number_of_classes_is_a_warning_and_a_given_one_refuses(rows: Path) -> None:
    cluster = {"workers": 1, "memory": "3GiB"}
    assert "with 10 classes the method needs" in planned(rows, cluster)["warning"]
    many = ["a", "b", *(f"c{number}" for number in range(8))]
    with pytest.raises(ComputeError, match="lower evaluation"):
        planned(rows, cluster, classes=many)


def test_more_tasks_than_a_scheduler_holds_are_told(rows: Path) -> None:
    cluster = {"workers": 8, "memory": "16GiB"}
    shown = planned(rows, cluster, n_neighbors=1000, shard_memory="16MiB")
    assert "tasks are more than a scheduler holds" in shown["warning"]
    assert "shard_memory" in shown["warning"]


def test_times_that_are_read_three_times_are_told(tmp_path: Path) -> None:
    day = pa.array([0, 86_400_000_000] * 10, pa.timestamp("us"))
    table = pa.table({"x": np.arange(20.0), "day": day, "seed": ["a", "b"] * 10})
    (tmp_path / "rows").mkdir()
    path = tmp_path / "rows" / "a.parquet"
    pq.write_table(table, path, use_deprecated_int96_timestamps=True)
    job = {
        "name": "times",
        "input": {"path": str(path), "label": "seed"},
        "features": {"days": {"categorical": "day"}},
        "method": {"name": "label_spreading"},
        "output": {"path": str(tmp_path / "out")},
    }
    assert dict(plan_job(resolve_job(job)))["columns"].startswith("day: INT96 times, read three")
    pq.write_table(table, path)
    assert "columns" not in dict(plan_job(resolve_job(job)))
