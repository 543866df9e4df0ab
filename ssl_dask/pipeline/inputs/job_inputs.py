"""Step 1: the files, what the job needs of them, and the seeds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ssl_dask.decision.review_queue import looked_for
from ssl_dask.errors import (
    InputDataError,
    Problem,
    SslDaskError,
    cautions,
    collect_errors,
    raise_all,
)
from ssl_dask.execution import Execution
from ssl_dask.features.feature_groups import FeatureGroup, NumericGroup
from ssl_dask.graph.graph_spec import EdgesSpec
from ssl_dask.job_spec import JobSpec
from ssl_dask.kernels.distributions.seed_weights import SeedStrata
from ssl_dask.labels import Labels
from ssl_dask.pipeline.inputs.class_checks import ranked_class, refuse_other_classes, sampled_groups
from ssl_dask.pipeline.inputs.label_kind import label_kind
from ssl_dask.pipeline.inputs.stored_graph import StoredGraph, graph_fingerprint
from ssl_dask.storage.checks.column_check import ColumnNeeds, check_columns, without_columns
from ssl_dask.storage.checks.input_check import InputScan, scan_input
from ssl_dask.storage.ids.edges import EdgeFile, open_edge_file
from ssl_dask.storage.input.column_reader import ColumnReader
from ssl_dask.storage.input.dataset import Dataset
from ssl_dask.storage.input.row_layout import RowLayout, plan_layout
from ssl_dask.storage.labels.label_file import SeedFile, read_label_file

# A task holds a block a few times over: as read, as features in float64 and float32, as output.
BLOCKS_PER_TASK_MEMORY = 16
MIN_BLOCK_BYTES, MAX_BLOCK_BYTES = 2**20, 2**28
BLOCKS_PER_SLOT = 2
FEW_ROWS = 4_000
"""Blocks are not made smaller than this only to keep every slot busy."""


@dataclass(frozen=True)
class Inputs:
    """The job's files, checked by their footers; no row was read.

    Parameters
    ----------
    dataset
        The input.
    needs
        What the job needs of its columns.
    seed_file
        The labels file, read, if there is one.
    edge_files
        The files of edges that `graph` names, part by part.
    stored_graph
        The graph that `graph.path` names.
    """

    dataset: Dataset
    needs: ColumnNeeds
    seed_file: SeedFile | None
    edge_files: tuple[EdgeFile, ...] = ()
    stored_graph: StoredGraph | None = None

    @classmethod
    def open(cls, spec: JobSpec) -> Inputs:
        """Find the files, read their footers, and check names and types of columns.

        Raises
        ------
        InputDataError
            With every problem that footers show.
        JobSpecError
            Names of the result clash.
        """
        errors: list[SslDaskError] = []
        inputs = cls.inspect(spec, errors)
        raise_all(errors)
        assert inputs is not None
        return inputs

    @classmethod
    def inspect(cls, spec: JobSpec, errors: list[SslDaskError]) -> Inputs | None:
        """Do what `open` does, but append what is wrong to `errors`, and go on with the rest.

        Returns
        -------
        Inputs or None
            `needs` without the columns that cannot be read, no `seed_file` and no edge file where
            these are not usable; None if there are no files.
        """
        with collect_errors(errors):
            labels = spec.input.labels
            dataset = Dataset.open(
                spec.input,
                base=Path.cwd(),
                elsewhere=() if labels is None else labels.paths,
            )
            needs = column_needs(spec)
            problems = check_columns(dataset, needs)
            if problems:
                errors.append(InputDataError(problems))
            needs = without_columns(needs, {one.column for one in problems if one.column})
            with collect_errors(errors):
                label_kind(spec).check_names(spec)
            seed_file = None
            edge_files: list[EdgeFile] = []
            # Without usable ids those of labels and edges have nothing to be compared with.
            if needs.id == spec.input.id:
                with collect_errors(errors):
                    seed_file = _read_labels_file(spec, dataset, needs)
                for edges in () if spec.graph is None else spec.graph.edge_lists():
                    with collect_errors(errors):
                        edge_files.append(_open_edges(edges, spec, dataset))
            stored = None
            if spec.graph is not None and spec.graph.path is not None:
                with collect_errors(errors):
                    stored = StoredGraph.open(spec.graph.path)
                    stored.check(graph_fingerprint(spec, dataset))
            return cls(dataset, needs, seed_file, tuple(edge_files), stored)
        return None

    @property
    def local_paths(self) -> list[Path]:
        """Files and folders of this machine that are read."""
        labels = [] if self.seed_file is None else self.seed_file.local_paths
        edges = [path for file in self.edge_files for path in file.dataset.local_paths]
        return [*self.dataset.local_paths, *labels, *edges]

    @property
    def table_versions(self) -> dict[str, str]:
        """What is to be said of the versions of tables beside the versions of libraries."""
        edges = {
            f"edges table {i}" if len(self.edge_files) > 1 else "edges table": file.dataset
            for i, file in enumerate(self.edge_files, 1)
        }
        return table_versions(
            {
                "input table": self.dataset,
                **({"labels table": self.seed_file.dataset} if self.seed_file else {}),
                **edges,
            }
        )

    @property
    def table_pins(self) -> list[int | str | None]:
        """What pins each table of the job in the order of `JobSpec.with_files`; None: no table."""
        labels = [] if self.seed_file is None else [self.seed_file.dataset]
        datasets = [self.dataset, *labels, *(file.dataset for file in self.edge_files)]
        return [None if one is None else one.table_pin for one in datasets]

    def identity(self) -> dict[str, Any]:
        """Return what makes the input the same: footers and times of its files, labels' files."""
        labels = [] if self.seed_file is None else [dict(one) for one in self.seed_file.identity]
        return {
            "files": self.dataset.identity(),
            "modified": self.dataset.modified(),
            "labels": labels,
            "edges": [dict(file.identity()) for file in self.edge_files],
            "stored graph": None if self.stored_graph is None else self.stored_graph.digest,
        }


