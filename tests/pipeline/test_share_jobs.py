"""Jobs whose seeds are no fair sample of the rows: shares, probabilities, labels, report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from ssl_dask.cli import app
from ssl_dask.decision.calibration import Calibration
from ssl_dask.decision.review_queue import random_scores
from ssl_dask.errors import InputDataError, JobSpecError, StorageError
from ssl_dask.kernels.distributions.class_shares import estimate_shares
from ssl_dask.pipeline.commands.run import RunResult, run_job
from ssl_dask.pipeline.targets.job_shares import other_estimates, random_sample
from ssl_dask.pipeline.targets.review import copy_distance
from ssl_dask.process_end import exit_code
from tests.made_job import answer, read_parts

N, N_POSITIVE, N_FRAUD, N_FAIR = 6_000, 180, 60, 240
SHARE = N_POSITIVE / N


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return rows of which 3 % are fraud, and a fifth of their seeds."""
    rng = np.random.default_rng(3)
    truth = np.zeros(N, dtype=int)
    truth[rng.choice(N, N_POSITIVE, replace=False)] = 1
    X = rng.normal(size=(N, 3)) + 1.6 * truth[:, None] * np.array([1.0, 0.5, 0.0])
    known = np.zeros(N, dtype=bool)
    for kind, n in ((1, N_FRAUD), (0, N_FAIR)):
        known[rng.choice(np.flatnonzero(truth == kind), n, replace=False)] = True
    names = np.array(["fair", "fraud"], dtype=object)[truth]
    table = pa.table(
        {
            "id": [f"t{i:05d}" for i in range(N)],
            **{f"x{i}": X[:, i] for i in range(3)},
            "seed": pa.array(names, mask=~known),
            "truth": pa.array(names),
        }
    )
    path = tmp_path_factory.mktemp("shares") / "rows.parquet"
    pq.write_table(table, path)
    return path


def job(rows: Path, out: Path, class_shares: Any = "estimate", **more: Any) -> dict[str, Any]:
    return {
        "name": "shares",
        "input": {
            "path": str(rows),
            "id": "id",
            "label": "seed",
            "truth": "truth",
            "class_shares": class_shares,
        },
        "features": {"all": {"numeric": ["x0", "x1", "x2"]}},
        "method": {"name": "supervised"},
        "output": {"path": str(out), "probabilities": True},
        "cluster": {"kind": "local", "workers": 1, "memory": "1GiB"},
        **more,
    }


TRUE = (N_POSITIVE - N_FRAUD) / (N - N_FRAUD - N_FAIR)


