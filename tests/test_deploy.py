"""What deploy/README.md promises, with real schedulers, workers and jobs on loopback."""

from __future__ import annotations

import datetime
import ipaddress
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from ssl_dask.cluster import open_client
from ssl_dask.cluster_spec import ClusterSpec
from ssl_dask.errors import (
    CommitUnknownError,
    ComputeError,
    InputDataError,
    JobSpecError,
    OutputLockedError,
    QualityError,
    ResumeMismatchError,
    StorageError,
)
from tests.digits_job import assert_same_answer, read_labels, write_job, write_rows
from tests.processes import (
    BIN,
    PROJECT,
    Ended,
    environment,
    events,
    free_ports,
    running,
    ssl_dask,
    started,
    wait_for_events,
    wait_for_port,
)

DEPLOY = PROJECT / "deploy"
UNITS = DEPLOY / "systemd"


def documented(start: str) -> str:
    """Return the one command of deploy/README.md that begins with `start`."""
    lines = (DEPLOY / "README.md").read_text().splitlines()
    found = [line.strip() for line in lines if line.startswith(f"    {start}")]
    assert len(found) == 1, found
    return found[0]


@dataclass(frozen=True)
class RunningCluster:
    """A scheduler process with its workers."""

    address: str
    scheduler: subprocess.Popen[bytes]


@contextmanager
def running_cluster(
    folder: Path, *, extra: Sequence[str] = (), scheme: str = "tcp", shim: Path | None = None
) -> Iterator[RunningCluster]:
    """Start scheduler and workers with the commands of deploy/README.md, on a free port."""
    (port,) = free_ports(1)
    address = f"{scheme}://127.0.0.1:{port}"
    scheduler = documented("dask scheduler").split()
    scheduler[scheduler.index("8786")] = str(port)
    workers = documented("dask worker").split()
    workers[workers.index("tcp://127.0.0.1:8786")] = address
    workers[workers.index("--nworkers") + 1] = "2"
    workers[workers.index("--memory-limit") + 1] = "1GiB"
    env = environment(import_first=shim)
    logs = folder / "scheduler.log", folder / "worker.log"
    with ExitStack() as stack:
        command = [str(BIN / scheduler[0]), *scheduler[1:], *extra]
        one = stack.enter_context(running(command, logs[0], env=env, cwd=folder))
        wait_for_port(port, one, logs[0], seconds=60)
        command = [str(BIN / workers[0]), *workers[1:], "--local-directory", str(folder), *extra]
        stack.enter_context(running(command, logs[1], env=env, cwd=folder))
        yield RunningCluster(address, one)


def run_on(address: str, job: Path, *arguments: str) -> Ended:
    """Run a job on a cluster with the command of deploy/README.md."""
    line = documented("ssl-dask run job.yaml --cluster")
    assert line == "ssl-dask run job.yaml --cluster tcp://127.0.0.1:8786"
    return ssl_dask("run", job, "--cluster", address, *arguments, cwd=job.parent)


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("digits") / "rows"
    write_rows(folder)
    return folder


@pytest.fixture(scope="module")
def local_run(rows: Path) -> Path:
    """The run that a cluster's answer is compared with: one local worker."""
    here = rows.parent
    job = write_job(
        here / "local.yaml",
        rows,
        here / "out",
        cluster={"kind": "local", "workers": 1, "memory": "1GiB"},
    )
    run = ssl_dask("run", job, cwd=here)
    assert run.code == 0, run.stderr
    return run.path


@pytest.fixture
def job(rows: Path, tmp_path: Path) -> Path:
    return write_job(tmp_path / "job.yaml", rows, tmp_path / "out")


@pytest.mark.slow
def test_running_cluster_gives_the_answer_of_a_local_one(job: Path, local_run: Path) -> None:
    with running_cluster(job.parent) as cluster:
        run = run_on(cluster.address, job)
        again = run_on(cluster.address, job)

    assert run.code == 0, run.stderr
    assert_same_answer(run.path, local_run)
    assert again.code == 0
    assert again.path == run.path, "the same job on the same input is already done"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("__path__ = [{shim!r}, {home!r}]", r"has ssl_dask 0\.0\.1"),
        ("raise ModuleNotFoundError('No module', name='ssl_dask')", "cannot import ssl_dask"),
    ],
)
def test_worker_with_another_ssl_dask_or_none_ends_with_2(job: Path, code: str, words: str) -> None:
    shim = job.parent / "shim" / "ssl_dask"
    shim.mkdir(parents=True)
    home = str(PROJECT / "ssl_dask")
    (shim / "__init__.py").write_text(code.format(shim=str(shim), home=home) + "\n")
    (shim / "version.py").write_text("__version__ = '0.0.1'\n")

    with running_cluster(job.parent, shim=shim.parent) as cluster:
        run = run_on(cluster.address, job)

    assert run.code == 2, run.stderr
    assert re.search(rf"worker tcp://127\.0\.0\.1:\d+ {words}", run.stderr)
    assert "Traceback" not in run.stderr
    assert not list((job.parent / "out").glob("runs/*"))


