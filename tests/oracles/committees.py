"""Tri-training, democratic co-learning, co-forest and co-training, written down from the papers.

Dense NumPy, one process, loops over rows. Everything that learns is given: `fit(learner, X, codes,
weights)` returns a function of rows that gives probabilities (n, C). Randomness is given too:
`keys(purpose, round, learner)` are the random keys of all rows, and `bag(learner, rows, codes)`
positions of a bootstrap sample.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from scipy.stats import norm

Fit = Callable[[int, np.ndarray, np.ndarray, np.ndarray], Callable[[np.ndarray], np.ndarray]]


@dataclass
class Rounds:
    """Labels of each learner after each round (n, L), what was voted in it, and the last models."""

    codes: list[np.ndarray] = field(default_factory=list)
    votes: list[np.ndarray] = field(default_factory=list)
    models: list = field(default_factory=list)


def tri_training(
    X: np.ndarray, seeds: np.ndarray, fit: Fit, bag: Callable, keys: Callable, max_iter: int = 30
) -> Rounds:
    """Zhou & Li 2005, table 1. `seeds` (n,): classes, -1 where unlabelled."""
    given = np.flatnonzero(seeds >= 0)
    L, y = X[given], seeds[given]
    h = []
    for i in range(3):
        sample = bag(i, given, y)
        h.append(fit(i, L[sample], y[sample], np.ones(len(sample))))
    e_last, l_last = [0.5] * 3, [0] * 3
    labels = np.tile(seeds[:, None], 3)
    out = Rounds(models=h)
    for t in range(1, max_iter + 1):
        votes = np.stack([one(X).argmax(axis=1) for one in h], axis=1)
        update, e, chosen = [False] * 3, [0.0] * 3, [np.zeros(0, int)] * 3
        for i in range(3):
            j, k = [other for other in range(3) if other != i]
            same = votes[:, j] == votes[:, k]
            n_same = sum(bool(same[x]) for x in given)
            n_both_wrong = sum(bool(same[x] and votes[x, j] != seeds[x]) for x in given)
            e[i] = n_both_wrong / n_same if n_same else 1.0
            if not e[i] < e_last[i]:
                continue
            Li = np.array([x for x in range(len(X)) if seeds[x] < 0 and same[x]], dtype=int)
            if l_last[i] == 0:
                l_last[i] = math.floor(e[i] / (e_last[i] - e[i]) + 1)
            if l_last[i] < len(Li):
                if e[i] * len(Li) < e_last[i] * l_last[i]:
                    update[i] = True
                elif l_last[i] > e[i] / (e_last[i] - e[i]):
                    size = math.ceil(e_last[i] * l_last[i] / e[i] - 1)
                    by_key = sorted(Li, key=lambda x, i=i, t=t: int(keys("sub", t, i)[x]))
                    Li = np.array(sorted(by_key[:size]), dtype=int)
                    update[i] = True
            chosen[i] = Li
        labels = labels.copy()
        for i in range(3):
            if update[i]:
                j = 1 if i == 0 else 0
                labels[:, i] = seeds
                labels[chosen[i], i] = votes[chosen[i], j]
                rows = np.flatnonzero(labels[:, i] >= 0)
                h[i] = fit(i, X[rows], labels[rows, i], np.ones(len(rows)))
                e_last[i], l_last[i] = e[i], len(chosen[i])
        out.codes.append(labels)
        out.votes.append(votes)
        if not any(update):
            break
    return out


def wilson(right: int, n: int, confidence: float) -> tuple[float, float]:
    """Interval of a proportion: the roots of (p - x)^2 = z^2 x (1 - x) / n."""
    z = norm.ppf(0.5 + confidence / 2)
    roots = np.roots([1 + z * z / n, -(2 * right / n + z * z / n), (right / n) ** 2])
    low, high = sorted(float(np.real(root)) for root in roots)
    return max(low, 0.0), min(high, 1.0)


def democratic(
    X: np.ndarray,
    seeds: np.ndarray,
    fit: Fit,
    n_learners: int,
    n_classes: int,
    confidence: float = 0.95,
    max_iter: int = 30,
) -> Rounds:
    """Zhou & Goldman 2004, figures 1 and 2 (`models` ends with the weights of the learners)."""
    given = np.flatnonzero(seeds >= 0)
    labels = np.tile(seeds[:, None], n_learners)
    wrong = [0.0] * n_learners
    out = Rounds()
    for _ in range(max_iter):
        H, w, low = [], [], []
        for i in range(n_learners):
            rows = np.flatnonzero(labels[:, i] >= 0)
            H.append(fit(i, X[rows], labels[rows, i], np.ones(len(rows))))
            said = H[i](X).argmax(axis=1)
            w.append(
                sum(wilson(int((said[given] == seeds[given]).sum()), len(given), confidence)) / 2
            )
            low.append(wilson(int((said[rows] == labels[rows, i]).sum()), len(rows), confidence)[0])
        votes = np.stack([one(X).argmax(axis=1) for one in H], axis=1)
        new = [[] for _ in range(n_learners)]
        for x in range(len(X)):
            heads = [sum(votes[x, i] == c for i in range(n_learners)) for c in range(n_classes)]
            weight = [
                sum(w[i] for i in range(n_learners) if votes[x, i] == c) for c in range(n_classes)
            ]
            k = int(np.argmax(heads))
            if any(weight[c] >= weight[k] for c in range(n_classes) if c != k):
                continue
            for i in range(n_learners):
                if votes[x, i] != k and labels[x, i] < 0:
                    new[i].append((x, k))
        error = 1 - sum(low) / n_learners
        labels, changed = labels.copy(), False
        for i in range(n_learners):
            size = int((labels[:, i] >= 0).sum())
            q = size * max(1 - 2 * wrong[i] / size, 0) ** 2
            e_new = error * len(new[i])
            total = size + len(new[i])
            q_new = total * max(1 - 2 * (wrong[i] + e_new) / total, 0) ** 2
            if new[i] and q_new > q:
                for x, k in new[i]:
                    labels[x, i] = k
                wrong[i] += e_new
                changed = True
        out.codes.append(labels)
        out.votes.append(votes)
        out.models = [H, w]
        if not changed:
            break
    return out


def combine(votes: np.ndarray, weights: list[float], n_classes: int) -> np.ndarray:
    """Zhou & Goldman 2004, figure 2: confidence of each group of learners, (n, C)."""
    used = [w if w > 0.5 else 0.0 for w in weights]
    used = used if any(used) else weights
    out = np.zeros((len(votes), n_classes))
    for x, row in enumerate(votes):
        for c in range(n_classes):
            group = [w for w, vote in zip(used, row, strict=True) if vote == c and w > 0]
            if group:
                size = len(group)
                out[x, c] = (size + 0.5) / (size + 1) * sum(group) / size
    return out


def co_forest(
    X: np.ndarray,
    seeds: np.ndarray,
    fit: Fit,
    bag: Callable,
    keys: Callable,
    n_trees: int,
    n_classes: int,
    threshold: float = 0.75,
    max_iter: int = 30,
) -> Rounds:
    """Li & Zhou 2007, table 1; errors out of bag, first weights as in the authors' program."""
    given = np.flatnonzero(seeds >= 0)
    free = np.flatnonzero(seeds < 0)
    y = seeds[given]
    bags, h = [], []
    for i in range(n_trees):
        sample = bag(i, given, y)
        bags.append(set(given[sample].tolist()))
        h.append(fit(i, X[given][sample], y[sample], np.ones(len(sample))))
    e_last = [0.5] * n_trees
    w_last = [min(len(free) / 10, 100)] * n_trees
    labels = np.tile(seeds[:, None], n_trees)
    out = Rounds(models=h)
    for t in range(1, max_iter + 1):
        votes = np.stack([one(X).argmax(axis=1) for one in h], axis=1)
        plan = []
        for i in range(n_trees):
            others = [j for j in range(n_trees) if j != i]
            judged = wrong = 0
            for x in given:
                heads = np.bincount(
                    [votes[x, j] for j in others if x not in bags[j]], minlength=n_classes
                )
                if heads.sum():
                    judged += 1
                    wrong += heads.argmax() != seeds[x]
            e = wrong / judged if judged else 1.0
            if not e < e_last[i]:
                plan.append(None)
                continue
            most = e_last[i] * w_last[i] / e if e > 0 else math.inf
            total, weight, chosen = 0, 0, []
            for x in sorted(free, key=lambda x, i=i, t=t: int(keys("sub", t, i)[x])):
                heads = np.bincount(votes[x, others], minlength=n_classes)
                total += int(heads.max())
                if total > most * (n_trees - 1):
                    break
                if heads.max() > threshold * (n_trees - 1):
                    weight += int(heads.max())
                    chosen.append((x, int(heads.argmax()), heads.max() / (n_trees - 1)))
            plan.append((e, weight / (n_trees - 1), chosen))
        labels, changed = labels.copy(), False
        for i, one in enumerate(plan):
            if one is None or not one[1] > 0 or not one[0] * one[1] < e_last[i] * w_last[i]:
                continue
            e_last[i], w_last[i] = one[0], one[1]
            weights = np.ones(len(X))
            labels[:, i] = seeds
            for x, code, weight in one[2]:
                labels[x, i], weights[x] = code, np.float32(weight)
            rows = np.flatnonzero(labels[:, i] >= 0)
            h[i] = fit(i, X[rows], labels[rows, i], weights[rows])
            changed = True
        out.codes.append(labels)
        out.votes.append(votes)
        if not changed:
            break
    return out