def fraud_rows(run: RunResult) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return p_fraud, whether the label is fraud, and the truth, of rows that are no seeds."""
    table = read_parts(run.path)
    free = np.array(table["source"].to_pylist()) != "seed"
    names = pq.read_table(run.report.job["input"]["path"])
    truth = dict(zip(names["id"].to_pylist(), names["truth"].to_pylist(), strict=True))
    true = np.array([truth[one] == "fraud" for one in table["id"].to_pylist()])
    called = np.array(table["label"].to_pylist()) == "fraud"
    return table["p_fraud"].to_numpy()[free], called[free], true[free]


@pytest.fixture(scope="module")
def estimated(rows: Path, tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    return run_job(job(rows, tmp_path_factory.mktemp("estimated") / "out"))


def test_shares_are_told_from_scores_and_all_figures_are_those_of_the_rows(
    estimated: RunResult,
) -> None:
    scores = estimated.report.evaluation.at_shares
    assert scores is not None
    assert (scores.origin, scores.seeds_differ, scores.corrected) == ("estimated", True, True)
    fraud = scores.classes[1]
    p, called, true = fraud_rows(estimated)
    assert fraud.share.low <= TRUE <= fraud.share.high
    assert fraud.share.high < 0.15
    assert fraud.called == called.sum()
    assert fraud.precision.low <= true[called].mean() <= fraud.precision.high
    assert fraud.recall.low <= called[true].mean() <= fraud.recall.high
    right = (called == true).mean()
    assert scores.accuracy_all.low <= right <= scores.accuracy_all.high
    # Without the correction the mean is 3 times the share.
    assert 0.6 < p.mean() / TRUE < 1.7
    em, mean = (scores.other_estimates[name][1] for name in ("em", "mean"))
    assert 0.5 < em / TRUE < 2.0
    assert mean > 2.5 * TRUE


def test_shares_that_are_given_make_probabilities_right(rows: Path, tmp_path: Path) -> None:
    run = run_job(job(rows, tmp_path / "out", {"fraud": SHARE}))
    scores = run.report.evaluation.at_shares
    assert scores is not None
    assert (scores.origin, scores.corrected) == ("given", True)
    p, called, true = fraud_rows(run)
    error = 0.0
    for low in np.arange(0.0, 1.0, 0.1):
        inside = (p >= low) & (p < low + 0.1)
        error += abs(p[inside].sum() - true[inside].sum()) / len(p)
    assert error < 0.02
    assert p.mean() == pytest.approx(TRUE, rel=0.35)
    assert (
        scores.classes[1].precision.low <= true[called].mean() <= scores.classes[1].precision.high
    )
    assert scores.classes[1].share.low == scores.classes[1].share.high == pytest.approx(TRUE)


def test_seeds_that_are_called_a_sample_and_are_none_are_warned_of(
    rows: Path, tmp_path: Path
) -> None:
    run = run_job(job(rows, tmp_path / "out", "seeds"))
    scores = run.report.evaluation.at_shares
    assert scores is not None
    assert (scores.origin, scores.corrected) == ("seeds", False)
    assert any("contradict" in one and "class fraud" in one for one in run.report.warnings)
    wrong = run_job(job(rows, tmp_path / "other", {"fraud": 0.4}))
    assert any("contradict" in one for one in wrong.report.warnings)
    # A range that holds what the scores tell, far from its middle.
    wide = run_job(job(rows, tmp_path / "wide", {"fraud": [0.015, 0.4]}))
    assert not any("contradict" in one for one in wide.report.warnings)


def test_a_fair_sample_changes_nothing(rows: Path, tmp_path: Path) -> None:
    table = pq.read_table(rows)
    drawn = np.random.default_rng(5).random(N) < 0.08
    seeds = pa.array(np.array(table["truth"].to_pylist(), dtype=object), mask=~drawn)
    at = table.column_names.index("seed")
    pq.write_table(table.set_column(at, "seed", seeds), tmp_path / "fair.parquet")
    told, taken = (
        run_job(job(tmp_path / "fair.parquet", tmp_path / name, name))
        for name in ("estimate", "seeds")
    )
    assert answer(told.path) == answer(taken.path)
    scores = told.report.evaluation.at_shares
    assert scores is not None
    assert not scores.seeds_differ
    assert not any("contradict" in one for one in taken.report.warnings)


def test_blocks_and_order_of_rows_change_nothing(
    estimated: RunResult, rows: Path, tmp_path: Path
) -> None:
    table = pq.read_table(rows)
    order = np.random.default_rng(1).permutation(N)
    pq.write_table(table.take(order), tmp_path / "rows.parquet", row_group_size=500)
    many = job(tmp_path / "rows.parquet", tmp_path / "out")
    many["input"]["block_rows"] = 700
    found, first = (read_parts(run.path).sort_by("id") for run in (run_job(many), estimated))
    assert found["p_fraud"].to_pylist() == first["p_fraud"].to_pylist()
    assert found["label"].to_pylist() == first["label"].to_pylist()


def test_models_that_are_kept_predict_at_the_shares(rows: Path, tmp_path: Path) -> None:
    run = run_job(
        job(
            rows,
            tmp_path / "out",
            {"fraud": SHARE},
            method={"name": "self_training", "max_iter": 1},
            output={"path": str(tmp_path / "out"), "probabilities": True, "models": True},
        )
    )
    assert exit_code(app, ["predict", str(run.path), str(rows), "-o", str(tmp_path / "new")]) == 0
    folder = next((tmp_path / "new").rglob("*.parquet")).parent
    new = pq.read_table(folder).sort_by("id")
    old = read_parts(run.path).sort_by("id")
    free = np.array(old["source"].to_pylist()) != "seed"
    both = [np.array(one["p_fraud"])[free] for one in (old, new)]
    assert both[0] == pytest.approx(both[1], abs=1e-6)


def test_what_a_method_has_moved_to_shares_is_not_moved_again(rows: Path, tmp_path: Path) -> None:
    def run(name: str, **method: Any) -> RunResult:
        wanted = {"name": "label_propagation", **method}
        more = {"graph": {"n_neighbors": 8}, "decision": {"on_worse": "publish"}}
        return run_job(job(rows, tmp_path / name, {"fraud": SHARE}, method=wanted, **more))

    moved = run("moved", class_mass={"fraud": SHARE, "fair": 1.0 - SHARE})
    _, called, true = fraud_rows(moved)
    # A second time, no row would be left.
    assert 0.4 < called.sum() / true.sum() < 2.0
    plain = run("plain")
    both = [one.report.evaluation for one in (moved, plain)]
    assert [one.at_shares.corrected for one in both] == [False, True]
    # Among the seeds nearly all rows of the corrected answer are of the larger class.
    assert both[1].hidden.accuracy_all.value <= N_FAIR / (N_FRAUD + N_FAIR) + 0.02
    assert not any("no signal" in one for one in plain.report.warnings)
    # Baselines know no shares, beside any method.
    assert both[0].contest.baselines == both[1].contest.baselines


def test_random_answers_of_several_lists_are_a_sample_of_all_rows() -> None:
    told = []
    for number in range(40):
        rng = np.random.default_rng(number)
        tags = rng.choice(2**62, 3_000, replace=False).astype(np.int64)
        rare = np.arange(3_000) < 120
        score, turns = rng.normal(2.0 * rare), random_scores(tags)
        at_random, proposed = np.zeros((2, 3_000), dtype=bool)
        for _ in range(4):
            for kind, by, n in ((at_random, turns, 40), (proposed, score, 60)):
                free = np.flatnonzero(~(at_random | proposed))
                kind[free[np.argsort(-by[free])][:n]] = True
        seeds = at_random | proposed
        sample = random_sample(tags[seeds], at_random[seeds], proposed[seeds])
        told.append([rare[at_random].mean(), rare[seeds][sample].mean()])
    alone, both = np.mean(told, axis=0)
    assert both == pytest.approx(0.04, rel=0.1)
    assert alone < 0.03
    none = np.zeros(3, dtype=bool)
    assert not random_sample(np.arange(3), none, ~none).any()


def test_where_scores_tell_nothing_there_are_no_other_estimates() -> None:
    rng = np.random.default_rng(0)
    F, rows = (rng.dirichlet([1.0, 1.0], n).astype(np.float32) for n in (6, 100))
    codes, counts = np.array([0, 0, 0, 0, 0, 1], dtype=np.int32), np.array([5, 1])
    for known in (rows, np.zeros_like(rows)):
        told = estimate_shares(F, codes, known, 0.9, sampled=np.array([30, 5]))
        assert told.origin == "estimated"
        assert other_estimates(told, Calibration(), known, counts) == {}
    F, codes = np.tile(F, (2, 1)), np.tile(np.array([0, 1], dtype=np.int32), 6)
    told = estimate_shares(F, codes, rows, 0.9)
    assert set(other_estimates(told, Calibration(), rows, counts)) == {"em", "mean"}


def test_all_answers_are_compared_as_they_would_be_written(rows: Path, tmp_path: Path) -> None:
    wanted = {"method": {"name": "label_propagation"}, "graph": {"n_neighbors": 2}}
    found = run_job(job(rows, tmp_path / "out", {"fraud": SHARE}, **wanted)).report.evaluation
    assert found.contest.published.name == "supervised"
    # One model, and one figure for it.
    assert found.hidden == found.baseline_hidden


def test_the_largest_class_of_the_rows_is_named_for_every_row(tmp_path: Path) -> None:
    # Half of the seeds are of it, and a twentieth of the next.
    rng = np.random.default_rng(2)
    names = np.repeat(np.array(["a", "b", "c"], dtype=object), [400, 350, 250])
    known = np.zeros(1000, dtype=bool)
    for name, n in (("a", 50), ("b", 5), ("c", 45)):
        known[rng.choice(np.flatnonzero(names == name), n, replace=False)] = True
    table = {
        "id": [f"t{i:05d}" for i in range(1000)],
        **{f"x{i}": rng.normal(size=1000) for i in range(3)},
        "seed": pa.array(names, mask=~known),
        "truth": pa.array(names),
    }
    pq.write_table(pa.table(table), tmp_path / "rows.parquet")
    given = {"a": 0.4, "b": 0.35, "c": 0.25}
    run = run_job(job(tmp_path / "rows.parquet", tmp_path / "out", given))
    largest = next(one for one in run.report.evaluation.contest.baselines if one.name == "majority")
    assert largest.title == "always class a"
    assert largest.figure == pytest.approx((400 - 50) / 900)


def test_shares_that_the_seeds_alone_exceed_are_refused(rows: Path, tmp_path: Path) -> None:
    with pytest.raises(JobSpecError, match=r"which is 6, and 60 seeds are of it"):
        run_job(job(rows, tmp_path / "out", {"fraud": 0.001}))
    wide = run_job(job(rows, tmp_path / "out", {"fraud": [0.001, 0.03]}))
    scores = wide.report.evaluation.at_shares
    assert scores is not None
    assert scores.classes[1].share.low == pytest.approx(0.5 / (N - N_FRAUD - N_FAIR))


def test_without_hidden_seeds_labels_are_compared_with_the_shares_of_the_seeds(
    rows: Path, tmp_path: Path
) -> None:
    # With even shares, 3 % would be a class that has collapsed.
    table = pq.read_table(rows)
    drawn = np.random.default_rng(5).random(N) < 0.08
    seeds = pa.array(np.array(table["truth"].to_pylist(), dtype=object), mask=~drawn)
    at = table.column_names.index("seed")
    pq.write_table(table.set_column(at, "seed", seeds), tmp_path / "fair.parquet")
    run = run_job(
        job(
            tmp_path / "fair.parquet",
            tmp_path / "out",
            decision={"on_collapse": "error"},
            evaluation={"folds": 0},
        )
    )
    _, called, _ = fraud_rows(run)
    assert 0 < called.mean() < 0.05


def test_classes_that_no_seed_has_are_refused(rows: Path, tmp_path: Path) -> None:
    with pytest.raises(JobSpecError, match=r"input.class_shares: 'fruad' is none") as caught:
        run_job(job(rows, tmp_path / "out", {"fruad": 0.02}))
    assert "the classes of the seeds are 'fair', 'fraud'" in str(caught.value)
    assert not (tmp_path / "out" / "latest").exists()


def test_labels_that_are_numbers_have_no_shares(rows: Path, tmp_path: Path) -> None:
    with pytest.raises(JobSpecError, match=r"input.class_shares"):
        run_job(
            job(rows, tmp_path / "out", {"fraud": SHARE}, method={"name": "harmonic_regression"})
        )


def test_answers_to_the_review_list_are_learned_from_and_are_no_sample(
    rows: Path, tmp_path: Path
) -> None:
    table = pq.read_table(rows)
    wanted = job(rows, tmp_path / "out", decision={"review": {"budget": 80}})
    first = run_job(wanted)
    listed = pq.read_table(first.path / "review")
    kinds = dict(zip(listed["id"].to_pylist(), listed["review_kind"].to_pylist(), strict=True))
    truth = table["truth"].to_pylist()
    seeds = [
        name if one in kinds else seed
        for one, name, seed in zip(
            table["id"].to_pylist(), truth, table["seed"].to_pylist(), strict=True
        )
    ]
    at = table.column_names.index("seed")
    answered = table.set_column(at, "seed", pa.array(seeds, pa.string()))
    pq.write_table(answered, tmp_path / "rows.parquet")
    second = run_job(
        {**wanted, "input": {**wanted["input"], "path": str(tmp_path / "rows.parquet")}}
    )
    scores = second.report.evaluation.at_shares
    assert scores is not None
    n_chosen = sum(kind != "random" for kind in kinds.values())
    assert 0 < n_chosen < len(kinds)
    assert sum(second.report.seeds.counts) == N_FRAUD + N_FAIR + len(kinds)
    assert scores.n_hidden == N_FRAUD + N_FAIR + len(kinds) - n_chosen
    assert second.report.calibration.n_hidden == scores.n_hidden
    assert scores.rankings == ()
    assert any(f"{n_chosen} seeds" in note for note in second.report.seeds.notes)
    _, called, true = fraud_rows(second)
    fraud = scores.classes[1]
    assert fraud.share.low <= true.mean() + 0.01
    assert fraud.share.high >= true.mean()
    if called.any():
        assert fraud.precision.low <= true[called].mean() <= fraud.precision.high


def test_a_damaged_memory_of_review_lists_is_told(rows: Path, tmp_path: Path) -> None:
    wanted = job(rows, tmp_path / "out", decision={"review": {"budget": 20}})
    run_job(wanted)
    (tmp_path / "out" / ".ssl_dask_output.reviewed").write_text("{}")
    with pytest.raises(StorageError, match="which rows were reviewed"):
        run_job({**wanted, "method": {"name": "supervised", "C": 0.5}})


def test_the_review_list_is_that_of_shuffled_rows(rows: Path, tmp_path: Path) -> None:
    table = pq.read_table(rows)
    # Values of one digit: nearly all rows have near copies.
    coarse = pa.table(
        {
            name: np.round(table[name].to_numpy(), 1) if name.startswith("x") else table[name]
            for name in table.column_names
        }
    )
    order = np.random.default_rng(5).permutation(N)
    found, places = [], []
    for name, written in (("in_order", coarse), ("shuffled", coarse.take(order))):
        pq.write_table(written, tmp_path / f"{name}.parquet")
        wanted = job(tmp_path / f"{name}.parquet", tmp_path / name)
        wanted["output"]["rank"] = "fraud"
        run = run_job({**wanted, "decision": {"review": {"budget": 60}}})
        listed = pq.read_table(run.path / "review")
        found.append(listed.select(["id", "review_kind", "rank"]).to_pylist())
        places.append(read_parts(run.path).select(["id", "rank"]).sort_by("id").to_pylist())
    assert found[0] == found[1]
    assert places[0] == places[1]


@given(st.integers(2, 40), st.integers(0, 1_000))
def test_near_copies_are_told_by_seeds_in_any_order(n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 3)).astype(np.float32)
    tags, order = rng.permutation(n), rng.permutation(n)
    assert copy_distance(X, tags) == copy_distance(X[order], tags[order]) > 0.0
    assert copy_distance(sp.csr_array(X), tags) == pytest.approx(copy_distance(X, tags))


@pytest.fixture(scope="module")
def alerts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return rows of which a rule proposed some: half of the seeds are of these."""
    rng = np.random.default_rng(8)
    alert = rng.random(N) < 0.08
    truth = rng.random(N) < np.where(alert, 0.4, 0.02)
    X = rng.normal(size=(N, 3)) + 1.5 * (truth & alert)[:, None] + 0.5 * truth[:, None]
    known = np.zeros(N, dtype=bool)
    for group in (alert, ~alert):
        known[rng.choice(np.flatnonzero(group), 150, replace=False)] = True
    names = np.array(["fair", "fraud"], dtype=object)[truth.astype(int)]
    table = pa.table(
        {
            "id": [f"t{i:05d}" for i in range(N)],
            **{f"x{i}": X[:, i] for i in range(3)},
            "seed": pa.array(names, mask=~known),
            "truth": pa.array(names),
            "alert": pa.array(alert),
            "rule": pa.array(np.where(alert, "N/A", "none of them")),
            "number": pa.array(np.arange(N)),
            "amount": pa.array(rng.random(N)),
        }
    )
    path = tmp_path_factory.mktemp("alerts") / "rows.parquet"
    pq.write_table(table, path)
    return path


