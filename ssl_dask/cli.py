"""The command line: `ssl-dask init | validate | plan | run | predict | graph | report | ...`.

Stdout carries only results; everything else goes to stderr. `process_end` has the exit codes.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.table import Table

from ssl_dask.errors import JobSpecError
from ssl_dask.process_end import exit_code
from ssl_dask.version import __version__

app = typer.Typer(
    name="ssl-dask",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help=(
        "Label data that does not fit one machine from a few hundred labels, on Dask. Parquet in,"
        " Parquet out: for each row a label or an honest abstention, a calibrated probability,"
        " and a report that says how good the labels are."
    ),
    epilog=(
        "Exit codes: 0 done, 2 job file or usage, 3 bad input data, 4 resume does not match,"
        " 5 compute failed, 6 storage, 7 commit state unknown, 8 quality gate, 70 defect,"
        " 75 another run holds the output, 129/130/143 signals."
    ),
)


def _on_disk(parameter: typer.CallbackParam, path: Path | None) -> Path | None:
    """Refuse a URL where only a path of this machine will do."""
    from ssl_dask.storage.runs.output_path import refuse_url

    if path is not None:
        refuse_url(path, str(parameter.name))
    return path


JobFile = Annotated[
    Path, typer.Argument(metavar="JOB.yaml", help="The job file.", show_default=False)
]
RunFolder = Annotated[
    Path,
    typer.Argument(
        metavar="RUN",
        help="A run's folder, or the output folder for its latest run.",
        callback=_on_disk,
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Override a key of the job, such as method.alpha=0.99. May be given again. Relative"
        " paths start from the job file's folder.",
    ),
]
Cluster = Annotated[
    str | None,
    typer.Option(
        "--cluster",
        metavar="SPEC",
        help="Where to run: 'local', 'local:WORKERS', or the address of a scheduler,"
        " tcp://host:port or tls://host:port. Default: the job's cluster part.",
    ),
]
JsonLogs = Annotated[
    bool, typer.Option("--json-logs", help="One JSON object a line on stderr, also on a terminal.")
]
TrustModules = Annotated[
    list[str] | None,
    typer.Option(
        "--trust-module",
        metavar="MODULE",
        help="Let method.learner name a class of this module by its path: importing it runs its"
        " code. May be given again.",
    ),
]


def _version(value: bool) -> None:
    if value:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


@app.command()
def init(
    data: Annotated[str, typer.Argument(metavar="DATA", help="Parquet file, folder, glob or URL.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Write here; default: to stdout.", callback=_on_disk),
    ] = None,
    labels: Annotated[
        str | None,
        typer.Option(
            "--labels", metavar="FILE", help="Labels kept elsewhere: CSV, TSV, JSON or Parquet."
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")] = False,
) -> None:
    """Write a commented job file from the columns that are found."""
    from ssl_dask.pipeline.commands.draft import draft_job, write_draft

    target = output.resolve().parent if output else Path.cwd()
    text = draft_job(data, relative_to=target, labels=labels)
    if output is None:
        typer.echo(text, nl=False)
        return
    write_draft(text, output, force=force)
    typer.echo(output)


@app.command()
def validate(
    job: JobFile,
    overrides: Overrides = None,
    schema_only: Annotated[
        bool,
        typer.Option(
            "--schema-only", help="Read the files' footers only, not the rows: quick on any size."
        ),
    ] = False,
    trust_modules: TrustModules = None,
) -> None:
    """List every mistake in the job and its input; compute nothing, write nothing."""
    from ssl_dask.job_file import read_job
    from ssl_dask.pipeline.commands.validate import validate_job

    spec, mistakes = read_job(job, overrides or ())
    summary = validate_job(
        spec, mistakes=mistakes, schema_only=schema_only, trust_modules=trust_modules or ()
    )
    _print_table(f"{job}: no mistakes found", summary)


@app.command()
def plan(job: JobFile, overrides: Overrides = None, trust_modules: TrustModules = None) -> None:
    """Print rows, blocks, tasks, bytes moved, memory and expected time; compute nothing."""
    from ssl_dask.job_file import load_job
    from ssl_dask.pipeline.commands.plan import plan_job

    spec = load_job(job, overrides or ())
    _print_table(f"plan of {job}", plan_job(spec, trust_modules=trust_modules or ()))


@app.command()
def run(
    job: JobFile,
    overrides: Overrides = None,
    cluster: Cluster = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the checkpoints of a run that was killed.")
    ] = False,
    force: Annotated[
        bool,
        typer.Option(
            "--force", help="Run again although the same job on the same input is already done."
        ),
    ] = False,
    dashboard: Annotated[
        bool, typer.Option("--dashboard", help="Serve Dask's dashboard on loopback.")
    ] = False,
    trust_modules: TrustModules = None,
    json_logs: JsonLogs = False,
) -> None:
    """Label the rows, and write Parquet and a report."""
    from ssl_dask.job_file import load_job

    with _last_words_as_json(json_logs):
        place = _cluster_keys(cluster) if cluster is not None else {}
        settings = [*(overrides or ()), *(f"cluster.{key}={value}" for key, value in place.items())]
        if cluster is not None:
            # The place to run is replaced as a whole, so that keys of another kind do not clash.
            settings.insert(0, "cluster={}")
        _run(
            load_job(job, settings),
            resume=resume,
            force=force,
            dashboard=dashboard,
            json_logs=json_logs,
            trust_modules=trust_modules or (),
        )


@app.command()
def predict(
    run_folder: RunFolder,
    data: Annotated[
        str, typer.Argument(metavar="INPUT", help="File, folder, glob, URL or table of new rows.")
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            metavar="FOLDER",
            help="Folder for the result, not the job's own.",
            callback=_on_disk,
        ),
    ],
    format: Annotated[
        str | None,
        typer.Option(help="parquet, delta or iceberg; left out: that of the run's input."),
    ] = None,
    version: Annotated[
        int | None, typer.Option(help="Version of a Delta table; left out: the latest.")
    ] = None,
    snapshot: Annotated[
        str | None,
        typer.Option(help="Snapshot of an Iceberg table, branch or tag; left out: the current."),
    ] = None,
    cluster: Cluster = None,
    force: Annotated[
        bool, typer.Option("--force", help="Label again although it is already done.")
    ] = False,
    trust_modules: TrustModules = None,
    json_logs: JsonLogs = False,
) -> None:
    """Label new rows with the models that a run has kept (output.models: true)."""
    from ssl_dask.cluster_spec import ClusterSpec
    from ssl_dask.console import make_listener
    from ssl_dask.job_file import checked_part
    from ssl_dask.pipeline.commands.predict import predict_rows, prediction_rows

    with _last_words_as_json(json_logs):
        place = None
        if cluster is not None:
            place = checked_part(ClusterSpec, _cluster_keys(cluster), "--cluster")
        keys = {"format": format, "version": version, "snapshot": snapshot}
        with make_listener(json_logs=json_logs) as listener:
            result = predict_rows(
                run_folder,
                {"path": data, **keys},
                output.absolute(),
                cluster=place,
                listener=listener,
                force=force,
                trust_modules=trust_modules or (),
            )
        typer.echo(result.path)
        title = "already done, nothing computed" if result.already_done else result.summary["job"]
        _print_table(title, prediction_rows(result.summary))


@app.command()
def graph(
    job: JobFile,
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            metavar="FOLDER",
            help="Folder to keep the graph in.",
            callback=_on_disk,
        ),
    ],
    overrides: Overrides = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace the graph that is already there.")
    ] = False,
    json_logs: JsonLogs = False,
) -> None:
    """Build the job's graph once and keep it, for jobs that say `graph: {path: FOLDER}`."""
    from ssl_dask.console import make_listener
    from ssl_dask.job_file import load_job
    from ssl_dask.pipeline.commands.store_graph import graph_rows, store_graph

    with _last_words_as_json(json_logs):
        spec = load_job(job, overrides or ())
        with make_listener(json_logs=json_logs) as listener:
            result = store_graph(spec, output, listener=listener, force=force)
        typer.echo(result.path)
        title = "already stored, nothing computed" if result.already_stored else spec.name
        _print_table(title, graph_rows(result.summary))


