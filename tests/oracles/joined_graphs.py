"""Graphs of edges, of entities and of several parts the plain way: dense, with dictionaries."""

from __future__ import annotations

from collections import defaultdict

import numpy as np


def edge_matrix(source, target, weight, n, *, directed, duplicates):
    """Return the dense symmetric weights of a list of edges; negative ends are unknown."""
    found = defaultdict(list)
    for u, v, w in zip(source, target, weight, strict=True):
        if u >= 0 and v >= 0 and u != v:
            key = (u, v) if directed else (min(u, v), max(u, v))
            found[key].append(w)
    W = np.zeros((n, n))
    for (u, v), ws in found.items():
        value = sum(ws) if duplicates == "sum" else max(ws)
        if directed:
            W[u, v] += value / 2
            W[v, u] += value / 2
        else:
            W[u, v] = W[v, u] = value
    return W


def entity_rows(columns, most):
    """Return {(column, value): rows} of the values of 2 to `most` rows."""
    rows = defaultdict(list)
    for name, values in columns.items():
        for i, value in enumerate(values):
            if value is not None:
                rows[name, value].append(i)
    return {key: members for key, members in rows.items() if 2 <= len(members) <= most}


def two_hop(B):
    """Return what reaches row j from row i through entities: B D_e^-1 B^T, without the diagonal."""
    through = B @ np.diag(1.0 / B.sum(axis=0)) @ B.T
    np.fill_diagonal(through, 0.0)
    return through