@dataclass(frozen=True)
class ReadData:
    """What reading found.

    Parameters
    ----------
    reader
        Reads blocks on the workers.
    labels
        The seeds; of numbers, each distinct one is a class.
    notes, seed_notes
        Sentences for the report.
    warnings
        Those that change the answer.
    strata
        Groups of which the seeds are samples, where the job names them.
    """

    reader: ColumnReader
    labels: Labels
    notes: Sequence[str]
    seed_notes: tuple[str, ...]
    warnings: tuple[str, ...]
    strata: SeedStrata | None = None

    @property
    def layout(self) -> RowLayout:
        """The blocks."""
        return self.reader.layout


def table_versions(datasets: Mapping[str, Dataset | None]) -> dict[str, str]:
    """Return the versions of those data sets that are tables, in words."""
    return {
        name: dataset.table_version
        for name, dataset in datasets.items()
        if dataset is not None and dataset.table_version is not None
    }


def column_needs(spec: JobSpec) -> ColumnNeeds:
    """Return what the job needs of which column."""
    return ColumnNeeds(
        id=spec.input.id,
        label=spec.input.label,
        label_by=None if spec.input.labels is None else spec.input.labels.by,
        truth=spec.input.truth,
        rule=label_kind(spec).rule(spec),
        **feature_needs(spec.features),
        keep=spec.output.columns,
        entities=() if spec.graph is None else spec.graph.entity_columns(),
        sampling=spec.input.sampling,
    )


def feature_needs(groups: Mapping[str, FeatureGroup]) -> dict[str, Any]:
    """Return how columns are read for their features, as keywords of `ColumnNeeds`."""
    kinds: dict[str, dict[str, bool]] = {"numeric": {}, "string": {}, "vector": {}}
    for group in groups.values():
        for column, need in group.needs().items():
            before = kinds[need.kind].get(column, True)
            # Two groups may use a column; the stricter of them counts.
            kinds[need.kind][column] = before and need.missing_allowed
    numeric = [group for group in groups.values() if isinstance(group, NumericGroup)]
    unmoved = tuple(name for group in numeric if group.zero_counts for name in group.columns())
    return {**kinds, "unmoved": unmoved}


