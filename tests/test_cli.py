"""The command line: exit codes, last words, what goes to stdout and what to stderr."""

from __future__ import annotations

import gzip
import http.client
import json
import os
import signal
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ssl_dask import cluster
from ssl_dask.cli import app
from ssl_dask.execution import Execution
from ssl_dask.job_file import load_job
from ssl_dask.job_spec import JobSpec
from ssl_dask.pipeline.commands.draft import draft_job
from ssl_dask.process_end import SignalReceived, exit_code, signals_as_exceptions
from tests.faults.run_server import RunServer
from tests.made_job import N_ROWS, answer, assert_useful, made_job, made_rows, write_job, write_rows
from tests.processes import (
    PROJECT,
    environment,
    events,
    running,
    ssl_dask,
    started,
    wait_for_events,
)

JOBS = PROJECT / "jobs"
COMMANDS = ("init", "validate", "plan", "run", "predict", "graph", "report", "schema", "demo")
LINE_KEYS = {"ts", "level", "event", "run_id", "stage"}
FAILURE_KEYS = {"code", "run_id", "stage", "file", "row_group", "column", "rows", "hint"}


@pytest.fixture
def job(tmp_path: Path) -> Path:
    rows = write_rows(tmp_path / "rows", made_rows())
    return write_job(tmp_path / "job.yaml", made_job(rows, tmp_path / "out"))


def last_words(stderr: str) -> dict[str, Any]:
    words: dict[str, Any] = json.loads(stderr.splitlines()[-1])
    assert words.keys() >= FAILURE_KEYS
    assert words["hint"]
    return words


