"""scikit-learn's own tests of its semi-supervised classes, run with the classes of this package.

Its files are read where it is installed, and run in a temporary folder with another import.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
import sklearn

from tests.processes import environment

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(
        not sklearn.__version__.startswith("1.9."), reason="the lists are of scikit-learn 1.9"
    ),
]

OURS = {
    "from sklearn.semi_supervised import _label_propagation as label_propagation": (
        "from ssl_dask import estimators as label_propagation"
    ),
    "from sklearn.semi_supervised import SelfTrainingClassifier": (
        "from ssl_dask.estimators import SelfTrainingClassifier"
    ),
}
EXACTLY = (
    "from functools import partial\n"
    "from ssl_dask.estimators import SelfTrainingClassifier as Ours\n"
    "SelfTrainingClassifier = partial(Ours, cautious=False)"
)
OTHERS_ALONE = "n_neighbors counts other rows: with 2 of 3 rows all are joined, there not all"
REACHES_FAR = "alpha is 0.9 by default, there 0.2: labels reach farther, in more sweeps"
TAKES_BACK = "labels may be taken back: rounds end when none changes (not with cautious=False)"
NO_ROUTING = "fit takes sample_weight and no other metadata, with routing or without"

ROUTING = {
    f"test_routing_passed_metadata_not_supported[{verb}]": NO_ROUTING
    for verb in ("decision_function", "predict_log_proba", "predict_proba", "predict")
}
SPEED = ("array", "sparse_csr", "sparse_csc", "sparse_csr_array", "sparse_csc_array")
OTHERWISE = {
    "test_predict_proba[float64-LabelSpreading-parameters4]": OTHERS_ALONE,
    **{f"test_convergence_speed[{kind}]": REACHES_FAR for kind in SPEED},
    "test_warns_k_best": TAKES_BACK,
    "test_k_best": TAKES_BACK,
    "test_none_iter": TAKES_BACK,
    **ROUTING,
}
"""Tests that fail on purpose -> what is different, and why."""


def outcomes(folder: Path, imports: dict[str, str], names: list[str]) -> tuple[set[str], set[str]]:
    """Return (tests that passed, tests that failed) of scikit-learn's files with other imports."""
    theirs = Path(sklearn.__file__).parent / "semi_supervised" / "tests"
    for name in names:
        text = (theirs / name).read_text(encoding="utf-8")
        lines = [imports.get(line, line) for line in text.splitlines()]
        assert sum(line in imports for line in text.splitlines()) == 1
        (folder / name).write_text("\n".join(lines), encoding="utf-8")
    fixtures = "from sklearn.conftest import global_dtype\n"
    (folder / "conftest.py").write_text(fixtures, encoding="utf-8")
    options = ["-q", "-p", "no:cacheprovider", "--rootdir", ".", "-W", "ignore"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, "--junitxml", "found.xml", *names],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, 1), done.stdout[-3000:] + done.stderr[-3000:]
    passed, failed = set(), set()
    for case in ElementTree.parse(folder / "found.xml").getroot().iter("testcase"):
        said = {child.tag for child in case}
        if "skipped" not in said:
            (failed if said & {"failure", "error"} else passed).add(case.attrib["name"])
    return passed, failed


def test_what_is_otherwise_is_listed(tmp_path: Path) -> None:
    names = ["test_label_propagation.py", "test_self_training.py"]
    passed, failed = outcomes(tmp_path, OURS, names)
    assert failed == set(OTHERWISE)
    assert len(passed) == 190


def test_without_caution_rounds_are_scikit_learns(tmp_path: Path) -> None:
    imports = {line: EXACTLY for line in OURS if "SelfTraining" in line}
    passed, failed = outcomes(tmp_path, imports, ["test_self_training.py"])
    assert failed == set(ROUTING)
    assert len(passed) >= 26
