"""BlockGraph, its order of nodes, and strips of edges."""
