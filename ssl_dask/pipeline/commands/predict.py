"""`ssl-dask predict`: the models of a finished run label new rows, block by block."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from distributed import Client

from ssl_dask.cluster import versions
from ssl_dask.cluster_spec import ClusterSpec
from ssl_dask.console import RunClock, RunListener, Silent
from ssl_dask.decision.labelling import DecisionRule
from ssl_dask.durable_files import to_json
from ssl_dask.errors import InputDataError, JobSpecError, cautions
from ssl_dask.execution import Execution
from ssl_dask.features.block_reader import add_all
from ssl_dask.input_files import InputFiles
from ssl_dask.job_file import checked_part
from ssl_dask.labels import Labels
from ssl_dask.pipeline.commands.lifecycle import errors_with_place, job_execution, run_done_already
from ssl_dask.pipeline.commands.saved_runs import PREDICTION
from ssl_dask.pipeline.inputs.class_checks import ranked_class
from ssl_dask.pipeline.inputs.job_inputs import (
    feature_needs,
    scan_dataset,
    table_versions,
)
from ssl_dask.pipeline.models.drift import Drift
from ssl_dask.pipeline.models.stored_models import StoredModels, read_models
from ssl_dask.pipeline.targets.block_task import carried_fields, write_blocks
from ssl_dask.pipeline.targets.class_blocks import ClassBlocks, ClassResult, class_schema
from ssl_dask.pipeline.targets.ranked_rows import rank_rows
from ssl_dask.report.run_report import DecisionSummary
from ssl_dask.storage.checks.column_check import ColumnNeeds, check_columns
from ssl_dask.storage.ids.id_hash import row_tags
from ssl_dask.storage.input.column_reader import ColumnReader
from ssl_dask.storage.input.dataset import Dataset
from ssl_dask.storage.input.table_reader import read_in_types
from ssl_dask.storage.runs.manifest import CommittedRun, Fingerprint, fingerprint
from ssl_dask.storage.runs.run_folder import OutputFolder


@dataclass(frozen=True)
class PredictResult:
    """New rows that are labelled.

    Parameters
    ----------
    path
        Folder of the finished run, which `OUT/latest` points to.
    run_id
        Its name.
    summary
        What `prediction.json` says: rows, labels, refusals.
    already_done
        The latest run there had the same models, input and versions: nothing was computed.
    """

    path: Path
    run_id: str
    summary: Mapping[str, Any] = field(repr=False)
    already_done: bool


def predict_rows(
    run_folder: str | Path,
    data: str | Mapping[str, Any],
    output: str | Path,
    *,
    cluster: ClusterSpec | None = None,
    client: Client | None = None,
    listener: RunListener | None = None,
    force: bool = False,
    trust_modules: Sequence[str] = (),
) -> PredictResult:
    """Label the rows of Parquet files with the models of a run: what `ssl-dask predict` does.

    Columns are those of the job, labels and truth left out. Each row gets what the run would have
    given it had it no label: features by the run's scales and weights, its calibration, its
    `decision` (but no review list), written as its `labels`, the source being `model`.

    Parameters
    ----------
    run_folder
        Folder of the run, or the output folder for its latest run.
    data
        File, folder, glob or URL of the new rows; or path, format, version and snapshot, as in a
        job's `input`. A format that is left out is that of the run's input.
    output
        Where the result goes: an output folder of its own, not the job's.
    cluster
        Where to run; default: the job's cluster part.
    client
        Run on this client's cluster instead.
    listener
        Told what happens; default: silence.
    force
        Run although the latest run there has the same models, input and versions.
    trust_modules
        Modules whose classes the models may hold: importing them runs their code.

    Raises
    ------
    SslDaskError
        Its class says the kind; earlier runs in `output` are untouched. `QualityError`: the rows
        are of another kind than the run's, and the job says `on_drift: error`.

    Notes
    -----
    Rows are read twice, to be checked and to be labelled, their categories once more. A worker
    holds the models, and for a task a block as in `run_job`; the scheduler holds the models too,
    for workers that are lost.
    """
    clock = RunClock(listener or Silent())
    with errors_with_place(clock):
        models = read_models(CommittedRun.load(run_folder), trust_modules)
        for note in models.notes:
            clock.warn(note)
        keys = {"path": data} if isinstance(data, str) else data
        told = {key: value for key, value in keys.items() if value is not None}
        given = {"format": models.job.input.format, **told}
        files = checked_part(InputFiles, given, "the new rows")
        return _predict(models, files, output, clock, client, cluster=cluster, force=force)


def prediction_rows(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what the command prints: (name, value) pairs."""
    decision, rows = summary["decision"], summary["rows"]
    counts = zip(summary["classes"], decision["labels"], strict=True)
    reasons = ", ".join(f"{name}: {n:,}" for name, n in decision["reasons"].items())
    return [
        ("rows", f"{rows:,}"),
        *([("input table", summary["table"])] if "table" in summary else []),
        ("labelled", f"{rows - decision['n_abstained']:,}"),
        ("of each class", ", ".join(f"{name}: {n:,}" for name, n in counts)),
        *([("abstained", reasons)] if decision["n_abstained"] else []),
        *(("warning", text) for text in summary["warnings"]),
        ("models", summary["models"]),
    ]