@pytest.mark.slow
def test_no_scheduler_ends_with_5(job: Path) -> None:
    (port,) = free_ports(1)

    run = run_on(f"tcp://127.0.0.1:{port}", job)

    assert run.code == 5, run.stderr
    assert f"tcp://127.0.0.1:{port}" in run.last_words["message"]
    assert run.seconds < 30


@pytest.mark.parametrize("host", ["192.0.2.1", "scheduler.invalid", "0.0.0.0", "[2001:db8::1]"])
def test_unencrypted_address_of_another_machine_is_refused(host: str) -> None:
    spec = ClusterSpec(kind="address", address=f"tcp://{host}:8786")

    with pytest.raises(JobSpecError, match="is another machine") as caught, open_client(spec):
        pass

    assert "tls://" in str(caught.value)


@pytest.mark.slow
def test_unencrypted_address_of_another_machine_ends_with_2(job: Path) -> None:
    run = run_on("tcp://192.0.2.1:8786", job)

    assert run.code == 2, run.stderr
    assert "tls://" in run.last_words["hint"]
    assert run.seconds < 10, "it is refused before anything is tried"


@pytest.mark.slow
def test_scheduler_killed_in_the_middle_ends_with_5(job: Path) -> None:
    out = job.parent / "out"
    with running_cluster(job.parent) as cluster:
        before = run_on(cluster.address, job)
        assert before.code == 0, before.stderr
        kept, log = _files(before.path), out.parent / "log"
        with started(job, log, "--force", "--cluster", cluster.address) as run:
            wait_for_events(run, log, event="stage_begins", stage="graph")
            cluster.scheduler.send_signal(signal.SIGKILL)
            assert run.wait(60) == 5, log.read_text()

    last = events(log)[-1]
    assert last["code"] == 5
    assert last["run_id"] not in (None, before.path.name)
    assert "--resume" in last["hint"]
    assert (out / "latest").resolve() == before.path.resolve()
    assert [path.name for path in (out / "runs").iterdir()] == [before.path.name]
    assert _files(before.path) == kept


def _files(run: Path) -> dict[str, bytes]:
    read_labels(run)
    return {str(path): path.read_bytes() for path in run.rglob("*") if path.is_file()}


