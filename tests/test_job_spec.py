"""The job file: what is refused, and in which words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ssl_dask.errors import JobSpecError
from ssl_dask.job_file import job_schema, load_job, read_job, resolve_job
from ssl_dask.plain_yaml import parse_yaml

MINIMAL = """
name: small
input: {path: data.parquet, id: id, label: y}
features: {numbers: {numeric: [a, b]}}
method: {name: label_spreading}
output: {path: out}
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "job.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_defaults_are_filled_in_and_paths_start_from_the_job_file(tmp_path: Path) -> None:
    spec = load_job(write(tmp_path, MINIMAL))
    assert spec.graph.n_neighbors == 15
    assert spec.input.path == str(tmp_path / "data.parquet")
    assert spec.output.path == str(tmp_path / "out")
    assert spec.cluster.kind == "local"


def test_urls_are_left_as_they_are(tmp_path: Path) -> None:
    text = MINIMAL.replace("path: data.parquet", "path: 's3://bucket/data'")
    assert load_job(write(tmp_path, text)).input.path == "s3://bucket/data"


def test_labels_may_name_groups_of_rows_and_words_for_nothing(tmp_path: Path) -> None:
    new = 'labels: {path: y.csv, by: block, label: y}, unlabelled: [NA, "?", 0, -1.5, false]'
    spec = load_job(write(tmp_path, MINIMAL.replace("id: id, label: y", new)))
    labels = spec.input.labels
    assert (labels.id, labels.by, labels.conflicts) == ("block", "block", "refuse")
    given = [repr(one) for one in spec.input.unlabelled]
    assert given == ["'NA'", "'?'", "0", "-1.5", "False"]


METHOD, OUT = "{name: label_spreading}", "output: {path: out}"
OF_METHODS = {
    "label_spreading, alhpa: 0.5": "did you mean 'alpha'",
    "label_spreadin": "did you mean 'label_spreading'",
    "xyz": "'xyz' is not one of the methods",
    "modified_adsorption, alpha: 1": "valid keys here: beta, max_iter, mu1, mu2, mu3",
    "democratic_co_learning, learners: [{name: sgd}, {name: knn}, {name: sdg}]": (
        "did you mean 'sgd'"
    ),
    "self_training, criterion: k_best, threshold: 0.9": "leave threshold out",
    "self_training, k_best: 5": "leave k_best out",
    "self_training, class_shares: {a: 0.5, b: 0.8}": "these sum to 1.3",
    "self_training, learner: {name: random_forest, parameters: {n_estimators: many}}": (
        "'n_estimators' parameter"
    ),
    "co_training, view_names: [numbers, number]": "did you mean 'numbers'",
    "co_training, view_names: numbers": (
        "method.view_names is a list, and got 'numbers' (write view_names: [numbers])"
    ),
    "self_training, max_iter: true": (
        "method.max_iter: a number is due here, not true or false, got True"
    ),
    "self_training, class_shares: {b: true}": "method.class_shares.b: a number is due",
    "label_spreading, alpha: 1.5": "method.alpha",
}
OF_LABELS = {
    'classes: [a, NA], unlabelled: ["na "]': "listed in classes and in",
    "classes: [ham, spam, null]": (
        "input.classes: entry 3 is null (write texts in quotes, whole numbers, true or false;"
        " leave null out)"
    ),
    "classes: [0, 1.5]": "input.classes: entry 2 is 1.5 (write",
    "unlabelled: [[a]]": "input.unlabelled: entry 1 is list (write",
    "unlabelled: NA": "write unlabelled: [NA]",
    "labels: {path: l.csv, id: id, label: l}": "either label",
}
MISTAKES = [
    *((METHOD, f"{{name: {new}}}", expected) for new, expected in OF_METHODS.items()),
    *(("label: y", f"label: y, {new}", expected) for new, expected in OF_LABELS.items()),
    (f"method: {METHOD}", "methud: {name: supervised}", "did you mean 'method'"),
    (OUT, "output: {path: out, columns: [1]}", "(columns: Input columns to carry over"),
    ("id: id, label: y", "labels: {path: y.csv, id: a, label: y}", "give input.id, or labels.by"),
    (METHOD, "co_forest", "write method: {name: co_forest}"),
    (OUT, "output: {path: out, columns: a}", "write columns: [a]"),
    (OUT, "output: {path: out, keep_runs: true}", "output.keep_runs: a num"),
    ("numeric: [a, b]", "numerik: [a, b]", "features.numbers"),
    ("numeric: [a, b]", "numeric: [a, b], scael: none", "did you mean 'scale'"),
    ("id: id, label: y", "id: id", "either label"),
    ("id: id, label: y", "id: y, label: y", "both the id"),
    ("numeric: [a, b]", "numeric: [a, y]", "holds the labels"),
    ("name: small", "name: ../../etc", "name"),
    (OUT, "output: {path: out, keep_runs: 0}", "output.keep_runs"),
    (OUT, f"{OUT}\ncluster: {{memory: 2}}", "cluster.memory"),
    (OUT, f"{OUT}\ncluster: {{memory: 60MiB}}", "at least"),
    (OUT, f"{OUT}\ncluster: {{kind: address}}", "needs address"),
    (OUT, f"{OUT}\ncluster: {{address: 'tcp://h:1'}}", "only go with kind: address"),
    (METHOD, "{name: supervised}\ngraph: {n_neighbors: 5}", "uses no graph"),
]


