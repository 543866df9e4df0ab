"""Cases that run a job: its result, its plan, its check."""

from __future__ import annotations

from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import ssl_dask
from tests.goldens.case import QUICK, Case, Work
from tests.goldens.content import (
    WORDS,
    Items,
    array_digest,
    digest,
    run_items,
    told_items,
    without_places,
)
from tests.goldens.job_table import BLOCK_ROWS, SHIPPED, MadeJob, all_made_jobs
from tests.goldens.made_inputs import copy_jobs
from tests.goldens.places import command, graphs_on_workers
from tests.made_job import Heard, write_job

SHIPPED_JOBS = Path(ssl_dask.__file__).parents[1] / "jobs"
PLANNED_FOR = "cluster={workers: 2, memory: 1GiB}"


class HeardOrder(Heard):
    """Hears what a run tells a listener; the order of stages and of events is kept."""

    def __init__(self) -> None:
        super().__init__()
        self.order: list[str] = []

    def event(self, name: str, /, *, level: str = "info", **fields: Any) -> None:
        self.order.append(f"{level} {name}")


def job_cases() -> list[Case]:
    cases = [
        Case(f"shipped/{name}", size, partial(shipped_items, name))
        for name, size in SHIPPED.items()
    ]
    for made in all_made_jobs():
        cases += [
            Case(run_name(made, *run), size, partial(made_items, made, *run))
            for *run, size in made.runs
        ]
        first = min(size for *_, size in made.runs)
        cases.append(Case(f"told/{made.name}", first, partial(told, made)))
    return cases


def run_name(made: MadeJob, blocks: int, place: str) -> str:
    return f"job/{made.name}/{blocks} blocks/{place}"


def shipped_items(name: str, work: Work) -> Items:
    """Return the items of a job that ships, run on the cluster, and of its plan and check."""
    if not (work.folder / "jobs").exists():
        copy_jobs(SHIPPED_JOBS, work.folder / "jobs")
    path = work.folder / "jobs" / f"{name}.yaml"
    out = work.folder / f"out+{name}"
    client = work.places.client("process" if SHIPPED[name] == QUICK else "cluster")
    overrides = [f"output.path={out}"]
    result = ssl_dask.run_job(path, client=client, overrides=overrides)
    case = f"shipped/{name}"
    return {
        **run_items(result.path, work.folder, keep=work.kept(case)),
        # A plan for this machine would tell of its cores and memory.
        **command_items("plan", path, work, "--set", *overrides, "--set", PLANNED_FOR),
        **command_items("validate", path, work, "--set", *overrides),
    }


def made_items(made: MadeJob, blocks: int, place: str, work: Work) -> Items:
    """Return the items of one run of a made job."""
    name = run_name(made, blocks, place)
    job = write_job(work.folder / f"{name.replace('/', '+')}.yaml", made.job)
    items: Items = {}
    if made.graph_of is not None:
        items |= stored_graph_items(made.graph_of, work)
    heard = HeardOrder()
    overrides = [
        f"input.block_rows={BLOCK_ROWS[blocks]}",
        f"output.path=out+{name.replace('/', '+')}",
    ]
    with graphs_on_workers() if place == "workers" else nullcontext():
        result = ssl_dask.run_job(
            job, overrides=overrides, client=work.places.client(place), listener=heard
        )
    items |= run_items(result.path, work.folder, keep=work.kept(name))
    items |= {"stages": heard.stages, "events": heard.order}
    again = ssl_dask.run_job(job, overrides=overrides, client=work.places.client(place))
    items["already done"] = again.already_done
    if made.predict:
        items |= predicted_items(result.path, work)
    return items


def stored_graph_items(job: dict[str, Any], work: Work) -> Items:
    """Store the graph of a job, as `ssl-dask graph` does; return what was told."""
    path = write_job(work.folder / "graph_of.yaml", job)
    place = f"cluster={{kind: address, address: {work.places.address()}}}"
    folder = work.folder / "stored_graph"
    code, out, _ = command("graph", path, "--output", folder, "--set", place)
    files = sorted(one.name for one in folder.rglob("*"))
    return {"graph/code": code, "graph/files": len(files), **told_items("graph", out, work.folder)}


def predicted_items(run: Path, work: Work) -> Items:
    """Label new rows by the models of a run, with the command and in memory."""
    import pyarrow.parquet as pq

    new, out = work.folder / "new_rows.parquet", work.folder / f"predicted+{run.parents[1].name}"
    code, _, _ = command("predict", run, new, "-o", out, "--cluster", work.places.address())
    found = run_items_of_prediction(out, work)
    models = ssl_dask.load_models(run)
    frame = pq.read_table(new).to_pandas()
    found["in memory/chances"] = array_digest(models.predict_proba(frame))
    found["in memory/labels"] = array_digest(models.predict(frame))
    return {"predict/code": code, **{f"predict/{key}": one for key, one in found.items()}}


def run_items_of_prediction(out: Path, work: Work) -> Items:
    from tests.goldens.content import manifest_items, part_items

    run = out / "latest"
    return {**part_items(run, "labels"), **manifest_items(run, work.folder)}


def command_items(name: str, path: Path, work: Work, *more: str) -> Items:
    code, out, err = command(name, path, *more)
    return {
        f"{name}/code": code,
        **told_items(name, out, work.folder),
        f"{name}/stderr{WORDS}": without_places(err, work.folder).splitlines(),
    }


def told(made: MadeJob, work: Work) -> Items:
    """Return what `plan` and `validate` say of a job, and its digest."""
    if made.graph_of is not None and not (work.folder / "stored_graph").exists():
        stored_graph_items(made.graph_of, work)
    name = made.name.replace("/", "+")
    path = write_job(work.folder / f"told+{name}.yaml", made.job)
    spec = ssl_dask.load_job(path)
    return {
        "digest": digest(spec.digest()),
        "target": spec.target,
        **command_items("plan", path, work, "--set", "input.block_rows=50"),
        **command_items("validate", path, work),
    }
