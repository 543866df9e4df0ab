"""The `decision` part of a job file."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from ssl_dask.spec_model import SpecModel

ReviewKind = Literal["random", "positive", "uncertain", "far"]


class ReviewSpec(SpecModel):
    """Which rows a person should label next."""

    budget: int = Field(ge=1, le=10_000)
    """How many."""

    mix: dict[ReviewKind, Annotated[float, Field(ge=0.0, allow_inf_nan=False)]] = Field(
        default={"positive": 0.5, "uncertain": 0.2, "far": 0.1, "random": 0.2}
    )
    """Shares of the kinds, by their sum: most likely `positive`, most `uncertain`, `far` from every
    seed, `random` for an honest estimate. A kind that is left out has none."""

    positive: bool | int | str | None = None
    """The class of which most likely rows are looked for; default: the rarest among the seeds, if
    it has at most half of an even share. Where there is none, its rows go to the other kinds."""

    @field_validator("mix")
    @classmethod
    def _mix_is_something(cls, mix: dict[ReviewKind, float]) -> dict[ReviewKind, float]:
        if not sum(mix.values()) > 0.0:
            raise ValueError("give at least one kind a share above 0")
        return mix


class DecisionSpec(SpecModel):
    """When a row gets a label, and which rows a person should look at next."""

    min_probability: float | None = Field(default=None, gt=0.0, le=1.0)
    """A row whose calibrated probability is below this is left without a label
    (reason `below_threshold`). Default: no threshold."""

    abstain: Literal["auto", "never"] = "auto"
    """`auto` leaves ties unlabelled; `never` gives a tied row the first of its tied classes, in the
    order of the classes, and keeps the reason `tie` beside the label. A row that no seed reaches
    stays unlabelled either way: its label would be an invention."""

    on_collapse: Literal["switch", "warn", "error"] = "switch"
    """What happens where most classes, by their shares of the seeds, get next to no row, and hidden
    seeds do not contradict. `switch`: class mass normalisation, balanced spreading or Poisson
    learning are tried, and of them and the method itself the one labels that hidden seeds call
    best, which the report says; without hidden seeds the first whose classes do not collapse. Where
    all collapse and none is better than the largest class alone, and for `error`, the run fails
    with exit code 8. `warn` writes the labels as they are. Methods that look at features themselves
    have no other to try: for them `switch` is `warn`."""

    on_worse: Literal["baseline", "error", "publish"] | None = None
    """What happens where hidden seeds call the method worse than the best supervised baseline
    (logistic regression, a forest, the largest class; ridge regression and the mean where labels
    are numbers), beyond the 90 % interval of the paired difference. `baseline` publishes the
    baseline's labels (source `supervised`), with a warning. `error` ends with exit code 8 and
    writes nothing. `publish` writes the method's labels, with a warning. Classes are compared by
    accuracy at the classes' shares; the rarer of two by average precision, where it has at most
    half of an even share. Default: `baseline`; with `evaluation.baseline: false` or
    `evaluation.folds: 0` nothing is compared."""

    min_accuracy: float | None = Field(default=None, gt=0.0, le=1.0)
    """Least share of right labels among the hidden seeds that get one, at the classes' shares;
    below it the run ends with exit code 8 and writes nothing. Default: no floor."""

    min_precision: (
        Annotated[float, Field(gt=0.0, le=1.0)]
        | dict[bool | int | str, Annotated[float, Field(gt=0.0, le=1.0)]]
        | None
    ) = None
    """Least precision on hidden seeds, at the classes' shares, as `min_accuracy`: {class: floor},
    or one number for the rarer of two classes, which then has at most half of an even share.
    `min_probability` is heeded. A class that no hidden seed gets fails too. Default: no floor."""

    min_average_precision: float | None = Field(default=None, gt=0.0, le=1.0)
    """Least average precision of the rarer of two classes, as `min_accuracy`. Default: no
    floor."""

    on_drift: Literal["warn", "error"] = "warn"
    """What `ssl-dask predict` does with rows of another kind than the run's: columns outside of
    their range, means, missing cells, unknown words, shares of the classes. `warn` labels them and
    warns; `error` ends with exit code 8 and writes nothing. Goes with `output.models: true`."""

    coverage: float | None = Field(default=None, gt=0.0, lt=1.0)
    """Where labels are numbers: share of the rows whose true number the interval from `value_low`
    to `value_high` is to hold. Default: 0.9. Needs coverage / (1 - coverage) hidden seeds: 9 for
    0.9, 19 for 0.95."""

    review: ReviewSpec | None = None
    """Rows to propose for labelling by hand, best first. Default: none."""

    review_budget: int | None = Field(default=None, ge=1, le=10_000)
    """Short for review: {budget: N}."""

    @model_validator(mode="after")
    def _threshold_needs_abstention(self) -> DecisionSpec:
        if self.abstain == "never" and self.min_probability is not None:
            raise ValueError(
                f"min_probability {self.min_probability:g} asks for abstentions and abstain: never"
                " forbids them; remove one of the two"
            )
        return self

    @model_validator(mode="after")
    def _one_budget(self) -> DecisionSpec:
        if self.review is not None and self.review_budget is not None:
            raise ValueError("review_budget: N is short for review: {budget: N}; keep one")
        return self

    @property
    def policy_if_worse(self) -> Literal["baseline", "error", "publish"]:
        """What happens where the method is worse: `on_worse`, or its default."""
        return self.on_worse or "baseline"

    @property
    def floors(self) -> dict[str, Any]:
        """The floors that are set, by name."""
        return self.model_dump(
            include={"min_accuracy", "min_precision", "min_average_precision"}, exclude_none=True
        )

    @property
    def review_list(self) -> ReviewSpec | None:
        """What is to be proposed for labelling by hand, if anything."""
        if self.review_budget is None:
            return self.review
        return ReviewSpec(budget=self.review_budget)

    def keys_of_classes(self) -> dict[str, str]:
        """Return the keys that are set and mean nothing for labels that are numbers: the cures."""
        cures = {
            "min_probability": "decision.coverage sets how sure value_low and value_high are",
            "abstain": "only rows without a path to a seed get no number",
            "on_collapse": "leave it out",
            "min_accuracy": "leave it out",
            "min_precision": "leave it out",
            "min_average_precision": "leave it out",
            "review": "leave it out",
            "review_budget": "leave it out",
        }
        default = DecisionSpec()
        return {
            f"decision.{key}": cure
            for key, cure in cures.items()
            if getattr(self, key) != getattr(default, key)
        }
