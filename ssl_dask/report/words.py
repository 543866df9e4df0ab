"""Figures in the words that people read."""

from __future__ import annotations

from ssl_dask.evaluation.metrics import Interval


def plural(n: int, thing: str) -> str:
    """Return a number and what it counts, such as `1 file` or `2,000 files`."""
    return f"{n:,} {thing}" if n == 1 else f"{n:,} {thing}s"


def interval_text(share: Interval, *, count: bool = True) -> str:
    """Return a share with its interval, such as `92.0 % (80.8 to 97.8), 46 of 50`."""
    if share.value is None:
        return "–"
    bounds = f"({share.low * 100:.1f} to {share.high * 100:.1f})"
    counted = f", {share.right:,} of {share.n:,}" if count else ""
    return f"{percent(share.value)} {bounds}{counted}"


def duration(seconds: float) -> str:
    """Return a time span in the units that people read."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def byte_size(size: int) -> str:
    """Return a number of bytes in binary units."""
    value = float(size)
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:,.0f} {unit}" if unit == "bytes" else f"{value:,.1f} {unit}"
        value /= 1024
    return f"{value:,.1f} TiB"


def percent(share: float | None) -> str:
    """Return a share as a percentage with one digit; never 100.0 or 0.0 unless it is exact."""
    if share is None:
        return "–"
    if 0.9995 <= share < 1.0:
        return "> 99.9 %"
    if 0.0 < share < 0.0005:
        return "< 0.1 %"
    return f"{share * 100:.1f} %"
