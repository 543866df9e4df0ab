"""`run_job`: the six steps in their order, from a resolved job to a committed run."""

from __future__ import annotations

import multiprocessing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from distributed import Client

from ssl_dask.cluster import versions
from ssl_dask.console import RunClock, RunListener, Silent
from ssl_dask.errors import InputDataError
from ssl_dask.execution import Execution
from ssl_dask.features.describe import describe
from ssl_dask.job_file import load_job, resolve_job
from ssl_dask.job_spec import JobSpec
from ssl_dask.pipeline.commands.lifecycle import errors_with_place, job_execution, run_done_already
from ssl_dask.pipeline.commands.saved_runs import REPORT_HTML, REPORT_JSON
from ssl_dask.pipeline.inputs.job_inputs import Inputs, read_inputs
from ssl_dask.pipeline.inputs.run_context import RunContext
from ssl_dask.pipeline.models.model_types import check_models
from ssl_dask.pipeline.targets.class_report import class_rows
from ssl_dask.pipeline.targets.classes import CLASSES
from ssl_dask.pipeline.targets.number_report import number_rows
from ssl_dask.pipeline.targets.numbers import NUMBERS
from ssl_dask.pipeline.targets.steps import Target, label_rows
from ssl_dask.report.pages import AnyReport, read_report, render_report
from ssl_dask.report.run_report import RunReport
from ssl_dask.storage.runs.checkpoint import Checkpoints
from ssl_dask.storage.runs.manifest import Fingerprint, fingerprint
from ssl_dask.storage.runs.run_folder import OutputFolder

