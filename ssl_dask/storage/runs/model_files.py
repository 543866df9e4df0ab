"""Fitted models on disk, as skops files: loading one makes objects of an exact list of types only.

A pickle runs whatever code its author liked; a skops file names types and their attributes, and is
refused before anything is made of it where one of them is not on the list.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ssl_dask.durable_files import PLAIN_NAME, storage_errors, write_new
from ssl_dask.errors import InputDataError, JobSpecError
from ssl_dask.storage.runs.manifest import MODELS_FOLDER, CommittedRun, PartRecord, attempt_path

# skops is imported where it is used: that takes seconds, and most runs store no models.

LIBRARY_TYPES = frozenset(
    {
        "scipy.sparse._csr.csr_array",
        "scipy.sparse._csr.csr_matrix",
        "sklearn.calibration._CalibratedClassifier",
        "sklearn.calibration._SigmoidCalibration",
        "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
        "sklearn.metrics._dist_metrics.ChebyshevDistance64",
        "sklearn.metrics._dist_metrics.EuclideanDistance64",
        "sklearn.metrics._dist_metrics.HaversineDistance64",
        "sklearn.metrics._dist_metrics.ManhattanDistance64",
        "sklearn.metrics._dist_metrics.MinkowskiDistance64",
        "sklearn.neighbors._ball_tree.BallTree",
        "sklearn.neighbors._kd_tree.KDTree",
        "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
        "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
        "sklearn.tree._tree.Tree",
    }
)
"""Parts of models of the registry of learners that are not on skops' own list."""


class NotStorableError(Exception):
    """A model cannot be stored; the message is the reason, without a full stop."""


@dataclass(frozen=True)
class ModelFile:
    """A stored model."""

    record: PartRecord
    """The file."""
    types: tuple[str, ...]
    """Of trusted modules, those that it holds, sorted."""


def model_bytes(
    value: Any, own_types: Collection[str], modules: Collection[str]
) -> tuple[bytes, tuple[str, ...]]:
    """Return a model as the content of a skops file, and the types of trusted modules in it.

    What is returned was loaded again, so that a model that could be stored can be used.

    Parameters
    ----------
    own_types
        Types of this package that may be part of it.
    modules
        Modules whose types may be part of it.

    Raises
    ------
    NotStorableError
        It holds something that skops cannot store, or other types.
    """
    import skops.io

    try:
        content: bytes = skops.io.dumps(value)
    except MemoryError:
        raise
    except Exception as error:
        # Classes of other packages raise what they like when they are asked for their state.
        raise NotStorableError(f"skops cannot store it ({type(error).__name__}: {error})") from None
    types = foreign_types(content, own_types)
    outside = [name for name in types if not is_within(name, modules)]
    if outside:
        raise NotStorableError(f"it holds {', '.join(outside)}, which no list of types has")
    try:
        _loaded(content, {*own_types, *types})
    except MemoryError:
        raise
    except Exception as error:
        raise NotStorableError(
            f"it cannot be loaded again ({type(error).__name__}: {error})"
        ) from None
    return content, tuple(types)


def write_model(
    stage: Path,
    run_id: str,
    number: int,
    name: str,
    value: Any,
    own_types: Collection[str],
    modules: Collection[str],
) -> ModelFile | str:
    """Store a model in the staging folder; runs on the worker that holds it.

    Parameters
    ----------
    stage
        The run's staging folder, reachable from this machine.
    run_id
        The run.
    number
        Of the file among those of the folder of models.
    name
        Of the file, without run and ending.
    value
        The model.
    own_types
        Types of this package that may be part of it.
    modules
        Modules whose types may be part of it.

    Returns
    -------
    ModelFile, or why the model cannot be stored.

    Raises
    ------
    StorageError
        Disk full, no permission, or the staging folder is not there.
    """
    try:
        content, types = model_bytes(value, own_types, modules)
    except NotStorableError as error:
        return str(error)
    return ModelFile(write_file(stage, run_id, number, f"{name}-{run_id}.skops", content), types)


