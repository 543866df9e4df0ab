"""The public names of the package, wherever the version that is recorded has them."""

from __future__ import annotations

import importlib
import warnings
from typing import Any

HOMES = ("ssl_dask.estimators", "ssl_dask.graphs", "ssl_dask")
"""Modules that are public; the first recording had all names in the last."""


def public(name: str) -> Any:
    """Return what a public name stands for."""
    for home in HOMES:
        try:
            module = importlib.import_module(home)
        except ModuleNotFoundError:
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            if hasattr(module, name):
                return getattr(module, name)
    raise AttributeError(f"none of {', '.join(HOMES)} has {name}")
