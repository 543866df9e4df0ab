"""Which columns a job needs, and whether the files have them in types that serve."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

import pyarrow as pa
import pyarrow.types as pt

from ssl_dask.errors import Caution, Problem
from ssl_dask.storage.input.column_problems import (
    WRITE_IT,
    missing_problems,
    type_problems,
)
from ssl_dask.storage.input.column_types import (
    ID_TYPES,
    OTHER_ID,
    TypeCheck,
    id_trouble,
    kept_trouble,
    numeric_trouble,
    plain_type,
    string_trouble,
    vector_trouble,
)
from ssl_dask.storage.input.dataset import Dataset
from ssl_dask.storage.labels.label_rules import ANY_CLASSES, LabelRule

MISSING_CURE = (
    "set `missing` in the feature group, such as missing: mean, or optional: true; or write it in"
    " every file"
)


@dataclass(frozen=True)
class ColumnNeeds:
    """The columns that a job reads, and what for.

    Parameters
    ----------
    id
        Column of ids; None: row numbers are the ids.
    label, truth
        Columns of seed labels and of true labels, null where there is none.
    label_by
        Column whose values the ids of a label file name; None: `id`.
    rule
        What labels and truth may be.
    numeric, string, vector
        Feature column -> whether missing values (null or NaN) are allowed in it.
    keep
        Columns to carry to the output.
    entities
        Columns of what rows share; missing values are allowed.
    sampling
        Column of the groups of rows of which labels were drawn; missing values are one of them.
    unmoved
        Numeric columns in which zero has a meaning: nothing may be subtracted from their values.
    empty_allowed
        Whether a column in which missing values are allowed may have no value at all: its features
        were fitted on other rows.
    """

    id: str | None = None
    label: str | None = None
    truth: str | None = None
    label_by: str | None = None
    rule: LabelRule = ANY_CLASSES
    numeric: Mapping[str, bool] = field(default_factory=dict)
    string: Mapping[str, bool] = field(default_factory=dict)
    vector: Mapping[str, bool] = field(default_factory=dict)
    keep: tuple[str, ...] = ()
    entities: tuple[str, ...] = ()
    sampling: str | None = None
    unmoved: tuple[str, ...] = ()
    empty_allowed: bool = False

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns, each once."""
        named = (self.id, self.label, self.label_by, self.truth, self.sampling)
        single = [name for name in named if name is not None]
        return tuple(
            dict.fromkeys(
                [*single, *self.numeric, *self.string, *self.vector, *self.keep, *self.entities]
            )
        )

    @property
    def feature_columns(self) -> tuple[str, ...]:
        """The columns that features are made of, each once."""
        return tuple(dict.fromkeys([*self.numeric, *self.string, *self.vector]))

    def takes_nulls(self, column: str) -> bool:
        """Return whether a file may lack the column: all that it is used for bears nulls."""
        if column in (self.id, self.label, self.truth, *self.keep):
            return False
        uses = (self.numeric, self.string, self.vector)
        return all(use.get(column, True) for use in uses)


def without_columns(needs: ColumnNeeds, columns: Collection[str]) -> ColumnNeeds:
    """Return what is left of `needs` when some columns cannot be read."""

    def others(uses: Mapping[str, bool]) -> dict[str, bool]:
        return {name: missing for name, missing in uses.items() if name not in columns}

    return replace(
        needs,
        id=None if needs.id in columns else needs.id,
        label=None if needs.label in columns else needs.label,
        label_by=None if needs.label_by in columns else needs.label_by,
        truth=None if needs.truth in columns else needs.truth,
        numeric=others(needs.numeric),
        string=others(needs.string),
        vector=others(needs.vector),
        keep=tuple(name for name in needs.keep if name not in columns),
        entities=tuple(name for name in needs.entities if name not in columns),
        sampling=None if needs.sampling in columns else needs.sampling,
    )


