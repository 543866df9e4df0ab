"""What a finished run holds, as items that depend on neither run id, time, place nor version."""

from __future__ import annotations

import hashlib
import json
import re
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

Items = dict[str, Any]
WORDS = ":words"
"""End of the names of items that hold sentences: these may be changed on purpose."""
SENTENCES = ("notes", "warnings", "stopped", "reason")
"""Keys of a report whose texts are sentences."""
OF_THE_RUN = ("run_id", "started", "seconds", "versions", "created", "attempt", "sha256", "bytes")
RUN_ID = re.compile(r"\d{8}T\d{12}Z-[0-9a-f]{8}")
NUMBER = re.compile(r"\d[\d,.]*(?:e[-+]?\d+)?")


def digest(*pieces: bytes | str) -> str:
    """Return the start of the SHA-256 of all pieces."""
    whole = hashlib.sha256()
    for piece in pieces:
        data = piece.encode() if isinstance(piece, str) else piece
        whole.update(len(data).to_bytes(8, "little") + data)
    return whole.hexdigest()[:16]


def canonical(value: Any) -> str:
    return json.dumps(value, indent=1, sort_keys=True, default=str)


def without_places(text: str, folder: Path) -> str:
    """Replace the work folder, run ids and ports in a text."""
    text = RUN_ID.sub("RUN", text.replace(str(folder), "WORK"))
    return re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:PORT", text)


def array_digest(value: Any) -> str:
    """Return the digest of an array's type, shape and bytes; of objects by their text."""
    array = np.ascontiguousarray(value)
    data = array.tobytes() if array.dtype != object else repr(array.tolist())
    return f"{array.dtype}{list(array.shape)} {digest(str(array.dtype), str(array.shape), data)}"


def column_digest(column: pa.ChunkedArray) -> str:
    """Return the digest of a column's type and values, however it is cut and padded."""
    return digest(str(column.type), *(repr(value) for value in column.to_pylist()))


def part_items(run: Path, kind: str) -> Items:
    """Return the items of the parts in the folder `kind` of a run."""
    paths = sorted((run / kind).glob("*.parquet"))
    tables = [pq.read_table(path, partitioning=None) for path in paths]
    table = pa.concat_tables(tables)
    items = {f"{kind}/{name}": column_digest(table[name]) for name in table.column_names}
    items[f"{kind}/rows"] = [len(one) for one in tables]
    items[f"{kind}/schema"] = [str(one.with_metadata(None)) for one in table.schema]
    items[f"{kind}/files"] = digest(*map(file_layout, paths))
    told = {one.name: str(one.metadata) for one in table.schema}
    more = {key.decode(): value.decode() for key, value in (table.schema.metadata or {}).items()}
    items[f"{kind}/schema{WORDS}"] = digest(RUN_ID.sub("RUN", canonical([told, more])))
    return items


def file_layout(path: Path) -> str:
    """Return how a Parquet file is laid out: row groups, encodings and compression."""
    footer = pq.ParquetFile(path).metadata
    layout: list[Any] = [sorted(key.decode() for key in footer.metadata or {})]
    for number in range(footer.num_row_groups):
        group = footer.row_group(number)
        columns = [group.column(place) for place in range(group.num_columns)]
        layout.append([(c.path_in_schema, c.compression, str(c.encodings)) for c in columns])
    return canonical(layout)


def split_sentences(value: Any, folder: Path, place: str = "") -> tuple[Any, dict[str, Any]]:
    """Return a report without what belongs to the run, and its sentences apart.

    Lists of sentences are replaced by how many there are.
    """
    if isinstance(value, str):
        return without_places(value, folder), {}
    if isinstance(value, list):
        pairs = [split_sentences(one, folder, f"{place}.{n}") for n, one in enumerate(value)]
        return [rest for rest, _ in pairs], dict(joined(words for _, words in pairs))
    if not isinstance(value, dict):
        return value, {}
    rest: dict[str, Any] = {}
    found: dict[str, Any] = {}
    for key, inner in value.items():
        if key in OF_THE_RUN:
            continue
        at = f"{place}.{key}".lstrip(".")
        inner, words = split_sentences(inner, folder, at)
        if key in SENTENCES and isinstance(inner, list | str):
            rest[key] = len(inner) if isinstance(inner, list) else "a sentence"
            found |= {at: inner} if inner else {}
        else:
            rest[key] = inner
            found |= words
    return rest, found


