"""BlockGraph and seeds -> F: one loop, one file for each method."""
