"""BlockGraph and seeds -> F: one loop, one file for each method."""

from __future__ import annotations

from collections.abc import Mapping

from ssl_dask.method import Method
from ssl_dask.propagation.methods import (
    balanced_spreading,
    graph_ensemble,
    harmonic_regression,
    label_propagation,
    label_spreading,
    modified_adsorption,
    poisson,
    poisson_mbo,
)

METHODS: Mapping[str, Method] = {
    module.METHOD.name: module.METHOD
    for module in (
        graph_ensemble,
        balanced_spreading,
        label_spreading,
        label_propagation,
        poisson,
        poisson_mbo,
        modified_adsorption,
    )
}
VALUE_METHODS: Mapping[str, Method] = {"harmonic_regression": harmonic_regression.METHOD}