@app.command()
def report(
    run_folder: RunFolder,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="Write here; default: RUN/report.html.", callback=_on_disk
        ),
    ] = None,
) -> None:
    """Build the HTML page of a finished run again."""
    from ssl_dask.pipeline.commands.saved_runs import rebuild_report

    typer.echo(rebuild_report(run_folder, output))


@app.command()
def schema() -> None:
    """Print the JSON Schema of the job file, for editors."""
    from ssl_dask.job_file import job_schema

    typer.echo(json.dumps(job_schema(), indent=2))


@app.command()
def demo(
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for the result.", callback=_on_disk)
    ] = Path("ssl-dask-demo"),
    force: Annotated[
        bool, typer.Option("--force", help="Run again although it is already done.")
    ] = False,
    json_logs: JsonLogs = False,
) -> None:
    """Label 70,000 handwritten digits from 50 labels: real data that ships with the package."""
    from ssl_dask.job_file import load_job
    from ssl_dask.pipeline.commands.saved_runs import shipped_job

    with _last_words_as_json(json_logs):
        job = shipped_job("mnist")
        spec = load_job(job, [f"output.path={json.dumps(str(output.resolve()))}"])
        _run(spec, resume=False, force=force, dashboard=False, json_logs=json_logs)


def _run(
    spec: Any,
    *,
    resume: bool,
    force: bool,
    dashboard: bool,
    json_logs: bool,
    trust_modules: Sequence[str] = (),
) -> None:
    from ssl_dask.console import make_listener
    from ssl_dask.pipeline.commands.run import run_job, summary_rows

    with make_listener(json_logs=json_logs) as listener:
        result = run_job(
            spec,
            listener=listener,
            resume=resume,
            force=force,
            dashboard=dashboard,
            trust_modules=trust_modules,
        )
    typer.echo(result.path)
    title = "already done, nothing computed" if result.already_done else spec.name
    _print_table(title, summary_rows(result))


