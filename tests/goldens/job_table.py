"""The jobs of the golden runs: each shipped job, and made jobs of every method and feature."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tests.goldens.case import FULL, QUICK, USUAL
from tests.goldens.made_inputs import N_ROWS

BLOCK_ROWS = {1: N_ROWS, 8: N_ROWS // 8}
"""Blocks -> rows of each."""
ON_A_GRAPH = {
    "auto": {},
    "graph_ensemble": {"classifier": "none"},
    "balanced_spreading": {},
    "label_spreading": {"alpha": 0.95},
    "label_propagation": {},
    "poisson": {},
    "poisson_mbo": {},
    "modified_adsorption": {},
    "correct_and_smooth": {},
    "propagated_features": {},
}
WITHOUT_GRAPH = {
    "anchor_graph": {"n_anchors": 40},
    "self_training": {"max_iter": 3},
    "co_training": {"max_iter": 3},
    "tri_training": {"max_iter": 3},
    "democratic_co_learning": {"max_iter": 3},
    "co_forest": {"n_estimators": 5, "max_iter": 3},
    "multi_view": {"max_iter": 2},
    "semi_supervised_nb": {"max_iter": 4},
    "supervised": {},
}
DENSE = {"numbers": {"numeric": ["a", "b", "c"]}}
TEXT = {"words": {"text": "text", "n_features": 512}}
UNSURE = {"min_probability": 0.6}
BOTH = {**DENSE, **TEXT}
VIEWS = {
    "place": {"numeric": ["view_a", "view_b"], "optional": True},
    "words": {"text": "view_text", "n_features": 512, "optional": True},
}
SHIPPED = {
    "iris": QUICK,
    "diabetes": QUICK,
    "spambase": USUAL,
    "newsgroups": USUAL,
    "letter": FULL,
    "http_attacks": FULL,
    "http_two_views": FULL,
    "mnist": FULL,
}


@dataclass(frozen=True)
class MadeJob:
    """A job, and where it is run.

    Parameters
    ----------
    name
        Of the case.
    job
        The job as plain data, with paths relative to the work folder.
    runs
        (blocks, place, size) of each run: place is "process", "cluster", or "workers" for graphs
        that are held by worker processes however small they are; size is the smallest recording
        that has the run.
    graph_of
        Job whose graph is stored first and used by this one.
    predict
        Whether the models of the run label new rows.
    """

    name: str
    job: dict[str, Any]
    runs: tuple[tuple[int, str, int], ...]
    graph_of: dict[str, Any] | None = None
    predict: bool = False


def made_job(method: dict[str, Any], features: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return a job as plain data; `more` replaces its top keys. Its method's labels are wanted."""
    more["decision"] = {"on_worse": "publish", **more.get("decision", {})}
    return {
        "name": "golden",
        "input": {"path": "rows.parquet", "id": "id", "label": "seed", "truth": "truth"},
        "features": features,
        "method": method,
        "evaluation": {"folds": 3},
        "output": {"path": "out"},
        "cluster": {"kind": "local", "workers": 2, "memory": "1GiB"},
        **more,
    }


def number_job(features: dict[str, Any], **more: Any) -> dict[str, Any]:
    job = made_job({"name": "harmonic_regression"}, features, graph={"n_neighbors": 8}, **more)
    return {**job, "input": {**job["input"], "path": "numbers.parquet", "label": "level"}}


def everywhere(features: str, *, held: bool) -> tuple[tuple[int, str, int], ...]:
    """Return the runs of a method: dense rows in this process come first."""
    first = QUICK if features == "dense" else USUAL
    runs = [(1, "process", first), (8, "process", max(first, FULL * (features != "dense")))]
    runs += [(1, "cluster", FULL), (8, "cluster", USUAL)]
    if held:
        runs += [(8, "workers", USUAL if features == "dense" else FULL)]
    return tuple(runs)


def jobs_of_methods() -> list[MadeJob]:
    """Return a job of each method with dense rows and one with texts."""
    jobs = []
    for kind, groups in {"dense": DENSE, "text": TEXT}.items():
        graph = {"n_neighbors": 8, "metric": "euclidean" if kind == "dense" else "cosine"}
        for name, keys in ON_A_GRAPH.items():
            job = made_job({"name": name, **keys}, groups, graph=graph, decision=UNSURE)
            jobs.append(MadeJob(f"{name}/{kind}", job, everywhere(kind, held=True)))
        for name, keys in WITHOUT_GRAPH.items():
            used = groups
            if kind == "dense" and "max_iter" in keys:
                # The last round answers, not the one that hidden seeds choose.
                keys = {**keys, "patience": None}
            if (name, kind) == ("semi_supervised_nb", "dense"):
                used = {"numbers": {"numeric": ["a", "b", "c"], "scale": "minmax"}}
            decision = UNSURE if kind == "text" else {}
            job = made_job({"name": name, **keys}, used, decision=decision)
            jobs.append(MadeJob(f"{name}/{kind}", job, everywhere(kind, held=False)))
    numbers = {"place": {"numeric": ["a", "b"]}}
    for kind, groups in {"dense": numbers, "text": TEXT}.items():
        runs = everywhere(kind, held=True)
        jobs.append(MadeJob(f"harmonic_regression/{kind}", number_job(groups), runs))
    return jobs


