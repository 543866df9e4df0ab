"""One version of a table: what its log says of its files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pyarrow as pa

Constants = tuple[tuple[str, str | None], ...]
"""(column, value as text) pairs of one file; None for a null."""


@dataclass(frozen=True)
class TableVersion:
    """What the log of a table says of its files.

    Parameters
    ----------
    shown
        The version, in words.
    pin
        What `InputFiles.pinned` takes to name this version, whatever is written later.
    schema
        The columns.
    constants
        Name of each file -> values of columns that the file may lack.
    columns
        Field id -> column, of a table whose files are read by ids; None: by names.
    ids_of_names
        Name -> field id, for files that hold no ids.
    defaults
        Columns that have another value than null in files without them.
    """

    shown: str
    pin: int | str
    schema: pa.Schema
    constants: Mapping[str, Constants]
    columns: Mapping[int, str] | None = None
    ids_of_names: Mapping[str, int] = field(default_factory=dict)
    defaults: frozenset[str] = frozenset()
