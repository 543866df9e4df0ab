"""How routed rows get from the task that routes them to the task that searches them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import dask
import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from dask.delayed import Delayed

from ssl_dask.graph.block.row_files import open_rows, write_array, write_rows
from ssl_dask.kernels.knn.routing import RoutedRows

Piece = tuple[Any, npt.NDArray[np.int32], npt.NDArray[np.int32]]


class RowExchange:
    """Keeps the rows that each strip sends and hands every shard its pieces: by Dask's own moves.

    Rows stay in the memory of the worker that routed them.
    """

    def keep(self, strip: int, n_routes: int, rows: RoutedRows) -> Any:
        """Keep the rows of a strip, within the task that routed them; return what is kept."""
        return rows

    def pieces(self, handles: Sequence[Delayed], shard: int) -> list[Any]:
        """Return a task a strip for what `open_piece` turns into its piece, in the shard's task."""
        return [dask.delayed(RoutedRows.piece)(handle, shard) for handle in handles]

    def close(self) -> None:
        """Give back the room of the rows that no handle gives back, once no task has one."""


class RoutedFile(NamedTuple):
    """Where the routed rows of a strip lie, and how many columns they have if they are sparse."""

    stem: str
    sparse_columns: int | None
    bounds: npt.NDArray[np.int64]


class FilePiece(NamedTuple):
    """The rows of one strip for one shard, in a file."""

    file: RoutedFile
    shard: int


class FileExchange(RowExchange):
    """Rows go through files in a folder that all workers see: they need no memory on the way.

    Parameters
    ----------
    folder
        An existing folder for this exchange alone.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = str(Path(folder).absolute())

    def keep(self, strip: int, n_routes: int, rows: RoutedRows) -> RoutedFile:
        """Write the rows; a strip that is routed again writes the same bytes in their place.

        Another number of routes has files of its own: a task of an earlier attempt may run again,
        because its worker was lost, while the files of a later one are read.
        """
        stem = os.path.join(self.folder, f"routed-{n_routes:03d}-{strip:05d}")
        write_rows(f"{stem}-X", rows.X)
        for name, values in (("cell", rows.cell), ("place", rows.place)):
            write_array(f"{stem}-{name}.npy", values)
        sparse_columns = rows.X.shape[1] if sp.issparse(rows.X) else None
        return RoutedFile(stem, sparse_columns, rows.bounds)

    def pieces(self, handles: Sequence[Delayed], shard: int) -> list[Any]:
        """Return where the pieces lie."""
        return [dask.delayed(FilePiece)(handle, shard) for handle in handles]

    def close(self) -> None:
        """Remove the files."""
        for path in Path(self.folder).glob("routed-*"):
            # What a task that nobody waits for is writing takes its last name meanwhile.
            path.unlink(missing_ok=True)


def open_piece(piece: Piece | FilePiece) -> Piece:
    """Return (X, cell, place) of a piece; of a file only the pages that are read."""
    if not isinstance(piece, FilePiece):
        return piece
    (stem, sparse_columns, bounds), shard = piece
    part = slice(int(bounds[shard]), int(bounds[shard + 1]))
    X = open_rows(f"{stem}-X", sparse_columns, part)
    cell, place = (np.load(f"{stem}-{n}.npy", mmap_mode="r")[part] for n in ("cell", "place"))
    return X, cell, place
