"""Graphs of rows: built from features, edges or shared values, kept in blocks over a cluster.

>>> import numpy as np
>>> X = np.array([[0.0], [0.1], [0.2], [9.0], [9.1], [9.2]])
>>> graph = knn_graph(X, n_neighbors=2)
>>> graph.n_rows, graph.n_edges // 2
(6, 6)
"""

from ssl_dask.graph.block.block_graph import BlockGraph
from ssl_dask.graph.build.attached_rows import attach_rows
from ssl_dask.graph.build.entity_graph import entity_graph
from ssl_dask.graph.build.graph_sum import sum_graphs
from ssl_dask.graph.build.neighbour_graph import knn_graph
from ssl_dask.graph.build.rbf_graph import rbf_graph
from ssl_dask.graph.routed.routed_index import RoutedIndex
from ssl_dask.propagation.methods.propagated_features import propagated_features
from ssl_dask.propagation.new_rows.new_rows import new_row_distributions

__all__ = [
    "BlockGraph",
    "RoutedIndex",
    "attach_rows",
    "entity_graph",
    "knn_graph",
    "new_row_distributions",
    "propagated_features",
    "rbf_graph",
    "sum_graphs",
]
