"""Features and seeds -> pseudo-labels in rounds -> F: one loop, one file for each method."""
