"""Workers of a local cluster keep BLAS to one thread, whatever the environment says, and keep
freed memory, unless it says otherwise."""

from __future__ import annotations

import json
import os
import subprocess
import sys

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
