"""The table of all methods: name -> record, each loaded when it is first asked for.

A module of one of `HOMES` whose name is a method's name ends with `METHOD`, the method's record:
adding the file adds the method. A method of another package is added by `METHODS.register`, before
a job names it, and again in each process that reads the job:

1. Its parameters: a `SpecModel` whose field `name` has the method's name as type and default.
2. A function `run(inputs, spec, control) -> MethodResult`: `MethodInputs` holds what the record's
   `needs` names, `fold_F` has an entry for each mask of `inputs.hidden`. Functions of blocks stand
   in a module that workers can import.
3. A function `cost(spec, shape) -> MethodCost`, for the plan.
4. The record `Method(spec, run, needs, cost=..., stop_words=...)`, given to `METHODS.register`.

`tests/pipeline/test_own_method.py` is a whole example.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ssl_dask.method import Method

HOMES = ("ssl_dask.propagation.methods", "ssl_dask.self_labeled.methods")
ALIASES = {"auto": "graph_ensemble"}
"""What a job file may say instead of a method's name."""


class MethodTable(Mapping[str, "Method"]):
    """Name -> `Method`. Names are known without importing a method; a record imports its file."""

    def __init__(self) -> None:
        self._modules: dict[str, str] = {}
        self._records: dict[str, Method] = {}
        for home in HOMES:
            for module in pkgutil.iter_modules(importlib.import_module(home).__path__):
                self._modules[module.name] = f"{home}.{module.name}"

    def __getitem__(self, name: str) -> Method:
        name = ALIASES.get(name, name)
        if name not in self._records:
            self._records[name] = importlib.import_module(self._modules[name]).METHOD
        return self._records[name]

    def __iter__(self) -> Iterator[str]:
        return iter({**self._modules, **self._records})

    def __len__(self) -> int:
        return len({**self._modules, **self._records})

    def register(self, method: Method) -> None:
        """Add a method from outside the package.

        Raises
        ------
        ValueError
            There is one of its name already.
        """
        if method.name in self:
            raise ValueError(f"there is a method {method.name} already")
        self._records[method.name] = method

    def forget(self, name: str) -> None:
        """Take a registered method out again."""
        del self._records[name]


METHODS = MethodTable()
