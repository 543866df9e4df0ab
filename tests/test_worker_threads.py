"""Workers of a local cluster keep BLAS to one thread, whatever the environment says, and keep
freed memory, unless it says otherwise."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

ASK = """
import json, os
from ssl_dask.cluster import open_client
from ssl_dask.cluster_spec import ClusterSpec

def threads():
    import numpy.linalg
    from threadpoolctl import threadpool_info
    found = [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]
    kept = [os.environ[f"MALLOC_{name}_THRESHOLD_"] for name in ("TRIM", "MMAP")]
    return found, os.environ["OMP_NUM_THREADS"], kept

if __name__ == "__main__":
    with open_client(ClusterSpec(workers=1, threads=1, memory="512MiB")) as client:
        print(json.dumps(client.submit(threads).result()))
"""


def test_a_shell_that_asks_for_more_threads_is_not_heard(tmp_path):
    script = tmp_path / "ask.py"
    script.write_text(ASK)
    more = {f"{name}_NUM_THREADS": "3" for name in ("OMP", "OPENBLAS", "MKL", "NUMBA")}
    # Clusters of other tests in this process leave what Dask sets in its environment.
    own = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    answer = subprocess.run(
        [sys.executable, str(script)],
        env={**own, **more, "MALLOC_MMAP_THRESHOLD_": "1000000"},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    blas, omp, kept = json.loads(answer.stdout.splitlines()[-1])
    assert blas
    assert set(blas) == {1}
    assert omp == "1"
    assert kept == [str(128 * 2**20), "1000000"]


LATE = """
import json, sys
import numpy as np
from distributed import Client, LocalCluster

def threads(names):
    import importlib
    for name in names:
        importlib.import_module(name)
    from threadpoolctl import threadpool_info
    return sorted({(pool["user_api"], pool["num_threads"]) for pool in threadpool_info()})

if __name__ == "__main__":
    # Workers in threads of this process are what a worker without a nanny is.
    with LocalCluster(n_workers=1, threads_per_worker=1, processes="--nanny" in sys.argv,
                      dashboard_address=None) as cluster, Client(cluster) as client:
        before = client.submit(threads, ["numpy.linalg"]).result()
        # A worker process runs this file too, but not this part.
        from ssl_dask.estimators import LabelSpreading

        X = np.random.default_rng(0).normal(size=(60, 2))
        y = np.full(60, -1)
        y[:4] = [0, 1, 0, 1]
        LabelSpreading(client=client).fit(X, y)
        late = ["scipy.linalg", "sklearn.cluster", "sklearn.ensemble"]
        print(json.dumps([before, client.submit(threads, late, pure=False).result()]))
"""


@pytest.mark.parametrize("nanny", [True, False])
def test_estimators_keep_the_workers_of_a_client_to_one_thread(tmp_path, nanny):
    script = tmp_path / "late.py"
    script.write_text(LATE)
    more = {f"{name}_NUM_THREADS": "3" for name in ("OMP", "OPENBLAS", "MKL", "NUMBA")}
    off = {"DASK_DISTRIBUTED__NANNY__PRE_SPAWN_ENVIRON__OMP_NUM_THREADS": "3"}
    answer = subprocess.run(
        [sys.executable, str(script), *(["--nanny"] if nanny else [])],
        env={**os.environ, **more, **off},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    before, after = json.loads(answer.stdout.splitlines()[-1])
    assert {n for api, n in after if api == "blas"} == {1}
    if nanny:
        assert ["openmp", 1] in after
        assert ["openmp", 3] not in after
    assert max(n for _, n in before) > 1
