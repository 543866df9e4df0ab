"""What the page says of a graph: a few facts in plain words, the rest folded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ssl_dask.report.words import percent

Rows = list[tuple[str, str]]

SEARCHES = {"exact": "every pair of rows was compared", "routed": "near rows were compared"}
WORDS = {
    "n_rows": "Rows",
    "n_copies": "Copies of other rows, which share a node with them",
    "n_nodes": "Nodes",
    "n_neighbors": "Neighbours that a row chooses",
    "metric": "Distance",
    "n_edges": "Edges",
    "n_components": "Parts that no edge joins",
    "n_isolated": "Rows without neighbours",
    "rows_without_path_to_seed": "Rows from which no path leads to a seed",
}
"""Keys of a graph's summary -> their words, in the order of the table."""
TOLD = {"search", "recall", "neighbours", "largest_components", "notes"}
SEED_EDGES = ("edges_between_seeds", "edges_between_seeds_of_one_class")


def graph_rows(graph: Mapping[str, Any]) -> tuple[Rows, dict[str, Any]]:
    """Return the facts that people ask for, and what is left of the summary."""
    rows = []
    for key, words in WORDS.items():
        value = graph.get(key)
        if value is None or (key == "n_nodes" and value == graph.get("n_rows")):
            continue
        if value or key not in ("n_copies", "n_isolated"):
            rows.append((words, f"{value:,}" if isinstance(value, int) else str(value)))
    if "search" in graph:
        rows.append(("Search", _search_words(graph)))
    if "neighbours" in graph:
        middle, most = graph["neighbours"]["0.5"], graph["neighbours"]["1"]
        rows.append(
            ("Neighbours of a node, of the median one and at most", f"{middle:,}, {most:,}")
        )
    if len(graph.get("largest_components", ())) > 1:
        sizes = ", ".join(f"{size:,}" for size in graph["largest_components"][:5])
        rows.append(("Nodes of the largest parts", sizes))
    pairs, alike = (graph.get(key) for key in SEED_EDGES)
    if pairs:
        rows.append(
            ("Edges between seeds, and of one class", f"{pairs:,}, {percent(alike / pairs)}")
        )
    rows += [("Note", str(note)) for note in graph.get("notes", ())]
    told = {*WORDS, *TOLD, *SEED_EDGES}
    return rows, {key: value for key, value in graph.items() if key not in told}


def _search_words(graph: Mapping[str, Any]) -> str:
    words = SEARCHES.get(graph["search"], str(graph["search"]))
    recall = graph.get("recall")
    if recall is None:
        return words
    return f"{words}; {percent(recall['estimate'])} of the true neighbours were found"
