"""Write small tables as other programs write them: `python write_files.py FOLDER`.

Each file has 120 rows of two clouds: `key`, `x`, `y`, the labels of 20 rows in `seed`, and one more
column `v` of the type that is tried, with values for the role that it is tried in.
Runs where the writers are installed, without ssl_dask; prints their versions as JSON.
"""

from __future__ import annotations

import datetime as dt
import json
import sys
import uuid
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

N_ROWS, N_SEEDS = 120, 20
CLOUD = [row % 2 for row in range(N_ROWS)]
SEEDED = [row < N_SEEDS for row in range(N_ROWS)]
DAY = dt.datetime(2026, 1, 1)
ROLES = ("id", "label", "category", "text", "number", "vector", "kept")
Column = tuple[str, str, list[Any]]
"""The type's name as a writer spells it, the role, the values."""


def base() -> dict[str, list[Any]]:
    rng = np.random.default_rng(0)
    points = rng.normal(size=(N_ROWS, 2)) * 0.3 + 4.0 * np.array(CLOUD)[:, None]
    return {
        "key": list(range(1000, 1000 + N_ROWS)),
        "x": points[:, 0].tolist(),
        "y": points[:, 1].tolist(),
        "seed": [("left", "right")[c] if s else None for c, s in zip(CLOUD, SEEDED, strict=True)],
    }


def seeds_of(values: list[Any]) -> list[Any]:
    return [values[c] if s else None for c, s in zip(CLOUD, SEEDED, strict=True)]


def whole_numbers(name: str, roles: str = "id label category number kept") -> Iterator[Column]:
    values = {
        "id": list(range(N_ROWS)),
        "label": seeds_of([1, 2]),
        "category": [7 + c for c in CLOUD],
        "number": [10 * c + row % 3 for row, c in enumerate(CLOUD)],
        "kept": [row % 100 if row % 5 else None for row in range(N_ROWS)],
    }
    yield from ((name, role, values[role]) for role in roles.split())


def decimals(name: str) -> Iterator[Column]:
    yield name, "number", [10.0 * c + (row % 3) / 4 for row, c in enumerate(CLOUD)]
    yield name, "kept", [row / 4 if row % 5 else None for row in range(N_ROWS)]


def texts(name: str) -> Iterator[Column]:
    yield name, "id", [f"r{row:03d}" for row in range(N_ROWS)]
    yield name, "label", seeds_of(["no", "yes"])
    yield name, "category", [("red", "blue")[c] for c in CLOUD]
    yield name, "text", [("cats purr", "dogs bark")[c] + f" n{i % 3}" for i, c in enumerate(CLOUD)]
    yield name, "kept", [f"k{row}" if row % 5 else None for row in range(N_ROWS)]


def flags(name: str) -> Iterator[Column]:
    yield name, "label", seeds_of([False, True])
    yield name, "category", [bool(c) for c in CLOUD]
    yield name, "kept", [bool(row % 2) if row % 5 else None for row in range(N_ROWS)]


def uuids(name: str) -> Iterator[Column]:
    values = [str(uuid.UUID(int=row + 2**70)) for row in range(N_ROWS)]
    yield name, "id", values
    yield name, "kept", values


def vectors(name: str) -> Iterator[Column]:
    values = [[4.0 * c + (row % 3) / 4, 1.0 + row % 2] for row, c in enumerate(CLOUD)]
    yield name, "vector", values
    yield name, "kept", values


def times(name: str) -> Iterator[Column]:
    yield name, "category", [DAY + dt.timedelta(days=c) for c in CLOUD]
    yield name, "number", [DAY + dt.timedelta(days=90 * c + row % 3) for row, c in enumerate(CLOUD)]
    yield name, "kept", [DAY + dt.timedelta(days=row) for row in range(N_ROWS)]


def only_kept(name: str, value: Any) -> Iterator[Column]:
    yield name, "kept", [value] * N_ROWS


