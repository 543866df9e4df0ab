"""Step 1, and what the steps of a run share."""
