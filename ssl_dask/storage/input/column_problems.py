"""What is wrong with a column of a data set, by names and types alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow as pa
import pyarrow.types as pt

from ssl_dask.errors import Problem
from ssl_dask.storage.input.column_types import (
    TypeCheck,
    common_type,
    id_family,
    id_trouble,
    nearest_names,
    plain_type,
    shown_type,
)
from ssl_dask.storage.input.dataset import Dataset

WRITE_IT = "write it in every file, null where there is no value"


def column_problems(dataset: Dataset, column: str, use: str, trouble: TypeCheck) -> list[Problem]:
    """Return what is wrong with a column that must be in all files, in one type that serves.

    Parameters
    ----------
    use
        What the column is read as, in words.
    trouble
        Judges a type.
    """
    return missing_problems(dataset, column) or type_problems(
        dataset, column, use, trouble, exact=True
    )


def id_problems(dataset: Dataset, column: str, id_type: pa.DataType) -> list[Problem]:
    """Return what is wrong with a column of ids that are compared with ids of another type."""
    problems = column_problems(dataset, column, "id", id_trouble)
    if problems or id_family(dataset.schema.field(column).type) == id_family(id_type):
        return problems
    text = f"is {dataset.schema.field(column).type}, but what it names in the data is {id_type}"
    return [Problem(text, dataset.path, column=column, hint="write both as one type")]


def missing_problems(dataset: Dataset, column: str, cure: str = WRITE_IT) -> list[Problem]:
    """Return where a column is missing: everywhere, or in files of one schema each.

    A table has nulls where files lack one of its columns.

    Parameters
    ----------
    cure
        What to do where some files lack it.
    """
    kinds = dataset.types_of(column)
    if None not in kinds or dataset.is_null_in_gaps(column):
        return []
    without = kinds[None]
    if len(kinds) == 1:
        names = list(dict.fromkeys([*dataset.schema.names, *_all_names(dataset)]))
        hint = f"{nearest_names(column, names) or ''} the columns are {_listed(names)}".strip()
        return [Problem("there is no such column", dataset.path, column=column, hint=hint)]
    problems = []
    by_schema: dict[int, list[int]] = {}
    for i in without:
        by_schema.setdefault(dataset.files[i].schema, []).append(i)
    for schema, files in by_schema.items():
        near = nearest_names(column, dataset.file_schemas[schema].names) or cure
        text = f"missing in this file{_others(files)}, while other files have it"
        problems.append(Problem(text, dataset.shown_path(files[0]), column=column, hint=near))
    return problems


def type_problems(
    dataset: Dataset, column: str, use: str, trouble: TypeCheck, *, exact: bool
) -> list[Problem]:
    """Return which types of a column do not serve.

    Parameters
    ----------
    use
        What the column is read as, in words.
    trouble
        Judges a type.
    exact
        Whether all files must have types that can be cast to one.
    """
    kinds = {kind: files for kind, files in dataset.types_of(column).items() if kind is not None}
    troubles = {kind: found for kind in kinds if (found := trouble(kind)) is not None}
    if troubles:
        problems = []
        for kind, (text, hint) in troubles.items():
            everywhere = len(kinds) == 1
            files = kinds[kind]
            shown = dataset.path if everywhere else dataset.shown_path(files[0])
            more = (
                ""
                if everywhere
                else f"{_others(files, 'so')}; elsewhere {_other_types(kinds, kind)}"
            )
            problems.append(Problem(f"{text}{more}", shown, column=column, hint=hint))
        return problems
    if exact and common_type(kinds) is None:
        (first, files), (second, more_files) = list(kinds.items())[:2]
        text = (
            f"is {shown_type(first)} in {dataset.shown_path(files[0])}, but {shown_type(second)} in"
            f" {dataset.shown_path(more_files[0])}; as {use} it must have one type"
        )
        integers = all(pt.is_integer(plain_type(kind)) for kind in kinds)
        hint = f"write all files with one type{', such as int64' if integers else ''}"
        return [Problem(text, dataset.shown_path(more_files[0]), column=column, hint=hint)]
    return []


def _all_names(dataset: Dataset) -> list[str]:
    return [name for schema in dataset.file_schemas for name in schema.names]


def _others(files: Sequence[int], what: str = "") -> str:
    if len(files) == 1:
        return ""
    many = "1 other" if len(files) == 2 else f"{len(files) - 1} others"
    return f" (and {many}{' ' + what if what else ''})"


def _other_types(kinds: Mapping[pa.DataType, list[int]], kind: pa.DataType) -> str:
    return " or ".join(shown_type(other) for other in kinds if other is not kind)


def _listed(names: Sequence[str], most: int = 20) -> str:
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")
