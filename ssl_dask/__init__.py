"""Semi-supervised labelling of Parquet data that does not fit one machine, on Dask.

Jobs are here: `run_job` does what the command `ssl-dask run` does. Graphs of rows are in
`ssl_dask.graphs`, scikit-learn estimators in `ssl_dask.estimators`. Importing the package starts
nothing; the names below are loaded when they are first used.
"""

from __future__ import annotations

import importlib
import warnings
from typing import TYPE_CHECKING, Any

from ssl_dask.version import __version__

if TYPE_CHECKING:
    from ssl_dask.job_file import load_job as load_job
    from ssl_dask.pipeline.commands.run import RunResult as RunResult
    from ssl_dask.pipeline.commands.run import run_job as run_job
    from ssl_dask.pipeline.models.stored_models import StoredModels as StoredModels
    from ssl_dask.pipeline.models.stored_models import load_models as load_models

_JOBS = {
    "RunResult": "ssl_dask.pipeline.commands.run",
    "StoredModels": "ssl_dask.pipeline.models.stored_models",
    "load_job": "ssl_dask.job_file",
    "load_models": "ssl_dask.pipeline.models.stored_models",
    "run_job": "ssl_dask.pipeline.commands.run",
}
_MOVED = {
    "ssl_dask.graphs": """BlockGraph RoutedIndex attach_rows entity_graph knn_graph
        new_row_distributions propagated_features rbf_graph sum_graphs""",
    "ssl_dask.estimators": """AnchorGraph BalancedSpreading CoForestClassifier CoTrainingClassifier
        DemocraticCoLearningClassifier GraphEnsemble LabelPropagation LabelPropagationRegressor
        LabelSpreading ModifiedAdsorption MultiViewClassifier PoissonLearning PoissonMBO
        SelfTrainingClassifier SemiSupervisedNB TriTrainingClassifier""",
    "ssl_dask.labels": "Labels",
}

__all__ = ["__version__", *_JOBS]


def __getattr__(name: str) -> Any:
    if name in _JOBS:
        return getattr(importlib.import_module(_JOBS[name]), name)
    for home, names in _MOVED.items():
        if name in names.split():
            warnings.warn(
                f"ssl_dask.{name} has moved: import it from {home}",
                DeprecationWarning,
                stacklevel=2,
            )
            return getattr(importlib.import_module(home), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_JOBS])
