"""Groups of columns to named views: Dask arrays of features, made block by block."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, cast

import dask.array as da
import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from dask import delayed
from dask.delayed import Delayed

from ssl_dask.array_types import Bool, Float32
from ssl_dask.errors import InputDataError, Problem
from ssl_dask.features.block_reader import (
    BlockReader,
    Columns,
    add_all,
    merge_on_workers,
    runs_of_blocks,
)
from ssl_dask.features.categorical_columns import fit_categorical, survey_categorical
from ssl_dask.features.feature_groups import (
    CategoricalGroup,
    FeatureGroup,
    NumericGroup,
    TextGroup,
    VectorGroup,
)
from ssl_dask.features.numeric_columns import fit_numeric, survey_numeric
from ssl_dask.features.optional_groups import (
    OptionalSurvey,
    OptionalTransform,
    present_rows,
    taken,
)
from ssl_dask.features.text_columns import fit_text, survey_text
from ssl_dask.features.vector_columns import (
    DenseTransform,
    component_problems,
    fit_components,
    fit_vector,
    survey_moments,
    survey_vector,
)

if TYPE_CHECKING:
    from ssl_dask.execution import Execution

Block: TypeAlias = Float32 | sp.csr_array
"""Features of one block: dense, or CSR."""

Group: TypeAlias = NumericGroup | CategoricalGroup | TextGroup | VectorGroup

SURVEYS = {
    NumericGroup: survey_numeric,
    CategoricalGroup: survey_categorical,
    TextGroup: survey_text,
    VectorGroup: survey_vector,
}
"""Statistics of one block, (group, columns) -> something with `+`."""

FITS = {
    NumericGroup: fit_numeric,
    CategoricalGroup: fit_categorical,
    TextGroup: fit_text,
    VectorGroup: fit_vector,
}
"""Transforms from merged statistics, (name, group, statistics) -> `Transform`."""


class Transform(Protocol):
    """Turns the columns of a block into features; small and picklable."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What was found in the columns."""
        ...

    @property
    def sparse(self) -> bool:
        """Whether blocks are CSR."""
        ...

    @property
    def spread(self) -> float:
        """Root mean squared length of the rows, dense ones taken from their mean."""
        ...

    @property
    def width(self) -> int:
        """Number of features."""
        ...

    @property
    def feature_names(self) -> tuple[str, ...] | None:
        """Names of the features, if they have any."""
        ...

    def transform(self, columns: Columns) -> Block:
        """Return the features of a block."""
        ...


@dataclass(frozen=True)
class FeatureView:
    """Features of every row under one name.

    Parameters
    ----------
    name
        Of the group; of joined groups "a+b".
    X
        Dask array (N, d) float32 in blocks of rows, dense or scipy.sparse.csr_array; lazy, a block
        is read and described when it is asked for.
    sparse
        Whether the blocks are CSR.
    feature_names
        Names of the d features, which may quote categories; None for hashed features and vectors.
    notes
        What was found in the columns: counts and column names.
    state
        Turns columns of new rows into the same features.
    present
        Bool (n_i,) for each block: the rows that have the group, lazily; None: all have it.
    """

    name: str
    X: da.Array
    sparse: bool
    feature_names: tuple[str, ...] | None
    notes: tuple[str, ...]
    state: Transform
    present: tuple[Delayed, ...] | None = None

    @property
    def row_chunks(self) -> tuple[int, ...]:
        """Rows of each block."""
        return tuple(self.X.chunks[0])

    def blocks(self) -> list[Delayed]:
        """Return the tasks that make the blocks, in row order."""
        return list(self.X.to_delayed().ravel())

    def transform(self, columns: Columns) -> Block:
        """Return the features of other rows, float32 (n, d), dense or CSR as the blocks are.

        Parameters
        ----------
        columns
            Arrays by column name, in the forms of `BlockReader.read`.

        Raises
        ------
        InputDataError
            Missing or infinite values where the group allows none.
        """
        return self.state.transform(columns)

    def persist(self, execution: Execution, what: str = "features") -> FeatureView:
        """Return the view with every block computed and kept where it was made."""
        lazy = self.blocks()
        kept = execution.persist([*lazy, *(self.present or ())], what)
        blocks, present = kept[: len(lazy)], kept[len(lazy) :]
        return replace(
            self,
            X=array_of_blocks(blocks, self.row_chunks, self.X.shape[1], self.sparse),
            present=None if self.present is None else tuple(present),
        )


