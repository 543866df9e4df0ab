"""Features and seeds -> pseudo-labels in rounds -> F: one loop, one file for each method."""

from __future__ import annotations

from ssl_dask.self_labeled.methods import (
    co_forest,
    co_training,
    democratic_co_learning,
    multi_view,
    self_training,
    semi_supervised_nb,
    tri_training,
)

_ROOM = (
    self_training,
    multi_view,
    semi_supervised_nb,
    co_training,
    tri_training,
    democratic_co_learning,
    co_forest,
)
METHODS = {one.METHOD.name: one.METHOD for one in _ROOM}
