"""`ssl-dask predict` tells rows of another kind than the run's, or refuses them."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ssl_dask import load_models
from ssl_dask.cli import app
from ssl_dask.errors import JobSpecError
from ssl_dask.job_file import resolve_job
from ssl_dask.pipeline.commands.run import run_job
from ssl_dask.pipeline.models.drift import AnswerCounts, judge_drift
from ssl_dask.process_end import exit_code
from tests.made_job import made_job


def payments(seed: int, n: int = 600) -> pa.Table:
    rng = np.random.default_rng(seed)
    fraud = rng.random(n) < 0.1
    labels = np.where(fraud, "fraud", "fair").astype(object)
    labels[120:] = None
    return pa.table(
        {
            "id": np.arange(n),
            "amount": rng.lognormal(np.where(fraud, 6, 3), 0.5),
            "age": rng.normal(40, 10, n),
            "label": pa.array(labels, pa.string()),
        }
    )


def test_amounts_a_hundred_times_too_large(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pq.write_table(payments(0), tmp_path / "rows.parquet")
    job = {
        "name": "payments",
        "input": {"path": str(tmp_path / "rows.parquet"), "id": "id", "label": "label"},
        "features": {"all": {"numeric": ["amount", "age"]}},
        "method": {"name": "self_training", "max_iter": 2},
        "decision": {"on_drift": "error"},
        "output": {"path": str(tmp_path / "out"), "models": True},
    }
    run = run_job(job)
    fresh = payments(1)
    wrong = fresh.set_column(1, "amount", pa.array(fresh["amount"].to_numpy() * 100))
    names = {"good": fresh, "wrong": wrong}
    for name, table in names.items():
        pq.write_table(table, tmp_path / f"{name}.parquet")
        command = ["predict", str(run.path), str(tmp_path / f"{name}.parquet"), "--json-logs"]
        code = exit_code(app, [*command, "-o", str(tmp_path / f"{name}-out")])
        last = json.loads(capsys.readouterr().err.splitlines()[-1])
        if name == "good":
            assert code == 0
            done = tmp_path / "good-out" / "latest" / "prediction.json"
            summary = json.loads(done.read_text())
            assert summary["warnings"] == []
            assert [one["column"] for one in summary["drift"]["columns"]] == ["amount", "age"]
        else:
            assert code == 8
            assert last["column"] == "amount"
            assert "outside of the run's range" in last["message"]
            assert "of the labels are 'fraud'" in last["message"]
            assert "unit" in last["hint"]
            assert not (tmp_path / "wrong-out" / "latest").exists()
    job["decision"] = {}
    models = load_models(run_job(job).path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        models.predict(fresh)
    with pytest.warns(UserWarning, match=r"'amount' is not as in the run.*'fraud'"):
        models.predict(wrong)
    command = ["predict", str(tmp_path / "out"), str(tmp_path / "wrong.parquet"), "--json-logs"]
    assert exit_code(app, [*command, "-o", str(tmp_path / "warned")]) == 0
    last = json.loads(capsys.readouterr().err.splitlines()[-1])
    assert last["event"] == "run_done"
    assert any("'amount'" in text for text in last["warnings"])


def test_shares_of_the_answer() -> None:
    def said(labels: list[int], abstained: int = 0) -> list[str]:
        run = AnswerCounts(labels=(9000, 200), seeds=(100, 100), abstained=800)
        drift = judge_drift({}, {}, run, np.array(labels), abstained, ["fair", "fraud"])
        return [str(one) for one in drift.warnings]

    assert said([900, 20], 80) == []
    # Three times the share with the given labels is six times the one without: both must move.
    assert said([960, 40], 90) == []
    assert said([0, 0]) == []
    assert said([10, 19]) == []
    (one,) = said([800, 120], 80)
    assert one == "13.04% of the labels are 'fraud', of the run's 2.17%."
    (gone,) = said([5000, 0], 400)
    assert "0.00% of the labels are 'fraud'" in gone
    (many,) = said([500, 10], 490)
    assert many == "49.0% of the rows abstained, of the run's 8.0%."


def test_the_key_goes_with_models(tmp_path: Path) -> None:
    job = made_job(tmp_path / "rows", tmp_path / "out", graph=None)
    job["decision"] = {"on_drift": "error"}
    job["method"] = {"name": "self_training"}
    with pytest.raises(JobSpecError, match=r"on_drift: error goes with output\.models: true"):
        resolve_job(job)
