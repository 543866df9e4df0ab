"""A method from outside the package: one record, and job file, plan and run know it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from distributed import Client, LocalCluster

from ssl_dask.job_file import job_schema, resolve_job
from ssl_dask.method import JobShape, Method, MethodCost, MethodInputs, MethodResult
from ssl_dask.methods import METHODS
from ssl_dask.pipeline.commands.plan import plan_job
from ssl_dask.pipeline.commands.run import run_job
from ssl_dask.pipeline.commands.validate import validate_job
from ssl_dask.run_control import RunControl
from ssl_dask.spec_model import SpecModel
from tests.made_job import N_ISLAND, made_job, made_rows, read_parts, write_rows


class NearestMeanSpec(SpecModel):
    """The class whose seeds have the nearest mean."""

    name: Literal["nearest_mean"] = "nearest_mean"
    softness: float = 1.0
    """Squared distance that halves nothing and divides the odds by e."""


def distributions(X: np.ndarray, means: np.ndarray, softness: float) -> np.ndarray:
    d = ((X[:, None, :] - means) ** 2).sum(axis=2) / softness
    F = np.exp(d.min(axis=1, keepdims=True) - d)
    return (F / F.sum(axis=1, keepdims=True)).astype(np.float32)


def nearest_mean(inputs: MethodInputs, spec: NearestMeanSpec, control: RunControl) -> MethodResult:
    labels, X_seeds = inputs.labels, inputs.X_seeds

    def means(seen: np.ndarray) -> np.ndarray:
        classes = range(labels.n_classes)
        return np.stack([X_seeds[seen & (labels.codes == code)].mean(axis=0) for code in classes])

    everything = means(np.ones(labels.n_seeds, dtype=bool))
    F = inputs.X.map_blocks(
        distributions,
        everything,
        spec.softness,
        dtype=np.float32,
        chunks=(inputs.X.chunks[0], (labels.n_classes,)),
    )
    fold_F = [distributions(X_seeds[mask], means(~mask), spec.softness) for mask in inputs.hidden]
    return MethodResult(F=F, fold_F=fold_F, lasting=True)


def cost(spec: NearestMeanSpec, shape: JobShape) -> MethodCost:
    return MethodCost(
        row_flops=3.0 * shape.n_features * shape.n_classes,
        time="one pass over the rows: N d C",
        memory="a block of rows",
    )


METHOD = Method(
    NearestMeanSpec,
    nearest_mean,
    "features",
    cost=cost,
    stop_words={"converged": "the means were taken"},
)


@pytest.fixture
def known() -> Iterator[None]:
    METHODS.register(METHOD)
    yield
    METHODS.forget(METHOD.name)


@pytest.mark.usefixtures("known")
def test_it_is_validated_planned_and_run(tmp_path: Path) -> None:
    method = {"name": "nearest_mean", "softness": 0.5}
    rows = write_rows(tmp_path / "rows", made_rows())
    spec = resolve_job(made_job(rows, tmp_path / "out", graph=None, method=method))
    assert spec.method == NearestMeanSpec(softness=0.5)
    assert spec.graph is None
    assert dict(validate_job(spec))["seeds"].startswith("18 ")
    assert dict(plan_job(spec))["method"] == "nearest_mean: one pass over the rows: N d C"
    assert "NearestMeanSpec" in job_schema()["$defs"]
    with (
        LocalCluster(n_workers=1, processes=False, dashboard_address="127.0.0.1:0") as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        result = run_job(spec, client=client)
    assert result.report.method.name == "nearest_mean"
    assert result.report.method.stopped == "the means were taken"
    values, found = made_rows().to_pydict(), read_parts(result.path)
    X = np.array([values[name] for name in "abc"], dtype=np.float32).T
    codes = np.array([-1 if one is None else "abc".index(one[0]) for one in values["seed"]])
    means = np.stack([X[codes == code].mean(axis=0) for code in range(3)])
    nearest = ((X[:, None] - means) ** 2).sum(axis=2).argmin(axis=1)
    near = np.arange(len(X) - N_ISLAND)[codes[:-N_ISLAND] < 0]
    wanted = [("ant", "bee", "cat")[code] for code in nearest[near]]
    given = np.array(found["label"].to_pylist(), dtype=object)[near]
    assert np.mean(given == np.array(wanted, dtype=object)) == 1.0


@pytest.mark.usefixtures("known")
def test_its_name_is_taken_once() -> None:
    with pytest.raises(ValueError, match="nearest_mean"):
        METHODS.register(METHOD)
