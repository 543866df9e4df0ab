"""Steps 3 and 4 of a run whose labels are numbers: features -> graph -> a number for each row."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import dask.array as da
import numpy as np
import numpy.typing as npt

from ssl_dask.graph.block.block_graph import BlockGraph
from ssl_dask.hidden_seeds import HiddenSeeds
from ssl_dask.labels import NumberLabels
from ssl_dask.method import MethodInputs
from ssl_dask.methods import METHODS
from ssl_dask.pipeline.infer.inference import reported_graph
from ssl_dask.pipeline.infer.propagation_run import (
    STATE_CHECKPOINT,
    nearest_place,
    run_until_kept,
)
from ssl_dask.pipeline.inputs.run_context import RunContext
from ssl_dask.round_record import RoundRecord
from ssl_dask.run_control import RunControl

Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class InferredValues:
    """What step 4 found.

    Parameters
    ----------
    values
        Dask array float64 (N,), chunked as the row layout: NaN where no path leads to a seed.
    hidden_values
        float64 (S,): each seed's number while it was hidden; NaN for seeds that were never hidden
        or that no other seed reached.
    records
        One for each sweep that was counted.
    converged, stop_reason
        Whether the method's stop rule was met, and in words why it ended.
    graph
        What the report says of the graph.
    seconds
        Wall time of looking at the graph and of propagating.
    """

    values: da.Array
    hidden_values: Values
    records: list[RoundRecord]
    converged: bool
    stop_reason: str
    graph: Mapping[str, Any]
    seconds: Mapping[str, float]


def infer_values(
    context: RunContext, graph: BlockGraph, labels: NumberLabels, folds: HiddenSeeds
) -> InferredValues:
    """Propagate the seeds over the graph, with each fold's seeds hidden in a column of its own.

    Raises
    ------
    ComputeError
        Workers were lost or ran out of memory.
    """
    spec, execution, listener = context.spec, context.execution, context.clock
    began = time.perf_counter()
    summary = reported_graph(graph, execution)
    diagnosed = time.perf_counter()
    listener.stage("propagation")
    near, where = nearest_place(graph, 1 + folds.n_folds, execution, listener)
    found = run_until_kept(
        partial(
            METHODS[spec.method.name].run,
            MethodInputs(labels.as_labels(), folds.masks, graph=near),
            spec.method,
        ),
        RunControl(where, on_round=listener.round),
        STATE_CHECKPOINT,
        context.checkpoints,
        listener,
    )
    hidden_values = folds.gathered(found.fold_F, np.full(labels.n_seeds, np.nan))
    return InferredValues(
        values=found.F.rechunk((tuple(context.data.layout.row_chunks),)),
        hidden_values=hidden_values,
        records=found.records,
        converged=found.converged,
        stop_reason=found.reason,
        graph=summary,
        seconds={"diagnose": diagnosed - began, "propagate": time.perf_counter() - diagnosed},
    )
