"""The graph ensemble, in dense float64 with exact solves."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

Array = npt.NDArray[np.float64]


def kernel(W: Array, B: Array, alpha: float) -> Array:
    """Return (D - alpha W)^-1 B."""
    return np.maximum(np.linalg.solve(np.diag(W.sum(axis=1)) - alpha * W, B), 0.0)


def log_shares(F: Array) -> Array:
    """Return log(share + 1e-6) less its mean over the classes."""
    logs = np.log(F / F.sum(axis=1, keepdims=True) + 1e-6)
    return logs - logs.mean(axis=1, keepdims=True)


def softmax(A: Array) -> Array:
    """Return exp(A) with rows that sum to 1."""
    E = np.exp(A - A.max(axis=1, keepdims=True))
    return E / E.sum(axis=1, keepdims=True)


def second_pass(
    W: Array,
    B: Array,
    mixture: Array,
    seeds_a_class: float,
    *,
    equal: bool = False,
    n_rounds: int = 6,
) -> Array:
    """Return the scaled log shares that the rounds of the second pass find."""
    bias, z = np.zeros(B.shape[1]), np.zeros_like(mixture)
    wanted = B.sum(axis=0) / B.sum()
    for _ in range(n_rounds):
        evidence = 1.8 * (mixture + max(1.0, 4.0 / seeds_a_class) * z)
        for _ in range(2 * equal):
            bias = bias + np.log(wanted / softmax(evidence + bias).mean(axis=0))
        p = softmax(evidence + bias)
        z = log_shares(kernel(W, B + 16.0 * B.sum(axis=0) * p / p.sum(axis=0), 0.99))
        z = z / z.std()
    return z


def mean_cut(W: Array, labels: npt.NDArray[np.integer], n_classes: int) -> float:
    """Return the mean over the classes of cut / volume."""
    shares = []
    for c in range(n_classes):
        inside = labels == c
        shares.append(W[inside][:, ~inside].sum() / W[inside].sum())
    return float(np.mean(shares))


def evidence_below_three(
    W: Array, steep: Array, codes: npt.NDArray[np.integer], n_classes: int
) -> tuple[Array, bool]:
    """Return (final evidence (N, C), whether classes were moved to equal numbers)."""
    counts = np.bincount(codes[codes >= 0], minlength=n_classes)
    totals = np.sqrt(counts) / np.sqrt(counts).mean()
    B = np.zeros((len(W), n_classes))
    seeds = np.flatnonzero(codes >= 0)
    B[seeds, codes[seeds]] = (totals / counts)[codes[seeds]]
    members = [log_shares(kernel(weights, B, 0.99)) for weights in (W, steep)]
    mixture = sum(member / member.std() for member in members)
    mixture = mixture / mixture.std()
    m = counts.sum() / n_classes
    found = []
    for equal in (False, True):
        z = [second_pass(weights, B, mixture, m, equal=equal) for weights in (W, steep)]
        found.append(mixture + 8.0 / m * (z[0] + z[1]) / 2)
    cuts = [mean_cut(W, F.argmax(axis=1), n_classes) for F in found]
    return found[int(cuts[1] < cuts[0])], cuts[1] < cuts[0]


def fit_weights(
    said: Array, codes: npt.NDArray[np.integer], start: Array, strength: float
) -> Array:
    """Return w >= 0: least cross-entropy of softmax(w said), plus strength |w - start|^2."""
    at = np.arange(len(codes))

    def loss(w: Array) -> float:
        p = softmax(np.tensordot(w, said, 1))
        return float(-np.log(p[at, codes]).sum() + strength * ((w - start) ** 2).sum())

    bounds = [(0.0, None)] * len(start)
    return minimize(loss, start, bounds=bounds, method="L-BFGS-B", options={"ftol": 1e-12}).x


def evidence_fitted(
    W: Array,
    steep: Array,
    codes: npt.NDArray[np.integer],
    n_classes: int,
    folds: Sequence[npt.NDArray[np.bool_]],
    classifier: Callable[[npt.NDArray[np.bool_]], Array],
) -> tuple[Array, Array, Array]:
    """Return (final evidence (N, C), weights of the five members, weights of mixture and pass).

    Each member is solved once with all seeds and once without those of each fold; weights are
    fitted on what was said of the seeds while they were hidden.
    """
    seeds = np.flatnonzero(codes >= 0)
    truth = codes[seeds]
    hidden = [np.zeros(len(seeds), bool), *folds]
    members, masses = [], []
    for mask in hidden:
        B = np.zeros((len(W), n_classes))
        B[seeds[~mask], truth[~mask]] = 1.0
        B /= B.sum(axis=0)
        masses.append(B)
        p = classifier(~mask)
        scores = [kernel(W, B, 0.99), kernel(W, B, 0.9), p]
        scores += [kernel(W, W.sum(axis=1)[:, None] * p, 0.9), kernel(steep, B, 0.99)]
        members.append(np.stack([log_shares(F) for F in scores]))
    deviations = members[0].std(axis=(1, 2))[:, None, None]
    members = [member / deviations for member in members]
    said = np.zeros((5, len(seeds), n_classes))
    for mask, member in zip(folds, members[1:], strict=True):
        said[:, mask] = member[:, seeds[mask]]
    judged = np.any(folds, axis=0)
    start = np.array([1.0, 0.0, 0.0, 0.3, 1.0])
    weights = fit_weights(said[:, judged], truth[judged], start, 0.3)
    mixtures = []
    for mask, member in zip(hidden, members, strict=True):
        # What is said of a fold's seeds is mixed with weights that were fitted without them.
        others = judged & ~mask
        w = fit_weights(said[:, others], truth[others], start, 0.3) if mask.any() else weights
        mixtures.append(np.tensordot(w, member, 1))
    # Each is divided by the deviation that all seeds give.
    mixtures = [mixture / mixtures[0].std() for mixture in mixtures]
    m = len(seeds) / n_classes
    over = steep if weights[4] >= weights[0] else W
    passes = [second_pass(over, B, F, m, n_rounds=3) for B, F in zip(masses, mixtures, strict=True)]
    pair = np.zeros((2, len(seeds), n_classes))
    for mask, F, z in zip(folds, mixtures[1:], passes[1:], strict=True):
        pair[0, mask], pair[1, mask] = F[seeds[mask]], z[seeds[mask]]
    both = fit_weights(pair[:, judged], truth[judged], 1.8 * np.array([1.0, 8.0 / m]), 1.0)
    return both[0] * mixtures[0] + both[1] * passes[0], weights, both
