"""Stores are looked at anew, what they fail with is ours, and no secret is told."""

from __future__ import annotations

import functools
import http.server
import io
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fsspec.implementations.memory import MemoryFile, MemoryFileSystem
from fsspec.registry import _registry

from ssl_dask.errors import InputDataError, StorageError
from ssl_dask.storage.files.file_source import FileSource, RemoteFile, redact_url
from ssl_dask.storage.files.table_folders import refuse_tables
from ssl_dask.storage.input.dataset import Dataset
from tests.parquet_samples import open_reader, write


class Store(MemoryFileSystem):
    """A store that remembers what it has seen, as those behind s3fs and gcsfs do."""

    protocol = "remembers"
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]
    seen: ClassVar[dict[Any, Any]] = {}
    failure: ClassVar[Exception | None] = None

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        return super()._strip_protocol(path.replace("remembers://", "memory://"))

    def invalidate_cache(self, path: str | None = None) -> None:
        self.seen.clear()

    def _remembered(self, key: Any, look: Any) -> Any:
        if self.failure is not None:
            raise self.failure
        if key not in self.seen:
            self.seen[key] = look()
        return self.seen[key]

    def find(self, path: str, *args: Any, **options: Any) -> Any:
        below = self._strip_protocol(path).rstrip("/") + "/"
        found = {
            name: {"type": "file", "size": len(content.getvalue())}
            for name, content in self.store.items()
            if name.startswith(below)
        }
        return self._remembered(("find", path), lambda: found)

    def glob(self, path: str, **options: Any) -> Any:
        look = super().glob
        return self._remembered(("glob", path), lambda: look(path, **options))

    def info(self, path: str, **options: Any) -> Any:
        look = super().info
        found = self._remembered(("info", path), lambda: look(path, **options))
        return found | {"ETag": str(found["size"])}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    fsspec.register_implementation("remembers", Store, clobber=True)
    files = Store()
    yield files
    Store.failure = None
    Store.store.clear()
    Store.seen.clear()


def put(files: Store, path: str, rows: int) -> None:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"id": list(range(rows))}), sink)
    files.pipe_file(path, sink.getvalue().to_pybytes())


@pytest.mark.parametrize("url", ["remembers://b/night", "remembers://b/night/*.parquet"])
def test_a_second_look_sees_what_is_new(store: Store, tmp_path: Path, url: str) -> None:
    put(store, "/b/night/0.parquet", 3)
    first = Dataset.open(url, base=tmp_path)
    marks = first.modified()
    put(store, "/b/night/0.parquet", 40_000)
    put(store, "/b/night/1.parquet", 2)
    second = Dataset.open(url, base=tmp_path)
    assert (first.n_rows, second.n_rows) == (3, 40_002)
    assert first.modified() != marks


def test_markers_of_folders_are_no_data(store: Store, tmp_path: Path) -> None:
    put(store, "/b/t.parquet/0.parquet", 3)
    Store.store["/b/t.parquet"] = MemoryFile(store, "/b/t.parquet", b"")
    for url in ("remembers://b", "remembers://b/t.parquet", "remembers://b/t.parquet/"):
        assert Dataset.open(url, base=tmp_path).n_rows == 3


def test_a_file_that_went_away_is_told_so(store: Store, tmp_path: Path) -> None:
    put(store, "/b/0.parquet", 3)
    dataset = Dataset.open("remembers://b", base=tmp_path)
    store.rm("/b/0.parquet")
    with pytest.raises(InputDataError, match="cannot be read") as caught:
        dataset.modified()
    assert caught.value.problems[0].file == "remembers://b/0.parquet"


class EndpointConnectionError(Exception):
    """As botocore names it."""


@pytest.mark.parametrize(
    ("failure", "kind", "code"),
    [
        (EndpointConnectionError("nobody"), StorageError, 6),
        (ConnectionRefusedError(111, "refused"), StorageError, 6),
        (TimeoutError(), StorageError, 6),
        (PermissionError("denied"), InputDataError, 3),
        (AttributeError("'list' object has no attribute 'items'"), InputDataError, 3),
    ],
)
def test_what_a_store_fails_with_is_an_error_of_ours(
    store: Store, tmp_path: Path, failure: Exception, kind: type, code: int
) -> None:
    put(store, "/b/0.parquet", 3)
    dataset = Dataset.open("remembers://b", base=tmp_path)
    Store.failure = failure
    for look in (lambda: Dataset.open("remembers://b", base=tmp_path), dataset.modified):
        with pytest.raises(kind) as caught:
            look()
        assert caught.value.exit_code == code
        assert type(failure).__name__ in str(caught.value) or "refused" in str(caught.value)
        assert caught.value.problems[0].hint


def test_a_container_is_no_secret() -> None:
    url = "abfs://cont@acct.dfs.core.windows.net/d/*.parquet"
    assert redact_url(url) == url
    assert redact_url("abfs://u:p@acct/d") == "abfs://***@acct/d"
    assert redact_url("https://token@host/d") == "https://***@host/d"


def test_a_web_server_is_not_asked_what_lies_beside_a_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[FileSource] = []
    monkeypatch.setattr(FileSource, "forget", lambda self: asked.append(self) or fsspec)
    for url, n_asked in (("https://host/d/a.parquet", 0), ("s3://bucket/d/a.parquet", 1)):
        refuse_tables(FileSource(url, "d", "d/a.parquet", url), ["a.parquet"], whole=False)
        assert len(asked) == n_asked


