"""Columns of a block -> features."""
