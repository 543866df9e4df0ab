"""What all methods are asked for that fit learners on labelled rows."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from ssl_dask.spec_model import SpecModel


class RoundSpec(SpecModel):
    """Rounds in which learners are fitted on seeds and pseudo-labels."""

    fits_in_pieces: ClassVar[bool] = False
    """Whether learners may have `partial_fit`."""

    max_fit_rows: Annotated[int, Field(ge=1)] | None = None
    """Most rows that one fit takes: with more labels the seeds, and a pseudo-random choice of the
    other rows; with `partial_fit` of the learner all rows, in pieces of so many. A worker holds
    them twice. null: as many as fill 256 MiB, at least 20,000."""
