"""What a method is to the rest of the package: one record, one kind of input, one kind of result.

Each method is one file that ends with its record, `METHOD = Method(...)`. The job file, the plan,
the run, the report and stored models read the record and never ask for a method's name.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import dask.array as da

from ssl_dask.array_types import Bool, Float64, Int64
from ssl_dask.execution import Execution
from ssl_dask.graph.block.block_graph import BlockGraph
from ssl_dask.labels import Labels
from ssl_dask.round_record import RoundRecord
from ssl_dask.run_control import RunControl
from ssl_dask.spec_model import SpecModel

HELD_BYTES_PER_NODE = 40
FLOPS_PER_PRODUCT = 2

Fallbacks = Sequence[tuple[str, Mapping[str, Any]]]
"""(name, parameters) of methods; names are those of `methods.METHODS`."""


@dataclass(frozen=True)
class MethodInputs:
    """What a method learns from; `Method.needs` says which fields are filled."""

    labels: Labels
    """The seeds; of numbers the classes are the distinct ones."""
    hidden: Sequence[Bool] = ()
    """For each fold a bool array (S,): the seeds that it hides."""
    sample_weight: Float64 | None = None
    """float64 (S,): weight > 0 of each seed, in row order; None: 1 each."""
    graph: BlockGraph | None = None
    """Graph of the N rows."""
    X: da.Array | None = None
    """Dask array (N, d): all features of a row side by side."""
    X_seeds: Any = None
    """(S, d) in memory: the rows of X of the seeds."""
    X_execution: Execution | None = None
    """Where X lies; None: where the method runs."""
    views: Mapping[str, da.Array] = field(default_factory=dict)
    """Name -> Dask array (N, d_v): what a method of rounds is given of the features."""
    present: Mapping[str, da.Array] = field(default_factory=dict)
    """Name -> Dask array bool (N,): rows that have a view which others may lack."""
    tags: da.Array | None = None
    """Dask array int64 (N,), in the blocks of X and of the views: tags of the rows, by which ties
    are decided and rows are drawn; None: their numbers."""
    trusted: Sequence[str] = ()
    """Modules whose classes may be imported as learners."""


@dataclass(frozen=True, kw_only=True)
class MethodResult:
    """What every method returns; the families add fields of their own."""

    F: da.Array
    """Dask array in the order of the rows. Classes: float32 (N, C), rows sum to 1, or to 0 without
    evidence. Numbers: float64 (N,), NaN without evidence."""
    fold_F: list[Any]
    """For each fold the rows of F of the seeds that it hides, in row order."""
    records: list[RoundRecord] = field(default_factory=list)
    """One for each round or counted sweep."""
    converged: bool = True
    """Whether the method's stop rule was met."""
    reason: str = "converged"
    """Why it ended, a key of `Method.stop_words`."""
    class_rows: Int64 | None = None
    """int64 (C,): rows by most likely class, without ties; None where nobody has counted them."""
    source: str = "propagated"
    """What labels are written down as, one of `decision.labelling.SOURCES`."""
    lasting: bool = False
    """Whether F can be computed again at any time; else it is gone with the workers that hold
    it."""
    folds_not_converged: int = 0
    """In how many folds a solver of its own did not settle on the seeds that were left."""
    warnings: tuple[str, ...] = ()
    """What a person should know, a sentence each."""
    notes: tuple[str, ...] = ()
    """What the report says beside the graph, a sentence each."""


@dataclass(frozen=True)
class JobShape:
    """The size of a job, as far as it is known before any row is read."""

    n_rows: int
    n_features: int
    n_classes: int
    """N, d over all groups of features, and C (a guess where no label has been read)."""
    n_folds: int = 0
    """Folds in which seeds are hidden."""
    n_groups: int = 1
    n_optional: int = 0
    """Groups of features, and how many of them rows may lack."""
    sparse: bool = False
    """Whether rows are sparse."""
    n_blocks: int = 1
    n_workers: int = 1
    """Blocks of rows, and workers."""
    tagged: bool = False
    """Whether rows have ids, by whose tags they go."""

    @property
    def regression_flops(self) -> float:
        """Operations a row of logistic regression, for all folds."""
        return float(FLOPS_PER_PRODUCT * self.n_features * self.n_classes * (1 + self.n_folds))


