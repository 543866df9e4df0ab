"""Steps 3 and 4 of methods that label in rounds: no graph, models go to the rows."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import partial

import dask.array as da
import numpy as np

from ssl_dask.console import RunListener
from ssl_dask.execution import Execution
from ssl_dask.features.views import FeatureView, join, present_arrays
from ssl_dask.hidden_seeds import HiddenSeeds
from ssl_dask.job_spec import JobSpec
from ssl_dask.labels import Labels
from ssl_dask.method import MethodInputs
from ssl_dask.methods import METHODS
from ssl_dask.pipeline.infer.inference import Inferred, KeptModels
from ssl_dask.pipeline.infer.row_sample import RowPicks, pick
from ssl_dask.pipeline.infer.saved_state import load_state, save_state
from ssl_dask.report.picture import picture_rows
from ssl_dask.report.run_report import SelfLabeledSummary
from ssl_dask.run_control import RunControl
from ssl_dask.storage.runs.checkpoint import Checkpoints

CHECKPOINT = "rounds"
ONE_VIEW = "X"


def infer_self_labeled(
    spec: JobSpec,
    views: Mapping[str, FeatureView],
    labels: Labels,
    folds: HiddenSeeds,
    trust_modules: Sequence[str],
    execution: Execution,
    checkpoints: Checkpoints,
    listener: RunListener,
) -> tuple[Inferred, RowPicks]:
    """Run the rounds of the job's method, or go on with those of a killed run.

    Features are kept on the workers, each group on its own where the method wants views. Rows are
    scored by the kept models when they are written.

    Raises
    ------
    QualityError
        A learner cannot be fitted on the labels there are.
    ComputeError
        Workers were lost or ran out of memory.
    """
    method = METHODS[spec.method.name]
    held = {name: view.persist(execution, "describe") for name, view in views.items()}
    joined = join(held, spec.group_weights)
    if len(held) > 1 and not method.named_views:
        joined = joined.persist(execution, "describe")
    given, present = given_views(spec, held, joined)
    sampled = picture_rows(labels.n_rows, labels.rows, random_state=spec.evaluation.random_state)
    picks = pick(joined.X, labels, sampled, execution)
    listener.stage("self_labeled")
    began = time.perf_counter()
    hidden = [folds.hidden(fold) for fold in range(folds.n_folds)]
    inputs = MethodInputs(
        labels, hidden=hidden, views=given, present=present, trusted=trust_modules
    )
    control = RunControl(
        execution,
        listener.round,
        partial(save_state, CHECKPOINT, checkpoints, execution, listener),
        resume=load_state(CHECKPOINT, checkpoints, execution, listener),
    )
    found = method.run(inputs, spec.method, control)
    hidden_F = np.zeros((labels.n_seeds, labels.n_classes), dtype=np.float32)
    for mask, rows in zip(hidden, found.fold_F, strict=True):
        hidden_F[mask] = rows
    inferred = Inferred(
        F=found.F,
        has_seed=None,
        hidden_F=hidden_F,
        records=found.records,
        converged=True,
        stop_reason=found.reason,
        graph={},
        islands={},
        seconds={"rounds": time.perf_counter() - began},
        warnings=found.warnings,
        source=found.source,
        self_labeled=SelfLabeledSummary(
            kept_round=found.kept_round,
            baseline_accuracy=found.baseline_accuracy,
            baseline_loss=found.baseline_loss,
        ),
        kept_models=KeptModels(found.method, tuple(found.models)),
    )
    return inferred, picks.with_features(joined.X)


def given_views(
    spec: JobSpec, views: Mapping[str, FeatureView], joined: FeatureView
) -> tuple[dict[str, da.Array], dict[str, da.Array]]:
    """Return what the job's method is given of the features, and which rows have which of it.

    Parameters
    ----------
    views, joined
        The groups of features, and all of them side by side.
    """
    method = METHODS[spec.method.name]
    if not method.named_views:
        return {ONE_VIEW: joined.X}, {}
    present = present_arrays(views) if method.knows_present else {}
    return {name: view.X for name, view in views.items()}, present