def jobs_of_keys() -> list[MadeJob]:
    """Return jobs that use the other parts of a job file."""
    spreading = {"name": "label_spreading"}
    rounds = {"name": "self_training", "max_iter": 3}
    knn = {"n_neighbors": 8}
    edges = {"path": "edges.parquet", "source": "from", "target": "to", "weight": "w"}
    cards = {"entities": {"card": 2, "device": 1}}
    parts = [{"n_neighbors": 6, "features": group} for group in BOTH]
    kept = {"path": "out", "columns": ["text", "kind", "vector"], "probabilities": True}
    refusing = {"min_probability": 0.7, "review_budget": 20}
    all_kinds = {
        "numbers": {"numeric": ["a", "b", "d"], "missing": "indicator", "weight": 2},
        "kind": {"categorical": "kind"},
        "vector": {"vector": "vector", "scale": "standard", "n_components": 2},
        "words": {"text": "text", "n_features": 256, "analyzer": "word"},
    }
    split = {**made_job(spreading, DENSE, graph=knn)["input"], "path": "parts"}
    jobs = {
        "review": made_job(spreading, DENSE, graph=knn, decision=refusing),
        "columns": made_job(spreading, DENSE, graph=knn, output=kept),
        "never_abstain": made_job(
            {"name": "poisson"}, DENSE, graph=knn, decision={"abstain": "never"}
        ),
        "all_features": made_job({"name": "auto"}, all_kinds, graph=knn),
        "three_files": made_job(spreading, DENSE, graph=knn, input=split),
        "edges": made_job(spreading, DENSE, graph={"edges": edges}),
        "entities": made_job(spreading, DENSE, graph=cards),
        "sum": made_job({"name": "auto"}, DENSE, graph={"parts": [knn, {"edges": edges}, cards]}),
        "learned_parts": made_job(
            spreading, BOTH, graph={"parts": parts, "part_weights": "learned"}
        ),
        "rbf": made_job({"name": "label_propagation"}, DENSE, graph={"kind": "rbf", "gamma": 2}),
        "fuzzy": made_job(spreading, DENSE, graph={**knn, "weights": "fuzzy"}),
        "routed": made_job(spreading, DENSE, graph={**knn, "search": "routed"}),
        "routed_text": made_job(
            spreading, TEXT, graph={**knn, "search": "routed", "metric": "cosine"}
        ),
        "class_mass": made_job(
            {"name": "label_propagation", "class_mass": "seeds"}, DENSE, graph=knn
        ),
        "class_shares": made_job({"name": "poisson", "class_shares": "seeds"}, DENSE, graph=knn),
        "views": made_job({"name": "multi_view", "max_iter": 3}, VIEWS),
        "two_views": made_job({"name": "co_training", "max_iter": 4}, BOTH),
        "in_pieces": made_job(
            {
                **rounds,
                "learner": {"name": "multinomial_nb", "partial_fit": True},
                "max_fit_rows": 40,
            },
            TEXT,
        ),
        "k_best": made_job(
            {**rounds, "criterion": "k_best", "k_best": 30, "rescore": False}, DENSE
        ),
        "calibrated": made_job({**rounds, "criterion": "adaptive", "calibrate": True}, DENSE),
        "number_columns": number_job(
            {"place": {"numeric": ["a", "b"]}},
            decision={"coverage": 0.8},
            output={"path": "out", "columns": ["text"]},
        ),
    }
    runs = ((8, "process", USUAL), (1, "cluster", FULL))
    return [MadeJob(name, job, runs) for name, job in jobs.items()]


def jobs_of_steps() -> list[MadeJob]:
    """Return jobs that need another command before or after the run."""
    knn = {"n_neighbors": 8}
    spreading = {"name": "label_spreading"}
    kept = {"path": "out", "models": True, "columns": ["text"]}
    before = made_job(spreading, DENSE, graph=knn)
    runs = ((8, "process", USUAL),)
    stored = made_job(spreading, DENSE, graph={"path": "stored_graph"})
    jobs = [MadeJob("stored_graph", stored, runs, graph_of=before)]
    for method in ("self_training", "multi_view", "co_forest", "semi_supervised_nb"):
        keys = {"name": method, **WITHOUT_GRAPH[method], "max_iter": 3}
        groups = TEXT if method == "semi_supervised_nb" else BOTH
        job = made_job(keys, groups, output=kept, decision={"min_probability": 0.6})
        jobs.append(MadeJob(f"models/{method}", job, runs, predict=True))
    return jobs


def all_made_jobs() -> list[MadeJob]:
    return [*jobs_of_methods(), *jobs_of_keys(), *jobs_of_steps()]
