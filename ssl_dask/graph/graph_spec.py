"""The part of a job file that says how rows are joined to a graph."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from ssl_dask.spec_model import SpecModel

_ONLY_FOR = {
    "knn": ("n_neighbors", "metric", "weights", "symmetrize"),
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
    gamma: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 20.0
    """Weight exp(-gamma d^2) of a pair of rows at distance d (kind: rbf)."""

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
