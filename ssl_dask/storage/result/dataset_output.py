"""The result's schema for a data set: its id and kept columns as they are, then what is decided."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from ssl_dask.labels import Labels
from ssl_dask.storage.input.dataset import Dataset
from ssl_dask.storage.result.result_schema import ROW_COLUMN, OutputSchema
from ssl_dask.storage.result.value_parts import ValueSchema


def output_schema(
    dataset: Dataset,
    labels: Labels,
    *,
    id_column: str | None,
    kept: Sequence[str],
    label_type: pa.DataType | str | None,
    source_names: Sequence[str],
    reason_names: Sequence[str],
    probabilities: bool,
) -> OutputSchema:
    """Return what the parts of a run over `dataset` look like.

    Parameters
    ----------
    dataset
        The input.
    labels
        The seeds: their classes are the values of the column `label`.
    id_column
        None: the id is the row number.
    kept
        Columns to carry over.
    label_type
        See `OutputSchema.of`.
    source_names, reason_names, probabilities
        See `OutputSchema.of`.

    Raises
    ------
    JobSpecError
        Names clash.
    """
    return OutputSchema.of(
        _id_field(dataset, id_column),
        [dataset.schema.field(name) for name in kept],
        labels.classes,
        label_type=label_type,
        source_names=source_names,
        reason_names=reason_names,
        probabilities=probabilities,
        id_is_row=id_column is None,
    )


def value_schema(
    dataset: Dataset,
    *,
    id_column: str | None,
    kept: Sequence[str],
    source_names: Sequence[str],
    reason_names: Sequence[str],
) -> ValueSchema:
    """Return what the parts of a run over `dataset` look like whose labels are numbers.

    Parameters
    ----------
    dataset, id_column, kept
        As `output_schema`.
    source_names, reason_names
        Texts of the codes; `NO_NAME` stands for null.
    """
    return ValueSchema(
        _id_field(dataset, id_column),
        tuple(dataset.schema.field(name) for name in kept),
        tuple(source_names),
        tuple(reason_names),
    )


def _id_field(dataset: Dataset, id_column: str | None) -> pa.Field:
    if id_column is None:
        return pa.field(ROW_COLUMN, pa.int64())
    return dataset.schema.field(id_column)


def labels_file_id_type(dataset: Dataset, id_column: str | None) -> pa.DataType:
    """Return the type that the ids of a labels file are read in: that of the data's ids."""
    return pa.int64() if id_column is None else dataset.schema.field(id_column).type
