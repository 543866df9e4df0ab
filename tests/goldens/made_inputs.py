"""Small made inputs of the golden runs, the same bytes and file times in every recording."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

N_ROWS, N_ISLAND, N_COPIES, SEEDS_OF_A_CLASS = 400, 16, 12, 8
GROUP_ROWS = 25
NAMES = ("ant", "bee", "cat")
WORDS = {
    "ant": "nest leaf trail soil queen colony sun rain",
    "bee": "hive pollen honey wing queen flower sun rain",
    "cat": "milk mouse sofa purr wing tail sun rain",
}
FILE_TIME = 1_700_000_000
"""Seconds since 1970: the identity of an input holds the times of its files."""


def write_inputs(folder: Path) -> None:
    """Write all inputs of the jobs to `folder`."""
    rows = class_rows()
    write(folder / "rows.parquet", rows)
    for part in range(3):
        write(folder / f"parts/part-{part}.parquet", rows.slice(part * 150, 150))
    write(folder / "new_rows.parquet", class_rows(seed=9).slice(0, 90))
    write(folder / "numbers.parquet", number_rows())
    write(folder / "edges.parquet", edge_rows(rows))
    write_bad_inputs(folder, rows)


def copy_jobs(source: Path, folder: Path) -> None:
    """Copy the jobs that ship, and their data, with file times that are always the same."""
    for path in sorted([*source.glob("*.yaml"), *source.glob("data/*")]):
        copy = folder / path.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
        os.utime(copy, (FILE_TIME, FILE_TIME))


def write(path: Path, table: pa.Table) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, row_group_size=GROUP_ROWS)
    os.utime(path, (FILE_TIME, FILE_TIME))


def class_rows(*, seed: int = 0) -> pa.Table:
    """Return rows of three classes that overlap, with copies, and an island without seeds."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 3, N_ROWS)
    centres = np.array([[0.0, 0, 0, 1], [2, 0, 1, 0], [0, 2, 1, 1]])
    X = centres[truth] + rng.normal(size=(N_ROWS, 4)) * 0.9
    X[40 : 40 + N_COPIES] = X[40]
    X[-N_ISLAND:] += 25
    names = np.array(NAMES, dtype=object)[truth]
    texts = [" ".join(rng.choice(WORDS[name].split(), 4)) for name in names]
    lacks = rng.random((2, N_ROWS)) < 0.2
    return pa.table(
        {
            "id": np.arange(N_ROWS) * 3 + 10**15 + seed,
            "a": X[:, 0],
            "b": X[:, 1],
            "c": X[:, 2].astype(np.float32),
            "d": pa.array(X[:, 3], mask=rng.random(N_ROWS) < 0.05),
            "vector": pa.array(list(X.astype(np.float32))),
            "kind": pa.array(rng.choice(["x", "y", "z"], N_ROWS), mask=rng.random(N_ROWS) < 0.1),
            "text": texts,
            "view_a": pa.array(X[:, 0], mask=lacks[0]),
            "view_b": pa.array(X[:, 1], mask=lacks[0]),
            "view_text": pa.array(texts, mask=lacks[1]),
            "card": shared_values(rng, names, 4),
            "device": rng.integers(0, 60, N_ROWS),
            "seed": pa.array(names, mask=~seed_rows(rng, truth)),
            "truth": pa.array(names),
        }
    )


def seed_rows(rng: np.random.Generator, truth: np.ndarray) -> np.ndarray:
    known = np.zeros(N_ROWS, bool)
    main = np.arange(N_ROWS - N_ISLAND)
    for code in range(len(NAMES)):
        known[rng.choice(main[truth[main] == code], SEEDS_OF_A_CLASS, replace=False)] = True
    return known


def shared_values(rng: np.random.Generator, names: np.ndarray, size: int) -> pa.Array:
    """Return a value for each row that about `size` rows share, mostly of one class."""
    order = np.argsort(
        [f"{name}{key}" for name, key in zip(names, rng.random(N_ROWS), strict=True)]
    )
    values = np.empty(N_ROWS, dtype=object)
    values[order] = [f"v{place // size}" for place in range(N_ROWS)]
    return pa.array(values, mask=rng.random(N_ROWS) < 0.1)


def number_rows(*, seed: int = 0) -> pa.Table:
    """Return rows whose labels are numbers, with copies, and an island without labels."""
    rng = np.random.default_rng(seed)
    X = rng.uniform(-2, 2, (N_ROWS, 2))
    X[40 : 40 + N_COPIES] = X[40]
    truth = 500 + 40 * np.sin(2 * X[:, 0]) + 10 * X[:, 1] ** 2 + rng.normal(size=N_ROWS)
    words = np.where(X[:, 0] > 0, "high steep hill", "low flat field")
    X[-N_ISLAND:] += 25
    known = np.zeros(N_ROWS, bool)
    known[rng.choice(N_ROWS - N_ISLAND, 60, replace=False)] = True
    return pa.table(
        {
            "id": np.arange(N_ROWS) * 3 + 10**15,
            "a": X[:, 0],
            "b": X[:, 1].astype(np.float32),
            "text": [
                f"{text} {place}" for text, place in zip(words, np.rint(X[:, 1]), strict=True)
            ],
            "level": pa.array(truth, mask=~known),
            "truth": truth,
        }
    )


def edge_rows(rows: pa.Table, *, seed: int = 6) -> pa.Table:
    """Return edges, nine of ten between rows of one class; some are loops or name unknown rows."""
    rng = np.random.default_rng(seed)
    names = np.array(rows["truth"].to_pylist())
    ids = rows["id"].to_numpy()
    ends = [
        (row, rng.choice(np.flatnonzero((names == names[row]) == (rng.random() < 0.9))))
        for row in np.repeat(np.arange(N_ROWS), 3)
    ]
    u, v = np.array(ends).T
    source = np.concatenate([ids[u], ids[:3], np.full(7, 11)])
    target = np.concatenate([ids[v], ids[:3], ids[:7]])
    return pa.table({"from": source, "to": target, "w": rng.integers(1, 4, len(source)) / 2})


def write_bad_inputs(folder: Path, rows: pa.Table) -> None:
    """Write inputs of which each has one mistake."""
    ids = rows["id"].to_pylist()
    place = rows.column_names.index("id")
    twice = pa.array([ids[0], *ids[:-1]])
    absent = pa.array([None, *ids[1:]], pa.int64())
    write(folder / "bad/duplicate_id.parquet", rows.set_column(place, "id", twice))
    write(folder / "bad/null_id.parquet", rows.set_column(place, "id", absent))
    write(folder / "bad/no_b.parquet", rows.drop_columns(["b"]))
    text = pa.array([str(value) for value in rows["b"].to_pylist()])
    write(folder / "bad/text_b.parquet", rows.set_column(2, "b", text))
    few = pa.array([None] * len(rows), pa.string())
    write(folder / "bad/no_labels.parquet", rows.set_column(13, "seed", few))
