"""Sums, hashes and selections that do not depend on blocks."""
