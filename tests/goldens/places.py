"""Where the golden runs run: in this process, or on two worker processes."""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
import pkgutil
import runpy
import sys
import warnings
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

from distributed import Client, LocalCluster

import ssl_dask

LIMIT = "IN_PROCESS_BYTES"
"""Name of the constant that says which graphs are propagated in the client's process."""


class Places:
    """Clients that are opened when they are first needed, and closed together."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._open = contextlib.ExitStack()
        self._clients: dict[str, Client] = {}

    def __enter__(self) -> Places:
        return self

    def __exit__(self, *error: object) -> None:
        self._open.close()

    def client(self, place: str) -> Client:
        """Return the client of "process", or of "cluster", which "workers" shares."""
        kind = "process" if place == "process" else "cluster"
        if kind not in self._clients:
            settings: dict[str, Any] = {
                "process": {"processes": False, "n_workers": 1, "memory_limit": "6GiB"},
                "cluster": {"n_workers": 2, "memory_limit": "2GiB", "host": "127.0.0.1"},
            }
            cluster = LocalCluster(
                threads_per_worker=1,
                dashboard_address="127.0.0.1:0",
                local_directory=str(self.folder / kind),
                silence_logs=logging.ERROR,
                **settings[kind],
            )
            self._open.enter_context(cluster)
            client = Client(cluster, set_as_default=False)
            self._clients[kind] = self._open.enter_context(client)
        return self._clients[kind]

    def address(self) -> str:
        """Return the address of the scheduler of the cluster."""
        return str(self.client("cluster").scheduler.address)


@contextlib.contextmanager
def graphs_on_workers() -> Iterator[None]:
    """Let worker processes hold every graph, however small.

    The constant is found by its name, in whatever module it lives.
    """
    homes = [module for module in all_modules() if LIMIT in vars(module)]
    if not homes:
        raise LookupError(f"no module of ssl_dask has {LIMIT}: say here what it is called now")
    with contextlib.ExitStack() as patches:
        for module in homes:
            patches.enter_context(mock.patch.object(module, LIMIT, 0))
        yield


@cache
def all_modules() -> list[ModuleType]:
    """Import all modules of the package."""
    found = pkgutil.walk_packages(ssl_dask.__path__, "ssl_dask.")
    return [importlib.import_module(one.name) for one in found if "__main__" not in one.name]


def command(*arguments: str | Path) -> tuple[int, str, str]:
    """Run `ssl-dask` in this process; return exit code, stdout and stderr."""
    out, err = io.StringIO(), io.StringIO()
    code: Any = 0
    with (
        mock.patch.object(sys, "argv", ["ssl-dask", *map(str, arguments)]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            runpy.run_module("ssl_dask", run_name="__main__")
        except SystemExit as ended:
            code = ended.code
    return int(code or 0), out.getvalue(), err.getvalue()


@contextlib.contextmanager
def heard_warnings(into: list[tuple[str, str]]) -> Iterator[None]:
    """Add class and text of each warning that says something of the answer."""
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        yield
    lifetimes = (ResourceWarning, DeprecationWarning, PendingDeprecationWarning)
    into += sorted(
        {
            (one.category.__name__, str(one.message))
            for one in heard
            if not issubclass(one.category, lifetimes) and "Sending large graph" not in str(one)
        }
    )