@pytest.mark.parametrize("class_shares", ["seeds", "estimate"])
def test_seeds_stand_for_the_rows_of_their_group(
    alerts: Path, tmp_path: Path, class_shares: str
) -> None:
    wanted = job(alerts, tmp_path / "out", class_shares)
    run = run_job({**wanted, "input": {**wanted["input"], "sampling": "alert"}})
    scores = run.report.evaluation.at_shares
    assert scores is not None
    fraud = scores.classes[1]
    table = pq.read_table(alerts)
    free = table["seed"].is_null().to_numpy()
    share = (table["truth"].to_numpy() == "fraud").mean()
    assert fraud.share.low <= share <= fraud.share.high
    _, called, true = fraud_rows(run)
    assert len(true) == free.sum()
    assert fraud.precision.low <= true[called].mean() <= fraud.precision.high
    assert fraud.recall.low <= called[true].mean() <= fraud.recall.high
    assert any(
        "seeds stand for the rows of their group of 'alert'" in one
        for one in run.report.seeds.notes
    )
    # A word for "no value" is a group like any other, and so is text.
    other = run_job(
        {
            **job(alerts, tmp_path / "text", class_shares),
            "input": {**wanted["input"], "sampling": "rule"},
        }
    )
    assert other.report.evaluation.at_shares == scores


