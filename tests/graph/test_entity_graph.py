"""Rows that share a card or a device, joined through it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ssl_dask.errors import GraphError
from ssl_dask.execution import Execution
from ssl_dask.graph.build.entity_graph import entity_graph
from ssl_dask.graph.build.graph_sum import sum_graphs
from tests.oracles.joined_graphs import entity_rows, two_hop

CARDS = ["a", "b", "a", None, "c", "b", "a", "d", None, "e"]
DEVICES = [7, 7, 7, 7, 7, 7, 8, 8, 9, 9]
COLUMNS = {"card": CARDS, "device": DEVICES}


def as_arrays(columns):
    return {name: np.array(values, dtype=object) for name, values in columns.items()}


def test_entities_of_rows_are_nodes_behind_them():
    graph = entity_graph(as_arrays(COLUMNS), scale="none", execution=Execution(threads=1))
    groups = entity_rows(COLUMNS, 1000)
    assert (graph.n_rows, graph.n_nodes) == (10, 10 + len(groups))
    W = graph.to_scipy().toarray()
    assert not W[:10, :10].any()
    assert not W[10:, 10:].any()
    np.testing.assert_array_equal(W, W.T)
    found = sorted(np.flatnonzero(column).tolist() for column in W[:10, 10:].T)
    assert found == sorted(groups.values())
    assert graph.n_edges == 2 * sum(map(len, groups.values()))


@pytest.mark.parametrize(("scale", "power"), [("inverse_sqrt", -0.5), ("inverse", -1), ("none", 0)])
def test_edges_weigh_less_in_larger_entities(scale, power):
    graph = entity_graph(
        as_arrays(COLUMNS), weights={"device": 3.0}, scale=scale, execution=Execution(threads=1)
    )
    B = graph.to_scipy().toarray()[:10, 10:]
    sizes = np.count_nonzero(B, axis=0)
    card_sizes, device_sizes = [3, 2], [6, 2, 2]
    assert sorted(sizes) == sorted(card_sizes + device_sizes)
    want = sorted([1.0 * s**power for s in card_sizes] + [3.0 * s**power for s in device_sizes])
    np.testing.assert_allclose(sorted(B.max(axis=0)), want, rtol=1e-6)
    through = two_hop(B.astype(float))
    assert through[0, 2] > through[0, 1] > 0
    assert through[0, 9] == 0


def test_what_everybody_shares_is_left_out_and_counted():
    graph = entity_graph(as_arrays(COLUMNS), max_entity_rows=5, execution=Execution(threads=1))
    about = graph.settings["entities"]
    assert about["device"]["dropped"] == 1
    assert about["device"]["dropped_rows"] == about["device"]["largest"] == 6
    assert about["device"]["kept"] == 2
    assert about["card"] == {
        "kept": 2,
        "edges": 5,
        "of_one_row": 3,
        "dropped": 0,
        "dropped_rows": 0,
        "largest": 3,
        "weight": 1.0,
    }
    whole = entity_graph(as_arrays(COLUMNS), max_entity_rows=6, execution=Execution(threads=1))
    assert whole.settings["entities"]["device"]["kept"] == 3
    (note,) = graph.settings["notes"]
    assert "'device'" in note
    assert graph.to_scipy()[4].nnz == 0


def test_equal_values_of_two_columns_are_two_entities():
    same = np.array([5, 5, 6])
    graph = entity_graph({"a": same, "b": same}, execution=Execution(threads=1))
    assert graph.n_nodes == 3 + 2


def test_arguments_are_checked():
    card = np.array(["x", "y"])
    with pytest.raises(GraphError, match="one length"):
        entity_graph({"a": card, "b": np.array([1])})
    with pytest.raises(GraphError, match="integers or texts"):
        entity_graph({"a": np.array([0.5, 1.0])})
    with pytest.raises(GraphError, match="mixes kinds"):
        entity_graph({"a": np.array([1, "x"], dtype=object)})
    with pytest.raises(GraphError, match="at least 2"):
        entity_graph({"a": card}, max_entity_rows=1)
    with pytest.raises(GraphError, match="none of the columns"):
        entity_graph({"a": card}, weights={"b": 1.0})
    with pytest.raises(GraphError, match="at least one"):
        entity_graph({})
    with pytest.raises(GraphError, match="scale is 'log'"):
        entity_graph({"a": card}, scale="log")
    with pytest.raises(GraphError, match="a number > 0"):
        entity_graph({"a": card}, weights={"a": 0.0})


def test_nobody_shares_anything():
    graph = entity_graph({"a": np.array([1, 2, 3])}, execution=Execution(threads=1))
    assert (graph.n_nodes, graph.n_edges) == (3, 0)
    both = sum_graphs([(graph, 1.0), (graph, 2.0)], execution=Execution(threads=1))
    assert both.n_edges == 0


def test_null_and_words_for_it_are_no_entity():
    plain = ["a", None, "a", None, "b", "b"]
    forms = {
        "objects": np.array(plain, dtype=object),
        "empty texts": np.array(["a", "", "a", " ", "b", "b"]),
        "words": np.array(["a", "NA", "a", "na", "b", "b"]),
        "texts of pandas": pd.Series(plain, dtype="string"),
        "integers of pandas": pd.Series([1, None, 1, None, 2, 2], dtype="Int64"),
        "integers": np.array([1, -1, 1, -1, 2, 2]),
        "unsigned integers": np.array([1, -1, 1, -1, 2, 2]).astype(np.uint16),
        "unsigned integers as text": np.array(["1", str(2**64 - 1), "1", "4294967295", "2", "2"]),
    }
    for name, values in forms.items():
        graph = entity_graph({"card": values}, execution=Execution(threads=1))
        assert (graph.n_nodes, graph.n_edges) == (6 + 2, 8), name


def test_what_more_than_half_of_the_rows_share_is_left_out():
    values = np.r_[np.zeros(13, int), np.arange(12) // 2 + 1]
    graph = entity_graph({"card": values}, execution=Execution(threads=1))
    assert graph.settings["entities"]["card"]["dropped_rows"] == 13
    assert graph.settings["entities"]["card"]["kept"] == 6
    assert "shared by more than 12 rows" in graph.settings["notes"][0]


def test_texts_of_any_array_have_the_same_entities():
    words = ["b", "a", "NA", "", "b", "ab", "a", " n/a "]
    forms = [words, np.array(words), np.array(words, dtype="S5"), np.array(words, dtype=object)]
    forms.append(np.array(["b", "a", None, np.nan, "b", "ab", "a", None], dtype=object))
    graphs = [entity_graph({"w": form}, execution=Execution(threads=1)) for form in forms]
    for graph in graphs:
        assert graph.settings["entities"] == graphs[0].settings["entities"]
        assert (graph.to_scipy() != graphs[0].to_scipy()).nnz == 0
    assert graphs[0].n_nodes == 8 + 2
    assert graphs[0].settings["entities"]["w"]["of_one_row"] == 1