def test_every_command_has_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert {
        command.callback.__name__ for command in app.registered_commands if command.callback
    } == set(COMMANDS)
    for words in ([], *([name] for name in COMMANDS)):
        assert exit_code(app, [*words, "--help"]) == 0
        shown = capsys.readouterr()
        assert "Usage: ssl-dask" in shown.out
        assert not shown.err
    assert exit_code(app, ["--version"]) == 0
    assert capsys.readouterr().out.strip().count(".") == 2


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ("init s3://b/rows -o URL", "output"),
        ("predict RUN s3://b/rows -o URL", "output"),
        ("predict URL s3://b/rows -o out", "run_folder"),
        ("graph job.yaml -o URL", "output"),
        ("report URL", "run_folder"),
        ("report RUN -o URL", "output"),
        ("demo -o URL", "output"),
    ],
)
def test_a_url_is_no_path_of_this_machine(
    words: str,
    named: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    url = "abfs://box@account.dfs.core.windows.net/out"
    assert exit_code(app, [url if word == "URL" else word for word in words.split()]) == 2
    shown = last_words(capsys.readouterr().err)
    assert shown["message"].startswith(f"{named} is a URL: abfs://...")
    assert "folders on a local or shared disk" in shown["hint"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["rnu"],
        ["run"],
        ["run", "{job}", "--nonsense"],
        ["run", "{job}", "--cluster", "kubernetes"],
        ["run", "{job}", "--cluster", "local:many"],
        ["run", "{job}", "--cluster", "tcp://192.0.2.1:8786"],
        ["run", "{job}", "--set", "method.alpha"],
        ["run", "{job}", "--set", "method.alpha=2"],
        ["run", "{job}", "--set", "name.x=2"],
        ["run", "{folder}/nowhere.yaml"],
        ["plan", "{folder}/nowhere.yaml"],
        ["validate", "{folder}"],
    ],
    ids=" ".join,
)
def test_mistakes_of_usage_end_with_2(
    arguments: list[str], job: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [word.format(job=job, folder=tmp_path) for word in arguments]
    assert exit_code(app, given) == 2
    shown = capsys.readouterr()
    assert not shown.out
    assert last_words(shown.err)["code"] == 2
    assert not (tmp_path / "out" / "runs").exists() or not list((tmp_path / "out/runs").iterdir())


def test_a_missing_run_and_an_unwritable_draft_end_with_6(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code(app, ["report", str(tmp_path)]) == 6
    assert last_words(capsys.readouterr().err)["file"]
    rows = str(JOBS / "data" / "iris.parquet")
    assert exit_code(app, ["init", rows, "-o", str(tmp_path / "no" / "job.yaml")]) == 6
    assert last_words(capsys.readouterr().err)["file"] == str(tmp_path / "no" / "job.yaml")
    (tmp_path / "job.yaml").write_text("mine")
    assert exit_code(app, ["init", rows, "-o", str(tmp_path / "job.yaml")]) == 2
    assert (tmp_path / "job.yaml").read_text() == "mine"


def test_schema_is_a_json_schema_that_knows_the_keys(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(app, ["schema"]) == 0
    schema = json.loads(capsys.readouterr().out)
    assert schema["$schema"].startswith("https://json-schema.org/")
    assert {"name", "input", "features", "method", "graph", "output"} <= schema["properties"].keys()


@pytest.mark.parametrize("name", sorted(path.stem for path in JOBS.glob("*.yaml")))
def test_shipped_jobs_are_sound(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = JOBS / f"{name}.yaml"
    assert exit_code(app, ["validate", str(path), "--schema-only"]) == 0
    shown = capsys.readouterr().out
    assert "no mistakes found" in shown
    spec = load_job(path)
    assert Path(spec.output.path).parent.is_dir()
    assert spec.input.truth


def test_validate_reads_the_rows(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(app, ["validate", str(JOBS / "letter.yaml")]) == 0
    shown = capsys.readouterr().out
    assert "260 (" in shown
    assert "20,000" in shown


@pytest.mark.parametrize("name", sorted(path.stem for path in (JOBS / "data").glob("*.parquet")))
def test_a_draft_is_a_job(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "job.yaml"
    assert exit_code(app, ["init", str(JOBS / "data" / f"{name}.parquet"), "-o", str(path)]) == 0
    spec = load_job(path)
    assert spec.features
    drafted = path.read_text()
    capsys.readouterr()
    code = exit_code(app, ["validate", str(path), "--schema-only"])
    words = capsys.readouterr().err
    if code:
        # Where no column holds labels, their file is all that is missing.
        assert code == 3
        problems = last_words(words)["problems"]
        assert [Path(problem["file"]).name for problem in problems] == ["labels.csv"]
        assert "labels.csv" in drafted


def draft_of(folder: Path, data: dict[str, Any]) -> tuple[str, JobSpec]:
    """Return the draft of a job for these columns, as text and as it is read."""
    pq.write_table(pa.table(data), folder / "data.parquet")
    drafted = draft_job(str(folder / "data.parquet"), relative_to=folder)
    (folder / "job.yaml").write_text(drafted)
    return drafted, load_job(folder / "job.yaml")


@pytest.mark.parametrize(
    ("columns", "label", "truth", "features"),
    [
        # A complete column is the truth, a mostly empty one of few values the label, by any name.
        ({"truth": "full", "kind": "sparse"}, "kind", "truth", {"x"}),
        ({"kind": "sparse", "colour": "other"}, "kind", None, {"x", "colour"}),
        ({"seed_species": "sparse", "species": "full"}, "seed_species", "species", {"x"}),
        ({"label": "full"}, None, "label", {"x"}),
        ({"y": "sparse", "country": "other"}, "y", None, {"x", "country"}),
        # A copy of the answer under a name of its own.
        ({"y": "sparse", "country": "full"}, "y", None, {"x"}),
    ],
)
def test_a_draft_never_makes_the_answer_a_feature(
    columns: dict[str, str],
    label: str | None,
    truth: str | None,
    features: set[str],
    tmp_path: Path,
) -> None:
    n = 400
    classes = [("a", "b")[i % 2] for i in range(n)]
    other = [("a", "b")[i % 3 % 2] for i in range(n)]
    data: dict[str, Any] = {"id": list(range(n)), "x": [i / 7 for i in range(n)]}
    for name, kind in columns.items():
        values = other if kind == "other" else classes
        data[name] = [c if kind != "sparse" or i % 20 < 2 else None for i, c in enumerate(values)]
    drafted, spec = draft_of(tmp_path, data)
    assert spec.input.label == label
    assert {c for group in spec.features.values() for c in group.columns()} == features
    assert f"# truth: {truth or 'COLUMN'} " in drafted


def test_a_draft_joins_rows_that_share_a_key_and_takes_no_key_for_a_number(tmp_path: Path) -> None:
    n = 300
    data = {
        "tx_id": list(range(n)),
        "batch_id": list(range(n, 2 * n)),
        "card_id": [f"card-{i % 70}" for i in range(n)],
        "device_key": [i % 40 for i in range(n)],
        "amount": [i / 7 for i in range(n)],
        "fraud": ["yes" if i == 3 else "no" if i == 5 else None for i in range(n)],
    }
    drafted, spec = draft_of(tmp_path, data)
    assert [group.columns() for group in spec.features.values()] == [("amount",)]
    assert "# batch_id: names each row" in drafted
    assert spec.method.name == "graph_ensemble"
    assert spec.graph.entity_columns() == ("card_id", "device_key")
    assert [part.kind for part in spec.graph.each()] == ["knn", "entities"]


LABEL_FILES = {
    "answers.csv": (
        "when,tx_id,is_bad,by\n1,3,yes,me\n2,5,no,me\n3,7,no,me\n",
        "tx_id",
        "is_bad",
        None,
    ),
    "answers.tsv.gz": ("tx_id\tanswer\n3\tyes\n5\tno\n", "tx_id", "answer", None),
    "cards.jsonl": ('{"card_id": "card-1", "class": "yes"}\n', "card_id", "class", "card_id"),
    "list.json": ('[{"class": "yes", "tx_id": 3}]', "tx_id", "class", None),
    "answers.parquet": ("", "tx_id", "answer", None),
}


@pytest.mark.parametrize("name", LABEL_FILES)
def test_a_draft_finds_id_and_label_in_a_file_of_labels(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text, row_id, label, by = LABEL_FILES[name]
    n = 300
    data = {
        "tx_id": list(range(n)),
        "card_id": [f"card-{i % 70}" for i in range(n)],
        "amount": [i / 7 for i in range(n)],
    }
    pq.write_table(pa.table(data), tmp_path / "data.parquet")
    if name.endswith(".parquet"):
        pq.write_table(pa.table({"tx_id": [3, 5], "answer": ["yes", "no"]}), tmp_path / name)
    else:
        written = text.encode()
        (tmp_path / name).write_bytes(gzip.compress(written) if ".gz" in name else written)
    job = tmp_path / "job.yaml"
    given = [str(tmp_path / "data.parquet"), "--labels", str(tmp_path / name), "-o", str(job)]
    assert exit_code(app, ["init", *given]) == 0
    found = load_job(job).input.labels
    assert found is not None
    assert (Path(found.paths[0]).name, found.id, found.label, found.by) == (name, row_id, label, by)
    assert [one for group in load_job(job).features.values() for one in group.columns()] == [
        "amount"
    ]
    if by is None and "json" not in name:
        assert exit_code(app, ["validate", str(job)]) == 0
    capsys.readouterr()
    assert exit_code(app, ["init", given[0], "--labels", str(tmp_path / "no.csv")]) == 3
    assert "no.csv" in capsys.readouterr().err


def test_labels_below_the_rows_looked_at_are_no_feature(tmp_path: Path) -> None:
    n, looked_at = 30_000, 10_000
    few = {n - 1 - 50 * i for i in range(40)}
    assert min(few) > looked_at
    sparse = [i % 2 if i in few else None for i in range(n)]
    data = {
        "id": list(range(n)),
        "x": [i / 7 for i in range(n)],
        "kind": pa.array(sparse, pa.int64()),
        "label": pa.array([None if one is None else "ab"[one] for one in sparse], pa.string()),
        "score": pa.array(sparse, pa.float64()),
    }
    drafted, spec = draft_of(tmp_path, data)
    assert spec.input.label == "label"
    assert [c for group in spec.features.values() for c in group.columns()] == ["x"]
    for name in ("kind", "score"):
        assert f"# {name}: " in drafted


def test_a_column_that_tells_the_answer_in_other_words_is_no_feature(tmp_path: Path) -> None:
    n = 1_000
    attack = [i % 5 == 0 for i in range(n)]
    data = {
        "id": list(range(n)),
        # Either family goes with one truth; of the tools one is used for both.
        "family": [("probe", "dos")[i % 2] if bad else "normal" for i, bad in enumerate(attack)],
        "tool": [("a", "b")[i % 2] if bad else "a" for i, bad in enumerate(attack)],
        "bytes": [i * 37 % 101 for i in range(n)],
        "label": attack,
    }
    drafted, spec = draft_of(tmp_path, data)
    columns = {c for group in spec.features.values() for c in group.columns()}
    assert columns == {"tool", "bytes"}
    assert "# truth: label " in drafted
    assert "# family: each of its values goes with one value of label" in drafted


def test_plan_starts_and_reads_nothing(
    job: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*given: Any, **more: Any) -> None:
        raise AssertionError("plan computes nothing")

    monkeypatch.setattr(cluster, "LocalCluster", refuse)
    monkeypatch.setattr(cluster, "Client", refuse)
    monkeypatch.setattr(Execution, "compute", refuse)
    monkeypatch.setattr(Execution, "persist", refuse)
    assert exit_code(app, ["plan", str(job)]) == 0
    shown = capsys.readouterr().out
    assert f"{N_ROWS:,} in 3 file(s)" in shown
    for line in ("blocks", "tasks", "bytes moved", "memory", "expected time", "graph"):
        assert line in shown
    assert not (job.parent / "out").exists()


def test_a_held_output_ends_with_75(
    job: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with RunServer() as other:
        held = other.ask(tmp_path / "out", writer="hold")
        assert exit_code(app, ["run", str(job)]) == 75
        words = last_words(capsys.readouterr().err)
        assert words["code"] == 75
        assert held["run_id"] in words["message"]
        assert str(other.process.pid) in words["message"]
    assert not list((tmp_path / "out" / "runs").iterdir())


def test_a_defect_ends_with_70_and_says_what_to_do(
    job: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*given: Any, **more: Any) -> None:
        raise ZeroDivisionError("made by a test")

    monkeypatch.setattr("ssl_dask.pipeline.commands.plan.plan_job", fail)
    assert exit_code(app, ["plan", str(job)]) == 70
    stderr = capsys.readouterr().err
    assert "Traceback" in stderr
    assert "report it" in last_words(stderr)["hint"]
    monkeypatch.setattr("ssl_dask.pipeline.commands.run.Inputs.open", fail)
    assert exit_code(app, ["run", str(job), "--json-logs"]) == 70
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert "made by a test" in lines[-1]["traceback"]
    assert lines[-1]["stage"] == "validate"


def test_overrides_and_places_to_run(job: Path, capsys: pytest.CaptureFixture[str]) -> None:
    common = ["plan", str(job), "--set", "cluster.workers=3", "--set", "graph.n_neighbors=5"]
    assert exit_code(app, common) == 0
    shown = capsys.readouterr().out
    assert "3 workers" in shown
    assert "exact 5 nearest" in shown
    # Relative paths start from the job's folder, as those in the job do.
    assert exit_code(app, ["plan", str(job), "--set", "input.path=rows/part-01.parquet"]) == 0
    assert "1 file(s)" in capsys.readouterr().out


def test_a_run_in_a_process_of_its_own(job: Path, tmp_path: Path) -> None:
    run = ssl_dask("run", job, "--cluster", "local:1", "--json-logs", cwd=tmp_path)
    assert run.code == 0, run.stderr
    assert run.path.parent == tmp_path / "out" / "runs"
    assert_useful(run.path)
    lines = run.events
    assert all(line.keys() >= LINE_KEYS for line in lines)
    stages = [line["stage"] for line in lines if line["event"] == "stage_begins"]
    steps = "validate read features graph propagation evaluation decision report commit"
    assert stages == steps.split()
    begun = next(i for i, line in enumerate(lines) if line["event"] == "run_begins")
    assert {line["run_id"] for line in lines[begun:]} == {run.path.name}
    # No chatter of libraries among them.
    assert not [line for line in lines if line["event"] == "library_log"]
    iterations = [line for line in lines if line["event"] == "iteration"]
    report = json.loads((run.path / "report.json").read_text())
    rounds = [one["iteration"] for one in report["method"]["rounds"]]
    # Lines are written at most once a second; the last one always is.
    assert {line["iteration"] for line in iterations} <= set(rounds)
    assert iterations[-1]["iteration"] == rounds[-1]
    # Stdout: the path, then the table.
    table = run.stdout.splitlines()[1:]
    assert table[0].split() == ["made"]
    assert any(line.split() == ["rows", str(N_ROWS)] for line in table)
    assert not {"{", "}"}.intersection(run.stdout)

    again = ssl_dask("run", job, cwd=tmp_path)
    assert again.code == 0
    assert again.path == run.path
    assert "already done" in again.stdout


def test_a_signal_that_falls_into_a_finaliser_is_not_lost() -> None:
    class Finalised:
        def __del__(self) -> None:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.01)

    def finalise_and_wait() -> None:
        thing = Finalised()
        del thing
        time.sleep(5)

    hook, handler = sys.unraisablehook, signal.getsignal(signal.SIGTERM)
    with pytest.raises(SignalReceived), signals_as_exceptions():
        finalise_and_wait()
    assert (sys.unraisablehook, signal.getsignal(signal.SIGTERM)) == (hook, handler)


@pytest.mark.parametrize(
    ("number", "stage"),
    [
        (signal.SIGTERM, "features"),
        pytest.param(signal.SIGINT, "graph", marks=pytest.mark.slow),
        pytest.param(signal.SIGHUP, "decision", marks=pytest.mark.slow),
        pytest.param(signal.SIGTERM, "validate", marks=pytest.mark.slow),
    ],
)
def test_a_signal_ends_a_run_cleanly(
    number: signal.Signals, stage: str, job: Path, tmp_path: Path
) -> None:
    (tmp_path / "tmp").mkdir()
    with RunServer() as earlier:
        assert earlier.ask(tmp_path / "out", "old")["code"] == 0
    old, log = os.readlink(tmp_path / "out" / "latest"), tmp_path / "log"
    scratch = {"TMPDIR": str(tmp_path / "tmp")}
    with started(job, log, "--cluster", "local:2", extra=scratch) as process:
        wait_for_events(process, log, event="stage_begins", stage=stage)
        # With no worker yet in the first stage, the signal falls into their start.
        children = psutil.Process(process.pid).children(recursive=True)
        assert stage == "validate" or len(children) >= 2
        process.send_signal(number)
        assert process.wait(60) == 128 + number
        last = events(log)[-1]
        assert last["code"] == 128 + number
        assert last["hint"]
        assert not psutil.wait_procs(children, timeout=10)[1]
    assert not list((tmp_path / "tmp").iterdir())
    assert os.readlink(tmp_path / "out" / "latest") == old
    assert [path.name for path in (tmp_path / "out" / "runs").iterdir()] == [Path(old).name]


@pytest.mark.slow
def test_nohup_is_honoured(job: Path, tmp_path: Path) -> None:
    command = f'trap "" HUP; exec {sys.executable} -m ssl_dask run {job} --json-logs'
    log = tmp_path / "log"
    with running(["/bin/sh", "-c", command], log, env=environment(), cwd=tmp_path) as process:
        wait_for_events(process, log, event="stage_begins", stage="features")
        process.send_signal(signal.SIGHUP)
        assert process.wait(120) == 0
    assert_useful(tmp_path / "out" / "latest")


@pytest.mark.slow
def test_only_loopback_listens_and_no_pages_are_served(job: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with started(job, log, "--cluster", "local:2") as process:
        wait_for_events(process, log, event="stage_begins", stage="features")
        family = [psutil.Process(process.pid)]
        family += family[0].children(recursive=True)
        listening = [
            connection.laddr
            for one in family
            for connection in one.net_connections("inet")
            if connection.status == psutil.CONN_LISTEN
        ]
        assert len(listening) >= 3
        assert {address.ip for address in listening} == {"127.0.0.1"}
        answers = []
        for address in listening:
            for page in ("/status", "/info/main/workers.html", "/json/identity.json", "/metrics"):
                try:
                    url = f"http://127.0.0.1:{address.port}{page}"
                    with urllib.request.urlopen(url, timeout=5) as response:
                        answers.append(response.status)
                except urllib.error.HTTPError as error:
                    answers.append(error.code)
                except (OSError, http.client.HTTPException):
                    continue  # A port of Dask's own protocol, or closed by now.
        assert answers
        assert set(answers) == {404}


@pytest.mark.slow
def test_killed_after_a_checkpoint_a_run_goes_on(job: Path, tmp_path: Path) -> None:
    whole = ssl_dask("run", job, "--set", f"output.path={tmp_path / 'whole'}", cwd=tmp_path)
    assert whole.code == 0, whole.stderr
    log = tmp_path / "log"
    with started(job, log) as process:
        wait_for_events(process, log, event="checkpoint_written")
    assert not (tmp_path / "out" / "latest").exists()
    other = ssl_dask("run", job, "--resume", "--set", "graph.n_neighbors=9", cwd=tmp_path)
    assert other.code == 4
    assert "graph.n_neighbors" in other.last_words["message"]
    resumed = ssl_dask("run", job, "--resume", "--cluster", "local:2", cwd=tmp_path)
    assert resumed.code == 0, resumed.stderr
    assert "checkpoint_used" in [one["event"] for one in resumed.events]
    assert answer(resumed.path) == answer(whole.path)
