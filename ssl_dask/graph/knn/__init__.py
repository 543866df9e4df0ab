"""Exact search for neighbours over all blocks."""
