"""What a job file says of its graph."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from ssl_dask.errors import JobSpecError
from ssl_dask.graph.graph_spec import GraphSpec
from ssl_dask.job_file import job_schema, resolve_job
from ssl_dask.job_spec import JobSpec
from ssl_dask.kernels.graph.coo_strips import COMBINE
from ssl_dask.kernels.graph.edge_weights import WEIGHTS
from ssl_dask.kernels.graph.shared_keys import ENTITY_SCALES
from ssl_dask.kernels.graph.symmetric_strip import SYMMETRIZE

EDGES = {"path": "links.parquet", "source": "a", "target": "b"}


def job(**graph: Any) -> JobSpec:
    return resolve_job(
        {
            "name": "made",
            "input": {"path": "rows.parquet", "id": "id", "label": "seed", "truth": "truth"},
            "features": {"x": {"numeric": ["x"]}},
            "method": {"name": "label_spreading"},
            "graph": graph,
            "output": {"path": "out"},
        },
        base=Path("/jobs"),
    )


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        ({}, "knn"),
        ({"edges": EDGES}, "edges"),
        ({"entities": ["card"]}, "entities"),
        ({"parts": [{}, {"entities": {"card": 2}, "weight": 3}, {"edges": EDGES}]}, "sum"),
        ({"kind": "rbf", "gamma": 2}, "rbf"),
        ({"parts": [{"features": "x"}, {"features": ["x"]}], "part_weights": "learned"}, "sum"),
    ],
)
def test_keys_say_the_kind_and_what_is_written_is_readable(given, kind):
    spec = GraphSpec.model_validate(given)
    assert spec.kind == kind
    written = spec.model_dump(mode="json")
    assert GraphSpec.model_validate(written) == spec
    assert ("n_neighbors" in written) == (kind == "knn")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"edges": EDGES, "entities": ["card"]}, "list each of them under parts"),
        ({"edges": EDGES, "path": "stored"}, "keep one"),
        ({"entities": ["card"], "n_neighbors": 3}, "n_neighbors only goes with kind: knn"),
        ({"n_neighbors": 3, "max_entity_rows": 9}, "max_entity_rows only goes with"),
        ({"kind": "edges"}, "kind: edges needs the key edges"),
        ({"entities": ["card", "card"]}, "a column stands twice"),
        ({"entities": "card"}, r"list the columns: \[card\]"),
        ({"entities": []}, "name at least one"),
        ({"entities": {"card": 0}}, "greater than 0"),
        ({"parts": []}, "name at least one"),
        ({"parts": [{"parts": [{}]}]}, "not permitted"),
        ({"parts": [{"kind": "sum"}]}, "needs the key parts"),
        ({"parts": [{"weight": -1}]}, "greater than 0"),
        ({"weight": 2}, "not permitted"),
        ({"parts": [{"entities": ["card"], "features": "x"}]}, "features only goes with"),
        ({"parts": [{}], "part_weights": "learned"}, "needs two parts"),
        ({"parts": [{}, {"edges": EDGES}], "part_weights": "learned"}, "all of kind knn or rbf"),
        ({"parts": [{}, {"weight": 2}], "part_weights": "learned"}, "would not use it"),
        ({"part_weights": "learned"}, "only goes with kind: sum"),
        ({"edges": {**EDGES, "directd": True}}, "not permitted"),
        ({"gamma": 20}, "gamma only goes with kind: rbf"),
        ({"kind": "rbf", "n_neighbors": 15, "metric": "cosine"}, "n_neighbors, metric only go"),
        ({"n_neighbors": 0}, "greater than or equal to 1"),
        ({"kind": "rbf", "gamma": 0}, "greater than 0"),
    ],
)
def test_keys_that_do_not_go_together_are_refused(given, message):
    with pytest.raises(ValidationError, match=message):
        GraphSpec.model_validate(given)


def test_choices_are_those_of_the_kernels():
    def choices(schema: dict[str, Any], key: str) -> set[str]:
        one = schema["properties"][key]
        return set(next(v["enum"] for v in one.get("anyOf", [one]) if "enum" in v))

    schema = GraphSpec.model_json_schema()
    assert choices(schema, "weights") == set(WEIGHTS)
    assert choices(schema, "symmetrize") == set(SYMMETRIZE)
    assert choices(schema, "entity_scale") == set(ENTITY_SCALES)
    assert choices(schema["$defs"]["EdgesSpec"], "duplicates") == set(COMBINE)
    assert "parts" in str(job_schema())


def test_paths_of_edges_start_at_the_job_and_are_no_part_of_it():
    near = job(parts=[{"edges": EDGES}, {"entities": ["card"]}])
    (edges,) = near.graph.edge_lists()
    assert edges.path == "/jobs/links.parquet"
    elsewhere = job(parts=[{"edges": {**EDGES, "path": "s3://b/c"}}, {"entities": ["card"]}])
    assert near.digest() == elsewhere.digest()
    assert near.digest() != job(parts=[{"edges": EDGES}, {"entities": ["device"]}]).digest()
    assert job(edges=EDGES).digest() != job(edges={**EDGES, "directed": True}).digest()


@pytest.mark.parametrize(
    ("column", "message"), [("seed", "labels or the truth"), ("id", "no two rows share")]
)
def test_entities_are_neither_labels_nor_ids(column, message):
    with pytest.raises(JobSpecError, match=message):
        job(entities=["card", column])


def test_a_typo_in_a_part_names_the_key_that_was_meant():
    with pytest.raises(JobSpecError) as caught:
        job(parts=[{"n_neighbours": 3}])
    (problem,) = caught.value.problems
    assert "n_neighbors" in str(problem)


def test_parts_name_groups_of_features_that_are_there():
    assert job(parts=[{"features": "x"}, {}]).graph.parts[0].features == ("x",)
    with pytest.raises(JobSpecError, match=r"\['y'\], which are none of the groups"):
        job(parts=[{"features": ["x", "y"]}])
