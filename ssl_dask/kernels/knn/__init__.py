"""Nearest neighbours of one block or shard."""
