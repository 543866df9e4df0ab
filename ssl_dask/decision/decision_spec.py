"""The `decision` part of a job file."""

from __future__ import annotations

from typing import Annotated, Literal

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
    seeds do not contradict. `switch`: the classes are told apart by class mass normalisation,
    balanced spreading or Poisson learning, which the report says; where these collapse too, and
    for `error`, the run fails with exit code 8. `warn` writes the labels as they are. Methods that
    look at features themselves have no other to switch to: for them `switch` is `warn`."""

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
            "review": "leave it out",
            "review_budget": "leave it out",
        }
        default = DecisionSpec()
        return {
            f"decision.{key}": cure
            for key, cure in cures.items()
            if getattr(self, key) != getattr(default, key)
        }
