"""One file a method: its parameters, its function."""