def write_file(stage: Path, run_id: str, number: int, name: str, content: bytes) -> PartRecord:
    """Write a file of the folder of models under a name of this attempt's own.

    Raises
    ------
    StorageError
        Disk full, no permission, or the staging folder is not there.
    """
    path = attempt_path(stage, MODELS_FOLDER, name)
    with storage_errors("write a model", path.parent, needed=len(content)):
        write_new(path, content)
    digest = hashlib.sha256(content).hexdigest()
    return PartRecord(MODELS_FOLDER, number, name, path.name, 0, len(content), digest)


def model_records(run: CommittedRun) -> dict[str, PartRecord]:
    """Return the records of the files in a run's folder of models, by name."""
    return {part.name: part for part in run.manifest.parts if part.folder == MODELS_FOLDER}


def read_file(run: CommittedRun, record: PartRecord) -> bytes:
    """Return the content of a file of the folder of models, after a check of its hash.

    Raises
    ------
    InputDataError
        It is missing, or its hash is not that in the manifest.
    """
    if not PLAIN_NAME.fullmatch(record.name):
        raise InputDataError(
            "the manifest names a model outside the run", file=str(run.path), hint="do not use it"
        )
    path = run.path / MODELS_FOLDER / record.name
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputDataError(
            f"cannot be read: {error.strerror or error}", file=str(path), hint="run the job again"
        ) from None
    if hashlib.sha256(content).hexdigest() != record.sha256:
        raise InputDataError(
            "its content is not what the run wrote (SHA-256 differs from the manifest's)",
            file=str(path),
            hint="do not use it; take the run from a copy, or run the job again",
        )
    return content


def read_model(run: CommittedRun, record: PartRecord, types: Collection[str]) -> Any:
    """Return the model in a file of the folder of models.

    Parameters
    ----------
    types
        Names of the types that it may hold beside those of skops' own list and `LIBRARY_TYPES`.

    Raises
    ------
    InputDataError
        Its hash is not that in the manifest, or it is no whole skops file. Nothing was made of it.
    JobSpecError
        It holds other types. Nothing was made of it.
    """
    path = run.path / MODELS_FOLDER / record.name
    content = read_file(run, record)
    try:
        foreign = foreign_types(content, types)
        if not foreign:
            return _loaded(content, types)
    except MemoryError:
        raise
    except Exception as error:
        raise InputDataError(
            f"is no model of this version of ssl_dask and its libraries ({type(error).__name__})",
            file=str(path),
            hint="models are skops files, never pickles; use the versions in the run's manifest,"
            " or run the job again",
        ) from error
    raise JobSpecError(
        f"holds types that are not trusted: {', '.join(foreign[:5])}"
        + (f", and {len(foreign) - 5} more" if len(foreign) > 5 else ""),
        file=str(path),
        hint="models of a learner given by its path need --trust-module, as the run did; else do"
        " not use the file",
    )


def foreign_types(content: bytes, types: Collection[str]) -> list[str]:
    """Return the types in a skops file that are on no list, sorted; makes nothing of it.

    Raises
    ------
    ValueError
        It is no skops file as this package writes them.
    """
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
            # What is not packed cannot unpack to more memory than the file takes.
            raise ValueError("its members are compressed")
    import skops.io

    return sorted(set(skops.io.get_untrusted_types(data=content)) - {*types, *LIBRARY_TYPES})


def _loaded(content: bytes, types: Collection[str]) -> Any:
    import skops.io

    return skops.io.loads(content, trusted=sorted({*types, *LIBRARY_TYPES}))


def is_within(name: str, modules: Collection[str]) -> bool:
    """Return whether a type is of one of these modules, or of what lies in them."""
    return any(name.startswith(f"{module}.") for module in modules)
