"""Steps 3 and 4: the job's graph, and its method."""
