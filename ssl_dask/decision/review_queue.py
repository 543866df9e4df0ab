"""The rows that a person should label next: shares of four kinds, each row once.

- random: a simple random sample of the rows that are no seeds. The answers say how good the labels
  are, whatever rows the seeds were.
- positive: the rows most likely of one class, the most likely first.
- uncertain: rows with evidence, the smallest margin first; ties have margin 0.
- far: the largest components of the graph without a seed, of at least `MIN_ISLAND_ROWS` rows, one
  row each; then rows drawn with a chance that grows with the squared distance from the nearest
  seed, as k-means++ draws its centres: a region counts by its rows and its distance, and one
  outlier is not all.

References
----------
D. Arthur, S. Vassilvitskii, "k-means++: the advantages of careful seeding", 2007. P. Efraimidis,
P. Spirakis, "Weighted random sampling with a reservoir", 2006 (keys log(u) / w).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from ssl_dask.array_types import Float32, Float64, Int32, Int64
from ssl_dask.decision.decision_spec import ReviewKind, ReviewSpec
from ssl_dask.decision.labelling import SOURCES, Decided
from ssl_dask.errors import JobSpecError
from ssl_dask.kernels.arithmetic.row_keys import Purpose, row_keys
from ssl_dask.kernels.knn.exact_sparse import squared_distances
from ssl_dask.labels import Labels

KINDS: tuple[ReviewKind, ...] = ("random", "positive", "uncertain", "far")
"""The position is the code, and the order in which rows are chosen: a random row is random."""

MIN_ISLAND_ROWS = 10
LOOKED_BACK = 1_000
"""A row is held against so many chosen before it: copies stand near each other in an order."""


@dataclass(frozen=True)
class ReviewQueue:
    """Rows that may be reviewed, an entry for each row and kind."""

    row: Int64
    """int64 (m,): global row number."""
    tag: Int64
    """int64 (m,): what random rows and ties go by."""
    predicted: Int32
    """int32 (m,): what was decided for the row, -1 where it abstained."""
    probability: Float32
    margin: Float32
    """float32 (m,), as decided."""
    reason: npt.NDArray[np.uint8]
    """uint8 (m,): position in `REASONS`."""
    kind: npt.NDArray[np.uint8]
    """uint8 (m,): position in `KINDS`."""
    score: Float64
    """float64 (m,): the largest of a kind come first."""

    def __len__(self) -> int:
        return len(self.row)

    def take(self, order: Int64) -> ReviewQueue:
        """Return the entries at positions `order`, in that order."""
        return ReviewQueue(*(getattr(self, one.name)[order] for one in fields(self)))


def looked_for(review: ReviewSpec, labels: Labels) -> int | None:
    """Return the code of the class whose most likely rows are looked for, or None.

    Raises
    ------
    JobSpecError
        The job names a class that no seed has.
    """
    if review.positive is None:
        counts = labels.class_counts()
        rare = counts.min() <= 0.5 * counts.mean()
        return int(counts.argmin()) if rare else None
    try:
        return labels.code_of(review.positive)
    except ValueError as error:
        raise JobSpecError(f"decision.review.positive: {error}", hint="name one of them") from None


def kind_quotas(review: ReviewSpec, *, with_positive: bool) -> dict[str, int]:
    """Return for each kind how many rows: the budget by the mix, by largest remainders."""
    mix = np.array([review.mix.get(kind, 0.0) for kind in KINDS])
    if not with_positive:
        mix[KINDS.index("positive")] = 0.0
    if not mix.any():
        mix[KINDS.index("uncertain")] = 1.0
    exact = review.budget * mix / mix.sum()
    quotas = np.floor(exact).astype(int)
    order = np.argsort(quotas - exact, kind="stable")
    quotas[order[: review.budget - quotas.sum()]] += 1
    return dict(zip(KINDS, quotas.tolist(), strict=True))


def review_block(
    decided: Decided,
    start: int,
    n_wanted: Mapping[str, int],
    *,
    positive: int | None = None,
    islands: Mapping[int, int] | None = None,
    distances: Float64 | None = None,
    tags: Int64 | None = None,
) -> ReviewQueue:
    """Return the first rows of each kind in one block.

    Parameters
    ----------
    decided
        The block's decisions, with the probabilities of all classes where `positive` is given.
    start
        Global number of the block's first row.
    n_wanted
        For each kind how many rows at most.
    positive
        Code of the class that "positive" looks for; None: no row is of that kind.
    islands
        Row of a component without seeds -> the component's number of rows; 100 at most.
    distances
        float64 (n,): squared distance from the nearest seed; None: islands alone are far.
    tags
        int64 (n,): tags of the rows; None: their numbers.
    """
    n = decided.n_rows
    rows = np.arange(start, start + n, dtype=np.int64)
    tags = rows if tags is None else tags
    scores = _scores(decided, tags, positive, distances)
    for row, size in (islands or {}).items():
        if start <= row < start + n and size >= MIN_ISLAND_ROWS:
            scores["far"][row - start] = size
    seed = decided.source == SOURCES.index("seed")
    places, kinds, found = [], [], []
    for kind, score in scores.items():
        usable = np.flatnonzero(~seed & (score > -np.inf))
        best = usable[np.lexsort((tags[usable], -score[usable]))][: n_wanted[kind]]
        places.append(best)
        kinds.append(np.full(len(best), KINDS.index(kind), dtype=np.uint8))
        found.append(score[best])
    at = np.concatenate(places)
    return ReviewQueue(
        rows[at],
        tags[at],
        decided.label[at],
        decided.probability[at],
        decided.margin[at],
        decided.reason[at],
        np.concatenate(kinds),
        np.concatenate(found),
    )


def _scores(
    decided: Decided, tags: Int64, positive: int | None, distances: Float64 | None
) -> dict[str, Float64]:
    """Return for each kind float64 (n,): the largest come first, rows of -inf never."""
    evidence = decided.probability > 0
    scores = {
        "random": random_scores(tags),
        "uncertain": np.where(evidence, -decided.margin.astype(np.float64), -np.inf),
        "far": np.full(len(tags), -np.inf),
    }
    if positive is not None:
        assert decided.probabilities is not None
        p = decided.probabilities[:, positive].astype(np.float64)
        scores["positive"] = np.where(p > 0, p, -np.inf)
    if distances is not None:
        away = distances > 0
        scores["far"][away] = np.log(_uniform(tags[away], 1)) / distances[away]
    return scores


def merge_review(queues: Sequence[ReviewQueue], n_wanted: Mapping[str, int]) -> ReviewQueue:
    """Return the first rows of each kind of all blocks, a kind after the other, best first.

    The answer does not depend on the order or the size of the blocks.
    """
    joined = ReviewQueue(
        *(
            np.concatenate([getattr(one, field.name) for one in queues])
            for field in fields(queues[0])
        )
    )
    order = np.lexsort((joined.tag, -joined.score, joined.kind))
    kinds = joined.kind[order]
    first = [
        order[np.flatnonzero(kinds == code)][: n_wanted[kind]] for code, kind in enumerate(KINDS)
    ]
    return joined.take(np.concatenate(first))


def choose_rows(
    candidates: ReviewQueue, quotas: Mapping[str, int], X: Any, copy_distance: float
) -> Int64:
    """Return the positions of the chosen candidates, int64 (m,), each row once, best first.

    A kind that has too few rows leaves its share to the kinds behind it. Any beginning of the list
    has about the shares of the whole. Costs O(m `LOOKED_BACK` d) at most.

    Parameters
    ----------
    candidates
        As of `merge_review`.
    quotas
        For each kind how many rows.
    X
        Their features, float32 (n, d), dense or CSR.
    copy_distance
        Squared distance up to which a row is a copy of one that was chosen before it. A random row
        is never left out for that.
    """
    taken: set[int] = set()
    chosen: list[int] = []
    turns: list[float] = []
    missing = 0
    for code, kind in enumerate(KINDS):
        wanted = quotas[kind] + missing
        picked = 0
        for place in np.flatnonzero(candidates.kind == code).tolist():
            if picked == wanted:
                break
            row = int(candidates.row[place])
            if row in taken or (kind != "random" and _is_copy(X, place, chosen, copy_distance)):
                continue
            taken.add(row)
            chosen.append(place)
            turns.append((picked + 0.5) / wanted)
            picked += 1
        missing = wanted - picked
    return np.array(chosen, dtype=np.int64)[np.argsort(turns, kind="stable")]


def _is_copy(X: Any, place: int, chosen: Sequence[int], copy_distance: float) -> bool:
    near = chosen[-LOOKED_BACK:]
    return bool(near) and bool(squared_distances(X[[place]], X[near]).min() <= copy_distance)


def random_scores(tags: Int64) -> Float64:
    """Return by what random rows are chosen, float64 (n,), the largest first, in every run."""
    return _uniform(tags, 0)


def _uniform(tags: Int64, number: int) -> Float64:
    """Return for each row a number in (0, 1) that depends on its tag alone."""
    keys = row_keys(tags, Purpose.REVIEW, number) >> np.uint64(11)
    return (keys.astype(np.float64) + 0.5) * 2.0**-53
