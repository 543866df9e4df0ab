"""A graph in a folder: graph.json, a .npz file a strip, and a .npy file a block of its order."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import dask
import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from dask.delayed import Delayed

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
    write = dask.delayed(_write_strip, pure=False)
    tasks = [
        write(_strip_path(folder, number), strip, [data[number] for data in alternatives.values()])
        for number, strip in enumerate(strips)
    ]
    execution.compute(tasks, "save graph")
    if order is not None:
        write = dask.delayed(write_array, pure=False)
        tasks = [
            write(_order_path(folder, number), block) for number, block in enumerate(order.blocks)
        ]
        execution.compute(tasks, "save graph")
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
    paths = [_strip_path(folder, number) for number in range(len(chunks))]
    order_paths = [_order_path(folder, number) for number in range(len(row_chunks or ()))]
    for path in [*paths, *order_paths]:
        if not Path(path).exists():
            raise GraphError("a part of the saved graph is missing", file=path, hint=CURE)
    n_nodes = sum(chunks)
    read = dask.delayed(_read_strip, pure=False)
    order = None
    if row_chunks is not None:
        read_nodes = dask.delayed(_read_nodes, pure=False)
        blocks = tuple(
            read_nodes(path, n, n_nodes) for path, n in zip(order_paths, row_chunks, strict=True)
        )
        order = NodeOrder(blocks, tuple(row_chunks), n_nodes)
    read_data = dask.delayed(_read_data, pure=False)
    return {
        "strips": tuple(read(path, n, n_nodes) for path, n in zip(paths, chunks, strict=True)),
        "node_chunks": chunks,
        "n_edges": about["n_edges"],
        "settings": about["settings"],
        "order": order,
        "alternatives": {
            name: tuple(read_data(path, position) for path in paths)
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


def _strip_path(folder: Path, number: int) -> str:
    return str(folder / f"strip-{number:05d}.npz")


def _order_path(folder: Path, number: int) -> str:
    return str(folder / f"nodes-{number:05d}.npy")


def _write_strip(path: str, strip: sp.csr_array, more: Sequence[npt.NDArray[np.float32]]) -> None:
    parts: dict[str, Any] = {"data": strip.data, "indices": strip.indices, "indptr": strip.indptr}
    parts |= {f"data{position}": data for position, data in enumerate(more)}
    # Dask may run a task twice, and the second may be cut off.
    with whole_file(path) as file:
        np.savez(file, **parts)


def _read_strip(path: str, n_rows: int, n_columns: int) -> sp.csr_array:
    with readable("a strip of the saved graph", path), np.load(path, allow_pickle=False) as arrays:
        parts = (arrays["data"], arrays["indices"], arrays["indptr"])
        return with_index_dtype(sp.csr_array(parts, shape=(n_rows, n_columns)))


def _read_data(path: str, position: int) -> npt.NDArray[np.float32]:
    with readable("a strip of the saved graph", path), np.load(path, allow_pickle=False) as arrays:
        return arrays[f"data{position}"]


def _read_nodes(path: str, n_rows: int, n_nodes: int) -> npt.NDArray[np.int64]:
    with readable("a part of the saved graph", path):
        nodes = np.load(path, allow_pickle=False)
    if nodes.shape != (n_rows,):
        raise GraphError(f"holds {len(nodes)} rows, not {n_rows}", file=path, hint=CURE)
    # Compiled code that reads scores by these numbers does not look whether they exist.
    if n_rows and not 0 <= nodes.min() <= nodes.max() < n_nodes:
        message = f"holds numbers of nodes outside 0 ... {n_nodes - 1}: the file was damaged"
        raise GraphError(message, file=path, hint=CURE)
    return nodes
