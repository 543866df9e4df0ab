"""What the steps of a job cost, step by step; costs add up."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ssl_dask.cluster import local_workers
from ssl_dask.errors import ComputeError
from ssl_dask.execution import Execution
from ssl_dask.features.feature_groups import CategoricalGroup, NumericGroup, TextGroup, VectorGroup
from ssl_dask.graph.build.graph_estimate import (
    NONZEROS_PER_ROW,
    GraphEstimate,
    RowsToJoin,
    Slots,
    estimate_graph,
)
from ssl_dask.job_spec import JobSpec
from ssl_dask.method import JobShape, MethodCost
from ssl_dask.methods import METHODS
from ssl_dask.pipeline.inputs.job_inputs import Inputs, plan_blocks
from ssl_dask.propagation.engine.distributed_partitions import HALO_SHARE, USABLE_MEMORY
from ssl_dask.storage.input.row_layout import RowLayout

# Rates seen on one core of a current x86-64 server. They only turn counts into a rough time.
READ_BYTES_PER_SECOND = 80e6
VALUES_PER_SECOND = 10e6
GRAPH_FLOPS_PER_SECOND = 30e9
SWEEP_PRODUCTS_PER_SECOND = 700e6
START_SECONDS = 8.0
SECONDS_PER_TASK = 0.5e-3
"""Of the scheduler, which is one process: more workers do not make it less."""
# What footers do not tell.
NONZEROS_PER_TEXT = 100
CLASSES_GUESSED = 10
FEWEST_CLASSES = 2


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a step costs; `a + b` is what both cost, one after the other."""

    seconds: float = 0.0
    """On all workers together, without `tasks`."""
    tasks: int = 0
    """For the scheduler."""
    bytes_moved: int = 0
    """Between workers."""
    bytes_per_task: int = 0
    """What a task needs at most."""
    disk_bytes: int = 0
    """On disk while it runs, beside the output."""

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            seconds=self.seconds + other.seconds,
            tasks=self.tasks + other.tasks,
            bytes_moved=self.bytes_moved + other.bytes_moved,
            bytes_per_task=max(self.bytes_per_task, other.bytes_per_task),
            disk_bytes=max(self.disk_bytes, other.disk_bytes),
        )

    @property
    def expected_seconds(self) -> float:
        """Wall time, with the scheduler's."""
        return self.seconds + SECONDS_PER_TASK * self.tasks


@dataclass(frozen=True)
class Width:
    """How many features a job has, as far as footers tell."""

    columns: int
    """Features of a row."""
    sparse: bool
    """Whether rows are sparse."""
    exact: bool
    """False: a bound, since the number of categories is only known after reading."""


@dataclass(frozen=True)
class JobSize:
    """A job, its files, the cluster it is for, and how its rows are cut into blocks."""

    spec: JobSpec
    inputs: Inputs
    """The job and its files."""
    workers: int
    threads: int
    """Workers, and threads of each."""
    memory: int
    """Of a worker, in bytes."""
    layout: RowLayout
    """The blocks."""
    width: Width
    """Features of a row."""

    @classmethod
    def of(cls, spec: JobSpec, inputs: Inputs) -> JobSize:
        """Return the size of a job by the footers of its files."""
        dataset = inputs.dataset
        workers, threads, memory = local_workers(spec.cluster)
        if not spec.cluster.starts_workers(dataset.n_rows, dataset.size):
            here = Execution()
            workers, threads = 1, here.n_slots
            memory = here.memory_per_task * threads
        layout = plan_blocks(
            dataset,
            inputs.needs.columns,
            block_rows=spec.input.block_rows,
            memory_per_task=memory // threads,
            n_slots=workers * threads,
        )
        return cls(spec, inputs, workers, threads, memory, layout, feature_width(spec, inputs))

    @property
    def slots(self) -> int:
        """Tasks that run at a time."""
        return self.workers * self.threads

    @property
    def n_classes(self) -> int:
        """Classes, a guess where the job does not name them; a number is one."""
        if self.spec.target == "numbers":
            return 1
        return CLASSES_GUESSED if self.spec.input.classes is None else len(self.spec.input.classes)

    def method_cost(self, n_classes: int) -> MethodCost:
        """Return what the job's method costs with so many classes."""
        spec = self.spec
        shape = JobShape(
            n_rows=self.layout.n_rows,
            n_features=self.width.columns,
            n_classes=n_classes,
            n_folds=spec.evaluation.folds,
            n_groups=len(spec.features),
            n_optional=sum(group.optional for group in spec.features.values()),
            sparse=self.width.sparse,
            n_blocks=len(self.layout.blocks),
            n_workers=self.workers,
            tagged=spec.input.id is not None,
        )
        return METHODS[spec.method.name].cost(spec.method, shape)


