"""What a finished run consists of, and the fingerprint by which two jobs are the same."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from dask import delayed

from ssl_dask.durable_files import (
    FileRecord,
    canonical_json,
    damage_of,
    seal,
    unseal,
    write_new,
)
from ssl_dask.errors import JobSpecError, Problem, StorageError
from ssl_dask.execution import Execution

MANIFEST_NAME = "manifest.json"
MANIFEST_FORMAT = "ssl_dask run"
MANIFEST_VERSION = 1
LABELS_FOLDER = "labels"
REVIEW_FOLDER = "review"
MODELS_FOLDER = "models"
PART_FOLDERS = (LABELS_FOLDER, REVIEW_FOLDER, MODELS_FOLDER)
RUN_ID = re.compile(r"\d{8}T\d{12}Z-[0-9a-f]{8}")
MAX_PARTS = 100_000


def new_run_id() -> str:
    """Return a name for a run: UTC time to the microsecond and 8 random hexadecimal digits.

    Names sort by time: `20260131T235959123456Z-0a1b2c3d`.
    """
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S%fZ}-{secrets.token_hex(4)}"


def part_name(block: int, run_id: str) -> str:
    """Return the name of part number `block` in a finished run.

    Raises
    ------
    JobSpecError
        There are more than 100,000 parts: five digits keep the names in the order of the rows.
    """
    if block >= MAX_PARTS:
        raise JobSpecError(
            f"the output would have more than {MAX_PARTS:,} parts", hint="raise input.block_rows"
        )
    return f"part-{block:05d}-{run_id}.parquet"


def attempt_path(stage: Path, folder: str, name: str) -> Path:
    """Return where one attempt of a task writes the part `name`: a path of its own.

    Raises
    ------
    StorageError
        The staging folder is not there.
    """
    path = stage / folder / f"{name}.{secrets.token_hex(8)}.attempt"
    if path.parent.is_dir():
        return path
    raise StorageError(
        "the staging folder is not there on this worker",
        file=str(path.parent),
        hint="output.path must be on a file system that the client and all workers share",
    )


@dataclass(frozen=True)
class PartRecord:
    """One written part, as the task that wrote it returns it."""

    folder: str
    """"labels" or "review" for Parquet, "models" for models and what they need."""
    block: int
    """Number of the part within its folder, from 0, in the order of the rows."""
    name: str
    """Its name in the finished run."""
    attempt: str
    """The name under which this attempt wrote it in the staging folder."""
    rows: int
    bytes: int
    """Rows in it (0 for models) and size of the file."""
    sha256: str
    """Hash of the file, 64 hexadecimal digits."""


@dataclass(frozen=True)
class Fingerprint:
    """Hashes of all that decides the answer of a run."""

    fields: Mapping[str, str]
    """Name of a field (such as config, input, code, versions) -> SHA-256 of its canonical JSON."""

    @property
    def total(self) -> str:
        """One hash over all fields, 64 hexadecimal digits."""
        return hashlib.sha256(canonical_json(dict(self.fields))).hexdigest()

    def differing_fields(self, other: Fingerprint) -> list[str]:
        """Return the names of the fields that differ or that only one of the two has, sorted."""
        names = sorted({*self.fields, *other.fields})
        return [name for name in names if self.fields.get(name) != other.fields.get(name)]

    def as_dict(self) -> dict[str, Any]:
        """Return the hashes as JSON types."""
        return {"total": self.total, "fields": dict(self.fields)}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Fingerprint:
        """Return the fingerprint that `as_dict` stored."""
        return cls({str(name): str(value) for name, value in stored["fields"].items()})


def fingerprint(fields: Mapping[str, Any]) -> Fingerprint:
    """Hash each field by itself, so that a mismatch can name the field that differs.

    Parameters
    ----------
    fields
        Name -> value made of JSON types; the order of keys does not matter, that of lists does.

    Raises
    ------
    TypeError, ValueError
        A value is not made of JSON types, or holds NaN or infinity.
    """
    return Fingerprint(
        {name: hashlib.sha256(canonical_json(value)).hexdigest() for name, value in fields.items()}
    )


@dataclass(frozen=True)
class Manifest:
    """The content of `manifest.json`."""

    run_id: str
    """The run."""
    parts: tuple[PartRecord, ...]
    """Every part with its rows, bytes and hash."""
    reports: tuple[FileRecord, ...]
    """The other files of the run."""
    fingerprint: Fingerprint
    """What the answer depends on."""
    versions: Mapping[str, str]
    """Name -> version of Python and of the libraries that made the run."""
    warnings: tuple[str, ...] = ()
    """What a reader of the labels must not miss, a sentence each."""
    created: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    """When the run was complete, UTC, ISO 8601."""

    @property
    def rows(self) -> int:
        """Rows over all parts of `labels`."""
        return sum(part.rows for part in self.parts if part.folder == LABELS_FOLDER)

    def files(self) -> list[FileRecord]:
        """Return every file of the run but the manifest itself, paths relative to the run."""
        parts = [FileRecord(f"{p.folder}/{p.name}", p.bytes, p.sha256) for p in self.parts]
        return [*parts, *self.reports]

    def write(self, folder: Path) -> None:
        """Write `manifest.json` into `folder` and have it reach the disk."""
        content: dict[str, Any] = {
            "format": MANIFEST_FORMAT,
            "format_version": MANIFEST_VERSION,
            "run_id": self.run_id,
            "created": self.created,
            "rows": self.rows,
            "fingerprint": self.fingerprint.as_dict(),
            "versions": dict(self.versions),
            "warnings": list(self.warnings),
            "parts": [asdict(part) for part in self.parts],
            "reports": [asdict(report) for report in self.reports],
        }
        write_new(folder / MANIFEST_NAME, seal(content))

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """Read `manifest.json` of `folder`.

        Raises
        ------
        StorageError
            It is missing, damaged, or written by a newer version of ssl_dask.
        """
        path = folder / MANIFEST_NAME
        try:
            content = unseal(path.read_bytes())
        except OSError as error:
            raise StorageError(
                f"no finished run here: {error.strerror or error}",
                file=str(path),
                hint="give the output folder, or one of the folders in its runs/",
            ) from error
        except ValueError as error:
            raise StorageError(
                f"the manifest is damaged: {error}", file=str(path), hint="run the job again"
            ) from error
        made_as = (content.get("format"), content.get("format_version"))
        if made_as != (MANIFEST_FORMAT, MANIFEST_VERSION):
            raise StorageError(
                f"the manifest has format version {made_as[1]}, not {MANIFEST_VERSION}",
                file=str(path),
                hint="use the version of ssl_dask that made the run",
            )
        return cls(
            run_id=content["run_id"],
            parts=tuple(PartRecord(**part) for part in content["parts"]),
            reports=tuple(FileRecord(**report) for report in content["reports"]),
            fingerprint=Fingerprint.from_dict(content["fingerprint"]),
            versions=content["versions"],
            # Runs of before there were any have none.
            warnings=tuple(content.get("warnings", ())),
            created=content["created"],
        )


@dataclass(frozen=True)
class CommittedRun:
    """A finished run on disk."""

    path: Path
    """Its folder, `.../runs/<run_id>`."""
    manifest: Manifest
    """What it consists of."""

    @classmethod
    def load(cls, path: str | Path) -> CommittedRun:
        """Load a run from its own folder, or the latest run from the output folder.

        Raises
        ------
        StorageError
            There is no finished run, or its manifest is damaged.
        """
        given = Path(path)
        folder = given
        if not (given / MANIFEST_NAME).exists() and (given / "latest").is_symlink():
            folder = given / "latest"
        # Resolved once: later reads stay with this run when `latest` moves on.
        folder = folder.resolve()
        return cls(folder, Manifest.read(folder))

    @property
    def run_id(self) -> str:
        """Name of the run."""
        return self.manifest.run_id

    @property
    def root(self) -> Path:
        """The output folder that it lies in; its own folder where it was copied elsewhere."""
        runs = self.path.parent
        return runs.parent if runs.name == "runs" else self.path

    @property
    def fingerprint(self) -> Fingerprint:
        """What the answer depends on."""
        return self.manifest.fingerprint

    def part_paths(self, folder: str = LABELS_FOLDER) -> list[Path]:
        """Return the files of the parts of `folder` in the order of the rows."""
        parts = sorted(
            (part for part in self.manifest.parts if part.folder == folder),
            key=lambda part: part.block,
        )
        return [self.path / folder / part.name for part in parts]

    def verify(self, execution: Execution | None = None) -> list[Problem]:
        """Hash every file again and return what is damaged, missing or in excess; [] if intact.

        Parameters
        ----------
        execution
            Where the hashing runs, one task a file; None: in threads of this process. It reads the
            whole run once.
        """
        where = execution or Execution()
        files = self.manifest.files()
        check = delayed(partial(damage_of, self.path), pure=False)
        found = where.compute([check(file) for file in files], "verify")
        again = "run the job again"
        problems = [
            Problem(damage, file=str(self.path / file.path), hint=again)
            for file, damage in zip(files, found, strict=True)
            if damage is not None
        ]
        known = {file.path for file in files}
        for folder in PART_FOLDERS:
            problems += [
                Problem("does not belong to the run", file=str(path), hint="remove it")
                for path in sorted((self.path / folder).glob("*"))
                if f"{folder}/{path.name}" not in known
            ]
        return problems
