"""Models that several rooms share, and the rows they learn from."""
