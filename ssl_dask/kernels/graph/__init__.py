"""Weights and strips of a graph."""
