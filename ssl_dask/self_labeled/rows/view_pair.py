"""Which two views teach each other in co-training, and whether they can: rows must differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import dask.array as da

from ssl_dask.array_types import Int64
from ssl_dask.block_exchange import block_tasks
from ssl_dask.errors import ConstantViewError, JobSpecError, Problem, did_you_mean
from ssl_dask.execution import Execution
from ssl_dask.features.block_reader import add_all, merge_on_workers
from ssl_dask.kernels.learners.co_training import RowsAlike, split_columns
from ssl_dask.self_labeled.rows.row_blocks import held_chunks

N_VIEWS = 2


def chosen_views(there: Sequence[str], view_names: Sequence[str] | None) -> tuple[str, ...]:
    """Return the names of the views that teach each other: two, or one that is to be split.

    Parameters
    ----------
    there
        Names of the groups of features.
    view_names
        Those that were asked for; None: all.

    Raises
    ------
    ValueError
        A group does not exist, there are more than two, or they are the same.
    """
    names = tuple(there if view_names is None else view_names)
    for name in names:
        if name not in there:
            hint = did_you_mean(name, there, f"groups: {', '.join(there)}")
            raise ValueError(f"view_names: there is no group of features {name!r} ({hint})")
    if len(names) > N_VIEWS:
        raise ValueError(
            f"view_names: co-training takes two views, and there are {len(names)} groups of"
            " features; name two of them, or use method multi_view"
        )
    if view_names is not None and len(set(names)) < N_VIEWS:
        raise ValueError("view_names: the two views must differ; leave it out to split one group")
    return names


def check_views_vary(
    views: Mapping[str, da.Array], random_state: int, execution: Execution
) -> None:
    """Raise unless in each of the two views some rows differ.

    Parameters
    ----------
    views
        Dask arrays (N, d) in blocks of rows, by name; the columns of a single one are split.

    Raises
    ------
    ConstantViewError
        All rows are alike in a view, which is named. A single row is not asked to differ.
    JobSpecError
        A single view has a single column.

    Notes
    -----
    A task a block and view, and their sums; a block is read up to the first rows that differ.
    """
    sights = _sights(views, random_state)
    tasks = [
        merge_on_workers(block_tasks(_look, [held_chunks(X)], columns), add_all)
        for X, columns in sights.values()
    ]
    found = execution.compute(tasks, "views")
    problems = [
        Problem(
            f"{name}: all {X.shape[0]:,} rows are alike in it, so it teaches nothing",
            hint="take other features for it, or method self_training",
        )
        for (name, (X, _)), rows in zip(sights.items(), found, strict=True)
        if rows.alike and X.shape[0] > 1
    ]
    if problems:
        raise ConstantViewError(problems)


def _sights(
    views: Mapping[str, da.Array], random_state: int
) -> dict[str, tuple[da.Array, Int64 | None]]:
    """Return the two views by what a person calls them, with their columns; None: all."""
    if len(views) == N_VIEWS:
        return {f"view {name!r}": (X, None) for name, X in views.items()}
    ((name, X),) = views.items()
    try:
        columns = split_columns(X.shape[1], random_state)
    except ValueError as error:
        raise JobSpecError(
            f"co-training needs two views: {error}",
            hint="name two groups of features in method.view_names",
        ) from error
    halves = zip(("first", "second"), columns, strict=True)
    return {f"the {half} half of the columns of {name!r}": (X, at) for half, at in halves}


def _look(block: Any, columns: Int64 | None) -> RowsAlike:
    return RowsAlike.of_rows(block if columns is None else block[:, columns])