def co_training(
    views: list[np.ndarray],
    seeds: np.ndarray,
    fit: Fit,
    n_classes: int,
    *,
    k_best: int | None,
    threshold: float,
    rescore: bool,
    max_iter: int,
    order: list[int],
) -> Rounds:
    """Blum & Mitchell 1998, table 1, each learner labelling for the other, best rows by class.

    Where they name different classes only the surer one labels. `order` (n,) says which of rows
    that are equally sure comes first.
    """
    free = np.flatnonzero(seeds < 0)
    shares = np.bincount(seeds[seeds >= 0], minlength=n_classes) / (seeds >= 0).sum()
    labels = np.tile(seeds[:, None], 2)
    out = Rounds()
    for t in range(1, max_iter + 1):
        p = []
        for v in range(2):
            rows = np.flatnonzero(labels[:, v] >= 0)
            p.append(fit(v, views[v][rows], labels[rows, v], np.ones(len(rows)))(views[v]))
        votes = np.stack([one.argmax(axis=1) for one in p], axis=1)
        picks: list[dict[int, int]] = [{}, {}]
        for v in range(2):
            k = math.ceil(len(free) / max_iter) if k_best is None else k_best
            k = k * t if rescore else k
            for c in range(n_classes):
                quota = max(round(k * shares[c]), 1) if shares[c] else 0
                able = [
                    x
                    for x in free
                    if votes[x, v] == c
                    and p[v][x, c] > threshold
                    and (rescore or labels[x, 1 - v] < 0)
                    and (votes[x, 0] == votes[x, 1] or p[v][x].max() > p[1 - v][x].max())
                ]
                for x in sorted(able, key=lambda x, v=v, c=c: (-p[v][x, c], order[x]))[:quota]:
                    picks[v][x] = c
        before, labels = labels, labels.copy()
        if rescore:
            labels[free] = -1
        for x in free:
            a, b = picks[0].get(x), picks[1].get(x)
            assert a is None or b is None or a == b
            if a is not None:
                labels[x, 1] = a
            if b is not None:
                labels[x, 0] = b
        out.codes.append(labels)
        out.votes.append(votes)
        out.models = p
        if (labels == before).all():
            break
    return out


MASK = 2**64 - 1


def splitmix64(z: int) -> int:
    """Finaliser of splitmix64 (Steele, Lea, Flood 2014)."""
    z = (z + 0x9E3779B97F4A7C15) & MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def mixed(*key: int) -> int:
    """One number of several."""
    out = splitmix64(key[0])
    for number in key[1:]:
        out = splitmix64(out ^ number)
    return out


def row_key(row: int, *key: int) -> int:
    """Random key of a row."""
    return splitmix64(mixed(*key) ^ int(row))


def bootstrap(rows: np.ndarray, codes: np.ndarray, *key: int) -> np.ndarray:
    """Positions of a bootstrap sample within each class, ascending."""
    out = []
    for code in sorted(set(codes.tolist())):
        mine = np.flatnonzero(codes == code)
        out += [mine[((row_key(rows[at], *key) >> 32) * len(mine)) >> 32] for at in mine]
    return np.sort(np.array(out))
