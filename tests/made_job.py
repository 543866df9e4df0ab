"""A small made job for tests of the whole way: three kinds of rows, and an island without seeds."""

from __future__ import annotations

import hashlib
import itertools
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ssl_dask.round_record import RoundRecord

NAMES = ("ant", "bee", "cat")
N_ROWS, N_ISLAND, N_SEEDS = 320, 20, 18
N_UNKNOWN, N_LOOPS = 7, 3
LACKING = np.random.default_rng(8).random((2, N_ROWS)) < 0.2
WORDS = {
    "ant": "nest leaf trail soil queen colony",
    "bee": "hive pollen honey wing queen flower",
    "cat": "milk mouse sofa purr wing tail",
}


def made_rows(*, seed: int = 0) -> pa.Table:
    """Return 320 rows: id, three numbers, a text, a kind, seed labels, the truth.

    The last 20 rows lie far away from all others, and none of them is labelled.
    """
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 3, N_ROWS)
    centres = np.array([[0.0, 0, 0], [2.5, 0, 0], [0, 2.5, 1]])
    X = centres[truth] + rng.normal(size=(N_ROWS, 3)) * 0.8
    X[-N_ISLAND:] += 1000
    main = np.arange(N_ROWS - N_ISLAND)
    seeds = [rng.choice(main[truth[main] == c], N_SEEDS // 3, replace=False) for c in range(3)]
    known = np.zeros(N_ROWS, bool)
    known[np.concatenate(seeds)] = True
    names = np.array(NAMES, dtype=object)[truth]
    texts = [
        " ".join(rng.choice(WORDS[name].split(), 5)) + f" n{i % 7}" for i, name in enumerate(names)
    ]
    return pa.table(
        {
            "id": np.arange(N_ROWS) * 3 + 10**15,
            "a": X[:, 0],
            "b": X[:, 1],
            "c": X[:, 2].astype(np.float32),
            "text": pa.array(texts),
            "seed": pa.array(names, mask=~known),
            "truth": pa.array(names),
        }
    )


def rows_that_share(seed: int = 5) -> pa.Table:
    """The made rows; most have a card, whose 4 rows are of one kind, and a device of many rows."""
    rng = np.random.default_rng(seed)
    rows = made_rows()
    kinds = np.array(rows["truth"].to_pylist())
    cards = np.full(N_ROWS, None, dtype=object)
    for kind in NAMES:
        members = rng.permutation(np.flatnonzero(kinds == kind))
        for number, row in enumerate(members):
            cards[row] = f"{kind[0]}{number // 4}" if number % 9 else None
    devices = rng.integers(0, 30, N_ROWS)
    devices[:100] = 99
    return rows.append_column("card", pa.array(cards)).append_column("device", pa.array(devices))


def some_edges(rows: pa.Table, seed: int = 6) -> pa.Table:
    """Nine of ten edges join rows of one kind; a few name unknown rows, or a row with itself."""
    rng = np.random.default_rng(seed)
    kinds = np.array(rows["truth"].to_pylist())
    ids = rows["id"].to_numpy()
    ends = []
    for row in range(len(ids)):
        same = rng.random(4) < 0.9
        ends += [(row, rng.choice(np.flatnonzero((kinds == kinds[row]) == one))) for one in same]
    u, v = np.array(ends).T
    source = np.concatenate([ids[u], ids[:N_LOOPS], np.full(N_UNKNOWN, 11)])
    target = np.concatenate([ids[v], ids[:N_LOOPS], ids[:N_UNKNOWN]])
    mixed = rng.permutation(len(source))
    w = rng.integers(1, 4, len(source)) / 2
    return pa.table({"from": source[mixed], "to": target[mixed], "w": w})


def with_column(table: pa.Table, name: str, values: Any) -> pa.Table:
    """Return the table with other values in a column, or with one column more."""
    column = values if isinstance(values, pa.Array | pa.ChunkedArray) else pa.array(values)
    if name not in table.column_names:
        return table.append_column(name, column)
    return table.set_column(table.column_names.index(name), name, column)


def rows_that_lack(*, seed: int = 0) -> pa.Table:
    """The made rows; some have no numbers and some no text, as `LACKING` says."""
    table = made_rows(seed=seed)
    for name, mask in zip(("a", "b", "c", "text"), LACKING[[0, 0, 0, 1]], strict=True):
        values = pa.array(table[name].to_pylist(), table.schema.field(name).type, mask=mask)
        table = with_column(table, name, values)
    return table


def write_rows(folder: Path, table: pa.Table, *, files: int = 3, group_rows: int = 40) -> Path:
    """Write the rows as Parquet files of several row groups, alone in the folder; return that."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    cuts = np.linspace(0, len(table), files + 1).astype(int)
    for part, (start, stop) in enumerate(itertools.pairwise(cuts.tolist())):
        path = folder / f"part-{part:02d}.parquet"
        pq.write_table(table.slice(start, stop - start), path, row_group_size=group_rows)
    return folder


def made_job(rows: Path, out: Path, **more: Any) -> dict[str, Any]:
    """Return a job as plain data; `more` replaces its top keys."""
    job = {
        "name": "made",
        "input": {"path": str(rows), "id": "id", "label": "seed", "truth": "truth"},
        "features": {"numbers": {"numeric": ["a", "b", "c"], "scale": "none"}},
        "graph": {"n_neighbors": 8},
        "method": {"name": "label_spreading", "alpha": 0.9},
        "evaluation": {"folds": 3},
        "output": {"path": str(out)},
        "cluster": {"kind": "local", "workers": 1, "memory": "1GiB"},
        **more,
    }
    return {key: value for key, value in job.items() if value is not None}


def write_job(path: Path, job: dict[str, Any]) -> Path:
    # JSON is YAML.
    path.write_text(json.dumps(job, indent=1), encoding="utf-8")
    return path


def read_parts(run: Path, folder: str = "labels") -> pa.Table:
    """Return a run's rows, after checking each file against the manifest."""
    manifest = json.loads((run / "manifest.json").read_text())
    parts = [part for part in manifest["parts"] if part["folder"] == folder]
    found = sorted(path.name for path in (run / folder).iterdir())
    assert found == [part["name"] for part in parts]
    tables = []
    for part in parts:
        path = run / folder / part["name"]
        assert hashlib.sha256(path.read_bytes()).hexdigest() == part["sha256"]
        tables.append(pq.read_table(path, partitioning=None))
        assert len(tables[-1]) == part["rows"]
    return pa.concat_tables(tables)


def answer(run: Path) -> list[tuple[str, Any]]:
    """Return all columns of a run's labels, floats as their bytes, parts put together."""
    table = read_parts(run).combine_chunks()
    out: list[tuple[str, Any]] = []
    for name in table.column_names:
        column = table[name]
        if pa.types.is_floating(column.type):
            out.append((name, column.to_numpy().tobytes()))
        else:
            out.append((name, column.to_pylist()))
    return out


def assert_useful(run: Path, *, least: float = 0.6, of: Sequence[str] = NAMES) -> pa.Table:
    """Fail if the answer is degenerate: few labels, one class, or one probability for all."""
    table = read_parts(run)
    labels = [label for label in table["label"].to_pylist() if label is not None]
    assert len(labels) > least * len(table)
    assert set(labels) == set(of)
    assert table["source"].to_pylist().count("seed") >= len(of)
    return table


@dataclass
class Heard:
    """A listener that keeps what it hears."""

    events: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    stages: list[str] = field(default_factory=list)
    rounds: list[RoundRecord] = field(default_factory=list)
    run_id: str | None = None

    def begin(self, run_id: str) -> None:
        self.run_id = run_id

    def stage(self, name: str) -> None:
        self.stages.append(name)

    def progress(self, what: str, done: int, total: int) -> None:
        assert 0 <= done <= total

    def round(self, record: RoundRecord) -> None:
        self.rounds.append(record)

    def event(self, name: str, /, *, level: str = "info", **fields: Any) -> None:
        self.events.append((name, fields))

    def named(self, name: str) -> list[dict[str, Any]]:
        return [fields for event, fields in self.events if event == name]
