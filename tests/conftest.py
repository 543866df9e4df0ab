"""Fixtures that several test modules share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from distributed import Client, LocalCluster
from hypothesis import settings

# The first call of a kernel compiles it, which no deadline should count.
settings.register_profile("ssl_dask", deadline=None)
settings.load_profile("ssl_dask")


@pytest.fixture(scope="session")
def cluster_client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A client of two real worker processes on loopback, one thread each."""
    with (
        LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
            local_directory=str(tmp_path_factory.mktemp("workers")),
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield client
