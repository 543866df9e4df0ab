"""Whole jobs on real worker processes: what the result holds, and that nothing else moves it."""

from __future__ import annotations

import json
import os
from functools import partial
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from distributed import Client

from ssl_dask.cluster_spec import ClusterSpec
from ssl_dask.console import Silent
from ssl_dask.errors import ComputeError, ResumeMismatchError, WorkersChangedError
from ssl_dask.job_file import load_job, resolve_job
from ssl_dask.method import MethodResult
from ssl_dask.methods import METHODS
from ssl_dask.pipeline.commands import lifecycle
from ssl_dask.pipeline.commands.plan import plan_job
from ssl_dask.pipeline.commands.run import RunResult, run_job
from ssl_dask.pipeline.commands.saved_runs import rebuild_report
from ssl_dask.pipeline.infer import inference, saved_state
from ssl_dask.report.run_report import RunReport
from ssl_dask.run_control import Losses, RunControl
from ssl_dask.storage.runs.checkpoint import Checkpoints
from ssl_dask.storage.runs.manifest import fingerprint
from tests.made_job import (
    N_ISLAND,
    N_ROWS,
    N_SEEDS,
    NAMES,
    Heard,
    answer,
    assert_useful,
    made_job,
    made_rows,
    read_parts,
    with_column,
    write_rows,
)
from tests.made_numbers import made_numbers, number_job
from tests.stops import Stopped, StopsAfter
from tests.undrawn_charts import drawn

PROJECT = Path(__file__).parents[2]
TEXT = {"text": {"text": "text"}}
COSINE = {"n_neighbors": 8, "metric": "cosine"}
JOBS: dict[str, dict[str, Any]] = {
    "spreading": {},
    "propagation": {"method": {"name": "label_propagation"}},
    "ensemble": {"method": {"name": "auto"}},
    "ensemble of texts": {"method": {"name": "auto"}, "features": TEXT, "graph": COSINE},
    "spreading of texts": {"features": TEXT, "graph": COSINE},
    "two views": {"features": {"numbers": {"numeric": ["a", "b", "c"]}, **TEXT}, "graph": COSINE},
    "rbf": {"graph": {"kind": "rbf", "gamma": 2.0}},
    "anchors": {"method": {"name": "anchor_graph", "n_anchors": 60}, "graph": None},
    "correct and smooth": {"method": {"name": "correct_and_smooth", "correct_alpha": 0.8}},
    "propagated features": {"method": {"name": "propagated_features", "n_hops": 1}},
    "supervised": {"method": {"name": "supervised"}, "graph": None},
    "supervised on texts": {"method": {"name": "supervised"}, "graph": None, "features": TEXT},
}

QUICK = ("spreading", "anchors", "correct and smooth")


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_rows(tmp_path_factory.mktemp("made") / "rows", made_rows())


@pytest.fixture(scope="module")
def full_run(
    rows: Path, tmp_path_factory: pytest.TempPathFactory, cluster_client: Client
) -> RunResult:
    """A run with everything that a job can ask for."""
    job = made_job(
        rows,
        tmp_path_factory.mktemp("full") / "out",
        decision={"min_probability": 0.9, "review_budget": 12},
    )
    job["input"]["block_rows"] = 60
    job["output"] |= {"columns": ["text", "a"], "probabilities": True}
    with drawn():
        return run_job(job, client=cluster_client)


def test_parts_follow_the_input(full_run: RunResult) -> None:
    source = made_rows()
    table = read_parts(full_run.path)
    parts = sorted(path.name for path in (full_run.path / "labels").iterdir())
    assert len(parts) >= 6
    assert parts == [f"part-{i:05d}-{full_run.run_id}.parquet" for i in range(len(parts))]
    assert table.column_names[:1] == ["id"]
    assert table.schema.field("id").type == pa.int64()
    assert table["id"].to_pylist() == source["id"].to_pylist()
    assert table["text"].to_pylist() == source["text"].to_pylist()
    assert table["a"].to_numpy().tobytes() == source["a"].to_numpy().tobytes()
    types = {"label": pa.string(), "probability": pa.float32(), "margin": pa.float32()}
    assert {name: table.schema.field(name).type for name in types} == types


