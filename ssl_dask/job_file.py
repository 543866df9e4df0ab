"""The job file: YAML in, a frozen, resolved `JobSpec` out, every mistake in one message."""

from __future__ import annotations

import copy
import os
import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from ssl_dask.errors import JobSpecError, Problem
from ssl_dask.job_mistakes import JobKeys, follows
from ssl_dask.job_spec import JobSpec, method_names
from ssl_dask.plain_yaml import MAX_FILE_BYTES, parse_yaml
from ssl_dask.spec_model import SpecModel

Part = TypeVar("Part", bound=SpecModel)
MAX_REPAIRS = 5


def load_job(path: str | Path, overrides: Sequence[str] = ()) -> JobSpec:
    """Read a job file, apply `key.path=value` overrides, check everything.

    Parameters
    ----------
    path
        The YAML file.
    overrides
        As given to `--set`; values are parsed as YAML.

    Raises
    ------
    JobSpecError
        With every mistake found, each with its key and the nearest valid key.
    """
    return _sound(*read_job(path, overrides))


def read_job(
    path: str | Path, overrides: Sequence[str] = ()
) -> tuple[JobSpec | None, list[Problem]]:
    """Read a job file as far as it is sound, so that its input can be checked along with it.

    Parameters
    ----------
    path, overrides
        The YAML file, and `key.path=value` as given to `--set`.

    Returns
    -------
    (job, mistakes)
        The job without the keys that are wrong, None if the rest is no job; and every mistake.

    Raises
    ------
    JobSpecError
        The file cannot be read, is no YAML, or an override is none.
    """
    path = Path(path)
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise JobSpecError(
                f"larger than {MAX_FILE_BYTES} bytes", file=str(path), hint="is this the job file?"
            )
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise JobSpecError(
            f"cannot be read: {error.strerror}", file=str(path), hint="give the path of a job file"
        ) from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise JobSpecError(
            f"line {line}: is not UTF-8 text", file=str(path), hint="save the file as UTF-8"
        ) from None
    data = parse_yaml(text, str(path))
    if not isinstance(data, dict):
        raise JobSpecError(
            "is not a job: expected keys such as name, input, features, method, output",
            file=str(path),
            hint="`ssl-dask init DATA` drafts a job",
        )
    for override in overrides:
        _apply_override(data, override)
    return _examine(data, base=path.resolve().parent, source=str(path))


def resolve_job(
    data: Mapping[str, Any], *, base: Path | None = None, source: str = "job"
) -> JobSpec:
    """Check a job given as plain data, and return it resolved: defaults filled in, paths absolute.

    Parameters
    ----------
    data
        What a job file holds.
    base
        Folder that relative paths start from; default: the working folder.
    source
        What messages call the job.

    Raises
    ------
    JobSpecError
        With every mistake found.
    """
    return _sound(*_examine(data, base=base or Path.cwd(), source=source))


def _sound(spec: JobSpec | None, mistakes: list[Problem]) -> JobSpec:
    if spec is None or mistakes:
        raise JobSpecError(mistakes)
    return spec


def _examine(
    data: Mapping[str, Any], *, base: Path, source: str
) -> tuple[JobSpec | None, list[Problem]]:
    try:
        return _with_absolute_paths(JobSpec.model_validate(data), base), []
    except ValidationError as error:
        items = error.errors()
        keys = _job_keys()
        told = [keys.problem(item, data, source) for item in items if not follows(item, items)]
        mistakes = list(dict.fromkeys(told))
        rest = _without_mistakes(data, error)
        return None if rest is None else _with_absolute_paths(rest, base), mistakes


def _without_mistakes(data: Mapping[str, Any], error: ValidationError) -> JobSpec | None:
    """Return the job without the keys that `error` names; None if what is left is no job."""
    rest = copy.deepcopy(dict(data))
    for _ in range(MAX_REPAIRS):
        if not all(_take_out(rest, item) for item in error.errors()):
            return None
        try:
            return JobSpec.model_validate(rest)
        except ValidationError as more:
            error = more
    return None


def _take_out(data: dict[str, Any], item: Any) -> bool:
    """Remove the key that is wrong, or the group that lacks one; False at the top."""
    path = _job_keys().user_path(item["loc"])
    if item["type"] == "missing":
        path = path[:-1]
    place: Any = data
    for depth, part in enumerate(path, 1):
        inner = place.get(part)
        # A list is removed as a whole; what is not there went before, with its group.
        if depth == len(path) or not isinstance(inner, dict):
            place.pop(part, None)
            break
        place = inner
    return bool(path)


def _with_absolute_paths(spec: JobSpec, base: Path) -> JobSpec:
    def absolute(path: Any) -> Any:
        if isinstance(path, tuple):
            return tuple(map(absolute, path))
        # URLs stay; "~" is a shell's business, not ours. Not resolve(): links are followed later.
        return path if re.match(r"^[a-z][a-z0-9+.-]+://", path) else os.path.normpath(base / path)

    spec = spec.with_files(lambda files: files.model_copy(update={"path": absolute(files.path)}))
    output = spec.output.model_copy(update={"path": absolute(spec.output.path)})
    graph = spec.graph
    if graph is not None and graph.path is not None:
        graph = graph.model_copy(update={"path": absolute(graph.path)})
    return spec.model_copy(update={"output": output, "graph": graph})


def checked_part(kind: type[Part], data: Mapping[str, Any], source: str) -> Part:
    """Check a part of a job that stands alone.

    Parameters
    ----------
    kind
        What it is.
    source
        What messages call it.

    Raises
    ------
    JobSpecError
        With every mistake found.
    """
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        keys = JobKeys(kind.model_json_schema(), ())
        raise JobSpecError([keys.problem(item, {}, source) for item in error.errors()]) from None


def job_schema() -> dict[str, Any]:
    """Return the JSON Schema of the job file, for editors."""
    schema = JobSpec.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


@cache
def _job_keys() -> JobKeys:
    return JobKeys(JobSpec.model_json_schema(), method_names())


def _apply_override(data: dict[str, Any], override: str) -> None:
    key, equals, value = override.partition("=")
    parts = key.strip().split(".")
    if not equals or not all(parts):
        raise JobSpecError(
            f"--set {override!r}: expected key.path=value", hint="such as --set method.alpha=0.99"
        )
    place = data
    for part in parts[:-1]:
        inner = place.setdefault(part, {})
        if inner is None:
            inner = place[part] = {}
        if not isinstance(inner, dict):
            raise JobSpecError(
                f"--set {override!r}: {part!r} is a value, not a group of keys",
                hint=f"the job file gives {part!r} a value; take that away, or set it whole",
            )
        place = inner
    place[parts[-1]] = parse_yaml(value, f"--set {override}")
