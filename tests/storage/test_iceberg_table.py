"""Iceberg tables: the rows of one snapshot, or a refusal by name."""

from __future__ import annotations

import datetime
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ssl_dask.errors import InputDataError, JobSpecError
from ssl_dask.input_files import InputFiles
from ssl_dask.job_file import resolve_job
from ssl_dask.pipeline.inputs.job_inputs import Inputs
from ssl_dask.storage.checks.column_check import ColumnNeeds, check_columns
from ssl_dask.storage.ids.edges import open_edge_file
from ssl_dask.storage.input.column_reader import ColumnReader
from ssl_dask.storage.input.dataset import Dataset
from ssl_dask.storage.input.row_layout import plan_layout
from ssl_dask.storage.labels.label_file import read_label_file

pyiceberg = pytest.importorskip("pyiceberg", reason="pip install ssl-dask[iceberg]")
pytest.importorskip("sqlalchemy", reason="pip install pyiceberg[sql-sqlite], which writes tables")

from pyiceberg import types  # noqa: E402
from pyiceberg.catalog.memory import InMemoryCatalog  # noqa: E402
from pyiceberg.manifest import (  # noqa: E402
    DataFile,
    DataFileContent,
    FileFormat,
    ManifestContent,
    ManifestEntry,
    ManifestEntryStatus,
    ManifestWriterV2,
    clear_manifest_cache,
    write_manifest_list,
)
from pyiceberg.transforms import BucketTransform, IdentityTransform  # noqa: E402
from pyiceberg.typedef import Record  # noqa: E402


