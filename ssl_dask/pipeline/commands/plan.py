"""What a job will cost, without running it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ssl_dask.cluster import local_workers
from ssl_dask.errors import ComputeError
from ssl_dask.features.feature_groups import CategoricalGroup, NumericGroup, TextGroup, VectorGroup
from ssl_dask.graph.build.graph_estimate import GraphEstimate, estimate_graph
from ssl_dask.graph.graph_spec import GraphPartSpec, OneGraphSpec
from ssl_dask.job_spec import JobSpec
from ssl_dask.method import MethodCost
from ssl_dask.pipeline.commands.method_estimate import estimate_method, halo_share
from ssl_dask.pipeline.inputs.job_inputs import Inputs, plan_blocks
from ssl_dask.pipeline.inputs.stored_graph import StoredGraph
from ssl_dask.propagation.engine.distributed_partitions import HALO_SHARE, USABLE_MEMORY
from ssl_dask.self_labeled.loop.round_spec import check_learners
from ssl_dask.storage.ids.edges import EdgeFile
from ssl_dask.storage.input.dataset import Dataset
from ssl_dask.storage.input.row_layout import RowLayout
from ssl_dask.storage.runs.output_path import check_output_path

MIB = 2**20

# Rates seen on one core of a current x86-64 server. They only turn counts into a rough time.
READ_BYTES_PER_SECOND = 80e6
VALUES_PER_SECOND = 10e6
GRAPH_FLOPS_PER_SECOND = 30e9
SWEEP_PRODUCTS_PER_SECOND = 700e6
START_SECONDS = 8.0
SECONDS_PER_TASK = 0.5e-3
"""Of the scheduler, which is one process: more workers do not make it less."""
MANY_TASKS = 2_000_000
"""A scheduler and a client take about 1 KiB for each task."""
# What footers do not tell.
NONZEROS_PER_TEXT = 100
CLASSES_GUESSED = 10
FEWEST_CLASSES = 2

FEWER_TASKS = "raise graph.shard_memory and cluster.memory, or take method anchor_graph"

Rows = list[tuple[str, str]]


@dataclass(frozen=True)
class Width:
    """How many features a job has, as far as footers tell.

    Parameters
    ----------
    columns
        Features of a row.
    sparse
        Whether rows are sparse.
    exact
        False: a bound, since the number of categories is only known after reading.
    """

    columns: int
    sparse: bool
    exact: bool


def plan_job(spec: JobSpec, *, trust_modules: Sequence[str] = ()) -> Rows:
    """Say what a job will cost; read footers only, start nothing.

    Parameters
    ----------
    spec
        The job.
    trust_modules
        See `run_job`.

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
    check_learners(spec.method, spec.features, trust_modules)
    inputs = Inputs.open(spec)
    check_output_path(spec.output.path, inputs.local_paths)
    dataset = inputs.dataset
    workers, threads, memory = local_workers(spec.cluster)
    per_task = memory // threads
    width = feature_width(spec, dataset)
    size = sum(file.size for file in dataset.files)
    slots = workers * threads
    layout = plan_blocks(
        dataset,
        inputs.needs.columns,
        block_rows=spec.input.block_rows,
        memory_per_task=per_task,
        n_slots=slots,
    )
    largest = max(layout.row_chunks)
    passes = (
        3 if any(getattr(group, "n_components", None) for group in spec.features.values()) else 2
    )
    rows = [
        ("rows", f"{layout.n_rows:,} in {len(dataset.files):,} file(s), {_size(size)}"),
        ("blocks", f"{len(layout.blocks):,}, the largest {largest:,} rows"),
        ("features", _features(width)),
        ("cluster", _cluster(spec, workers, threads, memory)),
    ]
    tasks = (passes + 2) * len(layout.blocks)
    needed = _block_bytes(layout, width)
    values = passes * layout.n_rows * _values_per_row(spec, dataset)
    seconds = START_SECONDS + (passes + 1) * size / READ_BYTES_PER_SECOND / slots
    seconds += values / VALUES_PER_SECOND / slots
    disk = 0
    method = estimate_method(
        spec,
        n_rows=layout.n_rows,
        n_features=width.columns,
        n_classes=_n_classes(spec),
        sparse=width.sparse,
        n_blocks=len(layout.blocks),
        n_workers=workers,
    )
    tasks, moved = tasks + method.tasks, method.bytes_moved
    n_nodes, n_edges, halo = layout.n_rows, 0.0, 0.0
    if inputs.stored_graph is not None:
        rows.append(("graph", f"stored in {inputs.stored_graph.path}"))
        summary = inputs.stored_graph.summary
        n_nodes, n_edges = summary["n_nodes"], 2.0 * summary["n_edges"]
        halo = halo_share(_stored_parts(inputs.stored_graph), n_nodes, workers)
    elif spec.graph is not None:
        estimates = estimate_graph(
            spec.graph,
            n_rows=layout.n_rows,
            n_columns=width.columns,
            sparse=width.sparse,
            n_slots=slots,
            memory_per_task=per_task,
            n_workers=workers,
            edge_rows=[file.n_edges for file in inputs.edge_files],
        )
        edge_files = iter(inputs.edge_files)
        for part, one in zip(spec.graph.each(), estimates, strict=False):
            rows.append(("graph", _graph(part, one, edge_files)))
        graph = estimates[-1]
        n_edges = graph.graph_bytes / 8
        tasks += sum(one.tasks for one in estimates) + method.sweeps * (graph.strips + 1)
        moved += sum(one.bytes_moved for one in estimates)
        found = [(one.search, one.graph_bytes / 8) for one in estimates if one.search != "sum"]
        halo = halo_share(found, n_nodes, workers)
        needed = max(needed, *(one.memory_per_task for one in estimates))
        disk += max(one.disk_bytes for one in estimates)
        seconds += sum(one.seconds_per_slot for one in estimates) / slots
        seconds += sum(one.flops for one in estimates) / GRAPH_FLOPS_PER_SECOND / slots
    seconds += method.sweeps * method.columns * n_edges / SWEEP_PRODUCTS_PER_SECOND / slots
    seconds += layout.n_rows * method.row_flops / GRAPH_FLOPS_PER_SECOND / slots
    seconds += SECONDS_PER_TASK * tasks
    moved += int(method.halo_bytes(n_nodes, halo))
    needed_by_method = method.bytes_of_worker(n_nodes, n_edges, workers, halo)
    if spec.cluster.kind == "local":
        fewest = estimate_method(
            spec,
            n_rows=layout.n_rows,
            n_features=width.columns,
            n_classes=len(spec.input.classes or range(FEWEST_CLASSES)),
            sparse=width.sparse,
            n_blocks=len(layout.blocks),
            n_workers=workers,
        )
        _check_memory(fewest, n_nodes, n_edges, workers, memory)
        if needed_by_method > USABLE_MEMORY * memory:
            guess = f"with {_n_classes(spec)} classes the method "
            rows.append(("warning", guess + _too_much(needed_by_method, workers, memory)))
    if tasks > MANY_TASKS:
        rows.append(("warning", f"{tasks:,} tasks are more than a scheduler holds: {FEWER_TASKS}"))
    rows += [
        ("method", f"{spec.method.name}: {method.time}"),
        ("memory of the method", f"about {_size(needed_by_method)} a worker: {method.memory}"),
        ("tasks", f"about {tasks:,}"),
        ("bytes moved", f"about {_size(moved)} between workers"),
        ("disk while it runs", f"about {_size(disk)} beside the output"),
        ("memory", f"about {_size(needed)} for each task, of {_size(per_task)}"),
        ("expected time", _duration(seconds)),
        ("output", f"{len(layout.blocks):,} parts in {spec.output.path}"),
    ]
    return rows


