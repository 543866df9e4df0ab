"""What a job says of its classes, held against those that the seeds have."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ssl_dask.errors import JobSpecError
from ssl_dask.evaluation.floors import check_floors
from ssl_dask.evaluation.given_shares import share_ranges
from ssl_dask.execution import Execution
from ssl_dask.job_spec import JobSpec
from ssl_dask.kernels.distributions.seed_weights import SeedStrata
from ssl_dask.labels import Labels
from ssl_dask.methods import METHODS
from ssl_dask.propagation.engine.class_shares import expected_rows
from ssl_dask.storage.ids.row_groups import count_groups
from ssl_dask.storage.input.column_reader import ColumnReader


def sampled_groups(
    column: str | None, reader: ColumnReader, labels: Labels, execution: Execution
) -> tuple[SeedStrata | None, list[str]]:
    """Return the groups of which the seeds are samples, and a warning of those without seeds."""
    if column is None:
        return None, []
    rows, of_seed = count_groups(reader, column, labels, execution)
    strata = SeedStrata(np.array(list(rows.values()), dtype=np.int64), of_seed)
    seen = np.isin(np.arange(len(rows)), of_seed)
    if seen.all():
        return strata, []
    names = [repr(name) for name, known in zip(rows, seen, strict=True) if not known]
    shown = ", ".join(names[:5]) + (f" and {len(names) - 5:,} more" if len(names) > 5 else "")
    n_rows = int(strata.rows[~seen].sum())
    return strata, [
        f"input.sampling: {n_rows:,} of {labels.n_rows:,} rows are of groups of {column!r} without"
        f" a seed ({shown}): no figure speaks of them. Label rows of these groups."
    ]


def ranked_class(spec: JobSpec, labels: Labels) -> int | None:
    """Return the code of the class of `output.rank`, None without.

    Raises
    ------
    JobSpecError
        No seed is of it.
    """
    try:
        return None if spec.output.rank is None else labels.code_of(spec.output.rank)
    except ValueError as error:
        raise JobSpecError(f"output.rank: {error}", hint="name one of them") from None


def refuse_other_classes(spec: JobSpec, labels: Labels) -> None:
    """Raise JobSpecError if shares or floors are given of other classes than the seeds have."""
    shares = METHODS[spec.method.name].class_shares(spec.method)
    try:
        expected_rows(shares, labels)
    except ValueError as error:
        key = next(key for key, value in spec.method if value is shares)
        raise JobSpecError(
            f"method.{key}: {error}", hint="validate with the key left out lists the classes"
        ) from None
    check_floors(spec.decision.floors, labels)
    if isinstance(given := spec.input.class_shares, Mapping):
        try:
            share_ranges(given, labels)
        except ValueError as error:
            names = ", ".join(map(repr, labels.classes.tolist()[:10]))
            raise JobSpecError(
                f"input.class_shares: {error}", hint=f"the classes of the seeds are {names}"
            ) from None