class Tables:
    """Tables of a catalog in memory, in folders below one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.catalog = InMemoryCatalog("c", warehouse=f"file://{folder}")
        self.catalog.create_namespace("n")

    def new(self, name: str, columns: dict[str, Any], **options: Any) -> Any:
        """Make a table with the types of columns, and append these as its first rows."""
        rows = pa.table(columns)
        location = options.pop("location", f"file://{self.folder}/{name}")
        table = self.catalog.create_table(
            f"n.{name}", schema=rows.schema, location=location, **options
        )
        table.append(rows)
        return table


@pytest.fixture
def tables(tmp_path: Path) -> Iterator[Tables]:
    made = Tables(tmp_path)
    yield made
    made.catalog.close()


def opened(
    path: str, base: Path = Path("/"), snapshot: int | str | None = None, **options: Any
) -> Dataset:
    files = InputFiles(path=path, format="iceberg", snapshot=snapshot)
    return Dataset.open(files, base=base, **options)


def refused(path: Path, snapshot: int | str | None = None) -> InputDataError:
    with pytest.raises(InputDataError) as caught:
        opened(str(path), snapshot=snapshot)
    (problem,) = caught.value.problems
    assert problem.hint
    assert str(problem.file).startswith(str(path))
    return caught.value


def rows(dataset: Dataset, *columns: str) -> list[tuple[Any, ...]]:
    reader = ColumnReader(dataset, plan_layout(dataset, columns, block_bytes=2**20))
    found = [reader.read_table(block, columns) for block in reader.blocks]
    return sorted(zip(*pa.concat_tables(found).to_pydict().values(), strict=True), key=str)


def scanned(table: Any, *columns: str) -> list[tuple[Any, ...]]:
    """Return the rows as pyiceberg reads them."""
    found = table.scan(selected_fields=columns).to_arrow().select(columns).to_pydict()
    return sorted(zip(*found.values(), strict=True), key=str)


def test_the_rows_of_a_snapshot_are_read(tables: Tables, tmp_path: Path) -> None:
    table = tables.new("t", {"id": [1, 2, 3], "x": [0.5, None, 1.5]})
    first = table.metadata.current_snapshot_id
    table.append(pa.table({"id": [4], "x": [2.5]}))
    table.delete("id = 2")

    now = opened("t", tmp_path)
    assert rows(now, "id", "x") == scanned(table, "id", "x") == [(1, 0.5), (3, 1.5), (4, 2.5)]
    assert now.columns == {"id": "int64", "x": "double"}
    assert now.table_version == f"snapshot {table.metadata.current_snapshot_id}"
    assert now.local_paths == (tmp_path / "t",)

    before = opened(f"file://{tmp_path}/t", snapshot=first)
    assert rows(before, "id") == [(1,), (2,), (3,)]
    assert before.identity() != now.identity()
    file = table.metadata_location.removeprefix("file://")
    assert rows(opened(file), "id") == [(1,), (3,), (4,)]
    older = sorted(Path(file).parent.glob("00001-*.json"))[0]
    assert rows(opened(str(older)), "id") == [(1,), (2,), (3,)]


def test_branches_and_tags_are_snapshots_by_name(tables: Tables, tmp_path: Path) -> None:
    table = tables.new("t", {"id": [1]})
    first = table.metadata.current_snapshot_id
    table.manage_snapshots().create_tag(first, "v1").create_branch(first, "side").commit()
    table.append(pa.table({"id": [2]}), branch="side")
    with table.update_schema() as change:
        change.rename_column("id", "key")
    assert rows(opened("t", tmp_path, "v1"), "id") == [(1,)]
    assert rows(opened("t", tmp_path, "side"), "key") == [(1,), (2,)]
    assert rows(opened("t", tmp_path, "main"), "key") == [(1,)]
    assert rows(opened("t", tmp_path, first), "id") == [(1,)]
    error = refused(tmp_path / "t", "v2")
    assert "no snapshot, branch or tag 'v2'" in str(error)
    assert str(first) in str(error.problems[0].hint)
    assert "no snapshot, branch or tag 7" in str(refused(tmp_path / "t", 7))


def test_columns_are_known_by_their_ids(tables: Tables, tmp_path: Path) -> None:
    table = tables.new("t", {"id": [1, 2], "a": [10, 20], "b": [1, 2], "gone": [7, 8]})
    with table.update_schema() as change:
        # The names of two columns change places: by name each would be read as the other.
        change.rename_column("a", "other")
    with table.update_schema() as change:
        change.rename_column("b", "a")
        change.delete_column("gone")
    with table.update_schema() as change:
        change.rename_column("other", "b")
        change.add_column("gone", types.DoubleType())
    table.append(pa.table({"id": [3], "b": [30], "a": [3], "gone": [0.5]}))
    dataset = opened("t", tmp_path)
    expected = [(1, 1, 10, None), (2, 2, 20, None), (3, 3, 30, 0.5)]
    assert rows(dataset, "id", "a", "b", "gone") == expected
    assert rows(dataset, "id", "a", "b", "gone") == scanned(table, "id", "a", "b", "gone")
    assert rows(dataset, "gone") == [(0.5,), (None,), (None,)]
    assert sum(file.n_rows for file in dataset.files) == 3


def test_a_rename_makes_another_input_of_the_same_files(tables: Tables, tmp_path: Path) -> None:
    table = tables.new("t", {"id": [1], "a": [10], "b": [1]})
    before = opened("t", tmp_path)
    with table.update_schema() as change:
        change.rename_column("a", "c")
    after = opened("t", tmp_path)
    assert [one["footer_sha256"] for one in before.identity()] == [
        one["footer_sha256"] for one in after.identity()
    ]
    assert before.identity() != after.identity()


def test_columns_that_came_later_are_null(tables: Tables, tmp_path: Path) -> None:
    table = tables.new("t", {"id": [1]})
    with table.update_schema() as change:
        change.add_column("label", types.StringType())
        change.add_column("never", types.LongType())
    table.append(pa.table({"id": [2], "label": ["a"], "never": pa.array([None], pa.int64())}))
    needs = ColumnNeeds(id="id", label="label", keep=("label", "never"))
    dataset = opened("t", tmp_path)
    assert check_columns(dataset, needs) == []
    assert rows(dataset, "id", "label", "never") == [(1, None, None), (2, "a", None)]
    with table.update_schema() as change:
        change.add_column("empty", types.LongType())
    # No file has it, the table does.
    assert rows(opened("t", tmp_path), "id", "empty") == [(1, None), (2, None)]
    (problem,) = check_columns(opened("t", tmp_path), ColumnNeeds(keep=("nowhere",)))
    assert "there is no such column" in problem.message


def test_types_that_were_widened(tables: Tables, tmp_path: Path) -> None:
    first = {"id": pa.array([1], pa.int32()), "x": pa.array([0.5], pa.float32())}
    table = tables.new("t", first)
    with table.update_schema() as change:
        change.update_column("id", types.LongType())
        change.update_column("x", types.DoubleType())
    table.append(pa.table({"id": [2**40], "x": [0.1]}))
    dataset = opened("t", tmp_path)
    assert dataset.columns == {"id": "int64", "x": "double"}
    assert rows(dataset, "id", "x") == scanned(table, "id", "x") == [(1, 0.5), (2**40, 0.1)]


def test_partitions_are_columns_of_the_files(tables: Tables, tmp_path: Path) -> None:
    days = [datetime.date(2026, 1, 2), None, datetime.date(2026, 1, 3)]
    table = tables.new("t", {"id": [1, 2, 3], "day": days, "k": ["a/b", "c", "ä"]})
    with table.update_spec() as spec:
        spec.add_field("day", IdentityTransform())
        spec.add_field("k", IdentityTransform())
    table.append(pa.table({"id": [4], "day": [days[0]], "k": ["x=y"]}))
    with table.update_spec() as spec:
        spec.remove_field("day")
        spec.add_field("id", BucketTransform(4))
    dataset = opened("t", tmp_path)
    assert dataset.columns == {"id": "int64", "day": "date32[day]", "k": "string"}
    assert rows(dataset, "id", "day", "k") == scanned(table, "id", "day", "k")


def adopted(tables: Tables, columns: dict[str, Any], folder: str = "t/data") -> Any:
    """Return a table of one file that another writer made: it has no field ids."""
    rows = pa.table(columns)
    table = tables.catalog.create_table(
        "n.t", schema=rows.schema, location=f"file://{tables.folder}/t"
    )
    plain = tables.folder / folder / "plain.parquet"
    plain.parent.mkdir(parents=True)
    pq.write_table(rows, plain)
    table.add_files([f"file://{plain}"])
    return table


def test_files_without_field_ids_are_read_by_the_name_mapping(
    tables: Tables, tmp_path: Path
) -> None:
    table = adopted(tables, {"id": [1, 2], "a": ["x", "y"]})
    with table.update_schema() as change:
        change.rename_column("a", "b")
    assert rows(opened("t", tmp_path), "id", "b") == [(1, "x"), (2, "y")]
    with table.transaction() as change:
        change.remove_properties("schema.name-mapping.default")
    error = refused(tmp_path / "t")
    assert "has no field ids" in str(error)
    assert "schema.name-mapping.default" in str(error)


def test_files_beside_the_table_are_inputs_too(tables: Tables, tmp_path: Path) -> None:
    table = adopted(tables, {"id": [1, 2]}, "elsewhere")
    assert opened("t", tmp_path).local_paths == (tmp_path / "t", tmp_path / "elsewhere")
    table.append(pa.table({"id": [3]}))
    dataset = opened("t", tmp_path)
    assert rows(dataset, "id") == [(1,), (2,), (3,)]
    assert dataset.local_paths == (tmp_path / "t", tmp_path)


def test_keys_that_only_the_metadata_hold(tables: Tables, tmp_path: Path) -> None:
    table = adopted(tables, {"id": [1, 2], "day": [datetime.date(2026, 1, 2)] * 2, "n": [5, 5]})
    with table.update_spec() as spec:
        spec.add_identity("day")
        spec.add_identity("n")
    table.append(pa.table({"id": [3], "day": [datetime.date(2026, 1, 3)], "n": [6]}))
    # As a migration from Hive leaves it: the file lacks what its folder said.
    keyed = next(one for one in (tmp_path / "t" / "data").rglob("*.parquet") if "day=" in str(one))
    rewritten(table, keyed, pq.read_table(keyed).select(["id"]))
    dataset = opened("t", tmp_path)
    assert rows(dataset, "id", "day", "n") == [
        (1, datetime.date(2026, 1, 2), 5),
        (2, datetime.date(2026, 1, 2), 5),
        (3, datetime.date(2026, 1, 3), 6),
    ]
    assert dataset.columns["n"] == "int64"


def entry_of(table: Any, path: Path) -> ManifestEntry:
    (entry,) = [
        entry
        for manifest in table.current_snapshot().manifests(table.io)
        for entry in manifest.fetch_manifest_entry(table.io)
        if entry.data_file.file_path.endswith(path.name)
    ]
    return entry


def with_manifest(table: Any, files: list[DataFile], content: ManifestContent) -> None:
    """Write the manifest list of the current snapshot anew, with one more manifest of files."""

    class Writer(ManifestWriterV2):
        def content(self) -> ManifestContent:
            return content

    snapshot = table.current_snapshot()
    kept = [
        one
        for one in snapshot.manifests(table.io)
        if content == ManifestContent.DELETES
        or not any(
            entry.data_file.file_path in {file.file_path for file in files}
            for entry in one.fetch_manifest_entry(table.io)
        )
    ]
    name = f"{table.location()}/metadata/more-{content.value}.avro"
    spec = table.specs()[files[0].spec_id]
    place = (spec, table.schema(), table.io.new_output(name), snapshot.snapshot_id, "null")
    with Writer(*place) as writer:
        for file in files:
            writer.add_entry(
                ManifestEntry.from_args(
                    status=ManifestEntryStatus.ADDED,
                    snapshot_id=snapshot.snapshot_id,
                    sequence_number=None,
                    data_file=file,
                )
            )
    os.remove(snapshot.manifest_list.removeprefix("file://"))
    output = table.io.new_output(snapshot.manifest_list)
    number = snapshot.sequence_number
    with write_manifest_list(2, output, snapshot.snapshot_id, None, number, "null") as listed:
        listed.add_manifests([*kept, writer.to_manifest_file()])
    clear_manifest_cache()


def data_file(spec_id: int = 0, **about: Any) -> DataFile:
    usual = {
        "content": DataFileContent.DATA,
        "file_format": FileFormat.PARQUET,
        "partition": Record(),
        "record_count": 1,
        "column_sizes": {},
        "value_counts": {},
        "null_value_counts": {},
        "nan_value_counts": {},
        "lower_bounds": {},
        "upper_bounds": {},
        "split_offsets": [4],
    }
    file = DataFile.from_args(_table_format_version=2, **(usual | about))
    file.spec_id = spec_id
    return file


def rewritten(table: Any, path: Path, rows: pa.Table) -> None:
    """Let the table's file `path` hold other columns."""
    before = entry_of(table, path).data_file
    pq.write_table(rows, path)
    size = path.stat().st_size
    about = {"partition": before.partition, "record_count": rows.num_rows}
    file = data_file(before.spec_id, file_path=before.file_path, file_size_in_bytes=size, **about)
    with_manifest(table, [file], ManifestContent.DATA)


