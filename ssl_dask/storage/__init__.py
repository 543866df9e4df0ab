"""Parquet in, Parquet out: the only room that knows files, paths, commits and checkpoints."""
