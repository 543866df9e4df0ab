"""Methods of self-labelling, called with parameters, inputs and control as keywords."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import dask.array as da

from ssl_dask.labels import Labels
from ssl_dask.method import MethodInputs
from ssl_dask.methods import METHODS
from ssl_dask.run_control import RunControl
from ssl_dask.self_labeled.learners.learner import Learner
from ssl_dask.self_labeled.loop.round_answer import SelfLabeled

CONTROL = ("execution", "on_round", "checkpoint", "resume")
INPUTS = ("hidden", "sample_weight", "present", "trusted")


def holds_learner(value: Any) -> bool:
    every = value.values() if isinstance(value, dict) else [value]
    return any(isinstance(one, Learner) for one in every)


def label_in_rounds(
    name: str, views: Mapping[str, da.Array], labels: Labels, **given: Any
) -> SelfLabeled:
    """Run a method; keywords are fields of its spec, of the inputs or of the control."""
    control = {key: given.pop(key) for key in CONTROL if key in given}
    inputs = {key: given.pop(key) for key in INPUTS if key in given}
    learners = {key: given.pop(key) for key, value in list(given.items()) if holds_learner(value)}
    method = METHODS[name]
    spec = method.spec(**given).model_copy(update=learners)
    return method.run(MethodInputs(labels, views=views, **inputs), spec, RunControl(**control))


self_training = partial(label_in_rounds, "self_training")
co_training = partial(label_in_rounds, "co_training")
tri_training = partial(label_in_rounds, "tri_training")
democratic_co_learning = partial(label_in_rounds, "democratic_co_learning")
co_forest = partial(label_in_rounds, "co_forest")
multi_view = partial(label_in_rounds, "multi_view")
semi_supervised_nb = partial(label_in_rounds, "semi_supervised_nb")
