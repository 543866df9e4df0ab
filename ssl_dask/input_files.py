"""The part of a job file that says where rows, labels or edges lie."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from ssl_dask.spec_model import SpecModel

METADATA_ENDINGS = (".metadata.json", ".metadata.json.gz")
"""How the names of an Iceberg table's metadata files end."""


class InputFiles(SpecModel):
    """Files, or one version of a table."""

    path: str
    """Parquet file, folder, glob or URL, relative to the job file; of a table its folder."""
    format: Literal["parquet", "delta", "iceberg"] = "parquet"
    """`parquet`: files. `delta`: a Delta table (extra `delta`). `iceberg`: an Iceberg table, by its
    folder or its metadata file (extra `iceberg`)."""
    version: Annotated[int, Field(ge=0)] | None = None
    """Version of a Delta table; null: the latest. The report and the manifest say which it was."""
    snapshot: int | str | None = None
    """Snapshot of an Iceberg table, or a branch or tag; null: the current one. The report and the
    manifest say which it was."""

    @field_validator("snapshot")
    @classmethod
    def _digits_are_an_id(cls, snapshot: int | str | None) -> int | str | None:
        return int(snapshot) if isinstance(snapshot, str) and snapshot.isdecimal() else snapshot

    @model_validator(mode="after")
    def _version_of_its_table(self) -> Self:
        for key, table in (("version", "delta"), ("snapshot", "iceberg")):
            if getattr(self, key) is not None and self.format != table:
                raise ValueError(f"{key} goes with a table: give format: {table}, or leave it out")
        return self

    @property
    def chosen(self) -> int | str | None:
        """The version of the table that is asked for; None: the latest."""
        return self.version if self.format == "delta" else self.snapshot

    def pinned(self, version: int | str | None) -> Self:
        """Return the same table as a run read it, whatever was written to it later.

        Parameters
        ----------
        version
            Number of the version, or name of the metadata file. None, or a version that the job
            names itself, changes nothing.
        """
        if version is None:
            return self
        if self.format == "iceberg" and not self.path.endswith(METADATA_ENDINGS):
            return self.model_copy(update={"path": f"{self.path.rstrip('/')}/metadata/{version}"})
        if self.format == "delta" and self.version is None:
            return self.model_copy(update={"version": version})
        return self
