"""Columns to features: groups of columns become Dask arrays chunked as the rows are read."""

from ssl_dask.features.block_reader import BlockReader
from ssl_dask.features.feature_groups import (
    CategoricalGroup,
    ColumnNeed,
    FeatureGroup,
    NumericGroup,
    TextGroup,
    VectorGroup,
)
from ssl_dask.features.views import FeatureView, describe, join

__all__ = [
    "BlockReader",
    "CategoricalGroup",
    "ColumnNeed",
    "FeatureGroup",
    "FeatureView",
    "NumericGroup",
    "TextGroup",
    "VectorGroup",
    "describe",
    "join",
]