DELETES = {
    "position deletes": (DataFileContent.POSITION_DELETES, FileFormat.PARQUET),
    "deletion vectors": (DataFileContent.POSITION_DELETES, FileFormat.PUFFIN),
    "equality deletes": (DataFileContent.EQUALITY_DELETES, FileFormat.PARQUET),
}


@pytest.mark.parametrize("kind", DELETES)
def test_deleted_rows_are_refused_until_files_are_rewritten(
    tables: Tables, tmp_path: Path, kind: str
) -> None:
    table = tables.new("t", {"id": [1, 2, 3]})
    content, file_format = DELETES[kind]
    about: dict[str, Any] = {"content": content, "file_format": file_format}
    about["equality_ids"] = [1] if content == DataFileContent.EQUALITY_DELETES else None
    path = f"{table.location()}/data/deletes"
    with_manifest(
        table,
        [data_file(file_path=path, file_size_in_bytes=10, **about)],
        ManifestContent.DELETES,
    )
    error = refused(tmp_path / "t")
    assert f"the Iceberg table has {kind}: files hold rows that are deleted" in str(error)
    assert "system.rewrite_data_files" in str(error.problems[0].hint)
    # Rows that a table rewrites its files for are gone from them.
    whole = tables.new("u", {"id": [1, 2, 3]})
    whole.delete("id = 2")
    assert rows(opened("u", tmp_path), "id") == [(1,), (3,)]