def test_without_its_groups_a_sample_says_what_is_wrong(alerts: Path, tmp_path: Path) -> None:
    run = run_job(job(alerts, tmp_path / "out", "seeds"))
    scores = run.report.evaluation.at_shares
    assert scores is not None
    share = (pq.read_table(alerts)["truth"].to_numpy() == "fraud").mean()
    assert scores.classes[1].share.low > 1.5 * share


@pytest.mark.parametrize(
    ("column", "words"),
    [
        ("number", "more than 1,000 values"),
        ("amount", "booleans, integers, strings"),
        ("nowhere", "nowhere"),
    ],
)
def test_groups_that_are_none_are_refused(
    alerts: Path, tmp_path: Path, column: str, words: str
) -> None:
    wanted = job(alerts, tmp_path / "out")
    with pytest.raises(InputDataError, match=words):
        run_job({**wanted, "input": {**wanted["input"], "sampling": column}})
    assert not (tmp_path / "out" / "latest").exists()


def test_groups_without_a_seed_are_told(alerts: Path, tmp_path: Path) -> None:
    table = pq.read_table(alerts)
    at = table.column_names.index("seed")
    seeds = pa.array(np.where(table["alert"].to_numpy(), None, table["seed"].to_numpy()))
    pq.write_table(table.set_column(at, "seed", seeds), tmp_path / "rows.parquet")
    wanted = job(tmp_path / "rows.parquet", tmp_path / "out", "seeds")
    run = run_job({**wanted, "input": {**wanted["input"], "sampling": "alert"}})
    assert any("of groups of 'alert' without a seed (True)" in one for one in run.report.warnings)
    scores = run.report.evaluation.at_shares
    assert scores is not None
    assert scores.classes[1].share.high > 0.07