@dataclass(frozen=True)
class GraphSize:
    """The graph of a job."""

    n_nodes: int
    """Nodes."""
    n_edges: float = 0.0
    """Edges, both directions counted."""
    strips: int = 0
    """Tasks that a sweep takes on the workers; 0: it is not known."""
    halo: float = 0.0
    """Nodes of other workers that a worker reads, for each node of its own."""
    parts: tuple[GraphEstimate, ...] = ()
    """An estimate for each part; empty: the graph is stored, or there is none."""


def reading_cost(job: JobSize) -> Cost:
    """Return what it costs to start, to read the rows, to describe them and to write the result."""
    n_blocks, layout = len(job.layout.blocks), job.layout
    passes = 3 if any(group.components for group in job.spec.features.values()) else 2
    per_row = NONZEROS_PER_TEXT * 8 if job.width.sparse else job.width.columns * 4
    values = passes * layout.n_rows * _values_per_row(job)
    return Cost(
        seconds=START_SECONDS
        + (passes + 1) * job.inputs.dataset.size / READ_BYTES_PER_SECOND / job.slots
        + values / VALUES_PER_SECOND / job.slots,
        tasks=(passes + 2) * n_blocks,
        bytes_per_task=max(layout.row_chunks) * (3 * per_row + 64),
    )


