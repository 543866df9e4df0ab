"""Fixtures that several test modules share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from distributed import Client
from hypothesis import settings

from tests.clusters import client_of_workers
from tests.undrawn_charts import undrawn

# The first call of a kernel compiles it, which no deadline should count.
settings.register_profile("ssl_dask", deadline=None)
settings.load_profile("ssl_dask")


@pytest.fixture(scope="session", autouse=True)
def _undrawn_charts() -> Iterator[None]:
    """Whole jobs write their pages without charts; tests of reports draw them."""
    with undrawn():
        yield


@pytest.fixture(scope="session")
def cluster_client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A client of two real worker processes on loopback, one thread each."""
    with client_of_workers(tmp_path_factory.mktemp("workers"), 2) as client:
        yield client


@pytest.fixture(scope="session")
def one_worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A client of one worker process of two threads, for runs beside those of `cluster_client`."""
    with client_of_workers(tmp_path_factory.mktemp("one-worker"), 1, threads=2) as client:
        yield client


@pytest.fixture
def losing_client(tmp_path: Path) -> Iterator[Client]:
    """A cluster of two worker processes that a test may kill; a nanny starts them again."""
    with client_of_workers(tmp_path / "workers", 2) as client:
        yield client
