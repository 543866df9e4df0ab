"""The `decision` part of a job file."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from ssl_dask.spec_model import SpecModel


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

    coverage: float | None = Field(default=None, gt=0.0, lt=1.0)
    """Where labels are numbers: share of the rows whose true number the interval from `value_low`
    to `value_high` is to hold. Default: 0.9. Needs coverage / (1 - coverage) hidden seeds: 9 for
    0.9, 19 for 0.95."""

    review_budget: int | None = Field(default=None, ge=1, le=1_000_000)
    """How many rows to propose for labelling by hand, best first. Default: none."""

    @model_validator(mode="after")
    def _threshold_needs_abstention(self) -> DecisionSpec:
        if self.abstain == "never" and self.min_probability is not None:
            raise ValueError(
                f"min_probability {self.min_probability:g} asks for abstentions and abstain: never"
                " forbids them; remove one of the two"
            )
        return self

    def keys_of_classes(self) -> dict[str, str]:
        """Return the keys that are set and mean nothing for labels that are numbers: the cures."""
        cures = {
            "min_probability": "decision.coverage sets how sure value_low and value_high are",
            "abstain": "only rows without a path to a seed get no number",
            "on_collapse": "leave it out",
            "review_budget": "leave it out",
        }
        default = DecisionSpec()
        return {
            f"decision.{key}": cure
            for key, cure in cures.items()
            if getattr(self, key) != getattr(default, key)
        }
