"""`run_job`: the six steps in their order, from a resolved job to a committed run."""

from __future__ import annotations

import multiprocessing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from dask import delayed
from distributed import Client

from ssl_dask.cluster import versions
from ssl_dask.console import RunListener, Silent
from ssl_dask.decision.calibration import fit_calibration
from ssl_dask.decision.review_queue import ReviewQueue, merge_review
from ssl_dask.evaluation.block_scores import merge_scores
from ssl_dask.execution import Execution
from ssl_dask.features.views import FeatureView, describe, join
from ssl_dask.hidden_seeds import HiddenSeeds, hide_seeds
from ssl_dask.job_spec import JobSpec, load_job, resolve_job
from ssl_dask.pipeline.block_output import BlockOutput, BlockResult, write_block
from ssl_dask.pipeline.feature_inference import (
    infer_corrected,
    infer_on_anchors,
    infer_on_propagated_features,
)
from ssl_dask.pipeline.inference import (
    Inferred,
    build_graph,
    infer_on_graph,
    infer_supervised,
)
from ssl_dask.pipeline.inputs import Inputs, ReadData, read_inputs, result_schema
from ssl_dask.pipeline.job_client import check_shared_folder, job_client
from ssl_dask.pipeline.judging import Judged, judge, warn_of_classes_gone
from ssl_dask.pipeline.reporting import build_report
from ssl_dask.pipeline.row_joins import rows_of_groups
from ssl_dask.pipeline.row_picks import RowPicks, pick
from ssl_dask.pipeline.run_clock import RunClock
from ssl_dask.pipeline.self_labeled_run import group_weights, infer_self_labeled
from ssl_dask.propagation import METHODS
from ssl_dask.report.charts import picture_rows
from ssl_dask.report.html_page import render_page
from ssl_dask.report.run_report import RunReport
from ssl_dask.self_labeled import METHODS as SELF_LABELED
from ssl_dask.self_labeled.learners import check_learners
from ssl_dask.storage.checkpoint import Checkpoints
from ssl_dask.storage.label_parts import ReviewColumns, write_review_part
from ssl_dask.storage.manifest import Fingerprint, PartRecord, fingerprint
from ssl_dask.storage.row_lookup import fetch_rows
from ssl_dask.storage.run_folder import OutputFolder

REPORT_JSON, REPORT_HTML = "report.json", "report.html"


@dataclass(frozen=True)
class RunResult:
    """A finished run.

    Parameters
    ----------
    path
        Its folder, which `OUT/latest` points to.
    run_id
        Its name.
    report
        Everything the page says.
    already_done
        The latest run had the same job, input and versions and is intact: nothing was computed.
    """

    path: Path
    run_id: str
    report: RunReport = field(repr=False)
    already_done: bool


