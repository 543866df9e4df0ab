"""The output folder of a job: its runs, and the one step that makes a new run the latest.

    OUT/
      latest -> runs/<run_id>      swapped in one step
      latest.json                  the same for readers that know no links
      runs/<run_id>/               labels/, review/, models/, reports, manifest.json
      .ssl_dask_output             by which a folder is known to be ours
      .lock                        held while a run writes
      .work/<run_id>/              stage/ and checkpoints/; gone after the commit

Whatever a worker does, it does in `stage`. The client moves the files whose records came back from
tasks into a folder that no worker knows, adds reports and manifest, renames that folder into
`runs/` and swaps `latest`: a reader sees all of the old run or all of the new one, and no task that
comes late can add or change a file of a finished run.

Results get the user's usual permissions (umask), for outputs are there to be read by others;
`.work`, which holds features and unfinished labels, is open to the owner only.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

from ssl_dask.durable_files import (
    as_storage_error,
    rename_durably,
    replace_file,
    storage_errors,
    sync_folder,
    to_json,
    write_new,
)
from ssl_dask.errors import CommitUnknownError, SslDaskError, StorageError
from ssl_dask.storage.files.output_lock import OutputLock
from ssl_dask.storage.runs.checkpoint import (
    has_checkpoints,
    mismatch,
    stored_fingerprint,
    stored_tables,
)
from ssl_dask.storage.runs.manifest import (
    MANIFEST_NAME,
    RUN_ID,
    CommittedRun,
    Fingerprint,
    Manifest,
    PartRecord,
    new_run_id,
)
from ssl_dask.storage.runs.output_path import check_output_path, mark_as_ours
from ssl_dask.storage.runs.work_area import (
    CHECKPOINTS,
    STAGE,
    WorkArea,
    check_parts,
    gather_parts,
    is_run,
    write_reports,
)

LATEST = "latest"
LATEST_JSON = "latest.json"
RUNS = "runs"


class OutputFolder:
    """An output folder that this process holds for one run; a context manager.

    Build it with `OutputFolder.open`. Leaving the context gives the lock back and removes what a
    failed run staged; checkpoints stay.

    Attributes
    ----------
    root
        Real path of the folder.
    run_id
        Name of the run.
    notes
        Sentences for the log about things found or left behind that do not stop the run.
    """

    def __init__(self, root: Path, lock: OutputLock, run_id: str, keep_runs: int) -> None:
        self.root = root
        self.run_id = run_id
        self.notes: list[str] = []
        self._lock = lock
        self._keep_runs = keep_runs
        self._area = WorkArea(root, self.notes)
        self._committing = False

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        inputs: Sequence[Path],
        keep_runs: int,
        resume: bool = False,
    ) -> OutputFolder:
        """Take the output for a new run, make its working folders, and clear after dead runs.

        A commit that a kill cut short after the run was whole is finished here. Of the working
        folders of dead runs only the newest with checkpoints is kept.

        Parameters
        ----------
        path
            The output folder. Made if missing, with the folders above it.
        inputs
            Local files and folders that are read: the output may not overlap them.
        keep_runs
            Finished runs that stay after a commit, the new one included; at least 1. With 1, a
            reader that is still in the run before finds its files gone.
        resume
            Keep the checkpoints of all dead runs, for `resumable`.

        Raises
        ------
        JobSpecError, StorageError
            The folder cannot or may not be used; see `check_output_path`. Nothing was made.
        OutputLockedError
            Another run holds the output.
        """
        if keep_runs < 1:
            raise ValueError(f"keep_runs must be at least 1, not {keep_runs}")
        root = check_output_path(path, inputs)
        with storage_errors("make the output folder", root):
            new = [folder for folder in (root, *root.parents) if not folder.exists()]
            root.mkdir(parents=True, exist_ok=True)
            for folder in new:
                sync_folder(folder.parent)
        run_id = new_run_id()
        lock = OutputLock(root)
        lock.acquire(run_id)
        output = cls(root, lock, run_id, keep_runs)
        try:
            # Again, for another run may have changed the folder before it gave the lock back.
            check_output_path(root, inputs)
            with storage_errors("prepare the output folder", root):
                mark_as_ours(root)
                (root / RUNS).mkdir(exist_ok=True)
                output._area.prepare()
                output._finish_cut_commits()
                output._area.clear(keep_all_checkpoints=resume)
                output._area.start(run_id)
        except BaseException:
            lock.release()
            raise
        return output

    def __enter__(self) -> OutputFolder:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if not self._committing:
                self._area.leave(self.work)
        finally:
            self._lock.release()

    @property
    def work(self) -> Path:
        """Folder of this run's checkpoints and staging."""
        return self._area.path / self.run_id

    @property
    def stage(self) -> Path:
        """Folder that tasks write parts into; give it to `write_part`."""
        return self.work / STAGE

    @property
    def checkpoints(self) -> Path:
        """Folder for `Checkpoints`."""
        return self.work / CHECKPOINTS

    def latest(self) -> CommittedRun | None:
        """Return the run that readers see now; None if there is none or its manifest is damaged."""
        run_id = self._pointed_to()
        if run_id is None:
            return None
        try:
            return CommittedRun.load(self.root / RUNS / run_id)
        except StorageError as error:
            self.notes.append(f"the latest run {run_id} cannot be used: {error}")
            return None

    def resumable(self, fingerprint: Fingerprint) -> str | None:
        """Return the newest dead run whose checkpoints belong to this job; None without any.

        Open the output with `resume=True` before.

        Raises
        ------
        ResumeMismatchError
            There are checkpoints, but of another job; the message names the fields that differ.
        """
        unfinished = self._unfinished()
        for folder, stored in unfinished:
            if stored == fingerprint:
                return folder.name
        for folder, stored in unfinished:
            raise mismatch(folder / CHECKPOINTS, stored, fingerprint)
        return None

    def has_unfinished(self, fingerprint: Fingerprint) -> bool:
        """Return whether `resumable` finds a run; open the output with `resume=True` before."""
        return any(stored == fingerprint for _, stored in self._unfinished())

    def unfinished_tables(self) -> list[list[int | str | None]]:
        """Return the versions of tables that dead runs with checkpoints read, the newest first."""
        return [stored_tables(folder / CHECKPOINTS) for folder, _ in self._unfinished()]

    def _unfinished(self) -> list[tuple[Path, Fingerprint]]:
        """Return the dead runs with checkpoints, and what they belong to, the newest first."""
        found = []
        for folder in self._dead_runs():
            stored = stored_fingerprint(folder / CHECKPOINTS)
            if stored is not None and has_checkpoints(folder / CHECKPOINTS):
                found.append((folder, stored))
        return found

    def adopt(self, run_id: str) -> None:
        """Continue a dead run: take its name and checkpoints; its staged parts are dropped.

        Raises
        ------
        StorageError
            There is no such dead run, or its folder cannot be changed.
        """
        if run_id not in [folder.name for folder in self._dead_runs()]:
            raise StorageError(
                f"there is no unfinished run {run_id}",
                file=str(self._area.path),
                hint="run without --resume",
            )
        with storage_errors("continue an unfinished run", self._area.path / run_id):
            fresh, self.run_id = self.work, run_id
            self._lock.name_holder(run_id)
            self._area.discard(fresh)
            self._area.drop_staging(self.work)
            self._area.start(run_id)

    def commit(
        self,
        parts: Sequence[PartRecord],
        report_files: Mapping[str, bytes],
        *,
        expected_rows: int,
        fingerprint: Fingerprint,
        versions: Mapping[str, str],
        warnings: Sequence[str] = (),
    ) -> CommittedRun:
        """Make the written parts the latest run, in one step for readers.

        Then drops the oldest runs beyond `keep_runs` and the working folders; `notes` lists what
        cannot be dropped.

        Parameters
        ----------
        parts
            Records of the tasks: blocks 0, 1, ... of each folder.
        report_files
            Name -> content of further files of the run, such as report.html.
        expected_rows
            Rows that the parts of `labels` must add up to.
        fingerprint
            What the answer depends on.
        versions
            Library -> version.
        warnings
            What a reader of the labels must not miss, a sentence each.

        Raises
        ------
        StorageError
            Parts are missing or do not add up, disk full, or no permission: the earlier run is
            still the latest.
        CommitUnknownError
            It is unknown which run is the latest, or whether the disk has it; nothing was deleted.
        """
        ordered = check_parts(parts, expected_rows)
        publish = self.work / "publish"
        size = sum(len(content) for content in report_files.values())
        with storage_errors("put the run together", publish, needed=size):
            gather_parts(self.stage, publish, ordered)
            reports = write_reports(publish, report_files)
            manifest = Manifest(
                self.run_id,
                tuple(ordered),
                tuple(reports),
                fingerprint,
                dict(versions),
                tuple(warnings),
            )
            manifest.write(publish)
            sync_folder(publish)
            pointers = self._prepare_pointers(manifest)
        self._publish(publish, pointers)
        self._prune()
        for folder in self._area.runs():
            self._area.discard(folder)
        return CommittedRun(self.root / RUNS / self.run_id, manifest)

    def _finish_cut_commits(self) -> None:
        """Point `latest` to a whole run whose commit was cut before the pointer was swapped."""
        pointed = self._pointed_to()
        for folder in self._dead_runs():
            run = self.root / RUNS / folder.name
            if not run.is_dir():
                continue
            if pointed is None or folder.name > pointed:
                pointed = self._finish_commit(run) or pointed
            self._area.discard(folder)
        self._repair_latest_json(pointed)

    def _finish_commit(self, run: Path) -> str | None:
        try:
            whole = CommittedRun.load(run)
            problems = [str(problem) for problem in whole.verify()]
        except StorageError as error:
            problems = [str(error)]
        if problems:
            self.notes.append(f"run {run.name} was cut short and is damaged: {problems[0]}")
            self._area.discard(run)
            return None
        link = self._area.new_name()
        link.symlink_to(f"{RUNS}/{run.name}")
        rename_durably(link, self.root / LATEST)
        self.notes.append(f"the commit of run {run.name}, which was cut short, was finished")
        return run.name

    def _repair_latest_json(self, run_id: str | None) -> None:
        if run_id is None or not (self.root / RUNS / run_id / MANIFEST_NAME).is_file():
            return
        path = self.root / LATEST_JSON
        try:
            content = _pointer_json(Manifest.read(self.root / RUNS / run_id))
        except StorageError as error:
            self.notes.append(f"the latest run {run_id} cannot be used: {error}")
            return
        if not path.is_file() or path.read_bytes() != content:
            replace_file(path, content)

    def _prepare_pointers(self, manifest: Manifest) -> tuple[Path, Path]:
        """Write both pointers under other names: after this, publishing needs no disk space."""
        link, text = self.work / "latest.new", self.work / "latest.json.new"
        link.symlink_to(f"{RUNS}/{self.run_id}")
        write_new(text, _pointer_json(manifest))
        return link, text

    def _publish(self, publish: Path, pointers: tuple[Path, Path]) -> None:
        link, text = pointers
        run = self.root / RUNS / self.run_id
        self._committing = True
        try:
            rename_durably(publish, run)
            rename_durably(link, self.root / LATEST)
            rename_durably(text, self.root / LATEST_JSON)
        except OSError as error:
            raise self._publishing_failed(error, publish, run) from error

    def _publishing_failed(self, error: OSError, publish: Path, run: Path) -> SslDaskError:
        """Take the run back if the pointer was certainly not swapped; return the error to raise."""
        try:
            untouched = self._pointed_to() != self.run_id
            if untouched and run.exists():
                os.rename(run, publish)
                sync_folder(run.parent)
        except OSError:
            untouched = False
        if untouched:
            self._committing = False
            return as_storage_error(error, "publish the run", self.root)
        return CommitUnknownError(
            f"the run is complete, but whether 'latest' points to it for good is not known:"
            f" {error.strerror or error}",
            file=str(run),
            hint="nothing was deleted; see where 'latest' points. The next run finishes the commit",
        )

    def _prune(self) -> None:
        finished = sorted(path for path in (self.root / RUNS).iterdir() if is_run(path))
        others = [path for path in finished if path.name != self.run_id]
        for path in others[: max(len(others) - (self._keep_runs - 1), 0)]:
            self._area.discard(path)

    def _dead_runs(self) -> list[Path]:
        """Return the working folders of other runs, newest first (all ended: the lock is ours)."""
        return [path for path in self._area.runs() if path.name != self.run_id]

    def _pointed_to(self) -> str | None:
        """Return the run that `latest` names, None if there is no `latest`."""
        try:
            target = Path(os.readlink(self.root / LATEST))
        except FileNotFoundError:
            return None
        if target.parent != Path(RUNS) or not RUN_ID.fullmatch(target.name):
            self.notes.append(f"'latest' pointed to {target}, which is no run of this output")
            return None
        return target.name


def _pointer_json(manifest: Manifest) -> bytes:
    return to_json(
        {
            "run_id": manifest.run_id,
            "path": f"{RUNS}/{manifest.run_id}",
            "fingerprint": manifest.fingerprint.total,
        }
    )
