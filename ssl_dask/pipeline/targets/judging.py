"""Step 5: how good the labels are, on seeds that were hidden, beside a supervised baseline."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import dask.array as da
import numpy as np
import numpy.typing as npt

from ssl_dask.errors import QualityError
from ssl_dask.evaluation.baselines import SupervisedBaseline
from ssl_dask.evaluation.metrics import PairedComparison, Scores, compare_paired, score_predictions
from ssl_dask.features.dask_ml_adapter import predict_proba_blocks
from ssl_dask.hidden_seeds import HiddenSeeds
from ssl_dask.job_spec import JobSpec
from ssl_dask.kernels.distributions.label_distributions import predicted_codes
from ssl_dask.labels import Labels
from ssl_dask.propagation import METHODS
from ssl_dask.propagation.engine.class_shares import expected_rows, spec_shares
from ssl_dask.propagation.fallback.class_collapse import find_collapse


@dataclass(frozen=True)
class Judged:
    """What the hidden seeds say.

    Parameters
    ----------
    hidden
        Scores of the method; None if no seed could be hidden.
    baseline
        Logistic regression on the same seeds and folds; None if the job does not want it or it is
        the method itself.
    baseline_hidden
        Scores of the baseline on the same hidden seeds.
    comparison
        Method against baseline, seed by seed.
    """

    hidden: Scores | None
    baseline: SupervisedBaseline | None
    baseline_hidden: Scores | None
    comparison: PairedComparison | None

    def score_rows(self, X: da.Array) -> da.Array:
        """Return the baseline's class distributions of all rows, a lazy Dask array (N, C)."""
        assert self.baseline is not None
        return predict_proba_blocks(self.baseline.model, X)


def judge(
    spec: JobSpec,
    labels: Labels,
    folds: HiddenSeeds,
    hidden_F: npt.NDArray[np.float32],
    X_seeds: Any,
) -> Judged:
    """Score the method, and the baseline, on the seeds that were hidden from them.

    Parameters
    ----------
    labels, folds
        The seeds, and which were hidden together.
    hidden_F
        float32 (S, C): the seeds' rows of F while they were hidden.
    X_seeds
        (S, d): their features.
    """
    names = class_names(labels)
    was_hidden = folds.fold >= 0
    truth = labels.codes[was_hidden]
    given = predicted_codes(hidden_F[was_hidden])
    confidence = spec.evaluation.confidence
    hidden = score_predictions(truth, given, names, confidence) if len(truth) else None
    if not spec.evaluation.baseline or spec.method.name == "supervised":
        return Judged(hidden, None, None, None)
    baseline = SupervisedBaseline.fit(X_seeds, labels.codes, folds, labels.n_classes)
    if hidden is None:
        return Judged(None, baseline, None, None)
    theirs = baseline.hidden_codes[was_hidden]
    return Judged(
        hidden,
        baseline,
        score_predictions(truth, theirs, names, confidence),
        compare_paired(truth, given, theirs, confidence),
    )


def warn_of_classes_gone(
    spec: JobSpec,
    labels: Labels,
    folds: HiddenSeeds,
    hidden_F: npt.NDArray[np.float32],
    class_rows: npt.NDArray[np.int64],
) -> tuple[str, ...]:
    """Return a warning where classes have got next to no row, and hidden seeds do not contradict.

    For methods that look at features: those on a graph are judged, and switched, before.

    Parameters
    ----------
    class_rows
        int64 (C,): rows that were decided, by class, seeds included.

    Raises
    ------
    QualityError
        The job says `on_collapse: error`.
    """
    if spec.method.name in METHODS:
        return ()
    others = class_rows - labels.class_counts()
    collapse = find_collapse(others, expected_rows(spec_shares(spec.method), labels))
    if collapse is None:
        return ()
    hidden = [folds.hidden(fold) for fold in range(folds.n_folds)]
    collapse = collapse.judged(labels, hidden, hidden_F)
    if collapse.contradicted:
        return ()
    if spec.decision.on_collapse == "error":
        raise QualityError(
            f"the classes have collapsed into few: {collapse.sentence()}",
            hint="label more rows of the classes that are gone, or take other features or another"
            " method; decision.on_collapse: warn writes the labels as they are",
        )
    return (f"{collapse.sentence()}.",)


def class_names(labels: Labels) -> list[str]:
    """Return the classes as text, in the order of their codes."""
    return [str(value) for value in labels.classes.tolist()]
