"""EM with multinomial naive Bayes over a dense matrix, written out from Nigam et al. 2000."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass
class Fitted:
    """What EM ended with, and the history of the objective."""

    prior: np.ndarray
    theta: np.ndarray
    shares: np.ndarray
    log_posterior: list[float]


def m_step(X, R, weights, alpha, there):
    """Return (prior (C,), theta (C, d)) of largest posterior probability."""
    n_classes = R.shape[1]
    held = np.zeros((n_classes, X.shape[1]))
    rows = np.zeros(n_classes)
    for x, r, w in zip(X, R, weights, strict=True):
        held += w * np.outer(r, x)
        rows += w * r
    theta = np.ones_like(held)
    for c in range(n_classes):
        theta[c, there] = (alpha + held[c, there]) / (alpha * there.sum() + held[c].sum())
    return (1 + rows) / (n_classes + rows.sum()), theta


def joint(X, prior, theta):
    """Return p_c prod_j theta_cj ** x_j as logarithms (n, C), one product at a time."""
    out = np.zeros((len(X), len(prior)))
    for i, x in enumerate(X):
        for c in range(len(prior)):
            out[i, c] = np.log(prior[c]) + sum(v * np.log(theta[c, j]) for j, v in enumerate(x))
    return out


def e_step(X, prior, theta):
    logs = joint(X, prior, theta)
    raised = np.exp(logs - logs.max(axis=1, keepdims=True))
    return raised / raised.sum(axis=1, keepdims=True)


def em(X, codes, n_classes, alpha, unlabelled_weight, n_rounds):
    """Run `n_rounds` rounds; round 1 is fitted on the labelled rows alone.

    The objective is that of Nigam et al. 2000, eq. 8, the unlabelled rows weighed.
    """
    X = np.asarray(X, dtype=float)
    labelled = codes >= 0
    R = np.zeros((len(X), n_classes))
    R[labelled, codes[labelled]] = 1.0
    weights = np.where(labelled, 1.0, 0.0)
    history = []
    for _ in range(n_rounds):
        there = (X * weights[:, None] * R.any(axis=1)[:, None]).sum(axis=0) > 0
        prior, theta = m_step(X, R, weights, alpha, there)
        logs = joint(X, prior, theta)
        value = alpha * np.log(theta[:, there]).sum() + np.log(prior).sum()
        for i in range(len(X)):
            if labelled[i]:
                value += logs[i, codes[i]]
            else:
                value += unlabelled_weight * np.log(np.exp(logs[i]).sum())
        history.append(float(value))
        R = e_step(X, prior, theta)
        R[labelled] = np.eye(n_classes)[codes[labelled]]
        weights = np.where(labelled, 1.0, unlabelled_weight)
    return Fitted(prior, theta, R, history)
