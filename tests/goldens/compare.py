"""Compare two recordings: `python -m tests.goldens.compare A.json B.json [--words]`.

Each item that differs is a line; the exit code is 1 if there is one. Items of words only are left
out unless `--words` is given. Where one of the two was recorded in a smaller size, or of some cases
only, cases that it does not have are counted but are no difference.
"""

from __future__ import annotations

import argparse
import gzip
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.goldens.content import WORDS

LONGEST = 160
ABSENT = "(absent)"


def read_recording(path: Path) -> dict[str, Any]:
    """Read a recording, packed or not."""
    data = path.read_bytes()
    recording: dict[str, Any] = json.loads(gzip.decompress(data) if path.suffix == ".gz" else data)
    return recording


def differences(old: dict[str, Any], new: dict[str, Any], *, words: bool = False) -> Iterator[str]:
    """Yield a line for each item that differs."""
    alike = old["recorded"] == new["recorded"]
    before, after = old["cases"], new["cases"]
    for case in sorted(before.keys() | after.keys()):
        if case not in before or case not in after:
            if alike:
                yield f"{case}: only in the {'second' if case in after else 'first'} recording"
            continue
        partly = case.startswith("same/") and not alike
        yield from case_differences(case, before[case], after[case], words=words, partly=partly)


def case_differences(
    case: str, old: dict[str, Any], new: dict[str, Any], *, words: bool, partly: bool
) -> Iterator[str]:
    keys = old.keys() & new.keys() if partly else old.keys() | new.keys()
    for key in sorted(keys):
        a, b = old.get(key, ABSENT), new.get(key, ABSENT)
        if a != b and (words or not key.endswith(WORDS)):
            yield f"{case}  {key}: {short(a)} -> {short(b)}"


def short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the differences; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.goldens.compare", description=__doc__)
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("--words", action="store_true", help="compare words too")
    chosen = parser.parse_args(arguments)
    old, new = read_recording(chosen.old), read_recording(chosen.new)
    for key in sorted(old["kind"].keys() | new["kind"].keys()):
        if old["kind"].get(key) != new["kind"].get(key):
            pair = f"{old['kind'].get(key)} -> {new['kind'].get(key)}"
            print(f"other kind of machine: {key} {pair}", file=sys.stderr)
    lines = list(differences(old, new, words=chosen.words))
    print(*lines, sep="\n", end="\n" if lines else "")
    both = len(old["cases"].keys() & new["cases"].keys())
    print(f"{both} cases compared, {len(lines)} items differ", file=sys.stderr)
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