def check_columns(dataset: Dataset, needs: ColumnNeeds) -> list[Problem]:
    """Check names and types of the needed columns from the footers alone.

    Parameters
    ----------
    dataset
        From `Dataset.open`.
    needs
        What the job reads.

    Returns
    -------
    list of Problem, empty when all is well; every missing column and wrong type, once.
    """
    problems = []
    for column in needs.columns:
        cure = MISSING_CURE if column in needs.feature_columns else WRITE_IT
        missing = missing_problems(dataset, column, cure)
        if not (needs.takes_nulls(column) and column in dataset.schema.names):
            problems += missing
    known = {name for name in needs.columns if set(dataset.types_of(name)) != {None}}
    for column, use, trouble, exact in _uses(needs):
        # The names of folders are text; where all are numbers they serve as numbers too.
        as_numbers = dataset.holds_numbers(column) and trouble(pa.float64()) is None
        if column in known and not as_numbers:
            problems += type_problems(dataset, column, use, trouble, exact=exact)
    problems += [
        problem
        for column in needs.vector
        if column in known
        for problem in _vector_lengths(dataset, column)
    ]
    kinds = {
        name: dataset.schema.field(name).type
        for name in (needs.label, needs.truth)
        if name is not None and name in dataset.schema.names
    }
    return list(dict.fromkeys(problems)) + needs.rule.column_problems(kinds)


def lacking_files(dataset: Dataset, needs: ColumnNeeds) -> list[str]:
    """Return a sentence for each column that files lack, and that is null there."""
    told: list[str] = []
    for column in needs.columns:
        without = dataset.types_of(column).get(None, [])
        if without and not dataset.is_null_in_gaps(column):
            shown = dataset.shown_path(without[0])
            more = "" if len(without) == 1 else f" and {len(without) - 1:,} more"
            text = f"column {column!r} is not in {shown}{more}: it has no value there"
            told.append(Caution(text))
    return told


def _uses(needs: ColumnNeeds) -> list[tuple[str, str, TypeCheck, bool]]:
    """Return (column, what for, type check, whether files must agree on one type)."""
    uses: list[tuple[str, str, TypeCheck, bool]] = []
    if needs.id is not None:
        uses.append((needs.id, "id", id_trouble, True))
    if needs.label_by is not None:
        uses.append((needs.label_by, "what labels name", _named_trouble, True))
    for use, name in (("label", needs.label), ("truth", needs.truth)):
        if name is not None:
            uses.append((name, use, needs.rule.type_trouble, True))
    uses += [(name, "numeric feature", numeric_trouble, False) for name in needs.numeric]
    uses += [(name, "categorical or text", string_trouble, True) for name in needs.string]
    uses += [(name, "vector feature", vector_trouble, False) for name in needs.vector]
    uses += [(name, "column of the output", kept_trouble, True) for name in needs.keep]
    uses += [(name, "entity", _entity_trouble, True) for name in needs.entities]
    if needs.sampling is not None:
        uses.append((needs.sampling, "groups that labels were drawn of", _group_trouble, True))
    return uses


def _entity_trouble(kind: pa.DataType) -> tuple[str, str] | None:
    """Return (what is wrong, cure) of `kind` as what rows share, or None."""
    return _shared_trouble(kind, "entities are", "under graph.entities")


def _group_trouble(kind: pa.DataType) -> tuple[str, str] | None:
    """Return (what is wrong, cure) of `kind` as groups that labels were drawn of, or None."""
    if pt.is_boolean(plain_type(kind)):
        return None
    return _shared_trouble(kind, "columns for input.sampling are booleans,", "as input.sampling")


def _named_trouble(kind: pa.DataType) -> tuple[str, str] | None:
    """Return (what is wrong, cure) of `kind` as what labels of a file name, or None."""
    return _shared_trouble(kind, "columns for input.labels.by are", "as input.labels.by")


def _shared_trouble(kind: pa.DataType, what: str, where: str) -> tuple[str, str] | None:
    trouble = id_trouble(kind)
    if trouble is None:
        return None
    text, hint = trouble
    found = text.replace(ID_TYPES, f"{what} integers, strings, binary or UUIDs")
    return found, f"name another column {where}" if hint == OTHER_ID else hint


def _vector_lengths(dataset: Dataset, column: str) -> list[Problem]:
    sizes: dict[int, int] = {}
    for kind, files in dataset.types_of(column).items():
        if kind is not None and pt.is_fixed_size_list(plain_type(kind)):
            sizes.setdefault(plain_type(kind).list_size, files[0])
    if len(sizes) < 2:
        return []
    (first, file), (second, other) = list(sizes.items())[:2]
    text = f"has vectors of {second} numbers, but of {first} in {dataset.shown_path(file)}"
    hint = "write all vectors with one length"
    return [Problem(text, dataset.shown_path(other), column=column, hint=hint)]
