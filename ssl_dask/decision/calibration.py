"""Calibrated probabilities from class distributions, fitted on hidden seeds.

A row f of F becomes p = (1 - eps) softmax(T log f) + eps / C. The temperature T > 0 sharpens or
flattens, the floor eps keeps away from 0 and 1; neither moves the most likely class. Both are
fitted by penalised likelihood on seeds whose labels were hidden while F was computed. Where the
classes have other shares among the rows than among the seeds, p_c is then multiplied by the ratio
of the two, and the row is made to sum to 1 again.

References
----------
C. Guo, G. Pleiss, Y. Sun, K. Weinberger, "On calibration of modern neural networks", 2017, section
4.2 (temperature). J. Platt, "Probabilistic outputs for support vector machines", 1999, section 2.2
(smoothed targets). M. Saerens, P. Latinne, C. Decaestecker, "Adjusting the outputs of a classifier
to new a priori probabilities: a simple procedure", 2002, eq. 2.4 (other shares).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ssl_dask.array_types import Bool, Float32, Float64, Floating, Int32
from ssl_dask.kernels.distributions.label_distributions import normalise_rows

MIN_HIDDEN_SEEDS = 10
"""Below so many hidden seeds with evidence, two parameters are not fitted."""

N_BINS = 10
"""Bins of equal width for the largest probability of each hidden seed."""

TEMPERATURE_BOUNDS = (0.02, 50.0)
FLOOR_BOUNDS = (1e-6, 0.98)
LOG_TEMPERATURE_SD = 1.5
"""Weak prior on log T around 0: a factor of 4.5 either way costs half a unit of likelihood."""
FLOOR_PRIOR = 0.5
"""Weak prior (1 - eps)^0.5 on the floor: where T alone explains the seeds, no floor is added."""


@dataclass(frozen=True)
class CalibrationQuality:
    """How far probabilities are from the truth on hidden seeds; smaller is better."""

    expected_calibration_error: float
    """Mean over bins of |mean probability - share right|, weighted by rows. With few seeds it is
    above 0 by chance even for perfect probabilities."""
    brier: float
    """Mean squared distance between the probabilities and the one-hot truth, 0 to 2."""


@dataclass(frozen=True)
class ReliabilityBin:
    """Rows whose stated probability lies in one bin."""

    count: int | float
    right: int | float
    """Rows, and rows whose label is right; where rows weigh unequally, as many equal rows as would
    tell as much."""
    stated: float
    """Their mean stated probability."""


@dataclass(frozen=True)
class Calibration:
    """The two parameters, or the reason why there are none."""

    temperature: float = 1.0
    floor: float = 0.0
    """T and eps above; 1 and 0 when not calibrated: probabilities are then the rows of F."""
    calibrated: bool = False
    """False: `probability` is no chance of being right, only a score between 0 and 1."""
    reason: str | None = None
    """Why it is not calibrated, in words; None when it is."""
    n_hidden: int = 0
    """Hidden seeds that the fit used."""
    n_without_mass: int = 0
    """Hidden seeds that no other seed reached; left out of the fit."""
    quality: CalibrationQuality | None = None
    quality_before: CalibrationQuality | None = None
    """On the hidden seeds with and without calibration; None when not calibrated."""
    bins: tuple[ReliabilityBin, ...] = ()
    """Stated probability against share right on the hidden seeds, empty bins left out; from the
    same probabilities as `quality`."""
    cross_fitted: bool = False
    """True: `quality` was measured on folds that the parameters had not seen. False: in-sample,
    hence flattering."""
    share_ratios: tuple[float, ...] = ()
    """(C,): share of each class among the rows over its share among the seeds, up to a factor;
    empty where they are taken as equal."""

    def apply(self, F: Float32) -> Float32:
        """Return probabilities float32 (n, C) of rows of F; rows of zeros stay zero.

        Costs 16 n C bytes of working memory. A row's bits depend on that row alone.
        """
        if not self.calibrated:
            p = np.array(F, dtype=np.float32, order="C")
        else:
            p = _probabilities(F, self.temperature, self.floor).astype(np.float32)
        return _at_shares(p, self.share_ratios) if self.share_ratios else p


def not_calibrated(reason: str) -> Calibration:
    """Return the calibration that leaves F as it is, and says why."""
    return Calibration(reason=reason)


def fit_calibration(
    hidden_F: Float32,
    codes: Int32,
    folds: Int32 | None = None,
    share_ratios: tuple[float, ...] = (),
    own_weights: Float64 | None = None,
) -> Calibration:
    """Fit temperature and floor on hidden seeds.

    Parameters
    ----------
    hidden_F
        float32 (S, C): the rows of F at hidden seeds, computed while they were hidden.
    codes
        int32 (S,): their true classes.
    folds
        int32 (S,): the fold in which each was hidden; used to measure quality on folds that the
        fit has not seen. None: quality is in-sample.
    share_ratios
        As of `Calibration`. Quality is that at the shares of the rows.
    own_weights
        float64 (S,): how much each counts in `quality` among those of its class; None: 1.

    Notes
    -----
    The targets are smoothed by 1 / (S + 2), Laplace's rule of succession: 20 hidden seeds all right
    give at most 21/22. Costs milliseconds; deterministic.
    """
    reached = hidden_F.max(axis=1, initial=0.0) > 0
    n_without_mass = int((~reached).sum())
    F, truth = hidden_F[reached], codes[reached]
    if len(F) < MIN_HIDDEN_SEEDS:
        lost = f", {n_without_mass} more were not reached while hidden" if n_without_mass else ""
        return Calibration(
            reason=f"only {len(F)} seeds could be hidden and still got a class{lost};"
            f" {MIN_HIDDEN_SEEDS} are needed",
            n_hidden=len(F),
            n_without_mass=n_without_mass,
            share_ratios=share_ratios,
        )
    temperature, floor = _fit(F, truth)
    honest = _cross_fitted(F, truth, None if folds is None else folds[reached])
    shown = _probabilities(F, temperature, floor) if honest is None else honest
    before = np.asarray(F, dtype=np.float64)
    weights = None if own_weights is None else own_weights[reached]
    if share_ratios:
        shown, before = (_at_shares(p, share_ratios).astype(np.float64) for p in (shown, before))
        weights = np.asarray(share_ratios)[truth] * (1.0 if weights is None else weights)
    return Calibration(
        temperature=temperature,
        floor=floor,
        calibrated=True,
        n_hidden=len(F),
        n_without_mass=n_without_mass,
        quality=calibration_quality(shown, truth, weights),
        quality_before=calibration_quality(before, truth, weights),
        bins=_reliability_bins(shown, truth, weights),
        cross_fitted=honest is not None,
        share_ratios=share_ratios,
    )


def calibration_quality(
    probabilities: Float64, codes: Int32, weights: Float64 | None = None
) -> CalibrationQuality:
    """Return calibration error (bins of the largest probability) and Brier score.

    Parameters
    ----------
    probabilities
        float64 (S, C), rows summing to 1.
    codes
        int32 (S,): true classes.
    weights
        float64 (S,): how much each counts; None: all the same.
    """
    n = len(codes)
    w = np.ones(n) if weights is None else weights
    wanted = np.zeros_like(probabilities)
    wanted[np.arange(n), codes] = 1.0
    gaps = 0.0
    for inside, stated, right in _binned(probabilities, codes):
        gaps += abs(float((w[inside] * (stated - right)).sum()))
    squares = ((probabilities - wanted) ** 2).sum(axis=1)
    return CalibrationQuality(
        expected_calibration_error=gaps / float(w.sum()), brier=float((w * squares).sum() / w.sum())
    )


def _binned(probabilities: Float64, codes: Int32) -> Iterator[tuple[Bool, Float64, Bool]]:
    """Yield for each bin its rows, bool (S,), their stated probability, and who is right."""
    best = probabilities.argmax(axis=1)
    stated = probabilities[np.arange(len(codes)), best]
    bins = np.minimum((stated * N_BINS).astype(np.int64), N_BINS - 1)
    for number in np.unique(bins):
        inside = bins == number
        yield inside, stated[inside], best[inside] == codes[inside]


def _reliability_bins(
    probabilities: Float64, codes: Int32, weights: Float64 | None = None
) -> tuple[ReliabilityBin, ...]:
    found = []
    for inside, stated, right in _binned(probabilities, codes):
        if weights is None:
            found.append(ReliabilityBin(int(inside.sum()), int(right.sum()), float(stated.mean())))
            continue
        w = weights[inside]
        # Kish's effective number of rows.
        count = float(w.sum() ** 2 / (w**2).sum())
        share = float(w[right].sum() / w.sum())
        found.append(ReliabilityBin(count, count * share, float((w * stated).sum() / w.sum())))
    return tuple(found)


def _at_shares(p: Floating, share_ratios: tuple[float, ...]) -> Float32:
    """Return probabilities (n, C) where classes have other shares, float32; zero rows stay zero."""
    return normalise_rows(p * np.asarray(share_ratios, dtype=np.float64))


def _probabilities(F: Float32, temperature: float, floor: float) -> Float64:
    """Return (1 - floor) softmax(temperature log F) + floor / C, float64; zero rows stay zero."""
    values = np.array(F, dtype=np.float64, order="C")
    n_classes = values.shape[1]
    top = values.max(axis=1, initial=0.0)
    reached = top > 0
    values /= np.where(reached, top, 1.0)[:, None]
    np.power(values, temperature, out=values)
    values[~reached] = 0.0
    total = np.zeros(len(values))
    # Added class by class, so that a row's sum does not depend on the shape of the block.
    for column in range(n_classes):
        total += values[:, column]
    values *= ((1.0 - floor) / np.where(reached, total, 1.0))[:, None]
    values += floor / n_classes
    values[~reached] = 0.0
    return values


def _fit(F: Float32, codes: Int32) -> tuple[float, float]:
    """Return (temperature, floor) of the largest penalised likelihood."""
    from scipy.optimize import minimize

    n, n_classes = F.shape
    smoothing = 1.0 / (n + 2.0)
    targets = np.full((n, n_classes), smoothing / max(n_classes - 1, 1))
    targets[np.arange(n), codes] = 1.0 - smoothing

    def loss(parameters: Float64) -> float:
        log_temperature, logit_floor = parameters
        floor = 1.0 / (1.0 + np.exp(-logit_floor))
        p = _probabilities(F, float(np.exp(log_temperature)), floor)
        likelihood = (targets * np.log(np.maximum(p, 1e-300))).sum()
        prior = -0.5 * (log_temperature / LOG_TEMPERATURE_SD) ** 2 + FLOOR_PRIOR * np.log1p(-floor)
        return float(-likelihood - prior)

    log_low, log_high = (float(np.log(bound)) for bound in TEMPERATURE_BOUNDS)
    logit_low, logit_high = (float(np.log(bound / (1.0 - bound))) for bound in FLOOR_BOUNDS)
    # The surface can have two valleys (sharp with a floor, flat without): start from the best of a
    # coarse grid.
    starts = [
        np.array([log_temperature, logit_floor])
        for log_temperature in np.linspace(log_low, log_high, 13)
        for logit_floor in np.linspace(logit_low, logit_high, 9)
    ]
    start = min(starts, key=loss)
    bounds = [(log_low, log_high), (logit_low, logit_high)]
    found = minimize(loss, start, method="L-BFGS-B", bounds=bounds)
    log_temperature, logit_floor = found.x if found.fun <= loss(start) else start
    return float(np.exp(log_temperature)), float(1.0 / (1.0 + np.exp(-logit_floor)))


def _cross_fitted(F: Float32, codes: Int32, folds: Int32 | None) -> Float64 | None:
    """Return probabilities of each fold by parameters of the others, or None without two folds."""
    if folds is None or len(np.unique(folds)) < 2:
        return None
    shown = np.empty(F.shape)
    for fold in np.unique(folds):
        inside = folds == fold
        shown[inside] = _probabilities(F[inside], *_fit(F[~inside], codes[~inside]))
    return shown
