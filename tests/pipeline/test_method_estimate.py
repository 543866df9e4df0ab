"""What `plan` says of each method: sweeps, memory, and how they grow."""

from __future__ import annotations

from pathlib import Path

import pytest

from ssl_dask.job_file import resolve_job
from ssl_dask.job_spec import needs_graph
from ssl_dask.methods import METHODS
from ssl_dask.pipeline.commands.plan import plan_job
from ssl_dask.pipeline.commands.plan_costs import halo_share
from ssl_dask.propagation.engine.solve_cost import sweeps_for
from tests.known_methods import cost_of
from tests.made_job import made_job, made_rows, write_rows

NAMES = sorted(
    name
    for name in METHODS
    if METHODS[name].needs != "rounds" and METHODS[name].target == "classes"
)


def job_of(rows: Path, name: str, **more: object) -> dict:
    graph = {"n_neighbors": 8} if needs_graph(name) else None
    method = {"name": name, **more}
    return made_job(rows, rows.parent / "out", method=method, graph=graph)


@pytest.mark.parametrize("name", NAMES)
def test_every_method_is_planned(name: str, tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "rows", made_rows())
    shown = dict(plan_job(resolve_job(job_of(rows, name))))
    assert shown["method"].startswith(f"{name}: ")
    assert "a worker: " in shown["memory of the method"]
    spec = resolve_job(job_of(rows, name))
    small, large = (cost_of(spec, n_rows=n, n_features=50, n_classes=10) for n in (10**5, 10**7))
    on_graph = needs_graph(name)
    assert bool(small.sweeps) == on_graph
    less, more = (
        one.bytes_of_worker(n, 20.0 * n, 2) for one, n in ((small, 10**5), (large, 10**7))
    )
    # Nothing without a graph grows with the rows; what has one grows with them, and no faster.
    assert more == less if not on_graph else 90 * less < more < 110 * less
    assert cost_of(spec, n_rows=10**5, n_features=50, n_classes=20).columns >= small.columns


def test_the_halo_goes_by_the_kind_of_graph() -> None:
    nodes, workers = 1_000, 4
    assert halo_share([("rbf", 1e6)], nodes, workers) == 3.0
    # Half an edge a node leads to half a node elsewhere; many edges to no more than all others.
    assert halo_share([("entities", 500.0)], nodes, workers) == 0.5
    assert halo_share([("edges", 1e5)], nodes, workers) == 3.0
    near = halo_share([("routed", 1e5)], nodes, workers)
    assert 0.5 < near < 1.0
    assert halo_share([("exact", 1e5), ("entities", 500.0)], nodes, workers) == near + 0.5
    for kind in ("rbf", "entities", "routed"):
        assert halo_share([(kind, 1e6)], nodes, 1) == 0.0


def test_what_is_sent_and_held_grows_with_the_halo(tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "rows", made_rows())
    spec = resolve_job(job_of(rows, "label_propagation"))
    found = cost_of(spec, n_rows=1_000, n_features=5, n_classes=3)
    # Float64 scores of three classes, in six columns: the folds and all seeds.
    columns = 3 * (1 + spec.evaluation.folds)
    assert found.halo_bytes(1_000, 0.6) == pytest.approx(600 * 8 * columns * found.sweeps)
    own, more = (found.bytes_of_worker(1_000, 0.0, 2, halo) for halo in (0.0, 1.0))
    assert more - own == 500 * found.bytes_per_node


def test_sweeps_follow_the_parameters(tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "rows", made_rows())

    def sweeps(name: str, **more: object) -> int:
        spec = resolve_job(job_of(rows, name, **more))
        return cost_of(spec, n_rows=1000, n_features=5, n_classes=3).sweeps

    assert sweeps("label_spreading", alpha=0.8) < sweeps("label_spreading", alpha=0.99)
    assert sweeps("poisson_mbo") == sweeps("poisson") + 20 * 17
    assert sweeps("propagated_features", n_hops=3) == 3
    assert sweeps_for(0.999) == sweeps_for(1.0)
