"""The columns of a table: what they are called in its files, and what files without them hold."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import pyarrow as pa

from ssl_dask.errors import Problem
from ssl_dask.storage.files.table_version import TableVersion
from ssl_dask.storage.input.column_types import is_bytes, unreadable
from ssl_dask.storage.input.parquet_footer import Footer

FIELD_ID = b"PARQUET:field_id"


def in_names_of_table(footer: Footer, table: TableVersion, shown: str) -> Footer | list[Problem]:
    """Return the footer of a file with the columns of the table that it holds, in their names.

    Columns are known by their field ids, so that one that was renamed is found, and one that was
    dropped is not taken for another of its name.

    Parameters
    ----------
    shown
        Path of the file, for messages.
    """
    if table.columns is None:
        return footer
    ids = [_field_id(field) for field in footer.schema]
    if set(ids) == {None}:
        ids = [table.ids_of_names.get(name) for name in footer.schema.names]
        if not table.ids_of_names:
            text = "has no field ids, and the table no schema.name-mapping.default"
            hint = "set that property of the table: it says which column is which"
            return [Problem(text, file=shown, hint=hint)]
    kept = [
        (i, table.columns[one])
        for i, one in enumerate(ids)
        if one is not None and one in table.columns
    ]
    names = [name for _, name in kept]
    if len(set(names)) < len(names):
        text = "has a field id, or a name of the table's name mapping, twice"
        return [Problem(text, file=shown, hint="write the file again")]
    fields = [pa.field(name, footer.schema.field(i).type) for i, name in kept]
    stored = {name: footer.schema.field(i).name for i, name in kept}
    return replace(
        footer,
        schema=pa.schema(fields),
        column_bytes=tuple(footer.column_bytes[i] for i, _ in kept),
        int96=tuple(name for name, there in stored.items() if there in footer.int96),
        stored_names={name: there for name, there in stored.items() if name != there},
    )


def with_table_columns(
    schema: pa.Schema, table: TableVersion, from_log: Collection[str]
) -> pa.Schema:
    """Return the columns of the files, and those that the table has beside them.

    Parameters
    ----------
    schema
        Columns of the files.
    from_log
        Columns whose value the log says for some file.
    """
    lacking = [name for name in table.schema.names if name not in schema.names]
    fields = {name: schema.field(name) for name in schema.names}
    fields |= {name: pa.field(name, table.schema.field(name).type) for name in lacking}
    for name in from_log:
        kind = table.schema.field(name).type
        if name in table.defaults:
            kind = unreadable("in files without it a default value of the table")
        elif not _told_as_text(kind):
            kind = unreadable("bytes in the log of a table")
        fields[name] = pa.field(name, kind)
    return pa.schema(list(fields.values()))


def _field_id(field: pa.Field) -> int | None:
    text = (field.metadata or {}).get(FIELD_ID)
    return None if text is None else int(text)


def _told_as_text(kind: pa.DataType) -> bool:
    """Return whether a value of the type is read from the text that stands for it in a log."""
    if is_bytes(kind):
        return False
    try:
        pa.scalar(None, pa.string()).cast(kind)
    except pa.ArrowNotImplementedError:
        return False
    return True
