"""From class distributions to labels or abstentions: calibration, thresholds, review queue."""
