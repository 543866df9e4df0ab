"""The classifiers that rounds may fit: which, with which parameters, and how they are fitted.

A learner is one of `known_learners`, or named by the dotted path of its class where the user has
said that its module is trusted: a path is code that runs.
"""

from __future__ import annotations

import inspect
from collections.abc import Collection, Mapping
from typing import Annotated, Any

from pydantic import Field, model_validator
from sklearn.base import ClassifierMixin
from sklearn.linear_model import LogisticRegression

from ssl_dask.errors import JobSpecError, did_you_mean
from ssl_dask.kernels.learners.supervised_model import SupervisedModel
from ssl_dask.self_labeled.learners.known_learners import LEARNERS, KnownLearner, class_at
from ssl_dask.self_labeled.learners.learner import Learner, passes_over
from ssl_dask.spec_model import SpecModel

NOT_IN_PIECES: Mapping[str, Any] = {"class_weight": "balanced", "early_stopping": True}
"""Parameters that look at all rows at once, with the value that does."""


class LearnerSpec(SpecModel):
    """A classifier that is fitted again in every round."""

    name: Annotated[
        str,
        Field(
            description="One of "
            + ", ".join(LEARNERS)
            + "; or the dotted path of a class whose module is trusted (--trust-module)."
        ),
    ] = "logistic_regression"
    parameters: dict[str, Any] = Field(default_factory=dict)
    """Parameters of its class, as scikit-learn spells them."""
    partial_fit: bool = False
    """Whether more labelled rows than `max_fit_rows` are all learned from, piece by piece, instead
    of so many of them: by sgd, multinomial_nb, gaussian_nb, mlp, or a class that has partial_fit.
    In self_training and co_training. For many seeds: with few, pseudo-labels are light, and more of
    them say little."""
    passes: Annotated[int, Field(ge=1)] | None = None
    """How often it goes over all pieces. null: sgd and mlp as often as shows them a million rows,
    at most 20 times; other classes once."""

    def passes_over(self, n_rows: int) -> int:
        """Return how often it goes over so many rows in pieces."""
        return passes_over(self.name, self.passes, n_rows)

    @model_validator(mode="after")
    def _known(self) -> LearnerSpec:
        if self.passes is not None and not self.partial_fit:
            raise ValueError("passes: goes with partial_fit: true")
        if "." in self.name:
            return self
        if self.name not in LEARNERS:
            hint = did_you_mean(self.name, LEARNERS, f"learners: {', '.join(LEARNERS)}")
            raise ValueError(f"{self.name!r} is not one of the learners ({hint})")
        known = LEARNERS[self.name]
        kind = class_at(known.path)
        _check_parameters(self.name, kind, self.parameters, known.hidden)
        parameters = {**known.defaults, **self.parameters}
        _check_values(LogisticRegression if kind is SupervisedModel else kind, parameters)
        # A machine's probabilities come from its calibration.
        if self.name != "svm" and not hasattr(_made(kind, parameters), "predict_proba"):
            raise ValueError(f"{self.name} gives no probabilities with these parameters")
        if self.partial_fit:
            _check_pieces(self.name, _made(kind, parameters))
            if (self.passes or 1) > 1 and not known.descends:
                raise ValueError(f"passes: {self.name} adds up what it sees, and needs one pass")
        return self


def learner_of(
    spec: LearnerSpec | Learner, trusted: Collection[str] = (), *, in_pieces: bool = False
) -> Learner:
    """Return the learner that a spec describes.

    Parameters
    ----------
    spec
        A `Learner` is returned as it is.
    trusted
        Modules whose classes may be named by their path; what lies in a package is trusted with it.
    in_pieces
        Whether the method can fit it piece by piece.

    Raises
    ------
    JobSpecError
        The module of a dotted path is not trusted or cannot be imported, the class is no
        classifier with probabilities, a parameter is not one of its constructor's, or it is to be
        fitted in pieces and cannot be.
    """
    if isinstance(spec, Learner):
        return spec
    if spec.partial_fit and not in_pieces:
        raise JobSpecError(
            f"method.learner.partial_fit: {spec.name} would be fitted in pieces, and the method"
            " looks at all rows of a fit at once",
            hint="self_training and co_training fit in pieces; else leave partial_fit out, and"
            " max_fit_rows of the rows are learned from",
        )
    if "." in spec.name:
        _check_trusted_learner(spec, trusted)
        known = KnownLearner(spec.name)
    else:
        known = LEARNERS[spec.name]
    return Learner(
        known.path,
        {**known.defaults, **spec.parameters},
        known.scoring,
        spec.name,
        partial_fit=spec.partial_fit,
        passes=spec.passes,
    )