@pytest.mark.parametrize(("old", "new", "expected"), MISTAKES)
def test_a_mistake_is_named(tmp_path: Path, old: str, new: str, expected: str) -> None:
    assert old in MINIMAL
    with pytest.raises(JobSpecError) as error:
        load_job(write(tmp_path, MINIMAL.replace(old, new)))
    assert expected in str(error.value)
    assert error.value.exit_code == 2


def test_the_cure_of_keys_that_do_not_fit_is_the_hint(tmp_path: Path) -> None:
    path = write(tmp_path, MINIMAL.replace("label: y", "label: y, version: 3"))
    with pytest.raises(JobSpecError, match="version goes with a table") as caught:
        load_job(path)
    (problem,) = caught.value.problems
    assert problem.hint == "give format: delta, or leave it out"


@pytest.mark.parametrize(
    "features", ["", "features: [{numeric: [a]}]\n"], ids=["missing", "a list"]
)
def test_how_features_are_given_is_the_hint(tmp_path: Path, features: str) -> None:
    given = "features: {numbers: {numeric: [a, b]}}\n"
    graph = "graph: {edges: {path: e.parquet, source: a, target: b}}\n"
    with pytest.raises(JobSpecError, match="features") as caught:
        load_job(write(tmp_path, MINIMAL.replace(given, features) + graph))
    (problem,) = caught.value.problems
    assert "as features: {all: {numeric: [COLUMN]}}; jobs with edges" in str(problem.hint)


def test_all_mistakes_come_in_one_message(tmp_path: Path) -> None:
    text = MINIMAL.replace("numeric: [a, b]", "numeric: []").replace("path: out", "pth: out")
    with pytest.raises(JobSpecError) as error:
        load_job(write(tmp_path, text.replace("name: small", "nam: small")))
    assert len(error.value.problems) >= 4
    for word in ("'nam'", "'name' is missing", "features.numbers", "'output.pth'"):
        assert word in str(error.value), str(error.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\na: 2", "line 2: key 'a' stands twice"),
        ("a: &x [1]\nb: *x", "anchors"),
        ("a: !!python/object/apply:os.system [echo]", "not readable as YAML"),
        ("a: [1", "not readable as YAML"),
        ("1: a", "is not a word"),
        ("a: '" + "x" * 2**20 + "'", "larger than"),
        ("[" * 5000, "not readable as YAML"),
    ],
)
def test_yaml_that_is_more_than_plain_data_is_refused(text: str, expected: str) -> None:
    with pytest.raises(JobSpecError, match="job") as error:
        parse_yaml(text, "job")
    assert expected in str(error.value)