def test_columns_say_what_they_should(full_run: RunResult) -> None:
    source = made_rows()
    table = assert_useful(full_run.path, least=0.4)
    label, reason = table["label"].to_pylist(), table["reason"].to_pylist()
    given, how = source["seed"].to_pylist(), table["source"].to_pylist()
    probability = np.array(table["probability"].to_pylist(), dtype=float)
    assert [one == "seed" for one in how] == [one is not None for one in given]
    assert all(a == b for a, b in zip(label, given, strict=True) if b is not None)
    assert set(how) <= {"seed", "propagated", None}
    assert [one is None for one in label] == [one is not None for one in reason]
    assert set(reason[-N_ISLAND:]) == {"no_path_to_seed"}
    assert reason.count("no_path_to_seed") == N_ISLAND
    below = np.array([one == "below_threshold" for one in reason])
    assert 10 < below.sum() < N_ROWS - N_ISLAND - N_SEEDS
    told = np.array([one is not None for one in label])
    assert (probability[told] >= 0.9).all()
    assert (probability[below] < 0.9).all()


def test_probabilities_of_all_classes_sum_to_one(full_run: RunResult) -> None:
    table = read_parts(full_run.path)
    p = np.column_stack([table[f"p_{name}"].to_numpy() for name in NAMES])
    assert p.dtype == np.float32
    reached = np.arange(N_ROWS) < N_ROWS - N_ISLAND
    np.testing.assert_allclose(p[reached].sum(axis=1), 1, atol=1e-5)
    sure = np.array([label is not None for label in table["label"].to_pylist()])
    best = np.array(NAMES)[p[sure].argmax(axis=1)]
    assert best.tolist() == [label for label in table["label"].to_pylist() if label is not None]


