"""Self-training: a classifier labels the rows that it is sure of, and learns from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import AfterValidator, Field, model_validator

from ssl_dask.labels import Labels
from ssl_dask.method import MethodInputs
from ssl_dask.run_control import RunControl
from ssl_dask.self_labeled.learners.learners import LEARNER_TYPES, LearnerSpec, learner_of
from ssl_dask.self_labeled.loop.round_answer import SelfLabeled
from ssl_dask.self_labeled.loop.round_cost import RoundsMethod
from ssl_dask.self_labeled.loop.round_spec import RoundSpec
from ssl_dask.self_labeled.loop.rounds import RoundLimits, run_rounds
from ssl_dask.self_labeled.selection.self_training_rounds import SelfTraining
from ssl_dask.spec_model import checked_shares

NOT_CALIBRATED = (
    "Confidences are not calibrated, because no seed could be hidden: label two rows or more of"
    " each class, or take calibrate: false."
)


class SelfTrainingSpec(RoundSpec):
    """Self-training (Yarowsky 1995): a classifier learns from what it is sure of."""

    fits_in_pieces = True

    name: Literal["self_training"] = "self_training"
    learner: LearnerSpec = LearnerSpec()
    """The classifier."""
    criterion: Literal["threshold", "adaptive", "k_best"] = "threshold"
    """threshold: rows above it are labelled; adaptive: above a threshold for each class that rises
    with what the model is sure of (FreeMatch); k_best: the most confident, so many more a round."""
    threshold: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.75
    """Confidence above which a row is labelled."""
    k_best: Annotated[int, Field(ge=1)] = 10
    """Rows that a round adds."""
    rescore: bool = True
    """Whether labels are given anew in every round, and may be taken back; false: once given, they
    stay, as in scikit-learn."""
    weight: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    """Most that a pseudo-label weighs beside a seed's 1."""
    mass: Annotated[float, Field(gt=0.0)] | None = 4.0
    """Most that all pseudo-labels weigh together, in multiples of the seeds: they are many, and
    would drown the seeds; null: no limit."""
    class_shares: Annotated[
        Literal["none", "baseline", "seeds"] | dict[bool | int | str, float],
        AfterValidator(checked_shares),
    ] = "baseline"
    """How the mass is shared out, and how many rows a class may have at most: as the model of the
    seeds alone sees the classes, as the seeds, as given (a number for each class, 1 in
    all), or none: as they come. With k_best rows come as they come."""
    calibrate: bool = False
    """Whether confidences are made as sure as they are right, on hidden seeds; told where there are
    none."""
    max_iter: Annotated[int, Field(ge=1)] | None = 10
    """Most rounds; null: no limit."""
    patience: Annotated[int, Field(ge=1)] | None = 3
    """Rounds without a lower loss on hidden seeds after which the rounds end, and the answer is
    that of the best, or of the seeds alone; null: the last round answers."""
    random_state: Annotated[int, Field(ge=0)] = 0
    """Of learners that are random, and of the rows that a fit takes where they are too many."""

    @model_validator(mode="after")
    def _keys_of_the_criterion(self) -> SelfTrainingSpec:
        """Refuse a number that the criterion does not look at: nothing is ignored."""
        default = type(self).model_fields
        for key in ("threshold", "k_best"):
            if self.criterion != key and getattr(self, key) != default[key].default:
                raise ValueError(
                    f"{key} is for criterion: {key}, and criterion is {self.criterion}: leave {key}"
                    " out, or change criterion"
                )
        if self.criterion == "k_best" and self.class_shares not in ("none", "baseline"):
            raise ValueError(
                "class_shares: k_best takes the surest rows of any class; take criterion threshold"
                " or adaptive for shares, or leave class_shares out"
            )
        return self


def self_training(inputs: MethodInputs, spec: SelfTrainingSpec, control: RunControl) -> SelfLabeled:
    """Run self-training over the rows of a single view.

    Raises
    ------
    ValueError
        `class_shares` names other classes than the seeds'.
    QualityError
        The learner cannot be fitted on the labels there are.

    Notes
    -----
    With rescore false, mass None, class_shares "none" and patience None it labels the same rows in
    the same rounds as scikit-learn's SelfTrainingClassifier.

    References
    ----------
    D. Yarowsky: Unsupervised word sense disambiguation rivaling supervised methods, ACL 1995.
    Y. Wang et al.: FreeMatch: Self-adaptive Thresholding for Semi-supervised Learning, ICLR 2023,
    eq. 5 to 8 (adaptive). C. Wei et al.: CReST: A Class-Rebalancing Self-Training Framework for
    Imbalanced Semi-Supervised Learning, CVPR 2021 (shares of the classes).
    """
    method = SelfTraining(
        learner_of(spec.learner, inputs.trusted, in_pieces=True),
        inputs.labels.n_classes,
        _given_shares(spec.class_shares, inputs.labels),
        criterion=spec.criterion,
        threshold=spec.threshold,
        k_best=spec.k_best,
        rescores=spec.rescore,
        weight=spec.weight,
        mass=spec.mass,
        calibrate=spec.calibrate,
    )
    found = run_rounds(method, inputs, RoundLimits.of(spec), control)
    if not spec.calibrate or len(inputs.hidden):
        return found
    told = (NOT_CALIBRATED,)
    return replace(found, findings=told, warnings=(*told, *found.warnings))


def _given_shares(
    class_shares: str | Mapping[Any, float], labels: Labels
) -> tuple[float, ...] | str:
    if class_shares in ("none", "baseline"):
        return str(class_shares)
    if class_shares == "seeds":
        return tuple(labels.class_counts().astype(np.float64).tolist())
    assert not isinstance(class_shares, str)
    # 1 and True are equal in Python, and different classes to a reader.
    named = {(type(key), key): float(share) for key, share in class_shares.items()}
    wanted = [(type(value), value) for value in labels.classes.tolist()]
    if set(named) != set(wanted) or not all(0.0 < share <= 1.0 for share in named.values()):
        raise ValueError(
            f"class_shares gives {len(named)} shares; it must give one above 0 and up to 1 for each"
            f" of the {labels.n_classes} classes of the seeds, in their type"
        )
    return tuple(named[key] for key in wanted)


METHOD = RoundsMethod(
    spec=SelfTrainingSpec,
    run=self_training,
    rounds=SelfTraining,
    n_histograms=lambda spec, n_classes: n_classes,
    n_surveys=4,
    model_types=(SelfTraining, *LEARNER_TYPES),
)
