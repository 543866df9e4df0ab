"""Reading a job file needs no numerical library; a method is imported when a job names it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
HEAVY = (
    "numba",
    "sklearn",
    "pandas",
    "distributed",
    "scipy",
    "pyarrow",
    "matplotlib",
    "dask.array",
)


def modules_after(code: str) -> set[str]:
    script = f"{code}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=PROJECT, check=True
    )
    return set(json.loads(done.stdout))


def test_the_package_itself_loads_no_library() -> None:
    loaded = modules_after("import ssl_dask")
    assert loaded & {*HEAVY, "numpy", "dask", "pydantic"} == set()


def test_the_types_of_a_job_need_no_heavy_library() -> None:
    loaded = modules_after("import ssl_dask.job_file")
    assert loaded & set(HEAVY) == set()
    assert not [name for name in loaded if name.startswith("ssl_dask.propagation.methods.")]


@pytest.mark.parametrize("job", ["iris", "spambase"])
def test_one_method_is_imported_for_a_job(job: str) -> None:
    loaded = modules_after(f"import ssl_dask.job_file as j; j.load_job('jobs/{job}.yaml')")
    found = [name.rpartition(".")[2] for name in loaded if ".methods." in name]
    assert len([name for name in found if name in ("label_propagation", "self_training")]) == 1
    assert "graph_ensemble" not in found
    assert "co_forest" not in found


def test_commands_that_start_nothing_draw_nothing() -> None:
    loaded = modules_after("import ssl_dask.pipeline.commands.validate")
    assert loaded & {"sklearn", "pandas", "matplotlib", "skops"} == set()


def test_a_job_is_validated_without_a_cluster_or_a_learner() -> None:
    """pyarrow itself imports pandas as soon as it makes an array."""
    loaded = modules_after(
        "import ssl_dask.job_file as j; import ssl_dask.pipeline.commands.validate as v\n"
        "assert ('rows', '150 in 1 file(s)') in v.validate_job(j.load_job('jobs/iris.yaml'))"
    )
    assert loaded & {"distributed", "sklearn", "matplotlib", "skops"} == set()


def test_tasks_of_blocks_import_no_report() -> None:
    """Workers unpickle them: they need not load what draws a page."""
    loaded = modules_after(
        "import ssl_dask.pipeline.targets.class_blocks, ssl_dask.pipeline.targets.number_blocks"
    )
    assert "matplotlib" not in loaded
    assert not [name for name in loaded if name.startswith("ssl_dask.report")]
