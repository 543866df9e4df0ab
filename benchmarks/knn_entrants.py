"""Who builds neighbour lists or graphs in the benchmark: ssl_dask, in two places, and its peers.

A peer is a library that need not be installed. Peers return the lists of nearest rows; ssl_dask
goes on to the weighted symmetric graph, and all of that counts.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import dask
import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from knn_data import RowFile
from knn_recall import sampled_rows
from measured import Stopwatch
from threadpoolctl import threadpool_limits

from ssl_dask.cluster import open_client
from ssl_dask.cluster_spec import ClusterSpec
from ssl_dask.execution import Execution
from ssl_dask.graph.block.block_graph import BlockGraph
from ssl_dask.graphs import knn_graph

RowIds = npt.NDArray[np.int64]

WARM_ROWS = 10_000
WARM_BLOCKS = 8
"""The warm-up's rows come in so many blocks: every worker compiles or loads the kernels."""
WARM_SHARD_MEMORY = 4 * 2**20
"""So few rows are one shard and warm one worker only, unless shards are made small too."""
WARM_RECALL = 0.5
CELL_ROWS = 500
PROBES = 8
HNSW_LINKS, HNSW_CONSTRUCTION, HNSW_SEARCH = 16, 60, 24


@dataclass(frozen=True)
class Job:
    """One run of one entrant.

    Parameters
    ----------
    entrant
        A key of `ENTRANTS`.
    rows
        What is searched.
    k
        Neighbours of a row.
    threads
        Threads, or workers of one thread, that an entrant may use.
    target_recall
        What is asked of the routed search.
    worker_memory
        Of each worker of the cluster, such as "4GiB".
    shard_memory
        Bytes of the task of a shard of the routed search.
    scratch
        Folder through which routed rows move; None: they move through memory.
    """

    entrant: str
    rows: RowFile
    k: int
    threads: int
    target_recall: float
    worker_memory: str
    shard_memory: int
    scratch: str | None


@dataclass(frozen=True)
class Finding:
    """What an entrant found for the sampled rows.

    Parameters
    ----------
    lists
        int64 (S, k): rows found for each sampled row; None where only the graph is known.
    edge_position, edge_row
        The edges of the sampled rows in the undirected graph of all lists: sampled row number
        `edge_position[e]` is joined with row `edge_row[e]`.
    reported
        What the entrant says of itself: its recall, its settings, its edges.
    worker_pids
        Processes of the cluster.
    """

    lists: RowIds | None
    edge_position: RowIds
    edge_row: RowIds
    reported: dict[str, Any]
    worker_pids: tuple[int, ...] = ()


@dataclass(frozen=True)
class Entrant:
    """A way to find nearest neighbours.

    Parameters
    ----------
    about
        Its parameters, for the reader.
    run
        `run(job, stopwatch)`, in a process of its own.
    exact
        Whether it compares all pairs of rows.
    sparse, dense
        Which rows it takes.
    needs
        Module that must be there.
    """

    about: str
    run: Callable[[Job, Stopwatch], Finding]
    exact: bool = False
    sparse: bool = False
    dense: bool = True
    needs: str | None = None

    @property
    def is_ours(self) -> bool:
        """Whether this is ssl_dask."""
        return isinstance(self.run, _OurRun)

    def why_not(self, rows: RowFile, exact_rows: int) -> str | None:
        """Return why this entrant sits out with these rows, or None."""
        if self.needs is not None and importlib.util.find_spec(self.needs) is None:
            return f"{self.needs} is not installed"
        if not (self.sparse if rows.sparse else self.dense):
            return f"takes no {'sparse' if rows.sparse else 'dense'} rows"
        if self.exact and rows.n_rows > exact_rows:
            return f"compares all pairs: only up to --exact-rows {exact_rows:,}"
        return None


