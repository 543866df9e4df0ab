"""The part of a job file that says how rows are joined to a graph."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from dask.utils import parse_bytes
from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

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
}


class GraphSpec(SpecModel):
    """How rows are joined to a neighbour graph."""

    kind: Literal["knn", "rbf"] = "knn"
    """knn: every row with its nearest rows. rbf: every row with every other, for few rows only."""
    n_neighbors: Annotated[int, Field(ge=1)] = 15
    """Nearest rows that a row is joined with (kind: knn)."""
    metric: Literal["euclidean", "cosine"] = "euclidean"
    """Distance of two rows (kind: knn); cosine is usual for text."""
    weights: Literal["gaussian", "uniform"] = "gaussian"
    """Weight of an edge (kind: knn): exp(-4 d^2 / d_k^2), or 1."""
    symmetrize: Literal["average", "union"] = "average"
    """How the two weights of a pair become one (kind: knn): their mean, or the larger."""
    search: Literal["auto", "exact", "routed"] = "auto"
    """How neighbours are looked for (kind: knn): exact compares all pairs of rows; routed brings
    near rows together and compares those, for any number of rows; auto: routed from 30,000 rows."""
    target_recall: Annotated[float, Field(gt=0, le=1)] = 0.98
    """Share of the true neighbours that a routed search must find, measured on 1,000 rows."""
    shard_memory: str = "384MiB"
    """Memory of the task that searches one shard of a routed search. More makes fewer and larger
    shards, on any cluster the same."""
    gamma: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 20.0
    """Weight exp(-gamma d^2) of a pair of rows at distance d (kind: rbf)."""

    @field_validator("shard_memory")
    @classmethod
    def _shard_memory_is_a_size(cls, value: str) -> str:
        return checked_size(value, at_least=SMALLEST_SHARD)

    @property
    def shard_bytes(self) -> int:
        """Bytes of `shard_memory`."""
        return int(parse_bytes(self.shard_memory))

    @model_validator(mode="after")
    def _no_ignored_keys(self) -> GraphSpec:
        for kind, keys in _ONLY_FOR.items():
            given = [key for key in keys if key in self.model_fields_set]
            if kind != self.kind and given:
                goes = "go" if len(given) > 1 else "goes"
                raise ValueError(
                    f"{', '.join(given)} only {goes} with kind: {kind}; leave out, or set"
                    f" kind: {kind}"
                )
        return self

    @model_serializer(mode="wrap")
    def _without_ignored_keys(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # What is written must be readable again, and what is not used is no part of the job.
        unused = {key for kind, keys in _ONLY_FOR.items() if kind != self.kind for key in keys}
        return {key: value for key, value in handler(self).items() if key not in unused}