def present_arrays(views: Mapping[str, FeatureView]) -> dict[str, da.Array]:
    """Return which rows have each view that rows may lack, Dask arrays bool (N,) by name."""
    return {
        name: da.concatenate(
            [
                da.from_delayed(block, (n,), dtype=np.bool_)
                for block, n in zip(view.present, view.row_chunks, strict=True)
            ]
        )
        for name, view in views.items()
        if view.present is not None
    }


def array_of_blocks(
    blocks: Sequence[Delayed], row_chunks: Sequence[int], width: int, sparse: bool
) -> da.Array:
    """Return the Dask array (N, width) float32 of `blocks`, dense or CSR."""
    empty = np.empty((0, width), dtype=np.float32)
    meta = sp.csr_array(empty) if sparse else empty
    parts = [
        da.from_delayed(block, shape=(n_rows, width), dtype=np.float32, meta=meta)
        for block, n_rows in zip(blocks, row_chunks, strict=True)
    ]
    return da.concatenate(parts, axis=0) if len(parts) > 1 else parts[0]


def describe(
    reader: BlockReader, groups: Mapping[str, FeatureGroup], execution: Execution
) -> dict[str, FeatureView]:
    """Fit every group on all rows, and return its view; the features themselves stay lazy.

    One pass over the data gathers the statistics of all groups, a second one the second moments of
    groups with `n_components`. The features of a row are the same bits whatever the blocks.

    Costs for each pass at most 8 tasks a slot, each reading its blocks one after the other; a
    worker holds one block of the columns and the statistics: 2 kB a numeric column, 8 bytes a
    hashed feature, 16 d^2 bytes for d columns with `n_components`; the client holds the merged
    ones.

    Parameters
    ----------
    reader
        Gives the columns; X is chunked as its blocks.
    groups
        By name.
    execution
        Where the passes run.

    Raises
    ------
    InputDataError
        Everything that is wrong with the columns, of all groups.
    """
    surveys = _pass(reader, groups, {}, execution, "statistics of columns")
    reduced = {
        name: group.n_components
        for name, group in groups.items()
        if isinstance(group, NumericGroup | VectorGroup) and group.n_components is not None
    }
    transforms: dict[str, Transform] = {}
    problems: list[Problem] = []
    n_present = dict.fromkeys(groups, sum(reader.row_counts))
    n_lacking: dict[str, int] = {}
    for name, group in groups.items():
        survey = surveys[name]
        if group.optional:
            n_present[name], n_lacking[name] = survey.n_present, survey.n_lacking
            survey = survey.statistics
        try:
            if survey is None:
                raise InputDataError(
                    f"features.{name}: every row lacks it",
                    column=group.columns()[0],
                    hint="leave the group out",
                )
            transforms[name] = FITS[type(group)](name, group, survey)  # type: ignore[operator]
        except InputDataError as error:
            problems += error.problems
            continue
        if name in reduced:
            dense = cast(DenseTransform, transforms[name])
            n_rows, column = n_present[name], group.columns()[0]
            problems += component_problems(name, reduced[name], dense, n_rows, column)
    if problems:
        raise InputDataError(problems)
    if reduced:
        fitted = {name: cast(DenseTransform, transforms[name]) for name in reduced}
        again = {name: groups[name] for name in reduced}
        moments = _pass(reader, again, fitted, execution, "second moments")
        for name, n_components in reduced.items():
            found = moments[name].statistics if name in n_lacking else moments[name]
            transforms[name] = fit_components(fitted[name], n_components, found)
    for name, n_rows in n_lacking.items():
        columns = groups[name].columns()
        transforms[name] = OptionalTransform(name, columns, transforms[name], n_rows)
    return views_of(reader, groups, transforms)


