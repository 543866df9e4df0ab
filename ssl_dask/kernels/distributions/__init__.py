"""Scores -> class distributions."""