def duckdb_columns() -> Iterator[Column]:
    for name in ("INTEGER", "BIGINT", "UBIGINT", "HUGEINT", "DECIMAL(38,0)"):
        yield from whole_numbers(name)
    for name in ("DOUBLE", "FLOAT", "DECIMAL(18,3)"):
        yield from decimals(name)
    for name in ("VARCHAR", "BLOB", "ENUM"):
        yield from texts(name)
    yield from flags("BOOLEAN")
    yield from uuids("UUID")
    yield from vectors("FLOAT[2]")
    yield from vectors("DOUBLE[]")
    for name in ("DATE", "TIMESTAMP", "TIMESTAMP_NS", "TIMESTAMPTZ"):
        yield from times(name)
    yield from only_kept("TIME", "10:00:00")
    yield from only_kept("INTERVAL", "1 day")
    yield from only_kept("JSON", '{"a": 1}')
    yield from only_kept("VARIANT", "1")


def write_duckdb(name: str, columns: dict[str, list[Any]], path: Path) -> None:
    import duckdb

    con = duckdb.connect()
    plain = {key: values for key, values in columns.items() if key != "v"}
    texts_of_v = [None if one is None else str(one) for one in columns["v"]]
    rows = pa.table(plain | {"v": pa.array(texts_of_v, pa.string())})
    con.register("rows_", rows)
    kind = name
    if name == "ENUM":
        values = ", ".join(f"'{one}'" for one in sorted({t for t in texts_of_v if t is not None}))
        con.execute(f"CREATE TYPE kinds AS ENUM ({values})")
        kind = "kinds"
    con.execute(
        f"COPY (SELECT * EXCLUDE v, CAST(v AS {kind}) AS v FROM rows_) TO '{path}' (FORMAT parquet)"
    )


def polars_columns() -> Iterator[Column]:
    for name in ("Int8", "Int64", "UInt64", "Int128"):
        yield from whole_numbers(name)
    for name in ("Float32", "Float64", "Decimal(20, 3)"):
        yield from decimals(name)
    for name in ("String", "Binary", "Categorical", "Enum"):
        yield from texts(name)
    yield from flags("Boolean")
    yield from vectors("Array(Float32, 2)")
    yield from vectors("List(Float32)")
    for name in ("Date", "Datetime('us')", "Datetime('ns')"):
        yield from times(name)
    yield from only_kept("Time", dt.time(10))
    yield from only_kept("Duration", dt.timedelta(1))
    yield from only_kept("Null", None)


def write_polars(name: str, columns: dict[str, list[Any]], path: Path) -> None:
    import polars as pl

    values = columns["v"]
    if name == "Enum":
        kind = pl.Enum(sorted({one for one in values if one is not None}))
    else:
        kind = eval(name, vars(pl).copy())  # noqa: S307 (a name from the list above)
    frame = pl.DataFrame({key: one for key, one in columns.items() if key != "v"})
    series = pl.Series("v", values)
    if name == "Binary":
        series = pl.Series("v", [None if one is None else one.encode() for one in values])
    frame.with_columns(series.cast(kind)).write_parquet(path)


def pandas_columns() -> Iterator[Column]:
    for name in ("int64", "Int64", "category of ints"):
        yield from whole_numbers(
            name, "id category number" if name == "int64" else "id label category kept"
        )
    yield "float64 for gaps", "label", seeds_of([1, 2])
    for name in ("float32", "float64", "Float32"):
        yield from decimals(name)
    for name in ("str", "object", "category"):
        yield from texts(name)
    yield from flags("boolean")
    yield from vectors("object of lists")
    for name in ("datetime64[ns]", "datetime64[us]", "datetime64[ns, UTC]"):
        yield from times(name)
    yield from only_kept("timedelta64[ns]", dt.timedelta(1))
    yield from only_kept("period[D]", DAY)


def pandas_series(name: str, values: list[Any]) -> Any:
    import pandas as pd

    kinds = {
        "category of ints": lambda: pd.Series(pd.array(values, dtype="Int64")).astype("category"),
        "float64 for gaps": lambda: pd.Series(values, dtype="float64"),
        "object of lists": lambda: pd.Series(values, dtype="object"),
        "datetime64[ns, UTC]": lambda: pd.to_datetime(pd.Series(values)).dt.tz_localize("UTC"),
    }
    return kinds[name]() if name in kinds else pd.Series(values).astype(name)