@dataclass(frozen=True)
class _OurRun:
    """Warms ssl_dask up with a few rows, measures it, and takes the sampled rows' edges."""

    search: str
    place: str

    def __call__(self, job: Job, stopwatch: Stopwatch) -> Finding:
        n_warm = min(WARM_ROWS, job.rows.n_rows)
        warm_block = -(-n_warm // WARM_BLOCKS)
        with self._execution(job) as execution:
            on_cluster = execution.client is not None
            warm = job.rows.as_dask(n_warm, warm_block) if on_cluster else job.rows.read(0, n_warm)
            easy = replace(
                job,
                shard_memory=min(WARM_SHARD_MEMORY, job.shard_memory),
                target_recall=min(WARM_RECALL, job.target_recall),
            )
            if execution.client is not None:
                # Some stages are one task: on the cluster alone they would warm one worker only.
                execution.client.run(_warm_worker, self, easy)
            self._build(warm, easy, execution)
            X = job.rows.as_dask() if on_cluster else job.rows.read()
            with stopwatch.running():
                graph = self._build(X, job, execution)
            pids = tuple(execution.client.run(os.getpid).values()) if on_cluster else ()
            position, row = graph_edges(graph, sampled_rows(job.rows.n_rows), execution)
            return Finding(None, position, row, _reported(graph), pids)

    @contextlib.contextmanager
    def _execution(self, job: Job) -> Iterator[Execution]:
        if self.place == "process":
            yield Execution(threads=job.threads)
            return
        spec = ClusterSpec(workers=job.threads, threads=1, memory=job.worker_memory)
        with open_client(spec) as client:
            yield Execution(client)

    def _build(self, X: Any, job: Job, execution: Execution) -> BlockGraph:
        options: dict[str, Any] = {}
        if self.search == "routed":
            options = {"target_recall": job.target_recall, "shard_memory": job.shard_memory}
            if job.scratch is not None:
                options["scratch"] = tempfile.mkdtemp(dir=job.scratch)
        return knn_graph(
            X,
            n_neighbors=job.k,
            metric=job.rows.metric,
            search=self.search,
            execution=execution,
            **options,
        )


def _warm_worker(own: _OurRun, easy: Job) -> None:
    """Build a graph of a few rows within one worker; for `Client.run`."""
    own._build(easy.rows.read(0, min(WARM_ROWS, easy.rows.n_rows)), easy, Execution(threads=1))


def graph_edges(graph: BlockGraph, sample: RowIds, execution: Execution) -> tuple[RowIds, RowIds]:
    """Return (position in `sample`, row number) of each edge of the sampled rows."""
    if graph.n_nodes != graph.n_rows:
        raise ValueError(
            f"{graph.n_rows - graph.n_nodes} rows are copies of others and share their nodes;"
            " sets of the benchmark have none"
        )
    row_of_node = nodes = None
    if graph.order is not None:
        node_of_row = graph.order.to_array(execution)
        row_of_node = np.empty_like(node_of_row)
        row_of_node[node_of_row] = np.arange(len(node_of_row))
        nodes = node_of_row[sample]
    else:
        nodes = sample
    tasks, owners = [], []
    starts = np.array(graph.node_starts)
    owner = np.searchsorted(starts, nodes, side="right") - 1
    for number in np.unique(owner).tolist():
        positions = np.flatnonzero(owner == number)
        owners.append(positions)
        tasks.append(
            dask.delayed(_neighbours)(graph.strips[number], nodes[positions] - starts[number])
        )
    found = execution.compute(tasks)
    position = np.concatenate(
        [np.repeat(own, counts) for own, (counts, _) in zip(owners, found, strict=True)]
    )
    row = np.concatenate([columns for _, columns in found]).astype(np.int64)
    return position, row if row_of_node is None else row_of_node[row]


def _neighbours(strip: sp.csr_array, rows: RowIds) -> tuple[RowIds, RowIds]:
    part = strip[rows]
    return np.diff(part.indptr), part.indices


def _reported(graph: BlockGraph) -> dict[str, Any]:
    recall = graph.recall
    return {
        "recall": None if recall is None else dict(recall),
        "settings": dict(graph.settings),
        "n_edges": graph.n_edges,
    }


@dataclass(frozen=True)
class _PeerRun:
    """Warms a peer up with a few rows, measures it, and takes the sampled rows out of its lists."""

    search: Callable[[Any, int, int], npt.NDArray[Any]]

    def __call__(self, job: Job, stopwatch: Stopwatch) -> Finding:
        self.search(job.rows.read(0, min(WARM_ROWS, job.rows.n_rows)), job.k, job.threads)
        X = job.rows.read()
        # After the warm-up: only libraries that are loaded can be limited.
        with threadpool_limits(job.threads), stopwatch.running():
            found = self.search(X, job.k, job.threads)
        lists = without_self(found, job.k)
        sample = sampled_rows(job.rows.n_rows)
        position_of = np.full(job.rows.n_rows, -1)
        position_of[sample] = np.arange(len(sample))
        # The undirected graph: rows that a sampled row chose, and rows that chose it.
        chosen_by, place = np.nonzero(position_of[np.maximum(lists, 0)] >= 0)
        chosen = lists[chosen_by, place]
        real = chosen >= 0
        position = np.concatenate(
            [np.repeat(np.arange(len(sample)), job.k), position_of[chosen[real]]]
        )
        row = np.concatenate([lists[sample].ravel(), chosen_by[real]])
        return Finding(lists[sample], position, row, {})


def without_self(found: npt.NDArray[Any], k: int) -> RowIds:
    """Return the first k of each row's k + 1 found rows that are not the row itself."""
    found = np.asarray(found, dtype=np.int64)
    own = found == np.arange(len(found))[:, None]
    own[~own.any(axis=1), k] = True
    return found[~own].reshape(len(found), k)


def _faiss_flat(X: Any, k: int, threads: int) -> npt.NDArray[Any]:
    import faiss

    faiss.omp_set_num_threads(threads)
    index = faiss.IndexFlatL2(X.shape[1])
    index.add(X)
    return index.search(X, k + 1)[1]


def _faiss_ivf(X: Any, k: int, threads: int) -> npt.NDArray[Any]:
    import faiss

    faiss.omp_set_num_threads(threads)
    quantizer = faiss.IndexFlatL2(X.shape[1])
    index = faiss.IndexIVFFlat(quantizer, X.shape[1], max(len(X) // CELL_ROWS, 1))
    index.cp.niter, index.cp.max_points_per_centroid = 8, 48
    index.cp.min_points_per_centroid = 1
    index.train(X)
    index.add(X)
    index.nprobe = PROBES
    return index.search(X, k + 1)[1]


def _faiss_hnsw(X: Any, k: int, threads: int) -> npt.NDArray[Any]:
    import faiss

    faiss.omp_set_num_threads(threads)
    index = faiss.IndexHNSWFlat(X.shape[1], HNSW_LINKS)
    index.hnsw.efConstruction, index.hnsw.efSearch = HNSW_CONSTRUCTION, HNSW_SEARCH
    index.add(X)
    return index.search(X, k + 1)[1]


def _hnswlib(X: Any, k: int, threads: int) -> npt.NDArray[Any]:
    import hnswlib

    index = hnswlib.Index(space="l2", dim=X.shape[1])
    index.init_index(len(X), M=HNSW_LINKS, ef_construction=HNSW_CONSTRUCTION, random_seed=0)
    index.set_num_threads(threads)
    index.add_items(X)
    index.set_ef(HNSW_SEARCH)
    return index.knn_query(X, k + 1)[0].astype(np.int64)


def _pynndescent(X: Any, k: int, threads: int) -> npt.NDArray[Any]:
    import pynndescent

    metric = "cosine" if sp.issparse(X) else "euclidean"
    index = pynndescent.NNDescent(
        X, metric=metric, n_neighbors=k + 1, n_jobs=threads, random_state=0
    )
    return index.neighbor_graph[0]


def _scikit_learn(X: Any, k: int, threads: int) -> npt.NDArray[Any]:
    from sklearn.neighbors import NearestNeighbors

    metric = "cosine" if sp.issparse(X) else "euclidean"
    search = NearestNeighbors(n_neighbors=k + 1, metric=metric, algorithm="brute", n_jobs=threads)
    return search.fit(X).kneighbors(X, return_distance=False)


ENTRANTS: dict[str, Entrant] = {
    "ours-cluster": Entrant(
        "ssl_dask, routed, one worker of one thread for each of --threads",
        _OurRun("routed", "cluster"),
        sparse=True,
    ),
    "ours-process": Entrant(
        "ssl_dask, routed, in this process", _OurRun("routed", "process"), sparse=True
    ),
    "exact-cluster": Entrant(
        "ssl_dask, exact, on the same workers", _OurRun("exact", "cluster"), exact=True, sparse=True
    ),
    "exact-process": Entrant(
        "ssl_dask, exact, in this process", _OurRun("exact", "process"), exact=True, sparse=True
    ),
    "pynndescent": Entrant(
        "n_neighbors = k + 1 with the row itself",
        _PeerRun(_pynndescent),
        sparse=True,
        needs="pynndescent",
    ),
    "faiss-hnsw": Entrant(
        f"M {HNSW_LINKS}, efConstruction {HNSW_CONSTRUCTION}, efSearch {HNSW_SEARCH}",
        _PeerRun(_faiss_hnsw),
        needs="faiss",
    ),
    "faiss-ivf": Entrant(
        f"IVFFlat, {CELL_ROWS} rows a cell, nprobe {PROBES}",
        _PeerRun(_faiss_ivf),
        needs="faiss",
    ),
    "faiss-flat": Entrant("IndexFlatL2", _PeerRun(_faiss_flat), exact=True, needs="faiss"),
    "hnswlib": Entrant(
        f"M {HNSW_LINKS}, ef_construction {HNSW_CONSTRUCTION}, ef {HNSW_SEARCH}",
        _PeerRun(_hnswlib),
        needs="hnswlib",
    ),
    "scikit-learn": Entrant(
        "NearestNeighbors, brute", _PeerRun(_scikit_learn), exact=True, sparse=True
    ),
}


def run(job: Job, stopwatch: Stopwatch) -> Finding:
    """Run one entrant; for `measured.measure`."""
    return ENTRANTS[job.entrant].run(job, stopwatch)
