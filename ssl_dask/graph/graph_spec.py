"""The part of a job file that says how rows are joined to a graph."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from dask.utils import parse_bytes
from pydantic import (
    BeforeValidator,
    Field,
    SerializerFunctionWrapHandler,
    WithJsonSchema,
    field_validator,
    model_serializer,
    model_validator,
)

from ssl_dask.input_files import InputFiles
from ssl_dask.spec_model import SpecModel, checked_size

SMALLEST_SHARD = 16 * 2**20

_ONLY_FOR = {
    "knn": (
        "n_neighbors",
        "metric",
        "weights",
        "symmetrize",
        "search",
        "target_recall",
        "shard_memory",
    ),
    "rbf": ("gamma",),
    "edges": ("edges",),
    "entities": ("entities", "max_entity_rows", "entity_scale"),
    "sum": ("parts", "part_weights"),
    "stored": ("path",),
}
_NEEDED = {"edges": "edges", "entities": "entities", "sum": "parts", "stored": "path"}
"""Kinds that a key of their own stands for -> that key."""


_OF_FEATURES = ("knn", "rbf")


def _as_names(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


GroupNames = Annotated[
    tuple[Annotated[str, Field(min_length=1)], ...],
    Field(min_length=1),
    BeforeValidator(_as_names),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "minLength": 1},
                {"type": "array", "items": {"type": "string", "minLength": 1}, "minItems": 1},
            ]
        }
    ),
]


class EdgesSpec(InputFiles):
    """Edges that are already there, in Parquet files or a table."""

    source: str = "source"
    """Column of one end: ids of rows, or row numbers where the job names no id."""
    target: str = "target"
    """Column of the other end."""
    weight: str | None = None
    """Column of weights, numbers >= 0; left out: every edge weighs 1."""
    directed: bool = False
    """Whether an edge and its reverse are two edges, whose weights are averaged."""
    duplicates: Literal["sum", "max"] = "sum"
    """What an edge weighs that comes more than once."""


def _as_weights(value: Any) -> Any:
    """Turn a list of columns into columns that weigh 1."""
    if isinstance(value, str):
        raise ValueError(f"list the columns: [{value}]")
    if not isinstance(value, (list, tuple)):
        return value
    if len(set(map(str, value))) < len(value):
        raise ValueError("a column stands twice")
    return dict.fromkeys(map(str, value), 1.0)


EntityColumns = Annotated[
    dict[str, Annotated[float, Field(gt=0, allow_inf_nan=False)]],
    BeforeValidator(_as_weights),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "array", "items": {"type": "string"}, "minItems": 1, "uniqueItems": True},
                {"type": "object", "additionalProperties": {"type": "number"}, "minProperties": 1},
            ]
        }
    ),
]


class OneGraphSpec(SpecModel):
    """One way to join rows."""

    kind: Literal["knn", "rbf", "edges", "entities", "sum", "stored"] = "knn"
    """knn: every row with its nearest rows. rbf: every row with every other, for few rows only.
    edges, entities, sum, stored: said by the keys edges, entities, parts and path."""
    n_neighbors: Annotated[int, Field(ge=1)] = 15
    """Nearest rows that a row is joined with (kind: knn)."""
    metric: Literal["euclidean", "cosine"] = "euclidean"
    """Distance of two rows (kind: knn); cosine is usual for text."""
    weights: Literal[
        "gaussian", "uniform", "self_tuning", "symmetric_gaussian", "steep_gaussian", "fuzzy"
    ] = "gaussian"
    """Weight of an edge (kind: knn): exp(-4 d^2 / d_k^2); 1; exp(-d^2 / (s_i s_j)) with the
    distance s of the 7th neighbour; gaussian with the scales of both ends, or with 8 for 4 too;
    UMAP's memberships."""
    symmetrize: Literal["average", "union", "mutual", "fuzzy_union"] | None = None
    """How the two weights of a pair become one (kind: knn): their mean, the larger, the smaller, or
    a + b - ab; left out: fuzzy_union for fuzzy weights, else average."""
    search: Literal["auto", "exact", "routed"] = "auto"
    """How neighbours are looked for (kind: knn): exact compares all pairs of rows; routed brings
    near rows together and compares those, for any number of rows; auto: routed from 30,000
    rows, of text from 60,000."""
    target_recall: Annotated[float, Field(gt=0, le=1)] = 0.98
    """Share of the true neighbours that a routed search must find, measured on 1,000 rows."""
    shard_memory: str = "384MiB"
    """Memory of the task that searches one shard of a routed search. More makes fewer and larger
    shards, on any cluster the same."""
    gamma: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 20.0
    """Weight exp(-gamma d^2) of a pair of rows at distance d (kind: rbf)."""
    edges: EdgesSpec | None = None
    """Edges in files: {path, source, target, weight, directed, duplicates}."""
    entities: EntityColumns | None = None
    """Columns of what rows share, such as [card_id, device_id], or with weights {card_id: 2}."""
    max_entity_rows: Annotated[int, Field(ge=2)] = 1000
    """Values that more rows share, or more than half of all rows, are left out: they say nothing of
    any one (with entities)."""
    entity_scale: Literal["inverse_sqrt", "inverse", "none"] = "inverse_sqrt"
    """Weight of a row's edge to a value that s rows share: 1/sqrt(s), 1/s or 1 (with entities)."""

    @field_validator("shard_memory")
    @classmethod
    def _shard_memory_is_a_size(cls, value: str) -> str:
        return checked_size(value, at_least=SMALLEST_SHARD)

    @property
    def shard_bytes(self) -> int:
        """Bytes of `shard_memory`."""
        return int(parse_bytes(self.shard_memory))

    @model_validator(mode="before")
    @classmethod
    def _kind_of_keys(cls, data: Any) -> Any:
        if not isinstance(data, dict) or "kind" in data:
            return data
        found = [kind for kind, key in _NEEDED.items() if data.get(key) is not None]
        if len(found) > 1:
            keys = " and ".join(_NEEDED[kind] for kind in found)
            cure = "list each of them under parts" if found == ["edges", "entities"] else "keep one"
            raise ValueError(f"{keys} are graphs of their own: {cure}")
        return {**data, "kind": found[0]} if found else data

    @model_validator(mode="after")
    def _no_ignored_keys(self) -> OneGraphSpec:
        for kind, keys in _ONLY_FOR.items():
            given = [key for key in keys if key in self.model_fields_set]
            if kind != self.kind and given:
                goes = "go" if len(given) > 1 else "goes"
                raise ValueError(
                    f"{', '.join(given)} only {goes} with kind: {kind}, and this is kind:"
                    f" {self.kind}; leave out, or list each graph under parts"
                )
        needed = _NEEDED.get(self.kind)
        if needed is not None and getattr(self, needed, None) is None:
            raise ValueError(f"kind: {self.kind} needs the key {needed}")
        if needed in ("entities", "parts") and not getattr(self, needed):
            raise ValueError(f"{needed} is empty: name at least one")
        return self

    @model_serializer(mode="wrap")
    def _without_ignored_keys(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # What is written must be readable again, and what is not used is no part of the job.
        unused = {key for kind, keys in _ONLY_FOR.items() if kind != self.kind for key in keys}
        return {key: value for key, value in handler(self).items() if key not in unused}


class GraphPartSpec(OneGraphSpec):
    """One of several graphs that are added up."""

    weight: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    """Factor of the part's weights in the sum."""
    features: GroupNames | None = None
    """Groups of features by which neighbours are looked for (kind: knn and rbf); left out: all of
    them, joined. Rows that lack the only group have no edges in this part."""

    @model_validator(mode="after")
    def _features_are_used(self) -> GraphPartSpec:
        if self.features is not None and self.kind not in _OF_FEATURES:
            raise ValueError(f"features only goes with kind: knn or rbf, not {self.kind}")
        return self


class GraphSpec(OneGraphSpec):
    """How rows are joined to a graph."""

    parts: tuple[GraphPartSpec, ...] | None = None
    """Graphs whose weights are added up, each with a weight: [{n_neighbors: 15}, {entities: ...}].
    """

    part_weights: Literal["given", "learned"] = "given"
    """learned: the parts are weighed by what seeds of one class have in common, in place of
    `weight`; for parts of kind knn and rbf."""

    path: str | None = None
    """Folder of a graph that `ssl-dask graph` has stored, relative to the job file: used as it is,
    if it was made from the same input files and features."""

    @model_validator(mode="after")
    def _weights_can_be_learned(self) -> GraphSpec:
        if self.part_weights == "given":
            return self
        parts = self.parts or ()
        if len(parts) < 2 or any(part.kind not in _OF_FEATURES for part in parts):
            raise ValueError(
                "part_weights: learned needs two parts at least, all of kind knn or rbf: seeds are"
                " compared by the features of each part"
            )
        if any("weight" in part.model_fields_set and part.weight != 1.0 for part in parts):
            raise ValueError("a part has a weight, and part_weights: learned would not use it")
        return self

    def each(self) -> tuple[OneGraphSpec, ...]:
        """Return the graphs that are added up; this one alone where it is no sum."""
        return (self,) if self.parts is None else self.parts

    def edge_lists(self) -> Iterator[EdgesSpec]:
        """Yield what is said of edges in files, part by part."""
        for part in self.each():
            if part.edges is not None:
                yield part.edges

    def entity_columns(self) -> tuple[str, ...]:
        """Return the columns of entities of all parts, each once."""
        return tuple(dict.fromkeys(name for part in self.each() for name in part.entities or ()))