class Authority:
    """A certificate authority of the test, and what it has signed."""

    def __init__(self, folder: Path, name: str) -> None:
        folder.mkdir()
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        limits = x509.BasicConstraints(ca=True, path_length=0)
        certificate = self._start(self._name, self._key).add_extension(limits, critical=True)
        self.ca_file = folder / "ca.pem"
        self.ca_file.write_bytes(self._sign(certificate))

    def issue(self, name: str) -> tuple[Path, Path]:
        """Write a certificate for loopback and its key; return both files."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        here = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
        certificate = self._start(subject, key).add_extension(here, critical=False)
        files = self._folder / f"{name}.pem", self._folder / f"{name}-key.pem"
        files[0].write_bytes(self._sign(certificate))
        files[1].write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        files[1].chmod(0o600)
        return files

    def _start(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey
    ) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(hours=1))
        )

    def _sign(self, certificate: x509.CertificateBuilder) -> bytes:
        signed = certificate.sign(self._key, hashes.SHA256())
        return signed.public_bytes(serialization.Encoding.PEM)


@pytest.mark.slow
def test_tls_works_with_a_certificate_and_not_without(job: Path, local_run: Path) -> None:
    ours = Authority(job.parent / "ours", "our authority")
    theirs = Authority(job.parent / "theirs", "another authority")
    cert, key = ours.issue("machine")
    client_cert, client_key = ours.issue("client")
    other_cert, other_key = theirs.issue("client")
    options = ["--protocol", "tls", "--tls-ca-file", str(ours.ca_file)]
    options += ["--tls-cert", str(cert), "--tls-key", str(key)]

    def run(address: str, **files: Path) -> Ended:
        sets = [word for key, file in files.items() for word in ("--set", f"cluster.{key}={file}")]
        # What is done already needs no cluster.
        return run_on(address, job, "--force", *sets)

    ca = ours.ca_file
    with running_cluster(job.parent, extra=options, scheme="tls") as cluster:
        signed = run(cluster.address, tls_ca_file=ca, tls_cert=client_cert, tls_key=client_key)
        stranger = run(cluster.address, tls_ca_file=ca, tls_cert=other_cert, tls_key=other_key)
        unencrypted = run(cluster.address.replace("tls://", "tcp://"))
        without = run(cluster.address, tls_ca_file=ca)

    assert signed.code == 0, signed.stderr
    assert_same_answer(signed.path, local_run)
    for refused in (stranger, unencrypted):
        assert refused.code == 5, refused.stderr
        assert refused.seconds < 60
    assert without.code == 2, without.stderr
    assert "cluster.tls_ca_file, tls_cert and tls_key" in without.last_words["hint"]


def test_tls_files_that_cannot_be_used_are_refused(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ours", "our authority")
    cert, key = map(str, authority.issue("client"))
    _, other_key = map(str, authority.issue("other"))
    good = {"tls_ca_file": str(authority.ca_file), "tls_cert": cert, "tls_key": key}
    absent = str(tmp_path / "absent.pem")
    refused = {
        "needs the authority's certificate": [{}, {**good, "tls_cert": None}],
        f"cannot be used: {absent}|cannot be used: No such file": [
            {**good, name: absent} for name in good
        ],
        "(?i)key.values.mismatch": [{**good, "tls_key": other_key}],
    }

    for message, files in refused.items():
        for given in files:
            spec = ClusterSpec(kind="address", address="tls://127.0.0.1:1", **given)
            with pytest.raises(JobSpecError, match=message), open_client(spec):
                pass


def unit_settings(name: str) -> dict[str, str]:
    """Return the settings of a systemd unit of deploy/, each of which stands once."""
    lines = (UNITS / name).read_text().splitlines()
    pairs = [line.split("=", 1) for line in lines if "=" in line and not line.startswith("#")]
    assert len({key for key, _ in pairs}) == len(pairs)
    return dict(pairs)


@pytest.mark.parametrize("name", ["ssl-dask@.service", "ssl-dask@.timer"])
def test_systemd_units_verify(name: str) -> None:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not installed")

    found = subprocess.run(
        [program, "verify", str(UNITS / name)], capture_output=True, text=True, timeout=60
    )

    assert found.returncode == 0, found.stderr
    assert name.split("@")[0] not in found.stderr, found.stderr


def test_systemd_unit_knows_the_exit_codes() -> None:
    settings = unit_settings("ssl-dask@.service")
    success = {int(code) for code in settings["SuccessExitStatus"].split()}
    final = {int(code) for code in settings["RestartPreventExitStatus"].split()}

    assert settings["Restart"] == "on-failure"
    assert success == {OutputLockedError.exit_code}
    for kind in (JobSpecError, InputDataError, CommitUnknownError, QualityError):
        assert kind.exit_code in final, kind
    assert final.isdisjoint({ComputeError.exit_code, StorageError.exit_code})


@pytest.mark.parametrize(
    ("codes", "expected", "n_runs"),
    [
        ([0], 0, 1),
        ([ComputeError.exit_code, 0], ComputeError.exit_code, 1),
        ([ResumeMismatchError.exit_code, 0], 0, 2),
        ([ResumeMismatchError.exit_code, QualityError.exit_code], QualityError.exit_code, 2),
        ([OutputLockedError.exit_code], OutputLockedError.exit_code, 1),
    ],
)
def test_systemd_command_starts_afresh_only_where_resuming_does_not_match(
    tmp_path: Path, codes: list[int], expected: int, n_runs: int
) -> None:
    (tmp_path / "codes").write_text("".join(f"{code}\n" for code in codes))
    command = tmp_path / "bin" / "ssl-dask"
    command.parent.mkdir()
    command.write_text(
        "#!/bin/sh\n"
        f'echo "$@" >> {tmp_path}/calls\n'
        f"n=$(wc -l < {tmp_path}/calls)\n"
        f'exit "$(sed -n "$n"p {tmp_path}/codes)"\n'
    )
    command.chmod(0o755)
    line = unit_settings("ssl-dask@.service")["ExecStart"]
    # What systemd does with the line, and this machine's folders.
    line = line.replace("%i", "fraud").replace("$$", "$").replace("/etc/ssl-dask", str(tmp_path))
    assert "/opt/labelling/.venv/bin:" in line
    words = shlex.split(line.replace("/opt/labelling/.venv/bin", str(command.parent)))

    ended = subprocess.run(words, timeout=60, check=False)

    calls = (tmp_path / "calls").read_text().splitlines()
    assert ended.returncode == expected
    assert calls[0] == "run fraud.yaml --json-logs --resume"
    assert calls[1:] == ["run fraud.yaml --json-logs"] * (n_runs - 1)


@pytest.mark.slow
def test_cron_line_runs_and_keeps_a_log_of_json(job: Path) -> None:
    here = job.parent
    words = documented("15 2 * * *").split(None, 5)
    assert words[:5] == ["15", "2", "*", "*", "*"]
    line = words[5]
    for there, ours in {
        "/opt/labelling/.venv/bin/ssl-dask": f"{sys.executable} -m ssl_dask",
        "/opt/labelling/job.yaml": str(job),
        "/var/log/": f"{here}/",
    }.items():
        assert there in line
        line = line.replace(there, ours)

    # As cron does: a bare shell, few variables, not in the project's folder.
    env = {"PATH": "/usr/bin:/bin", "HOME": str(here), "PYTHONPATH": str(PROJECT)}
    ended = subprocess.run(["/bin/sh", "-c", line], env=env, cwd=here, timeout=240, check=False)

    log = (here / "labelling.jsonl").read_text()
    assert ended.returncode == 0, log
    assert json.loads(log.splitlines()[-1])["stage"] == "commit"
    run = Path((here / "labelling.out").read_text().splitlines()[0])
    read_labels(run)
    assert os.path.samefile(run, here / "out" / "latest")