def _predict(
    models: StoredModels,
    files: InputFiles,
    output: str | Path,
    clock: RunClock,
    client: Client | None,
    *,
    cluster: ClusterSpec | None,
    force: bool,
) -> PredictResult:
    job = models.job
    dataset = Dataset.open(files, base=Path.cwd())
    needs = ColumnNeeds(
        id=job.input.id, **feature_needs(job.features), keep=job.output.columns, empty_allowed=True
    )
    problems = check_columns(dataset, needs)
    if problems:
        raise InputDataError(problems)
    wanted = fingerprint(
        {
            "input files": [dataset.identity(), dataset.modified()],
            "models": dict(models.digests),
            "versions": versions(),
        }
    )
    # The run's own output is an input here: nothing may be written over it.
    _refuse_own_output(Path(output), models.run.root)
    inputs = [*dataset.local_paths, models.run.root]
    with OutputFolder.open(output, inputs=inputs, keep_runs=job.output.keep_runs) as folder:
        done = None if force else run_done_already(folder, wanted)
        if done is not None:
            summary = json.loads((done.path / PREDICTION).read_text(encoding="utf-8"))
            return PredictResult(done.path, done.run_id, summary, already_done=True)
        clock.begin(folder.run_id)
        place = cluster or job.cluster
        with job_execution(place, dataset, client, folder.stage, clock) as execution:
            return _label(models, dataset, needs, folder, wanted, execution, clock)


def _refuse_own_output(output: Path, root: Path) -> None:
    if not output.resolve().is_relative_to(root.resolve()):
        return
    raise JobSpecError(
        "the output is the one of the run whose models are used, or inside it",
        file=str(output),
        hint="give another folder as --output",
    )


def _label(
    models: StoredModels,
    dataset: Dataset,
    needs: ColumnNeeds,
    folder: OutputFolder,
    wanted: Fingerprint,
    execution: Execution,
    clock: RunClock,
) -> PredictResult:
    """Check all rows, label and write them, commit."""
    clock.stage("read")
    block_rows, offsets = models.job.input.block_rows, models.offsets
    reader, scan = scan_dataset(dataset, needs, block_rows, execution, offsets=offsets)
    typed = ColumnReader(read_in_types(dataset, models.column_types), reader.layout, offsets)
    unknown, blank = models.look_at_categories(typed, execution)
    notes = [*unknown, *dataset.notes, *scan.notes]
    warnings = [*models.notes, *cautions(notes)]
    for note in notes:
        if note in warnings:
            clock.warn(note)
        else:
            clock.event("input_note", message=note)
    clock.stage("decision")
    views = models.views(typed)
    F = models.distributions(views, execution, blank)
    counts = [view.counts for view in views.values() if view.counts]
    task = _block_task(models, reader, folder)
    ranked = None
    if (code := ranked_class(models.job, task.labels)) is not None:
        column = models.job.input.id
        tags = None if column is None else row_tags(reader, column)
        ranked = rank_rows(F, None, tags, task.labels, task.rule, code, execution)
    results = write_blocks(task, F, execution, *[None] * 4, ranked, *counts)
    drift = _drift(models, results)
    for warning in () if drift is None else drift.warnings:
        clock.warn(warning)
        warnings.append(warning)
    clock.stage("commit")
    figures = None if drift is None else drift.figures
    summary = _summary(models, dataset, results) | {"drift": figures, "warnings": warnings}
    run = folder.commit(
        [result.part for result in results],
        {PREDICTION: to_json(summary)},
        expected_rows=dataset.n_rows,
        fingerprint=wanted,
        versions={**versions(), **table_versions({"input table": dataset})},
        warnings=warnings,
    )
    clock.event(
        "run_done", run=run.run_id, path=str(run.path), rows=dataset.n_rows, warnings=warnings
    )
    return PredictResult(run.path, run.run_id, summary, already_done=False)


def _drift(models: StoredModels, results: Sequence[ClassResult]) -> Drift | None:
    score = add_all([result.score for result in results])
    by_group = zip(*(result.counts for result in results), strict=True)
    counts = dict(zip(models.profiles, map(add_all, by_group), strict=True))
    return models.drift(counts, score.labels, score.n_abstained)


def _block_task(models: StoredModels, reader: ColumnReader, folder: OutputFolder) -> ClassBlocks:
    job = models.job
    nowhere = np.zeros(0, dtype=np.int64)
    labels = Labels(reader.layout.n_rows, nowhere, np.zeros(0, dtype=np.int32), models.classes_)
    return ClassBlocks(
        **carried_fields(job),
        reader=reader,
        stage=folder.stage,
        run_id=folder.run_id,
        schema=class_schema(reader.dataset.schema, job, models.classes_, models.label_type),
        labels=labels,
        rule=DecisionRule(models.calibration, job.decision, source="model"),
        truth=None,
        sampled=nowhere,
    )


def _summary(
    models: StoredModels, dataset: Dataset, results: Sequence[ClassResult]
) -> dict[str, Any]:
    decision = DecisionSummary.from_score(
        add_all([result.score for result in results]),
        min_probability=models.job.decision.min_probability,
        review_rows=0,
    )
    return {
        "job": models.job.name,
        "models": models.run.run_id,
        "input": dataset.path,
        **({"table": dataset.table_version} if dataset.table_version else {}),
        "rows": dataset.n_rows,
        "classes": [str(value) for value in models.classes_.tolist()],
        "decision": decision.model_dump(mode="json"),
    }
