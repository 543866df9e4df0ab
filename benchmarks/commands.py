"""Whole commands from the shell: this tree against another commit, in the same run.

    python benchmarks/commands.py --against v0.1                       # the shipped jobs
    python benchmarks/commands.py --against HEAD~1 --data FOLDER --write benchmarks/RESULTS.md

Each command runs in a fresh Python process on an empty output folder, the two trees in turn, with
the libraries that are installed here; one run of each comes before and is not counted (kernels are
compiled once a machine). Imports, starting and stopping of workers are part of it. Told are medians
of wall seconds, CPU seconds and largest resident memory of all processes together, and the ratio of
this tree to the other. FOLDER has `mnist`, `newsgroups20`, `cora` and `ad_cover`, a folder a set
with `data.parquet` or `nodes.parquet` and `edges.parquet`: `method: auto` labels them. Nothing else
should run on the machine meanwhile.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from measured import Measured, Stopwatch, measure

PROJECT = Path(__file__).parents[1]
SHIPPED = {
    "validate iris": ["validate", "iris.yaml"],
    "plan iris": ["plan", "iris.yaml"],
    **{
        f"run {name}": ["run", f"{name}.yaml", "--force"]
        for name in ("iris", "letter", "http_attacks", "newsgroups")
    },
}
LIBRARIES = ("dask", "distributed", "numpy", "scipy", "numba", "pyarrow", "scikit-learn")


def run_command(job: dict[str, Any], watch: Stopwatch) -> None:
    environment = {**os.environ, "PYTHONPATH": job["tree"]}
    command = [sys.executable, "-m", "ssl_dask", *job["arguments"]]
    with watch.running():
        subprocess.run(command, cwd=job["folder"], env=environment, check=True, capture_output=True)


def drawn_seeds(table: pa.Table, per_class: int) -> pa.Table:
    """Return id and label of rows of each class."""
    y = table["label"].fill_null(-1).to_numpy()
    order = np.random.default_rng(7).permutation(len(y))
    rows = np.concatenate([order[y[order] == c][:per_class] for c in np.unique(y[y >= 0])])
    return table.select([table.column_names[0], "label"]).take(np.sort(rows))


def jobs_of_sets(data: Path, folder: Path) -> dict[str, list[str]]:
    """Write jobs for the sets that are there, and return their commands."""
    sets: dict[str, tuple[str, int, dict[str, Any]]] = {
        "mnist": ("data", 10, {"features": {"image": {"vector": "features"}}}),
        "newsgroups20": (
            "data",
            1,
            {"features": {"text": {"text": "text"}}, "graph": {"metric": "cosine"}},
        ),
        "ad_cover": ("data", 60, {"features": {"x": {"numeric": [f"x{i}" for i in range(10)]}}}),
        "cora": (
            "nodes",
            20,
            {
                "features": {"words": {"vector": "features"}},
                "graph": {"edges": {"path": str(data / "cora" / "edges.parquet")}},
            },
        ),
    }
    commands = {}
    for name, (file, per_class, more) in sets.items():
        path = data / name / f"{file}.parquet"
        if not path.exists():
            continue
        table = pq.read_table(path)
        if name == "newsgroups20":
            text = pc.binary_join_element_wise(table["subject"], table["body"], "\n")
            path = folder / "newsgroups20.parquet"
            pq.write_table(table.select(["doc_id", "label"]).append_column("text", text), path)
        pq.write_table(drawn_seeds(table, per_class), folder / f"{name}_seeds.parquet")
        row_id = table.column_names[0]
        labels = {"path": f"{name}_seeds.parquet", "id": row_id, "label": "label"}
        job = {
            "name": name,
            "input": {"path": str(path), "id": row_id, "truth": "label", "labels": labels},
            "method": {"name": "auto"},
            "output": {"path": f"out/{name}"},
            **more,
        }
        (folder / f"{name}_auto.yaml").write_text(json.dumps(job))
        commands[f"run {name} ({len(table):,} rows, auto)"] = ["run", f"{name}_auto.yaml"]
    return commands


def measured(tree: Path, folder: Path, arguments: list[str]) -> Measured:
    shutil.rmtree(folder / "out", ignore_errors=True)
    (folder / "out").mkdir()
    job = {"tree": str(tree), "folder": str(folder), "arguments": arguments}
    return measure(run_command, job)


def table_row(name: str, ours: list[Measured], theirs: list[Measured]) -> str:
    cells = [name]
    for figure in ("wall_s", "cpu_s", "peak_mib"):
        mine, other = (
            statistics.median(getattr(one, figure) for one in of) for of in (ours, theirs)
        )
        shown = "{:,.0f}" if figure == "peak_mib" else "{:.2f}"
        cells.append(f"{shown.format(mine)} / {shown.format(other)} = {mine / other:.2f}")
    return f"| {' | '.join(cells)} |"


def commit_of(name: str) -> str:
    shown = subprocess.run(
        ["git", "log", "-1", "--format=%h (%cs)", name],
        cwd=PROJECT,
        check=True,
        capture_output=True,
        text=True,
    )
    return shown.stdout.strip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--against", required=True, help="commit that is measured beside this tree")
    parser.add_argument("--data", type=Path, help="folder of data sets; default: shipped jobs only")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--only", nargs="+", default=[""], help="words in names of the commands")
    parser.add_argument("--write", type=Path, help="also write the page here")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder, other = Path(scratch) / "jobs", Path(scratch) / "other"
        shutil.copytree(PROJECT / "jobs", folder)
        subprocess.run(["git", "clone", "-q", str(PROJECT), str(other)], check=True)
        subprocess.run(["git", "checkout", "-q", arguments.against], cwd=other, check=True)
        commands = dict(SHIPPED)
        if arguments.data is not None:
            commands |= jobs_of_sets(arguments.data.resolve(), folder)
        versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in LIBRARIES)
        lines = [
            "# Whole commands",
            "",
            f"`benchmarks/commands.py`: {commit_of('HEAD')} / {commit_of(arguments.against)},"
            f" medians of {arguments.runs} runs in turn. Python {platform.python_version()},"
            f" {versions}; {os.cpu_count()} cores.",
            "",
            "| command | wall s | CPU s of all processes | MiB of all processes |",
            "|---|---|---|---|",
        ]
        print("\n".join(lines), flush=True)
        for name, command in commands.items():
            if not any(word in name for word in arguments.only):
                continue
            runs: dict[Path, list[Measured]] = {PROJECT: [], other: []}
            for _ in range(arguments.runs + 1):
                for tree, found in runs.items():
                    found.append(measured(tree, folder, command))
            ours, theirs = (found[1:] for found in runs.values())
            lines.append(table_row(name, ours, theirs))
            print(lines[-1], flush=True)
    if arguments.write is not None:
        arguments.write.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
