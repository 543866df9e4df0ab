"""The models of a finished run, which label other rows as the run would have done."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import dask.array as da
import numpy as np
import numpy.typing as npt
from dask import delayed
from dask.delayed import Delayed
from pydantic import Field, ValidationError

from ssl_dask.array_types import Float32, Int64
from ssl_dask.block_exchange import block_tasks
from ssl_dask.class_labels import decode_labels
from ssl_dask.cluster import versions
from ssl_dask.dask_arrays import array_of_blocks, row_handles
from ssl_dask.decision.calibration import Calibration
from ssl_dask.decision.labelling import Decided, DecisionRule, decide_block
from ssl_dask.durable_files import unseal
from ssl_dask.errors import Caution, InputDataError, JobSpecError
from ssl_dask.execution import Execution
from ssl_dask.features.block_reader import BlockReader
from ssl_dask.features.column_profiles import GroupCounts, GroupProfile
from ssl_dask.features.transform import Transform
from ssl_dask.features.unknown_categories import (
    judge_categories,
    look_at_categories,
    one_hot_groups,
)
from ssl_dask.features.views import FeatureView, join, views_of
from ssl_dask.job_spec import JobSpec
from ssl_dask.pipeline.infer.inference import method_views
from ssl_dask.pipeline.models.drift import AnswerCounts, Drift, judge_drift
from ssl_dask.pipeline.models.model_types import own_types
from ssl_dask.self_labeled.loop.round_method import RoundMethod
from ssl_dask.self_labeled.loop.track import score_rows
from ssl_dask.spec_model import SpecModel
from ssl_dask.storage.input.table_reader import TableReader, types_from_text
from ssl_dask.storage.labels.label_rules import ClassRule, kind_of_value
from ssl_dask.storage.runs.manifest import CommittedRun
from ssl_dask.storage.runs.model_files import is_within, model_records, read_file, read_model


class ModelsDescription(SpecModel):
    """What stands beside stored models: all that is no array."""

    format_version: Literal[2] = 2
    job: JobSpec
    """The resolved job: method, features, decision and output are what models need of it."""
    classes: tuple[bool | int | str, ...]
    """In the order of their codes."""
    label_type: str | None
    """Type of the labels in the input; null: the plain type of the classes."""
    column_types: str
    """Arrow types of the feature columns in the input, as text."""
    offsets: Mapping[str, int] = Field(default_factory=dict)
    """What was subtracted from feature columns of integers that float64 does not hold."""
    calibration: Calibration
    answered: AnswerCounts | None = None
    """What the run said; None in models that were kept without it."""
    answers: str
    """Name of the file of the method, of the fitted features and of what their columns held."""
    learners: tuple[str, ...]
    """Names of the files of the fitted learners."""
    types: tuple[str, ...]
    """Types in these files that are of modules which the run was told to trust."""


NO_PROFILE = (
    "The models were kept without a profile of the run's rows, which new rows could be compared"
    " with; run the job again for that.",
)


def description_name(run_id: str) -> str:
    """Return the name of the file with the `ModelsDescription` of a run."""
    return f"models-{run_id}.json"


@dataclass(frozen=True)
class StoredModels:
    """The models of a finished run; build it with `load_models`.

    What is said of the run's own rows is what the run said of them, bit for bit, if they are given
    in its order from the first on. (Some models score rows in batches, and round by a row's place
    in its batch; the others go by the row alone.)
    """

    run: CommittedRun
    job: JobSpec
    """The job, resolved."""
    classes_: npt.NDArray[Any]
    """Array (C,) of the classes."""
    method: RoundMethod = field(repr=False)
    models: tuple[Any, ...] = field(repr=False)
    """The fitted learners, and what joins them."""
    transforms: Mapping[str, Transform] = field(repr=False)
    """Fitted features by the name of their group."""
    calibration: Calibration = field(repr=False)
    """Makes chances of being right from class distributions."""
    label_type: str | None
    column_types: Any = field(repr=False)
    """Types of the labels and of the feature columns in the run's input."""
    offsets: Mapping[str, int] = field(default_factory=dict)
    """What is subtracted from columns as they are read."""
    profiles: Mapping[str, GroupProfile] = field(default_factory=dict, repr=False)
    """What the run's columns held, by the name of their group."""
    answered: AnswerCounts | None = field(default=None, repr=False)
    """What the run said; None in models that were kept without it."""
    notes: tuple[str, ...] = ()
    """What a person should know of them, a sentence each."""

    @property
    def digests(self) -> dict[str, str]:
        """SHA-256 of each stored file by its name."""
        return {name: one.sha256 for name, one in model_records(self.run).items()}

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns that features are made of."""
        names = (name for group in self.job.features.values() for name in group.columns())
        return tuple(dict.fromkeys(names))

    def look_at_categories(
        self, reader: BlockReader, execution: Execution
    ) -> tuple[list[Caution], list[Delayed]]:
        """Look for categories that the models do not know.

        Parameters
        ----------
        reader, execution
            As for `views` and `distributions`.

        Returns
        -------
        (sentences, blank)
            What is to be said; for each block, on the workers, bool (n_i,): the rows of which
            nothing is known but unknown categories. Nothing where no categories were fitted.

        Raises
        ------
        InputDataError
            No row has a category that is known.

        Notes
        -----
        Reads the categorical columns once. Hashed categories are all taken as known.
        """
        if not one_hot_groups(self.transforms):
            return [], []
        look = delayed(look_at_categories, pure=False, nout=2)
        shared = delayed(reader, pure=False, traverse=False)
        groups = delayed(dict(self.job.features), pure=False, traverse=False)
        fitted = delayed(dict(self.transforms), pure=False, traverse=False)
        found = [look(shared, groups, fitted, block) for block in range(len(reader.row_counts))]
        kept = execution.persist([part for pair in found for part in pair], "categories")
        return judge_categories(execution.compute(kept[::2], "categories")), kept[1::2]

    def views(self, reader: BlockReader) -> dict[str, FeatureView]:
        """Return the features of the rows of a reader, lazily, by the name of their group.

        Parameters
        ----------
        reader
            Gives `columns` in the types that they had in the run's input.
        """
        return views_of(reader, self.job.features, self.transforms, self.profiles)

    def distributions(
        self,
        views: Mapping[str, FeatureView],
        execution: Execution,
        blank: Sequence[Delayed] = (),
    ) -> da.Array:
        """Return the class distributions of new rows, lazily.

        Parameters
        ----------
        views
            Of `views`.
        execution
            Where rows will be scored; the models are sent there.
        blank
            Of `look_at_categories`: rows that get no class.

        Returns
        -------
        dask.array.Array
            float32 (n, C) in the blocks of the views: rows sum to 1, or to 0 where nothing is
            known of a row. Costs a task a block for each group of features, and one more.
        """
        joined = join(views, self.job.group_weights)
        given, present = method_views(self.job, views, joined)
        (answering,) = execution.place([(self.method, list(self.models))], lasting=True)
        F = score_rows(answering, given, present, len(self.classes_))
        if not blank:
            return F
        parts = block_tasks(_without, [row_handles(F), blank])
        return array_of_blocks(parts, F.chunks[0], (F.shape[1],), np.float32)

    def drift(
        self, counts: Mapping[str, GroupCounts], labels: Int64, n_abstained: int
    ) -> Drift | None:
        """Compare new rows with the run's; None for models that were kept without a profile.

        Parameters are those of `judge_drift`; counts are sums of those of `views`.

        Raises
        ------
        QualityError
            They differ, and the job says `on_drift: error`.
        """
        if self.answered is None:
            return None
        names = [str(value) for value in self.classes_.tolist()]
        found = judge_drift(self.profiles, counts, self.answered, labels, n_abstained, names)
        if self.job.decision.on_drift == "error":
            found.refuse()
        return found

    def label_distributions(self, columns: Any) -> Float32:
        """Return what the models say of rows in memory, float32 (n, C), before calibration.

        Parameters
        ----------
        columns
            Mapping of column names to arrays, Arrow table, or pandas frame, with the feature
            columns of the job; others are not looked at.

        Raises
        ------
        InputDataError
            A column is missing, of a type that does not serve, or holds what the job's features do
            not allow; no row has a category that is known.
        QualityError
            The rows differ from the run's, and the job says `on_drift: error`.

        Warns
        -----
        UserWarning
            Categories are unknown, integers too far from those of the run, or the rows differ from
            the run's.

        Notes
        -----
        Runs in this process and holds the features of all rows: label many with
        `ssl-dask predict`.
        """
        reader = TableReader.of(columns, self.columns, self.column_types, self.offsets)
        if reader.row_counts == (0,):
            return np.zeros((0, len(self.classes_)), dtype=np.float32)
        execution = Execution()
        said, blank = self.look_at_categories(reader, execution)
        said += reader.far_values()
        views = self.views(reader)
        F = self.distributions(views, execution, blank)
        counts = [one for view in views.values() for one in view.counts]
        found, *counted = execution.compute([*row_handles(F), *counts], "scores")
        labels = self._decided(found).label
        given = np.bincount(labels[labels >= 0], minlength=len(self.classes_))
        by_group = dict(zip(self.profiles, counted, strict=True))
        drift = self.drift(by_group, given, int((labels < 0).sum()))
        said += [] if drift is None else drift.warnings
        if said:
            warnings.warn(" ".join(said), UserWarning, stacklevel=2)
        return found

    def predict_proba(self, columns: Any) -> Float32:
        """Return the calibrated chance of each class, float32 (n, C), columns as `classes_`.

        Zeros where nothing is known of a row. Parameters, errors and costs as
        `label_distributions`.
        """
        return self.calibration.apply(self.label_distributions(columns))

    def predict(self, columns: Any) -> npt.NDArray[Any]:
        """Return the label of each row (n,) by the job's decision; -1 or None where it is refused.

        Parameters, errors and costs as `label_distributions`.
        """
        decided = self._decided(self.label_distributions(columns))
        return decode_labels(decided.label, self.classes_)

    def _decided(self, F: Float32) -> Decided:
        nowhere, none = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int32)
        rule = DecisionRule(self.calibration, self.job.decision, source="model")
        return decide_block(F, nowhere, none, None, rule)


def _without(F: npt.NDArray[np.float32], blank: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
    return np.where(blank[:, None], np.float32(0), F)


def load_models(run_folder: str | Path, trusted: Collection[str] = ()) -> StoredModels:
    """Load the models that a run of a job with `output.models: true` has kept.

    Parameters
    ----------
    run_folder
        Folder of the run, or the output folder for its latest run.
    trusted
        Modules whose classes may be loaded, for learners that the job names by their path:
        importing them runs their code.

    Returns
    -------
    StoredModels

    Raises
    ------
    StorageError
        There is no finished run.
    InputDataError
        It kept no models, or a file is missing, changed, or no stored model.
    JobSpecError
        The models hold types that are not trusted.

    Warns
    -----
    UserWarning
        The models were made with other versions of the libraries.

    Notes
    -----
    Each file is compared with its hash in the manifest, and its types with a list of names, before
    anything is made of it. Who can write both files and manifest passes the first check, but can
    make objects of the listed types alone.
    """
    models = read_models(CommittedRun.load(run_folder), trusted)
    for note in models.notes:
        warnings.warn(note, UserWarning, stacklevel=2)
    return models


def read_models(run: CommittedRun, trusted: Collection[str]) -> StoredModels:
    """Return the models of a run, as `load_models` does; what that warns of is in `notes`."""
    records = model_records(run)
    name = description_name(run.run_id)
    if name not in records:
        raise InputDataError(
            "the run has kept no models",
            file=str(run.path),
            hint="run the job with output.models: true",
        )
    about = _description(read_file(run, records[name]), str(run.path / "models" / name))
    not_trusted = [one for one in about.types if not is_within(one, trusted)]
    if not_trusted:
        raise JobSpecError(
            f"the models hold classes of modules that are not trusted: {', '.join(not_trusted)}",
            file=str(run.path),
            hint=f"--trust-module {not_trusted[0].partition('.')[0]}, if you know what importing it"
            " runs",
        )
    missing = [one for one in (about.answers, *about.learners) if one not in records]
    if missing:
        raise InputDataError(
            f"the manifest has no file {missing[0]}", file=str(run.path), hint="run the job again"
        )
    types = own_types().union(about.types)
    answers = read_model(run, records[about.answers], types)
    models = [read_model(run, records[one], types) for one in about.learners]
    return StoredModels(
        run=run,
        job=about.job,
        classes_=ClassRule(about.classes).values((), kind_of_value(about.classes[0]) or "string"),
        method=answers["method"],
        models=tuple(models),
        transforms=answers["transforms"],
        calibration=about.calibration,
        label_type=about.label_type,
        column_types=types_from_text(about.column_types),
        offsets=about.offsets,
        profiles=answers.get("profiles", {}),
        answered=about.answered,
        notes=_other_versions(run) + (NO_PROFILE if about.answered is None else ()),
    )


def _other_versions(run: CommittedRun) -> tuple[str, ...]:
    now, then = versions(), run.manifest.versions
    differing = [
        f"{name} {then[name]} (now {now[name]})"
        for name in now
        if then.get(name, now[name]) != now[name]
    ]
    if not differing:
        return ()
    return (
        f"The models were made with {', '.join(differing)}: what they say may differ from what the"
        " run said.",
    )


def _description(content: bytes, shown: str) -> ModelsDescription:
    try:
        found = unseal(content)
        if found.get("format_version") == 1:
            raise InputDataError(
                "the models were written by an older version of ssl_dask",
                file=shown,
                hint="run the job again",
            )
        return ModelsDescription.model_validate(found)
    except (ValueError, ValidationError) as error:
        raise InputDataError(
            "the description of the models is not one of this version of ssl_dask",
            file=shown,
            hint="use the version in the run's manifest, or run the job again",
        ) from error
