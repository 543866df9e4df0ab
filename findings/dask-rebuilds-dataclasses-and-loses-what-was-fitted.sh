#!/bin/sh
# One would guess: a fitted model that goes to dask.compute beside a lazy value comes back as it went.
# What happens: an instance of a dataclass is built anew from its fields, whether or not it holds
#   anything lazy. Attributes that are no fields (what `fit` learned, caches, counters) are gone,
#   without a word. A plain class with the same attributes comes back as the same object.
# Who meets it: who writes estimators as dataclasses and hands a fitted one to dask.compute,
#   dask.persist or a delayed call, as cross-validation and stacking do.
# Version: dask 2026.8.0. Date: 2026-12-01.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet "dask==2026.8.0"
"$folder/venv/bin/python" - <<'PYTHON'
from dataclasses import dataclass

import dask


@dataclass
class AsDataclass:
    alpha: float = 0.5

    def fit(self, rows):
        self.mean_ = sum(rows) / len(rows)
        return self


class Plain:
    def __init__(self, alpha=0.5):
        self.alpha = alpha

    fit = AsDataclass.fit


seen = {}
for kind in (AsDataclass, Plain):
    model = kind(alpha=0.9).fit([1.0, 2.0, 6.0])
    _, back = dask.compute(dask.delayed(1), model)
    seen[kind.__name__] = (back is model, vars(back))
    print(f"{kind.__name__}: sent {vars(model)}, came back as the same object: {back is model}, with {vars(back)}")
assert seen["AsDataclass"] == (False, {"alpha": 0.9}), seen
assert seen["Plain"] == (True, {"alpha": 0.9, "mean_": 3.0}), seen
PYTHON
