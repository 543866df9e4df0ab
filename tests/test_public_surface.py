"""The names that users import: where they are, and where they were."""

from __future__ import annotations

import pytest

import ssl_dask
from ssl_dask import estimators, graphs
from ssl_dask.labels import Labels


def test_the_root_has_jobs_alone() -> None:
    assert set(ssl_dask.__all__) == {
        "__version__", "RunResult", "StoredModels", "load_job", "load_models", "run_job",
    }  # fmt: skip
    for name in ssl_dask.__all__:
        assert getattr(ssl_dask, name) is not None


@pytest.mark.parametrize("home", [graphs, estimators])
def test_old_names_of_the_root_warn_and_work(home: object) -> None:
    # Its name in the root was LabelPropagationRegressor.
    for name in set(home.__all__) - {"HarmonicRegressor"}:  # type: ignore[attr-defined]
        with pytest.warns(DeprecationWarning, match=f"import it from {home.__name__}"):  # type: ignore[attr-defined]
            assert getattr(ssl_dask, name) is getattr(home, name)


def test_labels_have_moved() -> None:
    with pytest.warns(DeprecationWarning, match=r"ssl_dask\.labels"):
        assert ssl_dask.Labels is Labels


def test_unknown_name() -> None:
    with pytest.raises(AttributeError, match="no attribute 'LabelSpreding'"):
        _ = ssl_dask.LabelSpreding
