"""Make `docs/writers.md`: which column types of which writers a job reads, and as what.

    python docs/writers/make_table.py

Installs the writers in a temporary folder, lets each write small tables, and runs a job over each:
the column that is tried is the only feature, or the labels, the id, or a column that is kept. A
cell says "read" where the answer is right, never where a job merely ends.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import tempfile
import venv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from ssl_dask.errors import SslDaskError
from ssl_dask.pipeline.commands.run import run_job
from ssl_dask.version import __version__

HERE = Path(__file__).resolve().parent
WRITERS = (
    "duckdb==2.0.1",
    "polars==2.1.0",
    "pandas==3.1.1",
    "pyarrow==26.0.1",
    "datafusion==55.0.0",
    "fastparquet==2026.9.0",
    "deltalake==1.6.6",
    "pyiceberg[sql-sqlite]==0.12.0",
    "pylance==14.0.2",
)
ROLES = ("id", "label", "category", "text", "number", "vector", "kept")
FEATURES: dict[str, dict[str, Any]] = {
    "category": {"categorical": ["v"]},
    "text": {"text": "v"},
    "number": {"numeric": ["v"]},
    "vector": {"vector": "v"},
}
TABLES = {"delta-rs": "delta", "pyiceberg": "iceberg"}
ENOUGH = 0.95


def main() -> None:
    """Write the page."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tried = written_files(folder)
        for number, one in enumerate(tried):
            one["outcome"] = outcome(one, folder / f"out-{number}")
            print(one["writer"], one["type"], one["role"], one["outcome"], file=sys.stderr)
    (HERE.parent / "writers.md").write_text(page(tried), encoding="utf-8")
    wrong = [one for one in tried if one["outcome"].startswith("wrong")]
    sys.exit(f"{len(wrong)} are read wrong" if wrong else 0)


def written_files(folder: Path) -> list[dict[str, Any]]:
    """Install the writers and let them write."""
    venv.create(folder / "venv", with_pip=True)
    python = folder / "venv" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", *WRITERS], check=True)
    made = subprocess.run(
        [python, "-W", "ignore", HERE / "write_files.py", folder / "files"],
        check=True,
        stdout=subprocess.PIPE,
    )
    tried: list[dict[str, Any]] = json.loads(made.stdout)
    return tried


def outcome(one: Mapping[str, Any], out: Path) -> str:
    """Run a job over the file; return what became of the column."""
    if "not_written" in one:
        return f"not written: {one['not_written']}"
    role, path = one["role"], one["path"]
    source: dict[str, Any] = {"path": path, "id": "key", "label": "seed"}
    if one["writer"] in TABLES:
        source["format"] = TABLES[one["writer"]]
    if role in ("id", "label"):
        source[role] = "v"
    job = {
        "name": "writers",
        "input": source,
        "features": {"f": FEATURES.get(role, {"numeric": ["x", "y"]})},
        "method": {"name": "supervised"},
        "evaluation": {"folds": 0},
        "output": {"path": str(out), "columns": ["v"] if role == "kept" else []},
    }
    try:
        run = run_job(job)
    except SslDaskError as error:
        problem = error.problems[0]
        return f"refused: {problem.message}" + (f" ({problem.hint})" if problem.hint else "")
    return judged(one, pq.read_table(run.path / "labels"))


def judged(one: Mapping[str, Any], result: Any) -> str:
    """Compare the labels with the two clouds, and an id or a kept column with the input."""
    role, values = one["role"], one["values"]
    labels = result["label"].to_pylist()
    names = ("left", "right")
    if role == "label":
        seeds = values[:20]
        names = (seeds[0], seeds[1])
        if [str(label) for label in labels[:20]] != [str(seed) for seed in seeds]:
            return f"wrong: the labels are {sorted(set(map(str, labels)))}"
        names = (labels[0], labels[1])
    right = sum(label == names[row % 2] for row, label in enumerate(labels))
    if right < ENOUGH * len(labels):
        return f"wrong: {right} of {len(labels)} labels are right"
    if role not in ("id", "kept"):
        return "read"
    if one["writer"] in TABLES:
        return "read" if result["v"].null_count == values.count(None) else "wrong: other nulls"
    given = pq.ParquetFile(one["path"]).read(["v"])["v"]
    if result["v"].type != given.type:
        plain = given.cast(result["v"].type)
        same = result["v"].equals(plain)
        return f"read as {result['v'].type}" if same else f"wrong: {result['v'].type}"
    return "read" if result["v"].equals(given) else "wrong: other values"


def page(tried: list[dict[str, Any]]) -> str:
    """Return the page in Markdown."""
    notes: dict[str, int] = {}
    lines = [
        "# Which files are read",
        "",
        f"Made by `docs/writers/make_table.py` with ssl_dask {__version__}. Each cell is a job",
        "over a file that the writer wrote. *read*: the values and the answer are right, and an id",
        "or a kept column has its type in the result. A number names a refusal, below.",
    ]
    for writer, of_writer in itertools.groupby(tried, key=lambda one: one["writer"]):
        rows = list(of_writer)
        lines += ["", f"## {writer} ({rows[0]['version']})", ""]
        lines += [f"| type | {' | '.join(ROLES)} |", "|---|" + "---|" * len(ROLES)]
        for kind, of_kind in itertools.groupby(rows, key=lambda one: one["type"]):
            by_role = {one["role"]: one["outcome"] for one in of_kind}
            cells = [cell(by_role.get(role, ""), notes) for role in ROLES]
            lines.append(f"| `{kind}` | {' | '.join(cells)} |")
    lines += ["", "## Refusals", ""]
    lines += [f"{number}. {text}" for text, number in notes.items()]
    return "\n".join(lines) + "\n"


def cell(words: str, notes: dict[str, int]) -> str:
    """Return what stands in a cell; longer words become a numbered note."""
    if words.startswith(("refused: ", "not written: ")):
        kind, text = words.split(": ", 1)
        return f"{kind} [{notes.setdefault(text, len(notes) + 1)}]"
    return words


if __name__ == "__main__":
    main()
