"""Whether a job and its input are sound: every mistake in one list, nothing computed."""

from __future__ import annotations

from collections.abc import Sequence

from ssl_dask.errors import (
    InputDataError,
    JobSpecError,
    Problem,
    SslDaskError,
    cautions,
    collect_errors,
    raise_all,
)
from ssl_dask.execution import Execution
from ssl_dask.features.describe import describe
from ssl_dask.job_spec import JobSpec
from ssl_dask.pipeline.inputs.job_inputs import Inputs, read_inputs, scan_rows
from ssl_dask.pipeline.inputs.label_kind import label_kind
from ssl_dask.pipeline.models.model_types import check_models
from ssl_dask.storage.runs.output_path import check_output_path

Rows = list[tuple[str, str]]


def validate_job(
    spec: JobSpec | None,
    *,
    mistakes: Sequence[Problem] = (),
    schema_only: bool = False,
    trust_modules: Sequence[str] = (),
) -> Rows:
    """Check a job and its input; write nothing.

    Parameters
    ----------
    spec
        The job; where it has mistakes, what is left of it, or None.
    mistakes
        What `read_job` found in the job file. With any, the files' footers are all that is looked
        at: what the rows must hold depends on keys that may be the wrong ones.
    schema_only
        Look at the files' footers only.
    trust_modules
        Modules whose classes the job may name as learners: importing them runs their code.

    Returns
    -------
    list of (name, value)
        What was found, for printing.

    Raises
    ------
    SslDaskError
        With every mistake found in the job, the files, their columns, the rows, the labels and the
        output's place; of the kind with the lowest exit code.
    """
    errors: list[SslDaskError] = [JobSpecError(list(mistakes))] if mistakes else []
    summary: Rows = []
    if spec is not None:
        with collect_errors(errors):
            check_models(spec, trust_modules)
        sound = len(errors)
        inputs = Inputs.inspect(spec, errors)
        if inputs is not None:
            footers_only = schema_only or bool(mistakes)
            with collect_errors(errors):
                summary = _check_rows(
                    spec, inputs, footers_only=footers_only, whole=len(errors) == sound
                )
        with collect_errors(errors):
            check_output_path(spec.output.path, [] if inputs is None else inputs.local_paths)
    raise_all(errors)
    return summary


def _check_rows(spec: JobSpec, inputs: Inputs, *, footers_only: bool, whole: bool) -> Rows:
    """Check what stands in the files; `whole` says that all columns of the job can be read."""
    dataset = inputs.dataset
    summary = [
        ("input", dataset.path),
        *inputs.table_versions.items(),
        ("rows", f"{dataset.n_rows:,} in {len(dataset.files):,} file(s)"),
    ]
    warnings = cautions(dataset.notes)
    notes = [note for note in dataset.notes if note not in warnings]
    if footers_only:
        if inputs.seed_file is not None and inputs.seed_file.problems:
            raise InputDataError(inputs.seed_file.problems)
        summary.append(("checked", "names and types; the rows were not read"))
    elif not whole:
        scan_rows(spec, inputs, Execution())
    else:
        data = read_inputs(spec, inputs, Execution())
        summary.append(("seeds", label_kind(spec).seed_words(data.labels)))
        # What only the values show: too many categories, more components than columns.
        describe(data.reader, spec.features, Execution())
        warnings, notes = data.warnings, [*data.notes, *data.seed_notes]
    summary += [("edges", f"{file.n_edges:,} in {file.dataset.path}") for file in inputs.edge_files]
    for graph in () if spec.graph is None else spec.graph.each():
        if graph.kind == "knn" and graph.n_neighbors >= dataset.n_rows:
            notes.append(
                f"graph.n_neighbors is {graph.n_neighbors:,} and there are {dataset.n_rows:,} rows:"
                " every row will be joined with every other"
            )
    told = [("warning", warning) for warning in warnings] + [("note", note) for note in notes]
    return summary + told
