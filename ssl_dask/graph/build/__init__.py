"""Functions that return a graph: from rows, edges, entities, other graphs."""