def test_pointers_manifest_and_report(full_run: RunResult, rows: Path) -> None:
    out = full_run.path.parents[1]
    assert os.readlink(out / "latest") == f"runs/{full_run.run_id}"
    pointer = json.loads((out / "latest.json").read_text())
    assert pointer["run_id"] == full_run.run_id
    assert (out / pointer["path"]).samefile(full_run.path)
    assert not list((out / ".work").iterdir())
    files = {"labels", "manifest.json", "report.html", "report.json", "review"}
    assert {path.name for path in full_run.path.iterdir()} == files
    text = (full_run.path / "report.json").read_text()
    report = RunReport.from_json(text)
    assert report == full_run.report
    assert report.to_json() == text
    decision = report.decision
    table = read_parts(full_run.path)
    assert decision.n_abstained == table["label"].null_count
    assert decision.reasons["no_path_to_seed"] == N_ISLAND
    assert sum(decision.labels) + decision.n_abstained == N_ROWS == report.output.rows
    assert report.input.rows == N_ROWS
    assert report.input.files == len(list(rows.iterdir()))
    assert report.seeds.counts == (N_SEEDS // 3,) * 3


def test_review_lists_rows_that_are_no_seeds(full_run: RunResult) -> None:
    review = read_parts(full_run.path, "review")
    table = read_parts(full_run.path)
    seeds = {
        row
        for row, how in zip(table["id"].to_pylist(), table["source"].to_pylist(), strict=True)
        if how == "seed"
    }
    ids = review["id"].to_pylist()
    assert len(set(ids)) == len(ids) == 12
    assert not seeds.intersection(ids)
    assert review["rank"].to_pylist() == list(range(1, 13))
    # Three classes of 6 seeds each: none is looked for.
    kinds = review["review_kind"].to_pylist()
    assert {kind: kinds.count(kind) for kind in set(kinds)} == {
        "random": 5,
        "uncertain": 5,
        "far": 2,
    }
    labels = dict(zip(table["id"].to_pylist(), table["label"].to_pylist(), strict=True))
    assert set(review["nearest_seed"].to_pylist()) <= seeds
    for row in review.to_pylist():
        assert row["predicted"] == labels[row["id"]]
        assert row["nearest_seed_label"] == labels[row["nearest_seed"]]
    # The island is 20 rows that one look could explain: one of them is worth it.
    island = set(table["id"].to_pylist()[-N_ISLAND:])
    assert island.intersection(ids)


def test_the_page_is_built_again_byte_for_byte(full_run: RunResult, tmp_path: Path) -> None:
    with drawn():
        again = rebuild_report(full_run.path.parents[1], tmp_path / "page.html")
    assert again.read_bytes() == (full_run.path / "report.html").read_bytes()
    assert len(again.read_bytes()) > 20_000


@pytest.mark.parametrize(
    ("ids", "names"),
    [
        # Codes that float64 cannot hold.
        (pa.array(range(2**63, 2**63 + 200), pa.uint64()), {n: 2**60 + ord(n[0]) for n in NAMES}),
        (pa.array([f"row {i} \u00e9" for i in range(200)]), {n: n == "ant" for n in NAMES}),
        (None, {n: n for n in NAMES}),
    ],
    ids=["uint64", "text", "none"],
)
def test_types_of_ids_and_labels_are_kept(
    ids: pa.Array | None, names: dict[str, Any], tmp_path: Path, cluster_client: Client
) -> None:
    table = made_rows().slice(0, 200)
    seed, truth = (
        pa.array([names.get(v) for v in table[one].to_pylist()]) for one in ("seed", "truth")
    )
    columns = {"a": table["a"], "b": table["b"], "seed": seed, "truth": truth}
    job = made_job(tmp_path / "rows", tmp_path / "out", features={"n": {"numeric": ["a", "b"]}})
    if ids is None:
        del job["input"]["id"]
    else:
        columns["id"] = ids
    write_rows(tmp_path / "rows", pa.table(columns), files=2)
    result = run_job(job, client=cluster_client)
    found = read_parts(result.path)
    given = pa.array(range(200)) if ids is None else ids
    stored = found["row" if ids is None else "id"]
    assert stored.type == given.type
    assert stored.to_pylist() == given.to_pylist()
    assert found["label"].type == seed.type
    assert set(found["label"].drop_null().to_pylist()) == set(names.values())
    assert found["label"].null_count < 20
    assert result.report.evaluation.truth.unlabelled.accuracy_all.value > 0.6


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in QUICK else [pytest.mark.slow]) for name in JOBS]
)
def test_same_answer_for_any_blocks_files_and_workers(
    name: str, rows: Path, tmp_path: Path, cluster_client: Client, one_worker: Client
) -> None:
    whole = made_job(rows, tmp_path / "whole", **JOBS[name])
    whole["output"]["probabilities"] = True
    first = run_job(whole, client=cluster_client)
    assert_useful(first.path)
    expected = answer(first.path)

    other = write_rows(tmp_path / "rows", made_rows(), files=1, group_rows=1000)
    blocks = made_job(other, tmp_path / "blocks", **JOBS[name])
    blocks["output"]["probabilities"] = True
    blocks["input"]["block_rows"] = N_ROWS // 8
    second = run_job(blocks, client=one_worker)
    n_parts = [len(list((run.path / "labels").iterdir())) for run in (first, second)]
    assert n_parts[0] != n_parts[1]
    assert n_parts[1] == 8
    assert answer(second.path) == expected
    assert second.report.evaluation.hidden == first.report.evaluation.hidden
    assert second.report.evaluation.baseline_hidden == first.report.evaluation.baseline_hidden
    assert second.report.calibration == first.report.calibration