def _check_memory(
    method: MethodCost, n_nodes: int, n_edges: float, workers: int, memory: int
) -> None:
    """Raise ComputeError where even the fewest classes would not fit: a run would stop late.

    It counts what the run counts before it starts, see `worker_parts.bytes_of_part`.
    """
    halo = HALO_SHARE if workers > 1 else 0.0
    needed = method.bytes_of_worker(n_nodes, n_edges, workers, halo)
    if needed > USABLE_MEMORY * memory:
        raise ComputeError(
            f"the method {_too_much(needed, workers, memory)}",
            hint=f"raise cluster.memory to {_size(needed / USABLE_MEMORY)}, add workers, lower"
            " evaluation.folds, or take method anchor_graph",
        )


def _stored_parts(stored: StoredGraph) -> list[tuple[str, float]]:
    """Return how the edges of a stored graph were found; of a sum each part may hold all."""
    n_edges = 2.0 * stored.summary["n_edges"]
    return [(part["kind"], n_edges) for part in stored.spec.get("parts") or (stored.spec,)]


def _too_much(needed: int, workers: int, memory: int) -> str:
    return (
        f"needs about {_size(needed)} on each of {workers:,} workers; one has {_size(memory)}, of"
        f" which {USABLE_MEMORY:.0%} may be used"
    )


