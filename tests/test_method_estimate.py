"""What `plan` says of each method: sweeps, memory, and how they grow."""

from __future__ import annotations

from pathlib import Path

import pytest

from ssl_dask.job_spec import WITH_FEATURES, resolve_job
from ssl_dask.pipeline.method_estimate import estimate_method, sweeps_for
from ssl_dask.pipeline.plan import plan_job
from ssl_dask.propagation import METHODS
from tests.made_job import made_job, made_rows, write_rows

NAMES = sorted({*METHODS, *WITH_FEATURES})


def job_of(rows: Path, name: str, **more: object) -> dict:
    graph = None if name in ("supervised", "anchor_graph") else {"n_neighbors": 8}
    method = {"name": name, **more}
    return made_job(rows, rows.parent / "out", method=method, graph=graph)


@pytest.mark.parametrize("name", NAMES)
def test_every_method_is_planned(name: str, tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "rows", made_rows())
    shown = dict(plan_job(resolve_job(job_of(rows, name))))
    assert shown["method"].startswith(f"{name}: ")
    assert "a worker: " in shown["memory of the method"]
    spec = resolve_job(job_of(rows, name))
    small, large = (
        estimate_method(spec, n_rows=n, n_features=50, n_classes=10) for n in (10**5, 10**7)
    )
    on_graph = name not in ("supervised", "anchor_graph")
    assert bool(small.sweeps) == on_graph
    less, more = (
        one.bytes_of_worker(n, 20.0 * n, 2) for one, n in ((small, 10**5), (large, 10**7))
    )
    # Nothing without a graph grows with the rows; what has one grows with them, and no faster.
    assert more == less if not on_graph else 90 * less < more < 110 * less
    assert estimate_method(spec, n_rows=10**5, n_features=50, n_classes=20).columns >= small.columns


def test_sweeps_follow_the_parameters(tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "rows", made_rows())

    def sweeps(name: str, **more: object) -> int:
        spec = resolve_job(job_of(rows, name, **more))
        return estimate_method(spec, n_rows=1000, n_features=5, n_classes=3).sweeps

    assert sweeps("label_spreading", alpha=0.8) < sweeps("label_spreading", alpha=0.99)
    assert sweeps("poisson_mbo") == sweeps("poisson") + 20 * 17
    assert sweeps("propagated_features", n_hops=3) == 3
    assert sweeps_for(0.999) == sweeps_for(1.0)
