"""Parquet files -> layout, types and blocks of rows."""
