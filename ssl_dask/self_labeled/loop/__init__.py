"""The loop of rounds: fit, score, select, assign."""
