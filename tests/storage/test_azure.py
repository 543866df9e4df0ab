"""Reading from Azure: a real server process on loopback, real credentials, whole jobs."""

from __future__ import annotations

import base64
import io
import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ssl_dask.errors import InputDataError, StorageError
from ssl_dask.pipeline.commands.run import run_job
from ssl_dask.storage.input.column_reader import ColumnReader
from ssl_dask.storage.input.dataset import Dataset
from ssl_dask.storage.input.row_layout import plan_layout
from tests.digits_job import N_FILES, N_ROWS, assert_same_answer, write_job, write_rows
from tests.processes import (
    environment,
    free_ports,
    running,
    ssl_dask,
    started,
    wait_for_events,
    wait_for_port,
)

adlfs = pytest.importorskip("adlfs", reason="adlfs is not installed: pip install ssl-dask[azure]")
blob = pytest.importorskip("azure.storage.blob")

NPM = shutil.which("npm")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(NPM is None, reason="npm is missing, which installs the Azure server"),
]

AZURITE = "azurite@3.35.0"
ACCOUNT = "digitstore"
KEY = base64.b64encode(b"the-secret-of-the-account").decode()
WRONG_KEY = base64.b64encode(b"not-the-secret-of-it").decode()
CONNECTION = "AZURE_STORAGE_CONNECTION_STRING"
URL = f"abfs://rows@{ACCOUNT}.dfs.core.windows.net"


@dataclass(frozen=True)
class Store:
    """A running server with the digits in the folder `digits` of the container `rows`."""

    endpoint: str
    local_rows: Path

    def settings(self, secret: str = f"AccountKey={KEY}", endpoint: str | None = None) -> str:
        """A connection string; one of a signature names no account, as Azure's own do not."""
        account = f"AccountName={ACCOUNT};" if secret.startswith("AccountKey") else ""
        where = f"BlobEndpoint={endpoint or self.endpoint};"
        return f"DefaultEndpointsProtocol=http;{account}{where}{secret}"

    @property
    def env(self) -> dict[str, str]:
        return {CONNECTION: self.settings()}

    def container(self) -> Any:
        service = blob.BlobServiceClient.from_connection_string(self.settings())
        return service.get_container_client("rows")

    def put(self, name: str, rows: int | None, **metadata: str) -> None:
        """Put a file of `rows` rows, or an empty one."""
        content = b"" if rows is None else parquet(rows)
        self.container().upload_blob(name, content, overwrite=True, metadata=metadata or None)


def parquet(rows: int) -> bytes:
    with io.BytesIO() as stream:
        pq.write_table(pa.table({"id": list(range(rows))}), stream)
        return stream.getvalue()


@pytest.fixture(scope="module")
def azurite(pytestconfig: pytest.Config) -> Path:
    """The server's program, which npm installs once a checkout."""
    assert NPM is not None
    assert pytestconfig.cache is not None
    folder = pytestconfig.cache.mkdir(AZURITE.replace("@", "-"))
    program = folder / "node_modules" / ".bin" / "azurite-blob"
    if not program.exists():
        command = [NPM, "install", "--no-audit", "--no-fund", "--prefix", str(folder), AZURITE]
        done = subprocess.run(command, capture_output=True, text=True, timeout=280)
        if done.returncode:
            pytest.skip(f"npm could not install the Azure server: {done.stderr[-300:]}")
    return program


@pytest.fixture(scope="module")
def running_store(tmp_path_factory: pytest.TempPathFactory, azurite: Path) -> Iterator[Store]:
    folder = tmp_path_factory.mktemp("azure")
    (port,) = free_ports(1)
    command = [
        str(azurite),
        "--blobHost=127.0.0.1",
        f"--blobPort={port}",
        f"--location={folder / 'store'}",
        "--disableTelemetry",
        "--silent",
        # The client's version may be newer than the server's.
        "--skipApiVersionCheck",
    ]
    rows = folder / "rows"
    write_rows(rows)
    store = Store(f"http://127.0.0.1:{port}/{ACCOUNT}", rows)
    env = environment({"AZURITE_ACCOUNTS": f"{ACCOUNT}:{KEY}"})
    log = folder / "azurite.log"
    with running(command, log, env=env, cwd=folder, patience=0) as server:
        wait_for_port(port, server, log, seconds=60)
        store.container().create_container()
        for path in sorted(rows.iterdir()):
            store.container().upload_blob(f"digits/{path.name}", path.read_bytes())
        yield store