@dataclass(frozen=True, kw_only=True)
class MethodCost:
    """What a method costs beside its graph."""

    time: str
    memory: str
    """How they grow, in words: N rows, E edges, C classes, G = 1 + folds, d features."""
    sweeps: int = 0
    columns: int = 0
    """Over the graph, and how many numbers of each node go through one. 0 without a graph."""
    bytes_per_node: int = 0
    """Of the vectors of a solve, over all workers together."""
    bytes_a_sweep: int = 0
    """Of a node, sent in a sweep to each worker that holds a neighbour of it."""
    fixed_bytes: int = 0
    """What every worker needs whatever its rows."""
    row_flops: float = 0.0
    """Floating point operations a row beside the sweeps."""
    tasks: int = 0
    bytes_moved: int = 0
    """Of rounds; those of sweeps depend on the graph."""

    def bytes_of_worker(
        self, n_nodes: int, n_edges: float, n_workers: int, halo: float = 0.0
    ) -> int:
        """Return what a worker needs that holds one of `n_workers` parts of the graph, in bytes.

        `halo`: nodes of other parts for each of its own.
        """
        if not self.sweeps:
            return self.fixed_bytes
        vectors = (1.0 + halo) * self.bytes_per_node
        share = n_nodes / n_workers * (HELD_BYTES_PER_NODE + vectors)
        return int(16 * n_edges / n_workers + share + self.fixed_bytes)

    def halo_bytes(self, n_nodes: int, halo: float) -> float:
        """Return what all sweeps send between workers, in bytes."""
        return halo * n_nodes * self.bytes_a_sweep * self.sweeps


@dataclass(frozen=True)
class Method:
    """A method as the job file, the plan, the run and the report know it."""

    spec: type[SpecModel]
    """Its parameters; the default of its field `name` is the method's name."""
    run: Callable[[MethodInputs, Any, RunControl], Any]
    """Called as `run(inputs, spec, control)`."""
    needs: Literal["graph", "graph and features", "features", "rounds"]
    """What `MethodInputs` holds: the graph; the graph, X and X_seeds; X and X_seeds; or the views
    of a method that labels in rounds, X and X_seeds."""
    cost: Callable[[Any, JobShape], MethodCost]
    """Called as `cost(spec, shape)`."""
    target: Literal["classes", "numbers"] = "classes"
    """What it predicts."""
    stage: str = "propagation"
    """Name of the stage of a run in which it works."""
    keeps_X: bool = True
    """X is kept on the workers; else each pass over X reads and describes the rows again."""
    runs_at_features: bool = False
    """It runs where X lies; else a small graph is brought to this process."""
    is_baseline: bool = False
    """It is the supervised baseline itself, which is then not fitted beside it."""
    fallbacks: Callable[[Any], Fallbacks] = lambda spec: ()
    """Of a spec: name and parameters of the methods to try, in this order, where its classes
    collapse; empty: none."""
    class_shares: Callable[[Any], Any] = lambda spec: "seeds"
    """Of a spec: what the classes' shares of its answer are compared with: "seeds", or {class:
    share}."""
    moves_answer: bool = False
    """Where `class_shares` names shares, distributions are moved to them: they are those of rows
    with these shares, whatever the seeds'."""
    no_evidence: str = "low_mass"
    """What the rows are called that it has no evidence for, one of `decision.labelling.REASONS`."""
    more_weights: tuple[str, ...] = ()
    """Weights that it wants beside the graph's own where a search for neighbours gives them."""
    named_views: bool = False
    knows_present: bool = False
    """Of rounds: it gets each group of features as a view of its own, else one view of all; and it
    gets `present`."""
    check_groups: Callable[[Any, Sequence[str]], object] = lambda spec, groups: None
    """Called as `check_groups(spec, groups)` with the names of the job's groups of features; raises
    ValueError, whose text begins with a key of the method, if they do not suit it."""
    check_learners: Callable[[Any, Mapping[str, Any], Collection[str]], None] = (
        lambda spec, features, trusted: None
    )
    """Called as `check_learners(spec, features, trusted)` before the work, with the groups of
    features by name and the modules that are trusted; raises JobSpecError where the method's
    learners cannot be used."""
    trial_models: Callable[[Any, Collection[str]], Iterable[tuple[str, Any]]] = (
        lambda spec, trusted: ()
    )
    """Called as `trial_models(spec, trusted)`: yields name and a fitted model of each learner of
    which it is not known that its models can be stored."""
    model_types: tuple[type, ...] = ()
    """Types of its models, which are stored with a run; empty: it leaves no models."""
    stop_words: Mapping[str, str] = field(default_factory=dict)
    """Reason -> why it ended, in words of the report."""

    @property
    def name(self) -> str:
        """The method's name in job files."""
        return str(self.spec.model_fields["name"].default)
