"""The columns of the result: name, type and meaning, in one place."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ssl_dask.errors import JobSpecError, Problem

ROW_COLUMN = "row"
"""Name of the id column of a job without ids: the row number, from 0, in input order."""

PROBABILITY_PREFIX = "p_"
NO_NAME = "none"
"""A source or reason of this name is written as null."""

METADATA_RUN_ID = b"ssl_dask.run_id"
METADATA_COLUMNS = b"ssl_dask.columns"
DICTIONARY_TEXT = re.compile(r"dictionary<values=(\w+),.*")


@dataclass(frozen=True)
class ResultColumn:
    """One column that ssl_dask adds.

    Parameters
    ----------
    name
        As in the file.
    type
        Arrow type; None: that of the labels in the input.
    meaning
        One sentence, written into the file.
    """

    name: str
    type: pa.DataType | None
    meaning: str


PROBABILITY_MEANING = "Calibrated chance that the most likely class is right, 0 to 1."
MARGIN_MEANING = "Chance of the most likely class less that of the second, 0 to 1."
REASON_MEANING = "Why it abstained, or what speaks against the label; null without a cause."

# `source` and `reason` are plain strings, not Arrow dictionaries: Parquet stores the few distinct
# texts once anyway, while dictionaries that differ from part to part turn into unequal categories
# in pandas and Dask.
LABEL_COLUMNS = (
    ResultColumn("label", None, "The class, in the type of the input; null where it abstained."),
    ResultColumn("probability", pa.float32(), PROBABILITY_MEANING),
    ResultColumn(
        "source",
        pa.string(),
        "How the label was found (seed: given in the input); null without one.",
    ),
    ResultColumn("reason", pa.string(), REASON_MEANING),
    ResultColumn("margin", pa.float32(), MARGIN_MEANING),
)
REVIEW_COLUMNS = (
    ResultColumn(ROW_COLUMN, pa.int64(), "Row number in the input, from 0, in input order."),
    ResultColumn("label", None, "What would be answered now; null where it abstained."),
    ResultColumn("probability", pa.float32(), PROBABILITY_MEANING),
    ResultColumn("margin", pa.float32(), MARGIN_MEANING),
    ResultColumn("rank", pa.int64(), "From 1: the rows whose labels would help most come first."),
)
P_MEANING = "Calibrated chance that the row is of this class, 0 to 1."


def probability_names(classes: npt.NDArray[Any]) -> list[str]:
    """Return the names of the per-class probability columns, in the order of `classes` (C,)."""
    return [f"{PROBABILITY_PREFIX}{value}" for value in classes.tolist()]


def check_names(
    id_name: str,
    kept: Sequence[str],
    classes: npt.NDArray[Any] | None = None,
    *,
    probabilities: bool = False,
    id_is_row: bool = False,
) -> None:
    """Refuse column names of the input that the result of classes needs for itself.

    Parameters
    ----------
    id_name
        Name of the id column.
    kept
        Names of the input columns that are carried to the output.
    classes
        array (C,) of class values, where already known.
    probabilities
        Whether the result has a column `p_<class>` for each class.
    id_is_row
        Whether the id is the row number, which the job gets when it names no id.

    Raises
    ------
    JobSpecError
        Listing every name that clashes or comes twice.
    """
    ours = {column.name for column in LABEL_COLUMNS}
    if probabilities and classes is not None:
        ours.update(probability_names(classes))
    in_review = {column.name for column in REVIEW_COLUMNS} - ({ROW_COLUMN} if id_is_row else set())
    refuse_names(id_name, kept, ours, ours | in_review)


def refuse_names(
    id_name: str, kept: Sequence[str], ours: Collection[str], not_ids: Collection[str]
) -> None:
    """Refuse names of the input that are also names of the result.

    Parameters
    ----------
    id_name
        Name of the id column.
    kept
        Names of the input columns that are carried to the output.
    ours
        Names of the columns that the result adds.
    not_ids
        Names that the id must not have.

    Raises
    ------
    JobSpecError
        Listing every name that clashes or comes twice.
    """
    problems = [
        Problem(
            f"output.columns lists {name!r}, which is also a column of the result",
            column=name,
            hint="leave it out of output.columns, or rename it in the input",
        )
        for name in kept
        if name in ours
    ]
    if id_name in not_ids:
        problems.append(
            Problem(
                f"the id column is called {id_name!r}, which is also a column of the result",
                column=id_name,
                hint="rename it in the input",
            )
        )
    problems += [
        Problem(
            f"output.columns would give the result the column {name!r} {count} times",
            column=name,
            hint="list it once; the id is always part of the result",
        )
        for name, count in Counter([id_name, *kept]).items()
        if count > 1
    ]
    if problems:
        raise JobSpecError(problems)


@dataclass(frozen=True)
class OutputSchema:
    """What the parts of a run look like; the same for every part, and sent to the workers.

    Build it with `OutputSchema.of`.

    Parameters
    ----------
    id
        Field of the id column, as in the input.
    kept
        Fields of the columns carried over from the input.
    label_values
        Arrow array (C,) of the class values in the type that the result stores.
    label_type
        Type of the column `label`: that of `label_values`, or a dictionary of it.
    source_names, reason_names
        Texts that the codes in the columns stand for; `NO_NAME` is written as null.
    probabilities
        Whether there is a column `p_<class>` for each class.
    """

    id: pa.Field
    kept: tuple[pa.Field, ...]
    label_values: pa.Array
    label_type: pa.DataType
    source_names: tuple[str, ...]
    reason_names: tuple[str, ...]
    probabilities: bool

    @classmethod
    def of(
        cls,
        id: pa.Field,
        kept: Sequence[pa.Field],
        classes: npt.NDArray[Any],
        *,
        label_type: pa.DataType | str | None = None,
        source_names: Sequence[str],
        reason_names: Sequence[str],
        probabilities: bool = False,
        id_is_row: bool = False,
    ) -> OutputSchema:
        """Build the schema of a run's parts.

        Parameters
        ----------
        id, kept
            Fields as in the input; their metadata is dropped, except for extension types.
        classes
            array (C,) of class values: integers, booleans or strings.
        label_type
            Type of the labels in the input, as an Arrow type or as its text ("int32",
            "dictionary<values=string, ...>"); None: the plain type of `classes`.
        source_names, reason_names
            Texts of the codes; `NO_NAME` stands for null.
        probabilities
            Whether to write `p_<class>` columns.
        id_is_row
            Whether the id is the row number.

        Raises
        ------
        JobSpecError
            Names clash; see `check_names`.
        ValueError
            The classes do not fit `label_type` exactly.
        """
        check_names(
            id.name,
            [field.name for field in kept],
            classes,
            probabilities=probabilities,
            id_is_row=id_is_row,
        )
        stored = _label_type(label_type, classes)
        plain = stored.value_type if pa.types.is_dictionary(stored) else stored
        return cls(
            id=without_metadata(id),
            kept=tuple(without_metadata(field) for field in kept),
            label_values=_exact_array(classes, plain),
            label_type=stored,
            source_names=tuple(source_names),
            reason_names=tuple(reason_names),
            probabilities=probabilities,
        )

    @property
    def carried(self) -> list[pa.Field]:
        """Fields that come from the input: the id and the kept columns."""
        return [self.id, *self.kept]

    @property
    def probability_names(self) -> list[str]:
        """Names of the per-class probability columns, [] if there are none."""
        if not self.probabilities:
            return []
        return probability_names(np.asarray(self.label_values.to_pylist(), dtype=object))

    def labels(self, run_id: str) -> pa.Schema:
        """Return the Arrow schema of a part of `labels`."""
        added = [self._field(column) for column in LABEL_COLUMNS]
        added += [
            self._field(ResultColumn(name, pa.float32(), P_MEANING))
            for name in self.probability_names
        ]
        return with_metadata([*self.carried, *added], run_id)

    def review(self, run_id: str) -> pa.Schema:
        """Return the Arrow schema of a part of `review`."""
        added = [self._field(column) for column in REVIEW_COLUMNS if column.name != self.id.name]
        return with_metadata([self.id, *added], run_id)

    def label_array(self, codes: npt.NDArray[np.int32]) -> pa.Array:
        """Return the label column of `codes`, int32 (n,): class values, null for -1."""
        indices = pa.array(codes.astype(np.int32, copy=False), mask=codes < 0)
        if pa.types.is_dictionary(self.label_type):
            return pa.DictionaryArray.from_arrays(indices, self.label_values)
        return self.label_values.take(indices)

    def _field(self, column: ResultColumn) -> pa.Field:
        kind = self.label_type if column.type is None else column.type
        return described_field(column.name, kind, column.meaning)


def _label_type(given: pa.DataType | str | None, classes: npt.NDArray[Any]) -> pa.DataType:
    if given is None:
        return pa.array(classes.tolist()).type
    kind = _parse_type(given) if isinstance(given, str) else given
    if not pa.types.is_dictionary(kind):
        return kind
    values = kind.value_type
    if not (pa.types.is_string(values) or pa.types.is_large_string(values)):
        # Arrow restores dictionaries from Parquet for texts only: say what a reader will find.
        return values
    # Indices are ours: int32 holds any number of classes, whatever width the input had.
    return pa.dictionary(pa.int32(), values)


def _parse_type(text: str) -> pa.DataType:
    in_dictionary = DICTIONARY_TEXT.fullmatch(text)
    if in_dictionary is None:
        return pa.type_for_alias(text)
    return pa.dictionary(pa.int32(), pa.type_for_alias(in_dictionary[1]))


def _exact_array(classes: npt.NDArray[Any], plain: pa.DataType) -> pa.Array:
    try:
        values = pa.array(classes.tolist(), type=plain)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as error:
        raise ValueError(f"the classes are not all of type {plain}") from error
    if values.to_pylist() != classes.tolist():
        raise ValueError(f"the type {plain} does not hold the classes exactly")
    return values


def described_field(name: str, kind: pa.DataType, meaning: str) -> pa.Field:
    """Return a field that says what the column means."""
    return pa.field(name, kind, metadata={b"description": meaning.encode()})


def without_metadata(field: pa.Field) -> pa.Field:
    """Return a field of the input as it goes to the output: without what would be untrue there."""
    # Descriptions, field ids and pandas notes of the input would be untrue in our files; the name
    # of an extension type that is unknown here has to stay, for it is part of the type.
    own = field.metadata or {}
    kept = {key: value for key, value in own.items() if key.startswith(b"ARROW:extension:")}
    return field.with_metadata(kept) if kept else field.remove_metadata()


def with_metadata(fields: Sequence[pa.Field], run_id: str) -> pa.Schema:
    """Return the schema of a part, which names its run and what its columns mean."""
    meanings = {
        field.name: field.metadata[b"description"].decode()
        for field in fields
        if field.metadata and b"description" in field.metadata
    }
    return pa.schema(
        fields,
        metadata={
            METADATA_RUN_ID: run_id.encode(),
            METADATA_COLUMNS: json.dumps(meanings).encode(),
        },
    )