@pytest.mark.parametrize(
    "name",
    [
        "spreading",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("propagation", "ensemble")),
    ],
)
def test_same_answer_on_the_workers_and_in_this_process(
    name: str, rows: Path, tmp_path: Path, cluster_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers, places = [], []
    for size in (saved_state.IN_PROCESS_BYTES, 0):
        monkeypatch.setattr(saved_state, "IN_PROCESS_BYTES", size)
        job = made_job(rows, tmp_path / f"out-{size}", **JOBS[name])
        job["input"]["block_rows"] = 50
        heard = Heard()
        answers.append(answer(run_job(job, client=cluster_client, listener=heard).path))
        places += [fields["where"] for fields in heard.named("propagates")]
    assert places == ["this process", "the workers"]
    assert answers[0] == answers[1]


def test_a_small_job_starts_no_workers(
    rows: Path, tmp_path: Path, one_worker: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = made_job(rows, tmp_path / "out", **JOBS["spreading"], cluster=None)
    on_workers = run_job(job, client=one_worker)
    monkeypatch.setattr(lifecycle, "open_client", None)
    here = run_job(job, force=True)
    assert answer(here.path) == answer(on_workers.path)
    assert "this process" in dict(plan_job(resolve_job(job)))["cluster"]


@pytest.mark.parametrize(
    ("place", "rows", "size", "workers"),
    [
        ({}, 1_000_000, 2**20, False),
        ({}, 1_000_001, 2**20, True),
        ({}, 10, 2**27 + 1, True),
        ({"threads": 1}, 10, 10, True),
        ({"memory": "1GiB"}, 10, 10, True),
        ({"kind": "address", "address": "tcp://127.0.0.1:8786"}, 10, 10, True),
    ],
)
def test_workers_start_where_they_pay_or_are_asked_for(
    place: dict[str, Any], rows: int, size: int, workers: bool
) -> None:
    assert ClusterSpec(**place).starts_workers(rows, size) is workers


@pytest.mark.parametrize("numbers", [False, True])
def test_truth_is_never_used(numbers: bool, tmp_path: Path, cluster_client: Client) -> None:
    table, make = (made_numbers(), number_job) if numbers else (made_rows(), made_job)
    shuffled = table["truth"].take(np.random.default_rng(5).permutation(len(table)))
    runs = []
    for name, rows in (("true", table), ("shuffled", with_column(table, "truth", shuffled))):
        job = make(write_rows(tmp_path / f"{name}-rows", rows), tmp_path / name)
        runs.append(run_job(job, client=cluster_client))
    assert answer(runs[0].path) == answer(runs[1].path)
    # Random truth: right by chance only, so the column was read.
    scores = [run.report.evaluation.truth for run in runs]
    true, random = (one.r2 if numbers else one.unlabelled.accuracy_all for one in scores)
    assert true.value > 0.75
    assert random.value < 0.5


def test_iris_gives_the_three_accuracies_of_the_tutorials(
    tmp_path: Path, cluster_client: Client
) -> None:
    job = load_job(PROJECT / "jobs" / "iris.yaml", [f"output.path={tmp_path / 'out'}"])
    result = run_job(job, client=cluster_client)
    truth = json.loads((result.path / "report.json").read_text())["evaluation"]["truth"]
    found = {part: truth[part]["accuracy_all"] for part in ("seeds", "unlabelled", "overall")}
    assert {part: (round(one["value"], 3), one["n"]) for part, one in found.items()} == {
        "seeds": (1.0, 18),
        "unlabelled": (0.667, 132),
        "overall": (0.707, 150),
    }
    assert found["unlabelled"]["low"] < found["unlabelled"]["value"] < found["unlabelled"]["high"]


def test_an_empty_file_and_missing_folds_are_no_trouble(
    tmp_path: Path, cluster_client: Client
) -> None:
    table = made_rows()
    rows = write_rows(tmp_path / "rows", table)
    pq.write_table(table.slice(0, 0), rows / "part-01-empty.parquet")
    job = made_job(rows, tmp_path / "out", evaluation={"folds": 0})
    result = run_job(job, client=cluster_client)
    assert_useful(result.path)
    assert result.report.evaluation.hidden is None
    assert any("calibrat" in warning.lower() for warning in result.report.warnings)


def test_one_seed_of_each_class_labels_the_rest(tmp_path: Path, cluster_client: Client) -> None:
    table = made_rows()
    names = table["seed"].to_pylist()
    seeds = [name if names.index(name) == row else None for row, name in enumerate(names)]
    rows = write_rows(tmp_path / "rows", with_column(table, "seed", seeds))
    result = run_job(made_job(rows, tmp_path / "out"), client=cluster_client)
    found = assert_useful(result.path)
    assert found["source"].to_pylist().count("seed") == 3
    assert result.report.evaluation.never_hidden == NAMES


def test_copies_of_a_row_share_a_node_and_a_label(tmp_path: Path, cluster_client: Client) -> None:
    table = made_rows()
    same = with_column(table, "a", np.round(table["a"].to_numpy()))
    features = {"numbers": {"numeric": ["a"]}}
    job = made_job(write_rows(tmp_path / "rows", same), tmp_path / "out", features=features)
    job["decision"] = {"on_worse": "publish"}
    result = run_job(job, client=cluster_client)
    kinds = np.unique(same["a"].to_numpy())
    assert result.report.graph["n_copies"] == N_ROWS - len(kinds) > 200
    found = read_parts(result.path)
    free = np.array(found["source"].to_pylist()) == "propagated"
    pairs = zip(same["a"].to_numpy()[free], found["label"].to_numpy()[free], strict=True)
    assert len(set(pairs)) == len(np.unique(same["a"].to_numpy()[free])) > 5


def test_crowds_of_rows_that_point_one_way_are_told(
    rows: Path, full_run: RunResult, tmp_path: Path, cluster_client: Client
) -> None:
    assert not any("distance 0" in text for text in full_run.report.warnings)
    features, graph = {"numbers": {"numeric": ["a"]}}, {"n_neighbors": 8, "metric": "cosine"}
    job = made_job(rows, tmp_path / "out", features=features, graph=graph)
    result = run_job(job, client=cluster_client)
    assert any("point the same way" in text for text in result.report.warnings)
    # A cell of a notebook that ends with the result shows a line, not the whole report.
    assert len(repr(result)) < 500


def test_a_job_that_is_done_is_not_run_again(
    rows: Path, tmp_path: Path, cluster_client: Client
) -> None:
    job = made_job(rows, tmp_path / "out")
    first = run_job(job, client=cluster_client)
    heard = Heard()
    again = run_job(job, client=cluster_client, listener=heard)
    assert again.already_done
    assert heard.stages == ["validate"]
    assert (again.path, again.report) == (first.path, first.report)

    # The place to run is not part of the job; the rows are.
    elsewhere = {**job, "cluster": {"kind": "local", "workers": 7}}
    assert run_job(elsewhere, client=cluster_client).already_done
    changed = {**job, "method": {"name": "label_spreading", "alpha": 0.8}}
    second = run_job(changed, client=cluster_client)
    assert not second.already_done
    assert second.path != first.path

    part = next((second.path / "labels").iterdir())
    content = bytearray(part.read_bytes())
    content[len(content) // 2] ^= 1
    part.write_bytes(bytes(content))
    third = run_job(changed, client=cluster_client)
    assert not third.already_done
    assert_useful(third.path)
    forced = run_job(changed, client=cluster_client, force=True)
    assert not forced.already_done
    assert answer(forced.path) == answer(third.path)


@pytest.mark.parametrize(
    ("method", "where"),
    [
        ("label_spreading", "this process"),
        pytest.param("label_spreading", "the workers", marks=pytest.mark.slow),
        pytest.param("label_propagation", "this process", marks=pytest.mark.slow),
        pytest.param("label_propagation", "the workers", marks=pytest.mark.slow),
        ("harmonic_regression", "this process"),
        pytest.param("harmonic_regression", "the workers", marks=pytest.mark.slow),
    ],
)
def test_a_run_goes_on_from_its_checkpoints(
    method: str,
    where: str,
    rows: Path,
    tmp_path: Path,
    cluster_client: Client,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if where == "the workers":
        monkeypatch.setattr(saved_state, "IN_PROCESS_BYTES", 0)
    if numbers := METHODS[method].target == "numbers":
        rows = write_rows(tmp_path / "numbers", made_numbers())

    def job_of(name: str) -> dict[str, Any]:
        make = number_job if numbers else made_job
        return make(rows, tmp_path / name, method={"name": method, "tol": 1e-4})

    whole = Heard()
    undisturbed = run_job(job_of("whole"), client=cluster_client, listener=whole)
    job = job_of("out")
    stopped = StopsAfter("propagation", 0)
    with monkeypatch.context() as often:
        often.setattr(inference, "RunControl", partial(RunControl, checkpoint_seconds=0.0))
        with pytest.raises(Stopped) as error:
            run_job(job, client=cluster_client, listener=stopped)
    assert error.value.run_place == (stopped.run_id, "propagation")  # type: ignore[attr-defined]
    assert not (tmp_path / "out" / "latest").exists()

    changed = {**job, "graph": {"n_neighbors": 9}}
    with pytest.raises(ResumeMismatchError, match="n_neighbors") as mismatch:
        run_job(changed, client=cluster_client, resume=True)
    assert mismatch.value.exit_code == 4

    heard = Heard()
    resumed = run_job(job, client=cluster_client, resume=True, listener=heard)
    assert resumed.run_id == stopped.run_id
    assert [one["name"] for one in heard.named("checkpoint_used")] == ["graph", "propagation"]
    assert heard.rounds[0].iteration > 1
    assert heard.rounds[-1].iteration == whole.rounds[-1].iteration
    assert answer(resumed.path) == answer(undisturbed.path)
    nothing = Heard()
    assert run_job(job, client=cluster_client, resume=True, force=True, listener=nothing)
    assert nothing.named("nothing_to_resume")


def test_a_run_that_was_killed_under_force_goes_on(
    rows: Path, tmp_path: Path, cluster_client: Client
) -> None:
    job = made_job(rows, tmp_path / "out")
    done = run_job(job, client=cluster_client)
    assert run_job(job, client=cluster_client, resume=True).already_done
    stopped = StopsAfter("graph", 0)
    with pytest.raises(Stopped):
        run_job(job, client=cluster_client, force=True, listener=stopped)
    assert run_job(job, client=cluster_client).run_id == done.run_id
    resumed = run_job(job, client=cluster_client, resume=True)
    assert (resumed.run_id, resumed.already_done) == (stopped.run_id, False)
    assert answer(resumed.path) == answer(done.path)


def test_a_propagation_that_loses_workers_is_done_again(tmp_path: Path) -> None:
    stored = Checkpoints(tmp_path / "stored", fingerprint({"test": "again"}), report=print)
    lost = [WorkersChangedError("a worker was lost") for _ in range(9)]
    found = MethodResult(F=da.zeros((2, 2)), fold_F=[])

    def find(control: RunControl) -> MethodResult:
        if lost:
            raise lost.pop()
        return found

    def until_kept(losses: Losses) -> object:
        control = RunControl(losses=losses)
        return saved_state.solve_and_store(find, control, "state", stored, Silent())

    with pytest.raises(ComputeError, match="lost 5 times"):
        until_kept(Losses(4))
    assert len(lost) == 4
    assert until_kept(Losses(4)) is found
