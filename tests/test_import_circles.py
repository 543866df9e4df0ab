"""No module imports itself by way of others, late imports and those for type checking included."""

from __future__ import annotations

import grimp
import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components


def test_there_is_no_circle() -> None:
    graph = grimp.build_graph("ssl_dask")
    names = sorted(graph.modules)
    place = {name: at for at, name in enumerate(names)}
    edges = np.array(
        [
            (place[name], place[other])
            for name in names
            for other in graph.find_modules_directly_imported_by(name)
        ]
    )
    assert len(edges) > 1000
    shape = (len(names), len(names))
    matrix = coo_array((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=shape)
    n_groups, group = connected_components(matrix, connection="strong")
    sizes = np.bincount(group)
    circles = [[n for n in names if group[place[n]] == g] for g in np.flatnonzero(sizes > 1)]
    assert circles == []
    assert n_groups == len(names)
