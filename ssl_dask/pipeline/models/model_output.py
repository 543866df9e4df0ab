"""Keeping the models of a run beside its labels."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from dask import delayed

from ssl_dask.decision.calibration import Calibration
from ssl_dask.durable_files import seal
from ssl_dask.errors import JobSpecError, QualityError
from ssl_dask.job_spec import JobSpec
from ssl_dask.pipeline.infer.inference import KeptModels
from ssl_dask.pipeline.inputs.run_context import RunContext
from ssl_dask.pipeline.models.stored_models import OWN_TYPES, ModelsDescription, description_name
from ssl_dask.self_labeled.learners.known_learners import LEARNERS
from ssl_dask.self_labeled.learners.learner import Learner
from ssl_dask.self_labeled.learners.learner_spec import learners_of
from ssl_dask.self_labeled.loop.round_method import Piece
from ssl_dask.storage.input.table_reader import types_to_text
from ssl_dask.storage.runs.manifest import PartRecord
from ssl_dask.storage.runs.model_files import (
    ModelFile,
    NotStorableError,
    model_bytes,
    write_file,
    write_model,
)

TRIAL_ROWS = 24


def check_models(spec: JobSpec, trusted: Collection[str]) -> None:
    """Find out before the work whether models can be stored, where the job asks for that.

    Those of the registry can, as they come. A learner with parameters, or of another package, is
    fitted on a few made rows, and the model stored; where it cannot be fitted on these, nothing is
    known, and the run says at its end what became of the models.

    Raises
    ------
    JobSpecError
        A learner's models cannot be stored.
    """
    if not spec.output.models:
        return
    for learner in learners_of(spec.method, trusted):
        known = LEARNERS.get(learner.name)
        if known is not None and learner.parameters == known.defaults:
            continue
        try:
            _try_to_store(learner, trusted)
        except NotStorableError as error:
            raise JobSpecError(
                f"output.models: a model of {learner.name} cannot be stored: {error}",
                hint="leave output.models out, or take another learner",
            ) from None


def _try_to_store(learner: Learner, trusted: Collection[str]) -> None:
    rng = np.random.default_rng(0)
    codes = (np.arange(TRIAL_ROWS) % 2).astype(np.int32)
    X = (rng.random((TRIAL_ROWS, 3)) + codes[:, None]).astype(np.float32)
    ones, seeds = np.ones(TRIAL_ROWS, dtype=np.float32), np.ones(TRIAL_ROWS, dtype=np.bool_)
    piece = Piece(np.arange(TRIAL_ROWS), X, codes, ones, seeds)
    try:
        fitted = learner.fit([piece], 2, (0, 0, 0, 0))
    except QualityError:
        return
    model_bytes(fitted, OWN_TYPES, trusted)


def store_models(
    context: RunContext, kept: KeptModels, calibration: Calibration
) -> tuple[list[PartRecord], tuple[str, ...]]:
    """Write the models of the kept round, and what they need to label other rows.

    Workers write the models that they hold, one file each. Costs a task a learner, which holds its
    model three times.

    Returns
    -------
    (parts, warnings)
        What was written; nothing where a model cannot be stored, which the warning says: the
        labels are good without it.

    Raises
    ------
    StorageError
        Disk full or no permission.
    """
    spec, dataset, output = context.spec, context.inputs.dataset, context.output
    stage, run_id, trusted = output.stage, output.run_id, context.trust_modules
    write = delayed(write_model, pure=False)
    tasks = [
        write(stage, run_id, number, f"learner-{number:03d}", model, OWN_TYPES, trusted)
        for number, model in enumerate(kept.models)
    ]
    found: list[ModelFile | str] = context.execution.compute(tasks, "models")
    transforms = {name: view.state for name, view in context.views.items()}
    answers = {"method": kept.method, "transforms": transforms}
    found.append(write_model(stage, run_id, len(tasks), "answers", answers, OWN_TYPES, trusted))
    files = [one for one in found if isinstance(one, ModelFile)]
    refused = [one for one in found if isinstance(one, str)]
    if refused:
        return [], (
            f"The models were not kept, so they cannot label other rows: of {len(found)} files"
            f" {len(refused)} could not be written, since {refused[0]}.",
        )
    *learners, joining = files
    columns = [name for group in spec.features.values() for name in group.columns()]
    label = spec.input.label
    about = ModelsDescription(
        job=spec,
        classes=tuple(context.data.labels.classes.tolist()),
        label_type=None if label is None else dataset.columns[label],
        column_types=types_to_text(dataset, list(dict.fromkeys(columns))),
        calibration=calibration,
        answers=joining.record.name,
        learners=tuple(one.record.name for one in learners),
        types=tuple(sorted({name for one in files for name in one.types})),
    )
    content = seal(about.model_dump(mode="json"))
    name = description_name(run_id)
    described = write_file(stage, run_id, len(files), name, content)
    return [*(one.record for one in files), described], ()