def plan_blocks(
    dataset: Dataset,
    columns: Sequence[str],
    *,
    block_rows: int | None,
    memory_per_task: int,
    n_slots: int,
) -> RowLayout:
    """Cut the rows into blocks that fit a task several times over, and enough for all slots.

    Parameters
    ----------
    columns
        Those that are read.
    block_rows
        Rows of a block, where the job says so.
    memory_per_task, n_slots
        Bytes that a task may take, and tasks that run at a time.
    """
    size = min(max(memory_per_task // BLOCKS_PER_TASK_MEMORY, MIN_BLOCK_BYTES), MAX_BLOCK_BYTES)
    layout = plan_layout(dataset, columns, block_bytes=size, block_rows=block_rows)
    wanted = BLOCKS_PER_SLOT * n_slots
    if block_rows is None and len(layout.blocks) < wanted:
        rows = max(math.ceil(dataset.n_rows / wanted), FEW_ROWS)
        layout = plan_layout(dataset, columns, block_bytes=size, block_rows=rows)
    return layout


def read_inputs(spec: JobSpec, inputs: Inputs, execution: Execution) -> ReadData:
    """Read every block once: check values and ids, find the seeds.

    Raises
    ------
    InputDataError
        With every problem found in rows, ids and labels.
    QualityError
        No seeds, or seeds of one class or number only.
    JobSpecError
        The job gives shares of other classes than the seeds have.
    """
    reader, scan = scan_rows(spec, inputs, execution)
    _refuse_constant_features(inputs, scan)
    assert scan.seeds is not None
    label_kind(spec).require(scan.seeds)
    labels = scan.seeds.labels
    if spec.target == "classes":
        refuse_other_classes(spec, labels)
        if spec.decision.review_list is not None:
            looked_for(spec.decision.review_list, labels)
        ranked_class(spec, labels)
    strata, unseen = sampled_groups(spec.input.sampling, reader, labels, execution)
    edges = [note for file in inputs.edge_files for note in file.dataset.notes]
    warnings = cautions([*scan.seeds.notes, *inputs.dataset.notes, *edges, *scan.notes])
    notes = [*inputs.dataset.notes, *scan.notes]
    if inputs.dataset.ignored:
        left_out = ", ".join(inputs.dataset.ignored[:10])
        notes.append(f"left out, hidden by its name or no Parquet: {left_out}")
    return ReadData(
        reader=reader,
        labels=labels,
        notes=[note for note in notes if note not in (*scan.seeds.notes, *warnings)],
        seed_notes=tuple(note for note in scan.seeds.notes if note not in warnings),
        warnings=(*warnings, *unseen),
        strata=strata,
    )


def scan_rows(
    spec: JobSpec, inputs: Inputs, execution: Execution
) -> tuple[ColumnReader, InputScan]:
    """Do what `scan_dataset` does with the files and labels of a job."""
    block_rows, seed_file = spec.input.block_rows, inputs.seed_file
    return scan_dataset(inputs.dataset, inputs.needs, block_rows, execution, seed_file=seed_file)


def scan_dataset(
    dataset: Dataset,
    needs: ColumnNeeds,
    block_rows: int | None,
    execution: Execution,
    *,
    seed_file: SeedFile | None = None,
    offsets: Mapping[str, int] | None = None,
) -> tuple[ColumnReader, InputScan]:
    """Cut a data set into blocks, read every one once, and count what is there.

    Parameters
    ----------
    block_rows
        Rows of a block, where the job says so.
    seed_file
        Labels of a file.
    offsets
        As for `scan_input`; the reader subtracts those of the scan.

    Raises
    ------
    InputDataError
        With every problem found in rows, ids and labels.
    """
    layout = plan_blocks(
        dataset,
        needs.columns,
        block_rows=block_rows,
        memory_per_task=execution.memory_per_task,
        n_slots=execution.n_slots,
    )
    reader = ColumnReader(dataset, layout)
    scan = scan_input(reader, needs, execution, seed_file=seed_file, offsets=offsets)
    if scan.problems:
        raise InputDataError([*scan.problems, *_not_shown(scan)])
    return ColumnReader(dataset, layout, scan.offsets), scan


def _read_labels_file(spec: JobSpec, dataset: Dataset, needs: ColumnNeeds) -> SeedFile | None:
    labels = spec.input.labels
    if labels is None or labels.by != needs.label_by:
        # A column that is missing, or cannot be read, is told with all others.
        return None
    return read_label_file(
        [labels.model_copy(update={"path": path}) for path in labels.paths],
        id_column=labels.id,
        label_column=labels.label,
        base=Path.cwd(),
        id_type=dataset.id_type(labels.by or spec.input.id),
        rule=label_kind(spec).rule(spec),
        allow_unmatched=labels.allow_unmatched,
        conflicts=labels.conflicts,
    )


def _open_edges(edges: EdgesSpec, spec: JobSpec, dataset: Dataset) -> EdgeFile:
    return open_edge_file(
        edges,
        source=edges.source,
        target=edges.target,
        weight=edges.weight,
        base=Path.cwd(),
        id_type=dataset.id_type(spec.input.id),
    )


def _refuse_constant_features(inputs: Inputs, scan: InputScan) -> None:
    """Refuse rows that no feature tells apart: any label would be invented."""
    columns = inputs.needs.feature_columns
    if inputs.dataset.n_rows > 1 and set(columns) <= set(scan.constant_columns):
        raise InputDataError(
            "every feature column holds one and the same value in all rows: nothing tells rows"
            " apart",
            file=inputs.dataset.path,
            column=", ".join(columns),
            hint="name other columns under features",
        )


def _not_shown(scan: InputScan) -> list[Problem]:
    hidden = scan.n_problems - len(scan.problems)
    return (
        [Problem(f"{hidden:,} more problems of this kind", hint="mend those above first")]
        if hidden > 0
        else []
    )