def graph_cost(job: JobSize) -> tuple[Cost, GraphSize]:
    """Return what the job's graph costs, and its size."""
    spec, stored, n_rows = job.spec.graph, job.inputs.stored_graph, job.layout.n_rows
    if stored is not None:
        n_edges = 2.0 * stored.summary["n_edges"]
        n_nodes = stored.summary["n_nodes"]
        # Of a sum each part may hold all edges.
        kinds = [(part["kind"], n_edges) for part in stored.spec.get("parts") or (stored.spec,)]
        return Cost(), GraphSize(n_nodes, n_edges, halo=halo_share(kinds, n_nodes, job.workers))
    if spec is None:
        return Cost(), GraphSize(n_rows)
    estimates = estimate_graph(
        spec,
        RowsToJoin(n_rows, job.width.columns, NONZEROS_PER_ROW if job.width.sparse else None),
        Slots(job.slots, job.memory // job.threads, job.workers),
        [file.n_edges for file in job.inputs.edge_files],
    )
    whole = estimates[-1]
    kinds = [(one.search, one.graph_bytes / 8) for one in estimates if one.search != "sum"]
    flops = sum(one.flops for one in estimates)
    cost = Cost(
        seconds=sum(one.seconds_per_slot for one in estimates) / job.slots
        + flops / GRAPH_FLOPS_PER_SECOND / job.slots,
        tasks=sum(one.tasks for one in estimates),
        bytes_moved=sum(one.bytes_moved for one in estimates),
        bytes_per_task=max(one.memory_per_task for one in estimates),
        disk_bytes=max(one.disk_bytes for one in estimates),
    )
    halo = halo_share(kinds, n_rows, job.workers)
    return cost, GraphSize(n_rows, whole.graph_bytes / 8, whole.strips, halo, tuple(estimates))


def method_cost(job: JobSize, graph: GraphSize, method: MethodCost) -> Cost:
    """Return what the job's method costs on its graph."""
    products = method.sweeps * method.columns * graph.n_edges
    flops = job.layout.n_rows * method.row_flops
    return Cost(
        seconds=products / SWEEP_PRODUCTS_PER_SECOND / job.slots
        + flops / GRAPH_FLOPS_PER_SECOND / job.slots,
        tasks=method.tasks + (method.sweeps * (graph.strips + 1) if graph.strips else 0),
        bytes_moved=method.bytes_moved + int(method.halo_bytes(graph.n_nodes, graph.halo)),
    )


def check_memory(job: JobSize, graph: GraphSize) -> None:
    """Raise ComputeError where even the fewest classes would not fit: a run would stop late.

    It counts what the run counts before it starts.
    """
    method = job.method_cost(len(job.spec.input.classes or range(FEWEST_CLASSES)))
    halo = HALO_SHARE if job.workers > 1 else 0.0
    needed = method.bytes_of_worker(graph.n_nodes, graph.n_edges, job.workers, halo)
    if needed > USABLE_MEMORY * job.memory:
        raise ComputeError(
            f"the method {memory_words(needed, job)}",
            hint=f"raise cluster.memory to {size_words(needed / USABLE_MEMORY)}, add workers, lower"
            " evaluation.folds, or take method anchor_graph",
        )


def halo_share(parts: Sequence[tuple[str, float]], n_nodes: int, n_workers: int) -> float:
    """Return about how many nodes of other workers a worker reads, for each node of its own.

    Parameters
    ----------
    parts
        Of a sum of graphs, or the graph alone: how its edges were found, as in
        `GraphEstimate.search`, and how many they are, both directions counted.
    n_nodes, n_workers
        Nodes of the graph, and workers.

    Notes
    -----
    Neighbours by features lie in cell order, so that few are on another worker. Edges and entities
    have no such order: each edge may lead to another node elsewhere. A dense graph joins all nodes.
    """
    others = float(n_workers - 1)
    share = 0.0
    for search, n_edges in parts:
        if search in ("exact", "routed", "knn"):
            share += HALO_SHARE
        elif search in ("edges", "entities"):
            share += n_edges / max(n_nodes, 1)
        else:
            share += others
    return min(share, others)


def feature_width(spec: JobSpec, inputs: Inputs) -> Width:
    """Return how many features a row has, from the job and the columns' types."""
    total, sparse, exact = 0, False, True
    for group in spec.features.values():
        match group:
            case NumericGroup():
                doubled = 2 if group.missing == "indicator" else 1
                total += group.components or doubled * len(group.numeric)
                exact = exact and doubled == 1
            case VectorGroup():
                known = group.components or _vector_length(inputs, group)
                total, exact = total + known, exact and known > 0
            case TextGroup():
                total, sparse = total + group.n_features, True
            case CategoricalGroup():
                sparse = True
                hashed = group.encoding == "hash"
                total += group.n_features if hashed else group.max_categories * len(group.columns())
                exact = exact and hashed
    return Width(total, sparse, exact)


def _values_per_row(job: JobSize) -> int:
    """Return how many values of a row are read and described in one pass."""
    total = 0
    for group in job.spec.features.values():
        match group:
            case VectorGroup():
                total += _vector_length(job.inputs, group) or 1
            case TextGroup():
                total += NONZEROS_PER_TEXT * len(group.columns())
            case _:
                total += len(group.columns())
    return total


def _vector_length(inputs: Inputs, group: VectorGroup) -> int:
    """Return the length of the vectors by their column's type; 0 where that does not say it."""
    length = re.search(r"\[(\d+)\]$", inputs.dataset.columns[group.vector])
    return int(length.group(1)) if length else 0


def memory_words(needed: int, job: JobSize) -> str:
    """Return what a worker needs and has, in words."""
    return (
        f"needs about {size_words(needed)} on each of {job.workers:,} workers; one has"
        f" {size_words(job.memory)}, of which {USABLE_MEMORY:.0%} may be used"
    )


def size_words(count: float) -> str:
    """Return a number of bytes with its unit."""
    mib = count / 2**20
    if mib < 1:
        return f"{count / 1024:,.0f} KiB"
    return f"{mib:,.0f} MiB" if mib < 1024 else f"{mib / 1024:,.1f} GiB"
