"""Search for neighbours in shards of near rows."""
