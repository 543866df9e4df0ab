"""Rows of the kind of the fit are told from others, by the same figures for any blocks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from ssl_dask.execution import Execution
from ssl_dask.features.block_reader import add_all
from ssl_dask.features.column_profiles import ColumnDrift, compare_group
from ssl_dask.features.describe import describe
from ssl_dask.features.views import views_of
from tests.memory_reader import GROUP, MemoryReader

HERE = Execution(threads=1)
WORDS = np.array([f"{a}{b}" for a in ["get", "put", "post", "head", "trace"] for b in "abcdefgh"])
FOREIGN = np.array([f"{a}{b}" for a in ["щука", "рыба", "лось", "ёж"] for b in "абвгд"])
SPECS: dict[str, Any] = {
    "sizes": {"numeric": ["amount", "age"], "missing": "mean"},
    "kind": {"categorical": "kind"},
    "text": {"text": "text", "n_features": 4096},
    "pixels": {"vector": "pixels"},
    "maybe": {"numeric": "rate", "optional": True},
}
GROUPS = {name: GROUP.validate_python(spec) for name, spec in SPECS.items()}


def made(n: int, rng: np.random.Generator) -> dict[str, Any]:
    return {
        "amount": rng.lognormal(3, 2, n),
        "age": np.where(rng.random(n) < 0.1, np.nan, rng.integers(18, 90, n)),
        "kind": rng.choice(["a", "b", "c"], n, p=[0.9, 0.08, 0.02]),
        "text": np.array([" ".join(rng.choice(WORDS, 6)) for _ in range(n)], dtype=object),
        "pixels": rng.standard_cauchy((n, 5)).astype(np.float32),
        "rate": np.where(rng.random(n) < 0.5, np.nan, rng.random(n)),
    }


def drift_of(
    fit: Mapping[str, Any], new: Mapping[str, Any], cuts: tuple[int, ...] = ()
) -> dict[str, ColumnDrift]:
    views = describe(MemoryReader(fit), GROUPS, HERE)
    transforms = {name: view.state for name, view in views.items()}
    profiles = {name: view.profile for name, view in views.items() if view.profile is not None}
    assert profiles.keys() == GROUPS.keys()
    reader = MemoryReader(new, cuts)
    fresh = views_of(reader, GROUPS, transforms, profiles)
    found = {}
    for name, view in fresh.items():
        tasks = [*view.blocks(), *view.counts]
        before = reader.n_reads
        counts = HERE.compute(tasks)[len(view.counts) :]
        assert reader.n_reads - before == len(cuts) + 1, "a block is read once for both"
        for one in compare_group(name, profiles[name], add_all(counts)):
            found[one.column] = one
    return found


@pytest.fixture(scope="module")
def fit() -> dict[str, Any]:
    return made(600, np.random.default_rng(0))


def test_random_halves_are_of_one_kind() -> None:
    for draw in range(20):
        rng = np.random.default_rng([1, draw])
        whole, order = made(400, rng), rng.permutation(400)
        halves = [{name: one[rows] for name, one in whole.items()} for rows in np.split(order, 2)]
        found = drift_of(*halves)
        assert len(found) == 6
        assert [one for one in found.values() if one.differs] == []


def test_what_moved_is_named_by_its_column(fit: dict[str, Any]) -> None:
    new = made(300, np.random.default_rng(2))
    n = np.arange(300)
    new["amount"] = new["amount"] * 100
    new["age"] = np.where(n % 2, np.nan, 40.0)
    new["kind"] = np.where(n % 4, new["kind"], "z")
    new["text"] = np.array([" ".join(FOREIGN[[i % 20, i % 7, i % 3]]) for i in n], dtype=object)
    new["pixels"] = new["pixels"] * 0 + 1e6
    found = drift_of(fit, new)
    assert {name for name, one in found.items() if one.differs} == set(new) - {"rate"}
    amount = fit["amount"]
    outside = (new["amount"] < amount.min()) | (new["amount"] > amount.max())
    assert found["amount"].outside == pytest.approx(outside.mean())
    shift = (new["amount"].mean() - amount.mean()) / amount.std()
    assert found["amount"].mean_shift == pytest.approx(shift)
    assert shift > 5
    assert found["age"].missing == 0.5
    assert found["age"].missing_in_run == np.isnan(fit["age"]).mean()
    assert found["age"].differs == (
        f"50.0% are missing, of the run's {found['age'].missing_in_run:.1%}",
    )
    assert found["kind"].unseen == 0.25
    assert found["kind"].differs[0].startswith("25.0% of the categories are unknown")
    assert found["kind"].news == ()
    assert "known_before" not in found["kind"].as_dict()
    # Nothing else tells of n-grams.
    assert found["text"].news == found["text"].differs
    unseen, expected = found["text"].unseen, found["text"].unseen_in_run
    assert unseen is not None
    assert expected is not None
    assert expected < 0.3 < 0.6 < unseen
    assert found["pixels"].outside == 1.0
    assert any("positions" in word for word in found["pixels"].differs)


def test_figures_are_the_same_for_any_blocks_and_need_some_rows(fit: dict[str, Any]) -> None:
    new = made(300, np.random.default_rng(3))
    new["amount"] = new["amount"] * 100
    whole = drift_of(fit, new)
    assert drift_of(fit, new, (1, 40, 77, 150, 151, 200, 299)) == whole
    assert whole["amount"].differs
    few = {name: one[:29] for name, one in new.items()}
    found = drift_of(fit, few)
    assert found["amount"].mean_shift is not None
    assert found["amount"].differs == ()
