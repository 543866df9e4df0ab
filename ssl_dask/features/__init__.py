"""Columns to features: groups of columns become Dask arrays in the blocks that rows are read in."""
