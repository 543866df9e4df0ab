"""A first look at the columns of a data set, from a sample of its rows, to draft a job from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from ssl_dask.storage.input.arrow_to_numpy import (
    decoded,
    one_vector_array,
    said_none,
    vector_lengths,
)
from ssl_dask.storage.input.column_reader import read_rows
from ssl_dask.storage.input.column_types import (
    common_type,
    is_list,
    is_number,
    is_text,
    plain_type,
    shown_type,
    vector_trouble,
    why_unreadable,
)
from ssl_dask.storage.input.dataset import Dataset
from ssl_dask.storage.input.row_layout import Block, FileRows

ProfileKind = Literal["numeric", "string", "vector", "bool", "other"]

MAX_PLACES = 10
MIN_CLASS_ROWS, MIN_VALUE_ROWS = 10, 20


@dataclass(frozen=True)
class ColumnProfile:
    """What a sample shows of a column."""

    name: str
    type: str
    """As in the schema of the data set."""
    kind: ProfileKind
    """"vector" is a list of numbers, of one length in the sample; "other" is all that no feature
    takes as it is, such as times."""
    n_sampled: int
    """Rows of the sample."""
    null_share: float
    """Share of null (and of NaN) among them, 0 to 1."""
    n_distinct: int
    """Different values among them, null left out; 0 for vectors and nested columns, which are not
    counted."""
    unique: bool
    """Whether no value occurs twice and none is missing: an id could look so."""
    mean_text_length: float | None
    """Mean number of characters; None where the column is no text."""
    whole: bool = True
    """Whether no value is a number with a fraction."""
    words: tuple[str, ...] = ()
    word_share: float = 0.0
    """Values among them that stand for "no value", such as NA, unknown or -1, and their share."""


def profile_columns(dataset: Dataset, rows: int = 10_000) -> list[ColumnProfile]:
    """Describe every column of `dataset` from a sample.

    Parameters
    ----------
    dataset
        From `Dataset.open`.
    rows
        Rows to look at, taken from the starts of up to ten row groups spread over the data.

    Raises
    ------
    InputDataError
        A file is damaged.

    Notes
    -----
    Reads in this process, a column at a time: one column of the sample in memory.
    """
    places = _spread(dataset, rows)
    return [_profile(dataset, places, name) for name in dataset.schema.names]


def columns_that_tell(
    dataset: Dataset, names: Sequence[str], target: str, rows: int = 10_000
) -> set[str]:
    """Return the columns of which every value goes with one value of `target` only.

    Such a column may hold the answer in other words: the family of an attack implies that there
    was one. A column is not returned where a value occurs in fewer than 20 rows on average, nor
    where `target` has one value, or one of fewer than 10 rows: that could be chance.

    Parameters
    ----------
    dataset
        From `Dataset.open`.
    rows
        Rows to look at; those without a value of `target` do not count.
    names
        Columns to look at.
    target
        Column of labels or of the truth.

    Raises
    ------
    InputDataError
        A file is damaged.
    """
    places = [place for place in _spread(dataset, rows) if _holds_column(dataset, place, target)]
    telling = set()
    for name in names:
        if common_type(kind for kind in dataset.types_of(name) if kind is not None) is None:
            continue
        pairs = pa.concat_tables(
            [
                pa.table(
                    {"value": decoded(table.column(name)), "target": decoded(table.column(target))}
                )
                for place in places
                if _holds_column(dataset, place, name)
                for table in [read_rows(dataset, place, [name, target])]
            ]
            or [pa.table({"value": pa.nulls(0), "target": pa.nulls(0)})],
            promote_options="permissive",
        ).drop_null()
        counts = pairs.group_by(["value", "target"]).aggregate([([], "count_all")])
        n_values = len(counts["value"].unique())
        classes = counts.group_by("target").aggregate([("count_all", "sum")])
        if (
            len(classes) > 1
            and pc.min(classes["count_all_sum"]).as_py() >= MIN_CLASS_ROWS
            and len(pairs) >= MIN_VALUE_ROWS * n_values
            and len(counts) == n_values
        ):
            telling.add(name)
    return telling


def _spread(dataset: Dataset, rows: int) -> list[Block]:
    """Choose the rows of the sample."""
    groups = [
        (number, group, n)
        for number, file in enumerate(dataset.files)
        for group, (n, _) in enumerate(file.row_groups)
        if n
    ]
    chosen = np.unique(np.linspace(0, len(groups) - 1, min(MAX_PLACES, len(groups))).astype(int))
    # Shares of short row groups go to the others, shortest first.
    left, blocks = max(rows, 1), []
    by_size = sorted(chosen.tolist(), key=lambda i: groups[i][2])
    for i, place in enumerate(by_size):
        number, group, n = groups[place]
        take = min(n, -(-left // (len(by_size) - i)))
        left -= take
        if take:
            blocks.append(Block(place, 0, (FileRows(number, (group,), (n,), 0, take),)))
    return sorted(blocks, key=lambda block: block.index)


def _profile(dataset: Dataset, places: list[Block], name: str) -> ColumnProfile:
    kind = dataset.schema.field(name).type
    pieces: list[pa.ChunkedArray] = []
    n_sampled = n_missing = n_words = 0
    words: set[str] = set()
    for place in places:
        n_sampled += place.n_rows
        if _holds_column(dataset, place, name):
            values = decoded(read_rows(dataset, place, [name]).column(name))
            said = said_none(values)
            n_words += int(said.sum())
            words.update(map(str, values.filter(pa.array(said)).to_pylist()))
            n_missing += pc.sum(values.is_null(nan_is_null=_is_float(values.type))).as_py()
            pieces.append(values)
        else:
            n_missing += place.n_rows
    n_distinct = 0
    lengths: list[float] = []
    whole = True
    if not pt.is_nested(plain_type(kind)):
        seen: set[object] = set()
        for values in pieces:
            filled = values.drop_null()
            if is_text(filled.type):
                lengths += pc.utf8_length(filled).to_pylist()
                filled = filled.cast(pa.large_binary())
            elif pt.is_temporal(filled.type):
                # Arrow has dates that Python has not.
                filled = filled.cast(pa.int32() if filled.type.bit_width == 32 else pa.int64())
            seen.update(value for value in filled.unique().to_pylist() if value == value)
        n_distinct = len(seen)
        whole = all(value.is_integer() for value in seen if isinstance(value, float))
    return ColumnProfile(
        name,
        shown_type(kind),
        _kind_in_sample(kind, pieces),
        n_sampled,
        n_missing / n_sampled,
        n_distinct,
        n_distinct == n_sampled,
        float(np.mean(lengths)) if lengths else None,
        whole,
        tuple(sorted(words)),
        n_words / n_sampled,
    )


def _kind_in_sample(kind: pa.DataType, pieces: list[pa.ChunkedArray]) -> ProfileKind:
    plain = plain_type(kind)
    if pt.is_boolean(plain):
        return "bool"
    if is_text(plain):
        return "string"
    if is_number(plain) and not pt.is_null(plain):
        return "numeric"
    if is_list(plain) and vector_trouble(kind) is None:
        found = {
            length
            for values in pieces
            for length in np.unique(vector_lengths(one_vector_array(values))).tolist()
        } - {-1}
        return "vector" if len(found) == 1 else "other"
    return "other"


def _holds_column(dataset: Dataset, place: Block, name: str) -> bool:
    if name in dataset.partition_columns:
        return why_unreadable(dataset.schema.field(name).type) is None
    schema = dataset.file_schemas[dataset.files[place.pieces[0].file].schema]
    return name in schema.names and why_unreadable(schema.field(name).type) is None


def _is_float(kind: pa.DataType) -> bool:
    return pt.is_floating(kind)