def _n_classes(spec: JobSpec) -> int:
    """Return the number of classes, a guess where the job does not name them; a number is one."""
    if spec.target == "numbers":
        return 1
    return CLASSES_GUESSED if spec.input.classes is None else len(spec.input.classes)


def feature_width(spec: JobSpec, dataset: Dataset) -> Width:
    """Return how many features a row has, from the job and the columns' types."""
    total, sparse, exact = 0, False, True
    for group in spec.features.values():
        match group:
            case NumericGroup():
                doubled = 2 if group.missing == "indicator" else 1
                total += group.n_components or doubled * len(group.numeric)
                exact = exact and doubled == 1
            case VectorGroup():
                length = re.search(r"\[(\d+)\]$", dataset.columns[group.vector])
                known = group.n_components or (int(length.group(1)) if length else 0)
                total, exact = total + known, exact and known > 0
            case TextGroup():
                total, sparse = total + group.n_features, True
            case CategoricalGroup():
                sparse = True
                hashed = group.encoding == "hash"
                total += group.n_features if hashed else group.max_categories * len(group.columns())
                exact = exact and hashed
    return Width(total, sparse, exact)


def _values_per_row(spec: JobSpec, dataset: Dataset) -> int:
    """Return how many values of a row are read and described in one pass."""
    total = 0
    for group in spec.features.values():
        match group:
            case VectorGroup():
                length = re.search(r"\[(\d+)\]$", dataset.columns[group.vector])
                total += int(length.group(1)) if length else 1
            case TextGroup():
                total += NONZEROS_PER_TEXT * len(group.columns())
            case _:
                total += len(group.columns())
    return total


def _graph(spec: OneGraphSpec, graph: GraphEstimate, edge_files: Iterator[EdgeFile]) -> str:
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
    return f"{weight}{kind}, {_size(graph.graph_bytes)}"


def _features(width: Width) -> str:
    kind = "sparse" if width.sparse else "dense float32"
    return f"{'' if width.exact else 'at most '}{width.columns:,}, {kind}"


def _cluster(spec: JobSpec, workers: int, threads: int, memory: int) -> str:
    if spec.cluster.kind == "address":
        return f"{spec.cluster.address}; the figures below are for a local cluster of this machine"
    return f"local, {workers} workers x {threads} threads, {_size(memory)} each"


def _block_bytes(layout: RowLayout, width: Width) -> int:
    per_row = NONZEROS_PER_TEXT * 8 if width.sparse else width.columns * 4
    return max(layout.row_chunks) * (3 * per_row + 64)


def _size(count: float) -> str:
    if count < MIB:
        return f"{count / 1024:,.0f} KiB"
    return f"{count / MIB:,.0f} MiB" if count < 1024 * MIB else f"{count / MIB / 1024:,.1f} GiB"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"about {max(round(seconds / 5) * 5, 5)} s"
    if seconds < 5400:
        return f"about {seconds / 60:.0f} min"
    return f"about {seconds / 3600:.1f} h"