@pytest.mark.parametrize(
    ("scheme", "module", "extra"),
    [
        ("gs", "gcsfs", "gcs"),
        ("az", "adlfs", "azure"),
        ("abfss", "adlfs", "azure"),
        ("s3", "s3fs", "s3"),
        ("https", "fsspec.implementations.http", "http"),
    ],
)
def test_a_package_that_is_missing_is_named_with_its_extra(
    scheme: str, module: str, extra: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.delitem(_registry, scheme, raising=False)
    with pytest.raises(InputDataError, match="a package that is not installed") as caught:
        Dataset.open(f"{scheme}://b/rows", base=tmp_path)
    problem = caught.value.problems[0]
    assert (problem.hint, problem.file) == (f"install ssl-dask[{extra}]", f"{scheme}://b/rows")
    assert caught.value.exit_code == 3


def test_secrets_of_the_environment_are_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    key, signature = "bXkta2V5", "sv=2021&sig=bXktc2ln"
    settings = f"AccountName=acct;AccountKey={key};SharedAccessSignature={signature}"
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", settings)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAQQ")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    source = FileSource("abfs://c@acct/d", "c/d", None, "abfs://c@acct/d")
    told = source.words_of(OSError(f"{settings} {key} {signature} AKIAQQ at http://127.0.0.1:9"))
    assert told == "OSError: *** *** *** *** at http://127.0.0.1:9"


class LinksOnly(http.server.SimpleHTTPRequestHandler):
    """Python's own server: it knows no ranges, and its pages of links say no sizes."""

    def log_message(self, *args: Any) -> None:
        pass


def test_a_web_server_without_ranges_gives_the_rows(tmp_path: Path) -> None:
    pytest.importorskip("aiohttp", reason="pip install ssl-dask[http]")
    for i in range(3):
        write(tmp_path / f"{i}.parquet", {"id": [i, 10 + i]})
    write(tmp_path / "no_ending", {"id": [99]})
    handler = functools.partial(LinksOnly, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        try:
            for path, rows in (
                ("*.parquet", [0, 10, 1, 11, 2, 12]),
                ("1.parquet", [1, 11]),
                ("[n2]*", [2, 12, 99]),
            ):
                reader = open_reader(f"{url}/{path}")
                found = [n for b in reader.blocks for n in reader.read(b, {"id": "id"})["id"]]
                assert found == rows
            before = reader.dataset.modified()
            assert before[0].endswith("GMT")
            with pytest.raises(InputDataError, match="not found"):
                Dataset.open(f"{url}/none.parquet", base=tmp_path)
        finally:
            server.shutdown()


class Counting(Store):
    """Counts requests, and how many of them wait at a time."""

    protocol = "counts"
    asked: ClassVar[list[tuple[str, int, int]]] = []
    waiting: ClassVar[int] = 0
    most: ClassVar[int] = 0

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        return super()._strip_protocol(path.replace("counts://", "memory://"))

    def cat_file(self, path: str, start: Any = None, end: Any = None, **options: Any) -> bytes:
        self.asked.append((path, start, end))
        Counting.waiting += 1
        Counting.most = max(Counting.most, Counting.waiting)
        time.sleep(0.02)
        Counting.waiting -= 1
        content: bytes = super().cat_file(path, start=start, end=end, **options)
        return content

    def _open(self, *args: Any, **options: Any) -> Any:
        if args[1] != "wb":
            raise AssertionError("opened, which asks for the size and reads ahead")
        return super()._open(*args, **options)


def test_small_files_are_read_by_one_request_each_several_at_a_time(store: Store) -> None:
    fsspec.register_implementation("counts", Counting, clobber=True)
    for i in range(40):
        put(store, f"/b/{i}.parquet", 5)
    reader = open_reader("counts://b")
    assert len(reader.blocks) == 1
    Counting.asked.clear()
    Counting.most = 0
    assert reader.read(0, {"id": "id"})["id"].tolist() == list(range(5)) * 40
    assert sorted(path for path, _, _ in Counting.asked) == sorted(
        f"/b/{i}.parquet" for i in range(40)
    )
    assert Counting.most > 2


def test_a_remote_file_is_the_file(store: Store) -> None:
    content = bytes(range(256)) * 3
    store.pipe_file("/b/x", content)
    fsspec.register_implementation("counts", Counting, clobber=True)
    source = FileSource("counts://b", "/b", None, "counts://b")
    Counting.asked.clear()
    with RemoteFile(source, "x", len(content)) as file, io.BytesIO(content) as plain:
        assert file.read_range(600, 768) == content[600:768]
        for move in ((700, 0), (10, 1), (-20, 2), (-100, 1), (0, 2), (5, 0)):
            assert file.seek(*move) == plain.seek(*move)
            assert file.read(12) == plain.read(12)
            assert file.tell() == plain.tell()
        assert file.read() == plain.read()
    assert [(start, end) for _, start, end in Counting.asked] == [(600, 768), (5, 17), (17, 768)]


def test_what_lies_beside_a_folder_is_not_in_it(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(store, "/b/night/0.parquet", 3)
    put(store, "/b/night2/0.parquet", 2)
    beside = {
        name: {"type": "file", "size": len(content.getvalue())}
        for name, content in Store.store.items()
    }
    monkeypatch.setattr(Store, "find", lambda self, path, **options: beside)
    assert Dataset.open("remembers://b/night", base=tmp_path).n_rows == 3


@pytest.mark.parametrize("scheme", ["wasb", "wasbs"])
def test_azures_old_scheme_is_refused_with_the_new_one(scheme: str) -> None:
    url = f"{scheme}://box@account.blob.core.windows.net/rows"
    with pytest.raises(InputDataError, match="is not read") as caught:
        Dataset.open(url, base=Path.cwd())
    (problem,) = caught.value.problems
    assert "abfss://CONTAINER@ACCOUNT.dfs.core.windows.net" in str(problem.hint)
