"""A labelling job: its parts, and what is checked of them beside each other."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
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
from pydantic_core import InitErrorDetails, PydanticCustomError, PydanticKnownError, core_schema

from ssl_dask.cluster_spec import ClusterSpec
from ssl_dask.decision.decision_spec import DecisionSpec
from ssl_dask.evaluation.evaluation_spec import EvaluationSpec
from ssl_dask.evaluation.given_shares import GivenShares
from ssl_dask.features.feature_groups import FeatureGroup
from ssl_dask.graph.graph_spec import GraphSpec, OneGraphSpec
from ssl_dask.input_files import InputFiles
from ssl_dask.label_words import folded
from ssl_dask.methods import ALIASES, METHODS
from ssl_dask.spec_model import SpecModel

Graph = TypeVar("Graph", bound=OneGraphSpec)


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


class LabelsFileSpec(InputFiles):
    """Seed labels kept in a file of their own, joined by id."""

    path: str | Annotated[tuple[str, ...], Field(min_length=1)]  # type: ignore[assignment]
    """CSV, TSV, JSON lines (also .gz) or Parquet: a file, a glob, a folder of them, or a list of
    these, relative to the job file; of a table its folder."""
    id: str
    """Column of the ids; where `by` is given it may be left out if it has that name."""
    label: str
    """Column of the labels."""
    allow_unmatched: bool = False
    """Ids that are not in the input: false is an error, true a note in the report."""
    by: str | None = None
    """Column of the input that the ids name, such as the block of a log line or a card: all rows
    with a value get its label. Left out: input.id."""
    conflicts: Literal["refuse", "leave_out", "majority"] = "refuse"
    """An id that comes with different labels is an error, has no label, or the most frequent one
    (none where two are as frequent)."""

    @property
    def paths(self) -> tuple[str, ...]:
        """What is read, one path or several."""
        return (self.path,) if isinstance(self.path, str) else self.path

    @model_validator(mode="after")
    def _a_table_is_one(self) -> LabelsFileSpec:
        if self.format != "parquet" and not isinstance(self.path, str):
            raise ValueError(f"format {self.format} goes with one path: give the table's folder")
        return self

    @model_validator(mode="before")
    @classmethod
    def _one_name_for_both(cls, data: Any) -> Any:
        if isinstance(data, dict) and "id" not in data and isinstance(data.get("by"), str):
            return {**data, "id": data["by"]}
        return data


class InputSpec(InputFiles):
    """What is to be labelled, and the labels there are."""

    path: str
    """Parquet file, folder, glob, hive-partitioned folder or URL, relative to the job file; of a
    table its folder."""
    id: str | None = None
    """Column that names each row, without nulls or duplicates; null: rows are numbered."""
    label: str | None = None
    """Column of seed labels, null = unlabelled: classes, or numbers for a method that predicts
    numbers. Or use `labels`."""
    labels: LabelsFileSpec | None = None
    """Seed labels kept elsewhere. Or use `label`."""
    classes: tuple[bool | int | str, ...] | None = None
    """The classes there may be; a label outside them is an error."""
    unlabelled: tuple[bool | int | float | str, ...] = ()
    """Labels that stand for "not known", such as [NA, "?", 0]; capitals do not matter."""
    class_shares: GivenShares = "estimate"
    """Shares of the classes among all rows, such as {fraud: 0.008}, or a range [0.004, 0.02];
    classes that are not named share the rest as their seeds do. `seeds`: the seeds are a random
    sample of the rows. `estimate`: told from the scores of rows and of seeds that were hidden.
    Probabilities, labels, precision and accuracy are those at these shares."""
    sampling: str | None = None
    """Column of few values, such as the rule that proposed a row for labelling: the seeds of a
    value are a random sample of its rows, of its rows of their class where `class_shares` is not
    `seeds`. Figures weigh each seed by the rows it stands for. Left out: rows are of one group."""
    truth: str | None = None
    """Column of the true classes or numbers: never used for learning, only to score a benchmark."""
    block_rows: Annotated[int, Field(ge=1)] | None = None
    """Rows of one block; default: set by the memory of a worker."""

    @model_validator(mode="after")
    def _one_source_of_labels(self) -> InputSpec:
        if (self.label is None) == (self.labels is None):
            raise ValueError("give either label (a column of the input) or labels (a file)")
        if self.labels is not None and self.labels.by is None and self.id is None:
            raise ValueError("labels kept in a file are joined by id: give input.id, or labels.by")
        if self.label is not None and self.label == self.truth:
            raise ValueError("label and truth are the same column; truth is never learned from")
        if self.id is not None and self.id in (self.label, self.truth):
            raise ValueError(f"{self.id!r} is both the id and the label or truth: name two columns")
        if self.sampling is not None and self.sampling in (self.id, self.label, self.truth):
            raise ValueError(
                f"{self.sampling!r} is both sampling and the id, label or truth: name the column of"
                " the groups that labels were drawn of"
            )
        no_labels = {folded(str(one)) for one in self.unlabelled}
        if both := [one for one in self.classes or () if folded(str(one)) in no_labels]:
            raise ValueError(f"{both[0]!r} is listed in classes and in unlabelled: keep one")
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
    rank: bool | int | str | None = None
    """Also write the column `rank`: the place of a row by its chance of this class, from 1, among
    the rows that are no seeds; the first 100,000."""
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

    def with_files(self, change: Callable[[Any], Any]) -> JobSpec:
        """Return the job with other files: input, labels and edges, part by part, in that order."""
        source = change(self.input)
        if self.input.labels is not None:
            source = source.model_copy(update={"labels": change(self.input.labels)})
        graph = self.graph
        if graph is not None:
            graph = _with_edges(graph, change)
            if graph.parts is not None:
                parts = tuple(_with_edges(part, change) for part in graph.parts)
                graph = graph.model_copy(update={"parts": parts})
        return self.model_copy(update={"input": source, "graph": graph})

    def with_tables(self, pins: Sequence[int | str | None]) -> JobSpec:
        """Return the job with its tables pinned, in the order of `with_files`; None: no table."""
        rest = iter(pins)
        return self.with_files(lambda files: files.pinned(next(rest, None)))

    def fingerprint_fields(self) -> dict[str, Any]:
        """Return what makes two jobs the same: all but the cluster and the output's place."""
        dump = self.model_dump(mode="json", exclude={"cluster"})
        for key in ("path", "keep_runs"):
            dump["output"].pop(key)
        # The files themselves are compared, by size and footer, wherever they lie.
        graphs = [dump["graph"] or {}, *(dump["graph"] or {}).get("parts", ())]
        edges = [part.get("edges", {}) for part in graphs]
        for part in (dump["input"], dump["input"]["labels"] or {}, *edges):
            for key in ("path", "version", "snapshot"):
                part.pop(key, None)
        # A stored graph is known by its content, see `Inputs.identity`.
        (dump["graph"] or {}).pop("path", None)
        return dump

    def digest(self) -> str:
        """Return the SHA-256 of `fingerprint_fields` as hexadecimal text."""
        text = json.dumps(self.fingerprint_fields(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


def _with_edges(graph: Graph, change: Callable[[Any], Any]) -> Graph:
    if graph.edges is None:
        return graph
    return graph.model_copy(update={"edges": change(graph.edges)})


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
    """Yield what is wrong with `output.models`, and with what goes with it."""
    if job.decision.on_drift != "warn" and not job.output.models:
        yield (
            f"decision.on_drift: {job.decision.on_drift} goes with output.models: true, since new"
            " rows are labelled by kept models"
        )
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
    if job.input.class_shares != "estimate":
        found["input.class_shares"] = "leave it out"
    if job.input.sampling is not None:
        found["input.sampling"] = "leave it out"
    if job.output.probabilities:
        found["output.probabilities"] = "value_low and value_high are always written"
    if job.output.rank is not None:
        found["output.rank"] = "leave it out"
    if found:
        keys = "; ".join(f"{key} ({cure})" for key, cure in found.items())
        yield (
            f"the labels of method {name} are numbers; what is said of classes does not fit them:"
            f" {keys}"
        )


def wrong_gate(job: JobSpec) -> Iterator[str]:
    """Yield the keys that ask for a comparison, or a figure, which the job rules out."""
    off = [
        words
        for given, words in (
            (not job.evaluation.baseline, "evaluation.baseline: false"),
            (job.evaluation.folds == 0, "evaluation.folds: 0"),
        )
        if given
    ]
    if off and job.decision.on_worse not in (None, "publish"):
        yield (
            f"decision.on_worse: {job.decision.on_worse} needs a baseline on hidden seeds, and"
            f" {' and '.join(off)} rules that out: leave one of them out, or say on_worse: publish"
        )
    if job.evaluation.folds == 0:
        for name in job.decision.floors:
            yield (
                f"decision.{name} is judged on hidden seeds, and evaluation.folds: 0 hides none:"
                " leave one of them out"
            )


CHECKS: tuple[Callable[[JobSpec], Iterator[str]], ...] = (
    wrong_graph,
    wrong_models,
    wrong_features,
    wrong_keys_of_classes,
    wrong_gate,
)
"""What is checked of keys beside each other; each yields a sentence for each mistake."""