def test_files_that_are_no_parquet_are_refused(tables: Tables, tmp_path: Path) -> None:
    table = tables.new("t", {"id": [1]})
    path = f"{table.location()}/data/a.orc"
    file = data_file(file_path=path, file_size_in_bytes=10, file_format=FileFormat.ORC)
    with_manifest(table, [file], ManifestContent.DATA)
    assert "has files that are ORC, not Parquet" in str(refused(tmp_path / "t"))


def test_a_copy_of_a_table_is_refused(tables: Tables, tmp_path: Path) -> None:
    table = tables.new("t", {"id": [1]})
    shutil.copytree(tmp_path / "t", tmp_path / "copy")
    error = refused(tmp_path / "copy")
    assert f"was moved or copied: its metadata lie at file://{tmp_path}/t/metadata" in str(error)
    assert "give the path of that place" in str(error.problems[0].hint)
    name = Path(table.metadata_location).name
    with pytest.raises(InputDataError, match="was moved or copied"):
        opened(str(tmp_path / "copy" / "metadata" / name))
    os.symlink(tmp_path / "t", tmp_path / "link")
    assert opened("link", tmp_path).n_rows == 1


def test_which_metadata_are_current(tables: Tables, tmp_path: Path) -> None:
    table = tables.new("t", {"id": [1]})
    table.append(pa.table({"id": [2]}))
    folder = tmp_path / "t" / "metadata"
    (newest,) = folder.glob("00002-*.json")
    (older,) = folder.glob("00001-*.json")
    # Two writers at once: one of them lost, and only the catalog knows which.
    shutil.copy(older, folder / "00002-lost.metadata.json")
    error = refused(tmp_path / "t")
    assert "which metadata file of the Iceberg table is current cannot be told" in str(error)
    assert "name the metadata file" in str(error.problems[0].hint)
    assert opened(str(newest)).n_rows == 2
    hint = folder / "version-hint.text"
    hint.write_text(newest.name)
    assert opened("t", tmp_path).n_rows == 2
    hint.write_text(older.name)
    assert "version-hint.text" in str(refused(tmp_path / "t"))


