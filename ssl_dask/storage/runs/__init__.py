"""Runs: staging, checkpoints, manifest, commit, stored folders."""