TARGETS: dict[str, Target[Any, Any]] = {"classes": CLASSES, "numbers": NUMBERS}


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
    report: AnyReport = field(repr=False)
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

    Raises
    ------
    SslDaskError
        Its class says the kind; its `run_place` (run id, stage) says where. The output's earlier
        runs are untouched.
    """
    _refuse_misuse(client, dashboard=dashboard)
    clock = RunClock(listener or Silent())
    with errors_with_place(clock):
        spec = _as_spec(job, overrides)
        check_models(spec, trust_modules)
        inputs = Inputs.open(spec)
        out, keep, paths = spec.output.path, spec.output.keep_runs, inputs.local_paths
        with OutputFolder.open(out, inputs=paths, keep_runs=keep, resume=resume) as output:
            wanted = _fingerprint(spec, inputs)
            if resume and not output.has_unfinished(wanted):
                inputs, wanted = _of_killed_run(spec, inputs, wanted, output)
            # A run that was killed under --force is newer than the one that is done.
            anew = force or (resume and output.has_unfinished(wanted))
            result = None if anew else _done_already(output, wanted)
            if result is None:
                _begin(output, wanted, clock, resume=resume)
                place = (spec.cluster, inputs.dataset, client, output.stage, clock)
                with job_execution(*place, dashboard=dashboard) as execution:
                    context = _read(spec, inputs, output, wanted, execution, clock, trust_modules)
                    result = _label(context, wanted)
            _tell_end(result, clock)
            return result


def _refuse_misuse(client: Client | None, *, dashboard: bool) -> None:
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        # A worker process that is being started runs the script that started it once more.
        raise RuntimeError(
            "run_job starts worker processes: in a script put its call under"
            ' `if __name__ == "__main__":`'
        )
    if dashboard and client is not None:
        raise ValueError("dashboard goes with a cluster of this process; a client brings its own")


def _as_spec(job: JobSpec | Mapping[str, Any] | str | Path, overrides: Sequence[str]) -> JobSpec:
    if isinstance(job, str | Path):
        return load_job(job, overrides)
    if overrides:
        raise ValueError("overrides go with a job file")
    return job if isinstance(job, JobSpec) else resolve_job(job)


def _fingerprint(spec: JobSpec, inputs: Inputs) -> Fingerprint:
    """Return what the answer depends on, key by key: a mismatch then names the key."""
    fields: dict[str, Any] = {"input files": inputs.identity()}
    for group, value in [*spec.fingerprint_fields().items(), ("versions", versions())]:
        if isinstance(value, dict):
            fields |= {f"{group}.{key}": inner for key, inner in value.items()}
        else:
            fields[group] = value
    if spec.input.id is not None:
        # Earlier versions went by row numbers.
        fields["order of rows"] = "by the tags of their ids"
    return fingerprint(fields)


def _of_killed_run(
    spec: JobSpec, inputs: Inputs, wanted: Fingerprint, output: OutputFolder
) -> tuple[Inputs, Fingerprint]:
    """Return the inputs that a killed run of the job read, where tables have gone on since."""
    for pins in output.unfinished_tables():
        if not any(pin is not None for pin in pins):
            continue
        try:
            before = Inputs.open(spec.with_tables(pins))
        except InputDataError:
            # Its files are gone, or it is of another job: `resumable` says what differs.
            continue
        if output.has_unfinished(found := _fingerprint(spec, before)):
            return before, found
    return inputs, wanted


def _done_already(output: OutputFolder, wanted: Fingerprint) -> RunResult | None:
    done = run_done_already(output, wanted)
    if done is None:
        return None
    report = read_report((done.path / REPORT_JSON).read_text(encoding="utf-8"))
    return RunResult(done.path, done.run_id, report, already_done=True)


def _begin(output: OutputFolder, wanted: Fingerprint, clock: RunClock, *, resume: bool) -> None:
    """Tell that the run begins; to resume, adopt the checkpoints of a killed run of the job."""
    if resume:
        dead = output.resumable(wanted)
        if dead is None:
            told = "no checkpoints of a killed run: from the start"
            clock.event("nothing_to_resume", message=told)
        else:
            output.adopt(dead)
            clock.event("resumes", run=dead)
    clock.begin(output.run_id)
    for note in output.notes:
        clock.event("output_note", message=note)


def _read(
    spec: JobSpec,
    inputs: Inputs,
    output: OutputFolder,
    wanted: Fingerprint,
    execution: Execution,
    clock: RunClock,
    trust_modules: Sequence[str],
) -> RunContext:
    """Read the rows and describe them."""
    clock.stage("read")
    data = read_inputs(spec, inputs, execution)
    for note in data.notes:
        clock.event("input_note", message=note)
    clock.stage("features")
    views = describe(data.reader, spec.features, execution)
    checkpoints = Checkpoints(
        output.checkpoints,
        wanted,
        report=clock.warn,
        execution=execution,
        tables=inputs.table_pins,
    )
    return RunContext(
        spec, inputs, data, views, execution, output, checkpoints, clock, tuple(trust_modules)
    )


def _label(run: RunContext, wanted: Fingerprint) -> RunResult:
    """Infer, judge, decide, write the parts and the report, and commit the run."""
    clock, output = run.clock, run.output
    finished = label_rows(run, TARGETS[run.spec.target])
    report = finished.report
    for warning in report.warnings:
        clock.event("quality_warning", level="warning", message=warning)
    files = {REPORT_JSON: report.to_json().encode(), REPORT_HTML: render_report(report).encode()}
    clock.stage("commit")
    known = len(output.notes)
    committed = output.commit(
        finished.parts,
        files,
        expected_rows=run.data.layout.n_rows,
        fingerprint=wanted,
        versions={**versions(), **run.inputs.table_versions},
        warnings=report.warnings,
    )
    for note in output.notes[known:]:
        clock.event("output_note", message=note)
    return RunResult(committed.path, committed.run_id, report, already_done=False)


def _tell_end(result: RunResult, clock: RunClock) -> None:
    """Say in one last line what a scheduler must know of a run that succeeded."""
    report = result.report
    clock.event(
        "run_done",
        run=result.run_id,
        path=str(result.path),
        already_done=result.already_done,
        rows=report.output.rows,
        labelled=report.output.rows - report.n_without_label,
        method=report.method.name,
        asked_for=report.method.asked_for or report.method.name,
        published=report.method.name,
        warnings=list(report.warnings),
    )


def summary_rows(result: RunResult) -> list[tuple[str, str]]:
    """Return what the command prints about a finished run: (name, value) pairs."""
    report = result.report
    rows = class_rows(report) if isinstance(report, RunReport) else number_rows(report)
    if report.contest is not None and not report.contest.asked_for.published:
        rows.insert(
            0,
            (
                "published",
                f"{report.contest.published.title}, not {report.contest.asked_for.title}",
            ),
        )
    return [
        ("rows", f"{report.output.rows:,}"),
        *rows,
        *(("warning", text) for text in report.warnings),
        ("time", f"{report.seconds:.1f} s"),
        ("labels", str(result.path / "labels")),
        ("report", str(result.path / REPORT_HTML)),
    ]
