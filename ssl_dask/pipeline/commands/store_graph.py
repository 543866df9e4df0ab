"""`ssl-dask graph`: the graph of a job, built and kept for the jobs that come after."""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distributed import Client

from ssl_dask.console import RunListener, Silent
from ssl_dask.errors import GraphError, JobSpecError, StorageError
from ssl_dask.execution import Execution
from ssl_dask.features.describe import describe
from ssl_dask.graph.block.graph_summary import graph_summary
from ssl_dask.job_file import load_job
from ssl_dask.job_spec import JobSpec
from ssl_dask.methods import METHODS
from ssl_dask.pipeline.commands.lifecycle import job_execution
from ssl_dask.pipeline.infer.job_graph import GraphFolders, build_job_graph
from ssl_dask.pipeline.inputs.job_inputs import Inputs, read_inputs
from ssl_dask.pipeline.inputs.run_context import DescribedJob
from ssl_dask.pipeline.inputs.stored_graph import (
    ABOUT,
    GRAPH,
    INDEX,
    StoredGraph,
    edges_fingerprint,
    graph_fingerprint,
)
from ssl_dask.storage.runs.manifest import Fingerprint
from ssl_dask.storage.runs.output_path import refuse_url
from ssl_dask.storage.runs.stored_folder import StoredFolder
from ssl_dask.version import __version__


@dataclass(frozen=True)
class GraphResult:
    """What `ssl-dask graph` has made."""

    path: Path
    """The folder."""
    summary: Mapping[str, Any]
    """What a report says of the graph."""
    already_stored: bool
    """The same graph stood there: nothing was computed."""


def store_graph(
    job: JobSpec | str | Path,
    folder: str | Path,
    *,
    overrides: Sequence[str] = (),
    client: Client | None = None,
    listener: RunListener | None = None,
    force: bool = False,
) -> GraphResult:
    """Build the graph of a job and keep it in `folder`: what `ssl-dask graph` does.

    Parameters
    ----------
    job
        A job file's path, or a `JobSpec`.
    folder
        Where it is kept, all of it or nothing; must be seen by all workers.
    overrides
        `key.path=value`, only with a job file.
    client
        Run on this client's cluster, whatever the job says.
    listener
        Told what happens; default: silence.
    force
        Replace the graph that is already there. Otherwise the same graph is left as it is, and
        another one is an error. A folder of anything else is never replaced.

    Raises
    ------
    SslDaskError
        By kind; a graph that stood in `folder` is untouched.
    """
    refuse_url(folder, "the graph's folder")
    spec = load_job(job, overrides) if isinstance(job, str | Path) else job
    if spec.graph is None or spec.graph.path is not None:
        raise JobSpecError(
            "the job makes no graph: its method needs none, or graph.path names a stored one",
            hint="give a job with a method on a graph, and without graph.path",
        )
    if spec.graph.part_weights == "learned":
        raise JobSpecError(
            "graph.part_weights: learned goes by the job's labels, and a stored graph serves other"
            " jobs too",
            hint="give each part a weight",
        )
    listener = listener or Silent()
    inputs = Inputs.open(spec)
    wanted = graph_fingerprint(spec, inputs.dataset)
    target = Path(folder).absolute()
    if _holds_graph(target) and not force:
        return _same_graph(target, spec, inputs, wanted)
    with (
        StoredFolder.open(target) as stored,
        job_execution(spec.cluster, inputs.dataset, client, stored.staging, listener) as execution,
    ):
        about = _build(spec, inputs, stored, wanted, execution, listener)
        listener.stage("commit")
        stored.commit(ABOUT, json.dumps(about, indent=1).encode())
    return GraphResult(target, about["summary"], already_stored=False)


def graph_rows(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what the command prints about a graph: (name, value) pairs."""
    settings = summary["settings"]
    rows = [
        ("rows", f"{summary['n_rows']:,}"),
        ("nodes", f"{summary['n_nodes']:,}"),
        ("edges", f"{summary['n_edges']:,}"),
        ("components", f"{summary['n_components']:,}"),
        ("isolated", f"{summary['n_isolated']:,}"),
    ]
    if recall := settings.get("recall"):
        low, high = recall["low"], recall["high"]
        rows.append(("recall", f"{recall['estimate']:.4f}  [{low:.4f}, {high:.4f}] at 95%"))
    return rows + [("note", note) for note in settings.get("notes", ())]


def _holds_graph(target: Path) -> bool:
    """Tell whether a graph stands in `target`; refuse a folder whose files are somebody else's."""
    if not target.is_dir() or not any(target.iterdir()):
        return False
    if not (target / ABOUT).exists():
        raise StorageError(
            f"the folder holds other files and no stored graph ({ABOUT} is missing); they stay",
            file=str(target),
            hint="choose another folder, or empty this one",
        )
    return True


def _same_graph(target: Path, spec: JobSpec, inputs: Inputs, made_of: Fingerprint) -> GraphResult:
    there = StoredGraph.open(target)
    assert spec.graph is not None
    asked = spec.graph.model_dump(mode="json")
    keys = sorted({*asked, *there.spec})
    differing = [key for key in keys if asked.get(key) != there.spec.get(key)]
    if differing:
        raise GraphError(
            f"a graph with another {', '.join(f'graph.{key}' for key in differing)} is stored here",
            file=str(target),
            hint="choose another folder, or replace it with --force",
        )
    there.check(made_of, edges_fingerprint(spec, inputs.edge_files))
    return GraphResult(target, there.summary, already_stored=True)


def _build(
    spec: JobSpec,
    inputs: Inputs,
    stored: StoredFolder,
    made_of: Fingerprint,
    execution: Execution,
    listener: RunListener,
) -> dict[str, Any]:
    """Write the graph, and the index where there is one; return the description."""
    assert spec.graph is not None
    listener.stage("read")
    data = read_inputs(spec, inputs, execution)
    listener.stage("features")
    views = describe(data.reader, spec.features, execution)
    job = DescribedJob(spec, inputs, data, views, execution)
    X = job.view.persist(execution, "describe").X
    listener.stage("graph")
    index = stored.new(INDEX)
    exchange = stored.new("exchange")
    searches = itertools.count()
    folders = GraphFolders(
        # Each part that searches has a folder of its own.
        scratch=lambda: str(stored.new(f"{exchange.name}/{next(searches)}")),
        index=str(index),
    )
    # Any method may use it.
    more_weights = sorted({weight for name in METHODS for weight in METHODS[name].more_weights})
    graph = build_job_graph(job, X, folders, more_weights)
    graph.save(stored.new(GRAPH), execution)
    summary = graph_summary(graph, execution)
    # Only now: what is lost with a worker is made again from rows that are routed there again.
    del graph
    shutil.rmtree(exchange, ignore_errors=True)
    if not any(index.iterdir()):
        index.rmdir()
    return {
        "graph": spec.graph.model_dump(mode="json"),
        "fingerprint": made_of.as_dict(),
        "edges": edges_fingerprint(spec, inputs.edge_files).as_dict(),
        "summary": summary,
        "version": __version__,
    }