def test_scalars_are_those_of_yaml_1_2() -> None:
    text = "[NO, yes, on, true, 1e-3, 1.5, 017, 12:30, 2020-01-01, null, ~, -4, '5']"
    expected: list[Any] = ["NO", "yes", "on", True, 0.001, 1.5, 17, "12:30", "2020-01-01"]
    assert parse_yaml(text, "job") == [*expected, None, None, -4, "5"]


def test_overrides_are_yaml_and_checked(tmp_path: Path) -> None:
    path = write(tmp_path, MINIMAL)
    changes = ["method.alpha=0.5", "features.numbers.numeric=[a]", "evaluation.folds=3"]
    spec = load_job(path, changes)
    assert spec.method.alpha == 0.5
    assert spec.features["numbers"].columns() == ("a",)
    assert spec.evaluation.folds == 3
    for wrong in ("method.alpha", "=1", "name.x=1", "method.alpah=1"):
        with pytest.raises(JobSpecError):
            load_job(path, [wrong])


def test_the_cluster_and_the_places_are_not_part_of_the_fingerprint(tmp_path: Path) -> None:
    plain = load_job(write(tmp_path, MINIMAL)).digest()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    moved = load_job(write(elsewhere, MINIMAL), ["cluster.workers=7", "output.keep_runs=2"])
    assert moved.digest() == plain
    assert load_job(write(tmp_path, MINIMAL), ["method.alpha=0.5"]).digest() != plain


def test_missing_and_unreadable_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(JobSpecError, match=r"nowhere\.yaml"):
        load_job(tmp_path / "nowhere.yaml")
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(JobSpecError, match="UTF-8"):
        load_job(tmp_path / "bytes.yaml")
    with pytest.raises(JobSpecError, match="is not a job"):
        load_job(write(tmp_path, "[1, 2]"))


def test_the_schema_describes_every_key() -> None:
    schema = job_schema()
    json.dumps(schema)
    assert schema["properties"]["name"]["description"]
    undescribed = [
        f"{name}.{key}"
        for name, model in schema["$defs"].items()
        for key, value in model.get("properties", {}).items()
        if "description" not in value and "$ref" not in value and key != "name"
    ]
    assert undescribed == []


def test_a_resolved_job_resolves_to_itself(tmp_path: Path) -> None:
    spec = load_job(write(tmp_path, MINIMAL))
    again = resolve_job(spec.model_dump(mode="json"))
    assert again == spec


def test_a_job_with_mistakes_is_read_as_far_as_it_is_sound(tmp_path: Path) -> None:
    job = {
        "name": "x",
        "input": {"path": "rows.parquet", "label": "seed", "clases": [1]},
        "features": {"a": {"numeric": ["n"], "missing": "men"}, "b": {"text": "t"}, "c": {}},
        "method": {"name": "label_spreading", "alpha": 7},
        "output": {"path": "out", "columns": ["k", 5]},
    }
    path = tmp_path / "job.yaml"
    path.write_text(json.dumps(job))
    spec, mistakes = read_job(path)
    assert len(mistakes) == 5
    assert spec.input.label == "seed"
    assert spec.input.path == str(tmp_path / "rows.parquet")
    assert sorted(spec.features) == ["a", "b"]
    assert spec.output.columns == ()
    with pytest.raises(JobSpecError) as error:
        load_job(path)
    assert error.value.problems == mistakes
    # A job that is sound comes back whole.
    sound = {**job, "input": {"path": "rows.parquet", "label": "seed"}, "output": {"path": "out"}}
    sound |= {"features": {"b": {"text": "t"}}, "method": {"name": "label_spreading"}}
    path.write_text(json.dumps(sound))
    assert read_job(path) == (load_job(path), [])
    del sound["features"]
    path.write_text(json.dumps(sound))
    assert read_job(path)[0] is None