def test_tables_without_a_catalog_go_by_their_highest_version(
    tables: Tables, tmp_path: Path
) -> None:
    table = tables.new("t", {"id": [1]})
    table.append(pa.table({"id": [2]}))
    folder = tmp_path / "t" / "metadata"
    for number, path in enumerate(sorted(folder.glob("*.metadata.json"))):
        path.rename(folder / f"v{number + 8}.metadata.json")
    assert opened("t", tmp_path).n_rows == 2
    # The hint is written last: who dies before that has written a version all the same.
    (folder / "version-hint.text").write_text("9")
    assert opened("t", tmp_path).n_rows == 2


def test_what_is_no_table(tables: Tables, tmp_path: Path) -> None:
    (tmp_path / "nothing").mkdir()
    assert "the Iceberg table cannot be opened" in str(refused(tmp_path / "nothing"))
    assert "the Iceberg table cannot be opened" in str(refused(tmp_path / "nowhere"))
    schema = pa.schema([("id", pa.int64())])
    empty = tables.catalog.create_table("n.e", schema=schema, location=f"file://{tmp_path}/e")
    assert "has no snapshot, so no rows" in str(refused(tmp_path / "e"))
    empty.append(pa.table({"id": [1]}))
    empty.delete("id = 1")
    assert "has no rows in this snapshot" in str(refused(tmp_path / "e"))
    (tmp_path / "j" / "metadata").mkdir(parents=True)
    (tmp_path / "j" / "metadata" / "v1.metadata.json").write_text("{}")
    assert "the Iceberg table cannot be opened" in str(refused(tmp_path / "j"))
    table = tables.new("t", {"id": [1]})
    os.remove(table.current_snapshot().manifest_list.removeprefix("file://"))
    clear_manifest_cache()
    assert "whose files cannot be listed" in str(refused(tmp_path / "t"))