def run_job(
    job: JobSpec | Mapping[str, Any] | str | Path,
    *,
    overrides: Sequence[str] = (),
    client: Client | None = None,
    listener: RunListener | None = None,
    resume: bool = False,
    force: bool = False,
    dashboard: bool = False,
    trust_modules: Sequence[str] = (),
) -> RunResult:
    """Run a job: what `ssl-dask run` does.

    Parameters
    ----------
    job
        A job file's path, its content as plain data, or a `JobSpec`.
    overrides
        `key.path=value`, as `--set`; only with a job file.
    client
        Run on this client's cluster, whatever the job says of its cluster.
    listener
        Told what happens; default: silence.
    resume
        Go on from the checkpoints of a run that was killed.
    force
        Run although the latest run has the same job, input and versions.
    dashboard
        Serve Dask's dashboard on loopback, with a local cluster.
    trust_modules
        Modules whose classes the job may name as learners: importing them runs their code.

    Returns
    -------
    RunResult

    Raises
    ------
    SslDaskError
        By kind, see `ssl_dask.errors`; the attributes `run_id` and `stage` say where. The output's
        earlier runs are untouched.
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        # A worker process that is being started runs the script that started it once more.
        raise RuntimeError(
            "run_job starts worker processes: in a script put its call under"
            ' `if __name__ == "__main__":`'
        )
    if dashboard and client is not None:
        raise ValueError("dashboard goes with a cluster of this process; a client brings its own")
    clock = RunClock(listener or Silent())
    try:
        spec = _as_spec(job, overrides)
        check_learners(spec.method, trust_modules)
        return _run(
            spec,
            clock,
            client,
            resume=resume,
            force=force,
            dashboard=dashboard,
            trust_modules=trust_modules,
        )
    except BaseException as error:
        # The command line's last words name the run and the stage, also after a signal.
        error.run_place = (clock.run_id, clock.name)  # type: ignore[attr-defined]
        raise


def _as_spec(job: JobSpec | Mapping[str, Any] | str | Path, overrides: Sequence[str]) -> JobSpec:
    if isinstance(job, str | Path):
        return load_job(job, overrides)
    if overrides:
        raise ValueError("overrides go with a job file")
    return job if isinstance(job, JobSpec) else resolve_job(job)


def _run(
    spec: JobSpec,
    clock: RunClock,
    client: Client | None,
    *,
    resume: bool,
    force: bool,
    dashboard: bool,
    trust_modules: Sequence[str],
) -> RunResult:
    inputs = Inputs.open(spec)
    with OutputFolder.open(
        spec.output.path,
        inputs=inputs.local_paths,
        keep_runs=spec.output.keep_runs,
        resume=resume,
    ) as output:
        mark = _fingerprint(spec, inputs)
        done = None if force else _already_done(output, mark)
        if done is not None:
            _tell_end(done, clock)
            return done
        _adopt(output, mark, clock, resume=resume)
        clock.begin(output.run_id)
        for note in output.notes:
            clock.event("output_note", message=note)
        with job_client(spec, client, dashboard, clock) as opened:
            execution = Execution(opened, progress=clock.progress)
            check_shared_folder(opened, output.stage)
            return _six_steps(spec, inputs, output, mark, execution, clock, trust_modules)


def _fingerprint(spec: JobSpec, inputs: Inputs) -> Fingerprint:
    """Return what the answer depends on, key by key: a mismatch then names the key."""
    fields: dict[str, Any] = {"input files": inputs.identity()}
    for group, value in [*spec.fingerprint_fields().items(), ("versions", versions())]:
        if isinstance(value, dict):
            fields |= {f"{group}.{key}": inner for key, inner in value.items()}
        else:
            fields[group] = value
    return fingerprint(fields)


def _already_done(output: OutputFolder, mark: Fingerprint) -> RunResult | None:
    latest = output.latest()
    if latest is None or latest.fingerprint != mark or latest.verify():
        return None
    report = RunReport.from_json((latest.path / REPORT_JSON).read_text(encoding="utf-8"))
    return RunResult(latest.path, latest.run_id, report, already_done=True)


def _adopt(output: OutputFolder, mark: Fingerprint, clock: RunClock, *, resume: bool) -> None:
    if not resume:
        return
    dead = output.resumable(mark)
    if dead is None:
        clock.event("nothing_to_resume", message="no checkpoints of a killed run: from the start")
    else:
        output.adopt(dead)
        clock.event("resumes", run=dead)


def _six_steps(
    spec: JobSpec,
    inputs: Inputs,
    output: OutputFolder,
    mark: Fingerprint,
    execution: Execution,
    clock: RunClock,
    trust_modules: Sequence[str],
) -> RunResult:
    clock.stage("read")
    data = read_inputs(spec, inputs, execution)
    for note in data.notes:
        clock.event("input_note", message=note)
    labels = data.labels
    folds = hide_seeds(labels, spec.evaluation.folds, spec.evaluation.random_state)

    clock.stage("features")
    views = describe(data.reader, spec.features, execution)
    checkpoints = Checkpoints(output.checkpoints, mark, report=clock.warn, execution=execution)
    if spec.method.name in SELF_LABELED:
        inferred, picks = infer_self_labeled(
            spec, views, labels, folds, trust_modules, execution, checkpoints, clock
        )
    else:
        inferred, picks = _infer(spec, views, data, inputs, folds, execution, checkpoints, clock)

    clock.stage("evaluation")
    judged = judge(spec, labels, folds, inferred.hidden_F, picks.seeds)
    calibration = fit_calibration(
        inferred.hidden_F[folds.fold >= 0],
        labels.codes[folds.fold >= 0],
        folds.fold[folds.fold >= 0],
    )

    clock.stage("decision")
    labelled_by = (inferred.answered_by or spec.method).model_dump()["name"]
    block_output = BlockOutput(
        reader=data.reader,
        columns=data.carried,
        row_numbers=data.row_numbers,
        stage=output.stage,
        run_id=output.run_id,
        schema=result_schema(spec, inputs, data),
        labels=labels,
        calibration=calibration,
        decision=spec.decision,
        source=inferred.source,
        no_evidence="dummy_label" if labelled_by == "modified_adsorption" else "low_mass",
        islands=inferred.islands,
        truth=spec.input.truth,
        sampled=picks.sampled,
    )
    results = _write_blocks(block_output, inferred, judged, picks, data, execution)
    counted = merge_scores(result.score for result in results).labels
    gone = warn_of_classes_gone(spec, labels, folds, inferred.hidden_F, counted)
    inferred = replace(inferred, warnings=(*inferred.warnings, *gone))
    review = _review(spec, results)
    parts = [result.part for result in results]
    if review is not None and len(review):
        parts.append(_write_review(review, block_output, data, execution))

    clock.stage("report")
    report = build_report(
        spec=spec,
        run_id=output.run_id,
        started=clock.started,
        seconds=clock.total(),
        stages=clock.seconds(),
        versions=versions(),
        inputs=inputs,
        data=data,
        views=views,
        inferred=inferred,
        folds=folds,
        calibration=calibration,
        judged=judged,
        results=results,
        picks=picks,
        review_rows=0 if review is None else len(review),
        path=output.root / "runs" / output.run_id,
    )
    for warning in report.warnings:
        clock.event("quality_warning", level="warning", message=warning)
    files = {
        REPORT_JSON: report.to_json().encode(),
        REPORT_HTML: render_page(report).encode(),
    }

    clock.stage("commit")
    known = len(output.notes)
    run = output.commit(
        parts,
        files,
        expected_rows=data.layout.n_rows,
        fingerprint=mark,
        versions=versions(),
        warnings=report.warnings,
    )
    for note in output.notes[known:]:
        clock.event("output_note", message=note)
    result = RunResult(run.path, run.run_id, report, already_done=False)
    _tell_end(result, clock)
    return result


def _tell_end(result: RunResult, clock: RunClock) -> None:
    """Say in one last line what a scheduler must know of a run that succeeded."""
    report = result.report
    clock.event(
        "run_done",
        level="warning" if report.warnings else "info",
        run=result.run_id,
        path=str(result.path),
        already_done=result.already_done,
        rows=report.output.rows,
        labelled=report.output.rows - report.decision.n_abstained,
        method=report.method.name,
        asked_for=report.method.asked_for,
        warnings=list(report.warnings),
    )


def _infer(
    spec: JobSpec,
    views: Mapping[str, FeatureView],
    data: ReadData,
    inputs: Inputs,
    folds: HiddenSeeds,
    execution: Execution,
    checkpoints: Checkpoints,
    clock: RunClock,
) -> tuple[Inferred, RowPicks]:
    """Run the job's method; without a graph rows are not kept, only read when needed."""
    labels = data.labels
    view = join(views, group_weights(spec))
    sampled = picture_rows(labels.n_rows, labels.rows, random_state=spec.evaluation.random_state)
    if spec.method.name == "supervised":
        clock.stage("supervised")
        picks = pick(view.X, labels, sampled, execution)
        return infer_supervised(spec.method, view.X, picks.seeds, labels, folds), picks
    X = view.persist(execution, "describe").X
    if spec.method.name == "anchor_graph":
        clock.stage("propagation")
        picks = pick(X, labels, sampled, execution)
        inferred = infer_on_anchors(spec.method, X, labels, folds, execution)
        return inferred, picks.with_features(X)
    clock.stage("graph")
    picks = pick(X, labels, sampled, execution)
    assert spec.graph is not None
    # Methods that look at features are not among those that need a graph alone.
    method = METHODS.get(spec.method.name)
    graph = build_graph(
        spec.graph,
        X,
        data.reader,
        spec.input.id,
        inputs.edge_files,
        inputs.stored_graph,
        execution,
        checkpoints,
        clock,
        more_weights=method.more_weights if method is not None else (),
        rows_of=rows_of_groups(views, spec.features, execution),
        labels=labels,
    )
    if spec.method.name == "correct_and_smooth":
        clock.stage("propagation")
        corrected = infer_corrected(
            spec.method, graph, X, picks.seeds, labels, folds, execution, clock
        )
        return corrected, picks.with_features(X)
    if spec.method.name == "propagated_features":
        clock.stage("propagation")
        carried = infer_on_propagated_features(spec.method, graph, X, labels, folds, execution)
        return carried, picks.with_features(X)
    inferred = infer_on_graph(
        spec,
        graph,
        X,
        picks.seeds,
        labels,
        folds,
        data.layout.row_chunks,
        execution,
        checkpoints,
        clock,
    )
    return inferred, picks.with_features(X)


