"""Blocks of rows as the rounds see them."""
