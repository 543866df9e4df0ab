"""A process that writes runs in forked children and kills them: `python killed_runs.py`.

Reads one JSON command a line, answers one JSON line. A child is killed by SIGKILL either just
before its `kill_at`-th change of the file system, or from outside after `delay` seconds.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd  # noqa: F401  imported here once, not by pyarrow in each child
import pyarrow as pa
import pyarrow.parquet as pq

from ssl_dask.errors import SslDaskError
from ssl_dask.storage.result.part_writer import write_part
from ssl_dask.storage.runs.checkpoint import Checkpoints, load_block, save_block
from ssl_dask.storage.runs.manifest import fingerprint
from ssl_dask.storage.runs.run_folder import OutputFolder
from tests.faults.made_rows import all_of_class, schema_of_class

CHANGES = {"os.rename", "os.symlink", "os.mkdir", "os.remove", "os.rmdir"}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
N_PARTS, ROWS = 3, 500
N_ROUNDS = 4


def write_parts(output: OutputFolder, tag: str) -> list[Any]:
    schema = schema_of_class(tag)
    records = []
    for block in range(N_PARTS):
        ids = pa.table({"id": np.arange(block * ROWS, (block + 1) * ROWS)})
        columns = all_of_class(0, ROWS)
        records.append(write_part(output.stage, output.run_id, block, ids, columns, schema))
    return records


def run(out: Path, tag: str) -> None:
    with OutputFolder.open(out, inputs=[], keep_runs=2) as output:
        output.commit(
            write_parts(output, tag),
            {"report.json": json.dumps({"tag": tag}).encode()},
            expected_rows=N_PARTS * ROWS,
            fingerprint=fingerprint({"config": tag}),
            versions={"writer": "1"},
        )


def resuming_run(out: Path, tag: str) -> None:
    """Count to N_ROUNDS with a checkpoint after each round; go on where a killed run stopped."""
    job = fingerprint({"config": tag})
    with OutputFolder.open(out, inputs=[], keep_runs=2, resume=True) as output:
        dead = output.resumable(job)
        if dead is not None:
            output.adopt(dead)
        damage: list[str] = []
        store = Checkpoints(output.checkpoints, job, report=damage.append)
        found = store.find("state")
        state, done = np.zeros(1000), 0
        if found is not None:
            done = found.meta["round"]
            state = np.concatenate([load_block(found.folder, i) for i in range(2)])
            assert (state == done).all(), "a checkpoint holds another round than it says"
        for this in range(done + 1, N_ROUNDS + 1):
            state = state + 1
            folder = store.new("state")
            save_block(folder, 0, state[:500])
            save_block(folder, 1, state[500:])
            store.commit("state", folder, {"round": this})
        assert not damage, damage
        output.commit(
            write_parts(output, f"{tag}-{state.min():.0f}-{state.max():.0f}"),
            {"report.json": json.dumps({"began_at": done}).encode()},
            expected_rows=N_PARTS * ROWS,
            fingerprint=job,
            versions={"writer": "1"},
        )


def naive_run(out: Path, tag: str) -> None:
    """Do what a plain writer does: empty the folder, write parts of fixed names, then a list."""
    shutil.rmtree(out / "labels", ignore_errors=True)
    (out / "labels").mkdir(parents=True)
    parts = []
    for block in range(N_PARTS):
        path = out / "labels" / f"part-{block:05d}.parquet"
        ids = np.arange(block * ROWS, (block + 1) * ROWS)
        with path.open("wb") as stream:
            pq.write_table(pa.table({"id": ids, "label": [tag] * ROWS}), stream)
        parts.append(
            {
                "folder": "labels",
                "name": path.name,
                "rows": ROWS,
                "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            }
        )
    with (out / "manifest.json").open("w") as stream:
        json.dump({"parts": parts}, stream)


WRITERS = {"ssl_dask": run, "resuming": resuming_run, "naive": naive_run}


def kill_before_change(number: int, steps: list[int]) -> None:
    def hook(event: str, details: tuple[Any, ...]) -> None:
        if event in CHANGES or (event == "open" and (details[2] or 0) & WRITING):
            steps[0] += 1
            if steps[0] == number:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def child(command: dict[str, Any], answer: int) -> None:
    code = 70
    try:
        steps = [0]
        kill_before_change(command.get("kill_at") or 0, steps)
        WRITERS[command["writer"]](Path(command["out"]), command["tag"])
        os.write(answer, json.dumps({"steps": steps[0]}).encode())
        code = 0
    except SslDaskError as error:
        os.write(answer, json.dumps({"error": str(error)}).encode())
        code = error.exit_code
    except BaseException as error:
        os.write(answer, json.dumps({"error": repr(error)}).encode())
    finally:
        os._exit(code)


def answer_to(command: dict[str, Any]) -> dict[str, Any]:
    reading, writing = os.pipe()
    started = time.monotonic()
    pid = os.fork()
    if pid == 0:
        child(command, writing)
    os.close(writing)
    if command.get("delay") is not None:
        time.sleep(command["delay"])
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    told = os.read(reading, 65536)
    os.close(reading)
    return {
        "code": os.waitstatus_to_exitcode(status),
        "seconds": time.monotonic() - started,
        **(json.loads(told) if told else {}),
    }


def main() -> None:
    held = None
    print(json.dumps({"ready": os.getpid()}), flush=True)
    for line in sys.stdin:
        command = json.loads(line)
        if command["writer"] == "hold":
            held = OutputFolder.open(command["out"], inputs=[], keep_runs=1)
            answer: dict[str, Any] = {"run_id": held.run_id}
        else:
            answer = answer_to(command)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
