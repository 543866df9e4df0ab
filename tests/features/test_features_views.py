"""Several groups at once: passes over the data, joining, workers, the job file's models."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
from distributed import Client
from pydantic import ValidationError

from ssl_dask.errors import InputDataError
from ssl_dask.execution import Execution
from ssl_dask.features.block_reader import MERGE_WIDTH, merge_on_workers, runs_of_blocks
from ssl_dask.features.describe import describe
from ssl_dask.features.feature_groups import KINDS, VectorGroup
from ssl_dask.features.views import FeatureView, join
from tests.memory_reader import COLUMNS, GROUP, GROUPS, N_ROWS, SPECS, MemoryReader, dense


def described(cuts: list[int], execution: Execution | None = None) -> dict[str, FeatureView]:
    return describe(MemoryReader(COLUMNS, cuts), GROUPS, execution or Execution(threads=1))


WHOLE = described([])


def test_one_column_in_two_forms() -> None:
    assert "3" in WHOLE["lengths"].state.categories[0]
    assert dense(WHOLE["shape"])[:, 1].std() == pytest.approx(1.0, abs=1e-5)


def test_errors_of_workers_arrive(cluster_client: Client) -> None:
    reader = MemoryReader({**COLUMNS, "amount": np.full(N_ROWS, np.nan)}, [20])
    with pytest.raises(InputDataError, match="48 missing values"):
        describe(reader, GROUPS, Execution(cluster_client))


def test_each_block_is_read_once_a_pass_and_form() -> None:
    reader = MemoryReader(COLUMNS, [10, 20, 30])
    # "length" is wanted as a number and as a category: two reads; the components: one more.
    views = describe(reader, GROUPS, Execution(threads=1))
    assert reader.n_reads == 4 * 3
    reader.n_reads = 0
    describe(reader, {"shape": GROUPS["shape"]}, Execution(threads=1))
    assert reader.n_reads == 4
    reader.n_reads = 0
    views["shape"].X.blocks[1].compute(scheduler="sync")
    assert reader.n_reads == 1


def test_problems_of_all_groups_are_told_at_once() -> None:
    amount = np.asarray(COLUMNS["amount"]).copy()
    amount[3] = np.nan
    groups = {**GROUPS, "image": VectorGroup(vector="pixels", n_components=40)}
    with pytest.raises(InputDataError) as caught:
        describe(MemoryReader({**COLUMNS, "amount": amount}, [9]), groups, Execution(threads=1))
    assert {problem.column for problem in caught.value.problems} == {"amount", "pixels"}


def test_a_single_view_is_joined_to_itself() -> None:
    view = WHOLE["image"]
    assert join({"image": view}, {"image": 5.0}) is view


def test_joined_groups_have_their_weights_as_lengths() -> None:
    names = ["shape", "image"]
    weights = {"shape": 1.0, "image": 3.0}
    joined = join({name: WHOLE[name] for name in names}, weights)
    X = dense(joined)
    assert not joined.sparse
    assert joined.name == "shape+image"
    assert X.shape == (N_ROWS, 7)
    centred = X - X.mean(axis=0)
    assert (centred[:, :2] ** 2).sum(axis=1).mean() == pytest.approx(1.0, rel=0.01)
    assert (centred[:, 2:] ** 2).sum(axis=1).mean() == pytest.approx(9.0, rel=0.05)
    assert joined.state.spread == pytest.approx(np.sqrt(10))


def test_joined_with_text_is_sparse() -> None:
    joined = join(WHOLE)
    assert joined.sparse
    X = dense(joined)
    widths = [view.X.shape[1] for view in WHOLE.values()]
    assert X.shape[1] == sum(widths)
    parts = np.split(X, np.cumsum(widths)[:-1], axis=1)
    for name, part in zip(WHOLE, parts, strict=True):
        alone = dense(WHOLE[name])
        factor = np.float32(1 / WHOLE[name].state.spread)
        assert (part == alone * factor).all()
    rows = {column: np.asarray(values)[7:9] for column, values in COLUMNS.items()}
    rows["kind"], rows["text"] = rows["kind"].astype(object), rows["text"].astype(object)
    # "length" in two forms cannot come from one mapping of new rows.
    both = join({name: WHOLE[name] for name in ("shape", "payload", "image")})
    assert both.transform(rows).toarray().tobytes() == dense(both)[7:9].tobytes()


def test_join_of_constant_features() -> None:
    reader = MemoryReader({"a": np.ones(4), "b": np.arange(4.0)}, [2])
    groups = {name: GROUP.validate_python({"numeric": name}) for name in ("a", "b")}
    X = dense(join(describe(reader, groups, Execution(threads=1))))
    assert np.isfinite(X).all()
    assert not X[:, 0].any()


def test_join_refuses() -> None:
    with pytest.raises(ValueError, match="unknown"):
        join({"shape": WHOLE["shape"]}, {"shap": 1.0})
    with pytest.raises(ValueError, match="blocks of rows"):
        join({"a": WHOLE["shape"], "b": described([3])["image"]})


def test_state_is_small_and_picklable() -> None:
    for name, view in WHOLE.items():
        state = pickle.loads(pickle.dumps(view.state))  # noqa: S301 - our own bytes
        assert len(pickle.dumps(view.state)) < 20_000, name
        assert (state.width, state.sparse, state.notes) == (
            view.X.shape[1], view.sparse, view.notes,
        )  # fmt: skip


def test_runs_and_trees_cover_everything() -> None:
    for n_blocks in (1, 5, 16, 100):
        runs = runs_of_blocks(n_blocks, 2)
        assert [block for run in runs for block in run] == list(range(n_blocks))
        assert len(runs) == min(n_blocks, 16)
    from dask import delayed

    for n in (1, MERGE_WIDTH, MERGE_WIDTH**2 + 1):
        task = merge_on_workers([delayed(1)] * n, sum)
        assert Execution(threads=1).compute([task]) == [n]


def test_kind_of_a_group_is_the_key_that_is_there() -> None:
    for name, kind in zip(SPECS, KINDS, strict=True):
        assert kind in type(GROUPS[name]).model_fields
        resolved = GROUPS[name].model_dump(mode="json")
        assert GROUP.validate_python(resolved) == GROUPS[name]
        assert GROUP.validate_python(GROUPS[name]) == GROUPS[name]
    for wrong, message in (
        ({"nummeric": "a"}, "one of the keys numeric"),
        ("a", "one of the keys numeric"),
        ({"numeric": "a", "text": "b"}, "Extra inputs"),
        ({"text": "a", "scale": "none"}, "Extra inputs"),
    ):
        with pytest.raises(ValidationError, match=message):
            GROUP.validate_python(wrong)


def test_schema_describes_every_field() -> None:
    schema = GROUP.json_schema()
    for model in schema["$defs"].values():
        for name, field in model["properties"].items():
            assert field.get("description"), (model["title"], name)
    assert {"type": "string", "minLength": 1} in (
        schema["$defs"]["NumericGroup"]["properties"]["numeric"]["anyOf"]
    )
    json.dumps(schema)
