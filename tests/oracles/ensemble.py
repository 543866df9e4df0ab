"""The graph ensemble below 3 seeds a class, in dense float64 with exact solves."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

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


def second_pass(W: Array, B: Array, mixture: Array, seeds_a_class: float, *, equal: bool) -> Array:
    """Return the scaled log shares that six rounds of the second pass find."""
    bias, z = np.zeros(B.shape[1]), np.zeros_like(mixture)
    wanted = B.sum(axis=0) / B.sum()
    for _ in range(6):
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
