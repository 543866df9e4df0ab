"""Record what the package answers: `python -m tests.goldens.record OUT.json`.

The package that is recorded is the one on the import path. A change that must leave every answer
as it was is judged by `python -m tests.goldens.compare` of two recordings.
"""

from __future__ import annotations

import argparse
import fnmatch
import gzip
import json
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ssl_dask
from tests.goldens.case import FULL, QUICK, USUAL, Case, Work
from tests.goldens.command_cases import command_cases
from tests.goldens.content import WORDS, Items, without_places
from tests.goldens.estimator_cases import estimator_cases
from tests.goldens.graph_cases import graph_cases
from tests.goldens.job_cases import job_cases
from tests.goldens.kind_of_machine import kind_of_machine
from tests.goldens.made_inputs import write_inputs
from tests.goldens.places import Places
from tests.goldens.sameness import sameness

SIZES = {"quick": QUICK, "usual": USUAL, "full": FULL}


def all_cases() -> list[Case]:
    return [*command_cases(), *estimator_cases(), *graph_cases(), *job_cases()]


def record(
    size: str, only: str = "*", *, keep: Path | None = None, tell: bool = True
) -> dict[str, Any]:
    """Run the cases of a size whose names match, and return all that they found."""
    chosen = [
        case
        for case in all_cases()
        if case.size <= SIZES[size] and fnmatch.fnmatchcase(case.name, only)
    ]
    found: dict[str, Items] = {}
    with tempfile.TemporaryDirectory(prefix="goldens-") as name:
        folder = Path(name).resolve()
        write_inputs(folder)
        if keep is not None:
            keep.mkdir(parents=True, exist_ok=True)
        with Places(folder / "places") as places:
            for number, case in enumerate(chosen, 1):
                began = time.monotonic()
                found[case.name] = items_of(case, Work(folder, places, keep), tell=tell)
                if tell:
                    took = time.monotonic() - began
                    print(f"{number}/{len(chosen)} {case.name} {took:.1f} s", file=sys.stderr)
    found |= sameness(found)
    return {"cases": found, "kind": kind_of_machine(), "recorded": {"size": size, "only": only}}


def items_of(case: Case, work: Work, *, tell: bool) -> Items:
    """Return the items of a case; an error is an item too."""
    try:
        return case.items(work)
    except Exception as error:
        if tell:
            traceback.print_exc()
        place = traceback.extract_tb(error.__traceback__)[-1].name
        text = without_places(f"{error} (in {place})", work.folder)
        return {"error": type(error).__name__, f"error{WORDS}": text}


def write_recording(path: Path, recording: dict[str, Any]) -> None:
    """Write a recording, sorted; packed if the file's name ends in .gz."""
    text = json.dumps(recording, indent=1, sort_keys=True)
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode(), mtime=0))
    else:
        path.write_text(text + "\n")


def main(arguments: Sequence[str] | None = None) -> None:
    """Record as the command line says."""
    parser = argparse.ArgumentParser(prog="python -m tests.goldens.record", description=__doc__)
    parser.add_argument("out", type=Path, help="file for the recording: .json or .json.gz")
    parser.add_argument("--only", default="*", metavar="PATTERN", help="cases, as job/poisson/*")
    parser.add_argument("--quick", action="store_const", dest="size", const="quick")
    parser.add_argument("--usual", action="store_const", dest="size", const="usual")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep reports here")
    chosen = parser.parse_args(arguments)
    print(f"records {Path(ssl_dask.__file__).parent}", file=sys.stderr)
    recording = record(chosen.size or "full", chosen.only, keep=chosen.keep)
    write_recording(chosen.out, recording)
    errors = sorted(name for name, items in recording["cases"].items() if "error" in items)
    print(f"{len(recording['cases'])} cases, {len(errors)} with errors {errors}", file=sys.stderr)


if __name__ == "__main__":
    main()