def views_of(
    reader: BlockReader, groups: Mapping[str, FeatureGroup], transforms: Mapping[str, Transform]
) -> dict[str, FeatureView]:
    """Return the view of every group by transforms that are fitted already; nothing is read.

    Parameters
    ----------
    reader
        Gives the columns, of the rows that the transforms were fitted on or of others.
    groups, transforms
        By name; transforms are the `state` of views that `describe` returned.
    """
    return {name: _view(reader, name, groups[name], transforms[name]) for name in groups}


def _pass(
    reader: BlockReader,
    groups: Mapping[str, Group],
    fitted: Mapping[str, DenseTransform],
    execution: Execution,
    what: str,
) -> dict[str, Any]:
    """Gather statistics by group over all blocks: second moments of the `fitted`, or surveys."""
    source = delayed(reader, traverse=False)
    state = delayed((dict(groups), dict(fitted)), traverse=False)
    task = delayed(_survey_blocks, pure=False)
    runs = runs_of_blocks(len(reader.row_counts), execution.n_slots)
    parts = [task(source, state, run.start, run.stop) for run in runs]
    return execution.compute([merge_on_workers(parts, _merge)], what)[0]


def _survey_blocks(
    reader: BlockReader,
    state: tuple[Mapping[str, Group], Mapping[str, DenseTransform]],
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


def _survey(group: Group, fitted: DenseTransform | None, columns: Columns) -> Any:
    """Return the statistics of one group in one block; of those rows only that have the group."""
    if group.optional:
        present = present_rows(group, columns)
        n_present = int(present.sum())
        whole = group.model_copy(update={"optional": False})
        found = _survey(whole, fitted, taken(columns, present)) if n_present else None
        return OptionalSurvey(n_present, len(present) - n_present, found)
    if fitted is not None:
        return survey_moments(fitted, columns)
    return SURVEYS[type(group)](group, columns)  # type: ignore[operator]


def _merge(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {name: add_all([part[name] for part in parts]) for name in parts[0]}


def read_columns(
    reader: BlockReader, block: int, groups: Mapping[str, Group]
) -> dict[str, dict[str, npt.NDArray[Any]]]:
    """Read the columns of a block for several groups, and return them by group.

    A column is read once, unless groups want it in different forms.
    """
    rounds: list[dict[str, str]] = []
    found_in: dict[tuple[str, str], int] = {}
    for group in groups.values():
        for column, kind in _kinds(group).items():
            if (column, kind) in found_in:
                continue
            number = next((i for i, kinds in enumerate(rounds) if column not in kinds), len(rounds))
            if number == len(rounds):
                rounds.append({})
            rounds[number][column] = kind
            found_in[column, kind] = number
    read = [reader.read(block, kinds) for kinds in rounds]
    return {
        name: {
            column: read[found_in[column, kind]][column] for column, kind in _kinds(group).items()
        }
        for name, group in groups.items()
    }


def _kinds(group: Group) -> dict[str, str]:
    """Return the form in which each column is read."""
    return {
        column: "vector_or_null" if need == ("vector", True) else need.kind
        for column, need in group.needs().items()
    }


def _view(reader: BlockReader, name: str, group: Group, transform: Transform) -> FeatureView:
    source = delayed(reader, traverse=False)
    state = delayed((group, transform), traverse=False)
    task = delayed(_describe_block, pure=False)
    blocks = [task(source, state, block) for block in range(len(reader.row_counts))]
    X = array_of_blocks(blocks, reader.row_counts, transform.width, transform.sparse)
    names = transform.feature_names
    present = None
    if group.optional:
        look = delayed(_present_block, pure=False)
        present = tuple(look(source, state, block) for block in range(len(blocks)))
    return FeatureView(name, X, transform.sparse, names, transform.notes, transform, present)


def _describe_block(reader: BlockReader, state: tuple[Group, Transform], block: int) -> Block:
    group, transform = state
    return transform.transform(read_columns(reader, block, {"": group})[""])


def _present_block(reader: BlockReader, state: tuple[Group, Transform], block: int) -> Bool:
    return present_rows(state[0], read_columns(reader, block, {"": state[0]})[""])


@dataclass(frozen=True)
class JoinedTransform:
    """Features of several groups side by side, each multiplied by its scale."""

    parts: tuple[Transform, ...]
    scales: tuple[float, ...]

    @property
    def width(self) -> int:
        """Number of features."""
        return sum(part.width for part in self.parts)

    @property
    def sparse(self) -> bool:
        """Whether blocks are CSR: as soon as one part is."""
        return any(part.sparse for part in self.parts)

    @property
    def spread(self) -> float:
        """Root mean squared length of the rows."""
        squares = ((p.spread * s) ** 2 for p, s in zip(self.parts, self.scales, strict=True))
        return float(np.sqrt(sum(squares)))

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes of all parts."""
        return tuple(note for part in self.parts for note in part.notes)

    @property
    def feature_names(self) -> tuple[str, ...] | None:
        """Names of all features; None where a part has none."""
        names: list[str] = []
        for part in self.parts:
            if part.feature_names is None:
                return None
            names += part.feature_names
        return tuple(names)

    def transform(self, columns: Columns) -> Block:
        """Return the features of a block."""
        return join_blocks([part.transform(columns) for part in self.parts], self.scales)


def join_blocks(blocks: Sequence[Block], scales: Sequence[float]) -> Block:
    """Put the features of one block of rows side by side, each multiplied by its scale."""
    scaled = [block * np.float32(scale) for block, scale in zip(blocks, scales, strict=True)]
    if not any(sp.issparse(block) for block in scaled):
        return np.hstack(scaled)
    joined = sp.hstack([sp.csr_array(block) for block in scaled], format="csr")
    joined.sort_indices()
    return joined


def join(
    views: Mapping[str, FeatureView], weights: Mapping[str, float] | None = None
) -> FeatureView:
    """Put the features of several views side by side; dense, or CSR as soon as one of them is.

    So that a group of many features does not drown one of few, every group is divided by its
    `spread`, the root mean squared length of its rows (dense groups: measured from their mean, the
    square root of their total variance; one-hot and hashed categories: of the number of columns;
    text: 1), and multiplied by its weight. So each group brings mean squared length weight**2. A
    single view is returned as it is.

    Parameters
    ----------
    views
        Of `describe`, with equal blocks of rows.
    weights
        By name; a missing one is 1.

    Raises
    ------
    ValueError
        No views, weights of unknown views, or blocks that differ.
    """
    weights = weights or {}
    unknown = sorted(set(weights) - set(views))
    if not views or unknown:
        raise ValueError(f"no views to join, or weights of unknown ones: {unknown}")
    parts = list(views.values())
    if len(parts) == 1:
        return parts[0]
    if len({view.row_chunks for view in parts}) > 1:
        raise ValueError("the views differ in their blocks of rows")
    scales = tuple(
        float(weights.get(name, 1.0)) / (view.state.spread or 1.0) for name, view in views.items()
    )
    state = JoinedTransform(tuple(view.state for view in parts), scales)
    task = delayed(join_blocks, pure=False)
    columns = zip(*(view.blocks() for view in parts), strict=True)
    blocks = [task(list(together), scales) for together in columns]
    X = array_of_blocks(blocks, parts[0].row_chunks, state.width, state.sparse)
    name = "+".join(views)
    return FeatureView(name, X, state.sparse, state.feature_names, state.notes, state)
