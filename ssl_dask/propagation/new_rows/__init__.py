"""Distributions of rows that came after the graph."""
