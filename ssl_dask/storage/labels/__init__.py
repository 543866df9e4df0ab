"""Seed labels: from a column of the input or from a file of their own."""
