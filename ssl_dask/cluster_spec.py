"""The part of a job file that says where the work runs."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from ssl_dask.spec_model import SpecModel, checked_size

MIN_WORKER_BYTES = 384 * 2**20
"""With less a worker is killed for want of memory before it has started."""
FEW_ROWS = 1_000_000
FEW_BYTES = 128 * 2**20
"""Of the input's files. Threads label so much sooner than processes, which import and pass rows on,
and with less memory. With more, a worker's limit of memory is worth having."""


class ClusterSpec(SpecModel):
    """Where the work runs. Not part of the job's fingerprint: the answer is the same anywhere."""

    kind: Literal["local", "address"] = "local"
    """local: worker processes on this machine, or threads of the command's process for a small job
    that says nothing of workers; address: a Dask cluster that already runs."""
    workers: Annotated[int, Field(ge=1)] | None = None
    """Worker processes of a local cluster; default: one for each core."""
    threads: Annotated[int, Field(ge=1)] | None = None
    """Threads of each local worker; default 1."""
    memory: str | None = None
    """Memory of each local worker, such as 2GiB; default: equal shares of 60 % of the machine's."""
    address: str | None = None
    """Address of the scheduler, tcp://host:port or tls://host:port, for kind: address."""
    insecure: bool = False
    """Allow tcp:// to another machine, unencrypted and without login."""
    tls_ca_file: str | None = None
    """Certificate of the authority, for tls://; default: Dask's own configuration."""
    tls_cert: str | None = None
    """Certificate of this client, for tls://."""
    tls_key: str | None = None
    """Key of this client, for tls://."""

    @field_validator("memory")
    @classmethod
    def _memory_is_a_size(cls, value: str | None) -> str | None:
        if value is None:
            return None
        why = ": a worker's Python and its libraries alone take 300"
        return checked_size(value, at_least=MIN_WORKER_BYTES, why=why)

    @model_validator(mode="after")
    def _no_ignored_keys(self) -> ClusterSpec:
        local_only = [key for key in ("workers", "threads", "memory") if getattr(self, key)]
        remote_only = [
            key
            for key in ("address", "insecure", "tls_ca_file", "tls_cert", "tls_key")
            if getattr(self, key)
        ]
        if self.kind == "local" and remote_only:
            raise ValueError(f"{', '.join(remote_only)} only go with kind: address")
        if self.kind == "address":
            if self.address is None:
                raise ValueError("kind: address needs address: tcp://host:port")
            if not re.fullmatch(r"(tcp|tls)://\S+:\d+", self.address):
                raise ValueError("an address is written tcp://host:port or tls://host:port")
            if local_only:
                raise ValueError(f"{', '.join(local_only)} only go with kind: local")
        return self

    def starts_workers(self, n_rows: int, n_bytes: int) -> bool:
        """Return whether an input of so many rows and bytes is labelled by worker processes."""
        asked_for = self.kind == "address" or self.workers or self.threads or self.memory
        return bool(asked_for) or n_rows > FEW_ROWS or n_bytes > FEW_BYTES