def _check_trusted_learner(spec: LearnerSpec, trusted: Collection[str]) -> None:
    """Raise JobSpecError unless the class at a dotted path can be used as the spec asks."""
    found = _trusted_class(spec.name, trusted)
    try:
        _check_parameters(spec.name, found, spec.parameters, ())
        _check_values(found, spec.parameters)
    except ValueError as error:
        raise JobSpecError(
            f"method.learner.parameters: {error}", hint="see the parameters of that class"
        ) from None
    model = found(**spec.parameters)
    if not hasattr(model, "predict_proba"):
        raise JobSpecError(
            f"method.learner.name: {spec.name!r} has no predict_proba",
            hint="take a learner that gives probabilities",
        )
    if spec.partial_fit:
        try:
            _check_pieces(spec.name, model)
        except ValueError as error:
            raise JobSpecError(
                f"method.learner.partial_fit: {error}", hint="leave partial_fit out"
            ) from None


def _trusted_class(name: str, trusted: Collection[str]) -> Any:
    """Return the classifier at a dotted path whose module is trusted."""
    if not any(name.startswith(f"{module}.") for module in trusted):
        module = name.partition(".")[0]
        raise JobSpecError(
            f"method.learner.name: the module of {name!r} is not trusted",
            hint=f"--trust-module {module}, if you know what importing it runs",
        )
    try:
        found = class_at(name)
    except (ImportError, AttributeError) as error:
        raise JobSpecError(
            f"method.learner.name: {name!r} cannot be imported ({type(error).__name__})",
            hint="give the path of a class that is installed here and on the workers",
        ) from None
    if not (inspect.isclass(found) and issubclass(found, ClassifierMixin)):
        raise JobSpecError(
            f"method.learner.name: {name!r} is no scikit-learn classifier",
            hint="give the path of a class such as sklearn.naive_bayes.GaussianNB",
        )
    return found


def learner_specs(method: SpecModel) -> list[LearnerSpec]:
    """Return the specs of all learners that a method names, in the order of its keys."""
    found = []
    for name in type(method).model_fields:
        value = getattr(method, name)
        inner = list(value.values()) if isinstance(value, Mapping) else value
        every = inner if isinstance(inner, list | tuple) else [inner]
        found += [one for one in every if isinstance(one, LearnerSpec)]
    return found


def _check_parameters(
    name: str, kind: Any, parameters: Mapping[str, Any], hidden: tuple[str, ...]
) -> None:
    """Raise ValueError naming the parameters that the constructor does not take."""
    allowed = [one for one in inspect.signature(kind).parameters if one not in hidden]
    for key in parameters:
        if key not in allowed:
            hint = did_you_mean(key, allowed, f"it takes {', '.join(allowed)}")
            raise ValueError(f"{key!r} is no parameter of {name} ({hint})")


def _check_values(kind: Any, parameters: Mapping[str, Any]) -> None:
    """Raise ValueError for values that the class refuses in `fit`, if it declares them."""
    model = _made(kind, parameters)
    # scikit-learn calls this first in every fit; classes of others may not have it.
    if hasattr(model, "_parameter_constraints"):
        model._validate_params()


def _made(kind: Any, parameters: Mapping[str, Any]) -> Any:
    return kind(1, **parameters) if kind is SupervisedModel else kind(**parameters)


def _check_pieces(name: str, model: Any) -> None:
    """Raise ValueError if a model cannot learn piece by piece."""
    learn = getattr(model, "partial_fit", None)
    if learn is None or "classes" not in inspect.signature(learn).parameters:
        raise ValueError(
            f"{name} has no partial_fit with these parameters; sgd, multinomial_nb, gaussian_nb and"
            " mlp (but with solver lbfgs) have"
        )
    for key, value in NOT_IN_PIECES.items():
        if key in model.get_params(deep=False) and getattr(model, key) == value:
            raise ValueError(f"{key}: {value} looks at all rows at once, and partial_fit at pieces")
