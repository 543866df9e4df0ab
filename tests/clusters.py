"""Dask clusters of real worker processes on loopback, each with a client that ends it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from distributed import Client, LocalCluster


@contextmanager
def client_of_workers(
    folder: Path, n_workers: int, *, threads: int = 1, **options: Any
) -> Iterator[Client]:
    """Start worker processes, whose files go to `folder`, and yield a client of them."""
    with (
        LocalCluster(
            n_workers=n_workers,
            threads_per_worker=threads,
            processes=True,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
            local_directory=str(folder),
            **options,
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield client
