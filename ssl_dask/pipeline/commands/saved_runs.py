"""What is there already: finished runs, and the jobs that ship with the package."""

from __future__ import annotations

from pathlib import Path

from ssl_dask.durable_files import replace_file, storage_errors
from ssl_dask.errors import StorageError
from ssl_dask.report.pages import read_report, render_report
from ssl_dask.storage.runs.manifest import MANIFEST_NAME

REPORT_JSON, REPORT_HTML = "report.json", "report.html"
PREDICTION = "prediction.json"
"""What a run of predictions has in the place of a report."""


def rebuild_report(run: Path, output: Path | None = None) -> Path:
    """Build the HTML page of a finished run again, from its report.json.

    Parameters
    ----------
    run
        Folder of a run, or the output folder for its latest run.
    output
        Where the page goes; default: report.html beside report.json.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    StorageError
        There is no report, it is damaged, or the page cannot be written.
    """
    folder = run / "latest" if (run / "latest").exists() else run
    source = folder / REPORT_JSON
    try:
        report = read_report(source.read_text(encoding="utf-8"))
    except OSError as error:
        raise _no_report(folder, error) from None
    except ValueError:
        raise StorageError(
            "is not a report of this version of ssl_dask",
            file=str(source),
            hint="make the report with the version that made the run",
        ) from None
    target = output or folder / REPORT_HTML
    with storage_errors("write the report", target):
        replace_file(target, render_report(report).encode())
    return target


def _no_report(folder: Path, error: OSError) -> StorageError:
    """Return why the report in a folder cannot be read."""
    source = folder / REPORT_JSON
    if not isinstance(error, (FileNotFoundError, NotADirectoryError)):
        return StorageError(
            f"could not read the report: {error.strerror}",
            file=str(source),
            hint="make it readable for this user",
        )
    if (folder / PREDICTION).exists():
        return StorageError(
            "a folder of predictions has no report",
            file=str(folder),
            hint="name the run whose models made them",
        )
    if (folder / MANIFEST_NAME).exists():
        return StorageError(
            "the report of a finished run was removed",
            file=str(source),
            hint="bring it back from a copy, or run the job again with --force",
        )
    return StorageError(
        f"no finished run: {error.strerror}",
        file=str(source),
        hint="name a folder under OUT/runs, or OUT itself",
    )


def shipped_job(name: str) -> Path:
    """Return the file of a job that ships with the package.

    Raises
    ------
    StorageError
        It is not there.
    """
    package = Path(__file__).parents[2]
    # In an installed wheel the jobs lie in the package; in a checkout they stand beside it.
    for folder in (package / "shipped_jobs", package.parent / "jobs"):
        if (folder / f"{name}.yaml").is_file():
            return folder / f"{name}.yaml"
    raise StorageError(
        f"the job {name!r} does not ship with this installation",
        file=str(package),
        hint="install the package again, or run from a checkout",
    )
