"""Rows -> BlockGraph: who is a neighbour of whom, and how near."""

from ssl_dask.graph.block.block_graph import BlockGraph
from ssl_dask.graph.build.entity_graph import entity_graph
from ssl_dask.graph.build.graph_sum import sum_graphs
from ssl_dask.graph.build.knn_search import knn_search
from ssl_dask.graph.build.neighbour_graph import knn_graph
from ssl_dask.graph.build.rbf_graph import rbf_graph
from ssl_dask.graph.graph_spec import GraphSpec
from ssl_dask.graph.routed.routed_index import RoutedIndex

__all__ = [
    "BlockGraph",
    "GraphSpec",
    "RoutedIndex",
    "entity_graph",
    "knn_graph",
    "knn_search",
    "rbf_graph",
    "sum_graphs",
]