@contextmanager
def _last_words_as_json(json_logs: bool) -> Iterator[None]:
    """Where the log is JSON, let an error be told in JSON alone."""
    try:
        yield
    except BaseException as error:
        error.json_only = json_logs or not sys.stderr.isatty()  # type: ignore[attr-defined]
        raise


def _cluster_keys(text: str) -> dict[str, Any]:
    """Return the cluster part of a job that a text says."""
    if text.startswith(("tcp://", "tls://")):
        return {"kind": "address", "address": text}
    kind, _, workers = text.partition(":")
    if kind != "local" or (workers and not workers.isdigit()):
        raise JobSpecError(
            f"--cluster {text!r} is not known",
            hint="local, local:WORKERS, tcp://host:port or tls://host:port",
        )
    return {"kind": "local", **({"workers": int(workers)} if workers else {})}


def _print_table(title: str, rows: list[tuple[str, str]]) -> None:
    if not sys.stdout.isatty():
        # A file or a pipe has no width of its own: no line is folded, none filled with blanks.
        width = max(len(name) for name, _ in rows)
        typer.echo("\n".join([title, *(f"{name:<{width}}  {value}" for name, value in rows)]))
        return
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="dim", no_wrap=True)
    # Folded, not cut: a path that ends in dots is of no use.
    table.add_column(overflow="fold")
    for name, value in rows:
        table.add_row(name, value)
    console = Console(highlight=False, markup=False)
    console.print(title, style="bold", soft_wrap=True)
    console.print(table)


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line and end the process with the exit code of what happened."""
    sys.exit(exit_code(app, arguments))


if __name__ == "__main__":
    main()