def joined(parts: Iterable[dict[str, Any]]) -> dict[str, Any]:
    return {key: value for part in parts for key, value in part.items()}


def report_items(run: Path, folder: Path, *, keep: Path | None) -> Items:
    """Return the items of report.json and report.html; keep the text of the former in a file."""
    report, words = split_sentences(json.loads((run / "report.json").read_text()), folder)
    text = canonical(report)
    if keep is not None:
        keep.write_text(text)
    items: Items = {f"report/{key}": digest(canonical(value)) for key, value in report.items()}
    items[f"report{WORDS}"] = words
    return items


def manifest_items(run: Path, folder: Path) -> Items:
    """Return the items of manifest.json: its fingerprint key by key, and the rest as a whole."""
    manifest, _ = split_sentences(json.loads((run / "manifest.json").read_text()), folder)
    mark = manifest.pop("fingerprint", {}).get("fields", {})
    mark = {key: value for key, value in mark.items() if not key.startswith("versions.")}
    return {"manifest": digest(canonical(manifest)), "fingerprint": digest(canonical(mark))}


def model_items(run: Path, folder: Path) -> Items:
    """Return the items of the models that a run has kept."""
    items: Items = {}
    for path in sorted((run / "models").iterdir()):
        name = f"models/{RUN_ID.sub('RUN', path.name)}"
        if path.suffix == ".skops":
            items[name] = digest(canonical(skops_content(path)))
        else:
            described, _ = split_sentences(json.loads(path.read_text()), folder)
            items[name] = digest(canonical(described))
    return items


def skops_content(path: Path) -> Any:
    """Return what a skops file holds, without addresses in memory and the homes of our classes."""
    with zipfile.ZipFile(path) as archive:
        arrays = {name: digest(archive.read(name)) for name in archive.namelist()}
        return plain(json.loads(archive.read("schema.json")), arrays)


def plain(value: Any, arrays: dict[str, str]) -> Any:
    if isinstance(value, dict):
        ours = str(value.get("__module__")).startswith("ssl_dask")
        left_out = {"__id__", "_skops_version", *(["__module__"] if ours else [])}
        return {key: plain(one, arrays) for key, one in value.items() if key not in left_out}
    if isinstance(value, list):
        return [plain(one, arrays) for one in value]
    if isinstance(value, str):
        return arrays.get(value) or re.sub(r"ssl_dask\.[\w.]+\.(\w+)", r"\1", value)
    return value


def run_items(run: Path, folder: Path, *, keep: Path | None = None) -> Items:
    """Return all items of a finished run.

    Parameters
    ----------
    run
        Its folder.
    folder
        The work folder, which paths are told from.
    keep
        File for the report as it is compared.
    """
    items = {**report_items(run, folder, keep=keep), **manifest_items(run, folder)}
    for kind in ("labels", "review", "quarantine"):
        if (run / kind).is_dir():
            items |= part_items(run, kind)
    if (run / "models").is_dir():
        items |= model_items(run, folder)
    known = {"labels", "review", "quarantine", "models"}
    items["files"] = sorted(path.name for path in run.iterdir() if path.name not in known)
    return items


def told_items(name: str, text: str, folder: Path) -> Items:
    """Return a text as two items: its numbers, and its words line by line."""
    lines = [line.rstrip() for line in without_places(text, folder).splitlines()]
    numbers = [NUMBER.findall(line) for line in lines]
    return {name: [" ".join(one) for one in numbers if one], f"{name}{WORDS}": lines}
