"""Rows -> BlockGraph: who is a neighbour of whom, and how near."""