@pytest.fixture
def store(running_store: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """The server, with this process's environment pointing to it."""
    monkeypatch.setenv(CONNECTION, running_store.settings())
    adlfs.AzureBlobFileSystem.clear_instance_cache()
    yield running_store
    adlfs.AzureBlobFileSystem.clear_instance_cache()


@pytest.mark.parametrize(
    ("url", "n_files", "n_rows"),
    [
        (f"{URL}/digits", N_FILES, N_ROWS),
        (f"{URL}/digits/", N_FILES, N_ROWS),
        (f"{URL}/digits/part-[01].parquet", 2, 898),
        (f"{URL}/digits/part-?.parquet", N_FILES, N_ROWS),
        (f"{URL}/digits/part-3.parquet", 1, 450),
        ("az://rows/digits", N_FILES, N_ROWS),
        (f"abfss://rows@{ACCOUNT}.dfs.core.windows.net/digits", N_FILES, N_ROWS),
        (f"abfs://{ACCOUNT}.dfs.core.windows.net/rows/digits", N_FILES, N_ROWS),
    ],
)
def test_folder_glob_and_file_open(store: Store, url: str, n_files: int, n_rows: int) -> None:
    dataset = Dataset.open(url, base=Path.cwd())

    assert len(dataset.files) == n_files
    assert dataset.n_rows == n_rows
    assert dataset.local_paths == ()
    assert dataset.path == url.rpartition("/part-[")[0] or url
    assert "unknown" not in dataset.modified()


def test_rows_are_those_of_the_local_files(store: Store) -> None:
    def read(path: str) -> list[dict[str, Any]]:
        dataset = Dataset.open(path, base=Path.cwd())
        layout = plan_layout(dataset, ["image", "pixels", "seed"], block_bytes=2**30)
        reader = ColumnReader(dataset, layout)
        assert len(layout.row_chunks) == N_FILES
        kinds = {"image": "numeric", "pixels": "vector", "seed": "numeric"}
        return [reader.read(block, kinds) for block in range(N_FILES)]

    for near, far in zip(read(str(store.local_rows)), read(f"{URL}/digits"), strict=True):
        assert near["pixels"].any()
        for name, values in near.items():
            assert values.tobytes() == far[name].tobytes(), name
    near_files = Dataset.open(store.local_rows, base=Path.cwd())
    assert Dataset.open(f"{URL}/digits", base=Path.cwd()).identity() == near_files.identity()


@pytest.mark.parametrize(
    ("marks", "metadata"),
    [
        (["night"], {}),
        (["night"], {"hdi_isfolder": "true"}),
        (["night/"], {}),
        (["night/", "night/0.parquet/", "night/empty/", "night/empty.parquet/"], {}),
        (["night", "night/empty.parquet"], {"hdi_isfolder": "true"}),
    ],
)
def test_empty_objects_that_mark_folders_are_no_data(
    store: Store, request: pytest.FixtureRequest, marks: list[str], metadata: dict[str, str]
) -> None:
    top = f"marks-{abs(hash(request.node.name))}"
    for mark in marks:
        store.put(f"{top}/{mark}", None, **metadata)
    name = "0.parquet/1.parquet" if len(marks) == 4 else "1.parquet"
    store.put(f"{top}/night/{name}", 3)
    store.put(f"{top}/night2/2.parquet", 2)

    for path, n_rows in (
        ("night", 3),
        ("night/", 3),
        (f"night/{name.replace('1', '*')}", 3),
        ("night/**/*.parquet", 3),
        ("", 5),
        ("night*", 5),
    ):
        assert Dataset.open(f"{URL}/{top}/{path}", base=Path.cwd()).n_rows == n_rows, path


def test_an_empty_file_is_refused(store: Store) -> None:
    store.put("torn/0.parquet", 3)
    store.put("torn/1.parquet", None)
    with pytest.raises(InputDataError, match="0 bytes") as caught:
        Dataset.open(f"{URL}/torn", base=Path.cwd())
    assert caught.value.problems[0].file == f"{URL}/torn/1.parquet"


def test_files_of_a_table_are_refused(store: Store) -> None:
    store.put("table/day=1/0.parquet", 3)
    store.container().upload_blob("table/_delta_log/00000000000000000000.json", b"{}")
    for path in ("table", "table/day=1", "table/day=1/*.parquet", "table/day=1/0.parquet"):
        with pytest.raises(InputDataError, match="a table of Delta Lake"):
            Dataset.open(f"{URL}/{path}", base=Path.cwd())


@pytest.mark.parametrize(
    "url",
    [
        f"abfs://nothing@{ACCOUNT}.dfs.core.windows.net/digits",
        f"{URL}/no-such-folder",
        f"{URL}/digits/*.csv",
    ],
)
def test_nothing_there_names_the_url(store: Store, url: str) -> None:
    with pytest.raises(InputDataError, match="not found") as caught:
        Dataset.open(url, base=Path.cwd())

    assert caught.value.problems[0].file == url


def test_wrong_credentials_name_the_url_and_no_secret(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CONNECTION, store.settings(f"AccountKey={WRONG_KEY}"))

    with pytest.raises(InputDataError, match="cannot be listed") as caught:
        Dataset.open(f"{URL}/digits", base=Path.cwd())

    assert caught.value.problems[0].file == f"{URL}/digits"
    assert "AuthorizationFailure" in str(caught.value)
    assert WRONG_KEY not in str(caught.value)


def test_storage_options_are_used_and_never_shown(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(CONNECTION)

    def open_with(settings: str) -> Dataset:
        options = {"connection_string": settings}
        return Dataset.open(f"{URL}/digits", base=Path.cwd(), storage_options=options)

    dataset = open_with(store.settings())
    with pytest.raises(InputDataError) as caught:
        open_with(store.settings(f"AccountKey={WRONG_KEY}"))

    assert dataset.n_rows == N_ROWS
    assert KEY not in repr(dataset) + repr(dataset.source)
    assert WRONG_KEY not in str(caught.value)


def signature(days: int) -> str:
    token: str = blob.generate_container_sas(
        ACCOUNT,
        "rows",
        KEY,
        permission=blob.ContainerSasPermissions(read=True, list=True),
        expiry=datetime.now(UTC) + timedelta(days=days),
    )
    return token


def test_signatures_are_used_and_never_shown(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    token, late = signature(days=1), signature(days=-1)
    monkeypatch.setenv(CONNECTION, store.settings(f"SharedAccessSignature={token}"))
    assert Dataset.open(f"{URL}/digits", base=Path.cwd()).n_rows == N_ROWS
    with pytest.raises(InputDataError, match="a signature in a URL of this kind") as in_url:
        Dataset.open(f"{URL}/digits?{token}", base=Path.cwd())
    assert "AZURE_STORAGE_SAS_TOKEN" in str(in_url.value.problems[0].hint)

    adlfs.AzureBlobFileSystem.clear_instance_cache()
    monkeypatch.setenv(CONNECTION, store.settings(f"SharedAccessSignature={late}"))
    with pytest.raises(InputDataError, match="cannot be listed") as too_late:
        Dataset.open(f"{URL}/digits", base=Path.cwd())
    # The web server's side of the store takes it in the URL.
    web = f"{store.endpoint}/rows/digits/part-3.parquet"
    assert Dataset.open(f"{web}?{token}", base=Path.cwd()).n_rows == 450
    with pytest.raises(InputDataError) as in_web:
        Dataset.open(f"{web}?{late}", base=Path.cwd())

    for error in (in_url, too_late, in_web):
        assert "sig=" not in str(error.value)
        assert "sig%3D" not in str(error.value)


def test_the_account_of_the_url_is_the_one_that_is_read(store: Store) -> None:
    with pytest.raises(InputDataError, match="account 'other', but the settings are of") as caught:
        Dataset.open("abfs://rows@other.dfs.core.windows.net/digits", base=Path.cwd())
    assert "AZURE_STORAGE_CONNECTION_STRING" in str(caught.value.problems[0].hint)


def test_an_endpoint_that_nobody_answers_at(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    # The library asks four times, in more than a minute.
    monkeypatch.setattr(blob.aio.ExponentialRetry, "get_backoff_time", lambda self, settings: 0)
    (port,) = free_ports(1)
    monkeypatch.setenv(CONNECTION, store.settings(endpoint=f"http://127.0.0.1:{port}/{ACCOUNT}"))
    with pytest.raises(StorageError, match="the store cannot be reached") as caught:
        Dataset.open(f"{URL}/digits", base=Path.cwd())
    assert caught.value.exit_code == 6
    assert caught.value.problems[0].file == f"{URL}/digits"


def test_a_second_run_of_the_process_sees_what_is_new(store: Store, tmp_path: Path) -> None:
    for i in range(3):
        data = (store.local_rows / f"part-{i}.parquet").read_bytes()
        store.container().upload_blob(f"growing/part-{i}.parquet", data)
    job = write_job(tmp_path / "job.yaml", f"{URL}/growing", tmp_path / "out", cluster={})
    first = run_job(job)
    again = run_job(job)
    last = (store.local_rows / "part-3.parquet").read_bytes()
    store.container().upload_blob("growing/part-3.parquet", last)
    second = run_job(job)
    # The same bytes, written again: another version.
    store.container().upload_blob("growing/part-3.parquet", last, overwrite=True)
    third = run_job(job)

    rows = [pq.read_table(run.path / "labels").num_rows for run in (first, second)]
    assert rows == [N_ROWS - 450, N_ROWS]
    done = [run.already_done for run in (first, again, second, third)]
    assert done == [False, True, False, False]


def assert_no_secret(folder: Path, *texts: str) -> None:
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert len(files) > 3
    for content in (*(path.read_bytes() for path in files), *(text.encode() for text in texts)):
        assert KEY.encode() not in content
        assert b"AccountKey" not in content


def test_commands_give_what_local_files_give(store: Store, tmp_path: Path) -> None:
    drafted = ssl_dask("init", f"{URL}/digits", cwd=tmp_path, extra=store.env)
    assert drafted.code == 0, drafted.stderr
    assert f'path: "{URL}/digits"' in drafted.stdout
    job = write_job(tmp_path / "far.yaml", f"{URL}/digits", tmp_path / "far", cluster={})
    for command in ("validate", "plan"):
        checked = ssl_dask(command, job, cwd=tmp_path, extra=store.env)
        assert checked.code == 0, checked.stderr
    far = ssl_dask("run", job, "--json-logs", cwd=tmp_path, extra=store.env)
    assert far.code == 0, far.stderr
    assert_same_answer(far.path, run_near(store, tmp_path))
    report = json.loads((far.path / "report.json").read_text())
    assert report["input"]["path"] == f"{URL}/digits"
    assert report["input"]["files"] == N_FILES
    assert f"{URL}/digits" in (far.path / "report.html").read_text()
    assert_no_secret(tmp_path / "far", far.stderr, far.stdout)


def run_near(store: Store, folder: Path) -> Path:
    """The job on the local files, in this process."""
    job = write_job(folder / "near.yaml", store.local_rows, folder / "near", cluster={})
    return run_job(job).path


def test_new_rows_are_labelled(store: Store, tmp_path: Path) -> None:
    job = write_job(
        tmp_path / "job.yaml",
        f"{URL}/digits/part-[012].parquet",
        tmp_path / "out",
        method={"name": "self_training"},
        graph=None,
        cluster={},
    )
    run_job(job, overrides=["output.models=true"])
    found = []
    for place in (str(store.local_rows), f"{URL}/digits"):
        rows = f"{place}/part-3.parquet"
        to = tmp_path / f"new-{len(found)}"
        said = ssl_dask("predict", tmp_path / "out", rows, "-o", to, cwd=tmp_path, extra=store.env)
        assert said.code == 0, said.stderr
        found.append(pq.read_table(sorted((said.path / "labels").glob("*.parquet"))))
    assert found[0].num_rows == 450
    assert found[0].equals(found[1])


def test_a_killed_run_goes_on(store: Store, tmp_path: Path) -> None:
    job = write_job(tmp_path / "job.yaml", f"{URL}/digits", tmp_path / "out", cluster={})
    log = tmp_path / "log"
    with started(job, log) as process:
        wait_for_events(process, log, event="checkpoint_written")
    assert not (tmp_path / "out" / "latest").exists()
    resumed = ssl_dask("run", job, "--resume", "--json-logs", cwd=tmp_path, extra=store.env)

    assert resumed.code == 0, resumed.stderr
    assert '"event": "resumes"' in resumed.stderr
    assert_same_answer(resumed.path, run_near(store, tmp_path))
    assert_no_secret(tmp_path / "out", resumed.stderr)


def test_an_output_there_is_refused(store: Store, tmp_path: Path) -> None:
    job = write_job(tmp_path / "job.yaml", f"{URL}/digits", f"{URL}/out")
    refused = ssl_dask("run", job, cwd=tmp_path, extra=store.env)
    assert refused.code == 2, refused.stderr
    assert refused.last_words["message"].startswith("output.path is a URL: abfs://...")
    assert [path.name for path in tmp_path.iterdir()] == ["job.yaml"]
    assert not list(store.container().list_blobs(name_starts_with="out"))
