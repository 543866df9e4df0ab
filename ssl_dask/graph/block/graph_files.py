"""A graph in a folder: graph.json, a .npz file a strip, and a .npy file a block of its order."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from dask.delayed import Delayed

from ssl_dask.array_types import Float32, Int64
from ssl_dask.block_exchange import block_tasks
from ssl_dask.durable_files import whole_file
from ssl_dask.errors import GraphError
from ssl_dask.execution import Execution
from ssl_dask.graph.block.node_order import NodeOrder
from ssl_dask.graph.block.row_files import readable, write_array
from ssl_dask.kernels.arithmetic.sparse_rows import with_index_dtype

FORMAT_VERSION = 3
CURE = "build the graph again"


def write_graph(
    folder: Path,
    strips: Sequence[Delayed],
    node_chunks: Sequence[int],
    order: NodeOrder | None,
    alternatives: Mapping[str, Sequence[Delayed]],
    about: Mapping[str, Any],
    execution: Execution,
) -> None:
    """Write the parts of a `BlockGraph`, each where it is kept, and `about` and their names last.

    Raises
    ------
    OSError
        The folder cannot be written to, or is full.
    """
    more = [[data[number] for data in alternatives.values()] for number in range(len(strips))]
    paths = _strip_paths(folder, len(strips))
    execution.compute(block_tasks(_write_strip, [paths, strips, more]), "save graph")
    if order is not None:
        paths = _order_paths(folder, len(order.blocks))
        execution.compute(block_tasks(write_array, [paths, order.blocks]), "save graph")
    for left in folder.glob("*.tmp"):
        # Of a worker that was lost while it wrote.
        left.unlink(missing_ok=True)
    content = {
        "format": FORMAT_VERSION,
        "node_chunks": node_chunks,
        "row_chunks": None if order is None else order.row_chunks,
        **about,
        "alternatives": list(alternatives),
    }
    (folder / "graph.json").write_text(json.dumps(content, indent=1) + "\n")


def read_graph(folder: Path) -> dict[str, Any]:
    """Return the arguments of the `BlockGraph` in `folder`; strips are read where they are used.

    Raises
    ------
    GraphError
        `folder` holds no whole graph of this format.
    """
    about = _read_about(folder)
    chunks, row_chunks = tuple(about["node_chunks"]), about["row_chunks"]
    paths, order_paths = (
        _strip_paths(folder, len(chunks)),
        _order_paths(folder, len(row_chunks or ())),
    )
    for path in [*paths, *order_paths]:
        if not Path(path).exists():
            raise GraphError("a part of the saved graph is missing", file=path, hint=CURE)
    n_nodes, order = sum(chunks), None
    if row_chunks is not None:
        blocks = block_tasks(_read_nodes, [order_paths, row_chunks], n_nodes)
        order = NodeOrder(tuple(blocks), tuple(row_chunks), n_nodes)
    return {
        "strips": tuple(block_tasks(_read_strip, [paths, chunks], n_nodes)),
        "node_chunks": chunks,
        "n_edges": about["n_edges"],
        "settings": about["settings"],
        "order": order,
        "alternatives": {
            name: tuple(block_tasks(_read_data, [paths], position))
            for position, name in enumerate(about["alternatives"])
        },
    }


def _read_about(folder: Path) -> dict[str, Any]:
    try:
        about = dict(json.loads((folder / "graph.json").read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise GraphError(
            "no saved graph here: graph.json is missing or torn", file=str(folder), hint=CURE
        ) from error
    if about.get("format") != FORMAT_VERSION:
        raise GraphError(
            f"the saved graph has format {about.get('format')}; this version reads"
            f" {FORMAT_VERSION}",
            file=str(folder),
            hint=CURE,
        )
    return about


def _strip_paths(folder: Path, n: int) -> list[str]:
    return [str(folder / f"strip-{number:05d}.npz") for number in range(n)]


def _order_paths(folder: Path, n: int) -> list[str]:
    return [str(folder / f"nodes-{number:05d}.npy") for number in range(n)]


def _write_strip(path: str, strip: sp.csr_array, more: Sequence[Float32]) -> None:
    parts: dict[str, Any] = {"data": strip.data, "indices": strip.indices, "indptr": strip.indptr}
    parts |= {f"data{position}": data for position, data in enumerate(more)}
    # Dask may run a task twice, and the second may be cut off.
    with whole_file(path) as file:
        np.savez(file, **parts)


def _read_strip(path: str, n_rows: int, n_columns: int) -> sp.csr_array:
    with readable("a strip of the saved graph", path), np.load(path, allow_pickle=False) as arrays:
        parts = (arrays["data"], arrays["indices"], arrays["indptr"])
        return with_index_dtype(sp.csr_array(parts, shape=(n_rows, n_columns)))


def _read_data(path: str, position: int) -> Float32:
    with readable("a strip of the saved graph", path), np.load(path, allow_pickle=False) as arrays:
        return arrays[f"data{position}"]


def _read_nodes(path: str, n_rows: int, n_nodes: int) -> Int64:
    with readable("a part of the saved graph", path):
        nodes = np.load(path, allow_pickle=False)
    if nodes.shape != (n_rows,):
        raise GraphError(f"holds {len(nodes)} rows, not {n_rows}", file=path, hint=CURE)
    # Compiled code that reads scores by these numbers does not look whether they exist.
    if n_rows and not 0 <= nodes.min() <= nodes.max() < n_nodes:
        message = f"holds numbers of nodes outside 0 ... {n_nodes - 1}: the file was damaged"
        raise GraphError(message, file=path, hint=CURE)
    return nodes
