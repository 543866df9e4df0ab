"""Cases of the command line: the schema, and what is said of mistakes."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import partial
from typing import Any

from tests.goldens.case import QUICK, USUAL, Case, Work
from tests.goldens.content import WORDS, Items, digest, without_places
from tests.goldens.job_table import DENSE, made_job
from tests.goldens.places import command
from tests.made_job import write_job

SENTENCES = ("description", "title", "markdownDescription")
KNN = {"n_neighbors": 8}
MISTAKES: dict[str, list[str]] = {
    "unknown_key": ["method.alhpa=0.5"],
    "unknown_method": ["method.name=label_spredding"],
    "wrong_type": ["graph.n_neighbors=many"],
    "out_of_range": ["method.alpha=2"],
    "label_as_feature": ["features.numbers.numeric=[a, seed]"],
    "missing_column": ["features.numbers.numeric=[a, nothing]"],
    "missing_key": ["input.path=null"],
    "three_mistakes": ["method.alhpa=0.5", "graph.n_neighbors=0", "output.keep_runs=0"],
    "no_such_file": ["input.path=absent.parquet"],
    "duplicate_id": ["input.path=bad/duplicate_id.parquet"],
    "null_id": ["input.path=bad/null_id.parquet"],
    "column_of_text": ["input.path=bad/text_b.parquet"],
    "no_column": ["input.path=bad/no_b.parquet"],
    "no_labels": ["input.path=bad/no_labels.parquet"],
    "null_feature": ["features.numbers.numeric=[a, d]"],
    "unknown_class": ["input.classes=[ant, bee]"],
    "numbers_expected": ["method={name: harmonic_regression}"],
    "no_yaml": ["features={"],
    "no_override": ["nothing"],
    "models_of_a_graph": ["output.models=true"],
    "graph_of_no_use": ["method={name: supervised}"],
}
"""Case -> what is overridden in a sound job."""
LAST_WORDS = ("code", "file", "column", "rows", "row_group", "stage")


def command_cases() -> list[Case]:
    cases = [Case("schema", QUICK, schema), Case("a process", USUAL, a_process)]
    for name in MISTAKES:
        for verb in ("validate", "run"):
            size = QUICK if verb == "validate" else USUAL
            cases.append(Case(f"mistake/{name}/{verb}", size, partial(mistake, name, verb)))
    return cases


def schema(work: Work) -> Items:
    """Return the digest of the JSON Schema, without its sentences and with them."""
    code, out, _ = command("schema")
    whole = json.loads(out)
    kinds = {name: digest(json.dumps(bare(one))) for name, one in whole["$defs"].items()}
    return {
        "code": code,
        "job": digest(json.dumps(bare({**whole, "$defs": {}}))),
        "kinds": kinds,
        f"text{WORDS}": digest(out),
    }


def bare(value: Any) -> Any:
    """Return a schema without sentences; properties that are called so stay."""
    if isinstance(value, list):
        return [bare(one) for one in value]
    if not isinstance(value, dict):
        return value
    return {
        key: bare(one)
        for key, one in value.items()
        if not (key in SENTENCES and isinstance(one, str))
    }


def mistake(name: str, verb: str, work: Work) -> Items:
    """Return how `validate` or `run` refuses a job with one mistake."""
    job = made_job({"name": "label_spreading"}, DENSE, graph=KNN)
    path = write_job(work.folder / f"mistake+{name}.yaml", job)
    settings = [word for one in MISTAKES[name] for word in ("--set", one)]
    place = f"cluster={{kind: address, address: {work.places.address()}}}"
    more = ["--set", place] if verb == "run" else []
    code, out, err = command(verb, path, *settings, *more)
    items: Items = {"code": code, "lines on stdout": len(out.splitlines())}
    lines = without_places(err, work.folder).splitlines()
    if lines and lines[-1].startswith("{"):
        last = json.loads(lines.pop())
        items |= {key: last.get(key) for key in LAST_WORDS}
        problems = last.get("problems", [])
        items["problems"] = [{k: one.get(k) for k in LAST_WORDS if k in one} for one in problems]
        items[f"last words{WORDS}"] = {key: last.get(key) for key in ("message", "hint")}
        items["keys"] = sorted(last)
    items[f"stderr{WORDS}"] = [] if verb == "run" else lines
    return items


def a_process(work: Work) -> Items:
    """Return what true processes of the command say, beside `command` in this one."""
    items: Items = {}
    for name in ("schema", "--version", "--help"):
        done = subprocess.run(
            [sys.executable, "-m", "ssl_dask", name], capture_output=True, text=True, check=False
        )
        code, out, _ = command(name)
        items[f"{name}/code"] = done.returncode
        items[f"{name}/as in this process"] = (done.returncode, done.stdout) == (code, out)
    return items
