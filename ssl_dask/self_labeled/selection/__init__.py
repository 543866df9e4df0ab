"""The best rows of all blocks, without gathering them."""