def test_a_default_of_version_3_is_never_read_as_null(tables: Tables, tmp_path: Path) -> None:
    table = tables.new("t", {"id": [1]})
    with table.update_schema() as change:
        change.add_column("x", types.LongType())
    path = Path(table.metadata_location.removeprefix("file://"))
    about = json.loads(path.read_text())
    about["format-version"], about["next-row-id"] = 3, 1
    about["schemas"][-1]["fields"][-1]["initial-default"] = 7
    path.write_text(json.dumps(about))
    dataset = opened("t", tmp_path)
    assert rows(dataset, "id") == [(1,)]
    (problem,) = check_columns(dataset, ColumnNeeds(keep=("x",)))
    assert problem.message == "is in files without it a default value of the table"
    assert problem.hint == "rewrite the files of the table"


def test_tables_in_a_store(tables: Tables, tmp_path: Path) -> None:
    table = tables.new("t", {"id": [1, 2]})
    memory = fsspec.filesystem("memory")
    for file in (tmp_path / "t").rglob("*"):
        if file.is_file():
            memory.pipe(f"/of-iceberg/t/{file.relative_to(tmp_path / 't')}", file.read_bytes())
    with pytest.raises(InputDataError, match="was moved or copied"):
        opened("memory://of-iceberg/t")
    name = Path(table.metadata_location).name
    text = memory.cat(f"/of-iceberg/t/metadata/{name}").decode()
    moved = text.replace(f"file://{tmp_path}/t", "memory://of-iceberg/t")
    memory.pipe(f"/of-iceberg/t/metadata/{name}", moved.encode())
    # Now its manifests are in the store, and name files that are not.
    with pytest.raises(InputDataError, match="names files on another store: file"):
        opened("memory://of-iceberg/t")
    memory.rm("/of-iceberg", recursive=True)


def test_a_job_reads_tables_for_rows_labels_and_edges(
    tables: Tables, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    rows_table = tables.new("t", {"id": [1, 2, 3], "x": [0.5, 1.5, 2.5]})
    seeds = tables.new("seeds", {"id": [1, 2], "y": ["a", "b"]})
    edges = tables.new("edges", {"source": [1, 2], "target": [2, 3]})
    first = seeds.metadata.current_snapshot_id
    seeds.append(pa.table({"id": [3], "y": ["a"]}))
    job = {
        "name": "t",
        "input": {
            "path": "t",
            "format": "iceberg",
            "id": "id",
            "labels": {
                "path": "seeds",
                "format": "iceberg",
                "snapshot": first,
                "id": "id",
                "label": "y",
            },
        },
        "features": {"numbers": {"numeric": ["x"]}},
        "graph": {"edges": {"path": "edges", "format": "iceberg"}},
        "method": {"name": "label_spreading"},
        "output": {"path": "out"},
    }
    inputs = Inputs.open(resolve_job(job))
    assert inputs.seed_file is not None
    assert inputs.seed_file.n_labels == 2
    assert inputs.edge_files[0].n_edges == 2
    assert inputs.table_versions == {
        "input table": f"snapshot {rows_table.metadata.current_snapshot_id}",
        "labels table": f"snapshot {first}",
        "edges table": f"snapshot {edges.metadata.current_snapshot_id}",
    }
    job["input"]["labels"]["format"] = "parquet"  # type: ignore[index]
    with pytest.raises(JobSpecError, match="snapshot goes with a table: give format: iceberg"):
        resolve_job(job)


def test_labels_and_edges_without_the_key_are_refused(tables: Tables, tmp_path: Path) -> None:
    tables.new("t", {"id": [1]})
    for read in (
        lambda: read_label_file(
            "t", id_column="id", label_column="id", base=tmp_path, id_type=pa.int64()
        ),
        lambda: open_edge_file("t", source="a", target="b", base=tmp_path, id_type=pa.int64()),
    ):
        with pytest.raises(InputDataError, match="files of a table of Apache Iceberg") as caught:
            read()
        assert "set format: iceberg beside the path" in str(caught.value.problems[0].hint)