def _write_blocks(
    output: BlockOutput,
    inferred: Inferred,
    judged: Judged,
    picks: RowPicks,
    data: ReadData,
    execution: Execution,
) -> list[BlockResult]:
    F = inferred.F.to_delayed().ravel()
    n_blocks = len(F)
    has_seed = inferred.has_seed or [None] * n_blocks
    baseline_F: Sequence[Any] = [None] * n_blocks
    if output.truth is not None and judged.baseline is not None and picks.X is not None:
        baseline_F = judged.score_rows(picks.X).to_delayed().ravel()
    shared = delayed(output, pure=False, traverse=False)
    write = delayed(write_block, pure=False)
    starts = data.layout.starts
    tasks = [
        write(shared, block, int(starts[block]), F[block], has_seed[block], baseline_F[block])
        for block in range(n_blocks)
    ]
    return execution.compute(tasks, "write")


def _review(spec: JobSpec, results: Sequence[BlockResult]) -> ReviewQueue | None:
    budget = spec.decision.review_budget
    if budget is None:
        return None
    return merge_review([one.review for one in results if one.review is not None], budget)


def _write_review(
    review: ReviewQueue, output: BlockOutput, data: ReadData, execution: Execution
) -> PartRecord:
    table = fetch_rows(
        data.reader,
        review.row,
        () if output.row_numbers else output.columns[:1],
        execution,
        row_numbers=output.row_numbers,
    )
    columns = ReviewColumns(
        rows=review.row,
        codes=review.label,
        probability=review.probability,
        margin=review.margin,
        rank=np.arange(1, len(review) + 1, dtype=np.int64),
    )
    return write_review_part(output.stage, output.run_id, 0, table, columns, output.schema)
