"""Fit feature groups on all rows: statistics of blocks, merged on the workers, to transforms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

from dask import delayed

from ssl_dask.errors import InputDataError, Problem
from ssl_dask.execution import Execution
from ssl_dask.features.block_reader import (
    BlockReader,
    Columns,
    add_all,
    merge_on_workers,
    runs_of_blocks,
)
from ssl_dask.features.categorical_columns import fit_categorical, survey_categorical
from ssl_dask.features.column_profiles import profile_of
from ssl_dask.features.feature_groups import FeatureGroup
from ssl_dask.features.numeric_columns import fit_numeric, survey_numeric
from ssl_dask.features.optional_groups import (
    OptionalSurvey,
    OptionalTransform,
    present_rows,
    read_columns,
    taken,
)
from ssl_dask.features.text_columns import fit_text, survey_text
from ssl_dask.features.transform import DenseTransform, Transform
from ssl_dask.features.vector_columns import (
    component_problems,
    fit_components,
    fit_vector,
    survey_moments,
    survey_vector,
)
from ssl_dask.features.views import FeatureView, views_of

SURVEYS: Mapping[str, Any] = {
    "numeric": survey_numeric,
    "categorical": survey_categorical,
    "text": survey_text,
    "vector": survey_vector,
}
"""Kind of group -> statistics of one block, (group, columns) -> something with `+`."""

FITS: Mapping[str, Any] = {
    "numeric": fit_numeric,
    "categorical": fit_categorical,
    "text": fit_text,
    "vector": fit_vector,
}
"""Kind of group -> transform of merged statistics, (name, group, statistics) -> `Transform`."""


def describe(
    reader: BlockReader, groups: Mapping[str, FeatureGroup], execution: Execution
) -> dict[str, FeatureView]:
    """Fit every group on all rows and return its view; the features themselves stay lazy.

    One pass over the data gathers the statistics of all groups, a second one the second moments of
    groups with `n_components`. The features of a row are the same bits for any blocks.

    Each pass takes at most 8 tasks a slot, and each task reads its blocks one after the other. A
    worker holds one block of the columns and the statistics: 2 kB a numeric column, 8 bytes a
    hashed feature, 16 d^2 bytes for d columns with `n_components`. The client holds the merged
    statistics.

    Parameters
    ----------
    reader
        Reads the columns; X is chunked as its blocks.

    Raises
    ------
    InputDataError
        Everything that is wrong with the columns, of all groups.
    """
    surveys = _pass(reader, groups, {}, execution, "statistics of columns")
    fitted: dict[str, Transform] = {}
    problems: list[Problem] = []
    for name, group in groups.items():
        try:
            fitted[name] = _fitted(name, group, surveys[name], sum(reader.row_counts))
        except InputDataError as error:
            problems += error.problems
    if problems:
        raise InputDataError(problems)
    reduced = {name: group for name, group in groups.items() if group.components}
    if reduced:
        dense = {name: cast(DenseTransform, fitted[name]) for name in reduced}
        moments = _pass(reader, reduced, dense, execution, "second moments")
        for name, group in reduced.items():
            found = moments[name].statistics if group.optional else moments[name]
            fitted[name] = fit_components(dense[name], group.components, found)
    for name, group in groups.items():
        if group.optional:
            n_lacking = surveys[name].n_lacking
            fitted[name] = OptionalTransform(name, group.columns(), fitted[name], n_lacking)
    views = views_of(reader, groups, fitted)
    return {
        name: replace(view, profile=profile_of(groups[name], surveys[name]))
        for name, view in views.items()
    }


def _fitted(name: str, group: FeatureGroup, survey: Any, n_rows: int) -> Transform:
    """Return the transform of the rows that have a group, before principal components."""
    if group.optional:
        n_rows, survey = survey.n_present, survey.statistics
        if survey is None:
            what, column = f"features.{name}: every row lacks it", group.columns()[0]
            raise InputDataError(what, column=column, hint="leave the group out")
    transform = FITS[group.kind](name, group, survey)
    if group.components:
        column = group.columns()[0]
        if problems := component_problems(name, group.components, transform, n_rows, column):
            raise InputDataError(problems)
    return transform


def _pass(
    reader: BlockReader,
    groups: Mapping[str, FeatureGroup],
    fitted: Mapping[str, DenseTransform],
    execution: Execution,
    what: str,
) -> dict[str, Any]:
    """Merge statistics by group over all blocks: second moments of the `fitted`, or surveys."""
    source = delayed(reader, traverse=False)
    state = delayed((dict(groups), dict(fitted)), traverse=False)
    task = delayed(_survey_blocks, pure=False)
    runs = runs_of_blocks(len(reader.row_counts), execution.n_slots)
    parts = [task(source, state, run.start, run.stop) for run in runs]
    return execution.compute([merge_on_workers(parts, _merge)], what)[0]


def _survey_blocks(
    reader: BlockReader,
    state: tuple[Mapping[str, FeatureGroup], Mapping[str, DenseTransform]],
    start: int,
    stop: int,
) -> dict[str, Any]:
    groups, fitted = state
    total: dict[str, Any] = {}
    for block in range(start, stop):
        columns = read_columns(reader, block, groups)
        for name, group in groups.items():
            part = _survey(group, fitted.get(name), columns[name])
            total[name] = total[name] + part if name in total else part
    return total


def _survey(group: FeatureGroup, fitted: DenseTransform | None, columns: Columns) -> Any:
    """Return the statistics of one group in one block, over the rows that have the group."""
    if group.optional:
        present = present_rows(group, columns)
        n_present = int(present.sum())
        whole = group.model_copy(update={"optional": False})
        found = _survey(whole, fitted, taken(columns, present)) if n_present else None
        return OptionalSurvey(n_present, len(present) - n_present, found)
    if fitted is not None:
        return survey_moments(fitted, columns)
    return SURVEYS[group.kind](group, columns)


def _merge(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {name: add_all([part[name] for part in parts]) for name in parts[0]}
