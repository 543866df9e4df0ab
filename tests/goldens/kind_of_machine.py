"""What the last bit of a float may depend on: the processor and the numerical libraries."""

from __future__ import annotations

import hashlib
import importlib.metadata
import platform
from pathlib import Path

LIBRARIES = (
    "dask",
    "distributed",
    "llvmlite",
    "numba",
    "numpy",
    "pyarrow",
    "scikit-learn",
    "scipy",
    "skops",
)


def kind_of_machine() -> dict[str, str]:
    """Return what two machines must have in common to give the same bits."""
    kind = {name: importlib.metadata.version(name) for name in LIBRARIES}
    kind |= {"machine": platform.machine(), "python": platform.python_version()}
    try:
        lines = Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines()
    except OSError:
        return {**kind, "processor": platform.processor()}
    told = dict(line.partition(":")[::2] for line in lines)
    told = {key.strip(): value.strip() for key, value in told.items()}
    flags = " ".join(sorted(told.get("flags", told.get("Features", "")).split()))
    kind["processor"] = told.get("model name", "")
    kind["flags"] = hashlib.sha256(flags.encode()).hexdigest()[:16]
    return kind
