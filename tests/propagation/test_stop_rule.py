"""When a propagation stops, and what it warns of."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse.linalg import LinearOperator, cg

from ssl_dask.kernels.propagation.step import SweepCounts
from ssl_dask.propagation.engine.partition_solver import conjugate_scalars
from ssl_dask.propagation.engine.solve_state import ConjugateScalars, StopRule, next_check


def counts(changed: int, residual: float, step: float = 0.1) -> SweepCounts:
    none = SweepCounts.none(2, 3)
    return none._replace(
        changed=np.array([0, changed]),
        residual=np.array([residual, 0.0]),
        step=np.array([step, 0.0]),
        largest=np.ones(2),
    )


def test_checks_are_rare_but_soon() -> None:
    checks = [0]
    while checks[-1] < 45:
        checks.append(next_check(checks[-1]))
    assert checks == [0, 5, 10, 20, 30, 40, 50]


def test_two_quiet_checks_and_a_small_error_are_needed() -> None:
    rule = StopRule(1_000, 1e-3, 2.0, np.dtype("float32"))
    for changed, residual in ((5, 1e-4), (0, 1e-4), (1, 1e-4), (0, 4e-3), (0, 4e-3)):
        rule.observe(counts(changed, residual))
        assert rule.reason is None
    assert rule.observe(counts(0, 1e-3)) == pytest.approx(5e-4)
    assert rule.reason == "converged"


def test_the_error_is_the_residual_over_the_smallest_eigenvalue() -> None:
    rule = StopRule(1_000, 1e-3, 1.0, np.dtype("float64"))
    for _ in range(3):
        assert rule.observe(counts(0, 1e-4), gap=1e-3) == pytest.approx(0.1)
    assert rule.reason is None


def test_rounding_ends_it_too() -> None:
    rule = StopRule(1_000, 0.0, 1.0, np.dtype("float32"))
    for _ in range(2):
        assert rule.reason is None
        rule.observe(counts(0, 1e-8, step=1e-8))
    assert rule.reason == "rounding"


def test_conjugate_scalars_know_the_smallest_eigenvalue() -> None:
    rng = np.random.default_rng(0)
    eigenvalues = np.concatenate([[0.003], np.linspace(0.05, 2.0, 59)])
    Q, _ = np.linalg.qr(rng.normal(size=(60, 60)))
    A = (Q * eigenvalues) @ Q.T
    b = rng.normal(size=(60, 2))
    b[:, 1] = 0.0
    x, r, p, s = np.zeros_like(b), b.copy(), np.zeros_like(b), np.zeros_like(b)
    scalars = ConjugateScalars()
    for _ in range(45):
        w = A @ r
        gamma, delta = (r * r).sum(axis=0), (r * w).sum(axis=0)
        alpha, beta = conjugate_scalars(gamma, delta, *scalars.last, 0.0 * gamma)
        p, s = r + beta * p, w + beta * s
        x, r = x + alpha * p, r - alpha * s
        scalars.extend(gamma[None], alpha[None])
    assert scalars.smallest_eigenvalue() == pytest.approx(0.003, rel=1e-3)
    np.testing.assert_allclose(x, np.linalg.solve(A, b), atol=1e-4 * np.abs(x).max())
    # As many sweeps of the textbook's take it as far.
    theirs, _ = cg(LinearOperator(A.shape, matvec=lambda v: A @ v), b[:, 0], rtol=0, maxiter=45)
    np.testing.assert_allclose(x[:, 0], theirs, atol=1e-4 * np.abs(x).max())
    again = ConjugateScalars.from_dict(scalars.as_dict())
    assert again.smallest_eigenvalue() == scalars.smallest_eigenvalue()
