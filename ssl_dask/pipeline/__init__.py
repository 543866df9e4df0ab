"""From a resolved job to a committed run: the only place that composes the rooms of the package."""
