"""The columns of the result: name, type and meaning, in one place."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ssl_dask.errors import JobSpecError, Problem
from ssl_dask.storage.input.column_types import is_bytes, is_list, is_text, plain_type
from ssl_dask.storage.runs.manifest import LABELS_FOLDER, REVIEW_FOLDER

ROW_COLUMN = "row"
"""Name of the id column of a job without ids: the row number, from 0, in input order."""
NO_NAME = "none"
"""A source or reason of this name is written as null."""

METADATA_RUN_ID = b"ssl_dask.run_id"
METADATA_COLUMNS = b"ssl_dask.columns"
LIST_TEXT = re.compile(r"(large_|fixed_size_)?list(_view)?<.*")
DICTIONARY_TEXT = re.compile(r"dictionary<values=(\w+),.*")
DECIMAL_TEXT = re.compile(r"(decimal\d+)\((\d+), 0\)")

PROBABILITY_MEANING = "Calibrated chance that the most likely class is right, 0 to 1."
MARGIN_MEANING = "Chance of the most likely class less that of the second, 0 to 1."
REASON_MEANING = "Why it abstained, or what speaks against the label; null without a cause."
P_MEANING = "Calibrated chance that the row is of this class, 0 to 1."


@dataclass(frozen=True)
class ResultColumn:
    """One column that ssl_dask adds."""

    name: str
    """As in the file."""
    type: pa.DataType | None
    """Arrow type; None: that of the labels in the input, once these are known."""
    meaning: str
    """One sentence, written into the file."""
    values: pa.Array | None = None
    """Arrow array of what codes stand for; None: the column holds numbers."""

    @property
    def field(self) -> pa.Field:
        """The Arrow field, which carries the meaning."""
        return pa.field(self.name, self.type, metadata={b"description": self.meaning.encode()})

    def array(self, given: npt.NDArray[Any]) -> pa.Array:
        """Return the column of `given` (n,), null where a code or integer is -1, a float NaN.

        Raises
        ------
        ValueError
            A code stands for nothing.
        """
        assert self.type is not None
        if self.values is None:
            numbers = np.ascontiguousarray(given, dtype=self.type.to_pandas_dtype())
            none = numbers < 0 if pa.types.is_integer(self.type) else None
            return pa.array(numbers, mask=none, from_pandas=True)
        if len(given) and not -1 <= int(given.min()) <= int(given.max()) < len(self.values):
            raise ValueError(f"a code of {self.name} stands for none of {len(self.values)} values")
        indices = pa.array(given.astype(np.int32, copy=False), mask=given < 0)
        if pa.types.is_dictionary(self.type):
            return pa.DictionaryArray.from_arrays(indices, self.values)
        return self.values.take(indices)


# `source` and `reason` are plain strings, not Arrow dictionaries: Parquet stores the few distinct
# texts once anyway, while dictionaries that differ from part to part turn into unequal categories
# in pandas and Dask.
LABELS = (
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
REVIEW = (
    ResultColumn(ROW_COLUMN, pa.int64(), "Row number in the input, from 0, in input order."),
    ResultColumn("predicted", None, "What would be answered now; null where it abstained."),
    ResultColumn("probability", pa.float32(), PROBABILITY_MEANING),
    ResultColumn("margin", pa.float32(), MARGIN_MEANING),
    ResultColumn("reason", pa.string(), REASON_MEANING),
    ResultColumn(
        "review_kind",
        pa.string(),
        "Why it is proposed: positive (likely of the class that is looked for), uncertain, far"
        " (from every seed), or random (a random row: its answer is one of a fair sample).",
    ),
    ResultColumn("nearest_seed", None, "The id of the seed whose features are nearest."),
    ResultColumn("nearest_seed_label", None, "Its label."),
    ResultColumn(
        "nearest_seed_distance", pa.float32(), "How far it is, in units of the scaled features."
    ),
    ResultColumn("rank", pa.int64(), "From 1: the rows whose labels would help most come first."),
)
MAX_RANKED = 100_000
"""Rows of a ranking: beyond, nobody looks."""
RANK = ResultColumn(
    "rank",
    pa.int64(),
    "Place among the rows that are no seeds by the chance of the class of output.rank, from 1;"
    f" null of seeds, of rows that cannot be of it, and behind the first {MAX_RANKED:,}.",
)
NUMBERS = (
    ResultColumn("value", pa.float64(), "The number; null where there is none."),
    ResultColumn(
        "value_low",
        pa.float64(),
        "Lower end of an interval that holds the true number in the stated share of the rows, by"
        " labels that were hidden; null without one.",
    ),
    ResultColumn("value_high", pa.float64(), "Upper end of the interval; null without one."),
    ResultColumn(
        "source",
        pa.string(),
        "How the number was found (seed: given in the input); null without one.",
    ),
    ResultColumn("reason", pa.string(), REASON_MEANING),
)


@dataclass(frozen=True)
class ResultSchema:
    """What the parts of one folder look like; the same for every part, and sent to the workers."""

    folder: str
    """Folder of the parts."""
    carried: tuple[pa.Field, ...]
    """Fields that come from the input: the id, then the kept columns."""
    added: tuple[ResultColumn, ...]
    """The columns behind them."""

    @property
    def probability_names(self) -> list[str]:
        """Names of the columns `p_<class>`, in the order of the classes."""
        return [column.name for column in self.added if column.meaning == P_MEANING]

    def arrow(self, run_id: str) -> pa.Schema:
        """Return the Arrow schema of a part, which names its run and what its columns mean."""
        added = [column.field for column in self.added]
        meanings = json.dumps({column.name: column.meaning for column in self.added})
        metadata = {METADATA_RUN_ID: run_id.encode(), METADATA_COLUMNS: meanings.encode()}
        return pa.schema([*self.carried, *added], metadata=metadata)


def label_schema(
    fields: pa.Schema,
    id_column: str | None,
    kept: Sequence[str],
    classes: npt.NDArray[Any],
    label_type: pa.DataType | str | None,
    texts: Mapping[str, Sequence[str]],
    *,
    probabilities: bool = False,
    rank: bool = False,
) -> ResultSchema:
    """Return what the parts of `labels` look like where labels are classes.

    Parameters
    ----------
    fields
        Schema of the input; metadata of its fields are dropped, except for extension types.
    id_column
        The id; None: the row number.
    kept
        Columns to carry over.
    classes
        array (C,) of class values: integers, booleans or strings.
    label_type
        Type of the labels in the input, as an Arrow type or as its text ("int32",
        "dictionary<values=string, ...>"); None: the plain type of `classes`.
    texts
        What the codes of "source" and "reason" stand for; `NO_NAME` stands for null.
    probabilities
        Whether there is a column `p_<class>` for each class.
    rank
        Whether there is a column `rank`.

    Raises
    ------
    JobSpecError
        A name of the input is also one of the result, or comes twice.
    ValueError
        The classes do not fit `label_type` exactly.
    """
    stored = _label_type(label_type, classes)
    plain = stored.value_type if pa.types.is_dictionary(stored) else stored
    label = replace(LABELS[0], type=stored, values=_exact_array(classes, plain))
    added = (label, *_with_texts(LABELS[1:], texts))
    if probabilities:
        names = [f"p_{value}" for value in classes.tolist()]
        added += tuple(ResultColumn(name, pa.float32(), P_MEANING) for name in names)
    added += (RANK,) if rank else ()
    refuse_names(id_column, kept, added)
    return ResultSchema(LABELS_FOLDER, _carried(fields, id_column, kept), added)


def review_schema(labels: ResultSchema, seed_ids: pa.Array, kinds: Sequence[str]) -> ResultSchema:
    """Return what a part of `review` looks like beside parts of `labels`.

    Parameters
    ----------
    labels
        Of the parts of `labels`.
    seed_ids
        What codes of "nearest_seed" stand for.
    kinds
        What codes of "review_kind" stand for.
    """
    classes = labels.added[0]
    values = {
        "predicted": classes.values,
        "nearest_seed_label": classes.values,
        "reason": next(one.values for one in labels.added if one.name == "reason"),
        "nearest_seed": seed_ids,
        "review_kind": pa.array(kinds),
    }
    types = dict.fromkeys(("predicted", "nearest_seed_label"), classes.type)
    types["nearest_seed"] = seed_ids.type
    added = [
        replace(one, type=types.get(one.name, one.type), values=values.get(one.name))
        for one in REVIEW
        if one.name != labels.carried[0].name
    ]
    return ResultSchema(REVIEW_FOLDER, labels.carried, tuple(added))


def number_schema(
    fields: pa.Schema,
    id_column: str | None,
    kept: Sequence[str],
    texts: Mapping[str, Sequence[str]],
) -> ResultSchema:
    """Return what the parts of `labels` look like where labels are numbers.

    Parameters
    ----------
    fields
        Schema of the input; metadata of its fields are dropped, except for extension types.
    id_column
        The id; None: the row number.
    kept
        Columns to carry over.
    texts
        What the codes of "source" and "reason" stand for; `NO_NAME` stands for null.

    Raises
    ------
    JobSpecError
        A name of the input is also one of the result, or comes twice.
    """
    refuse_names(id_column, kept, NUMBERS)
    return ResultSchema(
        LABELS_FOLDER, _carried(fields, id_column, kept), _with_texts(NUMBERS, texts)
    )


def refuse_names(
    id_column: str | None,
    kept: Sequence[str],
    added: Sequence[ResultColumn],
    review: Sequence[ResultColumn] = (),
) -> None:
    """Refuse column names of the input that the result needs for itself.

    Parameters
    ----------
    id_column
        Name of the id column; None: the row number.
    kept
        Names of the input columns that are carried to the output.
    added
        Columns that the result adds.
    review
        Columns of the review list, if there is one.

    Raises
    ------
    JobSpecError
        Listing every name that clashes or comes twice.
    """
    ours = {column.name for column in (*added, *review)}
    id_name = ROW_COLUMN if id_column is None else id_column
    problems = [
        Problem(
            f"output.columns lists {name!r}, which is also a column of the result",
            column=name,
            hint="leave it out of output.columns, or rename it in the input",
        )
        for name in kept
        if name in ours
    ]
    if id_column in ours:
        problems.append(
            Problem(
                f"the id column is called {id_column!r}, which is also a column of the result",
                column=id_column,
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


def _with_texts(
    columns: Sequence[ResultColumn], texts: Mapping[str, Sequence[str]]
) -> tuple[ResultColumn, ...]:
    """Return the columns, with the texts that codes of some of them stand for."""
    values = {
        name: pa.array([None if text == NO_NAME else text for text in of_codes], pa.string())
        for name, of_codes in texts.items()
    }
    return tuple(replace(column, values=values.get(column.name)) for column in columns)


def _carried(fields: pa.Schema, id_column: str | None, kept: Sequence[str]) -> tuple[pa.Field, ...]:
    """Return the fields of the id and of the kept columns as they go to the output."""
    row = pa.field(ROW_COLUMN, pa.int64())
    id_field = row if id_column is None else fields.field(id_column)
    return tuple(_without_metadata(field) for field in (id_field, *map(fields.field, kept)))


def _without_metadata(field: pa.Field) -> pa.Field:
    # Descriptions, field ids and pandas notes of the input would be untrue in our files; the name
    # of an extension type that is unknown here has to stay, for it is part of the type.
    own = field.metadata or {}
    kept = {key: value for key, value in own.items() if key.startswith(b"ARROW:extension:")}
    return field.with_metadata(kept) if kept else field.remove_metadata()


def label_output_type(kind: pa.DataType) -> pa.DataType:
    """Return the type that labels of a type of the input have in the result."""
    plain = plain_type(kind)
    if pa.types.is_floating(plain):
        # They were whole numbers with gaps.
        return pa.int64()
    if is_bytes(plain) or is_list(plain):
        # They were read as the text that they are; of lists the one choice is the class.
        return pa.string()
    if not pa.types.is_dictionary(kind) or not is_text(plain):
        # Arrow restores dictionaries from Parquet for texts only: name what a reader will find.
        return plain
    # Indices are ours: int32 holds any number of classes, whatever width the input had.
    return pa.dictionary(pa.int32(), plain)


def _label_type(given: pa.DataType | str | None, classes: npt.NDArray[Any]) -> pa.DataType:
    if given is None:
        return pa.array(classes.tolist()).type
    return label_output_type(_parse_type(given) if isinstance(given, str) else given)


def _parse_type(text: str) -> pa.DataType:
    if (in_dictionary := DICTIONARY_TEXT.fullmatch(text)) is not None:
        return pa.dictionary(pa.int32(), pa.type_for_alias(in_dictionary[1]))
    if (decimal := DECIMAL_TEXT.fullmatch(text)) is not None:
        return getattr(pa, decimal[1])(int(decimal[2]), 0)
    if LIST_TEXT.fullmatch(text) is not None:
        # Lists of labels are choices, which are text.
        return pa.list_(pa.string())
    return pa.type_for_alias(text)


def _exact_array(classes: npt.NDArray[Any], plain: pa.DataType) -> pa.Array:
    try:
        values = pa.array(classes.tolist(), type=plain)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as error:
        raise ValueError(f"the classes are not all of type {plain}") from error
    if values.to_pylist() != classes.tolist():
        raise ValueError(f"the type {plain} does not hold the classes exactly")
    return values
