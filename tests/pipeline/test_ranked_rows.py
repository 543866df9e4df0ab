"""The column `rank`: places of the likeliest rows of a class over all blocks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssl_dask.decision.calibration import not_calibrated
from ssl_dask.decision.decision_spec import DecisionSpec
from ssl_dask.decision.labelling import DecisionRule
from ssl_dask.errors import JobSpecError
from ssl_dask.execution import Execution
from ssl_dask.labels import Labels
from ssl_dask.pipeline.commands.predict import predict_rows
from ssl_dask.pipeline.commands.run import run_job
from ssl_dask.pipeline.targets import ranked_rows
from ssl_dask.pipeline.targets.ranked_rows import rank_rows
from ssl_dask.storage.ids.id_hash import tags_of
from tests.made_job import made_job, made_rows, read_parts, write_rows


@given(st.lists(st.integers(0, 8), min_size=2, max_size=30), st.integers(1, 12), st.data())
def test_places_are_those_of_one_sort(eighths: list[int], limit: int, data: st.DataObject) -> None:
    n = len(eighths)
    p = np.array(eighths, dtype=np.float32) / 8
    F = np.stack([1 - p, p], axis=1)
    cuts = sorted(data.draw(st.sets(st.integers(1, n - 1), max_size=3)))
    chunks = tuple(np.diff([0, *cuts, n]).tolist())
    codes = np.where(data.draw(st.lists(st.booleans(), min_size=n, max_size=n)), 0, -1)
    labels = Labels.from_codes(codes, ["no", "yes"])
    rule = DecisionRule(not_calibrated("none"), DecisionSpec())
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(ranked_rows, "MAX_RANKED", limit)
        X = da.from_array(F, chunks=(chunks, 2))
        found = rank_rows(X, None, None, labels, rule, 1, Execution())
    got = np.concatenate([one.column(size) for one, size in zip(found, chunks, strict=True)])
    free = [row for row in range(n) if codes[row] < 0 and p[row] > 0]
    want = np.full(n, -1)
    for place, row in enumerate(sorted(free, key=lambda row: (-p[row], row))[:limit], 1):
        want[row] = place
    assert got.tolist() == want.tolist()


def ranked(rows: Path, out: Path, **more: Any) -> dict[str, Any]:
    job = made_job(rows, out, graph=None, method={"name": "self_training"}, **more)
    job["output"] |= {"probabilities": True, "rank": "bee", "models": True}
    job["decision"] = {"on_worse": "publish"}
    return job


def test_a_job_ranks_its_rows_and_so_does_predict(tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "rows", made_rows())
    run = run_job(ranked(rows, tmp_path / "out"))
    table = read_parts(run.path)
    seed = np.array(table["source"].to_pylist()) == "seed"
    p = np.where(seed, -1.0, table["p_bee"].to_numpy())
    order = np.lexsort((tags_of(table["id"].combine_chunks()), -p))
    want = [None] * len(table)
    for place, row in enumerate(order[: (p > 0).sum()].tolist(), 1):
        want[row] = place
    assert table["rank"].to_pylist() == want
    assert table["rank"].null_count == seed.sum() > 0
    answered = predict_rows(run.path, str(rows), tmp_path / "new")
    again = read_parts(answered.path)
    p = again["p_bee"].to_numpy()
    order = np.lexsort((tags_of(again["id"].combine_chunks()), -p))
    assert (np.array(again["rank"].to_pylist())[order] == np.arange(1, len(p) + 1)).all()
    assert (
        b"output.rank"
        in pq.read_schema(next((run.path / "labels").iterdir()))
        .field("rank")
        .metadata[b"description"]
    )


def test_a_class_that_is_none_is_refused(tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "rows", made_rows())
    job = ranked(rows, tmp_path / "out")
    job["output"]["rank"] = "nobody"
    with pytest.raises(JobSpecError, match=r"output\.rank: 'nobody' is none of the classes"):
        run_job(job)
    job["output"] |= {"rank": "bee", "columns": ["rank"]}
    with pytest.raises(JobSpecError, match="'rank', which is also a column of the result"):
        run_job(job)
