"""Multi-view rounds with equal weights, over dense arrays, written out row by row."""

from __future__ import annotations

import numpy as np


def evidence(p):
    """Return log(p + 1e-6) less its mean over the classes, to float32 as it is kept."""
    logs = np.log(p / p.sum(axis=1, keepdims=True) + 1e-6)
    return (logs - logs.mean(axis=1, keepdims=True)).astype(np.float32)


def probabilities(model, X, n_classes):
    found = np.zeros((len(X), n_classes))
    found[:, model.classes_] = model.predict_proba(X)
    return found


def fuse(members):
    total = np.sum([member.astype(float) for member in members], axis=0).astype(np.float32)
    raised = np.exp(total - total.max(axis=1, keepdims=True).astype(float))
    return (raised / raised.sum(axis=1, keepdims=True)).astype(np.float32)


def rounds(views, present, codes, n_classes, make, *, share, mass, n_rounds):
    """Return for each round (codes of rows, fused distributions by the models fitted on them)."""
    seeds = np.flatnonzero(codes >= 0)
    others = np.flatnonzero(codes < 0)
    labels = codes.copy()
    shares = np.bincount(codes[seeds]) / len(seeds)
    history = []
    for number in range(n_rounds + 1):
        members = []
        for name, X in views.items():
            rows = np.flatnonzero((labels >= 0) & present[name])
            weights = np.zeros(len(labels))
            n_here = (present[name] & (codes >= 0)).sum()
            for c in range(n_classes):
                own = present[name] & (codes == c)
                pseudo = present[name] & (codes < 0) & (labels == c)
                weights[own] = shares[c] * n_here / max(own.sum(), 1)
                weights[pseudo] = min(1.0, mass * shares[c] * n_here / max(pseudo.sum(), 1))
            model = make().fit(X[rows], labels[rows], sample_weight=weights[rows])
            member = evidence(probabilities(model, X, n_classes))
            member[~present[name]] = 0
            members.append(member)
        F = fuse(members)
        nothing = ~np.logical_or.reduce(list(present.values()))
        history.append((labels.copy(), np.where(nothing[:, None], 0, F)))
        said = F.argmax(axis=1)
        said[nothing] = -1
        labels = np.where(codes >= 0, codes, -1)
        for c in range(n_classes):
            mine = others[said[others] == c]
            part = share * min((number + 1) / n_rounds, 1.0)
            k = min(len(mine), int(np.ceil(part * shares[c] * len(others))))
            best = sorted(mine, key=lambda i: (-F[i].max(), i))[:k]
            labels[best] = c
    return history
