"""One sweep over a part of a graph, and what goes with it."""
