"""Keeping the models of a run beside its labels."""

from __future__ import annotations

from collections.abc import Sequence

from dask import delayed

from ssl_dask.decision.calibration import Calibration
from ssl_dask.durable_files import seal
from ssl_dask.evaluation.block_scores import BlockScore
from ssl_dask.pipeline.inputs.run_context import RunContext
from ssl_dask.pipeline.models.drift import AnswerCounts
from ssl_dask.pipeline.models.model_types import own_types
from ssl_dask.pipeline.models.stored_models import ModelsDescription, description_name
from ssl_dask.self_labeled.loop.round_answer import SelfLabeled
from ssl_dask.storage.input.table_reader import types_to_text
from ssl_dask.storage.result.result_schema import label_output_type
from ssl_dask.storage.runs.manifest import PartRecord
from ssl_dask.storage.runs.model_files import ModelFile, write_file, write_model


def store_models(
    run: RunContext, found: SelfLabeled, calibration: Calibration, score: BlockScore
) -> tuple[list[PartRecord], tuple[str, ...]]:
    """Write the models of the kept round, and what they need to label other rows.

    Workers write the models that they hold, one file each. Costs a task a learner, which holds its
    model three times.

    Parameters
    ----------
    run, found, calibration
        The run, what labelled its rows, and what makes chances of being right of it.
    score
        Counts of what it said, which new rows are compared with.

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
    output = run.output
    stage, run_id, trusted = output.stage, output.run_id, run.trust_modules
    write = delayed(write_model, pure=False)
    tasks = [
        write(stage, run_id, number, f"learner-{number:03d}", model, own_types(), trusted)
        for number, model in enumerate(found.models)
    ]
    written: list[ModelFile | str] = run.execution.compute(tasks, "models")
    transforms = {name: view.state for name, view in run.views.items()}
    profiles = {name: view.profile for name, view in run.views.items()}
    answers = {"method": found.method, "transforms": transforms, "profiles": profiles}
    written.append(write_model(stage, run_id, len(tasks), "answers", answers, own_types(), trusted))
    files = [one for one in written if isinstance(one, ModelFile)]
    refused = [one for one in written if isinstance(one, str)]
    if refused:
        return [], (
            f"The models were not kept, so they cannot label other rows: of {len(written)} files"
            f" {len(refused)} could not be written, since {refused[0]}.",
        )
    about = _description(run, calibration, score, files)
    content = seal(about.model_dump(mode="json"))
    described = write_file(stage, run_id, len(files), description_name(run_id), content)
    return [*(one.record for one in files), described], ()


def _description(
    run: RunContext, calibration: Calibration, score: BlockScore, files: Sequence[ModelFile]
) -> ModelsDescription:
    """Return what stands beside the files, the last of which joins the others."""
    spec, dataset = run.spec, run.inputs.dataset
    *learners, joining = files
    columns = [name for group in spec.features.values() for name in group.columns()]
    label = spec.input.label
    return ModelsDescription(
        job=spec,
        classes=tuple(run.data.labels.classes.tolist()),
        label_type=None
        if label is None
        else str(label_output_type(dataset.schema.field(label).type)),
        column_types=types_to_text(dataset, list(dict.fromkeys(columns))),
        offsets=dict(run.data.reader.offsets),
        calibration=calibration,
        answered=AnswerCounts(
            labels=tuple(score.labels.tolist()),
            seeds=tuple(run.data.labels.class_counts().tolist()),
            abstained=score.n_abstained,
        ),
        answers=joining.record.name,
        learners=tuple(one.record.name for one in learners),
        types=tuple(sorted({name for one in files for name in one.types})),
    )