def write_pandas(name: str, columns: dict[str, list[Any]], path: Path) -> None:
    import pandas as pd

    plain = {key: values for key, values in columns.items() if key != "v"}
    frame = pd.DataFrame(plain).assign(v=pandas_series(name, columns["v"]))
    frame.to_parquet(path, index=False, engine="pyarrow")


def fastparquet_columns() -> Iterator[Column]:
    yield from whole_numbers("Int64")
    yield from decimals("float64")
    for name in ("object", "category"):
        yield from texts(name)
    yield from flags("boolean")
    yield from times("datetime64[ns]")


def write_fastparquet(name: str, columns: dict[str, list[Any]], path: Path) -> None:
    import pandas as pd

    plain = {key: values for key, values in columns.items() if key != "v"}
    frame = pd.DataFrame(plain).assign(v=pandas_series(name, columns["v"]))
    frame["seed"] = frame["seed"].astype("object")
    frame.to_parquet(path, index=False, engine="fastparquet")


def spark_columns() -> Iterator[Column]:
    for name in ("int", "bigint", "decimal(20,0)", "decimal(38,0)"):
        yield from whole_numbers(name)
    for name in ("float", "double", "decimal(10,2)"):
        yield from decimals(name)
    for name in ("string", "binary"):
        yield from texts(name)
    yield from flags("boolean")
    yield from vectors("array<float>")
    for name in ("date", "timestamp", "timestamp (INT96)"):
        yield from times(name)


def write_spark(name: str, columns: dict[str, list[Any]], path: Path) -> None:
    """By its types: as Spark, without an Arrow schema in the footer."""
    kinds = {
        "int": pa.int32(),
        "bigint": pa.int64(),
        "decimal(20,0)": pa.decimal128(20, 0),
        "decimal(38,0)": pa.decimal128(38, 0),
        "decimal(10,2)": pa.decimal128(10, 2),
        "float": pa.float32(),
        "double": pa.float64(),
        "string": pa.string(),
        "binary": pa.binary(),
        "boolean": pa.bool_(),
        "array<float>": pa.list_(pa.float32()),
        "date": pa.date32(),
        "timestamp": pa.timestamp("us", "UTC"),
        "timestamp (INT96)": pa.timestamp("ns"),
    }
    table = pa.table(columns)
    at = table.schema.get_field_index("v")
    table = table.set_column(at, "v", table["v"].cast(kinds[name]))
    int96 = name.endswith("(INT96)")
    pq.write_table(table, path, store_schema=False, use_deprecated_int96_timestamps=int96)


def datafusion_columns() -> Iterator[Column]:
    yield from whole_numbers("Int64")
    yield from decimals("Float64")
    yield from decimals("Decimal128(20, 3)")
    for name in ("Utf8", "Utf8View", "BinaryView", "Dictionary(Int32, Utf8)"):
        yield from texts(name)
    yield from flags("Boolean")
    for name in ("Date32", "Timestamp(Nanosecond, None)"):
        yield from times(name)


def write_datafusion(name: str, columns: dict[str, list[Any]], path: Path) -> None:
    import datafusion

    context = datafusion.SessionContext()
    table = pa.table(columns)
    context.register_record_batches("rows_", [table.to_batches()])
    context.sql(
        f"COPY (SELECT key, x, y, seed, arrow_cast(v, '{name}') AS v FROM rows_)"
        f" TO '{path}' STORED AS PARQUET"
    ).collect()


def arrow_columns() -> Iterator[Column]:
    yield from texts("string_view")
    yield from texts("binary_view")
    yield from vectors("list_view<float>")
    yield from vectors("fixed_size_list<halffloat>[2]")
    yield from vectors("fixed_shape_tensor<float>[2]")
    yield from decimals("halffloat")
    yield from uuids("uuid")
    yield from flags("bool8")
    yield from whole_numbers("decimal32(9, 0)")
    yield from whole_numbers("decimal256(50, 0)")
    yield from only_kept("json", '{"a": 1}')


