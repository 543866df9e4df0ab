"""`ssl-dask plan`: what a job will cost, without running it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ssl_dask.graph.build.graph_estimate import GraphEstimate
from ssl_dask.graph.graph_spec import GraphPartSpec, OneGraphSpec
from ssl_dask.job_spec import JobSpec
from ssl_dask.methods import METHODS
from ssl_dask.pipeline.commands.plan_costs import (
    Cost,
    GraphSize,
    JobSize,
    check_memory,
    graph_cost,
    memory_words,
    method_cost,
    reading_cost,
    size_words,
)
from ssl_dask.pipeline.inputs.job_inputs import Inputs
from ssl_dask.propagation.engine.distributed_partitions import USABLE_MEMORY
from ssl_dask.storage.ids.edges import EdgeFile
from ssl_dask.storage.runs.output_path import check_output_path

MANY_TASKS = 2_000_000
"""A scheduler and a client take about 1 KiB for each task."""
FEWER_TASKS = "raise graph.shard_memory and cluster.memory, or take method anchor_graph"

Rows = list[tuple[str, str]]


def plan_job(spec: JobSpec, *, trust_modules: Sequence[str] = ()) -> Rows:
    """Estimate what a job will cost; read footers only, start nothing.

    Parameters
    ----------
    spec
        The job.
    trust_modules
        Modules whose classes the job may name as learners: importing them runs their code.

    Returns
    -------
    list of (name, value)
        Rows, blocks, tasks, bytes moved, memory and expected time, for printing.

    Raises
    ------
    SslDaskError
        The input cannot be used, or the workers' memory is too small; the message says what is
        needed.
    """
    METHODS[spec.method.name].check_learners(spec.method, spec.features, trust_modules)
    inputs = Inputs.open(spec)
    check_output_path(spec.output.path, inputs.local_paths)
    job = JobSize.of(spec, inputs)
    of_graph, graph = graph_cost(job)
    method = job.method_cost(job.n_classes)
    needed = method.bytes_of_worker(graph.n_nodes, graph.n_edges, job.workers, graph.halo)
    total = reading_cost(job) + of_graph + method_cost(job, graph, method)
    warnings: Rows = []
    if spec.cluster.kind == "local":
        check_memory(job, graph)
        if needed > USABLE_MEMORY * job.memory:
            words = f"with {job.n_classes} classes the method {memory_words(needed, job)}"
            warnings.append(("warning", words))
    if total.tasks > MANY_TASKS:
        words = f"{total.tasks:,} tasks are more than a scheduler holds: {FEWER_TASKS}"
        warnings.append(("warning", words))
    return [
        *_size_rows(job),
        *_graph_rows(job, graph),
        *warnings,
        ("method", f"{spec.method.name}: {method.time}"),
        ("memory of the method", f"about {size_words(needed)} a worker: {method.memory}"),
        *_cost_rows(job, total),
    ]


def _size_rows(job: JobSize) -> Rows:
    layout, width, cluster = job.layout, job.width, job.spec.cluster
    dataset = job.inputs.dataset
    n_files = len(dataset.files)
    kind = "sparse" if width.sparse else "dense float32"
    if cluster.kind == "address":
        workers = f"{cluster.address}; the figures below are for a local cluster of this machine"
    elif cluster.starts_workers(dataset.n_rows, dataset.size):
        each = f"{job.threads} threads, {size_words(job.memory)} each"
        workers = f"local, {job.workers} workers x {each}"
    else:
        workers = f"none: {job.threads} threads of this process are enough for so few rows"
    times = [name for name in job.inputs.needs.columns if name in dataset.int96]
    words = (
        f"{', '.join(times)}: INT96 times, read three times to be exact; timestamps are read once"
    )
    return [
        *job.inputs.table_versions.items(),
        ("rows", f"{layout.n_rows:,} in {n_files:,} file(s), {size_words(dataset.size)}"),
        *([("columns", words)] if times else []),
        ("blocks", f"{len(layout.blocks):,}, the largest {max(layout.row_chunks):,} rows"),
        ("features", f"{'' if width.exact else 'at most '}{width.columns:,}, {kind}"),
        ("cluster", workers),
    ]


def _graph_rows(job: JobSize, graph: GraphSize) -> Rows:
    if job.inputs.stored_graph is not None:
        return [("graph", f"stored in {job.inputs.stored_graph.path}")]
    if job.spec.graph is None:
        return []
    edge_files = iter(job.inputs.edge_files)
    return [
        ("graph", _part_words(part, estimate, edge_files))
        for part, estimate in zip(job.spec.graph.each(), graph.parts, strict=False)
    ]


def _cost_rows(job: JobSize, total: Cost) -> Rows:
    per_task = size_words(job.memory // job.threads)
    return [
        ("tasks", f"about {total.tasks:,}"),
        ("bytes moved", f"about {size_words(total.bytes_moved)} between workers"),
        ("disk while it runs", f"about {size_words(total.disk_bytes)} beside the output"),
        ("memory", f"about {size_words(total.bytes_per_task)} for each task, of {per_task}"),
        ("expected time", _duration(total.expected_seconds)),
        ("output", f"{len(job.layout.blocks):,} parts in {job.spec.output.path}"),
    ]


def _part_words(spec: OneGraphSpec, graph: GraphEstimate, edge_files: Iterator[EdgeFile]) -> str:
    match graph.search:
        case "edges":
            file = next(edge_files)
            kind = f"{file.n_edges:,} edges of {file.dataset.path}"
        case "entities":
            kind = (
                f"rows through {', '.join(spec.entities or ())}, shared by at most"
                f" {spec.max_entity_rows:,} rows; {graph.strips:,} strips, at most"
            )
        case "rbf":
            kind = f"dense gaussian, gamma {spec.gamma:g}; {graph.strips:,} strips"
        case "routed":
            kind = (
                f"routed {spec.n_neighbors} nearest, {graph.strips:,} shards, at least"
                f" {spec.target_recall:g} of the true ones"
            )
        case _:
            kind = (
                f"exact {spec.n_neighbors} nearest over all pairs of rows; {graph.strips:,} strips"
            )
    weight = f"{spec.weight:g} x " if isinstance(spec, GraphPartSpec) else ""
    return f"{weight}{kind}, {size_words(graph.graph_bytes)}"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"about {max(round(seconds / 5) * 5, 5)} s"
    if seconds < 5400:
        return f"about {seconds / 60:.0f} min"
    return f"about {seconds / 3600:.1f} h"
