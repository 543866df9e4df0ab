"""A graph that is built once and kept: what it was made of, and which jobs may use it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ssl_dask.errors import GraphError
from ssl_dask.graph.block.block_graph import BlockGraph
from ssl_dask.job_spec import JobSpec
from ssl_dask.storage.ids.edges import EdgeFile
from ssl_dask.storage.input.dataset import Dataset
from ssl_dask.storage.runs.manifest import Fingerprint, fingerprint
from ssl_dask.version import __version__

ABOUT = "stored_graph.json"
GRAPH, INDEX = "graph", "index"


@dataclass(frozen=True)
class StoredGraph:
    """A graph in a folder of its own."""

    path: Path
    """The folder: `graph/` for `BlockGraph.load`, `index/` for `RoutedIndex.load` (routed searches
    only), and `stored_graph.json`."""
    made_of: Fingerprint
    """What it was made of: input files, features, version."""
    edges: Fingerprint
    """What its edges were made of, where it has edges from files: the files, and the column of ids
    that they name. A job that uses the graph has neither."""
    spec: Mapping[str, Any]
    """The graph part of the job that made it, as plain data."""
    summary: Mapping[str, Any]
    """What a report says of the graph."""
    digest: str
    """SHA-256 of its description."""

    @classmethod
    def open(cls, path: str | Path) -> StoredGraph:
        """Return the graph stored in `path`; reads its description only.

        Raises
        ------
        GraphError
            There is no whole stored graph.
        """
        file = Path(path) / ABOUT
        try:
            text = file.read_bytes()
            about = json.loads(text)
            made_of = Fingerprint.from_dict(about["fingerprint"])
            edges = Fingerprint.from_dict(about["edges"])
            digest = hashlib.sha256(text).hexdigest()
            return cls(Path(path), made_of, edges, about["graph"], about["summary"], digest)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise GraphError(
                "no stored graph here",
                file=str(path),
                hint="make one with `ssl-dask graph JOB.yaml -o FOLDER`",
            ) from error

    def load(self) -> BlockGraph:
        """Return the graph; strips are read where they are used."""
        return BlockGraph.load(self.path / GRAPH)

    def check(self, wanted: Fingerprint, edges: Fingerprint | None = None) -> None:
        """Raise GraphError unless the graph was made from what `wanted`, and `edges`, say."""
        differing = self.made_of.differing_fields(wanted)
        if edges is not None:
            differing += self.edges.differing_fields(edges)
        if differing:
            raise GraphError(
                "the stored graph was made from something else; not the same are"
                f" {', '.join(differing)}",
                file=str(self.path),
                hint="build it again with `ssl-dask graph JOB.yaml -o FOLDER --force`, or leave"
                " graph.path out",
            )


def graph_fingerprint(spec: JobSpec, dataset: Dataset) -> Fingerprint:
    """Return what decides a graph apart from its own settings, field by field."""
    features = spec.model_dump(mode="json")["features"]
    return fingerprint(
        {
            "input files": [dataset.identity(), dataset.modified()],
            **{f"features.{name}": group for name, group in features.items()},
            "version": __version__,
        }
    )


def edges_fingerprint(spec: JobSpec, files: Sequence[EdgeFile]) -> Fingerprint:
    """Return what decides the edges of a graph that come from files, field by field."""
    if not files:
        return fingerprint({})
    return fingerprint(
        {"edge files": [dict(file.identity()) for file in files], "input.id": spec.input.id}
    )
