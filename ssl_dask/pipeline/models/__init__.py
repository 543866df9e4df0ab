"""The models of a finished run: kept with it, and read again."""
