"""The job file: YAML in, a frozen, resolved `JobSpec` out, every mistake in one message."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union

from pydantic import (
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import (
    InitErrorDetails,
    PydanticCustomError,
    PydanticKnownError,
    core_schema,
)

from ssl_dask.cluster_spec import ClusterSpec
from ssl_dask.decision.decision_spec import DecisionSpec
from ssl_dask.errors import JobSpecError, Problem
from ssl_dask.evaluation.evaluation_spec import EvaluationSpec
from ssl_dask.features.feature_groups import FeatureGroup
from ssl_dask.graph.graph_spec import GraphSpec, OneGraphSpec
from ssl_dask.job_mistakes import JobKeys, follows
from ssl_dask.methods import ALIASES, METHODS
from ssl_dask.plain_yaml import MAX_FILE_BYTES, parse_yaml
from ssl_dask.spec_model import SpecModel

Graph = TypeVar("Graph", bound=OneGraphSpec)
MAX_REPAIRS = 5


class MethodField:
    """Type of the key `method`: the parameters of the method that `name` names.

    Reading a job imports the file of its method and no other; the JSON schema imports all.
    """

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(_read_method)

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        specs = tuple(METHODS[name].spec for name in METHODS)
        kinds = Annotated[Union[specs], Field(discriminator="name")]  # type: ignore[valid-type]  # noqa: UP007
        return handler(TypeAdapter(kinds).core_schema)


def _read_method(given: Any) -> SpecModel:
    """Return the parameters of a method; errors name their keys below `method`."""
    if isinstance(given, SpecModel):
        return given
    if not isinstance(given, dict):
        raise PydanticKnownError("model_attributes_type")
    if "name" not in given:
        raise PydanticCustomError("union_tag_not_found", "name is missing")
    name = given["name"]
    if not isinstance(name, str) or name not in method_names():
        raise PydanticCustomError("union_tag_invalid", "no such method", {"tag": str(name)})
    return METHODS[name].spec.model_validate(given)


def method_names() -> tuple[str, ...]:
    """Return what may stand as `method.name`."""
    return (*ALIASES, *METHODS)


class LabelsFileSpec(SpecModel):
    """Seed labels kept in a file of their own, joined by id."""

    path: str
    """Parquet or CSV file, relative to the job file."""
    id: str
    """Column of the ids."""
    label: str
    """Column of the labels."""
    allow_unmatched: bool = False
    """Ids that are not in the input: false is an error, true a note in the report."""


class InputSpec(SpecModel):
    """What is to be labelled, and the labels there are."""

    path: str
    """Parquet file, folder, glob, hive-partitioned folder or URL, relative to the job file."""
    id: str | None = None
    """Column that names each row, without nulls or duplicates; null: rows are numbered."""
    label: str | None = None
    """Column of seed labels, null = unlabelled: classes, or numbers for a method that predicts
    numbers. Or use `labels`."""
    labels: LabelsFileSpec | None = None
    """Seed labels kept elsewhere. Or use `label`."""
    classes: tuple[bool | int | str, ...] | None = None
    """The classes there may be; a label outside them is an error."""
    truth: str | None = None
    """Column of the true classes or numbers: never used for learning, only to score a benchmark."""
    block_rows: Annotated[int, Field(ge=1)] | None = None
    """Rows of one block; default: set by the memory of a worker."""

    @model_validator(mode="after")
    def _one_source_of_labels(self) -> InputSpec:
        if (self.label is None) == (self.labels is None):
            raise ValueError("give either label (a column of the input) or labels (a file)")
        if self.labels is not None and self.id is None:
            raise ValueError("labels kept in a file are joined by id: give input.id")
        if self.label is not None and self.label == self.truth:
            raise ValueError("label and truth are the same column; truth is never learned from")
        if self.id is not None and self.id in (self.label, self.truth):
            raise ValueError(f"{self.id!r} is both the id and the label or truth: name two columns")
        return self


class OutputSpec(SpecModel):
    """Where the result goes."""

    path: str
    """Folder for the results, relative to the job file."""
    keep_runs: Annotated[int, Field(ge=1)] = 5
    """How many finished runs are kept."""
    columns: tuple[str, ...] = ()
    """Input columns to carry over to the result."""
    probabilities: bool = False
    """Also write one column p_<class> for each class."""
    models: bool = False
    """Keep the models of a self-labelled run, with all that they need to label other rows, for
    `ssl-dask predict` and `load_models`."""


class JobSpec(SpecModel):
    """One labelling job, fully resolved."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._ -]{0,99}$")]
    """Name of the job: letters, digits, dot, dash, underscore, space."""
    input: InputSpec
    features: Annotated[dict[str, FeatureGroup], Field(min_length=1)]
    """Groups of columns by name; the groups are the views of co- and multi-view training."""
    method: Annotated[Any, MethodField]
    """The method that labels, with its parameters."""
    graph: GraphSpec | None = None
    """The neighbour graph; left out: its defaults, for a method that needs one."""
    decision: DecisionSpec = DecisionSpec()
    evaluation: EvaluationSpec = EvaluationSpec()
    output: OutputSpec
    cluster: ClusterSpec = ClusterSpec()

    @field_validator("graph")
    @classmethod
    def _graph_of_the_method(cls, graph: GraphSpec | None, info: ValidationInfo) -> Any:
        """Fill in the defaults, so that the resolved job says which graph is used."""
        if graph is None and "method" in info.data and needs_graph(info.data["method"].name):
            return GraphSpec()
        return graph

    @model_validator(mode="after")
    def _keys_fit_together(self) -> JobSpec:
        wrong = [sentence for check in CHECKS for sentence in check(self)]
        if wrong:
            raise ValidationError.from_exception_data(
                type(self).__name__,
                [
                    InitErrorDetails(
                        type=PydanticCustomError("job", "{words}", {"words": words}), input=None
                    )
                    for words in wrong
                ],
            )
        return self

    @property
    def group_weights(self) -> dict[str, float]:
        """Name -> weight of each group of features, where all stand side by side."""
        return {name: group.weight for name, group in self.features.items()}

    @property
    def target(self) -> Literal["classes", "numbers"]:
        """What the job's method predicts."""
        return METHODS[self.method.name].target

    def fingerprint_fields(self) -> dict[str, Any]:
        """Return what makes two jobs the same: all but the cluster and the output's place."""
        dump = self.model_dump(mode="json", exclude={"cluster"})
        for key in ("path", "keep_runs"):
            dump["output"].pop(key)
        # The files themselves are compared, by size and footer, wherever they lie.
        dump["input"].pop("path")
        if dump["input"]["labels"]:
            dump["input"]["labels"].pop("path")
        for part in [dump["graph"] or {}, *(dump["graph"] or {}).get("parts", ())]:
            part.get("edges", {}).pop("path", None)
        # A stored graph is known by its content, see `Inputs.identity`.
        (dump["graph"] or {}).pop("path", None)
        return dump

    def digest(self) -> str:
        """Return the SHA-256 of `fingerprint_fields` as hexadecimal text."""
        text = json.dumps(self.fingerprint_fields(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


def needs_graph(name: str) -> bool:
    """Return whether a method needs a graph."""
    return METHODS[name].needs in ("graph", "graph and features")


def wrong_graph(job: JobSpec) -> Iterator[str]:
    """Yield what is wrong with `graph` beside the other keys."""
    if job.graph is None:
        return
    if not needs_graph(job.method.name):
        yield f"method {job.method.name} uses no graph: leave graph out"
    for part in job.graph.parts or ():
        if unknown := sorted(set(part.features or ()) - set(job.features)):
            yield (
                f"graph.parts names {unknown}, which are none of the groups under features:"
                f" {', '.join(job.features)}"
            )
    entities = set(job.graph.entity_columns())
    if shown := sorted(_secret_columns(job) & entities):
        yield f"graph.entities names {shown}, which holds the labels or the truth"
    if job.input.id in entities:
        yield "graph.entities names the id, which no two rows share"
    if job.graph.part_weights == "learned" and job.target == "numbers":
        yield (
            "graph.part_weights: learned goes by which seeds are of one class, and the labels are"
            " numbers; give each part a weight"
        )


def wrong_models(job: JobSpec) -> Iterator[str]:
    """Yield what is wrong with `output.models`."""
    if job.output.models and not METHODS[job.method.name].model_types:
        with_models = [name for name in METHODS if METHODS[name].model_types]
        yield (
            f"output.models: method {job.method.name} leaves no models that could label other"
            f" rows: leave it out, or take one of {', '.join(with_models)}; rows that came"
            " later are labelled over a stored graph by new_row_distributions"
        )


def wrong_features(job: JobSpec) -> Iterator[str]:
    """Yield what is wrong with `features` for the method, and where they hold the labels."""
    try:
        METHODS[job.method.name].check_groups(job.method, tuple(job.features))
    except ValueError as error:
        yield f"method.{error}"
    secret = _secret_columns(job)
    for name, group in job.features.items():
        if used := sorted(secret.intersection(group.columns())):
            yield f"features.{name} uses {used}, which holds the labels or the truth"


def _secret_columns(job: JobSpec) -> set[str]:
    """Return the columns that hold the labels and the truth."""
    return {name for name in (job.input.label, job.input.truth) if name is not None}


def wrong_keys_of_classes(job: JobSpec) -> Iterator[str]:
    """Yield the keys that say nothing about the method's kind of labels: nothing is ignored."""
    name = job.method.name
    if job.target == "classes":
        if job.decision.coverage is not None:
            yield (
                f"decision.coverage is for labels that are numbers, and {name} gives classes:"
                " take min_probability, or method harmonic_regression"
            )
        return
    found = job.decision.keys_of_classes()
    if job.input.classes is not None:
        found["input.classes"] = "leave it out"
    if job.output.probabilities:
        found["output.probabilities"] = "value_low and value_high are always written"
    if found:
        keys = "; ".join(f"{key} ({cure})" for key, cure in found.items())
        yield (
            f"the labels of method {name} are numbers; what is said of classes does not fit them:"
            f" {keys}"
        )


CHECKS: tuple[Callable[[JobSpec], Iterator[str]], ...] = (
    wrong_graph,
    wrong_models,
    wrong_features,
    wrong_keys_of_classes,
)
"""What is checked of keys beside each other; each yields a sentence for each mistake."""


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
        As for `load_job`.

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
            raise JobSpecError(f"larger than {MAX_FILE_BYTES} bytes", file=str(path))
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise JobSpecError(f"cannot be read: {error.strerror}", file=str(path)) from None
    except UnicodeDecodeError:
        raise JobSpecError("is not UTF-8 text", file=str(path)) from None
    data = parse_yaml(text, str(path))
    if not isinstance(data, dict):
        raise JobSpecError(
            "is not a job: expected keys such as name, input, features, method, output",
            file=str(path),
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
        mistakes = [keys.problem(item, data, source) for item in items if not follows(item, items)]
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
    def absolute(path: str) -> str:
        # URLs stay; "~" is a shell's business, not ours. Not resolve(): links are followed later.
        return path if re.match(r"^[a-z][a-z0-9+.-]+://", path) else os.path.normpath(base / path)

    labels = spec.input.labels
    if labels is not None:
        labels = labels.model_copy(update={"path": absolute(labels.path)})
    source = spec.input.model_copy(update={"path": absolute(spec.input.path), "labels": labels})
    output = spec.output.model_copy(update={"path": absolute(spec.output.path)})
    graph = spec.graph
    if graph is not None and graph.path is not None:
        graph = graph.model_copy(update={"path": absolute(graph.path)})
    if graph is not None and any(graph.edge_lists()):
        graph = _with_edge_paths(graph, absolute)
        if graph.parts is not None:
            parts = tuple(_with_edge_paths(part, absolute) for part in graph.parts)
            graph = graph.model_copy(update={"parts": parts})
    return spec.model_copy(update={"input": source, "output": output, "graph": graph})


def _with_edge_paths(graph: Graph, absolute: Callable[[str], str]) -> Graph:
    if graph.edges is None:
        return graph
    edges = graph.edges.model_copy(update={"path": absolute(graph.edges.path)})
    return graph.model_copy(update={"edges": edges})


def cluster_of(data: Mapping[str, Any]) -> ClusterSpec:
    """Check the cluster part of a job that stands alone.

    Raises
    ------
    JobSpecError
        With every mistake found.
    """
    try:
        return ClusterSpec.model_validate(data)
    except ValidationError as error:
        keys = JobKeys(ClusterSpec.model_json_schema(), ())
        found = [keys.problem(item, {}, "--cluster") for item in error.errors()]
        raise JobSpecError(found) from None


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
            raise JobSpecError(f"--set {override!r}: {part!r} is a value, not a group of keys")
        place = inner
    place[parts[-1]] = parse_yaml(value, f"--set {override}")