def write_arrow(name: str, columns: dict[str, list[Any]], path: Path) -> None:
    values = columns["v"]
    makers: dict[str, Callable[[], pa.Array]] = {
        "string_view": lambda: pa.array(values, pa.string_view()),
        "binary_view": lambda: pa.array(
            [None if one is None else one.encode() for one in values], pa.binary_view()
        ),
        "list_view<float>": lambda: pa.array(values, pa.list_view(pa.float32())),
        "fixed_size_list<halffloat>[2]": lambda: pa.array(values, pa.list_(pa.float32(), 2)).cast(
            pa.list_(pa.float16(), 2)
        ),
        "fixed_shape_tensor<float>[2]": lambda: pa.FixedShapeTensorArray.from_numpy_ndarray(
            np.array(values, dtype=np.float32)
        ),
        "halffloat": lambda: pa.array(values, pa.float32()).cast(pa.float16()),
        "uuid": lambda: pa.array([uuid.UUID(one).bytes for one in values], pa.uuid()),
        "bool8": lambda: pa.ExtensionArray.from_storage(
            pa.bool8(), pa.array([None if one is None else int(one) for one in values], pa.int8())
        ),
        "decimal32(9, 0)": lambda: pa.array(values, pa.int16()).cast(pa.decimal32(9, 0)),
        "decimal256(50, 0)": lambda: pa.array(values).cast(pa.decimal256(50, 0)),
        "json": lambda: pa.ExtensionArray.from_storage(pa.json_(), pa.array(values)),
    }
    plain = {key: one for key, one in columns.items() if key != "v"}
    pq.write_table(pa.table(plain | {"v": makers[name]()}), path)


def delta_columns() -> Iterator[Column]:
    yield from whole_numbers("long")
    yield from decimals("double")
    yield from texts("string")
    yield from flags("boolean")
    yield from times("timestamp")


def write_delta(name: str, columns: dict[str, list[Any]], path: Path) -> None:
    import deltalake

    deltalake.write_deltalake(str(path), pa.table(columns))


def iceberg_columns() -> Iterator[Column]:
    yield from whole_numbers("long")
    yield from decimals("double")
    yield from texts("string")
    yield from flags("boolean")
    yield from times("timestamp")


def write_iceberg(name: str, columns: dict[str, list[Any]], path: Path) -> None:
    from pyiceberg.catalog.sql import SqlCatalog

    path.mkdir()
    folder = path.parent
    catalog = SqlCatalog("c", uri=f"sqlite:///{folder}/catalog.db", warehouse=f"file://{folder}")
    catalog.create_namespace("n")
    rows = pa.table(columns)
    catalog.create_table("n.t", schema=rows.schema, location=f"file://{path}").append(rows)


def lance_columns() -> Iterator[Column]:
    yield from only_kept("string", "k")


def write_lance(name: str, columns: dict[str, list[Any]], path: Path) -> None:
    import lance

    lance.write_dataset(pa.table(columns), str(path))


WRITERS: dict[str, tuple[str, Callable[[], Iterator[Column]], Callable[..., None]]] = {
    "DuckDB": ("duckdb", duckdb_columns, write_duckdb),
    "polars": ("polars", polars_columns, write_polars),
    "pandas": ("pandas", pandas_columns, write_pandas),
    "Spark 4.3, by its types": ("pyarrow", spark_columns, write_spark),
    "DataFusion": ("datafusion", datafusion_columns, write_datafusion),
    "pyarrow": ("pyarrow", arrow_columns, write_arrow),
    "fastparquet": ("fastparquet", fastparquet_columns, write_fastparquet),
    "delta-rs": ("deltalake", delta_columns, write_delta),
    "pyiceberg": ("pyiceberg", iceberg_columns, write_iceberg),
    "Lance": ("pylance", lance_columns, write_lance),
}


def main() -> None:
    folder = Path(sys.argv[1])
    files = []
    for place, (writer, (package, columns_of, write)) in enumerate(WRITERS.items()):
        for number, (name, role, values) in enumerate(columns_of()):
            path = folder / f"{place}-{number:03d}" / "table.parquet"
            path.parent.mkdir(parents=True)
            entry = {
                "writer": writer,
                "version": version(package),
                "type": name,
                "role": role,
                "path": str(path),
                "values": values,
            }
            try:
                write(name, base() | {"v": values}, path)
            except Exception as error:
                entry["not_written"] = f"{type(error).__name__}: {error}"[:200]
            files.append(entry)
    print(json.dumps(files, default=str))


if __name__ == "__main__":
    main()
